//! Functions of components, for programs in any SDK: the coders of the outputs come from the component's own description.
//!
//! Paths are of the machine on which the job runs, which is this one.

use super::{json, offer};
use crate::compose::ComponentStore;
use crate::compose::payload::WasmCall;
use crate::pipeline::{Element, urn};
use crate::row::{FieldType, to_proto};
use crate::table::TableSpec;
use crate::yaml::Components as _;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;
use thalweg_beam::expansion::{Expansion, Input, Offer, Options, Request, component_windows};
use thalweg_beam::urn::coder;
use thalweg_beam::urn::transform::WINDOW_INTO;
use thalweg_core::error::{Error, Result};
use thalweg_wasm::describe::{Function, Kind};

/// Calls a function, as a transform of a URN.
pub const CALL: &str = urn::WASM;
/// The same as a schema transform.
pub const SCHEMA: &str = "thalweg:schematransform:wasm:v1";

/// What is discovered.
pub fn offers() -> Vec<Offer> {
    use FieldType::String;
    let options = [
        ("component", String, true),
        ("config", String, false),
        ("function", String, true),
        ("grant", String, false),
        ("limits", String, false),
        ("tables", String, false),
    ];
    let about = "Applies a function of a WebAssembly component: a DoFn, a key selector, a WindowFn, or a CombineFn to the values of each key. \
        `config`, `grant`, `limits` and `tables` are JSON. Inputs with the names of side inputs are these; outputs have the names of the function's.";
    vec![offer(SCHEMA, about, &options, &["input"], &["output"])]
}

/// Expands a call.
pub fn call(components: &ComponentStore, request: &Request, mut options: Options, out: &mut Expansion) -> Result<()> {
    let component = options.need_text("component")?;
    let description = components.describe(Path::new(&component))?;
    let name = options.need_text("function")?;
    let function = description.function(&name).ok_or_else(|| {
        let known: Vec<&str> = description.functions.iter().map(|f| f.name.as_str()).collect();
        options.wrong("function", &format!("is {name:?}; {component} has {}", known.join(", ")))
    })?;
    let payload = WasmCall {
        component,
        function: name,
        config: parsed(&mut options, "config")?,
        grant: parsed(&mut options, "grant")?.unwrap_or_default(),
        limits: parsed(&mut options, "limits")?.unwrap_or_default(),
        tables: parsed::<BTreeMap<String, TableSpec>>(&mut options, "tables")?.unwrap_or_default(),
        ..WasmCall::default()
    };
    options.finish()?;
    let main = main_input(request, function)?;
    if function.kind == Kind::WindowFn {
        windows(&json(&payload), function, main, out);
        return Ok(());
    }
    let mut outputs = Vec::new();
    for output in &function.outputs {
        let element = Element::of_coder(&output.coder).ok_or_else(|| unknown(function))?;
        let own = coder_of(&element, out);
        let id = match function.kind {
            Kind::DoFn => own,
            Kind::KeySelector => out.coder(coder::KV, &[&own, &main.coder]),
            Kind::CombineFn => match request.coder(&main.coder) {
                (coder::KV, [key, _]) => out.coder(coder::KV, &[key, &own]),
                _ => return Err(request.wrong_input("has no keys, but a CombineFn combines the values of each")),
            },
            _ => return Err(unknown(function)),
        };
        outputs
            .push((output.name.clone(), out.collection_like(&format!("Call.{}", output.name), &id, &main.collection)));
    }
    let inputs: Vec<(&str, &str)> = request.inputs.iter().map(|i| (i.tag.as_str(), i.collection.as_str())).collect();
    let ends: Vec<(&str, &str)> = outputs.iter().map(|(tag, id)| (tag.as_str(), id.as_str())).collect();
    out.step("Call", urn::WASM, json(&payload), &inputs, &ends);
    outputs.iter().for_each(|(tag, id)| out.output(tag, id));
    Ok(())
}

/// Puts the elements of a collection into windows of a component.
fn windows(call: &[u8], function: &Function, main: &Input, out: &mut Expansion) {
    let end = out.collection_windowed("Call.windows", &main.collection, call, function.merges);
    let inputs = [(main.tag.as_str(), main.collection.as_str())];
    out.step("Call", WINDOW_INTO, component_windows(call), &inputs, &[("output", &end)]);
    out.output("output", &end);
}

fn unknown(function: &Function) -> Error {
    let message = format!("`{}` is a function that this service does not expand", function.name);
    Error::user("EXPANSION_INPUT", message).help("name a DoFn, CombineFn, WindowFn or key selector")
}

/// An option that is JSON.
fn parsed<T: DeserializeOwned>(options: &mut Options, name: &'static str) -> Result<Option<T>> {
    let Some(text) = options.text(name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|e| options.wrong(name, &format!("is not such JSON: {e}")))
}

/// The input that is none of the side inputs.
fn main_input<'r>(request: &'r Request, function: &Function) -> Result<&'r Input> {
    let mut mains = request.inputs.iter().filter(|i| function.side_inputs.iter().all(|side| side.name != i.tag));
    match (mains.next(), mains.next()) {
        (Some(main), None) => Ok(main),
        _ => {
            let names: Vec<&str> = function.side_inputs.iter().map(|s| s.name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Err(request
                .wrong_input(&format!("has to be one, besides side inputs, of which `{}` has {names}", function.name)))
        }
    }
}

/// The coder of elements.
fn coder_of(element: &Element, out: &mut Expansion) -> String {
    let parts: Vec<String> = match element {
        Element::Row(schema) => return out.row_coder(&to_proto(schema)),
        Element::Kv(key, value) => vec![coder_of(key, out), coder_of(value, out)],
        Element::Iterable(of) => vec![coder_of(of, out)],
        _ => Vec::new(),
    };
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    out.coder(element.coder_urn(), &parts)
}
