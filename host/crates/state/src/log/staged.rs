//! Records on their way into the log: offsets are given, and what compaction and retention take away goes in the same batch.
//!
//! Compaction is eager: a record deletes the one before it with its key, so a compacted topic holds one record per key at any
//! moment. A record without a value, which deletes its key, goes itself a day later. Retention takes the oldest records once a partition
//! is an eighth over its bounds, so that it costs little per record.

use super::cells::{appended_ms, encode_bounds, encode_record, numbers};
use super::keys;
use super::ledger::{Ledger, PartitionState, Topic};
use crate::database::Database;
use crate::error::{corrupt, from_rocks};
use rocksdb::{BoundColumnFamily, ReadOptions, WriteBatch};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard};
use std::time::SystemTime;
use thalweg_core::error::Result;
use thalweg_core::port::log::{LogRecord, TopicConfig};

/// How long a record that deletes its key stays for readers that are behind. Source: Kafka's `delete.retention.ms`.
const DELETED_MS: i64 = 24 * 3_600_000;
/// Records that one write has retention take from a partition at most: a write stays quick.
const TAKEN_MAX: usize = 10_000;

/// Records that are in a batch and have offsets. Dropped without being published, they never were.
pub(crate) struct Staged<'a> {
    ledger: &'a Ledger,
    _writing: MutexGuard<'a, ()>,
    topics: BTreeMap<Arc<str>, Topic>,
    offsets: Vec<u64>,
}

impl<'a> Staged<'a> {
    pub(super) fn new(
        ledger: &'a Ledger,
        writing: MutexGuard<'a, ()>,
        database: &Database,
        records: &[LogRecord],
        batch: &mut WriteBatch,
    ) -> Result<Self> {
        let mut this =
            Self { ledger, _writing: writing, topics: BTreeMap::new(), offsets: Vec::with_capacity(records.len()) };
        let family = database.log_family()?;
        let mut cutter = Cutter { database, family, batch, now_ms: clock_ms(), lasts: BTreeMap::new() };
        let mut touched = BTreeSet::new();
        for record in records {
            if !this.topics.contains_key(&record.topic) {
                this.topics.insert(Arc::clone(&record.topic), ledger.copy(&record.topic)?);
            }
            let Some(topic) = this.topics.get_mut(&record.topic) else { continue };
            record.check(&topic.config)?;
            let (id, compact) = (topic.id, topic.config.compact);
            let Some(state) = topic.partitions.get_mut(record.partition as usize) else { continue };
            this.offsets.push(cutter.put(id, compact, state, record)?);
            touched.insert((Arc::clone(&record.topic), record.partition));
        }
        for (name, partition) in touched {
            let Some(topic) = this.topics.get_mut(&name) else { continue };
            let (id, config) = (topic.id, topic.config.clone());
            let Some(state) = topic.partitions.get_mut(partition as usize) else { continue };
            // what stands in this batch cannot be seen yet, and stays
            let seen = ledger.partition(&name, partition)?.1.end;
            if config.compact {
                cutter.take_deleted(id, partition, state)?;
            } else {
                cutter.take_oldest(id, partition, state, &config, seen)?;
            }
            cutter.batch.put_cf(&cutter.family, keys::partition(id, partition), encode_bounds(&state.bounds));
        }
        Ok(this)
    }

    /// The offsets of the records, in their order.
    pub(super) fn offsets(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.offsets)
    }

    /// The batch was written: readers see the records, and are woken.
    pub(crate) fn publish(self) {
        self.ledger.publish(self.topics.into_iter());
    }
}

/// The last record of a key: its offset and bytes.
type LastOf = (u64, u64);

/// What is put into a batch and taken from the log.
struct Cutter<'b, 'd> {
    database: &'d Database,
    family: Arc<BoundColumnFamily<'d>>,
    batch: &'b mut WriteBatch,
    now_ms: i64,
    /// Last records of keys that are in this batch.
    lasts: BTreeMap<Vec<u8>, LastOf>,
}

impl Cutter<'_, '_> {
    fn put(&mut self, id: u32, compact: bool, state: &mut PartitionState, record: &LogRecord) -> Result<u64> {
        let bytes = encode_record(record, self.now_ms);
        let (offset, size) = (state.bounds.end, bytes.len() as u64);
        if let Some(key) = record.key.as_ref().filter(|_| compact) {
            let index = keys::last(id, record.partition, key);
            if let Some((before, freed)) = self.last(&index)? {
                self.batch.delete_cf(&self.family, keys::record(id, record.partition, before));
                self.batch.delete_cf(&self.family, keys::deleted(id, record.partition, before));
                state.bounds.bytes = state.bounds.bytes.saturating_sub(freed);
            }
            let cell: Vec<u8> = [offset, size].iter().flat_map(|n| n.to_be_bytes()).collect();
            self.batch.put_cf(&self.family, &index, cell);
            if record.value.is_none() {
                let cell = [&self.now_ms.to_be_bytes()[..], key].concat();
                self.batch.put_cf(&self.family, keys::deleted(id, record.partition, offset), cell);
            }
            self.lasts.insert(index, (offset, size));
        }
        self.batch.put_cf(&self.family, keys::record(id, record.partition, offset), bytes);
        state.bounds.end += 1;
        state.bounds.bytes += size;
        Ok(offset)
    }

    fn last(&self, index: &[u8]) -> Result<Option<LastOf>> {
        if let Some(found) = self.lasts.get(index) {
            return Ok(Some(*found));
        }
        let dir = self.database.dir();
        let found = self.database.db().get_pinned_cf(&self.family, index).map_err(|e| from_rocks(dir, &e))?;
        let Some(bytes) = found else { return Ok(None) };
        let [offset, size] =
            numbers(&bytes).ok_or_else(|| corrupt(dir, "the last record of a key cannot be found in its log"))?;
        Ok(Some((offset, size)))
    }

    /// Calls `each` for the cells of a range until it returns `false`.
    fn walk(&self, from: &[u8], to: Vec<u8>, mut each: impl FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let mut how = ReadOptions::default();
        how.set_iterate_upper_bound(to);
        let mut at = self.database.db().raw_iterator_cf_opt(&self.family, how);
        at.seek(from);
        while let Some((key, value)) = at.item() {
            if !each(key, value) {
                return Ok(());
            }
            at.next();
        }
        at.status().map_err(|e| from_rocks(self.database.dir(), &e))
    }

    /// Takes what lies before the bounds of a topic; nothing from offset `seen` on.
    fn take_oldest(
        &mut self,
        id: u32,
        partition: u32,
        state: &mut PartitionState,
        config: &TopicConfig,
        seen: u64,
    ) -> Result<()> {
        let eighth = |n: u64| n.saturating_add(n / 8);
        let bytes_max = config.retention_bytes.unwrap_or(u64::MAX);
        let too_large = state.bounds.bytes > eighth(bytes_max);
        let too_old = |at: i64, slack: i64| {
            config.retention_ms.is_some_and(|ms| self.now_ms.saturating_sub(at) > ms.saturating_add(slack))
        };
        let slack = config.retention_ms.unwrap_or_default() / 8;
        if !too_large && state.oldest_ms.is_some_and(|at| !too_old(at, slack)) {
            return Ok(());
        }
        let (mut start, mut bytes, mut oldest) = (state.bounds.start, state.bounds.bytes, None);
        let mut taken = 0;
        let upto = keys::record(id, partition, seen);
        self.walk(&keys::record(id, partition, start), upto, |key, value| {
            let at = appended_ms(value).unwrap_or(i64::MAX);
            let goes = taken < TAKEN_MAX && ((too_large && bytes > bytes_max) || too_old(at, 0));
            if goes {
                start = keys::offset(key).map_or(start, |offset| offset + 1);
                bytes = bytes.saturating_sub(value.len() as u64);
                taken += 1;
            } else {
                oldest = Some(at);
            }
            goes
        })?;
        if start > state.bounds.start {
            let (from, to) = (keys::record(id, partition, state.bounds.start), keys::record(id, partition, start));
            self.batch.delete_range_cf(&self.family, from, to);
        }
        // where nothing older is left, the earliest record is of this batch
        state.oldest_ms = Some(oldest.unwrap_or(self.now_ms));
        (state.bounds.start, state.bounds.bytes) = (start, bytes);
        Ok(())
    }

    /// Takes records that deleted their keys long ago.
    fn take_deleted(&mut self, id: u32, partition: u32, state: &mut PartitionState) -> Result<()> {
        let mut gone = Vec::new();
        let now_ms = self.now_ms;
        self.walk(&keys::deleted(id, partition, 0), keys::deleted(id, partition, u64::MAX), |key, value| {
            let Some((at, of)) = value.split_first_chunk::<8>() else { return false };
            let old = now_ms.saturating_sub(i64::from_be_bytes(*at)) > DELETED_MS && gone.len() < TAKEN_MAX;
            if old {
                gone.extend(keys::offset(key).map(|offset| (offset, keys::last(id, partition, of))));
            }
            old
        })?;
        for (offset, index) in gone {
            // a key that was written anew in this batch has taken its deletion with it
            if let Some((last, size)) = self.last(&index)?.filter(|(last, _)| *last == offset) {
                self.batch.delete_cf(&self.family, keys::record(id, partition, last));
                self.batch.delete_cf(&self.family, keys::deleted(id, partition, last));
                self.batch.delete_cf(&self.family, &index);
                state.bounds.bytes = state.bounds.bytes.saturating_sub(size);
            }
        }
        Ok(())
    }
}

/// The log's clock.
fn clock_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
