//! How elements and watermarks move through the stages of a shard, one turn after every event.
//!
//! A turn goes down the stages once (runner stages consume, promises rise, panes fire), then up once (bundles start, downstream
//! first), then asks sources for more. Cost: O(stages) and what there is to do.

use super::event::{Effect, Message, Report};
use super::shard::Shard;
use super::stages::Room;
use crate::batch::{Batch, BatchBuilder};
use crate::error::Result;
use crate::graph::{Route, ScriptEvent};
use crate::id::{EdgeId, Epoch, KeyGroup, ShardId, SourceId, SplitId, StageId, key_hash};
use crate::port::source::Read;
use crate::shuffle::by_owner;
use crate::stage::{Bundle, Lane, Origin, Pending};
use crate::time::{EventTime, ProcessingTime};
use crate::trigger::Clocks;
use crate::window::Window;

impl Shard {
    /// `now` is the job's clock, `real` the process's.
    pub(super) fn turn(&mut self, now: ProcessingTime, real: ProcessingTime) -> Result<()> {
        for i in 0..self.stages.len() {
            let stage = StageId(i as u32);
            self.consume(stage, now)?;
            self.raise_input(stage);
            self.sort_input(stage);
            self.forget_side_windows(stage);
            self.forget_mapped(stage);
            self.fire(stage, now);
            self.raise_outputs(stage);
        }
        for i in (0..self.stages.len()).rev() {
            self.start_bundles(StageId(i as u32), now)?;
        }
        self.poll_sources();
        self.pace(real);
        self.tell_running();
        self.set_alarm(now, real);
        self.tell_job(now);
        Ok(())
    }

    /// Runner stages take all that waits for them.
    fn consume(&mut self, stage: StageId, now: ProcessingTime) -> Result<()> {
        let room = self.room(stage);
        if !room.is_immediate() || room.inbox.is_empty() {
            return Ok(());
        }
        if matches!(room.room, Room::Group(_)) {
            self.group_input(stage, now);
            return Ok(());
        }
        for pending in room.inbox.drain() {
            let batch = pending.batch.clone();
            match &mut self.room(stage).room {
                Room::View(view) => view.add(batch)?,
                Room::Sink(sink) => {
                    let sink = *sink;
                    self.sinks.write(sink, batch);
                }
                _ => {}
            }
            self.consumed(stage, pending);
        }
        Ok(())
    }

    /// A pending batch has taken effect in the open epoch.
    pub(super) fn consumed(&mut self, stage: StageId, pending: Pending) {
        if let (Some(number), Some(edge)) = (pending.stored, pending.edge) {
            self.forget_stored(self.plan.edge(edge).state, number);
        } else if let Some(number) = pending.stored {
            self.forget_stored(self.plan.stage(stage).state, number);
        }
        match (pending.origin, pending.edge) {
            (Origin::Read { source, split, read }, _) => self.read_consumed(source, split, read, true),
            (Origin::Remote { from, weight }, Some(edge)) if weight > 0 => {
                let credit = Message::Credit { edge, weight };
                if self.is_full() {
                    // what groupings take in from other shards has no other bound
                    self.kept_credit.push((from, credit));
                } else {
                    self.send(from, credit);
                }
            }
            _ => {}
        }
    }

    pub(super) fn read_consumed(&mut self, source: SourceId, split: SplitId, read: u64, waited: bool) {
        for room in &mut self.stages {
            if let Room::Source(r) = &mut room.room
                && r.source == source
            {
                r.consumed(split, read, waited);
            }
        }
    }

    fn raise_input(&mut self, stage: StageId) {
        let plan = std::sync::Arc::clone(&self.plan);
        let mut input = EventTime::MAX;
        for edge in &plan.stage(stage).inputs {
            let edge = plan.edge(*edge);
            let port = self.port_of.get(edge.id.0 as usize).copied().unwrap_or(0);
            let own = self.room(edge.from).outputs.get(port as usize).map_or(EventTime::MIN, |w| w.get());
            input = input.min(own);
            if edge.route != Route::Local {
                let others = self.others();
                let promises = &self.room(stage).promises;
                input = others.map(|s| promises.of(edge.id, s)).fold(input, EventTime::min);
            }
        }
        let room = self.room(stage);
        let input = input.max(room.floor);
        room.input.raise(input);
        if let Room::View(view) = &mut room.room {
            view.advance(input);
        }
    }

    /// Runner stages that have something to say say it.
    fn fire(&mut self, stage: StageId, now: ProcessingTime) {
        match &self.room(stage).room {
            Room::Impulse { fired: false, .. } => self.impulse(stage),
            Room::Group(_) => self.group_output(stage, now),
            _ => {}
        }
    }

    fn impulse(&mut self, stage: StageId) {
        let mut one = BatchBuilder::new();
        one.push(b"", b"", EventTime::MIN, &[Window::Global]);
        let batch = one.finish();
        self.emit(stage, 0, batch, None);
        if let Room::Impulse { fired, dirty } = &mut self.room(stage).room {
            *fired = true;
            *dirty = true;
        }
    }

    fn raise_outputs(&mut self, stage: StageId) {
        let held = self.bundle_hold(stage);
        let room = self.room(stage);
        let input = room.input.get();
        let waiting = room.inbox.min_time();
        for port in 0..room.outputs.len() {
            let to = match &room.room {
                Room::Source(source) => source.watermark(),
                Room::Impulse { fired, .. } => {
                    if *fired {
                        EventTime::MAX
                    } else {
                        EventTime::MIN
                    }
                }
                Room::Script { marks, .. } => marks.get(port).copied().unwrap_or(EventTime::MAX),
                Room::Worker(worker) => input.min(waiting).min(held).min(worker.hold()),
                Room::Group(group) => input.min(waiting).min(group.hold()),
                Room::View(_) | Room::Sink(_) => input,
            };
            if let Some(output) = room.outputs.get_mut(port) {
                output.raise(to);
            }
        }
        if self.config.shards > 1 {
            self.send_promises(stage);
        }
    }

    fn send_promises(&mut self, stage: StageId) {
        let plan = std::sync::Arc::clone(&self.plan);
        for (port, output) in plan.stage(stage).outputs.iter().enumerate() {
            let room = self.room(stage);
            let (Some(now), Some(sent)) = (room.outputs.get(port).map(|w| w.get()), room.sent.get_mut(port)) else {
                continue;
            };
            if now <= *sent {
                continue;
            }
            *sent = now;
            for edge in &output.edges {
                if plan.edge(*edge).route != Route::Local {
                    for to in self.others() {
                        self.send(to, Message::Watermark { edge: *edge, to: now });
                    }
                }
            }
        }
    }

    /// The earliest hold of the bundles a stage has under way.
    pub(super) fn bundle_hold(&self, stage: StageId) -> EventTime {
        let running = self.bundles.values().filter(|b| b.stage == stage && !b.is_applied());
        running.map(|b| b.hold).min().unwrap_or(EventTime::MAX)
    }

    /// Brings the output of a stage to its consumers. `read` names the source's read it comes from.
    pub(super) fn emit(&mut self, stage: StageId, output: u32, batch: Batch, read: Option<Origin>) {
        if batch.is_empty() {
            return;
        }
        let plan = std::sync::Arc::clone(&self.plan);
        let Some(port) = plan.stage(stage).outputs.get(output as usize) else { return };
        for id in &port.edges {
            let edge = plan.edge(*id);
            match edge.route {
                Route::Local => {
                    self.enqueue(edge.id, batch.clone(), read.unwrap_or(Origin::Local));
                }
                Route::Keyed => {
                    for (to, part) in by_owner(batch.clone(), self.config.partitions, self.config.shards) {
                        self.bring(edge.id, to, part);
                    }
                }
                Route::Single => {
                    let to = self.owner_of_all();
                    self.bring(edge.id, to, batch.clone());
                }
                Route::Spread if plan.splits_work(edge.to) => {
                    for (to, part) in self.credits.deal(edge.id, self.id, self.config.shards, &batch) {
                        self.bring(edge.id, to, part);
                    }
                }
                Route::Spread => {
                    let to = self.credits.next(edge.id, self.id, self.config.shards);
                    self.bring(edge.id, to, batch.clone());
                }
                Route::Broadcast => {
                    for to in (0..self.config.shards).map(ShardId) {
                        self.bring(edge.id, to, batch.clone());
                    }
                }
            }
        }
    }

    pub(super) fn bring(&mut self, edge: EdgeId, to: ShardId, batch: Batch) {
        if to == self.id {
            self.enqueue(edge, batch, Origin::Local);
        } else {
            self.credits.sent(edge, to, batch.weight());
            self.send(to, Message::Data { edge, batch });
        }
    }

    /// The shard that has what must not be divided.
    pub(super) fn owner_of_all(&self) -> ShardId {
        let group = KeyGroup::of_hash(key_hash(b""));
        group.partition(self.config.partitions).shard(self.config.partitions, self.config.shards)
    }

    /// Puts a batch into the queue of an edge's consumer. Tells whether something of it came in time.
    pub(super) fn enqueue(&mut self, edge: EdgeId, batch: Batch, origin: Origin) -> bool {
        let e = self.plan.edge(edge);
        let (to, input) = (e.to, e.input);
        let lane = match origin {
            Origin::Read { source, split, .. } => Lane::Split(source, split),
            Origin::Remote { from, .. } => Lane::Shard(edge, from),
            Origin::Local => Lane::Shard(edge, self.id),
        };
        if let Origin::Read { source, split, read } = origin {
            for room in &mut self.stages {
                if let Room::Source(r) = &mut room.room
                    && r.source == source
                {
                    r.waits(split, read);
                }
            }
        }
        let pending = Pending::new(self.without_late(to, batch), Some(edge), input, lane, origin);
        let some = !pending.batch.is_empty();
        if some {
            self.room(to).inbox.push(pending);
        } else {
            self.consumed(to, pending);
        }
        some
    }

    pub(super) fn receive_data(&mut self, from: ShardId, epoch: Epoch, edge: EdgeId, batch: Batch) {
        let origin = Origin::Remote { from, weight: batch.weight() };
        if self.enqueue(edge, batch, origin) && epoch < self.epoch {
            self.record_late(edge);
        }
    }

    pub(super) fn take_read(&mut self, source: SourceId, split: SplitId, read: Read) {
        let Some(stage) = (0..self.stages.len())
            .map(|i| StageId(i as u32))
            .find(|s| matches!(&self.plan.stage(*s).kind, crate::graph::StageKind::Source(id) if *id == source))
        else {
            return;
        };
        let Room::Source(room) = &mut self.room(stage).room else { return };
        let rows = read.batch.len();
        let Some(number) = room.read(split, rows, read.position, read.watermark, read.finished) else { return };
        let routed = self.plan.stage(stage).outputs.iter().flat_map(|o| &o.edges);
        let sent_on = routed.into_iter().any(|e| self.plan.edge(*e).route != Route::Local);
        let origin = Origin::Read { source, split, read: number };
        self.emit(stage, 0, read.batch, Some(origin));
        if sent_on {
            // what went into the shuffle can not be called back: the position must not stay before it
            self.read_consumed(source, split, number, false);
        }
    }

    pub(super) fn script(&mut self, stage: StageId, step: usize) {
        let Room::Script { events, marks, step: at, dirty } = &mut self.room(stage).room else { return };
        *at = step + 1;
        *dirty = true;
        match events.get(step).cloned() {
            Some(ScriptEvent::Elements { output, batch }) => self.emit(stage, output, batch, None),
            Some(ScriptEvent::Watermark { output, to }) => {
                if let Some(mark) = marks.get_mut(output as usize) {
                    *mark = (*mark).max(to);
                }
            }
            Some(ScriptEvent::ProcessingTime(_)) => {}
            None => marks.iter_mut().for_each(|m| *m = EventTime::MAX),
        }
    }

    /// Whether all consumers of a stage can take more, and the epoch too.
    pub(super) fn has_room(&self, stage: StageId) -> bool {
        if self.is_full() {
            return false;
        }
        let bound = self.config.queue_bytes_max;
        let edges = self.plan.stage(stage).outputs.iter().flat_map(|o| &o.edges);
        edges.into_iter().all(|id| {
            let edge = self.plan.edge(*id);
            let Some(to) = self.stages.get(edge.to.0 as usize) else { return true };
            let here = match &to.room {
                Room::Sink(_) => self.sinks.weight() < bound.saturating_mul(8),
                // what waits for a side input may be what the side input is made from: never a reason to stop
                Room::Worker(worker) => to.inbox.weight() < bound || worker.waits_for_sides,
                Room::Group(_) => to.inbox.weight() < bound,
                _ => true,
            };
            here && (edge.route == Route::Local || self.credits.has_room(edge.id, self.config.shards, bound))
        })
    }

    fn poll_sources(&mut self) {
        for i in 0..self.stages.len() {
            let stage = StageId(i as u32);
            if !self.has_room(stage) {
                continue;
            }
            let rows = self.config.read_rows;
            let Room::Source(room) = &mut self.room(stage).room else { continue };
            let source = room.source;
            if !self.reads(source) {
                continue;
            }
            let Room::Source(room) = &mut self.room(stage).room else { continue };
            for split in room.to_poll() {
                self.out.push(Effect::Poll { source, split, rows });
            }
        }
    }

    /// The next moment at which time alone makes something happen.
    fn set_alarm(&mut self, now: ProcessingTime, real: ProcessingTime) {
        if self.clock.is_some() {
            return; // a script's clock moves with an event of its own
        }
        let mut next: Option<ProcessingTime> = None;
        let mut at = |time: ProcessingTime| {
            if time > now {
                next = Some(next.map_or(time, |n| n.min(time)));
            }
        };
        // a clock that stands still reaches nothing
        let stages = if self.stood.is_none() { self.stages.as_slice() } else { &[] };
        for room in stages {
            if let Room::Group(group) = &room.room {
                group.next_alarm().into_iter().for_each(&mut at);
            }
            if let Room::Worker(worker) = &room.room {
                worker.timers.next_alarm().into_iter().for_each(&mut at);
                worker.ttl.iter().filter_map(|ttl| ttl.next_alarm()).for_each(&mut at);
                if worker.collects_on {
                    at(now.plus(1));
                }
                if !worker.timers.is_empty() {
                    at(worker.timers_not_before);
                }
                room.inbox.delays().map(|p| p.not_before).for_each(&mut at);
            }
        }
        if self.config.pace_ms() < i64::MAX && self.bundles.values().any(Bundle::is_running) {
            at(self.pace_at.max(real.plus(1)));
        }
        if next.is_some() && next != self.alarm {
            self.alarm = next;
            self.out.extend(next.map(Effect::Alarm));
        }
    }

    fn tell_job(&mut self, now: ProcessingTime) {
        let end = |room: &super::stages::StageRoom| {
            let quiet = match &room.room {
                Room::Worker(worker) => worker.is_quiet(),
                Room::Group(group) => group.is_quiet(),
                _ => true,
            };
            quiet
                && room.inbox.is_empty()
                && room.input.get() == EventTime::MAX
                && room.outputs.iter().all(|w| w.get() == EventTime::MAX)
        };
        let finished = self.stages.iter().all(end) && self.bundles.values().all(|b| b.is_applied());
        let idle = self.is_idle(now);
        let report = Report { idle, finished, resting: self.is_resting(), full: self.is_full(), ..self.report };
        if self.reported != Some(report) {
            self.reported = Some(report);
            // before the messages of this step: what follows from them must not overtake it
            self.out.insert(0, Effect::Report(report));
        }
    }

    /// Nothing is under way: what waits, waits for event time, for a delay it asked for, or for a side input. What waits for a
    /// worker, for a retry or for room downstream is under way.
    fn is_idle(&self, now: ProcessingTime) -> bool {
        if self.bundles.values().any(|b| !b.is_applied()) {
            return false;
        }
        let starting = self.stages.iter().enumerate().any(|(i, room)| {
            let (input, full) = (room.input.get(), || !self.has_room(StageId(i as u32)));
            match &room.room {
                Room::Worker(worker) => {
                    let clock = self.timer_clock(StageId(i as u32), now);
                    let due = worker.has_due(input.min(room.inbox.min_time()), clock);
                    let waits = !room.inbox.is_empty() && !worker.waits_for_sides;
                    room.inbox.iter().any(|p| worker.stable && p.stable.is_none_or(|epoch| epoch > self.lasting))
                        || room.inbox.delays().any(|p| p.attempts > 0 && p.not_before > now)
                        || (waits || due) && (worker.credit == 0 || worker.timers_not_before > now || full())
                }
                Room::Group(group) => {
                    let output = room.outputs.first().map_or(EventTime::MIN, |w| w.get());
                    let clocks = Clocks { watermark: input, output, now };
                    group.is_merging() || (!room.inbox.is_empty() || group.has_due(clocks)) && full()
                }
                _ => false,
            }
        });
        let polling = self.stages.iter().any(|room| match &room.room {
            Room::Source(source) => source.watermark() < EventTime::MAX && self.reads(source.source),
            _ => false,
        });
        !starting && !polling && self.requests.is_empty()
    }
}
