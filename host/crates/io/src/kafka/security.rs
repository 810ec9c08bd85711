//! TLS and logins: what Java's clients call them, and what to tell librdkafka.
//!
//! In: the properties of a client, by Kafka's names. Out: librdkafka's words, or a refusal that says which line to write instead. Values may
//! be secrets: neither errors nor logs repeat one. Source: Kafka's `SslConfigs` and `SaslConfigs`, KIP-651, librdkafka's CONFIGURATION.md.

use super::jaas::login;
use super::oauth;
use super::properties::refused;
use rdkafka::config::ClientConfig;
use std::collections::BTreeMap;
use thalweg_core::error::{Error, Result};

/// Logins that this build knows.
const MECHANISMS: &[&str] = &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", oauth::MECHANISM];
/// Logins that it does not, by names that may be repeated.
const OTHER_MECHANISMS: &[&str] = &["GSSAPI", "AWS_MSK_IAM", "EXTERNAL"];
/// What to write instead of them.
const LOGIN_LINES: &str = "write sasl.mechanism=PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 with sasl.username and sasl.password (Confluent \
                           Cloud has API keys for PLAIN, MSK has SASL/SCRAM), or OAUTHBEARER with \
                           sasl.oauthbearer.token.endpoint.url, sasl.oauthbearer.client.id and sasl.oauthbearer.client.secret";

/// What a property's name contains when nobody but the brokers may see its value.
const SECRET: &[&str] =
    &["password", "secret", "token", "jaas", "user.info", "key.pem", "keystore.key", "credential", "oauthbearer"];

type Words = Vec<(String, String)>;

/// Whether the value of a property is a secret: what prints properties leaves it out.
///
/// ```
/// assert!(["sasl.jaas.config", "sasl.oauthbearer.config"].into_iter().all(thalweg_io::kafka::is_secret));
/// assert!(!thalweg_io::kafka::is_secret("sasl.username"));
/// ```
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}

/// What librdkafka is told instead of a property; `None` for one that is not about TLS or logins. `all` are the properties beside it: some
/// say what others mean.
///
/// # Errors
/// `KAFKA_PROPERTY_REFUSED` for what this build does not have, and for a file that is not `allowed`; `KAFKA_CONFIG` for logins that
/// contradict each other.
pub(super) fn translated(
    name: &str,
    value: &str,
    all: &BTreeMap<String, String>,
    allowed: bool,
) -> Result<Option<Words>> {
    let kind = |of: &str| all.get(of).map(|kind| kind.trim().to_ascii_uppercase());
    let word = |ours: &str| vec![(ours.to_owned(), value.to_owned())];
    Ok(Some(match name {
        "sasl.mechanism" | "sasl.mechanisms" => mechanism(name, value)?,
        "sasl.jaas.config" => jaas(value, all)?,
        "sasl.login.callback.handler.class" if oauth::is_handler(value) => Vec::new(),
        "sasl.client.callback.handler.class"
        | "sasl.login.callback.handler.class"
        | "sasl.login.class"
        | "ssl.engine.factory.class" => return Err(unusable(name, "it names code in Java").help(LOGIN_LINES)),
        "ssl.truststore.type" | "ssl.truststore.password" | "ssl.keystore.type" => Vec::new(),
        "ssl.truststore.location" if kind("ssl.truststore.type").as_deref() == Some("PEM") => {
            file(name, allowed)?;
            word("ssl.ca.location")
        }
        "ssl.truststore.location" => {
            return Err(unusable(name, "a trust store of Java cannot be read").help(
                "make a PEM file of it, keytool -list -rfc -keystore STORE > ca.pem, and write ssl.ca.location=ca.pem",
            ));
        }
        "ssl.truststore.certificates" => word("ssl.ca.pem"),
        "ssl.keystore.location" => {
            file(name, allowed)?;
            match kind("ssl.keystore.type").as_deref() {
                Some("PEM") => [word("ssl.key.location"), word("ssl.certificate.location")].concat(),
                Some("JKS") => return Err(java_keys(name)),
                _ if value.ends_with(".jks") => return Err(java_keys(name)),
                _ => word(name),
            }
        }
        // a file in PEM has ssl.key.password
        "ssl.keystore.password" if kind("ssl.keystore.type").as_deref() == Some("PEM") => Vec::new(),
        "ssl.keystore.key" => word("ssl.key.pem"),
        "ssl.keystore.certificate.chain" => word("ssl.certificate.pem"),
        "ssl.endpoint.identification.algorithm" if value.trim().is_empty() => {
            vec![(name.to_owned(), "none".to_owned())]
        }
        _ => return oauth::translated(name, value, allowed),
    }))
}

/// Adds what follows from the rest, and checks that a login is whole.
///
/// # Errors
/// `KAFKA_CONFIG`, with the line that is missing.
pub(super) fn complete(client: &mut ClientConfig) -> Result<()> {
    let protocol = client.get("security.protocol").unwrap_or_default().trim().to_ascii_uppercase();
    if protocol.starts_with("SASL_") {
        let lacks = |names: &[&str]| names.iter().all(|name| client.get(name).is_none_or(str::is_empty));
        let missing = if lacks(&["sasl.mechanism", "sasl.mechanisms"]) {
            "sasl.mechanism"
        } else if client.get("sasl.mechanism") == Some(oauth::MECHANISM) {
            oauth::missing(client).unwrap_or_default()
        } else if lacks(&["sasl.username"]) {
            "sasl.username"
        } else if lacks(&["sasl.password"]) {
            "sasl.password"
        } else {
            ""
        };
        if !missing.is_empty() {
            let what = format!("security.protocol={protocol} asks for a login, and there is no {missing}");
            return Err(Error::user("KAFKA_CONFIG", what).help(LOGIN_LINES));
        }
    }
    let given = ["ssl.ca.location", "ssl.ca.pem"].iter().any(|name| client.get(name).is_some());
    if protocol.ends_with("SSL") && !given {
        // the library is our own, and does not know where this system keeps its certificates
        client.set("ssl.ca.location", "probe");
    }
    Ok(())
}

fn mechanism(name: &str, value: &str) -> Result<Words> {
    let wanted = value.trim().to_ascii_uppercase();
    if MECHANISMS.contains(&wanted.as_str()) {
        return Ok(vec![("sasl.mechanism".to_owned(), wanted)]);
    }
    let which = if OTHER_MECHANISMS.contains(&wanted.as_str()) { wanted.as_str() } else { "it names" };
    Err(unusable(name, &format!("this build does not have the login {which}")).help(LOGIN_LINES))
}

/// What the login modules of PLAIN and SCRAM have of users and passwords, and that of OAUTHBEARER of clients and secrets.
fn jaas(value: &str, all: &BTreeMap<String, String>) -> Result<Words> {
    const NAME: &str = "sasl.jaas.config";
    let Some(login) = login(value) else {
        return Err(unusable(NAME, "it is not understood").help("write sasl.username and sasl.password instead"));
    };
    let module = login.module.rsplit('.').next().unwrap_or_default();
    let fits: fn(&str) -> bool = match module {
        "PlainLoginModule" => |mechanism| mechanism == "PLAIN",
        "ScramLoginModule" => |mechanism| mechanism.starts_with("SCRAM-"),
        "OAuthBearerLoginModule" => |mechanism| mechanism == oauth::MECHANISM,
        _ => return Err(unusable(NAME, "its login module is not in this build").help(LOGIN_LINES)),
    };
    let mechanism = all.get("sasl.mechanism").or_else(|| all.get("sasl.mechanisms"));
    if let Some(mechanism) =
        mechanism.map(|m| m.trim().to_ascii_uppercase()).filter(|m| MECHANISMS.contains(&m.as_str()))
        && !fits(&mechanism)
    {
        let what = format!("sasl.jaas.config has a {module}, and sasl.mechanism is {mechanism}");
        return Err(Error::user("KAFKA_CONFIG", what).help(
            "PLAIN goes with PlainLoginModule, SCRAM with ScramLoginModule, OAUTHBEARER with OAuthBearerLoginModule",
        ));
    }
    if module == "OAuthBearerLoginModule" {
        return oauth::of_module(&login.options);
    }
    let option = |name: &str| login.options.get(name).cloned();
    match (option("username"), option("password")) {
        (Some(user), Some(password)) => {
            Ok(vec![("sasl.username".to_owned(), user), ("sasl.password".to_owned(), password)])
        }
        _ => {
            Err(unusable(NAME, "it has no username or no password")
                .help("write sasl.username and sasl.password instead"))
        }
    }
}

fn java_keys(name: &str) -> Error {
    unusable(name, "a key store of the kind JKS cannot be read").help(
        "make another one of it, keytool -importkeystore -srckeystore STORE -destkeystore keys.p12 -deststoretype PKCS12, and write \
         ssl.keystore.location=keys.p12 with ssl.keystore.type=PKCS12",
    )
}

/// Whoever runs the process may name files.
fn file(name: &str, allowed: bool) -> Result<()> {
    if allowed { Ok(()) } else { Err(refused(name)) }
}

pub(super) fn unusable(name: &str, why: &str) -> Error {
    Error::user("KAFKA_PROPERTY_REFUSED", format!("the Kafka property {name:?} cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::super::client::KafkaClientConfig;
    use super::*;

    const PLAIN: &str =
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"KEY\" password=\"hunter2\";";
    const SCRAM: &str =
        "org.apache.kafka.common.security.scram.ScramLoginModule required\n  password='hunter2'\n  username=me;";

    /// Properties of whoever runs the process, one a line.
    fn made(lines: &str) -> Result<ClientConfig> {
        let mut config = KafkaClientConfig::new("b:9092");
        let pairs = lines.lines().filter_map(|line| line.trim().split_once('='));
        config.properties = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        config.properties.remove("");
        config.properties_allowed = config.properties.keys().cloned().collect();
        config.client()
    }

    fn with_jaas(lines: &str, jaas: &str) -> Result<ClientConfig> {
        made(&format!("{lines}\nsasl.jaas.config={}", jaas.replace('\n', " ")))
    }

    #[track_caller]
    fn says(client: &ClientConfig, wanted: &[(&str, &str)]) {
        for (name, value) in wanted {
            assert_eq!(client.get(name), Some(*value), "{name}");
        }
    }

    #[test]
    fn the_lines_that_confluent_cloud_gives_are_understood() {
        let lines = "bootstrap.servers=pkc-1.eu.confluent.cloud:9092\nsecurity.protocol=SASL_SSL\nsasl.mechanism=PLAIN
                     client.dns.lookup=use_all_dns_ips\nsession.timeout.ms=45000\nacks=all
                     basic.auth.credentials.source=USER_INFO\nbasic.auth.user.info=a:b";
        let client = with_jaas(lines, PLAIN).expect("accepted");
        let login = [("sasl.username", "KEY"), ("sasl.password", "hunter2"), ("sasl.mechanism", "PLAIN")];
        says(&client, &login);
        says(&client, &[("security.protocol", "SASL_SSL"), ("ssl.ca.location", "probe")]);
        assert!(client.get("sasl.jaas.config").is_none() && client.get("basic.auth.user.info").is_none());
        let made: rdkafka::error::KafkaResult<rdkafka::producer::BaseProducer> = client.create();
        assert!(made.is_ok(), "{:?}", made.err());
    }

    #[test]
    fn scram_and_certificates_of_ones_own_are_understood() {
        let lines = "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nssl.truststore.type=PEM\nssl.truststore.location=/ca.pem";
        let client = with_jaas(lines, SCRAM).expect("accepted");
        says(&client, &[("sasl.username", "me"), ("sasl.password", "hunter2"), ("ssl.ca.location", "/ca.pem")]);
        let client =
            made("security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=/me.pem\nssl.key.password=p");
        let client = client.expect("accepted");
        says(
            &client,
            &[("ssl.key.location", "/me.pem"), ("ssl.certificate.location", "/me.pem"), ("ssl.key.password", "p")],
        );
        let client = made(
            "security.protocol=SSL\nssl.truststore.certificates=CA\nssl.keystore.key=K\nssl.keystore.certificate.chain=C",
        );
        let client = client.expect("accepted");
        says(&client, &[("ssl.ca.pem", "CA"), ("ssl.key.pem", "K"), ("ssl.certificate.pem", "C")]);
        assert!(client.get("ssl.ca.location").is_none());
        let client =
            made("ssl.keystore.location=/me.p12\nssl.keystore.password=p\nssl.endpoint.identification.algorithm=");
        let client = client.expect("accepted");
        says(&client, &[("ssl.keystore.location", "/me.p12"), ("ssl.endpoint.identification.algorithm", "none")]);
    }

    #[test]
    fn every_login_of_this_build_makes_a_client() {
        for mechanism in MECHANISMS.iter().filter(|mechanism| **mechanism != oauth::MECHANISM) {
            let client = made(&format!(
                "security.protocol=SASL_SSL\nsasl.mechanism={mechanism}\nsasl.username=a\nsasl.password=b"
            ));
            let made: rdkafka::error::KafkaResult<rdkafka::producer::BaseProducer> = client.expect("accepted").create();
            assert!(made.is_ok(), "{mechanism}: {:?}", made.err());
        }
    }

    #[test]
    fn what_librdkafka_and_java_write_for_a_login_by_oauth_is_one() {
        let url =
            "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url=https://h/t";
        let ours = made(&format!(
            "{url}\nsasl.oauthbearer.method=oidc\nsasl.oauthbearer.client.id=me\nsasl.oauthbearer.client.secret=hunter2
             sasl.oauthbearer.scope=kafka\nsasl.oauthbearer.extensions=logicalCluster=lkc-1"
        ));
        let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId='me'
                      clientSecret='hunter2' scope='kafka' extension_logicalCluster='lkc-1';";
        let class = "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler";
        let java = with_jaas(&format!("{url}\nsasl.login.callback.handler.class={class}"), module);
        for client in [ours.expect("accepted"), java.expect("accepted")] {
            let settings = oauth::Settings::of(&client).expect("right");
            assert!(settings.is_some() && !format!("{settings:?}").contains("hunter2"), "{settings:?}");
            says(&client, &[("sasl.oauthbearer.client.id", "me"), ("sasl.oauthbearer.client.secret", "hunter2")]);
            says(
                &client,
                &[("sasl.oauthbearer.scope", "kafka"), ("sasl.oauthbearer.extensions", "logicalCluster=lkc-1")],
            );
            let made: rdkafka::error::KafkaResult<rdkafka::producer::BaseProducer> = oauth::without(&client).create();
            assert!(made.is_ok(), "{:?}", made.err());
        }
    }

    #[test]
    fn what_this_build_has_not_is_refused_by_name_with_the_line_to_write() {
        for (lines, name, line) in [
            ("sasl.mechanism=GSSAPI", "sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.mechanism=AWS_MSK_IAM", "AWS_MSK_IAM", "MSK has SASL/SCRAM"),
            ("sasl.login.callback.handler.class=x.Y", "callback", "sasl.username"),
            ("ssl.truststore.location=/t.jks", "ssl.truststore.location", "ssl.ca.location=ca.pem"),
            ("ssl.truststore.location=/t.p12\nssl.truststore.type=PKCS12", "ssl.truststore.location", "keytool"),
            ("ssl.keystore.location=/k.jks", "ssl.keystore.location", "PKCS12"),
            ("ssl.keystore.location=/k\nssl.keystore.type=jks", "ssl.keystore.location", "PKCS12"),
            ("sasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required;", "sasl.jaas.config", "PLAIN"),
            ("sasl.jaas.config=PlainLoginModule required username=\"a\";", "sasl.jaas.config", "sasl.password"),
            ("sasl.jaas.config=PlainLoginModule", "sasl.jaas.config", "sasl.username"),
        ] {
            let error = made(lines).expect_err(lines);
            assert_eq!(error.code, "KAFKA_PROPERTY_REFUSED", "{lines}");
            assert!(error.message.contains(name) && error.help.contains(line), "{lines}: {error} {}", error.help);
        }
        for (lines, missing) in [
            ("security.protocol=SASL_SSL", "no sasl.mechanism"),
            ("security.protocol=sasl_plaintext\nsasl.mechanism=PLAIN", "no sasl.username"),
            ("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username=a", "no sasl.password"),
            ("security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER", "no sasl.oauthbearer.token.endpoint.url"),
        ] {
            let error = made(lines).expect_err(lines);
            assert!(error.code == "KAFKA_CONFIG" && error.message.contains(missing), "{lines}: {error}");
        }
        let error = with_jaas("sasl.mechanism=PLAIN", SCRAM).expect_err("another login");
        assert!(error.code == "KAFKA_CONFIG" && error.message.contains("ScramLoginModule"), "{error}");
    }

    #[test]
    fn a_pipeline_may_log_in_and_name_no_files() {
        let mut config = KafkaClientConfig::new("b:9092");
        let given = [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", PLAIN)];
        config.properties = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        says(&config.client().expect("accepted"), &[("sasl.username", "KEY")]);
        for (name, kind) in
            [("ssl.truststore.location", "ssl.truststore.type"), ("ssl.keystore.location", "ssl.keystore.type")]
        {
            let mut config = config.clone();
            config.properties.insert(name.to_owned(), "/etc/shadow".to_owned());
            config.properties.insert(kind.to_owned(), "PEM".to_owned());
            assert_eq!(config.client().err().map(|e| e.code), Some("KAFKA_PROPERTY_REFUSED"), "{name}");
        }
    }

    #[test]
    fn no_error_repeats_a_secret() {
        for jaas in [
            "PlainLoginModule required user=\"x\" password=\"hunter2\";",
            "PlainLoginModule required username=\"x\" password=\"hunter2",
            "hunter2",
            "hunter2 required username=\"x\" password=\"hunter2\";",
            SCRAM,
        ] {
            let error = with_jaas("sasl.mechanism=PLAIN", jaas).expect_err(jaas);
            assert!(!format!("{error:?} {error} {}", error.help).contains("hunter2"), "{error}");
        }
        let error = made("sasl.mechanism=hunter2").expect_err("no mechanism");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
