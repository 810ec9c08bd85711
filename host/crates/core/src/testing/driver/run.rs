//! The parts of a run that a crash drops, and what can happen next in them.

use super::super::source::ScriptedSource;
use super::super::worker::{ScriptedWorker, WorkerScript};
use super::writer::Writer;
use super::{Choice, Driver};
use crate::engine::{Envelope, Event, Job, JobEvent, Outcome, Shard};
use crate::error::Result;
use crate::graph::EnvironmentId;
use crate::id::{BundleId, Epoch, ShardId, SourceId, SplitId, StageId};
use crate::port::store::StateStore;
use crate::port::worker;
use crate::state::layout::{KeyReader, Kind};
use crate::time::ProcessingTime;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A worker of a shard and what it has said that the engine has not yet heard.
pub(super) struct Seat {
    pub worker: ScriptedWorker,
    /// By bundle; order matters within a bundle only.
    pub said: BTreeMap<Option<BundleId>, VecDeque<worker::Event>>,
}

impl Seat {
    pub fn new(script: WorkerScript) -> Self {
        let mut seat = Self { worker: ScriptedWorker::new(script), said: BTreeMap::new() };
        seat.collect();
        seat
    }

    /// Takes what the worker has ready.
    pub fn collect(&mut self) {
        let mut ready = Vec::new();
        self.worker.take_ready(&mut ready);
        for event in ready {
            self.said.entry(bundle_of(&event)).or_default().push_back(event);
        }
    }
}

fn bundle_of(event: &worker::Event) -> Option<BundleId> {
    match event {
        worker::Event::Output { bundle, .. }
        | worker::Event::Done { bundle, .. }
        | worker::Event::Failed { bundle, .. }
        | worker::Event::Progress { bundle, .. }
        | worker::Event::Split { bundle, .. } => Some(*bundle),
        _ => None,
    }
}

/// What a crash drops.
pub(super) struct Run {
    pub shards: Vec<Shard>,
    pub job: Job,
    pub sources: Vec<Vec<ScriptedSource>>,
    pub seats: BTreeMap<(ShardId, Option<EnvironmentId>), Seat>,
    pub links: BTreeMap<(ShardId, ShardId), VecDeque<Envelope>>,
    pub orders: Vec<VecDeque<Event>>,
    pub to_job: VecDeque<JobEvent>,
    /// Polls under way, with the rows asked for.
    pub polls: BTreeMap<(ShardId, SourceId, SplitId), usize>,
    /// Splits that had nothing: polled again when asked.
    pub dry: BTreeSet<(ShardId, SourceId, SplitId)>,
    pub alarms: Vec<Option<ProcessingTime>>,
    /// Shards that have taken their first event; the others hear nothing else.
    pub started: BTreeSet<ShardId>,
    pub next_tick: ProcessingTime,
    pub writer: Writer,
    pub outcome: Option<Outcome>,
    pub closed: bool,
}

impl Run {
    pub fn describe(&self) -> String {
        let said: Vec<_> = self.seats.iter().map(|(at, s)| (at, s.said.keys().collect::<Vec<_>>())).collect();
        let open: Vec<_> = self.seats.values().flat_map(|s| s.worker.open()).collect();
        let links: Vec<_> = self.links.iter().map(|(at, l)| (at, l.len())).collect();
        let shards = &self.shards;
        format!("open bundles {open:?}, said {said:?}, links {links:?}, alarms {:?}, {shards:#?}", self.alarms)
    }

    pub fn link(&mut self, from: ShardId, to: ShardId) -> &mut VecDeque<Envelope> {
        self.links.entry((from, to)).or_default()
    }
}

impl Driver {
    /// Begins a run from what is stored.
    pub(super) fn begin(&mut self) -> Result<()> {
        let shards = self.config.shards;
        let last = self.store.last_epoch()?;
        let reader = self.store.reader();
        let make = |s: u16| {
            let splits = self.topology.sources.iter().enumerate().map(|(source, splits)| {
                let there = |i: &u32| last > Epoch(0) || splits.get(*i as usize).is_some_and(|split| !split.is_later());
                let mine = (0..splits.len() as u32).filter(|i| i % u32::from(shards) == u32::from(s));
                (SourceId(source as u32), mine.filter(there).map(SplitId).collect())
            });
            let (plan, config) = (Arc::clone(&self.plan), self.config.clone());
            Shard::new(ShardId(s), plan, config, splits.collect(), Arc::clone(&reader), last)
        };
        let job = Job::new(&self.plan, shards, self.epoch_ms, last, &*reader)?;
        let sources = || self.topology.sources.iter().map(|s| ScriptedSource::new(s.clone())).collect();
        let seats = (0..shards).flat_map(|s| {
            self.scripts.iter().map(move |(env, script)| ((ShardId(s), *env), Seat::new(script.clone())))
        });
        let writer = Writer::new(&self.topology.sinks, &self.plan, &self.store)?;
        let run = Run {
            shards: (0..shards).map(make).collect(),
            sources: (0..shards).map(|_| sources()).collect(),
            seats: seats.collect(),
            links: BTreeMap::new(),
            orders: (0..shards).map(|_| VecDeque::from([Event::Start])).collect(),
            to_job: VecDeque::new(),
            polls: BTreeMap::new(),
            dry: BTreeSet::new(),
            alarms: vec![None; usize::from(shards)],
            started: BTreeSet::new(),
            next_tick: self.now.plus(self.epoch_ms),
            writer,
            outcome: None,
            closed: false,
            job,
        };
        let effects = run.job.start();
        self.run = Some(run);
        self.carry_out_job(effects);
        Ok(())
    }

    /// All that can happen next, in a fixed order; [`Choice::Time`] stands last.
    #[must_use]
    pub fn choices(&self) -> Vec<Choice> {
        let Some(run) = &self.run else { return Vec::new() };
        let mut all = Vec::new();
        let orders = run.orders.iter().enumerate().filter(|(_, o)| !o.is_empty());
        all.extend(orders.map(|(s, _)| Choice::Order(ShardId(s as u16))));
        if !run.writer.is_idle() {
            all.push(Choice::Write);
        }
        if run.outcome.is_some() {
            return all;
        }
        let links = run.links.iter().filter(|((_, to), l)| !l.is_empty() && run.started.contains(to));
        all.extend(links.map(|((from, to), _)| Choice::Message(*from, *to)));
        if !run.to_job.is_empty() {
            all.push(Choice::Tell);
        }
        for ((shard, env), seat) in &run.seats {
            let said = seat.said.iter().filter(|(_, events)| !events.is_empty() && run.started.contains(shard));
            all.extend(said.map(|(bundle, _)| Choice::Speak(*shard, *env, *bundle)));
            let open = seat.worker.open().filter(|(_, stage)| !self.held.contains(stage));
            all.extend(open.map(|(bundle, _)| Choice::Work(*shard, *env, bundle)));
        }
        let due = run.alarms.iter().enumerate().filter(|(_, at)| at.is_some_and(|at| at <= self.now));
        all.extend(due.map(|(s, _)| Choice::Alarm(ShardId(s as u16))));
        let reads = |shard: &ShardId, source| run.shards.get(usize::from(shard.0)).is_some_and(|s| s.reads(source));
        let polls = run.polls.keys().filter(|at| !run.dry.contains(*at) && reads(&at.0, at.1));
        all.extend(polls.map(|(shard, source, split)| Choice::Read(*shard, *source, *split)));
        all.push(Choice::Time);
        all
    }

    /// Messages on their way from one shard to another.
    #[must_use]
    pub fn in_flight(&self, from: ShardId, to: ShardId) -> usize {
        self.run.as_ref().and_then(|run| run.links.get(&(from, to))).map_or(0, VecDeque::len)
    }

    /// Rows that this run has read from its sources.
    #[must_use]
    pub fn rows_read(&self) -> u64 {
        self.run.iter().flat_map(|run| &run.shards).map(|s| s.counts().0).sum()
    }

    /// Cells of a kind in the store.
    #[must_use]
    pub fn stored(&self, kind: Kind) -> usize {
        let of_kind = |key: &[u8]| KeyReader::open(key).is_some_and(|(_, k, ..)| k == kind as u8);
        self.store.cells().iter().filter(|(key, _)| of_kind(key)).count()
    }

    /// Open bundles of a stage, held or not.
    #[must_use]
    pub fn open(&self, stage: &str) -> Vec<(ShardId, BundleId)> {
        let stage: StageId = self.stage(stage);
        let Some(run) = &self.run else { return Vec::new() };
        let seats = run.seats.iter();
        seats
            .flat_map(|((shard, _), seat)| {
                let mine = seat.worker.open().filter(move |(_, s)| *s == stage);
                mine.map(move |(bundle, _)| (*shard, bundle))
            })
            .collect()
    }

    /// The worker of a stage on a shard.
    ///
    /// # Panics
    /// When there is none.
    pub fn worker(&mut self, shard: ShardId, stage: &str) -> &mut ScriptedWorker {
        let env = self.environment(self.stage(stage));
        let seat = self.running().seats.get_mut(&(shard, env));
        &mut seat.unwrap_or_else(|| unreachable!("no worker for {stage}")).worker
    }
}
