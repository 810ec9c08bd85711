//! Whether partitions that seem to be at their ends are: brokers are asked now and then, on a thread of its own.
//!
//! In: which partitions gave nothing more. Out: until when it is known that nothing was there that was not read. An end that librdkafka tells is told
//! once, by whichever replica answered, and says nothing of later: a broken link is as silent as a partition without records. Source: the
//! `backlogCheckTime` of Beam's `TimestampPolicy`.

use super::client::Reports;
use super::source::clock_ms;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;
use thalweg_core::id::SplitId;

/// Milliseconds between two questions: so far the watermarks of idle partitions are behind the clock, beside their distance.
const EVERY_MS: i64 = 1000;
/// How long a question may take; one that takes longer is asked again.
const WITHIN: Duration = Duration::from_secs(3);
/// How long a leader must have told the same end, and given nothing before it, until there is nothing: what compaction took from the last batch takes
/// offsets, and an aborted transaction before an open one does. A leader that answers has what was committed (KIP-207), and sends it within a second.
const SETTLED_MS: i64 = 5000;
/// The same where records come from a follower (`client.rack`): one that is so far behind is none to read from (`replica.lag.time.max.ms`, 30 s by
/// default, and as much again).
const FOLLOWED_MS: i64 = 60_000;

/// Asks the leaders of partitions where these end: one request to each for all of them.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    asked_ms: i64,
    asking: Option<Receiver<KafkaResult<Answer>>>,
}

/// Where partitions ended.
#[derive(Debug)]
pub(super) struct Answer {
    /// When that was asked: what came later is not in it.
    pub asked_ms: i64,
    /// The end of each, and how far it was taken out of its queue when the answer came.
    pub ends: Vec<(SplitId, i64, i64)>,
}

impl Backlog {
    /// Whether it is time to ask.
    pub(super) fn is_due(&self, now_ms: i64) -> bool {
        self.asking.is_none() && !(0..EVERY_MS).contains(&now_ms.saturating_sub(self.asked_ms))
    }

    /// Asks where partitions end; the consumer's isolation level counts.
    pub(super) fn ask(&mut self, consumer: &Arc<BaseConsumer<Reports>>, partitions: Vec<(SplitId, Arc<str>, i32)>) {
        self.asked_ms = clock_ms();
        let (tell, answer) = sync_channel(1);
        let (consumer, asked_ms) = (Arc::clone(consumer), self.asked_ms);
        let look = move || {
            let ends = asked(&consumer, &partitions);
            drop(consumer); // before its owner hears the answer, and may want it to be the last to go
            drop(tell.send(ends.map(|ends| Answer { asked_ms, ends })));
        };
        let started = std::thread::Builder::new().name("kafka-backlog".to_owned()).spawn(look);
        self.asking = started.is_ok().then_some(answer);
    }

    /// The answer, when one has come. Leaders that do not answer are asked again.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        let answer = self.asking.as_ref()?.try_recv();
        if matches!(answer, Err(TryRecvError::Empty)) {
            return None;
        }
        self.asking = None;
        match answer.ok()? {
            Ok(answer) => Some(answer),
            Err(e) => {
                tracing::debug!(target: "kafka", "nobody tells where partitions end: {e}");
                None
            }
        }
    }

    /// Drops the question under way: a partition begins elsewhere, and the answer would not be about that.
    pub(super) fn forget(&mut self) {
        self.asking = None;
    }
}

/// Blocks for the answers of all leaders.
fn asked(
    consumer: &BaseConsumer<Reports>,
    partitions: &[(SplitId, Arc<str>, i32)],
) -> KafkaResult<Vec<(SplitId, i64, i64)>> {
    let mut list = TopicPartitionList::new();
    for (_, topic, partition) in partitions {
        list.add_partition(topic, *partition).set_offset(Offset::End)?; // in place of a time it asks for the end
    }
    let ends = offsets(&consumer.offsets_for_times(list, WITHIN)?);
    let read = taken(consumer)?;
    let found = partitions.iter().filter_map(|(split, topic, partition)| {
        let place = (topic.to_string(), *partition);
        Some((*split, *ends.get(&place)?, read.get(&place).copied().unwrap_or_default()))
    });
    Ok(found.collect())
}

/// By topic and partition.
pub(super) type Offsets = BTreeMap<(String, i32), i64>;

/// How far the partitions of a consumer were taken out of their queues: behind the last record or marker of a transaction. Those of which nothing was are
/// left out.
pub(super) fn taken(consumer: &BaseConsumer<Reports>) -> KafkaResult<Offsets> {
    Ok(offsets(&consumer.position()?))
}

fn offsets(list: &TopicPartitionList) -> Offsets {
    let all = list.elements();
    let known = all.iter().filter_map(|place| match place.offset() {
        Offset::Offset(offset) => Some(((place.topic().to_owned(), place.partition()), offset)),
        _ => None,
    });
    known.collect()
}

/// What is known of one partition's end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// The end up to which everything was read, and when it was asked for: what came until then was read.
    read: Option<(i64, i64)>,
    /// The end that was told last while nothing came, and since when it is the same.
    told: Option<(i64, i64)>,
}

impl Known {
    /// A record came: the silence is over.
    pub(super) fn record(&mut self) {
        self.told = None;
    }

    /// Takes an answer about the end. `read` is how far the partition was read; `leads` says that records come from the leader, too.
    pub(super) fn end(&mut self, asked_ms: i64, end: i64, read: i64, leads: bool) {
        let since = self.told.filter(|(told, _)| *told == end).map_or(asked_ms, |(_, since)| since);
        self.told = Some((end, since));
        let settled_ms = if leads { SETTLED_MS } else { FOLLOWED_MS };
        if read >= end || asked_ms.saturating_sub(since) >= settled_ms {
            self.read = Some((end, asked_ms));
        }
    }

    /// Until when nothing came that was not read, in milliseconds since 1970 UTC.
    pub(super) fn until_ms(&self) -> Option<i64> {
        self.read.map(|(_, asked_ms)| asked_ms)
    }

    /// Whether everything before an offset was read.
    pub(super) fn is_read_to(&self, end: i64) -> bool {
        self.read.is_some_and(|(read, _)| read >= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_known_until_the_last_question_whose_answer_says_so() {
        let mut known = Known::default();
        assert_eq!(known.until_ms(), None, "nobody has said so");
        known.end(1000, 900, 900, true);
        assert_eq!((known.until_ms(), known.is_read_to(900), known.is_read_to(901)), (Some(1000), true, false));
        known.end(2000, 950, 900, true);
        assert_eq!(known.until_ms(), Some(1000), "something came that was not read");
        known.end(3000, 950, 951, true);
        assert_eq!(known.until_ms(), Some(3000), "the marker of a transaction may come meanwhile");
    }

    #[test]
    fn an_end_that_nothing_leads_to_is_reached_when_its_leader_has_told_it_for_a_while() {
        let mut known = Known::default();
        known.end(1000, 950, 900, true);
        known.end(1000 + SETTLED_MS - 1, 950, 900, true);
        assert!(!known.is_read_to(950));
        let mut other = known;
        other.record();
        other.end(1000 + SETTLED_MS, 950, 940, true);
        assert!(!other.is_read_to(950), "it begins anew with every record");
        let mut follower = known;
        follower.end(1000 + SETTLED_MS, 950, 900, false);
        assert!(!follower.is_read_to(950), "a follower may not have it yet");
        known.end(1000 + SETTLED_MS, 950, 900, true);
        assert_eq!((known.is_read_to(950), known.until_ms()), (true, Some(1000 + SETTLED_MS)));
        known.end(9000, 951, 900, true);
        assert_eq!(known.until_ms(), Some(1000 + SETTLED_MS), "another end");
    }
}
