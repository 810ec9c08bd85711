//! Metrics of guests. In: what calls add to them. Out: metrics as the job knows them. Each name is an entry that the job keeps and reports for as long as
//! it runs, so a step has so many and no more.

use crate::frame::MetricDelta;
use std::collections::{BTreeMap, BTreeSet};
use thalweg_core::metric::{MetricKey, MetricValue};

/// Most metrics of a step over the life of a job: as many as one call may report.
const NAMES_MAX: usize = 1000;

/// The metrics that a step has reported.
#[derive(Default, Debug)]
pub struct Names {
    counters: BTreeSet<String>,
    distributions: BTreeSet<String>,
    /// What came after the last name that was taken.
    dropped: u64,
}

impl Names {
    /// Whether a delta counts: it is of a metric that is known, or there is room for one more. What does not is told once.
    pub fn admits(&mut self, transform: &str, delta: &MetricDelta) -> bool {
        let count = self.counters.len() + self.distributions.len();
        let (names, name) = match delta {
            MetricDelta::Counter { name, .. } => (&mut self.counters, name),
            MetricDelta::Distribution { name, .. } => (&mut self.distributions, name),
        };
        if names.contains(name) {
            return true;
        }
        if count < NAMES_MAX {
            return names.insert(name.clone());
        }
        self.dropped += 1;
        if self.dropped == 1 {
            tracing::warn!(target: "thalweg::udf", transform, "it has more than {NAMES_MAX} metrics: further ones are dropped");
        }
        false
    }
}

/// A metric as the job knows it. The namespace of every guest's metric is `udf`.
pub fn metric(transform: &str, delta: MetricDelta) -> (MetricKey, MetricValue) {
    let (urn, kind, name, value) = match delta {
        MetricDelta::Counter { name, value } => {
            ("beam:metric:user:sum_int64:v1", "beam:metrics:sum_int64:v1", name, MetricValue::Sum(value))
        }
        MetricDelta::Distribution { name, values: [count, sum, min, max] } => (
            "beam:metric:user:distribution_int64:v1",
            "beam:metrics:distribution_int64:v1",
            name,
            MetricValue::Distribution { count, sum, min, max },
        ),
    };
    let labels = [("PTRANSFORM", transform.to_owned()), ("NAMESPACE", "udf".to_owned()), ("NAME", name)];
    let labels: BTreeMap<_, _> = labels.into_iter().map(|(label, text)| (label.to_owned(), text)).collect();
    (MetricKey { urn: urn.to_owned(), kind: kind.to_owned(), labels }, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_so_many_metrics_whatever_its_calls_name() {
        let mut names = Names::default();
        let counter = |i: usize| MetricDelta::Counter { name: format!("n{i}"), value: 1 };
        let distribution = MetricDelta::Distribution { name: "n0".into(), values: [1; 4] };
        assert!(names.admits("T", &distribution), "a metric of another kind is another one");
        let admitted = (0..3 * NAMES_MAX).filter(|i| names.admits("T", &counter(*i))).count();
        assert_eq!((admitted, names.dropped), (NAMES_MAX - 1, 2 * NAMES_MAX as u64 + 1));
        assert!(names.admits("T", &counter(0)) && names.admits("T", &distribution), "those that are known go on");
    }
}
