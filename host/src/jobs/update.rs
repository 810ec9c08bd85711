//! A pipeline that takes the place of one that runs, and its state: Beam's option `update`.
//!
//! In: a submitted job. Out: the name of the state it goes on with, and a running job that has come to a last commit. What cannot be taken over is refused by
//! name while the old job still runs; then the old job finishes what it has read, so that little of its way of working is left in the state.

use super::{Jobs, state_name};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use thalweg_beam::job::{JobState, OptionDescriptor, OptionKind, PreparedJob};
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::Shape;

/// How long the job that runs may take to finish what it has read and what runs.
pub const WITHIN: Duration = Duration::from_secs(60);
/// How long its workers may take to stop then.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// The option.
pub fn option() -> OptionDescriptor {
    OptionDescriptor {
        name: "update",
        kind: OptionKind::Bool,
        description: "Take the place of the running job of this name, and its state: what keeps state must be there under its name.",
        default: "false",
    }
}

/// Whether a job is to take the place of another.
///
/// # Errors
/// `OPTION_INVALID`.
pub fn wanted(job: &PreparedJob) -> Result<bool> {
    Ok(job.options.boolean("update")?.unwrap_or_default())
}

/// There is no job that could be updated.
pub fn nothing(job: &PreparedJob) -> Error {
    Error::user("UPDATE_NOTHING", format!("no job {:?} runs here that keeps its state", job.name))
        .help("submit the job without an update; only a job with a state_name, on a server with --state-dir or in a cluster, can be updated")
}

impl Jobs {
    /// Checks that a job can take the place of the one that runs, without touching either.
    ///
    /// # Errors
    /// `UPDATE_NOTHING`, `UPDATE_INCOMPATIBLE`, and what is wrong with the pipeline.
    pub(super) fn check_update(&self, job: &PreparedJob) -> Result<()> {
        let state = state_name(job)?;
        let Some((_, old)) = self.table.keeping(state.as_deref(), &job.name) else {
            let there = match (&state, &self.limits.states) {
                (Some(state), Some(states)) => states.has(state)?,
                _ => false,
            };
            return if there { Ok(()) } else { Err(nothing(job)) };
        };
        let mut translation = self.translate(job)?;
        Shape::of(&self.composer.plan(&mut translation)?).takes_over(&old.shape)
    }

    /// Has the job that runs come to a last commit, and end. Gives the name of its state. Blocks until then.
    ///
    /// # Errors
    /// As for [`Jobs::check_update`]; `UPDATE_SLOW` when the old job does not end: then it goes on from its last commit when it is submitted again.
    pub(super) fn take_over(&self, job: &PreparedJob) -> Result<String> {
        self.check_update(job)?;
        let state = state_name(job)?;
        let Some((id, old)) = self.table.keeping(state.as_deref(), &job.name) else {
            return state.ok_or_else(|| nothing(job));
        };
        old.updated.store(true, Ordering::SeqCst);
        old.reporter.state(JobState::Updating);
        old.control.settle(WITHIN);
        let end = Instant::now() + WITHIN + STOPPED_WITHIN;
        while self.table.has(&id) {
            if Instant::now() > end {
                return Err(Error::external("UPDATE_SLOW", format!("the job {id} did not stop in time to be updated"))
                    .help("see what its workers do; cancel it, and submit the update again"));
            }
            std::thread::sleep(LOOK);
        }
        old.state.or(state).ok_or_else(|| nothing(job))
    }
}
