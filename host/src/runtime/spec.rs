//! What a job is made of, as the composition hands it to the runtime.

use super::{Changes, Dealt, ToJob};
use crossbeam_channel::Sender;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thalweg_core::engine::Config;
use thalweg_core::error::Result;
use thalweg_core::graph::{EnvironmentId, Plan};
use thalweg_core::id::{ShardId, SplitId};
use thalweg_core::port::sink::Sink;
use thalweg_core::port::source::Source;
use thalweg_core::port::store::StateStore;
use thalweg_core::port::worker::Worker;

/// Wakes the shard's thread: called by workers that have events ready. Cheap, never blocks.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// The workers of one shard, by the environment they serve; `None` is the host's native functions.
pub type WorkerSet = Vec<(Option<EnvironmentId>, Box<dyn Worker>)>;

/// Makes the workers of a shard, on the shard's thread.
pub trait WorkerFactory: Send + Sync {
    /// One worker per environment of the plan.
    ///
    /// # Errors
    /// When a worker cannot be made at all; the job fails. A worker that has only to start up is not an error: it says
    /// `Credit` once it is there.
    fn make(&self, shard: ShardId, waker: Waker) -> Result<WorkerSet>;
}

/// Opens a source for one shard.
pub type OpenSource = Arc<dyn Fn() -> Result<Box<dyn Source>> + Send + Sync>;

/// A native source.
#[derive(Clone)]
pub struct SourceSpec {
    /// Its splits; by their place in this list they are spread over the partitions, unless it was settled whose they are.
    pub splits: Vec<SplitId>,
    /// Whether more of them may come into being while the job runs or is away.
    pub grows: bool,
    /// Whose they are, where partitions run apart.
    pub dealt: Option<Arc<Dealt>>,
    /// Opens it.
    pub open: OpenSource,
}

impl SourceSpec {
    /// A source whose splits are given for good.
    #[must_use]
    pub fn new(splits: Vec<SplitId>, open: OpenSource) -> Self {
        Self { splits, grows: false, dealt: None, open }
    }

    /// The same where more splits may come into being.
    #[must_use]
    pub fn growing(self) -> Self {
        Self { grows: true, ..self }
    }
}

/// A job, ready to run.
pub struct JobSpec {
    /// For thread names and logs.
    pub name: String,
    /// What to run.
    pub plan: Arc<Plan>,
    /// Sizes.
    pub config: Config,
    /// The pipeline takes over what another one kept in the store. Where shards run apart, the sizes say so.
    pub update: bool,
    /// The one shard to run, where shards run apart; otherwise all.
    pub apart: Option<ShardId>,
    /// Length of an epoch in milliseconds.
    pub epoch_ms: i64,
    /// Sources, by id.
    pub sources: Vec<SourceSpec>,
    /// Sinks, by id.
    pub sinks: Vec<Box<dyn Sink>>,
    /// Workers.
    pub workers: Arc<dyn WorkerFactory>,
    /// The commit authority.
    pub store: Box<dyn StateStore>,
    /// Where changes of the running job are put.
    pub changes: Changes,
}

/// Steers a running job. Cheap to clone; calls after its end do nothing.
#[derive(Clone)]
pub struct Control(Sender<ToJob>);

impl Control {
    pub(super) fn new(job: Sender<ToJob>) -> Self {
        Self(job)
    }

    /// Stops reading, finishes what is there, ends as `Drained`.
    pub fn drain(&self) {
        self.0.send(ToJob::Drain).unwrap_or_default();
    }

    /// Reads nothing from now on, finishes what was read, and waits.
    pub fn pause(&self) {
        self.0.send(ToJob::Pause).unwrap_or_default();
    }

    /// Goes on after a pause.
    pub fn resume(&self) {
        self.0.send(ToJob::Resume).unwrap_or_default();
    }

    /// Lets what runs come to its end within so long, commits it, and ends as `Cancelled`: others go on from there.
    pub fn leave(&self, within: Duration) {
        self.0.send(ToJob::Leave(millis(within))).unwrap_or_default();
    }

    /// The same, but finishes first what was read: another pipeline goes on from there.
    pub fn settle(&self, within: Duration) {
        self.0.send(ToJob::Settle(millis(within))).unwrap_or_default();
    }

    /// Ends as `Cancelled`; nothing committed is lost.
    pub fn cancel(&self) {
        self.0.send(ToJob::Cancel).unwrap_or_default();
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX >> 1)
}

/// Live counters of a run, for progress bars and logs.
#[derive(Debug, Default)]
pub struct Progress {
    read: Vec<AtomicU64>,
    written: Vec<AtomicU64>,
}

impl Progress {
    pub(super) fn new(shards: u16) -> Self {
        let zeros = || (0..shards).map(|_| AtomicU64::new(0)).collect();
        Self { read: zeros(), written: zeros() }
    }

    pub(super) fn set(&self, shard: ShardId, read: u64, written: u64) {
        for (list, value) in [(&self.read, read), (&self.written, written)] {
            if let Some(place) = list.get(usize::from(shard.0)) {
                place.store(value, Ordering::Relaxed);
            }
        }
    }

    /// Rows read from native sources in this run.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }

    /// Rows written to native sinks in this run.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }
}
