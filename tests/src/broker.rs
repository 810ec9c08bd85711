//! A real Kafka broker, and a client in Java that shares nothing with ours: it fills topics and reads what was committed.

mod client;

use crate::child::Run;
use crate::lines::Lines;
use crate::{place, watchdog};
use anyhow::{Context as _, Result, anyhow};
use client::Clients;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::sleep;
use std::time::Duration;

/// A broker.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Where those find it who are tested.
    bootstrap: String,
    /// The client in Java, by the listener without TLS.
    clients: Arc<Clients>,
    folder: PathBuf,
}

/// A broker by its listeners.
#[derive(Debug)]
pub struct Secure {
    /// Without TLS.
    pub plain: Broker,
    /// `SASL_SSL`.
    pub login: Broker,
    /// `SSL`, for clients with a certificate.
    pub certificate: Broker,
    /// Where keys are: the authority's `ca.pem`, `client.p12`, and `other.pem` of an authority that signed nothing.
    pub keys: PathBuf,
}

impl Secure {
    /// The path of a key.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        self.keys.join(name).display().to_string()
    }
}

impl Broker {
    /// The broker that tests of one process share; the topic `flights` holds January.
    ///
    /// # Errors
    /// When it could not be started or filled.
    pub fn shared() -> Result<&'static Self> {
        static ONE: OnceLock<Result<Broker, String>> = OnceLock::new();
        let filled = || {
            let broker = Self::own()?;
            broker.create(&["flights:3"])?;
            broker.clients.ask("load", &["flights", &place::january().to_string_lossy()])?;
            Ok(broker)
        };
        let one = ONE.get_or_init(|| filled().map_err(|e: anyhow::Error| format!("{e:#}")));
        one.as_ref().map_err(|e| anyhow!("no shared broker: {e}"))
    }

    /// A broker of one test alone, which it may kill.
    ///
    /// # Errors
    /// When it could not be started.
    pub fn own() -> Result<Self> {
        Self::started("start")
    }

    /// One with listeners besides that want TLS, each the same broker: with a login, and with certificates of clients. It calls itself
    /// `localhost`.
    ///
    /// # Errors
    /// When it could not be started.
    pub fn secure() -> Result<Secure> {
        let plain = Self::started("secure")?;
        let ports = fs::read_to_string(plain.folder.join("secure_ports"))?;
        let (login, certificate) = ports.trim().split_once(' ').context("two ports")?;
        let at = |port: &str| Self { bootstrap: format!("localhost:{port}"), ..plain.clone() };
        Ok(Secure { login: at(login), certificate: at(certificate), keys: plain.folder.join("tls"), plain })
    }

    fn started(verb: &str) -> Result<Self> {
        let folder = watchdog::folder("broker")?;
        Run::new(place::kafka()?).arg(verb).arg(&folder).ok()?;
        watchdog::started(number(&folder, "pid")?)?;
        let bootstrap = format!("127.0.0.1:{}", number(&folder, "port")?);
        Ok(Self { clients: Arc::new(Clients::new(bootstrap.clone())), bootstrap, folder })
    }

    /// Kills it, as the loss of power would, and starts it again where it was.
    ///
    /// # Errors
    /// When it cannot be started again.
    pub fn bounce(&self) -> Result<()> {
        let pid = number(&self.folder, "pid")?.to_string();
        Run::new("kill").args(["-KILL", &pid]).ok()?;
        while gone(&pid).is_none() {
            sleep(Duration::from_millis(20));
        }
        Run::new(place::kafka()?).arg("start").arg(&self.folder).ok()?;
        watchdog::started(number(&self.folder, "pid")?)
    }

    /// Stops its clock for so long.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stand_still(&self, how_long: Duration) -> Result<()> {
        let pid = number(&self.folder, "pid")?.to_string();
        Run::new("kill").args(["-STOP", &pid]).ok()?;
        sleep(how_long);
        Run::new("kill").args(["-CONT", &pid]).ok().map(drop)
    }

    /// Where clients find it.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Makes topics, each named `topic:partitions`.
    ///
    /// # Errors
    /// When it cannot.
    pub fn create(&self, topics: &[&str]) -> Result<()> {
        self.clients.ask("create", topics).map(drop)
    }

    /// Everything that was committed to a topic.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, topic: &str) -> Result<Lines> {
        Ok(Lines::of(&self.clients.ask("read", &[topic])?))
    }

    /// Writes records, each a JSON text of `key`, `value`, `partition`, `timestamp` and `headers`, of which all but the value may be
    /// left out.
    ///
    /// # Errors
    /// When it cannot.
    pub fn produce(&self, topic: &str, records: &[Value]) -> Result<()> {
        let file = watchdog::folder("records")?.join("records.jsonl");
        fs::write(&file, records.iter().map(|record| format!("{record}\n")).collect::<String>())?;
        self.clients.ask("produce", &[topic, &file.to_string_lossy()]).map(drop)
    }

    /// Everything that was committed to a topic, as records with `partition`, `timestamp`, `key`, `value` and `headers`, in the order of
    /// key and value.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn dump(&self, topic: &str) -> Result<Vec<Value>> {
        let mut found = json_lines(&self.clients.ask("dump", &[topic])?)?;
        found.sort_by_key(|record| format!("{} {}", record["key"], record["value"]));
        Ok(found)
    }

    /// What a group has committed, as `topic`, `partition` and `offset`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn offsets(&self, group: &str) -> Result<Vec<Value>> {
        json_lines(&self.clients.ask("offsets", &[group])?)
    }

    /// Gives a topic more partitions: `topic:partitions`.
    ///
    /// # Errors
    /// When it cannot.
    pub fn grow(&self, topic: &str) -> Result<()> {
        self.clients.ask("grow", &[topic]).map(drop)
    }

    /// Deletes topics.
    ///
    /// # Errors
    /// When it cannot.
    pub fn delete(&self, topics: &[&str]) -> Result<()> {
        self.clients.ask("delete", topics).map(drop)
    }

    /// The names of all topics.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn topics(&self) -> Result<Vec<String>> {
        Ok(self.clients.ask("list", &[])?.lines().map(str::to_owned).collect())
    }

    /// Copies what was committed to a topic into a file.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn copy(&self, topic: &str, file: &Path) -> Result<()> {
        fs::write(file, self.clients.ask("read", &[topic])?)?;
        Ok(())
    }
}

/// The JSON texts of an output, one a line.
///
/// # Errors
/// When a line is none.
pub fn json_lines(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))).collect()
}

/// Whether a process has ended; one that nobody has collected has.
fn gone(pid: &str) -> Option<()> {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return Some(()) };
    status.lines().any(|line| line.starts_with("State:") && line.contains('Z')).then_some(())
}

/// A number that the broker's script keeps in its folder.
fn number(folder: &Path, name: &str) -> Result<u32> {
    let text = fs::read_to_string(folder.join(name)).with_context(|| format!("the broker's {name}"))?;
    text.trim().parse().with_context(|| format!("the broker's {name}"))
}
