//! How bundles are made: what of a stage's input may run now, and its way to the worker.

use super::event::Effect;
use super::shard::Shard;
use super::stages::Room;
use crate::batch::{Batch, Row};
use crate::error::Result;
use crate::graph::{Plan, Route, StageKind, WorkerStage};
use crate::id::{BundleId, StageId};
use crate::port::worker::{BundleStart, Command, Input};
use crate::stage::{Bundle, BundleState, Lane, Origin, Pace, Pending, Share};
use crate::state::{Lease, SideView, StateView};
use crate::time::{EventTime, ProcessingTime};
use crate::timer::Taken;
use std::sync::Arc;

impl Shard {
    pub(super) fn start_bundles(&mut self, stage: StageId, now: ProcessingTime) -> Result<()> {
        self.ask_workers(stage);
        let plan = Arc::clone(&self.plan);
        let StageKind::Worker(spec) = &plan.stage(stage).kind else { return Ok(()) };
        if !self.begins(spec) {
            return Ok(());
        }
        self.expire(stage, spec)?;
        self.sweep(stage, spec, now)?;
        loop {
            let room = self.room(stage);
            let has_input = !room.inbox.is_empty();
            let Some(worker) = room.worker() else { return Ok(()) };
            let has_input = has_input || worker.sort.as_ref().is_some_and(|sort| !sort.is_empty());
            let has_timers = !worker.timers.is_empty() || worker.expires.is_some();
            if worker.running >= worker.credit || !(has_input || has_timers) {
                return Ok(());
            }
            if !self.has_room(stage) || self.behind_others(stage) > self.config.queue_bytes_max {
                return Ok(());
            }
            let started = if spec.stable {
                self.start_stable(stage, spec, now)?
            } else if spec.sorted {
                self.start_sorted(stage, spec, now)?
            } else if spec.keyed {
                let share = self.share(stage);
                // the keys of a share may all be in flight: then any other key will do
                self.start_keyed(stage, spec, share, now)?
                    || !share.is_all() && self.start_keyed(stage, spec, Share::ALL, now)?
            } else {
                self.start_plain(stage, spec, now)
            };
            if !started {
                return Ok(());
            }
        }
    }

    /// Bytes that bundles of a stage have put out which are complete and wait for an earlier one of their lane. There is always one that
    /// runs, so this ends.
    fn behind_others(&self, stage: StageId) -> usize {
        let done = self.bundles.values().filter(|b| b.stage == stage && b.state == BundleState::Done);
        done.map(|b| b.output_weight).sum()
    }

    /// Takes up to a bundle's worth of one lane, in order.
    fn start_plain(&mut self, stage: StageId, spec: &WorkerStage, now: ProcessingTime) -> bool {
        let plan = Arc::clone(&self.plan);
        let (rows_max, bytes_max) = (self.rows_max(stage, spec), self.config.bundle_bytes_max);
        let mut inputs: Vec<Pending> = Vec::new();
        let (mut rows, mut bytes, mut i) = (0, 0, 0);
        let mut lane: Option<Lane> = None;
        let (drains, mut truncates) = (self.draining && spec.splittable, false);
        // a lane whose first entry waits for its retry waits whole; so does one whose last bundle may give something back
        let splitting = self.bundles.values().filter(|b| b.stage == stage && b.state == BundleState::Splitting);
        let mut resting: Vec<Lane> = splitting.filter_map(|b| b.lane).collect();
        // what a restored run found of a split's input comes before what the split is read on with
        let mut restored = self.room(stage).worker().is_some_and(|w| w.lanes.keys().any(|l| is_restored(&plan, *l)));
        self.clear_waiting(stage);
        while rows < rows_max && bytes < bytes_max {
            let Some(pending) = self.room(stage).inbox.get(i) else { break };
            let truncate = drains && !pending.truncated;
            // what asked to go on later is cut short now; what failed rests all the same
            if pending.not_before > now && !(truncate && pending.attempts == 0) {
                resting.push(pending.lane);
            }
            restored |= is_restored(&plan, pending.lane);
            let behind = restored && matches!(pending.lane, Lane::Split(..));
            let other = lane.is_some() && truncate != truncates;
            if behind || other || lane.is_some_and(|l| l != pending.lane) || resting.contains(&pending.lane) {
                i += 1;
                continue;
            }
            let Some(taken) = self.take_ready(stage, spec, i, rows_max - rows) else {
                i += 1;
                continue;
            };
            lane = Some(taken.lane);
            truncates = truncate;
            rows += taken.batch.len();
            bytes += taken.batch.weight();
            inputs.push(taken);
        }
        let Some(lane) = lane else { return false };
        let batches = inputs.iter().map(|p| (p.input, p.batch.clone())).collect();
        let order = is_ordered(&plan, lane).then_some(lane);
        let id = self.new_bundle(stage, order, inputs, Vec::new(), Vec::new(), now);
        if let Some(bundle) = self.bundles.get_mut(&id) {
            bundle.truncates = truncates;
        }
        if let (Some(worker), Some(lane)) = (self.room(stage).worker(), order) {
            worker.lanes.entry(lane).or_default().push_back(id);
        }
        let view = StateView::empty(id, Arc::clone(&self.store));
        self.launch(stage, spec, id, Input::Elements { batches }, view, now);
        true
    }

    /// How many elements a bundle takes: of restrictions as many as leave none of the worker's free places empty.
    pub(super) fn rows_max(&mut self, stage: StageId, spec: &WorkerStage) -> usize {
        let most = self.config.bundle_rows_max;
        let room = self.room(stage);
        if !spec.splittable {
            return room.worker().map_or(most, |w| w.sizer.rows(most));
        }
        let waiting = usize::try_from(room.inbox.rows()).unwrap_or(usize::MAX);
        let free = room.worker().map_or(1, |w| w.credit.saturating_sub(w.running)).max(1);
        waiting.div_ceil(free as usize).clamp(1, most)
    }

    pub(super) fn clear_waiting(&mut self, stage: StageId) {
        if let Some(worker) = self.room(stage).worker() {
            worker.waits_for_sides = false;
        }
    }

    /// Takes from entry `i` the rows that may run now, at most `most`; the others stay where they are.
    pub(super) fn take_ready(&mut self, stage: StageId, spec: &WorkerStage, i: usize, most: usize) -> Option<Pending> {
        if spec.sides.is_empty() {
            return self.take_first(stage, i, most);
        }
        let pending = self.room(stage).inbox.get(i)?.clone();
        let sets = pending.batch.window_sets().to_vec();
        let ready: Vec<bool> = sets.iter().map(|set| set.iter().all(|w| self.sides_ready(stage, spec, w))).collect();
        let may = |row: &Row| ready.get(row.windows as usize).copied().unwrap_or(false);
        let whole = pending.batch.len() <= most && pending.batch.rows().iter().all(may);
        if whole {
            return self.room(stage).inbox.remove(i);
        }
        let mut now = Vec::new();
        let mut later = Vec::new();
        for row in pending.batch.rows() {
            if now.len() < most && may(row) { now.push(*row) } else { later.push(*row) }
        }
        if later.iter().any(|row| !may(row))
            && let Some(worker) = self.room(stage).worker()
        {
            worker.waits_for_sides = true;
        }
        if now.is_empty() {
            return None;
        }
        self.room(stage).inbox.remove(i);
        let (now, later) = (pending.batch.with_rows(now), pending.batch.with_rows(later));
        let (now, later) = self.divide(stage, pending, now, later);
        self.room(stage).inbox.insert(i, later);
        Some(now)
    }

    /// The same where all rows may run.
    fn take_first(&mut self, stage: StageId, i: usize, most: usize) -> Option<Pending> {
        let pending = self.room(stage).inbox.remove(i)?;
        if pending.batch.len() <= most {
            return Some(pending);
        }
        let (now, later) = pending.batch.split_at(most);
        let (now, later) = self.divide(stage, pending, now, later);
        self.room(stage).inbox.insert(i, later);
        Some(now)
    }

    /// Makes two entries of one. The stored copy, if there is one, is given up: a cut stores what is left of both.
    pub(super) fn divide(
        &mut self,
        stage: StageId,
        pending: Pending,
        first: Batch,
        second: Batch,
    ) -> (Pending, Pending) {
        if let Some(number) = pending.stored {
            self.forget_stored(self.stored_name(stage, pending.edge), number);
        }
        if let Origin::Read { source, split, read } = pending.origin {
            for room in &mut self.stages {
                if let Room::Source(r) = &mut room.room
                    && r.source == source
                {
                    r.waits(split, read);
                }
            }
        }
        let a = pending.part(first, false);
        let b = pending.part(second, true);
        (a, b)
    }

    pub(super) fn new_bundle(
        &mut self,
        stage: StageId,
        lane: Option<Lane>,
        inputs: Vec<Pending>,
        leases: Vec<Lease>,
        timers: Vec<Taken>,
        now: ProcessingTime,
    ) -> BundleId {
        let id = BundleId(self.next_bundle);
        self.next_bundle += 1;
        let mut bundle = Bundle {
            id,
            stage,
            state: BundleState::Open,
            lane,
            inputs,
            leases,
            timers,
            sorted: Vec::new(),
            outputs: Vec::new(),
            output_weight: 0,
            result: None,
            started: now,
            hold: EventTime::MAX,
            truncates: false,
            cut: false,
            pace: Pace::default(),
        };
        bundle.hold_again();
        self.bundles.insert(id, bundle);
        id
    }

    pub(super) fn launch(
        &mut self,
        stage: StageId,
        spec: &WorkerStage,
        bundle: BundleId,
        input: Input,
        state: StateView,
        now: ProcessingTime,
    ) {
        let sides = spec.sides.iter().map(|side| match self.stages.get(side.view.0 as usize).map(|r| &r.room) {
            Some(Room::View(view)) => view.snapshot(),
            _ => Arc::new(SideView::default()),
        });
        let sides = sides.collect();
        let truncate = self.bundles.get(&bundle).is_some_and(|b| b.truncates);
        let room = self.room(stage);
        let watermark = room.input.get();
        let Some(worker) = room.worker() else { return };
        worker.running += 1;
        let start =
            BundleStart { bundle, stage, input, state, sides, cache_token: worker.token, watermark, now, truncate };
        self.out.push(Effect::Worker(stage, Command::Start(Box::new(start))));
    }
}

/// Whether bundles of a lane take effect in its order. Input that was spread has none to keep, and among it are the restrictions
/// of splittable functions, which may run for hours: nothing waits for them.
fn is_ordered(plan: &Plan, lane: Lane) -> bool {
    match lane {
        Lane::Split(..) => true,
        Lane::Shard(edge, _) => plan.edge(edge).route != Route::Spread,
        Lane::Residual(_) => false,
    }
}

/// Whether a lane holds stored input of an edge that a source feeds: its fresh input has the lane of its split.
fn is_restored(plan: &Plan, lane: Lane) -> bool {
    matches!(lane, Lane::Shard(edge, _) if matches!(plan.stage(plan.edge(edge).from).kind, StageKind::Source(_)))
}
