//! Asking for a token: one question to a server, which may be asked again a little later.
//!
//! In: who asks whom. Out: a token, or an error that says what to do. Knows nothing of clients. Source: RFC 6749 (2.3.1, 4.4, 5.2).

use super::settings::Settings;
use super::token::Token;
use crate::http::{Bounds, Client, Failure, Trust, encoded, wait};
use crate::kafka::source::clock_ms;
use crate::row::base64;
use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::{Request, Response};
use serde_json::Value;
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};

/// One question.
const BOUNDS: Bounds = Bounds { within: Duration::from_secs(8), bytes_max: 256 << 10 };
/// How long it is asked again: no longer than clients wait for brokers, with the last question.
const AGAIN_FOR: Duration = Duration::from_secs(8);
/// The pause before the second question; each one after it is twice as long.
const PAUSE: Duration = Duration::from_millis(250);
/// How much of a server's reason is repeated, in characters.
const SAID_MAX: usize = 300;

/// A token endpoint, as one of its clients sees it.
pub(super) struct Endpoint {
    http: Client,
    settings: Settings,
}

impl Endpoint {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// `KAFKA_CONFIG` for a file of authorities that cannot be used.
    pub fn new(settings: &Settings) -> Result<Self> {
        let trust = Trust { authorities: settings.authorities.clone(), ..Trust::default() };
        let http = Client::new(&trust).map_err(|why| {
            Error::user("KAFKA_CONFIG", format!("the token endpoint {} cannot be asked: {why}", settings.place()))
                .help("name a file with certificates in PEM: https.ca.location=ca.pem")
        })?;
        Ok(Self { http, settings: settings.clone() })
    }

    /// A new token. Asks again, for a few seconds, where that may help.
    ///
    /// # Errors
    /// `KAFKA_AUTH` when it does not know this client, `KAFKA_TOKEN` when there is no token for another reason.
    pub fn token(&self) -> Result<Token> {
        let (begun, mut pause) = (Instant::now(), PAUSE);
        loop {
            let now_ms = clock_ms();
            let answer = self.ask();
            let passing = match &answer {
                Ok(answer) => answer.status().is_server_error() || answer.status().as_u16() == 429,
                Err(why) => !matches!(why, Failure::Tls(_) | Failure::Unasked(_) | Failure::TooLarge(_)),
            };
            if !passing || begun.elapsed() + pause > AGAIN_FOR {
                return self.understood(answer, now_ms);
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
    }

    fn ask(&self) -> std::result::Result<Response<Bytes>, Failure> {
        let mut login = b"Basic ".to_vec();
        let pair = format!("{}:{}", encoded(&self.settings.client), encoded(&self.settings.secret));
        base64(&mut login, pair.as_bytes());
        let mut form = "grant_type=client_credentials".to_owned();
        if !self.settings.scope.is_empty() {
            form.push_str(&format!("&scope={}", encoded(&self.settings.scope)));
        }
        let question = Request::post(&self.settings.url)
            .header(AUTHORIZATION, login)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(form))
            .map_err(|_| Failure::Unasked("it is no address".to_owned()))?;
        let http = self.http.clone();
        wait(async move { http.ask(question, BOUNDS).await })?
    }

    fn understood(&self, answer: std::result::Result<Response<Bytes>, Failure>, now_ms: i64) -> Result<Token> {
        let place = self.settings.place();
        let answer = answer.map_err(|why| {
            let error = no_token(place, &why.to_string());
            match why {
                Failure::Tls(_) => error.help(
                    "name the file with the certificate of its authority, https.ca.location=ca.pem; without it those of the system count \
                     (package ca-certificates), or those in SSL_CERT_FILE",
                ),
                _ => error,
            }
        })?;
        let status = answer.status().as_u16();
        match status {
            200 => Token::read(answer.body(), now_ms)
                .map_err(|why| no_token(place, &format!("its answer is not understood: {why}"))),
            400 | 401 | 403 => {
                let what = format!("the token endpoint {place} refused this client: status {status}");
                Err(Error::user("KAFKA_AUTH", format!("{what}{}", self.reason(answer.body()))).help(
                    "check sasl.oauthbearer.client.id, sasl.oauthbearer.client.secret and sasl.oauthbearer.scope",
                ))
            }
            _ => Err(no_token(place, &format!("it answered with the status {status}"))),
        }
    }

    /// What an OAuth server says of a refusal, without the secret, which none should repeat.
    fn reason(&self, answer: &[u8]) -> String {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let words = ["error", "error_description"].iter().filter_map(|name| answer.get(name)?.as_str());
        let said = words.collect::<Vec<_>>().join(", ");
        if said.is_empty() {
            return said;
        }
        let said = [self.settings.secret.clone(), encoded(&self.settings.secret)]
            .iter()
            .filter(|secret| !secret.is_empty())
            .fold(said, |said, secret| said.replace(secret.as_str(), "***"));
        format!(", {:?}", said.chars().take(SAID_MAX).collect::<String>())
    }
}

fn no_token(place: &str, why: &str) -> Error {
    Error::external("KAFKA_TOKEN", format!("there is no token for the Kafka brokers from {place}: {why}")).help(
        "check sasl.oauthbearer.token.endpoint.url, that the server behind it runs, and that it can be reached from here",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{Authority, Server};
    use std::path::PathBuf;

    fn endpoint(url: &str, authorities: Option<PathBuf>) -> Endpoint {
        let settings = Settings {
            url: format!("{url}/token?key=hunter2"),
            client: "me".to_owned(),
            secret: "hunter2".to_owned(),
            scope: String::new(),
            extensions: Vec::new(),
            authorities,
        };
        Endpoint::new(&settings).expect("an endpoint")
    }

    fn error(endpoint: &Endpoint) -> Error {
        let error = endpoint.token().err().expect("no token");
        assert!(!format!("{error:?}").contains("hunter2"), "{error}");
        error
    }

    #[test]
    fn a_token_is_got_over_tls_from_who_is_trusted() {
        let authority = Authority::new();
        let server =
            Server::start(Some(&authority), |_| (200, r#"{"access_token": "abc", "expires_in": 60}"#.to_owned()));
        let token = endpoint(&server.url(), Some(authority.file())).token();
        assert_eq!(token.ok().map(|token| token.text).as_deref(), Some("abc"));
        let error = error(&endpoint(&server.url(), Some(Authority::new().file())));
        assert!(error.code == "KAFKA_TOKEN" && error.help.contains("https.ca.location"), "{error}");
        assert_eq!(server.asked().len(), 1);
    }

    #[test]
    fn who_is_refused_is_told_why_at_once_and_without_the_secret() {
        let said = r#"{"error": "invalid_client", "error_description": "hunter2 is wrong"}"#;
        let server = Server::start(None, |_| (401, said.to_owned()));
        let error = error(&endpoint(&server.url(), None));
        assert!(error.code == "KAFKA_AUTH" && error.message.contains("invalid_client, *** is wrong"), "{error}");
        assert_eq!(server.asked().len(), 1);
    }

    #[test]
    fn a_server_in_trouble_is_asked_again_and_one_that_says_nonsense_is_not() {
        let times = std::sync::atomic::AtomicUsize::new(0);
        let server = Server::start(None, move |_| match times.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => (503, String::new()),
            1 => (200, r#"{"access_token": "abc"}"#.to_owned()),
            _ => (200, "hunter2".to_owned()),
        });
        let endpoint = endpoint(&server.url(), None);
        assert!(endpoint.token().is_ok());
        assert_eq!(server.asked().len(), 2);
        let error = error(&endpoint);
        assert!(error.code == "KAFKA_TOKEN" && error.message.contains("no JSON"), "{error}");
        assert_eq!(server.asked().len(), 3);
    }
}
