//! From a Beam pipeline to the engine's graph.
//!
//! In: a `Pipeline` proto of any SDK or of our own front doors. Out: a [`Translation`]: the graph, and what the
//! adapters need to find the proto again by the graph's ids; or a refusal that names what we do not run. Composites are
//! expanded down to primitives, except those the runner does itself: combines are lifted around the grouping,
//! splittable functions are taken apart, reshuffles become redistributions, `thalweg:*` composites are kept whole. It
//! does not know how anything is executed.

mod assign;
mod build;
mod combine;
mod environment;
mod expand;
mod flatten;
mod inherit;
mod native;
mod pardo;
mod side;
mod spelling;
mod test_stream;
mod windowing;

pub use environment::{EnvironmentInfo, EnvironmentKind};
pub use windowing::liftable;
pub use windowing::{Extent, component_window_coder, global_strategy, window_fn, windowing};

use crate::coder::WireCoder;
use crate::coder::table::CoderTable;
use crate::error::{Result, refuse};
use crate::urn::requirement;
use bytes::Bytes;
use thalweg_core::graph::{CollectionId, EnvironmentId, Graph, Op, SideAccess, TransformId};
use thalweg_core::id::{SinkId, SourceId};
use thalweg_proto::pipeline::{Components, Pipeline};

/// A pipeline in the engine's words, and the way back to the proto.
#[derive(Clone, Debug)]
pub struct Translation {
    /// What the engine runs.
    pub graph: Graph,
    /// The pipeline with the transforms, collections and coders that the translation added.
    pub pipeline: Pipeline,
    /// The graph's transforms, by [`TransformId`].
    pub transforms: Vec<TransformInfo>,
    /// The graph's collections, by [`CollectionId`].
    pub collections: Vec<CollectionInfo>,
    /// Environments that are used, by [`EnvironmentId`].
    pub environments: Vec<EnvironmentInfo>,
    /// Native sources, by [`SourceId`].
    pub sources: Vec<NativeSpec>,
    /// Native sinks, by [`SinkId`].
    pub sinks: Vec<NativeSpec>,
    /// Wire forms of the pipeline's coders.
    pub coders: CoderTable,
}

/// A transform of the graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransformInfo {
    /// Its id among the pipeline's transforms.
    pub id: String,
    /// Its unique name.
    pub name: String,
    /// Unique name of the transform that the user wrote: another one than `name` for parts made by the translation.
    /// Metrics and messages are told under this name.
    pub origin: String,
    /// What it does.
    pub urn: String,
    /// With what.
    pub payload: Bytes,
    /// Who runs it.
    pub role: Role,
    /// Main inputs: tag and collection, as in the graph.
    pub inputs: Vec<(String, CollectionId)>,
    /// Outputs: tag and collection, in the order of the graph.
    pub outputs: Vec<(String, CollectionId)>,
    /// Its states, in the order of its part of the stage's states.
    pub states: Vec<StateInfo>,
}

/// Who runs a transform.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The engine.
    Runner,
    /// The engine, with a native source.
    Source(SourceId),
    /// The engine, with a native sink.
    Sink(SinkId),
    /// A worker of this environment, over the Fn API.
    Sdk(EnvironmentId),
    /// A component; its environment has no other transform than the parts of this one. The environment of a WindowFn also
    /// merges the windows of groupings.
    Wasm(EnvironmentId),
    /// The host itself.
    Native,
}

/// A state of a transform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateInfo {
    /// Its local name.
    pub name: String,
    /// How it is read and written.
    pub kind: StateKind,
}

/// How a state is read and written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateKind {
    /// Whole and appended to; also a single value and an accumulator.
    Bag,
    /// By key; also a map and a set.
    Multimap,
    /// By ranges of a number.
    OrderedList,
}

/// A collection of the graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CollectionInfo {
    /// Its id among the pipeline's collections.
    pub id: String,
    /// How its elements look between runner and worker.
    pub wire: WireCoder,
    /// The proto coder that an SDK must use for them.
    pub coder_id: String,
    /// The proto coder that an SDK must use for their windows.
    pub window_coder_id: String,
    /// Who knows its windows, where they are of an SDK's own function.
    pub window_environment: Option<EnvironmentId>,
    /// Whether it ends.
    pub bounded: bool,
}

/// A native source or sink, as the host gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NativeSpec {
    /// Which one.
    pub urn: String,
    /// With what: JSON.
    pub payload: Bytes,
    /// Unique name of the transform.
    pub name: String,
}

impl Translation {
    /// What is known of a transform.
    #[must_use]
    pub fn transform(&self, id: TransformId) -> Option<&TransformInfo> {
        self.transforms.get(id.0 as usize)
    }

    /// What is known of a collection.
    #[must_use]
    pub fn collection(&self, id: CollectionId) -> Option<&CollectionInfo> {
        self.collections.get(id.0 as usize)
    }

    /// What is known of an environment.
    #[must_use]
    pub fn environment(&self, id: EnvironmentId) -> Option<&EnvironmentInfo> {
        self.environments.get(id.0 as usize)
    }

    /// A side input of a transform: tag, collection, access.
    #[must_use]
    pub fn side(&self, of: TransformId, tag: &str) -> Option<(&str, CollectionId, SideAccess)> {
        match &self.graph.transform(of)?.op {
            Op::User(user) => user.sides.iter().find(|(t, _, _)| t == tag).map(|(t, c, a)| (t.as_str(), *c, *a)),
            _ => None,
        }
    }

    /// The SDK environment that runs a transform.
    #[must_use]
    pub fn sdk_of(&self, of: TransformId) -> Option<EnvironmentId> {
        match self.transform(of)?.role {
            Role::Sdk(environment) => Some(environment),
            _ => None,
        }
    }

    /// The name under which the user knows a transform of the (rewritten) pipeline, given its id or unique name; an
    /// unknown one names itself.
    #[must_use]
    pub fn origin_of<'a>(&'a self, transform: &'a str) -> &'a str {
        let found = self.transforms.iter().find(|t| t.name == transform || t.id == transform);
        found.map_or(transform, |t| t.origin.as_str())
    }

    /// The rewritten pipeline's components.
    ///
    /// # Errors
    /// Never after [`translate`].
    pub fn components(&self) -> Result<&Components> {
        self.pipeline.components.as_ref().ok_or_else(|| crate::error::invalid("the pipeline has no components"))
    }
}

/// Translates a pipeline.
///
/// # Errors
/// `PIPELINE_*`: each names the transform, coder or requirement that we do not run, and says what to do.
///
/// ```
/// use thalweg_beam::translate::translate;
/// use thalweg_proto::pipeline::Pipeline;
/// let refused = translate(Pipeline {
///     requirements: vec!["beam:requirement:unheard_of:v1".to_owned()],
///     ..Default::default()
/// });
/// assert_eq!(refused.err().map(|e| e.code), Some("PIPELINE_REQUIREMENT"));
/// ```
pub fn translate(pipeline: Pipeline) -> Result<Translation> {
    translate_with(pipeline, &Options::default())
}

/// How to translate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// The job is a streaming one: triggers speak on bounded collections, too. Source: `beam:option:streaming:v1`.
    pub streaming: bool,
}

/// Translates a pipeline in another way than the usual one, which is for batch.
///
/// # Errors
/// As [`translate`].
pub fn translate_with(pipeline: Pipeline, options: &Options) -> Result<Translation> {
    for required in &pipeline.requirements {
        check_requirement(required)?;
    }
    build::Builder::new(pipeline, *options)?.finish()
}

fn check_requirement(required: &str) -> Result<()> {
    match required {
        requirement::STATEFUL
        | requirement::FINALIZATION
        | requirement::SPLITTABLE
        | requirement::STABLE_INPUT
        | requirement::TIME_SORTED_INPUT
        | requirement::ON_WINDOW_EXPIRATION => Ok(()),
        _ => Err(refuse(
            "PIPELINE_REQUIREMENT",
            format!("the pipeline requires {required}, which Thalweg does not know"),
        )
        .help("use an SDK of a version that Thalweg supports, or remove the transform that asks for this")),
    }
}
