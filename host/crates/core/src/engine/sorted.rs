//! Bundles of sorted input: the elements of a key and window in the order of event time, and its timers in their turn.
//!
//! The clock of such a stage is its input watermark less the allowed lateness: what may still come within it comes first. An
//! element whose time that clock has passed when it arrives is dropped and counted. Where the function sets event timers, a
//! bundle has the elements of one instant of a key, because a timer set by them may go before later ones.
//! Source: `beam:requirement:pardo:time_sorted_input:v1`.

use super::keyed::Keyed;
use super::shard::Shard;
use crate::batch::{Batch, BatchBuilder};
use crate::error::Result;
use crate::graph::WorkerStage;
use crate::id::{BundleId, StageId};
use crate::port::worker::{Group, TimeDomain};
use crate::stage::SortedRows;
use crate::state::Take;
use crate::time::{EventTime, ProcessingTime};

impl Shard {
    /// Puts what has come into its place.
    pub(super) fn sort_input(&mut self, stage: StageId) {
        let room = self.room(stage);
        if room.inbox.is_empty() || room.worker().is_none_or(|worker| worker.sort.is_none()) {
            return;
        }
        for pending in room.inbox.drain() {
            self.changed += pending.batch.weight();
            if let Some(sort) = self.room(stage).worker().and_then(|worker| worker.sort.as_mut()) {
                sort.add(&pending.batch);
            }
            self.consumed(stage, pending);
        }
    }

    pub(super) fn start_sorted(&mut self, stage: StageId, spec: &WorkerStage, now: ProcessingTime) -> Result<bool> {
        let mut keyed = Keyed::of(spec);
        self.take_timers(stage, spec, now, &mut keyed)?;
        self.clear_waiting(stage);
        let clock = self.sort_clock(stage);
        let worker = self.room(stage).worker().filter(|worker| worker.timers_not_before <= now);
        let due: Vec<Group> = worker
            .and_then(|worker| worker.sort.as_ref())
            .map(|sort| sort.due(clock).map(|(_, group)| group).collect())
            .unwrap_or_default();
        for group in due {
            let bytes: usize = keyed.sorted.iter().map(SortedRows::bytes).sum();
            if keyed.rows.len() >= self.config.bundle_rows_max || bytes >= self.config.bundle_bytes_max {
                break;
            }
            if keyed.only.as_ref().is_some_and(|only| *only != group.key) {
                continue;
            }
            if self.sides_ready(stage, spec, &group.window) {
                self.take_sorted(stage, &group, clock, &mut keyed);
            } else if let Some(worker) = self.room(stage).worker() {
                worker.waits_for_sides = true;
            }
        }
        let some = !keyed.leases.is_empty();
        if some {
            self.launch_keyed(stage, spec, keyed, now)?;
        }
        Ok(some)
    }

    /// Takes the next elements of a key and window, if it is their turn.
    fn take_sorted(&mut self, stage: StageId, group: &Group, clock: EventTime, keyed: &mut Keyed) {
        let id = BundleId(self.next_bundle);
        let most = self.config.bundle_rows_max.saturating_sub(keyed.rows.len());
        let bytes_max = self.config.bundle_bytes_max;
        let Some(worker) = self.room(stage).worker() else { return };
        let Some(first) = worker.sort.as_ref().and_then(|sort| sort.first_of(group)) else { return };
        let timer = worker.timers.earliest_event(group);
        if timer.is_some_and(|fire| fire < first.0) {
            return;
        }
        let passed = if clock == EventTime::MAX { clock } else { EventTime(clock.0 - 1) };
        let last = if worker.timers.has_family(TimeDomain::Event) { first } else { passed };
        let index = keyed.leases.len() as u32;
        let Take::New(lease) = worker.table.take(&group.key, group.hash, &group.window, id, index) else { return };
        keyed.leases.push(lease);
        keyed.only = keyed.lone.then(|| group.key.clone());
        let Some(taken) = worker.sort.as_mut().and_then(|sort| sort.take(group, last, most, bytes_max)) else { return };
        let from = keyed.rows.len() as u32;
        keyed.rows.extend((0..taken.rows.len() as u32).map(|n| (index, 0, from + n)));
        keyed.sorted.push(taken);
    }

    /// How far event time is for the elements of a sorted stage.
    pub(super) fn sort_clock(&mut self, stage: StageId) -> EventTime {
        let room = self.room(stage);
        let (input, waiting) = (room.input.get(), room.inbox.min_time());
        // others do not wait for late elements to put in order
        let sorts = room.worker().filter(|worker| worker.sort.is_some());
        let lateness = sorts.map_or(0, |worker| worker.windowing.allowed_lateness);
        if input == EventTime::MAX { waiting } else { input.plus(-lateness).min(waiting) }
    }
}

/// The batch in which the rows of sorted input go to the worker; none when there are none.
pub(super) fn batch_of(sorted: &[SortedRows]) -> Option<Batch> {
    let mut batch = BatchBuilder::new();
    for taken in sorted {
        for row in &taken.rows {
            let windows = std::slice::from_ref(&taken.group.window);
            batch.push_in_pane(&taken.group.key, &row.value, row.turn.0, windows, row.pane);
        }
    }
    (!batch.is_empty()).then(|| batch.finish())
}
