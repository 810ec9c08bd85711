//! A job that keeps every kind of state: it reads commands from a topic of the embedded log and runs them on the state of their
//! key, for ever.

use crate::child::{Ended, Run};
use crate::{embedded, place};
use anyhow::Result;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The transform, as the pipeline file makes it.
pub const TRANSFORM: &str = "Ledger/Call";

/// Writes the pipeline file: topic `in`, the function `ledger` of the component `conformance`, topic `out`.
///
/// # Errors
/// When the component is not built.
pub fn pipeline(dir: &Path) -> Result<PathBuf> {
    let component = place::component("conformance")?;
    let call = format!(
        "    - type: Wasm
      name: Ledger
      config: {{component: {}, function: ledger, key: who, value: command}}
",
        component.display()
    );
    embedded::pipeline(&dir.join("ledger.yaml"), "never", [("who", "string"), ("command", "string")], &call)
}

/// `thalweg state` with these words, of a place or a job.
///
/// # Errors
/// When there is no binary.
pub fn asked(what: &[&str], of: &[&str]) -> Result<Ended> {
    Run::thalweg()?.arg("state").args(what).args(of).args(["--output", "json"]).end()
}

/// Gives the job commands, each with its key.
///
/// # Errors
/// As [`embedded::append`].
pub fn give<S: AsRef<str>>(state: &Path, commands: &[(S, S)]) -> Result<()> {
    let line = |(who, what): &(S, S)| json!({"who": who.as_ref(), "command": what.as_ref()}).to_string();
    embedded::append(state, "in", &commands.iter().map(line).collect::<Vec<_>>()).map(drop)
}
