//! Building the descriptor of a stage.

use super::{Endpoints, InputWire, OutputWire, SideWire, StageWire, StateWire, TimerWire};
use crate::coder::table::{CoderTable, Coders, add, get, proto};
use crate::coder::{TimerCoder, WindowCoder};
use crate::error::{Result, invalid, payload};
use crate::translate::{CollectionInfo, StateInfo, StateKind, TransformInfo, Translation};
use crate::urn::{coder, transform as urn, window_mapping};
use prost::Message;
use std::sync::Arc;
use thalweg_core::coder::Coder;
use thalweg_core::error::Error;
use thalweg_core::graph::{CollectionId, Plan, SideAccess, Stage, StageKind, TransformId, WorkerStage};
use thalweg_core::id::StageId;
use thalweg_proto::fn_execution::{ProcessBundleDescriptor, RemoteGrpcPort};
use thalweg_proto::pipeline::state_spec::Spec;
use thalweg_proto::pipeline::{Components, FunctionSpec, PTransform, ParDoPayload};

/// The descriptor and wiring of a worker stage.
///
/// # Errors
/// `STAGE_NOT_SDK` when no SDK environment runs the stage; `PIPELINE_*` when the pipeline's protos do not fit together.
pub fn describe(translation: &Translation, plan: &Plan, stage: StageId, endpoints: &Endpoints) -> Result<StageWire> {
    let found = plan.stages.get(stage.0 as usize);
    let Some(Stage { kind: StageKind::Worker(worker), .. }) = found else {
        return Err(not_sdk(stage));
    };
    let stage = found.ok_or_else(|| not_sdk(stage))?;
    let environment = worker.environment.and_then(|e| translation.environment(e)).ok_or_else(|| not_sdk(stage.id))?;
    let mut build = Build {
        translation,
        components: translation.components()?,
        worker,
        endpoints,
        coders: translation.coders.clone(),
        timers: Vec::new(),
        pages: environment.proto.capabilities.iter().any(|c| c == coder::STATE_BACKED_ITERABLE),
        made: ProcessBundleDescriptor {
            id: format!("stage-{}", stage.id.0),
            state_api_service_descriptor: Some(endpoints.state.clone()),
            ..Default::default()
        },
    };
    build.made.coders.clone_from(&build.components.coders);
    build.made.windowing_strategies.clone_from(&build.components.windowing_strategies);
    build.made.environments.insert(environment.id.clone(), environment.proto.clone());
    for id in &worker.transforms {
        build.transform(*id)?;
    }
    build.finish(stage)
}

fn not_sdk(stage: StageId) -> Error {
    Error::internal("STAGE_NOT_SDK", format!("stage {} is not run by an SDK", stage.0))
}

/// A descriptor under way.
struct Build<'t> {
    translation: &'t Translation,
    components: &'t Components,
    worker: &'t WorkerStage,
    endpoints: &'t Endpoints,
    coders: CoderTable,
    timers: Vec<TimerWire>,
    /// The SDK can ask for grouped values page by page.
    pages: bool,
    made: ProcessBundleDescriptor,
}

impl Build<'_> {
    fn info(&self, id: TransformId) -> Result<&TransformInfo> {
        self.translation.transform(id).ok_or_else(|| invalid(format!("the plan has a transform {} of no graph", id.0)))
    }

    fn collection(&self, id: CollectionId) -> Result<&CollectionInfo> {
        self.translation
            .collection(id)
            .ok_or_else(|| invalid(format!("the plan has a collection {} of no graph", id.0)))
    }

    /// Adds a transform of the stage and the collections at its ends.
    fn transform(&mut self, id: TransformId) -> Result<()> {
        let info = self.info(id)?;
        let (id, name) = (info.id.clone(), info.name.clone());
        let transform = self.components.transforms.get(&id);
        let mut transform = transform.ok_or_else(|| invalid(format!("there is no transform {id:?}")))?.clone();
        transform.subtransforms.clear();
        for collection in transform.inputs.values().chain(transform.outputs.values()) {
            if let Some(proto) = self.components.pcollections.get(collection) {
                self.made.pcollections.entry(collection.clone()).or_insert_with(|| proto.clone());
            }
        }
        self.timer_coders(&name, &mut transform)?;
        self.made.transforms.insert(name, transform);
        Ok(())
    }

    /// Brings the coders of a ParDo's timers into their wire form.
    fn timer_coders(&mut self, name: &str, transform: &mut PTransform) -> Result<()> {
        let Some(spec) = transform.spec.as_mut().filter(|s| s.urn == urn::PAR_DO) else { return Ok(()) };
        let mut par_do: ParDoPayload = payload(&spec.payload, name)?;
        if par_do.timer_family_specs.is_empty() {
            return Ok(());
        }
        for (family, spec) in &mut par_do.timer_family_specs {
            let (id, key, window) = self.coders.timer(&mut self.made.coders, &spec.timer_family_coder_id)?;
            spec.timer_family_coder_id = id;
            let place = self.worker.timers.iter().find(|t| {
                t.name == *family && self.translation.transform(t.transform).is_some_and(|info| info.name == name)
            });
            let domain = place.ok_or_else(|| invalid(format!("the plan lacks the timer {family:?} of {name}")))?.domain;
            self.timers.push(TimerWire {
                transform: name.to_owned(),
                family: family.clone(),
                domain,
                coder: TimerCoder { key, window },
            });
        }
        spec.payload = par_do.encode_to_vec().into();
        self.made.timer_api_service_descriptor = Some(self.endpoints.data.clone());
        Ok(())
    }

    fn finish(mut self, stage: &Stage) -> Result<StageWire> {
        let input = self.input()?;
        let mut outputs = Vec::new();
        for (i, output) in stage.outputs.iter().enumerate() {
            outputs.push(self.output(i, output.collection)?);
        }
        let main = self.collection(self.worker.input)?;
        let key = main.wire.element.kv().map_or_else(|| Arc::new(Coder::Bytes), |(key, _)| Arc::clone(key));
        let window = main.wire.window;
        let (states, sides) = (self.states()?, self.sides()?);
        let mut wire = StageWire {
            inputs: vec![input],
            outputs,
            timers: self.timers,
            states,
            sides,
            key,
            window,
            lone_keys: self.worker.lone_keys,
            descriptor: self.made,
            truncate: None,
        };
        if self.worker.splittable {
            wire.truncate = super::truncate::twin(&wire).map(Arc::new);
        }
        Ok(wire)
    }

    /// The data source in front of the stage.
    fn input(&mut self) -> Result<InputWire> {
        let CollectionInfo { id, wire, coder_id, .. } = self.at_edge(self.worker.input)?;
        let mut consumers = Vec::new();
        for transform in &self.worker.transforms {
            let info = self.info(*transform)?;
            let tags = info.inputs.iter().filter(|(_, c)| *c == self.worker.input);
            consumers.extend(tags.map(|(tag, _)| (info.name.clone(), tag.clone())));
            if wire.window == WindowCoder::Custom && info.urn == urn::SDF_PROCESS {
                self.wire_windows(&id)?;
            }
        }
        let paged = self.paged(&coder_id);
        let coder_id = paged.clone().unwrap_or(coder_id);
        let source = self.port(urn::DATA_SOURCE, "source", self.worker.input, &coder_id, |t| &mut t.outputs)?;
        Ok(InputWire { source, coder: wire, paged: paged.is_some(), consumers })
    }

    /// For pairs of a key and its grouped values: the coder by which large values may come in pages, where the SDK has it.
    fn paged(&mut self, coder_id: &str) -> Option<String> {
        if !self.pages {
            return None;
        }
        let coders = &mut self.made.coders;
        let parts = |coders: &Coders, id: &str, urn: &str| {
            let (found, coder) = get(coders, id).ok()?;
            (found == urn).then(|| coder.component_coder_ids.clone())
        };
        let pair = parts(coders, coder_id, coder::KV)?;
        let [key, values] = pair.as_slice() else { return None };
        let list = parts(coders, values, coder::ITERABLE)?;
        let mut paged = proto(coder::STATE_BACKED_ITERABLE, &[list.first()?]);
        if let Some(spec) = &mut paged.spec {
            spec.payload = b"1".as_slice().into(); // from how many bytes on an SDK would itself write in pages, which none does here
        }
        let values = add(coders, paged, &format!("{values}_paged"));
        Some(add(coders, proto(coder::KV, &[key, &values]), &format!("{coder_id}_paged")))
    }

    /// A data sink behind the stage.
    fn output(&mut self, index: usize, collection: CollectionId) -> Result<OutputWire> {
        let CollectionInfo { wire, coder_id, .. } = self.at_edge(collection)?;
        let sink = self.port(urn::DATA_SINK, &format!("sink/{index}"), collection, &coder_id, |t| &mut t.inputs)?;
        Ok(OutputWire { sink, coder: wire })
    }

    /// Gives a collection at the stage's edge its wire coder, also inside the stage: keys of state and residuals are
    /// then encoded as the elements are.
    fn at_edge(&mut self, id: CollectionId) -> Result<CollectionInfo> {
        let info = self.collection(id)?.clone();
        let proto = self.made.pcollections.get_mut(&info.id);
        let proto = proto.ok_or_else(|| invalid(format!("the collection {:?} is at no end of its stage", info.id)))?;
        proto.coder_id.clone_from(&info.coder_id);
        Ok(info)
    }

    /// Gives a collection the wire form of its windows too: residuals name windows in the strategy's coder.
    fn wire_windows(&mut self, collection: &str) -> Result<()> {
        let info = self.collection(self.worker.input)?;
        let window_coder_id = info.window_coder_id.clone();
        let Some(proto) = self.made.pcollections.get_mut(collection) else { return Ok(()) };
        let Some(mut strategy) = self.made.windowing_strategies.get(&proto.windowing_strategy_id).cloned() else {
            return Ok(());
        };
        strategy.window_coder_id = window_coder_id;
        proto.windowing_strategy_id.push_str("/wire");
        self.made.windowing_strategies.insert(proto.windowing_strategy_id.clone(), strategy);
        Ok(())
    }

    /// Adds a data source or sink; returns its id.
    fn port(
        &mut self,
        urn: &str,
        name: &str,
        collection: CollectionId,
        coder_id: &str,
        end: impl Fn(&mut PTransform) -> &mut std::collections::BTreeMap<String, String>,
    ) -> Result<String> {
        let CollectionInfo { id: collection, window_coder_id, .. } = self.collection(collection)?.clone();
        let windowed = proto(coder::WINDOWED_VALUE, &[coder_id, &window_coder_id]);
        let port = RemoteGrpcPort {
            api_service_descriptor: Some(self.endpoints.data.clone()),
            coder_id: add(&mut self.made.coders, windowed, &format!("{coder_id}_windowed")),
        };
        let mut id = format!("thalweg/{name}");
        while self.made.transforms.contains_key(&id) {
            id.push('\'');
        }
        let payload = port.encode_to_vec().into();
        let mut transform = PTransform {
            unique_name: id.clone(),
            spec: Some(FunctionSpec { urn: urn.to_owned(), payload }),
            ..Default::default()
        };
        end(&mut transform).insert("data".to_owned(), collection);
        self.made.transforms.insert(id.clone(), transform);
        Ok(id)
    }

    fn states(&self) -> Result<Vec<StateWire>> {
        let mut states = Vec::new();
        let mut specs = self.worker.states.iter();
        for transform in &self.worker.transforms {
            let info = self.info(*transform)?;
            for (state, spec) in info.states.iter().zip(specs.by_ref()) {
                states.push(StateWire {
                    transform: info.name.clone(),
                    name: state.name.clone(),
                    kind: state.kind,
                    id: spec.id,
                    value: self.map_value(&info.name, state)?,
                });
            }
        }
        Ok(states)
    }

    /// The coder of a map's values, if it is known in whole: state is written by the SDK's own coder, never by its wire form.
    fn map_value(&self, transform: &str, state: &StateInfo) -> Result<Option<Arc<Coder>>> {
        let spec = self.made.transforms.get(transform).and_then(|t| t.spec.as_ref());
        let Some(spec) = spec.filter(|_| state.kind == StateKind::Multimap) else { return Ok(None) };
        let par_do: ParDoPayload = payload(&spec.payload, transform)?;
        let id = match par_do.state_specs.get(&state.name).and_then(|spec| spec.spec.as_ref()) {
            Some(Spec::MapSpec(map)) => &map.value_coder_id,
            Some(Spec::MultimapSpec(map)) => &map.value_coder_id,
            _ => return Ok(None),
        };
        let wire = self.coders.clone().wire(&mut self.made.coders.clone(), id).ok();
        Ok(wire.filter(|wire| wire.id == *id).map(|wire| wire.coder))
    }

    fn sides(&mut self) -> Result<Vec<SideWire>> {
        let mut sides = Vec::new();
        for side in &self.worker.sides {
            let info = self.info(side.transform)?;
            let transform = info.name.clone();
            let tag = self.made.transforms.get(&transform).and_then(|t| t.inputs.get(&side.name)).cloned();
            let found = self.translation.collections.iter().position(|c| Some(&c.id) == tag.as_ref());
            let found = found.ok_or_else(|| invalid(format!("{transform} lacks its side input {:?}", side.name)))?;
            let CollectionInfo { wire, .. } = self.at_edge(CollectionId(found as u32))?;
            let (key, value) = match (side.access, wire.element.kv()) {
                (SideAccess::Multimap, Some((key, value))) => (Arc::clone(key), Arc::clone(value)),
                _ => (Arc::new(Coder::Bytes), wire.element),
            };
            let kept = wire.window == WindowCoder::Global && self.maps_in_python(&transform, &side.name)?;
            sides.push(SideWire { transform, name: side.name.clone(), window: wire.window, key, value, kept });
        }
        Ok(sides)
    }
    /// Whether a Python function finds the windows of a side input.
    fn maps_in_python(&self, transform: &str, side: &str) -> Result<bool> {
        let Some(spec) = self.made.transforms.get(transform).and_then(|t| t.spec.as_ref()) else { return Ok(false) };
        let pardo: ParDoPayload = payload(&spec.payload, transform)?;
        let mapping = pardo.side_inputs.get(side).and_then(|side| side.window_mapping_fn.as_ref());
        Ok(mapping.is_some_and(|function| function.urn == window_mapping::PYTHON_PICKLED))
    }
}
