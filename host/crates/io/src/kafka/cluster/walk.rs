//! Internal topics as they stand: what a partition holds up to its stable end, and whether anything is under way.
//!
//! In: topics of a job. Out: their records, or where they end while no transaction is open in any of them. Two looks that see the same ends have between
//! them a moment in which nothing was written, so that what is read there belongs together.

use super::super::ask::watermarks;
use super::super::client::{KafkaClientConfig, Reports, listen, made};
use super::super::error;
use super::reader::{LogReader, Tail, passes};
use super::topics::JobTopics;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::StateId;

/// How long a partition may give nothing before its end is reached.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hands on the records of a partition from an offset to its stable end, until `each` says no.
pub(super) fn walk(
    reader: &LogReader,
    (topic, partition): (&str, u16),
    from: i64,
    each: &mut dyn FnMut(&BorrowedMessage<'_>) -> Result<bool>,
) -> Result<()> {
    let (low, high) = reader.bounds(topic, partition)?;
    if from == high || (from <= 0 && low == high) {
        return Ok(());
    }
    let queue = reader.open(topic, partition, from)?;
    let (mut heard, mut tail) = (Instant::now(), Tail::before(high));
    let walked = loop {
        reader.serve()?;
        match queue.poll(Duration::from_millis(20)) {
            Some(Ok(record)) => {
                heard = Instant::now();
                tail.record();
                match each(&record) {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(e) => break Err(e),
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) if tail.told(reader.taken(topic, partition), Instant::now()) => {
                break Ok(());
            }
            Some(Err(e)) if !passes(&e) => break Err(reader.failed(&e, topic)),
            Some(Err(_)) | None if heard.elapsed() > PATIENCE => {
                let what = format!("{topic:?} {partition} could not be read to its end");
                break Err(Error::external("KAFKA_UNREACHABLE", what).help("look after the brokers, and try again"));
            }
            Some(Err(_)) | None if tail.is_settled(Instant::now()) && reader.reaches(topic, partition, high) => {
                break Ok(());
            }
            Some(Err(_)) | None => {}
        }
    };
    drop(queue);
    reader.close(topic, partition);
    walked
}

/// Hands on what stands in an exchange behind a stored position of its reader: stored batches, in order.
///
/// # Errors
/// `KAFKA_UNREACHABLE`, `KAFKA_UNKNOWN_TOPIC`, `CLUSTER_RECORD`, `STATE_CORRUPT`, and what `each` says.
pub fn on_its_way(
    reader: &LogReader,
    topic: &str,
    partition: u16,
    position: Option<&[u8]>,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let from = super::ExchangeSource::behind(topic, position)?;
    walk(reader, (topic, partition), from, &mut |record| {
        let batch = record.payload().and_then(super::exchange::batch_of).ok_or_else(|| {
            let what = format!("record {} of {topic:?} {partition} is not of this job", record.offset());
            Error::external("CLUSTER_RECORD", what).help("nobody but the job may write its topics; see who wrote it")
        })?;
        if !batch.is_empty() {
            each(batch)?;
        }
        Ok(true)
    })
}

/// Looks whether a job's topics stand still.
pub struct Standstill {
    stable: Arc<LogReader>,
    /// Sees what is not committed, too.
    written: Arc<BaseConsumer<Reports>>,
    client: KafkaClientConfig,
    topics: Vec<String>,
    partitions: u16,
}

impl std::fmt::Debug for Standstill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standstill").field("topics", &self.topics).finish_non_exhaustive()
    }
}

impl Standstill {
    /// For the changelog of a job and these exchanges.
    ///
    /// # Errors
    /// `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`.
    pub fn new(
        client: &KafkaClientConfig,
        stable: Arc<LogReader>,
        topics: &JobTopics,
        exchanges: &[StateId],
        partitions: u16,
    ) -> Result<Self> {
        let mut settings = client.client()?;
        settings.remove("group.instance.id");
        settings.set("group.id", "thalweg").set("enable.auto.commit", "false");
        settings.set("isolation.level", "read_uncommitted");
        let written = made(&settings, Reports::default())?;
        let edges = exchanges.iter().map(|edge| topics.exchange(*edge));
        let topics = std::iter::once(topics.changelog()).chain(edges).collect();
        Ok(Self { stable, written, client: client.clone(), topics, partitions })
    }

    /// Where all partitions of all topics end; `None` while a transaction is open in one of them. Cost: two requests per partition.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_UNKNOWN_TOPIC`.
    pub fn ends(&self) -> Result<Option<Vec<i64>>> {
        let mut ends = Vec::new();
        for topic in &self.topics {
            for partition in 0..self.partitions {
                let (_, stable) = self.stable.bounds(topic, partition)?;
                let found = watermarks(&self.written, &self.client, topic, i32::from(partition));
                let (_, written) = found.map_err(|e| {
                    listen(&self.written);
                    let reason = self.written.context().reason();
                    error::talking(&e, &format!("read the topic {topic:?}"), &self.client.bootstrap, &reason)
                })?;
                if written != stable {
                    return Ok(None);
                }
                ends.push(stable);
            }
        }
        Ok(Some(ends))
    }
}
