//! Hanging transactions: their coordinator says that they are over, and in some partitions they are open all the same.
//!
//! Kafka 4's coordinator leaves out the markers of partitions that have no leader just then. Where one broker is all there is, that is every transaction that was
//! about to end when it was killed, with a commit or without. Nobody who reads committed records gets behind one, offsets in it stay pending, and the next transaction
//! of the same producer that is committed there commits what this one had written as well.
//!
//! In: a producer that has its transactional id to itself, so that all its earlier transactions are over, and of none of them it is known that it was committed. Out: the
//! markers that are missing, by a transaction that writes an empty record to each partition and is aborted: a marker ends whatever its producer has open
//! in a partition. What is known to be committed is left to the next commit, which has the right marker. Whether a transaction that nobody remembers was committed brokers
//! tell only by its mark or commit record: where those are seen and a partition hangs all the same, it is taken for a later one that was aborted. Source: KIP-98, KIP-664.

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

/// A partition of a topic.
pub(super) type Place = (String, i32);

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

/// Those partitions of topics that hold records of open transactions, whoever writes them, and whether all could be asked: one without a leader cannot, and nobody
/// writes there either. Topics that are not there hold none. Costs four requests a partition.
///
/// # Errors
/// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`, `KAFKA_CONFIG`.
pub(super) fn open(client: &KafkaClientConfig, topics: &BTreeSet<&str>) -> Result<(Vec<Place>, bool)> {
    let (all, committed) = (reader(client, "read_uncommitted")?, reader(client, "read_committed")?);
    let brief = client.connect_timeout().min(LED_WITHIN);
    let asked = KafkaClientConfig { connect_timeout_ms: brief.as_millis() as u32, ..client.clone() };
    let (mut found, mut whole) = (Vec::new(), true);
    for topic in topics {
        let fail = |e: KafkaError| {
            error::talking(&e, &format!("read the topic {topic:?}"), &client.bootstrap, &all.context().reason())
        };
        let ids = match partitions(all.client(), client, topic) {
            Err(e) if is_unknown(&e) => continue,
            ids => ids.map_err(fail)?,
        };
        for id in ids {
            // in this order: what comes between the two is not taken for open
            let ends = watermarks(&all, &asked, topic, id)
                .and_then(|(_, end)| Ok((end, watermarks(&committed, &asked, topic, id)?.1)));
            match ends {
                Ok((end, stable)) if stable < end => found.push(((*topic).to_owned(), id)),
                Ok(_) => {}
                Err(e) if error::may_pass(&e) => whole = false,
                Err(e) => return Err(fail(e)),
            }
        }
    }
    Ok((found, whole))
}

fn reader(client: &KafkaClientConfig, isolation: &str) -> Result<Arc<BaseConsumer<Reports>>> {
    let mut settings = client.client()?;
    settings.remove("group.id");
    made(settings.set("isolation.level", isolation), Reports::default())
}

/// Ends what a producer has hanging in partitions, and pending in a group. All of it is aborted.
///
/// # Errors
/// What the client says. The producer is then of no more use, and some may hang on.
pub(super) fn end(
    producer: &BaseProducer<Reports>,
    places: &[Place],
    pending: Option<&Pending>,
    timeout: Duration,
) -> KafkaResult<()> {
    if places.is_empty() && pending.is_none() {
        return Ok(());
    }
    let end = Instant::now() + timeout;
    producer.begin_transaction()?;
    for (topic, partition) in places {
        // compacted topics want a key
        send::push(producer, BaseRecord::<[u8], [u8]>::to(topic).key(b"").payload(b"").partition(*partition), end)?;
    }
    if let Some(Pending { offsets, group }) = pending {
        producer.send_offsets_to_transaction(offsets, group, timeout)?;
    }
    // a marker is only written where the transaction has been
    send::settle(producer, end)?;
    producer.abort_transaction(timeout)?;
    tracing::info!(target: "kafka", ?places, pending = pending.is_some(), "ended what may hang of earlier transactions");
    Ok(())
}
