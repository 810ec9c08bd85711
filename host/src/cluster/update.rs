//! A pipeline that takes the place of one that runs in the cluster, and its state.
//!
//! In: a submitted job. Out: the running job whose place it takes, if it can. All processes read of it at the same place of the journal: each has its
//! partitions come to a last commit, keeps them, and goes on with the new pipeline. A partition that moves meanwhile to a process that has not read so far
//! waits there (`STATE_NEWER`). What partitions send each other goes on under the same names, so that nothing under way is lost.

use super::Inner;
use super::holders::Holder;
use super::known::Replaced;
use super::node::Stop;
use super::order::Run;
use crate::jobs::{UPDATE_WITHIN, is_update, nothing_to_update, state_name};
use std::sync::Arc;
use thalweg_beam::job::{JobState, PreparedJob};
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{Plan, Shape, distribute};

/// Partitions of a job.
pub fn partitions(run: &Run) -> u16 {
    u16::try_from(run.partitions).unwrap_or(1).max(1)
}

impl Inner {
    /// The job whose place this one takes, if it is an update.
    ///
    /// # Errors
    /// `UPDATE_NOTHING`, `UPDATE_INCOMPATIBLE`, and what is wrong with the job.
    pub(super) fn updated_by(&self, job: &PreparedJob, plan: &Plan) -> Result<Option<(String, Arc<Run>)>> {
        if !is_update(job)? {
            return Ok(None);
        }
        let state = state_name(job)?;
        let is = |run: &Run| state.as_ref().map_or(run.name == job.name, |state| run.state == *state);
        let found = {
            let known = self.state();
            let mut going = known.jobs.iter().rev().filter(|(_, known)| !known.over);
            let found = going.find(|(_, known)| is(&known.run));
            found.map(|(id, known)| (id.clone(), Arc::clone(&known.run), known.draining))
        };
        let (id, run, draining) = found.ok_or_else(|| nothing_to_update(job))?;
        if draining {
            // its partitions tell each other that time has come to its end: what takes its place would believe it
            return Err(
                nothing_to_update(job).help("the job drains: when it has ended, submit this one without an update")
            );
        }
        if let Some(wanted) = job.options.integer("partitions")?.filter(|n| *n != i64::from(run.partitions)) {
            let what = format!("the job has {} partitions, and would have {wanted}", run.partitions);
            return Err(Error::user("UPDATE_INCOMPATIBLE", what)
                .help("leave the option `partitions` out: they stay as they are for the life of the state"));
        }
        let old = distribute(&self.planned(&id, &run)?)?;
        Shape::of(plan).takes_over(&Shape::of(&old))?;
        Ok(Some((id, run)))
    }

    /// The name of the state of a job that begins, and who had it last. The state may be there and of an update of that one: who goes on with it has its revision.
    ///
    /// # Errors
    /// `CLUSTER_STATE_IN_USE` when a job runs with it. Another one may be ordered with it just now: the journal tells which holds.
    pub(super) fn new_state(&self, job: &PreparedJob) -> Result<(String, Holder)> {
        let state = state_name(job)?.unwrap_or_else(|| job.id.clone());
        let known = self.state();
        if known.jobs.values().any(|known| !known.over && known.run.state == state) {
            let what = format!("a job of the cluster runs with the state {state:?}");
            return Err(Error::user("CLUSTER_STATE_IN_USE", what)
                .help("cancel that job first, use another state_name, or submit this one as an update"));
        }
        let last = known.holders.last(&state);
        Ok((state, last))
    }

    /// Starts this process's part of a job, once the one whose place it takes has come to a commit here.
    pub(super) fn succeed(self: &Arc<Self>, old: Option<Replaced>, job: String) {
        let Some(Replaced { node, reporter, .. }) = old else { return self.take_part(job) };
        if let Some(reporter) = &reporter {
            reporter.state(JobState::Updating);
        }
        let this = Arc::clone(self);
        let change = move || {
            if let Some(node) = node {
                node.stop(Stop::Keep(UPDATE_WITHIN));
            }
            if let Some(reporter) = reporter {
                reporter.state(JobState::Updated);
            }
            this.take_part(job);
        };
        if let Err(error) = std::thread::Builder::new().name("job-update".to_owned()).spawn(change) {
            tracing::error!(%error, "cannot start a thread for an update");
        }
    }
}
