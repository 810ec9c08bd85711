//! How schema registries are reached: addresses, logins and certificates, under the names that Confluent's clients have for them.
//!
//! In: addresses as they stand in pipelines, and the properties of whoever runs the process. Out: what a client needs. Values may be secrets:
//! neither errors nor logs repeat one. Source: Confluent's `SchemaRegistryClientConfig`, and the properties of its clients in Python and Go.

use crate::http::{Keys, Trust};
use crate::row::base64;
use std::collections::BTreeMap;
use std::fmt;
use thalweg_core::error::{Error, Result};

/// What names of properties may begin with that are about a registry and not about brokers.
const PREFIX: &str = "schema.registry.";

/// What nobody but the registry may see.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a registry listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// `http://host:port` or `https://host:port`, perhaps with a path, without a slash at its end.
    pub url: String,
    /// `user:password`, where it stands in the address.
    login: Option<Secret>,
}

impl Address {
    /// Reads the addresses of one registry, with commas between them; `user:password@` may stand before a host.
    ///
    /// # Errors
    /// `KAFKA_REGISTRY_URL` for what is no such address, and when there is none. It shows nothing of the address but its scheme.
    pub fn list(text: &str) -> Result<Vec<Self>> {
        let refused = |why: &str| {
            Err(Error::user("KAFKA_REGISTRY_URL", format!("what is given as the address of a schema registry {why}"))
                .help("write http://host:port or https://host:port; several of one registry with commas between them"))
        };
        let mut all = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((scheme, rest)) = part.split_once("://") else { return refused("has no http:// or https://") };
            if !["http", "https"].contains(&scheme) {
                return refused(&format!("begins with {scheme}://"));
            }
            let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            if path.contains('@') {
                // what stands before it is a password, and would be shown
                return refused("has an @ behind its host: write / of a login as %2F, and @ of a path as %40");
            }
            let (login, host) = host.rsplit_once('@').map_or((None, host), |(login, host)| (Some(login), host));
            if host.is_empty() {
                return refused("names no host");
            }
            let login = match login.map(decoded) {
                None => None,
                Some(Some(login)) => Some(Secret(login)),
                Some(None) => return refused("has a login that is not understood: write % of it as %25"),
            };
            all.push(Self { url: format!("{scheme}://{host}{}", path.trim_end_matches('/')), login });
        }
        if all.is_empty() { refused("is empty") } else { Ok(all) }
    }

    /// The same address with another one's login, where this has none.
    #[must_use]
    pub fn or_login_of(self, other: &Self) -> Self {
        let login = self.login.or_else(|| other.login.clone());
        Self { login, ..self }
    }

    /// The header that goes with questions to it.
    pub(super) fn authorization(&self, access: &Access) -> Option<Secret> {
        let login = match access.from {
            LoginFrom::Address => self.login.as_ref(),
            LoginFrom::Properties => access.login.as_ref(),
            LoginFrom::Either => self.login.as_ref().or(access.login.as_ref()),
        };
        login.map(|login| {
            let mut text = b"Basic ".to_vec();
            base64(&mut text, login.0.as_bytes());
            Secret(String::from_utf8_lossy(&text).into_owned())
        })
    }
}

/// `%40` becomes `@`, and so on.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = (part.get(..2)?, part.get(2..)?);
        // a sign would be taken for a number's
        let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| hex)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Where logins are taken from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum LoginFrom {
    /// The address alone (`URL`).
    Address,
    /// The properties alone (`USER_INFO`, `SASL_INHERIT`).
    Properties,
    /// What is not said: the address if it has one, else the properties.
    #[default]
    Either,
}

/// How registries are asked.
#[derive(Clone, Debug, Default)]
pub struct Access {
    from: LoginFrom,
    login: Option<Secret>,
    pub(super) trust: Trust,
}

impl Access {
    /// Reads `basic.auth.credentials.source`, `basic.auth.user.info` and, behind `schema.registry.`, the properties `ssl.*`; the former
    /// may have that in front too, and then count before those that have not.
    ///
    /// # Errors
    /// `KAFKA_REGISTRY_CONFIG`, naming the property and never its value.
    pub fn of(properties: &BTreeMap<String, String>) -> Result<Self> {
        let raw = |name: &str| properties.get(&format!("{PREFIX}{name}")).map(String::as_str);
        let own = |name: &str| raw(name).map(str::trim).filter(|value| !value.is_empty());
        let either = |name: &str| own(name).or_else(|| properties.get(name).map(|value| value.trim()));
        let source = either("basic.auth.credentials.source").map(str::to_ascii_uppercase);
        let info = either("basic.auth.user.info").filter(|info| !info.is_empty());
        let (from, login) = match source.as_deref() {
            None | Some("") => (LoginFrom::Either, info.map(str::to_owned)),
            Some("URL") => (LoginFrom::Address, None),
            Some("USER_INFO") => {
                let info = info.ok_or_else(|| {
                    unfit("basic.auth.credentials.source", "it is USER_INFO, and there is no basic.auth.user.info")
                })?;
                (LoginFrom::Properties, Some(info.to_owned()))
            }
            Some("SASL_INHERIT") => {
                let word = |name: &str| properties.get(name).filter(|value| !value.is_empty());
                let (user, password) = word("sasl.username").zip(word("sasl.password")).ok_or_else(|| {
                    unfit(
                        "basic.auth.credentials.source",
                        "it is SASL_INHERIT, and there are no sasl.username and sasl.password",
                    )
                })?;
                (LoginFrom::Properties, Some(format!("{user}:{password}")))
            }
            Some(_) => {
                return Err(unfit("basic.auth.credentials.source", "it is none of URL, USER_INFO and SASL_INHERIT"));
            }
        };
        if login.as_ref().is_some_and(|login| !login.contains(':')) {
            return Err(unfit("basic.auth.user.info", "it is not user:password"));
        }
        Ok(Self { from, login: login.map(Secret), trust: trust(&raw)? })
    }
}

/// `raw` finds a property behind its prefix.
fn trust<'a>(raw: &impl Fn(&str) -> Option<&'a str>) -> Result<Trust> {
    let own = |name: &str| raw(name).map(str::trim).filter(|value| !value.is_empty());
    let pem = |kind: &str| own(kind).is_some_and(|kind| kind.eq_ignore_ascii_case("PEM"));
    let authorities = match (own("ssl.ca.location"), own("ssl.truststore.location")) {
        (Some(file), _) => Some(file),
        (None, Some(file)) if pem("ssl.truststore.type") => Some(file),
        (None, Some(_)) => {
            return Err(unfit("schema.registry.ssl.truststore.location", "a trust store of Java cannot be read"));
        }
        (None, None) => None,
    };
    let (certificate, key) =
        match (own("ssl.certificate.location"), own("ssl.key.location"), own("ssl.keystore.location")) {
            (Some(certificate), key, _) => (Some(certificate), key.or(Some(certificate))),
            (None, Some(_), _) => {
                return Err(unfit("schema.registry.ssl.key.location", "there is no ssl.certificate.location with it"));
            }
            (None, None, Some(file)) if pem("ssl.keystore.type") => (Some(file), Some(file)),
            (None, None, Some(_)) => {
                return Err(unfit("schema.registry.ssl.keystore.location", "a key store of Java cannot be read"));
            }
            (None, None, None) => (None, None),
        };
    let keys = certificate.zip(key).map(|(certificate, key)| Keys {
        certificate: certificate.into(),
        key: key.into(),
        password: own("ssl.key.password").map(str::to_owned),
    });
    let any_name = raw("ssl.endpoint.identification.algorithm").is_some_and(|kind| ["", "none"].contains(&kind.trim()));
    Ok(Trust { authorities: authorities.map(Into::into), keys, any_name })
}

/// The error of a property that is not understood.
pub(super) fn unfit(name: &str, why: &str) -> Error {
    Error::user("KAFKA_REGISTRY_CONFIG", format!("the property {name:?} of the schema registry cannot be used: {why}")).help(
        "write basic.auth.user.info=user:password for a login, schema.registry.ssl.ca.location=ca.pem for an authority of your own, \
         schema.registry.ssl.certificate.location and schema.registry.ssl.key.location for a certificate of the client, all in PEM",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(lines: &str) -> Result<Access> {
        let pairs = lines.lines().filter_map(|line| line.trim().split_once('='));
        Access::of(&pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn login(address: &str, lines: &str) -> Option<String> {
        let address = Address::list(address).expect("an address").pop().expect("one");
        address.authorization(&access(lines).expect("properties")).map(|login| login.0)
    }

    #[test]
    fn addresses_are_read_with_their_logins_and_shown_without() {
        let all = Address::list(" https://me:p%40ss@a:8081/, http://[::1]:8082/under/here/ ,https://c").expect("three");
        let urls: Vec<_> = all.iter().map(|address| address.url.as_str()).collect();
        assert_eq!(urls, ["https://a:8081", "http://[::1]:8082/under/here", "https://c"]);
        assert!(!format!("{all:?}").contains("p@ss"), "{all:?}");
        assert_eq!(all[0].login, Some(Secret("me:p@ss".to_owned())));
        for text in [
            "",
            " , ",
            "a:8081",
            "ftp://a",
            "https://",
            "https://me:pass@/x",
            "https://me:%4@a",
            "https://me:%+f@a",
            "https://me:ab/cd@host",
        ] {
            let error = Address::list(text).expect_err(text);
            assert_eq!(error.code, "KAFKA_REGISTRY_URL");
            assert!(!error.message.contains("me:"), "{error}");
        }
    }

    #[test]
    fn logins_come_from_where_the_properties_say() {
        let (own, plain) = ("https://u:p@a", "https://a");
        let basic = |text: &str| {
            let mut out = b"Basic ".to_vec();
            base64(&mut out, text.as_bytes());
            String::from_utf8(out).ok()
        };
        let info = "basic.auth.user.info=me:secret";
        assert_eq!(login(plain, info), basic("me:secret"));
        assert_eq!(login(own, info), basic("u:p"));
        assert_eq!(login(plain, ""), None);
        assert_eq!(login(own, &format!("{info}\nbasic.auth.credentials.source=USER_INFO")), basic("me:secret"));
        assert_eq!(login(own, &format!("{info}\nbasic.auth.credentials.source=url")), basic("u:p"));
        assert_eq!(login(plain, &format!("{info}\nbasic.auth.credentials.source=URL")), None);
        let inherited = "basic.auth.credentials.source=SASL_INHERIT\nsasl.username=k\nsasl.password=s";
        assert_eq!(login(own, inherited), basic("k:s"));
        let prefixed = "schema.registry.basic.auth.user.info=a:b\nbasic.auth.user.info=c:d";
        assert_eq!(login(plain, prefixed), basic("a:b"));
        for lines in [
            "basic.auth.credentials.source=USER_INFO",
            "basic.auth.credentials.source=SASL_INHERIT\nsasl.username=hunter2",
            "basic.auth.credentials.source=hunter2",
            "basic.auth.user.info=hunter2",
        ] {
            let error = access(lines).expect_err(lines);
            assert_eq!(error.code, "KAFKA_REGISTRY_CONFIG", "{lines}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", access(info)).contains("secret"));
    }

    #[test]
    fn certificates_are_those_behind_the_prefix() {
        let trust = |lines: &str| access(lines).expect("properties").trust;
        assert_eq!(trust("ssl.ca.location=/brokers.pem"), Trust::default());
        assert_eq!(trust("schema.registry.ssl.ca.location=/ca.pem").authorities, Some("/ca.pem".into()));
        let java = "schema.registry.ssl.truststore.location=/t.pem\nschema.registry.ssl.truststore.type=PEM
                    schema.registry.ssl.keystore.location=/k.pem\nschema.registry.ssl.keystore.type=pem\nschema.registry.ssl.key.password=p";
        let keys = |certificate: &str, key: &str, password: Option<&str>| {
            Some(Keys { certificate: certificate.into(), key: key.into(), password: password.map(str::to_owned) })
        };
        assert_eq!(
            (trust(java).authorities, trust(java).keys),
            (Some("/t.pem".into()), keys("/k.pem", "/k.pem", Some("p")))
        );
        let python = "schema.registry.ssl.certificate.location=/c.pem\nschema.registry.ssl.key.location=/k.pem";
        assert_eq!(trust(python).keys, keys("/c.pem", "/k.pem", None));
        for value in ["", "none"] {
            assert!(trust(&format!("schema.registry.ssl.endpoint.identification.algorithm={value}")).any_name);
        }
        assert!(!trust("schema.registry.ssl.endpoint.identification.algorithm=https").any_name);
        for lines in [
            "schema.registry.ssl.truststore.location=/t.jks",
            "schema.registry.ssl.keystore.location=/k.p12\nschema.registry.ssl.keystore.type=PKCS12",
            "schema.registry.ssl.key.location=/k.pem",
        ] {
            assert_eq!(access(lines).err().map(|e| e.code), Some("KAFKA_REGISTRY_CONFIG"), "{lines}");
        }
    }
}
