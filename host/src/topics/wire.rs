//! What goes through the door: a JSON text a line, a question and its answer. Both ends are of one version.

use crate::query::{self, Question};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thalweg_core::error::Error;
use thalweg_core::port::log::{Bounds, LogRecord, LogView, TopicConfig};

/// Bytes of a line: an append of large records.
pub const LINE_MAX: u64 = 256 << 20;

/// A question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    Topics,
    Create(WireTopic),
    Bounds { topic: String, partition: u32 },
    Append(Vec<WireRecord>),
    Savepoint { to: String },
    State { job: Option<String>, question: Question },
    Read { topic: String, partition: u32, from: u64, bytes: usize },
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Topics(Vec<WireTopic>),
    Done,
    Bounds { start: u64, end: u64, bytes: u64 },
    Offsets(Vec<u64>),
    Records(Vec<WireRecord>),
    State(Box<query::Answer>),
    Error { code: String, message: String, help: String },
}

impl Answer {
    pub fn error(e: &Error) -> Self {
        Self::Error { code: e.code.to_owned(), message: e.message.clone(), help: e.help.clone() }
    }

    pub fn bounds(b: &Bounds) -> Self {
        Self::Bounds { start: b.start, end: b.end, bytes: b.bytes }
    }
}

/// A topic.
#[derive(Debug, Serialize, Deserialize)]
pub struct WireTopic {
    pub name: String,
    pub partitions: u32,
    pub compact: bool,
    pub retention_ms: Option<i64>,
    pub retention_bytes: Option<u64>,
}

impl WireTopic {
    pub fn new(name: &str, config: &TopicConfig) -> Self {
        let TopicConfig { partitions, compact, retention_ms, retention_bytes } = *config;
        Self { name: name.to_owned(), partitions, compact, retention_ms, retention_bytes }
    }

    pub fn config(&self) -> TopicConfig {
        let Self { partitions, compact, retention_ms, retention_bytes, .. } = *self;
        TopicConfig { partitions, compact, retention_ms, retention_bytes }
    }
}

/// A record. Bytes are texts of which each character is one byte.
#[derive(Debug, Serialize, Deserialize)]
pub struct WireRecord {
    pub topic: String,
    pub partition: u32,
    #[serde(default)]
    pub offset: u64,
    pub key: Option<String>,
    pub value: Option<String>,
    pub headers: Vec<(String, Option<String>)>,
    pub timestamp_ms: Option<i64>,
}

/// Bytes as a text.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The bytes of a text; none if a character is no byte.
fn bytes(text: &str) -> Option<Bytes> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>().map(Bytes::from)
}

/// A part that may be missing; `None` when it is no bytes.
fn part(text: Option<&String>) -> Option<Option<Bytes>> {
    match text {
        None => Some(None),
        Some(text) => bytes(text).map(Some),
    }
}

impl WireRecord {
    pub fn of(record: &LogRecord) -> Self {
        let some = |part: &Option<Bytes>| part.as_deref().map(text);
        Self {
            topic: record.topic.to_string(),
            partition: record.partition,
            offset: 0,
            key: some(&record.key),
            value: some(&record.value),
            headers: record.headers.iter().map(|(name, value)| (name.to_string(), some(value))).collect(),
            timestamp_ms: record.timestamp_ms,
        }
    }

    pub fn of_view(topic: &str, partition: u32, view: &LogView<'_>) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            offset: view.offset,
            key: view.key.map(text),
            value: view.value.map(text),
            headers: view.headers.iter().map(|(name, value)| ((*name).to_owned(), value.map(text))).collect(),
            timestamp_ms: Some(view.timestamp_ms),
        }
    }

    /// The record; none when a part of it is no bytes.
    pub fn record(&self) -> Option<LogRecord> {
        let headers = self.headers.iter().map(|(name, value)| Some((Arc::from(name.as_str()), part(value.as_ref())?)));
        Some(LogRecord {
            topic: Arc::from(self.topic.as_str()),
            partition: self.partition,
            key: part(self.key.as_ref())?,
            value: part(self.value.as_ref())?,
            headers: headers.collect::<Option<_>>()?,
            timestamp_ms: self.timestamp_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_through_as_they_are() {
        let all: Vec<u8> = (0..=255).collect();
        let record = LogRecord {
            topic: "t".into(),
            partition: 3,
            key: None,
            value: Some(Bytes::from(all)),
            headers: vec![("h".into(), None), ("x".into(), Some(Bytes::from_static(b"\xff")))],
            timestamp_ms: Some(-1),
        };
        let line = serde_json::to_string(&Ask::Append(vec![WireRecord::of(&record)])).expect("JSON");
        assert!(!line.contains('\n'));
        let Ok(Ask::Append(read)) = serde_json::from_str(&line) else { panic!("{line}") };
        assert_eq!(read[0].record(), Some(record));
        assert_eq!(bytes("\u{100}"), None);
    }
}
