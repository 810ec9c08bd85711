//! What a store says about the job that filled it: how many partitions it has, which stages, what they keep and how often the pipeline was updated.
//! Written with the first epoch of a pipeline, read before anything is started, so that no other pipeline goes on where this one was, unless
//! it is an update that can.

use super::restore::corrupt;
use super::shard::Shard;
use crate::error::{Error, Result};
use crate::graph::{Plan, Shape, StageKind};
use crate::id::StateId;
use crate::port::store::{CellWrite, StateRead};
use crate::state::layout::{CellKey, JOB_GROUP, Kind};
use bytes::Bytes;
use std::collections::BTreeSet;

fn key(fact: &str) -> Bytes {
    CellKey::new(JOB_GROUP, Kind::Job, StateId(0)).last(fact.as_bytes()).finish()
}

/// Names of the stages that keep something from run to run: what must be the same in every run. A stateless function may be
/// mended, replaced or wrapped; pending input of one that is gone is an error where it is restored.
fn stages(plan: &Plan) -> BTreeSet<&str> {
    let keeps = |kind: &StageKind| match kind {
        StageKind::Worker(worker) => worker.keyed,
        _ => true,
    };
    plan.stages.iter().filter(|stage| keeps(&stage.kind)).map(|stage| stage.name.as_str()).collect()
}

/// The number of partitions of a job that has committed before. Whoever starts it again must use this number.
///
/// # Errors
/// `STATE_CORRUPT` when it cannot be read.
pub fn stored_partitions(state: &dyn StateRead) -> Result<Option<u16>> {
    let Some(value) = state.get(&key("partitions"))? else { return Ok(None) };
    let count: [u8; 2] = value.as_ref().try_into().map_err(|_| corrupt("number of partitions"))?;
    match u16::from_be_bytes(count) {
        0 => Err(corrupt("number of partitions")),
        count => Ok(Some(count)),
    }
}

/// How often the pipeline of a job was updated: 0 for one that never was, or has not begun.
///
/// # Errors
/// `STATE_CORRUPT` when it cannot be read.
pub fn stored_revision(state: &dyn StateRead) -> Result<u64> {
    state.get(&key("revision"))?.map_or(Ok(0), |value| read_revision(&value))
}

fn read_revision(value: &[u8]) -> Result<u64> {
    Ok(u64::from_be_bytes(value.try_into().map_err(|_| corrupt("number of updates"))?))
}

/// The same by its cell; nothing of any other cell.
///
/// # Errors
/// `STATE_CORRUPT` when it cannot be read.
pub(super) fn revision_of((name, value): &CellWrite) -> Result<Option<u64>> {
    value.as_ref().filter(|_| *name == key("revision")).map(|value| read_revision(value)).transpose()
}

/// What the host said of the states of a job that has committed before; nothing if an earlier version wrote it.
///
/// # Errors
/// Those of the store.
pub fn stored_description(state: &dyn StateRead) -> Result<Option<Bytes>> {
    state.get(&key("described"))
}

/// What a job keeps, as it is stored; `None` before its first commit, and of jobs of early versions.
///
/// # Errors
/// `STATE_CORRUPT` when it cannot be read.
pub fn stored_shape(state: &dyn StateRead) -> Result<Option<Shape>> {
    let Some(value) = state.get(&key("shape"))? else { return Ok(None) };
    let shape = std::str::from_utf8(&value).ok().and_then(Shape::decode);
    shape.map(Some).ok_or_else(|| corrupt("shape of the job"))
}

/// What a store says about the job of this plan that filled it, for a store that is filled from outside. How many partitions there are is left open.
#[must_use]
pub fn identity(plan: &Plan) -> Vec<CellWrite> {
    let names: Vec<&str> = stages(plan).into_iter().collect();
    let mut facts = vec![
        (key("stages"), Some(Bytes::from(names.join("\n")))),
        (key("shape"), Some(Bytes::from(Shape::of(plan).encode()))),
    ];
    if !plan.described.is_empty() {
        facts.push((key("described"), Some(plan.described.clone())));
    }
    facts
}

/// Checks that the store is empty, was filled by this plan, or by one that this plan takes over: `revision` says how often the pipeline was
/// updated, this update included.
///
/// # Errors
/// `STATE_OTHER_JOB`, naming the stages that are new and gone; `UPDATE_INCOMPATIBLE`, naming what cannot be taken over; `UPDATE_SHAPELESS` when the
/// store does not say what it keeps; `STATE_NEWER` when it was filled by a later update; `STATE_CORRUPT` when it cannot be read.
pub fn check_job(plan: &Plan, state: &dyn StateRead, revision: u64) -> Result<()> {
    let Some(stored) = state.get(&key("stages"))? else { return Ok(()) };
    let at = stored_revision(state)?;
    if at > revision {
        return Err(Error::external("STATE_NEWER", format!("the state is of update {at}, this is update {revision}"))
            .help("start the pipeline that runs by now; a process of a cluster hears of it in a moment"));
    }
    if at < revision {
        let old = stored_shape(state)?.ok_or_else(|| {
            Error::user(
                "UPDATE_SHAPELESS",
                "the state does not say what it keeps: an earlier version of Thalweg wrote it",
            )
            .help("run the pipeline it belongs to once more, without an update, then update it")
        })?;
        return Shape::of(plan).takes_over(&old);
    }
    let text = std::str::from_utf8(&stored).map_err(|_| corrupt("list of stages"))?;
    let (old, new): (BTreeSet<&str>, _) = (text.lines().collect(), stages(plan));
    if old == new {
        return Ok(());
    }
    let list = |names: Vec<&&str>| match names.as_slice() {
        [] => "nothing".to_owned(),
        names => names.iter().take(5).map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", "),
    };
    let (added, gone) = (list(new.difference(&old).collect()), list(old.difference(&new).collect()));
    Err(Error::user(
        "STATE_OTHER_JOB",
        format!("the state belongs to another pipeline: new here is {added}, and gone is {gone}"),
    )
    .help("give this pipeline a state of its own, run the pipeline the state was made by, or start this one as an update (--update)"))
}

impl Shard {
    /// The facts above, with the first epoch of a job.
    pub(super) fn store_identity(&mut self, writes: &mut Vec<CellWrite>) {
        if self.stores_for_all() && !std::mem::replace(&mut self.identity_stored, true) {
            writes.push((key("partitions"), Some(Bytes::copy_from_slice(&self.config.partitions.to_be_bytes()))));
            writes.extend(identity(&self.plan));
            writes.push((key("revision"), Some(Bytes::copy_from_slice(&self.config.revision.to_be_bytes()))));
        }
    }

    /// Whether the facts above are stored as they are now.
    pub(super) fn is_identity_stored(&self, state: &dyn StateRead) -> Result<bool> {
        let same = stored_partitions(state)?.is_some()
            && stored_revision(state)? == self.config.revision
            && stored_description(state)?.unwrap_or_default() == self.plan.described;
        Ok(same && stored_shape(state)?.is_some_and(|shape| shape == Shape::of(&self.plan)))
    }

    /// Whether input that waits in the store can go on in this pipeline, if it is an update.
    ///
    /// # Errors
    /// `UPDATE_INCOMPATIBLE`, naming the transform whose input it was.
    pub(super) fn check_input(&self, state: &dyn StateRead, waiting: impl Iterator<Item = StateId>) -> Result<()> {
        let Some(old) = stored_shape(state)?.filter(|_| self.config.revision > 0) else { return Ok(()) };
        let (new, ids) = (Shape::of(&self.plan), waiting.collect::<BTreeSet<_>>());
        ids.into_iter().try_for_each(|id| old.input_goes_on(id, &new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Stage;
    use crate::id::{Epoch, StageId};
    use crate::port::store::StateStore;
    use crate::testing::FakeStore;

    fn plan(names: &[&str]) -> Plan {
        let stage = |(i, name): (usize, &&str)| Stage {
            id: StageId(i as u32),
            name: (*name).to_owned(),
            kind: StageKind::Impulse,
            inputs: Vec::new(),
            outputs: Vec::new(),
            state: StateId::derive(name, "stage"),
        };
        Plan { stages: names.iter().enumerate().map(stage).collect(), ..Plan::default() }
    }

    #[test]
    fn a_store_filled_by_another_pipeline_is_refused_by_name() -> Result<()> {
        let mut store = FakeStore::default();
        let reader = store.reader();
        check_job(&plan(&["Read", "Write"]), reader.as_ref(), 0)?;
        store.commit(Epoch(1), &[(key("stages"), Some(Bytes::from_static(b"Read\nWrite")))], &[])?;
        check_job(&plan(&["Write", "Read"]), store.reader().as_ref(), 0)?;
        let other = check_job(&plan(&["Read", "Save"]), store.reader().as_ref(), 0);
        let Err(error) = other else { unreachable!("another pipeline") };
        assert_eq!(error.code, "STATE_OTHER_JOB");
        assert!(error.message.contains("\"Save\"") && error.message.contains("\"Write\""), "{error}");
        Ok(())
    }
}
