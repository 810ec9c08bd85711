//! A server of OAuth tokens in this process: it gives them to one client that shows its secret, unsigned, as brokers take them that are told to.

use crate::http::{Question, base64, serve};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A server. It lives until the process ends.
#[derive(Debug)]
pub struct Tokens {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
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
    pub fn start(login: &str, lives: Duration) -> Result<Self> {
        let state = Arc::new(State { login: login.to_owned(), lives, asked: Mutex::default() });
        let served = Arc::clone(&state);
        Ok(Self { port: serve(move |question| served.answer(question))?, state })
    }

    /// Where it is: `/token` gives tokens, `/nobody` such that name nobody, `/nonsense` none.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Bodies of questions, and the status of their answers.
    #[must_use]
    pub fn asked(&self) -> Vec<(String, u16)> {
        self.state.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    fn answer(&self, question: &Question) -> Result<(u16, String)> {
        ensure!(question.method == "POST", "a question that is none");
        let known = question.login == base64(self.login.as_bytes());
        let (status, answer) =
            if known { (200, self.token(&question.path)?) } else { (401, r#"{"error":"invalid_client"}"#.to_owned()) };
        let asked = (String::from_utf8_lossy(&question.body).into_owned(), status);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        Ok((status, answer))
    }

    fn token(&self, path: &str) -> Result<String> {
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
