//! Which partition a record goes to that does not say so itself.

use super::client::KafkaClientConfig;
use super::outbox::OutRecord;
use super::splits::KafkaSplits;
use serde::{Deserialize, Serialize};
use thalweg_core::error::{Error, Result};

/// Which partition a record goes to that does not say so itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partitioner {
    /// By its key, as Java's producer does (`murmur2_random`, unless the property `partitioner` says otherwise).
    #[default]
    Key,
    /// To one after the other of the partitions that there are when the job starts.
    RoundRobin,
    /// To this one.
    Fixed(i32),
}

/// A partitioner at work.
#[derive(Debug)]
pub(super) struct Placing {
    partitioner: Partitioner,
    /// Partitions of the topic, where they matter.
    partitions: i32,
    /// Where the next record goes in turn.
    turn: i32,
}

impl Placing {
    pub(super) fn new(partitioner: Partitioner) -> Self {
        Self { partitioner, partitions: 0, turn: 0 }
    }

    /// Learns from the brokers how many partitions there are, where it matters.
    ///
    /// # Errors
    /// As for [`Placing::fit`] and [`KafkaSplits::partitions`].
    pub(super) fn find(&mut self, client: &KafkaClientConfig, topic: &str) -> Result<()> {
        if self.partitioner == Partitioner::Key {
            return Ok(());
        }
        self.fit(topic, KafkaSplits::partitions(client, topic)?.len())
    }

    /// Takes in how many partitions there are.
    ///
    /// # Errors
    /// `KAFKA_CONFIG` for a partition that is not there.
    pub(super) fn fit(&mut self, topic: &str, partitions: usize) -> Result<()> {
        self.partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        match self.partitioner {
            Partitioner::Fixed(partition) if !(0..self.partitions).contains(&partition) => Err(Error::user(
                "KAFKA_CONFIG",
                format!("the topic {topic:?} has no partition {partition}, only {partitions}"),
            )
            .help("choose one of its partitions, which are counted from 0, or leave the choice to the records' keys")),
            _ => Ok(()),
        }
    }

    /// Gives a record a partition, unless its key is to choose, or it names a partition or another topic.
    pub(super) fn place(&mut self, record: &mut OutRecord<'_>) {
        if record.partition.is_some() || record.topic.is_some() {
            return;
        }
        record.partition = match self.partitioner {
            Partitioner::Key => None,
            Partitioner::Fixed(partition) => Some(partition),
            Partitioner::RoundRobin => {
                self.turn = (self.turn + 1).checked_rem(self.partitions).unwrap_or(0);
                Some(self.turn)
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_is_not_there_is_refused() {
        let fits = |partitioner| Placing::new(partitioner).fit("t", 3).map_err(|e| e.code);
        assert_eq!(fits(Partitioner::Fixed(2)), Ok(()));
        assert_eq!(fits(Partitioner::Fixed(3)), Err("KAFKA_CONFIG"));
        assert_eq!(fits(Partitioner::RoundRobin), Ok(()));
    }

    #[test]
    fn records_go_where_the_partitioner_says_unless_they_say_it_themselves() {
        let placed = |partitioner, record: OutRecord<'static>| {
            let mut placing = Placing { partitions: 3, ..Placing::new(partitioner) };
            let mut places = Vec::new();
            for _ in 0..4 {
                let mut record = record.clone();
                placing.place(&mut record);
                places.push(record.partition);
            }
            places
        };
        assert_eq!(placed(Partitioner::Key, OutRecord::default()), [None; 4]);
        assert_eq!(placed(Partitioner::Fixed(2), OutRecord::default()), [Some(2); 4]);
        assert_eq!(placed(Partitioner::RoundRobin, OutRecord::default()), [Some(1), Some(2), Some(0), Some(1)]);
        let own = OutRecord { partition: Some(7), ..OutRecord::default() };
        assert_eq!(placed(Partitioner::Fixed(2), own), [Some(7); 4]);
        let elsewhere = OutRecord { topic: Some("other"), ..OutRecord::default() };
        assert_eq!(placed(Partitioner::Fixed(2), elsewhere), [None; 4]);
    }
}
