//! The topology driver: shards, job, workers, sources, sinks and store of a whole job in one thread, without a clock.
//!
//! Everything that can happen next is a [`Choice`]: a message at the head of a channel, a worker's event, a read, a step of the
//! epoch writer, the passing of time. Channels are first in, first out, all else is in any order: [`Driver::run_to_end`] takes
//! choices in a fixed order, the [`Simulation`](super::Simulation) in a random one. A crash drops all but the store and what
//! sinks have brought out.

mod act;
mod observer;
mod run;
mod writer;

pub use observer::Observer;
use run::Run;

use super::sink::SinkDisk;
use super::store::FakeStore;
use super::topology::Topology;
use super::worker::WorkerScript;
use crate::engine::{Config, Outcome};
use crate::error::Result;
use crate::graph::{EnvironmentId, Plan, StageKind};
use crate::id::{BundleId, ShardId, SourceId, SplitId, StageId};
use crate::metric::Metrics;
use crate::time::ProcessingTime;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One thing that can happen next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Choice {
    /// A shard gets the next event of the job.
    Order(ShardId),
    /// The second shard gets the next message of the first.
    Message(ShardId, ShardId),
    /// The job gets its next event.
    Tell,
    /// The engine gets the next event of a worker: one of this bundle, or one of none.
    Speak(ShardId, Option<EnvironmentId>, Option<BundleId>),
    /// A worker runs an open bundle.
    Work(ShardId, Option<EnvironmentId>, BundleId),
    /// The epoch writer does its next step.
    Write,
    /// An alarm a shard asked for has come.
    Alarm(ShardId),
    /// A split is read.
    Read(ShardId, SourceId, SplitId),
    /// Time passes until the next alarm or the end of the epoch.
    Time,
}

/// Sums of metrics of this run.
#[derive(Clone, Default, Debug)]
pub struct Sums {
    /// Of all attempts.
    pub attempted: Metrics,
    /// Of bundles whose epoch is lasting.
    pub committed: Metrics,
    /// Of what runs now, by shard.
    pub running: BTreeMap<ShardId, Metrics>,
}

/// A whole job.
pub struct Driver {
    topology: Topology,
    /// The plan all shards share.
    pub plan: Arc<Plan>,
    config: Config,
    scripts: BTreeMap<Option<EnvironmentId>, WorkerScript>,
    /// What is lasting.
    pub store: FakeStore,
    /// The clock of the process.
    pub now: ProcessingTime,
    epoch_ms: i64,
    /// Watches over the invariants.
    pub observer: Observer,
    /// Metrics of this run.
    pub sums: Sums,
    /// Rows that the next reads give, if not what the engine asks for.
    pub read_rows: Option<usize>,
    /// More choices than this mean that the job goes round in circles.
    pub steps_max: u64,
    held: BTreeSet<StageId>,
    /// Effects that may still be carried out before the process dies.
    last_effects: Option<usize>,
    steps: u64,
    trace: Option<u64>,
    run: Option<Run>,
}

impl Driver {
    /// A job that has just been started on an empty store.
    ///
    /// # Errors
    /// `GRAPH_INVALID`.
    pub fn new(topology: Topology, config: Config) -> Result<Self> {
        Self::on(topology, config, FakeStore::new())
    }

    /// The same on a store that may hold something already.
    ///
    /// # Errors
    /// `GRAPH_INVALID`.
    pub fn on(topology: Topology, config: Config, store: FakeStore) -> Result<Self> {
        let plan = Arc::new(topology.plan()?);
        let scripts = topology.scripts(&plan);
        let mut driver = Self {
            epoch_ms: topology.epoch_ms,
            topology,
            plan,
            config,
            scripts,
            store,
            now: ProcessingTime(1_000_000),
            observer: Observer::default(),
            sums: Sums::default(),
            read_rows: None,
            steps_max: 200_000,
            held: BTreeSet::new(),
            last_effects: None,
            steps: 0,
            trace: None,
            run: None,
        };
        driver.begin()?;
        Ok(driver)
    }

    /// From now on all effects go into a hash.
    pub fn trace(&mut self) {
        self.trace = Some(0);
    }

    /// The hash of all effects since [`Driver::trace`].
    #[must_use]
    pub fn traced(&self) -> u64 {
        self.trace.unwrap_or_default()
    }

    /// Choices taken so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Shards of this run.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.config.shards
    }

    /// What a sink has brought out, by name.
    ///
    /// # Panics
    /// When there is no such sink.
    #[must_use]
    pub fn disk(&self, name: &str) -> SinkDisk {
        let sink = self.topology.sinks.iter().find(|(n, ..)| n == name);
        sink.map(|(_, _, disk)| disk.clone()).unwrap_or_else(|| unreachable!("no sink {name}"))
    }

    /// The stage of a transform, by name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn stage(&self, name: &str) -> StageId {
        self.topology.stage(&self.plan, name)
    }

    /// Whose worker runs a stage.
    #[must_use]
    pub fn environment(&self, stage: StageId) -> Option<EnvironmentId> {
        if let StageKind::Worker(worker) = &self.plan.stage(stage).kind { worker.environment } else { None }
    }

    /// Bundles of this stage stay open until [`Driver::work`] or [`Driver::release`].
    pub fn hold(&mut self, stage: &str) {
        let stage = self.stage(stage);
        self.held.insert(stage);
    }

    /// Bundles of this stage run again by themselves.
    pub fn release(&mut self, stage: &str) {
        let stage = self.stage(stage);
        self.held.remove(&stage);
    }

    /// How the job ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.run.as_ref().and_then(|run| run.outcome.clone())
    }

    /// Takes choices in a fixed order, all but [`Choice::Time`], until none is left.
    ///
    /// # Panics
    /// When the job goes round in circles, or an invariant is broken.
    pub fn settle(&mut self) {
        while let Some(choice) = self.choices().into_iter().find(|c| *c != Choice::Time) {
            self.take(choice);
        }
    }

    /// Lets one epoch pass and settles.
    pub fn pass_epoch(&mut self) {
        self.pass(self.epoch_ms);
    }

    /// Lets so many milliseconds pass and settles.
    pub fn pass(&mut self, ms: i64) {
        let until = self.now.plus(ms);
        self.settle();
        while self.now < until && self.outcome().is_none() {
            self.pass_until(until);
            self.settle();
        }
    }

    /// Runs the job to its end.
    ///
    /// # Panics
    /// When it does not end, or an invariant is broken.
    pub fn run_to_end(&mut self) -> Outcome {
        while !self.is_over() {
            match self.choices().first() {
                Some(choice) => self.take(*choice),
                None => self.stuck("nothing can happen any more"),
            }
        }
        self.outcome().unwrap_or_else(|| unreachable!("it is over"))
    }

    /// Takes a choice and dies in the middle of it: of what follows from it, only so many effects are carried out. Another process
    /// begins, with so many shards.
    ///
    /// # Errors
    /// When the stored state cannot be read.
    pub fn crash_within(&mut self, choice: Choice, effects: usize, shards: u16) -> Result<()> {
        self.last_effects = Some(effects);
        self.take(choice);
        self.crash(shards)
    }

    /// The process dies: all is gone but the store and what sinks have brought out. Another begins, with so many shards.
    ///
    /// # Errors
    /// When the stored state cannot be read.
    pub fn crash(&mut self, shards: u16) -> Result<()> {
        self.run = None;
        self.last_effects = None;
        self.config.shards = shards;
        self.observer.forget();
        self.begin()
    }

    /// The current run.
    fn running(&mut self) -> &mut Run {
        self.run.get_or_insert_with(|| unreachable!("a driver always has a run"))
    }

    fn stuck(&self, why: &str) -> ! {
        let run = self.run.as_ref().map(Run::describe).unwrap_or_default();
        unreachable!("{why} after {} steps; choices {:?}; {run}", self.steps, self.choices())
    }
}
