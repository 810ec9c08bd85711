//! Ground floor: the pipeline as the engine knows it, and the plan made from it.
//!
//! In: a [`Graph`], made by a front door's adapter (from a Beam proto, always). Out: a [`Plan`] of fused stages and the
//! edges between them. What a transform *means* to its worker stays with the adapter that made the graph; the engine keeps the
//! index ([`TransformId`]) by which that adapter finds it again.

mod exchange;
mod fuse;
mod order;
mod plan;
mod shape;

pub use exchange::{Exchange, distribute};
pub use fuse::fuse;
pub use plan::{
    Edge, GroupStage, OutputPort, Plan, Route, SideInput, Stage, StageKind, TimerFamily, ViewStage, WorkerStage,
};
pub use shape::Shape;

use crate::batch::Batch;
use crate::coder::Coder;
use crate::id::{SinkId, SourceId};
use crate::port::worker::{StateSpec, TimeDomain};
use crate::time::{EventTime, ProcessingTime};
use crate::window::Windowing;
use std::sync::Arc;

/// Position of a collection in its graph.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CollectionId(pub u32);

/// Position of a transform in its graph.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransformId(pub u32);

/// Position of an environment among those of the adapter that made the graph.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EnvironmentId(pub u32);

/// A PCollection.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Unique name.
    pub name: String,
    /// How its elements look between stages.
    pub coder: Arc<Coder>,
    /// Its windowing.
    pub windowing: Arc<Windowing>,
    /// Who knows its windows, where they are of an SDK's own function and that SDK is known.
    pub window_environment: Option<EnvironmentId>,
}

/// A primitive transform.
#[derive(Clone, Debug)]
pub struct Transform {
    /// Unique name; stored state is named after it.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// Main inputs.
    pub inputs: Vec<CollectionId>,
    /// Outputs.
    pub outputs: Vec<CollectionId>,
}

/// What a primitive transform does, as far as the engine must know.
#[derive(Clone, Debug)]
pub enum Op {
    /// One empty element in the global window, once.
    Impulse,
    /// Reads a native source.
    Source(SourceId),
    /// Writes a native sink.
    Sink(SinkId),
    /// Puts its inputs together.
    Flatten,
    /// Groups by key and window. The input is a KV, the output KV of key and iterable.
    GroupByKey,
    /// Spreads its input over the shards: by key where it has one, else evenly.
    Redistribute {
        /// Whether elements of a key stay together.
        by_key: bool,
    },
    /// A scripted source that owns time. Source: `beam:transform:teststream:v1`.
    TestStream(Arc<Vec<ScriptEvent>>),
    /// Runs in a worker.
    User(UserOp),
}

/// A transform that runs in a worker.
#[derive(Clone, Debug, Default)]
pub struct UserOp {
    /// Which environment.
    pub environment: Option<EnvironmentId>,
    /// Elements of a key must meet: it has state or timers.
    pub keyed: bool,
    /// Its states.
    pub states: Vec<StateSpec>,
    /// How long its state stays that is not written, in milliseconds of the clock; as long as its window if there is no such bound.
    pub ttl_ms: Option<i64>,
    /// Its timer families: local name and domain.
    pub timers: Vec<(String, TimeDomain)>,
    /// The timer family, by local name, that fires when a window of a key with state expires.
    /// Source: `ParDoPayload.on_window_expiration_timer_family_spec`.
    pub expiry: Option<String>,
    /// Elements of a key and window come in the order of event time. Source: `beam:requirement:pardo:time_sorted_input:v1`.
    pub sorted: bool,
    /// Elements come from committed epochs alone, and after a crash in the same bundles.
    /// Source: `beam:requirement:pardo:stable_input:v1`.
    pub stable: bool,
    /// A bundle may have one key alone: its worker does not say of which key it asks for state.
    pub lone_keys: bool,
    /// Its side inputs: local name and collection.
    pub sides: Vec<(String, CollectionId, SideAccess)>,
    /// Its main input has an end: what it is made of may wait for the side inputs, instead of its elements.
    pub patient: bool,
    /// Must begin a stage of its own, fed by a shuffle: a splittable function's restrictions are spread.
    pub begins_stage: bool,
    /// Its elements are restrictions of a splittable function.
    pub splittable: bool,
    /// They may have no end.
    pub unbounded: bool,
}

/// How a side input is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SideAccess {
    /// As one list. `beam:side_input:iterable:v1`.
    Iterable,
    /// By key. `beam:side_input:multimap:v1`.
    Multimap,
}

/// An event of a TestStream.
#[derive(Clone, Debug)]
pub enum ScriptEvent {
    /// Elements for an output.
    Elements {
        /// Index into the transform's outputs.
        output: u32,
        /// The elements.
        batch: Batch,
    },
    /// The watermark of an output moves.
    Watermark {
        /// Index into the transform's outputs.
        output: u32,
        /// To here.
        to: EventTime,
    },
    /// The job's processing time moves by so many milliseconds; from the first one on, the clock is the script's.
    ProcessingTime(i64),
}

/// The script's own beginning of processing time.
pub const SCRIPT_START: ProcessingTime = ProcessingTime(0);

/// A whole pipeline.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Its collections.
    pub collections: Vec<Collection>,
    /// Its primitive transforms, in any order.
    pub transforms: Vec<Transform>,
    /// Names of native sources, by id; stored positions are named after them.
    pub sources: Vec<String>,
    /// Names of native sinks, by id.
    pub sinks: Vec<String>,
    /// A collection of it has no end: the job is no batch job. Source: `PCollection.is_bounded`.
    pub endless: bool,
}

impl Graph {
    /// The collection of an id.
    #[must_use]
    pub fn collection(&self, id: CollectionId) -> Option<&Collection> {
        self.collections.get(id.0 as usize)
    }

    /// The transform of an id.
    #[must_use]
    pub fn transform(&self, id: TransformId) -> Option<&Transform> {
        self.transforms.get(id.0 as usize)
    }

    /// Adds a collection.
    pub fn add_collection(&mut self, name: &str, coder: Coder, windowing: Arc<Windowing>) -> CollectionId {
        self.collections.push(Collection {
            name: name.to_owned(),
            coder: Arc::new(coder),
            windowing,
            window_environment: None,
        });
        CollectionId((self.collections.len() - 1) as u32)
    }

    /// Adds a transform.
    pub fn add_transform(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[CollectionId],
        outputs: &[CollectionId],
    ) -> TransformId {
        self.transforms.push(Transform {
            name: name.to_owned(),
            op,
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
        });
        TransformId((self.transforms.len() - 1) as u32)
    }
}
