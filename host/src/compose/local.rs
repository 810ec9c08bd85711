//! Workers that run in the shard's own thread: native functions and components.

use super::components::ComponentStore;
use super::payload::WasmCall;
use super::payload_of;
use super::shape::output_of;
use crate::native::{NativeStage, NativeStep, NativeWorker, Port, Registry, Setup, Target};
use crate::runtime::WorkerSet;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_beam::translate::{Role, TransformInfo, Translation};
use thalweg_beam::urn::transform as urn;
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{CollectionId, EnvironmentId, Plan, Stage, StageKind, TransformId, WorkerStage};
use thalweg_core::id::{ShardId, StageId, StateId};
use thalweg_core::port::worker::StateSpec;
use thalweg_wasm::describe::Kind;
use thalweg_wasm::{
    Binding, Callee, Component, Failures, Inbox, Pool, StagePlan, Step, Target as WasmTarget, Task, WasmWorker,
};

/// What a shard makes its native and Wasm workers of.
pub struct LocalWorkers {
    registry: Registry,
    components: Arc<ComponentStore>,
    native: Vec<Native>,
    pub(super) wasm: Vec<Wasm>,
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
    outputs: Vec<Vec<WasmTarget>>,
    dead: Option<Vec<WasmTarget>>,
}

impl LocalWorkers {
    pub(super) fn new(
        translation: &Translation,
        plan: &Plan,
        registry: Registry,
        components: Arc<ComponentStore>,
    ) -> Result<Self> {
        let inboxes = Mutex::default();
        let mut this = Self { registry, components, native: Vec::new(), wasm: Vec::new(), inboxes };
        for stage in &plan.stages {
            let StageKind::Worker(worker) = &stage.kind else { continue };
            let infos: Vec<&TransformInfo> =
                worker.transforms.iter().filter_map(|t| translation.transform(*t)).collect();
            match infos.first().map(|i| i.role) {
                Some(Role::Native) => {
                    let native = this.native(translation, stage, worker, &infos);
                    this.native.push(native);
                }
                Some(Role::Wasm(environment)) => {
                    for info in infos {
                        let wasm = this.wasm(stage, environment, worker, info)?;
                        this.wasm.push(wasm);
                    }
                }
                _ => {}
            }
        }
        // a bad configuration or component shows before the first element
        this.make(ShardId(0)).map(|_| this)
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
        Ok(Wasm { tasks, timers, stage, environment, transform, name, component, call, states, outputs, dead })
    }

    /// The workers of one shard.
    ///
    /// # Errors
    /// What a function or component says to its configuration.
    pub fn make(&self, shard: ShardId) -> Result<WorkerSet> {
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
            let of = self.wasm.iter().find(|wasm| wasm.environment == environment).map_or("", |wasm| &wasm.name);
            worker.warm().map_err(|e| Error::from(e).in_transform(of))?;
            let mut inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
            inboxes.insert((shard, environment), worker.inbox());
            workers.push((Some(environment), Box::new(worker)));
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
            let binding = Binding { states: &states, timers: &timers, ..Binding::default() };
            let outputs = if i == last { wasm.outputs.clone() } else { vec![vec![WasmTarget::Step(i + 1)]] };
            Step::new(&wasm.name, Callee::Wasm(pool), *task, binding, outputs, failures.clone())
        });
        Ok(steps.collect::<Result<_, thalweg_wasm::Error>>()?)
    }
}

/// What a transform asks of a function of this kind.
fn tasks(kind: &Kind, part: &str) -> Vec<Task> {
    match (kind, part) {
        (Kind::CombineFn, urn::COMBINE_PRECOMBINE) => vec![Task::Add],
        (Kind::CombineFn, urn::COMBINE_GROUPED) => vec![Task::Combine],
        (Kind::CombineFn, _) => vec![Task::Merge, Task::Extract],
        (Kind::KeySelector, _) => vec![Task::Select],
        _ => vec![Task::Process],
    }
}

/// The stage's output that carries a collection; `None` if nobody reads it.
fn port(stage: &Stage, collection: CollectionId) -> Option<u32> {
    stage.outputs.iter().position(|o| o.collection == collection).map(|i| i as u32)
}
