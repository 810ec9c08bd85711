//! The changelog: the cells of a partition's state as records, and what brings them back.
//!
//! In: a partition of the compacted topic and the offset up to which a local copy has it. Out: the writes since, in order, and the
//! epoch they lead up to. A record is a cell: its key, its value or a tombstone; under a key of its own stands the number of the
//! epoch, in the same transaction.

use super::super::client::Reports;
use super::reader::{LogReader, Tail, passes};
use bytes::Bytes;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::{Epoch, KEY_GROUPS, StateId};
use thalweg_core::port::store::CellWrite;
use thalweg_core::state::layout::{CellKey, EPOCH, JOB_GROUP, KeyReader, Kind, LAYOUT_VERSION};

/// Writes that are handed on together, in bytes.
pub(super) const CHUNK_BYTES: usize = 4 << 20;
/// How long nothing may come while no transaction is open: an open one of an owner that is gone holds up the end of the changelog until it is ended.
const PATIENCE: Duration = Duration::from_secs(30);

/// A partition's changelog.
pub struct Changelog {
    reader: Arc<LogReader>,
    topic: String,
    partition: u16,
}

/// What a changelog gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The last epoch; zero for a partition that never committed.
    pub epoch: Epoch,
    /// Behind the last record.
    pub next: i64,
    /// Records read.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl std::fmt::Debug for Changelog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changelog").field("topic", &self.topic).field("partition", &self.partition).finish()
    }
}

impl Changelog {
    /// That of a partition.
    #[must_use]
    pub fn new(reader: Arc<LogReader>, topic: String, partition: u16) -> Self {
        Self { reader, topic, partition }
    }

    /// Hands on all cells written after what `have` covers, in order and in chunks, until epoch `wanted` is there. A copy that reaches to
    /// an offset which the topic does not have any more, or not yet, is of no use: `None`, and the caller begins again from nothing.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_UNKNOWN_TOPIC`, `CLUSTER_RECORD`, and what `apply` says. `goes_on` is asked now and then; when it says
    /// no, `CLUSTER_LOST`.
    pub fn read(
        &self,
        have: Restored,
        wanted: Epoch,
        goes_on: &dyn Fn() -> bool,
        apply: &mut dyn FnMut(Vec<CellWrite>) -> Result<()>,
    ) -> Result<Option<Restored>> {
        let Some(high) = self.holds(have)? else { return Ok(None) };
        let mut reading = Reading::behind(have);
        // what closes the last transaction takes an offset and is no record
        if have.next > 0 && high - have.next <= 1 && have.epoch >= wanted {
            return Ok(Some(reading.at));
        }
        let queue = self.reader.open(&self.topic, self.partition, have.next)?;
        let ended = self.drain(&queue, high, wanted, goes_on, &mut reading, apply);
        drop(queue);
        self.close();
        ended?;
        if !reading.chunk.is_empty() {
            apply(reading.chunk)?;
        }
        Ok(Some(reading.at))
    }

    /// The end of the changelog, if it holds all that comes after what a copy has.
    fn holds(&self, have: Restored) -> Result<Option<i64>> {
        // of a reader of committed records the end is the stable one: behind it a transaction may still be open
        let (low, high) = self.reader.bounds(&self.topic, self.partition)?;
        Ok((have.next <= high && (have.next == 0 || have.next >= low)).then_some(high))
    }

    /// Begins to read behind what a copy has; `None` when it is of no use.
    pub(super) fn open(&self, have: Restored) -> Result<Option<PartitionQueue<Reports>>> {
        let held = self.holds(have)?;
        held.map(|_| self.reader.open(&self.topic, self.partition, have.next)).transpose()
    }

    pub(super) fn close(&self) {
        self.reader.close(&self.topic, self.partition);
    }

    pub(super) fn serve(&self) -> Result<()> {
        self.reader.serve()
    }

    pub(super) fn failed(&self, e: &KafkaError) -> Error {
        self.reader.failed(e, &self.topic)
    }

    fn drain(
        &self,
        queue: &PartitionQueue<Reports>,
        high: i64,
        wanted: Epoch,
        goes_on: &dyn Fn() -> bool,
        reading: &mut Reading,
        apply: &mut dyn FnMut(Vec<CellWrite>) -> Result<()>,
    ) -> Result<()> {
        let (mut heard, mut tail) = (Instant::now(), Tail::before(high));
        let (topic, partition) = (self.topic.as_str(), self.partition);
        while goes_on() {
            self.reader.serve()?;
            match queue.poll(Duration::from_millis(20)) {
                Some(Ok(record)) => {
                    heard = Instant::now();
                    tail.record();
                    self.take(reading, &record)?;
                    if reading.is_large() {
                        apply(reading.hand_on())?;
                    }
                }
                // markers of transactions take offsets and are no records
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    let taken = self.reader.taken(topic, partition);
                    tail.told(taken, Instant::now());
                    reading.at.next = reading.at.next.max(taken);
                }
                Some(Err(e)) if !passes(&e) => return Err(self.failed(&e)),
                Some(Err(_)) | None => {}
            }
            let short = reading.at.next < high;
            if short && tail.is_settled(Instant::now()) && self.reader.reaches(topic, partition, high) {
                reading.at.next = high;
            }
            if reading.at.next >= high && reading.at.epoch >= wanted {
                return Ok(());
            }
            if heard.elapsed() > PATIENCE {
                if self.reader.is_open(topic, partition)? {
                    heard = Instant::now(); // it ends by its timeout, at the latest
                    continue;
                }
                let at = reading.at.epoch.0;
                let what = format!("{topic:?} {partition} ends with epoch {at}, committed is {}", wanted.0);
                return Err(Error::external("CLUSTER_TOPIC", what).help(
                    "look at the brokers' logs for transactions that do not end, and for records that were deleted",
                ));
            }
        }
        Err(Error::external("CLUSTER_LOST", "the partition belongs to another process now"))
    }

    pub(super) fn take(&self, reading: &mut Reading, record: &impl Message) -> Result<()> {
        let place = || format!("record {} of {:?} {}", record.offset(), self.topic, self.partition);
        match reading.take(record) {
            Some(LAYOUT_VERSION) => Ok(()),
            Some(version) => Err(Error::user(
                "STATE_VERSION",
                format!("{} has layout {version}, this program {LAYOUT_VERSION}", place()),
            )
            .help("run the version of thalweg that wrote it in all processes")),
            None => Err(Error::external("CLUSTER_RECORD", format!("{} is not of this job", place())).help(
                "nobody but the job may write its topics, and all processes run the newest version that did; see who wrote it",
            )),
        }
    }
}

/// What was read and not yet handed on.
pub(super) struct Reading {
    pub(super) at: Restored,
    chunk: Vec<CellWrite>,
    waiting: usize,
}

impl Reading {
    /// That of what comes after what a copy has.
    pub(super) fn behind(have: Restored) -> Self {
        Self { at: Restored { records: 0, bytes: 0, ..have }, chunk: Vec::new(), waiting: 0 }
    }

    pub(super) fn is_large(&self) -> bool {
        self.waiting >= CHUNK_BYTES
    }

    /// What was read since the last call.
    pub(super) fn hand_on(&mut self) -> Vec<CellWrite> {
        self.waiting = 0;
        std::mem::take(&mut self.chunk)
    }

    /// Takes a record; gives the version of what it says, or `None` when it is not one of a changelog.
    fn take(&mut self, record: &impl Message) -> Option<u32> {
        let (key, value) = (record.key()?, record.payload());
        let bytes = key.len() + value.map_or(0, <[u8]>::len);
        self.at.next = record.offset() + 1;
        self.at.records += 1;
        self.at.bytes += bytes as u64;
        if key == EPOCH {
            let (epoch, version) = value?.split_first_chunk::<8>()?;
            self.at.epoch = Epoch(u64::from_be_bytes(*epoch));
            // the first layout has no number; later ones stand behind the epoch
            return if version.is_empty() { Some(1) } else { Some(u32::from_be_bytes(version.try_into().ok()?)) };
        }
        if !is_cell(key) {
            return None;
        }
        self.waiting += bytes;
        self.chunk.push((Bytes::copy_from_slice(key), value.map(Bytes::copy_from_slice)));
        Some(LAYOUT_VERSION)
    }
}

/// The key of a cell that no job has: a record that takes it away changes nothing.
pub(super) fn no_cell() -> Bytes {
    CellKey::new(JOB_GROUP, Kind::Job, StateId(0)).last(b"").finish()
}

/// Whether bytes are the key of a cell, as far as that can be told.
fn is_cell(key: &[u8]) -> bool {
    KeyReader::open(key)
        .is_some_and(|(group, kind, ..)| (group.0 < KEY_GROUPS || group == JOB_GROUP) && Kind::is_copied(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_away_no_cell_is_a_record_of_a_changelog() {
        assert!(is_cell(&no_cell()), "also to versions that do not know of it");
    }
}
