//! `tables:` of a file: what tables there are, by name.

use super::node::{Fields, Node, Value};
use super::suggest::did_you_mean;
use super::transforms::json_schema;
use crate::table::{Columns, Format, TableSource, TableSpec, Topic};
use std::collections::BTreeMap;
use thalweg_core::error::Result;

/// The tables of a file.
///
/// # Errors
/// `YAML_TABLE` for a table that says not where it comes from, `TABLE_SPEC` for columns that do not fit; else as of the fields.
pub fn declared(top: &Node) -> Result<BTreeMap<String, TableSpec>> {
    let Value::Map(entries) = &top.value else { return Ok(BTreeMap::new()) };
    let tables = entries.iter().find(|(key, _)| key.name == "tables").map(|(_, node)| node);
    let tables = tables.filter(|node| !matches!(node.value, Value::Null));
    let tables = tables.map_or(Ok(&[][..]), Node::map)?;
    tables.iter().map(|(key, node)| Ok((key.name.clone(), table(node)?))).collect()
}

fn table(node: &Node) -> Result<TableSpec> {
    let mut fields = Fields::of(node)?;
    let mut schema = json_schema(fields.need("schema")?)?;
    let source = match (fields.get("path"), fields.get("topic")) {
        (Some(path), None) => {
            let text = path.text()?;
            TableSource::File { path: text.to_owned(), format: format(fields.get("format"), path, text)? }
        }
        (None, Some(topic)) => TableSource::Topic(Topic {
            topic: topic.text()?.to_owned(),
            bootstrap_servers: fields.need("bootstrap_servers")?.text()?.to_owned(),
            properties: fields.get("consumer_config").map_or(Ok(BTreeMap::new()), super::transforms::properties)?,
        }),
        _ => {
            let error = node.place.error("YAML_TABLE", "a table comes from a file or from a topic");
            return Err(error.help("add `path:` or `topic:`"));
        }
    };
    let key = match (fields.get("key"), fields.get("keys")) {
        (Some(key), None) => Columns::One(key.text()?.to_owned()),
        (None, Some(keys)) => row(keys)?,
        _ => {
            let error = node.place.error("YAML_TABLE", "a table has a key");
            return Err(error.help("add `key:` with a column, or `keys:` with a list of columns"));
        }
    };
    let value = fields.get("value").map(|node| match &node.value {
        Value::Text(name) => Ok(Columns::One(name.clone())),
        _ => row(node),
    });
    fields.finish()?;
    let value = value.transpose()?;
    // what stands alone is never null, whatever the schema requires
    for alone in [Some(&key), value.as_ref()].into_iter().flatten() {
        if let Columns::One(name) = alone
            && let Some(field) = schema.fields.iter_mut().find(|f| f.name == *name)
        {
            field.nullable = false;
        }
    }
    let spec = TableSpec { source, schema, key, value };
    match spec.pairs() {
        Ok(_) => Ok(spec),
        Err(e) => Err(node.place.error(e.code, e.message).help(e.help)),
    }
}

fn row(node: &Node) -> Result<Columns> {
    Ok(Columns::Row(node.texts()?.into_iter().map(|(name, _)| name.to_owned()).collect()))
}

/// The format that is named, or that the file's name ends with.
fn format(named: Option<&Node>, path: &Node, text: &str) -> Result<Format> {
    let name = match named {
        Some(node) => node.text()?,
        None => text.rsplit_once('.').map_or("", |(_, end)| end),
    };
    match name {
        "csv" => Ok(Format::Csv),
        "jsonl" | "json" | "ndjson" => Ok(Format::Jsonl),
        other => {
            let place = &named.unwrap_or(path).place;
            let error = place.error("YAML_FORMAT", format!("`{other}` is no format of a table"));
            Err(error.help(did_you_mean(other, &["csv", "jsonl"])))
        }
    }
}
