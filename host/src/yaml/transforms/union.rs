//! `Flatten`: several collections as one.

use super::super::expand::Leaf;
use super::super::node::Place;
use super::super::outputs::Outputs;
use super::producer;
use crate::pipeline::{Collection, PipelineBuilder, urn};
use thalweg_core::error::Result;

/// `type: Flatten`.
pub fn union(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    let parts = std::mem::take(&mut leaf.inputs);
    flatten(leaf.build, &leaf.name, &parts, leaf.place).map(Outputs::one)
}

/// Adds a flatten of collections, which must be of one type and in the same windows.
///
/// # Errors
/// `YAML_INPUT` for none, `SCHEMA_MISMATCH` and `YAML_WINDOWING` where they differ.
pub fn flatten(
    build: &mut PipelineBuilder,
    name: &str,
    parts: &[(String, Collection)],
    place: &Place,
) -> Result<Collection> {
    let Some((_, first)) = parts.first() else {
        return Err(place.error("YAML_INPUT", "there is nothing to put together").help("give a list: `input: [A, B]`"));
    };
    for (_, other) in parts {
        if other.element != first.element {
            let (a, b) = (producer(first), producer(other));
            let message = format!("`{a}` gives {}, but `{b}` gives {}", first.element, other.element);
            let help = "make their fields the same with MapToFields before: names, types and order";
            return Err(place.error("SCHEMA_MISMATCH", message).help(help));
        }
        if other.windows != first.windows {
            let (a, b) = (producer(first), producer(other));
            let error = place.error("YAML_WINDOWING", format!("`{a}` and `{b}` are in different windows"));
            return Err(error.help("put a WindowInto behind one of them"));
        }
    }
    let bounded = parts.iter().all(|(_, c)| c.bounded);
    let output = build.collection(&format!("{name}.output"), first.element.clone(), first.windows, bounded);
    let inputs: Vec<_> = parts.iter().map(|(tag, c)| (tag.as_str(), c)).collect();
    build.transform(name, urn::FLATTEN, Vec::new(), &inputs, &[("output", &output)]);
    Ok(output)
}
