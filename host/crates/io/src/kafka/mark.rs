//! The mark of a sink: which epoch of which job Kafka holds.
//!
//! In Kafka it is the metadata of a group's offset, committed in the same transaction as the epoch's records; the offset itself is the
//! epoch's number, so that Kafka's tools show it. The group has no members and its topic's records are never counted by it.
//!
//! Epochs are counted from 1 in every new job, so a number alone would say that a job which was started anew had delivered
//! already. Hence each job has an *incarnation*, drawn when its sink is first used, kept in the job's own state, and part of the mark.

use std::hash::{BuildHasher, Hasher, RandomState};
use thalweg_core::id::Epoch;

const FORMAT: u8 = 1;

/// A random number that tells one job from all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Incarnation(pub u128);

impl Incarnation {
    /// Draws one. The system seeds the hasher's keys at random.
    pub(super) fn draw() -> Self {
        let half = || u128::from(RandomState::new().build_hasher().finish());
        Self(half() << 64 | half())
    }
}

/// What Kafka holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Held {
    pub incarnation: Incarnation,
    pub epoch: Epoch,
}

impl Held {
    /// The metadata of the offset.
    pub(super) fn metadata(self) -> String {
        format!("thalweg {FORMAT} {:032x} {}", self.incarnation.0, self.epoch.0)
    }

    /// Reads metadata; `None` for that of others.
    pub(super) fn parse(metadata: &str) -> Option<Self> {
        let mut words = metadata.split(' ');
        let (name, format) = (words.next()?, words.next()?);
        let incarnation = Incarnation(u128::from_str_radix(words.next()?, 16).ok()?);
        let epoch = Epoch(words.next()?.parse().ok()?);
        (name == "thalweg" && format.parse() == Ok(FORMAT) && words.next().is_none())
            .then_some(Self { incarnation, epoch })
    }
}

/// What the job's state keeps: its incarnation, and the one Kafka held when the job began. A third one in Kafka belongs to a job that
/// came between.
///
/// `format (1) = 1 | incarnation (16, big end) | predecessor (16, big end; zero for none)`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stored {
    pub incarnation: Incarnation,
    pub predecessor: Incarnation,
}

impl Stored {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&self.incarnation.0.to_be_bytes());
        bytes.extend_from_slice(&self.predecessor.0.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (FORMAT, rest) = bytes.split_first().map(|(f, rest)| (*f, rest))? else { return None };
        let (incarnation, predecessor) = rest.split_first_chunk::<16>()?;
        Some(Self {
            incarnation: Incarnation(u128::from_be_bytes(*incarnation)),
            predecessor: Incarnation(u128::from_be_bytes(predecessor.try_into().ok()?)),
        })
    }

    /// The epoch Kafka holds of this job, zero for none; `Err` when another job delivered since.
    pub(super) fn epoch(self, held: Option<Held>) -> Result<Epoch, ()> {
        match held {
            None => Ok(Epoch(0)), // never delivered, or forgotten by the broker
            Some(h) if h.incarnation == self.incarnation => Ok(h.epoch),
            Some(h) if h.incarnation == self.predecessor => Ok(Epoch(0)),
            Some(_) => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_frozen() {
        let held = Held { incarnation: Incarnation(0xabc), epoch: Epoch(7) };
        assert_eq!(held.metadata(), "thalweg 1 00000000000000000000000000000abc 7");
        assert_eq!(Held::parse(&held.metadata()), Some(held));
        for foreign in ["", "thalweg", "thalweg 2 0 7", "thalweg 1 0 x", "thalweg 1 0 7 8", "other 1 0 7"] {
            assert_eq!(Held::parse(foreign), None);
        }
        let stored = Stored { incarnation: Incarnation(1), predecessor: Incarnation(2) };
        let bytes = stored.encode();
        assert_eq!((bytes[0], bytes[16], bytes[32], bytes.len()), (1, 1, 2, 33));
        assert_eq!(Stored::decode(&bytes), Some(stored));
        assert_eq!(Stored::decode(&bytes[..32]), None);
    }

    #[test]
    fn a_job_that_came_between_is_noticed() {
        let stored = Stored { incarnation: Incarnation(1), predecessor: Incarnation(2) };
        let held = |n, e| Some(Held { incarnation: Incarnation(n), epoch: Epoch(e) });
        assert_eq!(stored.epoch(None), Ok(Epoch(0)));
        assert_eq!(stored.epoch(held(1, 9)), Ok(Epoch(9)));
        assert_eq!(stored.epoch(held(2, 50)), Ok(Epoch(0)));
        assert_eq!(stored.epoch(held(3, 1)), Err(()));
    }

    #[test]
    fn incarnations_differ() {
        assert_ne!(Incarnation::draw(), Incarnation::draw());
    }
}
