//! A producer without transactions: what it was told to write arrives, and after a failure perhaps twice.

use super::ask::partitions;
use super::client::{Reports, made};
use super::error;
use super::outbox::OutRecord;
use super::send;
use super::transaction::{Failure, Target};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_core::error::Result;

/// An idempotent producer: what it tries again itself it does not write twice, nor in another order.
pub(super) struct Plain {
    producer: Arc<BaseProducer<Reports>>,
    target: Target,
}

impl Plain {
    /// Makes the client; nothing is sent.
    ///
    /// # Errors
    /// `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`.
    pub(super) fn new(target: &Target) -> Result<Self> {
        let mut settings = target.producer()?;
        let millis = target.timeout.as_millis().to_string();
        settings.set("enable.idempotence", "true").set("message.timeout.ms", &millis);
        let producer = made(&settings, Reports::default())?;
        Ok(Self { producer, target: target.clone() })
    }

    /// Checks that the topic is there.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_UNKNOWN_TOPIC`, `KAFKA_AUTH`.
    pub(super) fn check(&self) -> Result<()> {
        let client = self.producer.client();
        partitions(client, &self.target.client, &self.target.topic).map(drop).map_err(|e| {
            self.producer.poll(Duration::ZERO); // takes in what the client has to say
            self.target.failed(&e, self.producer.context())
        })
    }

    /// Sends records and waits until the brokers have them.
    ///
    /// # Errors
    /// [`Failure`]; this producer is then of no more use.
    pub(super) fn deliver(&self, records: &[OutRecord<'_>]) -> Result<(), Failure> {
        let end = Instant::now() + self.target.timeout;
        let mut queued = records.iter().map(|record| send::queue(&self.producer, &self.target.topic, record, end));
        queued
            .try_for_each(|queued| queued)
            .and_then(|()| send::settle(&self.producer, end))
            .map_err(|e| self.judged(e))
    }

    fn judged(&self, e: KafkaError) -> Failure {
        let cause = self.producer.context().take_undelivered().unwrap_or(e);
        let error = self.target.failed(&cause, self.producer.context());
        let refused = cause.rdkafka_error_code().is_some_and(error::is_refusal);
        if refused { Failure::Refused(error) } else { Failure::Unknown(error) }
    }
}
