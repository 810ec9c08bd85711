//! A schema registry: which schema has which number.
//!
//! In: the number in front of a record's value, or a schema to be registered. Out: the schema, or its number. What was asked once is
//! kept. Source: the REST API of Confluent's Schema Registry, `schemas/ids/{id}` and `subjects/{subject}/versions`.

use super::http::{Question, ask};
use crate::row::base64;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};

/// Schemas that are kept; of more the oldest are forgotten.
const KEPT_MAX: usize = 256;
/// How long a registry that does not answer is asked again before a reader gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a number that the registry does not know is taken for unknown.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);

/// A registered schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    /// `AVRO`, `PROTOBUF` or `JSON`.
    pub kind: String,
    /// Its text.
    pub text: String,
}

/// One schema registry. Threads share it.
#[derive(Debug)]
pub struct SchemaRegistry {
    url: String,
    authorization: Option<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None for a number that the registry does not know.
    known: BTreeMap<u32, (Instant, Option<Arc<Registered>>)>,
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
struct IdAnswer {
    id: u32,
}

impl SchemaRegistry {
    /// A registry at a URL, `http://host:port`; `login` is `user:password`. Nothing is asked yet.
    ///
    /// # Errors
    /// `KAFKA_REGISTRY_URL` for what is no such URL.
    pub fn new(url: &str, login: Option<&str>) -> Result<Self> {
        let url = url.trim().trim_end_matches('/');
        if !url.starts_with("http://") {
            let error =
                Error::user("KAFKA_REGISTRY_URL", format!("{url:?} is no http:// address of a schema registry"));
            return Err(
                error.help("this build has no library for TLS: name a listener without it, for example of a proxy")
            );
        }
        let authorization = login.map(|login| {
            let mut text = b"Basic ".to_vec();
            base64(&mut text, login.as_bytes());
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Self { url: url.to_owned(), authorization, state: Mutex::default() })
    }

    /// The schema of a number; none when the registry does not know it. Waits for the answer if it is not known yet.
    ///
    /// # Errors
    /// `KAFKA_REGISTRY` when there is no answer, or one that is not understood.
    pub fn schema(&self, id: u32) -> Result<Option<Arc<Registered>>> {
        if let Some(known) = self.known(id) {
            return Ok(known);
        }
        let found = self.fetch(id)?;
        self.learn(id, found.clone());
        Ok(found)
    }

    /// Whether the schema of a number is at hand, so that [`SchemaRegistry::schema`] will not wait. If not it is asked for, and
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
        let (status, answer) = self.ask(&path, Some(body.to_string()), &what)?;
        if status != 200 {
            return Err(self.refused(&what, status, &answer));
        }
        let answer: IdAnswer = serde_json::from_slice(&answer).map_err(|e| self.failed(&what, &e.to_string()))?;
        Ok(answer.id)
    }

    fn fetch(&self, id: u32) -> Result<Option<Arc<Registered>>> {
        let what = format!("ask for schema {id}");
        let (status, answer) = self.ask(&format!("/schemas/ids/{id}"), None, &what)?;
        match status {
            200 => {}
            404 => return Ok(None),
            _ => return Err(self.refused(&what, status, &answer)),
        }
        let answer: SchemaAnswer = serde_json::from_slice(&answer).map_err(|e| self.failed(&what, &e.to_string()))?;
        if !answer.references.is_empty() {
            return Err(self.failed(&what, "it refers to other schemas, which is not supported"));
        }
        let kind = answer.kind.unwrap_or_else(|| "AVRO".to_owned());
        Ok(Some(Arc::new(Registered { kind, text: answer.schema })))
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

    fn known(&self, id: u32) -> Option<Option<Arc<Registered>>> {
        let state = self.lock();
        let (at, found) = state.known.get(&id)?;
        (found.is_some() || at.elapsed() < UNKNOWN_FOR).then(|| found.clone())
    }

    fn learn(&self, id: u32, found: Option<Arc<Registered>>) {
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

    fn ask(&self, path: &str, body: Option<String>, what: &str) -> Result<(u16, Vec<u8>)> {
        let question = Question { url: format!("{}{path}", self.url), authorization: self.authorization.clone(), body };
        ask(question).map_err(|why| self.failed(what, &why))
    }

    fn failed(&self, what: &str, why: &str) -> Error {
        Error::external("KAFKA_REGISTRY", format!("cannot {what} at the schema registry {}: {why}", self.url))
            .help("check the address, that the registry runs, and that it can be reached from here")
    }

    fn refused(&self, what: &str, status: u16, answer: &[u8]) -> Error {
        let said = String::from_utf8_lossy(answer.get(..300).unwrap_or(answer)).into_owned();
        let error = Error::user(
            "KAFKA_REGISTRY",
            format!("the schema registry {} refused to {what}: status {status}, {said:?}", self.url),
        );
        error.help(match status {
            401 | 403 => "give a login that may do this, as the property basic.auth.user.info",
            409 => "the schema does not fit those registered before: change it, or the subject's compatibility",
            _ => "look at the registry's logs",
        })
    }
}

/// A subject's name as part of a path.
fn encoded(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    name.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::FakeRegistry;
    use super::*;

    fn schema(text: &str) -> Registered {
        Registered { kind: "AVRO".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_schema_is_asked_for_once() {
        let fake = FakeRegistry::start();
        let registry = Arc::new(SchemaRegistry::new(&fake.url(), Some("me:secret")).expect("a URL"));
        let id = registry.register("t/x-value", &schema("\"int\"")).expect("registered");
        assert_eq!(registry.schema(id).expect("answered").as_deref(), Some(&schema("\"int\"")));
        assert_eq!(registry.schema(id).expect("kept").as_deref(), Some(&schema("\"int\"")));
        assert_eq!(registry.ready(id), Ok(true));
        assert_eq!(registry.schema(999).expect("answered"), None);
        assert_eq!(registry.schema(999).expect("kept"), None);
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
        let registry = Arc::new(SchemaRegistry::new(&fake.url(), None).expect("a URL"));
        let begin = Instant::now();
        assert_eq!(registry.ready(id), Ok(false));
        assert!(begin.elapsed() < Duration::from_millis(200));
        while registry.ready(id) == Ok(false) {
            assert!(begin.elapsed() < Duration::from_secs(10), "never at hand");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(
            registry.schema(id).expect("at hand").as_deref(),
            Some(&Registered { kind: "AVRO".to_owned(), text: "\"long\"".to_owned() })
        );
        assert_eq!(fake.asked().len(), 1);
    }

    #[test]
    fn what_goes_wrong_has_a_code_and_names_the_registry() {
        let nobody = SchemaRegistry::new("http://127.0.0.1:1", None).expect("a URL");
        let error = nobody.schema(1).expect_err("nobody listens");
        assert!(error.code == "KAFKA_REGISTRY" && error.message.contains("http://127.0.0.1:1"), "{error}");
        let tls = SchemaRegistry::new("https://registry", None).expect_err("TLS");
        assert_eq!(tls.code, "KAFKA_REGISTRY_URL");
        let fake = FakeRegistry::start();
        let registry = SchemaRegistry::new(&fake.url(), None).expect("a URL");
        let error = registry.register("t-value", &schema("unfit")).expect_err("refused");
        assert!(error.message.contains("status 409"), "{error}");
        let id = fake.add("AVRO", "refers");
        assert!(registry.schema(id).expect_err("refused").message.contains("refers to other schemas"));
    }

    #[test]
    fn only_so_many_schemas_are_kept() {
        let registry = SchemaRegistry::new("http://127.0.0.1:1", None).expect("a URL");
        let known = Arc::new(schema("\"int\""));
        (0..KEPT_MAX as u32 + 10).for_each(|id| registry.learn(id, Some(Arc::clone(&known))));
        let state = registry.lock();
        assert_eq!((state.known.len(), state.order.len()), (KEPT_MAX, KEPT_MAX));
        assert!(!state.known.contains_key(&9) && state.known.contains_key(&10));
    }
}
