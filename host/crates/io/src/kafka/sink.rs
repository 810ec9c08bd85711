//! The sink of records: an outbox per epoch, delivered in one transaction that carries the epoch's mark, or without one.
//!
//! In: the elements of an epoch. `prepare` turns them into records, which are committed with the epoch in the job's own state;
//! `deliver` brings them to Kafka afterwards, once. After a crash the mark in Kafka says which epochs arrived. Without transactions
//! nothing says so, and the last epochs arrive again.

use super::client::KafkaClientConfig;
use super::error;
use super::mark::{Held, Incarnation, Stored};
use super::outbox::{self, OutRecord, Outbox};
use super::placing::{Partitioner, Placing};
use super::plain::Plain;
use super::record::{Records, Room, SinkElement};
use super::transaction::{Failure, Target, Transactions};
use crate::format::SchemaRegistry;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_core::batch::Batch;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::Epoch;
use thalweg_core::port::sink::{Prepared, Sink};

/// What a sink promises when its delivery is interrupted. The names are those of `processing.guarantee` of Kafka Streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// A transaction per epoch: readers of committed records see each once.
    #[default]
    ExactlyOnceV2,
    /// No transactions: records are there for all readers at once, and after a crash those of the last epochs come again.
    AtLeastOnce,
}

/// Options of a [`KafkaSink`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSinkConfig {
    /// The cluster.
    pub client: KafkaClientConfig,
    /// The topic.
    pub topic: String,
    /// Name of the job among those that use the cluster. With the sink's name it is the transactional id and the group of the mark.
    pub app_id: String,
    /// Name of the sink in its job.
    pub sink: String,
    /// What an element's record holds.
    #[serde(default)]
    pub element: SinkElement,
    /// What an interrupted delivery does.
    #[serde(default)]
    pub guarantee: Guarantee,
    /// Where records go.
    #[serde(default)]
    pub partitioner: Partitioner,
    /// `transaction.timeout.ms`: bound of a transaction and of every call. Default 60 s.
    #[serde(default = "default_transaction_timeout")]
    pub transaction_timeout_ms: u32,
    /// How long an epoch may take to be delivered, over all tries, in milliseconds. Default 3 min.
    #[serde(default = "default_delivery_timeout")]
    pub delivery_timeout_ms: u32,
    /// Bytes of an epoch's records. Default 256 MiB.
    #[serde(default = "default_outbox_bytes")]
    pub outbox_bytes_max: usize,
}

fn default_transaction_timeout() -> u32 {
    60_000
}

fn default_delivery_timeout() -> u32 {
    180_000
}

fn default_outbox_bytes() -> usize {
    256 << 20
}

/// Writes a topic, exactly once unless told otherwise. URN `thalweg:sink:kafka:v1`.
///
/// Readers with `isolation.level=read_committed` see whole epochs. Runs on the epoch writer's thread and may block there, at most
/// `delivery_timeout_ms`.
pub struct KafkaSink {
    target: Target,
    delivery_timeout: Duration,
    outbox_bytes_max: usize,
    records: Records,
    guarantee: Guarantee,
    placing: Placing,
    /// Which registry the schema of values is told to.
    schemas: Option<Arc<SchemaRegistry>>,
    open: Option<Open>,
}

/// A sink that has recovered.
enum Open {
    Once(Once),
    /// The producer; none after a failure, until the next try.
    AtLeastOnce(Option<Plain>),
}

/// With transactions.
struct Once {
    /// None after a failure, until the next try.
    transactions: Option<Transactions>,
    stored: Stored,
    held: Epoch,
    /// A transaction may have been cut short, by this life of the job or an earlier one: what it wrote must not become visible with the next one.
    cut_short: bool,
    /// The last epoch that was delivered in this life. Where its markers are missing, the abort of what comes behind it takes it along.
    last: (Epoch, Vec<u8>),
}

impl std::fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSink").field("target", &self.target).finish_non_exhaustive()
    }
}

impl KafkaSink {
    /// A sink; [`Sink::recover`] connects.
    ///
    /// # Errors
    /// `KAFKA_CONFIG`.
    pub fn new(config: KafkaSinkConfig) -> Result<Self> {
        let records = Records::new(&config.element)?;
        Ok(Self {
            target: Target {
                id: format!("{}-{}", config.app_id, config.sink),
                client: config.client,
                topic: config.topic,
                timeout: Duration::from_millis(u64::from(config.transaction_timeout_ms.max(1000))),
            },
            delivery_timeout: Duration::from_millis(u64::from(config.delivery_timeout_ms)),
            outbox_bytes_max: config.outbox_bytes_max,
            records,
            guarantee: config.guarantee,
            placing: Placing::new(config.partitioner),
            schemas: None,
            open: None,
        })
    }

    /// Names the registry for values that are framed.
    #[must_use]
    pub fn with_schemas(mut self, schemas: Option<Arc<SchemaRegistry>>) -> Self {
        self.schemas = schemas;
        self
    }
}

fn not_recovered() -> Error {
    Error::internal("SINK_NOT_RECOVERED", "the sink was used before it was recovered")
}

/// A producer that owns the transactional id, and what the cluster holds. A cluster that has just started makes its internal
/// topics on demand and answers "not yet" for a second or two: within the connect timeout it is asked again.
fn connect(target: &Target) -> Result<(Transactions, Option<Held>)> {
    let end = Instant::now() + target.client.connect_timeout();
    loop {
        let tried = Transactions::new(target).and_then(|transactions| {
            transactions.check()?;
            transactions.begin()?;
            let (found, _) = transactions.held(&BTreeSet::from([target.topic.as_str()]), None)?;
            Ok((transactions, found))
        });
        match tried {
            Err(e) if e.code == "KAFKA_UNREACHABLE" && Instant::now() < end => {
                tracing::info!(target: "kafka", "asking again: {e}");
                std::thread::sleep(Duration::from_millis(200));
            }
            tried => return tried,
        }
    }
}

impl Sink for KafkaSink {
    fn prepare(&mut self, _epoch: Epoch, batches: &[Batch]) -> Result<Prepared> {
        let open = self.open.as_ref().ok_or_else(not_recovered)?;
        let mut outbox = Outbox::new(self.outbox_bytes_max);
        let mut room = Room::default();
        for batch in batches {
            for row in batch.rows() {
                let mut record = self.records.record(batch.key(row), batch.value(row), &mut room)?;
                self.placing.place(&mut record);
                outbox.push(&record)?;
            }
        }
        let mark = match open {
            Open::Once(open) => Some(Bytes::from(open.stored.encode())),
            Open::AtLeastOnce(_) => None,
        };
        Ok(Prepared { mark, outbox: outbox.finish().map(Bytes::from), ..Prepared::default() })
    }

    fn deliver(&mut self, epoch: Epoch, outbox: &[u8]) -> Result<()> {
        let open = self.open.as_mut().ok_or_else(not_recovered)?;
        let records = outbox::records(outbox)?;
        let end = Instant::now() + self.delivery_timeout;
        let mut pause = Duration::from_millis(100);
        loop {
            let failure = match open.deliver(&self.target, &records, epoch) {
                Ok(()) => {
                    open.keep(epoch, outbox);
                    return Ok(());
                }
                Err(Failure::Refused(e)) => return Err(e),
                Err(Failure::Unknown(e)) => e,
            };
            if Instant::now() + pause > end {
                return Err(failure);
            }
            tracing::warn!(target: "kafka", "epoch {} is delivered again: {failure}", epoch.0);
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    fn recover(&mut self, mark: Option<&[u8]>) -> Result<Option<Epoch>> {
        let stored = mark.map(stored).transpose()?;
        let held = self.begin(stored)?.and_then(|(found, stored)| stored.epoch(found).ok());
        Ok(held.filter(|held| *held > Epoch(0)))
    }

    fn take_over(&mut self, mark: &[u8]) -> Result<Option<Epoch>> {
        let theirs = stored(mark)?.incarnation;
        // of an incarnation of its own: epochs of theirs behind the copy would be taken for its own, and left out
        let Some((found, _)) = self.begin(None)? else { return Ok(None) };
        // what they have not brought out is this one's if it stands in their place, and theirs if it stands beside them
        let held = found.filter(|held| held.incarnation == theirs).map_or(Epoch(u64::MAX), |held| held.epoch);
        Ok(Some(held))
    }

    fn finish(&mut self) -> Result<()> {
        if let Some(Open::Once(Once { transactions: Some(transactions), .. })) = self.open.take() {
            transactions.close();
        }
        Ok(())
    }
}

fn stored(mark: &[u8]) -> Result<Stored> {
    Stored::decode(mark)
        .ok_or_else(|| Error::internal("KAFKA_OUTBOX_CORRUPT", "the stored mark of a Kafka sink is not readable"))
}

impl KafkaSink {
    /// Connects, as what it was or as somebody new; gives what the cluster holds, and what it is from now on. Nothing without transactions.
    fn begin(&mut self, stored: Option<Stored>) -> Result<Option<(Option<Held>, Stored)>> {
        self.open = None;
        self.placing.find(&self.target.client, &self.target.topic)?;
        self.records.register(self.schemas.as_deref(), &self.target.topic)?;
        if self.guarantee == Guarantee::AtLeastOnce {
            let plain = Plain::new(&self.target)?;
            plain.check()?;
            self.open = Some(Open::AtLeastOnce(Some(plain)));
            return Ok(None);
        }
        let (transactions, found) = connect(&self.target)?;
        let stored = stored.unwrap_or_else(|| Stored {
            incarnation: Incarnation::draw(),
            predecessor: found.map_or(Incarnation(0), |held| held.incarnation),
        });
        let held = stored.epoch(found).map_err(|()| error::fenced(&self.target.id))?;
        let (transactions, last) = (Some(transactions), (Epoch(0), Vec::new()));
        self.open = Some(Open::Once(Once { transactions, stored, held, cut_short: true, last }));
        Ok(Some((found, stored)))
    }
}

impl Open {
    /// Keeps what was delivered, as long as it may be needed.
    fn keep(&mut self, epoch: Epoch, outbox: &[u8]) {
        if let Self::Once(Once { last: (of, kept), .. }) = self {
            *of = epoch;
            kept.clear();
            kept.extend_from_slice(outbox);
        }
    }

    /// One try.
    fn deliver(&mut self, target: &Target, records: &[OutRecord<'_>], epoch: Epoch) -> Result<(), Failure> {
        match self {
            Self::Once(once) if once.held < epoch => once.deliver(target, records, epoch),
            Self::Once(_) => Ok(()),
            Self::AtLeastOnce(producer) => {
                let plain = producer.take().map_or_else(|| Plain::new(target), Ok).map_err(Failure::Refused)?;
                plain.deliver(records)?;
                *producer = Some(plain);
                Ok(())
            }
        }
    }
}

/// The topics that records go to.
fn topics<'a>(target: &'a Target, records: &[OutRecord<'a>]) -> BTreeSet<&'a str> {
    records.iter().map(|record| record.topic.unwrap_or(&target.topic)).collect()
}

impl Once {
    /// One try. After a failure it begins with a new producer, which learns how the last try ended.
    fn deliver(&mut self, target: &Target, records: &[OutRecord<'_>], epoch: Epoch) -> Result<(), Failure> {
        let mark = Held { incarnation: self.stored.incarnation, epoch };
        let transactions = match self.transactions.take() {
            Some(transactions) => transactions,
            None => self.begin_anew(target, records, mark)?,
        };
        if self.held < mark.epoch {
            if self.cut_short {
                self.cut_short = !transactions.end_hanging(&topics(target, records), None).map_err(Failure::of)?;
            }
            transactions.commit(records, mark)?;
            self.held = mark.epoch;
        }
        self.transactions = Some(transactions);
        Ok(())
    }

    /// A new producer, after the last try has failed, and what was committed before that is there.
    fn begin_anew(&mut self, target: &Target, records: &[OutRecord<'_>], mark: Held) -> Result<Transactions, Failure> {
        let new = Transactions::new(target).map_err(Failure::Refused)?;
        new.begin().map_err(Failure::of)?;
        let told = Held { epoch: self.held, ..mark };
        let (found, decided) = new.held(&topics(target, records), Some(told)).map_err(Failure::of)?;
        self.held = self.stored.epoch(found).map_err(|()| Failure::Refused(error::fenced(&target.id)))?;
        // of one that was committed the next one writes the markers that are missing
        self.cut_short = !decided && self.held < mark.epoch;
        let (epoch, outbox) = &self.last;
        if *epoch > self.held {
            tracing::warn!(target: "kafka", "epoch {} was committed, is not there, and is delivered again", epoch.0);
            let lost = outbox::records(outbox).map_err(Failure::Refused)?;
            new.end_hanging(&topics(target, &lost), None).map_err(Failure::of)?;
            new.commit(&lost, Held { epoch: *epoch, ..mark })?;
            self.held = *epoch;
        }
        Ok(new)
    }
}
