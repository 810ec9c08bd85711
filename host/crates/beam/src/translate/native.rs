//! What is ours: native sources, sinks and functions, and WebAssembly components. The host gives them meaning; here
//! they only get their place in the graph. As composites they are kept whole, and what they contain is for other
//! runners.

use super::build::{Builder, New};
use super::{EnvironmentInfo, EnvironmentKind, NativeSpec, Role};
use crate::error::{Result, invalid, refuse};
use crate::urn::{environment, transform as urn};
use thalweg_core::graph::{Op, UserOp};
use thalweg_core::id::{SinkId, SourceId};
use thalweg_proto::pipeline::{Environment, PTransform};

impl Builder {
    pub(super) fn native(&mut self, id: &str, transform: &PTransform, urn: &str) -> Result<()> {
        // Python leaves out what has no output, so an expanded sink has one, in which there never is anything
        let none = std::collections::BTreeMap::new();
        let outputs = if urn.starts_with(urn::SINK) { &none } else { &transform.outputs };
        let (inputs, outputs) = (self.tagged(&transform.inputs)?, self.tagged(outputs)?);
        let name = &transform.unique_name;
        let spec = NativeSpec {
            urn: urn.to_owned(),
            payload: transform.spec.as_ref().map(|s| s.payload.clone()).unwrap_or_default(),
            name: name.clone(),
        };
        let shape = (inputs.len(), outputs.len());
        let fits = |fits: bool, what: &str| {
            let (i, o) = shape;
            if fits { Ok(()) } else { Err(invalid(format!("{name} has {i} inputs and {o} outputs, but is {what}"))) }
        };
        let (op, role) = if urn.starts_with(urn::SOURCE) {
            fits(shape == (0, 1), "a source")?;
            let source = SourceId(self.sources.len() as u32);
            self.sources.push(spec);
            (Op::Source(source), Role::Source(source))
        } else if urn.starts_with(urn::SINK) {
            fits(shape == (1, 0), "a sink")?;
            let sink = SinkId(self.sinks.len() as u32);
            self.sinks.push(spec);
            (Op::Sink(sink), Role::Sink(sink))
        } else if urn == urn::WASM {
            fits(shape.0 == 1, "a component")?;
            // an environment each: components hand whole frames on and are never fused
            let proto = Environment { urn: environment::WASM.to_owned(), payload: spec.payload, ..Default::default() };
            let choices = vec![EnvironmentKind::Wasm];
            let environment = self.push_environment(EnvironmentInfo { id: id.to_owned(), proto, choices });
            (Op::User(UserOp { environment: Some(environment), ..UserOp::default() }), Role::Wasm(environment))
        } else if urn.starts_with(urn::FN) {
            fits(shape.0 == 1, "a function")?;
            (Op::User(UserOp::default()), Role::Native)
        } else {
            return Err(refuse(
                "PIPELINE_TRANSFORM",
                format!("{name} is a {urn:?}, which this version of Thalweg does not have"),
            )
            .help("check the name, or use the version of Thalweg that the pipeline was written for"));
        };
        self.push(New { id, proto: transform, origin: name, op, role, inputs, outputs, states: Vec::new() });
        Ok(())
    }
}
