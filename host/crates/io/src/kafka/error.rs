//! From librdkafka's errors to the codes of `docs/errors.md`.

use super::client::Reason;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use thalweg_core::error::Error;

/// Whether an error is one of brokers, or of what gives tokens for them, that may come back.
#[must_use]
pub fn passes(error: &Error) -> bool {
    ["KAFKA_UNREACHABLE", "KAFKA_FAILED", "KAFKA_TOKEN"].contains(&error.code)
}

/// Whether a consumer that met this may go on: librdkafka tries again by itself, and a broker that restarts must not fail a job.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    !matches!(error, KafkaError::MessageConsumptionFatal(_))
        && !matches!(
            error.rdkafka_error_code(),
            Some(
                Code::UnknownTopicOrPartition
                    | Code::UnknownTopic
                    | Code::UnknownPartition
                    | Code::TopicAuthorizationFailed
                    | Code::ClusterAuthorizationFailed
                    | Code::Authentication
                    | Code::SaslAuthenticationFailed
                    | Code::AutoOffsetReset
                    | Code::OffsetOutOfRange
                    | Code::BadMessage
                    | Code::BadCompression
                    | Code::InvalidMessage
                    | Code::NotImplemented
                    | Code::Fatal
            )
        )
}

/// Whether a broker refused for good: trying again cannot help.
pub(super) fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::InvalidTransactionTimeout
            | Code::InvalidRecord
            | Code::PolicyViolation
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
            | Code::InvalidConfig
    )
}

/// Whether an error says that a broker turned the client away, or is not who it should be.
pub(super) fn tells(code: Option<Code>) -> bool {
    matches!(code, Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL))
}

/// What the words of a client mean, where they say more than its code or come without one. A broker that does not trust the client's certificate
/// says so after the handshake, and librdkafka takes that for a failure to receive.
pub(super) fn told_by(text: &str) -> Option<Code> {
    if text.contains(ALERT) || text.contains("SSL handshake failed: error:") {
        Some(Code::SSL)
    } else {
        let refused = ["SASL authentication error", "SASL OAUTHBEARER authentication failed"];
        refused.iter().any(|said| text.contains(said)).then_some(Code::Authentication)
    }
}

const ALERT: &str = "SSL alert number";

/// A client that could not be made.
pub(super) fn configuration(error: &KafkaError) -> Error {
    let what = match error {
        // the value may be a secret: it is not repeated
        KafkaError::ClientConfig(_, why, key, _) => format!("the Kafka property {key:?} is not accepted: {why}"),
        KafkaError::ClientCreation(why) => format!("the Kafka properties do not fit together: {why}"),
        other => format!("cannot make a Kafka client: {other}"),
    };
    Error::user("KAFKA_CONFIG", what)
        .help("property names are those of librdkafka (CONFIGURATION.md); correct or remove this one")
}

/// An error of talking to brokers. `what` was being done, e.g. `read the topic "flights"`; `reason` is what the client complained
/// of before.
pub(super) fn talking(error: &KafkaError, what: &str, bootstrap: &str, reason: &Reason) -> Error {
    let said = if reason.text.is_empty() { String::new() } else { format!(" ({})", reason.text) };
    match meaning(error.rdkafka_error_code(), reason) {
        Meaning::Unreachable => unreachable(what, bootstrap, &said),
        Meaning::Tls => tls(what, bootstrap, &said),
        Meaning::Auth => auth(what, bootstrap, error, &said),
        Meaning::UnknownTopic => unknown_topic(what, bootstrap),
        Meaning::TooLarge => Error::user("KAFKA_RECORD_TOO_LARGE", format!("a record is too large to {what}"))
            .help("raise message.max.bytes in properties and max.message.bytes of the topic"),
        Meaning::OffsetLost => Error::external(
            "KAFKA_OFFSET_LOST",
            format!("cannot {what}: the records at the stored offset are gone from the topic"),
        )
        .help("the topic's retention deleted records that were not read; raise it, and start the job anew to read what is left"),
        Meaning::Other => Error::external("KAFKA_FAILED", format!("cannot {what} at {bootstrap}: {error}{said}"))
            .help("look at the brokers' logs; the job can be started again and goes on after the last committed epoch"),
    }
}

/// Nobody answered. A listener of another kind ends connections without a word, as brokers do that are stopped: what it is nobody knows.
pub(super) fn unreachable(what: &str, bootstrap: &str, said: &str) -> Error {
    let help = if said.contains("in state APIVERSION_QUERY") {
        "if the broker runs, its listener may want TLS: write security.protocol=SSL, or SASL_SSL with a login"
    } else if said.contains("in state SSL_HANDSHAKE") {
        "if the broker runs, its listener may be one without TLS: name the port of one with TLS, or write security.protocol=PLAINTEXT, or \
         SASL_PLAINTEXT with a login"
    } else {
        "check bootstrap.servers, that the broker runs, and that its advertised.listeners can be reached from here"
    };
    Error::external("KAFKA_UNREACHABLE", format!("no Kafka broker answers at {bootstrap}, so cannot {what}{said}"))
        .help(help)
}

/// The brokers do not want this user.
fn auth(what: &str, bootstrap: &str, error: &KafkaError, said: &str) -> Error {
    let help = if said.contains("OAUTHBEARER") || said.contains("invalid_token") {
        "the token is not one for these brokers: check sasl.oauthbearer.scope and sasl.oauthbearer.extensions, the issuer and audience that the \
         brokers expect, and their clocks"
    } else {
        "check sasl.username, sasl.password, sasl.mechanism and security.protocol, and the access rights of this user"
    };
    Error::user("KAFKA_AUTH", format!("the Kafka brokers at {bootstrap} refused to {what}: {error}{said}")).help(help)
}

/// There is no TLS connection that both sides trust.
fn tls(what: &str, bootstrap: &str, said: &str) -> Error {
    let help = if said.contains("certificate verify failed") {
        "name the authority that signed the broker's certificate, ssl.ca.location=ca.pem (or ssl.ca.pem with its text); if it is a public one, \
         install the system's ca-certificates; the certificate must also name the host of bootstrap.servers and advertised.listeners"
    } else if said.contains(ALERT) {
        "the broker refuses this client's certificate: give one that it trusts, ssl.keystore.location=keys.p12 with ssl.keystore.password, or \
         ssl.certificate.location and ssl.key.location"
    } else {
        "check security.protocol, and that the port of bootstrap.servers is one of a listener with TLS"
    };
    Error::user("KAFKA_TLS", format!("there is no trusted TLS connection to {bootstrap}, so cannot {what}{said}"))
        .help(help)
}

/// There is no such topic.
pub(super) fn unknown_topic(what: &str, bootstrap: &str) -> Error {
    Error::user("KAFKA_UNKNOWN_TOPIC", format!("cannot {what}: the Kafka cluster at {bootstrap} has no such topic"))
        .help("create the topic, or correct its name")
}

/// Someone else uses what must be this job's alone.
pub(super) fn fenced(transactional_id: &str) -> Error {
    Error::user(
        "KAFKA_FENCED",
        format!("another job writes to Kafka under the transactional id {transactional_id:?}, so this one must not"),
    )
    .help("stop the other job, or give each an app_id of its own; nothing committed is lost or doubled")
}

/// Whether the same question may be answered a little later.
pub(super) fn may_pass(e: &KafkaError) -> bool {
    matches!(meaning(e.rdkafka_error_code(), &Reason::default()), Meaning::Unreachable)
}

enum Meaning {
    Unreachable,
    Tls,
    Auth,
    UnknownTopic,
    TooLarge,
    OffsetLost,
    Other,
}

fn meaning(code: Option<Code>, reason: &Reason) -> Meaning {
    match code {
        Some(
            Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::Resolve
            | Code::MessageTimedOut
            | Code::WaitingForCoordinator
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotCoordinator
            | Code::NetworkException
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::ReplicaNotAvailable
            | Code::OffsetNotAvailable,
        ) => match reason.code {
            // a client that is turned away only ever times out; what it said before tells why
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => Meaning::Auth,
            Some(Code::SSL) => Meaning::Tls,
            _ => Meaning::Unreachable,
        },
        Some(Code::SSL) => Meaning::Tls,
        Some(
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed,
        ) => Meaning::Auth,
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => Meaning::UnknownTopic,
        Some(Code::MessageSizeTooLarge) => Meaning::TooLarge,
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Meaning::OffsetLost,
        _ => Meaning::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_code_of_what_they_mean() {
        let nothing = Reason::default();
        let consumed = |code| talking(&KafkaError::MessageConsumption(code), "read", "b:9092", &nothing).code;
        assert_eq!(consumed(Code::BrokerTransportFailure), "KAFKA_UNREACHABLE");
        assert_eq!(consumed(Code::UnknownTopicOrPartition), "KAFKA_UNKNOWN_TOPIC");
        assert_eq!(consumed(Code::TopicAuthorizationFailed), "KAFKA_AUTH");
        assert_eq!(consumed(Code::AutoOffsetReset), "KAFKA_OFFSET_LOST");
        assert_eq!(consumed(Code::Unknown), "KAFKA_FAILED");
        let because = |code, text: &str| Reason { code: Some(code), text: text.to_owned(), told: None };
        let reason = because(Code::Authentication, "SASL authentication failed");
        let timeout = KafkaError::MetadataFetch(Code::BrokerTransportFailure);
        assert_eq!(talking(&timeout, "read", "b:9092", &reason).code, "KAFKA_AUTH");
        for (text, line) in [
            ("SSL handshake failed: error:0A000086: certificate verify failed", "ssl.ca.location"),
            ("Receive failed: ssl/tls alert bad certificate: SSL alert number 42", "ssl.keystore.location"),
            ("wrong version number", "security.protocol"),
        ] {
            let error = talking(&timeout, "read", "b:9092", &because(Code::SSL, text));
            assert!(error.code == "KAFKA_TLS" && error.help.contains(line), "{error}");
        }
        // brokers that are stopped end connections in the same way: such an error must pass
        let reason =
            because(Code::BrokerTransportFailure, "Disconnected: closed by peer (after 8ms in state APIVERSION_QUERY)");
        let error = talking(&timeout, "read", "b:9092", &reason);
        assert!(error.code == "KAFKA_UNREACHABLE" && error.help.contains("security.protocol=SSL"), "{error}");
        assert!(is_passing(&KafkaError::MessageConsumption(Code::AllBrokersDown)));
        assert!(!is_passing(&KafkaError::MessageConsumptionFatal(Code::AllBrokersDown)));
    }
}
