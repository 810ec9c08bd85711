//! What every partition holds, and who may give offsets.
//!
//! In memory, read when the database is opened. Two locks: `writing` is held from the giving of offsets until their records are
//! lasting, so that offsets become visible in order; `topics` for a moment, so that who reads never waits for a disk.

use super::cells::{TopicCell, decode_bounds};
use super::keys::{self, TopicId};
use super::staged::Staged;
use super::unknown;
use crate::database::{Database, Db};
use crate::error::{corrupt, from_rocks};
use rocksdb::{IteratorMode, WriteBatch};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use thalweg_core::error::{Error, Result};
use thalweg_core::port::log::{Bounds, LogRecord, LogWaker, TOPICS_MAX, TopicConfig};

/// A topic with its partitions.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub id: TopicId,
    pub config: TopicConfig,
    pub partitions: Vec<PartitionState>,
}

/// A partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PartitionState {
    pub bounds: Bounds,
    /// When its earliest record was appended, as far as that was looked for.
    pub oldest_ms: Option<i64>,
}

type Topics = BTreeMap<Arc<str>, Topic>;

/// The ledger of a database's log.
pub(crate) struct Ledger {
    writing: Mutex<()>,
    topics: Mutex<Topics>,
    wakers: Mutex<Vec<Weak<dyn Fn() + Send + Sync>>>,
}

fn held<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// Reads what the log holds.
    ///
    /// # Errors
    /// `STATE_CORRUPT`, `STATE_IO`.
    pub(crate) fn load(db: &Db, dir: &Path) -> Result<Self> {
        let damaged = |what: &str| corrupt(dir, format!("{what} of its log cannot be read"));
        let family = db.cf_handle("log").ok_or_else(|| damaged("the column family"))?;
        let mut topics = Topics::new();
        for cell in db.iterator_cf(&family, IteratorMode::Start) {
            let (key, value) = cell.map_err(|e| from_rocks(dir, &e))?;
            let Some(name) = keys::topic_name(&key) else { break };
            let TopicCell { id, config } = TopicCell::decode(&value).ok_or_else(|| damaged("a topic"))?;
            let mut partitions = Vec::new();
            for partition in 0..config.partitions {
                let found = db.get_cf(&family, keys::partition(id, partition)).map_err(|e| from_rocks(dir, &e))?;
                let bounds = found.map_or(Some(Bounds::default()), |bytes| decode_bounds(&bytes));
                let bounds = bounds.ok_or_else(|| damaged("a partition"))?;
                partitions.push(PartitionState { bounds, oldest_ms: None });
            }
            topics.insert(Arc::from(name), Topic { id, config, partitions });
        }
        Ok(Self { writing: Mutex::default(), topics: Mutex::new(topics), wakers: Mutex::default() })
    }

    pub(super) fn topics(&self) -> Vec<(Arc<str>, TopicConfig)> {
        held(&self.topics).iter().map(|(name, topic)| (Arc::clone(name), topic.config.clone())).collect()
    }

    pub(super) fn topic(&self, name: &str) -> Option<TopicConfig> {
        held(&self.topics).get(name).map(|topic| topic.config.clone())
    }

    pub(super) fn partition(&self, name: &str, partition: u32) -> Result<(TopicId, Bounds)> {
        let topics = held(&self.topics);
        let topic = topics.get(name).ok_or_else(|| unknown(name))?;
        let state = topic.partitions.get(partition as usize).ok_or_else(|| unknown(&format!("{name} {partition}")))?;
        Ok((topic.id, state.bounds))
    }

    /// A copy of a topic.
    pub(super) fn copy(&self, name: &str) -> Result<Topic> {
        held(&self.topics).get(name).cloned().ok_or_else(|| unknown(name))
    }

    pub(super) fn create(&self, database: &Database, name: &str, config: &TopicConfig) -> Result<()> {
        config.check(name)?;
        let _writing = held(&self.writing);
        let id = {
            let topics = held(&self.topics);
            if topics.contains_key(name) {
                return Err(Error::user("LOG_TOPIC_EXISTS", format!("the log has a topic {name:?} already"))
                    .help("use it as it is, or choose another name"));
            }
            if topics.len() >= TOPICS_MAX {
                let what = format!("{name:?} cannot be a topic: there are {TOPICS_MAX} already");
                return Err(Error::user("LOG_TOPIC_INVALID", what).help("write to fewer topics"));
            }
            topics.values().map(|topic| topic.id + 1).max().unwrap_or_default()
        };
        let cell = TopicCell { id, config: config.clone() };
        let mut batch = WriteBatch::default();
        batch.put_cf(&database.log_family()?, keys::topic(name), cell.encode());
        database.write(batch, None)?;
        let partitions = vec![PartitionState::default(); config.partitions as usize];
        held(&self.topics).insert(Arc::from(name), Topic { id, config: config.clone(), partitions });
        Ok(())
    }

    /// Puts records into a batch and gives them offsets. Others wait until the result is dropped or published.
    ///
    /// # Errors
    /// `LOG_TOPIC_UNKNOWN`, `LOG_RECORD_INVALID`, and what RocksDB says; the batch must not be written then.
    pub(crate) fn stage<'a>(
        &'a self,
        database: &Database,
        records: &[LogRecord],
        batch: &mut WriteBatch,
    ) -> Result<Staged<'a>> {
        let writing = held(&self.writing);
        Staged::new(self, writing, database, records, batch)
    }

    /// Makes visible what was written.
    pub(super) fn publish(&self, changed: impl Iterator<Item = (Arc<str>, Topic)>) {
        {
            let mut topics = held(&self.topics);
            topics.extend(changed);
        }
        held(&self.wakers).retain(|waker| match waker.upgrade() {
            Some(wake) => {
                wake();
                true
            }
            None => false,
        });
    }

    pub(super) fn wakes(&self, waker: &LogWaker) {
        held(&self.wakers).push(Arc::downgrade(waker));
    }
}
