//! The port of logs: records that go out with a commit.
//!
//! A commit authority may have a log of its own, with topics and partitions as Kafka has them: RocksDB the embedded log, a
//! cluster its topics. What a sink of such a log writes is part of the commit itself and needs no outbox.

use crate::error::{Error, Result};
use bytes::Bytes;
use std::sync::Arc;

/// One record for a topic of the commit authority's own log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition; where there is none, the key chooses it.
    pub partition: Option<u32>,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value; without one it deletes its key where the topic is compacted.
    pub value: Option<Bytes>,
    /// Headers, in order; a name may come twice.
    pub headers: Vec<(Arc<str>, Option<Bytes>)>,
    /// Milliseconds since 1970 UTC; the log's own clock without one.
    pub timestamp_ms: Option<i64>,
}

impl LogRecord {
    /// Memory it takes, in bytes, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + of(value)).sum();
        of(&self.key) + of(&self.value) + headers + 32
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
