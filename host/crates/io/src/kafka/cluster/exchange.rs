//! Both ends of an edge between partitions: a topic with a partition for each of the job's.
//!
//! In, at the one end: the batches that an epoch's bundles sent over the edge, and how far time is. Out: records that are part of
//! the epoch's commit. In, at the other end: those records, once they are committed. Out: batches, and as watermark the least of what all
//! partitions have said; so one that is silent holds time until it speaks or ends.
//!
//! A record is `format (1) = 1 | from (2) | watermark (8) | a stored batch, or nothing`. Numbers have their big end first.

use super::super::client::Reports;
use super::reader::{LogReader, passes};
use bytes::Bytes;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::message::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use thalweg_core::batch::{Batch, BatchBuilder, Row};
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{Exchange, Route};
use thalweg_core::id::{Epoch, KeyGroup, Partition, ShardId, SplitId, key_hash};
use thalweg_core::port::log::LogRecord;
use thalweg_core::port::sink::{Prepared, Sink};
use thalweg_core::port::source::{Read, Source};
use thalweg_core::shuffle::by_owner;
use thalweg_core::stored;
use thalweg_core::time::EventTime;

const FORMAT: u8 = 1;
/// Format of a position. Before it there was 1, without the job.
const PLACE_FORMAT: u8 = 2;
/// Bytes of the rows of one record; a single larger row is one record.
const RECORD_BYTES: usize = 256 << 10;

/// Writes an exchange for one partition.
#[derive(Debug)]
pub struct ExchangeSink {
    topic: Arc<str>,
    route: Route,
    pieces: bool,
    partitions: u16,
    from: Partition,
    /// Whose turn it is, where elements are spread.
    turn: u16,
    reached: EventTime,
    told: EventTime,
}

impl ExchangeSink {
    /// The end of an exchange in partition `from` of `partitions`.
    #[must_use]
    pub fn new(topic: &str, exchange: &Exchange, from: Partition, partitions: u16) -> Self {
        Self {
            topic: topic.into(),
            route: exchange.route,
            pieces: exchange.pieces,
            partitions: partitions.max(1),
            from,
            turn: from.0,
            reached: EventTime::MIN,
            told: EventTime::MIN,
        }
    }

    fn next(&mut self) -> u16 {
        let turn = self.turn % self.partitions;
        self.turn = turn + 1;
        turn
    }

    /// The parts of a batch by the partition they go to.
    fn parts(&mut self, batch: &Batch) -> Vec<(u16, Batch)> {
        match self.route {
            Route::Keyed => {
                let parts = by_owner(batch.clone(), self.partitions, self.partitions);
                parts.into_iter().map(|(ShardId(to), part)| (to, part)).collect()
            }
            Route::Broadcast => (0..self.partitions).map(|to| (to, batch.clone())).collect(),
            Route::Single => {
                vec![(KeyGroup::of_hash(key_hash(b"")).partition(self.partitions).0, batch.clone())]
            }
            Route::Spread if self.pieces => {
                let mut hands: BTreeMap<u16, Vec<Row>> = BTreeMap::new();
                for row in batch.rows() {
                    hands.entry(self.next()).or_default().push(*row);
                }
                hands.into_iter().map(|(to, rows)| (to, batch.with_rows(rows))).collect()
            }
            Route::Spread => vec![(self.next(), batch.clone())],
            Route::Local => vec![(self.from.0, batch.clone())],
        }
    }

    fn record(&self, to: u16, watermark: EventTime, batch: Option<&Batch>) -> LogRecord {
        LogRecord {
            topic: Arc::clone(&self.topic),
            partition: u32::from(to),
            key: None,
            value: Some(Bytes::from(value(self.from, watermark, batch))),
            headers: Vec::new(),
            timestamp_ms: None,
        }
    }
}

/// Pieces of a batch of about [`RECORD_BYTES`].
fn pieces(batch: &Batch) -> Vec<Batch> {
    if batch.weight() <= RECORD_BYTES {
        return vec![batch.clone()];
    }
    let (mut pieces, mut rows, mut bytes) = (Vec::new(), Vec::new(), 0);
    for row in batch.rows() {
        let size = row.key.len() + row.value.len() + 16;
        if bytes + size > RECORD_BYTES && !rows.is_empty() {
            pieces.push(batch.with_rows(std::mem::take(&mut rows)));
            bytes = 0;
        }
        rows.push(*row);
        bytes += size;
    }
    pieces.push(batch.with_rows(rows));
    pieces
}

impl Sink for ExchangeSink {
    fn reach(&mut self, to: EventTime) -> bool {
        self.reached = self.reached.max(to);
        self.reached > self.told
    }

    fn prepare(&mut self, _epoch: Epoch, batches: &[Batch]) -> Result<Prepared> {
        let mut parts: Vec<Vec<Batch>> = vec![Vec::new(); usize::from(self.partitions)];
        for batch in batches {
            for (to, part) in self.parts(batch) {
                if let Some(list) = parts.get_mut(usize::from(to)) {
                    list.extend(pieces(&part));
                }
            }
        }
        let mut records = Vec::new();
        for (to, list) in parts.iter().enumerate() {
            let to = to as u16;
            // time rides on the last record: what was sent before it may be earlier
            let (last, before) = list.split_last().map_or((None, &[][..]), |(last, before)| (Some(last), before));
            records.extend(before.iter().map(|batch| self.record(to, self.told, Some(batch))));
            if last.is_some() || self.reached > self.told {
                records.push(self.record(to, self.reached, last));
            }
        }
        self.told = self.reached;
        Ok(Prepared { records, ..Prepared::default() })
    }
}

/// Reads an exchange for one partition. The split is the partition. It never says that it has ended, and what it was told is of one job:
/// a job that goes on with the state of another, which a drain has brought to the end of time, hears all partitions anew.
pub struct ExchangeSource {
    reader: Arc<LogReader>,
    topic: String,
    partitions: u16,
    job: u64,
    open: Option<Open>,
}

/// An open partition.
struct Open {
    partition: u16,
    queue: PartitionQueue<Reports>,
    at: Place,
    /// The watermark that was given out.
    told: EventTime,
}

/// How far an exchange is read: `format (1) = 2 | next offset (8) | job (8) | what each partition has said (8 each)`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    next: i64,
    /// Whose partitions have said so.
    job: u64,
    said: Vec<EventTime>,
}

impl Place {
    fn begin(job: u64, partitions: u16) -> Self {
        Self { next: 0, job, said: vec![EventTime::MIN; usize::from(partitions)] }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![PLACE_FORMAT];
        bytes.extend_from_slice(&self.next.to_be_bytes());
        bytes.extend_from_slice(&self.job.to_be_bytes());
        self.said.iter().for_each(|time| bytes.extend_from_slice(&time.0.to_be_bytes()));
        bytes
    }

    /// Where a job is, given what it or one before it has stored.
    fn decode(bytes: &[u8], job: u64, partitions: u16) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        let (next, rest) = rest.split_first_chunk::<8>()?;
        let (whose, rest) = match *format {
            FORMAT => (job, rest),
            PLACE_FORMAT => rest.split_first_chunk::<8>().map(|(whose, rest)| (u64::from_be_bytes(*whose), rest))?,
            _ => return None,
        };
        let (times, []) = rest.as_chunks::<8>() else { return None };
        let said: Vec<EventTime> = times.iter().map(|time| EventTime(i64::from_be_bytes(*time))).collect();
        if said.len() != usize::from(partitions) {
            return None;
        }
        let next = i64::from_be_bytes(*next);
        Some(if whose == job { Self { next, job, said } } else { Self { next, ..Self::begin(job, partitions) } })
    }

    fn watermark(&self) -> EventTime {
        self.said.iter().copied().min().unwrap_or(EventTime::MAX)
    }

    /// Takes a record; gives its elements.
    fn take(&mut self, value: &[u8]) -> Option<Result<Batch>> {
        let (&FORMAT, rest) = value.split_first()? else { return None };
        let (from, rest) = rest.split_first_chunk::<2>()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let said = self.said.get_mut(usize::from(u16::from_be_bytes(*from)))?;
        *said = (*said).max(EventTime(i64::from_be_bytes(*time)));
        if rest.is_empty() {
            return Some(Ok(BatchBuilder::new().finish()));
        }
        Some(stored::decode(rest))
    }
}

/// The value of a record that tells nobody anything.
pub(super) fn silence() -> Vec<u8> {
    value(Partition(0), EventTime::MIN, None)
}

/// The value of a record.
fn value(from: Partition, watermark: EventTime, batch: Option<&Batch>) -> Vec<u8> {
    let mut value = vec![FORMAT];
    value.extend_from_slice(&from.0.to_be_bytes());
    value.extend_from_slice(&watermark.0.to_be_bytes());
    value.extend(batch.map(stored::encode).unwrap_or_default());
    value
}

fn unreadable(topic: &str) -> Error {
    Error::external("STATE_CORRUPT", format!("the stored position of {topic:?} cannot be read"))
        .help("the state is damaged or of another version; restore a copy of it")
}

/// The stored batch in a record of an exchange; empty where it only tells time. `None` when it is no such record.
pub(super) fn batch_of(value: &[u8]) -> Option<&[u8]> {
    let (&FORMAT, rest) = value.split_first()? else { return None };
    rest.get(2 + 8..)
}

impl std::fmt::Debug for ExchangeSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExchangeSource").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl ExchangeSource {
    /// The offset before which a stored position needs no record.
    #[must_use]
    pub fn consumed(position: &[u8]) -> Option<i64> {
        let (&(FORMAT | PLACE_FORMAT), rest) = position.split_first()? else { return None };
        let (next, _) = rest.split_first_chunk::<8>()?;
        Some(i64::from_be_bytes(*next))
    }

    /// The first record behind a stored position.
    ///
    /// # Errors
    /// `STATE_CORRUPT` when it is none: from the beginning would be again.
    pub(super) fn behind(topic: &str, position: Option<&[u8]>) -> Result<i64> {
        position.map_or(Ok(0), |bytes| Self::consumed(bytes).ok_or_else(|| unreadable(topic)))
    }

    /// The other end of an exchange, in a job of this id.
    #[must_use]
    pub fn new(reader: Arc<LogReader>, topic: String, partitions: u16, job: &str) -> Self {
        Self { reader, topic, partitions, job: key_hash(job.as_bytes()), open: None }
    }
}

impl Source for ExchangeSource {
    fn open(&mut self, split: SplitId, position: Option<&[u8]>) -> Result<()> {
        let place = match position {
            None => Some(Place::begin(self.job, self.partitions)),
            Some(bytes) => Place::decode(bytes, self.job, self.partitions),
        };
        let at = place.ok_or_else(|| unreadable(&self.topic))?;
        let partition = split.0 as u16;
        let queue = self.reader.open(&self.topic, partition, at.next)?;
        self.open = Some(Open { partition, queue, at, told: EventTime::MIN });
        Ok(())
    }

    fn poll(&mut self, _split: SplitId, _rows: usize) -> Result<Option<Read>> {
        self.reader.serve()?;
        let Some(open) = &mut self.open else {
            return Err(Error::internal("SOURCE_NO_SPLIT", "the exchange is not open"));
        };
        loop {
            let record = match open.queue.poll(Duration::ZERO) {
                None => break,
                Some(Err(e)) if passes(&e) => break,
                Some(Err(e)) => return Err(self.reader.failed(&e, &self.topic)),
                Some(Ok(record)) => record,
            };
            open.at.next = record.offset() + 1;
            let taken = record.payload().and_then(|value| open.at.take(value));
            let batch = taken.and_then(Result::ok).ok_or_else(|| {
                let what =
                    format!("record {} of {:?} {} is not of this job", record.offset(), self.topic, open.partition);
                Error::external("CLUSTER_RECORD", what).help(
                    "nobody but the job may write its topics, and all processes run the newest version that did; see who wrote it",
                )
            })?;
            if !batch.is_empty() {
                return Ok(Some(open.read(batch)));
            }
        }
        // time alone is worth telling only when it has moved
        let moved = open.at.watermark() > open.told;
        Ok(moved.then(|| open.read(BatchBuilder::new().finish())))
    }
}

impl Open {
    fn read(&mut self, batch: Batch) -> Read {
        self.told = self.at.watermark();
        Read { batch, position: Bytes::from(self.at.encode()), watermark: self.told, finished: false }
    }
}

impl Drop for ExchangeSource {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let partition = open.partition;
            drop(open);
            self.reader.close(&self.topic, partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::id::{SinkId, SourceId, StateId};
    use thalweg_core::window::Window;

    fn sink(route: Route) -> ExchangeSink {
        let exchange = Exchange { state: StateId(1), route, pieces: false, sink: SinkId(0), source: SourceId(0) };
        ExchangeSink::new("x", &exchange, Partition(1), 3)
    }

    fn batch(keys: std::ops::Range<u32>) -> Batch {
        let mut rows = BatchBuilder::new();
        keys.for_each(|key| rows.push(&key.to_be_bytes(), b"v", EventTime(5), &[Window::Global]));
        rows.finish()
    }

    #[test]
    fn what_is_written_is_read_with_the_time_that_all_have_reached() -> Result<()> {
        let mut sink = sink(Route::Keyed);
        assert!(sink.reach(EventTime(7)));
        let records = sink.prepare(Epoch(1), &[batch(0..100)])?.records;
        assert!(!sink.reach(EventTime(7)), "it was told");
        let (mut rows, mut place) = (0, Place::begin(9, 3));
        for record in &records {
            rows += place.take(record.value.as_deref().unwrap_or_default()).transpose()?.map_or(0, |b| b.len());
        }
        assert_eq!((rows, place.said[1]), (100, EventTime(7)));
        assert_eq!(place.watermark(), EventTime::MIN, "two others have said nothing");
        assert_eq!(Place::decode(&place.encode(), 9, 3), Some(place.clone()));
        assert_eq!(Place::decode(&place.encode(), 9, 4), None);
        let seven = Place { next: 7, ..place.clone() }.encode();
        assert_eq!(ExchangeSource::consumed(&seven), Some(7));
        assert_eq!(ExchangeSource::behind("x", Some(&seven)), Ok(7));
        assert_eq!(ExchangeSource::behind("x", None), Ok(0));
        assert_eq!(ExchangeSource::behind("x", Some(&[])).err().map(|e| e.code), Some("STATE_CORRUPT"));
        assert!(place.take(b"\x02\0\0").is_none() && place.take(&[1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]).is_none());
        Ok(())
    }

    #[test]
    fn silence_is_a_record_without_elements_and_without_time() {
        let mut place = Place { next: 7, ..Place::begin(9, 2) };
        let before = place.clone();
        assert_eq!(place.take(&silence()).map(|batch| batch.map(|b| b.len())), Some(Ok(0)));
        assert_eq!(place, before);
        assert_eq!(batch_of(&silence()), Some(&[][..]));
    }

    #[test]
    fn what_was_said_to_another_job_is_not_believed_but_what_it_has_read_is_read() {
        let drained = Place { next: 7, job: 9, said: vec![EventTime::MAX; 2] };
        assert_eq!(Place::decode(&drained.encode(), 9, 2), Some(drained.clone()));
        let next = Place { next: 7, ..Place::begin(10, 2) };
        assert_eq!(Place::decode(&drained.encode(), 10, 2), Some(next));
        // as it was stored before the job stood in it
        let mut old = drained.encode();
        old.drain(9..17);
        old[0] = FORMAT;
        assert_eq!(Place::decode(&old, 9, 2), Some(drained));
    }

    #[test]
    fn time_is_told_to_all_even_when_nothing_else_is() -> Result<()> {
        let mut sink = sink(Route::Keyed);
        sink.reach(EventTime::MAX);
        let records = sink.prepare(Epoch(1), &[])?.records;
        assert_eq!(records.iter().map(|r| r.partition).collect::<Vec<_>>(), [0, 1, 2]);
        Ok(())
    }

    #[test]
    fn spread_batches_go_round_and_broadcast_ones_to_all() -> Result<()> {
        let to = |records: Vec<LogRecord>| records.iter().map(|r| r.partition).collect::<Vec<_>>();
        let batches = [batch(0..2), batch(2..4), batch(4..6), batch(6..8)];
        assert_eq!(to(sink(Route::Spread).prepare(Epoch(1), &batches)?.records), [0, 1, 1, 2]);
        assert_eq!(to(sink(Route::Broadcast).prepare(Epoch(1), &batches[..1])?.records), [0, 1, 2]);
        Ok(())
    }
}
