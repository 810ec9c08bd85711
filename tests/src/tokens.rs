//! A server of OAuth tokens in this process: it gives them to one client that shows its secret, unsigned, as brokers take them that are told to.

use crate::registry::base64;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A server. It lives until the process ends.
#[derive(Debug)]
pub struct Tokens {
    port: u16,
    /// `client:secret`, both as forms have them.
    login: String,
    lives: Duration,
    asked: Mutex<Vec<(String, u16)>>,
}

impl Tokens {
    /// One that answers this client alone, `client:secret`, both as forms have them, with tokens that live so long.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(login: &str, lives: Duration) -> Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a port for tokens")?;
        let port = listener.local_addr()?.port();
        let this = Arc::new(Self { port, login: login.to_owned(), lives, asked: Mutex::default() });
        let served = Arc::clone(&this);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // whoever hangs up is forgotten
                served.serve(stream).unwrap_or_default();
            }
        });
        Ok(this)
    }

    /// Where it is: `/token` gives tokens, `/nobody` such that name nobody, `/nonsense` none.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Bodies of questions, and the status of their answers.
    #[must_use]
    pub fn asked(&self) -> Vec<(String, u16)> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn serve(&self, mut stream: TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.strip_prefix("POST ").and_then(|rest| rest.split_whitespace().next()).context("a question")?;
        let (path, mut length, mut login) = (path.to_owned(), 0, String::new());
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse()?,
                "authorization" => value.clone_into(&mut login),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let known = login == format!("Basic {}", base64(self.login.as_bytes()));
        let (status, answer) =
            if known { (200, self.answer(&path)?) } else { (401, r#"{"error":"invalid_client"}"#.to_owned()) };
        let asked = (String::from_utf8_lossy(&body).into_owned(), status);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
        Ok(stream.write_all(format!("{head}{answer}").as_bytes())?)
    }

    fn answer(&self, path: &str) -> Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let lives = self.lives.as_secs();
        let mut claims = json!({"iat": now, "exp": now + lives, "scope": "kafka"});
        match path {
            "/token" => claims["sub"] = json!("somebody"),
            "/nobody" => {}
            _ => return Ok("secret of a server that is none".to_owned()),
        }
        let token = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims));
        Ok(json!({"access_token": token, "token_type": "Bearer", "expires_in": lives}).to_string())
    }
}

/// A part of a JWT.
fn part(value: &Value) -> String {
    base64(value.to_string().as_bytes()).replace('+', "-").replace('/', "_").replace('=', "")
}
