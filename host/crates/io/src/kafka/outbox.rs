//! The records of an epoch, as they are stored until they are delivered.
//!
//! `format (1) = 1`, then per record `key | value`, each as `length + 1 (varint), bytes`, or 0 for null.

use thalweg_core::coder::{read_varint, take, write_varint};
use thalweg_core::error::{Error, Result};

const FORMAT: u8 = 1;

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
    pub(super) fn push(&mut self, key: Option<&[u8]>, value: &[u8]) -> Result<()> {
        for part in [key, Some(value)] {
            write_varint(&mut self.bytes, part.map_or(0, |p| p.len() as u64 + 1));
            self.bytes.extend_from_slice(part.unwrap_or_default());
        }
        if self.bytes.len() > self.bytes_max {
            let what = format!("the records of one epoch for Kafka are more than {} bytes", self.bytes_max);
            return Err(Error::user("KAFKA_OUTBOX_FULL", what)
                .help("shorten the epoch, or raise outbox_bytes_max (records are kept in memory and in the state until delivered)"));
        }
        Ok(())
    }

    /// The bytes; none when there are no records.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (self.bytes.len() > 1).then_some(self.bytes)
    }
}

/// Key and value of a record.
pub(super) type Record<'a> = (Option<&'a [u8]>, &'a [u8]);

/// Reads an outbox.
///
/// # Errors
/// `KAFKA_OUTBOX_CORRUPT`.
pub(super) fn records(outbox: &[u8]) -> Result<Vec<Record<'_>>> {
    let corrupt = || Error::internal("KAFKA_OUTBOX_CORRUPT", "a stored outbox is not readable");
    let Some((&FORMAT, mut rest)) = outbox.split_first() else { return Err(corrupt()) };
    let mut part = || -> Result<Option<Option<&[u8]>>> {
        if rest.is_empty() {
            return Ok(None);
        }
        let (n, after) = read_varint(rest).map_err(|_| corrupt())?;
        let Some(n) = n.checked_sub(1) else {
            rest = after;
            return Ok(Some(None));
        };
        let (bytes, after) = take(after, n as usize).map_err(|_| corrupt())?;
        rest = after;
        Ok(Some(Some(bytes)))
    };
    let mut found = Vec::new();
    while let Some(key) = part()? {
        let value = part()?.flatten().ok_or_else(corrupt)?;
        found.push((key, value));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut outbox = Outbox::new(1000);
        let long = vec![7u8; 300];
        let written: [Record<'_>; 3] = [(Some(b"k"), b"v"), (None, b""), (Some(b""), &long)];
        for (key, value) in written {
            outbox.push(key, value).expect("room");
        }
        let bytes = outbox.finish().expect("records");
        assert_eq!(&bytes[..7], b"\x01\x02k\x02v\x00\x01"); // frozen
        assert_eq!(records(&bytes), Ok(written.to_vec()));
        assert_eq!(Outbox::new(10).finish(), None);
        for cut in 2..bytes.len() {
            let read = records(&bytes[..cut]);
            assert!(read.is_err() || read.is_ok_and(|r| r == written[..r.len()]), "{cut}");
        }
        assert!(records(b"").is_err() && records(b"\x02").is_err() && records(b"\x01\x01").is_err());
    }

    #[test]
    fn an_epoch_has_a_bound() {
        let error = Outbox::new(10).push(None, &[0; 20]).expect_err("too much");
        assert_eq!(error.code, "KAFKA_OUTBOX_FULL");
    }
}
