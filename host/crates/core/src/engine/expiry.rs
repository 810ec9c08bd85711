//! The end of windows: late elements of stages with state are dropped, state of windows that have expired is collected, after
//! the function has been called about it where it wants to be.
//!
//! A window expires when the watermark has passed its end and the allowed lateness. Then no element of it comes any more; its
//! event timers have come up before; timers by the clock go with it, but in the global window, where they are waited for.
//! Source: Beam's `StatefulDoFnRunner`; `ParDoPayload.on_window_expiration_timer_family_spec`.

use super::keyed::Keyed;
use super::shard::Shard;
use super::stages::{Room, StageRoom, WorkerRoom};
use crate::batch::{Batch, Pane, Row};
use crate::error::Result;
use crate::graph::{StageKind, WorkerStage};
use crate::id::{BundleId, Epoch, StageId, StateId, key_hash};
use crate::metric::{MetricKey, MetricValue, Metrics};
use crate::port::store::StateRead;
use crate::port::worker::{Group, TimeDomain, TimerSet};
use crate::short::ShortBytes;
use crate::stage::{Bundle, SortRoom};
use crate::state::{Lease, StateView, Take};
use crate::time::{EventTime, ProcessingTime};
use crate::timer::{Taken, TimerName};
use crate::window::{Window, WindowSet};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys and windows whose state is collected in one turn: what a store that must be scanned for each gives in some milliseconds.
const COLLECTED_MAX: usize = 2048;
/// No bundle has this id.
const NOBODY: BundleId = BundleId(u64::MAX);

impl WorkerRoom {
    /// What the output watermark may not pass: timers, elements that wait for their turn, keys that wait for a last call.
    pub(super) fn hold(&self) -> EventTime {
        let sorted = self.sort.as_ref().map_or(EventTime::MAX, SortRoom::hold);
        self.timers.hold().min(sorted).min(self.expiry_hold())
    }

    /// Whether nothing is left that time would bring up.
    pub(super) fn is_quiet(&self) -> bool {
        self.timers.is_empty() && self.expiry.is_empty() && self.sort.as_ref().is_none_or(SortRoom::is_empty)
    }

    /// Whether something has come up.
    pub(super) fn has_due(&self, watermark: EventTime, now: ProcessingTime) -> bool {
        let clock =
            if watermark == EventTime::MAX { watermark } else { watermark.plus(-self.windowing.allowed_lateness) };
        let sorted = self.sort.as_ref().is_some_and(|sort| sort.hold().is_passed_by(clock) && !sort.is_empty());
        self.timers.has_due(watermark, now) || self.expires.is_some() && self.expiry.has_due(watermark) || sorted
    }

    /// Notes that a key and window has state.
    pub(super) fn note_state(&mut self, window: &Window, key: &ShortBytes) {
        if self.expires_in(window) {
            self.expiry.note(self.windowing.expiry(window), window, key);
        }
    }

    /// Whether the state of a window goes, or is told, before the job ends: in the global window it ends with the job.
    fn expires_in(&self, window: &Window) -> bool {
        *window != Window::Global || self.expires.is_some()
    }

    /// The same for a group in memory, of which nothing is copied when its state ends with the job.
    pub(super) fn note_group(&mut self, lease: Lease) {
        let Some(group) = self.table.group(lease) else { return };
        if self.expires_in(&group.window) {
            self.expiry.note(self.windowing.expiry(&group.window), &group.window, &group.key);
        }
    }

    /// Whether the function is to be called about a group that was not noted yet.
    pub(super) fn is_new(&self, lease: Lease) -> bool {
        let group = self.table.group(lease).filter(|_| self.expires.is_some());
        group.is_some_and(|g| !self.expiry.has(self.windowing.expiry(&g.window), &g.window, &g.key))
    }

    /// What the output watermark may not pass: the first expiry that the function wants to be told.
    fn expiry_hold(&self) -> EventTime {
        if self.expires.is_some() { self.expiry.first() } else { EventTime::MAX }
    }

    /// Whether a timer that was set in a bundle can never have its turn, so that a loop comes to its end: behind the expiry of its
    /// window, set by another one behind it; or set by a timer when `ending`.
    pub(super) fn is_void(&self, group: &Group, family: u32, set: &TimerSet, fired: &[Taken], ending: bool) -> bool {
        let expiry = self.timers.expiry(&group.window).0;
        let event = self.timers.domain(family) == TimeDomain::Event;
        let mut mine = fired.iter().filter(|taken| taken.name.group == *group);
        mine.any(|taken| {
            let before = self.timers.domain(taken.name.family) == TimeDomain::Event && taken.set.fire > expiry;
            Some(taken.name.family) == self.expires
                || event && set.fire > expiry && before
                || ending && group.window == Window::Global
        })
    }

    /// Deletes some of the state of a key and window, and the mark that there is some.
    pub(super) fn clear(
        &mut self,
        lease: Lease,
        mut cells: impl Iterator<Item = StateId>,
        epoch: Epoch,
        store: &Arc<dyn StateRead>,
    ) -> Result<()> {
        let Some(group) = self.table.group(lease).cloned() else { return Ok(()) };
        let base = self.table.cells(lease).cloned().into_iter().collect();
        let mut view = StateView::new(NOBODY, Arc::from([group.clone()]), base, Arc::clone(store));
        cells.try_for_each(|id| view.clear(0, id))?;
        for delta in &mut view.into_delta().groups {
            self.table.apply(lease, delta, epoch);
        }
        self.forget_mark(&group, store.as_ref())
    }

    /// Which keys of windows that have expired are free and have nothing before them.
    fn expired(&self, watermark: EventTime, most: usize) -> Vec<(EventTime, Group)> {
        let group =
            |key: &ShortBytes, window: &Window| Group { key: key.clone(), hash: key_hash(key), window: window.clone() };
        let free = |key: &ShortBytes, window: &Window| {
            let group = group(key, window);
            let clock = *window == Window::Global && self.timers.has(&group, TimeDomain::Processing);
            !self.table.is_busy(key, group.hash, window, NOBODY)
                && !self.timers.has(&group, TimeDomain::Event)
                && !clock
                && self.sort.as_ref().is_none_or(|sort| sort.first_of(&group).is_none())
        };
        let due = self.expiry.due(watermark, most, free).into_iter();
        due.map(|(at, key, window)| (at, group(&key, &window))).collect()
    }
}

impl Shard {
    /// How far event time is for the timers of a stage: not past elements that wait or are under way.
    pub(super) fn timer_watermark(&mut self, stage: StageId) -> EventTime {
        let held = self.bundle_hold(stage);
        self.sort_clock(stage).min(held)
    }

    /// How far the clock is for the timers of a stage. Once no element is to come, waits or is under way, nothing else can happen to their keys, and
    /// they do not wait for it: Beam's batch runners move processing time to infinity then. Where other parts of the job go on by the clock, so do
    /// these, also where this shard has nothing of those parts; a script's clock is the script's alone.
    pub(super) fn timer_clock(&self, stage: StageId, now: ProcessingTime) -> ProcessingTime {
        let under_way = || self.bundles.values().any(|b| b.stage == stage && !b.is_applied() && b.has_elements());
        let moves = self.clock.is_none() && self.stood.is_none();
        let room = self.stages.get(stage.0 as usize);
        let over = moves && room.is_some_and(StageRoom::has_timers_alone) && !under_way();
        if over && (self.draining || !self.goes_on()) { ProcessingTime(i64::MAX) } else { now }
    }

    /// Whether more comes in time: in a job without an end, from sources that have not ended, or from restrictions that asked for a delay.
    /// Exchanges end when the job does.
    fn goes_on(&self) -> bool {
        self.plan.endless
            || self.stages.iter().any(|room| match &room.room {
                Room::Source(source) => source.watermark() < EventTime::MAX && !self.plan.is_exchange(source.source),
                _ => room.inbox.delays().next().is_some(),
            })
    }

    /// Whether a drain has brought a stage to the end of time.
    pub(super) fn is_ending(&mut self, stage: StageId) -> bool {
        self.draining && self.room(stage).input.get() == EventTime::MAX
    }

    /// Collects the state of windows that have expired.
    pub(super) fn expire(&mut self, stage: StageId, spec: &WorkerStage) -> Result<()> {
        let most = if self.clock.is_some() { usize::MAX } else { COLLECTED_MAX };
        let watermark = self.state_watermark(stage);
        let Some(worker) = self.room(stage).worker() else { return Ok(()) };
        worker.collects_on = false;
        if worker.expires.is_some() || !worker.expiry.has_due(watermark) {
            return Ok(());
        }
        let expired = worker.expired(watermark, most);
        worker.collects_on = expired.len() == most;
        expired.into_iter().try_for_each(|(_, group)| self.collect(stage, spec, &group))
    }

    fn state_watermark(&mut self, stage: StageId) -> EventTime {
        let held = self.bundle_hold(stage);
        let room = self.room(stage);
        room.input.get().min(room.inbox.min_time()).min(held)
    }

    /// Deletes all state and timers of a key and window.
    pub(super) fn collect(&mut self, stage: StageId, spec: &WorkerStage, group: &Group) -> Result<()> {
        self.clear_cells(stage, spec.cells(), group)?;
        let Some(worker) = self.room(stage).worker() else { return Ok(()) };
        worker.timers.forget_group(group);
        worker.expiry.forget(worker.windowing.expiry(&group.window), &group.window, &group.key);
        Ok(())
    }

    /// Deletes some of the state of a key and window that no bundle is at.
    pub(super) fn clear_cells(
        &mut self,
        stage: StageId,
        cells: impl Iterator<Item = StateId>,
        group: &Group,
    ) -> Result<()> {
        let (epoch, store) = (self.epoch, Arc::clone(&self.store));
        let Some(worker) = self.room(stage).worker() else { return Ok(()) };
        let Take::New(lease) = worker.table.take(&group.key, group.hash, &group.window, NOBODY, 0) else {
            return Ok(());
        };
        let cleared = worker.clear(lease, cells, epoch, &store);
        worker.table.release(lease);
        cleared
    }

    /// Takes the keys of expired windows into a bundle that calls the function about them.
    pub(super) fn take_expired(&mut self, stage: StageId, spec: &WorkerStage, keyed: &mut Keyed) -> Result<()> {
        let most = self.config.bundle_rows_max.saturating_sub(keyed.timers.len());
        let most = match (keyed.lone, keyed.leases.is_empty()) {
            (false, _) => most,
            (true, true) => 1,
            (true, false) => return Ok(()),
        };
        let watermark = self.state_watermark(stage);
        let mut left = if self.clock.is_some() { usize::MAX } else { COLLECTED_MAX };
        loop {
            let Some(worker) = self.room(stage).worker() else { return Ok(()) };
            let Some(family) = worker.expires.filter(|_| worker.expiry.has_due(watermark)) else { return Ok(()) };
            let expired = worker.expired(watermark, most.min(left));
            // those that an earlier version noted for a timer alone are not called: others may stand behind them
            let again = self.take_called(stage, spec, family, &expired, keyed)?;
            left -= expired.len();
            if !again || expired.is_empty() {
                return Ok(());
            }
            if left == 0 {
                self.collect_on(stage);
                return Ok(());
            }
        }
    }

    fn collect_on(&mut self, stage: StageId) {
        if let Some(worker) = self.room(stage).worker() {
            worker.collects_on = true;
        }
    }

    /// Takes those that had elements, and collects the others; returns whether all were others.
    fn take_called(
        &mut self,
        stage: StageId,
        spec: &WorkerStage,
        family: u32,
        expired: &[(EventTime, Group)],
        keyed: &mut Keyed,
    ) -> Result<bool> {
        let id = BundleId(self.next_bundle);
        let before = keyed.leases.len();
        for (at, group) in expired {
            if !self.has_cells(stage, spec, group)? {
                self.collect(stage, spec, group)?;
                continue;
            }
            let Some(worker) = self.room(stage).worker() else { return Ok(false) };
            let index = keyed.leases.len() as u32;
            let Take::New(lease) = worker.table.take(&group.key, group.hash, &group.window, id, index) else {
                continue;
            };
            keyed.leases.push(lease);
            keyed.only = keyed.lone.then(|| group.key.clone());
            let set = TimerSet { fire: at.0, hold: group.window.max_timestamp(), pane: Pane::NO_FIRING };
            let name = Arc::new(TimerName { group: group.clone(), family, tag: Bytes::new() });
            keyed.timers.push(Taken { name, set, attempts: 0, losses: 0 });
        }
        Ok(keyed.leases.len() == before)
    }

    fn has_cells(&mut self, stage: StageId, spec: &WorkerStage, group: &Group) -> Result<bool> {
        let store = Arc::clone(&self.store);
        let Some(worker) = self.room(stage).worker() else { return Ok(false) };
        let Take::New(lease) = worker.table.take(&group.key, group.hash, &group.window, NOBODY, 0) else {
            return Ok(true);
        };
        let base = worker.table.cells(lease).cloned().into_iter().collect();
        let mut view = StateView::new(NOBODY, Arc::from([group.clone()]), base, store);
        let mut found = Ok(false);
        for id in spec.cells() {
            found = view.list(0, id).map(|cells| !cells.is_empty());
            if !matches!(found, Ok(false)) {
                break;
            }
        }
        let epoch = self.epoch;
        if let Some(worker) = self.room(stage).worker() {
            for delta in &mut view.into_delta().groups {
                worker.table.apply(lease, delta, epoch);
            }
            worker.table.release(lease);
        }
        found
    }

    /// What has been called about its end goes.
    pub(super) fn collect_called(&mut self, bundle: &Bundle) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        let StageKind::Worker(spec) = &plan.stage(bundle.stage).kind else { return Ok(()) };
        let Some(family) = self.room(bundle.stage).worker().and_then(|worker| worker.expires) else { return Ok(()) };
        let called = bundle.timers.iter().filter(|taken| taken.name.family == family);
        called.into_iter().try_for_each(|taken| self.collect(bundle.stage, spec, &taken.name.group))
    }

    /// What of a batch a stage takes: elements of windows that have expired are dropped and counted, where the stage has state;
    /// so are those that come too late to be sorted.
    pub(super) fn without_late(&mut self, stage: StageId, batch: Batch) -> Batch {
        let room = self.room(stage);
        let watermark = room.input.get();
        let Some(worker) = room.worker().filter(|worker| worker.keyed && watermark > EventTime::MIN) else {
            return batch;
        };
        let (windowing, sorted) = (&worker.windowing, worker.sort.is_some());
        let expired = |window: &Window| windowing.expiry(window) < watermark;
        let unsorted = |row: &Row| sorted && row.time.plus(windowing.allowed_lateness) < watermark;
        let some = batch.window_sets().iter().flatten().any(expired) || batch.rows().iter().any(unsorted);
        if !some {
            return batch;
        }
        let mut dropped = 0;
        let sets: Vec<WindowSet> = batch
            .window_sets()
            .iter()
            .map(|set| set.iter().filter(|window| !expired(window)).cloned().collect())
            .collect();
        let mut rows = Vec::with_capacity(batch.len());
        for row in batch.rows() {
            let (all, left) = (batch.windows(row).len(), sets.get(row.windows as usize).map_or(0, WindowSet::len));
            let left = if unsorted(row) { 0 } else { left };
            dropped += all - left;
            if left > 0 {
                rows.push(*row);
            }
        }
        self.count(stage, "droppedDueToLateness", dropped as i64);
        batch.with_windows(rows, sets)
    }

    /// Adds to a counter of a stage, named as Beam's runners name theirs.
    pub(super) fn count(&mut self, stage: StageId, name: &str, n: i64) {
        if n == 0 {
            return;
        }
        let labels = [("PTRANSFORM", self.plan.stage(stage).name.as_str()), ("NAMESPACE", "thalweg"), ("NAME", name)];
        let key = MetricKey {
            urn: "beam:metric:user:sum_int64:v1".to_owned(),
            kind: "beam:metrics:sum_int64:v1".to_owned(),
            labels: labels
                .map(|(label, value)| (label.to_owned(), value.to_owned()))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        };
        let mut metrics = Metrics::default();
        metrics.add(&key, &MetricValue::Sum(n));
        self.metrics.entry(self.epoch).or_default().merge(&metrics);
        self.attempted(metrics);
    }
}
