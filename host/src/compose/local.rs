//! Workers that run in the shard's own thread: native functions and components.

use super::check::output_of;
use super::components::ComponentStore;
use super::payload::WasmCall;
use super::payload_of;
use super::side::sides;
use crate::native::{NativeStage, NativeStep, NativeWorker, Port, Registry, Setup, Target};
use crate::runtime::{Waker, WorkerSet};
use crate::table::Tables;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_beam::translate::{EnvironmentKind, Role, TransformInfo, Translation};
use thalweg_beam::urn::transform as urn;
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{CollectionId, EnvironmentId, GroupStage, Plan, Stage, StageKind, TransformId, WorkerStage};
use thalweg_core::id::{ShardId, StageId, StateId};
use thalweg_core::port::worker::StateSpec;
use thalweg_wasm::describe::Kind;
use thalweg_wasm::{
    Binding, Callee, Component, Failures, Inbox, Pool, Side, StagePlan, Step, Table, Target as WasmTarget, Task,
    WasmWorker,
};

/// What a shard makes its native and Wasm workers of.
pub struct LocalWorkers {
    registry: Registry,
    components: Arc<ComponentStore>,
    native: Vec<Native>,
    pub(super) wasm: Vec<Wasm>,
    windows: Vec<Windows>,
    /// Where the workers that were made take other versions of their functions.
    pub(super) inboxes: Mutex<BTreeMap<(ShardId, EnvironmentId), Inbox>>,
}

/// A stage of native functions.
struct Native {
    stage: StageId,
    steps: Vec<Function>,
    states: Vec<StateSpec>,
}

/// A native function in its stage.
struct Function {
    info: TransformInfo,
    ports: Vec<Port>,
    targets: Vec<Vec<Target>>,
}

/// A stage of one component function.
#[derive(Clone)]
pub(super) struct Wasm {
    /// What is asked of the function, one after the other.
    tasks: Vec<Task>,
    /// Timer families of the stage; none for the one that fires when a window is over.
    pub timers: Vec<Option<String>>,
    pub stage: StageId,
    pub environment: EnvironmentId,
    pub transform: TransformId,
    pub name: String,
    pub component: Component,
    pub call: WasmCall,
    pub states: Vec<(String, StateId)>,
    sides: Vec<Side>,
    tables: Vec<Arc<dyn Table>>,
    outputs: Vec<Vec<WasmTarget>>,
    dead: Option<Vec<WasmTarget>>,
}

/// A grouping whose windows a component merges.
struct Windows {
    stage: StageId,
    environment: EnvironmentId,
    name: String,
    component: Component,
    call: WasmCall,
}

impl LocalWorkers {
    pub(super) fn new(
        translation: &Translation,
        plan: &Plan,
        registry: Registry,
        components: Arc<ComponentStore>,
        tables: &Tables,
    ) -> Result<Self> {
        let (native, wasm, windows) = (Vec::new(), Vec::new(), Vec::new());
        let mut this = Self { registry, components, native, wasm, windows, inboxes: Mutex::default() };
        for stage in &plan.stages {
            let worker = match &stage.kind {
                StageKind::Worker(worker) => worker,
                StageKind::Group(group) => {
                    let merged = this.merged(translation, stage, group)?;
                    this.windows.extend(merged);
                    continue;
                }
                _ => continue,
            };
            let infos: Vec<&TransformInfo> =
                worker.transforms.iter().filter_map(|t| translation.transform(*t)).collect();
            match infos.first().map(|i| i.role) {
                Some(Role::Native) => {
                    let native = this.native(translation, stage, worker, &infos);
                    this.native.push(native);
                }
                Some(Role::Wasm(environment)) => {
                    for info in infos {
                        let wasm = this.wasm(stage, environment, worker, info, tables)?;
                        this.wasm.push(wasm);
                    }
                }
                _ => {}
            }
        }
        // a bad configuration or component shows before the first element
        this.make(ShardId(0), &(Arc::new(|| {}) as Waker)).map(|_| this)
    }

    fn native(
        &self,
        translation: &Translation,
        stage: &Stage,
        worker: &WorkerStage,
        infos: &[&TransformInfo],
    ) -> Native {
        let steps = infos.iter().enumerate().map(|(i, info)| {
            let targets = info.outputs.iter().map(|(_, collection)| {
                let later = infos.iter().enumerate().skip(i + 1);
                let steps = later.filter(|(_, t)| t.inputs.iter().any(|(_, c)| c == collection));
                steps.map(|(j, _)| Target::Step(j)).chain(port(stage, *collection).map(Target::Output)).collect()
            });
            let ports = info.outputs.iter().filter_map(|(tag, collection)| {
                let windowing = Arc::clone(&translation.graph.collection(*collection)?.windowing);
                Some(Port { tag: tag.clone(), windowing })
            });
            Function { info: (*info).clone(), ports: ports.collect(), targets: targets.collect() }
        });
        Native { stage: stage.id, steps: steps.collect(), states: worker.states.clone() }
    }

    fn wasm(
        &self,
        stage: &Stage,
        environment: EnvironmentId,
        worker: &WorkerStage,
        info: &TransformInfo,
        tables: &Tables,
    ) -> Result<Wasm> {
        let call: WasmCall = payload_of::json(&info.payload, &info.name)?;
        let component = self.components.load(&call)?;
        let function = component.function(&call.function)?;
        let to = |place: Option<&(String, CollectionId)>| {
            place.and_then(|(_, c)| port(stage, *c)).map(WasmTarget::Output).into_iter().collect::<Vec<_>>()
        };
        // the error output is none of the function's own, even if it is called like one
        let own = || info.outputs.iter().filter(|(tag, _)| call.errors.as_ref() != Some(tag));
        let tasks = tasks(&function.kind, &info.urn);
        let outputs = if function.kind == Kind::DoFn {
            let tagged = |i| to(own().find(|(tag, _)| output_of(function, tag) == Some(i)));
            (0..function.outputs.len()).map(tagged).collect()
        } else {
            vec![to(info.outputs.first())]
        };
        let dead = call.errors.as_ref().map(|tag| to(info.outputs.iter().find(|(t, _)| t == tag)));
        let states = worker.states.iter().map(|s| (s.name.clone(), s.id)).collect();
        let timers = worker.timers.iter().map(|family| (!family.expires).then(|| family.name.clone())).collect();
        let (stage, name) = (stage.id, info.name.clone());
        // what keeps state or sets timers stands first in its stage
        let transform = worker.transforms.first().copied().unwrap_or(TransformId(0));
        let sides = sides(worker, function)?;
        let table = |described: &thalweg_wasm::describe::Table| {
            let spec = call.tables.get(&described.name);
            let spec = spec.ok_or_else(|| Error::internal("GRAPH_INVALID", format!("{name} lost a table")))?;
            let table: Arc<dyn Table> = tables.get(spec).map_err(|e| e.in_transform(&name))?;
            Ok(table)
        };
        let tables = function.tables.iter().map(table).collect::<Result<_>>()?;
        Ok(Wasm {
            tasks,
            timers,
            stage,
            environment,
            transform,
            name,
            component,
            call,
            states,
            sides,
            tables,
            outputs,
            dead,
        })
    }

    /// The component that merges the windows of a grouping, if one does.
    fn merged(&self, translation: &Translation, stage: &Stage, group: &GroupStage) -> Result<Option<Windows>> {
        let Some(environment) = group.environment.filter(|_| group.windowing.window_fn.merges()) else {
            return Ok(None);
        };
        let Some(info) = translation.environment(environment).filter(|e| e.choices == [EnvironmentKind::Wasm]) else {
            return Ok(None);
        };
        let call: WasmCall = payload_of::json(&info.proto.payload, &stage.name)?;
        let component = self.components.load(&call)?;
        Ok(Some(Windows { stage: stage.id, environment, name: stage.name.clone(), component, call }))
    }

    /// The workers of one shard; `waker` is called when one that works beside it has events.
    ///
    /// # Errors
    /// What a function or component says to its configuration.
    pub fn make(&self, shard: ShardId, waker: &Waker) -> Result<WorkerSet> {
        let mut workers: WorkerSet = Vec::new();
        if !self.native.is_empty() {
            let stages = self.native.iter().map(|n| self.native_stage(n)).collect::<Result<Vec<_>>>()?;
            workers.push((None, Box::new(NativeWorker::new(stages))));
        }
        // the stages of an environment are of one worker: commands find it by the environment
        let mut plans: BTreeMap<EnvironmentId, Vec<(StageId, StagePlan)>> = BTreeMap::new();
        for wasm in &self.wasm {
            let plan = self.wasm_stage(wasm).map_err(|e: Error| e.in_transform(&wasm.name))?;
            plans.entry(wasm.environment).or_default().push((wasm.stage, plan));
        }
        for (environment, plans) in plans {
            let mut worker = WasmWorker::new(plans);
            for windows in self.windows.iter().filter(|w| w.environment == environment) {
                let step = self.windows_step(windows).map_err(|e| Error::from(e).in_transform(&windows.name))?;
                worker = worker.with_windows(windows.stage, 0, step);
            }
            let of = self.wasm.iter().find(|wasm| wasm.environment == environment).map_or("", |wasm| &wasm.name);
            worker.warm().map_err(|e| Error::from(e).in_transform(of))?;
            let mut inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
            inboxes.insert((shard, environment), worker.inbox());
            workers.push((Some(environment), Box::new(worker.with_waker(waker)?)));
        }
        Ok(workers)
    }

    fn native_stage(&self, native: &Native) -> Result<(StageId, NativeStage)> {
        let steps = native.steps.iter().map(|function| {
            let info = &function.info;
            let setup = Setup { name: &info.name, payload: &info.payload, outputs: &function.ports };
            Ok(NativeStep::new(&info.name, self.registry.make(&info.urn, &setup)?, function.targets.clone()))
        });
        let steps = steps.collect::<Result<_>>()?;
        Ok((native.stage, NativeStage::new(steps, native.states.clone())?))
    }

    fn wasm_stage(&self, wasm: &Wasm) -> Result<StagePlan> {
        Ok(StagePlan::new(self.wasm_steps(wasm)?)?)
    }

    /// The stages that take large grouped values piece by piece.
    pub fn pieces(&self) -> BTreeSet<StageId> {
        let reads = |wasm: &&Wasm| match wasm.tasks.first() {
            Some(Task::Process) => {
                wasm.component.function(&wasm.call.function).is_ok_and(|function| function.reads_pages())
            }
            task => task == Some(&Task::Combine),
        };
        self.wasm.iter().filter(reads).map(|wasm| wasm.stage).collect()
    }

    /// The steps of a stage, their instances not opened yet.
    pub(super) fn wasm_steps(&self, wasm: &Wasm) -> Result<Vec<Step>> {
        let config = wasm.call.config.as_ref().map(serde_json::Value::to_string).unwrap_or_default();
        let limits = wasm.call.limits.of(self.components.limits())?;
        let states: Vec<(&str, StateId)> = wasm.states.iter().map(|(n, id)| (n.as_str(), *id)).collect();
        let timers: Vec<Option<&str>> = wasm.timers.iter().map(Option::as_deref).collect();
        let failures = wasm.dead.clone().map_or(Failures::FailBundle, Failures::DeadLetter);
        let last = wasm.tasks.len().saturating_sub(1);
        let steps = wasm.tasks.iter().enumerate().map(|(i, task)| {
            let (call, limits) = (&wasm.call, limits.clone());
            let pool = Pool::granted(&wasm.component, &call.function, &wasm.name, &config, limits, &call.grant)?;
            let (sides, tables) = (wasm.sides.clone(), wasm.tables.clone());
            let binding = Binding { states: &states, timers: &timers, sides, tables };
            let outputs = if i == last { wasm.outputs.clone() } else { vec![vec![WasmTarget::Step(i + 1)]] };
            Step::new(&wasm.name, Callee::Wasm(pool), *task, binding, outputs, failures.clone())
        });
        Ok(steps.collect::<Result<_, thalweg_wasm::Error>>()?)
    }
}

impl LocalWorkers {
    fn windows_step(&self, windows: &Windows) -> Result<Step, thalweg_wasm::Error> {
        let config = windows.call.config.as_ref().map(serde_json::Value::to_string).unwrap_or_default();
        let call = &windows.call;
        let limits = call.limits.of(self.components.limits())?;
        let pool = Pool::granted(&windows.component, &call.function, &windows.name, &config, limits, &call.grant)?;
        let outputs = vec![Vec::new()];
        let (task, failures) = (Task::Assign, Failures::FailBundle);
        Step::new(&windows.name, Callee::Wasm(pool), task, Binding::default(), outputs, failures)
    }
}

/// What a transform asks of a function of this kind.
fn tasks(kind: &Kind, part: &str) -> Vec<Task> {
    match (kind, part) {
        (Kind::CombineFn, urn::COMBINE_PRECOMBINE) => vec![Task::Add],
        (Kind::CombineFn, urn::COMBINE_GROUPED) => vec![Task::Combine],
        (Kind::CombineFn, _) => vec![Task::Merge, Task::Extract],
        (Kind::KeySelector, _) => vec![Task::Select],
        (Kind::WindowFn, _) => vec![Task::Assign],
        _ => vec![Task::Process],
    }
}

/// The stage's output that carries a collection; `None` if nobody reads it.
fn port(stage: &Stage, collection: CollectionId) -> Option<u32> {
    stage.outputs.iter().position(|o| o.collection == collection).map(|i| i as u32)
}
