//! The answer: components in the caller's namespace, and the transform as a composite of them.

use super::malformed;
use crate::coder::table::proto;
use crate::error::Result;
use crate::translate::{component_window_coder, global_strategy};
use crate::urn::{coder as coder_urn, transform as urn, window_fn};
use prost::Message;
use std::collections::BTreeMap;
use thalweg_proto::expansion::{ExpansionRequest, ExpansionResponse};
use thalweg_proto::pipeline::{
    Coder, Components, FunctionSpec, PCollection, PTransform, Schema, SessionWindowsPayload, SlidingWindowsPayload,
    WindowIntoPayload, WindowingStrategy, is_bounded, merge_status,
};

/// An expansion under way. Producers come first.
#[derive(Clone, Debug)]
pub struct Expansion {
    components: Components,
    transform: PTransform,
    namespace: String,
}

impl Expansion {
    /// Begins with the caller's components.
    ///
    /// # Errors
    /// `EXPANSION_PAYLOAD` when the request has no transform.
    pub fn new(request: &ExpansionRequest) -> Result<Self> {
        let given = request.transform.as_ref().ok_or_else(|| malformed("it has no transform"))?;
        let transform = PTransform {
            unique_name: given.unique_name.clone(),
            inputs: given.inputs.clone(),
            annotations: given.annotations.clone(),
            ..PTransform::default()
        };
        let components = request.components.clone().unwrap_or_default();
        Ok(Self { components, transform, namespace: request.namespace.clone() })
    }

    fn id(&self, kind: &str, n: usize) -> String {
        format!("{}_{kind}_{n}", self.namespace)
    }

    /// A coder of a URN and components.
    pub fn coder(&mut self, urn: &str, parts: &[&str]) -> String {
        self.add_coder(proto(urn, parts))
    }

    /// A coder of rows.
    pub fn row_coder(&mut self, schema: &Schema) -> String {
        let spec = FunctionSpec { urn: coder_urn::ROW.to_owned(), payload: schema.encode_to_vec().into() };
        self.add_coder(Coder { spec: Some(spec), component_coder_ids: Vec::new() })
    }

    fn add_coder(&mut self, coder: Coder) -> String {
        let ours = |id: &str| id.starts_with(&self.namespace);
        if let Some((id, _)) = self.components.coders.iter().find(|(id, known)| ours(id) && **known == coder) {
            return id.clone();
        }
        let id = self.id("coder", self.components.coders.len());
        self.components.coders.insert(id.clone(), coder);
        id
    }

    /// A collection in the global window.
    pub fn collection(&mut self, name: &str, coder: &str, bounded: bool) -> String {
        let strategy = format!("{}_global", self.namespace);
        if !self.components.windowing_strategies.contains_key(&strategy) {
            let window = self.coder(coder_urn::GLOBAL_WINDOW, &[]);
            self.components.windowing_strategies.insert(strategy.clone(), global_strategy(&window));
        }
        let bounds = if bounded { is_bounded::Enum::Bounded } else { is_bounded::Enum::Unbounded };
        let id = self.id("collection", self.components.pcollections.len());
        let collection = PCollection {
            unique_name: format!("{}/{name}", self.transform.unique_name),
            coder_id: coder.to_owned(),
            is_bounded: bounds as i32,
            windowing_strategy_id: strategy,
            ..PCollection::default()
        };
        self.components.pcollections.insert(id.clone(), collection);
        id
    }

    /// A collection in the windows of one that the caller has, and as long as that.
    pub fn collection_like(&mut self, name: &str, coder: &str, of: &str) -> String {
        let like = self.components.pcollections.get(of).cloned().unwrap_or_default();
        let id = self.id("collection", self.components.pcollections.len());
        let unique_name = format!("{}/{name}", self.transform.unique_name);
        let collection = PCollection { unique_name, coder_id: coder.to_owned(), ..like };
        self.components.pcollections.insert(id.clone(), collection);
        id
    }

    /// A collection with the elements of one that the caller has, in windows that a component assigns. `call` is the payload by which
    /// the host finds the function.
    ///
    /// SDKs refuse window functions that they do not know, so the strategy names one of Beam's in its place, of the kind that merges or the
    /// kind that does not; the window coder names the component, and the runner goes by that.
    pub fn collection_windowed(&mut self, name: &str, of: &str, call: &[u8], merges: bool) -> String {
        let window_coder_id = self.add_coder(component_window_coder(call.to_vec().into()));
        let merge = if merges { merge_status::Enum::NeedsMerge } else { merge_status::Enum::NonMerging };
        let strategy = WindowingStrategy {
            window_fn: Some(stand_in(merges)),
            merge_status: merge as i32,
            assigns_to_one_window: false,
            ..global_strategy(&window_coder_id)
        };
        let id = self.id("windows", self.components.windowing_strategies.len());
        self.components.windowing_strategies.insert(id.clone(), strategy);
        let coder = self.components.pcollections.get(of).map(|c| c.coder_id.clone()).unwrap_or_default();
        let collection = self.collection_like(name, &coder, of);
        if let Some(collection) = self.components.pcollections.get_mut(&collection) {
            collection.windowing_strategy_id = id;
        }
        collection
    }

    /// A part of the transform. Inputs and outputs are tags and collections.
    pub fn step(&mut self, name: &str, urn: &str, payload: Vec<u8>, inputs: &[(&str, &str)], outputs: &[(&str, &str)]) {
        let ends = |ends: &[(&str, &str)]| -> BTreeMap<String, String> {
            ends.iter().map(|(tag, id)| ((*tag).to_owned(), (*id).to_owned())).collect()
        };
        let id = self.id("transform", self.components.transforms.len());
        let transform = PTransform {
            unique_name: format!("{}/{name}", self.transform.unique_name),
            spec: Some(FunctionSpec { urn: urn.to_owned(), payload: payload.into() }),
            inputs: ends(inputs),
            outputs: ends(outputs),
            ..PTransform::default()
        };
        self.components.transforms.insert(id.clone(), transform);
        self.transform.subtransforms.push(id);
    }

    /// Makes a collection an output of the transform.
    pub fn output(&mut self, tag: &str, collection: &str) {
        self.transform.outputs.insert(tag.to_owned(), collection.to_owned());
    }

    /// The answer.
    #[must_use]
    pub fn finish(self) -> ExpansionResponse {
        ExpansionResponse {
            components: Some(self.components),
            transform: Some(self.transform),
            requirements: Vec::new(),
            error: String::new(),
        }
    }
}

/// The payload of a step that puts elements into windows of a component.
#[must_use]
pub fn component_windows(call: &[u8]) -> Vec<u8> {
    let function = FunctionSpec { urn: urn::WASM_WINDOW_FN.to_owned(), payload: call.to_vec().into() };
    WindowIntoPayload { window_fn: Some(function) }.encode_to_vec()
}

/// What SDKs take a component's window function for. Nobody assigns windows by it, so its sizes say nothing.
fn stand_in(merges: bool) -> FunctionSpec {
    let millis = |n: i32| Some(prost_types::Duration { seconds: 0, nanos: n * 1_000_000 });
    let (urn, payload) = if merges {
        (window_fn::SESSION, SessionWindowsPayload { gap_size: millis(1) }.encode_to_vec())
    } else {
        let offset = Some(prost_types::Timestamp::default());
        // of the functions that do not merge, the one that may give an element several windows
        (window_fn::SLIDING, SlidingWindowsPayload { size: millis(2), period: millis(1), offset }.encode_to_vec())
    };
    FunctionSpec { urn: urn.to_owned(), payload: payload.into() }
}
