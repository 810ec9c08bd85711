//! Jobs that run: started, listed, watched to their end.

use super::harnesses::{AllWorkers, Harnesses};
use crate::compose::{Composed, Composer};
use crate::runtime::{self, Control, Finished, JobSpec};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_beam::job::{Importance, JobReporter, JobState, PreparedJob};
use thalweg_core::engine::Outcome;
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
pub struct Start<'a> {
    pub composer: &'a Composer,
    pub table: JobTable,
    pub runtime: tokio::runtime::Handle,
    pub job: PreparedJob,
    pub composed: Composed,
    pub harnesses: Harnesses,
    pub reporter: JobReporter,
}

/// Starts a job's threads and one more that waits for its end.
pub fn start(start: Start<'_>) -> Result<()> {
    let Start { composer, table, runtime, job, composed, harnesses, reporter } = start;
    let Composed { plan, sources, sinks, local, store, .. } = composed;
    let mut config = composer.config();
    if let Some(rows) = job.options.integer("max_bundle_size")? {
        config.bundle_rows_max = usize::try_from(rows).unwrap_or(1).max(1);
    }
    let workers = Arc::new(AllWorkers { local, harnesses: harnesses.clone() });
    let epoch_ms = composer.settings().epoch_ms;
    let running =
        runtime::start(JobSpec { name: job.id.clone(), plan, config, epoch_ms, sources, sinks, workers, store });
    let running = match running {
        Ok(running) => running,
        Err(error) => {
            runtime.spawn(async move { harnesses.stop().await });
            return Err(error);
        }
    };
    table.lock().insert(job.id.clone(), running.control());
    reporter.state(JobState::Running);
    let wait = move || {
        let finished = running.join();
        table.lock().remove(&job.id);
        report(&reporter, finished);
        runtime.block_on(harnesses.stop());
    };
    std::thread::Builder::new().name("job-end".to_owned()).spawn(wait).map(drop).map_err(|e| {
        Error::external("THREAD_START", format!("cannot start a thread: {e}"))
            .help("raise the process's limit of threads, or use fewer shards")
    })
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
