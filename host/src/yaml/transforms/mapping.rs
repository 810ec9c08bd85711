//! `MapToFields` as far as it copies, drops and renames fields, and `LogForTesting`.

use super::super::expand::Leaf;
use super::super::node::{Fields, Key, Node, Value};
use super::super::outputs::Outputs;
use super::super::suggest::did_you_mean;
use super::{check_new, field, rows};
use crate::native::payload::{LogLevel, LogRows, MapFields};
use crate::native::urn;
use crate::pipeline::Element;
use crate::row::{Field, Schema};
use thalweg_core::error::Result;

/// `type: MapToFields`.
pub fn map_to_fields(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    let input = leaf.input()?;
    let before = rows(leaf, &input)?.clone();
    let append = leaf.config.get("append").map_or(Ok(false), Node::bool)?;
    let drop = leaf.config.get("drop");
    let fields = leaf.config.get("fields");
    if let Some(language) = leaf.config.get("language") {
        language.text()?; // nothing here is written in one
    }
    let mut after = Schema::default();
    let mut sources = Vec::new();
    let dropped = drop.map_or(Ok(Vec::new()), Node::texts)?;
    let dropped = dropped.into_iter().map(|(name, place)| field(&before, name, place)).collect::<Result<Vec<_>>>()?;
    if let Some(drop) = drop.filter(|_| !append) {
        let error = drop.place.error("YAML_DROP", "`drop` goes with `append: true`");
        return Err(error.help("without `append`, only the fields under `fields` are kept anyway"));
    }
    if append {
        for (i, kept) in before.fields.iter().enumerate().filter(|(i, _)| !dropped.contains(i)) {
            after.fields.push(kept.clone());
            sources.push(i);
        }
    }
    let mapped: &[(Key, Node)] = fields.map_or(Ok(&[][..]), Node::map)?;
    for (key, node) in mapped {
        check_new(&after, &key.name, &key.place)?;
        let (name, place) = source(node)?;
        let i = field(&before, name, place)?;
        let Some(of) = before.fields.get(i) else { continue };
        after.fields.push(Field { name: key.name.clone(), ..of.clone() });
        sources.push(i);
    }
    if after.fields.is_empty() {
        let error = leaf.place.error("YAML_EMPTY", "no field is left");
        return Err(error.help("name the fields to keep: `fields: {new_name: old_name}`"));
    }
    let output = leaf.output("output", Element::Row(after), &input);
    let payload = MapFields { input: before, fields: sources };
    leaf.build.native(&leaf.name, urn::MAP_FIELDS, &payload, &[("input", &input)], &[("output", &output)]);
    Ok(Outputs::one(output))
}

/// The field that is copied: `new: old`, or `new: {expression: old}`.
fn source(node: &Node) -> Result<(&str, &super::super::node::Place)> {
    let node = match &node.value {
        Value::Map(map) => {
            if let Some((key, _)) = map.iter().find(|(key, _)| matches!(key.name.as_str(), "callable" | "path")) {
                let error = key.place.error("YAML_EXPRESSION", format!("`{}` does not run natively", key.name));
                return Err(error.help(super::RUN_WITH_BEAM));
            }
            let mut fields = Fields::of(node)?;
            let expression = fields.need("expression")?;
            fields.finish()?;
            expression
        }
        Value::Text(_) => node,
        _ => {
            let error = node.place.error("YAML_EXPRESSION", format!("{} is not the name of a field", node.describe()));
            return Err(error.help("constants do not run natively: name a field, or add it in a Wasm function"));
        }
    };
    Ok((node.text()?, &node.place))
}

const LEVELS: [(&str, LogLevel); 4] =
    [("DEBUG", LogLevel::Debug), ("INFO", LogLevel::Info), ("WARN", LogLevel::Warn), ("ERROR", LogLevel::Error)];

/// `type: LogForTesting`.
pub fn log(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    let input = leaf.input()?;
    let schema = rows(leaf, &input)?.clone();
    let level = match leaf.config.get("level") {
        None => LogLevel::Info,
        Some(node) => {
            let text = node.text()?.to_uppercase();
            let text = if text == "WARNING" { "WARN" } else { text.as_str() };
            let found = LEVELS.iter().find(|(name, _)| *name == text).map(|(_, level)| *level);
            found.ok_or_else(|| {
                let known: Vec<&str> = LEVELS.iter().map(|(name, _)| *name).collect();
                let error = node.place.error("YAML_LOG_LEVEL", format!("there is no log level `{text}`"));
                error.help(did_you_mean(text, &known))
            })?
        }
    };
    let prefix = leaf.config.get("prefix").map_or(Ok(""), Node::text)?.to_owned();
    let output = leaf.output("output", input.element.clone(), &input);
    let payload = LogRows { input: schema, level, prefix };
    leaf.build.native(&leaf.name, urn::LOG, &payload, &[("input", &input)], &[("output", &output)]);
    Ok(Outputs::one(output))
}
