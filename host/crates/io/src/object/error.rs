//! What goes wrong with object stores, by name and with what to do.

use super::heard::{Heard, Refusal};
use super::place::{Kind, Place};
use crate::http::Failure;
use thalweg_core::error::Error;

/// What machines in a cloud are asked for their logins by: an address that means nothing elsewhere.
const METADATA: [&str; 3] = ["169.254.169.254", "169.254.170.2", "metadata.google.internal"];
/// Words of stores for logins that do not count, where the status does not say it.
const LOGIN_WORDS: [&str; 5] =
    ["ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"];
/// Their words for another region.
const REGION_WORDS: [&str; 4] =
    ["AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException"];

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The store, or the way to it.
    Store(object_store::Error),
    /// The file on this machine.
    File(String),
    /// The object is not what it should be.
    Other(String),
}

impl From<object_store::Error> for Trouble {
    fn from(error: object_store::Error) -> Self {
        Self::Store(error)
    }
}

/// The environment's words for logins at a kind of store.
fn logins(kind: Kind) -> &'static str {
    match kind {
        Kind::S3 => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN for passing ones)",
        Kind::Google => "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT",
        Kind::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or those of a client",
    }
}

/// The error for people. `what` was to be done with the place.
pub(super) fn told(trouble: Trouble, what: &str, place: &Place, heard: &Heard) -> Error {
    let url = place.url();
    let error = match trouble {
        Trouble::File(why) => {
            return Error::external("OBJECT_STORE_FILE", format!("cannot {what} {url}: {why}"))
                .help("check that the file's disk is healthy and has room, then try again");
        }
        Trouble::Other(why) => {
            return Error::external("OBJECT_STORE_FAILED", format!("cannot {what} {url}: {why}"))
                .help("see who else writes there, and try again");
        }
        Trouble::Store(error) => error,
    };
    match heard.last() {
        None => unheard(&error, what, place),
        Some(Refusal::Silence { host, why }) => silent(&host, &why, what, place),
        Some(Refusal::Status { status, code, says }) => {
            let says = match (code.is_empty(), says.is_empty()) {
                (true, true) => format!("status {status}"),
                (true, false) => format!("status {status}, {says}"),
                (false, _) => format!("status {status}, {code}: {says}"),
            };
            refused(status, &code, format!("cannot {what} {url}: the store says {says}"), place.kind)
        }
    }
}

/// Nobody was asked, or what was said was not understood.
fn unheard(error: &object_store::Error, what: &str, place: &Place) -> Error {
    Error::user("OBJECT_STORE_CONFIG", format!("cannot {what} {}: {error}", place.url()))
        .help(format!("check what the environment says of the store, first of all {}", logins(place.kind)))
}

fn silent(host: &str, why: &Failure, what: &str, place: &Place) -> Error {
    let url = place.url();
    if METADATA.iter().any(|known| host.starts_with(known)) {
        let what =
            format!("cannot {what} {url}: there is no login in the environment, and this machine has none to give");
        return Error::user("OBJECT_STORE_DENIED", what).help(format!("set {}", logins(place.kind)));
    }
    match why {
        Failure::Tls(why) => Error::user("OBJECT_STORE_TLS", format!("cannot {what} {url}: {why}")).help(
            "name the file with the certificate of the store's authority as AWS_CA_BUNDLE or SSL_CERT_FILE; without it those of the system count \
             (package ca-certificates). A store without TLS has an http:// endpoint",
        ),
        Failure::Unasked(why) => Error::user("OBJECT_STORE_CONFIG", format!("cannot {what} {url} at {host}: {why}"))
            .help("check the endpoint, such as AWS_ENDPOINT_URL; for one without TLS set AWS_ALLOW_HTTP=true"),
        why => Error::external("OBJECT_STORE_UNREACHABLE", format!("cannot {what} {url}: {host}: {why}"))
            .help("check the endpoint, such as AWS_ENDPOINT_URL, and that it can be reached from here, then try again"),
    }
}

fn refused(status: u16, code: &str, what: String, kind: Kind) -> Error {
    if REGION_WORDS.contains(&code) || (300..400).contains(&status) {
        return Error::user("OBJECT_STORE_CONFIG", what).help("set AWS_REGION to the bucket's region");
    }
    if LOGIN_WORDS.contains(&code) || status == 401 || status == 403 {
        return Error::user("OBJECT_STORE_DENIED", what)
            .help(format!("give a login that may read, write, list and delete there: {}", logins(kind)));
    }
    match status {
        404 => Error::user("OBJECT_STORE_BUCKET", what)
            .help("make the bucket, or correct its name; nobody makes it for you"),
        408 | 429 | 500.. => {
            Error::external("OBJECT_STORE_UNREACHABLE", what).help("look at the store, and try again when it is well")
        }
        _ => Error::external("OBJECT_STORE_FAILED", what).help("look at what the store says"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hyper::Response;
    use std::time::Duration;

    fn store() -> Trouble {
        Trouble::Store(object_store::Error::Generic { store: "S3", source: "x".into() })
    }

    #[test]
    fn what_a_store_says_has_a_code_and_help() {
        let place = Place::read("s3://b/x").expect("a place");
        for (status, code, wanted, help) in [
            (403, "SignatureDoesNotMatch", "OBJECT_STORE_DENIED", "AWS_SECRET_ACCESS_KEY"),
            (400, "ExpiredToken", "OBJECT_STORE_DENIED", "AWS_SESSION_TOKEN"),
            (404, "NoSuchBucket", "OBJECT_STORE_BUCKET", "bucket"),
            (301, "PermanentRedirect", "OBJECT_STORE_CONFIG", "AWS_REGION"),
            (503, "SlowDown", "OBJECT_STORE_UNREACHABLE", "try again"),
            (400, "EntityTooSmall", "OBJECT_STORE_FAILED", "store"),
        ] {
            let heard = Heard::default();
            let body = format!("<Error><Code>{code}</Code><Message>so it is</Message></Error>");
            heard.answer(&Response::builder().status(status).body(Bytes::from(body)).expect("an answer"));
            let error = told(store(), "list", &place, &heard);
            assert!(error.code == wanted && error.help.contains(help), "{error} {}", error.help);
            assert!(error.message.contains("s3://b/x") && error.message.contains("so it is"), "{error}");
        }
    }

    #[test]
    fn silence_is_told_from_a_login_that_nobody_has() {
        let place = Place::read("s3://b/x").expect("a place");
        for (host, why, wanted) in [
            ("a:9000", Failure::Unreachable("refused".to_owned()), "OBJECT_STORE_UNREACHABLE"),
            ("a:9000", Failure::Slow(Duration::from_secs(3)), "OBJECT_STORE_UNREACHABLE"),
            ("a:9000", Failure::Tls("unknown".to_owned()), "OBJECT_STORE_TLS"),
            ("a:9000", Failure::Unasked("no TLS".to_owned()), "OBJECT_STORE_CONFIG"),
            ("169.254.169.254", Failure::Unreachable("no route".to_owned()), "OBJECT_STORE_DENIED"),
        ] {
            let heard = Heard::default();
            heard.silence(host, &why);
            assert_eq!(told(store(), "list", &place, &heard).code, wanted, "{host} {why}");
        }
        assert_eq!(told(store(), "list", &place, &Heard::default()).code, "OBJECT_STORE_CONFIG");
    }
}
