//! Ground floor: the names of things. Newtypes only, so that a stage is never mistaken for a shard.
//!
//! Indices (`StageId`, `EdgeId`, ...) are positions in the [`Plan`](crate::graph::Plan) of one run and never reach
//! the disk. What is stored is named by [`StateId`], a hash of transform names, so that state survives another
//! fusion of the same pipeline.

use xxhash_rust::xxh3::xxh3_64;

/// Number of key groups of every job. Frozen: it is part of the stored layout.
pub const KEY_GROUPS: u16 = 4096;

/// Position of a stage in its plan; stages stand in topological order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StageId(pub u32);

/// Position of an edge in its plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EdgeId(pub u32);

/// Position of a native source in its plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SourceId(pub u32);

/// One independently readable part of a source (a file, a Kafka partition); numbered by the source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SplitId(pub u32);

/// Position of a native sink in its plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SinkId(pub u32);

/// The unit of execution: one thread that owns some partitions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardId(pub u16);

/// The unit of ownership: a range of the job's key groups.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Partition(pub u16);

/// One of the [`KEY_GROUPS`] groups; leads every stored key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyGroup(pub u16);

/// A bundle of one shard. Never reused, also not for a retry: a late result of an abandoned attempt is
/// recognised by its id and dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BundleId(pub u64);

/// The unit of commit, counted from 1 over the whole life of a job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Name of stored state: a hash of the transform's unique name and what belongs to it, stable over plans.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StateId(pub u64);

impl StateId {
    /// Derives the id from the transform's unique name and the part of it that is stored (a state's name, `input`).
    ///
    /// ```
    /// use thalweg_core::id::StateId;
    /// assert_eq!(StateId::derive("Count", "n"), StateId::derive("Count", "n"));
    /// assert_ne!(StateId::derive("Count", "n"), StateId::derive("Coun", "tn"));
    /// ```
    #[must_use]
    pub fn derive(transform: &str, part: &str) -> Self {
        let mut name = Vec::with_capacity(transform.len() + part.len() + 1);
        name.extend_from_slice(transform.as_bytes());
        name.push(0); // no transform name contains NUL, so the pair is unambiguous
        name.extend_from_slice(part.as_bytes());
        Self(xxh3_64(&name))
    }
}

/// Changes whenever what a worker may have cached of a stage's state could be stale (an abandoned or failed bundle, a
/// change of owner, a restore). Opaque to workers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CacheToken(pub u64);

/// Hash of a key as it is carried with every element: `xxh3_64` of the key's encoding without outer length prefix.
/// Frozen: it decides where state lives.
#[must_use]
pub fn key_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

impl KeyGroup {
    /// The group of a key hash.
    #[must_use]
    pub fn of_hash(hash: u64) -> Self {
        Self((hash % u64::from(KEY_GROUPS)) as u16)
    }

    /// The partition that owns this group when the job has `partitions` of them (1 to 4096).
    #[must_use]
    pub fn partition(self, partitions: u16) -> Partition {
        Partition((u32::from(self.0) * u32::from(partitions) / u32::from(KEY_GROUPS)) as u16)
    }
}

impl Partition {
    /// The first key group of this partition: under that of its first partition a shard stores pending input.
    #[must_use]
    pub fn first_group(self, partitions: u16) -> KeyGroup {
        let (p, n, g) = (u32::from(self.0), u32::from(partitions.max(1)), u32::from(KEY_GROUPS));
        KeyGroup(((p * g).div_ceil(n)) as u16)
    }

    /// The shard that runs this partition when the process has `shards` of them: contiguous ranges.
    #[must_use]
    pub fn shard(self, partitions: u16, shards: u16) -> ShardId {
        ShardId((u32::from(self.0) * u32::from(shards) / u32::from(partitions.max(1))) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_partitions_agree_on_their_borders() {
        for partitions in [1, 3, 16, 64, 4096] {
            for p in 0..partitions {
                let first = Partition(p).first_group(partitions);
                assert_eq!(first.partition(partitions), Partition(p));
                if first.0 > 0 {
                    assert_eq!(KeyGroup(first.0 - 1).partition(partitions), Partition(p - 1));
                }
            }
        }
    }

    #[test]
    fn the_key_hash_is_frozen() {
        // stored data depends on these two numbers
        assert_eq!(key_hash(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(KeyGroup::of_hash(key_hash(b"key-00001")), KeyGroup::of_hash(xxh3_64(b"key-00001")));
    }
}
