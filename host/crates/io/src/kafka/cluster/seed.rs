//! The state a job begins with, written to its changelog before anybody runs it.
//!
//! In: cells by partition. Out: one transaction, so that a job finds all of it or nothing; it is over once readers see all of it.

use super::super::client::{KafkaClientConfig, Reports, made, unless_given};
use super::super::error;
use super::super::send;
use super::reader::LogReader;
use super::topics::{JobTopics, RECORD_BYTES_MAX};
use super::walk::walk;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;
use thalweg_core::state::layout::EPOCH;

/// How long it may take: less than the longest transaction that brokers allow by default (`transaction.max.timeout.ms`, 15 minutes).
const WITHIN: Duration = Duration::from_secs(600);
const CALL_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// Writes the state of a job that has not begun. What is not committed was never there.
pub struct Seeder {
    producer: Arc<BaseProducer<Reports>>,
    client: KafkaClientConfig,
    changelog: String,
    partitions: u16,
    end: Instant,
}

impl std::fmt::Debug for Seeder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seeder").field("changelog", &self.changelog).finish_non_exhaustive()
    }
}

impl Seeder {
    /// Begins to write.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`, `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`.
    pub fn begin(client: &KafkaClientConfig, topics: &JobTopics, partitions: u16) -> Result<Self> {
        let mut settings = client.client()?;
        settings.remove("group.id");
        let millis = WITHIN.as_millis().to_string();
        settings.set("transactional.id", format!("{}-seed", topics.prefix()));
        settings.set("transaction.timeout.ms", &millis).set("message.timeout.ms", &millis);
        let usual = [
            ("linger.ms", "5"),
            ("queue.buffering.max.kbytes", "131072"),
            ("message.max.bytes", RECORD_BYTES_MAX),
            ("compression.type", "lz4"),
        ];
        unless_given(&mut settings, &usual);
        let context = Reports::watching(&[&topics.changelog()]);
        let producer: Arc<BaseProducer<Reports>> = made(&settings, context)?;
        let this = Self {
            producer,
            client: client.clone(),
            changelog: topics.changelog(),
            partitions,
            end: Instant::now() + WITHIN,
        };
        this.producer.init_transactions(CALL_WITHIN).map_err(|e| this.failed(&e))?;
        this.producer.begin_transaction().map_err(|e| this.failed(&e))?;
        Ok(this)
    }

    /// Writes a cell of a partition.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_RECORD_TOO_LARGE`.
    pub fn cell(&self, partition: u16, key: &[u8], value: &[u8]) -> Result<()> {
        let record = BaseRecord::<[u8], [u8]>::to(&self.changelog).key(key).payload(value);
        send::push(&self.producer, record.partition(i32::from(partition)), self.end).map_err(|e| self.failed(&e))
    }

    /// Makes all of it lasting, as the state that every partition has after this epoch, and waits until `reader` finds it.
    ///
    /// # Errors
    /// As for [`Seeder::cell`]; nothing was written then, as far as that is known.
    pub fn commit(self, epoch: Epoch, reader: &LogReader) -> Result<()> {
        for partition in 0..self.partitions {
            self.cell(partition, EPOCH, &epoch.0.to_be_bytes())?;
        }
        send::settle(&self.producer, self.end).map_err(|e| self.failed(&e))?;
        let written = self.producer.context().take_written().remove(&self.changelog).unwrap_or_default();
        self.producer.commit_transaction(CALL_WITHIN).map_err(|e| self.failed(&e))?;
        // brokers say so before they have told all partitions: a job that looks too early finds nothing, and begins with nothing
        for (partition, (_, last)) in written {
            while reader.bounds(&self.changelog, partition as u16)?.1 <= last {
                if Instant::now() > self.end {
                    return Err(self.failed(&KafkaError::Flush(Code::OperationTimedOut)));
                }
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    fn failed(&self, e: &KafkaError) -> thalweg_core::error::Error {
        let context = self.producer.context();
        // a client whose transaction failed says only that; the record's own error says why
        let cause = context.take_undelivered().unwrap_or_else(|| e.clone());
        error::talking(&cause, "write the state a job begins with", &self.client.bootstrap, &context.reason())
    }
}

impl JobTopics {
    /// Whether anything was ever committed to the changelog of a job.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_UNKNOWN_TOPIC`.
    pub fn has_state(&self, reader: &LogReader, partitions: u16) -> Result<bool> {
        let (topic, mut found) = (self.changelog(), false);
        for partition in 0..partitions {
            walk(reader, (&topic, partition), 0, &mut |_| {
                found = true;
                Ok(false)
            })?;
            if found {
                break;
            }
        }
        Ok(found)
    }
}
