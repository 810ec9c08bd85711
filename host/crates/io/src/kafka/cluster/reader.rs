//! The one consumer by which a process reads the internal topics of a job, each partition from a queue of its own.
//!
//! Partitions are assigned by hand. Nothing is fetched that is not polled for long: queues are bounded.

use super::super::ask::{connect, watermarks};
use super::super::backlog;
use super::super::client::{KafkaClientConfig, Reports, made};
use super::super::error;
use super::super::source::QUEUE_BACKOFF_MS;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};

/// Kilobytes that one queue may hold.
const QUEUE_KB: &str = "4096";
/// How long nothing must have come until an end that no record leads to is asked for again: a leader that answers has what was committed (KIP-207), and
/// sends it within a second.
const SETTLED: Duration = Duration::from_secs(5);

/// Reads internal topics, as far as they are committed.
pub struct LogReader {
    consumer: Arc<BaseConsumer<Reports>>,
    client: KafkaClientConfig,
    /// Set once it had a broker.
    connected: OnceLock<()>,
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").field("client", &self.client).finish_non_exhaustive()
    }
}

/// The settings of a reader of internal topics. It reads from leaders alone: replicas that are near (`client.rack`) may lag behind them, and what is
/// read here is to be whole.
fn settings(client: &KafkaClientConfig, isolation: &str) -> Result<ClientConfig> {
    let mut settings = client.client()?;
    for (name, value) in [
        ("isolation.level", isolation),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "true"),
        ("auto.offset.reset", "error"),
        ("group.id", "thalweg"), // librdkafka wants a name; the group is never joined
        ("queued.max.messages.kbytes", QUEUE_KB),
        ("fetch.wait.max.ms", "50"),
        ("fetch.queue.backoff.ms", QUEUE_BACKOFF_MS),
    ] {
        settings.set(name, value);
    }
    settings.remove("group.instance.id");
    settings.remove("client.rack");
    Ok(settings)
}

impl LogReader {
    /// A reader; it connects in the background.
    ///
    /// # Errors
    /// `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`.
    pub fn new(client: &KafkaClientConfig) -> Result<Arc<Self>> {
        let settings = settings(client, "read_committed")?;
        let consumer = made(&settings, Reports::default())?;
        Ok(Arc::new(Self { consumer, client: client.clone(), connected: OnceLock::new() }))
    }

    /// Reads a partition from an offset on.
    ///
    /// # Errors
    /// `KAFKA_FAILED` when it cannot be assigned.
    pub(super) fn open(&self, topic: &str, partition: u16, from: i64) -> Result<PartitionQueue<Reports>> {
        let fail = |e: KafkaError| self.failed(&e, topic);
        let mut list = TopicPartitionList::new();
        let from = if from <= 0 { Offset::Beginning } else { Offset::Offset(from) };
        list.add_partition_offset(topic, i32::from(partition), from).map_err(fail)?;
        // the queue comes first: records must not reach the common one
        let queue = self.consumer.split_partition_queue(topic, i32::from(partition));
        let queue = queue.ok_or_else(|| Error::internal("KAFKA_QUEUE", format!("{topic:?} has no queue")))?;
        self.consumer.incremental_assign(&list).map_err(fail)?;
        Ok(queue)
    }

    /// Stops reading a partition.
    pub(super) fn close(&self, topic: &str, partition: u16) {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, i32::from(partition));
        if let Err(e) = self.consumer.incremental_unassign(&list) {
            tracing::debug!(target: "kafka", "{e}");
        }
    }

    /// Takes in what the client has to say. Errors that pass are left to librdkafka, which tries again.
    ///
    /// # Errors
    /// `KAFKA_UNKNOWN_TOPIC`, `KAFKA_AUTH`, `KAFKA_OFFSET_LOST`, `KAFKA_FAILED`.
    pub(super) fn serve(&self) -> Result<()> {
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            match event {
                Err(e) if passes(&e) => tracing::debug!(target: "kafka", "{e}"),
                Err(e) => return Err(self.failed(&e, "of the job")),
                // of a queue that was closed while it was fetched
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// The first offset of a partition, and the one behind its last stable record: no open transaction has one before it.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_UNKNOWN_TOPIC`.
    pub(super) fn bounds(&self, topic: &str, partition: u16) -> Result<(i64, i64)> {
        self.connected.get_or_init(|| connect(self.consumer.client(), &self.client, topic));
        let found = watermarks(&self.consumer, &self.client, topic, i32::from(partition));
        found.map_err(|e| self.failed(&e, topic))
    }

    /// How far a partition was taken out of its queue, markers of transactions included; 0 if nothing was.
    pub(super) fn taken(&self, topic: &str, partition: u16) -> i64 {
        let all = backlog::taken(&self.consumer).unwrap_or_default();
        all.get(&(topic.to_owned(), i32::from(partition))).copied().unwrap_or_default()
    }

    /// Whether a partition still reaches to an end of which its records fall short.
    pub(super) fn reaches(&self, topic: &str, partition: u16, end: i64) -> bool {
        self.bounds(topic, partition).is_ok_and(|(_, stable)| stable >= end)
    }

    /// Whether more is written to a partition than is stable: a transaction is open. Makes a client.
    ///
    /// # Errors
    /// As for [`LogReader::bounds`].
    pub(super) fn is_open(&self, topic: &str, partition: u16) -> Result<bool> {
        let (_, stable) = self.bounds(topic, partition)?;
        let consumer: Arc<BaseConsumer<Reports>> =
            made(&settings(&self.client, "read_uncommitted")?, Reports::default())?;
        let found = watermarks(&consumer, &self.client, topic, i32::from(partition));
        Ok(found.map_err(|e| self.failed(&e, topic))?.1 > stable)
    }

    pub(super) fn failed(&self, e: &KafkaError, topic: &str) -> Error {
        let reason = self.consumer.context().reason();
        error::talking(e, &format!("read the topic {topic:?}"), &self.client.bootstrap, &reason)
    }
}

/// Whether an error of a queue or the client is none to stop for.
pub(super) fn passes(e: &KafkaError) -> bool {
    matches!(e, KafkaError::PartitionEOF(_)) || error::is_passing(e)
}

/// Whether a partition was read to the end that its leader told. That a broker had nothing more is not enough: one that became the leader a moment ago
/// may not know yet how much is committed.
pub(super) struct Tail {
    end: i64,
    /// When a broker had nothing more; none once something came.
    told: Option<Instant>,
}

impl Tail {
    pub(super) fn before(end: i64) -> Self {
        Self { end, told: None }
    }

    /// A record came.
    pub(super) fn record(&mut self) {
        self.told = None;
    }

    /// A broker had nothing more when a partition was taken so far; gives whether that is the end.
    pub(super) fn told(&mut self, taken: i64, now: Instant) -> bool {
        self.told = Some(now);
        taken >= self.end
    }

    /// Whether nothing has come for so long that the end can be without a record: compaction took what was before it. If its leader still tells the
    /// same, it is reached.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.told.is_some_and(|told| now.saturating_duration_since(told) >= SETTLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_topics_are_read_from_their_leaders() {
        let mut client = KafkaClientConfig::new("b:1");
        client.properties.insert("client.rack".to_owned(), "near".to_owned());
        assert_eq!(client.client().expect("accepted").get("client.rack"), Some("near"));
        assert_eq!(settings(&client, "read_committed").expect("accepted").get("client.rack"), None);
    }

    #[test]
    fn an_end_is_reached_by_what_was_read_or_by_a_silence_and_not_because_a_broker_says_so() {
        let (mut tail, now) = (Tail::before(1000), Instant::now());
        assert!(!tail.is_settled(now + SETTLED), "nobody has said so");
        assert!(!tail.told(900, now));
        assert!(!tail.is_settled(now + SETTLED / 2) && tail.is_settled(now + SETTLED));
        tail.record();
        assert!(!tail.is_settled(now + SETTLED), "something came");
        assert!(tail.told(1000, now));
    }
}
