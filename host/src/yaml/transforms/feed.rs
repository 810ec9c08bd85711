//! What functions of components are fed with: which inputs are side inputs, and how the rows of each become what the function takes.

use super::super::expand::Leaf;
use super::super::node::{Fields, Node, Value};
use super::super::suggest::did_you_mean;
use super::pairs;
use super::producer;
use super::windowing::never_closes;
use crate::native::payload::{Part, RowsToPairs, UnwrapValue};
use crate::native::urn as function_urn;
use crate::pipeline::{Collection, Element};
use crate::row::{Schema, TypeName};
use thalweg_core::error::Result;
use thalweg_wasm::describe::{Function, Kind, SideInput};

pub type Tagged = Vec<(String, Collection)>;

/// The main input, and the side inputs in the order of the description: inputs that are called as the function calls them.
pub fn inputs(leaf: &Leaf<'_, '_>, function: &Function) -> Result<(Collection, Tagged)> {
    let mut sides = Vec::new();
    for side in &function.side_inputs {
        let found = leaf.inputs.iter().find(|(tag, _)| *tag == side.name);
        let (tag, input) = found.ok_or_else(|| {
            let message =
                format!("`{}` reads a side input `{}`, which is none of the inputs", function.name, side.name);
            leaf.place.error("YAML_INPUT", message).help(format!("write `input: {{input: MAIN, {}: NAME}}`", side.name))
        })?;
        sides.push((tag.clone(), input.clone()));
    }
    let mut mains = leaf.inputs.iter().filter(|(tag, _)| function.side_inputs.iter().all(|s| s.name != *tag));
    match (mains.next(), mains.next()) {
        (Some((_, main)), None) => Ok((main.clone(), sides)),
        (Some(_), Some((tag, _))) if !function.side_inputs.is_empty() => {
            let names: Vec<&str> = function.side_inputs.iter().map(|s| s.name.as_str()).collect();
            let message = format!("`{}` reads no side input `{tag}`", function.name);
            Err(leaf.place.error("YAML_INPUT", message).help(did_you_mean(tag, &names)))
        }
        _ => leaf.input().map(|main| (main, sides)),
    }
}

/// How rows become what a function takes.
#[derive(Clone, PartialEq, Eq)]
pub enum How {
    /// As they are.
    Whole,
    /// As the values of rows of one field.
    Plain(Schema),
    /// As pairs.
    Pairs(Box<RowsToPairs>),
}

/// What a function is fed with.
pub struct Feed {
    /// What it gets.
    pub element: Element,
    /// How rows become that.
    pub how: How,
    /// Name of the field that a plain key comes from.
    pub key: String,
    /// Name of the field that a plain value comes from.
    pub value: String,
}

/// What the rows of the main input become.
pub fn feed(leaf: &mut Leaf<'_, '_>, input: &Collection, function: &Function) -> Result<Feed> {
    let takes = Element::of_coder(&function.input);
    match (&function.kind, &takes) {
        (Kind::WindowFn, _) => {
            let message = format!("`{}` assigns windows", function.name);
            let error = leaf.place.error("YAML_COMPONENT_FUNCTION", message);
            Err(error.help("use it in a WindowInto: `windowing: {type: wasm, component: FILE, function: NAME}`"))
        }
        (Kind::CombineFn, Some(value)) => {
            if never_closes(input.windows, input.bounded) {
                let error = leaf.place.error("YAML_WINDOWING", "combining an endless input needs windows");
                return Err(error.help("put a WindowInto before it, for example `windowing: {type: fixed, size: 1m}`"));
            }
            let Element::Row(schema) = &input.element else {
                return Err(pairs::no_rows(leaf.place, &function.name, input));
            };
            let key = pairs::chosen_key(&mut leaf.config, schema)?.ok_or_else(|| {
                let error = leaf.place.error("YAML_MISSING_KEY", format!("`{}` combines per key", function.name));
                error.help("add `key: FIELD` or `keys: [FIELD, FIELD]`: rows that are equal in them are combined")
            })?;
            let field = |i: &usize| schema.fields.get(*i).cloned();
            let plain = |i: &usize| field(i).filter(|f| !f.nullable).and_then(|f| Element::plain(&f.kind));
            let element = match &key {
                pairs::Chosen::One(i) => {
                    plain(i).unwrap_or(Element::Row(Schema { fields: field(i).into_iter().collect() }))
                }
                pairs::Chosen::Row(fields) => {
                    Element::Row(Schema { fields: fields.iter().filter_map(field).collect() })
                }
            };
            paired(leaf, schema, &function.name, (&element, value), Some(key))
        }
        (Kind::DoFn, Some(Element::Kv(key, value))) if !matches!(input.element, Element::Kv(..)) => {
            let Element::Row(schema) = &input.element else {
                return Err(pairs::no_rows(leaf.place, &function.name, input));
            };
            let chosen = pairs::chosen_key(&mut leaf.config, schema)?;
            paired(leaf, schema, &function.name, (key, value), chosen)
        }
        _ => {
            let how = check_input(leaf, input, &function.name, takes.as_ref())?;
            let element = takes.unwrap_or_else(|| input.element.clone());
            let key = match (&function.kind, leaf.config.get("key")) {
                (Kind::KeySelector, Some(node)) => node.text()?.to_owned(),
                (Kind::KeySelector, None) => "key".to_owned(),
                _ => String::new(),
            };
            let value = match &how {
                How::Plain(schema) => schema.fields.first().map_or_else(String::new, |f| f.name.clone()),
                _ => "value".to_owned(),
            };
            Ok(Feed { element, how, key, value })
        }
    }
}

fn paired(
    leaf: &mut Leaf<'_, '_>,
    schema: &Schema,
    who: &str,
    (key, value): (&Element, &Element),
    chosen: Option<pairs::Chosen>,
) -> Result<Feed> {
    let chosen_value = pairs::chosen_value(&mut leaf.config, schema)?;
    pair_feed(leaf, schema, who, (key, value), (chosen, chosen_value))
}

fn pair_feed(
    leaf: &Leaf<'_, '_>,
    schema: &Schema,
    who: &str,
    (key, value): (&Element, &Element),
    chosen: (Option<pairs::Chosen>, Option<pairs::Chosen>),
) -> Result<Feed> {
    let payload = pairs::to_pairs(leaf.place, who, schema, (key, value), chosen)?;
    let name = |part: &Part, otherwise: &str| match part {
        Part::Field(i) => schema.fields.get(*i).map_or_else(|| otherwise.to_owned(), |f| f.name.clone()),
        Part::Fields(_) => otherwise.to_owned(),
    };
    Ok(Feed {
        element: Element::kv(key.clone(), value.clone()),
        key: name(&payload.key, "key"),
        value: name(&payload.value, "value"),
        how: How::Pairs(Box::new(payload)),
    })
}

/// What the rows of the side inputs become; `side_inputs: {NAME: {key: FIELD, value: FIELD}}` names the fields of pairs.
pub fn side_feeds(leaf: &mut Leaf<'_, '_>, function: &Function, sides: &Tagged) -> Result<Vec<Feed>> {
    let options = leaf.config.get("side_inputs");
    let named = options.map_or(Ok(&[][..]), Node::map)?;
    let known: Vec<&str> = function.side_inputs.iter().map(|s| s.name.as_str()).collect();
    if let Some((key, _)) = named.iter().find(|(key, _)| !known.contains(&key.name.as_str())) {
        let error = key.place.error("YAML_INPUT", format!("`{}` reads no side input `{}`", function.name, key.name));
        return Err(error.help(did_you_mean(&key.name, &known)));
    }
    let of = |name: &str| named.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
    let feeds = function.side_inputs.iter().zip(sides);
    feeds.map(|(side, (_, input))| side_feed(leaf, side, input, of(&side.name))).collect()
}

fn side_feed(leaf: &Leaf<'_, '_>, side: &SideInput, input: &Collection, options: Option<&Node>) -> Result<Feed> {
    let takes = Element::of_coder(&side.coder);
    let nothing;
    let node = match options {
        Some(node) => node,
        None => {
            nothing = Node { value: Value::Null, place: leaf.place.clone() };
            &nothing
        }
    };
    let mut fields = Fields::of(node)?;
    let feed = match (&takes, &input.element) {
        (Some(Element::Kv(key, value)), Element::Row(schema)) => {
            let chosen = (pairs::chosen_key(&mut fields, schema)?, pairs::chosen_value(&mut fields, schema)?);
            pair_feed(leaf, schema, &side.name, (key, value), chosen)?
        }
        _ => {
            let how = check_input(leaf, input, &side.name, takes.as_ref())?;
            Feed {
                element: takes.unwrap_or_else(|| input.element.clone()),
                how,
                key: String::new(),
                value: String::new(),
            }
        }
    };
    fields.finish().map(|()| feed)
}

/// Adds the conversion of an input.
pub fn convert(leaf: &mut Leaf<'_, '_>, feed: &Feed, input: &Collection, suffix: &str) -> Collection {
    match &feed.how {
        How::Whole => input.clone(),
        How::Plain(schema) => {
            let name = format!("{}/Unwrap{suffix}", leaf.name);
            let id = format!("{name}.output");
            let output = leaf.build.collection(&id, feed.element.clone(), input.windows, input.bounded);
            let payload = UnwrapValue { input: schema.clone() };
            leaf.build.native(&name, function_urn::UNWRAP_VALUE, &payload, &[("input", input)], &[("output", &output)]);
            output
        }
        How::Pairs(payload) => {
            let name = format!("{}/Pairs{suffix}", leaf.name);
            pairs::split(leaf, &name, payload, feed.element.clone(), input)
        }
    }
}

fn check_input(leaf: &Leaf<'_, '_>, input: &Collection, who: &str, takes: Option<&Element>) -> Result<How> {
    let help = match (takes, &input.element) {
        (Some(Element::Row(takes)), Element::Row(gives)) => match difference(takes, gives) {
            None => return Ok(How::Whole),
            Some(help) => help,
        },
        (Some(takes), gives) if takes == gives => return Ok(How::Whole),
        (Some(plain), Element::Row(gives)) => match (plain.field_type(), gives.fields.as_slice()) {
            (Some(kind), [only]) if only.kind == kind && !only.nullable => return Ok(How::Plain(gives.clone())),
            (Some(kind), _) => format!("keep one field of type {} with MapToFields before", TypeName(&kind)),
            (None, _) => "build the function for rows of these fields".to_owned(),
        },
        _ => "build the function for rows of these fields".to_owned(),
    };
    let takes = takes.map_or("something else".to_owned(), ToString::to_string);
    let message = format!("`{who}` takes {takes}, but `{}` gives {}", producer(input), input.element);
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
