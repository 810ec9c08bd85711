//! A log in memory.

use crate::error::{Error, Result};
use crate::port::log::{Bounds, Log, LogRecord, LogView, LogWaker, TopicConfig};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

type Topics = BTreeMap<Arc<str>, (TopicConfig, Vec<Vec<LogRecord>>)>;

/// A [`Log`] that keeps everything, without retention and compaction; a record without a timestamp has that of 1970.
#[derive(Default)]
pub struct MemoryLog {
    topics: Mutex<Topics>,
    wakers: Mutex<Vec<Weak<dyn Fn() + Send + Sync>>>,
}

impl MemoryLog {
    fn held(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(topic: &str) -> Error {
    Error::user("LOG_TOPIC_UNKNOWN", format!("the log has no topic {topic:?}"))
}

impl Log for MemoryLog {
    fn topics(&self) -> Vec<(Arc<str>, TopicConfig)> {
        self.held().iter().map(|(name, (config, _))| (Arc::clone(name), config.clone())).collect()
    }

    fn topic(&self, name: &str) -> Option<TopicConfig> {
        self.held().get(name).map(|(config, _)| config.clone())
    }

    fn create(&self, name: &str, config: &TopicConfig) -> Result<()> {
        config.check(name)?;
        let partitions = vec![Vec::new(); config.partitions as usize];
        self.held().insert(Arc::from(name), (config.clone(), partitions));
        Ok(())
    }

    fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds> {
        let topics = self.held();
        let records = topics.get(topic).and_then(|(_, all)| all.get(partition as usize));
        let records = records.ok_or_else(|| unknown(topic))?;
        let bytes = records.iter().map(|r| r.weight() as u64).sum();
        Ok(Bounds { start: 0, end: records.len() as u64, bytes })
    }

    fn read(&self, topic: &str, partition: u32, from: u64, each: &mut dyn FnMut(&LogView<'_>) -> bool) -> Result<()> {
        let topics = self.held();
        let records = topics.get(topic).and_then(|(_, all)| all.get(partition as usize));
        for (offset, record) in records.ok_or_else(|| unknown(topic))?.iter().enumerate().skip(from as usize) {
            let view = LogView {
                offset: offset as u64,
                timestamp_ms: record.timestamp_ms.unwrap_or_default(),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: record.headers.iter().map(|(name, value)| (name.as_ref(), value.as_deref())).collect(),
            };
            if !each(&view) {
                break;
            }
        }
        Ok(())
    }

    fn append(&self, records: &[LogRecord]) -> Result<Vec<u64>> {
        let mut topics = self.held();
        let mut offsets = Vec::new();
        for record in records {
            let (config, partitions) = topics.get_mut(&record.topic).ok_or_else(|| unknown(&record.topic))?;
            record.check(config)?;
            if let Some(partition) = partitions.get_mut(record.partition as usize) {
                offsets.push(partition.len() as u64);
                partition.push(record.clone());
            }
        }
        drop(topics);
        let wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.iter().filter_map(Weak::upgrade).for_each(|wake| wake());
        Ok(offsets)
    }

    fn wakes(&self, waker: &LogWaker) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(waker));
    }
}
