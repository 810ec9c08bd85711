//! A schema registry: which schema has which number.
//!
//! In: the number in front of a record's value, or a schema to be registered. Out: the schema, or its number. What was asked once is
//! kept. Source: the REST API of Confluent's Schema Registry, `schemas/ids/{id}` and `subjects/{subject}/versions`.

use super::access::{Access, Address, Secret, unfit};
use crate::http::{Bounds, Client, Failure, encoded, wait};
use bytes::Bytes;
use hyper::Request;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};

/// What a question may cost.
const BOUNDS: Bounds = Bounds { within: Duration::from_secs(10), bytes_max: 1 << 20 };
/// What a registry speaks.
const KIND: &str = "application/vnd.schemaregistry.v1+json";
/// Schemas that are kept; of more the oldest are forgotten.
const KEPT_MAX: usize = 256;
/// How long a registry that does not answer is asked again before a reader gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a number is taken for one without a schema that can be used.
const NONE_FOR: Duration = Duration::from_secs(30);
/// What a registry says that does not know what is asked for: no subject, no version, no schema. A status of 404 alone may be said by
/// anybody, at any wrong address. Source: `Errors` of Confluent's Schema Registry.
const NOT_KNOWN: [u32; 3] = [40401, 40402, 40403];

/// A registered schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    /// `AVRO`, `PROTOBUF` or `JSON`.
    pub kind: String,
    /// Its text.
    pub text: String,
}

/// What a registry says of a number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// It has this schema.
    Schema(Arc<Registered>),
    /// It does not know the number.
    Unknown,
    /// It has one that cannot be used: a sentence on why.
    Unusable(Arc<str>),
}

/// One schema registry. Threads share it.
#[derive(Debug)]
pub struct SchemaRegistry {
    /// Its addresses with their logins, in the order in which they are tried.
    addresses: Vec<(String, Option<Secret>)>,
    /// Which of them answered last.
    answers: AtomicUsize,
    client: Client,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What was said of a number, and when.
    known: BTreeMap<u32, (Instant, Found)>,
    /// Numbers in the order in which they were learned.
    order: VecDeque<u32>,
    asked: BTreeSet<u32>,
    failed: BTreeMap<u32, Error>,
}

#[derive(Deserialize)]
struct SchemaAnswer {
    schema: String,
    #[serde(rename = "schemaType", default)]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Refusal {
    error_code: u32,
}

#[derive(Deserialize)]
struct IdAnswer {
    id: u32,
}

/// An address that gave no answer, and why.
struct Silent {
    url: String,
    why: Failure,
}

impl SchemaRegistry {
    /// A registry at these addresses, of which there is one at least. Nothing is asked yet.
    ///
    /// # Errors
    /// `KAFKA_REGISTRY_CONFIG` for a file that cannot be used.
    pub fn new(addresses: &[Address], access: &Access) -> Result<Self> {
        let client = Client::new(&access.trust).map_err(|why| unfit("schema.registry.ssl.*", &why))?;
        let addresses = addresses.iter().map(|address| (address.url.clone(), address.authorization(access))).collect();
        Ok(Self { addresses, answers: AtomicUsize::new(0), client, state: Mutex::default() })
    }

    /// The schema of a number. Waits for the answer if it is not known yet.
    ///
    /// # Errors
    /// `KAFKA_REGISTRY` when there is no answer, or one that is not understood.
    pub fn schema(&self, id: u32) -> Result<Found> {
        if let Some(known) = self.known(id) {
            return Ok(known);
        }
        let found = self.fetch(id)?;
        self.learn(id, found.clone());
        Ok(found)
    }

    /// Whether it is known what schema a number has, so that [`SchemaRegistry::schema`] will not wait. If not it is asked for, and
    /// will be soon. Never waits.
    ///
    /// # Errors
    /// `KAFKA_REGISTRY` when the registry did not answer for half a minute.
    pub fn ready(self: &Arc<Self>, id: u32) -> Result<bool> {
        if self.known(id).is_some() {
            return Ok(true);
        }
        let mut state = self.lock();
        if let Some(failed) = state.failed.remove(&id) {
            return Err(failed);
        }
        if state.asked.insert(id) {
            let this = Arc::clone(self);
            let thread = std::thread::Builder::new().name("schema-registry".to_owned());
            if thread.spawn(move || this.ask_until_answered(id)).is_err() {
                state.asked.remove(&id); // tried again by the next question
            }
        }
        Ok(false)
    }

    /// The number of a schema under a subject, which is registered there if it is not yet.
    ///
    /// # Errors
    /// `KAFKA_REGISTRY` when there is no answer, or the registry refuses the schema (it may not fit earlier ones).
    pub fn register(&self, subject: &str, schema: &Registered) -> Result<u32> {
        let mut body = serde_json::json!({"schema": schema.text});
        if let (true, Some(members)) = (schema.kind != "AVRO", body.as_object_mut()) {
            members.insert("schemaType".to_owned(), schema.kind.clone().into());
        }
        let what = format!("register a schema under {subject:?}");
        let path = format!("/subjects/{}/versions", encoded(subject));
        let (status, answer) =
            self.ask(&path, Some(body.to_string())).map_err(|silent| self.no_answer(&what, &silent))?;
        if status != 200 {
            return Err(self.refused(&what, status, &answer));
        }
        let answer: IdAnswer = serde_json::from_slice(&answer).map_err(|e| self.failed(&what, &e.to_string()))?;
        Ok(answer.id)
    }

    fn fetch(&self, id: u32) -> Result<Found> {
        let what = format!("ask for schema {id}");
        let (status, answer) = match self.ask(&format!("/schemas/ids/{id}"), None) {
            Ok(answer) => answer,
            // it will be as large the next time
            Err(Silent { why: why @ Failure::TooLarge(_), .. }) => {
                return Ok(Found::Unusable(format!("it is too large: {why}").into()));
            }
            Err(silent) => return Err(self.no_answer(&what, &silent)),
        };
        match status {
            200 => {}
            404 if serde_json::from_slice(&answer).is_ok_and(|r: Refusal| NOT_KNOWN.contains(&r.error_code)) => {
                return Ok(Found::Unknown);
            }
            _ => return Err(self.refused(&what, status, &answer)),
        }
        let answer: SchemaAnswer = serde_json::from_slice(&answer).map_err(|e| self.failed(&what, &e.to_string()))?;
        let kind = answer.kind.unwrap_or_else(|| "AVRO".to_owned());
        // of Protobuf only the names of a file's own messages are asked
        if kind != "PROTOBUF" && !answer.references.is_empty() {
            return Ok(Found::Unusable("it refers to other schemas, which is not supported".into()));
        }
        Ok(Found::Schema(Arc::new(Registered { kind, text: answer.schema })))
    }

    fn ask_until_answered(&self, id: u32) {
        let end = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(100);
        let found = loop {
            match self.fetch(id) {
                Err(e) if Instant::now() + pause < end => tracing::debug!(target: "kafka", "asking again: {e}"),
                found => break found,
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(2));
        };
        match found {
            Ok(found) => self.learn(id, found),
            Err(e) => {
                self.lock().failed.insert(id, e);
            }
        }
        self.lock().asked.remove(&id);
    }

    fn known(&self, id: u32) -> Option<Found> {
        // registries count with Java's int: a larger number is none, and one that is asked for it does not say so in its own words
        if i32::try_from(id).is_err() {
            return Some(Found::Unknown);
        }
        let state = self.lock();
        let (at, found) = state.known.get(&id)?;
        (matches!(found, Found::Schema(_)) || at.elapsed() < NONE_FOR).then(|| found.clone())
    }

    fn learn(&self, id: u32, found: Found) {
        let mut state = self.lock();
        if state.known.insert(id, (Instant::now(), found)).is_none() {
            state.order.push_back(id);
        }
        while state.known.len() > KEPT_MAX {
            let Some(oldest) = state.order.pop_front() else { break };
            state.known.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one address after the other until one answers; begins with the one that did so last.
    fn ask(&self, path: &str, body: Option<String>) -> std::result::Result<(u16, Vec<u8>), Silent> {
        let (begin, count) = (self.answers.load(Ordering::Relaxed), self.addresses.len());
        let mut last = Err(Silent { url: String::new(), why: Failure::Unasked("it has no address".to_owned()) });
        for at in (begin..begin + count).map(|at| at % count.max(1)) {
            let Some((url, login)) = self.addresses.get(at) else { break };
            last =
                self.ask_at(url, login.as_ref(), path, body.as_deref()).map_err(|why| Silent { url: url.clone(), why });
            // what one of them cannot do at the moment another may
            let answered = match &last {
                Ok((status, _)) => *status < 500,
                Err(silent) => matches!(silent.why, Failure::TooLarge(_)),
            };
            if answered {
                self.answers.store(at, Ordering::Relaxed);
                break;
            }
        }
        last
    }

    fn ask_at(
        &self,
        url: &str,
        login: Option<&Secret>,
        path: &str,
        body: Option<&str>,
    ) -> std::result::Result<(u16, Vec<u8>), Failure> {
        let url = format!("{url}{path}");
        let mut question =
            if body.is_some() { Request::post(url).header(CONTENT_TYPE, KIND) } else { Request::get(url) };
        question = question.header(ACCEPT, KIND);
        if let Some(login) = login {
            question = question.header(AUTHORIZATION, login.0.as_str());
        }
        let body = Bytes::from(body.unwrap_or_default().to_owned());
        let question = question.body(body).map_err(|e| Failure::Unasked(e.to_string()))?;
        let client = self.client.clone();
        let answer = wait(async move { client.ask(question, BOUNDS).await })??;
        Ok((answer.status().as_u16(), answer.into_body().into()))
    }

    /// Where it is, for people.
    fn place(&self) -> String {
        let urls: Vec<&str> = self.addresses.iter().map(|(url, _)| url.as_str()).collect();
        urls.join(", ")
    }

    fn no_answer(&self, what: &str, Silent { url, why }: &Silent) -> Error {
        match why {
            Failure::Tls(why) => {
                Error::user("KAFKA_REGISTRY_TLS", format!("cannot {what} at the schema registry {url}: {why}")).help(
                    "name the file with the certificate of its authority, -X schema.registry.ssl.ca.location=ca.pem; without it those of the \
                     system count (package ca-certificates), or those in SSL_CERT_FILE",
                )
            }
            why => self.failed(what, &format!("{url}: {why}")),
        }
    }

    fn failed(&self, what: &str, why: &str) -> Error {
        Error::external("KAFKA_REGISTRY", format!("cannot {what} at the schema registry {}: {why}", self.place()))
            .help("check the address, that the registry runs, and that it can be reached from here")
    }

    fn refused(&self, what: &str, status: u16, answer: &[u8]) -> Error {
        let said = String::from_utf8_lossy(answer.get(..300).unwrap_or(answer)).into_owned();
        let error = Error::user(
            "KAFKA_REGISTRY",
            format!("the schema registry {} refused to {what}: status {status}, {said:?}", self.place()),
        );
        error.help(match status {
            404 => "check the address and its path: a registry that does not know a schema says so with an error_code",
            401 | 403 => "give a login that may do this, as the property basic.auth.user.info",
            409 => "the schema does not fit those registered before: change it, or the subject's compatibility",
            _ => "look at the registry's logs",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::FakeRegistry;
    use super::*;
    use crate::http::testing::{Authority, Server};

    /// The registry at these addresses, without properties.
    fn at(addresses: &str) -> SchemaRegistry {
        SchemaRegistry::new(&Address::list(addresses).expect("addresses"), &Access::default()).expect("a client")
    }

    fn schema(text: &str) -> Registered {
        Registered { kind: "AVRO".to_owned(), text: text.to_owned() }
    }

    fn found(text: &str) -> Result<Found> {
        Ok(Found::Schema(Arc::new(schema(text))))
    }

    #[test]
    fn a_schema_is_asked_for_once() {
        let fake = FakeRegistry::start();
        let registry = Arc::new(at(&fake.url().replace("://", "://me:secret@")));
        let id = registry.register("t/x-value", &schema("\"int\"")).expect("registered");
        assert_eq!(registry.schema(id), found("\"int\""));
        assert_eq!(registry.schema(id), found("\"int\""));
        assert_eq!(registry.ready(id), Ok(true));
        assert_eq!(registry.schema(999), Ok(Found::Unknown));
        assert_eq!(registry.schema(999), Ok(Found::Unknown));
        assert_eq!(registry.schema(u32::MAX), Ok(Found::Unknown), "no registry counts so far");
        assert_eq!(
            fake.asked(),
            ["POST /subjects/t%2Fx-value/versions", &format!("GET /schemas/ids/{id}"), "GET /schemas/ids/999"]
        );
        assert_eq!(fake.authorization().as_deref(), Some("Basic bWU6c2VjcmV0"));
    }

    #[test]
    fn readers_are_told_when_it_is_at_hand_and_never_wait() {
        let fake = FakeRegistry::start();
        let id = fake.add("AVRO", "\"long\"");
        fake.pause(Duration::from_millis(300));
        let registry = Arc::new(at(&fake.url()));
        let begin = Instant::now();
        assert_eq!(registry.ready(id), Ok(false));
        assert!(begin.elapsed() < Duration::from_millis(200));
        while registry.ready(id) == Ok(false) {
            assert!(begin.elapsed() < Duration::from_secs(10), "never at hand");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(registry.schema(id), found("\"long\""));
        assert_eq!(fake.asked().len(), 1);
    }

    #[test]
    fn what_goes_wrong_has_a_code_and_names_the_registry() {
        let nobody = at("http://127.0.0.1:1");
        let error = nobody.schema(1).expect_err("nobody listens");
        assert!(error.code == "KAFKA_REGISTRY" && error.message.contains("http://127.0.0.1:1"), "{error}");
        let fake = FakeRegistry::start();
        let registry = at(&fake.url());
        let error = registry.register("t-value", &schema("unfit")).expect_err("refused");
        assert!(error.message.contains("status 409"), "{error}");
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_at_hand_with_the_reason() {
        let fake = FakeRegistry::start();
        let large = format!("\"{}\"", "x".repeat(BOUNDS.bytes_max));
        for (text, wanted) in [("refers", "refers to other schemas"), (large.as_str(), "more than 1048576 bytes")] {
            let registry = Arc::new(at(&fake.url()));
            let id = fake.add("AVRO", text);
            let begin = Instant::now();
            while registry.ready(id) == Ok(false) {
                assert!(begin.elapsed() < Duration::from_secs(10), "never at hand");
                std::thread::sleep(Duration::from_millis(10));
            }
            assert_eq!(registry.ready(id), Ok(true));
            let found = registry.schema(id);
            assert!(matches!(&found, Ok(Found::Unusable(why)) if why.contains(wanted)), "{found:?}");
        }
        assert_eq!(fake.asked().len(), 2);
    }

    #[test]
    fn a_number_is_unknown_only_if_a_registry_says_so() {
        for (body, known) in [
            ("<h1>Not Found</h1>", false),
            (r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#, false),
            (r#"{"error_code":40403,"message":"Schema 7 not found"}"#, true),
        ] {
            let server = Server::start(None, move |_| (404, body.to_owned()));
            let answer = at(&format!("{}/wrong/path", server.url())).schema(7);
            match answer {
                Ok(found) => assert!(known && found == Found::Unknown, "{body}: {found:?}"),
                Err(e) => {
                    assert!(!known && e.code == "KAFKA_REGISTRY" && e.message.contains("status 404"), "{body}: {e}");
                    assert!(e.help.contains("check the address and its path"), "{e}");
                }
            }
        }
    }

    #[test]
    fn the_next_address_is_asked_where_one_cannot_answer_and_stays() {
        let (sick, fake) = (Server::start(None, |_| (503, String::new())), FakeRegistry::start());
        let id = fake.add("AVRO", "\"int\"");
        let registry = at(&format!("http://127.0.0.1:1, {}, {}", sick.url(), fake.url()));
        assert_eq!(registry.schema(id), found("\"int\""));
        assert_eq!(sick.asked().len(), 1);
        assert_eq!(registry.schema(id + 1), Ok(Found::Unknown));
        assert_eq!((sick.asked().len(), fake.asked().len()), (1, 2), "it begins with the one that answered");
        let both = at(&format!("http://127.0.0.1:1,{}", sick.url()));
        let error = both.schema(id).expect_err("nobody can");
        assert!(error.message.contains("status 503") && error.message.contains("http://127.0.0.1:1, "), "{error}");
    }

    #[test]
    fn a_registry_is_asked_over_tls_if_its_authority_is_known() {
        let authority = Authority::new();
        let server = Server::start(Some(&authority), |_| (200, r#"{"schema": "\"int\""}"#.to_owned()));
        let addresses = Address::list(&server.url()).expect("an address");
        let stranger = SchemaRegistry::new(&addresses, &Access::default()).expect("a client");
        let error = stranger.schema(7).expect_err("not trusted");
        assert!(
            error.code == "KAFKA_REGISTRY_TLS" && error.help.contains("schema.registry.ssl.ca.location"),
            "{error}"
        );
        let file = authority.file().display().to_string();
        let properties = [("schema.registry.ssl.ca.location".to_owned(), file)].into();
        let access = Access::of(&properties).expect("properties");
        let known = SchemaRegistry::new(&addresses, &access).expect("a client");
        assert_eq!(known.schema(7), found("\"int\""));
        assert_eq!(server.asked(), ["/schemas/ids/7"]);
        let properties = [("schema.registry.ssl.ca.location".to_owned(), "/no/ca.pem".to_owned())].into();
        let missing = SchemaRegistry::new(&addresses, &Access::of(&properties).expect("properties"));
        assert_eq!(missing.err().map(|e| e.code), Some("KAFKA_REGISTRY_CONFIG"));
    }

    #[test]
    fn only_so_many_schemas_are_kept() {
        let registry = at("http://127.0.0.1:1");
        let known = found("\"int\"").expect("a schema");
        (0..KEPT_MAX as u32 + 10).for_each(|id| registry.learn(id, known.clone()));
        let state = registry.lock();
        assert_eq!((state.known.len(), state.order.len()), (KEPT_MAX, KEPT_MAX));
        assert!(!state.known.contains_key(&9) && state.known.contains_key(&10));
    }
}
