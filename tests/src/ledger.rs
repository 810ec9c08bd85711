//! A job that keeps every kind of state: it reads commands from a topic of the embedded log and runs them on the state of their
//! key, for ever.

use crate::{embedded, place};
use anyhow::Result;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// The transform, as the pipeline file makes it.
pub const TRANSFORM: &str = "Ledger/Call";

/// Writes the pipeline file: topic `in`, the function `ledger` of the component `conformance`, topic `out`.
///
/// # Errors
/// When the component is not built.
pub fn pipeline(dir: &Path) -> Result<PathBuf> {
    let component = place::component("conformance")?;
    let text = format!(
        "
pipeline:
  type: chain
  transforms:
    - type: ReadFromKafka
      config:
        topic: in
        bootstrap_servers: embedded
        auto_offset_reset_config: earliest
        format: JSON
        schema: {{type: object, required: [who, command], properties: {{who: {{type: string}}, command: {{type: string}}}}}}
    - type: Wasm
      name: Ledger
      config: {{component: {}, function: ledger, key: who, value: command}}
    - type: WriteToKafka
      config: {{topic: out, bootstrap_servers: embedded, format: JSON}}
options: {{streaming: true}}
",
        component.display()
    );
    let path = dir.join("ledger.yaml");
    fs::write(&path, text)?;
    Ok(path)
}

/// Gives the job commands, each with its key.
///
/// # Errors
/// As [`embedded::append`].
pub fn give<S: AsRef<str>>(state: &Path, commands: &[(S, S)]) -> Result<()> {
    let line = |(who, what): &(S, S)| json!({"who": who.as_ref(), "command": what.as_ref()}).to_string();
    embedded::append(state, "in", &commands.iter().map(line).collect::<Vec<_>>()).map(drop)
}
