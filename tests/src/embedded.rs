//! The embedded log by hand: `thalweg log`, and lines that a shell appends.

use crate::child::{Ended, Run};
use crate::place;
use anyhow::Result;
use std::fs;
use std::path::Path;

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
