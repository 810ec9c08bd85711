//! Time to live: state that was not written for so long is dropped, by the clock, as a write of the open epoch.
//!
//! What a function keeps is dropped, and nothing that the engine needs: no timers, no waiting elements, no buffers and panes. A key
//! and window with a timer keeps its state, for the timer was set to see to it; a function that is in the middle of it does, too. Dropped
//! state must not come back from a worker's cache: its stage gets another cache token.
//!
//! The clock decides, so two runs over the same input may drop at other elements. Source: Flink's `StateTtlConfig` with `OnCreateAndWrite` and
//! `NeverReturnExpired`, but for a key and window as a whole, and with timers.

use super::cut::fact_key;
use super::restore::corrupt;
use super::shard::Shard;
use super::stages::WorkerRoom;
use crate::error::Result;
use crate::graph::{StageKind, WorkerStage};
use crate::id::{BundleId, CacheToken, KEY_GROUPS, KeyGroup, Partition, StageId};
use crate::port::store::StateRead;
use crate::port::worker::{Group, StateSpec};
use crate::state::{CellKey, Expired, Kind, Lease, Mark, Ttl};
use crate::time::ProcessingTime;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// The fact that state of a stage is marked: since when no state counts as older.
const FACT: &str = "ttl";

/// Whether a fact of the job is that one: then it concerns all partitions.
pub(super) fn is_fact(name: &[u8]) -> bool {
    name == FACT.as_bytes()
}

impl WorkerRoom {
    /// The mark of a key and window. Cost: a read of the store if it is not in memory.
    fn mark_of(&mut self, group: &Group, store: &dyn StateRead) -> Result<Mark> {
        let lease = self.table.lease_of(group);
        let known = lease.map_or(Mark::Unknown, |lease| self.table.mark(lease));
        let (Mark::Unknown, Some(ttl)) = (known, &self.ttl) else { return Ok(known) };
        let mark = ttl.stored(group, store)?;
        if let Some(lease) = lease {
            self.table.set_mark(lease, mark);
        }
        Ok(mark)
    }

    /// A key and window is written now. Cost: nothing while its mark has not been reached.
    pub(super) fn written(&mut self, lease: Lease, now: ProcessingTime, store: &dyn StateRead) -> Result<()> {
        let marks = self.ttl.as_ref().is_some_and(|ttl| ttl.is_on());
        if !marks || matches!(self.table.mark(lease), Mark::Until(until) if now < until) {
            return Ok(());
        }
        let Some(group) = self.table.group(lease).cloned() else { return Ok(()) };
        self.mark(&group, now, store)
    }

    fn mark(&mut self, group: &Group, now: ProcessingTime, store: &dyn StateRead) -> Result<()> {
        let before = self.mark_of(group, store)?;
        let Some(ttl) = self.ttl.as_mut().filter(|ttl| ttl.is_on()) else { return Ok(()) };
        let mark = ttl.write(group, before, now);
        if let Some(lease) = self.table.lease_of(group) {
            self.table.set_mark(lease, mark);
        }
        Ok(())
    }

    /// The state of a key and window is gone, if there was any.
    pub(super) fn forget_mark(&mut self, group: &Group, store: &dyn StateRead) -> Result<()> {
        if self.ttl.is_none() {
            return Ok(());
        }
        let mark = self.mark_of(group, store)?;
        if let Some(ttl) = &mut self.ttl {
            ttl.forget(group, mark);
        }
        if let Some(lease) = self.table.lease_of(group) {
            self.table.set_mark(lease, Mark::Missing);
        }
        Ok(())
    }

    /// A bundle has deleted state of a key and window and written none: what has none left needs no mark. Cost: a look into the store for
    /// each state of which not all is in memory.
    pub(super) fn deleted(&mut self, lease: Lease, states: &[StateSpec], store: &dyn StateRead) -> Result<()> {
        if self.ttl.is_none() {
            return Ok(());
        }
        let (Some(group), Some(cells)) = (self.table.group(lease).cloned(), self.table.cells(lease)) else {
            return Ok(());
        };
        for state in states {
            if cells.of(state.id).any(|cell| cell.value.is_some()) {
                return Ok(());
            }
            if cells.is_complete(state.id) || !store.holds_cells() {
                continue;
            }
            let front = CellKey::new(KeyGroup::of_hash(group.hash), Kind::User, state.id);
            let front = front.part(&group.key).window(&group.window);
            let (skip, mut left) = (front.as_slice().len(), false);
            store.scan(front.as_slice(), &front.successor(), &mut |key, _| {
                // one that is known in memory is known to be deleted
                left = cells.get(state.id, key.get(skip..).unwrap_or_default()).is_none();
                !left
            })?;
            if left {
                return Ok(());
            }
        }
        self.forget_mark(&group, store)
    }

    /// Whether something is still to come that needs the state of a key and window.
    fn is_awaited(&self, group: &Group) -> bool {
        self.timers.has_any(group) || self.sort.as_ref().is_some_and(|sort| sort.first_of(group).is_some())
    }
}

impl Shard {
    /// The groups of the partitions that this shard owns.
    pub(super) fn key_groups(&self) -> Range<u16> {
        let (partitions, shards) = (self.config.partitions, self.config.shards);
        let mut mine = (0..partitions).map(Partition).filter(|p| p.shard(partitions, shards) == self.id);
        let Some(first) = mine.next() else { return 0..0 };
        let behind = mine.next_back().unwrap_or(first).0 + 1;
        let end = if behind >= partitions { KEY_GROUPS } else { Partition(behind).first_group(partitions).0 };
        first.first_group(partitions).0..end
    }

    /// Before cells are restored: which state is marked in this run. State that was not in the last one counts as written now.
    pub(super) fn begin_ttl(&mut self, state: &dyn StateRead, now: ProcessingTime) -> Result<()> {
        let (groups, keeps, stored) = (self.key_groups(), self.stores_for_all(), state.holds_cells());
        let plan = Arc::clone(&self.plan);
        for stage in &plan.stages {
            let StageKind::Worker(spec) = &stage.kind else { continue };
            let fact = fact_key(stage.state, FACT);
            let since = state.get(&fact)?;
            let Some(limit) = spec.ttl_ms else {
                // marks of an earlier run are not kept up from now on
                self.consumed.extend(since.filter(|_| keeps).map(|_| fact));
                continue;
            };
            let floor = match &since {
                Some(since) => {
                    let since = since.as_ref().try_into().map_err(|_| corrupt("fact of the job"))?;
                    ProcessingTime(i64::from_be_bytes(since))
                }
                None => now,
            };
            let mut ttl = Ttl::new(stage.state, limit, floor, groups.clone(), stored);
            if self.clock.is_some() {
                ttl = ttl.at_once();
            }
            if since.is_none() && keeps && stored {
                ttl.store((fact, Some(Bytes::copy_from_slice(&floor.0.to_be_bytes()))));
            }
            if let Some(worker) = self.room(stage.id).worker() {
                worker.ttl = Some(Box::new(ttl));
            }
        }
        Ok(())
    }

    /// While cells are restored: a mark. One that was made when state was marked goes in a run in which it is not.
    pub(super) fn restore_mark(&mut self, stage: StageId, group: KeyGroup, name: &[u8]) {
        let (groups, id) = (self.key_groups(), self.plan.stage(stage).state);
        if let Some(worker) = self.room(stage).worker() {
            worker.ttl.get_or_insert_with(|| Box::new(Ttl::leaving(id, groups))).saw_mark(group, name);
        }
    }

    /// All cells are restored.
    pub(super) fn restored_marks(&mut self) {
        for worker in self.stages.iter_mut().filter_map(|room| room.worker()) {
            worker.ttl.iter_mut().for_each(|ttl| ttl.restored_all());
        }
    }

    /// Drops a portion of the state that has lived too long, and marks a portion of what has no mark yet.
    pub(super) fn sweep(&mut self, stage: StageId, spec: &WorkerStage, now: ProcessingTime) -> Result<()> {
        // a script's clock moves when all is quiet: then nothing is left for later
        let all = self.clock.is_some();
        let store = Arc::clone(&self.store);
        let Some(worker) = self.room(stage).worker() else { return Ok(()) };
        let Some(ttl) = &mut worker.ttl else { return Ok(()) };
        if ttl.is_over() {
            worker.ttl = None;
            return Ok(());
        }
        let is_due = ttl.begin(now) || (all && ttl.is_in_round());
        if !is_due {
            return Ok(());
        }
        let expired = ttl.expired(store.as_ref(), all)?;
        let states: Vec<_> = spec.cells().collect();
        for group in ttl.unmarked(&states, store.as_ref(), all)? {
            if worker.mark_of(&group, store.as_ref())? == Mark::Missing {
                worker.mark(&group, now, store.as_ref())?;
            }
        }
        let mut dropped = 0;
        for expired in expired {
            dropped += i64::from(self.expire_mark(stage, spec, &expired, now)?);
        }
        self.dropped(stage, dropped);
        Ok(())
    }

    /// A mark has come to its end. Tells whether state went with it.
    fn expire_mark(
        &mut self,
        stage: StageId,
        spec: &WorkerStage,
        expired: &Expired,
        now: ProcessingTime,
    ) -> Result<bool> {
        let store = Arc::clone(&self.store);
        let Some(worker) = self.room(stage).worker() else { return Ok(false) };
        let group = &expired.group;
        let mark = worker.mark_of(group, store.as_ref())?;
        let Some(ttl) = &mut worker.ttl else { return Ok(false) };
        if mark != Mark::Until(expired.until) {
            ttl.forget_turn(expired);
        } else if !ttl.is_on() {
            ttl.forget(group, mark);
        } else if worker.table.is_busy(&group.key, group.hash, &group.window, BundleId(u64::MAX)) {
            // the next round sees what became of it
        } else if worker.is_awaited(group) {
            worker.mark(group, now, store.as_ref())?;
        } else if spec.met().is_some() {
            // the function is still told of the window's end; it finds no state then
            self.clear_cells(stage, spec.states.iter().map(|state| state.id), group)?;
            return Ok(true);
        } else {
            self.collect(stage, spec, group)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Drops state that a bundle is about to see although its time has come: the round has not got so far.
    pub(super) fn drop_overdue(&mut self, stage: StageId, spec: &WorkerStage, leases: &[Lease]) -> Result<()> {
        let (epoch, store) = (self.epoch, Arc::clone(&self.store));
        let Some(worker) = self.room(stage).worker() else { return Ok(()) };
        if worker.ttl.as_ref().is_none_or(|ttl| !ttl.is_in_round()) {
            return Ok(());
        }
        let mut dropped = 0;
        for lease in leases {
            let Some(group) = worker.table.group(*lease).cloned() else { continue };
            let Mark::Until(until) = worker.mark_of(&group, store.as_ref())? else { continue };
            let overdue = worker.ttl.as_ref().is_some_and(|ttl| ttl.is_overdue(&group, until));
            if !overdue || worker.is_awaited(&group) {
                continue;
            }
            worker.clear(*lease, spec.states.iter().map(|state| state.id), epoch, &store)?;
            dropped += 1;
        }
        self.dropped(stage, dropped);
        Ok(())
    }

    /// So many keys and windows have lost their state: no worker may remember it.
    fn dropped(&mut self, stage: StageId, n: i64) {
        if n == 0 {
            return;
        }
        self.tokens += 1;
        let token = CacheToken(self.tokens);
        if let Some(worker) = self.room(stage).worker() {
            worker.token = token;
        }
        self.count(stage, "droppedByStateTtl", n);
    }
}
