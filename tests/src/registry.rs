//! A schema registry in this process: as much of Confluent's API as writers and readers of records need.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
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
        let listener = TcpListener::bind("127.0.0.1:0").context("a port for the registry")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State { login, ..State::default() }));
        let served = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // whoever hangs up is forgotten
                serve(stream, &served).unwrap_or_default();
            }
        });
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

    fn answer(&mut self, path: &str, body: &[u8]) -> (u16, Value) {
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

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = words.next().zip(words.next()).context("a question")?;
    let (mut length, mut login) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse()?;
        } else if name.eq_ignore_ascii_case("authorization") {
            value.trim_start_matches("Basic ").clone_into(&mut login);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, answer) = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked.push(format!("{method} {path}"));
        let known = state.login.as_ref().is_none_or(|wanted| base64(wanted.as_bytes()) == login);
        if known { state.answer(&path, &body) } else { (401, json!({"error_code": 40101})) }
    };
    let answer = answer.to_string();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    Ok(stream.write_all(format!("{head}{answer}").as_bytes())?)
}

/// RFC 4648.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
        let digit = |n: usize| if n <= group.len() { char::from(DIGITS[bits >> (18 - 6 * n) & 63]) } else { '=' };
        text.extend((0..4).map(digit));
    }
    text
}
