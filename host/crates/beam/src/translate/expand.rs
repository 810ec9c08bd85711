//! Transforms that become several: a splittable ParDo (pair, split, process) and the read of old.
//!
//! In: the transform. Out: its parts in the graph, and in the pipeline's components, so that workers get them by id.
//! The process part keeps the id and the name of the whole: user metrics, messages and residuals carry them.

use super::build::Builder;
use super::windowing::global_strategy;
use crate::coder::table::{add, proto};
use crate::error::{Result, invalid};
use crate::urn::{coder, transform as urn};
use thalweg_core::graph::{Op, UserOp};
use thalweg_proto::pipeline::{FunctionSpec, PCollection, PTransform, ParDoPayload, is_bounded};

impl Builder {
    /// Takes a splittable ParDo apart: every element is paired with its restriction, restrictions are split, and their
    /// parts with their sizes are spread over the shards to be processed.
    pub(super) fn splittable(&mut self, id: &str, transform: &PTransform, par_do: &ParDoPayload) -> Result<()> {
        let name = &transform.unique_name;
        if !par_do.state_specs.is_empty() || !par_do.timer_family_specs.is_empty() {
            return Err(invalid(format!("{name} is splittable and has state or timers, which Beam rules out")));
        }
        let mut mains = transform.inputs.iter().filter(|(tag, _)| !par_do.side_inputs.contains_key(*tag));
        let (Some((tag, input)), None) = (mains.next(), mains.next()) else {
            return Err(invalid(format!("{name} has not exactly one main input")));
        };
        let elements = self.components.pcollections.get(input);
        let elements = elements.ok_or_else(|| invalid(format!("there is no collection {input:?}")))?.clone();
        let coders = &mut self.components.coders;
        let paired = add(coders, proto(coder::KV, &[&elements.coder_id, &par_do.restriction_coder_id]), "paired");
        let size = add(coders, proto(coder::DOUBLE, &[]), "double");
        let sized = add(coders, proto(coder::KV, &[&paired, &size]), "sized");

        let pairs = self.derived(&elements, &format!("{name}/pairs"), &format!("{id}_pairs"), paired);
        let splits = self.derived(&elements, &format!("{name}/splits"), &format!("{id}_splits"), sized);
        let endless = |c: &String| {
            self.components.pcollections.get(c).is_some_and(|c| c.is_bounded == is_bounded::Enum::Unbounded as i32)
        };
        let unbounded = transform.outputs.values().any(endless);
        let with = |of: &str, part: &str, input: &str, output: Option<&str>| {
            let mut made = transform.clone();
            made.unique_name = format!("{name}{part}");
            made.subtransforms.clear();
            made.inputs.insert(tag.clone(), input.to_owned());
            if let Some(output) = output {
                made.outputs = [("out".to_owned(), output.to_owned())].into();
            }
            if let Some(spec) = &mut made.spec {
                spec.urn = of.to_owned();
            }
            made
        };
        let part = |suffix: &str| self.free_transform_id(&format!("{id}_{suffix}"));
        let parts = [
            (part("pair"), with(urn::SDF_PAIR, "/PairWithRestriction", input, Some(&pairs))),
            (part("split"), with(urn::SDF_SPLIT, "/SplitAndSizeRestrictions", &pairs, Some(&splits))),
            (id.to_owned(), with(urn::SDF_PROCESS, "", &splits, None)),
        ];
        for (id, part) in parts {
            let sides = self.sides(transform, &par_do.side_inputs)?;
            let processes = part.spec.as_ref().is_some_and(|s| s.urn == urn::SDF_PROCESS);
            let (begins_stage, splittable, unbounded) = (processes, processes, processes && unbounded);
            let user = UserOp { sides, begins_stage, splittable, unbounded, ..UserOp::default() };
            self.components.transforms.insert(id.clone(), part.clone());
            self.user(&id, &part, name, user)?;
        }
        Ok(())
    }

    /// The read of old: an impulse, and the reading as a function of it.
    pub(super) fn read(&mut self, id: &str, transform: &PTransform) -> Result<()> {
        let name = &transform.unique_name;
        let start = PCollection {
            coder_id: add(&mut self.components.coders, proto(coder::BYTES, &[]), "bytes"),
            is_bounded: is_bounded::Enum::Bounded as i32,
            windowing_strategy_id: self.global_windowing(),
            ..Default::default()
        };
        let coder_id = start.coder_id.clone();
        let start = self.derived(&start, &format!("{name}/start"), &format!("{id}_start"), coder_id);
        let spec = |urn: &str| FunctionSpec { urn: urn.to_owned(), ..Default::default() };
        let impulse = PTransform {
            unique_name: format!("{name}/Impulse"),
            spec: Some(spec(urn::IMPULSE)),
            outputs: [("out".to_owned(), start.clone())].into(),
            ..Default::default()
        };
        let mut read = transform.clone();
        read.inputs = [("in".to_owned(), start)].into();
        if let Some(spec) = &mut read.spec {
            spec.urn = urn::PYTHON_READ_FROM_IMPULSE.to_owned();
        }
        if read.environment_id.is_empty() {
            return Err(invalid(format!("{name} reads a source of an SDK, but names no environment")));
        }
        let impulse_id = self.free_transform_id(&format!("{id}_impulse"));
        self.components.transforms.insert(impulse_id.clone(), impulse.clone());
        self.components.transforms.insert(id.to_owned(), read.clone());
        self.runner(&impulse_id, &impulse, Op::Impulse)?;
        self.user(id, &read, name, UserOp::default())
    }

    /// Adds a collection like another one, with its own name and coder; returns its id.
    pub(super) fn derived(&mut self, like: &PCollection, name: &str, wanted: &str, coder_id: String) -> String {
        let made = PCollection { unique_name: name.to_owned(), coder_id, ..like.clone() };
        let id = self.free_collection_id(wanted);
        self.components.pcollections.insert(id.clone(), made);
        id
    }

    /// The default windowing strategy, which is added unless there is one already.
    fn global_windowing(&mut self) -> String {
        let coder = add(&mut self.components.coders, proto(coder::GLOBAL_WINDOW, &[]), "global_window");
        let strategy = global_strategy(&coder);
        let strategies = &mut self.components.windowing_strategies;
        if let Some((id, _)) = strategies.iter().find(|(_, s)| **s == strategy) {
            return id.clone();
        }
        let mut id = "global_windowing".to_owned();
        while strategies.contains_key(&id) {
            id.push('_');
        }
        strategies.insert(id.clone(), strategy);
        id
    }
}
