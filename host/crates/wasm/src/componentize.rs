//! From the core module that a language's compiler makes to a component: the last step of `thalweg udf build`, so that a
//! user needs no tool beside this binary.

use crate::error::{Error, Result};
use wit_component::ComponentEncoder;

/// Makes a component of a core module that carries the description of its world, as the SDKs embed it.
///
/// # Errors
/// [`Error::Componentize`] if the module has no such description, or imports something that is not in its world.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>> {
    let encoded = ComponentEncoder::default().validate(true).module(module).and_then(|mut encoder| encoder.encode());
    encoded.map_err(|e| Error::Componentize { why: format!("{e:#}") })
}
