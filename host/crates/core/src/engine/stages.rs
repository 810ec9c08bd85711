//! The rooms of one stage on one shard: its queue, what its inputs promise, what it promises, and its own kind of room.

use super::shard::Config;
use crate::graph::{GroupStage, ScriptEvent, Stage, StageKind, WorkerStage};
use crate::id::{BundleId, CacheToken, EdgeId, ShardId, SinkId, SourceId, SplitId, StageId, StateId};
use crate::progress::Watermark;
use crate::source::SourceRoom;
use crate::stage::{Inbox, Lane, Sizer, SortRoom};
use crate::state::{CellTable, Expiry, Ttl, ViewRoom};
use crate::time::{EventTime, ProcessingTime};
use crate::timer::TimerRoom;
use crate::trigger::{GroupRoom, MergeRequest};
use crate::window::{Window, WindowSet, Windowing};
use hashbrown::HashMap;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What other shards promise over the edges of a stage.
#[derive(Default, Debug)]
pub(super) struct Promises {
    remote: BTreeMap<(EdgeId, ShardId), EventTime>,
}

impl Promises {
    /// A shard's promise over an edge rises.
    pub(super) fn remote(&mut self, edge: EdgeId, from: ShardId, to: EventTime) {
        let have = self.remote.entry((edge, from)).or_insert(EventTime::MIN);
        *have = (*have).max(to);
    }

    /// What a shard has promised over an edge.
    pub(super) fn of(&self, edge: EdgeId, from: ShardId) -> EventTime {
        self.remote.get(&(edge, from)).copied().unwrap_or(EventTime::MIN)
    }
}

/// A question to a worker that is not yet answered.
#[derive(Debug)]
pub(super) enum Request {
    /// Windows of a grouping.
    Merge {
        /// The grouping.
        group: StageId,
        /// Whose worker was asked.
        asked: StageId,
        /// What.
        request: MergeRequest,
    },
    /// Windows for a side input of a stage.
    Map(StageId, u32, Vec<Window>),
}

/// What only worker stages have.
#[derive(Debug)]
pub(super) struct WorkerRoom {
    /// Bundles the worker takes at once.
    pub credit: u32,
    /// Bundles it has.
    pub running: u32,
    /// How large the next bundle is.
    pub sizer: Sizer,
    /// Started bundles per lane, in the order in which they must be applied.
    pub lanes: HashMap<Lane, VecDeque<BundleId>, foldhash::fast::FixedState>,
    /// State in memory and groups in flight.
    pub table: CellTable,
    /// Timers.
    pub timers: TimerRoom,
    /// Under which the worker may cache state.
    pub token: CacheToken,
    /// Windows of side inputs by side and main window; `None` while the SDK is asked.
    pub mapped: HashMap<(u32, Window), Option<WindowSet>, foldhash::fast::FixedState>,
    /// No timer is run before this: a bundle with timers has failed.
    pub timers_not_before: ProcessingTime,
    /// Some input is held back because a side input is not ready.
    pub waits_for_sides: bool,
    /// Windowing of the input.
    pub windowing: Arc<Windowing>,
    /// It has state or timers.
    pub keyed: bool,
    /// Its input is stable.
    pub stable: bool,
    /// Elements that wait for their turn, where input is sorted.
    pub sort: Option<SortRoom>,
    /// Which keys have state in which window.
    pub expiry: Expiry,
    /// The timer family that fires when a window expires.
    pub expires: Option<u32>,
    /// More has expired than one turn collects.
    pub collects_on: bool,
    /// When state was written, where that decides how long it lives.
    pub ttl: Option<Box<Ttl>>,
}

/// What kind of room a stage is.
#[derive(Debug)]
pub(super) enum Room {
    Source(SourceRoom),
    Impulse { fired: bool, dirty: bool },
    Script { events: Arc<Vec<ScriptEvent>>, marks: Vec<EventTime>, step: usize, dirty: bool },
    Worker(Box<WorkerRoom>),
    Group(Box<GroupRoom>),
    View(Box<ViewRoom>),
    Sink(SinkId),
}

/// One stage on one shard.
#[derive(Debug)]
pub(super) struct StageRoom {
    pub inbox: Inbox,
    pub promises: Promises,
    /// What the inputs promise together.
    pub input: Watermark,
    /// What a restored run had reached: never less.
    pub floor: EventTime,
    /// This run has stored how far it is.
    pub floor_stored: bool,
    /// What each output promises.
    pub outputs: Vec<Watermark>,
    /// Promises already sent to other shards.
    pub sent: Vec<EventTime>,
    pub room: Room,
}

impl StageRoom {
    pub(super) fn new(stage: &Stage, config: &Config, splits: &[(SourceId, Vec<SplitId>)]) -> Self {
        let room = match &stage.kind {
            StageKind::Source(source) => {
                let mine = splits.iter().find(|(s, _)| s == source).map(|(_, list)| list.clone());
                Room::Source(SourceRoom::new(*source, mine.unwrap_or_default()))
            }
            StageKind::Impulse => Room::Impulse { fired: true, dirty: false },
            StageKind::Script(events) => {
                let marks = vec![EventTime::MIN; stage.outputs.len()];
                Room::Script { events: Arc::clone(events), marks, step: 0, dirty: false }
            }
            StageKind::Worker(worker) => Room::Worker(Box::new(WorkerRoom::new(worker, stage.state))),
            StageKind::Group(group) => Room::Group(Box::new(group_room(group, stage))),
            StageKind::View(view) => Room::View(Box::new(ViewRoom::new(view, stage.state, false))),
            StageKind::Sink(sink) => Room::Sink(*sink),
        };
        debug_assert!(config.shards > 0, "a job runs on at least one shard");
        Self {
            inbox: Inbox::default(),
            promises: Promises::default(),
            input: Watermark::default(),
            floor: EventTime::MIN,
            floor_stored: false,
            outputs: vec![Watermark::default(); stage.outputs.len()],
            sent: vec![EventTime::MIN; stage.outputs.len()],
            room,
        }
    }

    /// Whether the stage consumes its input as it comes, without bundles.
    pub(super) fn is_immediate(&self) -> bool {
        matches!(self.room, Room::Group(_) | Room::View(_) | Room::Sink(_))
    }

    /// Whether there are timers, no element is to come, and none waits.
    pub(super) fn has_timers_alone(&self) -> bool {
        let Room::Worker(worker) = &self.room else { return false };
        let waits = !self.inbox.is_empty() || worker.sort.as_ref().is_some_and(|sort| !sort.is_empty());
        !worker.timers.is_empty() && self.input.get() == EventTime::MAX && !waits
    }

    /// Drain: sources say they have ended, all but these.
    pub(super) fn close(&mut self, but: &[SourceId]) {
        if let Room::Source(source) = &mut self.room
            && !but.contains(&source.source)
        {
            source.close();
        }
    }

    /// Rows a source has read in this run.
    pub(super) fn rows_read(&self) -> u64 {
        if let Room::Source(source) = &self.room { source.rows() } else { 0 }
    }

    /// The worker room, if it is one.
    pub(super) fn worker(&mut self) -> Option<&mut WorkerRoom> {
        if let Room::Worker(worker) = &mut self.room { Some(worker) } else { None }
    }
}

fn group_room(group: &GroupStage, stage: &Stage) -> GroupRoom {
    GroupRoom::new(group, stage.state)
}

impl WorkerRoom {
    fn new(stage: &WorkerStage, id: StateId) -> Self {
        let families = stage.timers.iter().map(|t| (t.domain, t.id)).collect();
        Self {
            credit: 0,
            running: 0,
            sizer: Sizer::default(),
            lanes: HashMap::default(),
            table: CellTable::default(),
            timers: TimerRoom::new(families, stage.windowing.allowed_lateness),
            token: CacheToken(0),
            mapped: HashMap::default(),
            timers_not_before: ProcessingTime(i64::MIN),
            waits_for_sides: false,
            windowing: Arc::clone(&stage.windowing),
            keyed: stage.keyed,
            stable: stage.stable,
            sort: stage.sorted.then(|| SortRoom::new(id)),
            expiry: Expiry::default(),
            expires: stage.timers.iter().position(|t| t.expires).map(|i| i as u32),
            collects_on: false,
            ttl: None,
        }
    }
}
