//! Records on their way into a producer's queue, and from there to the brokers.

use super::client::Reports;
use super::outbox::OutRecord;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::time::{Duration, Instant};

/// How often what is under way is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Queues a record for its own topic or else `topic`, waiting while the queue is full.
///
/// # Errors
/// Why it cannot be queued; `QueueFull` when there was no room until `end`.
pub(super) fn queue(
    producer: &BaseProducer<Reports>,
    topic: &str,
    given: &OutRecord<'_>,
    end: Instant,
) -> Result<(), KafkaError> {
    let mut record = BaseRecord::<[u8], [u8]>::to(given.topic.unwrap_or(topic));
    (record.key, record.payload) = (given.key, given.value);
    (record.partition, record.timestamp) = (given.partition, given.timestamp);
    push(producer, with_headers(record, given.headers.iter().copied()), end)
}

/// A record with headers; without any it stays as it is.
pub(super) fn with_headers<'a, 'h>(
    record: BaseRecord<'a, [u8], [u8]>,
    headers: impl ExactSizeIterator<Item = (&'h str, Option<&'h [u8]>)>,
) -> BaseRecord<'a, [u8], [u8]> {
    if headers.len() == 0 {
        return record;
    }
    let all = OwnedHeaders::new_with_capacity(headers.len());
    record.headers(headers.fold(all, |all, (key, value)| all.insert(Header { key, value })))
}

/// Queues a record as it is, waiting while the queue is full.
///
/// # Errors
/// As for [`queue`].
pub(super) fn push(
    producer: &BaseProducer<Reports>,
    mut record: BaseRecord<'_, [u8], [u8]>,
    end: Instant,
) -> Result<(), KafkaError> {
    loop {
        record = match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((e, _)) if e.rdkafka_error_code() != Some(Code::QueueFull) || Instant::now() > end => return Err(e),
            Err((_, back)) => back,
        };
        producer.poll(LOOK);
    }
}

/// Waits until all that was queued has an answer.
///
/// # Errors
/// The failure of a record, or that there was no answer until `end`.
pub(super) fn settle(producer: &BaseProducer<Reports>, end: Instant) -> Result<(), KafkaError> {
    // the client's own flush would sleep 100 ms at a time
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(1));
        if Instant::now() > end {
            return Err(KafkaError::Flush(Code::OperationTimedOut));
        }
    }
    producer.context().take_undelivered().map_or(Ok(()), Err)
}

/// Ends a transaction without a commit, once all that was sent has an answer, for which it waits so long. False where it is left open: who takes the
/// transactional id next ends it, or the brokers at its timeout.
///
/// A record that comes behind the end of its transaction begins one that nobody ends, and hides all that is written behind it from readers: librdkafka
/// lacks KIP-890. What is left open ends under another epoch of the producer, and what is still to come of this one is refused.
pub(super) fn abort(producer: &BaseProducer<Reports>, answered_within: Duration, timeout: Duration) -> bool {
    let end = Instant::now() + answered_within;
    loop {
        producer.poll(Duration::ZERO);
        let waits = producer.in_flight_count() > 0;
        if producer.context().has_unanswered() || waits && Instant::now() > end {
            return false;
        }
        // what is only queued is taken back by this call, which waits for the rest and goes on where it was when it is made again
        match producer.abort_transaction(if waits { LOOK } else { timeout }) {
            Ok(()) => {
                producer.context().take_undelivered();
                return true;
            }
            Err(KafkaError::Transaction(e)) if waits && e.is_retriable() => {}
            Err(e) => {
                tracing::debug!(target: "kafka", "{e}");
                return false;
            }
        }
    }
}
