//! The life of bundles: done, failed, lost, split, applied, finalized; and the other answers of workers.

use super::event::Effect;
use super::shard::Shard;
use super::stages::{Request, Room};
use crate::error::{Error, Result};
use crate::graph::EnvironmentId;
use crate::id::{BundleId, CacheToken, StageId};
use crate::port::worker::{self, BundleResult, Command, Residual, SplitReply};
use crate::stage::{Bundle, BundleState, Lane, Origin, Pending};
use crate::state::GroupDelta;
use crate::time::ProcessingTime;
use crate::timer::TimerName;
use std::collections::BTreeSet;

impl Shard {
    pub(super) fn worker(
        &mut self,
        environment: Option<EnvironmentId>,
        event: worker::Event,
        now: ProcessingTime,
    ) -> Result<()> {
        match event {
            worker::Event::Output { bundle, output, batch } => self.output(bundle, output, batch),
            worker::Event::Done { bundle, result } => self.done(bundle, result, now)?,
            worker::Event::Failed { bundle, error } => return self.bundle_failed(bundle, error, now),
            worker::Event::Progress { metrics, .. } => {
                if !metrics.is_empty() {
                    self.out.push(Effect::Metrics { committed: false, metrics });
                }
            }
            worker::Event::Split { bundle, reply } => self.split(bundle, reply, now),
            worker::Event::WindowsMerged { request, keys } => self.windows_merged(request, keys),
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

    fn output(&mut self, bundle: BundleId, output: u32, batch: crate::batch::Batch) {
        // an unknown bundle was abandoned: its late results are nobody's
        if let Some(bundle) = self.bundles.get_mut(&bundle).filter(|b| b.is_running()) {
            bundle.output_weight += batch.weight();
            bundle.outputs.push((output, batch));
        }
    }

    fn done(&mut self, id: BundleId, result: Box<BundleResult>, now: ProcessingTime) -> Result<()> {
        let Some(bundle) = self.bundles.get_mut(&id).filter(|b| b.is_running()) else { return Ok(()) };
        if !result.metrics.is_empty() {
            self.out.push(Effect::Metrics { committed: false, metrics: result.metrics.clone() });
        }
        bundle.state = BundleState::Done;
        bundle.result = Some(result);
        let (stage, lane) = (bundle.stage, bundle.lane);
        if let Some(room) = self.room(stage).worker() {
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
        for (output, batch) in std::mem::take(&mut bundle.outputs) {
            self.emit(stage, output, batch, None);
        }
        self.apply_state(&bundle, &mut result)?;
        for residual in std::mem::take(&mut result.residuals) {
            self.give_back(stage, residual, now);
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

    fn apply_state(&mut self, bundle: &Bundle, result: &mut BundleResult) -> Result<()> {
        let epoch = self.epoch;
        let Some(room) = self.room(bundle.stage).worker() else { return Ok(()) };
        for taken in &bundle.timers {
            room.timers.fired(taken);
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
            room.timers.update(TimerName { group, family: update.family, tag: update.tag }, update.set);
        }
        let mut deltas = std::mem::take(&mut result.state.groups).into_iter();
        for lease in &bundle.leases {
            room.table.release(*lease, deltas.next(), epoch);
        }
        Ok(())
    }

    /// Work that a splittable function gave back is pending input of its stage.
    fn give_back(&mut self, stage: StageId, residual: Residual, now: ProcessingTime) {
        self.next_request += 1;
        let lane = Lane::Residual(self.next_request);
        let mut pending = Pending::new(residual.batch, None, residual.entry, lane, Origin::Local);
        pending.hold = residual.watermark;
        if residual.delay_ms > 0 {
            pending.not_before = now.plus(residual.delay_ms);
        }
        self.room(stage).inbox.push(pending);
    }

    fn split(&mut self, id: BundleId, reply: SplitReply, now: ProcessingTime) {
        let Some(bundle) = self.bundles.get_mut(&id).filter(|b| b.is_running()) else { return };
        bundle.state = BundleState::Open;
        if reply.keep.is_none() && reply.residuals.is_empty() {
            return;
        }
        let stage = bundle.stage;
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
            self.give_back(stage, residual, now);
        }
    }

    /// Drops a bundle as if it had never run. Its input is returned with its order kept.
    fn undo(&mut self, id: BundleId) -> Option<(StageId, Vec<Pending>)> {
        let bundle = self.bundles.remove(&id)?;
        let (stage, epoch) = (bundle.stage, self.epoch);
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
            room.table.release(*lease, None::<GroupDelta>, epoch);
        }
        for taken in bundle.timers {
            room.timers.put_back(taken);
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
        let timers = !bundle.timers.is_empty();
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

    fn windows_merged(&mut self, id: u64, keys: Vec<crate::window::Merges>) {
        let Some(Request::Merge { group, request, .. }) = self.requests.remove(&id) else { return };
        let room = self.room(group);
        let watermark = room.input.get();
        if let Room::Group(group) = &mut room.room {
            group.merged(&request, keys, watermark);
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

    /// Asks a running bundle to give back part of what is left. `None` when it must not be split now: it does not run, or a
    /// later bundle of its lane has been started, which what it gives back would come behind. Until the worker answers or
    /// the bundle ends, its lane starts no other.
    pub fn request_split(&mut self, id: BundleId, fraction: f64) -> Option<Effect> {
        let (stage, lane) =
            self.bundles.get(&id).filter(|b| b.state == BundleState::Open).map(|b| (b.stage, b.lane))?;
        if let Some(lane) = lane
            && self.room(stage).worker()?.lanes.get(&lane)?.back() != Some(&id)
        {
            return None;
        }
        let bundle = self.bundles.get_mut(&id)?;
        bundle.state = BundleState::Splitting;
        Some(Effect::Worker(bundle.stage, Command::Split(id, fraction)))
    }
}
