//! From librdkafka's errors to the codes of `docs/errors.md`.

use super::client::Reason;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use thalweg_core::error::Error;

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
    match meaning(error.rdkafka_error_code(), reason.code) {
        Meaning::Unreachable => unreachable(what, bootstrap, &said),
        Meaning::Auth => Error::user("KAFKA_AUTH", format!("the Kafka brokers at {bootstrap} refused to {what}: {error}{said}"))
            .help("check sasl.username, sasl.password, sasl.mechanism and security.protocol, and the access rights of this user"),
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

/// Nobody answered.
pub(super) fn unreachable(what: &str, bootstrap: &str, said: &str) -> Error {
    Error::external("KAFKA_UNREACHABLE", format!("no Kafka broker answers at {bootstrap}, so cannot {what}{said}"))
        .help(
            "check bootstrap.servers, that the broker runs, and that its advertised.listeners can be reached from here",
        )
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
    matches!(meaning(e.rdkafka_error_code(), None), Meaning::Unreachable)
}

enum Meaning {
    Unreachable,
    Auth,
    UnknownTopic,
    TooLarge,
    OffsetLost,
    Other,
}

fn meaning(code: Option<Code>, reason: Option<Code>) -> Meaning {
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
        ) => match reason {
            // a client that is turned away only ever times out; what it said before tells why
            Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL) => Meaning::Auth,
            _ => Meaning::Unreachable,
        },
        Some(
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::SSL
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
        let reason = Reason { code: Some(Code::Authentication), text: "SASL authentication failed".to_owned() };
        let timeout = KafkaError::MetadataFetch(Code::BrokerTransportFailure);
        assert_eq!(talking(&timeout, "read", "b:9092", &reason).code, "KAFKA_AUTH");
        assert!(is_passing(&KafkaError::MessageConsumption(Code::AllBrokersDown)));
        assert!(!is_passing(&KafkaError::MessageConsumptionFatal(Code::AllBrokersDown)));
    }
}
