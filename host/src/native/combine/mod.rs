//! Combining rows by key: accumulators are made before the grouping and merged after it.

mod accumulator;
mod merge;
mod precombine;

use super::{Registry, Shape, urn};

/// Adds both halves to the table.
pub fn register(registry: &mut Registry) {
    let plain = Shape::default;
    registry.register(urn::PRECOMBINE, plain(), |setup| Ok(Box::new(precombine::Precombine::new(setup.json()?))));
    registry.register(urn::MERGE, plain(), |setup| Ok(Box::new(merge::Merge::new(&setup.json()?))));
}
