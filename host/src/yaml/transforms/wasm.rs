//! `Wasm`: a function of a component. Its output types come from the component's own description.

use super::super::expand::Leaf;
use super::super::node::{Node, Value};
use super::super::outputs::Outputs;
use super::super::suggest::did_you_mean;
use super::{producer, take_error_output};
use crate::compose::payload::WasmCall;
use crate::native::payload::{UnwrapValue, WrapValue};
use crate::native::urn as function_urn;
use crate::pipeline::{Collection, Element, urn};
use crate::row::{FieldType, Schema, TypeName, required};
use std::path::Path;
use thalweg_core::error::{Error, Result};
use thalweg_wasm::describe::Function;
use thalweg_wasm::{AskedLimits, Grants};

/// `type: Wasm`.
pub fn wasm(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    let input = leaf.input()?;
    let (component, function) = find(leaf)?;
    let function = &function;
    let how = check_input(leaf, &input, function)?;
    let errors = take_error_output(&mut leaf.config)?.map(str::to_owned);
    let config = leaf.config.get("config").map(json);
    let (grant, limits): (Grants, AskedLimits) = (named(leaf, "grant")?, named(leaf, "limits")?);
    let name = function.name.clone();
    let payload = WasmCall { component, digest: None, function: name, config, grant, limits, errors: errors.clone() };
    let plain = how == Input::Plain
        || function.outputs.iter().any(|o| Element::of_coder(&o.coder).is_some_and(|e| kind(&e).is_some()));
    let name = leaf.name.clone();
    if plain {
        leaf.build.open(&name);
    }
    let input = if how == Input::Plain { unwrap(leaf, &input) } else { input };
    let mut inside = Vec::new();
    for output in &function.outputs {
        let element = Element::of_coder(&output.coder).ok_or_else(|| {
            let error = leaf
                .place
                .error("YAML_COMPONENT_FUNCTION", format!("output `{}` has a coder that is not known", output.name));
            error.help("use a newer Thalweg")
        })?;
        let id = if kind(&element).is_some() {
            format!("{name}/Call.{}", output.name)
        } else {
            format!("{name}.{}", output.name)
        };
        inside.push((output.name.clone(), leaf.build.collection(&id, element, input.windows, input.bounded)));
    }
    if let Some(tag) = errors {
        if inside.iter().any(|(name, _)| *name == tag) {
            let error = leaf
                .place
                .error("YAML_COMPONENT_FUNCTION", format!("`{}` has an output `{tag}` of its own", function.name));
            return Err(error.help("give the output of `error_handling` another name"));
        }
        let element = failed(leaf, &input)?;
        inside.push((tag.clone(), leaf.output(&tag, element, &input)));
    }
    let call = if plain { format!("{name}/Call") } else { name };
    leaf.build.native(&call, urn::WASM, &payload, &[("input", &input)], &borrowed(&inside));
    let named: Vec<_> =
        inside.into_iter().map(|(tag, collection)| (tag.clone(), wrap(leaf, &tag, collection))).collect();
    if plain {
        leaf.build.close(&[("input", &input)], &borrowed(&named));
    }
    Ok(Outputs { main: named.first().map(|(_, c)| c.clone()), named })
}

/// The component's path and the function.
fn find(leaf: &mut Leaf<'_, '_>) -> Result<(String, Function)> {
    let path = leaf.config.need("component")?;
    let component = path.text()?.to_owned();
    let description = leaf.components.describe(Path::new(&component)).map_err(|e| at(path, e))?;
    let wanted = leaf.config.get("function");
    let function = match (wanted, description.functions.as_slice()) {
        (None, [only]) => only,
        (wanted, functions) => {
            let names: Vec<&str> = functions.iter().map(|f| f.name.as_str()).collect();
            let Some(node) = wanted else {
                let error = leaf.place.error("YAML_MISSING_KEY", format!("{component} has several functions"));
                return Err(error.help(format!("add `function:` with one of {}", names.join(", "))));
            };
            let name = node.text()?;
            functions.iter().find(|f| f.name == name).ok_or_else(|| {
                let message = format!("{component} has no function `{name}`");
                node.place.error("YAML_COMPONENT_FUNCTION", message).help(did_you_mean(name, &names))
            })?
        }
    };
    match function.unsupported() {
        None => Ok((component, function.clone())),
        Some(what) => {
            let message = format!("`{}` needs {what}, which is not offered", function.name);
            let error = leaf.place.error("YAML_COMPONENT_FUNCTION", message);
            Err(error.help("build the function without it, or use a newer Thalweg"))
        }
    }
}

/// What stands under `grant` or `limits`, by the names in its type.
fn named<T: Default + serde::de::DeserializeOwned>(leaf: &mut Leaf<'_, '_>, key: &'static str) -> Result<T> {
    let Some(node) = leaf.config.get(key) else { return Ok(T::default()) };
    serde_json::from_value(json(node)).map_err(|e| node.place.error("YAML_WRONG_TYPE", format!("`{key}`: {e}")))
}

fn borrowed(ends: &[(String, Collection)]) -> Vec<(&str, &Collection)> {
    ends.iter().map(|(tag, c)| (tag.as_str(), c)).collect()
}

/// The field type of elements that are plain values.
fn kind(element: &Element) -> Option<FieldType> {
    Some(match element {
        Element::Bytes => FieldType::Bytes,
        Element::String => FieldType::String,
        Element::Int64 => FieldType::Int64,
        Element::Double => FieldType::Double,
        Element::Boolean => FieldType::Boolean,
        Element::Row(_) | Element::Kv(..) | Element::Iterable(_) => return None,
    })
}

/// Takes the values out of rows of one field, for a function of plain values.
fn unwrap(leaf: &mut Leaf<'_, '_>, input: &Collection) -> Collection {
    let Element::Row(schema) = &input.element else { return input.clone() };
    let element = match schema.fields.first().map(|f| &f.kind) {
        Some(FieldType::String) => Element::String,
        Some(FieldType::Int64) => Element::Int64,
        Some(FieldType::Double) => Element::Double,
        Some(FieldType::Boolean) => Element::Boolean,
        _ => Element::Bytes,
    };
    let name = format!("{}/Unwrap", leaf.name);
    let output = leaf.build.collection(&format!("{name}.output"), element, input.windows, input.bounded);
    let payload = UnwrapValue { input: schema.clone() };
    leaf.build.native(&name, function_urn::UNWRAP_VALUE, &payload, &[("input", input)], &[("output", &output)]);
    output
}

/// Makes rows `{element}` of plain values; other elements stay as they are.
fn wrap(leaf: &mut Leaf<'_, '_>, tag: &str, of: Collection) -> Collection {
    let Some(kind) = kind(&of.element) else { return of };
    let row = Element::Row(Schema::of([("element", kind.clone())]));
    let output = leaf.output(tag, row, &of);
    let name = format!("{}/Wrap[{tag}]", leaf.name);
    leaf.build.native(&name, function_urn::WRAP_VALUE, &WrapValue { kind }, &[("input", &of)], &[("output", &output)]);
    output
}

/// An error about a component, at the place that names it.
fn at(node: &Node, error: Error) -> Error {
    let place = &node.place;
    Error {
        message: format!("{}:{}:{}: {}: {}", place.file, place.line, place.column, place.path, error.message),
        ..error
    }
}

/// How a function takes its input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    /// As it is.
    Whole,
    /// As the values of rows of one field.
    Plain,
}

fn check_input(leaf: &Leaf<'_, '_>, input: &Collection, function: &Function) -> Result<Input> {
    let takes = Element::of_coder(&function.input);
    let help = match (&takes, &input.element) {
        (Some(Element::Row(takes)), Element::Row(gives)) => match difference(takes, gives) {
            None => return Ok(Input::Whole),
            Some(help) => help,
        },
        (Some(takes), gives) if takes == gives => return Ok(Input::Whole),
        (Some(Element::Kv(..)), _) => {
            "a function with keys runs in programs of the Beam SDKs; YAML has no keyed collections".to_owned()
        }
        (Some(plain), Element::Row(gives)) => match (kind(plain), gives.fields.as_slice()) {
            (Some(kind), [only]) if only.kind == kind && !only.nullable => return Ok(Input::Plain),
            (Some(kind), _) => format!("keep one field of type {} with MapToFields before", TypeName(&kind)),
            (None, _) => "build the function for rows of these fields".to_owned(),
        },
        _ => "build the function for rows of these fields".to_owned(),
    };
    let takes = takes.map_or("something else".to_owned(), |t| t.to_string());
    let message = format!("`{}` takes {takes}, but `{}` gives {}", function.name, producer(input), input.element);
    Err(leaf.place.error("SCHEMA_MISMATCH", message).help(help))
}

/// How to mend the first difference of two schemas; `None` if rows of one can be read as rows of the other: they have the
/// same fields in the same order, and what may be null may be so in both.
fn difference(takes: &Schema, gives: &Schema) -> Option<String> {
    for (i, wanted) in takes.fields.iter().enumerate() {
        let name = &wanted.name;
        let kind = TypeName(&wanted.kind);
        let Some(place) = gives.position(name) else { return Some(format!("add the field `{name}` of type {kind}")) };
        let Some(found) = gives.fields.get(place) else { continue };
        if found.kind != wanted.kind {
            return Some(format!("`{name}` must be of type {kind}, but is of type {}", TypeName(&found.kind)));
        }
        if found.nullable && !wanted.nullable {
            return Some(format!(
                "`{name}` may be null: list it under `required` in the schema of its source, or let the function take null"
            ));
        }
        if place != i {
            return Some("bring the fields into this order with MapToFields before".to_owned());
        }
    }
    (takes.fields.len() < gives.fields.len()).then(|| "drop the other fields with MapToFields before".to_owned())
}

/// What the error output holds: the element and why it failed.
fn failed(leaf: &Leaf<'_, '_>, input: &Collection) -> Result<Element> {
    let element = match &input.element {
        Element::Row(schema) => Some(FieldType::Row(schema.clone())),
        plain => kind(plain),
    };
    let Some(element) = element else {
        let error =
            leaf.place.error("YAML_UNSUPPORTED", format!("`error_handling` for {} is not supported", input.element));
        return Err(error.help("leave it out, or have the function send bad elements to an output of its own"));
    };
    Ok(Element::Row(Schema {
        fields: vec![
            required("element", element),
            required("msg", FieldType::String),
            required("stack", FieldType::String),
        ],
    }))
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
