//! `TableJoin`: rows get the columns of a table by key.

use super::super::call;
use super::super::expand::Leaf;
use super::super::outputs::Outputs;
use super::super::suggest::did_you_mean;
use super::{pairs, rows};
use crate::native::urn;
use crate::pipeline::Element;
use crate::row::{Field, Schema};
use crate::table::TableJoin;
use thalweg_core::error::Result;

/// `type: TableJoin`.
pub fn join(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    let input = leaf.input()?;
    let schema = rows(leaf, &input)?.clone();
    let name = leaf.config.need("table")?;
    let table = call::declared(name.text()?, &name.place, leaf.around)?.clone();
    let inner = match leaf.config.get("how") {
        None => false,
        Some(node) => match node.text()? {
            "left" => false,
            "inner" => true,
            other => {
                let error = node.place.error("YAML_CHOICE", format!("a table is not joined {other:?}"));
                return Err(error.help(did_you_mean(other, &["left", "inner"])));
            }
        },
    };
    let chosen = pairs::chosen_key(&mut leaf.config, &schema)?;
    let (key, _) = table.elements()?;
    let who = format!("the key of table `{}`", name.text()?);
    // a row whose key is null has no entry, so fields that may be null are joined by, too
    let present = schema.fields.iter().map(|field| Field { nullable: false, ..field.clone() });
    let present = Schema { fields: present.collect() };
    let key = pairs::part(leaf.place, &who, "key", &key, chosen, &present, None)?;
    let payload = TableJoin { input: schema, key, table, inner };
    let after = payload.output().map_err(|e| leaf.place.error(e.code, e.message).help(e.help))?;
    let output = leaf.output("output", Element::Row(after), &input);
    leaf.build.native(&leaf.name, urn::TABLE_JOIN, &payload, &[("input", &input)], &[("output", &output)]);
    Ok(Outputs::one(output))
}
