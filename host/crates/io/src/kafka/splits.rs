//! Which partitions a source reads, and where they begin and end when the job starts.

use super::ask::{answered, partitions, watermarks};
use super::client::{KafkaClientConfig, Reports, listen, made};
use super::error;
use super::position::partition_id;
use super::source::{KafkaSourceConfig, Start, clock_ms};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::SplitId;

/// A partition of a topic, as it was when the job started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Split {
    pub topic: Arc<str>,
    pub partition: i32,
    /// Offset of the earliest record.
    pub low: i64,
    /// Offset behind the last committed record.
    pub high: i64,
    /// Where a bounded read ends.
    pub end: i64,
    /// Where reading begins; none for the earliest record.
    pub begin: Option<i64>,
}

/// Partitions per topic that a split's number has room for.
const PARTITIONS_MAX: u32 = 1 << 16;

/// The partitions of a source's topics.
///
/// A split's number is `65536 * position of the topic in the list + partition`, so with one topic it is the partition, and topics may
/// grow without renumbering.
#[derive(Clone, Debug)]
pub struct KafkaSplits {
    splits: Arc<[(SplitId, Split)]>,
}

impl KafkaSplits {
    /// Asks the brokers for the partitions and their offsets. Waits at most the connect timeout for the first answer and for
    /// each partition.
    ///
    /// # Errors
    /// `KAFKA_UNREACHABLE`, `KAFKA_UNKNOWN_TOPIC`, `KAFKA_AUTH`, `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`.
    pub fn discover(config: &KafkaSourceConfig) -> Result<Self> {
        if config.stop_ms.is_some_and(|ms| ms > clock_ms()) {
            let error = Error::user("KAFKA_CONFIG", "a Kafka source cannot end at a time that is still to come");
            return Err(error.help("let it end after so much time (max_read_time), or at a time that has passed"));
        }
        let consumer = asking(&config.client, &config.isolation())?;
        let mut splits = Vec::new();
        for (i, topic) in config.topics.iter().enumerate() {
            if config.topics.iter().take(i).any(|earlier| earlier == topic) {
                return Err(Error::user("KAFKA_CONFIG", format!("the topic {topic:?} is listed twice")));
            }
            let what = format!("read the topic {topic:?}");
            let name: Arc<str> = Arc::from(topic.as_str());
            let fail = |e| failed(&e, &consumer, &what, &config.client);
            let ids = partitions(consumer.client(), &config.client, topic).map_err(fail)?;
            for partition in ids {
                let id = number(i, topic, partition)?;
                let (low, high) = watermarks(&consumer, &config.client, topic, partition).map_err(fail)?;
                let begin = match config.start {
                    Start::Earliest => None,
                    Start::Latest | Start::Timestamp(_) => Some(high),
                };
                splits.push((id, Split { topic: Arc::clone(&name), partition, low, high, end: high, begin }));
            }
        }
        let timeout = config.client.connect_timeout();
        let fail = |e| failed(&e, &consumer, "ask where to begin", &config.client);
        let mut splits = begun(&consumer, config, splits, timeout).map_err(fail)?;
        if splits.is_empty() {
            return Err(Error::user("KAFKA_CONFIG", "a Kafka source needs at least one topic"));
        }
        Ok(Self { splits: splits.drain(..).collect() })
    }

    /// The partitions there are now, as far as a source of `config` reads them. Of those that are known nothing is asked.
    ///
    /// # Errors
    /// As for [`KafkaSplits::discover`].
    pub(super) fn look(&self, config: &KafkaSourceConfig) -> Result<Self> {
        let consumer = asking(&config.client, &config.isolation())?;
        let mut splits = self.splits.to_vec();
        for (i, topic) in config.topics.iter().enumerate() {
            let fail = |e| failed(&e, &consumer, &format!("read the topic {topic:?}"), &config.client);
            for partition in partitions(consumer.client(), &config.client, topic).map_err(fail)? {
                let id = number(i, topic, partition)?;
                if self.get(id).is_some() {
                    continue;
                }
                let (low, high) = watermarks(&consumer, &config.client, topic, partition).map_err(fail)?;
                let topic = Arc::from(topic.as_str());
                splits.push((id, Split { topic, partition, low, high, end: high, begin: None }));
            }
        }
        Ok(Self { splits: splits.into() })
    }

    /// The topics of these partitions.
    pub(super) fn topics(&self) -> Vec<Arc<str>> {
        let mut topics: Vec<_> = self.splits.iter().map(|(_, split)| Arc::clone(&split.topic)).collect();
        topics.dedup();
        topics
    }

    /// Those of `found` that are not here yet, to be read from their beginning, behind those that are; none if there are none.
    pub(super) fn grown(&self, found: &Self) -> Option<(Self, Vec<SplitId>)> {
        let mut all = self.splits.to_vec();
        let new = found.splits.iter().filter(|(id, _)| self.get(*id).is_none());
        let new: Vec<_> = new.map(|(id, split)| (*id, Split { begin: None, ..split.clone() })).collect();
        let ids = new.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        all.extend(new);
        (!ids.is_empty()).then(|| (Self { splits: all.into() }, ids))
    }

    /// The same where a job began with `first`: partitions that its topics were given since are read from their beginning. With them those of
    /// `found` that are of these topics and not here yet; an earlier reader knew them, so they are there.
    pub(super) fn recalled(&self, topics: &[String], first: &[SplitId], found: &[SplitId]) -> (Self, Vec<SplitId>) {
        let topic = |id: SplitId| id.0 / PARTITIONS_MAX;
        let later = |id: SplitId| !first.contains(&id) && first.iter().any(|known| topic(*known) == topic(id));
        let anew = |(id, split): &(SplitId, Split)| {
            let begin = split.begin.filter(|_| !later(*id));
            (*id, Split { begin, ..split.clone() })
        };
        let mut all: Vec<_> = self.splits.iter().map(anew).collect();
        let mut more = Vec::new();
        for id in found.iter().copied().filter(|id| self.get(*id).is_none()) {
            let Some(name) = topics.get(topic(id) as usize) else { continue }; // of a topic that is not read any more
            let (topic, partition) = (Arc::from(name.as_str()), (id.0 % PARTITIONS_MAX) as i32);
            all.push((id, Split { topic, partition, low: 0, high: 0, end: 0, begin: None }));
            more.push(id);
        }
        (Self { splits: all.into() }, more)
    }

    /// The numbers of partitions that are not here and whose positions are known.
    pub(super) fn unlisted(&self, topics: &[String], positions: &[u64]) -> Vec<SplitId> {
        let unknown: Vec<u64> = positions.iter().copied().filter(|id| self.id_of_position(*id).is_none()).collect();
        if unknown.is_empty() {
            return Vec::new();
        }
        let all = topics.iter().enumerate().flat_map(|(i, topic)| {
            let numbered = move |p| (partition_id(topic, p), number(i, topic, p));
            (0..PARTITIONS_MAX as i32).map(numbered)
        });
        all.filter(|(id, _)| unknown.contains(id)).filter_map(|(_, split)| split.ok()).collect()
    }

    /// The partitions of one topic, for whoever must only know their number.
    ///
    /// # Errors
    /// As for [`KafkaSplits::discover`].
    pub fn partitions(client: &KafkaClientConfig, topic: &str) -> Result<Vec<i32>> {
        let consumer = asking(client, "read_committed")?;
        let fail = |e| failed(&e, &consumer, &format!("use the topic {topic:?}"), client);
        partitions(consumer.client(), client, topic).map_err(fail)
    }

    /// The splits.
    #[must_use]
    pub fn splits(&self) -> Vec<SplitId> {
        self.splits.iter().map(|(id, _)| *id).collect()
    }

    /// Records between the beginnings and ends seen at the start: what a progress bar counts to.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.splits.iter().map(|(_, s)| s.end.saturating_sub(s.begin.unwrap_or(s.low)).max(0) as u64).sum()
    }

    /// The split of a stored position's partition.
    pub(super) fn id_of_position(&self, partition: u64) -> Option<SplitId> {
        self.splits.iter().find(|(_, s)| partition_id(&s.topic, s.partition) == partition).map(|(id, _)| *id)
    }

    pub(super) fn count(&self) -> usize {
        self.splits.len()
    }

    pub(super) fn get(&self, id: SplitId) -> Option<&Split> {
        self.splits.iter().find(|(found, _)| *found == id).map(|(_, split)| split)
    }
}

/// The number of a partition's split.
fn number(topic_at: usize, topic: &str, partition: i32) -> Result<SplitId> {
    let number = u32::try_from(partition).ok().filter(|p| *p < PARTITIONS_MAX);
    let id = (topic_at as u32).checked_mul(PARTITIONS_MAX).zip(number).map(|(t, p)| SplitId(t + p));
    id.ok_or_else(|| Error::user("KAFKA_CONFIG", format!("{topic:?} has too many partitions")))
}

fn failed(e: &KafkaError, consumer: &BaseConsumer<Reports>, what: &str, client: &KafkaClientConfig) -> Error {
    listen(consumer);
    error::talking(e, what, &client.bootstrap, &consumer.context().reason())
}

/// Puts partitions where a time or a group wants them to begin.
fn begun(
    consumer: &BaseConsumer<Reports>,
    config: &KafkaSourceConfig,
    mut splits: Vec<(SplitId, Split)>,
    timeout: Duration,
) -> KafkaResult<Vec<(SplitId, Split)>> {
    let asked = |offset: Option<i64>| -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (_, split) in &splits {
            let mut place = list.add_partition(&split.topic, split.partition);
            if let Some(offset) = offset {
                place.set_offset(Offset::Offset(offset))?;
            }
        }
        Ok(list)
    };
    // an error of one partition is in its place of the answer
    let whole = |answer: TopicPartitionList| answer.elements().iter().try_for_each(|p| p.error()).map(|()| answer);
    let at_time = |ms| {
        let list = asked(Some(ms))?;
        answered(timeout, |within| consumer.offsets_for_times(list.clone(), within).and_then(whole))
    };
    let ends = config.stop_ms.map(at_time).transpose()?;
    let mut answers = Vec::new();
    if let Start::Timestamp(ms) = config.start {
        answers.push(at_time(ms)?);
    }
    if config.from_group && config.client.properties.contains_key("group.id") {
        let list = asked(None)?;
        answers.push(answered(timeout, |within| consumer.committed_offsets(list.clone(), within).and_then(whole))?);
    }
    if let Some(answer) = ends {
        for (_, split) in &mut splits {
            if let Some(Offset::Offset(at)) = answer.find_partition(&split.topic, split.partition).map(|p| p.offset()) {
                split.end = at.clamp(split.low, split.high);
            }
        }
    }
    for answer in answers {
        for (_, split) in &mut splits {
            let found = answer.find_partition(&split.topic, split.partition).map(|place| place.offset());
            // what retention took meanwhile is as good as unknown
            if let Some(Offset::Offset(at)) = found
                && (split.low..=split.high).contains(&at)
            {
                split.begin = Some(at);
            }
        }
    }
    Ok(splits)
}

/// A consumer that only asks.
fn asking(client: &KafkaClientConfig, isolation: &str) -> Result<Arc<BaseConsumer<Reports>>> {
    let mut settings = client.client()?;
    settings.set("isolation.level", isolation); // the end is then the last stable offset
    settings.set("enable.auto.commit", "false");
    made(&settings, Reports::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: u32 = PARTITIONS_MAX;

    /// The partitions of topics `a` and `b` with these numbers, read from their ends.
    fn latest(ids: &[u32]) -> KafkaSplits {
        let split = |id: &u32| {
            let topic = Arc::from(if *id < B { "a" } else { "b" });
            let partition = (id % B) as i32;
            (SplitId(*id), Split { topic, partition, low: 3, high: 9, end: 9, begin: Some(9) })
        };
        KafkaSplits { splits: ids.iter().map(split).collect() }
    }

    fn ids(list: &[u32]) -> Vec<SplitId> {
        list.iter().copied().map(SplitId).collect()
    }

    #[test]
    fn partitions_that_came_later_begin_at_their_beginning_and_known_ones_need_not_be_listed() {
        let topics = ["a".to_owned(), "b".to_owned()];
        // topic b was added to the list: that is no partition that came later
        let (splits, more) = latest(&[0, 1, 2, B]).recalled(&topics, &ids(&[0, 1]), &ids(&[1, 5, 2 * B]));
        assert_eq!(more, ids(&[5]), "of a topic that is not read there is nothing");
        let begins = |id| splits.get(SplitId(id)).map(|split| split.begin);
        assert_eq!(
            [begins(0), begins(1), begins(2), begins(B)],
            [Some(Some(9)), Some(Some(9)), Some(None), Some(Some(9))]
        );
        let five = splits.get(SplitId(5)).map(|split| (split.topic.to_string(), split.partition, split.begin));
        assert_eq!(five, Some(("a".to_owned(), 5, None)));
        let (splits, _) = latest(&[0, 1]).recalled(&topics, &[], &[]);
        assert_eq!(splits.get(SplitId(1)).and_then(|split| split.begin), Some(9), "nothing is known");
    }

    #[test]
    fn partitions_are_found_again_by_their_positions() {
        let topics = ["a".to_owned(), "b".to_owned()];
        let positions = [partition_id("a", 0), partition_id("b", 7), partition_id("c", 0)];
        assert_eq!(latest(&[0, 1]).unlisted(&topics, &positions), ids(&[B + 7]));
        assert_eq!(latest(&[0, 1]).unlisted(&topics, &positions[..1]), ids(&[]));
    }
}
