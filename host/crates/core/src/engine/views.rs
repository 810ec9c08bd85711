//! How a shard drives its side inputs: elements become panes where a window may speak more than once, and windows that no
//! element can ask for any more are forgotten; whether elements may run that read them.

use super::event::Effect;
use super::shard::Shard;
use super::stages::{Request, Room};
use crate::batch::Batch;
use crate::graph::{StageKind, WorkerStage};
use crate::id::{ShardId, StageId};
use crate::port::worker::Command;
use crate::state::whole;
use crate::time::EventTime;
use crate::window::{Window, WindowFn};
use std::sync::Arc;

impl Shard {
    /// A batch as a grouping takes it: for the panes of a side input whole elements under one key.
    pub(super) fn as_grouped(&self, stage: StageId, batch: &Batch) -> Batch {
        match &self.plan.stage(stage).kind {
            StageKind::Group(group) if group.whole => whole(batch, &group.value),
            _ => batch.clone(),
        }
    }

    /// Forgets windows of a side input that are behind all that its readers may still get. What is stored of them goes when no
    /// shard has readers that may ask for it. Costs nothing while there are few.
    pub(super) fn forget_side_windows(&mut self, view: StageId) {
        let Room::View(room) = &self.room(view).room else { return };
        if !room.is_crowded() {
            return;
        }
        let Some(floor) = self.side_floor(view) else { return };
        let others: Vec<ShardId> = self.others().collect();
        if let Room::View(room) = &mut self.room(view).room {
            room.forget_before(floor, &others);
        }
    }

    /// Before which no reader on this shard will ask for a window of a side input; `None` if only the SDK knows.
    fn side_floor(&mut self, view: StageId) -> Option<EventTime> {
        let plan = Arc::clone(&self.plan);
        let mut floor = EventTime::MAX;
        for stage in &plan.stages {
            let StageKind::Worker(worker) = &stage.kind else { continue };
            for side in worker.sides.iter().filter(|side| side.view == view) {
                if matches!(side.windowing.window_fn, WindowFn::Custom { .. } | WindowFn::Sessions { .. }) {
                    return None;
                }
                let reached = self.timer_watermark(stage.id);
                floor = floor.min(reached.plus(-worker.windowing.allowed_lateness));
            }
        }
        Some(floor)
    }

    /// What this shard's readers are past, for the shard that stores the side inputs.
    pub(super) fn side_floors(&mut self) -> Vec<(StageId, EventTime)> {
        let plan = Arc::clone(&self.plan);
        let views = plan.stages.iter().filter(|stage| matches!(stage.kind, StageKind::View(_)));
        views.filter_map(|stage| Some((stage.id, self.side_floor(stage.id)?))).collect()
    }

    /// Another shard's readers are past this.
    pub(super) fn sides_passed(&mut self, from: ShardId, floors: &[(StageId, EventTime)]) {
        for (view, floor) in floors {
            if let Room::View(room) = &mut self.room(*view).room {
                room.passed(from, *floor);
            }
        }
    }

    /// Forgets what windows of the main input map to, once no element of theirs can come. Costs nothing while there are few.
    pub(super) fn forget_mapped(&mut self, stage: StageId) {
        const KEPT: usize = 4096;
        if self.room(stage).worker().is_none_or(|worker| worker.mapped.len() <= KEPT) {
            return;
        }
        let reached = self.timer_watermark(stage);
        if let Some(worker) = self.room(stage).worker() {
            let floor = reached.plus(-worker.windowing.allowed_lateness);
            worker.mapped.retain(|(_, main), set| set.is_none() || main.max_timestamp() >= floor);
        }
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
}
