//! The port of logs: records that go out with a commit.
//!
//! A commit authority may have a log of its own, with topics and partitions as Kafka has them: RocksDB the embedded log, a
//! cluster its topics. What a sink of such a log writes is part of the commit itself and needs no outbox.
//!
//! A [`Log`] is read by sources and appended to by whoever feeds a job; records that go out with a commit are handed to the
//! store. What was acknowledged is as lasting as a commit.

use crate::error::{Error, Result};
use bytes::Bytes;
use std::sync::Arc;

/// Bytes of a record's key, value and headers. Kafka's brokers take 1 MiB by default; a batch of the engine holds 4 GiB.
pub const RECORD_BYTES_MAX: usize = 64 << 20;
/// Partitions of a topic: each costs an entry in memory.
pub const PARTITIONS_MAX: u32 = 1024;
/// Topics of a log.
pub const TOPICS_MAX: usize = 10_000;
/// Characters of a topic's name. Source: Kafka's `Topic`.
const NAME_MAX: usize = 249;

/// One record for a topic of the commit authority's own log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition, or [`BY_KEY`].
    pub partition: u32,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value; without one it deletes its key where the topic is compacted.
    pub value: Option<Bytes>,
    /// Headers, in order; a name may come twice.
    pub headers: Vec<(Arc<str>, Option<Bytes>)>,
    /// Milliseconds since 1970 UTC; the log's own clock without one.
    pub timestamp_ms: Option<i64>,
}

/// A partition that the log's own client chooses by the key. The embedded log has no client: its sink chooses.
pub const BY_KEY: u32 = u32::MAX;

impl LogRecord {
    /// Memory it takes, in bytes, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + of(value)).sum();
        of(&self.key) + of(&self.value) + headers + 32
    }

    /// Whether a topic takes it.
    ///
    /// # Errors
    /// `LOG_RECORD_INVALID` for a partition that the topic does not have, a record that is too large, and one without a key where the
    /// topic is compacted.
    pub fn check(&self, config: &TopicConfig) -> Result<()> {
        let wrong = |what: String| Error::user("LOG_RECORD_INVALID", format!("a record for {:?}: {what}", self.topic));
        if self.partition >= config.partitions {
            let what = format!("the topic has {} partitions, and none is number {}", config.partitions, self.partition);
            return Err(wrong(what).help("partitions count from 0; leave the partition out to have the key choose it"));
        }
        if self.weight() > RECORD_BYTES_MAX {
            let what = format!("it has {} bytes, and no more than {RECORD_BYTES_MAX} may be", self.weight());
            return Err(wrong(what).help("keep large values elsewhere and write where they are"));
        }
        if config.compact && self.key.is_none() {
            return Err(wrong("it has no key, and the topic keeps the last record of each key".to_owned())
                .help("give the records keys, or make the topic without compaction"));
        }
        Ok(())
    }

    /// For stores without a log.
    ///
    /// # Errors
    /// `LOG_MISSING` when there are records.
    pub fn refuse(records: &[Self]) -> Result<()> {
        match records.first() {
            None => Ok(()),
            Some(record) => Err(Error::user(
                "LOG_MISSING",
                format!("the topic {:?} is of the job's own log, which this job does not have", record.topic),
            )
            .help("run the job with a state directory, or write to a cluster")),
        }
    }
}

/// What a topic is, from its creation on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicConfig {
    /// Partitions, at least one. Their number never changes, so a key stays in its partition.
    pub partitions: u32,
    /// Of records with one key only the last one is kept; every record has a key then.
    pub compact: bool,
    /// Records may go so many milliseconds after they were appended, whatever their own time; none go by time without it.
    pub retention_ms: Option<i64>,
    /// Bytes of keys, values and headers that a partition keeps, about; the oldest go first. None go by size without it.
    pub retention_bytes: Option<u64>,
}

impl Default for TopicConfig {
    /// One partition, a week, and 8 GiB per partition. The week is Kafka's; the size is there because a disk ends.
    fn default() -> Self {
        Self { partitions: 1, compact: false, retention_ms: Some(7 * 24 * 3_600_000), retention_bytes: Some(8 << 30) }
    }
}

impl TopicConfig {
    /// Whether there may be such a topic. Names are those that Kafka takes.
    ///
    /// # Errors
    /// `LOG_TOPIC_INVALID`.
    pub fn check(&self, name: &str) -> Result<()> {
        let wrong = |what: &str, help: String| {
            Err(Error::user("LOG_TOPIC_INVALID", format!("{name:?} cannot be a topic: {what}")).help(help))
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) || [".", ".."].contains(&name) {
            let help = format!("use letters, digits, `.`, `_` and `-`, at most {NAME_MAX} of them");
            return wrong("its name is not one that Kafka would take", help);
        }
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            return wrong("of its number of partitions", format!("choose from 1 to {PARTITIONS_MAX} partitions"));
        }
        if self.retention_ms.is_some_and(|ms| ms < 1) {
            return wrong("its records would go at once", "choose a time above 0, or none".to_owned());
        }
        Ok(())
    }
}

/// What a partition holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// Offset of the earliest record that may be there.
    pub start: u64,
    /// Offset of the next record.
    pub end: u64,
    /// Bytes of keys, values and headers.
    pub bytes: u64,
}

/// A record where it lies in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogView<'a> {
    /// Its offset. In a compacted topic offsets have gaps.
    pub offset: u64,
    /// Milliseconds since 1970 UTC: what the record said, or else when it was appended.
    pub timestamp_ms: i64,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; without one it deletes its key.
    pub value: Option<&'a [u8]>,
    /// Headers, in order; a name may come twice.
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

/// Called, from any thread, when something was appended. It must be quick.
pub type LogWaker = Arc<dyn Fn() + Send + Sync>;

/// The commit authority's own log. Readers see whole commits and whole appends, in the order of their offsets.
pub trait Log: Send + Sync {
    /// All topics, by name.
    fn topics(&self) -> Vec<(Arc<str>, TopicConfig)>;

    /// A topic, if it is there.
    fn topic(&self, name: &str) -> Option<TopicConfig>;

    /// Makes a topic; it is lasting on return.
    ///
    /// # Errors
    /// `LOG_TOPIC_EXISTS`, `LOG_TOPIC_INVALID`, and what the store says.
    fn create(&self, name: &str, config: &TopicConfig) -> Result<()>;

    /// What a partition holds now. Does not wait for who writes.
    ///
    /// # Errors
    /// `LOG_TOPIC_UNKNOWN`.
    fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds>;

    /// Calls `each` for the records from `from` on, until it returns `false` or there are no more. Does not wait for who writes.
    ///
    /// # Errors
    /// `LOG_TOPIC_UNKNOWN`; `LOG_OFFSET_LOST` when `from` lies before the start of the partition, so that records would be passed
    /// over that retention took; what the store says.
    fn read(&self, topic: &str, partition: u32, from: u64, each: &mut dyn FnMut(&LogView<'_>) -> bool) -> Result<()>;

    /// Appends records, all or none, and returns their offsets. They are as lasting as a commit on return.
    ///
    /// # Errors
    /// `LOG_TOPIC_UNKNOWN`, `LOG_RECORD_INVALID`, and what the store says: then it is unknown whether they are there.
    fn append(&self, records: &[LogRecord]) -> Result<Vec<u64>>;

    /// Has a waker called after every append and commit with records, as long as the caller holds on to it.
    fn wakes(&self, waker: &LogWaker);
}

/// Topics of the commit authority's own log are addressed by this name in place of a cluster's servers.
pub const EMBEDDED: &str = "embedded";
