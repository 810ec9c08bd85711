//! The source of records.
//!
//! In: partitions assigned by hand to one consumer per shard, each with a queue of its own. Out: batches; a position is the
//! offset of the next record. Nothing is polled that is not asked for: librdkafka stops fetching when its queue is full.

use super::backlog::{Backlog, Known, taken};
use super::client::{KafkaClientConfig, Reports, made, unless_given};
use super::discovery::Discovery;
use super::element::{Elements, SourceElement};
use super::error;
use super::position::{Position, partition_id};
use super::splits::KafkaSplits;
use super::watermark::{RecordTime, Watermark};
use crate::format::{SchemaRegistry, framed};
use bytes::Bytes;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::SplitId;
use thalweg_core::port::source::{Read, Source};
use thalweg_core::time::EventTime;

/// Bytes after which a poll stops gathering.
pub(super) const BATCH_BYTES: usize = 1 << 20;
/// Kilobytes that all of a source's queues may hold together, unless that were less than 1 MiB for each. Back-pressure is not polling.
const QUEUES_KB: usize = 64 << 10;
/// Milliseconds until a partition whose queue was full is fetched again. Usual with librdkafka is a second, in which a queue runs empty long before.
pub(super) const QUEUE_BACKOFF_MS: &str = "10";
/// An idle partition's watermark is reported when it moved by so many milliseconds.
const IDLE_STEP_MS: i64 = 100;

/// Where a partition without a stored position begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At its earliest record.
    #[default]
    Earliest,
    /// Behind the last record there was when the job started.
    Latest,
    /// At the first record with this timestamp or a later one, in milliseconds; without one, behind the last record.
    Timestamp(i64),
}

/// Options of a [`KafkaSource`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSourceConfig {
    /// The cluster. The property `isolation.level` counts here; `read_committed` is the default.
    pub client: KafkaClientConfig,
    /// The topics.
    pub topics: Vec<String>,
    /// What a record becomes.
    #[serde(default)]
    pub element: SourceElement,
    /// Where event times come from.
    #[serde(default)]
    pub time: RecordTime,
    /// Where partitions without a stored position begin.
    #[serde(default)]
    pub start: Start,
    /// Whether partitions begin where the group of the property `group.id` stands, if it stands anywhere.
    #[serde(default)]
    pub from_group: bool,
    /// Whether the source ends at the end offsets seen when the job first started.
    #[serde(default)]
    pub bounded: bool,
    /// Where a bounded source ends instead: before the first record with this timestamp or a later one, in milliseconds. It
    /// must have passed.
    #[serde(default)]
    pub stop_ms: Option<i64>,
    /// How long a partition must have given nothing before its watermark follows the clock, in milliseconds.
    #[serde(default)]
    pub idle_after_ms: u32,
    /// Milliseconds between two looks for new partitions, which are read from their beginning; none are looked for without it.
    #[serde(default)]
    pub discover_ms: Option<u64>,
}

impl KafkaSourceConfig {
    /// Reads topics for ever from their earliest records, as key and value without event times.
    #[must_use]
    pub fn new(client: KafkaClientConfig, topics: Vec<String>) -> Self {
        Self {
            client,
            topics,
            element: SourceElement::default(),
            time: RecordTime::None,
            start: Start::Earliest,
            from_group: false,
            bounded: false,
            stop_ms: None,
            idle_after_ms: 0,
            discover_ms: None,
        }
    }

    pub(super) fn isolation(&self) -> String {
        self.client.properties.get("isolation.level").cloned().unwrap_or_else(|| "read_committed".to_owned())
    }
}

/// Reads topics. URN `thalweg:source:kafka:v1`.
///
/// A split is a partition. Brokers that are away for a while are waited for; a topic that is deleted, or records that retention
/// took before they were read, fail the job.
pub struct KafkaSource {
    config: KafkaSourceConfig,
    splits: KafkaSplits,
    elements: Elements,
    open: BTreeMap<SplitId, Partition>,
    discovery: Discovery,
    backlog: Backlog,
    /// Whose schemas must be at hand before a record is given out that names one.
    schemas: Option<Arc<SchemaRegistry>>,
    consumer: Arc<BaseConsumer<Reports>>,
}

/// An open split.
struct Partition {
    topic: Arc<str>,
    partition: i32,
    /// Its queue; none once everything was read.
    queue: Option<PartitionQueue<Reports>>,
    position: Position,
    watermark: Watermark,
    /// The watermark that was reported last; none before the first report, which makes the position lasting.
    reported: Option<EventTime>,
    /// A broker had nothing behind what was read.
    at_end: bool,
    /// That was just told, and is to be compared with where the partition ends.
    told: bool,
    /// Since when that is true of its leader, as far as it was asked.
    known: Known,
    /// A record whose schema is being asked for.
    held: Option<OwnedMessage>,
    finished: bool,
}

impl std::fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSource").field("config", &self.config).finish_non_exhaustive()
    }
}

impl KafkaSource {
    /// A source over partitions that were discovered once for the job; every shard has one of its own. Connects in the background.
    ///
    /// # Errors
    /// `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`, `ROW_NOT_FROM_JSON`.
    pub fn new(config: KafkaSourceConfig, splits: KafkaSplits) -> Result<Self> {
        let mut settings = config.client.client()?;
        for (name, value) in [
            ("isolation.level", config.isolation().as_str()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "error"), // records that are gone are an error, never skipped
        ] {
            settings.set(name, value);
        }
        let queue_kb = (QUEUES_KB / splits.count().max(1)).clamp(1024, 16384).to_string();
        let usual = [
            ("group.id", "thalweg"), // librdkafka wants a name; the group is never joined
            ("queued.max.messages.kbytes", queue_kb.as_str()),
            ("queued.min.messages", "50000"),
            ("fetch.wait.max.ms", "100"),
            ("fetch.queue.backoff.ms", QUEUE_BACKOFF_MS),
        ];
        unless_given(&mut settings, &usual);
        let consumer = made(&settings, Reports::default())?;
        let elements = Elements::new(&config.element)?;
        let discovery = Discovery::new(config.discover_ms.filter(|_| !config.bounded));
        Ok(Self {
            config,
            splits,
            elements,
            open: BTreeMap::new(),
            discovery,
            backlog: Backlog::default(),
            schemas: None,
            consumer,
        })
    }

    /// Lets records wait for the schemas that their values name, so that whoever decodes them does not: a shard's thread
    /// never waits for a registry.
    #[must_use]
    pub fn with_schemas(mut self, schemas: Option<Arc<SchemaRegistry>>) -> Self {
        self.schemas = schemas;
        self
    }

    /// Goes on with more partitions than before; gives the new ones.
    pub(super) fn extend(&mut self, found: &KafkaSplits) -> Vec<SplitId> {
        let Some((all, new)) = self.splits.grown(found) else { return Vec::new() };
        tracing::info!(target: "kafka", "{} new partitions of {}", new.len(), self.config.topics.join(", "));
        self.splits = all;
        new
    }

    pub(super) fn splits(&self) -> &KafkaSplits {
        &self.splits
    }

    fn failed(&self, e: &KafkaError, topic: &str) -> Error {
        let reason = self.consumer.context().reason();
        error::talking(e, &format!("read the topic {topic:?}"), &self.config.client.bootstrap, &reason)
    }

    /// Serves the client's own events. Errors that pass are left to librdkafka, which tries again.
    fn serve(&self) -> Result<()> {
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            match event {
                Err(e) if error::is_passing(&e) => tracing::debug!(target: "kafka", "{e}"),
                Err(e) => return Err(self.failed(&e, &self.config.topics.join(", "))),
                Ok(m) => {
                    let what = format!("a record of {} {} missed its queue", m.topic(), m.partition());
                    return Err(Error::internal("KAFKA_QUEUE", what));
                }
            }
        }
        Ok(())
    }

    /// Takes in what brokers said about the ends of partitions, and asks again if this one needs to know.
    fn hear(&mut self, split: SplitId) {
        if let Some(answer) = self.backlog.answer() {
            let leads = !self.config.client.properties.contains_key("client.rack");
            for (split, end, taken) in answer.ends {
                if let Some(at) = self.open.get_mut(&split) {
                    at.known.end(answer.asked_ms, end, at.position.next.max(taken), leads);
                }
            }
        }
        if self.open.get(&split).is_some_and(Partition::asks) && self.backlog.is_due(clock_ms()) {
            let all = self.open.iter().filter(|(_, at)| at.asks());
            let all = all.map(|(split, at)| (*split, Arc::clone(&at.topic), at.partition)).collect();
            self.backlog.ask(&self.consumer, all);
        }
    }

    fn assign(&self, topic: &str, partition: i32, from: Offset) -> Result<PartitionQueue<Reports>> {
        let fail = |e: KafkaError| self.failed(&e, topic);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, from).map_err(fail)?;
        // the queue comes first: records must not reach the common one
        let queue = self.consumer.split_partition_queue(topic, partition);
        let queue = queue.ok_or_else(|| Error::user("KAFKA_CONFIG", format!("{topic:?} is no name of a topic")))?;
        self.consumer.incremental_assign(&list).map_err(fail)?;
        Ok(queue)
    }

    /// Stops fetching a partition. A failure is no harm: it is fetched in vain.
    fn unassign(&self, topic: &str, partition: i32) {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        if let Err(e) = self.consumer.incremental_unassign(&list) {
            tracing::debug!(target: "kafka", "{e}");
        }
    }
}

fn no_split(split: SplitId) -> Error {
    Error::internal("SOURCE_NO_SPLIT", format!("the Kafka source has no open split {}", split.0))
}

impl Source for KafkaSource {
    fn open(&mut self, split: SplitId, position: Option<&[u8]>) -> Result<()> {
        let found = self.splits.get(split).ok_or_else(|| no_split(split))?.clone();
        let id = partition_id(&found.topic, found.partition);
        let (position, from) = match position {
            Some(bytes) => {
                let at = Position::stored(bytes, &found.topic, found.partition)?;
                (at, Offset::Offset(at.next))
            }
            None => {
                let end = self.config.bounded.then_some(found.end);
                match found.begin {
                    None => (Position { partition: id, next: found.low, end }, Offset::Beginning),
                    Some(next) => (Position { partition: id, next, end }, Offset::Offset(next)),
                }
            }
        };
        self.backlog.forget();
        if let Some(before) = self.open.remove(&split).filter(|p| p.queue.is_some()) {
            self.unassign(&before.topic, before.partition);
        }
        let finished = position.end.is_some_and(|end| position.next >= end);
        let queue = if finished { None } else { Some(self.assign(&found.topic, found.partition, from)?) };
        self.open.insert(
            split,
            Partition {
                topic: found.topic,
                partition: found.partition,
                queue,
                position,
                watermark: Watermark::new(self.config.time.clone(), clock_ms()),
                reported: None,
                at_end: false,
                told: false,
                known: Known::default(),
                held: None,
                finished,
            },
        );
        Ok(())
    }

    fn poll(&mut self, split: SplitId, rows: usize) -> Result<Option<Read>> {
        self.serve()?;
        self.hear(split);
        let at = self.open.get_mut(&split).ok_or_else(|| no_split(split))?;
        let before = at.position.next;
        if let Err(trouble) = at.gather(&mut self.elements, &self.config.time, self.schemas.as_ref(), rows.max(1)) {
            return Err(match trouble {
                Trouble::Client(e) => {
                    let topic = Arc::clone(&at.topic);
                    self.failed(&e, &topic)
                }
                Trouble::Record(e) => e,
            });
        }
        at.finish_if_read(&self.consumer);
        let done = (at.finished && at.queue.take().is_some()).then(|| (Arc::clone(&at.topic), at.partition));
        let now = clock_ms();
        let idle = before == at.position.next && at.at_end;
        if idle && at.watermark.quiet_ms(now) >= i64::from(self.config.idle_after_ms) {
            // a link that is broken is silent, too: beyond the last answer nothing is known
            let until = if at.watermark.needs_brokers() { at.known.until_ms() } else { Some(now) };
            until.into_iter().for_each(|until| at.watermark.idle(until));
        }
        let watermark = if at.finished { EventTime::MAX } else { at.watermark.now() };
        let moved = at.finished || worth_telling(at.reported, watermark);
        if before == at.position.next && self.elements.len() == 0 && !moved {
            return Ok(None);
        }
        at.reported = Some(watermark);
        let (position, finished) = (Bytes::from(at.position.encode()), at.finished);
        if let Some((topic, partition)) = done {
            self.unassign(&topic, partition);
        }
        Ok(Some(Read { batch: self.elements.finish()?, position, watermark, finished }))
    }

    fn recall(&mut self, first: &[SplitId], found: &[SplitId]) -> Vec<SplitId> {
        let (splits, more) = self.splits.recalled(&self.config.topics, first, found);
        self.splits = splits;
        more
    }

    fn found(&mut self) -> Result<Vec<SplitId>> {
        let found = self.discovery.look(&self.config, &self.splits);
        Ok(found.map_or_else(Vec::new, |found| self.extend(&found)))
    }
}

/// Whether a watermark is worth telling by itself: the first one is, and then what moved by a step.
pub(super) fn worth_telling(reported: Option<EventTime>, watermark: EventTime) -> bool {
    reported.is_none_or(|reported| watermark.0.saturating_sub(reported.0) >= IDLE_STEP_MS)
}

/// Why a poll failed.
enum Trouble {
    Client(KafkaError),
    Record(Error),
}

impl Partition {
    /// Gathers up to `rows` records that are there already.
    fn gather(
        &mut self,
        elements: &mut Elements,
        times: &RecordTime,
        schemas: Option<&Arc<SchemaRegistry>>,
        rows: usize,
    ) -> Result<(), Trouble> {
        let now = clock_ms();
        if let Some(held) = self.held.take() {
            if !at_hand(&held, schemas)? {
                self.held = Some(held);
                return Ok(());
            }
            self.take(&held, elements, times, now)?;
        }
        let Some(queue) = self.queue.take() else { return Ok(()) };
        let gathered = self.empty(&queue, elements, times, schemas, rows, now);
        self.queue = Some(queue);
        gathered
    }

    /// Takes records out of the queue.
    fn empty(
        &mut self,
        queue: &PartitionQueue<Reports>,
        elements: &mut Elements,
        times: &RecordTime,
        schemas: Option<&Arc<SchemaRegistry>>,
        rows: usize,
        now: i64,
    ) -> Result<(), Trouble> {
        while !self.finished && elements.len() < rows && elements.bytes() < BATCH_BYTES {
            match queue.poll(Duration::ZERO) {
                None => break,
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    (self.at_end, self.told) = (true, true);
                }
                Some(Err(e)) if error::is_passing(&e) => tracing::debug!(target: "kafka", "{e}"),
                Some(Err(e)) => return Err(Trouble::Client(e)),
                Some(Ok(record)) => {
                    (self.at_end, self.told) = (false, false);
                    self.known.record();
                    if self.position.end.is_some_and(|end| record.offset() >= end) {
                        self.finished = true;
                        break;
                    }
                    if !at_hand(&record, schemas)? {
                        self.held = Some(record.detach());
                        break;
                    }
                    self.take(&record, elements, times, now)?;
                }
            }
        }
        Ok(())
    }

    /// Whether it is to be asked where the partition ends.
    fn asks(&self) -> bool {
        self.at_end && !self.finished && (self.position.end.is_some() || self.watermark.needs_brokers())
    }

    /// Ends a bounded read of which nothing more can come. That a broker had nothing more is not enough: another replica than the one that told the
    /// end may lag behind it.
    fn finish_if_read(&mut self, consumer: &BaseConsumer<Reports>) {
        let Some(end) = self.position.end.filter(|_| self.at_end && !self.finished) else { return };
        let place = || (self.topic.to_string(), self.partition);
        let is_taken = || taken(consumer).is_ok_and(|all| all.get(&place()).is_some_and(|next| *next >= end));
        if (self.told && is_taken()) || self.known.is_read_to(end) {
            // that end was stable when it was seen, so nothing before it can still come: the rest are markers of
            // transactions, which take offsets but are no records
            self.position.next = end;
            self.finished = true;
        }
        self.told = false;
    }

    /// Takes one record.
    fn take(
        &mut self,
        record: &impl Message,
        elements: &mut Elements,
        times: &RecordTime,
        now: i64,
    ) -> Result<(), Trouble> {
        let offset = record.offset();
        let time = self.watermark.record(times.of(record), now);
        time.and_then(|time| elements.push(record, time)).map_err(|why| {
            let what = format!("record {offset} of {:?} {} is not readable: {why}", self.topic, self.partition);
            let error = Error::user("KAFKA_RECORD_MALFORMED", what);
            Trouble::Record(error.help(
                "correct the producer, the deserializer or the schema, or read bytes and parse them in a function",
            ))
        })?;
        // offsets have gaps: compaction takes records away
        self.position.next = offset + 1;
        self.finished = self.position.end.is_some_and(|end| offset + 1 >= end);
        Ok(())
    }
}

/// Whether a record need not wait for the schema that its value names.
fn at_hand(record: &impl Message, schemas: Option<&Arc<SchemaRegistry>>) -> Result<bool, Trouble> {
    match schemas.zip(record.payload().and_then(framed)) {
        Some((schemas, (id, _))) => schemas.ready(id).map_err(Trouble::Record),
        None => Ok(true),
    }
}

/// The wall clock, in milliseconds: for the watermark of idle partitions, and for reads that end with time.
pub(super) fn clock_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
