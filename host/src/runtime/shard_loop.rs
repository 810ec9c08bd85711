//! The thread of one shard: carries events to the machine and its effects to workers, sources, peers and the job.
//!
//! It always receives and never blocks on a send: what a peer's channel does not take waits here, bounded by the credits
//! the machine counts.

use super::bell::{Bell, Line};
use super::dealing::{Heir, Recalled, heirs_of, splits_of, stored_name, tell_ended};
use super::pulse::Pulse;
use super::spec::{Progress, SourceSpec, WorkerFactory};
use super::{Order, ToJob, fault, now};
use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use thalweg_core::engine::{Config, Effect, Envelope, Event, Shard};
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{Plan, Stage, StageKind};
use thalweg_core::id::{Epoch, ShardId, SourceId, SplitId, StageId};
use thalweg_core::port::source::Source;
use thalweg_core::port::store::StateRead;
use thalweg_core::port::worker::{self, Command, Worker};
use thalweg_core::time::ProcessingTime;

/// How long a thread with nothing to do sleeps before it looks at sources that had nothing.
const IDLE: Duration = Duration::from_millis(5);
/// How long it sleeps at most.
const LONG: Duration = Duration::from_millis(200);
/// How long it works before it looks whether the job wants something: an epoch waits for its slowest shard.
const ATTENTION: Duration = Duration::from_millis(5);

/// How often it looks which bundle it has been waiting for longest.
const AWAITED_EVERY: Duration = Duration::from_secs(1);

/// What a shard's thread is started with.
pub(super) struct Seed {
    pub id: ShardId,
    pub plan: Arc<Plan>,
    pub config: Config,
    pub sources: Vec<SourceSpec>,
    pub workers: Arc<dyn WorkerFactory>,
    pub reader: Arc<dyn StateRead>,
    pub last: Epoch,
    pub peers: Vec<Line<Envelope>>,
    pub job: Sender<ToJob>,
    pub inbox: Receiver<Envelope>,
    pub orders: Receiver<Order>,
    pub bell: Bell,
    pub progress: Arc<Progress>,
    pub pulse: Arc<Pulse>,
    /// Set when a source cannot be opened.
    pub refused: Arc<AtomicBool>,
}

/// Runs a shard until it is told to stop. A panic fails the job, not the process.
pub(super) fn run(seed: Seed) {
    let (job, pulse) = (seed.job.clone(), Arc::clone(&seed.pulse));
    let whole = |mut shard: Loop| {
        let ended = shard.run();
        shard.last_words();
        ended
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| Loop::new(seed).and_then(whole)));
    pulse.ends();
    let error = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Error::internal("INTERNAL_PANIC", format!("a shard panicked: {text}"))
                .help("this is a fault of Thalweg; the job has stopped, what was committed is safe: please report it")
        }
    };
    job.send(ToJob::Failed(error)).unwrap_or_default();
}

/// A source that was asked for rows.
struct Poll {
    source: SourceId,
    split: SplitId,
    rows: usize,
}

struct Loop {
    id: ShardId,
    shard: Shard,
    reader: Arc<dyn StateRead>,
    inbox: Receiver<Envelope>,
    orders: Receiver<Order>,
    /// Rung when there is something in either, or a worker has events.
    bell: Bell,
    /// When it looked at its orders last.
    looked: Instant,
    peers: Vec<Line<Envelope>>,
    /// Messages that a peer's channel had no room for, per peer.
    overflow: Vec<VecDeque<Envelope>>,
    job: Sender<ToJob>,
    job_overflow: VecDeque<ToJob>,
    workers: Vec<(Option<thalweg_core::graph::EnvironmentId>, Box<dyn Worker>)>,
    /// Index of each stage's worker.
    worker_of: Vec<Option<usize>>,
    sources: BTreeMap<SourceId, Box<dyn Source>>,
    /// Which splits that come into being are this shard's.
    heirs: BTreeMap<SourceId, Heir>,
    /// The transform of each source.
    names: BTreeMap<SourceId, String>,
    /// The stage of each source.
    rooms: BTreeMap<SourceId, StageId>,
    refused: Arc<AtomicBool>,
    polls: Vec<Poll>,
    alarm: Option<ProcessingTime>,
    progress: Arc<Progress>,
    pulse: Arc<Pulse>,
    /// When it saw last what workers have in hand.
    asked: Instant,
    stopped: bool,
    /// Scratch space for worker events.
    events: Vec<worker::Event>,
}

/// The transforms of native sources.
fn names_of(plan: &Plan) -> BTreeMap<SourceId, String> {
    let sources = plan.stages.iter().filter_map(|stage| match &stage.kind {
        StageKind::Source(id) => Some((*id, stage.name.clone())),
        _ => None,
    });
    sources.collect()
}

/// The stages of native sources.
fn rooms_of(plan: &Plan) -> BTreeMap<SourceId, StageId> {
    let source = |stage: &Stage| if let StageKind::Source(id) = stage.kind { Some((id, stage.id)) } else { None };
    plan.stages.iter().filter_map(source).collect()
}

/// Opens the sources of which a shard has splits, and adds those that only its state knows.
fn open_sources(
    id: ShardId,
    plan: &Plan,
    sources: &[SourceSpec],
    splits: &mut [(SourceId, Vec<SplitId>)],
    state: &dyn StateRead,
    waker: &super::Waker,
    refuse: &dyn Fn(Error, SourceId) -> Error,
) -> Result<BTreeMap<SourceId, Box<dyn Source>>> {
    let mut opened = BTreeMap::new();
    for ((source, list), spec) in splits.iter_mut().zip(sources) {
        let recalled = Recalled::of(id, spec, stored_name(plan, *source), state)?;
        if list.is_empty() && recalled.as_ref().is_none_or(|recalled| recalled.found.is_empty()) {
            continue;
        }
        let mut open = (spec.open)().map_err(|e| refuse(e, *source))?;
        open.woken_by(waker);
        if let Some(Recalled { first, found }) = recalled {
            list.extend(open.recall(&first, &found));
        }
        tell_ended(open.as_ref(), list, stored_name(plan, *source), state).map_err(|e| refuse(e, *source))?;
        opened.insert(*source, open);
    }
    Ok(opened)
}

/// The error of a source that cannot be opened: the job is refused rather than failed, for nothing was read.
fn unopened(error: Error, source: SourceId, names: &BTreeMap<SourceId, String>, refused: &AtomicBool) -> Error {
    refused.store(true, Ordering::SeqCst);
    error.in_transform(names.get(&source).map_or("", String::as_str))
}

impl Loop {
    fn new(seed: Seed) -> Result<Self> {
        let Seed {
            id,
            plan,
            config,
            sources,
            workers,
            reader,
            last,
            peers,
            job,
            inbox,
            orders,
            bell,
            progress,
            pulse,
            refused,
        } = seed;
        bell.wakes_me();
        let mine = bell.clone();
        let waker: super::Waker = Arc::new(move || mine.ring());
        let workers = workers.make(id, Arc::clone(&waker))?;
        let worker_of = plan.stages.iter().map(|stage| match &stage.kind {
            StageKind::Worker(spec) => workers.iter().position(|(env, _)| *env == spec.environment),
            _ => None,
        });
        let worker_of = worker_of.collect();
        let mut splits = splits_of(id, &config, &sources);
        let heirs = heirs_of(id, &config, &sources);
        let names = names_of(&plan);
        let rooms = rooms_of(&plan);
        let refuse = |e: Error, source| unopened(e, source, &names, &refused);
        let opened = open_sources(id, &plan, &sources, &mut splits, reader.as_ref(), &waker, &refuse)?;
        let overflow = peers.iter().map(|_| VecDeque::new()).collect();
        Ok(Self {
            id,
            shard: Shard::new(id, plan, config, splits, Arc::clone(&reader), last),
            reader,
            inbox,
            orders,
            bell,
            looked: Instant::now(),
            peers,
            overflow,
            job,
            job_overflow: VecDeque::new(),
            workers,
            worker_of,
            sources: opened,
            heirs,
            names,
            rooms,
            refused,
            polls: Vec::new(),
            alarm: None,
            progress,
            pulse,
            asked: Instant::now(),
            stopped: false,
            events: Vec::new(),
        })
    }

    fn run(&mut self) -> Result<()> {
        self.step(Event::Start)?;
        while !self.stopped {
            self.bell.look();
            let busy = self.obey()? | self.receive()? | self.poll_workers()? | self.poll_sources()? | self.ring()?;
            let blocked = self.flush();
            let (read, written) = self.shard.counts();
            self.progress.set(self.id, read, written);
            self.pulse.beat();
            self.see_workers();
            if !busy && !self.stopped {
                self.sleep(blocked);
            }
        }
        Ok(())
    }

    /// Notes now and then which bundle it has been waiting for longest.
    fn see_workers(&mut self) {
        if self.asked.elapsed() >= AWAITED_EVERY {
            self.asked = Instant::now();
            let awaited = self.workers.iter_mut().filter_map(|(_, worker)| worker.awaited());
            self.pulse.awaits(awaited.max_by_key(|(silent, _)| *silent).map(|(_, awaited)| awaited));
        }
    }

    /// Metrics that still wait for room are told before the thread ends. The job takes them until it has.
    fn last_words(&mut self) {
        for message in self.job_overflow.drain(..) {
            if matches!(message, ToJob::Metrics { .. } | ToJob::Running(..)) {
                self.job.send(message).unwrap_or_default();
            }
        }
    }

    fn sleep(&self, blocked: bool) {
        let mut most = if blocked {
            Duration::from_millis(1)
        } else if self.polls.is_empty() {
            LONG
        } else {
            IDLE
        };
        if let Some(alarm) = self.alarm {
            let left = alarm.0.saturating_sub(now().0).max(0);
            most = most.min(Duration::from_millis(left as u64));
        }
        self.bell.wait(most);
    }

    /// Does what the job asks for.
    fn obey(&mut self) -> Result<bool> {
        let mut any = false;
        loop {
            match self.orders.try_recv() {
                Ok(order) => {
                    any = true;
                    self.follow(order)?;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.stopped = true; // nobody is left to work for
                    break;
                }
            }
        }
        self.looked = Instant::now();
        Ok(any)
    }

    fn follow(&mut self, order: Order) -> Result<()> {
        match order {
            Order::Event(event) => self.step(event),
            Order::Change(apply) => apply(self.id).into_iter().try_for_each(|event| self.step(event)),
            Order::Stop => {
                self.stopped = true;
                Ok(())
            }
        }
    }

    /// Looks at the orders if it is time; whether to go on with what it was at.
    fn goes_on(&mut self) -> Result<bool> {
        if self.looked.elapsed() >= ATTENTION {
            self.obey()?;
        }
        Ok(!self.stopped)
    }

    fn receive(&mut self) -> Result<bool> {
        let mut any = false;
        // a bound, so that a chatty peer does not keep workers and sources waiting
        for _ in 0..64 {
            if !self.goes_on()? {
                break;
            }
            let Ok(envelope) = self.inbox.try_recv() else { break };
            any = true;
            self.step(Event::Message(envelope))?;
        }
        Ok(any)
    }

    fn poll_workers(&mut self) -> Result<bool> {
        let mut any = false;
        for i in 0..self.workers.len() {
            any |= self.poll_worker(i)?;
        }
        Ok(any)
    }

    fn poll_worker(&mut self, i: usize) -> Result<bool> {
        let mut events = std::mem::take(&mut self.events);
        let mut environment = None;
        if let Some((env, worker)) = self.workers.get_mut(i) {
            environment = *env;
            worker.poll(&mut events);
        }
        let any = !events.is_empty();
        for event in events.drain(..) {
            if !self.goes_on()? {
                break;
            }
            self.step(Event::Worker { environment, event })?;
        }
        self.events = events;
        Ok(any)
    }

    fn poll_sources(&mut self) -> Result<bool> {
        let mut any = self.find_splits()?;
        for poll in std::mem::take(&mut self.polls) {
            if !self.goes_on()? {
                break;
            }
            if !self.shard.reads(poll.source) {
                self.polls.push(poll); // its time comes
                continue;
            }
            let Some(source) = self.sources.get_mut(&poll.source) else { continue };
            let named = |e: Error| e.in_transform(self.names.get(&poll.source).map_or("", String::as_str));
            self.pulse.inside(self.rooms.get(&poll.source).copied());
            let read = source.poll(poll.split, poll.rows);
            self.pulse.inside(None);
            match read.map_err(named)? {
                Some(read) => {
                    any = true;
                    self.step(Event::Read { source: poll.source, split: poll.split, read })?;
                }
                None => self.polls.push(poll),
            }
        }
        Ok(any)
    }

    /// Takes this shard's part of the splits that came into being.
    fn find_splits(&mut self) -> Result<bool> {
        let mut new = Vec::new();
        for (source, instance) in &mut self.sources {
            let named = |e: Error| e.in_transform(self.names.get(source).map_or("", String::as_str));
            let mut splits = instance.found().map_err(named)?;
            splits.retain(|split| self.heirs.get(source).is_some_and(|heir| heir.takes(*split)));
            if !splits.is_empty() {
                new.push((*source, splits));
            }
        }
        let any = !new.is_empty();
        new.into_iter().try_for_each(|(source, splits)| self.step(Event::Splits { source, splits }))?;
        Ok(any)
    }

    fn ring(&mut self) -> Result<bool> {
        let due = self.alarm.is_some_and(|at| at <= now());
        if due {
            self.alarm = None;
            self.step(Event::Alarm)?;
        }
        Ok(due)
    }

    fn step(&mut self, event: Event) -> Result<()> {
        for effect in self.shard.step(event, self.reader.as_ref(), now()) {
            self.effect(effect)?;
        }
        self.pulse.beat();
        Ok(())
    }

    fn effect(&mut self, effect: Effect) -> Result<()> {
        match effect {
            Effect::Worker(stage, command) => self.command(stage, command)?,
            Effect::Open { source, split, position } => {
                if let Some(s) = self.sources.get_mut(&source) {
                    let opened = s.open(split, position.as_deref());
                    opened.map_err(|e| unopened(e, source, &self.names, &self.refused))?;
                }
            }
            Effect::Poll { source, split, rows } => self.polls.push(Poll { source, split, rows }),
            Effect::Send(to, envelope) => {
                if let Some(queue) = self.overflow.get_mut(usize::from(to.0)) {
                    queue.push_back(envelope);
                }
                self.flush();
            }
            Effect::Sealed(part) => self.tell_job(ToJob::Sealed(Box::new(part))),
            Effect::Alarm(at) => self.alarm = Some(self.alarm.map_or(at, |a| a.min(at))),
            Effect::Report(report) => self.tell_job(ToJob::Report(self.id, report)),
            Effect::Metrics { committed, metrics } => self.tell_job(ToJob::Metrics { committed, metrics }),
            Effect::Running(metrics) => self.tell_job(ToJob::Running(self.id, metrics)),
            Effect::Fail(error) => return Err(error),
        }
        Ok(())
    }

    fn command(&mut self, stage: StageId, command: Command) -> Result<()> {
        let worker = self.worker_of.get(stage.0 as usize).copied().flatten();
        match worker.and_then(|i| self.workers.get_mut(i)) {
            Some((_, worker)) => {
                self.pulse.inside(Some(stage));
                fault("shard_command");
                let taken = worker.submit(command);
                self.pulse.inside(None);
                self.pulse.beat();
                taken
            }
            None => Err(Error::internal("WORKER_MISSING", format!("no worker runs stage {}", stage.0))),
        }
    }

    fn tell_job(&mut self, message: ToJob) {
        self.job_overflow.push_back(message);
        self.flush_job();
    }

    fn flush_job(&mut self) -> bool {
        while let Some(message) = self.job_overflow.pop_front() {
            if let Err(TrySendError::Full(message)) = self.job.try_send(message) {
                self.job_overflow.push_front(message);
                return true;
            }
        }
        false
    }

    /// Sends what waits; tells whether something still does.
    fn flush(&mut self) -> bool {
        let mut blocked = self.flush_job();
        if blocked {
            // a report must reach the job before the messages of its step reach their receivers
            return true;
        }
        for (peer, queue) in self.peers.iter().zip(&mut self.overflow) {
            while let Some(message) = queue.pop_front() {
                if let Err(TrySendError::Full(message)) = peer.try_send(message) {
                    queue.push_front(message);
                    blocked = true;
                    break;
                }
            }
        }
        blocked
    }
}
