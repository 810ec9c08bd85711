//! Which shard reads which split of a source: those there are when a job starts, and those that come into being while it runs, as when a
//! topic is given partitions.
//!
//! In: the sources' splits, and what was settled when the job began. Out: each shard's splits and its turn at new ones. Every shard asks its own instance of
//! a source, at its own time, so what is settled and a split's number alone decide.

use super::spec::SourceSpec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thalweg_core::engine::{Config, ended_splits, stored_splits};
use thalweg_core::error::Result;
use thalweg_core::graph::Plan;
use thalweg_core::id::{Partition, ShardId, SourceId, SplitId, StateId};
use thalweg_core::port::source::Source;
use thalweg_core::port::store::StateRead;

/// Which partition reads which split of a source where partitions run apart: settled when the job begins, for all its lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dealt {
    /// Whose the splits are that there were when it was settled.
    pub owners: BTreeMap<SplitId, u16>,
    /// Those of them that came into being after the job had begun, for it goes on with another one's state.
    pub later: BTreeSet<SplitId>,
    /// Whether splits that are not among them are read.
    pub grows: bool,
}

impl Dealt {
    /// Deals the splits of a source whose job begins anew, each by its place in the list.
    #[must_use]
    pub fn by_place(source: &SourceSpec, partitions: u16) -> Self {
        let dealt =
            source.splits.iter().enumerate().map(|(place, split)| (*split, owner_of(place, partitions, partitions).0));
        Self { owners: dealt.collect(), later: BTreeSet::new(), grows: source.grows }
    }

    /// Whose a split is. New ones are dealt among the partitions that have others: the rest have promised that nothing comes from them.
    #[must_use]
    pub fn owner(&self, split: SplitId) -> Option<u16> {
        let settled = self.owners.get(&split).copied();
        settled.or_else(|| {
            let readers: BTreeSet<u16> = self.owners.values().copied().filter(|_| self.grows).collect();
            let turn = (split.0 as usize).checked_rem(readers.len())?;
            readers.into_iter().nth(turn)
        })
    }

    /// The splits that the job began with.
    fn first(&self) -> Vec<SplitId> {
        self.owners.keys().filter(|split| !self.later.contains(split)).copied().collect()
    }
}

/// The shard of the split at a place of its source's list.
fn owner_of(place: usize, partitions: u16, shards: u16) -> ShardId {
    // spread over the whole range of partitions, so that few splits do not all fall to the first shard
    let stride = usize::from((partitions / shards.max(1)).max(1));
    let partition = Partition((place.wrapping_mul(stride) % usize::from(partitions.max(1))) as u16);
    partition.shard(partitions, shards)
}

/// The splits of each source that belong to a shard: as it was settled, or else by their place in the source's list.
pub(super) fn splits_of(id: ShardId, config: &Config, sources: &[SourceSpec]) -> Vec<(SourceId, Vec<SplitId>)> {
    let list = |source: &SourceSpec| {
        let mine = |(place, split): &(usize, SplitId)| match &source.dealt {
            Some(dealt) => dealt.owner(*split) == Some(id.0),
            None => owner_of(*place, config.partitions, config.shards) == id,
        };
        source.splits.iter().copied().enumerate().filter(mine).map(|(_, split)| split).collect()
    };
    sources.iter().enumerate().map(|(i, source)| (SourceId(i as u32), list(source))).collect()
}

/// What a source is told before its splits are opened.
pub(super) struct Recalled {
    /// Splits that the job began with.
    pub first: Vec<SplitId>,
    /// This shard's that an earlier life came upon, in whatever process, and nobody has listed.
    pub found: Vec<SplitId>,
}

impl Recalled {
    /// By what is stored, and what was settled.
    pub fn of(id: ShardId, source: &SourceSpec, name: Option<&StateId>, state: &dyn StateRead) -> Result<Option<Self>> {
        let Some(name) = name.filter(|_| source.grows) else { return Ok(None) };
        let stored = stored_splits(state, *name)?;
        Ok(Some(match &source.dealt {
            // shards that share a store list all splits, and know by their positions which ones they began with
            None => Self { first: stored, found: Vec::new() },
            Some(dealt) => {
                let unlisted = |split: &SplitId| !source.splits.contains(split) && dealt.owner(*split) == Some(id.0);
                Self { first: dealt.first(), found: stored.into_iter().filter(unlisted).collect() }
            }
        }))
    }
}

/// Tells a source which of a shard's splits earlier runs have read to their ends.
pub(super) fn tell_ended(
    source: &dyn Source,
    splits: &[SplitId],
    name: Option<&StateId>,
    state: &dyn StateRead,
) -> Result<()> {
    let ended = name.map_or(Ok(Vec::new()), |name| ended_splits(state, *name))?;
    let mut mine = ended.iter().filter(|(split, _)| splits.contains(split));
    mine.try_for_each(|(split, position)| source.ended(*split, position))
}

/// Who takes splits that come into being while the job runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Heir {
    /// This shard's turn among those that had splits when it began. Others have promised that nothing comes from them.
    Turn { turn: u32, of: u32 },
    /// Whoever it was settled for.
    Settled(Arc<Dealt>, ShardId),
}

impl Heir {
    pub(super) fn takes(&self, split: SplitId) -> bool {
        match self {
            Self::Turn { turn, of } => split.0.checked_rem(*of) == Some(*turn),
            Self::Settled(dealt, shard) => dealt.owner(split) == Some(shard.0),
        }
    }
}

/// This shard's turn at the new splits of each source; none where it has none of the first ones.
pub(super) fn heirs_of(id: ShardId, config: &Config, sources: &[SourceSpec]) -> BTreeMap<SourceId, Heir> {
    if config.apart {
        let settled = |(i, source): (usize, &SourceSpec)| {
            let dealt = source.dealt.as_ref().filter(|dealt| dealt.grows)?;
            Some((SourceId(i as u32), Heir::Settled(Arc::clone(dealt), id)))
        };
        return sources.iter().enumerate().filter_map(settled).collect();
    }
    let owners = (0..config.shards).map(ShardId).map(|shard| (shard, splits_of(shard, config, sources)));
    let owners: Vec<_> = owners.collect();
    let turn = |source: usize| {
        let has = |(_, lists): &&(ShardId, Vec<(SourceId, Vec<SplitId>)>)| {
            lists.get(source).is_some_and(|(_, list)| !list.is_empty())
        };
        let of: Vec<ShardId> = owners.iter().filter(has).map(|(shard, _)| *shard).collect();
        let turn = of.iter().position(|shard| *shard == id)?;
        Some((SourceId(source as u32), Heir::Turn { turn: turn as u32, of: of.len() as u32 }))
    };
    (0..sources.len()).filter_map(turn).collect()
}

/// The name under which the positions of a source are stored.
pub(super) fn stored_name(plan: &Plan, source: SourceId) -> Option<&StateId> {
    plan.sources.get(source.0 as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::error::Error;

    fn source(splits: impl IntoIterator<Item = u32>) -> SourceSpec {
        let open = Arc::new(|| Err(Error::internal("TEST", "nobody opens it")));
        SourceSpec::new(splits.into_iter().map(SplitId).collect(), open).growing()
    }

    #[test]
    fn every_new_split_has_one_owner_among_those_who_read_already() {
        let config = Config { shards: 4, ..Config::default() };
        for (first, readers) in [(1, 1), (2, 2), (3, 3), (9, 4)] {
            let sources = [source(0..first)];
            let heirs: Vec<_> = (0..4).filter_map(|s| heirs_of(ShardId(s), &config, &sources).pop_first()).collect();
            assert_eq!(heirs.len(), readers);
            for new in 10..30 {
                let owners = heirs.iter().filter(|(_, heir)| heir.takes(SplitId(new))).count();
                assert_eq!(owners, 1, "split {new} behind {first}");
            }
        }
    }

    /// The owner of each split, where partitions run apart; every one has exactly one.
    fn apart(spec: &SourceSpec, partitions: u16) -> BTreeMap<u32, u16> {
        let config = Config { shards: partitions, partitions, apart: true, ..Config::default() };
        let mut owners = BTreeMap::new();
        for id in 0..partitions {
            for (_, splits) in splits_of(ShardId(id), &config, std::slice::from_ref(spec)) {
                splits
                    .iter()
                    .for_each(|split| assert_eq!(owners.insert(split.0, id), None, "{split:?} has two owners"));
            }
        }
        assert_eq!(owners.len(), spec.splits.len(), "every split has an owner");
        owners
    }

    #[test]
    fn what_a_topic_is_given_moves_no_split_that_is_known_and_falls_to_one_reader() {
        const TOPIC: u32 = 1 << 16;
        for (first, partitions) in
            [(vec![0], 4), (vec![0, 1, 2], 4), ((0..9).collect(), 4), (vec![0, 1, TOPIC, TOPIC + 1], 3)]
        {
            let before = source(first.iter().copied());
            // what a job without anything settled does: the rule of earlier versions
            let owners = apart(&before, partitions);
            let dealt = Arc::new(Dealt::by_place(&before, partitions));
            // the first topic grows, which moves the places of the second one's splits
            let mut all: BTreeSet<u32> = first.iter().copied().collect();
            all.extend(first.len() as u32..first.len() as u32 + 20);
            let grown = SourceSpec { dealt: Some(Arc::clone(&dealt)), ..source(all.iter().copied()) };
            let found = apart(&grown, partitions);
            let config = Config { shards: partitions, partitions, apart: true, ..Config::default() };
            for split in all {
                let owner = found.get(&split).copied();
                match owners.get(&split) {
                    Some(old) => assert_eq!(owner, Some(*old), "split {split}"),
                    None => assert!(owners.values().any(|reader| Some(*reader) == owner), "split {split}: {owner:?}"),
                }
                // whoever comes upon it while it runs says the same
                let takers = (0..partitions).filter(|id| {
                    let heirs = heirs_of(ShardId(*id), &config, std::slice::from_ref(&grown));
                    heirs.values().any(|heir| heir.takes(SplitId(split)))
                });
                assert_eq!(takers.collect::<Vec<_>>(), owner.into_iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn of_a_source_whose_splits_are_given_nobody_reads_others() {
        let before = SourceSpec { grows: false, ..source(0..3) };
        let dealt = Dealt::by_place(&before, 4);
        assert_eq!((dealt.owner(SplitId(2)), dealt.owner(SplitId(3))), (Some(2), None));
    }
}
