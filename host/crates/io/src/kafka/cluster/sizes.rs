//! How large the transactions of a process are, and how long they may take.
//!
//! In: bytes of parts that wait. Out: which of them share a transaction, how long that may take, and the `transaction.timeout.ms` it needs. Small ones have
//! the time that they always had, for it is also how long one that nobody ends holds up readers: what a dead process left open is ended by who
//! takes over ([`super::predecessor`]), but not if it died in its first transaction, before any commit record named it. Only a producer that has
//! large ones to send is given more, as much as these need. Source: Kafka's `transaction.max.timeout.ms`, 15 minutes by default.

use super::epochs::EpochPart;
use bytes::Bytes;
use std::time::Duration;
use thalweg_core::port::log::LogRecord;

/// Parts of one transaction.
const PARTS_MAX: usize = 256;
/// Bytes of parts that share one: about what a partition's epoch may change by itself. A larger part goes alone.
const BYTES_MAX: usize = 64 << 20;
/// Bytes of small transactions, for which the time of a call is enough.
const SMALL: usize = 8 << 20;
/// Bytes a second that also slow brokers take.
const SLOWEST: usize = 1 << 20;
/// The longest transaction: less than brokers allow by default, as for the state that a job begins with.
const LONGEST: Duration = Duration::from_secs(600);
/// How long a producer that may take long stays when its transactions are small again.
const CALM: Duration = Duration::from_secs(60);

/// The parts that go with the first of those that wait, and one that was taken and must go with the next.
pub(super) fn gather<T>(
    first: T,
    bytes: impl Fn(&T) -> usize,
    mut next: impl FnMut() -> Option<T>,
) -> (Vec<T>, Option<T>) {
    let mut sum = bytes(&first);
    let mut parts = vec![first];
    while parts.len() < PARTS_MAX && sum < BYTES_MAX {
        let Some(part) = next() else { break };
        sum = sum.saturating_add(bytes(&part));
        if sum > BYTES_MAX {
            return (parts, Some(part));
        }
        parts.push(part);
    }
    (parts, None)
}

/// Bytes of what a part writes, about.
pub(super) fn of(part: &EpochPart) -> usize {
    let cells = part.writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len));
    cells.chain(part.records.iter().map(LogRecord::weight)).sum()
}

/// How long it may take to queue and settle so many bytes, where small transactions have `small`.
pub(super) fn within(small: Duration, bytes: usize) -> Duration {
    let more = bytes.saturating_sub(SMALL).div_ceil(SLOWEST);
    // the call that commits it has as long as a small transaction
    small.max((small + Duration::from_secs(more as u64)).min(LONGEST.saturating_sub(small)))
}

/// The timeout of a transaction of so many bytes: that of small ones, doubled as often as it takes, so that producers are made anew rarely.
pub(super) fn timeout(small: Duration, bytes: usize) -> Duration {
    if bytes <= SMALL {
        return small;
    }
    let (needed, mut timeout) = (within(small, bytes) + small, small);
    while timeout < needed && timeout < LONGEST && !timeout.is_zero() {
        timeout = (timeout * 2).min(LONGEST);
    }
    timeout
}

/// Whether a producer of one timeout serves where another is wanted. `since` is how long it has not been needed as it is.
pub(super) fn serves(has: Duration, wanted: Duration, since: Duration) -> bool {
    has == wanted || has > wanted && since < CALM
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;
    const SECOND: Duration = Duration::from_secs(1);

    /// The sizes of parts by transaction, in MiB.
    fn transactions(mut waiting: Vec<usize>) -> Vec<Vec<usize>> {
        let (mut all, mut left) = (Vec::new(), None);
        waiting.reverse();
        while let Some(first) = left.take().or_else(|| waiting.pop()) {
            let (parts, next) = gather(first, |mib| mib * MIB, || waiting.pop());
            (left, all) = (next, [all, vec![parts]].concat());
        }
        all
    }

    #[test]
    fn parts_share_a_transaction_up_to_a_bound_and_a_larger_one_goes_alone() {
        assert_eq!(transactions(vec![20, 20, 20, 20, 1]), [vec![20, 20, 20], vec![20, 1]]);
        assert_eq!(transactions(vec![1, 200, 1, 64, 65]), [vec![1], vec![200], vec![1], vec![64], vec![65]]);
        assert_eq!(transactions(vec![0; 600]).iter().map(Vec::len).collect::<Vec<_>>(), [256, 256, 88]);
    }

    #[test]
    fn what_is_larger_may_take_longer_and_what_is_small_no_longer_than_ever() {
        let small = 10 * SECOND;
        assert_eq!((within(small, SMALL), timeout(small, SMALL)), (small, small));
        assert_eq!((within(small, SMALL + 1), timeout(small, SMALL + 1)), (11 * SECOND, 40 * SECOND));
        assert_eq!((within(small, 72 * MIB), timeout(small, 72 * MIB)), (74 * SECOND, 160 * SECOND));
        assert_eq!((within(small, 4096 * MIB), timeout(small, 4096 * MIB)), (590 * SECOND, LONGEST));
        for mib in 0..1000 {
            let bytes = mib * MIB;
            assert!(timeout(small, bytes) >= within(small, bytes), "{mib} MiB");
        }
    }

    #[test]
    fn a_producer_that_may_take_long_goes_when_that_was_not_needed_for_a_while() {
        assert!(serves(10 * SECOND, 10 * SECOND, CALM));
        assert!(!serves(10 * SECOND, 40 * SECOND, Duration::ZERO));
        assert!(serves(40 * SECOND, 10 * SECOND, CALM - SECOND));
        assert!(!serves(40 * SECOND, 10 * SECOND, CALM));
    }
}
