//! From a JSON schema to the schema of rows.
//!
//! In: the JSON of an object's schema. Out: a field per property in their order, null where it is not required. Source: JSON
//! Schema, `JsonUtils.beamSchemaFromJsonSchema` of Java.

use crate::row::{Field, FieldType, Schema};
use serde::Deserialize;
use std::fmt;

/// How deep objects may be nested.
const DEPTH_MAX: u32 = 32;

/// The part of a JSON schema that says something about rows; the rest of it only narrows values.
#[derive(Deserialize)]
struct Node {
    #[serde(rename = "type", default)]
    kind: Option<Types>,
    #[serde(default)]
    properties: Properties,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default)]
    items: Option<Box<Node>>,
}

/// `"string"`, or `["string", "null"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Types {
    One(String),
    Some(Vec<String>),
}

/// Properties in the order in which they stand.
#[derive(Default)]
struct Properties(Vec<(String, Node)>);

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Properties;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of properties")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Properties, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Properties(all))
            }
        }
        d.deserialize_map(Visitor)
    }
}

/// The schema of rows of a JSON schema.
///
/// # Errors
/// A sentence on what is wrong with it.
pub fn schema(text: &str) -> Result<Schema, String> {
    let root: Node = serde_json::from_str(text).map_err(|e| format!("is no JSON schema: {e}"))?;
    match field("", root, true, DEPTH_MAX)?.kind {
        FieldType::Row(schema) if !schema.fields.is_empty() => Ok(schema),
        FieldType::Row(_) => Err("has no properties".to_owned()),
        _ => Err("is of no object".to_owned()),
    }
}

fn field(name: &str, node: Node, required: bool, depth: u32) -> Result<Field, String> {
    let depth = depth.checked_sub(1).ok_or_else(|| "is nested too deeply".to_owned())?;
    let types = match node.kind {
        Some(Types::One(kind)) => vec![kind],
        Some(Types::Some(kinds)) => kinds,
        None if node.properties.0.is_empty() => return Err(format!("gives {name:?} no type")),
        None => vec!["object".to_owned()],
    };
    let null = types.iter().any(|kind| kind == "null");
    let kinds: Vec<&str> = types.iter().map(String::as_str).filter(|kind| *kind != "null").collect();
    let kind = match kinds.as_slice() {
        ["string"] => FieldType::String,
        ["integer"] => FieldType::Int64,
        ["number"] => FieldType::Double,
        ["boolean"] => FieldType::Boolean,
        ["array"] => {
            let items = node.items.ok_or_else(|| format!("gives the array {name:?} no items"))?;
            FieldType::Array(Box::new(Field { name: String::new(), ..field(name, *items, true, depth)? }))
        }
        ["object"] => FieldType::Row(row(node.properties, &node.required, depth)?),
        _ => return Err(format!("gives {name:?} the type {}, which no field has", types.join(" or "))),
    };
    Ok(Field { name: name.to_owned(), kind, nullable: null || !required })
}

fn row(properties: Properties, required: &[String], depth: u32) -> Result<Schema, String> {
    let mut schema = Schema::default();
    for (name, node) in properties.0 {
        if schema.position(&name).is_some() {
            return Err(format!("names {name:?} twice"));
        }
        let needed = required.contains(&name);
        schema.fields.push(field(&name, node, needed, depth)?);
    }
    match required.iter().find(|name| schema.position(name).is_none()) {
        Some(name) => Err(format!("requires {name:?}, which is no property")),
        None => Ok(schema),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Show;

    #[test]
    fn properties_become_fields_in_their_order() {
        let text = r#"{"type": "object", "title": "x", "required": ["b"], "properties": {
            "b": {"type": "string", "format": "date"}, "a": {"type": "integer"}, "n": {"type": ["number", "null"]},
            "list": {"type": "array", "items": {"type": "boolean"}},
            "in": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}}}"#;
        let found = schema(text).map(|s| Show(&s).to_string());
        let wanted = "{b: string, a: int64?, n: double?, list: list of boolean?, in: {x: string}?}";
        assert_eq!(found.as_deref(), Ok(wanted));
    }

    #[test]
    fn what_is_no_schema_of_rows_is_refused_with_the_reason() {
        for (text, why) in [
            ("{", "is no JSON schema"),
            (r#"{"type": "string"}"#, "of no object"),
            (r#"{"type": "object"}"#, "no properties"),
            (r#"{"type": "object", "properties": {"a": {"type": "decimal"}}}"#, "decimal"),
            (r#"{"type": "object", "properties": {"a": {}}}"#, "\"a\" no type"),
            (r#"{"type": "object", "properties": {"a": {"type": "array"}}}"#, "no items"),
            (r#"{"type": "object", "properties": {"a": {"type": "string"}, "a": {"type": "string"}}}"#, "twice"),
            (r#"{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]}"#, "requires \"b\""),
        ] {
            let error = schema(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        let deep = format!("{}{}{}", r#"{"properties":{"a":"#.repeat(100), r#"{"type":"string"}"#, "}}".repeat(100));
        assert!(schema(&deep).is_err());
    }
}
