//! How a shard drives its groupings: elements in, panes out, what is dropped counted, what waits for the clock told to the alarm,
//! and windows that only an SDK can merge asked about.
//!
//! The default trigger speaks when the watermark moves, so elements are taken as they come. A trigger tree may speak with every
//! element: then elements are taken only while what it says has somewhere to go, and those that wait keep the watermark they came by.

use super::event::Effect;
use super::shard::Shard;
use super::stages::{Request, Room, StageRoom};
use crate::graph::{EnvironmentId, StageKind};
use crate::id::StageId;
use crate::metric::{MetricKey, MetricValue, Metrics};
use crate::port::worker::Command;
use crate::time::{EventTime, ProcessingTime};
use crate::trigger::{Clocks, GroupRoom};
use std::collections::BTreeMap;

/// Names of the counters of dropped elements. Source: Beam's Java `LateDataDroppingDoFnRunner` and `ReduceFnRunner`.
const DROPPED: [&str; 2] = ["droppedDueToLateness", "droppedDueToClosedWindow"];

impl Shard {
    /// A grouping takes what waits for it.
    pub(super) fn group_input(&mut self, stage: StageId, now: ProcessingTime) {
        loop {
            let at_once = self.grouping(stage).is_some_and(|group| group.speaks_at_once());
            if at_once && !self.has_room(stage) {
                break;
            }
            let Some(pending) = self.room(stage).inbox.remove(0) else { break };
            let clocks = self.clocks(stage, now);
            self.changed += pending.batch.weight();
            let batch = self.as_grouped(stage, &pending.batch);
            if let Some(group) = self.grouping(stage) {
                group.add(&batch, clocks);
            }
            while let Some(fired) = self.grouping(stage).and_then(GroupRoom::fired) {
                self.emit(stage, 0, fired, None);
            }
            self.consumed(stage, pending);
        }
        self.count_dropped(stage);
    }

    /// A grouping says what the watermark and the clock make due.
    pub(super) fn group_output(&mut self, stage: StageId, now: ProcessingTime) {
        let room = self.room(stage);
        let (input, waits) = (room.input.get(), !room.inbox.is_empty());
        if let (Room::Group(group), false) = (&mut room.room, waits) {
            group.reach(input);
        }
        while self.has_room(stage) {
            let clocks = self.clocks(stage, now);
            let Some(group) = self.grouping(stage) else { return };
            let Some(batch) = group.fire(clocks) else {
                group.expire(clocks.watermark);
                break;
            };
            self.emit(stage, 0, batch, None);
        }
        self.count_dropped(stage);
    }

    /// The times by which a grouping is asked.
    pub(super) fn clocks(&mut self, stage: StageId, now: ProcessingTime) -> Clocks {
        let room = self.room(stage);
        let output = room.outputs.first().map_or(EventTime::MIN, |w| w.get());
        let watermark = match &room.room {
            Room::Group(group) if group.speaks_at_once() => group.reached().max(room.floor),
            _ => room.input.get(),
        };
        Clocks { watermark, output, now }
    }

    fn grouping(&mut self, stage: StageId) -> Option<&mut GroupRoom> {
        if let Room::Group(group) = &mut self.room(stage).room { Some(group) } else { None }
    }

    fn count_dropped(&mut self, stage: StageId) {
        let Some((late, closed)) = self.grouping(stage).map(GroupRoom::take_dropped) else { return };
        if late == 0 && closed == 0 {
            return;
        }
        let mut metrics = Metrics::default();
        for (name, count) in DROPPED.into_iter().zip([late, closed]).filter(|(_, count)| *count > 0) {
            let labels =
                [("PTRANSFORM", self.plan.stage(stage).name.as_str()), ("NAMESPACE", "thalweg"), ("NAME", name)];
            let key = MetricKey {
                urn: "beam:metric:user:sum_int64:v1".to_owned(),
                kind: "beam:metrics:sum_int64:v1".to_owned(),
                labels: labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect::<BTreeMap<_, _>>(),
            };
            metrics.add(&key, &MetricValue::Sum(count as i64));
        }
        self.metrics.entry(self.epoch).or_default().merge(&metrics);
        self.attempted(metrics);
    }

    /// Questions of a grouping go to a worker of the environment that knows its windows; where none is named, to the nearest
    /// worker stage above it.
    pub(super) fn ask_workers(&mut self, stage: StageId) {
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
