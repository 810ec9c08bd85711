//! `thalweg udf inspect`: a component as a table for people, or as JSON.

use super::exit::{Failed, print};
use super::table::{table, thousands};
use super::udf_args::InspectArgs;
use crate::compose::pinned;
use crate::pipeline::Element;
use crate::udf;
use std::process::ExitCode;
use thalweg_wasm::describe::{Access, Coder, Domain, Function, Kind, Lookup, SlotKind};
use thalweg_wasm::{Component, World};

/// Shows it.
pub fn inspect(args: &InspectArgs) -> Result<ExitCode, Failed> {
    let component = udf::open(&args.file, super::compiler())?;
    if args.json {
        print(&format!("{:#}\n", udf::report(&component)))?;
    } else {
        print(&described(&component))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn described(component: &Component) -> String {
    let description = component.description();
    let sdk = if description.sdk.is_empty() { "unknown" } else { &description.sdk };
    let wanted: Vec<&str> = description.functions.iter().flat_map(|f| &f.capabilities).map(String::as_str).collect();
    let facts = [
        ("digest", pinned(component.digest())),
        ("size", format!("{} bytes", thousands(component.size() as u64))),
        ("sdk", sdk.to_owned()),
        ("world", World::covering(description).name().to_owned()),
        ("imports", component.imports().join(", ")),
        ("asks for", if wanted.is_empty() { "nothing".to_owned() } else { wanted.join(", ") }),
        ("granted", "nothing; a pipeline grants it".to_owned()),
    ];
    let mut text = format!("{}\n", component.name());
    text.push_str(&table(&facts.map(|(name, fact)| vec![name.to_owned(), fact]), &[]));
    for function in &description.functions {
        text.push_str(&format!("\nfunction {}\n", function.name));
        text.push_str(&table(&lines(function), &[]));
    }
    text
}

fn lines(function: &Function) -> Vec<Vec<String>> {
    let mut rows: Vec<(&str, String)> = vec![("kind", kind(&function.kind)), ("takes", shown(&function.input))];
    for (i, output) in function.outputs.iter().enumerate() {
        rows.push((if i == 0 { "gives" } else { "and" }, format!("{}: {}", output.name, shown(&output.coder))));
    }
    rows.extend(function.accumulator.iter().map(|coder| ("gathers", shown(coder))));
    for slot in &function.slots {
        let eager = if slot.eager { ", sent with the batch" } else { "" };
        let key = slot.key.as_ref().map(|key| format!(" by {}", shown(key))).unwrap_or_default();
        rows.push(("keeps", format!("{}: {} of {}{key}{eager}", slot.name, slot_kind(&slot.kind), shown(&slot.coder))));
    }
    for timer in &function.timers {
        let domain = if timer.domain == Domain::Event { "event time" } else { "processing time" };
        rows.push(("timer", format!("{}: {domain}", timer.name)));
    }
    if function.on_window_expiration {
        rows.push(("timer", "at the end of each window".to_owned()));
    }
    for side in &function.side_inputs {
        let access = if side.access == Access::Iterable { "list" } else { "by key" };
        rows.push(("reads", format!("side input {}, {access}: {}", side.name, shown(&side.coder))));
    }
    for table in &function.tables {
        let lookup = if table.lookup == Lookup::Key { ", looked up by the element's key" } else { "" };
        rows.push(("reads", format!("table {}: {} by {}{lookup}", table.name, shown(&table.value), shown(&table.key))));
    }
    rows.extend(function.capabilities.iter().map(|wanted| ("asks for", wanted.clone())));
    if let Some(what) = function.unsupported() {
        rows.push(("needs", format!("{what}, which this version does not offer")));
    }
    rows.into_iter().map(|(name, text)| vec![name.to_owned(), text]).collect()
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::DoFn => "DoFn",
        Kind::CombineFn => "CombineFn",
        Kind::WindowFn => "WindowFn",
        Kind::KeySelector => "key selector",
        Kind::Other(name) => name,
        _ => "unknown",
    }
    .to_owned()
}

fn slot_kind(kind: &SlotKind) -> &str {
    match kind {
        SlotKind::Value => "value",
        SlotKind::Bag => "bag",
        SlotKind::Map => "map",
        SlotKind::Set => "set",
        SlotKind::Multimap => "multimap",
        SlotKind::OrderedList => "ordered list",
        SlotKind::Other(name) => name,
        _ => "unknown",
    }
}

/// A coder in words.
fn shown(coder: &Coder) -> String {
    Element::of_coder(coder).map_or_else(|| coder.urn.clone(), |element| element.to_string())
}
