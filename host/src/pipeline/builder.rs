//! The builder: adds coders and windowing strategies as they are needed, and keeps ids readable.

use super::{Element, Windows};
use crate::row::to_proto;
use prost::Message;
use serde::Serialize;
use std::collections::BTreeMap;
use thalweg_proto::pipeline::{
    Coder, Components, FunctionSpec, PCollection, PTransform, Pipeline, WindowIntoPayload, WindowingStrategy,
    is_bounded,
};

/// A collection of a pipeline under construction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Collection {
    /// Its id and unique name.
    pub id: String,
    /// Type of its elements.
    pub element: Element,
    /// Its windows.
    pub windows: Windows,
    /// Whether it ends.
    pub bounded: bool,
}

/// Builds a pipeline transform by transform, producers first.
///
/// ```
/// use thalweg::pipeline::{Element, PipelineBuilder, Windows, urn};
/// let mut build = PipelineBuilder::new();
/// let start = build.collection("Start.out", Element::Bytes, Windows::Global, true);
/// build.transform("Start", urn::IMPULSE, Vec::new(), &[], &[("out", &start)]);
/// let pipeline = build.finish();
/// assert_eq!(pipeline.root_transform_ids, ["Start"]);
/// ```
#[derive(Debug, Default)]
pub struct PipelineBuilder {
    components: Components,
    roots: Vec<String>,
    /// Composites that are open, outermost first: ids of their parts so far.
    open: Vec<(String, Vec<String>)>,
    /// Calls of components that assign windows.
    window_fns: Vec<Vec<u8>>,
}

impl PipelineBuilder {
    /// An empty pipeline.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a collection. `id` must be unique.
    pub fn collection(&mut self, id: &str, element: Element, windows: Windows, bounded: bool) -> Collection {
        let bounds = if bounded { is_bounded::Enum::Bounded } else { is_bounded::Enum::Unbounded };
        let collection = PCollection {
            unique_name: id.to_owned(),
            coder_id: self.coder(&element),
            is_bounded: bounds as i32,
            windowing_strategy_id: self.windowing(windows),
            ..PCollection::default()
        };
        self.components.pcollections.insert(id.to_owned(), collection);
        Collection { id: id.to_owned(), element, windows, bounded }
    }

    /// Adds a primitive transform. `name` must be unique; it is the id, too, and what stored state is named after.
    pub fn transform(
        &mut self,
        name: &str,
        urn: &str,
        payload: Vec<u8>,
        inputs: &[(&str, &Collection)],
        outputs: &[(&str, &Collection)],
    ) {
        let spec = (!urn.is_empty()).then(|| FunctionSpec { urn: urn.to_owned(), payload: payload.into() });
        self.insert(name, spec, Vec::new(), inputs, outputs);
    }

    /// Adds a transform of ours, with its payload as JSON.
    pub fn native<P: Serialize>(
        &mut self,
        name: &str,
        urn: &str,
        payload: &P,
        inputs: &[(&str, &Collection)],
        outputs: &[(&str, &Collection)],
    ) {
        // our payloads are plain structs with string keys: they always have a JSON form
        let payload = serde_json::to_vec(payload).unwrap_or_default();
        self.transform(name, urn, payload, inputs, outputs);
    }

    /// The windows that a component assigns; `call` is the JSON of a [`WasmCall`](crate::compose::payload::WasmCall).
    pub fn component_windows(&mut self, call: Vec<u8>, merges: bool) -> Windows {
        let known = self.window_fns.iter().position(|c| *c == call);
        let at = known.unwrap_or_else(|| {
            self.window_fns.push(call);
            self.window_fns.len() - 1
        });
        Windows::Component { call: at as u32, merges }
    }

    /// Adds a transform that puts elements into the windows of its output.
    pub fn window_into(&mut self, name: &str, input: &Collection, output: &Collection) {
        let payload = WindowIntoPayload { window_fn: Some(self.window_fn(output.windows)) };
        self.transform(
            name,
            super::urn::WINDOW_INTO,
            payload.encode_to_vec(),
            &[("input", input)],
            &[("output", output)],
        );
    }

    fn window_fn(&self, windows: Windows) -> FunctionSpec {
        let mut function = windows.function();
        if let Windows::Component { call, .. } = windows {
            function.payload = self.window_fns.get(call as usize).cloned().unwrap_or_default().into();
        }
        function
    }

    /// Opens a composite: what is added until [`PipelineBuilder::close`] is a part of it.
    pub fn open(&mut self, name: &str) {
        self.open.push((name.to_owned(), Vec::new()));
    }

    /// Closes the composite opened last.
    pub fn close(&mut self, inputs: &[(&str, &Collection)], outputs: &[(&str, &Collection)]) {
        if let Some((name, parts)) = self.open.pop() {
            self.insert(&name, None, parts, inputs, outputs);
        }
    }

    /// Whether a transform of this name is there already.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.components.transforms.contains_key(name) || self.open.iter().any(|(open, _)| open == name)
    }

    fn insert(
        &mut self,
        name: &str,
        spec: Option<FunctionSpec>,
        subtransforms: Vec<String>,
        inputs: &[(&str, &Collection)],
        outputs: &[(&str, &Collection)],
    ) {
        let ends = |ends: &[(&str, &Collection)]| -> BTreeMap<String, String> {
            ends.iter().map(|(tag, c)| ((*tag).to_owned(), c.id.clone())).collect()
        };
        let transform = PTransform {
            unique_name: name.to_owned(),
            spec,
            subtransforms,
            inputs: ends(inputs),
            outputs: ends(outputs),
            ..PTransform::default()
        };
        self.components.transforms.insert(name.to_owned(), transform);
        match self.open.last_mut() {
            Some((_, parts)) => parts.push(name.to_owned()),
            None => self.roots.push(name.to_owned()),
        }
    }

    /// The id of the coder of an element type.
    fn coder(&mut self, element: &Element) -> String {
        let parts: Vec<String> = element.components().into_iter().map(|part| self.coder(part)).collect();
        let payload = match element {
            Element::Row(schema) => to_proto(schema).encode_to_vec(),
            _ => Vec::new(),
        };
        let spec = FunctionSpec { urn: element.coder_urn().to_owned(), payload: payload.into() };
        self.add_coder(Coder { spec: Some(spec), component_coder_ids: parts })
    }

    fn add_coder(&mut self, coder: Coder) -> String {
        let coders = &mut self.components.coders;
        if let Some((id, _)) = coders.iter().find(|(_, known)| **known == coder) {
            return id.clone();
        }
        let urn = coder.spec.as_ref().map_or("", |s| s.urn.as_str());
        let name = urn.strip_prefix("beam:coder:").and_then(|u| u.strip_suffix(":v1")).unwrap_or("coder");
        let plain = coder.component_coder_ids.is_empty() && name != "row";
        let id = if plain { name.to_owned() } else { format!("{name}_{}", coders.len() + 1) };
        coders.insert(id.clone(), coder);
        id
    }

    fn windowing(&mut self, windows: Windows) -> String {
        let id = windows.id();
        if !self.components.windowing_strategies.contains_key(&id) {
            let urn =
                if windows.is_interval() { "beam:coder:interval_window:v1" } else { "beam:coder:global_window:v1" };
            let spec = FunctionSpec { urn: urn.to_owned(), ..FunctionSpec::default() };
            let coder = self.add_coder(Coder { spec: Some(spec), component_coder_ids: Vec::new() });
            let strategy = WindowingStrategy { window_fn: Some(self.window_fn(windows)), ..windows.strategy(&coder) };
            self.components.windowing_strategies.insert(id.clone(), strategy);
        }
        id
    }

    /// The pipeline.
    #[must_use]
    pub fn finish(mut self) -> Pipeline {
        while !self.open.is_empty() {
            self.close(&[], &[]);
        }
        Pipeline { components: Some(self.components), root_transform_ids: self.roots, ..Pipeline::default() }
    }
}
