//! One transaction of a process's producer: parts go in, and it ends well, or one knows how badly.

use super::super::client::{Reports, Written};
use super::super::error;
use super::super::send;
use super::commits::CommitRecord;
use super::ends::Ends;
use super::epochs::{Asked, EpochsConfig, Tenure, lost};
use super::members::Group;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};
use thalweg_core::port::log::LogRecord;
use thalweg_core::port::store::CellWrite;
use thalweg_core::state::layout::EPOCH;

/// Records of a part that are queued between two looks whether the partition is still this process's.
const LOOK_EVERY: usize = 4096;
/// How long a transaction that is given up waits for the answers to what was sent, before its producer is given up with it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// Why a transaction did not end well.
pub(super) enum Trouble {
    /// It is aborted: it may be sent again.
    Aborted(Error),
    /// It may or may not have been committed.
    Unknown(Error),
    /// Nothing of it is visible, and another try cannot help.
    Refused(Error),
}

/// A transaction under way.
pub(super) struct Transaction<'a> {
    pub producer: &'a BaseProducer<Reports>,
    pub config: &'a EpochsConfig,
    pub members: &'a Group,
    pub own: &'a CommitRecord,
    /// Until when everything must be queued and settled.
    pub end: Instant,
}

impl Transaction<'_> {
    /// Sends the parts and ends the transaction; what it has written to the job's topics.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn commit(&self, parts: &[Asked], group: &ConsumerGroupMetadata, ends: &mut Ends) -> Result<Written, Trouble> {
        self.producer.context().take_written();
        self.producer.begin_transaction().map_err(|e| self.judged(e))?;
        let mut offsets = TopicPartitionList::new();
        for Asked { part, .. } in parts {
            ends.reached(&self.config.changelog, i32::from(part.tenure.partition), part.after);
            for some in part.records.chunks(LOOK_EVERY) {
                self.is_still_of(&part.tenure)?;
                some.iter().try_for_each(|record| self.send(record))?;
            }
            for some in part.writes.chunks(LOOK_EVERY) {
                self.is_still_of(&part.tenure)?;
                let cell = |(key, value): &CellWrite| self.cell(part.tenure.partition, key, value.as_deref());
                some.iter().try_for_each(cell)?;
            }
            self.cell(part.tenure.partition, EPOCH, Some(&part.epoch.0.to_be_bytes()))?;
            let mut place = offsets.add_partition(&self.config.members, i32::from(part.tenure.partition));
            place.set_metadata(self.own.at(part.epoch).metadata());
            place.set_offset(Offset::Offset(part.epoch.0 as i64)).map_err(|e| self.judged(e))?;
        }
        // offsets go while the records are under way
        let sent = self.producer.send_offsets_to_transaction(&offsets, group, self.config.timeout);
        sent.map_err(|e| self.judged(e))?;
        send::settle(self.producer, self.end).map_err(|e| self.judged(e))?;
        let written = self.producer.context().take_written();
        // nothing is committed to topics that do not hold any more what was committed before
        ends.take(&written).map_err(|error| {
            self.abort();
            Trouble::Refused(error)
        })?;
        self.producer.commit_transaction(self.config.timeout).map_err(|e| self.judged(e))?;
        Ok(written)
    }

    /// What is lost is given up at once: whoever has it now reads behind nothing that is open.
    fn is_still_of(&self, tenure: &Tenure) -> Result<(), Trouble> {
        if self.members.is_of(tenure) {
            return Ok(());
        }
        let error = lost(tenure.partition);
        Err(if self.abort() { Trouble::Aborted(error) } else { Trouble::Unknown(error) })
    }

    fn cell(&self, partition: u16, key: &[u8], value: Option<&[u8]>) -> Result<(), Trouble> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.config.changelog).key(key).partition(i32::from(partition));
        record.payload = value;
        self.queue(record)
    }

    fn send(&self, given: &LogRecord) -> Result<(), Trouble> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&given.topic);
        (record.key, record.payload) = (given.key.as_deref(), given.value.as_deref());
        record.partition = i32::try_from(given.partition).ok(); // [`BY_KEY`] is none
        record.timestamp = given.timestamp_ms;
        let headers = given.headers.iter().map(|(key, value)| (key.as_ref(), value.as_deref()));
        self.queue(send::with_headers(record, headers))
    }

    fn queue(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Trouble> {
        send::push(self.producer, record, self.end).map_err(|e| self.judged(e))
    }

    /// What an error means. A transaction that can be ended is ended at once, so that readers need not wait for its timeout.
    fn judged(&self, e: KafkaError) -> Trouble {
        self.producer.poll(Duration::ZERO);
        let context = self.producer.context();
        // a client whose transaction failed says only that; the record's own error says why
        let cause = context.take_undelivered().unwrap_or_else(|| e.clone());
        let code = cause.rdkafka_error_code();
        let error = error::talking(&cause, "commit an epoch", &self.config.client.bootstrap, &context.reason());
        if matches!(code, Some(Code::Fenced | Code::InvalidProducerEpoch | Code::ProducerFenced)) {
            let id = self.config.id(&self.config.process);
            // by who took this process for dead, or by the brokers, for whom it took too long; of another one of the same name the group tells
            return Trouble::Unknown(
                Error::user("CLUSTER_FENCED", format!("another process commits under the transactional id {id:?}"))
                    .help("give every process a process id of its own, and start each one once"),
            );
        }
        let refused = code.is_some_and(error::is_refusal);
        let abortable = refused || matches!(&e, KafkaError::Transaction(e) if e.txn_requires_abort());
        if !abortable {
            return Trouble::Unknown(error);
        }
        match self.abort() {
            true if refused => Trouble::Refused(error),
            true => Trouble::Aborted(error),
            false => Trouble::Unknown(error),
        }
    }

    /// Ends the transaction without a commit; false where that is left to whoever takes the transactional id next.
    fn abort(&self) -> bool {
        send::abort(self.producer, ANSWERED_WITHIN, self.config.timeout)
    }
}
