//! What `windowing:` says: windows of the engine, or those of a component.

use super::Around;
use super::call::{self, Call};
use super::duration::millis;
use super::node::{Fields, Node};
use crate::pipeline::{PipelineBuilder, Windows};
use thalweg_core::error::Result;
use thalweg_wasm::describe::Kind;

const KINDS: [&str; 5] = ["global", "fixed", "sliding", "sessions", "wasm"];

/// What `windowing:` says.
///
/// # Errors
/// `YAML_WINDOWING` for an unknown type or sizes below a millisecond, else as of the fields.
pub fn windows(node: &Node, build: &mut PipelineBuilder, around: &Around<'_>) -> Result<Windows> {
    let mut fields = Fields::of(node)?;
    let kind = fields.need("type")?;
    let positive = |node: &Node| match millis(node)? {
        ms if ms >= 1 => Ok(ms),
        _ => Err(node.place.error("YAML_WINDOWING", "a window is at least 1 ms long").help("write a longer duration")),
    };
    let windows = match kind.text()? {
        "global" => Windows::Global,
        "fixed" => Windows::Fixed {
            size: positive(fields.need("size")?)?,
            offset: fields.get("offset").map_or(Ok(0), millis)?,
        },
        "sliding" => Windows::Sliding {
            size: positive(fields.need("size")?)?,
            period: positive(fields.need("period")?)?,
            offset: fields.get("offset").map_or(Ok(0), millis)?,
        },
        "sessions" => Windows::Sessions { gap: positive(fields.need("gap")?)? },
        "wasm" => component(&mut fields, kind, build, around)?,
        other => {
            let error = kind.place.error("YAML_WINDOWING", format!("there are no `{other}` windows"));
            return Err(error.help(super::suggest::did_you_mean(other, &KINDS)));
        }
    };
    fields.finish()?;
    Ok(windows)
}

/// `{type: wasm, component: FILE, function: NAME, config: ...}`.
fn component(
    fields: &mut Fields<'_>,
    kind: &Node,
    build: &mut PipelineBuilder,
    around: &Around<'_>,
) -> Result<Windows> {
    let Call { payload, function } = call::read(fields, &kind.place, around)?;
    if function.kind != Kind::WindowFn {
        let message = format!("`{}` does not assign windows: {} is no WindowFn", function.name, function.name);
        return Err(kind
            .place
            .error("YAML_WINDOWING", message)
            .help("name a WindowFn; `thalweg udf inspect` shows the functions"));
    }
    // a payload of ours always has a JSON form
    Ok(build.component_windows(serde_json::to_vec(&payload).unwrap_or_default(), function.merges))
}
