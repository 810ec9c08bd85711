//! Environments: where SDK transforms run.
//!
//! In: the `Environment` protos that transforms name. Out: the ways in which each can be started, in order of
//! preference. It does not know which of them this machine can start.

use super::build::Builder;
use crate::error::{Result, invalid, payload, refuse};
use crate::urn::environment as urn;
use thalweg_core::graph::EnvironmentId;
use thalweg_proto::pipeline::{AnyOfEnvironmentPayload, DockerPayload, Environment, ExternalPayload, ProcessPayload};

/// An environment that is used.
#[derive(Clone, PartialEq, Debug)]
pub struct EnvironmentInfo {
    /// Its id among the pipeline's environments; for a component, the id of its transform.
    pub id: String,
    /// The proto.
    pub proto: Environment,
    /// How it can be started, in order of preference; never empty.
    pub choices: Vec<EnvironmentKind>,
}

/// A way to start an environment.
#[derive(Clone, PartialEq, Debug)]
pub enum EnvironmentKind {
    /// Ask a worker pool at an endpoint (also LOOPBACK).
    External(ExternalPayload),
    /// Run a command.
    Process(ProcessPayload),
    /// Run a container.
    Docker(DockerPayload),
    /// Instantiate a component; what it is stands in the payload of its one transform.
    Wasm,
}

/// Those whose capabilities decide about coders: of several alternatives, the first that declares any.
pub(super) fn declaring(environment: &Environment) -> Result<Option<Environment>> {
    if environment.urn == urn::WASM {
        return Ok(None);
    }
    if environment.urn != urn::ANY_OF || !environment.capabilities.is_empty() {
        return Ok(Some(environment.clone()));
    }
    let any: AnyOfEnvironmentPayload = payload(&environment.payload, "an environment of alternatives")?;
    Ok(any.environments.into_iter().find(|e| !e.capabilities.is_empty()))
}

fn kinds(environment: &Environment, id: &str, out: &mut Vec<EnvironmentKind>) -> Result<()> {
    let bytes = &environment.payload;
    match environment.urn.as_str() {
        urn::EXTERNAL => out.push(EnvironmentKind::External(payload(bytes, id)?)),
        urn::PROCESS => out.push(EnvironmentKind::Process(payload(bytes, id)?)),
        urn::DOCKER => out.push(EnvironmentKind::Docker(payload(bytes, id)?)),
        urn::ANY_OF => {
            let any: AnyOfEnvironmentPayload = payload(bytes, id)?;
            // alternatives do not nest: one inside another is passed over
            for inner in any.environments.iter().filter(|e| e.urn != urn::ANY_OF) {
                kinds(inner, id, out)?;
            }
        }
        _ => {}
    }
    Ok(())
}

impl Builder {
    /// The graph's environment of a proto id.
    pub(super) fn environment(&mut self, id: &str) -> Result<EnvironmentId> {
        if let Some(known) = self.environment_ids.get(id) {
            return Ok(*known);
        }
        let proto = self.components.environments.get(id);
        let proto = proto.ok_or_else(|| invalid(format!("there is no environment {id:?}")))?.clone();
        let mut choices = Vec::new();
        kinds(&proto, id, &mut choices)?;
        if choices.is_empty() {
            return Err(refuse(
                "PIPELINE_ENVIRONMENT",
                format!("the environment {id:?} is a {:?}, which cannot be started", proto.urn),
            )
            .help("use --environment_type=LOOPBACK, EXTERNAL, PROCESS or DOCKER"));
        }
        let new = self.push_environment(EnvironmentInfo { id: id.to_owned(), proto, choices });
        self.environment_ids.insert(id.to_owned(), new);
        Ok(new)
    }

    pub(super) fn push_environment(&mut self, info: EnvironmentInfo) -> EnvironmentId {
        self.environments.push(info);
        EnvironmentId((self.environments.len() - 1) as u32)
    }
}
