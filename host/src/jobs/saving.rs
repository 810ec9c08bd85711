//! Savepoints of jobs of one process, while they run.
//!
//! In: a job that runs, and a place. Out: a copy of its state directory as it was after a commit; with a last one, if the job is to end.

use super::Jobs;
use super::running::Running;
use super::update::WITHIN;
use crate::savepoint::Saving;
use std::time::{Duration, Instant};
use thalweg_beam::job::{SAVEPOINT_HELP, not_running};
use thalweg_core::error::{Error, Result};

/// How long the workers of a job that came to its last commit may take to stop.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

impl Jobs {
    /// Makes a savepoint of a job; with `stop` of its last commit. Blocks until it is whole.
    ///
    /// # Errors
    /// `JOB_NOT_RUNNING`, `SAVEPOINT_NEVER` where the state of the job is not its own, `SAVEPOINT_SLOW`, and what place and disk say.
    pub(super) fn save(&self, id: &str, to: &str, stop: bool) -> Result<()> {
        let gone = || not_running(id, SAVEPOINT_HELP);
        let Running { control, name, state, cells, place, .. } = self.table.running(id).ok_or_else(gone)?;
        let never =
            |why: &str| Error::user("SAVEPOINT_NEVER", format!("the job {id} has no savepoint of its own: {why}"));
        let own = cells.filter(|cells| cells.shares.is_none()).ok_or_else(|| {
            never("jobs that use the embedded log share one directory").help("copy that one with `thalweg savepoint`")
        })?;
        let database = own.database.upgrade().ok_or_else(gone)?;
        if stop && state.is_none() {
            return Err(never("its state goes with it when it ends")
                .help("give the job a state_name, or make the savepoint without --stop"));
        }
        // before the job ends: a place may be taken, or out of reach
        let saving = Saving::begin(to, database.dir())?;
        if stop {
            control.settle(WITHIN);
            let end = Instant::now() + WITHIN + STOPPED_WITHIN;
            while self.table.has(id) {
                if Instant::now() > end {
                    return Err(Error::external("SAVEPOINT_SLOW", format!("the job {id} did not stop in time"))
                        .help("see what its workers do; its state is in its directory"));
                }
                std::thread::sleep(LOOK);
            }
        }
        // an update that comes meanwhile waits until the directory is let go of
        let _place = place.upgrade();
        let made = saving.of_database(&database, &name);
        drop(database);
        made
    }
}
