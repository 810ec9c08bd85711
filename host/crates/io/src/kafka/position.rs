//! Where a Kafka source stands in a partition, as it is stored.
//!
//! `format (1) = 1 | hash of topic and partition (8) | next offset (8) | end offset, or -1 (8)`, numbers big end first. The end is the
//! one seen when the job first started: a job that is started again ends where it would have ended.

use thalweg_core::error::{Error, Result};
use thalweg_core::id::StateId;

const FORMAT: u8 = 1;

/// A position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    /// Which partition of which topic: the list of topics may have changed.
    pub partition: u64,
    /// Offset of the next record.
    pub next: i64,
    /// First offset that is not read.
    pub end: Option<i64>,
}

/// The hash of a topic and partition.
pub(super) fn partition_id(topic: &str, partition: i32) -> u64 {
    StateId::derive(topic, &partition.to_string()).0
}

impl Position {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(25);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.partition.to_be_bytes());
        bytes.extend_from_slice(&self.next.to_be_bytes());
        bytes.extend_from_slice(&self.end.unwrap_or(-1).to_be_bytes());
        bytes
    }

    /// Reads the stored position of a partition.
    ///
    /// # Errors
    /// `KAFKA_POSITION` when it is of another one.
    pub(super) fn stored(bytes: &[u8], topic: &str, partition: i32) -> Result<Self> {
        let id = partition_id(topic, partition);
        Self::decode(bytes).filter(|at| at.partition == id).ok_or_else(|| {
            let what = format!("the stored position of {topic:?} {partition} is of another partition");
            Error::user("KAFKA_POSITION", what)
                .help("keep the list of topics as it was, or start the job anew with an empty state directory")
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (FORMAT, rest) = bytes.split_first().map(|(f, rest)| (*f, rest))? else { return None };
        let (partition, rest) = rest.split_first_chunk::<8>()?;
        let (next, rest) = rest.split_first_chunk::<8>()?;
        let end = i64::from_be_bytes(rest.try_into().ok()?);
        Some(Self {
            partition: u64::from_be_bytes(*partition),
            next: i64::from_be_bytes(*next),
            end: (end >= 0).then_some(end),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_frozen() {
        let position = Position { partition: 1, next: 258, end: None };
        let bytes = position.encode();
        assert_eq!(bytes, b"\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff");
        assert_eq!(Position::decode(&bytes), Some(position));
        let bounded = Position { end: Some(300), ..position };
        assert_eq!(Position::decode(&bounded.encode()), Some(bounded));
        assert_eq!(Position::decode(&bytes[..24]), None);
        assert_eq!(Position::decode(&[2; 25]), None);
    }
}
