//! Whose the splits of a job's sources are: settled once, in the journal, for all lives of the job's state.
//!
//! In: the splits that are found when a job is submitted, what the journal says of its state, a savepoint that it begins with. Out: what every process deals
//! by, whenever it looks: topics may have grown since. A job that an earlier version ordered has nothing in its order: the first process that has part in it
//! looks at the positions in the changelogs, and tells what it found; what the journal says first holds.

use super::Inner;
use super::order::{Dealings, SourceDealing, What};
use crate::runtime::{Dealt, SourceSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use thalweg_core::engine::{stored_split, stored_splits};
use thalweg_core::error::Result;
use thalweg_core::id::{Epoch, SplitId, StateId};
use thalweg_core::port::store::{CellWrite, StateRead};
use thalweg_io::kafka::cluster::{Changelog, JobTopics, LogReader, Restored};

/// How often it is looked whether the journal has said it.
const LOOK: Duration = Duration::from_millis(50);

/// The sources of a job with the names under which their positions are stored.
pub type Named<'a> = (&'a [StateId], &'a [SourceSpec]);

/// How the splits of a job that begins anew are dealt: by their place.
pub fn anew((names, sources): Named<'_>, partitions: u16) -> Dealings {
    let one = |(name, source): (&StateId, &SourceSpec)| SourceDealing::of(*name, &Dealt::by_place(source, partitions));
    Dealings { sources: names.iter().zip(sources).map(one).collect() }
}

/// The same for a job that goes on with the state of another one under the same names.
pub fn kept(old: &Dealings, fresh: Dealings) -> Dealings {
    let one = |new: SourceDealing| old.sources.iter().find(|old| old.source == new.source).cloned().unwrap_or(new);
    Dealings { sources: fresh.sources.into_iter().map(one).collect() }
}

/// The same for a job that begins with a savepoint, whose cells these are: what has no position there came later.
pub fn saved(mut fresh: Dealings, cells: &dyn StateRead) -> Result<Dealings> {
    for source in &mut fresh.sources {
        let stored: BTreeSet<u32> = stored_splits(cells, StateId(source.source))?.iter().map(|split| split.0).collect();
        if !stored.is_empty() {
            source.later = source.splits.iter().copied().filter(|split| !stored.contains(split)).collect();
        }
    }
    Ok(fresh)
}

/// The same for a job that runs already, by the positions that its partitions have. Splits without one have lost nothing, whoever reads them.
fn running(
    names: &[StateId],
    sources: &[SourceSpec],
    partitions: u16,
    found: &BTreeMap<(StateId, SplitId), u16>,
) -> Dealings {
    let one = |(name, source): (&StateId, &SourceSpec)| {
        let mut dealt = Dealt::by_place(source, partitions);
        let mine = found.iter().filter(|((id, _), _)| id == name).map(|((_, split), owner)| (*split, *owner));
        let positions: BTreeMap<SplitId, u16> = mine.collect();
        if source.grows && !positions.is_empty() {
            dealt.owners = positions;
        } else {
            dealt.owners.extend(positions);
        }
        SourceDealing::of(*name, &dealt)
    };
    Dealings { sources: names.iter().zip(sources).map(one).collect() }
}

impl SourceDealing {
    fn of(name: StateId, dealt: &Dealt) -> Self {
        let (splits, owners) = dealt.owners.iter().map(|(split, owner)| (split.0, u32::from(*owner))).unzip();
        Self { source: name.0, splits, owners, later: dealt.later.iter().map(|split| split.0).collect() }
    }

    fn dealt(&self, grows: bool) -> Dealt {
        let owner = |(split, owner): (&u32, &u32)| (SplitId(*split), u16::try_from(*owner).unwrap_or_default());
        let owners = self.splits.iter().zip(&self.owners).map(owner).collect();
        Dealt { owners, later: self.later.iter().copied().map(SplitId).collect(), grows }
    }
}

impl Dealings {
    /// Deals the splits of sources. A source that nothing was settled for is one that an update has brought in.
    pub fn settle(&self, names: &[StateId], sources: &mut [SourceSpec], partitions: u16) {
        for (name, source) in names.iter().zip(sources) {
            let settled = self.sources.iter().find(|dealing| dealing.source == name.0);
            let dealt =
                settled.map_or_else(|| Dealt::by_place(source, partitions), |dealing| dealing.dealt(source.grows));
            source.dealt = Some(Arc::new(dealt));
        }
    }

    /// Whose a split is, by source.
    pub fn owners(&self) -> BTreeMap<(StateId, SplitId), u16> {
        let all = self.sources.iter().flat_map(|dealing| {
            let owners = dealing.dealt(false).owners;
            owners.into_iter().map(|(split, owner)| ((StateId(dealing.source), split), owner))
        });
        all.collect()
    }
}

impl Inner {
    /// How the splits of a running job are dealt. Without a word of the journal this process gives one, and waits for the first there is; nothing when
    /// the job is over before.
    ///
    /// # Errors
    /// What sources, changelogs and journal say.
    pub(super) fn settled(
        &self,
        job: &str,
        state: &str,
        (names, sources): Named<'_>,
        partitions: u16,
    ) -> Result<Option<Dealings>> {
        let heard = || {
            let state = self.state();
            state.jobs.get(job).filter(|known| !known.over && !state.leaving).map(|known| known.dealt.clone())
        };
        if sources.is_empty() {
            return Ok(Some(Dealings::default()));
        }
        let mut told = false;
        loop {
            let Some(dealt) = heard() else { return Ok(None) };
            if dealt.is_some() {
                return Ok(dealt);
            }
            if !std::mem::replace(&mut told, true) {
                let found = self.positions(&JobTopics::new(&self.config.name, state), names, partitions)?;
                self.order(job, What::Deal(running(names, sources, partitions, &found)))?;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Which partition has positions of which splits, by the changelogs.
    fn positions(
        &self,
        topics: &JobTopics,
        names: &[StateId],
        partitions: u16,
    ) -> Result<BTreeMap<(StateId, SplitId), u16>> {
        let (reader, mut found) = (LogReader::new(&self.config.client)?, BTreeMap::new());
        for partition in 0..partitions {
            let mut take = |writes: Vec<CellWrite>| {
                for (key, value) in writes {
                    let Some(split) = stored_split(&key).filter(|(source, _)| names.contains(source)) else { continue };
                    match value {
                        Some(_) => drop(found.insert(split, partition)),
                        None => drop(found.remove(&split)),
                    }
                }
                Ok(())
            };
            let changelog = Changelog::new(Arc::clone(&reader), topics.changelog(), partition);
            changelog.read(Restored::default(), Epoch(0), &|| true, &mut take)?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use thalweg_core::error::Error;

    const NAMES: [StateId; 1] = [StateId(7)];
    const TOPIC: u32 = 1 << 16;

    fn source(splits: &[u32]) -> [SourceSpec; 1] {
        let open = Arc::new(|| Err(Error::internal("TEST", "nobody opens it")));
        [SourceSpec::new(splits.iter().copied().map(SplitId).collect(), open).growing()]
    }

    fn owners(dealings: &Dealings) -> Vec<(u32, u16)> {
        dealings.owners().into_iter().map(|((_, split), owner)| (split.0, owner)).collect()
    }

    #[test]
    fn a_job_that_runs_already_keeps_its_owners_whatever_its_topics_were_given_since() {
        // by their places 0, 1, 2, 3; then the first topic grew, which moved the places of the second
        let before = anew((&NAMES, &source(&[0, 1, TOPIC, TOPIC + 1])), 4);
        let found = before.owners();
        let now = source(&[0, 1, 2, TOPIC, TOPIC + 1]);
        let dealings = running(&NAMES, &now, 4, &found);
        assert_eq!(owners(&dealings), owners(&before));
        let mut sources = now;
        dealings.settle(&NAMES, &mut sources, 4);
        let dealt = sources[0].dealt.as_ref().expect("settled");
        assert_eq!((dealt.owner(SplitId(TOPIC)), dealt.owner(SplitId(2))), (Some(2), Some(2)));
        // nothing has a position yet: as it is dealt anew
        assert_eq!(owners(&running(&NAMES, &source(&[0, 1]), 4, &BTreeMap::new())), [(0, 0), (1, 1)]);
    }

    #[test]
    fn what_is_settled_is_kept_by_who_goes_on_with_the_state_and_new_sources_are_dealt() {
        let old = anew((&NAMES, &source(&[0, 1])), 4);
        let both = [NAMES[0], StateId(8)];
        let [a] = source(&[0, 1, 2, 3]);
        let [b] = source(&[0]);
        let dealings = kept(&old, anew((&both, &[a, b]), 4));
        assert_eq!(dealings.sources.iter().map(|s| (s.source, s.splits.len())).collect::<Vec<_>>(), [(7, 2), (8, 1)]);
    }
}
