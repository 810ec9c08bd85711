//! How a shard drives its side inputs: elements become panes where a window may speak more than once, and windows that no
//! element can ask for any more are forgotten.

use super::shard::Shard;
use super::stages::Room;
use crate::batch::Batch;
use crate::graph::StageKind;
use crate::id::StageId;
use crate::state::whole;
use crate::time::EventTime;
use crate::window::WindowFn;

impl Shard {
    /// A batch as a grouping takes it: for the panes of a side input whole elements under one key.
    pub(super) fn as_grouped(&self, stage: StageId, batch: &Batch) -> Batch {
        match &self.plan.stage(stage).kind {
            StageKind::Group(group) if group.whole => whole(batch, &group.value),
            _ => batch.clone(),
        }
    }

    /// Forgets windows of a side input that are behind all that its readers may still get. Costs nothing while there are few.
    pub(super) fn forget_side_windows(&mut self, view: StageId) {
        let Room::View(room) = &self.room(view).room else { return };
        if !room.is_crowded() {
            return;
        }
        let plan = std::sync::Arc::clone(&self.plan);
        let mut floor = EventTime::MAX;
        for stage in &plan.stages {
            let StageKind::Worker(worker) = &stage.kind else { continue };
            for side in worker.sides.iter().filter(|side| side.view == view) {
                if matches!(side.windowing.window_fn, WindowFn::Custom { .. } | WindowFn::Sessions { .. }) {
                    return; // only the SDK knows which windows are asked for
                }
                let reached = self.timer_watermark(stage.id);
                floor = floor.min(reached.plus(-worker.windowing.allowed_lateness));
            }
        }
        if let Room::View(room) = &mut self.room(view).room {
            room.forget_before(floor);
        }
    }
}
