//! Bundles of stages with keys: due timers, then elements of other keys, each key and window in one bundle at a time.

use super::shard::Shard;
use crate::batch::Row;
use crate::error::Result;
use crate::graph::WorkerStage;
use crate::id::{BundleId, StageId};
use crate::port::worker::{Group, Input, Item, TimeDomain};
use crate::short::ShortBytes;
use crate::stage::{Pending, Share, SortedRows};
use crate::state::{Lease, StateView, Take};
use crate::time::{EventTime, ProcessingTime};
use crate::timer::Taken;
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
    pub only: Option<ShortBytes>,
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
    /// The keys of the next bundle: with as much waiting as fills several, each takes some keys and all that waits for them.
    pub(super) fn share(&mut self, stage: StageId) -> Share {
        let (most, bytes_max, salt) =
            (self.config.bundle_rows_max, self.config.bundle_bytes_max.max(1), self.next_bundle);
        let room = self.room(stage);
        let (rows, weight) = (usize::try_from(room.inbox.rows()).unwrap_or(usize::MAX), room.inbox.weight());
        let Some(worker) = room.worker() else { return Share::ALL };
        Share::one(rows.div_ceil(worker.sizer.rows(most)).max(weight.div_ceil(bytes_max)), salt)
    }

    /// Takes due timers, then elements of other keys, each key and window in one bundle at a time.
    pub(super) fn start_keyed(
        &mut self,
        stage: StageId,
        spec: &WorkerStage,
        share: Share,
        now: ProcessingTime,
    ) -> Result<bool> {
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
        self.launch_keyed(stage, spec, keyed, now)?;
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
                || keyed.only.as_ref().is_some_and(|only| only.as_slice() != key)
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
                    keyed.only = Some(ShortBytes::copy(key));
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

    pub(super) fn launch_keyed(
        &mut self,
        stage: StageId,
        spec: &WorkerStage,
        keyed: Keyed,
        now: ProcessingTime,
    ) -> Result<()> {
        let elements = keyed.leases.get(keyed.timer_groups as usize..).unwrap_or_default();
        self.drop_overdue(stage, spec, elements)?;
        let Keyed { leases, timers, inputs, sorted, rows, .. } = keyed;
        let mut batches: Vec<_> = inputs.iter().map(|p| p.batch.clone()).collect();
        batches.extend(super::sorted::batch_of(&sorted));
        let room = self.room(stage);
        let Some(worker) = room.worker() else { return Ok(()) };
        let (groups, base) = worker.table.lend(&leases);
        let items = in_group_order(&groups, &timers, rows);
        let id = self.new_bundle(stage, None, inputs, leases, timers, now);
        if let (Some(bundle), false) = (self.bundles.get_mut(&id), sorted.is_empty()) {
            bundle.sorted = sorted;
            bundle.hold_again();
        }
        let view = StateView::new(id, Arc::clone(&groups), base, Arc::clone(&self.store));
        self.launch(stage, spec, id, Input::Keyed { groups, batches, items }, view, now);
        Ok(())
    }
}

/// Puts the rows of a group together, keeping their order; timers come first. Cost: O(rows).
fn in_group_order(groups: &[Group], timers: &[Taken], rows: Vec<(u32, u32, u32)>) -> Vec<Item> {
    let mut items = Vec::with_capacity(timers.len() + rows.len());
    let mut at = 0u32;
    for taken in timers {
        while groups.get(at as usize).is_some_and(|g| *g != taken.name.group) {
            at += 1;
        }
        items.push(Item::Timer { group: at, timer: Box::new(taken.due()) });
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
