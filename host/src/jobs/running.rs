//! Jobs that run: started, listed, watched to their end.

use super::harnesses::{AllWorkers, Harnesses};
use super::states::JobDir;
use crate::compose::Composed;
use crate::runtime::{self, Control, Finished, JobSpec, RunningJob};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_beam::job::{Importance, JobReporter, JobState, PreparedJob};
use thalweg_core::engine::{Config, Outcome};
use thalweg_core::error::{Error, Result};

/// Running jobs by id. Cheap to clone.
#[derive(Clone, Default)]
pub struct JobTable(Arc<Mutex<BTreeMap<String, Control>>>);

impl JobTable {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Control>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `act` with the control of a job that still runs.
    pub fn with(&self, id: &str, act: impl FnOnce(&Control)) {
        if let Some(control) = self.lock().get(id).cloned() {
            act(&control);
        }
    }

    /// Cancels all jobs; for the end of the process.
    pub fn cancel_all(&self) {
        let all: Vec<Control> = self.lock().values().cloned().collect();
        all.iter().for_each(Control::cancel);
    }

    /// Number of jobs that run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a job is started with.
pub struct Start {
    pub config: Config,
    pub epoch_ms: i64,
    pub dir: Option<JobDir>,
    pub table: JobTable,
    pub runtime: tokio::runtime::Handle,
    pub job: PreparedJob,
    pub composed: Composed,
    pub harnesses: Harnesses,
    pub reporter: JobReporter,
}

/// Starts a job's threads, the one that waits for its end first: once the job runs, nothing can fail any more.
pub fn start(start: Start) -> Result<()> {
    let Start { config, epoch_ms, dir, table, runtime, job, composed, harnesses, reporter } = start;
    let Composed { plan, sources, sinks, local, store, .. } = composed;
    let workers = Arc::new(AllWorkers { local, harnesses: harnesses.clone() });
    let (hand_over, given) = crossbeam_channel::bounded::<RunningJob>(1);
    let (theirs, mine, id) = (reporter.clone(), table.clone(), job.id.clone());
    let wait = move || {
        if let Ok(running) = given.recv() {
            let finished = running.join();
            report(&theirs, finished);
        }
        drop(theirs);
        runtime.block_on(harnesses.stop());
        mine.lock().remove(&id);
        drop(dir); // nobody writes to it any more
    };
    std::thread::Builder::new().name("job-end".to_owned()).spawn(wait).map_err(|e| {
        Error::external("THREAD_START", format!("cannot start a thread: {e}"))
            .help("raise the process's limit of threads, or use fewer shards")
    })?;
    let spec = JobSpec { name: job.id.clone(), plan, config, epoch_ms, sources, sinks, workers, store };
    let running = runtime::start(spec)?; // an error ends the waiting thread, and with it the workers
    table.lock().insert(job.id.clone(), running.control());
    let metrics = running.metrics();
    reporter.live_metrics(move || metrics.now());
    reporter.state(JobState::Running);
    hand_over.send(running).unwrap_or_default();
    Ok(())
}

fn report(reporter: &JobReporter, finished: Finished) {
    reporter.metrics(finished.attempted, finished.committed);
    match finished.outcome {
        Outcome::Done => reporter.state(JobState::Done),
        Outcome::Drained => reporter.state(JobState::Drained),
        Outcome::Cancelled => {
            reporter.message(Importance::Basic, "cancelled; what was committed stays");
            reporter.state(JobState::Cancelled)
        }
        Outcome::Failed(error) => reporter.fail(&error),
    };
}
