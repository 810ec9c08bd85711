//! Histograms: counts of observations per bucket.
//!
//! In: histograms of bundles. Out: their sum, where the buckets are the same. Source: `HistogramValue` of `metrics.proto`.

/// How values are assigned to buckets.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Buckets {
    /// Of equal width.
    Linear {
        /// How many.
        number: i32,
        /// How wide each is.
        width: f64,
        /// Where the first begins.
        start: f64,
    },
    /// Of a width that grows by powers of two.
    Exponential {
        /// How many.
        number: i32,
        /// Buckets per power of two, as a power of two.
        scale: i32,
    },
}

/// A histogram.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Histogram {
    /// Number of observations.
    pub count: i64,
    /// The buckets; `None` where the worker does not say.
    pub buckets: Option<Buckets>,
    /// Observations per bucket; missing ones at the end are 0.
    pub counts: Vec<i64>,
}

impl Histogram {
    /// Adds the observations of `other`. Where its buckets are others, those of this one stay, and the observations are only
    /// counted.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        if self.counts.is_empty() {
            self.buckets = other.buckets.or(self.buckets);
        }
        if other.counts.is_empty() || self.buckets != other.buckets {
            return;
        }
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        for (have, more) in self.counts.iter_mut().zip(&other.counts) {
            *have = have.saturating_add(*more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(counts: &[i64], width: f64) -> Histogram {
        let buckets = Some(Buckets::Linear { number: 4, width, start: 0.0 });
        Histogram { count: counts.iter().sum(), buckets, counts: counts.to_vec() }
    }

    #[test]
    fn equal_buckets_are_added_up_and_others_only_counted() {
        let mut all = Histogram::default();
        all.merge(&linear(&[1, 2], 5.0));
        all.merge(&linear(&[0, 1, 7], 5.0));
        assert_eq!(all, linear(&[1, 3, 7], 5.0));
        all.merge(&linear(&[1, 1], 2.0));
        assert_eq!(all, Histogram { count: 13, ..linear(&[1, 3, 7], 5.0) });
    }
}
