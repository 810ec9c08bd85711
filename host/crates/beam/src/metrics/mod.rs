//! Metrics: Beam's `MonitoringInfo`s to and from the engine's.
//!
//! Payloads are encoded as `metrics.proto` says of each type: integers as varints, doubles in eight bytes, sets and lists as
//! iterables, tries and histograms as messages. Types we do not know pass through as they are.

mod message;

use crate::error::Result;
use crate::urn::metric as urn;
use bytes::Bytes;
use thalweg_core::coder::{read_varint, take, take_prefixed, write_varint};
use thalweg_core::error::{Domain, Error};
use thalweg_core::metric::{MetricKey, MetricValue, Metrics};
use thalweg_proto::pipeline::MonitoringInfo;

/// The metric of a worker's report; `None` for one without a name.
#[must_use]
pub fn key(info: &MonitoringInfo) -> Option<MetricKey> {
    let key = MetricKey { urn: info.urn.clone(), kind: info.r#type.clone(), labels: info.labels.clone() };
    (!info.urn.is_empty()).then_some(key)
}

/// The value of a worker's report; `None` where the payload is not of its type.
#[must_use]
pub fn value(kind: &str, payload: &Bytes) -> Option<MetricValue> {
    decode(kind, payload).ok()
}

/// The reports of all metrics.
#[must_use]
pub fn to_infos(metrics: &Metrics) -> Vec<MonitoringInfo> {
    metrics.0.iter().map(|(key, value)| to_info(key, value)).collect()
}

/// The report of a metric.
#[must_use]
pub fn to_info(key: &MetricKey, value: &MetricValue) -> MonitoringInfo {
    MonitoringInfo {
        urn: key.urn.clone(),
        r#type: key.kind.clone(),
        payload: encode(value),
        labels: key.labels.clone(),
        start_time: None,
    }
}

/// Decodes the payload of a metric of a type. Workers that use short ids send it alone.
///
/// # Errors
/// `CODER_MALFORMED` when it is not of that type.
pub fn decode(kind: &str, payload: &Bytes) -> Result<MetricValue> {
    let bytes = payload.as_ref();
    Ok(match kind {
        urn::SUM_INT64 => MetricValue::Sum(integers::<1>(bytes)?[0]),
        urn::LATEST_INT64 => {
            let [at, value] = integers(bytes)?;
            MetricValue::Latest { at, value }
        }
        urn::DISTRIBUTION_INT64 => {
            let [count, sum, min, max] = integers(bytes)?;
            MetricValue::Distribution { count, sum, min, max }
        }
        urn::SUM_DOUBLE => MetricValue::SumDouble(double(bytes)?.0),
        urn::DISTRIBUTION_DOUBLE => {
            let (count, rest) = read_varint(bytes)?;
            let (sum, rest) = double(rest)?;
            let (min, rest) = double(rest)?;
            MetricValue::DistributionDouble { count: count.cast_signed(), sum, min, max: double(rest)?.0 }
        }
        urn::LATEST_DOUBLE => {
            let (at, rest) = read_varint(bytes)?;
            MetricValue::LatestDouble { at: at.cast_signed(), value: double(rest)?.0 }
        }
        urn::TOP_N_INT64 | urn::BOTTOM_N_INT64 => {
            MetricValue::Extremes { top: kind == urn::TOP_N_INT64, values: iterable(bytes, integer)? }
        }
        urn::TOP_N_DOUBLE | urn::BOTTOM_N_DOUBLE => {
            MetricValue::ExtremesDouble { top: kind == urn::TOP_N_DOUBLE, values: iterable(bytes, double)? }
        }
        urn::PROGRESS => MetricValue::Progress(iterable(bytes, double)?),
        urn::BOUNDED_TRIE => MetricValue::Paths(message::trie(payload)?),
        urn::HISTOGRAM_INT64 => MetricValue::Histogram(message::histogram(payload)?),
        urn::SET_STRING => MetricValue::Strings(iterable(bytes, string)?.into_iter().collect()),
        _ => MetricValue::Opaque(payload.clone()),
    })
}

/// Encodes the payload of a metric.
#[must_use]
pub fn encode(value: &MetricValue) -> Bytes {
    let mut out = Vec::new();
    let mut integers = |of: &[i64]| of.iter().for_each(|n| write_varint(&mut out, n.cast_unsigned()));
    match value {
        MetricValue::Sum(sum) => integers(&[*sum]),
        MetricValue::Latest { at, value } => integers(&[*at, *value]),
        MetricValue::Distribution { count, sum, min, max } => integers(&[*count, *sum, *min, *max]),
        MetricValue::SumDouble(sum) => out.extend_from_slice(&sum.to_be_bytes()),
        MetricValue::DistributionDouble { count, sum, min, max } => {
            integers(&[*count]);
            [sum, min, max].into_iter().for_each(|n| out.extend_from_slice(&n.to_be_bytes()));
        }
        MetricValue::LatestDouble { at, value } => {
            integers(&[*at]);
            out.extend_from_slice(&value.to_be_bytes());
        }
        MetricValue::Extremes { values, .. } => {
            write_count(&mut out, values.len());
            values.iter().for_each(|n| write_varint(&mut out, n.cast_unsigned()));
        }
        MetricValue::ExtremesDouble { values, .. } | MetricValue::Progress(values) => {
            write_count(&mut out, values.len());
            values.iter().for_each(|n| out.extend_from_slice(&n.to_be_bytes()));
        }
        MetricValue::Paths(trie) => return message::write_trie(trie),
        MetricValue::Histogram(histogram) => return message::write_histogram(histogram),
        MetricValue::Strings(strings) => {
            write_count(&mut out, strings.len());
            for text in strings {
                write_varint(&mut out, text.len() as u64);
                out.extend_from_slice(text.as_bytes());
            }
        }
        MetricValue::Opaque(payload) => return payload.clone(),
    }
    Bytes::from(out)
}

fn integers<const N: usize>(mut bytes: &[u8]) -> Result<[i64; N]> {
    let mut out = [0; N];
    for place in &mut out {
        let (n, rest) = read_varint(bytes)?;
        *place = n.cast_signed();
        bytes = rest;
    }
    Ok(out)
}

fn integer(bytes: &[u8]) -> Result<(i64, &[u8])> {
    read_varint(bytes).map(|(n, rest)| (n.cast_signed(), rest))
}

fn double(bytes: &[u8]) -> Result<(f64, &[u8])> {
    let (taken, rest) = take(bytes, 8)?;
    let mut raw = [0; 8];
    raw.copy_from_slice(taken);
    Ok((f64::from_be_bytes(raw), rest))
}

fn write_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u32).to_be_bytes());
}

/// Reads an iterable: how many, then one after the other.
fn iterable<T>(bytes: &[u8], read: impl Fn(&[u8]) -> Result<(T, &[u8])>) -> Result<Vec<T>> {
    let (count, mut rest) = take(bytes, 4)?;
    let mut raw = [0; 4];
    raw.copy_from_slice(count);
    let mut out = Vec::new();
    for _ in 0..u32::from_be_bytes(raw) {
        let (value, after) = read(rest)?;
        out.push(value);
        rest = after;
    }
    Ok(out)
}

fn string(bytes: &[u8]) -> Result<(String, &[u8])> {
    let (text, rest) = take_prefixed(bytes)?;
    let text = std::str::from_utf8(text)
        .map_err(|_| Error::new("CODER_MALFORMED", Domain::Guest, "a metric's string is not UTF-8"))?;
    Ok((text.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::metric::{BoundedTrie, Buckets, Histogram, TrieNode};

    fn trie() -> BoundedTrie {
        let mut root = TrieNode::default();
        root.add(["gs://", "bucket", "a"]);
        root.add(["gs://", "bucket", "b"]);
        BoundedTrie { bound: 100, root: Some(root) }
    }

    fn histogram() -> Histogram {
        let buckets = Some(Buckets::Exponential { number: 20, scale: -3 });
        Histogram { count: 3, buckets, counts: vec![0, 1, 2] }
    }

    #[test]
    fn a_single_path_is_a_trie() -> Result<()> {
        // bound 7, singleton a, b
        let read = decode(urn::BOUNDED_TRIE, &Bytes::from_static(b"\x08\x07\x1a\x01a\x1a\x01b"))?;
        let mut root = TrieNode::default();
        root.add(["a", "b"]);
        assert_eq!(read, MetricValue::Paths(BoundedTrie { bound: 7, root: Some(root) }));
        Ok(())
    }

    #[test]
    fn payloads_come_back() -> Result<()> {
        let values = [
            (urn::SUM_INT64, MetricValue::Sum(-3)),
            (urn::SUM_DOUBLE, MetricValue::SumDouble(2.5)),
            (urn::LATEST_INT64, MetricValue::Latest { at: 1_700_000_000_000, value: 7 }),
            (urn::DISTRIBUTION_INT64, MetricValue::Distribution { count: 2, sum: 300, min: -1, max: 301 }),
            (urn::SET_STRING, MetricValue::Strings(["a".to_owned(), "ß".to_owned()].into())),
            (urn::DISTRIBUTION_DOUBLE, MetricValue::DistributionDouble { count: 2, sum: 0.5, min: -1.5, max: 2.0 }),
            (urn::LATEST_DOUBLE, MetricValue::LatestDouble { at: 1_700_000_000_000, value: -0.25 }),
            (urn::TOP_N_INT64, MetricValue::Extremes { top: true, values: vec![300, 2, -1] }),
            (urn::BOTTOM_N_DOUBLE, MetricValue::ExtremesDouble { top: false, values: vec![-1.0, 2.5] }),
            (urn::PROGRESS, MetricValue::Progress(vec![0.5, 7.0])),
            (urn::BOUNDED_TRIE, MetricValue::Paths(trie())),
            (urn::HISTOGRAM_INT64, MetricValue::Histogram(histogram())),
            ("beam:metrics:unheard_of:v1", MetricValue::Opaque(Bytes::from_static(b"any"))),
        ];
        for (kind, value) in values {
            assert_eq!(decode(kind, &encode(&value))?, value);
        }
        Ok(())
    }

    #[test]
    fn cut_off_payloads_are_errors() {
        for kind in [urn::SUM_INT64, urn::SUM_DOUBLE, urn::DISTRIBUTION_INT64, urn::SET_STRING] {
            assert!(decode(kind, &Bytes::from_static(b"\x80")).is_err(), "{kind}");
        }
    }
}
