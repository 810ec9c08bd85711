//! The side of who comes through the door.

use super::socket;
use super::wire::{Answer, Ask, WireRecord, WireTopic};
use crate::query::{self, Question};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_core::error::{Domain, Error, Result};
use thalweg_core::port::log::{Bounds, Log, LogRecord, LogView, LogWaker, TopicConfig};

/// Bytes of records that are asked for at once.
const PAGE: usize = 1 << 20;

/// A log that another process serves.
pub struct DoorLog {
    line: Mutex<BufReader<UnixStream>>,
}

fn gone(e: impl std::fmt::Display) -> Error {
    Error::external("LOG_DOOR", format!("the process that has the state directory does not answer: {e}"))
        .help("see whether it still runs; what was acknowledged is there")
}

impl DoorLog {
    /// Goes to the door of a state directory.
    ///
    /// # Errors
    /// `LOG_DOOR` when nobody opens.
    pub fn connect(dir: &Path) -> Result<Self> {
        let (_folder, path) = socket(dir).map_err(gone)?;
        let line = UnixStream::connect(path).map_err(gone)?;
        Ok(Self { line: Mutex::new(BufReader::new(line)) })
    }

    fn ask(&self, ask: &Ask) -> Result<Answer> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = serde_json::to_vec(ask).map_err(gone)?;
        text.push(b'\n');
        line.get_mut().write_all(&text).map_err(gone)?;
        let mut answer = String::new();
        line.read_line(&mut answer).map_err(gone)?;
        match serde_json::from_str(&answer).map_err(gone)? {
            Answer::Error { code, message, help } => {
                if let Some(error) = query::answered_error(&code, &message, &help) {
                    return Err(error);
                }
                // codes of ours are known when the program is built, those of another version are not
                Err(Error::new("LOG_REFUSED", Domain::User, format!("{code}: {message}")).help(help))
            }
            answer => Ok(answer),
        }
    }

    /// Has the process make a savepoint at an absolute path, or a URL.
    ///
    /// # Errors
    /// `LOG_REFUSED` with what that process says.
    pub fn savepoint(&self, to: &str) -> Result<()> {
        self.ask(&Ask::Savepoint { to: to.to_owned() }).map(drop)
    }

    /// Asks for the state of the directory's own job, or of one that shares it.
    ///
    /// # Errors
    /// `QUERY_*`, and `LOG_REFUSED` with what that process says otherwise.
    pub fn state(&self, job: Option<&str>, question: &Question) -> Result<query::Answer> {
        match self.ask(&Ask::State { job: job.map(str::to_owned), question: question.clone() })? {
            Answer::State(answer) => Ok(*answer),
            _ => Err(another()),
        }
    }

    fn all(&self) -> Vec<WireTopic> {
        match self.ask(&Ask::Topics) {
            Ok(Answer::Topics(topics)) => topics,
            _ => Vec::new(),
        }
    }
}

fn another() -> Error {
    gone("the answer is to another question")
}

impl Log for DoorLog {
    fn topics(&self) -> Vec<(Arc<str>, TopicConfig)> {
        self.all().iter().map(|topic| (Arc::from(topic.name.as_str()), topic.config())).collect()
    }

    fn topic(&self, name: &str) -> Option<TopicConfig> {
        self.all().iter().find(|topic| topic.name == name).map(WireTopic::config)
    }

    fn create(&self, name: &str, config: &TopicConfig) -> Result<()> {
        self.ask(&Ask::Create(WireTopic::new(name, config))).map(drop)
    }

    fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds> {
        match self.ask(&Ask::Bounds { topic: topic.to_owned(), partition })? {
            Answer::Bounds { start, end, bytes } => Ok(Bounds { start, end, bytes }),
            _ => Err(another()),
        }
    }

    fn read(&self, topic: &str, partition: u32, from: u64, each: &mut dyn FnMut(&LogView<'_>) -> bool) -> Result<()> {
        let mut from = from;
        loop {
            let ask = Ask::Read { topic: topic.to_owned(), partition, from, bytes: PAGE };
            let Answer::Records(records) = self.ask(&ask)? else { return Err(another()) };
            if records.is_empty() {
                return Ok(());
            }
            for wire in &records {
                let record = wire.record().ok_or_else(another)?;
                let view = LogView {
                    offset: wire.offset,
                    timestamp_ms: record.timestamp_ms.unwrap_or_default(),
                    key: record.key.as_deref(),
                    value: record.value.as_deref(),
                    headers: record.headers.iter().map(|(name, value)| (name.as_ref(), value.as_deref())).collect(),
                };
                if !each(&view) {
                    return Ok(());
                }
                from = wire.offset + 1;
            }
        }
    }

    fn append(&self, records: &[LogRecord]) -> Result<Vec<u64>> {
        match self.ask(&Ask::Append(records.iter().map(WireRecord::of).collect()))? {
            Answer::Offsets(offsets) => Ok(offsets),
            _ => Err(another()),
        }
    }

    fn wakes(&self, _waker: &LogWaker) {}
}
