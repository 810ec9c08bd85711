//! Workers that run in the shard's own thread: native functions and components.

use super::components::ComponentStore;
use super::payload::WasmCall;
use super::payload_of;
use super::shape::output_of;
use crate::native::{NativeStage, NativeStep, NativeWorker, Port, Registry, Setup, Target};
use crate::runtime::WorkerSet;
use std::sync::Arc;
use thalweg_beam::translate::{Role, TransformInfo, Translation};
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{CollectionId, EnvironmentId, Plan, Stage, StageKind, WorkerStage};
use thalweg_core::id::{StageId, StateId};
use thalweg_core::port::worker::StateSpec;
use thalweg_wasm::{Callee, Component, Failures, Pool, StagePlan, Step, Target as WasmTarget, WasmWorker};

/// What a shard makes its native and Wasm workers of.
pub struct LocalWorkers {
    registry: Registry,
    components: Arc<ComponentStore>,
    native: Vec<Native>,
    wasm: Vec<Wasm>,
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
struct Wasm {
    stage: StageId,
    environment: EnvironmentId,
    name: String,
    component: Component,
    call: WasmCall,
    states: Vec<(String, StateId)>,
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
        let mut this = Self { registry, components, native: Vec::new(), wasm: Vec::new() };
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
        this.make().map(|_| this)
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
        let outputs =
            (0..function.outputs.len()).map(|i| to(own().find(|(tag, _)| output_of(function, tag) == Some(i))));
        let outputs = outputs.collect();
        let dead = call.errors.as_ref().map(|tag| to(info.outputs.iter().find(|(t, _)| t == tag)));
        let states = worker.states.iter().map(|s| (s.name.clone(), s.id)).collect();
        Ok(Wasm { stage: stage.id, environment, name: info.name.clone(), component, call, states, outputs, dead })
    }

    /// The workers of one shard.
    ///
    /// # Errors
    /// What a function or component says to its configuration.
    pub fn make(&self) -> Result<WorkerSet> {
        let mut workers: WorkerSet = Vec::new();
        if !self.native.is_empty() {
            let stages = self.native.iter().map(|n| self.native_stage(n)).collect::<Result<Vec<_>>>()?;
            workers.push((None, Box::new(NativeWorker::new(stages))));
        }
        for wasm in &self.wasm {
            let named = |e: Error| e.in_transform(&wasm.name);
            let mut worker = WasmWorker::new([(wasm.stage, self.wasm_stage(wasm).map_err(named)?)]);
            worker.warm().map_err(|e| named(e.into()))?;
            workers.push((Some(wasm.environment), Box::new(worker)));
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
        let config = wasm.call.config.as_ref().map(serde_json::Value::to_string).unwrap_or_default();
        let limits = self.components.limits().clone();
        let pool = Pool::new(&wasm.component, &wasm.call.function, &wasm.name, &config, limits)?;
        let states: Vec<(&str, StateId)> = wasm.states.iter().map(|(n, id)| (n.as_str(), *id)).collect();
        let failures = wasm.dead.clone().map_or(Failures::FailBundle, Failures::DeadLetter);
        let step = Step::new(&wasm.name, Callee::Wasm(pool), &states, wasm.outputs.clone(), failures)?;
        Ok(StagePlan::new(vec![step])?)
    }
}

/// The stage's output that carries a collection; `None` if nobody reads it.
fn port(stage: &Stage, collection: CollectionId) -> Option<u32> {
    stage.outputs.iter().position(|o| o.collection == collection).map(|i| i as u32)
}
