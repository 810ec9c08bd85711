//! What is ours: native sources, sinks and functions, and WebAssembly components. The host gives them meaning; here
//! they only get their place in the graph. As composites they are kept whole, and what they contain is for other
//! runners.

use super::build::{Builder, New};
use super::{EnvironmentInfo, EnvironmentKind, NativeSpec, Role};
use crate::error::{Result, invalid, refuse};
use crate::urn::{coder, environment, transform as urn};
use bytes::Bytes;
use thalweg_core::graph::{EnvironmentId, Op, UserOp};
use thalweg_core::id::{SinkId, SourceId};
use thalweg_proto::pipeline::{Environment, FunctionSpec, PTransform};

/// How names of expanded transforms begin in the Go SDK.
const GO_EXTERNAL: &str = "External/";

impl Builder {
    pub(super) fn native(&mut self, id: &str, transform: &PTransform, urn: &str) -> Result<()> {
        // Python leaves out what has no output, so an expanded sink has one, in which there never is anything
        let none = std::collections::BTreeMap::new();
        let outputs = if urn.starts_with(urn::SINK) { &none } else { &transform.outputs };
        let (inputs, outputs) = (self.tagged(&transform.inputs)?, self.tagged(outputs)?);
        let transform = &PTransform { unique_name: self.told_apart(&transform.unique_name), ..transform.clone() };
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
            // which of several inputs are side inputs, the function's description says
            fits(shape.0 >= 1, "a component")?;
            // an environment each: components hand whole frames on and are never fused
            let environment = self.component_environment(id, spec.payload);
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

    /// The Go SDK calls every expanded transform `External`, so that their parts would have one name: later ones get a number.
    fn told_apart(&self, name: &str) -> String {
        let taken = |name: &str| self.graph.transforms.iter().any(|t| t.name == name);
        let mut free = name.to_owned();
        let mut n = 1;
        while name.starts_with(GO_EXTERNAL) && taken(&free) {
            n += 1;
            free = format!("{name}_{n}");
        }
        free
    }

    /// A transform of an SDK whose function is one of a component: as if it named the component itself.
    pub(super) fn component(&mut self, id: &str, transform: &PTransform, call: Bytes) -> Result<()> {
        let spec = Some(FunctionSpec { urn: urn::WASM.to_owned(), payload: call });
        self.native(id, &PTransform { spec, environment_id: String::new(), ..transform.clone() }, urn::WASM)
    }

    /// Puts elements into windows of a component. The first transform that does it is where their merging is asked for, too.
    pub(super) fn component_windows(&mut self, id: &str, transform: &PTransform, call: Bytes) -> Result<()> {
        let shared = self.window_component(&call);
        self.component(id, transform, call)?;
        let taken = self.transforms.iter().any(|t| t.role == Role::Wasm(shared));
        let (Some(info), Some(made)) = (self.transforms.last_mut(), self.graph.transforms.last_mut()) else {
            return Ok(());
        };
        if let Op::User(user) = &mut made.op
            && !taken
        {
            user.environment = Some(shared);
            info.role = Role::Wasm(shared);
        }
        Ok(())
    }

    /// The component that assigns the windows of a strategy, if one does: named by the window function, or in the payload of the
    /// window coder, which is nobody else's, where the function is what other runners run in its place.
    pub(super) fn window_call(&self, strategy: &str) -> Option<Bytes> {
        let strategy = self.components.windowing_strategies.get(strategy)?;
        let own = strategy.window_fn.as_ref().filter(|f| f.urn == urn::WASM_WINDOW_FN);
        let coder = || self.components.coders.get(&strategy.window_coder_id)?.spec.as_ref();
        let noted = || coder().filter(|spec| spec.urn == coder::INTERVAL_WINDOW && !spec.payload.is_empty());
        own.or_else(noted).map(|spec| spec.payload.clone())
    }

    /// The environment that merges windows of a component.
    pub(super) fn window_component(&mut self, call: &Bytes) -> EnvironmentId {
        let id = format!("{}:{}", urn::WASM_WINDOW_FN, String::from_utf8_lossy(call));
        if let Some(known) = self.environment_ids.get(&id) {
            return *known;
        }
        let environment = self.component_environment(&id, call.clone());
        self.environment_ids.insert(id, environment);
        environment
    }

    fn component_environment(&mut self, id: &str, call: Bytes) -> EnvironmentId {
        let proto = Environment { urn: environment::WASM.to_owned(), payload: call, ..Default::default() };
        self.push_environment(EnvironmentInfo { id: id.to_owned(), proto, choices: vec![EnvironmentKind::Wasm] })
    }
}
