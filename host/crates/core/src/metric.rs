//! Ground floor: metric cells as workers report them and as the job sums them up.
//!
//! A metric is named by its URN and labels, as in Beam's `MonitoringInfo`. Updates of a bundle are deltas: they are merged
//! into *attempted* whatever becomes of the bundle, and into *committed* when its epoch is.

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
    /// The value set last, with the time it was set in milliseconds.
    Latest {
        /// When.
        at: i64,
        /// What.
        value: i64,
    },
    /// A set of strings.
    Strings(std::collections::BTreeSet<String>),
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
                *count += c;
                *sum = sum.wrapping_add(*s);
                *min = (*min).min(*lo);
                *max = (*max).max(*hi);
            }
            (Self::Latest { at, value }, Self::Latest { at: later, value: new }) if later >= at => {
                *at = *later;
                *value = *new;
            }
            (Self::Latest { .. }, Self::Latest { .. }) => {}
            (Self::Strings(a), Self::Strings(b)) => a.extend(b.iter().cloned()),
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

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
