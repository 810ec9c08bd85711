//! The records of an epoch, as they are stored until they are delivered.
//!
//! `format (1) = 2`, then per record `parts | key | value | those parts that are there: topic, partition, timestamp, headers`. Parts are a
//! byte of bits; key, value and topic are `length + 1 (varint), bytes`, or 0 for null; numbers are varints; headers are their
//! count and for each its name and value. Format 1, of earlier versions, is `key | value` per record alone.

use bytes::Bytes;
use std::sync::Arc;
use thalweg_core::coder::{read_varint, take, write_varint};
use thalweg_core::error::{Error, Result};
use thalweg_core::port::log::LogRecord;

const FORMAT: u8 = 2;
const FORMAT_PLAIN: u8 = 1;

const TOPIC: u8 = 1;
const PARTITION: u8 = 2;
const TIMESTAMP: u8 = 4;
const HEADERS: u8 = 8;

/// Text in an outbox.
pub(super) type Text<'a> = &'a str;

/// A record to be written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct OutRecord<'a> {
    pub key: Option<&'a [u8]>,
    /// None makes a tombstone.
    pub value: Option<&'a [u8]>,
    /// Another topic than the sink's.
    pub topic: Option<Text<'a>>,
    /// Where the key does not choose.
    pub partition: Option<i32>,
    /// Milliseconds; the client's clock without it.
    pub timestamp: Option<i64>,
    pub headers: Vec<(Text<'a>, Option<&'a [u8]>)>,
}

impl OutRecord<'_> {
    /// A record of its own, for a place of the commit authority's log.
    pub(super) fn owned(&self, topic: Arc<str>, partition: u32) -> LogRecord {
        let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        LogRecord {
            topic,
            partition,
            key: copy(self.key),
            value: copy(self.value),
            headers: self.headers.iter().map(|(name, value)| (Arc::from(*name), copy(*value))).collect(),
            timestamp_ms: self.timestamp,
        }
    }
}

/// Gathers records.
#[derive(Debug)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Outbox {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes: vec![FORMAT], bytes_max }
    }

    /// Appends a record.
    ///
    /// # Errors
    /// `KAFKA_OUTBOX_FULL` when the epoch's records need more than the bound.
    pub(super) fn push(&mut self, record: &OutRecord<'_>) -> Result<()> {
        let bit = |bit: u8, there: bool| if there { bit } else { 0 };
        self.bytes.push(
            bit(TOPIC, record.topic.is_some())
                | bit(PARTITION, record.partition.is_some())
                | bit(TIMESTAMP, record.timestamp.is_some())
                | bit(HEADERS, !record.headers.is_empty()),
        );
        self.part(record.key);
        self.part(record.value);
        if let Some(topic) = record.topic {
            self.part(Some(topic.as_bytes()));
        }
        if let Some(partition) = record.partition {
            write_varint(&mut self.bytes, u64::from(partition.unsigned_abs()));
        }
        if let Some(timestamp) = record.timestamp {
            write_varint(&mut self.bytes, timestamp as u64);
        }
        if !record.headers.is_empty() {
            write_varint(&mut self.bytes, record.headers.len() as u64);
            for (name, value) in &record.headers {
                self.part(Some(name.as_bytes()));
                self.part(*value);
            }
        }
        if self.bytes.len() > self.bytes_max {
            let what = format!("the records of one epoch for Kafka are more than {} bytes", self.bytes_max);
            return Err(Error::user("KAFKA_OUTBOX_FULL", what)
                .help("shorten the epoch, or raise outbox_bytes_max (records are kept in memory and in the state until delivered)"));
        }
        Ok(())
    }

    fn part(&mut self, part: Option<&[u8]>) {
        write_varint(&mut self.bytes, part.map_or(0, |p| p.len() as u64 + 1));
        self.bytes.extend_from_slice(part.unwrap_or_default());
    }

    /// The bytes; none when there are no records.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (self.bytes.len() > 1).then_some(self.bytes)
    }
}

/// Reads an outbox.
///
/// # Errors
/// `KAFKA_OUTBOX_CORRUPT`.
pub(super) fn records(outbox: &[u8]) -> Result<Vec<OutRecord<'_>>> {
    let corrupt = || Error::internal("KAFKA_OUTBOX_CORRUPT", "a stored outbox is not readable");
    let (format, rest) = outbox.split_first().ok_or_else(corrupt)?;
    if ![FORMAT, FORMAT_PLAIN].contains(format) {
        return Err(corrupt());
    }
    let mut reader = Reader { rest, plain: *format == FORMAT_PLAIN };
    let mut found = Vec::new();
    while !reader.rest.is_empty() {
        found.push(reader.record().ok_or_else(corrupt)?);
    }
    Ok(found)
}

/// Reads the records of an outbox one after the other; `None` where it is cut off.
struct Reader<'a> {
    rest: &'a [u8],
    plain: bool,
}

impl<'a> Reader<'a> {
    fn record(&mut self) -> Option<OutRecord<'a>> {
        let mut parts = 0;
        if !self.plain {
            let (first, rest) = self.rest.split_first()?;
            (parts, self.rest) = (*first, rest);
        }
        let has = |bit: u8| parts & bit != 0;
        let mut record = OutRecord { key: self.part()?, value: self.part()?, ..OutRecord::default() };
        if has(TOPIC) {
            record.topic = Some(self.text()?);
        }
        if has(PARTITION) {
            record.partition = Some(i32::try_from(self.number()?).ok()?);
        }
        if has(TIMESTAMP) {
            record.timestamp = Some(self.number()? as i64);
        }
        if has(HEADERS) {
            for _ in 0..self.number()? {
                record.headers.push((self.text()?, self.part()?));
            }
        }
        Some(record)
    }

    fn number(&mut self) -> Option<u64> {
        let (n, rest) = read_varint(self.rest).ok()?;
        self.rest = rest;
        Some(n)
    }

    fn part(&mut self) -> Option<Option<&'a [u8]>> {
        let Some(n) = self.number()?.checked_sub(1) else { return Some(None) };
        let (bytes, rest) = take(self.rest, usize::try_from(n).ok()?).ok()?;
        self.rest = rest;
        Some(Some(bytes))
    }

    fn text(&mut self) -> Option<Text<'a>> {
        std::str::from_utf8(self.part()??).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain<'a>(key: Option<&'a [u8]>, value: &'a [u8]) -> OutRecord<'a> {
        OutRecord { key, value: Some(value), ..OutRecord::default() }
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut outbox = Outbox::new(1000);
        let long = vec![7u8; 300];
        let written = [
            plain(Some(b"k"), b"v"),
            plain(None, b""),
            OutRecord { key: Some(b"gone"), ..OutRecord::default() },
            OutRecord {
                topic: Some("t"),
                partition: Some(3),
                timestamp: Some(1000),
                headers: vec![("h", Some(b"x")), ("none", None)],
                ..plain(Some(b""), &long)
            },
        ];
        for record in &written {
            outbox.push(record).expect("room");
        }
        let bytes = outbox.finish().expect("records");
        assert_eq!(&bytes[..9], b"\x02\x00\x02k\x02v\x00\x00\x01"); // frozen
        assert_eq!(records(&bytes), Ok(written.to_vec()));
        assert_eq!(Outbox::new(10).finish(), None);
        for cut in 2..bytes.len() {
            let read = records(&bytes[..cut]);
            assert!(read.is_err() || read.is_ok_and(|r| r == written[..r.len()]), "{cut}");
        }
        assert!(records(b"").is_err() && records(b"\x03").is_err() && records(b"\x02\x00\x01").is_err());
    }

    #[test]
    fn what_an_earlier_version_stored_is_read() {
        let stored = b"\x01\x02k\x02v\x00\x01";
        assert_eq!(records(stored), Ok(vec![plain(Some(b"k"), b"v"), plain(None, b"")]));
    }

    #[test]
    fn an_epoch_has_a_bound() {
        let error = Outbox::new(10).push(&plain(None, &[0; 20])).expect_err("too much");
        assert_eq!(error.code, "KAFKA_OUTBOX_FULL");
    }
}
