//! The one consumer by which a process reads the internal topics of a job, each partition from a queue of its own.
//!
//! Partitions are assigned by hand. Nothing is fetched that is not polled for long: queues are bounded.

use super::super::client::{KafkaClientConfig, Reports, connect, made};
use super::super::error;
use super::super::source::QUEUE_BACKOFF_MS;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use thalweg_core::error::{Error, Result};

/// Kilobytes that one queue may hold.
const QUEUE_KB: &str = "4096";

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

impl LogReader {
    /// A reader; it connects in the background.
    ///
    /// # Errors
    /// `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`.
    pub fn new(client: &KafkaClientConfig) -> Result<Arc<Self>> {
        let mut settings = client.client()?;
        for (name, value) in [
            ("isolation.level", "read_committed"),
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
        let found = self.consumer.fetch_watermarks(topic, i32::from(partition), self.client.connect_timeout());
        found.map_err(|e| self.failed(&e, topic))
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
