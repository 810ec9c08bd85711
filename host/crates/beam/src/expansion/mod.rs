//! Expansion: transforms that a program names by URN, and that this process makes of parts it runs itself.
//!
//! In: a transform with its configuration, a row that carries its own schema. Out: components with ids in the caller's
//! namespace, none of which needs an environment; or one sentence that names the option at fault. What is offered is said by an
//! [`Expander`]; this room knows the messages, not the transforms. Source: `beam_expansion_api.proto`,
//! `external_transforms.proto`.
//!
//! - [`value`]: rows of a configuration, which come from anywhere and are believed in nothing.
//! - [`options`]: those values as options by name.
//! - [`build`]: the answer, part by part.
//! - [`request`]: the question.
//! - `service` (feature `fn-api`): the gRPC service.

pub mod build;
pub mod options;
pub mod request;
#[cfg(feature = "fn-api")]
mod service;
#[cfg(test)]
mod tests;
pub mod value;

pub use build::{Expansion, component_windows};
pub use options::Options;
pub use request::{Input, Request};
#[cfg(feature = "fn-api")]
pub use service::add_to;
pub use value::Value;

use crate::error::Result;
use prost::Message;
use thalweg_core::error::Error;
use thalweg_proto::expansion::{ExpansionRequest, ExpansionResponse};
use thalweg_proto::pipeline::Schema;

/// A schema transform, as it is discovered.
#[derive(Clone, PartialEq, Debug)]
pub struct Offer {
    /// The identifier.
    pub identifier: String,
    /// What its configuration holds.
    pub configuration: Schema,
    /// Names of the inputs.
    pub inputs: Vec<String>,
    /// Names of the outputs.
    pub outputs: Vec<String>,
    /// What it does, for people.
    pub description: String,
}

/// What can be expanded. Called on threads that may block.
pub trait Expander: Send + Sync + 'static {
    /// Expands one transform into `out`.
    ///
    /// # Errors
    /// `EXPANSION_UNKNOWN` for a URN or identifier that is not offered, `EXPANSION_OPTION`, `EXPANSION_INPUT`; they are told to the
    /// client as they are.
    fn expand(&self, request: &Request, out: &mut Expansion) -> Result<()>;

    /// The schema transforms that can be expanded.
    fn offers(&self) -> Vec<Offer>;
}

/// Answers a request.
///
/// # Errors
/// `EXPANSION_PAYLOAD` when it cannot be read, and what the expander says.
pub fn expand(expander: &dyn Expander, request: ExpansionRequest) -> Result<ExpansionResponse> {
    let mut out = Expansion::new(&request)?;
    let read = Request::new(request)?;
    let name = read.name.clone();
    expander.expand(&read, &mut out).map_err(|e| e.in_transform(&name))?;
    Ok(out.finish())
}

/// Decodes a message inside a request.
fn message<M: Message + Default>(bytes: &[u8], what: &str) -> Result<M> {
    M::decode(bytes).map_err(|e| malformed(&format!("the {what} cannot be read: {e}")))
}

/// A request that contradicts itself.
fn malformed(what: &str) -> Error {
    Error::user("EXPANSION_PAYLOAD", format!("the request to expand a transform is malformed: {what}"))
        .help("this is a fault of the client: the configuration must be a row of the schema that comes with it")
}
