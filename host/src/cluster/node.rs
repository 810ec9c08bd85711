//! One job in this process: its membership, its transactions, and the partitions it has been given.

use super::order::{Ended, Run, result_key};
use super::partition::RunningPartition;
use super::shown::{self, Ask, Shown};
use super::standby::{Copies, Keeper};
use super::trim::{self, Consumed};
use super::watch::{self, Pulses};
use super::{ClusterConfig, options};
use crate::compose::Apart;
use crate::jobs::{AllWorkers, Harnesses, Sizes};
use crate::query::{Answer, Question};
use crate::runtime::{Control, LiveMetrics, WorkerFactory, now_ms};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use thalweg_beam::fnapi::FnApiServer;
use thalweg_beam::job::PreparedJob;
use thalweg_beam::translate::Translation;
use thalweg_core::engine::Config;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::StateId;
use thalweg_core::metric::Metrics;
use thalweg_io::kafka::KafkaClientConfig;
use thalweg_io::kafka::cluster::{
    Epochs, EpochsConfig, GroupMembers, JobTopics, Journal, LogReader, Members, MembersConfig, Ownership, Page, Trimmer,
};

/// How long partitions may take to commit what is complete before they go to another process.
const REVOKE_WITHIN: Duration = Duration::from_secs(3);
/// `transaction.timeout.ms` of small transactions: how long a process that died in its first one holds up readers at most. Later ones are ended by who takes
/// over; large ones are given what they need to be written, and not more, so no takeover waits for longer than the transaction would have taken.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an epoch may take to be committed, over all tries: as long as brokers may take to come back.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// What the partitions of a job have in common.
pub struct Shared {
    pub job: PreparedJob,
    pub apart: Apart,
    pub topics: JobTopics,
    pub partitions: u16,
    pub reader: Arc<LogReader>,
    dir: PathBuf,
    /// Who has which copy of the state open.
    pub copies: Copies,
    /// The copies that can be read by those who ask for state.
    pub shown: Shown,
    /// The Kafka cluster.
    pub client: KafkaClientConfig,
    pub epoch_ms: i64,
    config: Config,
    draining: AtomicBool,
    paused: AtomicBool,
    /// Until when its sources are held for a savepoint, in milliseconds since 1970 UTC.
    held_ms: AtomicI64,
    /// This process takes no more partitions.
    closing: AtomicBool,
    harnesses: Harnesses,
    epochs: OnceLock<Epochs>,
    members: OnceLock<Members>,
    journal: Arc<Journal>,
    metrics: Mutex<BTreeMap<u16, Arc<LiveMetrics>>>,
    /// What was read of exchanges.
    pub consumed: Arc<Consumed>,
    /// Whether the partitions that run here make steps.
    pub pulses: Pulses,
}

impl Shared {
    /// The transactions, which are there once the group is joined.
    pub fn epochs(&self) -> Epochs {
        self.epochs.wait().clone()
    }

    /// Where the copy of a partition's state is kept.
    pub fn copy_dir(&self, partition: u16) -> PathBuf {
        self.dir.join(format!("partition-{partition}"))
    }

    /// Who takes part in the job just now.
    pub fn group(&self) -> Result<GroupMembers> {
        GroupMembers::of(&self.client, self.topics.prefix())
    }

    pub fn owns(&self, partition: u16) -> bool {
        self.members.get().is_none_or(|members| members.owns(partition))
    }

    pub fn config(&self) -> Config {
        let drain = self.config.drain || self.draining.load(Ordering::SeqCst);
        Config { drain, paused: self.is_held() && !drain, ..self.config.clone() }
    }

    /// Whether its sources are not read.
    fn is_held(&self) -> bool {
        self.paused.load(Ordering::SeqCst) || now_ms() < self.held_ms.load(Ordering::SeqCst)
    }

    /// Tells a partition what the job was told. What it does already changes nothing.
    pub fn steer(&self, control: &Control) {
        if self.draining.load(Ordering::SeqCst) {
            control.drain();
        } else if self.is_held() {
            control.pause();
        } else {
            control.resume();
        }
    }

    pub fn workers(&self) -> Arc<dyn WorkerFactory> {
        Arc::new(AllWorkers { local: Arc::clone(&self.apart.local), harnesses: self.harnesses.clone() })
    }

    /// Tells all processes how a partition ended.
    ///
    /// # Errors
    /// What the journal says, which is logged. It may be told again.
    pub fn tell(&self, partition: u16, ended: &Ended) -> Result<()> {
        let key = result_key(&self.job.id, partition);
        let told = serde_json::to_vec(ended).unwrap_or_default();
        let written = self.journal.append(Page::Results, &key, Some(&told));
        written.inspect_err(|error| tracing::warn!(partition, %error, "the end of a partition could not be told"))
    }

    pub fn measures(&self, partition: u16, metrics: Arc<LiveMetrics>) {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, metrics);
    }

    /// Attempted and committed metrics of the partitions that run here, or did.
    pub fn metrics(&self) -> (Metrics, Metrics) {
        let (mut attempted, mut committed) = (Metrics::default(), Metrics::default());
        for live in self.metrics.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let (a, c) = live.now();
            attempted.merge(&a);
            committed.merge(&c);
        }
        (attempted, committed)
    }
}

type Partitions = Arc<Mutex<BTreeMap<u16, RunningPartition>>>;

/// A job in this process. It leaves the group when this is dropped.
pub struct Node {
    shared: Arc<Shared>,
    running: Partitions,
    runtime: tokio::runtime::Handle,
}

/// How a node stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Without another commit: the job is over.
    AtOnce,
    /// After a last commit within so long; the partitions stay this process's, for it is back in a moment.
    Keep(Duration),
    /// The same, but other processes go on from there at once.
    HandOver(Duration),
}

impl Stop {
    fn within(self) -> Option<Duration> {
        match self {
            Self::AtOnce => None,
            Self::Keep(within) | Self::HandOver(within) => Some(within),
        }
    }
}

/// What a node is started with.
pub struct Seed<'a> {
    pub config: &'a ClusterConfig,
    /// The job as this process composed it, with its splits dealt.
    pub apart: Apart,
    pub epoch_ms: i64,
    pub server: &'a Arc<FnApiServer>,
    pub journal: Arc<Journal>,
    pub runtime: tokio::runtime::Handle,
    pub job: PreparedJob,
    pub run: &'a Run,
    pub translation: Translation,
    pub sizes: Sizes,
    pub draining: bool,
    pub paused: bool,
    pub held_ms: i64,
    /// Hears of a partition that makes no step any more.
    pub stuck: Box<dyn Fn(Error) + Send>,
}

impl Node {
    /// Takes part in a job: starts workers, joins the group, runs what it is given.
    pub fn start(seed: Seed<'_>) -> Result<Self> {
        let Seed { config, mut apart, epoch_ms, server, journal, runtime, job, run, translation, sizes, .. } = seed;
        let Seed { draining, paused, held_ms, stuck, .. } = seed;
        let partitions = u16::try_from(run.partitions).unwrap_or(1).max(1);
        let topics = JobTopics::new(&config.name, &run.state);
        let edges: Vec<StateId> = apart.plan.exchanges.iter().map(|e| e.state).collect();
        topics.check(&config.client, partitions, &edges)?;
        let harnesses = Harnesses::start(server, &translation, &apart.plan, &job, &sizes)?;
        let pieces = &apart.local.pieces() | harnesses.pieces();
        Arc::make_mut(&mut apart.plan).read_in_pieces(&pieces);
        let reader = LogReader::new(&config.client)?;
        let shared = Arc::new(Shared {
            dir: config.state_dir.join(&run.state),
            copies: Copies::default(),
            shown: Shown::default(),
            client: config.client.clone(),
            config: Config { shards: partitions, partitions, revision: run.revision, ..sizes.config },
            epoch_ms,
            draining: AtomicBool::new(draining),
            paused: AtomicBool::new(paused),
            held_ms: AtomicI64::new(held_ms),
            closing: AtomicBool::new(false),
            epochs: OnceLock::new(),
            members: OnceLock::new(),
            metrics: Mutex::default(),
            consumed: Arc::new(Consumed::of(&apart.plan, &topics)),
            pulses: Pulses::default(),
            job,
            apart,
            topics,
            partitions,
            reader,
            harnesses,
            journal,
        });
        trimming(config, &shared)?;
        watching(config, &shared, stuck)?;
        let running = Partitions::default();
        join(config, &shared, &running)?;
        keeping(config, &shared)?;
        Ok(Self { shared, running, runtime })
    }

    /// Attempted and committed metrics of what runs here.
    pub fn metrics(&self) -> impl Fn() -> (Metrics, Metrics) + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move || shared.upgrade().map(|shared| shared.metrics()).unwrap_or_default()
    }

    /// Answers from the copies of the state that are here; and for the rest asks the processes that have it.
    ///
    /// # Errors
    /// `QUERY_*`, `QUERY_ELSEWHERE` when that one has no answer.
    pub fn answer(&self, question: &Question, ask: Option<&Ask<'_>>) -> Result<Answer> {
        shown::answer(&self.shared, question, ask)
    }

    /// Sources end, here and wherever partitions go from here.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        self.steer();
    }

    /// Sources are not read, or are again, here and wherever partitions go from here.
    pub fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::SeqCst);
        self.steer();
    }

    /// The same until then, in milliseconds since 1970 UTC; whoever says so calls again when it is over.
    pub fn hold(&self, until_ms: i64) {
        self.shared.held_ms.store(until_ms, Ordering::SeqCst);
        self.steer();
    }

    fn steer(&self) {
        lock(&self.running).values().for_each(|partition| partition.obey(&self.shared));
    }

    /// Stops all partitions, and takes no more of them.
    pub fn stop(&self, how: Stop) {
        self.shared.closing.store(true, Ordering::SeqCst);
        let mut running = std::mem::take(&mut *lock(&self.running));
        end(&mut running, how.within());
        if how == Stop::AtOnce {
            self.shared.pulses.clear(); // what does not come to its end is nobody's loss
        }
        if let Some(members) = self.shared.members.get().filter(|_| matches!(how, Stop::HandOver(_))) {
            members.leave();
        }
        self.runtime.block_on(self.shared.harnesses.finalized());
        self.runtime.block_on(self.shared.harnesses.stop());
    }
}

/// Starts the thread that deletes what was read.
fn trimming(config: &ClusterConfig, shared: &Arc<Shared>) -> Result<()> {
    let (trimmer, shared) = (Trimmer::new(&config.client)?, Arc::downgrade(shared));
    spawn("exchanges-trim", move || trim::run(&shared, &trimmer))
}

/// Starts the thread that looks whether partitions make steps.
fn watching(config: &ClusterConfig, shared: &Arc<Shared>, stuck: Box<dyn Fn(Error) + Send>) -> Result<()> {
    let (limit, shared) = (config.max_poll_interval, Arc::downgrade(shared));
    spawn("partitions-watch", move || watch::run(&shared, limit, &stuck))
}

/// Starts the thread that keeps copies for others, if the job or this process wants them.
fn keeping(config: &ClusterConfig, shared: &Arc<Shared>) -> Result<()> {
    let replicas = options::standby_replicas(&shared.job.options)?.unwrap_or(config.standby_replicas);
    if replicas == 0 {
        return Ok(());
    }
    let (keeper, shared) = (Keeper::new(config, shared.topics.prefix(), replicas)?, Arc::downgrade(shared));
    spawn("standby-copies", move || keeper.run(&shared))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop).map_err(|e| {
        Error::external("THREAD_START", format!("cannot start a thread: {e}"))
            .help("raise the process's limit of threads")
    })
}

fn lock(running: &Partitions) -> MutexGuard<'_, BTreeMap<u16, RunningPartition>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stops partitions, all at once, and waits for them.
fn end(running: &mut BTreeMap<u16, RunningPartition>, leave: Option<Duration>) {
    running.values().for_each(|partition| match leave {
        Some(within) => partition.leave(within / 2), // the other half is for the commit
        None => partition.cancel(),
    });
    let end = Instant::now() + leave.unwrap_or(REVOKE_WITHIN);
    running.values_mut().for_each(|partition| partition.wait(end));
}

fn join(config: &ClusterConfig, shared: &Arc<Shared>, running: &Partitions) -> Result<()> {
    let topics = &shared.topics;
    let members = MembersConfig {
        client: config.client.clone(),
        group: topics.prefix().to_owned(),
        topic: topics.members(),
        process: config.process.clone(),
        session_timeout: config.session_timeout,
    };
    let (theirs, running) = (Arc::downgrade(shared), Arc::clone(running));
    let members = Members::join(&members, move |ownership| hear(&theirs, &running, ownership))?;
    let epochs = EpochsConfig {
        client: config.client.clone(),
        group: topics.prefix().to_owned(),
        members: topics.members(),
        changelog: topics.changelog(),
        exchanges: shared.apart.plan.exchanges.iter().map(|edge| topics.exchange(edge.state)).collect(),
        partitions: shared.partitions,
        process: config.process.clone(),
        timeout: TRANSACTION_TIMEOUT,
        delivery_timeout: DELIVERY_TIMEOUT,
        doubt_every: 0,
    };
    let epochs = Epochs::start(epochs, &members)?;
    // nobody else sets them
    shared.members.set(members).unwrap_or_default();
    shared.epochs.set(epochs).unwrap_or_default();
    Ok(())
}

/// On the membership's thread.
fn hear(shared: &Weak<Shared>, running: &Partitions, ownership: Ownership) {
    let take = |partitions: &[u16]| {
        let mut running = lock(running);
        partitions.iter().filter_map(|p| Some((*p, running.remove(p)?))).collect::<BTreeMap<_, _>>()
    };
    match ownership {
        Ownership::Gained(gained) => {
            let Some(shared) = shared.upgrade().filter(|shared| !shared.closing.load(Ordering::SeqCst)) else { return };
            let revision = shared.config.revision;
            tracing::info!(job = shared.job.id, revision, partitions = ?gained, "gained");
            for partition in gained {
                match RunningPartition::start(Arc::clone(&shared), partition) {
                    Ok(started) => drop(lock(running).insert(partition, started)),
                    // this thread waits for nobody: if it is not heard now, whoever has the partition next runs it
                    Err(error) => drop(shared.tell(partition, &Ended::Failed((&error).into()))),
                }
            }
        }
        Ownership::Leaving(leaving) => {
            tracing::info!(partitions = ?leaving, "leaving");
            end(&mut take(&leaving), Some(REVOKE_WITHIN));
        }
        Ownership::Lost(lost) => {
            tracing::warn!(partitions = ?lost, "lost");
            end(&mut take(&lost), None);
        }
        Ownership::Ended(error) => {
            tracing::error!(%error, "this process takes no part any more");
            end(&mut std::mem::take(&mut *lock(running)), None);
        }
    }
}
