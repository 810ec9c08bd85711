//! `WindowInto` and `ExtractWindowingInfo`.

use super::super::expand::{Leaf, window_into as add_window_into};
use super::super::node::{Node, Value};
use super::super::outputs::Outputs;
use super::super::suggest::did_you_mean;
use super::super::windows::windows;
use super::{check_new, rows};
use crate::native::payload::{Info, WindowingInfo};
use crate::native::urn;
use crate::pipeline::{Element, Windows};
use crate::row::{FieldType, nullable, required};
use thalweg_core::error::Result;

/// `type: WindowInto`.
pub fn window_into(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    let windowing = leaf.config.need("windowing")?;
    assign(leaf, windowing)
}

/// Puts the input into windows.
pub fn assign(leaf: &mut Leaf<'_, '_>, windowing: &Node) -> Result<Outputs> {
    let windows = windows(windowing, leaf.build, leaf.around)?;
    let input = leaf.input()?;
    Ok(Outputs::one(add_window_into(leaf.build, &leaf.name, &input, windows)))
}

/// What can be asked for.
const KINDS: [(&str, Info); 5] = [
    ("timestamp", Info::Timestamp),
    ("window_start", Info::WindowStart),
    ("window_end", Info::WindowEnd),
    ("window_string", Info::WindowString),
    ("window_type", Info::WindowType),
];

/// `type: ExtractWindowingInfo`.
pub fn extract_info(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    let input = leaf.input()?;
    let before = rows(leaf, &input)?.clone();
    let mut after = before.clone();
    let mut infos = Vec::new();
    let asked = leaf.config.get("fields");
    let mut add = |name: &str, kind: &str, node: &Node| -> Result<()> {
        let Some((_, info)) = KINDS.iter().find(|(k, _)| *k == kind) else {
            let known: Vec<&str> = KINDS.iter().map(|(k, _)| *k).collect();
            let error = node.place.error("YAML_WINDOWING_INFO", format!("`{kind}` cannot be extracted"));
            return Err(error.help(did_you_mean(kind, &known)));
        };
        check_new(&after, name, &node.place)?;
        after.fields.push(match info {
            Info::WindowStart => nullable(name, FieldType::MicrosInstant),
            Info::Timestamp | Info::WindowEnd => required(name, FieldType::MicrosInstant),
            Info::WindowString | Info::WindowType => required(name, FieldType::String),
        });
        infos.push(*info);
        Ok(())
    };
    match asked.map(|node| (&node.value, node)) {
        None => {
            let here = Node { value: Value::Null, place: leaf.place.clone() };
            for name in ["timestamp", "window_start", "window_end"] {
                add(name, name, &here)?;
            }
        }
        Some((Value::Map(map), _)) => map.iter().try_for_each(|(key, node)| add(&key.name, node.text()?, node))?,
        Some((_, node)) => {
            for item in node.list()? {
                let name = item.text()?;
                add(name, name, item)?;
            }
        }
    }
    let output = leaf.output("output", Element::Row(after), &input);
    let payload = WindowingInfo { input: before, infos };
    leaf.build.native(&leaf.name, urn::WINDOWING_INFO, &payload, &[("input", &input)], &[("output", &output)]);
    Ok(Outputs::one(output))
}

/// Windows in which all elements are one group for ever: combining an endless input in it never gives a result.
pub fn never_closes(windows: Windows, bounded: bool) -> bool {
    windows == Windows::Global && !bounded
}
