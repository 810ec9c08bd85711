//! A job's metrics while it runs: what attempts have given, what is committed, and what runs now.
//!
//! In: messages of shards, from the job's thread. Out: sums, for whoever asks, whenever.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use thalweg_core::id::ShardId;
use thalweg_core::metric::Metrics;

/// Metrics of a run, live.
#[derive(Debug, Default)]
pub struct LiveMetrics(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    attempted: Metrics,
    committed: Metrics,
    /// Of bundles that run now, by shard: each word replaces the one before.
    running: BTreeMap<ShardId, Metrics>,
}

impl LiveMetrics {
    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the metrics of an attempt that is over, or of what is now committed.
    pub(super) fn add(&self, committed: bool, metrics: &Metrics) {
        let mut sums = self.sums();
        if committed { sums.committed.merge(metrics) } else { sums.attempted.merge(metrics) }
    }

    /// Takes note of what runs on a shard.
    pub(super) fn running(&self, shard: ShardId, metrics: Metrics) {
        self.sums().running.insert(shard, metrics);
    }

    /// The end: what still ran is an attempt as well. Gives attempted and committed metrics.
    pub(super) fn close(&self) -> (Metrics, Metrics) {
        let mut sums = self.sums();
        for (_, metrics) in std::mem::take(&mut sums.running) {
            sums.attempted.merge(&metrics.lasting());
        }
        (sums.attempted.clone(), sums.committed.clone())
    }

    /// Attempted metrics, those of running bundles included, and committed ones. Cost: a copy of both.
    #[must_use]
    pub fn now(&self) -> (Metrics, Metrics) {
        let sums = self.sums();
        let mut attempted = sums.attempted.clone();
        sums.running.values().for_each(|metrics| attempted.merge(metrics));
        (attempted, sums.committed.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::metric::{MetricKey, MetricValue};

    fn count(n: i64) -> Metrics {
        let key = MetricKey { urn: "u".to_owned(), kind: "k".to_owned(), labels: BTreeMap::new() };
        Metrics([(key, MetricValue::Sum(n))].into())
    }

    #[test]
    fn what_runs_is_attempted_until_its_shard_says_otherwise_and_at_the_end_for_good() {
        let live = LiveMetrics::default();
        live.add(false, &count(5));
        live.add(true, &count(5));
        live.running(ShardId(0), count(2));
        live.running(ShardId(1), count(10));
        live.running(ShardId(0), count(3));
        assert_eq!(live.now(), (count(18), count(5)));
        live.running(ShardId(0), Metrics::default());
        assert_eq!(live.now(), (count(15), count(5)));
        assert_eq!(live.close(), (count(15), count(5)));
        assert_eq!(live.now(), (count(15), count(5)));
    }
}
