//! The sink of a topic on the job's own cluster: its records are part of the epoch's transaction.

use super::super::client::KafkaClientConfig;
use super::super::placing::{Partitioner, Placing};
use super::super::record::{Records, Room, SinkElement};
use crate::format::SchemaRegistry;
use std::sync::Arc;
use thalweg_core::batch::Batch;
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;
use thalweg_core::port::log::BY_KEY;
use thalweg_core::port::sink::{Prepared, Sink};

/// Options of a [`ClusterSink`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterSinkConfig {
    /// The cluster.
    pub client: KafkaClientConfig,
    /// The topic.
    pub topic: String,
    /// What an element's record holds.
    pub element: SinkElement,
    /// Where records go.
    pub partitioner: Partitioner,
}

/// Writes a topic with the commit itself: no outbox, no mark. URN `thalweg:sink:kafka:v1`.
#[derive(Debug)]
pub struct ClusterSink {
    client: KafkaClientConfig,
    topic: Arc<str>,
    records: Records,
    placing: Placing,
    /// Which registry the schema of values is told to.
    schemas: Option<Arc<SchemaRegistry>>,
}

impl ClusterSink {
    /// A sink of a topic.
    ///
    /// # Errors
    /// `KAFKA_CONFIG` when the element's description does not fit together.
    pub fn new(config: ClusterSinkConfig) -> Result<Self> {
        let (records, placing) = (Records::new(&config.element)?, Placing::new(config.partitioner));
        Ok(Self { client: config.client, topic: config.topic.into(), records, placing, schemas: None })
    }

    /// As [`KafkaSink::with_schemas`](crate::kafka::KafkaSink::with_schemas).
    #[must_use]
    pub fn with_schemas(mut self, schemas: Option<Arc<SchemaRegistry>>) -> Self {
        self.schemas = schemas;
        self
    }
}

impl Sink for ClusterSink {
    fn recover(&mut self, _mark: Option<&[u8]>) -> Result<Option<Epoch>> {
        self.placing.find(&self.client, &self.topic)?;
        self.records.register(self.schemas.as_deref(), &self.topic)?;
        Ok(None)
    }

    fn prepare(&mut self, _epoch: Epoch, batches: &[Batch]) -> Result<Prepared> {
        let (mut records, mut room) = (Vec::new(), Room::default());
        for batch in batches {
            for row in batch.rows() {
                let mut record = self.records.record(batch.key(row), batch.value(row), &mut room)?;
                self.placing.place(&mut record);
                let topic = record.topic.map_or_else(|| Arc::clone(&self.topic), Arc::from);
                let partition = record.partition.and_then(|p| u32::try_from(p).ok()).unwrap_or(BY_KEY);
                records.push(record.owned(topic, partition));
            }
        }
        Ok(Prepared { records, ..Prepared::default() })
    }
}
