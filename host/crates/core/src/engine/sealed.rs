//! An epoch between its seal on this shard and the last marker of the others.

use super::event::SealedPart;
use crate::id::ShardId;
use std::collections::BTreeSet;

/// A sealed epoch that may still get late messages: those sent in it and received after the seal.
#[derive(Debug)]
pub(super) struct Sealing {
    /// What goes to the commit.
    pub part: SealedPart,
    /// Shards whose marker has not come.
    pub waiting: BTreeSet<ShardId>,
}
