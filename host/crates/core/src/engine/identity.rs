//! What a store says about the job that filled it: how many partitions it has, and which stages. Written with the first epoch,
//! read before anything is started, so that no other pipeline goes on where this one was.

use super::restore::corrupt;
use super::shard::Shard;
use crate::error::{Error, Result};
use crate::graph::{Plan, StageKind};
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

/// Checks that the store is empty or was filled by this plan.
///
/// # Errors
/// `STATE_OTHER_JOB`, naming the stages that are new and gone; `STATE_CORRUPT` when the names cannot be read.
pub fn check_job(plan: &Plan, state: &dyn StateRead) -> Result<()> {
    let Some(stored) = state.get(&key("stages"))? else { return Ok(()) };
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
    .help("give this pipeline a state directory of its own, or run the pipeline the directory was made by"))
}

impl Shard {
    /// The facts above, with the first epoch of a job.
    pub(super) fn store_identity(&mut self, writes: &mut Vec<CellWrite>) {
        if self.stores_for_all() && !std::mem::replace(&mut self.identity_stored, true) {
            writes.push((key("partitions"), Some(Bytes::copy_from_slice(&self.config.partitions.to_be_bytes()))));
            let names: Vec<&str> = stages(&self.plan).into_iter().collect();
            writes.push((key("stages"), Some(Bytes::from(names.join("\n")))));
        }
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
        check_job(&plan(&["Read", "Write"]), reader.as_ref())?;
        store.commit(Epoch(1), &[(key("stages"), Some(Bytes::from_static(b"Read\nWrite")))], &[])?;
        check_job(&plan(&["Write", "Read"]), store.reader().as_ref())?;
        let other = check_job(&plan(&["Read", "Save"]), store.reader().as_ref());
        let Err(error) = other else { unreachable!("another pipeline") };
        assert_eq!(error.code, "STATE_OTHER_JOB");
        assert!(error.message.contains("\"Save\"") && error.message.contains("\"Write\""), "{error}");
        Ok(())
    }
}
