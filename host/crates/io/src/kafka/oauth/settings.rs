//! Properties of a login by OAUTHBEARER.
//!
//! In: properties as librdkafka and Java have them. Out: librdkafka's names, and from those what it takes to ask for a token. Values may be
//! secrets: no error repeats one. Source: librdkafka's CONFIGURATION.md, Kafka's `SaslConfigs`, KIP-768, RFC 7628 (extensions).

use super::super::properties::refused;
use super::super::security::unusable;
use rdkafka::config::ClientConfig;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use thalweg_core::error::{Error, Result};

/// The name of the login.
pub(in super::super) const MECHANISM: &str = "OAUTHBEARER";

const URL: &str = "sasl.oauthbearer.token.endpoint.url";
const CLIENT_ID: &str = "sasl.oauthbearer.client.id";
const CLIENT_SECRET: &str = "sasl.oauthbearer.client.secret";
const SCOPE: &str = "sasl.oauthbearer.scope";
const EXTENSIONS: &str = "sasl.oauthbearer.extensions";
const AUTHORITIES: &str = "https.ca.location";
/// What librdkafka must not see: it refuses what it has no library for.
const OURS: &[&str] = &[URL, CLIENT_ID, CLIENT_SECRET, SCOPE, EXTENSIONS, AUTHORITIES];
/// What a login cannot be without.
const NEEDED: &[&str] = &[URL, CLIENT_ID, CLIENT_SECRET];

/// What to write.
const LINES: &str = "a login by OAUTHBEARER has sasl.oauthbearer.token.endpoint.url, sasl.oauthbearer.client.id, \
                     sasl.oauthbearer.client.secret, perhaps sasl.oauthbearer.scope and sasl.oauthbearer.extensions (name=value,...), and \
                     https.ca.location=ca.pem for the endpoint's authority; other ways to a token are not known";

/// How Java's clients call what asks for tokens as we do.
const HANDLERS: &[&str] = &[
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler",
];

type Words = Vec<(String, String)>;

/// Whether a callback handler of Java does what is done here.
pub(in super::super) fn is_handler(class: &str) -> bool {
    HANDLERS.contains(&class.trim())
}

/// Our words for a property; `None` for one that is not about this login.
///
/// # Errors
/// `KAFKA_PROPERTY_REFUSED` for a way to a token that is not known, and for an address or a file that is not `allowed`.
pub(in super::super) fn translated(name: &str, value: &str, allowed: bool) -> Result<Option<Words>> {
    let word = |ours: &str| Ok(Some(vec![(ours.to_owned(), value.to_owned())]));
    let only = |known: &str| {
        if value.trim().eq_ignore_ascii_case(known) {
            return Ok(Some(Vec::new()));
        }
        Err(unusable(name, &format!("only {known} is known")).help(LINES))
    };
    match name {
        URL | AUTHORITIES if allowed => word(name),
        URL | AUTHORITIES => Err(refused(name)),
        CLIENT_ID | CLIENT_SECRET | SCOPE | EXTENSIONS => word(name),
        "sasl.oauthbearer.client.credentials.client.id" => word(CLIENT_ID),
        "sasl.oauthbearer.client.credentials.client.secret" => word(CLIENT_SECRET),
        "sasl.oauthbearer.method" => only("oidc"),
        "sasl.oauthbearer.grant.type" => only("client_credentials"),
        _ if name.starts_with("sasl.oauthbearer.")
            || ["https.ca.pem", "enable.sasl.oauthbearer.unsecure.jwt"].contains(&name) =>
        {
            Err(unusable(name, "this build does not have it").help(LINES))
        }
        _ => Ok(None),
    }
}

/// Our words for the options of Java's `OAuthBearerLoginModule`.
///
/// # Errors
/// `KAFKA_PROPERTY_REFUSED` for an option that is not known.
pub(in super::super) fn of_module(options: &BTreeMap<String, String>) -> Result<Words> {
    const NAME: &str = "sasl.jaas.config";
    let (mut words, mut extensions) = (Vec::new(), Vec::new());
    for (name, value) in options {
        let ours = match name.as_str() {
            "clientId" => CLIENT_ID,
            "clientSecret" => CLIENT_SECRET,
            "scope" => SCOPE,
            _ => {
                // names of options are no secrets, but a text that was cut in the wrong place may be
                let extension = name.strip_prefix("extension_").filter(|_| !value.contains(','));
                let Some(extension) = extension else {
                    return Err(unusable(NAME, "it has an option that is not known").help(format!(
                        "OAuthBearerLoginModule has the options clientId, clientSecret, scope and extension_NAME; {LINES}"
                    )));
                };
                extensions.push(format!("{extension}={value}"));
                continue;
            }
        };
        words.push((ours.to_owned(), value.clone()));
    }
    if !extensions.is_empty() {
        words.push((EXTENSIONS.to_owned(), extensions.join(",")));
    }
    Ok(words)
}

/// The property that a login lacks, if it does.
pub(in super::super) fn missing(client: &ClientConfig) -> Option<&'static str> {
    NEEDED.iter().copied().find(|name| client.get(name).is_none_or(str::is_empty))
}

/// The settings that librdkafka may see.
pub(in super::super) fn without(client: &ClientConfig) -> ClientConfig {
    let mut client = client.clone();
    for name in OURS {
        client.remove(name);
    }
    client
}

/// Whom to ask for a token, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct Settings {
    pub(super) url: String,
    pub(super) client: String,
    pub(super) secret: String,
    pub(super) scope: String,
    /// Names and values that the broker is told beside the token.
    pub(super) extensions: Vec<(String, String)>,
    /// A file with the authorities that the endpoint's certificate may be of; the system's without it.
    pub(super) authorities: Option<PathBuf>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // without the secret
        f.debug_struct("Settings").field("url", &self.place()).field("client", &self.client).finish_non_exhaustive()
    }
}

impl Settings {
    /// Those of a client that logs in in this way; none if it does in another, or not at all.
    ///
    /// # Errors
    /// `KAFKA_CONFIG` when the address or an extension cannot be meant.
    pub(in super::super) fn of(client: &ClientConfig) -> Result<Option<Self>> {
        let logs_in = client
            .get("security.protocol")
            .is_some_and(|protocol| protocol.trim().to_ascii_uppercase().starts_with("SASL_"));
        if !logs_in || client.get("sasl.mechanism") != Some(MECHANISM) {
            return Ok(None);
        }
        let text = |name: &str| client.get(name).unwrap_or_default().to_owned();
        let url = text(URL).trim().to_owned();
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let host = host.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        if host.is_none_or(|host| host.is_empty() || host.contains('@')) {
            return Err(wrong(URL, "is no address https://host/path without a login"));
        }
        Ok(Some(Self {
            url,
            client: text(CLIENT_ID),
            secret: text(CLIENT_SECRET),
            scope: text(SCOPE),
            extensions: extensions(&text(EXTENSIONS))?,
            authorities: client.get(AUTHORITIES).map(PathBuf::from),
        }))
    }

    /// Where the endpoint is, for people: what stands behind a question mark may be a secret.
    pub(super) fn place(&self) -> &str {
        self.url.split(['?', '#']).next().unwrap_or_default()
    }
}

/// The pairs of `name=value,...`, as a broker may be told them: librdkafka would repeat those that it may not.
fn extensions(text: &str) -> Result<Vec<(String, String)>> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic()) && name != "auth";
        (named && value.bytes().all(|b| (b' '..=b'~').contains(&b))).then(|| (name.to_owned(), value.to_owned()))
    };
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    let pairs =
        parts.map(|part| pair(part).ok_or_else(|| wrong(EXTENSIONS, "is no list of name=value, names in letters")));
    pairs.collect()
}

fn wrong(name: &str, why: &str) -> Error {
    Error::user("KAFKA_CONFIG", format!("the Kafka property {name:?} {why}")).help(LINES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Words {
        translated(name, value, true).expect("accepted").expect("ours")
    }

    fn settings(more: &[(&str, &str)]) -> Result<Option<Settings>> {
        let mut client = ClientConfig::new();
        client.set("security.protocol", "SASL_SSL").set("sasl.mechanism", MECHANISM);
        client.set(URL, "https://h/token").set(CLIENT_ID, "me").set(CLIENT_SECRET, "hunter2");
        for (name, value) in more {
            client.set(*name, *value);
        }
        Settings::of(&client)
    }

    #[test]
    fn what_librdkafka_and_java_call_it_is_one() {
        for (name, ours) in [
            (SCOPE, SCOPE),
            (CLIENT_ID, CLIENT_ID),
            ("sasl.oauthbearer.client.credentials.client.id", CLIENT_ID),
            ("sasl.oauthbearer.client.credentials.client.secret", CLIENT_SECRET),
        ] {
            assert_eq!(one(name, "x"), [(ours.to_owned(), "x".to_owned())]);
        }
        for (name, value) in
            [("sasl.oauthbearer.method", "OIDC"), ("sasl.oauthbearer.grant.type", "client_credentials")]
        {
            assert_eq!(one(name, value), []);
        }
        let options = [("clientId", "a"), ("clientSecret", "b"), ("extension_x", "1"), ("extension_y", "2")];
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let words = of_module(&options).expect("known");
        let words: Vec<_> = words.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(words, [(CLIENT_ID, "a"), (CLIENT_SECRET, "b"), (EXTENSIONS, "x=1,y=2")]);
    }

    #[test]
    fn other_ways_to_a_token_are_refused_by_name_and_addresses_are_the_operators() {
        for (name, value) in [
            ("sasl.oauthbearer.method", "default"),
            ("sasl.oauthbearer.grant.type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("sasl.oauthbearer.assertion.private.key.passphrase", "hunter2"),
            ("sasl.oauthbearer.config", "principal=hunter2"),
            ("https.ca.pem", "x"),
            ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
        ] {
            let error = translated(name, value, true).expect_err(name);
            assert!(error.code == "KAFKA_PROPERTY_REFUSED" && error.message.contains(name), "{error}");
            assert!(error.help.contains(URL) && !error.to_string().contains("hunter2"), "{error}");
        }
        for name in [URL, AUTHORITIES] {
            assert_eq!(translated(name, "x", false).err().map(|e| e.code), Some("KAFKA_PROPERTY_REFUSED"));
        }
        let options = BTreeMap::from([("unsecuredLoginStringClaim_sub".to_owned(), "hunter2".to_owned())]);
        let error = of_module(&options).expect_err("another way");
        assert!(error.help.contains("clientSecret") && !error.to_string().contains("hunter2"), "{error}");
        assert_eq!(translated("sasl.username", "x", true).expect("not ours"), None);
    }

    #[test]
    fn settings_are_read_where_a_client_logs_in_so_and_tell_no_secret() {
        let found =
            settings(&[(EXTENSIONS, " logicalCluster=lkc-1, identityPoolId=pool=2,"), (AUTHORITIES, "/ca.pem")]);
        let found = found.expect("right").expect("a login");
        let pairs: Vec<_> = found.extensions.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("logicalCluster", "lkc-1"), ("identityPoolId", "pool=2")]);
        assert_eq!(found.authorities, Some("/ca.pem".into()));
        assert!(!format!("{found:?}").contains("hunter2"));
        assert!(settings(&[("sasl.mechanism", "PLAIN")]).expect("right").is_none());
        assert!(settings(&[("security.protocol", "SSL")]).expect("right").is_none());
        for (name, value) in [
            (URL, "file:///hunter2"),
            (URL, "https://"),
            (URL, "https://me:hunter2@h/token"),
            (EXTENSIONS, "hunter2"),
            (EXTENSIONS, "auth=hunter2"),
            (EXTENSIONS, "a-b=hunter2"),
            (EXTENSIONS, "a=hunter2\u{1}"),
        ] {
            let error = settings(&[(name, value)]).expect_err(value);
            assert!(error.code == "KAFKA_CONFIG" && error.message.contains(name), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error}");
        }
    }
}
