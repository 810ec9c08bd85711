//! The embedded log: pipelines from one of its topics to another; by hand, `thalweg log`, and lines that a shell appends.

use crate::child::{Ended, Run};
use crate::place;
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes a pipeline file: from topic `in`, with two required fields of these types, through `steps` to topic `out`.
///
/// # Errors
/// When the file cannot be written.
pub fn pipeline(file: &Path, stop: &str, fields: [(&str, &str); 2], steps: &str) -> Result<PathBuf> {
    let [(one, its), (two, others)] = fields;
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
        stop_at: {stop}
        format: JSON
        schema: {{type: object, required: [{one}, {two}], properties: {{{one}: {{type: {its}}}, {two}: {{type: {others}}}}}}}
{steps}    - type: WriteToKafka
      config: {{topic: out, bootstrap_servers: embedded, format: JSON}}
options: {{streaming: true}}
"
    );
    fs::write(file, text)?;
    Ok(file.to_owned())
}

/// `thalweg log` on a state directory.
///
/// # Errors
/// When there is no binary.
pub fn log(state: &Path, what: &[&str]) -> Result<Run> {
    Ok(Run::thalweg()?.arg("log").args(what).arg("--state-dir").arg(state))
}

/// Appends lines to a topic, as a shell would.
///
/// # Errors
/// When `thalweg log append` says so.
pub fn append(state: &Path, topic: &str, lines: &[String]) -> Result<Ended> {
    let input = state.with_extension("lines");
    fs::write(&input, lines.join("\n"))?;
    let (binary, input) = (place::binary()?, input.display());
    let command = format!("{} log append {topic} --state-dir {} < {input}", binary.display(), state.display());
    Run::new("sh").arg("-c").arg(command).ok()
}
