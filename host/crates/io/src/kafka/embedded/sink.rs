//! The sink of records of the embedded log: they are part of the commit.
//!
//! In: the elements of an epoch. Out: records for the commit. There is nothing to deliver, and nothing to take back.

use super::super::outbox::OutRecord;
use super::super::placing::{Partitioner, Placing};
use super::super::record::{Records, Room, SinkElement};
use super::partitioner;
use crate::format::SchemaRegistry;
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::batch::Batch;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::Epoch;
use thalweg_core::port::log::{Log, TopicConfig};
use thalweg_core::port::sink::{Prepared, Sink};

/// Options of a [`LogSink`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSinkConfig {
    /// The topic; made with one partition if it is not there.
    pub topic: String,
    /// What an element's record holds.
    pub element: SinkElement,
    /// Where records go.
    pub partitioner: Partitioner,
    /// Bytes of an epoch's records.
    pub epoch_bytes_max: usize,
}

/// Writes topics of the embedded log, exactly once. URN `thalweg:sink:kafka:v1` with the servers `embedded`. Records go to the partition of
/// their key's hash, as with Kafka's clients, and without a key to all in turn.
pub struct LogSink {
    config: LogSinkConfig,
    records: Records,
    places: Places,
    placing: Placing,
    /// Which registry the schema of values is told to.
    schemas: Option<Arc<SchemaRegistry>>,
}

/// Where records go.
struct Places {
    log: Arc<dyn Log>,
    /// Names and partitions of the topics that were written to.
    topics: BTreeMap<String, (Arc<str>, u32)>,
}

impl std::fmt::Debug for LogSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogSink").field("config", &self.config).finish_non_exhaustive()
    }
}

impl LogSink {
    /// A sink; its topic is made now, so that a source of the same job finds it.
    ///
    /// # Errors
    /// `KAFKA_CONFIG`, `LOG_TOPIC_INVALID`, and what the log says.
    pub fn new(log: Arc<dyn Log>, config: LogSinkConfig) -> Result<Self> {
        let records = Records::new(&config.element)?;
        let mut places = Places { log, topics: BTreeMap::new() };
        let (_, partitions) = places.topic(&config.topic)?;
        let mut placing = Placing::new(config.partitioner);
        placing.fit(&config.topic, partitions as usize)?;
        Ok(Self { config, records, places, placing, schemas: None })
    }

    /// As [`KafkaSink::with_schemas`](crate::kafka::KafkaSink::with_schemas).
    #[must_use]
    pub fn with_schemas(mut self, schemas: Option<Arc<SchemaRegistry>>) -> Self {
        self.schemas = schemas;
        self
    }
}

impl Places {
    /// A topic that is there from now on, and its partitions.
    fn topic(&mut self, name: &str) -> Result<(Arc<str>, u32)> {
        if let Some((topic, partitions)) = self.topics.get(name) {
            return Ok((Arc::clone(topic), *partitions));
        }
        let config = match self.log.topic(name) {
            Some(config) => config,
            None => {
                let config = TopicConfig::default();
                match self.log.create(name, &config) {
                    // another job was quicker
                    Err(e) if e.code == "LOG_TOPIC_EXISTS" => self.log.topic(name).unwrap_or(config),
                    made => made.map(|()| config)?,
                }
            }
        };
        let found = (Arc::from(name), config.partitions);
        self.topics.insert(name.to_owned(), found.clone());
        Ok(found)
    }

    /// Topic and partition of a record; `turn` chooses where nothing else does.
    fn of(&mut self, record: &OutRecord<'_>, usual: &str, turn: &mut u64) -> Result<(Arc<str>, u32)> {
        let (topic, partitions) = self.topic(record.topic.unwrap_or(usual))?;
        let partition = match (record.partition, record.key) {
            // one that is not there is refused by the log
            (Some(given), _) => u32::try_from(given).unwrap_or(u32::MAX),
            (None, Some(key)) => partitioner::of_key(key, partitions),
            (None, None) => {
                *turn = turn.wrapping_add(1);
                (*turn % u64::from(partitions.max(1))) as u32
            }
        };
        Ok((topic, partition))
    }
}

impl Sink for LogSink {
    fn recover(&mut self, _mark: Option<&[u8]>) -> Result<Option<Epoch>> {
        self.records.register(self.schemas.as_deref(), &self.config.topic)?;
        Ok(None)
    }

    fn prepare(&mut self, epoch: Epoch, batches: &[Batch]) -> Result<Prepared> {
        let mut room = Room::default();
        let mut records = Vec::new();
        let (mut bytes, mut turn) = (0, epoch.0);
        for batch in batches {
            for row in batch.rows() {
                let mut out = self.records.record(batch.key(row), batch.value(row), &mut room)?;
                self.placing.place(&mut out);
                let (topic, partition) = self.places.of(&out, &self.config.topic, &mut turn)?;
                let record = out.owned(topic, partition);
                bytes += record.weight();
                if bytes > self.config.epoch_bytes_max {
                    let what = format!(
                        "the records of one epoch for the log are more than {} bytes",
                        self.config.epoch_bytes_max
                    );
                    return Err(
                        Error::user("LOG_EPOCH_TOO_LARGE", what).help("commit more often: use a smaller --epoch-ms")
                    );
                }
                records.push(record);
            }
        }
        Ok(Prepared { records, ..Prepared::default() })
    }
}
