//! Side inputs: which inputs of a ParDo are read aside, and how.

use super::build::{Builder, is_bounded};
use crate::error::{Result, invalid, refuse};
use crate::urn::side_input as urn;
use std::collections::BTreeMap;
use thalweg_core::graph::{CollectionId, SideAccess};
use thalweg_proto::pipeline::{PTransform, SideInput};

impl Builder {
    /// Whether the main input of a transform has an end.
    pub(super) fn is_read_to_its_end(&self, transform: &PTransform, sides: &BTreeMap<String, SideInput>) -> bool {
        let mains = transform.inputs.iter().filter(|(tag, _)| !sides.contains_key(*tag));
        mains.map(|(_, id)| self.components.pcollections.get(id)).all(|main| main.is_some_and(is_bounded))
    }

    /// The side inputs of a transform: tag, collection, access.
    pub(super) fn sides(
        &mut self,
        transform: &PTransform,
        sides: &BTreeMap<String, SideInput>,
    ) -> Result<Vec<(String, CollectionId, SideAccess)>> {
        let name = &transform.unique_name;
        let mut found = Vec::new();
        for (tag, side) in sides {
            let input = transform.inputs.get(tag);
            let input =
                input.ok_or_else(|| invalid(format!("the side input {tag:?} of {name} is none of its inputs")))?;
            let collection = self.collection(input)?;
            let access = match side.access_pattern.as_ref().map_or("", |p| p.urn.as_str()) {
                urn::ITERABLE => SideAccess::Iterable,
                urn::MULTIMAP => SideAccess::Multimap,
                other => {
                    return Err(refuse(
                        "PIPELINE_SIDE_INPUT",
                        format!("{name} reads its side input {tag:?} as {other:?}, which Thalweg does not know"),
                    )
                    .help("read it as an iterable or a multimap"));
                }
            };
            if access == SideAccess::Multimap
                && self.graph.collection(collection).is_none_or(|c| c.coder.kv().is_none())
            {
                return Err(invalid(format!("{name} reads its side input {tag:?} by key, but it is not a KV")));
            }
            found.push((tag.clone(), collection, access));
        }
        Ok(found)
    }
}
