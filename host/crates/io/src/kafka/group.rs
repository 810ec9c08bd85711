//! Offsets of a consumer group, as a mirror of what a job has committed: for lag tools, and for other programs that go on
//! from there.
//!
//! In: stored positions, after the epoch that holds them was committed. Out: offset commits, which nobody waits for; what the job itself
//! goes on from is its own state.

use super::ask::partitions;
use super::client::{KafkaClientConfig, Reports, made};
use super::merged;
use super::position::{Position, partition_id};
use super::splits::KafkaSplits;
use super::thread::spawn;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use thalweg_core::error::{Error, Result};

/// Positions that may wait; later ones make earlier ones worthless.
const WAITING: usize = 256;

/// Commits offsets to the group of the property `group.id`, on a thread of its own.
#[derive(Debug)]
pub struct GroupOffsets {
    positions: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl GroupOffsets {
    /// Makes the client; it connects in the background.
    ///
    /// # Errors
    /// `KAFKA_CONFIG` when there is no `group.id`, `KAFKA_PROPERTY_REFUSED`.
    pub fn new(client: &KafkaClientConfig, splits: KafkaSplits) -> Result<Self> {
        let client = client.clone();
        if !client.properties.contains_key("group.id") {
            return Err(Error::user("KAFKA_CONFIG", "offsets cannot be committed without the property \"group.id\"")
                .help("name a group in the consumer's configuration, or do not ask for commits"));
        }
        let mut settings = client.client()?;
        settings.set("enable.auto.commit", "false");
        let consumer: Arc<BaseConsumer<Reports>> = made(&settings, Reports::default())?;
        let (positions, waiting) = sync_channel(WAITING);
        let thread = spawn("kafka-offsets", move || run(&consumer, &client, Known::new(&splits), &waiting))?;
        Ok(Self { positions: Some(positions), thread: Some(thread) })
    }

    /// Takes a stored position of [`KafkaSource`](super::KafkaSource) or [`MergedKafkaSource`](super::MergedKafkaSource). Never
    /// blocks: behind a slow cluster positions are left out, and a later one makes up for them.
    pub fn committed(&self, position: &[u8]) {
        if let Some(positions) = &self.positions
            && positions.try_send(position.to_vec()).is_err()
        {
            tracing::debug!(target: "kafka", "the group's offsets lag behind");
        }
    }
}

impl Drop for GroupOffsets {
    fn drop(&mut self) {
        self.positions = None;
        if let Some(thread) = self.thread.take() {
            // a panic of that thread is no reason for one of this
            drop(thread.join());
        }
    }
}

/// Topic and partition of positions, which only hold a hash of both.
struct Known {
    topics: Vec<Arc<str>>,
    places: BTreeMap<u64, (Arc<str>, i32)>,
}

impl Known {
    fn new(splits: &KafkaSplits) -> Self {
        Self { topics: splits.topics(), places: BTreeMap::new() }
    }

    /// Where a position is. One of a partition that is not known has the topics looked at: they may have grown.
    fn place(
        &mut self,
        id: u64,
        consumer: &BaseConsumer<Reports>,
        client: &KafkaClientConfig,
    ) -> Option<(Arc<str>, i32)> {
        if !self.places.contains_key(&id) {
            for topic in &self.topics {
                let found = partitions(consumer.client(), client, topic).unwrap_or_default();
                let places = found.into_iter().map(|p| (partition_id(topic, p), (Arc::clone(topic), p)));
                self.places.extend(places);
            }
        }
        self.places.get(&id).cloned()
    }
}

fn run(consumer: &BaseConsumer<Reports>, client: &KafkaClientConfig, mut known: Known, waiting: &Receiver<Vec<u8>>) {
    loop {
        let first = match waiting.recv_timeout(Duration::from_millis(200)) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => {
                consumer.poll(Duration::ZERO); // answers to commits
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut list = TopicPartitionList::new();
        for stored in std::iter::once(first).chain(waiting.try_iter()) {
            for position in positions(&stored) {
                if let Some((topic, partition)) = known.place(position.partition, consumer, client) {
                    let topic = &*topic;
                    let offset = Offset::Offset(position.next);
                    if list.find_partition(topic, partition).is_none() {
                        list.add_partition(topic, partition);
                    }
                    if let Err(e) = list.set_partition_offset(topic, partition, offset) {
                        tracing::debug!(target: "kafka", "{e}");
                    }
                }
            }
        }
        if list.count() > 0
            && let Err(e) = consumer.commit(&list, CommitMode::Sync)
        {
            tracing::warn!(target: "kafka", "the offsets of the group could not be committed: {e}");
        }
    }
}

/// The partitions' positions in a stored one.
fn positions(stored: &[u8]) -> Vec<Position> {
    match Position::decode(stored) {
        Some(position) => vec![position],
        None => merged::State::decode(stored).map_or_else(Vec::new, |state| state.partitions),
    }
}
