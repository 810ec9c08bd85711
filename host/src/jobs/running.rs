//! Jobs that run: started, listed, watched to their end.

use super::harnesses::{AllWorkers, Harnesses};
use super::states::JobDir;
use crate::compose::{Composed, Deployments};
use crate::runtime::{self, Control, Finished, JobSpec, RunningJob};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use thalweg_beam::job::{Importance, JobReporter, JobState, PreparedJob};
use thalweg_core::engine::{Config, Outcome};
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::Shape;
use thalweg_state::WeakDatabase;

/// Jobs by id that run or are about to. Cheap to clone.
#[derive(Clone, Default)]
pub struct JobTable(Arc<Mutex<BTreeMap<String, Slot>>>);

/// What is asked of a job.
type Order = Box<dyn Fn(&Control) + Send>;

enum Slot {
    /// Its workers are being started; what was asked of it meanwhile.
    Starting(Vec<Order>),
    Running(Running),
}

/// A job that runs.
#[derive(Clone)]
pub struct Running {
    /// Steers it.
    pub control: Control,
    /// What its user calls it.
    pub name: String,
    /// What names its state, if that is there when the job is submitted again.
    pub state: Option<String>,
    /// What it keeps.
    pub shape: Shape,
    /// Tells its users.
    pub reporter: JobReporter,
    /// Another job takes its place.
    pub updated: Arc<AtomicBool>,
    /// Its cells; none if they are in memory.
    pub cells: Option<Cells>,
    /// Its place. While somebody has it the job is in the table, though it has ended: nobody else takes its state over.
    pub place: Weak<JobPlace>,
    deployments: Arc<Deployments>,
}

/// Where the cells of a job can be read. Nothing is kept open by this.
#[derive(Clone)]
pub struct Cells {
    pub database: WeakDatabase,
    /// What the job is called there, if the database is that of several.
    pub shares: Option<String>,
}

impl Slot {
    fn take(&mut self, order: Order) {
        match self {
            Self::Starting(orders) => orders.push(order),
            Self::Running(running) => order(&running.control),
        }
    }
}

/// The place of a job in the table. It goes with this.
pub struct JobPlace {
    table: JobTable,
    id: String,
}

impl JobPlace {
    /// The job runs.
    fn runs(&self, running: Running) {
        let control = running.control.clone();
        let slot = self.table.lock().insert(self.id.clone(), Slot::Running(running));
        if let Some(Slot::Starting(orders)) = slot {
            orders.iter().for_each(|order| order(&control));
        }
    }
}

impl Drop for JobPlace {
    fn drop(&mut self) {
        self.table.lock().remove(&self.id);
    }
}

impl JobTable {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an order to a job that runs, or as soon as it does.
    pub fn order(&self, id: &str, order: impl Fn(&Control) + Send + 'static) {
        if let Some(slot) = self.lock().get_mut(id) {
            slot.take(Box::new(order));
        }
    }

    /// Where functions of a job can be replaced, if it runs.
    #[must_use]
    pub fn deployments(&self, id: &str) -> Option<Arc<Deployments>> {
        self.running(id).map(|running| running.deployments)
    }

    /// A job that runs.
    #[must_use]
    pub fn running(&self, id: &str) -> Option<Running> {
        match self.lock().get(id) {
            Some(Slot::Running(running)) => Some(running.clone()),
            _ => None,
        }
    }

    /// Has all jobs that keep their state let what runs come to its end, within so long, and commit it; cancels the others. For the end of the
    /// process.
    pub fn leave_all(&self, within: Duration) {
        for slot in self.lock().values_mut() {
            let keeps = matches!(slot, Slot::Running(running) if running.state.is_some());
            slot.take(if keeps { Box::new(move |control| control.leave(within)) } else { Box::new(Control::cancel) });
        }
    }

    /// The job that keeps its state under this name, or else the newest that its user calls so and that keeps its state, with its id.
    #[must_use]
    pub fn keeping(&self, state: Option<&str>, name: &str) -> Option<(String, Running)> {
        let jobs = self.lock();
        let running = jobs.iter().rev().filter_map(|(id, slot)| match slot {
            Slot::Running(running) if running.state.is_some() => Some((id, running)),
            _ => None,
        });
        let is =
            |running: &Running| state.map_or(running.name == name, |state| running.state.as_deref() == Some(state));
        running.into_iter().find(|(_, running)| is(running)).map(|(id, running)| (id.clone(), running.clone()))
    }

    /// Whether a job runs, or is about to.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// A place for one more job, if fewer than `most` have one.
    pub fn place(&self, id: &str, most: Option<usize>) -> Option<JobPlace> {
        let mut jobs = self.lock();
        if most.is_some_and(|most| jobs.len() >= most) {
            return None;
        }
        jobs.insert(id.to_owned(), Slot::Starting(Vec::new()));
        Some(JobPlace { table: self.clone(), id: id.to_owned() })
    }

    /// Number of jobs that run, or are about to.
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
    /// It takes over the state of another pipeline.
    pub update: bool,
    pub dir: Option<JobDir>,
    pub place: JobPlace,
    pub runtime: tokio::runtime::Handle,
    pub job: PreparedJob,
    pub composed: Composed,
    pub harnesses: Harnesses,
    pub reporter: JobReporter,
}

/// Starts a job's threads, the one that waits for its end first: once the job runs, nothing can fail any more.
pub fn start(start: Start) -> Result<()> {
    let Start { config, epoch_ms, update, dir, place, runtime, job, composed, harnesses, reporter } = start;
    let Composed { plan, sources, sinks, local, deployments, store, database, shares, .. } = composed;
    let cells = database.map(|database| Cells { database: database.downgrade(), shares });
    let changes = deployments.changes().clone();
    let state = dir.as_ref().filter(|dir| dir.stays()).map(|dir| dir.name.clone());
    let (shape, updated) = (Shape::of(&plan), Arc::new(AtomicBool::new(false)));
    let replaced = Arc::clone(&updated);
    let workers = Arc::new(AllWorkers { local, harnesses: harnesses.clone() });
    let (hand_over, given) = crossbeam_channel::bounded::<RunningJob>(1);
    let (theirs, place) = (reporter.clone(), Arc::new(place));
    let mine = Arc::clone(&place);
    let wait = move || {
        if let Ok(running) = given.recv() {
            let finished = running.join();
            // who waits for the job may count on what it does after its last commit
            runtime.block_on(harnesses.finalized());
            report(&theirs, finished, replaced.load(Ordering::SeqCst));
        }
        drop(theirs);
        runtime.block_on(harnesses.stop());
        drop(dir); // nobody writes to it any more
        drop(mine);
    };
    std::thread::Builder::new().name("job-end".to_owned()).spawn(wait).map_err(|e| {
        Error::external("THREAD_START", format!("cannot start a thread: {e}"))
            .help("raise the process's limit of threads, or use fewer shards")
    })?;
    let spec = JobSpec {
        name: job.id.clone(),
        plan,
        config,
        update,
        apart: None,
        epoch_ms,
        sources,
        sinks,
        workers,
        store,
        changes,
    };
    let running = runtime::start(spec)?; // an error ends the waiting thread, and with it the workers
    let (control, deployments) = (running.control(), Arc::new(deployments));
    let (name, reported) = (job.name, reporter.clone());
    let mine = Arc::downgrade(&place);
    place.runs(Running { control, name, state, shape, reporter: reported, updated, cells, place: mine, deployments });
    let metrics = running.metrics();
    reporter.live_metrics(move || metrics.now());
    reporter.state(JobState::Running);
    hand_over.send(running).unwrap_or_default();
    Ok(())
}

fn report(reporter: &JobReporter, finished: Finished, updated: bool) {
    reporter.metrics(finished.attempted, finished.committed);
    match finished.outcome {
        Outcome::Done => reporter.state(JobState::Done),
        Outcome::Drained => reporter.state(JobState::Drained),
        Outcome::Cancelled if updated => reporter.state(JobState::Updated),
        Outcome::Cancelled => {
            reporter.message(Importance::Basic, "cancelled; what was committed stays");
            reporter.state(JobState::Cancelled)
        }
        Outcome::Failed(error) => reporter.fail(&error),
    };
}
