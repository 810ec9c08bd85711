//! The life of bundles: done, failed, lost, split, applied, finalized; and the other answers of workers.

use super::event::Effect;
use super::shard::Shard;
use super::stages::{Request, Room};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::graph::{EnvironmentId, StageKind};
use crate::id::{BundleId, CacheToken, StageId};
use crate::metric::Metrics;
use crate::port::worker::{self, BundleResult, Command, Residual, SplitReply};
use crate::stage::{Bundle, BundleState, Lane, Origin, Pending};
use crate::state::GroupDelta;
use crate::time::ProcessingTime;
use crate::timer::TimerName;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Shard {
    pub(super) fn worker(
        &mut self,
        environment: Option<EnvironmentId>,
        event: worker::Event,
        now: ProcessingTime,
    ) -> Result<()> {
        match event {
            worker::Event::Output { bundle, output, batch } => self.output(bundle, output, batch, now)?,
            worker::Event::Done { bundle, result } => self.done(bundle, result, now)?,
            worker::Event::Failed { bundle, error } => return self.bundle_failed(bundle, error, now),
            worker::Event::Progress { bundle, consumed, metrics } => self.progressed(bundle, consumed, metrics),
            worker::Event::Harness { metrics } => self.harness_metrics(environment, Some(metrics)),
            worker::Event::Split { bundle, reply } => self.split(bundle, reply, now),
            worker::Event::WindowsMerged { request, keys } => self.windows_merged(request, keys, now),
            worker::Event::WindowsMapped { request, windows } => self.windows_mapped(request, windows),
            // accumulators are compacted by the combining stage itself; nobody asks yet
            worker::Event::Compacted { .. } => {}
            worker::Event::Credit { stage, bundles } => {
                if let Some(room) = self.room(stage).worker() {
                    room.credit = bundles;
                }
            }
            worker::Event::Lost { error } => return self.worker_lost(environment, &error, now),
        }
        Ok(())
    }

    fn output(&mut self, id: BundleId, output: u32, batch: Batch, now: ProcessingTime) -> Result<()> {
        // an unknown bundle was abandoned: its late results are nobody's
        let Some(bundle) = self.bundles.get_mut(&id).filter(|b| b.is_running()) else { return Ok(()) };
        let weight = batch.weight();
        bundle.output_weight += weight;
        bundle.outputs.push((output, batch));
        self.held += weight;
        let much = bundle.output_weight > self.config.queue_bytes_max || self.held > self.config.outputs_bytes_max;
        if much { self.overfull(id, now) } else { Ok(()) }
    }

    fn done(&mut self, id: BundleId, mut result: Box<BundleResult>, now: ProcessingTime) -> Result<()> {
        let Some(bundle) = self.bundles.get_mut(&id).filter(|b| b.is_running()) else { return Ok(()) };
        result.metrics = std::mem::take(&mut result.metrics).lasting();
        let metrics = result.metrics.clone();
        bundle.state = BundleState::Done;
        bundle.pace.metrics = Metrics::default();
        bundle.result = Some(result);
        let (stage, lane) = (bundle.stage, bundle.lane);
        let output = bundle.output_weight;
        let (rows, took) = (bundle.rows(), now.0.saturating_sub(bundle.started.0));
        let (target, output_bytes) = (self.config.bundle_ms, self.config.queue_bytes_max);
        self.attempted(metrics);
        if let Some(room) = self.room(stage).worker() {
            room.sizer.done(rows, took, target);
            room.sizer.put_out(rows, output, output_bytes);
            room.running = room.running.saturating_sub(1);
        }
        let Some(lane) = lane else { return self.apply(id, now) };
        // bundles of a lane may finish in any order but take effect in the order of their input
        while let Some(first) = self.first_of(stage, lane) {
            if self.bundles.get(&first).is_none_or(|b| b.state != BundleState::Done) {
                break;
            }
            self.leave_lane(stage, lane, first);
            self.apply(first, now)?;
        }
        Ok(())
    }

    fn first_of(&mut self, stage: StageId, lane: Lane) -> Option<BundleId> {
        self.room(stage).worker()?.lanes.get(&lane)?.front().copied()
    }

    fn leave_lane(&mut self, stage: StageId, lane: Lane, id: BundleId) {
        let Some(room) = self.room(stage).worker() else { return };
        if let Some(list) = room.lanes.get_mut(&lane) {
            list.retain(|b| *b != id);
            if list.is_empty() {
                room.lanes.remove(&lane);
            }
        }
    }

    /// The bundle takes effect, whole, in the open epoch.
    fn apply(&mut self, id: BundleId, now: ProcessingTime) -> Result<()> {
        let Some(mut bundle) = self.bundles.remove(&id) else { return Ok(()) };
        let stage = bundle.stage;
        let mut result = bundle.result.take().map(|r| *r).unwrap_or_default();
        self.held -= std::mem::take(&mut bundle.output_weight);
        for (output, batch) in std::mem::take(&mut bundle.outputs) {
            self.emit(stage, output, batch, None);
        }
        self.apply_state(&bundle, &mut result, now)?;
        for mut residual in std::mem::take(&mut result.residuals) {
            if bundle.truncates {
                // what a truncation leaves holds what its input held
                residual.watermark = Some(bundle.hold);
            }
            self.give_back(stage, residual, bundle.truncates || bundle.is_truncated(), now);
        }
        for pending in std::mem::take(&mut bundle.inputs) {
            self.consumed(stage, pending);
        }
        if !result.metrics.is_empty() {
            self.metrics.entry(self.epoch).or_default().merge(&result.metrics);
        }
        if result.finalize {
            bundle.state = BundleState::Applied(self.epoch);
            bundle.timers = Vec::new();
            self.bundles.insert(id, bundle);
        }
        Ok(())
    }

    fn apply_state(&mut self, bundle: &Bundle, result: &mut BundleResult, now: ProcessingTime) -> Result<()> {
        let (epoch, plan, store) = (self.epoch, Arc::clone(&self.plan), Arc::clone(&self.store));
        let (states, met) = match &plan.stage(bundle.stage).kind {
            StageKind::Worker(spec) => (spec.states.as_slice(), spec.met()),
            _ => (&[][..], None),
        };
        let ending = self.is_ending(bundle.stage) || bundle.started.0 == i64::MAX;
        let Some(room) = self.room(bundle.stage).worker() else { return Ok(()) };
        for taken in &bundle.timers {
            room.timers.fired(taken);
        }
        if let Some(sort) = &mut room.sort {
            bundle.sorted.iter().for_each(|taken| sort.applied(taken));
        }
        for update in std::mem::take(&mut result.timers) {
            let group = bundle.leases.get(update.group as usize).and_then(|lease| room.table.group(*lease));
            let Some(group) = group.cloned() else {
                return Err(Error::new(
                    "TIMER_FOREIGN_KEY",
                    crate::error::Domain::Guest,
                    "the worker set a timer for a key that is not in its bundle",
                ));
            };
            let set = update.set.filter(|set| !room.is_void(&group, update.family, set, &bundle.timers, ending));
            if set.is_some() && met.is_none() {
                room.note_state(&group.window, &group.key); // timers go with their window, too
            }
            room.timers.update(TimerName { group, family: update.family, tag: update.tag }, set);
        }
        // a worker may leave out the last groups, if it has not changed them
        result.state.groups.resize_with(bundle.leases.len(), GroupDelta::default);
        let mut changed = 0;
        for (lease, delta) in bundle.leases.iter().zip(&mut result.state.groups) {
            let wrote = delta.changes.iter().any(|change| change.value.is_some());
            let deleted = !wrote && !delta.changes.is_empty();
            let first = met.filter(|_| room.is_new(*lease));
            if let Some(met) = first {
                delta.note(met);
            }
            changed += delta.weight();
            if wrote || first.is_some() {
                room.note_group(*lease);
                room.written(*lease, now, store.as_ref())?;
            }
            room.table.apply(*lease, delta, epoch);
            room.table.release(*lease);
            if deleted && met.is_none() {
                room.deleted(*lease, states, store.as_ref())?;
            }
        }
        self.changed += changed;
        self.collect_called(bundle)
    }

    /// Work that a splittable function gave back is pending input of its stage.
    fn give_back(&mut self, stage: StageId, residual: Residual, truncated: bool, now: ProcessingTime) {
        self.next_request += 1;
        let lane = Lane::Residual(self.next_request);
        let mut pending = Pending::new(residual.batch, None, residual.entry, lane, Origin::Local);
        pending.hold = residual.watermark;
        pending.truncated = truncated;
        if residual.delay_ms > 0 {
            pending.not_before = now.plus(residual.delay_ms);
        }
        self.room(stage).inbox.push(pending);
    }

    fn split(&mut self, id: BundleId, reply: SplitReply, now: ProcessingTime) {
        let Some(bundle) = self.bundles.get_mut(&id).filter(|b| b.is_running()) else { return };
        let rows = bundle.elements();
        let given =
            !reply.residuals.is_empty() || reply.primary.is_some() || reply.keep.is_some_and(|keep| keep < rows);
        let (stage, truncated) = (bundle.stage, bundle.is_truncated());
        self.split_answered(id, given, now);
        let Some(bundle) = self.bundles.get_mut(&id).filter(|_| given) else { return };
        // From here on the parts of this input live apart: no stored copy and no position of a source may stand for the
        // whole of it any more. The next cut stores what is left of each part.
        let (mut copies, mut reads) = (Vec::new(), Vec::new());
        for pending in &mut bundle.inputs {
            copies.extend(pending.stored.take().map(|number| (pending.edge, number)));
            if let Origin::Read { source, split, read } = pending.origin {
                reads.push((source, split, read));
                pending.origin = Origin::Local;
            }
        }
        let rest = bundle.keep(&reply);
        for (edge, number) in copies {
            self.forget_stored(self.stored_name(stage, edge), number);
        }
        for (source, split, read) in reads {
            self.read_consumed(source, split, read, true);
        }
        // residuals leave the bundle: it still covers its primary, and a retry replays just that. What they contain is not
        // lost when the bundle fails, because they stand in the queue from now on.
        self.room(stage).inbox.push_front(rest);
        for residual in reply.residuals {
            self.give_back(stage, residual, truncated, now);
        }
    }

    /// Drops a bundle as if it had never run. Its input is returned with its order kept.
    fn undo(&mut self, id: BundleId) -> Option<(StageId, Vec<Pending>)> {
        let mut bundle = self.bundles.remove(&id)?;
        self.held -= bundle.output_weight;
        self.attempted(std::mem::take(&mut bundle.pace.metrics));
        let stage = bundle.stage;
        self.tokens += 1;
        let token = CacheToken(self.tokens);
        if let Some(lane) = bundle.lane {
            self.leave_lane(stage, lane, id);
        }
        let running = bundle.is_running();
        let room = self.room(stage).worker()?;
        room.token = token;
        if running {
            room.running = room.running.saturating_sub(1);
        }
        for lease in &bundle.leases {
            room.table.release(*lease);
        }
        for taken in bundle.timers {
            room.timers.put_back(taken);
        }
        if let Some(sort) = &mut room.sort {
            bundle.sorted.into_iter().for_each(|taken| sort.put_back(taken));
        }
        Some((stage, bundle.inputs))
    }

    fn bundle_failed(&mut self, id: BundleId, error: Error, now: ProcessingTime) -> Result<()> {
        let Some(bundle) = self.bundles.get_mut(&id).filter(|b| b.is_running()) else { return Ok(()) };
        let (stage, attempts) = (bundle.stage, bundle.failures() + 1);
        if error.permanent || attempts >= self.config.attempts_max {
            return Err(error.in_transform(&self.plan.stage(stage).name));
        }
        // a script's clock stands still until all is quiet: under it a retry does not wait
        let pause = self.config.retry_ms.saturating_mul(1 << (attempts - 1).min(10));
        let until = if self.clock.is_some() { now } else { now.plus(pause) };
        for pending in &mut bundle.inputs {
            pending.attempts = attempts;
            pending.not_before = until;
        }
        bundle.timers.iter_mut().for_each(|t| t.attempts = attempts);
        bundle.sorted.iter_mut().for_each(|s| s.attempts = attempts);
        let timers = !bundle.timers.is_empty() || !bundle.sorted.is_empty();
        if let Some(worker) = self.room(stage).worker()
            && timers
        {
            worker.timers_not_before = until;
        }
        self.drop_bundles(&BTreeSet::from([id]));
        Ok(())
    }

    /// Drops bundles as if they had never run, and with each those behind it in its lane, which would otherwise take effect
    /// before its retry. All their input returns to the front of the queue, in its old order.
    fn drop_bundles(&mut self, ids: &BTreeSet<BundleId>) {
        let mut all = ids.clone();
        for id in ids {
            let Some((stage, Some(lane))) = self.bundles.get(id).map(|b| (b.stage, b.lane)) else { continue };
            let lane = self.room(stage).worker().and_then(|w| w.lanes.get(&lane));
            all.extend(lane.into_iter().flatten().skip_while(|b| *b != id).copied());
        }
        for id in all.into_iter().rev() {
            let follows = !ids.contains(&id) && self.bundles.get(&id).is_some_and(Bundle::is_running);
            let Some((stage, inputs)) = self.undo(id) else { continue };
            if follows {
                self.out.push(Effect::Worker(stage, Command::Abandon(id)));
            }
            self.room(stage).inbox.push_front(inputs);
        }
    }

    fn worker_lost(&mut self, environment: Option<EnvironmentId>, error: &Error, now: ProcessingTime) -> Result<()> {
        let running = self.bundles.values().filter(|b| b.is_running() && self.runs_in(b.stage, environment));
        let lost: BTreeSet<BundleId> = running.map(|b| b.id).collect();
        for id in &lost {
            let Some(bundle) = self.bundles.get_mut(id) else { continue };
            let losses = bundle.losses() + 1;
            if losses >= self.config.losses_max {
                return Err(error.clone().in_transform(&self.plan.stage(bundle.stage).name));
            }
            for pending in &mut bundle.inputs {
                pending.losses = losses;
                pending.not_before = now;
            }
            bundle.timers.iter_mut().for_each(|t| t.losses = losses);
            bundle.sorted.iter_mut().for_each(|s| s.losses = losses);
        }
        self.drop_bundles(&lost);
        for i in 0..self.stages.len() {
            let stage = StageId(i as u32);
            if self.runs_in(stage, environment)
                && let Some(room) = self.room(stage).worker()
            {
                room.credit = 0;
            }
        }
        self.requests_lost(environment);
        self.harness_metrics(environment, None);
        Ok(())
    }

    fn requests_lost(&mut self, environment: Option<EnvironmentId>) {
        let requests = std::mem::take(&mut self.requests);
        for (id, request) in requests {
            let asked = match &request {
                Request::Merge { asked, .. } | Request::Map(asked, ..) => *asked,
            };
            if !self.runs_in(asked, environment) {
                self.requests.insert(id, request);
                continue;
            }
            match request {
                Request::Merge { group, request, .. } => {
                    if let Room::Group(group) = &mut self.room(group).room {
                        group.merge_failed(&request);
                    }
                }
                Request::Map(stage, side, windows) => {
                    if let Some(room) = self.room(stage).worker() {
                        windows.into_iter().for_each(|w| {
                            room.mapped.remove(&(side, w));
                        });
                    }
                }
            }
        }
    }

    fn windows_merged(&mut self, id: u64, keys: Vec<crate::window::Merges>, now: ProcessingTime) {
        let Some(Request::Merge { group, request, .. }) = self.requests.remove(&id) else { return };
        let clocks = self.clocks(group, now);
        if let Room::Group(group) = &mut self.room(group).room {
            group.merged(&request, keys, clocks);
        }
    }

    fn windows_mapped(&mut self, id: u64, windows: Vec<crate::window::WindowSet>) {
        let Some(Request::Map(stage, side, asked)) = self.requests.remove(&id) else { return };
        if let Some(room) = self.room(stage).worker() {
            for (main, set) in asked.into_iter().zip(windows) {
                room.mapped.insert((side, main), Some(set));
            }
        }
    }

    /// Bundles whose epoch is lasting are told so.
    pub(super) fn finalize(&mut self, committed: crate::id::Epoch) {
        let ready: Vec<(BundleId, StageId)> = self
            .bundles
            .values()
            .filter(|b| matches!(b.state, BundleState::Applied(epoch) if epoch <= committed))
            .map(|b| (b.id, b.stage))
            .collect();
        for (id, stage) in ready {
            self.bundles.remove(&id);
            self.out.push(Effect::Worker(stage, Command::Finalize(id)));
        }
    }
}
