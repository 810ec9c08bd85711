//! The runtime shell: threads and channels around the pure engine, and the composition of its ports.
//!
//! One thread per shard runs [`shard_loop`], one thread the job machine ([`job_loop`]), one thread the epoch writer
//! ([`writer`]), which owns the sinks and the store. Threads share nothing but channels, all bounded; a shard never blocks on a send.

mod bell;
mod change;
mod dealing;
mod job_loop;
mod live;
mod pulse;
mod shard_loop;
mod spec;
mod writer;

pub use change::{Change, Changes};
pub use dealing::Dealt;
pub use live::LiveMetrics;
pub use pulse::{Beat, Pulse};
pub use spec::{Control, JobSpec, OpenSource, Progress, SourceSpec, Waker, WorkerFactory, WorkerSet};
pub(crate) use writer::fault;

use anyhow::Context as _;
use bell::{Bell, Line};
use crossbeam_channel::bounded;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use thalweg_core::engine::{
    Envelope, Event, Job, Outcome, Report, SealedPart, check_job, stored_partitions, stored_revision,
};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::{Epoch, ShardId};
use thalweg_core::metric::Metrics;
use thalweg_core::time::ProcessingTime;

/// Messages that wait for a thread; a full channel is retried by the sender, never waited for.
const CHANNEL: usize = 1024;

/// What a shard's thread is told by the job. It has a channel of its own: a shard looks at it between any two pieces of
/// work, however many messages of its peers wait.
enum Order {
    Event(Event),
    /// What a change does on this shard.
    Change(change::Apply),
    Stop,
}

/// What the job's thread is told.
enum ToJob {
    Report(ShardId, Report),
    Sealed(Box<SealedPart>),
    Committed(Epoch),
    Metrics {
        committed: bool,
        metrics: Metrics,
    },
    /// What runs on a shard; replaces what was told before.
    Running(ShardId, Metrics),
    Failed(Error),
    Drain,
    Cancel,
    Pause,
    Resume,
    Leave(i64),
    Settle(i64),
}

/// The process's clock. The only place where the engine's time comes from.
fn now() -> ProcessingTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    ProcessingTime(since.as_millis() as i64)
}

/// The same clock, in milliseconds since 1970 UTC, for who labels what is written.
pub(crate) fn now_ms() -> i64 {
    now().0
}

/// A running job.
pub struct RunningJob {
    control: Control,
    progress: Arc<Progress>,
    metrics: Arc<LiveMetrics>,
    pulses: Vec<Arc<Pulse>>,
    resumed: Epoch,
    thread: JoinHandle<Finished>,
}

/// How a job ended, with its metrics.
#[derive(Debug)]
pub struct Finished {
    /// The outcome.
    pub outcome: Outcome,
    /// It failed because a source could not be opened: nothing of that source was read in this run.
    pub refused: bool,
    /// Metrics of every attempt.
    pub attempted: Metrics,
    /// Metrics of what was committed.
    pub committed: Metrics,
}

impl RunningJob {
    /// A handle to drain or cancel it.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// The committed epoch it goes on from; zero if it begins anew.
    #[must_use]
    pub fn resumed(&self) -> Epoch {
        self.resumed
    }

    /// Its counters, live.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Its metrics, live.
    #[must_use]
    pub fn metrics(&self) -> Arc<LiveMetrics> {
        Arc::clone(&self.metrics)
    }

    /// The pulses of its shards.
    #[must_use]
    pub fn pulses(&self) -> &[Arc<Pulse>] {
        &self.pulses
    }

    /// Waits for its end.
    #[must_use]
    pub fn join(self) -> Finished {
        self.thread.join().unwrap_or_else(|_| Finished {
            outcome: Outcome::Failed(Error::internal("INTERNAL_PANIC", "the job's thread panicked")),
            refused: false,
            attempted: Metrics::default(),
            committed: Metrics::default(),
        })
    }
}

/// Starts a job: recovers sinks and state, starts its threads, returns at once.
///
/// # Errors
/// When the store or a sink cannot be recovered, when the store is another pipeline's, or no thread can be started.
pub fn start(spec: JobSpec) -> Result<RunningJob> {
    let JobSpec { name, plan, mut config, update, apart, epoch_ms, sources, sinks, workers, store, changes } = spec;
    let last = store.last_epoch()?;
    let reader = store.reader();
    if apart.is_none() {
        config.revision = stored_revision(reader.as_ref())? + u64::from(update);
    }
    check_job(&plan, reader.as_ref(), config.revision)?;
    if let Some(partitions) = stored_partitions(reader.as_ref())? {
        config.partitions = partitions;
    }
    config.shards = config.shards.clamp(1, config.partitions.max(1)); // a shard without a partition has nowhere to store
    let writer = writer::Writer::recover(&plan, store, sinks)?;
    let ids: Vec<ShardId> = apart.map_or_else(|| (0..config.shards).map(ShardId).collect(), |one| vec![one]);
    config.apart = apart.is_some();
    let job = Job::new(&plan, ids.len() as u16, epoch_ms, last, reader.as_ref())?;
    let progress = Arc::new(Progress::new(config.shards));
    let (to_job, from_all) = bounded(CHANNEL);
    let bells: Vec<Bell> = ids.iter().map(|_| Bell::default()).collect();
    let (peers, receivers) = lines::<Envelope>(&bells);
    let (orders, told) = lines::<Order>(&bells);
    let pulses: Vec<Arc<Pulse>> = ids.iter().map(|_| Arc::default()).collect();
    let refused = Arc::new(AtomicBool::new(false));
    // dropped on an early return, it takes down the threads that were started
    let mut shards = job_loop::ShardThreads { orders, threads: Vec::new() };
    let ends = receivers.into_iter().zip(told).zip(bells).zip(&pulses);
    for (id, (((inbox, orders), bell), pulse)) in ids.iter().copied().zip(ends) {
        let seed = shard_loop::Seed {
            id,
            plan: Arc::clone(&plan),
            config: config.clone(),
            sources: sources.clone(),
            workers: Arc::clone(&workers),
            reader: Arc::clone(&reader),
            last,
            peers: peers.clone(),
            job: to_job.clone(),
            inbox,
            orders,
            bell,
            progress: Arc::clone(&progress),
            pulse: Arc::clone(pulse),
            refused: Arc::clone(&refused),
        };
        shards.threads.push(spawn(format!("{name}-shard-{}", id.0), move || shard_loop::run(seed))?);
    }
    let control = Control::new(to_job.clone());
    let (to_writer, parts) = bounded(2);
    let writer_job = to_job.clone();
    let writer = spawn(format!("{name}-writer"), move || writer.run(&parts, &writer_job))?;
    if config.paused {
        control.pause(); // the shards are held already; the job has to know
    }
    let metrics = Arc::new(LiveMetrics::default());
    let live = Arc::clone(&metrics);
    let seed = job_loop::Seed { job, ids, inbox: from_all, to_writer, shards, writer, refused, live, changes };
    let thread = spawn(format!("{name}-job"), move || job_loop::run(seed))?;
    Ok(RunningJob { control, progress, metrics, pulses, resumed: last, thread })
}

/// A channel to each shard.
fn lines<T>(bells: &[Bell]) -> (Vec<Line<T>>, Vec<crossbeam_channel::Receiver<T>>) {
    let line = |bell: &Bell| {
        let (sender, receiver) = bounded(CHANNEL);
        (Line { sender, bell: bell.clone() }, receiver)
    };
    bells.iter().map(line).unzip()
}

fn spawn<T: Send + 'static>(name: String, body: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name).spawn(body).context("no thread").map_err(|e| {
        Error::external("THREAD_START", format!("cannot start a thread: {e:#}"))
            .help("raise the process's limit of threads, or use fewer shards")
    })
}
