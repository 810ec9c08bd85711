//! What a component has and needs, for programs; the command line makes a table of the same.

use crate::compose::pinned;
use serde_json::{Value, json};
use thalweg_wasm::{Component, World};

/// Name, digest, size, SDK, world, functions as described, and what is described, imported and granted.
///
/// `capabilities.granted` is always empty: a component is granted something only by a pipeline.
#[must_use]
pub fn report(component: &Component) -> Value {
    let description = component.description();
    let described: Vec<&String> = description.functions.iter().flat_map(|f| &f.capabilities).collect();
    let unsupported = |f: &thalweg_wasm::describe::Function| f.unsupported().map(|why| json!([f.name, why]));
    json!({
        "name": component.name(),
        "digest": pinned(component.digest()),
        "size": component.size(),
        "sdk": description.sdk,
        "world": World::covering(description).name(),
        "imports": component.imports(),
        "capabilities": { "described": described, "granted": [] },
        "functions": description.functions,
        "unsupported": description.functions.iter().filter_map(unsupported).collect::<Vec<_>>(),
    })
}
