//! Beam programs in Python: those of `tests/programs`, and how a program names the binary as its runner.

use crate::child::Run;
use crate::place;
use anyhow::{Context as _, Result};
use serde_json::Value;

/// A program of `tests/programs`.
///
/// # Errors
/// When Python was not set up.
pub fn program(name: &str) -> Result<Run> {
    Ok(Run::python()?.arg(place::file("tests/programs").join(name)))
}

/// The options with which stock Beam takes the binary for Prism.
///
/// # Errors
/// When the binary was not built.
pub fn as_prism() -> Result<[String; 2]> {
    Ok(["--runner=PrismRunner".to_owned(), format!("--prism_location={}", place::binary()?.display())])
}

/// The last line of an output, which is JSON.
///
/// # Errors
/// When it is not.
pub fn answer(output: &str) -> Result<Value> {
    let line = output.lines().last().context("nothing was printed")?;
    serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))
}
