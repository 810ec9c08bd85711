//! Which shard takes splits that come into being while a job runs: partitions that a topic is given.
//!
//! Every shard asks its own instance of the source, at its own time, so a split's number alone decides.

use super::shard_loop::splits_of;
use super::spec::SourceSpec;
use std::collections::BTreeMap;
use thalweg_core::engine::Config;
use thalweg_core::id::{ShardId, SourceId, SplitId};

/// Who takes splits that come into being while the job runs: this shard's turn among those that had splits when it began. Others
/// have promised that nothing comes from them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Heir {
    turn: u32,
    of: u32,
}

impl Heir {
    pub(super) fn takes(self, split: SplitId) -> bool {
        split.0.checked_rem(self.of) == Some(self.turn)
    }
}

/// This shard's turn at the new splits of each source; none where it has none of the first ones.
pub(super) fn heirs_of(id: ShardId, config: &Config, sources: &[SourceSpec]) -> BTreeMap<SourceId, Heir> {
    if config.apart {
        // which partition a split belongs to must be the same in every life of the job: others are found when it is started again
        return BTreeMap::new();
    }
    let owners = (0..config.shards).map(ShardId).map(|shard| (shard, splits_of(shard, config, sources)));
    let owners: Vec<_> = owners.collect();
    let turn = |source: usize| {
        let has = |(_, lists): &&(ShardId, Vec<(SourceId, Vec<SplitId>)>)| {
            lists.get(source).is_some_and(|(_, list)| !list.is_empty())
        };
        let of: Vec<ShardId> = owners.iter().filter(has).map(|(shard, _)| *shard).collect();
        let turn = of.iter().position(|shard| *shard == id)?;
        Some((SourceId(source as u32), Heir { turn: turn as u32, of: of.len() as u32 }))
    };
    (0..sources.len()).filter_map(turn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use thalweg_core::error::Error;

    #[test]
    fn every_new_split_has_one_owner_among_those_who_read_already() {
        let source = |splits: u32| SourceSpec {
            splits: (0..splits).map(SplitId).collect(),
            open: Arc::new(|| Err(Error::internal("TEST", "nobody opens it"))),
        };
        let config = Config { shards: 4, ..Config::default() };
        for (first, readers) in [(1, 1), (2, 2), (3, 3), (9, 4)] {
            let sources = [source(first)];
            let heirs: Vec<_> = (0..4).filter_map(|s| heirs_of(ShardId(s), &config, &sources).pop_first()).collect();
            assert_eq!(heirs.len(), readers);
            for new in 10..30 {
                let owners = heirs.iter().filter(|(_, heir)| heir.takes(SplitId(new))).count();
                assert_eq!(owners, 1, "split {new} behind {first}");
            }
        }
    }
}
