//! Keys of the log's column family. The first byte says what a cell is; its bytes are never used again.
//!
//! | key | value |
//! |---|---|
//! | `0, name` | a topic: [`TopicCell`](super::cells::TopicCell) |
//! | `1, topic (4), partition (4)` | what a partition holds: start, end and bytes, 8 each |
//! | `2, topic (4), partition (4), offset (8)` | a record |
//! | `3, topic (4), partition (4), key` | compacted topics: offset (8) and bytes (8) of the key's last record |
//! | `4, topic (4), partition (4), offset (8)` | compacted topics: a record without a value: when it was appended (8), its key |
//!
//! Numbers are big end first.

const TOPIC: u8 = 0;
const PARTITION: u8 = 1;
const RECORD: u8 = 2;
const LAST: u8 = 3;
const DELETED: u8 = 4;

/// A topic's number, given when it is made.
pub(super) type TopicId = u32;

pub(super) fn topic(name: &str) -> Vec<u8> {
    [&[TOPIC], name.as_bytes()].concat()
}

/// The name in a topic's key.
pub(super) fn topic_name(key: &[u8]) -> Option<&str> {
    let (TOPIC, name) = key.split_first().map(|(kind, rest)| (*kind, rest))? else { return None };
    std::str::from_utf8(name).ok()
}

fn of_partition(kind: u8, topic: TopicId, partition: u32, rest: &[u8]) -> Vec<u8> {
    [&[kind], &topic.to_be_bytes()[..], &partition.to_be_bytes(), rest].concat()
}

pub(super) fn partition(topic: TopicId, partition: u32) -> Vec<u8> {
    of_partition(PARTITION, topic, partition, &[])
}

pub(super) fn record(topic: TopicId, partition: u32, offset: u64) -> Vec<u8> {
    of_partition(RECORD, topic, partition, &offset.to_be_bytes())
}

pub(super) fn last(topic: TopicId, partition: u32, key: &[u8]) -> Vec<u8> {
    of_partition(LAST, topic, partition, key)
}

pub(super) fn deleted(topic: TopicId, partition: u32, offset: u64) -> Vec<u8> {
    of_partition(DELETED, topic, partition, &offset.to_be_bytes())
}

/// The offset at the end of a key.
pub(super) fn offset(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_frozen_and_order_as_offsets_do() {
        assert_eq!(topic("t"), b"\0t");
        assert_eq!(partition(1, 2), b"\x01\0\0\0\x01\0\0\0\x02");
        assert_eq!(record(1, 2, 258), b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\x01\x02");
        assert_eq!(last(1, 2, b"k"), b"\x03\0\0\0\x01\0\0\0\x02k");
        assert_eq!(deleted(1, 2, 1), b"\x04\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x01");
        assert!(record(1, 2, 255) < record(1, 2, 256) && record(1, 2, u64::MAX) < record(1, 3, 0));
        assert_eq!((offset(&record(1, 2, 258)), topic_name(&topic("t"))), (Some(258), Some("t")));
    }
}
