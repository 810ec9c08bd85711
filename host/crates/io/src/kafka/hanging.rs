//! Hanging transactions: their coordinator says that they are over, and in some partitions they are open all the same.
//!
//! Kafka 4's coordinator leaves out the markers of partitions that have no leader just then. Where one broker is all there is, that is every transaction that was
//! about to end when it was killed, with a commit or without. Nobody who reads committed records gets behind one, offsets in it stay pending, and the next transaction
//! of the same producer that is committed there commits what this one had written as well.
//!
//! In: a producer that has its transactional id to itself, so that all its earlier transactions are over. Out: the markers that are missing, by a transaction that writes a
//! record to each partition: its own marker ends whatever its producer has open there. It is committed where brokers have said so of what hangs, as far as the topic is the
//! job's own and a record may stand there that says nothing; in other topics that is left to the next commit. Elsewhere it is aborted. Whether a transaction that nobody
//! remembers was committed brokers tell only by its mark or commit record: where those are seen and a partition hangs all the same, it is taken for a later one that
//! was aborted. Source: KIP-98, KIP-664.

use super::ask::{is_unknown, partitions, watermarks};
use super::client::{KafkaClientConfig, Reports, made};
use super::error;
use super::send;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_core::error::Result;

/// How long what was asked of a coordinator may be pending although its transaction is over.
pub(super) const SETTLES_WITHIN: Duration = Duration::from_secs(5);

/// A partition that holds records of open transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub topic: String,
    pub partition: i32,
    /// The first offset that is not stable.
    pub stable: i64,
}

/// Where transactions are open.
pub(super) struct Found {
    pub places: Vec<Place>,
    /// All partitions could be asked: one without a leader cannot, and nobody writes there either.
    pub whole: bool,
}

/// An offset of a group, with any value: one in a transaction is enough for its marker to end all that its producer has pending in the group.
pub(super) struct Pending {
    pub offsets: TopicPartitionList,
    pub group: ConsumerGroupMetadata,
}

impl Pending {
    /// One that fences nobody: of a consumer that takes no part.
    ///
    /// # Errors
    /// That the consumer has no group.
    pub(super) fn of(consumer: &BaseConsumer<Reports>, offsets: TopicPartitionList) -> KafkaResult<Self> {
        let group = consumer.group_metadata().ok_or(KafkaError::StoreOffset(Code::UnknownGroup))?;
        Ok(Self { offsets, group })
    }
}

/// How long a partition may have no leader before it is passed over.
const LED_WITHIN: Duration = Duration::from_secs(2);

/// Those partitions of topics that hold records of open transactions, whoever writes them. Topics that are not there hold none. Costs four requests a partition.
///
/// # Errors
/// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`, `KAFKA_CONFIG`.
pub(super) fn open(client: &KafkaClientConfig, topics: &BTreeSet<&str>) -> Result<Found> {
    let (all, committed) = (reader(client, "read_uncommitted")?, reader(client, "read_committed")?);
    let brief = client.connect_timeout().min(LED_WITHIN);
    let asked = KafkaClientConfig { connect_timeout_ms: brief.as_millis() as u32, ..client.clone() };
    let mut found = Found { places: Vec::new(), whole: true };
    for topic in topics {
        let fail = |e: KafkaError| {
            error::talking(&e, &format!("read the topic {topic:?}"), &client.bootstrap, &all.context().reason())
        };
        let ids = match partitions(all.client(), client, topic) {
            Err(e) if is_unknown(&e) => continue,
            ids => ids.map_err(fail)?,
        };
        for partition in ids {
            // in this order: what comes between the two is not taken for open
            let ends = watermarks(&all, &asked, topic, partition)
                .and_then(|(_, end)| Ok((end, watermarks(&committed, &asked, topic, partition)?.1)));
            match ends {
                Ok((end, stable)) if stable < end => {
                    found.places.push(Place { topic: (*topic).to_owned(), partition, stable });
                }
                Ok(_) => {}
                Err(e) if error::may_pass(&e) => found.whole = false,
                Err(e) => return Err(fail(e)),
            }
        }
    }
    Ok(found)
}

fn reader(client: &KafkaClientConfig, isolation: &str) -> Result<Arc<BaseConsumer<Reports>>> {
    let mut settings = client.client()?;
    settings.remove("group.id");
    made(settings.set("isolation.level", isolation), Reports::default())
}

/// Aborts what a producer has hanging in partitions, and pending in a group. Nobody sees the records that it writes.
///
/// # Errors
/// What the client says. The producer is then of no more use, and some may hang on.
pub(super) fn abort(
    producer: &BaseProducer<Reports>,
    places: &[Place],
    pending: Option<&Pending>,
    timeout: Duration,
) -> KafkaResult<()> {
    if places.is_empty() && pending.is_none() {
        return Ok(());
    }
    // compacted topics want a key
    let empty = |place| to(place).key(b"").payload(b"");
    touch(producer, places.iter().map(empty), pending, timeout)?;
    producer.abort_transaction(timeout)?;
    tracing::info!(target: "kafka", ?places, pending = pending.is_some(), "ended what may hang of earlier transactions");
    Ok(())
}

/// Commits what a producer has hanging in the partitions of these records, and pending in a group; the records stay.
///
/// # Errors
/// As for [`abort`].
pub(super) fn commit(
    producer: &BaseProducer<Reports>,
    records: Vec<BaseRecord<'_, [u8], [u8]>>,
    pending: Option<&Pending>,
    timeout: Duration,
) -> KafkaResult<()> {
    if records.is_empty() && pending.is_none() {
        return Ok(());
    }
    let partitions = records.len();
    touch(producer, records.into_iter(), pending, timeout)?;
    producer.commit_transaction(timeout)?;
    tracing::info!(target: "kafka", partitions, pending = pending.is_some(), "completed a commit whose markers were missing");
    Ok(())
}

/// A record for a place.
pub(super) fn to(place: &Place) -> BaseRecord<'_, [u8], [u8]> {
    BaseRecord::to(&place.topic).partition(place.partition)
}

/// Begins a transaction and writes to it: a marker is only written where the transaction has been.
fn touch<'a>(
    producer: &BaseProducer<Reports>,
    mut records: impl Iterator<Item = BaseRecord<'a, [u8], [u8]>>,
    pending: Option<&Pending>,
    timeout: Duration,
) -> KafkaResult<()> {
    let end = Instant::now() + timeout;
    producer.begin_transaction()?;
    records.try_for_each(|record| send::push(producer, record, end))?;
    if let Some(Pending { offsets, group }) = pending {
        producer.send_offsets_to_transaction(offsets, group, timeout)?;
    }
    send::settle(producer, end)
}
