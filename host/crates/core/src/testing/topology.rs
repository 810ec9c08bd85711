//! Builds a graph together with what its scripted sources, workers and sinks do, and makes a [`Driver`] of it.

use super::driver::Driver;
use super::sink::SinkDisk;
use super::source::ScriptedSplit;
use super::work::{StageFn, StageScript, Work};
use super::worker::{MapFn, MergeFn, SplitFn, WorkerScript};
use crate::coder::Coder;
use crate::engine::Config;
use crate::error::Result;
use crate::graph::{
    CollectionId, EnvironmentId, Graph, Op, Plan, ScriptEvent, SideAccess, StageKind, TransformId, UserOp, fuse,
};
use crate::id::{SinkId, SourceId, StageId, StateId};
use crate::port::worker::{StateSpec, TimeDomain};
use crate::window::Windowing;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which protocol a sink speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SinkKind {
    /// [`CollectingSink`](super::CollectingSink).
    Length,
    /// [`OutboxSink`](super::OutboxSink).
    Outbox,
}

/// A user transform in the making: what it needs, and what it does.
#[derive(Clone)]
pub struct User {
    name: String,
    op: UserOp,
    bundles: u32,
    run: StageFn,
}

impl User {
    /// A transform without state that does `run` with every bundle.
    #[must_use]
    pub fn new(name: &str, run: impl Fn(&mut Work) -> Result<()> + Send + Sync + 'static) -> Self {
        Self { name: name.to_owned(), op: UserOp::default(), bundles: 1, run: Arc::new(run) }
    }

    /// It runs in this environment instead of the host's.
    #[must_use]
    pub fn environment(mut self, id: u32) -> Self {
        self.op.environment = Some(EnvironmentId(id));
        self
    }

    /// Its worker takes so many bundles at once.
    #[must_use]
    pub fn bundles(mut self, bundles: u32) -> Self {
        self.bundles = bundles;
        self
    }

    /// Its input is spread over the shards.
    #[must_use]
    pub fn spread(mut self) -> Self {
        self.op.begins_stage = true;
        self
    }

    /// Its elements are restrictions, spread over the shards; endless ones, perhaps.
    #[must_use]
    pub fn splittable(mut self, unbounded: bool) -> Self {
        (self.op.begins_stage, self.op.splittable, self.op.unbounded) = (true, true, unbounded);
        self
    }

    /// It has this state.
    #[must_use]
    pub fn state(mut self, name: &str) -> Self {
        self.op.keyed = true;
        let id = StateId::derive(&self.name, name);
        self.op.states.push(StateSpec { name: name.to_owned(), id, kept: String::new() });
        self
    }

    /// Its state goes that is not written for so many milliseconds.
    #[must_use]
    pub fn ttl(mut self, ms: i64) -> Self {
        self.op.ttl_ms = Some(ms);
        self
    }

    /// It has this timer family.
    #[must_use]
    pub fn timer(mut self, name: &str, domain: TimeDomain) -> Self {
        self.op.keyed = true;
        self.op.timers.push((name.to_owned(), domain));
        self
    }

    /// This timer family, which it has, fires when a window of a key with state expires.
    #[must_use]
    pub fn on_expiry(mut self, family: &str) -> Self {
        self.op.expiry = Some(family.to_owned());
        self
    }

    /// It gets the elements of a key and window in the order of event time.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.op.sorted = true;
        self
    }

    /// It gets elements from committed epochs alone.
    #[must_use]
    pub fn stable(mut self) -> Self {
        self.op.stable = true;
        self
    }

    /// Its worker does not say of which key it asks for state.
    #[must_use]
    pub fn lone_keys(mut self) -> Self {
        self.op.lone_keys = true;
        self
    }

    /// Its main input has an end.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.op.patient = true;
        self
    }

    /// It reads this side input.
    #[must_use]
    pub fn side(mut self, name: &str, collection: CollectionId, access: SideAccess) -> Self {
        self.op.sides.push((name.to_owned(), collection, access));
        self
    }
}

/// A pipeline and its actors.
pub struct Topology {
    /// Length of an epoch, in milliseconds.
    pub epoch_ms: i64,
    graph: Graph,
    users: BTreeMap<String, (TransformId, User)>,
    pub(super) sources: Vec<Vec<ScriptedSplit>>,
    pub(super) sinks: Vec<(String, SinkKind, SinkDisk)>,
    merge: Option<MergeFn>,
    map: Option<MapFn>,
    split: Option<SplitFn>,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            epoch_ms: 100,
            graph: Graph::default(),
            users: BTreeMap::new(),
            sources: Vec::new(),
            sinks: Vec::new(),
            merge: None,
            map: None,
            split: None,
        }
    }
}

impl Topology {
    /// An empty one, with epochs of 100 ms.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a collection of elements without key.
    pub fn plain(&mut self, name: &str, windowing: &Windowing) -> CollectionId {
        self.graph.add_collection(name, Coder::Bytes, Arc::new(windowing.clone()))
    }

    /// Adds a collection of KVs.
    pub fn keyed(&mut self, name: &str, windowing: &Windowing) -> CollectionId {
        let coder = Coder::Kv(Arc::new(Coder::Bytes), Arc::new(Coder::Bytes));
        self.graph.add_collection(name, coder, Arc::new(windowing.clone()))
    }

    /// Adds a source; it gives a collection of elements without key in the global window.
    pub fn source(&mut self, name: &str, splits: Vec<ScriptedSplit>) -> CollectionId {
        let out = self.plain(name, &Windowing::global());
        let id = SourceId(self.sources.len() as u32);
        self.graph.sources.push(name.to_owned());
        self.sources.push(splits);
        self.graph.add_transform(name, Op::Source(id), &[], &[out]);
        out
    }

    /// One of its collections has no end.
    pub fn endless(&mut self) {
        self.graph.endless = true;
    }

    /// Adds an impulse.
    pub fn impulse(&mut self, name: &str) -> CollectionId {
        let out = self.plain(name, &Windowing::global());
        self.graph.add_transform(name, Op::Impulse, &[], &[out]);
        out
    }

    /// Adds a TestStream with this output.
    pub fn script(&mut self, name: &str, events: Vec<ScriptEvent>, output: CollectionId) {
        self.graph.add_transform(name, Op::TestStream(Arc::new(events)), &[], &[output]);
    }

    /// Adds a user transform.
    pub fn user(&mut self, user: User, inputs: &[CollectionId], outputs: &[CollectionId]) {
        let id = self.graph.add_transform(&user.name, Op::User(user.op.clone()), inputs, outputs);
        self.users.insert(user.name.clone(), (id, user));
    }

    /// Groups a keyed collection by key and window; gives a keyed collection of iterables.
    pub fn group(&mut self, name: &str, input: CollectionId) -> CollectionId {
        let windowing = self.graph.collection(input).map_or_else(Windowing::global, |c| (*c.windowing).clone());
        let value = Coder::Iterable(Arc::new(Coder::Bytes));
        let coder = Coder::Kv(Arc::new(Coder::Bytes), Arc::new(value));
        let out = self.graph.add_collection(name, coder, Arc::new(windowing));
        self.graph.add_transform(name, Op::GroupByKey, &[input], &[out]);
        out
    }

    /// Puts collections together.
    pub fn flatten(&mut self, name: &str, inputs: &[CollectionId], output: CollectionId) {
        self.graph.add_transform(name, Op::Flatten, inputs, &[output]);
    }

    /// Adds a sink. What it brings out stands on its disk.
    pub fn sink(&mut self, name: &str, kind: SinkKind, input: CollectionId) -> SinkDisk {
        let (id, disk) = (SinkId(self.sinks.len() as u32), SinkDisk::default());
        self.graph.sinks.push(name.to_owned());
        self.sinks.push((name.to_owned(), kind, disk.clone()));
        self.graph.add_transform(name, Op::Sink(id), &[input], &[]);
        disk
    }

    /// How workers merge windows.
    pub fn merges(&mut self, merge: MergeFn) {
        self.merge = Some(merge);
    }

    /// How workers map windows to those of a side input.
    pub fn maps(&mut self, map: MapFn) {
        self.map = Some(map);
    }

    /// How workers split open bundles.
    pub fn splits(&mut self, split: SplitFn) {
        self.split = Some(split);
    }

    /// The plan.
    ///
    /// # Errors
    /// `GRAPH_INVALID`.
    pub fn plan(&self) -> Result<Plan> {
        fuse(&self.graph)
    }

    /// The stage of a transform, by name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn stage(&self, plan: &Plan, name: &str) -> StageId {
        let stage = plan.stages.iter().find(|s| s.name == name);
        stage.map(|s| s.id).unwrap_or_else(|| unreachable!("no stage {name}"))
    }

    /// What the worker of each environment does.
    pub(super) fn scripts(&self, plan: &Plan) -> BTreeMap<Option<EnvironmentId>, WorkerScript> {
        let mut scripts: BTreeMap<Option<EnvironmentId>, WorkerScript> = BTreeMap::new();
        for stage in &plan.stages {
            let StageKind::Worker(worker) = &stage.kind else { continue };
            let Some((transform, user)) = self.users.get(&stage.name) else { continue };
            assert!(worker.transforms.len() == 1, "{} was fused: a script stands for one transform", stage.name);
            let declared = self.graph.transform(*transform).map_or(&[][..], |t| &t.outputs);
            let port = |c: &CollectionId| stage.outputs.iter().position(|o| o.collection == *c).map(|i| i as u32);
            let script = scripts.entry(worker.environment).or_insert_with(|| WorkerScript {
                stages: BTreeMap::new(),
                merge: self.merge.clone(),
                map: self.map.clone(),
                split: self.split.clone(),
            });
            let stage_script = StageScript {
                stage: stage.id,
                plan: worker.clone(),
                outputs: declared.iter().map(port).collect(),
                bundles: user.bundles,
                run: Arc::clone(&user.run),
            };
            script.stages.insert(stage.id, Arc::new(stage_script));
        }
        scripts
    }

    /// A driver of this topology on a fresh store.
    ///
    /// # Errors
    /// `GRAPH_INVALID`.
    pub fn driver(self, config: Config) -> Result<Driver> {
        Driver::new(self, config)
    }
}
