//! The plan: stages in topological order and the edges between them. Made once per run; shards share it.

use super::exchange::Exchange;
use super::{CollectionId, EnvironmentId, ScriptEvent, SideAccess, TransformId};
use crate::coder::Coder;
use crate::id::{EdgeId, SinkId, SourceId, StageId, StateId};
use crate::port::worker::{StateSpec, TimeDomain};
use crate::window::Windowing;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How elements of an edge find their shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Stay where they are.
    Local,
    /// Go to the owner of their key group.
    Keyed,
    /// Go round the shards, a batch each.
    Spread,
    /// Go to every shard.
    Broadcast,
    /// Go to one shard, whatever their key.
    Single,
}

/// A connection of two stages.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Position in the plan.
    pub id: EdgeId,
    /// The producing stage.
    pub from: StageId,
    /// The consuming stage.
    pub to: StageId,
    /// Which of the consumer's inputs: an index given to its worker with every batch.
    pub input: u32,
    /// How elements find their shard.
    pub route: Route,
    /// Name of what is stored of it (pending input).
    pub state: StateId,
}

/// An output of a stage.
#[derive(Clone, Debug)]
pub struct OutputPort {
    /// The collection it carries.
    pub collection: CollectionId,
    /// Who takes it.
    pub edges: Vec<EdgeId>,
}

/// A stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Position in the plan.
    pub id: StageId,
    /// Name for people.
    pub name: String,
    /// What executes it.
    pub kind: StageKind,
    /// Edges that feed it.
    pub inputs: Vec<EdgeId>,
    /// What it gives.
    pub outputs: Vec<OutputPort>,
    /// Name of what is stored of it.
    pub state: StateId,
}

/// What executes a stage.
#[derive(Clone, Debug)]
pub enum StageKind {
    /// A native source.
    Source(SourceId),
    /// One element, once.
    Impulse,
    /// A script that owns time.
    Script(Arc<Vec<ScriptEvent>>),
    /// A worker.
    Worker(WorkerStage),
    /// The runner: groups by key and window.
    Group(GroupStage),
    /// The runner: keeps a side input.
    View(ViewStage),
    /// A native sink.
    Sink(SinkId),
}

/// A stage that a worker executes.
#[derive(Clone, Debug)]
pub struct WorkerStage {
    /// Whose worker; `None` is the host's own native functions.
    pub environment: Option<EnvironmentId>,
    /// Fused transforms, producers first.
    pub transforms: Vec<TransformId>,
    /// The collection its main input carries.
    pub input: CollectionId,
    /// Coder of that collection.
    pub input_coder: Arc<Coder>,
    /// Bundles are keyed: groups and items instead of plain batches.
    pub keyed: bool,
    /// Its elements are pieces of work that can be divided and truncated: restrictions of a splittable function.
    pub splittable: bool,
    /// They may have no end.
    pub unbounded: bool,
    /// Windowing of that collection: when state of a window expires.
    pub windowing: Arc<Windowing>,
    /// Elements of a key and window come in the order of event time.
    pub sorted: bool,
    /// Elements come from committed epochs alone, and after a crash in the same bundles.
    pub stable: bool,
    /// A bundle has one key alone.
    pub lone_keys: bool,
    /// States of all its transforms.
    pub states: Vec<StateSpec>,
    /// How long state of a key and window stays that is not written, in milliseconds of the clock; as long as the window if there is no
    /// such bound.
    pub ttl_ms: Option<i64>,
    /// Timer families of all its transforms.
    pub timers: Vec<TimerFamily>,
    /// Side inputs of all its transforms.
    pub sides: Vec<SideInput>,
}

impl WorkerStage {
    /// Where it is noted that a key has had elements in a window, if the function is called when that expires.
    #[must_use]
    pub fn met(&self) -> Option<StateId> {
        self.timers.iter().find(|family| family.expires).map(|family| family.id)
    }

    /// What is stored for a key and window: the function's states, and that note.
    pub fn cells(&self) -> impl Iterator<Item = StateId> {
        self.states.iter().map(|state| state.id).chain(self.met())
    }
}

/// A timer family of a stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimerFamily {
    /// Whose.
    pub transform: TransformId,
    /// Local name.
    pub name: String,
    /// Its clock.
    pub domain: TimeDomain,
    /// Where its timers are stored.
    pub id: StateId,
    /// It is never set, but fires when a window expires, for each key that had elements in it.
    pub expires: bool,
}

/// A side input of a stage.
#[derive(Clone, Debug)]
pub struct SideInput {
    /// Whose.
    pub transform: TransformId,
    /// Local name.
    pub name: String,
    /// The stage that keeps it.
    pub view: StageId,
    /// How it is read.
    pub access: SideAccess,
    /// Windowing of the side collection: maps a main window to a side window.
    pub windowing: Arc<Windowing>,
}

/// A stage that groups by key and window.
#[derive(Clone, Debug)]
pub struct GroupStage {
    /// The grouping's transform.
    pub transform: TransformId,
    /// Coder of the key.
    pub key: Arc<Coder>,
    /// Coder of the value.
    pub value: Arc<Coder>,
    /// Windowing of the input.
    pub windowing: Arc<Windowing>,
    /// Whose worker merges its windows; `None` asks the nearest worker above.
    pub environment: Option<EnvironmentId>,
    /// Elements are grouped whole, under the empty key: the panes of a side input.
    pub whole: bool,
    /// All who take its output read large values piece by piece.
    pub pieces: bool,
}

/// A stage that keeps a side input on every shard.
#[derive(Clone, Debug)]
pub struct ViewStage {
    /// The collection.
    pub collection: CollectionId,
    /// Its coder.
    pub coder: Arc<Coder>,
    /// Whether to index by key.
    pub access: SideAccess,
    /// Its windowing.
    pub windowing: Arc<Windowing>,
    /// Its input are panes, each a list of elements that takes the place of the window's contents.
    pub panes: bool,
}

/// The plan of a job.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Stages, producers before consumers.
    pub stages: Vec<Stage>,
    /// Edges.
    pub edges: Vec<Edge>,
    /// Names of sources, by id.
    pub sources: Vec<StateId>,
    /// Names of sinks, by id.
    pub sinks: Vec<StateId>,
    /// A collection has no end, wherever it is read: the job goes on by the clock.
    pub endless: bool,
    /// Edges that go through the log, where partitions run apart.
    pub exchanges: Vec<Exchange>,
    /// What the host says of the states, for those who ask from outside of the job: its own bytes, stored as they are.
    pub described: Bytes,
}

impl Plan {
    /// The stage of an id.
    ///
    /// # Panics
    /// Never for ids of this plan.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "ids are positions of this plan, made with it")]
    pub fn stage(&self, id: StageId) -> &Stage {
        &self.stages[id.0 as usize]
    }

    /// Notes which worker stages read large grouped values piece by piece: groupings that feed no others need not hand them out
    /// whole. Stages that keep their input in order of time, or store it, have to have it whole.
    pub fn read_in_pieces(&mut self, stages: &BTreeSet<StageId>) {
        let reads = |id: StageId| match &self.stage(id).kind {
            StageKind::Worker(worker) => stages.contains(&id) && !worker.sorted && !worker.stable,
            _ => false,
        };
        let feeds = |stage: &Stage| stage.outputs.iter().flat_map(|o| &o.edges).all(|edge| reads(self.edge(*edge).to));
        let found: Vec<bool> = self.stages.iter().map(feeds).collect();
        for (stage, pieces) in self.stages.iter_mut().zip(found) {
            if let StageKind::Group(group) = &mut stage.kind {
                group.pieces = pieces && !group.whole;
            }
        }
    }

    /// Whether the elements of a stage are restrictions of a splittable function.
    #[must_use]
    pub fn splits_work(&self, id: StageId) -> bool {
        matches!(&self.stage(id).kind, StageKind::Worker(worker) if worker.splittable)
    }

    /// Whether a source is the end of an exchange.
    #[must_use]
    pub fn is_exchange(&self, source: SourceId) -> bool {
        self.exchanges.iter().any(|exchange| exchange.source == source)
    }

    /// The edge of an id.
    ///
    /// # Panics
    /// Never for ids of this plan.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "ids are positions of this plan, made with it")]
    pub fn edge(&self, id: EdgeId) -> &Edge {
        &self.edges[id.0 as usize]
    }
}
