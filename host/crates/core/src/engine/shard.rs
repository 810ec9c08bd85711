//! The shard machine: its parts and its one entrance, [`Shard::step`].

use super::event::{Effect, Envelope, Event, Message, Report};
use super::hold::Hold;
use super::sealed::Sealing;
use super::stages::{Room, StageRoom};
use crate::error::Result;
use crate::graph::{EnvironmentId, Plan, Stage, StageKind, TimerFamily};
use crate::id::{BundleId, CacheToken, Epoch, Partition, ShardId, SourceId, SplitId, StageId};
use crate::metric::Metrics;
use crate::port::store::StateRead;
use crate::port::worker::StateSpec;
use crate::shuffle::Credits;
use crate::sink::SinkRoom;
use crate::stage::Bundle;
use crate::time::ProcessingTime;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sizes and times of a job. Every bound of the engine stands here, with its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Shards of the process.
    pub shards: u16,
    /// Partitions of the job; stored with it, never derived from cores.
    pub partitions: u16,
    /// A bundle takes at most so many elements ...
    pub bundle_rows_max: usize,
    /// ... and about so many bytes ...
    pub bundle_bytes_max: usize,
    /// ... and is made as large as the worker, by what it has shown, manages in so many milliseconds.
    pub bundle_ms: i64,
    /// A stage's queue, and what is under way to one shard over one edge, may hold so many bytes before producers pause.
    pub queue_bytes_max: usize,
    /// Outputs of bundles that have not taken effect may hold so many bytes on a shard before the job fails; several times what a queue
    /// may, because a bundle that holds as much as that is asked to give back what it has not begun.
    pub outputs_bytes_max: usize,
    /// Where a store holds state, what bundles of an epoch read and write of it, each anew, and what groupings take in may come to about so
    /// many bytes on a shard: then it begins nothing more, and the epoch ends as soon as the one before it is committed.
    pub epoch_bytes_max: usize,
    /// Rows asked of a source at once.
    pub read_rows: usize,
    /// A bundle that failed so often fails the job.
    pub attempts_max: u32,
    /// A bundle whose worker was lost so often fails the job.
    pub losses_max: u32,
    /// First pause before a retry, in milliseconds; doubles each time.
    pub retry_ms: i64,
    /// Groups of a keyed stage kept in memory after their commit.
    pub cached_groups: usize,
    /// A bundle that has run for so many milliseconds is asked how far it is, and again and again; 0: none ever is.
    pub progress_ms: i64,
    /// A bundle without keys that has run for so long is asked to share what is left with free places; 0: none is.
    pub split_after_ms: i64,
    /// A bundle of endless restrictions that has run for so long is asked to give back what is left, so that what it has done
    /// takes effect; 0: none is.
    pub checkpoint_ms: i64,
    /// The job is drained from its first moment: sources give nothing, restrictions are truncated.
    pub drain: bool,
    /// The job is paused from its first moment.
    pub paused: bool,
    /// How often the pipeline of the job was updated.
    pub revision: u64,
    /// This shard runs apart from the others: the plan's edges are all local, exchanges go through the log, and the store holds
    /// what is this shard's alone.
    pub apart: bool,
}

impl Config {
    /// How often bundles that run are looked at.
    pub(super) fn pace_ms(&self) -> i64 {
        let wanted = [self.progress_ms, self.split_after_ms, self.checkpoint_ms];
        wanted.into_iter().filter(|ms| *ms > 0).min().unwrap_or(i64::MAX)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shards: 1,
            partitions: 64,
            bundle_rows_max: 50_000,
            bundle_bytes_max: 4 << 20,
            bundle_ms: 500,
            queue_bytes_max: 16 << 20,
            outputs_bytes_max: 4 << 30,
            // two seconds of a fast disk
            epoch_bytes_max: 64 << 20,
            read_rows: 4096,
            attempts_max: 4,
            losses_max: 10,
            retry_ms: 20,
            cached_groups: 100_000,
            progress_ms: 500,
            split_after_ms: 1000,
            checkpoint_ms: 1000,
            drain: false,
            paused: false,
            revision: 0,
            apart: false,
        }
    }
}

/// One shard.
pub struct Shard {
    pub(super) id: ShardId,
    pub(super) plan: Arc<Plan>,
    pub(super) config: Config,
    pub(super) stages: Vec<StageRoom>,
    /// Output port of each edge, by edge id.
    pub(super) port_of: Vec<u32>,
    /// Splits of all sources that belong to this shard.
    pub(super) splits: Vec<(SourceId, Vec<SplitId>)>,
    pub(super) bundles: BTreeMap<BundleId, Bundle>,
    pub(super) next_bundle: u64,
    pub(super) credits: Credits,
    pub(super) sinks: SinkRoom,
    /// The open epoch.
    pub(super) epoch: Epoch,
    pub(super) sealing: Option<Sealing>,
    /// The last epoch that is committed.
    pub(super) lasting: Epoch,
    pub(super) next_stored: u64,
    /// Numbers of stored pending input that was consumed in the open epoch.
    pub(super) consumed: Vec<bytes::Bytes>,
    /// About how many bytes of state were read and written in the open epoch.
    pub(super) changed: usize,
    /// Credit for what came from other shards, which is kept while the epoch is full.
    pub(super) kept_credit: Vec<(ShardId, Message)>,
    /// Bytes that bundles hold which have not taken effect.
    pub(super) held: usize,
    /// Metrics of bundles applied in epochs that are not committed.
    pub(super) metrics: BTreeMap<Epoch, Metrics>,
    pub(super) tokens: u64,
    /// Whether what names the job is stored as it is.
    pub(super) identity_stored: bool,
    pub(super) report: Report,
    pub(super) reported: Option<Report>,
    pub(super) clock: Option<ProcessingTime>,
    /// What is left undone.
    pub(super) holds: Hold,
    /// Where the clock stands while something is.
    pub(super) stood: Option<ProcessingTime>,
    pub(super) alarm: Option<ProcessingTime>,
    /// When running bundles are looked at next.
    pub(super) pace_at: ProcessingTime,
    /// Restrictions are truncated before they are processed.
    pub(super) draining: bool,
    /// Totals of the harnesses that have told any.
    pub(super) harnesses: BTreeMap<Option<EnvironmentId>, Metrics>,
    /// Metrics of what runs have changed in this step.
    pub(super) running_changed: bool,
    /// The last ones told were not empty.
    pub(super) told_running: bool,
    pub(super) requests: BTreeMap<u64, super::stages::Request>,
    pub(super) next_request: u64,
    pub(super) out: Vec<Effect>,
    pub(super) store: Arc<dyn StateRead>,
    pub(super) failed: bool,
}

/// The output port of each edge, by edge id.
fn ports(plan: &Plan) -> Vec<u32> {
    let mut port_of = vec![0; plan.edges.len()];
    for stage in &plan.stages {
        for (port, output) in stage.outputs.iter().enumerate() {
            for edge in &output.edges {
                if let Some(place) = port_of.get_mut(edge.0 as usize) {
                    *place = port as u32;
                }
            }
        }
    }
    port_of
}

/// How far every stage is: for messages about jobs that stand still.
impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Shard");
        out.field("id", &self.id)
            .field("epoch", &self.epoch)
            .field("report", &self.reported)
            .field("clock", &self.clock);
        for (room, stage) in self.stages.iter().zip(&self.plan.stages) {
            let running = self.bundles.values().filter(|b| b.stage == stage.id && !b.is_applied()).count();
            out.field(&stage.name, &(room.input.get(), &room.outputs, room.inbox.len(), running));
        }
        out.finish()
    }
}

impl Shard {
    /// A shard of a job whose last committed epoch is `last`. `splits` are those of all sources that belong here; `store` is
    /// handed to the views of bundles.
    #[must_use]
    pub fn new(
        id: ShardId,
        plan: Arc<Plan>,
        config: Config,
        splits: Vec<(SourceId, Vec<SplitId>)>,
        store: Arc<dyn StateRead>,
        last: Epoch,
    ) -> Self {
        let port_of = ports(&plan);
        let mut stages: Vec<StageRoom> = plan.stages.iter().map(|s| StageRoom::new(s, &config, &splits)).collect();
        if !store.holds_cells() {
            for room in &mut stages {
                if let Room::Group(group) = &mut room.room {
                    group.spill(store.scratch());
                }
            }
        }
        // ids grow over the life of the job: bags order their chunks by them
        let first = (last.0 + 1) << 32;
        // and a run never takes up the cache tokens of the one before it
        for worker in stages.iter_mut().filter_map(StageRoom::worker) {
            worker.token = CacheToken(first);
            worker.sort.iter_mut().for_each(|sort| sort.begin_at(first));
        }
        Self {
            id,
            plan,
            config,
            stages,
            port_of,
            splits,
            bundles: BTreeMap::new(),
            next_bundle: first,
            credits: Credits::default(),
            sinks: SinkRoom::default(),
            epoch: last.next(),
            sealing: None,
            lasting: last,
            next_stored: first,
            consumed: Vec::new(),
            changed: 0,
            kept_credit: Vec::new(),
            held: 0,
            metrics: BTreeMap::new(),
            tokens: first,
            identity_stored: false,
            report: Report::default(),
            reported: None,
            clock: None,
            holds: Hold::Nothing,
            stood: None,
            alarm: None,
            pace_at: ProcessingTime(i64::MIN),
            draining: false,
            harnesses: BTreeMap::new(),
            running_changed: false,
            told_running: false,
            requests: BTreeMap::new(),
            next_request: 0,
            out: Vec::new(),
            store,
            failed: false,
        }
    }

    /// Takes one event; returns what is to be done, in this order. `now` is the process's clock, which a script's clock
    /// overrides. After a [`Effect::Fail`] the shard does nothing more.
    pub fn step(&mut self, event: Event, state: &dyn StateRead, now: ProcessingTime) -> Vec<Effect> {
        if self.failed {
            return Vec::new();
        }
        let before = self.time(now);
        // the event may have moved a script's clock, or stopped the other one
        if let Err(error) = self.take(event, state, before).and_then(|()| self.turn(self.time(now), now)) {
            self.failed = true;
            self.out.push(Effect::Fail(error));
        }
        std::mem::take(&mut self.out)
    }

    fn take(&mut self, event: Event, state: &dyn StateRead, now: ProcessingTime) -> Result<()> {
        match event {
            Event::Start => {
                self.start(state, now)?;
                if self.config.drain {
                    self.drain();
                }
                if self.config.paused {
                    self.hold(Hold::Sources, now);
                }
            }
            Event::Message(envelope) => self.receive(envelope),
            Event::Read { source, split, read } => self.take_read(source, split, read),
            Event::Splits { source, splits } => self.take_splits(source, &splits),
            Event::Worker { environment, event } => self.worker(environment, event, now)?,
            Event::Seal(epoch) => {
                if epoch == self.epoch {
                    self.seal();
                }
            }
            Event::Committed(epoch) => self.committed(epoch),
            Event::Script { stage, step } => {
                self.report.received += 1;
                self.script(stage, step);
            }
            Event::Clock(time) => {
                self.report.received += 1;
                self.clock = Some(time);
            }
            Event::Drain => {
                self.report.received += 1;
                self.drain();
            }
            Event::Hold(hold) => {
                self.report.received += 1;
                self.hold(hold, now);
            }
            Event::Grow { stage, states, timers } => self.grow(stage, states, timers),
            Event::Alarm => self.alarm = None,
        }
        Ok(())
    }

    /// A stage keeps more, and sets more timers. Stages without keys keep nothing, so there is nothing to do for them.
    fn grow(&mut self, stage: StageId, states: Vec<StateSpec>, timers: Vec<TimerFamily>) {
        let found = Arc::make_mut(&mut self.plan).stages.iter_mut().find(|s| s.id == stage);
        let Some(Stage { kind: StageKind::Worker(spec), .. }) = found else { return };
        if !spec.keyed {
            return;
        }
        let families: Vec<_> = timers.iter().map(|family| (family.domain, family.id)).collect();
        spec.states.extend(states);
        spec.timers.extend(timers);
        if let Some(worker) = self.room(stage).worker() {
            worker.timers.grow(families);
        }
    }

    /// Sources end; what splittable functions have before them is truncated first. An exchange ends when those that write it have.
    fn drain(&mut self) {
        self.draining = true;
        let exchanges: Vec<SourceId> = self.plan.exchanges.iter().map(|e| e.source).collect();
        self.stages.iter_mut().for_each(|room| room.close(&exchanges));
        self.pace_at = ProcessingTime(i64::MIN);
    }

    /// Whether this shard owns partition 0, where what happens once in a job happens.
    pub(super) fn is_first(&self) -> bool {
        Partition(0).shard(self.config.partitions, self.config.shards) == self.id
    }

    /// Whether this shard stores what is stored once in a store.
    pub(super) fn stores_for_all(&self) -> bool {
        self.config.apart || self.is_first()
    }

    fn receive(&mut self, envelope: Envelope) {
        if !matches!(envelope.message, Message::Credit { .. } | Message::Marker { .. }) {
            self.report.received += 1;
        }
        match envelope.message {
            Message::Data { edge, batch } => self.receive_data(envelope.from, envelope.epoch, edge, batch),
            Message::Watermark { edge, to } => {
                let stage = self.plan.edge(edge).to;
                self.room(stage).promises.remote(edge, envelope.from, to);
            }
            Message::Marker { passed } => self.marker(envelope.from, envelope.epoch, &passed),
            Message::Credit { edge, weight } => self.credits.returned(edge, envelope.from, weight),
        }
    }

    /// The room of a stage.
    #[expect(clippy::indexing_slicing, reason = "stage ids are positions of the plan the rooms were made from")]
    pub(super) fn room(&mut self, stage: StageId) -> &mut StageRoom {
        &mut self.stages[stage.0 as usize]
    }

    /// Whether a stage's worker is in this environment.
    pub(super) fn runs_in(&self, stage: StageId, environment: Option<EnvironmentId>) -> bool {
        matches!(&self.plan.stage(stage).kind, StageKind::Worker(w) if w.environment == environment)
    }

    pub(super) fn send(&mut self, to: ShardId, message: Message) {
        if !matches!(message, Message::Credit { .. } | Message::Marker { .. }) {
            self.report.sent += 1;
        }
        let envelope = Envelope { from: self.id, epoch: self.epoch, message };
        self.out.push(Effect::Send(to, envelope));
    }

    /// The other shards that it speaks with.
    pub(super) fn others(&self) -> impl Iterator<Item = ShardId> + use<> {
        let me = self.id;
        let all = if self.config.apart { 0 } else { self.config.shards };
        (0..all).map(ShardId).filter(move |s| *s != me)
    }

    /// Rows read from sources and rows written to sinks in this run, for progress displays.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.stages.iter().map(StageRoom::rows_read).sum(), self.sinks.rows())
    }
}
