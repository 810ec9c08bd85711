//! Values of the log's column family: topics, partitions and records. The first byte of each is its format.

use super::keys::TopicId;
use thalweg_core::coder::{read_varint, take, write_varint};
use thalweg_core::port::log::{Bounds, LogRecord, LogView, TopicConfig};

const FORMAT: u8 = 1;

const KEY: u8 = 1;
const VALUE: u8 = 2;
const HEADERS: u8 = 4;

/// A topic: `format (1) | id (4) | partitions (4) | compact (1) | retention in milliseconds, or -1 (8) | in bytes, or -1 (8)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TopicCell {
    pub id: TopicId,
    pub config: TopicConfig,
}

impl TopicCell {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(&self.config.partitions.to_be_bytes());
        bytes.push(u8::from(self.config.compact));
        bytes.extend_from_slice(&self.config.retention_ms.unwrap_or(-1).to_be_bytes());
        let size = self.config.retention_bytes.and_then(|n| i64::try_from(n).ok());
        bytes.extend_from_slice(&size.unwrap_or(-1).to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (FORMAT, rest) = bytes.split_first().map(|(f, rest)| (*f, rest))? else { return None };
        let (id, rest) = rest.split_first_chunk::<4>()?;
        let (partitions, rest) = rest.split_first_chunk::<4>()?;
        let (compact, rest) = rest.split_first()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let size = u64::try_from(i64::from_be_bytes(rest.try_into().ok()?)).ok();
        let time = Some(i64::from_be_bytes(*time)).filter(|ms| *ms >= 0);
        Some(Self {
            id: u32::from_be_bytes(*id),
            config: TopicConfig {
                partitions: u32::from_be_bytes(*partitions),
                compact: *compact == 1,
                retention_ms: time,
                retention_bytes: size,
            },
        })
    }
}

/// Two numbers or three, as they stand in the cells of partitions and of last records.
pub(super) fn numbers<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let mut rest = bytes;
    let mut found = [0; N];
    for n in &mut found {
        let (first, tail) = rest.split_first_chunk::<8>()?;
        (*n, rest) = (u64::from_be_bytes(*first), tail);
    }
    rest.is_empty().then_some(found)
}

pub(super) fn encode_bounds(bounds: &Bounds) -> Vec<u8> {
    [bounds.start, bounds.end, bounds.bytes].iter().flat_map(|n| n.to_be_bytes()).collect()
}

pub(super) fn decode_bounds(bytes: &[u8]) -> Option<Bounds> {
    let [start, end, bytes] = numbers(bytes)?;
    Some(Bounds { start, end, bytes })
}

/// A record: `format (1) | parts (1) | appended (8) | timestamp (8) | key | headers | value`. Parts are bits; the key is its length and
/// its bytes, headers are their count and for each its name and value, `length + 1` or 0 for null; lengths are varints; the value is the rest.
pub(super) fn encode_record(record: &LogRecord, now_ms: i64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(record.weight() + 24);
    let bit = |bit: u8, there: bool| if there { bit } else { 0 };
    bytes.push(FORMAT);
    bytes.push(
        bit(KEY, record.key.is_some()) | bit(VALUE, record.value.is_some()) | bit(HEADERS, !record.headers.is_empty()),
    );
    bytes.extend_from_slice(&now_ms.to_be_bytes());
    bytes.extend_from_slice(&record.timestamp_ms.unwrap_or(now_ms).to_be_bytes());
    if let Some(key) = &record.key {
        write_varint(&mut bytes, key.len() as u64);
        bytes.extend_from_slice(key);
    }
    if !record.headers.is_empty() {
        write_varint(&mut bytes, record.headers.len() as u64);
        for (name, value) in &record.headers {
            write_varint(&mut bytes, name.len() as u64);
            bytes.extend_from_slice(name.as_bytes());
            write_varint(&mut bytes, value.as_ref().map_or(0, |v| v.len() as u64 + 1));
            bytes.extend_from_slice(value.as_deref().unwrap_or_default());
        }
    }
    bytes.extend_from_slice(record.value.as_deref().unwrap_or_default());
    bytes
}

/// When a record was appended, in milliseconds.
pub(super) fn appended_ms(record: &[u8]) -> Option<i64> {
    let (time, _) = record.get(2..)?.split_first_chunk::<8>()?;
    Some(i64::from_be_bytes(*time))
}

/// Reads a record.
pub(super) fn decode_record(offset: u64, bytes: &[u8]) -> Option<LogView<'_>> {
    let ([FORMAT, parts], rest) = bytes.split_first_chunk::<2>()? else { return None };
    let (_, rest) = rest.split_first_chunk::<8>()?;
    let (time, mut rest) = rest.split_first_chunk::<8>()?;
    let mut view =
        LogView { offset, timestamp_ms: i64::from_be_bytes(*time), key: None, value: None, headers: Vec::new() };
    if parts & KEY != 0 {
        view.key = Some(part(&mut rest)?);
    }
    if parts & HEADERS != 0 {
        for _ in 0..number(&mut rest)? {
            let name = std::str::from_utf8(part(&mut rest)?).ok()?;
            let value = match number(&mut rest)?.checked_sub(1) {
                None => None,
                Some(length) => Some(sized(&mut rest, length)?),
            };
            view.headers.push((name, value));
        }
    }
    view.value = (parts & VALUE != 0).then_some(rest);
    Some(view)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (n, after) = read_varint(rest).ok()?;
    *rest = after;
    Some(n)
}

fn sized<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (bytes, after) = take(rest, usize::try_from(length).ok()?).ok()?;
    *rest = after;
    Some(bytes)
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)?;
    sized(rest, length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::Arc;

    fn record() -> LogRecord {
        LogRecord {
            topic: "t".into(),
            partition: 0,
            key: Some(Bytes::from("k")),
            value: Some(Bytes::from("value")),
            headers: vec![(Arc::from("h"), Some(Bytes::from("x"))), (Arc::from("none"), None)],
            timestamp_ms: Some(258),
        }
    }

    #[test]
    fn records_are_read_as_they_were_written_and_their_bytes_are_frozen() {
        let bytes = encode_record(&record(), 7);
        assert_eq!(bytes, b"\x01\x07\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\x01\x02\x01k\x02\x01h\x02x\x04none\0value");
        let view = decode_record(9, &bytes).expect("a record");
        assert_eq!((view.offset, view.timestamp_ms), (9, 258));
        assert_eq!((view.key, view.value), (Some(&b"k"[..]), Some(&b"value"[..])));
        assert_eq!(view.headers, [("h", Some(&b"x"[..])), ("none", None)]);
        assert_eq!(appended_ms(&bytes), Some(7));
        let bare = LogRecord { key: None, value: None, headers: Vec::new(), timestamp_ms: None, ..record() };
        let bytes = encode_record(&bare, 7);
        let view = decode_record(0, &bytes).expect("a record");
        assert_eq!((view.key, view.value, view.timestamp_ms), (None, None, 7));
    }

    #[test]
    fn cut_off_records_and_cells_are_noticed() {
        let bytes = encode_record(&record(), 7);
        for cut in 0..bytes.len() - b"value".len() {
            assert_eq!(decode_record(0, &bytes[..cut]), None, "{cut}");
        }
        let config = TopicConfig { partitions: 3, compact: true, retention_ms: None, retention_bytes: Some(5) };
        let cell = TopicCell { id: 2, config };
        assert_eq!(TopicCell::decode(&cell.encode()), Some(cell.clone()));
        assert_eq!(TopicCell::decode(&cell.encode()[..25]), None);
        let bounds = Bounds { start: 1, end: 2, bytes: 3 };
        assert_eq!(decode_bounds(&encode_bounds(&bounds)), Some(bounds));
        assert_eq!(decode_bounds(&[0; 23]), None);
    }
}
