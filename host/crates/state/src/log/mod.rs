//! The embedded log: topics in a column family of a [`Database`], behind core's port.
//!
//! In: records of commits and of those who append. Out: offsets without gaps in the order of writing, and reads. The [`Ledger`] knows
//! what each partition holds and gives the offsets; `staged` puts records into a batch, with what compaction and retention
//! take away for them.

mod cells;
mod keys;
mod ledger;
mod staged;

pub(crate) use ledger::Ledger;

use crate::database::Database;
use crate::error::{corrupt, from_rocks};
use rocksdb::{ReadOptions, WriteBatch};
use std::sync::Arc;
use thalweg_core::error::{Error, Result};
use thalweg_core::port::log::{Bounds, Log, LogRecord, LogView, LogWaker, TopicConfig};

/// The log of a [`Database`]. Cheap to clone; appends are made one at a time.
#[derive(Clone, Debug)]
pub struct RocksLog {
    database: Database,
}

impl RocksLog {
    /// The log of a database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

impl Log for RocksLog {
    fn topics(&self) -> Vec<(Arc<str>, TopicConfig)> {
        self.database.ledger().topics()
    }

    fn topic(&self, name: &str) -> Option<TopicConfig> {
        self.database.ledger().topic(name)
    }

    fn create(&self, name: &str, config: &TopicConfig) -> Result<()> {
        self.database.ledger().create(&self.database, name, config)
    }

    fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds> {
        self.database.ledger().partition(topic, partition).map(|(_, at)| at)
    }

    /// Cost: an iterator, and no copy of a record.
    fn read(&self, topic: &str, partition: u32, from: u64, each: &mut dyn FnMut(&LogView<'_>) -> bool) -> Result<()> {
        let (id, bounds) = self.database.ledger().partition(topic, partition)?;
        if from >= bounds.end {
            return Ok(());
        }
        let compact = self.topic(topic).is_some_and(|config| config.compact);
        let dir = self.database.dir();
        let family = self.database.log_family()?;
        let mut how = ReadOptions::default();
        how.set_iterate_upper_bound(keys::record(id, partition, bounds.end));
        let mut at = self.database.db().raw_iterator_cf_opt(&family, how);
        at.seek(keys::record(id, partition, from));
        let mut wanted = from;
        while let Some((key, value)) = at.item() {
            let offset = keys::offset(key).unwrap_or_default();
            if offset != wanted && !compact {
                break;
            }
            let view = cells::decode_record(offset, value)
                .ok_or_else(|| corrupt(dir, format!("record {offset} of {topic:?} {partition} cannot be read")))?;
            if !each(&view) {
                return Ok(());
            }
            wanted = offset + 1;
            at.next();
        }
        at.status().map_err(|e| from_rocks(dir, &e))?;
        // only its beginning can be gone; what lies there may have gone since the bounds were asked for
        if wanted == from && !compact { Err(lost(topic, partition, from)) } else { Ok(()) }
    }

    fn append(&self, records: &[LogRecord]) -> Result<Vec<u64>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let mut batch = WriteBatch::default();
        let mut staged = self.database.ledger().stage(&self.database, records, &mut batch)?;
        let offsets = staged.offsets();
        self.database.write(batch, None)?;
        staged.publish();
        Ok(offsets)
    }

    fn wakes(&self, waker: &LogWaker) {
        self.database.ledger().wakes(waker);
    }
}

fn lost(topic: &str, partition: u32, from: u64) -> Error {
    Error::user("LOG_OFFSET_LOST", format!("record {from} of the topic {topic:?}, partition {partition}, is gone"))
        .help("the topic's retention took it before it was read: keep more, or start the job anew with an empty state directory")
}

fn unknown(topic: &str) -> Error {
    Error::user("LOG_TOPIC_UNKNOWN", format!("the log has no topic {topic:?}"))
        .help("make it with `thalweg log create`, or correct its name; writing jobs make their topics when they start")
}
