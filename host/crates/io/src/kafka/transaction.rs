//! One transactional producer, and one transaction.
//!
//! librdkafka lacks KIP-890: after a timeout or an unknown result nobody knows whether a transaction was committed. So no call is ever
//! tried again on the same producer. It is thrown away; a new one under the same transactional id fences the old one and ends
//! its transaction; then the mark says how that ended.

use super::ask::partitions;
use super::client::{KafkaClientConfig, Reports, listen, made, unless_given};
use super::error::{self, passes};
use super::hanging::{self, Found, Pending, SETTLES_WITHIN};
use super::mark::{Held, Incarnation};
use super::outbox::OutRecord;
use super::send;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::Epoch;

/// Where a sink's records and its mark go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub client: KafkaClientConfig,
    pub topic: String,
    /// Transactional id and group of the mark.
    pub id: String,
    /// `transaction.timeout.ms`, and the bound of every call.
    pub timeout: Duration,
}

impl Target {
    /// Settings of a producer, as far as all kinds of it have the same.
    pub(super) fn producer(&self) -> Result<ClientConfig> {
        let mut settings = self.client.client()?;
        let usual = [
            ("partitioner", "murmur2_random"), // as Java's producer
            ("linger.ms", "5"),
            ("queue.buffering.max.kbytes", "65536"),
        ];
        unless_given(&mut settings, &usual);
        settings.remove("group.id");
        Ok(settings)
    }

    /// A reader of marks.
    fn marks(&self, isolation: &str) -> Result<Arc<BaseConsumer<Reports>>> {
        let mut settings = self.client.client()?;
        settings.set("group.id", &self.id).set("enable.auto.commit", "false").set("isolation.level", isolation);
        made(&settings, Reports::default())
    }

    /// The place of a mark.
    fn place(&self, mark: Held) -> KafkaResult<TopicPartitionList> {
        let mut offsets = TopicPartitionList::new();
        let mut place = offsets.add_partition(&self.topic, 0);
        place.set_metadata(mark.metadata());
        place.set_offset(Offset::Offset(mark.epoch.0 as i64))?;
        Ok(offsets)
    }

    pub(super) fn failed(&self, e: &KafkaError, reports: &Reports) -> Error {
        error::talking(e, &format!("write the topic {:?}", self.topic), &self.client.bootstrap, &reports.reason())
    }
}

/// Why a transaction did not end well.
pub(super) enum Failure {
    /// A broker refused; nothing of it is visible and trying again cannot help.
    Refused(Error),
    /// It may or may not have been committed: make a new producer and read the mark.
    Unknown(Error),
}

impl Failure {
    /// A failure before the transaction began: brokers and token endpoints that are away may come back.
    pub(super) fn of(error: Error) -> Self {
        if passes(&error) { Self::Unknown(error) } else { Self::Refused(error) }
    }
}

/// A producer that has its transactional id to itself.
pub(super) struct Transactions {
    producer: Arc<BaseProducer<Reports>>,
    marks: Arc<BaseConsumer<Reports>>,
    target: Target,
}

impl Transactions {
    /// Makes the producer's and the marks' clients; nothing is sent.
    ///
    /// # Errors
    /// `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`.
    pub(super) fn new(target: &Target) -> Result<Self> {
        let mut settings = target.producer()?;
        let millis = target.timeout.as_millis().to_string();
        settings.set("transactional.id", &target.id).set("transaction.timeout.ms", &millis);
        let producer = made(&settings, Reports::default())?;
        // marks are read only once they are stable
        Ok(Self { producer, marks: target.marks("read_committed")?, target: target.clone() })
    }

    /// Checks that the topic is there.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_UNKNOWN_TOPIC`, `KAFKA_AUTH`.
    pub(super) fn check(&self) -> Result<()> {
        let client = self.producer.client();
        partitions(client, &self.target.client, &self.target.topic).map(drop).map_err(|e| self.failed(&e))
    }

    /// Takes the transactional id: whoever had it is fenced, and its open transaction is ended.
    ///
    /// # Errors
    /// As [`Transactions::check`].
    pub(super) fn begin(&self) -> Result<()> {
        self.producer.init_transactions(self.target.timeout).map_err(|e| self.failed(&e))
    }

    fn failed(&self, e: &KafkaError) -> Error {
        self.producer.poll(Duration::ZERO); // takes in what the client has to say
        self.target.failed(e, self.producer.context())
    }

    /// What Kafka holds. Waits for transactions that are just being committed. One that hangs, and may have written to these topics, is ended; unless brokers
    /// have said that the mark `told` is committed and it is not to be seen: then that is what hangs, and the answer is that mark, and true.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`.
    pub(super) fn held(&self, topics: &BTreeSet<&str>, told: Option<Held>) -> Result<(Option<Held>, bool)> {
        let timeout = self.target.timeout;
        match self.read(&self.marks, timeout.min(SETTLES_WITHIN)) {
            Err(e) if passes(&e) => {}
            found => return Ok((found?, false)),
        }
        // this producer has begun nothing yet, and all that was begun before it is over: what is pending still, while brokers answer, hangs
        let so_far = self.read(&*self.target.marks("read_uncommitted")?, timeout)?;
        match self.read(&self.marks, timeout.min(SETTLES_WITHIN)) {
            Err(e) if passes(&e) => {}
            found => return Ok((found?, false)),
        }
        let is_seen = |told: &Held| told.epoch == Epoch(0) || so_far.is_some_and(|mark| mark.epoch >= told.epoch);
        if let Some(told) = told.filter(|told| !is_seen(told)) {
            return Ok((Some(told), true));
        }
        let pending = so_far.unwrap_or(Held { incarnation: Incarnation(0), epoch: Epoch(0) });
        self.end_hanging(topics, Some(pending))?;
        Ok((self.read(&self.marks, timeout)?, false))
    }

    /// The mark as a reader sees it.
    fn read(&self, marks: &BaseConsumer<Reports>, within: Duration) -> Result<Option<Held>> {
        let fail = |e: KafkaError| {
            listen(marks);
            self.target.failed(&e, marks.context())
        };
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition(&self.target.topic, 0);
        let found = marks.committed_offsets(wanted, within).map_err(fail)?;
        for mark in found.elements() {
            mark.error().map_err(fail)?;
            if matches!(mark.offset(), Offset::Offset(_)) {
                return Ok(Held::parse(mark.metadata()));
            }
        }
        Ok(None)
    }

    /// Ends what hangs in these topics of transactions of this id, and a pending mark. Before another transaction is committed there, for that
    /// would commit it, too. False where some partitions could not be asked, for they have no leader.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`; this producer is then of no more use.
    pub(super) fn end_hanging(&self, topics: &BTreeSet<&str>, pending: Option<Held>) -> Result<bool> {
        let Found { places, whole } = hanging::open(&self.target.client, topics)?;
        let pending = pending.map(|mark| Pending::of(&self.marks, self.target.place(mark)?)).transpose();
        let ended =
            pending.and_then(|pending| hanging::abort(&self.producer, &places, pending.as_ref(), self.target.timeout));
        ended.map(|()| whole).map_err(|e| self.failed(&e))
    }

    /// Sends the records and the mark in one transaction.
    ///
    /// # Errors
    /// [`Failure`]; this producer is then of no more use.
    pub(super) fn commit(&self, records: &[OutRecord<'_>], mark: Held) -> Result<(), Failure> {
        let unknown = |e: KafkaError| Failure::Unknown(self.failed(&e));
        self.producer.begin_transaction().map_err(|e| self.judged(e))?;
        let end = Instant::now() + self.target.timeout;
        // the mark first: it shares the fate of the records, also beneath a later transaction that is aborted
        let offsets = self.target.place(mark).map_err(unknown)?;
        // an idle consumer's metadata are empty and the broker does not check them: what fences here is the transactional
        // id, and before it the lock on the job's state
        let Some(group) = self.marks.group_metadata() else {
            return Err(Failure::Refused(Error::internal("KAFKA_GROUP", "a consumer with a group has no metadata")));
        };
        let sent = self.producer.send_offsets_to_transaction(&offsets, &group, self.target.timeout);
        sent.map_err(|e| self.judged(e))?;
        for record in records {
            self.send(record, end)?;
        }
        send::settle(&self.producer, end).map_err(|e| self.judged(e))?;
        self.producer.commit_transaction(self.target.timeout).map_err(|e| self.judged(e))
    }

    /// Waits a moment until readers of committed records can see the last transaction: brokers write its markers after they have said that it is
    /// committed, and whoever begins what comes behind the job finds it whole.
    pub(super) fn close(self) {
        if let Err(error) = self.read(&self.marks, self.target.timeout.min(SETTLES_WITHIN)) {
            let topic = &self.target.topic;
            tracing::warn!(target: "kafka", "the last records of {topic:?} may not be visible yet to readers of committed ones: {error}");
        }
    }

    /// Queues a record, waiting while the queue is full.
    fn send(&self, given: &OutRecord<'_>, end: Instant) -> Result<(), Failure> {
        send::queue(&self.producer, &self.target.topic, given, end).map_err(|e| self.judged(e))
    }

    /// Whether an error is a refusal. A refused transaction is ended at once, so that readers need not wait for its timeout.
    fn judged(&self, e: KafkaError) -> Failure {
        // a client whose transaction failed says only that; the record's own error says why
        let cause = self.producer.context().take_undelivered().unwrap_or(e);
        let error = self.failed(&cause);
        if !cause.rdkafka_error_code().is_some_and(error::is_refusal) {
            return Failure::Unknown(error);
        }
        send::abort(&self.producer, self.target.timeout, self.target.timeout);
        Failure::Refused(error)
    }
}
