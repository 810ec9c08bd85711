//! `Wasm`: a function of a component. Its output types come from the component's own description; between the rows of a file
//! and functions of plain values or pairs stand conversions of the host.

use super::super::call::{self, Call};
use super::super::expand::Leaf;
use super::super::outputs::Outputs;
use super::feed::{Feed, How, convert, feed, inputs, side_feeds};
use super::pairs::{self, Named};
use super::take_error_output;
use crate::native::payload::{PairsToRows, WrapValue};
use crate::native::urn as function_urn;
use crate::pipeline::{Collection, Element, urn};
use crate::row::{FieldType, Schema, required};
use thalweg_core::error::Result;
use thalweg_wasm::describe::{Function, Kind};

/// `type: Wasm`.
pub fn wasm(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    let Call { mut payload, function } = call::read(&mut leaf.config, leaf.place, leaf.around)?;
    let (main, sides) = inputs(leaf, &function)?;
    let feed = feed(leaf, &main, &function)?;
    let side_feeds = side_feeds(leaf, &function, &sides)?;
    payload.errors = take_error_output(&mut leaf.config)?.map(str::to_owned);
    let outputs = outputs(leaf, &function, &feed)?;
    let dead = payload.errors.as_deref().map(|tag| dead(leaf, &function, &feed, tag)).transpose()?;
    let name = leaf.name.clone();
    let conversions = std::iter::once(&feed).chain(&side_feeds).any(|f| f.how != How::Whole)
        || outputs.iter().chain(&dead).any(|o| o.back != Back::Whole);
    if conversions {
        leaf.build.open(&name);
    }
    let input = convert(leaf, &feed, &main, "");
    let given: Vec<_> = sides
        .iter()
        .zip(&side_feeds)
        .map(|((tag, side), feed)| (tag.clone(), convert(leaf, feed, side, &format!("[{tag}]"))))
        .collect();
    let call = if conversions { format!("{name}/Call") } else { name.clone() };
    let inside: Vec<(String, Collection)> = outputs
        .iter()
        .chain(&dead)
        .map(|output| {
            let id = if output.back == Back::Whole { &name } else { &call };
            let id = format!("{id}.{}", output.tag);
            let collection = leaf.build.collection(&id, output.element.clone(), main.windows, main.bounded);
            (output.tag.clone(), collection)
        })
        .collect();
    let mut tag = "input".to_owned();
    while given.iter().any(|(side, _)| *side == tag) {
        tag.push('_');
    }
    let ends: Vec<_> = std::iter::once((tag.as_str(), &input)).chain(borrowed(&given)).collect();
    leaf.build.native(&call, urn::WASM, &payload, &ends, &borrowed(&inside));
    let named: Vec<_> =
        inside.into_iter().zip(outputs.iter().chain(&dead)).map(|((_, c), output)| back(leaf, output, c)).collect();
    if conversions {
        let taken: Vec<_> = std::iter::once((tag.as_str(), &main)).chain(borrowed(&sides)).collect();
        leaf.build.close(&taken, &borrowed(&named));
    }
    Ok(Outputs { main: named.first().map(|(_, c)| c.clone()), named })
}

fn borrowed(ends: &[(String, Collection)]) -> Vec<(&str, &Collection)> {
    ends.iter().map(|(tag, c)| (tag.as_str(), c)).collect()
}

/// How what a function gives becomes rows.
#[derive(Clone, PartialEq, Eq)]
enum Back {
    /// As it is.
    Whole,
    /// Plain values as rows `{element}`.
    Wrap(FieldType),
    /// Pairs as rows.
    Pairs(PairsToRows, Schema),
}

/// An output of the call.
struct Given {
    tag: String,
    element: Element,
    back: Back,
}

/// What a function gives, by kind.
fn outputs(leaf: &Leaf<'_, '_>, function: &Function, feed: &Feed) -> Result<Vec<Given>> {
    let mut all = Vec::new();
    for output in &function.outputs {
        let unknown = || {
            let message = format!("output `{}` has a coder that is not known", output.name);
            leaf.place.error("YAML_COMPONENT_FUNCTION", message).help("use a newer Thalweg")
        };
        let coded = Element::of_coder(&output.coder).ok_or_else(unknown)?;
        let element = match (&function.kind, &feed.element) {
            (Kind::CombineFn, Element::Kv(key, _)) => Element::kv((**key).clone(), coded),
            (Kind::KeySelector, element) => Element::kv(coded, element.clone()),
            _ => coded,
        };
        let back = match &element {
            Element::Row(_) => Back::Whole,
            Element::Kv(key, value) => {
                // what a selector passes on keeps its name; what a function makes is called `value`
                let value_name = if function.kind == Kind::KeySelector { feed.value.as_str() } else { "value" };
                let key_name = if feed.key.is_empty() { "key" } else { &feed.key };
                let key = Named { element: key, name: key_name };
                let value = Named { element: value, name: value_name };
                let (payload, schema) = pairs::to_rows(leaf.place, &function.name, &key, &value)?;
                Back::Pairs(payload, schema)
            }
            other => Back::Wrap(other.field_type().ok_or_else(unknown)?),
        };
        all.push(Given { tag: output.name.clone(), element, back });
    }
    Ok(all)
}

/// The output of elements that failed: rows of the element and why.
fn dead(leaf: &Leaf<'_, '_>, function: &Function, feed: &Feed, tag: &str) -> Result<Given> {
    if function.outputs.iter().any(|output| output.name == tag) {
        let error = leaf
            .place
            .error("YAML_COMPONENT_FUNCTION", format!("`{}` has an output `{tag}` of its own", function.name));
        return Err(error.help("give the output of `error_handling` another name"));
    }
    if function.kind != Kind::DoFn {
        let error = leaf
            .place
            .error("YAML_UNSUPPORTED", format!("`{}` is no DoFn: its elements do not fail alone", function.name));
        return Err(error.help("leave `error_handling` out"));
    }
    let row = |element: FieldType| {
        let fields = vec![
            required("element", element),
            required("msg", FieldType::String),
            required("stack", FieldType::String),
        ];
        Schema { fields }
    };
    let (element, back) = match (&feed.element, feed.element.field_type()) {
        (Element::Kv(key, value), _) => {
            let key = Named { element: key, name: &feed.key };
            let value = Named { element: value, name: &feed.value };
            let (payload, schema) = pairs::to_rows(leaf.place, &function.name, &key, &value)?;
            // between the two stands a row of a pair, which no schema describes
            (Element::Bytes, Back::Pairs(PairsToRows { failed: true, ..payload }, row(FieldType::Row(schema))))
        }
        (_, Some(kind)) => (Element::Row(row(kind)), Back::Whole),
        (other, None) => {
            let error = leaf.place.error("YAML_UNSUPPORTED", format!("`error_handling` for {other} is not supported"));
            return Err(error.help("leave it out, or have the function send bad elements to an output of its own"));
        }
    };
    Ok(Given { tag: tag.to_owned(), element, back })
}

/// Adds the conversion of an output.
fn back(leaf: &mut Leaf<'_, '_>, output: &Given, of: Collection) -> (String, Collection) {
    let tag = output.tag.clone();
    let collection = match &output.back {
        Back::Whole => of,
        Back::Wrap(kind) => {
            let row = Element::Row(Schema::of([("element", kind.clone())]));
            let rows = leaf.output(&tag, row, &of);
            let name = format!("{}/Wrap[{tag}]", leaf.name);
            let payload = WrapValue { kind: kind.clone() };
            leaf.build.native(&name, function_urn::WRAP_VALUE, &payload, &[("input", &of)], &[("output", &rows)]);
            rows
        }
        Back::Pairs(payload, schema) => {
            let rows = leaf.output(&tag, Element::Row(schema.clone()), &of);
            let name = format!("{}/Rows[{tag}]", leaf.name);
            pairs::join(leaf, &name, payload, rows, &of)
        }
    };
    (tag, collection)
}
