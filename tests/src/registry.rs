//! A schema registry in this process: as much of Confluent's API as writers and readers of records need.

use crate::http::{Question, base64, serve};
use anyhow::Result;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// A registry. It lives until the process ends.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    state: Arc<Mutex<State>>,
}

/// Schemas by number, counted from 1, and what was asked.
#[derive(Debug, Default)]
struct State {
    schemas: Vec<Value>,
    asked: Vec<String>,
    /// `user:password` of those that are answered; everybody without it.
    login: Option<String>,
}

impl Registry {
    /// Starts one on a free port of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self> {
        Self::begin(None)
    }

    /// One that answers this user alone, `user:password`.
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub fn start_for(login: &str) -> Result<Self> {
        Self::begin(Some(login.to_owned()))
    }

    fn begin(login: Option<String>) -> Result<Self> {
        let state = Arc::new(Mutex::new(State { login, ..State::default() }));
        let served = Arc::clone(&state);
        let port = serve(move |question| {
            let (status, answer) = served.lock().unwrap_or_else(PoisonError::into_inner).answer(question);
            Ok((status, answer.to_string()))
        })?;
        Ok(Self { port, state })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Puts a schema into it; gives its number.
    #[must_use]
    pub fn add(&self, kind: &str, text: &str) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).add(json!({"schemaType": kind, "schema": text}))
    }

    /// What it was asked, `METHOD path` each.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }
}

impl State {
    fn add(&mut self, schema: Value) -> usize {
        let known = self.schemas.iter().position(|known| *known == schema);
        known.map_or_else(
            || {
                self.schemas.push(schema);
                self.schemas.len()
            },
            |at| at + 1,
        )
    }

    fn answer(&mut self, question: &Question) -> (u16, Value) {
        let Question { method, path, login, body } = question;
        self.asked.push(format!("{method} {path}"));
        if self.login.as_ref().is_some_and(|wanted| base64(wanted.as_bytes()) != *login) {
            return (401, json!({"error_code": 40101}));
        }
        if let Some(id) = path.strip_prefix("/schemas/ids/") {
            let found = id.parse::<usize>().ok().and_then(|id| self.schemas.get(id.checked_sub(1)?));
            return found.map_or_else(|| (404, json!({"error_code": 40403})), |schema| (200, schema.clone()));
        }
        match serde_json::from_slice::<Value>(body) {
            Ok(told) if path.starts_with("/subjects/") => {
                let kind = told.get("schemaType").cloned().unwrap_or_else(|| json!("AVRO"));
                (200, json!({"id": self.add(json!({"schemaType": kind, "schema": told["schema"]}))}))
            }
            _ => (404, json!({})),
        }
    }
}
