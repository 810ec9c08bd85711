//! How bundles are made: what of a stage's input may run now, grouped by key where the stage has state.

use super::event::Effect;
use super::shard::Shard;
use super::stages::{Request, Room, StageRoom};
use crate::batch::{Batch, Row};
use crate::error::Result;
use crate::graph::{EnvironmentId, Plan, Route, StageKind, WorkerStage};
use crate::id::{BundleId, StageId};
use crate::port::worker::{BundleStart, Command, Group, Input, Item, TimeDomain};
use crate::stage::{Bundle, BundleState, Lane, Origin, Pace, Pending, Share, SortedRows};
use crate::state::{Lease, SideView, StateView, Take};
use crate::time::{EventTime, ProcessingTime};
use crate::timer::Taken;
use crate::window::Window;
use bytes::Bytes;
use hashbrown::HashSet;
use std::sync::Arc;

/// A keyed bundle in the making.
#[derive(Default)]
pub(super) struct Keyed {
    pub leases: Vec<Lease>,
    pub timers: Vec<Taken>,
    timer_groups: u32,
    pub inputs: Vec<Pending>,
    /// Elements of sorted input: they are one batch behind those of `inputs`.
    pub sorted: Vec<SortedRows>,
    /// (group, batch, row) in input order.
    pub rows: Vec<(u32, u32, u32)>,
    /// Which keys it takes elements of.
    share: Share,
    /// The only key it may have, once it has one and may have no other.
    pub only: Option<Bytes>,
    /// Whether it may have one key alone.
    pub lone: bool,
    /// Hashes of keys with elements that wait for a retry: later elements of these keys wait, too.
    resting: HashSet<u64, foldhash::fast::FixedState>,
}

impl Keyed {
    /// Nothing yet, for a stage.
    pub fn of(spec: &WorkerStage) -> Self {
        Self { lone: spec.lone_keys, ..Self::default() }
    }
}

impl Shard {
    pub(super) fn start_bundles(&mut self, stage: StageId, now: ProcessingTime) -> Result<()> {
        self.ask_workers(stage);
        let plan = Arc::clone(&self.plan);
        let StageKind::Worker(spec) = &plan.stage(stage).kind else { return Ok(()) };
        self.expire(stage, spec)?;
        loop {
            let room = self.room(stage);
            let has_input = !room.inbox.is_empty();
            let Some(worker) = room.worker() else { return Ok(()) };
            let has_input = has_input || worker.sort.as_ref().is_some_and(|sort| !sort.is_empty());
            let has_timers = !worker.timers.is_empty() || worker.expires.is_some();
            if worker.running >= worker.credit || !(has_input || has_timers) || !self.has_room(stage) {
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
            if pending.not_before > now {
                resting.push(pending.lane);
            }
            restored |= is_restored(&plan, pending.lane);
            let behind = restored && matches!(pending.lane, Lane::Split(..));
            let truncate = drains && !pending.truncated;
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
    fn rows_max(&mut self, stage: StageId, spec: &WorkerStage) -> usize {
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
    fn take_ready(&mut self, stage: StageId, spec: &WorkerStage, i: usize, most: usize) -> Option<Pending> {
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
    fn divide(&mut self, stage: StageId, pending: Pending, first: Batch, second: Batch) -> (Pending, Pending) {
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

    /// Whether all side inputs can be read for a window of the main input. Asks the SDK to map it where only the SDK can.
    pub(super) fn sides_ready(&mut self, stage: StageId, spec: &WorkerStage, main: &Window) -> bool {
        for (i, side) in spec.sides.iter().enumerate() {
            let Some(Room::View(view)) = self.stages.get(side.view.0 as usize).map(|r| &r.room) else { return false };
            if let Some(window) = view.map(main) {
                if !view.is_ready(&window) {
                    return false;
                }
                continue;
            }
            let name = (i as u32, main.clone());
            let Some(worker) = self.room(stage).worker() else { return false };
            match worker.mapped.get(&name).cloned() {
                Some(Some(set)) => {
                    let Some(Room::View(view)) = self.stages.get(side.view.0 as usize).map(|r| &r.room) else {
                        return false;
                    };
                    if !set.iter().all(|w| view.is_ready(w)) {
                        return false;
                    }
                }
                Some(None) => return false,
                None => {
                    worker.mapped.insert(name, None);
                    self.next_request += 1;
                    let (request, windows) = (self.next_request, vec![main.clone()]);
                    self.requests.insert(request, Request::Map(stage, i as u32, windows.clone()));
                    let ask = Command::MapWindows { request, stage, side: i as u32, windows };
                    self.out.push(Effect::Worker(stage, ask));
                    return false;
                }
            }
        }
        true
    }

    /// The keys of the next bundle: with as much waiting as fills several, each takes some keys and all that waits for them.
    fn share(&mut self, stage: StageId) -> Share {
        let (most, bytes_max, salt) =
            (self.config.bundle_rows_max, self.config.bundle_bytes_max.max(1), self.next_bundle);
        let room = self.room(stage);
        let (rows, weight) = (usize::try_from(room.inbox.rows()).unwrap_or(usize::MAX), room.inbox.weight());
        let Some(worker) = room.worker() else { return Share::ALL };
        Share::one(rows.div_ceil(worker.sizer.rows(most)).max(weight.div_ceil(bytes_max)), salt)
    }

    /// Takes due timers, then elements of other keys, each key and window in one bundle at a time.
    fn start_keyed(&mut self, stage: StageId, spec: &WorkerStage, share: Share, now: ProcessingTime) -> Result<bool> {
        let id = BundleId(self.next_bundle);
        let mut keyed = Keyed { share, ..Keyed::of(spec) };
        self.take_timers(stage, spec, now, &mut keyed)?;
        self.clear_waiting(stage);
        let (mut i, mut bytes) = (0, 0);
        // a share is about as large as the bundle should be; what its keys have is taken whole
        let (rows_max, bytes_max) = if share.is_all() {
            (self.rows_max(stage, spec), self.config.bundle_bytes_max)
        } else {
            (self.config.bundle_rows_max, self.config.bundle_bytes_max.saturating_mul(2))
        };
        while keyed.rows.len() < rows_max && bytes < bytes_max {
            let Some(pending) = self.room(stage).inbox.get(i) else { break };
            if pending.not_before > now {
                keyed.resting.extend(pending.batch.rows().iter().map(|row| row.hash));
                i += 1;
                continue;
            }
            let most = rows_max - keyed.rows.len();
            let Some(pending) = self.take_ready(stage, spec, i, most) else {
                i += 1;
                continue;
            };
            let (taken, parked) = self.take_groups(stage, id, pending, &mut keyed);
            if let Some(parked) = parked {
                self.room(stage).inbox.insert(i, parked);
                i += 1;
            }
            bytes += taken.map_or(0, |p| {
                let weight = p.batch.weight();
                keyed.inputs.push(p);
                weight
            });
        }
        if keyed.leases.is_empty() {
            return Ok(false);
        }
        self.launch_keyed(stage, spec, keyed, now);
        Ok(true)
    }

    /// Takes due timers of a bundle that is to be the next one, and the keys of windows that have expired.
    pub(super) fn take_timers(
        &mut self,
        stage: StageId,
        spec: &WorkerStage,
        now: ProcessingTime,
        keyed: &mut Keyed,
    ) -> Result<()> {
        let id = BundleId(self.next_bundle);
        let most = self.config.bundle_rows_max;
        let (watermark, clock) = (self.timer_watermark(stage), self.timer_clock(stage, now));
        let Some(worker) = self.room(stage).worker() else { return Ok(()) };
        if worker.timers_not_before > now {
            return Ok(());
        }
        let most = worker.sizer.rows(most);
        let (table, sort) = (&worker.table, worker.sort.as_ref());
        // elements of sorted input go before the timers of their time and after earlier ones
        let first = |g: &Group| sort.and_then(|sort| sort.first_of(g)).unwrap_or(EventTime::MAX);
        let (lone, only) = (keyed.lone, &mut keyed.only);
        let mut free = |g: &Group, domain: TimeDomain, fire: i64| {
            let free = only.as_ref().is_none_or(|key| *key == g.key)
                && !table.is_busy(&g.key, g.hash, &g.window, id)
                && (domain == TimeDomain::Processing || first(g).0 > fire);
            if free && lone {
                *only = Some(g.key.clone());
            }
            free
        };
        keyed.timers = worker.timers.take_due(watermark, clock, most, &mut free);
        // groups contiguous: timers of a group stand together, in the order they were due
        keyed
            .timers
            .sort_by(|a, b| (&a.name.group.key, &a.name.group.window).cmp(&(&b.name.group.key, &b.name.group.window)));
        for taken in &keyed.timers {
            let group = &taken.name.group;
            let index = keyed.leases.len() as u32;
            if let Take::New(lease) = worker.table.take(&group.key, group.hash, &group.window, id, index) {
                keyed.leases.push(lease);
            }
        }
        self.take_expired(stage, spec, keyed)?;
        keyed.timer_groups = keyed.leases.len() as u32;
        Ok(())
    }

    /// Takes the rows whose groups are free; the others are given back to wait.
    fn take_groups(
        &mut self,
        stage: StageId,
        id: BundleId,
        pending: Pending,
        keyed: &mut Keyed,
    ) -> (Option<Pending>, Option<Pending>) {
        let batch_index = keyed.inputs.len() as u32;
        let Some(worker) = self.room(stage).worker() else { return (None, Some(pending)) };
        let mut parked: Vec<Row> = Vec::new();
        let mut taken: Vec<Row> = Vec::new();
        let batch = &pending.batch;
        for row in batch.rows() {
            let key = batch.key(row);
            let windows = batch.windows(row);
            let several = windows.len() > 1;
            let busy = !keyed.share.has(row.hash)
                || keyed.only.as_ref().is_some_and(|only| only != key)
                || (several && windows.iter().any(|w| worker.table.is_busy(key, row.hash, w, id)))
                || (!keyed.resting.is_empty() && keyed.resting.contains(&row.hash));
            if busy {
                // a later row may share only that one of its windows which is free
                if several {
                    keyed.resting.insert(row.hash);
                }
                parked.push(*row);
                continue;
            }
            let position = taken.len() as u32;
            let before = keyed.rows.len();
            let free = windows.iter().all(|window| {
                let index = keyed.leases.len() as u32;
                match worker.table.take(key, row.hash, window, id, index) {
                    Take::New(lease) => {
                        keyed.leases.push(lease);
                        keyed.rows.push((index, batch_index, position));
                        true
                    }
                    Take::Mine(group) if group >= keyed.timer_groups => {
                        keyed.rows.push((group, batch_index, position));
                        true
                    }
                    _ => false,
                }
            });
            if free {
                if keyed.lone && keyed.only.is_none() {
                    keyed.only = Some(Bytes::copy_from_slice(key));
                }
                taken.push(*row);
            } else {
                keyed.rows.truncate(before);
                if several {
                    keyed.resting.insert(row.hash);
                }
                parked.push(*row);
            }
        }
        match (taken.is_empty(), parked.is_empty()) {
            (true, _) => (None, Some(pending)),
            (false, true) => (Some(pending), None),
            (false, false) => {
                let (taken, parked) = (pending.batch.with_rows(taken), pending.batch.with_rows(parked));
                let (taken, parked) = self.divide(stage, pending, taken, parked);
                (Some(taken), Some(parked))
            }
        }
    }

    pub(super) fn launch_keyed(&mut self, stage: StageId, spec: &WorkerStage, keyed: Keyed, now: ProcessingTime) {
        let Keyed { leases, timers, inputs, sorted, rows, .. } = keyed;
        let mut batches: Vec<_> = inputs.iter().map(|p| p.batch.clone()).collect();
        batches.extend(super::sorted::batch_of(&sorted));
        let room = self.room(stage);
        let Some(worker) = room.worker() else { return };
        let table = &worker.table;
        let groups: Arc<[Group]> = leases.iter().filter_map(|l| table.group(*l).cloned()).collect();
        let base = leases.iter().map(|l| table.cells(*l)).collect();
        let items = in_group_order(&groups, &timers, rows);
        let id = self.new_bundle(stage, None, inputs, leases, timers, now);
        if let (Some(bundle), false) = (self.bundles.get_mut(&id), sorted.is_empty()) {
            bundle.sorted = sorted;
            bundle.hold_again();
        }
        let view = StateView::new(id, Arc::clone(&groups), base, Arc::clone(&self.store));
        self.launch(stage, spec, id, Input::Keyed { groups, batches, items }, view, now);
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

    /// Questions of a grouping go to a worker of the environment that knows its windows; where none is named, to the nearest
    /// worker stage above it.
    fn ask_workers(&mut self, stage: StageId) {
        let Room::Group(group) = &mut self.room(stage).room else { return };
        let Some(request) = group.merge_request() else { return };
        // a worker without credit is not there: the question waits for the next one
        let asked = match self.plan.stage(stage).kind {
            StageKind::Group(ref group) if group.environment.is_some() => self.up_in(group.environment),
            _ => self.worker_above(stage),
        };
        let Some(asked) = asked.filter(|s| self.room(*s).worker().is_some_and(|w| w.credit > 0)) else {
            if let Room::Group(group) = &mut self.room(stage).room {
                group.merge_failed(&request);
            }
            return;
        };
        self.next_request += 1;
        let id = self.next_request;
        let keys = request.windows.clone();
        self.requests.insert(id, Request::Merge { group: stage, asked, request });
        self.out.push(Effect::Worker(asked, Command::MergeWindows { request: id, stage, keys }));
    }

    /// A stage of an environment whose worker is there.
    fn up_in(&self, environment: Option<EnvironmentId>) -> Option<StageId> {
        let up = |room: &StageRoom| matches!(&room.room, Room::Worker(worker) if worker.credit > 0);
        let mut rooms = self.stages.iter().zip(&self.plan.stages);
        rooms.find(|(room, stage)| up(room) && self.runs_in(stage.id, environment)).map(|(_, stage)| stage.id)
    }

    fn worker_above(&self, stage: StageId) -> Option<StageId> {
        let mut at = stage;
        loop {
            let edge = self.plan.stage(at).inputs.first()?;
            at = self.plan.edge(*edge).from;
            if matches!(self.plan.stage(at).kind, StageKind::Worker(_)) {
                return Some(at);
            }
        }
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

/// Puts the rows of a group together, keeping their order; timers come first. Cost: O(rows).
fn in_group_order(groups: &[Group], timers: &[Taken], rows: Vec<(u32, u32, u32)>) -> Vec<Item> {
    let mut items = Vec::with_capacity(timers.len() + rows.len());
    let mut at = 0u32;
    for taken in timers {
        while groups.get(at as usize).is_some_and(|g| *g != taken.name.group) {
            at += 1;
        }
        items.push(Item::Timer { group: at, timer: taken.due() });
    }
    let mut starts = vec![0usize; groups.len() + 1];
    for (group, ..) in &rows {
        if let Some(count) = starts.get_mut(*group as usize + 1) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    let first = items.len();
    items.resize(first + rows.len(), Item::Row { group: 0, batch: 0, row: 0 });
    for (group, batch, row) in rows {
        let Some(place) = starts.get_mut(group as usize) else { continue };
        if let Some(item) = items.get_mut(first + *place) {
            *item = Item::Row { group, batch, row };
        }
        *place += 1;
    }
    items
}
