//! Metrics: Beam's `MonitoringInfo`s to and from the engine's.
//!
//! Payloads are encoded as `metrics.proto` says of each type: integers as varints, doubles in eight bytes, sets as
//! iterables. Types we do not merge pass through as they are.

use crate::error::Result;
use crate::urn::metric as urn;
use bytes::Bytes;
use std::collections::BTreeSet;
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
        urn::SUM_DOUBLE => {
            let mut raw = [0; 8];
            raw.copy_from_slice(take(bytes, 8)?.0);
            MetricValue::SumDouble(f64::from_be_bytes(raw))
        }
        urn::SET_STRING => MetricValue::Strings(strings(bytes)?),
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
        MetricValue::Strings(strings) => {
            out.extend_from_slice(&(strings.len() as u32).to_be_bytes());
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

fn strings(bytes: &[u8]) -> Result<BTreeSet<String>> {
    let (count, mut rest) = take(bytes, 4)?;
    let mut raw = [0; 4];
    raw.copy_from_slice(count);
    let mut out = BTreeSet::new();
    for _ in 0..u32::from_be_bytes(raw) {
        let (text, after) = take_prefixed(rest)?;
        let text = std::str::from_utf8(text);
        out.insert(
            text.map_err(|_| Error::new("CODER_MALFORMED", Domain::Guest, "a metric's string is not UTF-8"))?
                .to_owned(),
        );
        rest = after;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_come_back() -> Result<()> {
        let values = [
            (urn::SUM_INT64, MetricValue::Sum(-3)),
            (urn::SUM_DOUBLE, MetricValue::SumDouble(2.5)),
            (urn::LATEST_INT64, MetricValue::Latest { at: 1_700_000_000_000, value: 7 }),
            (urn::DISTRIBUTION_INT64, MetricValue::Distribution { count: 2, sum: 300, min: -1, max: 301 }),
            (urn::SET_STRING, MetricValue::Strings(["a".to_owned(), "ß".to_owned()].into())),
            ("beam:metrics:histogram_int64:v1", MetricValue::Opaque(Bytes::from_static(b"any"))),
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
