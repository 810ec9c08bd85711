//! Metrics of bundles: short ids resolved, payloads turned into the engine's values.
//!
//! A worker names a metric by number once it has told what the number means; the answer is kept for the life of the
//! session, so that a bundle's metrics cost one look-up each. Source: `MonitoringInfosMetadataResponse`.
//!
//! What a worker tells of a bundle are totals, but not always all of them: see [`Told`].

use super::lock;
use crate::metrics;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use thalweg_core::metric::{MetricKey, Metrics};
use thalweg_proto::pipeline::MonitoringInfo;

/// How many elements a data source has read, counted from zero: the progress of a bundle.
const READ_INDEX: &str = "beam:metric:data_channel:read_index:v1";

/// What the worker's short ids mean; `None` for a metric we do not keep.
#[derive(Default)]
pub(super) struct ShortIds {
    known: Mutex<HashMap<String, Option<MetricKey>>>,
}

impl ShortIds {
    /// The ids that are not known yet.
    pub fn unknown(&self, data: &BTreeMap<String, Bytes>) -> Vec<String> {
        let known = lock(&self.known);
        data.keys().filter(|id| !known.contains_key(*id)).cloned().collect()
    }

    /// Notes what ids mean.
    pub fn learn(&self, infos: BTreeMap<String, MonitoringInfo>) {
        let mut known = lock(&self.known);
        known.extend(infos.into_iter().map(|(id, info)| (id, metrics::key(&info))));
    }

    /// How many elements a bundle has taken, and its metrics so far: by short id where there are any, else in full.
    pub fn metrics(&self, data: &BTreeMap<String, Bytes>, infos: &[MonitoringInfo]) -> (u64, Metrics) {
        let mut all = Metrics::default();
        let mut consumed = 0;
        let mut take = |key: &MetricKey, payload: &Bytes| {
            let Some(value) = metrics::value(&key.kind, payload) else { return };
            if key.urn == READ_INDEX {
                consumed = consumed.max(read_index(&value));
            }
            all.add(key, &value);
        };
        let known = lock(&self.known);
        let resolved = !data.is_empty() && data.keys().all(|id| known.contains_key(id));
        if resolved || infos.is_empty() {
            for (id, payload) in data {
                if let Some(Some(key)) = known.get(id) {
                    take(key, payload);
                }
            }
        } else {
            for info in infos {
                if let Some(key) = metrics::key(info) {
                    take(&key, &info.payload);
                }
            }
        }
        (consumed, all)
    }
}

/// What a worker has told of a bundle's metrics so far, and whether it is asked for more.
///
/// Java's harness leaves out of every answer, also of the last one, what is as the answer before said. Source: its
/// `BundleProgressReporter`s, e.g. `Metrics.BundleProcessingThreadCounter`.
#[derive(Default)]
pub(super) struct Told {
    /// By short id, the latest.
    data: Mutex<BTreeMap<String, Bytes>>,
    asked: AtomicBool,
}

impl Told {
    /// Whether to ask how far the bundle is: not while an earlier question is open, since a worker that does not answer would be
    /// asked again and again.
    pub fn may_ask(&self) -> bool {
        !self.asked.swap(true, Ordering::Relaxed)
    }

    /// The question is answered, in whatever way.
    pub fn answered(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// Takes an answer's metrics by short id; gives all that hold by now. Nothing is left out where the answer has `infos` in full.
    pub fn all(&self, answer: BTreeMap<String, Bytes>, infos: &[MonitoringInfo]) -> BTreeMap<String, Bytes> {
        if !infos.is_empty() {
            return answer;
        }
        let mut data = lock(&self.data);
        data.extend(answer);
        data.clone()
    }
}

/// Elements taken: the index of the last one read and one more; -1 says that none was.
fn read_index(value: &thalweg_core::metric::MetricValue) -> u64 {
    match value {
        thalweg_core::metric::MetricValue::Sum(index) => u64::try_from(index.saturating_add(1)).unwrap_or(0),
        _ => 0,
    }
}
