//! Commit records: up to which epoch each partition of a job is committed, and which process committed it.
//!
//! A record is an offset of the job's group for the partition of the members topic that stands for the job's; its metadata are
//! `epoch life process`. The offset is the epoch too, for those who look with Kafka's tools.

use super::super::client::{KafkaClientConfig, Reports, listen, made};
use super::super::error;
use super::super::hanging::Pending;
use super::epochs::EpochsConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;

/// What is committed of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CommitRecord {
    pub epoch: Epoch,
    /// In which life it did: two processes may have the same name, if one takes the other's place.
    pub life: u64,
    /// Who committed it; nobody in records of the first versions.
    pub process: String,
}

impl CommitRecord {
    /// The same of another epoch.
    pub fn at(&self, epoch: Epoch) -> Self {
        Self { epoch, ..self.clone() }
    }

    pub fn metadata(&self) -> String {
        format!("{} {} {}", self.epoch.0, self.life, self.process)
    }

    fn read(metadata: &str) -> Option<Self> {
        let mut words = metadata.splitn(3, ' ');
        let epoch = Epoch(words.next()?.parse().ok()?);
        let life = words.next().map_or(Some(0), |life| life.parse().ok())?;
        Some(Self { epoch, life, process: words.next().unwrap_or_default().to_owned() })
    }
}

/// Reads commit records.
pub(super) struct CommitRecords {
    consumer: Arc<BaseConsumer<Reports>>,
    client: KafkaClientConfig,
    topic: String,
    /// A topic of the job's whose offsets in the group mean nothing.
    meaningless: String,
    timeout: Duration,
}

impl CommitRecords {
    /// A reader that waits for transactions that are just being committed.
    pub fn settled(config: &EpochsConfig) -> Result<Self> {
        Self::new(config, "read_committed")
    }

    /// A reader that does not: it sees what was committed before them.
    pub fn so_far(config: &EpochsConfig) -> Result<Self> {
        Self::new(config, "read_uncommitted")
    }

    fn new(config: &EpochsConfig, isolation: &str) -> Result<Self> {
        let mut settings = config.client.client()?;
        settings.set("group.id", &config.group).set("enable.auto.commit", "false").set("isolation.level", isolation);
        let consumer = made(&settings, Reports::default())?;
        Ok(Self {
            consumer,
            client: config.client.clone(),
            topic: config.members.clone(),
            meaningless: config.changelog.clone(),
            timeout: config.timeout,
        })
    }

    /// An offset of the group that is no commit record.
    pub fn place(&self) -> KafkaResult<Pending> {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.meaningless, 0, Offset::Offset(0))?;
        Pending::of(&self.consumer, offsets)
    }

    /// The last records of partitions; one that never committed has none.
    pub fn read(&self, partitions: impl Iterator<Item = u16>) -> Result<BTreeMap<u16, CommitRecord>> {
        let fail = |e: KafkaError| {
            listen(&self.consumer);
            let reason = self.consumer.context().reason();
            error::talking(&e, "read the commit records of a job", &self.client.bootstrap, &reason)
        };
        let mut wanted = TopicPartitionList::new();
        for partition in partitions {
            wanted.add_partition(&self.topic, i32::from(partition));
        }
        let found = self.consumer.committed_offsets(wanted, self.timeout).map_err(fail)?;
        let mut records = BTreeMap::new();
        for offset in found.elements() {
            offset.error().map_err(fail)?;
            if let (Offset::Offset(_), Some(record)) = (offset.offset(), CommitRecord::read(offset.metadata())) {
                records.insert(offset.partition() as u16, record);
            }
        }
        Ok(records)
    }

    /// The last record of one partition.
    pub fn last(&self, partition: u16) -> Result<CommitRecord> {
        Ok(self.read(std::iter::once(partition))?.remove(&partition).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_who_committed_which_epoch_and_those_of_the_first_versions_say_which() {
        let record = CommitRecord { epoch: Epoch(57), life: u64::MAX, process: "one of two".to_owned() };
        assert_eq!(CommitRecord::read(&record.metadata()), Some(record));
        assert_eq!(CommitRecord::read("57"), Some(CommitRecord { epoch: Epoch(57), ..CommitRecord::default() }));
        for strange in ["", " 1 one", "-1 1 one", "57 one", "one 57"] {
            assert_eq!(CommitRecord::read(strange), None, "{strange:?}");
        }
    }
}
