//! Rows of a file and the pairs that functions with keys take and give: which fields are key and value.

use super::super::expand::Leaf;
use super::super::node::{Fields, Node, Place};
use super::{field, producer};
use crate::native::payload::{Half, PairsToRows, Part, RowsToPairs};
use crate::native::urn;
use crate::pipeline::{Collection, Element};
use crate::row::{Field, Schema, TypeName, required};
use thalweg_core::error::{Error, Result};

/// Fields that a configuration names.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// One, for its value.
    One(usize),
    /// A list of them, for a row.
    Row(Vec<usize>),
}

/// What a configuration says of a key: `key: FIELD`, or `keys: [FIELD, ...]`.
pub fn chosen_key(fields: &mut Fields<'_>, schema: &Schema) -> Result<Option<Chosen>> {
    let (one, several) = (fields.get("key"), fields.get("keys"));
    if let (Some(_), Some(several)) = (one, several) {
        let error = several.place.error("YAML_UNKNOWN_KEY", "`keys` stands beside `key`");
        return Err(error.help("give one of them: `key: FIELD`, or `keys: [FIELD, FIELD]`"));
    }
    one.or(several).map(|node| chosen(node, schema)).transpose()
}

/// What a configuration says of a value: `value: FIELD`, or `value: [FIELD, ...]`.
pub fn chosen_value(fields: &mut Fields<'_>, schema: &Schema) -> Result<Option<Chosen>> {
    fields.get("value").map(|node| chosen(node, schema)).transpose()
}

fn chosen(node: &Node, schema: &Schema) -> Result<Chosen> {
    if let Ok(name) = node.text() {
        return field(schema, name, &node.place).map(Chosen::One);
    }
    let names = node.texts()?;
    Ok(Chosen::Row(names.into_iter().map(|(name, place)| field(schema, name, place)).collect::<Result<_>>()?))
}

/// How rows of `gives` become pairs of `key` and `value`.
pub fn to_pairs(
    place: &Place,
    who: &str,
    gives: &Schema,
    (key, value): (&Element, &Element),
    (chosen_key, chosen_value): (Option<Chosen>, Option<Chosen>),
) -> Result<RowsToPairs> {
    let key = part(place, &format!("the key of `{who}`"), "key", key, chosen_key, gives, None)?;
    let value = part(place, &format!("the value of `{who}`"), "value", value, chosen_value, gives, Some(&key))?;
    Ok(RowsToPairs { input: gives.clone(), key, value })
}

/// The fields of rows that make an element; of a value the one beside the key if nothing is said.
pub fn part(
    place: &Place,
    who: &str,
    option: &str,
    wanted: &Element,
    chosen: Option<Chosen>,
    gives: &Schema,
    beside: Option<&Part>,
) -> Result<Part> {
    let Element::Row(schema) = wanted else {
        let i = match (chosen, beside) {
            (Some(Chosen::One(i)), _) => i,
            (Some(Chosen::Row(fields)), _) if fields.len() == 1 => fields.first().copied().unwrap_or_default(),
            (None, Some(Part::Field(key))) if gives.fields.len() == 2 => 1 - (*key).min(1),
            _ => {
                let error = place.error("YAML_MISSING_KEY", format!("{who} is {wanted}: say which field that is"));
                return Err(error.help(format!("add `{option}: FIELD`")));
            }
        };
        let alone = wanted.field_type().map(|kind| required("", kind));
        fits(place, who, alone.as_ref(), gives, i)?;
        return Ok(Part::Field(i));
    };
    let fields = match chosen {
        None => schema.fields.iter().map(|f| field(gives, &f.name, place)).collect::<Result<_>>()?,
        Some(Chosen::One(i)) => vec![i],
        Some(Chosen::Row(fields)) => fields,
    };
    if fields.len() != schema.fields.len() {
        let error = place.error("SCHEMA_MISMATCH", format!("{who} is {wanted}, but {} fields are named", fields.len()));
        return Err(error.help(format!("name {} fields under `{option}`, in this order", schema.fields.len())));
    }
    for (wanted, i) in schema.fields.iter().zip(&fields) {
        fits(place, who, Some(wanted), gives, *i)?;
    }
    Ok(Part::Fields(fields))
}

fn fits(place: &Place, who: &str, wanted: Option<&Field>, gives: &Schema, i: usize) -> Result<()> {
    let (Some(wanted), Some(found)) = (wanted, gives.fields.get(i)) else {
        let error = place.error("SCHEMA_MISMATCH", format!("{who} is of a type that a row does not hold"));
        return Err(error.help("build the function for rows or plain values"));
    };
    if wanted.kind != found.kind {
        let (wanted, kind) = (TypeName(&wanted.kind), TypeName(&found.kind));
        let error = place
            .error("SCHEMA_MISMATCH", format!("{who} takes `{}` as {wanted}, but it is of type {kind}", found.name));
        return Err(error.help("choose another field, or build the function for this type"));
    }
    if found.nullable && !wanted.nullable {
        let error = place.error("SCHEMA_MISMATCH", format!("{who} takes `{}`, which may be null", found.name));
        return Err(error.help("list it under `required` in the schema of its source, or let the function take null"));
    }
    Ok(())
}

/// The pairs of a collection of rows.
pub fn split(leaf: &mut Leaf<'_, '_>, name: &str, payload: &RowsToPairs, pair: Element, of: &Collection) -> Collection {
    let output = leaf.build.collection(&format!("{name}.output"), pair, of.windows, of.bounded);
    leaf.build.native(name, urn::ROWS_TO_PAIRS, payload, &[("input", of)], &[("output", &output)]);
    output
}

/// A key or value that comes back, and the name of its field if it is a plain value.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    pub element: &'a Element,
    pub name: &'a str,
}

/// How pairs become rows, and the fields of these.
pub fn to_rows(place: &Place, who: &str, key: &Named<'_>, value: &Named<'_>) -> Result<(PairsToRows, Schema)> {
    let mut schema = Schema::default();
    let mut halves = Vec::new();
    for named in [key, value] {
        let unknown = || {
            let error = place.error("YAML_UNSUPPORTED", format!("`{who}` gives {}, which no row holds", named.element));
            error.help("let the function give rows, plain values or lists of them")
        };
        let fields = match named.element {
            Element::Row(schema) => {
                halves.push(Half::Row(schema.clone()));
                schema.fields.clone()
            }
            other => {
                let kind = other.field_type().ok_or_else(unknown)?;
                halves.push(Half::Value(kind.clone()));
                vec![required(named.name, kind)]
            }
        };
        for field in fields {
            if schema.position(&field.name).is_some() {
                return Err(twice(place, who, &field.name));
            }
            schema.fields.push(field);
        }
    }
    match <[Half; 2]>::try_from(halves) {
        Ok([key, value]) => Ok((PairsToRows { key, value, failed: false }, schema)),
        Err(_) => Err(Error::internal("YAML_INPUT", "a pair has two parts")),
    }
}

fn twice(place: &Place, who: &str, name: &str) -> Error {
    let error =
        place.error("SCHEMA_DUPLICATE_FIELD", format!("key and value that `{who}` gives both have a field `{name}`"));
    error.help("rename the key field with MapToFields before, or leave the field out in what the function gives")
}

/// The rows of a collection of pairs.
pub fn join(
    leaf: &mut Leaf<'_, '_>,
    name: &str,
    payload: &PairsToRows,
    output: Collection,
    of: &Collection,
) -> Collection {
    leaf.build.native(name, urn::PAIRS_TO_ROWS, payload, &[("input", of)], &[("output", &output)]);
    output
}

/// The error for an input that is no rows.
pub fn no_rows(place: &Place, who: &str, input: &Collection) -> Error {
    let message = format!("`{who}` takes rows here, but `{}` gives {}", producer(input), input.element);
    place.error("SCHEMA_MISMATCH", message).help("put a function in between that makes rows of them")
}
