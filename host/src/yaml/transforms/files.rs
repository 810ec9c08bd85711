//! `ReadFromText`, `WriteToText`, `WriteToJson`.
//!
//! Beyond Beam YAML, ReadFromText knows `skip_header_lines` and `row_number`. The writers write one file, exactly at `path`.

use super::super::expand::Leaf;
use super::super::node::{Node, Place, Value};
use super::super::outputs::Outputs;
use super::rows;
use crate::compose::payload::{FileSink, Line, TextSource};
use crate::pipeline::{Element, Windows, urn as ends};
use crate::row::{FieldType, Schema, Show, required};
use thalweg_core::error::Result;

/// `type: ReadFromText`.
pub fn read_text(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    leaf.no_input()?;
    let path = leaf.config.need("path")?.text()?.to_owned();
    let skip_header_lines = leaf.config.get("skip_header_lines").map_or(Ok(0), Node::count)?;
    let row_number = leaf.config.get("row_number").map(Node::text).transpose()?.map(str::to_owned);
    for (key, only) in [("delimiter", "\n"), ("compression", "none")] {
        if let Some(node) = leaf.config.get(key).filter(|n| !matches!(&n.value, Value::Text(t) if t == only)) {
            let error = node.place.error("YAML_UNSUPPORTED", format!("`{key}: {}` is not read", node.describe()));
            return Err(error.help("leave it out: plain text, one row a line"));
        }
    }
    let mut fields = vec![required("line", FieldType::String)];
    fields.extend(row_number.as_ref().map(|name| required(name, FieldType::Int64)));
    let name = format!("{}.output", leaf.name);
    let output = leaf.build.collection(&name, Element::Row(Schema { fields }), Windows::Global, true);
    let payload = TextSource { path, skip_header_lines, row_number, plain: false };
    leaf.build.native(&leaf.name, ends::SOURCE_TEXT, &payload, &[], &[("output", &output)]);
    Ok(Outputs::one(output))
}

/// `type: WriteToJson`: one JSON object a line.
pub fn write_json(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    let input = leaf.input()?;
    let schema = rows(leaf, &input)?.clone();
    let sink = FileSink { path: path(leaf)?, schema, line: Line::Json };
    leaf.build.native(&leaf.name, ends::SINK_FILE, &sink, &[("input", &input)], &[]);
    Ok(Outputs::default())
}

/// `type: WriteToText`: rows with exactly one field, a line each. Texts stand there as they are, timestamps as RFC 3339, null as
/// an empty line, and all others as JSON: `true` where Beam writes `True`.
pub fn write_text(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    let input = leaf.input()?;
    let schema = rows(leaf, &input)?.clone();
    let field = sole_field(&schema, leaf.kind, leaf.place)?;
    let sink = FileSink { path: path(leaf)?, schema, line: Line::Field(field) };
    leaf.build.native(&leaf.name, ends::SINK_FILE, &sink, &[("input", &input)], &[]);
    Ok(Outputs::default())
}

fn path(leaf: &mut Leaf<'_, '_>) -> Result<String> {
    let path = leaf.config.need("path")?.text()?.to_owned();
    for key in ["orient", "lines", "num_shards"] {
        if let Some(node) = leaf.config.get(key) {
            let wanted = match (key, &node.value) {
                ("orient", Value::Text(orient)) => orient == "records",
                ("lines", Value::Bool(lines)) => *lines,
                ("num_shards", Value::Int(shards)) => *shards == 1,
                _ => false,
            };
            if !wanted {
                let error =
                    node.place.error("YAML_UNSUPPORTED", format!("`{key}: {}` is not supported", node.describe()));
                return Err(error.help("leave it out: one file at `path`, one row a line"));
            }
        }
    }
    Ok(path)
}

/// The name of the field of rows with one field.
pub fn sole_field(schema: &Schema, kind: &str, place: &Place) -> Result<String> {
    if let [only] = schema.fields.as_slice() {
        return Ok(only.name.clone());
    }
    let error =
        place.error("SCHEMA_MISMATCH", format!("`{kind}` takes rows with exactly one field, not {}", Show(schema)));
    Err(error.help("keep one field with MapToFields before, or write JSON"))
}
