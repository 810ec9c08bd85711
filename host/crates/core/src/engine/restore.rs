//! The beginning of a run: what a shard finds in the store about its partitions and about the job.

use super::cut::fact_key;
use super::event::Effect;
use super::shard::Shard;
use super::stages::Room;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::graph::{Plan, Route, SCRIPT_START, ScriptEvent, StageKind};
use crate::id::{EdgeId, Epoch, ShardId, SourceId, SplitId, StageId, StateId};
use crate::port::store::StateRead;
use crate::port::worker::Group;
use crate::short::ShortBytes;
use crate::stage::{Lane, Origin, Pending};
use crate::state::ViewRoom;
use crate::state::layout::{CellKey, JOB_GROUP, KeyReader, Kind};
use crate::stored;
use crate::time::{EventTime, ProcessingTime};
use bytes::Bytes;
use hashbrown::HashMap;

pub(super) fn corrupt(what: &str) -> Error {
    Error::external("STATE_CORRUPT", format!("a stored {what} cannot be read"))
        .help("the state directory is damaged or of another version; restore a copy of it")
}

/// The source and split of a position's key; `None` for the key of any other cell.
#[must_use]
pub fn stored_split(key: &[u8]) -> Option<(StateId, SplitId)> {
    let (_, kind, source, rest) = KeyReader::open(key)?;
    let split = SplitId(u32::from_be_bytes(rest.rest().try_into().ok()?));
    (kind == Kind::Position as u8).then_some((source, split))
}

/// The splits of a source that have a stored position, in their order.
///
/// # Errors
/// As for [`StateRead::scan`], and `STATE_CORRUPT`.
pub fn stored_splits(state: &dyn StateRead, source: StateId) -> Result<Vec<SplitId>> {
    let mut splits = Vec::new();
    scan(state, &CellKey::new(JOB_GROUP, Kind::Position, source), &mut |key, _| {
        splits.push(stored_split(key)?.1);
        Some(())
    })?;
    Ok(splits)
}

/// The splits of a source that earlier runs have read to their ends, with the positions there.
///
/// # Errors
/// As for [`stored_splits`].
pub fn ended_splits(state: &dyn StateRead, source: StateId) -> Result<Vec<(SplitId, Bytes)>> {
    let mut ended = Vec::new();
    positions(state, source, &mut |split, position, finished| {
        ended.extend(finished.then(|| (split, Bytes::copy_from_slice(position))));
    })?;
    Ok(ended)
}

/// Gives the splits of a source with where they stand, and whether that is their end.
fn positions(state: &dyn StateRead, source: StateId, each: &mut dyn FnMut(SplitId, &[u8], bool)) -> Result<()> {
    scan(state, &CellKey::new(JOB_GROUP, Kind::Position, source), &mut |key, value| {
        let ((_, split), (finished, position)) = (stored_split(key)?, value.split_first()?);
        each(split, position, *finished == 1);
        Some(())
    })
}

/// Pending input found in the store.
struct Found {
    key: Bytes,
    state: StateId,
    entry: u32,
    hold: Option<EventTime>,
    not_before: ProcessingTime,
    batch: Batch,
}

impl Shard {
    /// Restores what is stored, opens sources, arms what has to fire once.
    pub(super) fn start(&mut self, state: &dyn StateRead, now: ProcessingTime) -> Result<()> {
        // before anything is asked by the process's clock
        self.clock = script_clock(&self.plan, state)?;
        self.identity_stored = self.is_identity_stored(state)?;
        self.restore_job(state)?;
        self.begin_ttl(state, self.time(now))?;
        let pending = self.restore_partitions(state)?;
        self.restored_marks();
        self.check_input(state, pending.iter().map(|found| found.state))?;
        for found in pending {
            self.inject(found)?;
        }
        for i in 0..self.stages.len() {
            let Some(Room::Source(source)) = self.stages.get(i).map(|r| &r.room) else { continue };
            let list = self.splits.iter().filter(|(s, _)| *s == source.source).flat_map(|(_, list)| list);
            for split in list.filter(|s| !source.is_finished(**s)) {
                let position = source.position(*split);
                self.out.push(Effect::Open { source: source.source, split: *split, position });
            }
        }
        Ok(())
    }

    /// Opens splits that came into being, at their beginning. What is here already, or comes when reading has ended, is passed over.
    pub(super) fn take_splits(&mut self, source: SourceId, splits: &[SplitId]) {
        let mut new = Vec::new();
        for room in &mut self.stages {
            if let Room::Source(room) = &mut room.room
                && room.source == source
            {
                new.extend(splits.iter().copied().filter(|split| !self.draining && room.add(*split)));
            }
        }
        if let Some((_, list)) = self.splits.iter_mut().find(|(s, _)| *s == source) {
            list.extend(&new);
        }
        self.out.extend(new.into_iter().map(|split| Effect::Open { source, split, position: None }));
    }

    fn restore_job(&mut self, state: &dyn StateRead) -> Result<()> {
        let (first, keeps) = (self.is_first(), self.stores_for_all());
        let plan = std::sync::Arc::clone(&self.plan);
        let mut gone = Vec::new();
        for (room, stage) in self.stages.iter_mut().zip(&plan.stages) {
            room.floor = floor(state, stage.state, self.config.shards, &mut gone)?;
            match &mut room.room {
                Room::Impulse { fired, .. } => {
                    *fired = !first || state.get(&fact_key(stage.state, "fired"))?.is_some();
                }
                Room::Script { events, marks, step, .. } => {
                    *step = script_step(state, stage.state)?;
                    if !first || *step > events.len() {
                        marks.iter_mut().for_each(|m| *m = EventTime::MAX);
                    }
                    for event in events.iter().take(*step) {
                        if let ScriptEvent::Watermark { output, to } = event
                            && let Some(mark) = marks.get_mut(*output as usize)
                        {
                            *mark = (*mark).max(*to);
                        }
                    }
                }
                Room::Source(source) => {
                    let id = plan.sources.get(source.source.0 as usize).copied().unwrap_or(stage.state);
                    // an exchange that has come to the end of time goes on when the job does; earlier versions said that it ends
                    let ends = !plan.is_exchange(source.source);
                    positions(state, id, &mut |split, position, finished| {
                        source.restore(split, Bytes::copy_from_slice(position), finished && ends);
                    })?;
                }
                Room::View(view) => {
                    if let StageKind::View(spec) = &stage.kind {
                        **view = ViewRoom::new(spec, stage.state, keeps);
                    }
                    let prefix = CellKey::new(JOB_GROUP, Kind::View, stage.state);
                    scan(state, &prefix, &mut |key, value| view.restore(key, &stored::decode(value).ok()?).ok())?;
                }
                Room::Worker(_) | Room::Group(_) | Room::Sink(_) => {}
            }
        }
        if first {
            self.consumed.append(&mut gone);
        }
        Ok(())
    }

    fn restore_partitions(&mut self, state: &dyn StateRead) -> Result<Vec<Found>> {
        let groups = self.key_groups();
        let names = Names::of(&self.plan);
        let mut found = Vec::new();
        let mut broken = None;
        state.scan(&groups.start.to_be_bytes(), &groups.end.to_be_bytes(), &mut |key, value| {
            let read = self.restore_cell(&names, key, value, &mut found);
            broken = if read.is_none() { Some(corrupt("cell")) } else { None };
            read.is_some()
        })?;
        broken.map_or(Ok(found), Err)
    }

    fn restore_cell(&mut self, names: &Names, key: &[u8], value: &[u8], found: &mut Vec<Found>) -> Option<()> {
        let (group, kind, id, mut rest) = KeyReader::open(key)?;
        let whole = rest.rest();
        if kind == Kind::Timer as u8 {
            let (user, window) = (rest.part()?, rest.window()?);
            let group = Group::new(user, window);
            // a timer of a transform that is gone stays where it is
            let Some(stage) = names.timers.get(&id) else { return Some(()) };
            let worker = self.room(*stage).worker()?;
            let family = worker.timers.family_of(id)?;
            worker.note_state(&group.window, &group.key);
            return worker.timers.restore(family, group, Bytes::copy_from_slice(rest.rest()), value);
        }
        if kind == Kind::Buffer as u8 {
            let (window, user, chunk) = (rest.window()?, rest.part()?, rest.number()?);
            let Some(stage) = names.stages.get(&id) else { return Some(()) };
            if let Room::Group(group) = &mut self.room(*stage).room {
                return group.restore(window, user, chunk, Bytes::copy_from_slice(value));
            }
        }
        if kind == Kind::Pane as u8 {
            let (window, user) = (rest.window()?, rest.rest());
            let Some(stage) = names.stages.get(&id) else { return Some(()) };
            if let Room::Group(group) = &mut self.room(*stage).room {
                return group.restore_panes(window, user, value);
            }
        }
        if kind == Kind::User as u8 {
            let (user, window) = (rest.part()?, rest.window()?);
            let Some(stage) = names.states.get(&id) else { return Some(()) };
            let worker = self.room(*stage).worker()?;
            worker.note_state(&window, &ShortBytes::copy(user));
            if let Some(ttl) = &mut worker.ttl {
                ttl.saw_state(group, whole.get(..whole.len() - rest.rest().len())?);
            }
        }
        if kind == Kind::Expires as u8
            && let Some(stage) = names.stages.get(&id)
            && let Some(ttl) = self.room(*stage).worker().and_then(|worker| worker.ttl.as_mut())
        {
            ttl.saw_turn(key);
        }
        if kind == Kind::Written as u8 {
            let Some(stage) = names.stages.get(&id) else { return Some(()) };
            self.restore_mark(*stage, group, whole);
        }
        if kind == Kind::Sorted as u8 {
            let (user, window, turn) = (rest.part()?, rest.window()?, (rest.time()?, rest.number()?));
            let Some(stage) = names.stages.get(&id) else { return Some(()) };
            return self.room(*stage).worker()?.sort.as_mut()?.restore(user, window, turn, value);
        }
        if kind == Kind::Pending as u8 {
            found.push(read_pending(key, id, value)?);
        }
        Some(())
    }

    /// Brings stored pending input to whoever owns it now. The copy goes with the open epoch; a cut that still finds the input
    /// pending stores it anew.
    fn inject(&mut self, found: Found) -> Result<()> {
        let plan = std::sync::Arc::clone(&self.plan);
        if let Some(pending) = self.still_stable(&found) {
            let edge = plan.edges.iter().find(|e| e.state == found.state);
            edge.into_iter().for_each(|edge| self.room(edge.to).inbox.push(pending.clone()));
            return Ok(());
        }
        self.consumed.push(found.key);
        if let Some(edge) = plan.edges.iter().find(|e| e.state == found.state) {
            self.route(edge.id, found.batch);
            return Ok(());
        }
        let stage = plan.stages.iter().find(|s| s.state == found.state);
        let stage = stage.ok_or_else(|| corrupt("input of a stage that this pipeline does not have"))?;
        self.next_request += 1;
        let lane = Lane::Residual(self.next_request);
        let mut pending = Pending::new(found.batch, None, found.entry, lane, Origin::Local);
        pending.hold = found.hold;
        pending.not_before = found.not_before;
        self.room(stage.id).inbox.push(pending);
        Ok(())
    }

    /// Stable input that this shard stored and still owns, as it was formed: it stays where it is stored.
    fn still_stable(&self, found: &Found) -> Option<Pending> {
        let edge = self.plan.edges.iter().find(|e| e.state == found.state)?;
        let StageKind::Worker(worker) = &self.plan.stage(edge.to).kind else { return None };
        let (_, _, _, mut rest) = KeyReader::open(&found.key)?;
        let number = rest.number()?;
        let mine = |row: &crate::batch::Row| {
            edge.route != Route::Keyed
                || row.group().partition(self.config.partitions).shard(self.config.partitions, self.config.shards)
                    == self.id
        };
        let here = found.key == super::cut::pending_key(self.home(), found.state, number);
        if !worker.stable || !here || !found.batch.rows().iter().all(mine) {
            return None;
        }
        let lane = Lane::Shard(edge.id, self.id);
        let mut pending = Pending::new(found.batch.clone(), Some(edge.id), edge.input, lane, Origin::Local);
        pending.stored = Some(number);
        pending.stable = Some(self.lasting);
        Some(pending)
    }

    fn route(&mut self, edge: EdgeId, batch: Batch) {
        match self.plan.edge(edge).route {
            Route::Keyed => {
                for (to, part) in crate::shuffle::by_owner(batch, self.config.partitions, self.config.shards) {
                    self.bring(edge, to, part);
                }
            }
            // one shard stored it for all
            Route::Broadcast => (0..self.config.shards).for_each(|to| self.bring(edge, ShardId(to), batch.clone())),
            Route::Single => self.bring(edge, self.owner_of_all(), batch),
            Route::Local | Route::Spread => {
                self.enqueue(edge, batch, Origin::Local);
            }
        }
    }
}

/// Stages by the names under which they store.
struct Names {
    stages: HashMap<StateId, StageId, foldhash::fast::FixedState>,
    timers: HashMap<StateId, StageId, foldhash::fast::FixedState>,
    states: HashMap<StateId, StageId, foldhash::fast::FixedState>,
}

impl Names {
    fn of(plan: &Plan) -> Self {
        let stages = plan.stages.iter().map(|s| (s.state, s.id)).collect();
        let timers = plan.stages.iter().filter_map(|s| match &s.kind {
            StageKind::Worker(worker) => Some(worker.timers.iter().map(move |t| (t.id, s.id))),
            _ => None,
        });
        let states = plan.stages.iter().filter_map(|s| match &s.kind {
            StageKind::Worker(worker) => Some(worker.cells().map(move |id| (id, s.id))),
            _ => None,
        });
        Self { stages, timers: timers.flatten().collect(), states: states.flatten().collect() }
    }
}

/// Reads one cell; `None` when it is not what it should be.
type ReadCell<'a> = dyn FnMut(&[u8], &[u8]) -> Option<()> + 'a;

fn scan(state: &dyn StateRead, prefix: &CellKey, each: &mut ReadCell<'_>) -> Result<()> {
    let mut whole = true;
    state.scan(prefix.as_slice(), &prefix.successor(), &mut |key, value| {
        whole = each(key, value).is_some();
        whole
    })?;
    if whole { Ok(()) } else { Err(corrupt("cell of the job")) }
}

/// What a stage's input had reached on all shards of the last run. Adds the cells of shards that this run does not have to `gone`.
fn floor(state: &dyn StateRead, stage: StateId, shards: u16, gone: &mut Vec<Bytes>) -> Result<EventTime> {
    let mut least: Option<EventTime> = None;
    scan(state, &CellKey::new(JOB_GROUP, Kind::Progress, stage), &mut |key, value| {
        let time = EventTime(i64::from_be_bytes(value.try_into().ok()?));
        let (_, _, _, mut rest) = KeyReader::open(key)?;
        if rest.number()? >= u64::from(shards) {
            gone.push(Bytes::copy_from_slice(key));
        }
        least = Some(least.map_or(time, |l| l.min(time)));
        Some(())
    })?;
    Ok(least.unwrap_or(EventTime::MIN))
}

/// How many events of a script a stored job has taken.
pub(super) fn script_step(state: &dyn StateRead, stage: StateId) -> Result<usize> {
    let Some(value) = state.get(&fact_key(stage, "step"))? else { return Ok(0) };
    let step: [u8; 8] = value.as_ref().try_into().map_err(|_| corrupt("script step"))?;
    Ok(u64::from_be_bytes(step) as usize)
}

/// The clock of a stored job whose scripts own time, by the events they have taken; none without such a script.
pub(super) fn script_clock(plan: &Plan, state: &dyn StateRead) -> Result<Option<ProcessingTime>> {
    let (mut owned, mut clock) = (false, SCRIPT_START);
    for stage in &plan.stages {
        let StageKind::Script(events) = &stage.kind else { continue };
        let steps = script_step(state, stage.state)?;
        for (i, event) in events.iter().enumerate() {
            if let ScriptEvent::ProcessingTime(ms) = event {
                owned = true;
                clock = if i < steps { clock.plus(*ms) } else { clock };
            }
        }
    }
    Ok(owned.then_some(clock))
}

fn read_pending(key: &[u8], state: StateId, value: &[u8]) -> Option<Found> {
    let (entry, rest) = value.split_first_chunk::<4>()?;
    let (has_hold, rest) = rest.split_first()?;
    let (hold, rest) = rest.split_first_chunk::<8>()?;
    let (not_before, rest) = rest.split_first_chunk::<8>()?;
    Some(Found {
        key: Bytes::copy_from_slice(key),
        state,
        entry: u32::from_be_bytes(*entry),
        hold: (*has_hold == 1).then(|| EventTime(i64::from_be_bytes(*hold))),
        not_before: ProcessingTime(i64::from_be_bytes(*not_before)),
        batch: stored::decode(rest).ok()?,
    })
}

/// The last epoch a store holds decides where a run goes on.
impl Shard {
    /// The epoch that is open.
    #[must_use]
    pub fn open_epoch(&self) -> Epoch {
        self.epoch
    }
}
