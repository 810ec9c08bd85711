//! Ground floor: metric cells as workers report them and as the job sums them up.
//!
//! A metric is named by its URN and labels, as in Beam's `MonitoringInfo`. Updates of a bundle are deltas: they are merged
//! into *attempted* whatever becomes of the bundle, and into *committed* when its epoch is.

mod histogram;
mod trie;

pub use histogram::{Buckets, Histogram};
pub use trie::{BoundedTrie, TrieNode};

use bytes::Bytes;
use std::collections::BTreeMap;

/// Identity of a metric.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MetricKey {
    /// What is measured, e.g. `beam:metric:user:sum_int64:v1`.
    pub urn: String,
    /// How values look, e.g. `beam:metrics:sum_int64:v1`.
    pub kind: String,
    /// Labels, e.g. `PTRANSFORM`, `NAMESPACE`, `NAME`.
    pub labels: BTreeMap<String, String>,
}

/// A value that can be merged with others of its key.
#[derive(Clone, PartialEq, Debug)]
pub enum MetricValue {
    /// A sum of integers.
    Sum(i64),
    /// A sum of doubles.
    SumDouble(f64),
    /// Count, sum, least, greatest.
    Distribution {
        /// Number of values.
        count: i64,
        /// Their sum.
        sum: i64,
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// The same of doubles.
    DistributionDouble {
        /// Number of values.
        count: i64,
        /// Their sum.
        sum: f64,
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
    },
    /// The value set last, with the time it was set in milliseconds.
    Latest {
        /// When.
        at: i64,
        /// What.
        value: i64,
    },
    /// The same of doubles.
    LatestDouble {
        /// When.
        at: i64,
        /// What.
        value: f64,
    },
    /// The greatest or the least integers. How many are kept is what a worker sends at most.
    Extremes {
        /// Whether they are the greatest.
        top: bool,
        /// The values, the most extreme first.
        values: Vec<i64>,
    },
    /// The same of doubles.
    ExtremesDouble {
        /// Whether they are the greatest.
        top: bool,
        /// The values, the most extreme first.
        values: Vec<f64>,
    },
    /// A set of strings.
    Strings(std::collections::BTreeSet<String>),
    /// A set of paths.
    Paths(BoundedTrie),
    /// Counts per bucket.
    Histogram(Histogram),
    /// Shares of elements that are being processed, one per element: of bundles that run now, never of those that are done.
    Progress(Vec<f64>),
    /// A payload we do not merge: the last one stands.
    Opaque(Bytes),
}

impl MetricValue {
    /// Merges another value of the same metric into this one.
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Sum(a), Self::Sum(b)) => *a = a.wrapping_add(*b),
            (Self::SumDouble(a), Self::SumDouble(b)) => *a += b,
            (
                Self::Distribution { count, sum, min, max },
                Self::Distribution { count: c, sum: s, min: lo, max: hi },
            ) => {
                *count = count.saturating_add(*c);
                *sum = sum.wrapping_add(*s);
                *min = (*min).min(*lo);
                *max = (*max).max(*hi);
            }
            (
                Self::DistributionDouble { count, sum, min, max },
                Self::DistributionDouble { count: c, sum: s, min: lo, max: hi },
            ) => {
                *count = count.saturating_add(*c);
                *sum += s;
                *min = min.min(*lo);
                *max = max.max(*hi);
            }
            (Self::Latest { at, value }, Self::Latest { at: later, value: new }) => {
                if later >= at {
                    (*at, *value) = (*later, *new);
                }
            }
            (Self::LatestDouble { at, value }, Self::LatestDouble { at: later, value: new }) => {
                if later >= at {
                    (*at, *value) = (*later, *new);
                }
            }
            (Self::Extremes { top, values }, Self::Extremes { values: more, .. }) => {
                let keep = values.len().max(more.len());
                values.extend(more);
                values.sort_unstable_by(|a, b| if *top { b.cmp(a) } else { a.cmp(b) });
                values.truncate(keep);
            }
            (Self::ExtremesDouble { top, values }, Self::ExtremesDouble { values: more, .. }) => {
                let keep = values.len().max(more.len());
                values.extend(more);
                values.sort_unstable_by(|a, b| if *top { b.total_cmp(a) } else { a.total_cmp(b) });
                values.truncate(keep);
            }
            (Self::Strings(a), Self::Strings(b)) => a.extend(b.iter().cloned()),
            (Self::Paths(a), Self::Paths(b)) => a.merge(b),
            (Self::Histogram(a), Self::Histogram(b)) => a.merge(b),
            (Self::Progress(a), Self::Progress(b)) => a.extend(b),
            (this, other) => *this = other.clone(),
        }
    }
}

/// A bundle's metric deltas, or a job's sums.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Metrics(pub BTreeMap<MetricKey, MetricValue>);

impl Metrics {
    /// Merges one update.
    pub fn add(&mut self, key: &MetricKey, value: &MetricValue) {
        match self.0.get_mut(key) {
            Some(have) => have.merge(value),
            None => {
                self.0.insert(key.clone(), value.clone());
            }
        }
    }

    /// Merges all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (key, value) in &other.0 {
            self.add(key, value);
        }
    }

    /// Without what is true only of a bundle that runs.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.0.retain(|_, value| !matches!(value, MetricValue::Progress(_)));
        self
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(parts: &[MetricValue]) -> MetricValue {
        let mut parts = parts.iter();
        let mut all = parts.next().cloned().expect("a part");
        parts.for_each(|part| all.merge(part));
        all
    }

    #[test]
    fn the_latest_is_the_latest_whatever_comes_last() {
        let at = |at, value| MetricValue::LatestDouble { at, value };
        assert_eq!(sum(&[at(1, 0.5), at(3, 1.5), at(2, 9.0)]), at(3, 1.5));
    }

    #[test]
    fn extremes_keep_as_many_as_a_worker_sends() {
        let top = |values: &[i64]| MetricValue::Extremes { top: true, values: values.to_vec() };
        assert_eq!(sum(&[top(&[9, 7, 1]), top(&[8]), top(&[10, 2, 1])]), top(&[10, 9, 8]));
        let low = |values: &[f64]| MetricValue::ExtremesDouble { top: false, values: values.to_vec() };
        assert_eq!(sum(&[low(&[0.5, 2.0]), low(&[-1.0, 3.0])]), low(&[-1.0, 0.5]));
    }

    #[test]
    fn counts_of_distributions_end_at_the_greatest_number() {
        let of = |count| MetricValue::Distribution { count, sum: i64::MAX, min: 1, max: 1 };
        assert_eq!(sum(&[of(i64::MAX), of(1)]), MetricValue::Distribution { count: i64::MAX, sum: -2, min: 1, max: 1 });
        let of = |count| MetricValue::DistributionDouble { count, sum: 1.0, min: 1.0, max: 1.0 };
        let all = MetricValue::DistributionDouble { count: i64::MAX, sum: 2.0, min: 1.0, max: 1.0 };
        assert_eq!(sum(&[of(i64::MAX), of(1)]), all);
    }

    #[test]
    fn distributions_of_doubles_are_added_up() {
        let of = |count, sum, min, max| MetricValue::DistributionDouble { count, sum, min, max };
        assert_eq!(sum(&[of(1, 2.0, 2.0, 2.0), of(2, 1.0, -1.0, 2.5)]), of(3, 3.0, -1.0, 2.5));
    }
}
