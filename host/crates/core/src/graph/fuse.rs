//! From a graph to a plan: neighbouring worker transforms of one environment become one stage; flattens and
//! redistributions disappear into edges; groupings, side inputs, sources and sinks become stages of the runner.

use super::order::{ids, inputs, sort_stages, topological};
use super::plan::{
    Edge, GroupStage, OutputPort, Plan, Route, SideInput, Stage, StageKind, TimerFamily, ViewStage, WorkerStage,
};
use super::{CollectionId, Graph, Op, SideAccess, TransformId, UserOp};
use crate::coder::Coder;
use crate::error::{Error, Result};
use crate::id::{EdgeId, StageId, StateId};
use crate::window::{Speaks, Trigger, WindowFn, Windowing};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Transforms behind each other in one stage. An SDK builds a stage by recursion, in Python with four frames a transform of the
/// thousand that it has by default, and of which user code needs some as well: from about 240 on a stage cannot be built.
const DEPTH_MAX: usize = 128;

/// Makes the plan of a graph. Cost: O(transforms + collections) and, for each transform with side inputs, what these are made of.
///
/// # Errors
/// `GRAPH_INVALID` for a collection without producer, a cycle, or a grouping of something that is not a KV.
pub fn fuse(graph: &Graph) -> Result<Plan> {
    Fuser::new(graph)?.plan()
}

struct Fuser<'g> {
    graph: &'g Graph,
    /// Who makes a collection.
    producer: BTreeMap<CollectionId, TransformId>,
    /// Transforms, producers first.
    order: Vec<TransformId>,
    /// The worker stage a user transform is in: named by its first transform.
    root: BTreeMap<TransformId, TransformId>,
    /// What is in the worker stage of a first transform.
    members: BTreeMap<TransformId, Vec<TransformId>>,
    plan: Plan,
    stage_of: BTreeMap<TransformId, StageId>,
    view_of: BTreeMap<(CollectionId, bool), StageId>,
}

pub(super) fn invalid(message: String) -> Error {
    Error::user("GRAPH_INVALID", message)
}

impl<'g> Fuser<'g> {
    fn new(graph: &'g Graph) -> Result<Self> {
        let mut producer = BTreeMap::new();
        for (id, transform) in ids(graph) {
            for output in &transform.outputs {
                producer.insert(*output, id);
            }
        }
        let order = topological(graph, &producer)?;
        Ok(Self {
            graph,
            producer,
            order,
            root: BTreeMap::new(),
            members: BTreeMap::new(),
            plan: Plan {
                sources: graph.sources.iter().map(|n| StateId::derive(n, "source")).collect(),
                sinks: graph.sinks.iter().map(|n| StateId::derive(n, "sink")).collect(),
                endless: graph.endless,
                ..Plan::default()
            },
            stage_of: BTreeMap::new(),
            view_of: BTreeMap::new(),
        })
    }

    fn plan(mut self) -> Result<Plan> {
        self.choose_roots();
        let order = self.order.clone();
        for id in &order {
            self.add_stage(*id)?;
        }
        for id in &order {
            self.add_edges(*id)?;
        }
        sort_stages(&mut self.plan)?;
        Ok(self.plan)
    }

    fn transform(&self, id: TransformId) -> Result<&'g super::Transform> {
        self.graph.transform(id).ok_or_else(|| invalid(format!("no transform {}", id.0)))
    }

    fn user(&self, id: TransformId) -> Option<&'g UserOp> {
        match self.graph.transform(id).map(|t| &t.op) {
            Some(Op::User(user)) => Some(user),
            _ => None,
        }
    }

    /// A transform joins its producer's stage if both run in one worker, nothing has to come between them, and the chain is
    /// not too long.
    fn choose_roots(&mut self) {
        let mut depth: BTreeMap<TransformId, usize> = BTreeMap::new();
        for id in self.order.clone() {
            let Some(user) = self.user(id) else { continue };
            let joins = (!user.keyed && !user.begins_stage && !user.stable)
                .then(|| self.graph.transform(id)?.inputs.first().copied())
                .flatten()
                .and_then(|input| self.producer.get(&input).copied())
                .filter(|p| self.user(*p).is_some_and(|up| up.environment == user.environment))
                .and_then(|p| Some((*self.root.get(&p)?, *depth.get(&p)? + 1)))
                .filter(|(root, depth)| *depth <= DEPTH_MAX && self.may_wait(id, user, *root));
            let (root, deep) = joins.unwrap_or((id, 1));
            self.root.insert(id, root);
            self.members.entry(root).or_default().push(id);
            depth.insert(id, deep);
        }
    }

    /// Whether the elements that the stage of `root` reads may wait for the side inputs of one that joins it: they have an end, all of them
    /// and their offspring are in one window, and the side inputs are not made of what the stage puts out.
    fn may_wait(&self, id: TransformId, user: &UserOp, root: TransformId) -> bool {
        let global = |id: TransformId| {
            let input = self.graph.transform(id)?.inputs.first()?;
            Some(self.graph.collection(*input)?.windowing.window_fn == WindowFn::Global)
        };
        user.sides.is_empty()
            || (user.patient
                && self.user(root).is_some_and(|first| !first.keyed && !first.stable && !first.unbounded)
                && global(id) == Some(true)
                && global(root) == Some(true)
                && !self.is_before(root, user))
    }

    /// Whether a side input is made, in however many steps, of what the stage of `root` puts out.
    fn is_before(&self, root: TransformId, user: &UserOp) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), Vec::new());
        open.extend(user.sides.iter().filter_map(|(_, side, _)| self.producer.get(side).copied()));
        while let Some(id) = open.pop() {
            // all of a stage waits for what one of its transforms waits for
            let stage = self.root.get(&id).copied().unwrap_or(id);
            if stage == root {
                return true;
            }
            if seen.insert(stage) {
                let of_runner = [id];
                let members = self.members.get(&stage).map_or(&of_runner[..], Vec::as_slice);
                let read = members.iter().flat_map(|id| inputs(self.graph, *id));
                open.extend(read.filter_map(|input| self.producer.get(&input).copied()));
            }
        }
        false
    }

    fn add_stage(&mut self, id: TransformId) -> Result<()> {
        let transform = self.transform(id)?;
        let kind = match &transform.op {
            Op::Flatten | Op::Redistribute { .. } => return Ok(()),
            Op::User(user) => {
                let root = self.root.get(&id).copied().unwrap_or(id);
                if root != id {
                    self.join(id, root, user)?;
                    return Ok(());
                }
                let input =
                    *transform.inputs.first().ok_or_else(|| invalid(format!("{} has no input", transform.name)))?;
                let unknown = || invalid(format!("{} reads an unknown collection", transform.name));
                let read = self.graph.collection(input).ok_or_else(unknown)?;
                StageKind::Worker(WorkerStage {
                    environment: user.environment,
                    transforms: Vec::new(),
                    input,
                    input_coder: Arc::clone(&read.coder),
                    windowing: Arc::clone(&read.windowing),
                    sorted: user.sorted && user.keyed,
                    stable: user.stable,
                    lone_keys: user.lone_keys,
                    keyed: user.keyed,
                    splittable: user.splittable,
                    unbounded: user.unbounded,
                    states: Vec::new(),
                    ttl_ms: user.ttl_ms.filter(|_| user.keyed),
                    timers: Vec::new(),
                    sides: Vec::new(),
                })
            }
            Op::Impulse => StageKind::Impulse,
            Op::Source(source) => StageKind::Source(*source),
            Op::Sink(sink) => StageKind::Sink(*sink),
            Op::TestStream(script) => StageKind::Script(Arc::clone(script)),
            Op::GroupByKey => StageKind::Group(self.group_stage(id, transform)?),
        };
        let worker = matches!(kind, StageKind::Worker(_));
        let stage = self.push_stage(&transform.name, kind);
        self.stage_of.insert(id, stage);
        if worker {
            if let Some(user) = self.user(id) {
                self.join(id, id, user)?;
            }
        } else {
            for output in &transform.outputs {
                self.output_port(stage, *output);
            }
        }
        Ok(())
    }

    fn group_stage(&self, id: TransformId, transform: &super::Transform) -> Result<GroupStage> {
        let input = transform.inputs.first().and_then(|i| self.graph.collection(*i));
        let input = input.ok_or_else(|| invalid(format!("{} has no input", transform.name)))?;
        let (key, value) = input
            .coder
            .kv()
            .ok_or_else(|| invalid(format!("{} groups {}, which is not a KV", transform.name, input.name)))?;
        Ok(GroupStage {
            transform: id,
            key: Arc::clone(key),
            value: Arc::clone(value),
            windowing: Arc::clone(&input.windowing),
            environment: input.window_environment,
            whole: false,
            pieces: false,
        })
    }

    fn push_stage(&mut self, name: &str, kind: StageKind) -> StageId {
        let id = StageId(self.plan.stages.len() as u32);
        self.plan.stages.push(Stage {
            id,
            name: name.to_owned(),
            kind,
            inputs: Vec::new(),
            outputs: Vec::new(),
            state: StateId::derive(name, "stage"),
        });
        id
    }

    /// Puts a user transform into the worker stage of `root`.
    fn join(&mut self, id: TransformId, root: TransformId, user: &UserOp) -> Result<()> {
        let transform = self.transform(id)?;
        let stage = *self.stage_of.get(&root).ok_or_else(|| invalid(format!("{} before its input", transform.name)))?;
        self.stage_of.insert(id, stage);
        let mut sides = Vec::new();
        for (name, collection, access) in &user.sides {
            let view = self.view(*collection, *access)?;
            let windowing = self.graph.collection(*collection).map(|c| Arc::clone(&c.windowing));
            let windowing =
                windowing.ok_or_else(|| invalid(format!("{} has an unknown side input", transform.name)))?;
            sides.push(SideInput { transform: id, name: name.clone(), view, access: *access, windowing });
        }
        if let Some(Stage { kind: StageKind::Worker(worker), .. }) = self.plan.stages.get_mut(stage.0 as usize) {
            worker.transforms.push(id);
            worker.states.extend(user.states.iter().cloned());
            worker.timers.extend(user.timers.iter().map(|(name, domain)| TimerFamily {
                transform: id,
                name: name.clone(),
                domain: *domain,
                id: StateId::derive(&transform.name, &format!("timer\0{name}")),
                expires: user.expiry.as_ref() == Some(name),
            }));
            worker.sides.extend(sides);
        }
        Ok(())
    }

    /// The stage that keeps a side input; two readers of one collection share it.
    fn view(&mut self, collection: CollectionId, access: SideAccess) -> Result<StageId> {
        let multimap = access == SideAccess::Multimap;
        if let Some(view) = self.view_of.get(&(collection, multimap)) {
            return Ok(*view);
        }
        let c = self.graph.collection(collection).ok_or_else(|| invalid("unknown side input".to_owned()))?;
        // where a window may speak more than once, what it says last counts: panes are made as a grouping makes them
        let panes = c.windowing.trigger != Trigger::Default || c.windowing.allowed_lateness > 0;
        let kind = StageKind::View(ViewStage {
            collection,
            coder: Arc::clone(&c.coder),
            access,
            windowing: Arc::clone(&c.windowing),
            panes,
        });
        let name = format!("{}/view{}", c.name, if multimap { "/by_key" } else { "" });
        let view = self.push_stage(&name, kind);
        self.view_of.insert((collection, multimap), view);
        if panes {
            // one that tells nothing but that time has passed would take what was told before away
            let told = Speaks::IfNonempty;
            let windowing = Windowing { on_time: told, closing: told, ..Windowing::clone(&c.windowing) };
            let kind = StageKind::Group(GroupStage {
                transform: TransformId(u32::MAX),
                key: Arc::new(Coder::Bytes),
                value: Arc::clone(&c.coder),
                windowing: Arc::new(windowing),
                environment: c.window_environment,
                whole: true,
                pieces: false,
            });
            let group = self.push_stage(&format!("{name}/panes"), kind);
            self.connect(collection, group, 0, Route::Single)?;
            self.edge((group, collection), view, 0, Route::Broadcast);
        } else {
            self.connect(collection, view, 0, Route::Broadcast)?;
        }
        Ok(view)
    }

    fn add_edges(&mut self, id: TransformId) -> Result<()> {
        let transform = self.transform(id)?;
        let Some(stage) = self.stage_of.get(&id).copied() else { return Ok(()) };
        if self.root.get(&id).is_some_and(|root| *root != id) {
            return Ok(());
        }
        let route = match &transform.op {
            Op::GroupByKey => Route::Keyed,
            Op::User(user) if user.keyed => Route::Keyed,
            Op::User(user) if user.begins_stage || user.stable => Route::Spread,
            _ => Route::Local,
        };
        for (i, input) in transform.inputs.iter().enumerate() {
            self.connect(*input, stage, i as u32, route)?;
        }
        Ok(())
    }

    /// Connects whoever really makes `collection` with a consumer, looking through flattens and redistributions.
    fn connect(&mut self, collection: CollectionId, to: StageId, input: u32, route: Route) -> Result<()> {
        let producer = *self.producer.get(&collection).ok_or_else(|| {
            let name = self.graph.collection(collection).map_or("?", |c| c.name.as_str());
            invalid(format!("nothing produces {name}"))
        })?;
        let transform = self.transform(producer)?;
        match &transform.op {
            Op::Flatten => {
                for part in &transform.inputs {
                    self.connect(*part, to, input, route)?;
                }
                return Ok(());
            }
            Op::Redistribute { by_key } => {
                let spread = if *by_key { Route::Keyed } else { Route::Spread };
                let route = if route == Route::Local { spread } else { route };
                for part in &transform.inputs {
                    self.connect(*part, to, input, route)?;
                }
                return Ok(());
            }
            _ => {}
        }
        let from = *self.stage_of.get(&producer).ok_or_else(|| invalid(format!("{} has no stage", transform.name)))?;
        self.edge((from, collection), to, input, route);
        Ok(())
    }

    /// Adds an edge from a stage's output.
    fn edge(&mut self, (from, collection): (StageId, CollectionId), to: StageId, input: u32, route: Route) {
        let port = self.output_port(from, collection);
        let id = EdgeId(self.plan.edges.len() as u32);
        let name = self.plan.stages.get(to.0 as usize).map(|s| s.name.clone()).unwrap_or_default();
        let source = self.graph.collection(collection).map_or("", |c| c.name.as_str());
        let state = StateId::derive(&name, &format!("input\0{input}\0{source}"));
        self.plan.edges.push(Edge { id, from, to, input, route, state });
        if let Some(port) = self.plan.stages.get_mut(from.0 as usize).and_then(|s| s.outputs.get_mut(port)) {
            port.edges.push(id);
        }
        if let Some(stage) = self.plan.stages.get_mut(to.0 as usize) {
            stage.inputs.push(id);
        }
    }

    fn output_port(&mut self, stage: StageId, collection: CollectionId) -> usize {
        let Some(stage) = self.plan.stages.get_mut(stage.0 as usize) else { return 0 };
        if let Some(i) = stage.outputs.iter().position(|o| o.collection == collection) {
            return i;
        }
        stage.outputs.push(OutputPort { collection, edges: Vec::new() });
        stage.outputs.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::EnvironmentId;
    use crate::testing::{Topology, User};
    use crate::window::Windowing;

    /// Names of the worker stages of a chain of so many transforms, and how many are in each.
    fn chain(length: usize) -> Result<Vec<(String, usize)>> {
        let mut t = Topology::new();
        let mut last = t.source("lines", Vec::new());
        for i in 0..length {
            let next = t.plain(&format!("c{i}"), &Windowing::global());
            t.user(User::new(&format!("t{i}"), |_| Ok(())), &[last], &[next]);
            // a branch beside the chain makes it no longer
            let aside = t.plain(&format!("aside{i}"), &Windowing::global());
            t.user(User::new(&format!("a{i}"), |_| Ok(())).environment(1), &[last], &[aside]);
            last = next;
        }
        let stages = t.plan()?.stages.into_iter().filter_map(|stage| match stage.kind {
            StageKind::Worker(worker) if worker.environment != Some(EnvironmentId(1)) => {
                Some((stage.name, worker.transforms.len()))
            }
            _ => None,
        });
        Ok(stages.collect())
    }

    #[test]
    fn a_chain_too_long_for_an_sdk_becomes_stages_it_can_build() -> Result<()> {
        assert_eq!(chain(DEPTH_MAX)?, [("t0".to_owned(), DEPTH_MAX)]);
        let stage = |n: usize, transforms| (format!("t{}", n * DEPTH_MAX), transforms);
        assert_eq!(chain(2 * DEPTH_MAX + 3)?, [stage(0, DEPTH_MAX), stage(1, DEPTH_MAX), stage(2, 3)]);
        Ok(())
    }

    /// Names and sizes of the stages of a pipeline: what reads `lines` is joined by what reads it and `side` aside.
    fn beside(side_of: impl Fn(&mut Topology, CollectionId) -> CollectionId, reader: User) -> Result<Vec<usize>> {
        let mut t = Topology::new();
        let lines = t.source("lines", Vec::new());
        let parsed = t.plain("parsed", &Windowing::global());
        t.user(User::new("parse", |_| Ok(())), &[lines], &[parsed]);
        let side = side_of(&mut t, parsed);
        let joined = t.plain("joined", &Windowing::global());
        t.user(reader.side("s", side, SideAccess::Iterable), &[parsed], &[joined]);
        let workers = t.plan()?.stages.into_iter().filter_map(|stage| match stage.kind {
            StageKind::Worker(worker) => Some(worker.transforms.len()),
            _ => None,
        });
        Ok(workers.collect())
    }

    #[test]
    fn what_has_an_end_waits_for_side_inputs_together_with_what_it_is_made_of() -> Result<()> {
        let reader = || User::new("join", |_| Ok(()));
        let other = |t: &mut Topology, _| t.source("table", Vec::new());
        assert_eq!(beside(other, reader().patient())?, [2]);
        assert_eq!(beside(other, reader())?, [1, 1], "without an end its elements wait");
        Ok(())
    }

    #[test]
    fn a_side_input_that_is_made_of_the_main_one_comes_before_it() -> Result<()> {
        // through another stage that has joined something by then
        let derived = |t: &mut Topology, parsed| {
            let small = t.plain("small", &Windowing::global());
            t.user(User::new("shrink", |_| Ok(())).environment(1), &[parsed], &[small]);
            let smaller = t.plain("smaller", &Windowing::global());
            t.user(User::new("shrink again", |_| Ok(())).environment(1), &[small], &[smaller]);
            smaller
        };
        assert_eq!(beside(derived, User::new("join", |_| Ok(())).patient())?, [1, 2, 1]);
        Ok(())
    }

    #[test]
    fn stages_that_wait_for_side_inputs_never_wait_for_each_other() -> Result<()> {
        // two chains that read each other aside, step by step: whichever joins first, the other one may not
        let mut t = Topology::new();
        let global = Windowing::global();
        let mut last = [t.source("a", Vec::new()), t.source("b", Vec::new())];
        for step in 0..40_usize {
            let at = step * 7 % 3 % 2;
            let next = t.plain(&format!("c{step}"), &global);
            let user = User::new(&format!("t{step}"), |_| Ok(())).patient();
            let (main, side) = (last[at], last[1 - at]);
            t.user(if step % 4 == 1 { user } else { user.side("s", side, SideAccess::Iterable) }, &[main], &[next]);
            last[at] = next;
        }
        // sorted, which fails on a cycle
        assert!(t.plan()?.stages.len() > 4);
        Ok(())
    }
}
