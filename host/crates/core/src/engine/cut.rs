//! The cut: what of this shard belongs to an epoch.
//!
//! Sealing never waits for a bundle: input of bundles that still run is pending. Input that can be read again is held by not
//! moving its position; other input is stored when it first survives a cut, and its copy deleted in the epoch that consumes it.
//! Messages sent in the epoch but received after the seal are stored as pending in it, which is why each channel has a
//! marker (Source: Chandy and Lamport, "Distributed Snapshots", 1985).

use super::event::{Effect, Message, SealedPart};
use super::sealed::Sealing;
use super::shard::Shard;
use super::stages::Room;
use crate::graph::Route;
use crate::id::{EdgeId, Epoch, KeyGroup, Partition, ShardId, SinkId, SourceId, SplitId, StageId, StateId};
use crate::port::store::CellWrite;
use crate::stage::{Origin, Pending};
use crate::state::layout::{CellKey, JOB_GROUP, Kind};
use crate::stored;
use crate::time::EventTime;
use bytes::Bytes;
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// Up to which read of a split pending input has to be stored.
type Cuts = HashMap<(SourceId, SplitId), Option<u64>, foldhash::fast::FixedState>;

impl Shard {
    /// Ends the open epoch on this shard.
    pub(super) fn seal(&mut self) {
        let epoch = self.epoch;
        self.form_stable();
        let mut writes: Vec<CellWrite> = self.consumed.drain(..).map(|key| (key, None)).collect();
        self.store_identity(&mut writes);
        self.store_pending(&mut writes);
        self.store_rooms(epoch, &mut writes);
        let passed = if self.config.shards > 1 { self.side_floors() } else { Vec::new() };
        for to in self.others() {
            self.send(to, Message::Marker { passed: passed.clone() });
        }
        let part =
            SealedPart { shard: self.id, epoch, writes, sinks: self.sinks.seal(), reached: self.sinks_reached() };
        self.sealing = Some(Sealing { part, waiting: self.others().collect() });
        self.epoch = epoch.next();
        self.changed = 0;
        for (to, credit) in std::mem::take(&mut self.kept_credit) {
            self.send(to, credit);
        }
        self.complete_seal();
    }

    /// Whether the open epoch has changed as much state as one may. It stays open until the one before it is committed, so without a bound
    /// a slow commit would fill the memory.
    pub(super) fn is_full(&self) -> bool {
        self.changed > self.config.epoch_bytes_max && self.store.holds_cells()
    }

    /// What the inputs of sinks have reached.
    fn sinks_reached(&self) -> Vec<(SinkId, EventTime)> {
        let sinks = self.stages.iter().filter_map(|room| match room.room {
            Room::Sink(id) => Some((id, room.input.get().min(room.inbox.min_time()))),
            _ => None,
        });
        sinks.collect()
    }

    pub(super) fn marker(&mut self, from: ShardId, epoch: Epoch, passed: &[(StageId, EventTime)]) {
        if epoch == self.epoch {
            // the sender has cut already: whatever it sends from here on is of the next epoch, so cut before reading it
            self.seal();
        }
        self.sides_passed(from, passed);
        if let Some(sealing) = &mut self.sealing {
            sealing.waiting.remove(&from);
        }
        self.complete_seal();
    }

    fn complete_seal(&mut self) {
        if self.sealing.as_ref().is_some_and(|s| s.waiting.is_empty())
            && let Some(sealing) = self.sealing.take()
        {
            self.out.push(Effect::Sealed(sealing.part));
        }
    }

    /// A message of the sealed epoch has come after the seal: it is pending in that epoch.
    pub(super) fn record_late(&mut self, edge: EdgeId) {
        if self.plan.edge(edge).route == Route::Broadcast && !self.is_first() {
            return; // what goes to every shard is stored by one
        }
        let (number, home) = (self.next_stored, self.home());
        self.next_stored += 1;
        let state = self.plan.edge(edge).state;
        let to = self.plan.edge(edge).to;
        let Some(pending) = self.room(to).inbox.last_mut() else { return };
        pending.stored = Some(number);
        let write = (pending_key(home, state, number), Some(encode_pending(pending)));
        if let Some(sealing) = &mut self.sealing {
            sealing.part.writes.push(write);
        }
    }

    /// The group under which this shard stores what has no key.
    pub(super) fn home(&self) -> KeyGroup {
        let (partitions, shards) = (self.config.partitions, self.config.shards);
        let mine = (0..partitions).map(Partition).find(|p| p.shard(partitions, shards) == self.id);
        mine.map_or(KeyGroup(0), |p| p.first_group(partitions))
    }

    /// Under which name pending input of a stage is stored: its edge's, or for residuals the stage's.
    pub(super) fn stored_name(&self, stage: StageId, edge: Option<EdgeId>) -> StateId {
        edge.map_or(self.plan.stage(stage).state, |e| self.plan.edge(e).state)
    }

    /// Stored input was consumed: its copy goes with the open epoch.
    pub(super) fn forget_stored(&mut self, state: StateId, number: u64) {
        let key = pending_key(self.home(), state, number);
        self.consumed.push(key);
    }

    fn store_pending(&mut self, writes: &mut Vec<CellWrite>) {
        let mut cuts = Cuts::default();
        for room in &self.stages {
            if let Room::Source(source) = &room.room {
                for split in self.splits.iter().filter(|(s, _)| *s == source.source).flat_map(|(_, list)| list) {
                    cuts.insert((source.source, *split), source.cut(*split));
                }
            }
        }
        let (home, first) = (self.home(), self.is_first());
        let plan = std::sync::Arc::clone(&self.plan);
        let mut number = self.next_stored;
        // A restored run takes pending input in the order of numbers. What is stored now may stand before what was stored
        // earlier (the rest of a divided batch): then that is stored anew behind it.
        let mut last: BTreeMap<StageId, u64> = BTreeMap::new();
        let mut store = |stage: StageId, pending: &mut Pending| {
            let state = pending.edge.map_or(plan.stage(stage).state, |e| plan.edge(e).state);
            let last = last.entry(stage).or_default();
            if let Some(number) = pending.stored {
                if number > *last {
                    *last = number;
                    return;
                }
                writes.push((pending_key(home, state, number), None));
            }
            if !first && pending.edge.is_some_and(|e| plan.edge(e).route == Route::Broadcast) {
                return;
            }
            if let Origin::Read { source, split, read } = pending.origin {
                let cut = cuts.get(&(source, split)).copied().flatten();
                if cut.is_none_or(|cut| read > cut) {
                    return;
                }
                pending.origin = Origin::Local;
            }
            *last = number;
            pending.stored = Some(number);
            writes.push((pending_key(home, state, number), Some(encode_pending(pending))));
            number += 1;
        };
        // bundles first: their input is older than what still waits, and order is the order of numbers
        for bundle in self.bundles.values_mut().filter(|b| !b.is_applied()) {
            let stage = bundle.stage;
            bundle.inputs.iter_mut().for_each(|pending| store(stage, pending));
        }
        for (i, room) in self.stages.iter_mut().enumerate() {
            room.inbox.iter_mut().for_each(|pending| store(StageId(i as u32), pending));
        }
        self.next_stored = number;
    }

    fn store_rooms(&mut self, epoch: Epoch, writes: &mut Vec<CellWrite>) {
        let me = self.id;
        let plan = std::sync::Arc::clone(&self.plan);
        let holds: Vec<EventTime> = (0..self.stages.len()).map(|i| self.bundle_hold(StageId(i as u32))).collect();
        for ((room, stage), held) in self.stages.iter_mut().zip(&plan.stages).zip(holds) {
            let reached = match &room.room {
                // late elements wait by the watermark they came by
                Room::Group(group) if group.speaks_at_once() => group.reached(),
                _ => room.input.get().min(room.inbox.min_time()).min(held),
            };
            // a drain moves time to its end; a run that goes on from it begins where time was before
            let reached = if self.draining { room.floor } else { reached };
            // also when there is no progress yet: a shard that is silent must not look like one that has ended
            if reached > room.floor || !room.floor_stored {
                let reached = reached.max(room.floor);
                room.floor = reached;
                room.floor_stored = true;
                let key = CellKey::new(JOB_GROUP, Kind::Progress, stage.state).number(u64::from(me.0)).finish();
                writes.push((key, Some(Bytes::copy_from_slice(&reached.0.to_be_bytes()))));
            }
            match &mut room.room {
                Room::Source(source) => {
                    let id = plan.sources.get(source.source.0 as usize).copied().unwrap_or(stage.state);
                    source.seal(|split, position, finished| {
                        writes.push((position_key(id, split), Some(encode_position(position, finished))));
                    });
                }
                Room::Impulse { dirty, .. } => {
                    if std::mem::take(dirty) {
                        writes.push((fact_key(stage.state, "fired"), Some(Bytes::new())));
                    }
                }
                Room::Script { step, dirty, .. } => {
                    if std::mem::take(dirty) {
                        let step = (*step as u64).to_be_bytes();
                        writes.push((fact_key(stage.state, "step"), Some(Bytes::copy_from_slice(&step))));
                    }
                }
                Room::Worker(worker) => {
                    worker.table.seal(epoch, writes);
                    worker.sort.iter_mut().for_each(|sort| sort.seal(writes));
                    worker.timers.seal(writes);
                    worker.ttl.iter_mut().for_each(|ttl| ttl.seal(writes));
                }
                Room::Group(group) => group.seal(epoch, writes),
                Room::View(view) => view.seal(epoch, writes),
                Room::Sink(_) => {}
            }
        }
    }

    /// An epoch is lasting.
    pub(super) fn committed(&mut self, epoch: Epoch) {
        self.lasting = epoch;
        let later = self.metrics.split_off(&epoch.next());
        for (_, metrics) in std::mem::replace(&mut self.metrics, later) {
            self.out.push(Effect::Metrics { committed: true, metrics });
        }
        self.finalize(epoch);
        let keep = if self.store.holds_cells() { self.config.cached_groups } else { usize::MAX };
        for room in &mut self.stages {
            if let Some(worker) = room.worker() {
                worker.table.settle(epoch, keep);
            }
        }
    }
}

/// Key of a split's position.
pub(super) fn position_key(source: StateId, split: SplitId) -> Bytes {
    CellKey::new(JOB_GROUP, Kind::Position, source).last(&split.0.to_be_bytes()).finish()
}

fn encode_position(position: &Bytes, finished: bool) -> Bytes {
    let mut value = Vec::with_capacity(position.len() + 1);
    value.push(u8::from(finished));
    value.extend_from_slice(position);
    Bytes::from(value)
}

/// Key of a fact of the job about a stage.
pub(super) fn fact_key(stage: StateId, name: &str) -> Bytes {
    CellKey::new(JOB_GROUP, Kind::Job, stage).last(name.as_bytes()).finish()
}

pub(super) fn pending_key(home: KeyGroup, state: StateId, number: u64) -> Bytes {
    CellKey::new(home, Kind::Pending, state).number(number).finish()
}

/// `entry (4) | has hold (1) | hold (8) | not before (8) | batch`.
fn encode_pending(pending: &Pending) -> Bytes {
    let mut value = Vec::with_capacity(21 + pending.batch.weight());
    value.extend_from_slice(&pending.input.to_be_bytes());
    value.push(u8::from(pending.hold.is_some()));
    value.extend_from_slice(&pending.hold.unwrap_or_default().0.to_be_bytes());
    value.extend_from_slice(&pending.not_before.0.to_be_bytes());
    value.extend_from_slice(&stored::encode(&pending.batch));
    Bytes::from(value)
}
