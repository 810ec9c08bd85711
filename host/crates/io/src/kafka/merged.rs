//! All partitions of a source as one split: for reads that end after so many records or so much time, and for topics that grow.
//!
//! In: a [`KafkaSource`] for the partitions. Out: their batches in turn, and a position that holds them all. It is read by one
//! shard, which is what a common count costs.

use super::discovery::Discovery;
use super::position::Position;
use super::source::{KafkaSource, KafkaSourceConfig, clock_ms};
use super::splits::KafkaSplits;
use crate::format::SchemaRegistry;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::batch::BatchBuilder;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::SplitId;
use thalweg_core::port::source::{Read, Source};
use thalweg_core::time::EventTime;

/// The one split.
const ALL: SplitId = SplitId(0);

/// Where a read ends, and whether it looks for partitions that are added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Records in all, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Milliseconds from the first start of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millis: Option<u64>,
    /// Milliseconds between two looks for new partitions; none are looked for without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discover_ms: Option<u64>,
}

impl Limit {
    /// Whether the read ends by itself.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.records.is_some() || self.millis.is_some()
    }

    /// Whether there is nothing to limit or look for.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

const FORMAT: u8 = 2;

/// What is stored: `format (1) = 2 | records so far (8) | time of the first start (8) | positions of the partitions, 25 bytes each`,
/// numbers big end first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub records: u64,
    pub started_ms: i64,
    pub partitions: Vec<Position>,
}

impl State {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&self.records.to_be_bytes());
        bytes.extend_from_slice(&self.started_ms.to_be_bytes());
        self.partitions.iter().for_each(|p| bytes.extend_from_slice(&p.encode()));
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (FORMAT, rest) = bytes.split_first().map(|(f, rest)| (*f, rest))? else { return None };
        let (records, rest) = rest.split_first_chunk::<8>()?;
        let (started, rest) = rest.split_first_chunk::<8>()?;
        let partitions = rest.chunks(25).map(Position::decode).collect::<Option<_>>()?;
        Some(Self { records: u64::from_be_bytes(*records), started_ms: i64::from_be_bytes(*started), partitions })
    }
}

/// One partition's part.
#[derive(Clone, Copy, Debug)]
struct Part {
    position: Option<Position>,
    watermark: EventTime,
    finished: bool,
}

/// Reads all partitions as one split, whose number is 0. URN `thalweg:source:kafka:v1`.
pub struct MergedKafkaSource {
    inner: KafkaSource,
    config: KafkaSourceConfig,
    limit: Limit,
    records: u64,
    started_ms: i64,
    parts: BTreeMap<SplitId, Part>,
    /// Which partition was asked last.
    turn: SplitId,
    discovery: Discovery,
    reported: EventTime,
}

impl std::fmt::Debug for MergedKafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MergedKafkaSource")
            .field("inner", &self.inner)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl MergedKafkaSource {
    /// A source over partitions that were discovered.
    ///
    /// # Errors
    /// As for [`KafkaSource::new`].
    pub fn new(config: KafkaSourceConfig, splits: KafkaSplits, limit: Limit) -> Result<Self> {
        // the partitions are one split here, so nobody else may find any
        let config = KafkaSourceConfig { discover_ms: None, ..config };
        Ok(Self {
            discovery: Discovery::new(limit.discover_ms),
            inner: KafkaSource::new(config.clone(), splits)?,
            config,
            limit,
            records: 0,
            started_ms: 0,
            parts: BTreeMap::new(),
            turn: ALL,
            reported: EventTime::MIN,
        })
    }

    /// As [`KafkaSource::with_schemas`].
    #[must_use]
    pub fn with_schemas(mut self, schemas: Option<Arc<SchemaRegistry>>) -> Self {
        self.inner = self.inner.with_schemas(schemas);
        self
    }

    /// Its splits.
    #[must_use]
    pub fn splits() -> Vec<SplitId> {
        vec![ALL]
    }

    fn is_over(&self) -> bool {
        let records = self.limit.records.is_some_and(|max| self.records >= max);
        let elapsed = clock_ms().saturating_sub(self.started_ms).max(0) as u64;
        let time = self.limit.millis.is_some_and(|max| elapsed >= max);
        records || time || (self.limit.discover_ms.is_none() && self.parts.values().all(|p| p.finished))
    }

    fn watermark(&self) -> EventTime {
        self.parts.values().map(|p| p.watermark).min().unwrap_or(EventTime::MIN)
    }

    fn position(&self) -> Bytes {
        let partitions = self.parts.values().filter_map(|p| p.position).collect();
        State { records: self.records, started_ms: self.started_ms, partitions }.encode().into()
    }

    /// Takes in new partitions.
    fn discover(&mut self) -> Result<()> {
        let Some(found) = self.discovery.look(&self.config, self.inner.splits()) else { return Ok(()) };
        self.inner.extend(&found).into_iter().try_for_each(|split| self.open_part(split, None))
    }

    fn open_part(&mut self, split: SplitId, position: Option<Position>) -> Result<()> {
        self.inner.open(split, position.map(Position::encode).as_deref())?;
        self.parts.insert(split, Part { position, watermark: EventTime::MIN, finished: false });
        Ok(())
    }

    fn over(&mut self) -> Result<Option<Read>> {
        let (position, batch) = (self.position(), BatchBuilder::new().finish());
        Ok(Some(Read { batch, position, watermark: EventTime::MAX, finished: true }))
    }
}

impl Source for MergedKafkaSource {
    fn open(&mut self, _: SplitId, position: Option<&[u8]>) -> Result<()> {
        let state = match position {
            None => State { records: 0, started_ms: clock_ms(), partitions: Vec::new() },
            Some(bytes) => State::decode(bytes).ok_or_else(|| {
                Error::user("KAFKA_POSITION", "the stored position of a Kafka source is of another kind of read")
                    .help("keep max_num_records and max_read_time as they were, or start the job anew with an empty state directory")
            })?,
        };
        (self.records, self.started_ms) = (state.records, state.started_ms);
        self.parts.clear();
        // partitions that another process came upon and this one has not heard of
        let stored: Vec<u64> = state.partitions.iter().map(|p| p.partition).collect();
        let found = self.inner.splits().unlisted(&self.config.topics, &stored);
        self.inner.recall(&[], &found);
        let known = self.inner.splits().clone();
        for split in known.splits() {
            let of_split = |p: &&Position| known.id_of_position(p.partition) == Some(split);
            self.open_part(split, state.partitions.iter().find(of_split).copied())?;
        }
        Ok(())
    }

    fn poll(&mut self, _: SplitId, rows: usize) -> Result<Option<Read>> {
        self.discover()?;
        if self.is_over() {
            return self.over();
        }
        let left = self.limit.records.map_or(u64::MAX, |max| max.saturating_sub(self.records));
        let rows = rows.min(usize::try_from(left).unwrap_or(usize::MAX));
        let after = self.parts.range(SplitId(self.turn.0.saturating_add(1))..).map(|(id, _)| *id);
        let turns: Vec<SplitId> = after.chain(self.parts.range(..=self.turn).map(|(id, _)| *id)).collect();
        for split in turns {
            let Some(part) = self.parts.get(&split).filter(|p| !p.finished) else { continue };
            let before = *part;
            let Some(read) = self.inner.poll(split, rows)? else { continue };
            let position = Position::decode(&read.position).or(before.position);
            self.parts.insert(split, Part { position, watermark: read.watermark, finished: read.finished });
            self.turn = split;
            self.records += read.batch.len() as u64;
            if read.batch.is_empty() && self.watermark() <= self.reported && !read.finished {
                continue;
            }
            self.reported = self.watermark();
            let finished = self.is_over();
            let watermark = if finished { EventTime::MAX } else { self.watermark() };
            return Ok(Some(Read { batch: read.batch, position: self.position(), watermark, finished }));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_frozen() {
        let part = Position { partition: 1, next: 258, end: None };
        let state = State { records: 3, started_ms: 4, partitions: vec![part, Position { partition: 2, ..part }] };
        let bytes = state.encode();
        assert_eq!(&bytes[..17], b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04");
        assert_eq!((bytes.len(), &bytes[17..42]), (67, part.encode().as_slice()));
        assert_eq!(State::decode(&bytes), Some(state));
        for cut in [0, 16, 30, 66] {
            assert_eq!(State::decode(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(State::decode(&part.encode()), None);
        assert_eq!(Position::decode(&bytes), None);
    }
}
