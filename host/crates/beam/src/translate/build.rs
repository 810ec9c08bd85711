//! The walk over a pipeline's transforms: expands composites and hands each transform to the code that knows its URN.

use super::flatten::same;
use super::spelling::Spelling;
use super::windowing::{Extent, windowing};
use super::{CollectionInfo, EnvironmentInfo, NativeSpec, Options, Role, StateInfo, TransformInfo, Translation};
use crate::coder::WireCoder;
use crate::coder::table::{CoderTable, add, proto};
use crate::error::{Result, invalid, refuse};
use crate::urn::{capability, coder, transform as urn};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thalweg_core::graph::{CollectionId, EnvironmentId, Graph, Op, TransformId, UserOp};
use thalweg_core::window::{Speaks, WindowFn, Windowing};
use thalweg_proto::pipeline::{
    Components, PCollection, PTransform, Pipeline, is_bounded::Enum as IsBounded, merge_status,
};

/// How deep composites may be nested.
const DEPTH_MAX: u32 = 256;

/// Tag and collection.
pub(super) type Tagged = Vec<(String, CollectionId)>;

/// A translation under way.
pub(super) struct Builder {
    pub(super) options: Options,
    pub(super) pipeline: Pipeline,
    pub(super) components: Components,
    pub(super) graph: Graph,
    pub(super) transforms: Vec<TransformInfo>,
    pub(super) collections: Vec<CollectionInfo>,
    pub(super) environments: Vec<EnvironmentInfo>,
    pub(super) sources: Vec<NativeSpec>,
    pub(super) sinks: Vec<NativeSpec>,
    pub(super) coders: CoderTable,
    collection_ids: BTreeMap<String, CollectionId>,
    pub(super) environment_ids: BTreeMap<String, EnvironmentId>,
    windowings: BTreeMap<(String, Extent), Arc<Windowing>>,
    /// Transforms of the pipeline that were visited.
    visited: BTreeSet<String>,
    pub(super) spelling: Spelling,
}

/// A transform about to enter the graph.
pub(super) struct New<'t> {
    pub(super) id: &'t str,
    pub(super) proto: &'t PTransform,
    pub(super) origin: &'t str,
    pub(super) op: Op,
    pub(super) role: Role,
    pub(super) inputs: Tagged,
    pub(super) outputs: Tagged,
    pub(super) states: Vec<StateInfo>,
}

impl Builder {
    pub(super) fn new(mut pipeline: Pipeline, options: Options) -> Result<Self> {
        let components = pipeline.components.take().unwrap_or_default();
        let used = components.transforms.values().map(|t| t.environment_id.as_str());
        let used: BTreeSet<_> = used.filter(|e| !e.is_empty()).collect();
        let capable = components.environments.iter().filter(|(id, _)| used.contains(id.as_str()));
        let capable = capable.map(|(_, e)| super::environment::declaring(e)).collect::<Result<Vec<_>>>()?;
        let coders = CoderTable::new(capable.iter().flatten());
        Ok(Self {
            options,
            pipeline,
            components,
            graph: Graph::default(),
            transforms: Vec::new(),
            collections: Vec::new(),
            environments: Vec::new(),
            sources: Vec::new(),
            sinks: Vec::new(),
            coders,
            collection_ids: BTreeMap::new(),
            environment_ids: BTreeMap::new(),
            windowings: BTreeMap::new(),
            visited: BTreeSet::new(),
            spelling: Spelling::default(),
        })
    }

    pub(super) fn finish(mut self) -> Result<Translation> {
        self.inherit_windows()?;
        self.unlift()?;
        for root in self.pipeline.root_transform_ids.clone() {
            self.visit(&root, DEPTH_MAX)?;
        }
        self.fix_coders()?;
        self.check_names()?;
        self.pipeline.components = Some(self.components);
        self.graph.sources = self.sources.iter().map(|s| s.name.clone()).collect();
        self.graph.sinks = self.sinks.iter().map(|s| s.name.clone()).collect();
        Ok(Translation {
            graph: self.graph,
            pipeline: self.pipeline,
            transforms: self.transforms,
            collections: self.collections,
            environments: self.environments,
            sources: self.sources,
            sinks: self.sinks,
            coders: self.coders,
        })
    }

    /// State is stored under the names of transforms, and workers call them by name.
    fn check_names(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        match self.graph.transforms.iter().find(|t| !names.insert(t.name.as_str())) {
            Some(twice) => Err(refuse("PIPELINE_INVALID", format!("two transforms are named {:?}", twice.name))
                .help("give each transform of the pipeline a label of its own")),
            None => Ok(()),
        }
    }

    /// Translates a transform and everything inside it.
    fn visit(&mut self, id: &str, depth: u32) -> Result<()> {
        let depth = depth.checked_sub(1).ok_or_else(|| invalid(format!("the transform {id:?} is nested too deep")))?;
        // a few transforms, each twice in the next, would be very many
        if !self.visited.insert(id.to_owned()) {
            return Err(invalid(format!("the transform {id:?} has two parents or contains itself")));
        }
        let transform = self.components.transforms.get(id);
        let transform = transform.ok_or_else(|| invalid(format!("there is no transform {id:?}")))?.clone();
        let name = transform.unique_name.clone();
        self.dispatch(id, &transform, depth).map_err(|e| e.in_transform(&name))
    }

    fn dispatch(&mut self, id: &str, transform: &PTransform, depth: u32) -> Result<()> {
        let urn = transform.spec.as_ref().map_or("", |s| s.urn.as_str());
        match urn {
            urn::IMPULSE => self.impulse(id, transform),
            urn::FLATTEN => self.runner(id, transform, Op::Flatten),
            // its output is the side input itself
            urn::CREATE_VIEW => self.runner(id, transform, Op::Flatten),
            urn::GROUP_BY_KEY => self.group_by_key(id, transform, &transform.unique_name),
            // what has no key is spread evenly
            urn::RESHUFFLE | urn::REDISTRIBUTE_BY_KEY => {
                let by_key = self.is_keyed(transform)?;
                self.runner(id, transform, Op::Redistribute { by_key })
            }
            urn::REDISTRIBUTE_ARBITRARILY => self.runner(id, transform, Op::Redistribute { by_key: false }),
            urn::PAR_DO => self.par_do(id, transform),
            urn::WINDOW_INTO => self.window_into(id, transform),
            urn::COMBINE_PER_KEY => self.combine_per_key(id, transform, depth),
            urn::TEST_STREAM => self.test_stream(id, transform),
            // Python's and Java's are composites: an SDF splits the source, where the read of old is one bundle
            urn::READ if transform.subtransforms.is_empty() => self.read(id, transform),
            urn::EXECUTABLE_STAGE => {
                Err(refuse("PIPELINE_TRANSFORM", format!("{} was fused by the SDK", transform.unique_name))
                    .help("submit the pipeline without --experiments=pre_optimize=all"))
            }
            _ if urn.starts_with(urn::OURS) => self.native(id, transform, urn),
            _ if !transform.subtransforms.is_empty() => self.visit_all(&transform.subtransforms, depth),
            _ if does_nothing(transform, urn) => Ok(()),
            _ => self.worker(id, transform, urn),
        }
    }

    /// Whether the elements of a transform's one input are pairs.
    fn is_keyed(&mut self, transform: &PTransform) -> Result<bool> {
        let Some(input) = transform.inputs.values().next() else { return Ok(false) };
        let input = self.collection(input)?;
        Ok(self.graph.collection(input).is_some_and(|c| c.coder.kv().is_some()))
    }

    /// The engine's one element is no bytes, whatever type an SDK infers for it.
    fn impulse(&mut self, id: &str, transform: &PTransform) -> Result<()> {
        let bytes = add(&mut self.components.coders, proto(coder::BYTES, &[]), "bytes");
        for output in transform.outputs.values() {
            self.set_coder(output, &bytes);
        }
        self.runner(id, transform, Op::Impulse)
    }

    /// Gives a collection another coder, unless its own makes the same bytes.
    pub(super) fn set_coder(&mut self, collection: &str, coder_id: &str) {
        if let Some(collection) = self.components.pcollections.get_mut(collection)
            && !same(&self.components.coders, &collection.coder_id, coder_id)
        {
            coder_id.clone_into(&mut collection.coder_id);
        }
    }

    /// Translates the parts of a composite.
    pub(super) fn visit_all(&mut self, ids: &[String], depth: u32) -> Result<()> {
        ids.iter().try_for_each(|id| self.visit(id, depth))
    }

    /// A transform of the engine.
    pub(super) fn runner(&mut self, id: &str, transform: &PTransform, op: Op) -> Result<()> {
        let (inputs, outputs) = (self.tagged(&transform.inputs)?, self.tagged(&transform.outputs)?);
        let few = match op {
            Op::Impulse => inputs.is_empty(),
            Op::Redistribute { .. } | Op::GroupByKey => inputs.len() == 1,
            _ => true,
        };
        if !few || outputs.len() != 1 {
            let (i, o) = (inputs.len(), outputs.len());
            return Err(invalid(format!("{} has {i} inputs and {o} outputs", transform.unique_name)));
        }
        let origin = &transform.unique_name;
        self.push(New { id, proto: transform, origin, op, role: Role::Runner, inputs, outputs, states: Vec::new() });
        Ok(())
    }

    /// A primitive that a worker knows by its URN, with one input and nothing else.
    pub(super) fn worker(&mut self, id: &str, transform: &PTransform, urn: &str) -> Result<()> {
        if transform.environment_id.is_empty() && urn != urn::WINDOW_INTO {
            return Err(refuse(
                "PIPELINE_TRANSFORM",
                format!("{} is a {urn:?}, which Thalweg does not know and no SDK runs", transform.unique_name),
            )
            .help("replace the transform, or expand it with an expansion service before submitting"));
        }
        if transform.inputs.len() != 1 || urn.starts_with(urn::PUBSUB) {
            return Err(refuse(
                "PIPELINE_TRANSFORM",
                format!(
                    "{} is a {urn:?} with {} inputs, which needs a runner that knows it",
                    transform.unique_name,
                    transform.inputs.len()
                ),
            )
            .help("replace the transform, for example a read by one that expands to a splittable DoFn"));
        }
        self.user(id, transform, &transform.unique_name, UserOp::default())
    }

    /// A transform with one main input that runs in its environment, or in the host if it has none.
    pub(super) fn user(&mut self, id: &str, transform: &PTransform, origin: &str, user: UserOp) -> Result<()> {
        self.user_with_states(id, transform, origin, user, Vec::new())
    }

    pub(super) fn user_with_states(
        &mut self,
        id: &str,
        transform: &PTransform,
        origin: &str,
        mut user: UserOp,
        states: Vec<StateInfo>,
    ) -> Result<()> {
        let mains = transform.inputs.iter().filter(|(tag, _)| user.sides.iter().all(|(side, _, _)| side != *tag));
        let mains: BTreeMap<_, _> = mains.map(|(t, c)| (t.clone(), c.clone())).collect();
        let (inputs, outputs) = (self.tagged(&mains)?, self.tagged(&transform.outputs)?);
        let [(_, input)] = inputs.as_slice() else {
            return Err(invalid(format!("{} has {} main inputs", transform.unique_name, inputs.len())));
        };
        if user.keyed && self.graph.collection(*input).is_none_or(|c| c.coder.kv().is_none()) {
            return Err(invalid(format!("{} has state or timers, but its input is not a KV", transform.unique_name)));
        }
        let role = if transform.environment_id.is_empty() {
            Role::Native
        } else {
            let environment = self.environment(&transform.environment_id)?;
            user.environment = Some(environment);
            Role::Sdk(environment)
        };
        self.push(New { id, proto: transform, origin, op: Op::User(user), role, inputs, outputs, states });
        Ok(())
    }

    /// Puts a transform into the graph.
    pub(super) fn push(&mut self, new: New<'_>) -> TransformId {
        let collections = |tagged: &Tagged| tagged.iter().map(|(_, c)| *c).collect::<Vec<_>>();
        let (inputs, outputs) = (collections(&new.inputs), collections(&new.outputs));
        let id = self.graph.add_transform(&new.proto.unique_name, new.op, &inputs, &outputs);
        let spec = new.proto.spec.clone().unwrap_or_default();
        self.transforms.push(TransformInfo {
            id: new.id.to_owned(),
            name: new.proto.unique_name.clone(),
            origin: new.origin.to_owned(),
            urn: spec.urn,
            payload: spec.payload,
            role: new.role,
            inputs: new.inputs,
            outputs: new.outputs,
            states: new.states,
        });
        id
    }

    pub(super) fn tagged(&mut self, collections: &BTreeMap<String, String>) -> Result<Tagged> {
        collections.iter().map(|(tag, id)| Ok((tag.clone(), self.collection(id)?))).collect()
    }

    /// The graph's collection of a proto id.
    pub(super) fn collection(&mut self, id: &str) -> Result<CollectionId> {
        if let Some(known) = self.collection_ids.get(id) {
            return Ok(*known);
        }
        let proto = self.components.pcollections.get(id);
        let proto = proto.ok_or_else(|| invalid(format!("there is no collection {id:?}")))?;
        let (name, coder_id, strategy) =
            (proto.unique_name.clone(), proto.coder_id.clone(), proto.windowing_strategy_id.clone());
        let bounded = is_bounded(proto);
        self.graph.endless |= !bounded;
        let proto = proto.clone();
        let windowing = self.windowing(&proto)?;
        let window_coder = self.components.windowing_strategies.get(&strategy).map(|s| s.window_coder_id.clone());
        let coders = &mut self.components.coders;
        let element = self.coders.wire(coders, &coder_id)?;
        // Java takes such a coder for that of the collection's elements with their windows, also inside a stage
        let mistakable = coders
            .get(&coder_id)
            .and_then(|c| c.spec.as_ref())
            .is_some_and(|s| [coder::WINDOWED_VALUE, coder::PARAM_WINDOWED_VALUE].contains(&s.urn.as_str()));
        let (window_coder_id, window) = self.coders.window(coders, &window_coder.unwrap_or_default())?;
        if mistakable && let Some(proto) = self.components.pcollections.get_mut(id) {
            proto.coder_id.clone_from(&element.id);
        }
        let window_environment = self.window_environment(&strategy, &windowing)?;
        let new = self.graph.add_collection(&name, element.coder.as_ref().clone(), windowing);
        if let Some(collection) = self.graph.collections.get_mut(new.0 as usize) {
            collection.window_environment = window_environment;
        }
        self.collections.push(CollectionInfo {
            id: id.to_owned(),
            wire: WireCoder { element: element.coder, window },
            coder_id: element.id,
            window_coder_id,
            window_environment,
            bounded,
        });
        self.collection_ids.insert(id.to_owned(), new);
        Ok(new)
    }

    /// The windowing of a collection.
    pub(super) fn windowing(&mut self, of: &PCollection) -> Result<Arc<Windowing>> {
        let id = &of.windowing_strategy_id;
        let extent = match (is_bounded(of), self.options.streaming) {
            (true, false) => Extent::Whole,
            (true, true) => Extent::Bounded,
            (false, _) => Extent::Unbounded,
        };
        if let Some(known) = self.windowings.get(&(id.clone(), extent)) {
            return Ok(Arc::clone(known));
        }
        let strategy = self.components.windowing_strategies.get(id);
        let strategy = strategy.ok_or_else(|| invalid(format!("there is no windowing strategy {id:?}")))?.clone();
        let mut windowing = windowing(&strategy, extent)?;
        if let Some(call) = self.window_call(id) {
            // whatever the function is elsewhere, here it is the component's
            let merging = strategy.merge_status == merge_status::Enum::NeedsMerge as i32;
            windowing.window_fn = WindowFn::Custom { merging };
            self.window_component(&call);
        }
        if self.is_python(&strategy.environment_id) {
            // the Python SDK says EMIT_ALWAYS of every strategy: its users can not ask for it, and its own runners do not do it
            windowing.closing = Speaks::IfNonempty;
        }
        let windowing = Arc::new(windowing);
        self.windowings.insert((id.clone(), extent), Arc::clone(&windowing));
        Ok(windowing)
    }

    fn is_python(&self, environment: &str) -> bool {
        let environment = self.components.environments.get(environment);
        environment.is_some_and(|e| e.capabilities.iter().any(|c| c.starts_with(capability::PYTHON_SDK)))
    }

    /// The environment that knows the windows of a strategy, where only an SDK does.
    fn window_environment(&mut self, strategy: &str, windowing: &Windowing) -> Result<Option<EnvironmentId>> {
        if let Some(call) = self.window_call(strategy) {
            return Ok(Some(self.window_component(&call)));
        }
        let strategy = self.components.windowing_strategies.get(strategy);
        let environment = strategy.map(|s| s.environment_id.clone()).unwrap_or_default();
        let custom = matches!(windowing.window_fn, WindowFn::Custom { .. });
        if custom && !environment.is_empty() { self.environment(&environment).map(Some) } else { Ok(None) }
    }

    /// An id that no transform has.
    pub(super) fn free_transform_id(&self, wanted: &str) -> String {
        free(wanted, |id| self.components.transforms.contains_key(id))
    }

    /// An id that no collection has.
    pub(super) fn free_collection_id(&self, wanted: &str) -> String {
        free(wanted, |id| self.components.pcollections.contains_key(id))
    }
}

/// A composite without parts gives its input as it is, or takes it for nothing. A leaf with another URN and without
/// outputs is no such thing: it writes somewhere.
fn does_nothing(transform: &PTransform, urn: &str) -> bool {
    if transform.outputs.is_empty() {
        return transform.inputs.is_empty() || ["", urn::PYTHON_COMPOSITE, urn::PYTHON_PICKLED].contains(&urn);
    }
    transform.outputs.values().all(|output| transform.inputs.values().any(|input| input == output))
}

fn free(wanted: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut id = wanted.to_owned();
    let mut n = 1;
    while taken(&id) {
        n += 1;
        id = format!("{wanted}_{n}");
    }
    id
}

pub(super) fn is_bounded(collection: &PCollection) -> bool {
    collection.is_bounded != IsBounded::Unbounded as i32
}
