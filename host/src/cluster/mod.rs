//! Jobs on a Kafka cluster: the same binary on every node, and no coordinator of ours.
//!
//! In: jobs that are submitted to any process, and the journal in which all processes read of them. Out: in every process the
//! partitions that the job's consumer group gives it, each an engine of its own with its own epochs; what one partition sends to another
//! goes through the log. The life of a job: an order in the journal; every process takes part ([`node`]); a partition that ends tells so in the
//! results; when all have ended, every process says the job is done.

mod artifacts;
mod begin;
mod carried;
mod deal;
mod deployed;
mod forward;
mod held;
mod holders;
mod known;
mod leftover;
mod node;
mod options;
mod order;
mod partition;
mod restore;
mod savepoint;
mod scan;
mod shown;
mod standby;
mod start;
mod store;
mod trim;
mod update;
mod watch;

use crate::compose::{Composer, ttl};
use crate::jobs::{Jobs, asked_state, is_update, state_json, state_not_open};
use crate::query::Question;
use artifacts::Artifacts;
use holders::{Holders, SEE_FIRST, Verdict};
use known::{Known, Replaced, prepared};
use node::{Node, Stop};
use order::{Dealings, Ended, Nothing, Order, Run, What, read_door_key, read_result_key};
use shown::Ask;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use thalweg_beam::job::artifact::embedded;
use thalweg_beam::job::{
    Importance, JobReporter, JobRunner, JobServer, JobState, OptionDescriptor, PreparedJob, StateQuestion,
};
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::distribute;
use thalweg_io::kafka::cluster::{Entry, Journal, Page, Told};
use thalweg_io::kafka::{KafkaClientConfig, passes};
use thalweg_proto::life::SavepointRequest;
use tokio::sync::Semaphore;

/// Bytes of a submitted pipeline, what its workers need included: it is one record of the journal.
const ORDER_BYTES_MAX: usize = 48 << 20;

/// How a process takes part in a cluster.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The Kafka cluster.
    pub client: KafkaClientConfig,
    /// Name of the cluster of processes: what all its topics and groups begin with.
    pub name: String,
    /// Names this process among the others, and again when it is restarted.
    pub process: String,
    /// Partitions of a job that does not say how many it wants.
    pub partitions: u16,
    /// Copies of each partition's state that other processes keep, for a job that does not say how many it wants.
    pub standby_replicas: u16,
    /// Who is silent for so long has lost its partitions.
    pub session_timeout: Duration,
    /// Of which a partition makes no step for so long leaves the cluster and ends.
    pub max_poll_interval: Duration,
    /// Where copies of state are kept.
    pub state_dir: PathBuf,
    /// Where other processes reach this one, as `HOST:PORT`, if they do.
    pub advertise: Option<String>,
}

#[derive(Default)]
struct State {
    jobs: BTreeMap<String, Known>,
    /// Reporters of jobs that were submitted here and are not in the journal yet.
    submitted: BTreeMap<String, JobReporter>,
    /// Orders to run that were given here, by their tickets, and what became of them.
    given: BTreeMap<u64, Option<Verdict>>,
    artifacts: Artifacts,
    holders: Holders,
    /// Where other processes are reached, by their names.
    doors: BTreeMap<String, String>,
    /// How splits were dealt last, by the name of the state.
    dealt: BTreeMap<String, Dealings>,
    caught_up: bool,
    /// All jobs of the journal are known to who asks this process.
    begun: bool,
    /// What was told of the journal so far: while it grows, it is read.
    told: u64,
    /// The process is about to end.
    leaving: bool,
}

/// The jobs of a cluster, as one of its processes runs them. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    config: ClusterConfig,
    composer: Composer,
    jobs: Jobs,
    runtime: tokio::runtime::Handle,
    server: OnceLock<JobServer>,
    journal: OnceLock<Arc<Journal>>,
    state: Mutex<State>,
    /// Questions that other processes are asked.
    asking: Semaphore,
    /// Why this process cannot go on, once it cannot.
    stuck: tokio::sync::watch::Sender<Option<Error>>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl Cluster {
    /// A process of a cluster. `jobs` checks what is submitted and has the workers.
    #[must_use]
    pub fn new(config: ClusterConfig, composer: Composer, jobs: Jobs, runtime: tokio::runtime::Handle) -> Self {
        let (server, journal, state) = (OnceLock::new(), OnceLock::new(), Mutex::default());
        let (asking, stuck) = (Semaphore::new(forward::QUESTIONS_MAX), tokio::sync::watch::Sender::new(None));
        Self(Arc::new(Inner { config, composer, jobs, runtime, server, journal, state, asking, stuck }))
    }

    /// Leaves all jobs, each after a last commit, so that others go on at once. Blocks for little more than `within` at most.
    pub fn leave(&self, within: Duration) {
        let mut state = self.0.state();
        state.leaving = true;
        let nodes: Vec<Arc<Node>> = state.jobs.values_mut().filter_map(|known| known.node.take()).collect();
        drop(state);
        std::thread::scope(|scope| {
            nodes.iter().for_each(|node| drop(scope.spawn(|| node.stop(Stop::HandOver(within)))))
        });
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, job: &str, what: What) -> Result<()> {
        let order = Order { job: job.to_owned(), what: Some(what) }.encoded();
        if order.len() > ORDER_BYTES_MAX {
            let what = format!("the pipeline and what its workers need have {} bytes", order.len());
            return Err(Error::user("CLUSTER_JOB_TOO_LARGE", format!("{what}, {ORDER_BYTES_MAX} are the most"))
                .help("put large dependencies into the workers' image or environment instead of staging them"));
        }
        let written = self.journal.wait().append(Page::Orders, job, Some(&order));
        written.map_err(|error| if passes(&error) { error.help(SEE_FIRST) } else { error })
    }

    /// On the journal's thread.
    fn hear(self: &Arc<Self>, told: Told) {
        self.state().told += 1;
        match told {
            Told::CaughtUp => {
                let mut state = self.state();
                state.caught_up = true;
                leftover::remove_soon(&self.config, leftover::of(&state.jobs));
                state.jobs.retain(|_, known| !known.over);
                let unused = state.unused();
                let going: Vec<(String, Arc<Run>)> =
                    state.jobs.iter().map(|(id, known)| (id.clone(), Arc::clone(&known.run))).collect();
                drop(state);
                self.say_where();
                self.give_up_soon(unused);
                for (job, run) in going {
                    let reporter = self.reporter(&job, &run);
                    if let Some(known) = self.state().jobs.get_mut(&job) {
                        known.reporter = reporter;
                    }
                    self.take_part(job);
                }
                self.state().begun = true;
            }
            Told::Entry(Entry { page: Page::Orders, value: Some(value), .. }) => {
                if let Some(Order { job, what: Some(what) }) = Order::read(&value) {
                    self.obey(job, what);
                }
            }
            Told::Entry(Entry { page: Page::Results, key, value }) => {
                if let Some(process) = read_door_key(&key) {
                    self.hear_door(process, value.as_deref());
                } else if let Some((job, partition)) = read_result_key(&key)
                    && let Ok(ended) = serde_json::from_slice(&value.unwrap_or_default())
                {
                    self.ended(job, partition, ended);
                }
            }
            Told::Entry(_) => {}
        }
    }

    fn obey(self: &Arc<Self>, job: String, what: What) {
        match what {
            What::Run(run) => {
                let (verdict, ticket) = (self.state().judge(&job, &run), run.ticket);
                if verdict == Verdict::Holds {
                    self.take_up(job, Arc::new(*run));
                }
                // now, for what comes next from there is about the job as it is by now
                self.state().tell(ticket, verdict);
            }
            What::Cancel(Nothing {}) => {
                let mut state = self.state();
                state.holders.cancel(&job);
                if let Some(known) = state.jobs.get_mut(&job) {
                    known.cancelled = true;
                }
                drop(state);
                self.conclude(&job);
            }
            What::Drain(Nothing {}) => {
                let mut state = self.state();
                let Some(known) = state.jobs.get_mut(&job) else { return };
                known.draining = true;
                let node = known.node.clone();
                drop(state);
                node.iter().for_each(|node| node.drain());
            }
            What::Pause(Nothing {}) => self.pause(&job, true),
            What::Resume(Nothing {}) => self.pause(&job, false),
            What::Hold(until) => self.hold(&job, until.ms),
            What::Unused(unused) => self.state().artifacts.give_up(&unused),
            What::Deal(dealt) => {
                let state = &mut *self.state();
                if let Some(known) = state.jobs.get_mut(&job).filter(|known| known.dealt.is_none()) {
                    state.dealt.insert(known.run.state.clone(), dealt.clone());
                    known.dealt = Some(dealt);
                }
            }
        }
    }

    /// A job is ordered to run, and the order holds.
    fn take_up(self: &Arc<Self>, job: String, run: Arc<Run>) {
        if run.replaces == job {
            return self.again(job, run);
        }
        let reporter = if self.state().caught_up { self.reporter(&job, &run) } else { None };
        let mut state = self.state();
        let old = state.jobs.get_mut(&run.replaces).map(Known::replaced);
        let paused = old.as_ref().is_some_and(|old| old.paused);
        match &run.dealt {
            Some(dealt) => drop(state.dealt.insert(run.state.clone(), dealt.clone())),
            None => drop(state.dealt.remove(&run.state)),
        }
        state.jobs.insert(job.clone(), Known { paused, ..Known::new(run, reporter) });
        let unused = state.unused();
        if state.caught_up {
            drop(state);
            self.succeed(old, job);
            self.give_up_soon(unused);
        }
    }

    /// The same job with other versions of its functions. What starts it just now sees to it that the last order counts.
    fn again(self: &Arc<Self>, job: String, run: Arc<Run>) {
        let mut state = self.state();
        let caught_up = state.caught_up;
        let Some(known) = state.jobs.get_mut(&job).filter(|known| !known.over) else { return };
        known.run = run;
        let (node, paused) = (known.node.take(), known.paused);
        drop(state);
        if let Some(node) = node.filter(|_| caught_up) {
            self.succeed(Some(Replaced { node: Some(node), reporter: None, paused }), job);
        }
    }

    fn pause(&self, job: &str, paused: bool) {
        let mut state = self.state();
        let Some(known) = state.jobs.get_mut(job).filter(|known| !known.over) else { return };
        known.paused = paused;
        if let Some(reporter) = known.reporter.as_ref().filter(|_| known.node.is_some()) {
            reporter.state(known.state());
        }
        let node = known.node.clone();
        drop(state);
        node.iter().for_each(|node| node.pause(paused));
    }

    /// Who is told what becomes of a job: the client that submitted it here, or whoever asks this process.
    fn reporter(&self, job: &str, run: &Run) -> Option<JobReporter> {
        if let Some(reporter) = self.state().submitted.remove(job) {
            return Some(reporter);
        }
        let adopted = self.server.wait().adopt(prepared(job, run));
        adopted.inspect_err(|error| tracing::error!(job, %error, "a job of the cluster has no room here")).ok()
    }

    fn ended(self: &Arc<Self>, job: &str, partition: u16, ended: Ended) {
        if let Some(known) = self.state().jobs.get_mut(job) {
            known.results.insert(partition, ended);
        }
        self.conclude(job);
    }

    /// Ends a job here, if it has ended: its results say how, or somebody cancelled it.
    fn conclude(self: &Arc<Self>, job: &str) {
        let mut state = self.state();
        let Some(known) = state.jobs.get_mut(job).filter(|known| !known.over) else { return };
        let failed = known.results.values().find_map(|ended| match ended {
            Ended::Failed(failure) => Some(failure.error()),
            Ended::Done | Ended::Drained => None,
        });
        let all = known.results.len() >= known.run.partitions as usize;
        let drained = known.results.values().any(|ended| *ended == Ended::Drained);
        if !known.cancelled && failed.is_none() && !all {
            return;
        }
        (known.over, known.ended) = (true, true);
        let (node, reporter, cancelled) = (known.node.take(), known.reporter.clone(), known.cancelled);
        let run = Arc::clone(&known.run);
        // until all has been told nobody knows; then such states are looked after together
        let left = if state.caught_up { leftover::of_one(&state.jobs, &run) } else { Vec::new() };
        let unused = state.unused();
        drop(state);
        self.give_up_soon(unused);
        let this = Arc::clone(self);
        let end = move || {
            if let Some(node) = &node {
                node.stop(Stop::AtOnce);
            }
            leftover::remove_soon(&this.config, left);
            let Some(reporter) = reporter else { return };
            if let Some(node) = &node {
                let (attempted, committed) = node.metrics()();
                reporter.metrics(attempted, committed);
            }
            match failed {
                Some(error) => drop(reporter.fail(&error)),
                None if all && drained => drop(reporter.state(JobState::Drained)),
                None if all => drop(reporter.state(JobState::Done)),
                None if cancelled => {
                    reporter.message(Importance::Basic, "cancelled; what was committed stays");
                    reporter.state(JobState::Cancelled);
                }
                None => {}
            }
        };
        if let Err(error) = std::thread::Builder::new().name("job-end".to_owned()).spawn(end) {
            tracing::error!(%error, "cannot start a thread for the end of a job");
        }
    }
}

impl JobRunner for Cluster {
    fn prepare(&self, job: &PreparedJob) -> Result<()> {
        self.0.jobs.check(job)?;
        if let Some(savepoint) = self.0.jobs.wanted_savepoint(job)? {
            self.0.takes_over(job, &savepoint)?;
        }
        if is_update(job)? {
            let mut translation = self.0.jobs.translate(job)?;
            self.0.updated_by(job, &distribute(&self.0.composer.plan(&mut translation)?)?)?;
        }
        Ok(())
    }

    fn run(&self, job: PreparedJob, reporter: JobReporter) -> Result<()> {
        let inner = &self.0;
        let mut translation = inner.jobs.translate(&job)?;
        let composer = inner.composer.with_components(Vec::new())?.with_options(&job.options)?;
        let plan = distribute(&composer.plan(&mut translation)?)?;
        for line in ttl::lines(&plan) {
            reporter.message(Importance::Basic, line);
        }
        let old = inner.updated_by(&job, &plan)?;
        let partitions = options::partitions(&job.options)?.unwrap_or(inner.config.partitions);
        let partitions = partitions.min(thalweg_core::id::KEY_GROUPS);
        let (state, partitions, revision, replaces, after) = match old {
            Some((id, old)) => (old.state.clone(), update::partitions(&old), old.revision + 1, id.clone(), id),
            None => {
                let (state, last) = inner.new_state(&job)?;
                (state, partitions, last.highest, String::new(), last.job)
            }
        };
        let sources = inner.composer.sources(&translation)?;
        let fresh = deal::anew((&plan.sources, &sources), partitions);
        let (dealt, versions) = inner.make_topics(&job, &plan, (&state, partitions), fresh)?;
        let pipeline = embedded(&job.pipeline, inner.server.wait().artifacts())?;
        let run = Run {
            name: job.name.clone(),
            state,
            partitions: u32::from(partitions),
            options: Some(job.options.wire().clone()),
            pipeline: Some(pipeline),
            revision,
            replaces,
            components: Vec::new(),
            deployed: Vec::new(),
            dealt,
            after: Some(after),
            ticket: 0,
        };
        inner.submit(&job.id, &run, (&composer, &versions), reporter)
    }

    fn cancel(&self, id: &str) -> Result<()> {
        self.0.order(id, What::Cancel(Nothing {}))
    }

    fn drain(&self, id: &str) -> Result<()> {
        self.0.order(id, What::Drain(Nothing {}))
    }

    fn pause(&self, id: &str) -> Result<()> {
        self.0.order(id, What::Pause(Nothing {}))
    }

    fn resume(&self, id: &str) -> Result<()> {
        self.0.order(id, What::Resume(Nothing {}))
    }

    fn savepoint(&self, asked: &SavepointRequest) -> Result<String> {
        let to = self.0.jobs.place_of_savepoint(asked)?;
        self.0.savepoint(&asked.job_id, &to, asked.stop)?;
        Ok(to)
    }

    fn state(&self, id: &str, question: StateQuestion) -> Result<String> {
        let node =
            self.0.state().jobs.get(id).and_then(|known| known.node.clone()).ok_or_else(|| state_not_open(id))?;
        // who was asked by another process asks none
        let alone = match &question {
            StateQuestion::List => true,
            StateQuestion::Get(of) => of.here,
            StateQuestion::Scan(of) => of.here,
        };
        let ask = |process: &str, question: &Question| self.0.ask_process(process, id, question);
        state_json(&node.answer(&asked_state(question), (!alone).then_some(&ask as &Ask<'_>))?)
    }

    fn options(&self) -> Vec<OptionDescriptor> {
        self.0.jobs.options().into_iter().chain(options::described()).collect()
    }
}
