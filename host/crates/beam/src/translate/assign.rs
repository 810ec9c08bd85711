//! Windows that the engine assigns itself, where an SDK would: fixed windows right in front of groupings.
//!
//! In: a `window_into` of an SDK. Out: whether it runs natively instead. A Python worker takes 14 us to put an element into its
//! window and 10 us more to combine it ahead by key and window; the engine takes a fraction of one. So elements of a
//! bounded collection that are only grouped next leave the worker before they have windows, and a combine of them is not lifted: there
//! the lift costs more than the elements it saves. Unbounded ones stay lifted, because all values of an open window are kept.

use super::build::Builder;
use super::flatten::same;
use crate::error::{Result, payload};
use crate::urn::transform as urn;
use std::collections::BTreeMap;
use thalweg_core::window::{Trigger, WindowFn, Windowing};
use thalweg_proto::pipeline::{CombinePayload, PCollection, PTransform};

impl Builder {
    /// A `window_into`: as the engine's own where that does the same for less, else in its environment.
    pub(super) fn window_into(&mut self, id: &str, transform: &PTransform) -> Result<()> {
        let output = transform.outputs.values().next().and_then(|output| self.components.pcollections.get(output));
        if let Some(call) = output.and_then(|output| self.window_call(&output.windowing_strategy_id)) {
            return self.component_windows(id, transform, call);
        }
        if !transform.environment_id.is_empty() && self.is_only_grouped(transform)? {
            let native = PTransform { environment_id: String::new(), ..transform.clone() };
            return self.worker(id, &native, urn::WINDOW_INTO);
        }
        self.worker(id, transform, urn::WINDOW_INTO)
    }

    /// Whether all that happens to the elements is that they are put into fixed windows and grouped.
    fn is_only_grouped(&mut self, transform: &PTransform) -> Result<bool> {
        let (Some(input), Some(output)) = (transform.inputs.values().next(), transform.outputs.values().next()) else {
            return Ok(false);
        };
        let ends = (self.components.pcollections.get(input), self.components.pcollections.get(output));
        let (Some(before), Some(after)) = (ends.0.cloned(), ends.1.cloned()) else { return Ok(false) };
        // what a worker made is taken over byte by byte
        let alike = same(&self.components.coders, &before.coder_id, &after.coder_id);
        Ok(alike && self.is_assigned(&after)? && self.is_grouped(output))
    }

    /// Whether every consumer of a collection groups it. Composites count by their parts, which read it, too.
    fn is_grouped(&self, collection: &String) -> bool {
        let mut consumers = self.components.transforms.values().filter(|t| reads(t, collection));
        let mut groups = false;
        let all = consumers.all(|t| {
            let urn = t.spec.as_ref().map_or("", |s| s.urn.as_str());
            let grouping = [urn::GROUP_BY_KEY, urn::COMBINE_PER_KEY].contains(&urn);
            groups |= grouping;
            grouping || !t.subtransforms.is_empty() && !urn.starts_with(urn::OURS)
        });
        all && groups
    }

    /// Whether the windows of a collection are of the kind that the engine assigns for SDKs.
    fn is_assigned(&mut self, collection: &PCollection) -> Result<bool> {
        Ok(is_cheap(&*self.windowing(collection)?) && super::build::is_bounded(collection))
    }

    /// Takes back lifts that an SDK has made and that do not pay: the values are grouped as they are, and combined after. What is
    /// left out is nobody's any more.
    pub(super) fn unlift(&mut self) -> Result<()> {
        let of = |t: &PTransform, urn: &str| t.spec.as_ref().is_some_and(|s| s.urn == urn);
        let lifts: Vec<String> = {
            let all = self.components.transforms.iter();
            all.filter(|(_, t)| of(t, urn::COMBINE_PRECOMBINE)).map(|(id, _)| id.clone()).collect()
        };
        for lift in lifts {
            let next = |id: &str, urn: &str| {
                let output = self.components.transforms.get(id)?.outputs.values().next()?;
                let mut readers = self.components.transforms.iter().filter(|(_, t)| reads(t, output));
                let (reader, None) = (readers.next()?, readers.next()) else { return None };
                of(reader.1, urn).then(|| reader.0.clone())
            };
            let Some(group) = next(&lift, urn::GROUP_BY_KEY) else { continue };
            let Some(merge) = next(&group, urn::COMBINE_MERGE) else { continue };
            let Some(extract) = next(&merge, urn::COMBINE_EXTRACT) else { continue };
            let get = |id: &str| self.components.transforms.get(id).cloned().unwrap_or_default();
            let (inputs, grouped) = (get(&lift).inputs, get(&group).outputs);
            let input = inputs.values().next().and_then(|input| self.components.pcollections.get(input)).cloned();
            let Some(input) = input else { continue };
            if self.is_component(&lift)? {
                self.whole(&inputs, [&lift, &group, &merge], &extract);
                continue;
            }
            if !self.combines_late(&input, &get(&extract).environment_id)? {
                continue;
            }
            if let Some(group) = self.components.transforms.get_mut(&group) {
                group.inputs = inputs;
            }
            if let Some(extract) = self.components.transforms.get_mut(&extract) {
                extract.inputs = grouped;
                extract.spec.iter_mut().for_each(|spec| urn::COMBINE_GROUPED.clone_into(&mut spec.urn));
            }
            [lift, merge].iter().for_each(|gone| self.remove(gone));
        }
        Ok(())
    }

    fn remove(&mut self, gone: &String) {
        self.components.transforms.remove(gone);
        let parents = self.components.transforms.values_mut().map(|t| &mut t.subtransforms);
        parents.chain([&mut self.pipeline.root_transform_ids]).for_each(|ids| ids.retain(|id| id != gone));
    }

    /// Whether a combine is by the CombineFn of a component.
    fn is_component(&self, combine: &str) -> Result<bool> {
        let Some(transform) = self.components.transforms.get(combine) else { return Ok(false) };
        let spec = transform.spec.clone().unwrap_or_default();
        let combine: CombinePayload = payload(&spec.payload, &transform.unique_name)?;
        Ok(combine.combine_fn.is_some_and(|f| f.urn == urn::WASM_COMBINE_FN))
    }

    /// Makes one combine of the parts of a lifted one, under the id of the last part.
    fn whole(&mut self, inputs: &BTreeMap<String, String>, gone: [&String; 3], last: &str) {
        if let Some(last) = self.components.transforms.get_mut(last) {
            last.inputs.clone_from(inputs);
            last.spec.iter_mut().for_each(|spec| urn::COMBINE_PER_KEY.clone_into(&mut spec.urn));
        }
        gone.into_iter().for_each(|gone| self.remove(gone));
    }

    /// Whether a combine of a collection is better not lifted.
    pub(super) fn combines_late(&mut self, input: &PCollection, environment: &str) -> Result<bool> {
        Ok(!environment.is_empty() && self.is_assigned(input)?)
    }
}

fn reads(transform: &PTransform, collection: &String) -> bool {
    transform.inputs.values().any(|c| c == collection)
}

/// Fixed windows that speak once: every element is in one of them, and its group is complete when it is handed on.
fn is_cheap(windowing: &Windowing) -> bool {
    matches!(windowing.window_fn, WindowFn::Fixed { .. }) && windowing.trigger == Trigger::Default
}
