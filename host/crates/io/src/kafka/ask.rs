//! Questions to brokers that may have no answer yet: the leader of a partition or the coordinator of a group may be about to change, and what was just made
//! has none at first.
//!
//! In: a client. Out: the answer, or the last error once the connect timeout is over; what cannot pass is told at once.

use super::client::{KafkaClientConfig, Reports, listen, made};
use super::error;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_core::error::Result;

/// How long a partition that was just made may be unknown to the broker that leads it.
const YOUNG: Duration = Duration::from_secs(5);
/// Between two questions to brokers that could not answer yet.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks until there is an answer, at most `within`.
///
/// # Errors
/// The last answer, if it is still none, and at once one that does not pass.
pub(super) fn answered<T>(within: Duration, mut ask: impl FnMut(Duration) -> KafkaResult<T>) -> KafkaResult<T> {
    let begun = Instant::now();
    loop {
        match ask(within.saturating_sub(begun.elapsed()).max(PAUSE)) {
            Err(e) if begun.elapsed() < patience(&e, within) => std::thread::sleep(PAUSE),
            answer => return answer,
        }
    }
}

/// How long a question is asked again after an error.
fn patience(e: &KafkaError, within: Duration) -> Duration {
    if is_unknown(e) {
        within.min(YOUNG)
    } else if error::may_pass(e) {
        within
    } else {
        Duration::ZERO
    }
}

/// The first offset of a partition, and the one behind its last as the consumer's isolation level has it. Waits at most the connect timeout.
///
/// # Errors
/// What the client said; [`error::talking`] makes sense of it.
pub(super) fn watermarks(
    consumer: &BaseConsumer<Reports>,
    config: &KafkaClientConfig,
    topic: &str,
    partition: i32,
) -> KafkaResult<(i64, i64)> {
    answered(config.connect_timeout(), |within| {
        let begun = Instant::now();
        consumer.fetch_watermarks(topic, partition, within).map_err(|e| {
            let left = within.saturating_sub(begun.elapsed()).max(PAUSE);
            // without a leader a partition is as unknown as one that is gone
            if is_unknown(&e) && is_there(consumer, topic, partition, left) {
                KafkaError::MetadataFetch(Code::LeaderNotAvailable)
            } else {
                e
            }
        })
    })
}

/// Whether a topic or a partition is not there.
pub(super) fn is_unknown(e: &KafkaError) -> bool {
    matches!(e.rdkafka_error_code(), Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition))
}

/// Whether brokers know a partition.
fn is_there(consumer: &BaseConsumer<Reports>, topic: &str, partition: i32, within: Duration) -> bool {
    let found = consumer.fetch_metadata(Some(topic), within);
    found.is_ok_and(|found| {
        let known = found.topics().iter().filter(|known| known.name() == topic);
        known.flat_map(|known| known.partitions()).any(|known| known.id() == partition)
    })
}

/// The partitions of a topic. Waits for the first answer of a broker, at most the connect timeout.
///
/// # Errors
/// What the client said; [`error::talking`] makes sense of it.
pub(super) fn partitions(
    client: &Client<impl ClientContext>,
    config: &KafkaClientConfig,
    topic: &str,
) -> KafkaResult<Vec<i32>> {
    let young = [Code::LeaderNotAvailable, Code::UnknownTopicOrPartition, Code::UnknownTopic];
    let mut rounds = 5; // a topic that was just created is not known at first, and then has no leader
    loop {
        let found = client.fetch_metadata(Some(topic), config.connect_timeout())?;
        let topic = found.topics().iter().find(|t| t.name() == topic);
        let trouble = topic.and_then(|t| t.error()).map(Code::from);
        let mut ids: Vec<i32> = topic.map_or_else(Vec::new, |t| t.partitions().iter().map(|p| p.id()).collect());
        rounds -= 1;
        match trouble {
            None if !ids.is_empty() => {
                ids.sort_unstable();
                return Ok(ids);
            }
            Some(code) if !young.contains(&code) => return Err(KafkaError::MetadataFetch(code)),
            trouble if rounds == 0 => {
                return Err(KafkaError::MetadataFetch(trouble.unwrap_or(Code::UnknownTopicOrPartition)));
            }
            _ => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// Asks brokers which of these topics are there, and with how many partitions: none for one that is not. It also hears why brokers do not answer;
/// the clients of admin requests and producers tell less. `what` is what comes next. Waits at most the connect timeout.
///
/// # Errors
/// `KAFKA_UNREACHABLE`, `KAFKA_AUTH`, `KAFKA_TLS`, `KAFKA_TOKEN`, `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`.
pub(super) fn counts(config: &KafkaClientConfig, topics: &[&str], what: &str) -> Result<Vec<usize>> {
    let consumer: Arc<BaseConsumer<Reports>> = made(&config.client()?, Reports::default())?;
    let count = |topic: &&str| {
        let found = consumer.fetch_metadata(Some(topic), config.connect_timeout()).map_err(|e| {
            listen(&consumer);
            error::talking(&e, what, &config.bootstrap, &consumer.context().reason())
        })?;
        let found = found.topics().iter().find(|t| t.name() == *topic && t.error().is_none());
        Ok(found.map_or(0, |topic| topic.partitions().len()))
    };
    topics.iter().map(count).collect()
}

/// Waits until a client that was just made has a broker, at most the connect timeout. Calls that want one before look for it again only half a second
/// later; if there is none, they say why.
pub(super) fn connect(client: &Client<impl ClientContext>, config: &KafkaClientConfig, topic: &str) {
    if let Err(e) = client.fetch_metadata(Some(topic), config.connect_timeout()) {
        tracing::debug!(target: "kafka", "{e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a question is asked that has no answer but this error.
    fn asked(code: Code, within: Duration) -> u32 {
        let mut count = 0;
        let answer: KafkaResult<()> = answered(within, |left| {
            assert!((PAUSE..=within.max(PAUSE)).contains(&left));
            count += 1;
            Err(KafkaError::MetadataFetch(code))
        });
        assert_eq!(answer.err().and_then(|e| e.rdkafka_error_code()), Some(code));
        count
    }

    #[test]
    fn what_passes_is_asked_again_until_the_time_is_over_and_what_does_not_once() {
        let within = PAUSE * 3;
        // what a broker says of a partition that it has just been given
        for code in [Code::NotLeaderForPartition, Code::LeaderNotAvailable, Code::UnknownTopicOrPartition] {
            assert!(asked(code, within) > 1, "{code:?}");
        }
        assert_eq!(asked(Code::TopicAuthorizationFailed, within), 1);
        let mut left = 3;
        let answer = answered(within, |_| {
            left -= 1;
            if left > 0 { Err(KafkaError::OffsetFetch(Code::NotCoordinator)) } else { Ok(7) }
        });
        assert_eq!((answer.ok(), left), (Some(7), 0));
        let unknown = KafkaError::MetadataFetch(Code::UnknownTopicOrPartition);
        assert_eq!(patience(&unknown, Duration::from_secs(60)), YOUNG, "a topic that is gone does not come back");
    }
}
