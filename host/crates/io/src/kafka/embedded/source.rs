//! The source of records of the embedded log.
//!
//! In: the log. Out: batches; a position is the offset of the next record, in the bytes of the Kafka source. A split is a partition.
//! Reads see whole commits, whoever made them.

use super::super::element::{Elements, SourceElement};
use super::super::position::{Position, partition_id};
use super::super::source::{BATCH_BYTES, Start, clock_ms, worth_telling};
use super::super::watermark::{RecordTime, Watermark};
use bytes::Bytes;
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::SplitId;
use thalweg_core::port::log::{Log, LogView, LogWaker};
use thalweg_core::port::source::{Read, Source};
use thalweg_core::time::EventTime;

/// Partitions per topic that a split's number has room for.
const PARTITIONS_MAX: u32 = 1 << 16;

/// Options of a [`LogSource`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSourceConfig {
    /// The topics.
    pub topics: Vec<String>,
    /// What a record becomes.
    pub element: SourceElement,
    /// Where event times come from.
    pub time: RecordTime,
    /// Where partitions without a stored position begin.
    pub start: Start,
    /// Whether the source ends at the end offsets seen when the job first started.
    pub bounded: bool,
}

/// A partition as it was when the job started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Split {
    pub topic: Arc<str>,
    pub partition: u32,
    pub begin: u64,
    pub end: u64,
}

/// The partitions of a source's topics, numbered as those of a Kafka source.
#[derive(Clone, Debug)]
pub struct LogSplits(Arc<[(SplitId, Split)]>);

impl LogSplits {
    /// Looks for the partitions. Cost: for a start by time, a walk over the records before it.
    ///
    /// # Errors
    /// `LOG_TOPIC_UNKNOWN`, `KAFKA_CONFIG`, and what the log says.
    pub fn discover(log: &dyn Log, config: &LogSourceConfig) -> Result<Self> {
        let mut splits = Vec::new();
        for (i, name) in config.topics.iter().enumerate() {
            if config.topics.iter().take(i).any(|earlier| earlier == name) {
                return Err(Error::user("KAFKA_CONFIG", format!("the topic {name:?} is listed twice")));
            }
            // a topic that is not there is an error of the log
            let partitions = log.topic(name).map_or(1, |topic| topic.partitions);
            let topic: Arc<str> = Arc::from(name.as_str());
            for partition in 0..partitions {
                let bounds = log.bounds(name, partition)?;
                let begin = match config.start {
                    Start::Earliest => bounds.start,
                    Start::Latest => bounds.end,
                    Start::Timestamp(from) => {
                        first_since(log, name, partition, bounds.start, from)?.unwrap_or(bounds.end)
                    }
                };
                let split = Split { topic: Arc::clone(&topic), partition, begin, end: bounds.end };
                splits.push((SplitId(i as u32 * PARTITIONS_MAX + partition), split));
            }
        }
        if splits.is_empty() {
            return Err(Error::user("KAFKA_CONFIG", "a source of topics needs at least one topic"));
        }
        Ok(Self(splits.into()))
    }

    /// The splits.
    #[must_use]
    pub fn splits(&self) -> Vec<SplitId> {
        self.0.iter().map(|(id, _)| *id).collect()
    }

    /// Records between the beginnings and ends seen at the start, at most.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.0.iter().map(|(_, split)| split.end.saturating_sub(split.begin)).sum()
    }

    pub(super) fn get(&self, id: SplitId) -> Option<&Split> {
        self.0.iter().find(|(found, _)| *found == id).map(|(_, split)| split)
    }

    /// The split of a stored position's partition.
    pub(super) fn of_position(&self, position: &Position) -> Option<SplitId> {
        let of = |split: &Split| partition_id(&split.topic, split.partition as i32);
        self.0.iter().find(|(_, split)| of(split) == position.partition).map(|(id, _)| *id)
    }
}

fn first_since(log: &dyn Log, topic: &str, partition: u32, start: u64, from_ms: i64) -> Result<Option<u64>> {
    let mut found = None;
    log.read(topic, partition, start, &mut |record| {
        found = (record.timestamp_ms >= from_ms).then_some(record.offset);
        found.is_none()
    })?;
    Ok(found)
}

/// Reads topics of the embedded log. URN `thalweg:source:kafka:v1` with the servers `embedded`.
pub struct LogSource {
    log: Arc<dyn Log>,
    config: LogSourceConfig,
    splits: LogSplits,
    elements: Elements,
    open: BTreeMap<SplitId, Partition>,
    /// Held so that the log goes on calling it.
    waker: Option<LogWaker>,
}

impl std::fmt::Debug for LogSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogSource").field("config", &self.config).finish_non_exhaustive()
    }
}

/// An open split.
struct Partition {
    split: Split,
    position: Position,
    watermark: Watermark,
    /// The watermark that was reported last.
    reported: Option<EventTime>,
    finished: bool,
}

impl LogSource {
    /// A source over partitions that were discovered once for the job; every shard has one of its own.
    ///
    /// # Errors
    /// `ROW_NOT_FROM_JSON`.
    pub fn new(log: Arc<dyn Log>, config: LogSourceConfig, splits: LogSplits) -> Result<Self> {
        let elements = Elements::new(&config.element)?;
        Ok(Self { log, config, splits, elements, open: BTreeMap::new(), waker: None })
    }
}

pub(super) fn no_split(split: SplitId) -> Error {
    Error::internal("SOURCE_NO_SPLIT", format!("the source of the log has no open split {}", split.0))
}

/// A record as the Kafka source knows one. Its parts are copied: the client's own type is filled by the client alone.
fn message(topic: &str, partition: u32, record: &LogView<'_>) -> OwnedMessage {
    let headers = (!record.headers.is_empty()).then(|| {
        record.headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: *value }))
    });
    OwnedMessage::new(
        record.value.map(<[u8]>::to_vec),
        record.key.map(<[u8]>::to_vec),
        topic.to_owned(),
        Timestamp::CreateTime(record.timestamp_ms),
        partition as i32,
        record.offset as i64,
        headers,
    )
}

impl Source for LogSource {
    fn open(&mut self, split: SplitId, position: Option<&[u8]>) -> Result<()> {
        let found = self.splits.get(split).ok_or_else(|| no_split(split))?.clone();
        let id = partition_id(&found.topic, found.partition as i32);
        let position = match position {
            Some(bytes) => Position::stored(bytes, &found.topic, found.partition as i32)?,
            None => {
                let end = self.config.bounded.then_some(found.end as i64);
                Position { partition: id, next: found.begin as i64, end }
            }
        };
        let finished = position.end.is_some_and(|end| position.next >= end);
        let watermark = Watermark::new(self.config.time.clone(), clock_ms());
        self.open.insert(split, Partition { split: found, position, watermark, reported: None, finished });
        Ok(())
    }

    fn poll(&mut self, split: SplitId, rows: usize) -> Result<Option<Read>> {
        let at = self.open.get_mut(&split).ok_or_else(|| no_split(split))?;
        let before = at.position.next;
        at.gather(self.log.as_ref(), &mut self.elements, rows.max(1))?;
        if before == at.position.next {
            at.watermark.idle(clock_ms());
        }
        let watermark = if at.finished { EventTime::MAX } else { at.watermark.now() };
        let moved = at.finished || worth_telling(at.reported, watermark);
        if before == at.position.next && self.elements.len() == 0 && !moved {
            return Ok(None);
        }
        at.reported = Some(watermark);
        let (position, finished) = (Bytes::from(at.position.encode()), at.finished);
        Ok(Some(Read { batch: self.elements.finish()?, position, watermark, finished }))
    }

    fn woken_by(&mut self, waker: &Arc<dyn Fn() + Send + Sync>) {
        self.log.wakes(waker);
        self.waker = Some(Arc::clone(waker));
    }
}

impl Partition {
    /// Gathers up to `rows` records that are there already.
    fn gather(&mut self, log: &dyn Log, elements: &mut Elements, rows: usize) -> Result<()> {
        if self.finished {
            return Ok(());
        }
        let now = clock_ms();
        let Self { split, position, watermark, .. } = self;
        let (mut trouble, mut over) = (None, false);
        log.read(&split.topic, split.partition, position.next as u64, &mut |record| {
            if position.end.is_some_and(|end| record.offset as i64 >= end) {
                over = true;
                return false;
            }
            let message = message(&split.topic, split.partition, record);
            let time = watermark.record(rdkafka::Message::timestamp(&message), now);
            if let Err(why) = time.and_then(|time| elements.push(&message, time)) {
                trouble = Some((record.offset, why));
                return false;
            }
            position.next = record.offset as i64 + 1;
            elements.len() < rows && elements.bytes() < BATCH_BYTES
        })?;
        if let Some((offset, why)) = trouble {
            let what = format!("record {offset} of {:?} {} is not readable: {why}", split.topic, split.partition);
            return Err(Error::user("KAFKA_RECORD_MALFORMED", what).help(
                "correct the producer, the deserializer or the schema, or read bytes and parse them in a function",
            ));
        }
        // the last records before the end may have been compacted away
        let exhausted = over || (elements.len() < rows && elements.bytes() < BATCH_BYTES);
        self.finished = position.end.is_some_and(|end| position.next >= end || exhausted);
        if self.finished
            && let Some(end) = position.end
        {
            position.next = position.next.max(end);
        }
        Ok(())
    }
}
