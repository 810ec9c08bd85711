//! A schema registry in this process, for tests: it keeps what it is told, and notes what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of a question that are read.
const QUESTION_BYTES_MAX: u64 = 1 << 20;

/// A registry. It lives until the process ends.
#[derive(Clone, Debug)]
pub struct FakeRegistry {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    schemas: BTreeMap<u32, (String, String)>,
    asked: Vec<String>,
    authorization: Option<String>,
    pause: Duration,
}

impl FakeRegistry {
    /// Starts one on a free port of this machine.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test cannot go on without")]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its number").port();
        let fake = Self { port, state: Arc::default() };
        let server = fake.clone();
        std::thread::spawn(move || {
            listener.incoming().flatten().for_each(|stream| server.serve(&stream).unwrap_or_default())
        });
        fake
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Puts a schema into it; gives its number.
    pub fn add(&self, kind: &str, text: &str) -> u32 {
        let mut state = self.lock();
        let found = state.schemas.iter().find(|(_, (k, t))| k == kind && t == text).map(|(id, _)| *id);
        found.unwrap_or_else(|| {
            let id = 100_000 + state.schemas.len() as u32;
            state.schemas.insert(id, (kind.to_owned(), text.to_owned()));
            id
        })
    }

    /// What it was asked, `METHOD path` each.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.lock().asked.clone()
    }

    /// The last question's login.
    #[must_use]
    pub fn authorization(&self) -> Option<String> {
        self.lock().authorization.clone()
    }

    /// Lets it think before each answer.
    pub fn pause(&self, pause: Duration) {
        self.lock().pause = pause;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one question; whoever hangs up is forgotten.
    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.take(QUESTION_BYTES_MAX));
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let mut length = 0;
        let mut authorization = None;
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().ok()?,
                "authorization" => authorization = Some(value.to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let pause = {
            let mut state = self.lock();
            state.asked.push(format!("{method} {path}"));
            state.authorization = authorization;
            state.pause
        };
        std::thread::sleep(pause);
        let (status, answer) = self.answer(&path, &body);
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
        let mut stream = stream;
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(answer.as_bytes())).ok()
    }

    fn answer(&self, path: &str, body: &[u8]) -> (u16, String) {
        if let Some(id) = path.strip_prefix("/schemas/ids/") {
            let found = id.parse().ok().and_then(|id: u32| self.lock().schemas.get(&id).cloned());
            return match found {
                None => (404, r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned()),
                Some((kind, text)) => {
                    let refers: Vec<&str> =
                        if text == "refers" || text.contains("import ") { vec!["other"] } else { Vec::new() };
                    let answer = serde_json::json!({"schema": text, "schemaType": kind, "references": refers});
                    (200, answer.to_string())
                }
            };
        }
        let told: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let word = |name: &str, other: &str| told.get(name).and_then(|v| v.as_str()).unwrap_or(other).to_owned();
        match (path.starts_with("/subjects/"), word("schema", "unfit").as_str()) {
            (true, "unfit") => (409, r#"{"error_code":409,"message":"incompatible"}"#.to_owned()),
            (true, text) => (200, format!("{{\"id\":{}}}", self.add(&word("schemaType", "AVRO"), text))),
            _ => (404, "{}".to_owned()),
        }
    }
}
