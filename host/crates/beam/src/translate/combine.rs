//! Groupings, and combines around them.
//!
//! A combine is lifted where its windowing allows and it pays: accumulators are made before the grouping, merged after it,
//! and turned into outputs. Else all values are grouped, and combined after.

use super::build::Builder;
use super::windowing::liftable;
use crate::coder::table::{add, get, proto};
use crate::error::{Result, invalid, payload, refuse};
use crate::urn::{coder, transform as urn};
use thalweg_core::graph::{Op, UserOp};
use thalweg_proto::pipeline::{CombinePayload, FunctionSpec, PCollection, PTransform};

impl Builder {
    pub(super) fn group_by_key(&mut self, id: &str, transform: &PTransform, origin: &str) -> Result<()> {
        let name = &transform.unique_name;
        let mut inputs = transform.inputs.values();
        let (Some(input), None) = (inputs.next(), inputs.next()) else {
            return Err(invalid(format!("{name} groups {} inputs", transform.inputs.len())));
        };
        let collection = self.collection(input)?;
        let of = self.graph.collection(collection);
        let of = of.ok_or_else(|| invalid(format!("{name} groups nothing")))?;
        if of.coder.kv().is_none() {
            return Err(refuse(
                "PIPELINE_CODER",
                format!("{name} groups {}, whose coder is not one of key and value", of.name),
            )
            .help("give the transform before it the output type of a pair, so that it is encoded as one"));
        }
        self.grouped_coder(transform, input)?;
        self.runner(id, transform, Op::GroupByKey)?;
        if let Some(info) = self.transforms.last_mut() {
            origin.clone_into(&mut info.origin);
        }
        Ok(())
    }

    /// The engine hands out keys and values as they came in, so the output's coder is made of the input's.
    fn grouped_coder(&mut self, transform: &PTransform, input: &str) -> Result<()> {
        let input = self.components.pcollections.get(input).map(|c| c.coder_id.clone()).unwrap_or_default();
        let (key, value) = self.key_value(&input)?;
        let coders = &mut self.components.coders;
        let values = add(coders, proto(coder::ITERABLE, &[&value]), &format!("{value}_list"));
        let grouped = add(coders, proto(coder::KV, &[&key, &values]), &format!("{input}_grouped"));
        for output in transform.outputs.values() {
            self.set_coder(output, &grouped);
        }
        Ok(())
    }

    /// Key and value coder of a KV coder, which a length prefix may enclose no longer here.
    fn key_value(&self, coder_id: &str) -> Result<(String, String)> {
        match get(&self.components.coders, coder_id)? {
            (coder::KV, kv) => match kv.component_coder_ids.as_slice() {
                [key, value] => Ok((key.clone(), value.clone())),
                _ => Err(invalid(format!("the KV coder {coder_id:?} has not two parts"))),
            },
            (urn, _) => Err(invalid(format!("the coder {coder_id:?} is a {urn:?} and not a KV coder"))),
        }
    }

    pub(super) fn combine_per_key(&mut self, id: &str, transform: &PTransform, depth: u32) -> Result<()> {
        let name = &transform.unique_name;
        let spec = transform.spec.clone().unwrap_or_default();
        let combine: CombinePayload = payload(&spec.payload, name)?;
        if let Some(function) = combine.combine_fn.as_ref().filter(|f| f.urn == urn::WASM_COMBINE_FN) {
            return self.component(id, transform, function.payload.clone());
        }
        let mut inputs = transform.inputs.values();
        let (Some(input), None, 1) = (inputs.next(), inputs.next(), transform.outputs.len()) else {
            return self.visit_all(&transform.subtransforms, depth); // side inputs: a composite like any other
        };
        let input = self.components.pcollections.get(input);
        let input = input.ok_or_else(|| invalid(format!("{name} combines nothing")))?.clone();
        let lift = liftable(&*self.windowing(&input)?);
        let environment = self.combine_environment(transform, &combine)?;
        let late = !lift || self.combines_late(&input, &environment)?;
        if late && !transform.subtransforms.is_empty() {
            return self.visit_all(&transform.subtransforms, depth);
        }
        let parts = Parts { id, transform, spec, environment };
        if late { self.unlifted(&parts, &input) } else { self.lifted(&parts, &combine, &input) }
    }

    /// The environment of a combine: its own, or that of its parts; none for a native one.
    fn combine_environment(&self, transform: &PTransform, combine: &CombinePayload) -> Result<String> {
        let function = combine.combine_fn.as_ref().map_or("", |f| f.urn.as_str());
        let parts = transform.subtransforms.iter().filter_map(|id| self.components.transforms.get(id));
        let found = std::iter::once(transform).chain(parts).map(|t| &t.environment_id).find(|e| !e.is_empty());
        match found {
            Some(environment) => Ok(environment.clone()),
            None if function.starts_with(urn::OURS) => Ok(String::new()),
            None => {
                let name = &transform.unique_name;
                Err(refuse(
                    "PIPELINE_TRANSFORM",
                    format!("{name} combines by a {function:?}, but names no environment that has it"),
                )
                .help("the SDK has to give every combine an environment"))
            }
        }
    }

    fn lifted(&mut self, parts: &Parts<'_>, combine: &CombinePayload, input: &PCollection) -> Result<()> {
        let (key, _) = self.key_value(&input.coder_id)?;
        let accumulator = &combine.accumulator_coder_id;
        let coders = &mut self.components.coders;
        let pair = add(coders, proto(coder::KV, &[&key, accumulator]), "accumulators");
        let list = add(coders, proto(coder::ITERABLE, &[accumulator]), "accumulator_list");
        let grouped = add(coders, proto(coder::KV, &[&key, &list]), "grouped_accumulators");
        let output = parts.transform.outputs.values().next();
        let output = output.and_then(|o| self.components.pcollections.get(o)).unwrap_or(input).clone();

        let before = self.between(parts, input, "precombined", pair.clone());
        let group = self.between(parts, &output, "grouped", grouped);
        let merged = self.between(parts, &output, "merged", pair);
        let one = |id: String| [("out".to_owned(), id)].into();
        let pre =
            parts.part("Precombine", urn::COMBINE_PRECOMBINE, parts.transform.inputs.clone(), one(before.clone()));
        let gbk = parts.part("Group", urn::GROUP_BY_KEY, one(before), one(group.clone()));
        let merge = parts.part("Merge", urn::COMBINE_MERGE, one(group), one(merged.clone()));
        let extract = parts.part("ExtractOutputs", urn::COMBINE_EXTRACT, one(merged), parts.transform.outputs.clone());
        for part in [pre, gbk, merge, extract] {
            self.combine_part(parts, part)?;
        }
        Ok(())
    }

    fn unlifted(&mut self, parts: &Parts<'_>, input: &PCollection) -> Result<()> {
        let (key, value) = self.key_value(&input.coder_id)?;
        let coders = &mut self.components.coders;
        let list = add(coders, proto(coder::ITERABLE, &[&value]), &format!("{value}_list"));
        let grouped = add(coders, proto(coder::KV, &[&key, &list]), "grouped_values");
        let group = self.between(parts, input, "grouped", grouped);
        let one = |id: String| [("out".to_owned(), id)].into();
        let gbk = parts.part("Group", urn::GROUP_BY_KEY, parts.transform.inputs.clone(), one(group.clone()));
        let all = parts.part("CombineValues", urn::COMBINE_GROUPED, one(group), parts.transform.outputs.clone());
        self.combine_part(parts, gbk)?;
        self.combine_part(parts, all)
    }

    fn between(&mut self, parts: &Parts<'_>, like: &PCollection, part: &str, coder_id: String) -> String {
        let name = format!("{}/{part}", parts.transform.unique_name);
        self.derived(like, &name, &format!("{}_{part}", parts.id), coder_id)
    }

    fn combine_part(&mut self, parts: &Parts<'_>, (suffix, part): (&str, PTransform)) -> Result<()> {
        let id = self.free_transform_id(&format!("{}_{}", parts.id, suffix.to_lowercase()));
        self.components.transforms.insert(id.clone(), part.clone());
        let origin = &parts.transform.unique_name;
        if part.spec.as_ref().is_some_and(|s| s.urn == urn::GROUP_BY_KEY) {
            self.group_by_key(&id, &part, origin)
        } else {
            self.user(&id, &part, origin, UserOp::default())
        }
    }
}

/// What the parts of a combine share.
struct Parts<'t> {
    id: &'t str,
    transform: &'t PTransform,
    spec: FunctionSpec,
    environment: String,
}

/// Tags and collections of a proto.
type Ends = std::collections::BTreeMap<String, String>;

impl Parts<'_> {
    fn part<'s>(&self, suffix: &'s str, urn: &str, inputs: Ends, outputs: Ends) -> (&'s str, PTransform) {
        let grouping = urn == urn::GROUP_BY_KEY;
        let payload = if grouping { Default::default() } else { self.spec.payload.clone() };
        let part = PTransform {
            unique_name: format!("{}/{suffix}", self.transform.unique_name),
            spec: Some(FunctionSpec { urn: urn.to_owned(), payload }),
            inputs,
            outputs,
            environment_id: if grouping { String::new() } else { self.environment.clone() },
            annotations: self.transform.annotations.clone(),
            ..Default::default()
        };
        (suffix, part)
    }
}
