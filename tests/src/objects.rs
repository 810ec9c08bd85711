//! An object store on this machine (`tests/programs/object_store.py`), and servers with TLS in front of others (`tls_front.py`).

use crate::child::{Run, Running};
use crate::python::program;
use crate::server::{free_port, listens};
use crate::watchdog;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

/// Seconds a server of a test may live.
const LIMIT_SECONDS: u64 = 900;
/// Who may use the store, with what password, and its only bucket.
const USER: &str = "tester";
const SECRET: &str = "secret of tester";

/// A store that speaks like S3, Google's and Azure's.
#[derive(Debug)]
pub struct Store {
    _running: Running,
    port: u16,
}

impl Store {
    /// Starts one.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn start() -> Result<Self> {
        let port = free_port()?;
        let mut running = program("object_store.py")?.arg(port.to_string()).limit(LIMIT_SECONDS).start()?;
        running.until("it listens", |_| Ok(listens(port)))?;
        Ok(Self { _running: running, port })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The variables with which it is S3.
    #[must_use]
    pub fn s3(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        let pairs = [
            ("AWS_ACCESS_KEY_ID", USER),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "eu-north-1"),
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// The variables with which it is Google's store.
    #[must_use]
    pub fn google(&self) -> Vec<(String, String)> {
        let key = serde_json::json!({
            "gcs_base_url": format!("http://127.0.0.1:{}/google", self.port), "disable_oauth": true,
            "client_email": "", "private_key": "", "private_key_id": "",
        });
        let pairs = [("GOOGLE_SERVICE_ACCOUNT_KEY", key.to_string()), ("GOOGLE_ALLOW_HTTP", "true".to_owned())];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// The variables with which it is Azure's store.
    #[must_use]
    pub fn azure(&self) -> Vec<(String, String)> {
        let pairs = [
            ("AZURE_STORAGE_ACCOUNT_NAME", USER.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0IG9mIHRlc3Rlcg==".to_owned()),
            ("AZURE_STORAGE_ENDPOINT", format!("http://127.0.0.1:{}/azure", self.port)),
            ("AZURE_ALLOW_HTTP", "true".to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// The names of its objects, in order.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn objects(&self) -> Result<Vec<String>> {
        let state = self.control("state")?;
        Ok(state["objects"].as_object().context("objects")?.keys().cloned().collect())
    }

    /// What it was asked so far.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn asked(&self) -> Result<Vec<String>> {
        let state = self.control("state")?;
        let asked = state["asked"].as_array().context("what it was asked")?;
        Ok(asked.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// How many uploads are begun and not ended.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn open_uploads(&self) -> Result<u64> {
        self.control("state")?["uploads"].as_u64().context("uploads")
    }

    /// Has it cut the connection in the middle of `count` requests, after `after` others.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn cut(&self, after: u32, count: u32) -> Result<()> {
        self.control(&format!("cut?after={after}&count={count}")).map(drop)
    }

    /// Has it take so many contents more, and refuse others.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn full_after(&self, contents: u32) -> Result<()> {
        self.control(&format!("full?after={contents}")).map(drop)
    }

    /// Changes a byte of an object.
    ///
    /// # Errors
    /// When there is no such object.
    pub fn spoil(&self, name: &str) -> Result<()> {
        self.control(&format!("spoil?name={name}")).map(drop)
    }

    fn control(&self, words: &str) -> Result<Value> {
        let mut line = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(line, "GET /-/{words} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        line.read_to_string(&mut text)?;
        let (_, body) = text.split_once("\r\n\r\n").context("an answer")?;
        serde_json::from_str(body).with_context(|| format!("not JSON: {text}"))
    }
}

/// A server that speaks TLS, with another one behind it.
#[derive(Debug)]
pub struct Front {
    _running: Running,
    port: u16,
    folder: PathBuf,
}

impl Front {
    /// Starts one before the server at a port of this machine.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn start(behind: u16) -> Result<Self> {
        let (port, folder) = (free_port()?, watchdog::folder("front")?);
        let program = program("tls_front.py")?.arg(port.to_string()).arg(behind.to_string()).arg(&folder);
        let mut running = program.limit(LIMIT_SECONDS).start()?;
        running.until("it has its certificate", |_| Ok(folder.join("ca.pem").exists()))?;
        Ok(Self { _running: running, port, folder })
    }

    /// Where it is: the name that its certificate has.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// A file of certificates: `ca.pem` of its authority, `other.pem` of another.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// A command with these variables.
#[must_use]
pub fn with(run: Run, variables: &[(String, String)]) -> Run {
    variables.iter().fold(run, |run, (name, value)| run.env(name, value))
}
