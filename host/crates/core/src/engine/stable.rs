//! Stable input: elements that a function sees only when they can not change any more.
//!
//! A cut forms what has come since the last one into bundles and stores them; when its epoch is committed they are given to
//! the worker, each as it was formed: after a failure, a loss or a crash the function sees the same elements in the same bundle.
//! Each such stage costs its elements up to an epoch of waiting. Source: `beam:requirement:pardo:stable_input:v1`.

use super::keyed::Keyed;
use super::shard::Shard;
use crate::batch::{Batch, BatchBuilder, Row};
use crate::error::Result;
use crate::graph::{StageKind, WorkerStage};
use crate::id::{BundleId, EdgeId, StageId};
use crate::port::worker::Input;
use crate::stage::{Lane, Origin, Pending};
use crate::state::{StateView, Take};
use crate::time::ProcessingTime;
use hashbrown::HashSet;
use std::sync::Arc;

impl Shard {
    /// Forms bundles of what has come, before the open epoch ends.
    pub(super) fn form_stable(&mut self) {
        let plan = Arc::clone(&self.plan);
        for stage in &plan.stages {
            let StageKind::Worker(spec) = &stage.kind else { continue };
            if !spec.stable {
                continue;
            }
            let fresh = self.room(stage.id).inbox.take_where(|pending| pending.stable.is_none());
            let (rows_max, bytes_max) = (self.config.bundle_rows_max, self.config.bundle_bytes_max);
            let mut forming = Forming { rows_max, bytes_max, lone: spec.lone_keys, ..Forming::default() };
            for pending in fresh {
                if let Some(edge) = pending.edge {
                    forming.add((edge, pending.input), &pending.batch);
                }
                self.consumed(stage.id, pending);
            }
            for ((edge, input), batch) in forming.finish() {
                let mut pending = Pending::new(batch, Some(edge), input, Lane::Shard(edge, self.id), Origin::Local);
                pending.stable = Some(self.epoch);
                self.room(stage.id).inbox.push(pending);
            }
        }
    }

    /// Starts the next bundle that was formed, whole, or one of timers.
    pub(super) fn start_stable(&mut self, stage: StageId, spec: &WorkerStage, now: ProcessingTime) -> Result<bool> {
        let mut keyed = Keyed::of(spec);
        if spec.keyed {
            self.take_timers(stage, spec, now, &mut keyed)?;
            if !keyed.leases.is_empty() {
                self.launch_keyed(stage, spec, keyed, now)?;
                return Ok(true);
            }
        }
        self.clear_waiting(stage);
        let mut waiting = HashSet::default();
        let mut i = 0;
        while let Some(pending) = self.room(stage).inbox.get(i).cloned() {
            if self.may_start(stage, spec, &pending, &waiting, now) {
                let Some(pending) = self.room(stage).inbox.remove(i) else { break };
                self.launch_stable(stage, spec, pending, keyed, now)?;
                return Ok(true);
            }
            if spec.keyed {
                waiting.extend(pending.batch.rows().iter().map(|row| row.hash));
            }
            i += 1;
        }
        Ok(false)
    }

    fn may_start(
        &mut self,
        stage: StageId,
        spec: &WorkerStage,
        pending: &Pending,
        waiting: &HashSet<u64, foldhash::fast::FixedState>,
        now: ProcessingTime,
    ) -> bool {
        if pending.stable.is_none_or(|epoch| epoch > self.lasting) || pending.not_before > now {
            return false;
        }
        let batch = &pending.batch;
        let ready = batch.rows().iter().all(|row| batch.windows(row).iter().all(|w| self.sides_ready(stage, spec, w)));
        let Some(worker) = self.room(stage).worker() else { return false };
        worker.waits_for_sides |= !ready;
        let free = |row: &Row| {
            !waiting.contains(&row.hash)
                && batch
                    .windows(row)
                    .iter()
                    .all(|w| !worker.table.is_busy(batch.key(row), row.hash, w, BundleId(u64::MAX)))
        };
        ready && (!spec.keyed || batch.rows().iter().all(free))
    }

    fn launch_stable(
        &mut self,
        stage: StageId,
        spec: &WorkerStage,
        pending: Pending,
        mut keyed: Keyed,
        now: ProcessingTime,
    ) -> Result<()> {
        if !spec.keyed {
            let batches = vec![(pending.input, pending.batch.clone())];
            let id = self.new_bundle(stage, None, vec![pending], Vec::new(), Vec::new(), now);
            let view = StateView::empty(id, Arc::clone(&self.store));
            self.launch(stage, spec, id, Input::Elements { batches }, view, now);
            return Ok(());
        }
        let id = BundleId(self.next_bundle);
        let Some(worker) = self.room(stage).worker() else { return Ok(()) };
        for (n, row) in pending.batch.rows().iter().enumerate() {
            for window in pending.batch.windows(row) {
                let index = keyed.leases.len() as u32;
                let group = match worker.table.take(pending.batch.key(row), row.hash, window, id, index) {
                    Take::New(lease) => {
                        keyed.leases.push(lease);
                        index
                    }
                    Take::Mine(group) => group,
                    Take::Busy => continue,
                };
                keyed.rows.push((group, 0, n as u32));
            }
        }
        keyed.inputs.push(pending);
        self.launch_keyed(stage, spec, keyed, now)
    }
}

/// Edge and input.
type Entry = (EdgeId, u32);

/// Bundles in the making.
#[derive(Default)]
struct Forming {
    rows_max: usize,
    bytes_max: usize,
    /// A bundle has one key alone.
    lone: bool,
    open: Option<(Entry, BatchBuilder, usize)>,
    formed: Vec<(Entry, Batch)>,
}

impl Forming {
    fn add(&mut self, entry: Entry, batch: &Batch) {
        let mut rows: Vec<&Row> = batch.rows().iter().collect();
        let mut last = None;
        if self.lone {
            rows.sort_by_key(|row| batch.key(row)); // stable: elements of a key keep their order
            self.close();
        }
        for row in rows {
            if self.lone && last.replace(batch.key(row)).is_some_and(|key| key != batch.key(row)) {
                self.close();
            }
            let full = |of: &(Entry, BatchBuilder, usize)| {
                of.0 != entry || of.2 >= self.rows_max.max(1) || of.1.bytes() >= self.bytes_max
            };
            if self.open.as_ref().is_some_and(full) {
                self.close();
            }
            let (_, open, rows) = self.open.get_or_insert_with(|| (entry, BatchBuilder::new(), 0));
            open.push_in_pane(batch.key(row), batch.value(row), row.time, batch.windows(row), batch.pane(row));
            *rows += 1;
        }
    }

    fn close(&mut self) {
        if let Some((entry, mut open, _)) = self.open.take() {
            self.formed.push((entry, open.finish()));
        }
    }

    fn finish(mut self) -> Vec<(Entry, Batch)> {
        self.close();
        self.formed
    }
}
