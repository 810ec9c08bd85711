//! The call of a component's function: `component`, `function`, `config` and `tables` of a mapping.

use super::Around;
use super::node::{Fields, Key, Node, Place, Value};
use super::suggest::did_you_mean;
use crate::compose::payload::WasmCall;
use crate::table::TableSpec;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;
use thalweg_core::error::{Error, Result};
use thalweg_wasm::describe::Function;
use thalweg_wasm::{AskedLimits, Grants};

/// A function and how it is called.
pub struct Call {
    /// What goes into the pipeline.
    pub payload: WasmCall,
    /// What the function says of itself.
    pub function: Function,
}

/// Reads a call. `place` is that of the transform.
///
/// # Errors
/// `YAML_COMPONENT_FUNCTION` for a function that is not there or not offered, `YAML_TABLE`; those of the component.
pub fn read(fields: &mut Fields<'_>, place: &Place, around: &Around<'_>) -> Result<Call> {
    let path = fields.need("component")?;
    let component = path.text()?.to_owned();
    let description = around.components.describe(Path::new(&component)).map_err(|e| at(path, e))?;
    let wanted = fields.get("function");
    let function = match (wanted, description.functions.as_slice()) {
        (None, [only]) => only,
        (wanted, functions) => {
            let names: Vec<&str> = functions.iter().map(|f| f.name.as_str()).collect();
            let Some(node) = wanted else {
                let error = place.error("YAML_MISSING_KEY", format!("{component} has several functions"));
                return Err(error.help(format!("add `function:` with one of {}", names.join(", "))));
            };
            let name = node.text()?;
            functions.iter().find(|f| f.name == name).ok_or_else(|| {
                let message = format!("{component} has no function `{name}`");
                node.place.error("YAML_COMPONENT_FUNCTION", message).help(did_you_mean(name, &names))
            })?
        }
    };
    if let Some(what) = function.unsupported() {
        let message = format!("`{}` needs {what}, which is not offered", function.name);
        let error = place.error("YAML_COMPONENT_FUNCTION", message);
        return Err(error.help("build the function without it, or use a newer Thalweg"));
    }
    let config = fields.get("config").map(json);
    let (grant, limits): (Grants, AskedLimits) = (named(fields, "grant")?, named(fields, "limits")?);
    let tables = tables(fields, function, place, around)?;
    let name = function.name.clone();
    let payload = WasmCall { component, function: name, config, grant, limits, tables, ..WasmCall::default() };
    Ok(Call { payload, function: function.clone() })
}

/// What stands under `grant` or `limits`, by the names in its type.
fn named<T: Default + DeserializeOwned>(fields: &mut Fields<'_>, key: &'static str) -> Result<T> {
    let Some(node) = fields.get(key) else { return Ok(T::default()) };
    serde_json::from_value(json(node)).map_err(|e| node.place.error("YAML_WRONG_TYPE", format!("`{key}`: {e}")))
}

/// The tables of a function: `tables: {name in the function: name in the file}`; a table of the same name needs no word.
fn tables(
    fields: &mut Fields<'_>,
    function: &Function,
    place: &Place,
    around: &Around<'_>,
) -> Result<BTreeMap<String, TableSpec>> {
    let named: &[(Key, Node)] = fields.get("tables").map_or(Ok(&[][..]), Node::map)?;
    let described: Vec<&str> = function.tables.iter().map(|t| t.name.as_str()).collect();
    if let Some((key, _)) = named.iter().find(|(key, _)| !described.contains(&key.name.as_str())) {
        let error = key.place.error("YAML_TABLE", format!("`{}` looks up no table `{}`", function.name, key.name));
        return Err(error.help(did_you_mean(&key.name, &described)));
    }
    let mut bound = BTreeMap::new();
    for name in described {
        let node = named.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
        let wanted = node.map_or(Ok(name), Node::text)?;
        bound.insert(name.to_owned(), declared(wanted, node.map_or(place, |n| &n.place), around)?.clone());
    }
    Ok(bound)
}

/// A table that the file declares.
///
/// # Errors
/// `YAML_TABLE` if it does not.
pub fn declared<'a>(name: &str, place: &Place, around: &'a Around<'_>) -> Result<&'a TableSpec> {
    around.tables.get(name).ok_or_else(|| {
        let known: Vec<&str> = around.tables.keys().map(String::as_str).collect();
        let error = place.error("YAML_TABLE", format!("the file declares no table `{name}`"));
        error.help(if known.is_empty() {
            format!("declare it beside `pipeline:`: `tables: {{{name}: {{path: FILE, schema: ..., key: COLUMN}}}}`")
        } else {
            did_you_mean(name, &known)
        })
    })
}

/// An error about a component, at the place that names it.
fn at(node: &Node, error: Error) -> Error {
    let place = &node.place;
    Error {
        message: format!("{}:{}:{}: {}: {}", place.file, place.line, place.column, place.path, error.message),
        ..error
    }
}

/// Configuration as JSON.
fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(n) => (*n).into(),
        Value::Float(x) => (*x).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(list) => list.iter().map(json).collect(),
        Value::Map(map) => map.iter().map(|(key, node)| (key.name.clone(), json(node))).collect(),
    }
}
