//! Windows of a component in programs of SDKs that have no name for them.
//!
//! In: a pipeline in which an expanded transform puts elements into windows of a component. Out: the same pipeline, in which every
//! collection behind that transform says whose windows it has, up to the next transform that assigns others. The Go SDK gives what comes
//! out of an expanded transform the global window, and the Java SDK the function that stands in its place in the expansion.

use super::build::Builder;
use super::component_window_coder;
use crate::coder::table::add;
use crate::error::{Result, payload, refuse};
use crate::urn::transform as urn;
use bytes::Bytes;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use thalweg_proto::pipeline::{
    FunctionSpec, PTransform, ParDoPayload, WindowIntoPayload, WindowingStrategy, merge_status,
};

/// What a collection in windows of a component says of them.
#[derive(Clone, Debug)]
struct Assigned {
    /// The window coder, which names the component.
    coder: String,
    /// What workers take the function for.
    stand_in: Option<FunctionSpec>,
    /// Whether the windows merge, did, or never do.
    merge: i32,
}

impl Builder {
    /// Has every collection in windows of an expanded component say so.
    ///
    /// # Errors
    /// `WINDOW_FN_UNSUPPORTED` where such a collection is a side input, whose windows the SDK would find by the stand-in.
    pub(super) fn inherit_windows(&mut self) -> Result<()> {
        let mut waiting = VecDeque::new();
        for (output, call) in self.expanded_windows() {
            if let Some(assigned) = self.assigned(&output, call) {
                waiting.push_back((output, assigned));
            }
        }
        let mut seen = BTreeSet::new();
        while let Some((collection, assigned)) = waiting.pop_front() {
            if !seen.insert(collection.clone()) {
                continue;
            }
            self.mark(&collection, &assigned);
            for (id, transform) in &self.components.transforms {
                if !passes_on(transform) || !is_main(id, transform, &collection)? {
                    continue;
                }
                let mut assigned = assigned.clone();
                if groups(transform) && assigned.merge == merge_status::Enum::NeedsMerge as i32 {
                    assigned.merge = merge_status::Enum::AlreadyMerged as i32;
                }
                waiting.extend(transform.outputs.values().map(|output| (output.clone(), assigned.clone())));
            }
        }
        Ok(())
    }

    /// Outputs of the transforms that an expansion has put in, each with the call of its component. What our own front doors make has the
    /// component's name in every strategy, and needs nothing.
    fn expanded_windows(&self) -> Vec<(String, Bytes)> {
        let mut found = Vec::new();
        for transform in self.components.transforms.values() {
            let Some(spec) = transform.spec.as_ref().filter(|spec| spec.urn == urn::WINDOW_INTO) else { continue };
            // what is no such payload is refused where it is run
            let Ok(into) = WindowIntoPayload::decode(spec.payload.clone()) else { continue };
            let Some(function) = into.window_fn.filter(|f| f.urn == urn::WASM_WINDOW_FN) else { continue };
            let output = transform.outputs.values().next();
            let named = |s: &WindowingStrategy| s.window_fn.as_ref().is_some_and(|f| f.urn == urn::WASM_WINDOW_FN);
            if let Some(output) = output
                && !self.strategy_of(output).is_some_and(named)
            {
                found.push((output.clone(), function.payload));
            }
        }
        found
    }

    fn strategy_of(&self, collection: &str) -> Option<&WindowingStrategy> {
        let collection = self.components.pcollections.get(collection)?;
        self.components.windowing_strategies.get(&collection.windowing_strategy_id)
    }

    fn assigned(&mut self, output: &str, call: Bytes) -> Option<Assigned> {
        let strategy = self.strategy_of(output)?;
        let (stand_in, merge) = (strategy.window_fn.clone(), strategy.merge_status);
        let coder = component_window_coder(call);
        Some(Assigned { coder: add(&mut self.components.coders, coder, "component_window"), stand_in, merge })
    }

    /// Gives a collection a strategy like its own, in which the windows are the component's. What else it says, its trigger for one, stays.
    fn mark(&mut self, collection: &str, assigned: &Assigned) {
        let Some(own) = self.strategy_of(collection).cloned() else { return };
        let made = WindowingStrategy {
            window_fn: assigned.stand_in.clone(),
            window_coder_id: assigned.coder.clone(),
            merge_status: assigned.merge,
            assigns_to_one_window: false,
            ..own
        };
        let strategies = &mut self.components.windowing_strategies;
        let known = strategies.iter().find(|(_, strategy)| **strategy == made).map(|(id, _)| id.clone());
        let id = known.unwrap_or_else(|| free(strategies, &assigned.coder));
        strategies.entry(id.clone()).or_insert(made);
        if let Some(collection) = self.components.pcollections.get_mut(collection) {
            collection.windowing_strategy_id = id;
        }
    }
}

/// An id that no strategy has.
fn free(strategies: &BTreeMap<String, WindowingStrategy>, wanted: &str) -> String {
    let mut ids = (0..).map(|n: u32| format!("{wanted}/{n}"));
    ids.find(|id| !strategies.contains_key(id)).unwrap_or_default()
}

/// Whether what comes out of a transform is in the windows of what goes in. Of most composites the parts are looked at.
fn passes_on(transform: &PTransform) -> bool {
    let urn = transform.spec.as_ref().map_or("", |spec| spec.urn.as_str());
    // Java's composites take the windows off and put them on again inside
    let whole = [urn::RESHUFFLE, urn::REDISTRIBUTE_BY_KEY, urn::REDISTRIBUTE_ARBITRARILY].contains(&urn);
    urn != urn::WINDOW_INTO && (whole || urn.starts_with(urn::OURS) || transform.subtransforms.is_empty())
}

fn groups(transform: &PTransform) -> bool {
    let urn = transform.spec.as_ref().map_or("", |spec| spec.urn.as_str());
    [urn::GROUP_BY_KEY, urn::COMBINE_PER_KEY].contains(&urn)
}

/// Whether a transform has a collection as its main input.
fn is_main(id: &str, transform: &PTransform, collection: &str) -> Result<bool> {
    let Some((tag, _)) = transform.inputs.iter().find(|(_, input)| *input == collection) else { return Ok(false) };
    let spec = transform.spec.clone().unwrap_or_default();
    let aside = if spec.urn == urn::PAR_DO {
        payload::<ParDoPayload>(&spec.payload, id)?.side_inputs.contains_key(tag)
    } else {
        // which of several inputs is the main one, only the function's description says
        spec.urn.starts_with(urn::OURS) && transform.inputs.len() > 1
    };
    if aside {
        let message = format!("{} reads beside others a collection in windows of a component", transform.unique_name);
        return Err(refuse("WINDOW_FN_UNSUPPORTED", message)
            .help("put the collection into windows of Beam's own before it is read there"));
    }
    Ok(true)
}
