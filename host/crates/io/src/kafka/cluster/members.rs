//! Who owns which of a job's partitions: membership of one consumer group.
//!
//! In: the members topic, whose partition *i* stands for the job's partition *i*. Out: words about what this process gains and gives up,
//! and the group's metadata, which fence every commit. Metadata are taken on the thread that polls, in a rebalance, and stay as they
//! are until the next one: a process that was voted out without knowing must not use those of a generation it has not heard of
//! (engine decision 19). The protocol is the classic one, cooperative and sticky, with static membership: a process that is restarted within the session's
//! timeout finds its partitions where it left them. Source: KIP-429, KIP-345, KIP-447.
//!
//! A process may be fenced by itself: brokers that did not answer for longer than a session take it in twice when they are back, under one `group.instance.id`, and
//! librdkafka gives up for good. It then takes part anew by another consumer, unless the group says that someone else has its place, and keeps it for
//! longer than the session of one that has died. Of members of one name brokers keep the `client.id` of the first, but the subscription of the last, and at its
//! end the `client.rack` (KIP-881): a number of each life stands there, for a consumer that reads nothing is near nothing.

use super::super::client::{KafkaClientConfig, made};
use super::super::error;
use super::super::thread::spawn;
use super::epochs::Tenure;
use super::group::GroupMembers;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};

/// How a process takes part.
#[derive(Clone, Debug)]
pub struct MembersConfig {
    /// The cluster.
    pub client: KafkaClientConfig,
    /// Name of the group; commit records are its offsets.
    pub group: String,
    /// The members topic.
    pub topic: String,
    /// `group.instance.id`: names the process among all that take part, and again when it is restarted.
    pub process: String,
    /// `session.timeout.ms`: who is silent for so long has lost its partitions.
    pub session_timeout: Duration,
}

/// What happens to partitions of this process.
#[derive(Clone, Debug)]
pub enum Ownership {
    /// They belong to it now.
    Gained(Vec<u16>),
    /// They go to another process once this call returns: commit what is complete, and stop.
    Leaving(Vec<u16>),
    /// They may belong to others already: stop, without a commit.
    Lost(Vec<u16>),
    /// The process takes no part any more.
    Ended(Error),
}

/// How long a process that leaves waits until its partitions are given up.
const LEFT_WITHIN: Duration = Duration::from_secs(3);
/// How often it looks whether its thread has ended.
const LOOK: Duration = Duration::from_millis(2);
/// How often a process that was fenced asks whether the other one is still there.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// A member that is gone is one for its session, and as much longer as brokers take to see to it.
const GONE_WITHIN: Duration = Duration::from_secs(3);
/// The code of a process whose place another one has taken.
const FENCED: &str = "CLUSTER_FENCED";

/// Called on the membership's thread.
type Listener = Arc<dyn Fn(Ownership) + Send + Sync>;

/// What the group has given this process. Shared with who commits.
#[derive(Default)]
pub(super) struct Group {
    state: Mutex<GroupState>,
    changed: Condvar,
}

#[derive(Clone, Default)]
pub(super) struct GroupState {
    /// The partitions it owns, each with the round in which it got it.
    pub owned: BTreeMap<u16, u64>,
    pub metadata: Option<Arc<ConsumerGroupMetadata>>,
    /// Counts rebalances.
    pub round: u64,
    /// The process has left.
    pub left: bool,
}

impl GroupState {
    /// Whether a tenure lasts.
    pub(super) fn is_of(&self, tenure: &Tenure) -> bool {
        self.owned.get(&tenure.partition) == Some(&tenure.round)
    }
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, GroupState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> GroupState {
        self.lock().clone()
    }

    pub(super) fn owns(&self, partition: u16) -> bool {
        self.lock().owned.contains_key(&partition)
    }

    /// Whether a tenure lasts.
    pub(super) fn is_of(&self, tenure: &Tenure) -> bool {
        self.lock().is_of(tenure)
    }

    /// Waits for the rebalance after `round`, at most so long.
    pub(super) fn wait_after(&self, round: u64, most: Duration) {
        let state = self.lock();
        drop(self.changed.wait_timeout_while(state, most, |state| state.round == round));
    }

    fn change(&self, change: impl FnOnce(&mut GroupState)) {
        let mut state = self.lock();
        change(&mut state);
        state.round += 1;
        drop(state);
        self.changed.notify_all();
    }
}

/// Takes part in the group of a job until it is dropped.
pub struct Members {
    group: Arc<Group>,
    stop: Arc<AtomicBool>,
    leaving: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members").field("owned", &self.group.now().owned.into_keys()).finish_non_exhaustive()
    }
}

struct Context {
    group: Arc<Group>,
    listener: Listener,
    /// Another consumer has the place of this one: what it still says is not heard.
    over: AtomicBool,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "kafka", ?level, "{facility}: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "kafka", "{error}: {reason}");
    }
}

fn partitions(list: &rdkafka::TopicPartitionList) -> Vec<u16> {
    list.elements().iter().filter_map(|e| u16::try_from(e.partition()).ok()).collect()
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else { return };
        if self.over.load(Ordering::SeqCst) {
            return;
        }
        let leaving = partitions(list);
        if leaving.is_empty() {
            return;
        }
        if consumer.assignment_lost() {
            // no commit of theirs is sent any more
            self.group.change(|state| state.owned.retain(|p, _| !leaving.contains(p)));
            (self.listener)(Ownership::Lost(leaving));
            return;
        }
        // the generation of this very rebalance: nobody else has these partitions before this call returns
        self.group.change(|state| state.metadata = consumer.group_metadata().map(Arc::new));
        (self.listener)(Ownership::Leaving(leaving.clone()));
        self.group.change(|state| state.owned.retain(|p, _| !leaving.contains(p)));
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if self.over.load(Ordering::SeqCst) {
            return;
        }
        let gained = if let Rebalance::Assign(list) = rebalance { partitions(list) } else { Vec::new() };
        self.group.change(|state| {
            state.metadata = consumer.group_metadata().map(Arc::new);
            let round = state.round;
            state.owned.extend(gained.iter().map(|partition| (*partition, round)));
        });
        if !gained.is_empty() {
            (self.listener)(Ownership::Gained(gained));
        }
    }
}

impl Members {
    /// Joins the group. `listener` hears of partitions, one word after the other, on a thread of the membership's own.
    ///
    /// # Errors
    /// `KAFKA_CONFIG`, `KAFKA_PROPERTY_REFUSED`, `THREAD_START`.
    pub fn join(config: &MembersConfig, listener: impl Fn(Ownership) + Send + Sync + 'static) -> Result<Self> {
        let (group, stop) = (Arc::new(Group::default()), Arc::new(AtomicBool::new(false)));
        let leaving = Arc::new(AtomicBool::new(false));
        let place = Place {
            config: config.clone(),
            group: Arc::clone(&group),
            listener: Arc::new(listener),
            life: format!("{:016x}", RandomState::new().hash_one(&config.process)),
            stop: Arc::clone(&stop),
            leaving: Arc::clone(&leaving),
        };
        let mut consumer = place.consumer()?;
        let run = move || {
            // the consumer goes behind what is told: librdkafka may wait for its end
            if let Some(ended) = place.run(&mut consumer) {
                (place.listener)(Ownership::Ended(ended));
            }
        };
        let thread = spawn(&format!("{}-members", config.group), run)?;
        Ok(Self { group, stop, leaving, thread: Some(thread) })
    }

    /// Leaves the group now, so that others need not wait for the session to end; without this a process that ends stays a member until then, and
    /// finds its partitions when it is back before. Blocks until the partitions are given up, at most [`LEFT_WITHIN`].
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
        let state = self.group.lock();
        drop(self.group.changed.wait_timeout_while(state, LEFT_WITHIN, |state| !state.left));
    }

    /// What the group has given this process; for [`Epochs`](super::Epochs).
    pub(super) fn group(&self) -> Arc<Group> {
        Arc::clone(&self.group)
    }

    /// Whether a partition is this process's, as far as it knows.
    #[must_use]
    pub fn owns(&self, partition: u16) -> bool {
        self.group.owns(partition)
    }
}

/// The place of a process in its group, whichever consumer has it.
struct Place {
    config: MembersConfig,
    group: Arc<Group>,
    listener: Listener,
    /// Tells this life of the process from any other of its name.
    life: String,
    stop: Arc<AtomicBool>,
    leaving: Arc<AtomicBool>,
}

impl Place {
    /// A consumer that joins the group.
    fn consumer(&self) -> Result<Arc<BaseConsumer<Context>>> {
        let config = &self.config;
        let mut settings = config.client.client()?;
        let session = config.session_timeout.as_millis().to_string();
        // the answers to heartbeats say that parts are to be moved: however long the session, they are not to wait
        let heartbeat = (config.session_timeout.as_millis() / 6).clamp(100, 1000).to_string();
        for (name, value) in [
            ("group.id", config.group.as_str()),
            ("group.instance.id", config.process.as_str()),
            ("client.rack", self.life.as_str()),
            ("session.timeout.ms", session.as_str()),
            ("heartbeat.interval.ms", heartbeat.as_str()),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "latest"), // there is nothing to read; offsets are commit records
            ("isolation.level", "read_committed"),
            ("max.poll.interval.ms", "60000"),
        ] {
            settings.set(name, value);
        }
        let (group, listener) = (Arc::clone(&self.group), Arc::clone(&self.listener));
        let consumer: Arc<BaseConsumer<Context>> =
            made(&settings, Context { group, listener, over: AtomicBool::new(false) })?;
        consumer.subscribe(&[config.topic.as_str()]).map_err(|e| error::configuration(&e))?;
        Ok(consumer)
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn leaves(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Takes part until it is told to stop; why it had to, otherwise.
    fn run(&self, consumer: &mut Arc<BaseConsumer<Context>>) -> Option<Error> {
        loop {
            let error = self.poll(consumer)?;
            consumer.context().over.store(true, Ordering::SeqCst);
            if error.code != FENCED {
                return Some(error);
            }
            self.lose();
            match self.is_taken().and_then(|taken| if taken { Err(error) } else { self.again() }) {
                Ok(Some(next)) => {
                    let fenced = std::mem::replace(consumer, next);
                    // librdkafka may wait for its end
                    drop(spawn(&format!("{}-fenced", self.config.group), move || drop(fenced)));
                }
                Ok(None) => {
                    // what brokers keep of it ends with its session
                    self.group.change(|state| state.left = true);
                    return None;
                }
                Err(error) => return Some(error),
            }
        }
    }

    /// Asks every second until there is an answer; none if nobody wants one any more. Waits for what does not answer, as brokers and logins.
    fn answered<T>(&self, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
        while !self.stops() && !self.leaves() {
            match ask() {
                Ok(None) => {}
                Err(error) if error::passes(&error) => tracing::debug!(target: "kafka", "{error}"),
                answer => return answer,
            }
            std::thread::sleep(ASK_EVERY);
        }
        Ok(None)
    }

    /// Another consumer; none if nobody wants one any more.
    fn again(&self) -> Result<Option<Arc<BaseConsumer<Context>>>> {
        let next = self.answered(|| self.consumer().map(Some))?;
        if next.is_some() {
            tracing::warn!(group = self.config.group, "fenced by a request of its own, and takes part anew");
        }
        Ok(next)
    }

    /// Polls until it is told to stop; why it had to, otherwise.
    fn poll(&self, consumer: &BaseConsumer<Context>) -> Option<Error> {
        let (mut left, group) = (false, &self.group);
        while !self.stops() {
            if self.leaves() && !left {
                // a static member that is merely closed stays one; one that wants nothing any more leaves
                consumer.unsubscribe();
                left = true;
            }
            if left && !group.now().left && group.now().owned.is_empty() {
                group.change(|state| state.left = true);
            }
            let Some(Err(e)) = consumer.poll(Duration::from_millis(100)) else { continue };
            match e.rdkafka_error_code() {
                Some(Code::Fatal | Code::FencedInstanceId) => {
                    let what = "another process takes part under the same process id";
                    return Some(
                        Error::user(FENCED, format!("{what}: {e}"))
                            .help("give every process a process id of its own, and start each one once"),
                    );
                }
                Some(Code::GroupAuthorizationFailed | Code::TopicAuthorizationFailed) => {
                    return Some(
                        Error::user("KAFKA_AUTH", format!("the brokers refuse membership: {e}"))
                            .help("check the access rights of this user to the group and the topics of the job"),
                    );
                }
                _ => tracing::debug!(target: "kafka", "{e}"),
            }
        }
        None
    }

    /// All partitions may belong to others by now.
    fn lose(&self) {
        let lost: Vec<u16> = self.group.now().owned.into_keys().collect();
        if !lost.is_empty() {
            self.group.change(|state| state.owned.clear());
            (self.listener)(Ownership::Lost(lost));
        }
    }

    /// Whether another process has the place. Waits until brokers answer, and for the end of one that may have died.
    fn is_taken(&self) -> Result<bool> {
        let gone = Instant::now() + self.config.session_timeout + GONE_WITHIN;
        let mut group = None;
        let taken = self.answered(|| {
            let group = match &mut group {
                Some(group) => group,
                none => none.insert(GroupMembers::of(&self.config.client, &self.config.group)?),
            };
            let all = group.subscriptions(&self.config.process)?;
            if all.iter().all(|one| one.ends_with(self.life.as_bytes())) {
                return Ok(Some(false));
            }
            // while parts are moved nothing is told
            Ok((Instant::now() > gone && all.iter().all(|one| !one.is_empty())).then_some(true))
        });
        Ok(taken?.unwrap_or(false))
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // the last owner may be a call of the listener
        let mine = |thread: &JoinHandle<()>| thread.thread().id() == std::thread::current().id();
        let Some(thread) = self.thread.take().filter(|thread| !mine(thread)) else { return };
        let end = Instant::now() + LEFT_WITHIN;
        while !thread.is_finished() {
            // librdkafka may wait for ever for the end of a consumer in whose group parts are just moved: it is left to itself then
            if Instant::now() > end {
                return tracing::warn!(target: "kafka", "the membership of a group does not end");
            }
            std::thread::sleep(LOOK);
        }
        // a panic of that thread is no reason for one of this
        drop(thread.join());
    }
}
