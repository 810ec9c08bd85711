//! Where things are: the binary, Python, components, examples, scripts. What is missing is an error that says what to run.

use anyhow::{Result, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The top of the repository.
#[must_use]
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// A file of the repository.
#[must_use]
pub fn file(path: &str) -> PathBuf {
    top().join(path)
}

/// The place a variable names, from the top of the repository if it is relative; else `otherwise`.
fn named(variable: &str, otherwise: impl FnOnce() -> PathBuf) -> PathBuf {
    std::env::var_os(variable).filter(|v| !v.is_empty()).map_or_else(otherwise, |path: OsString| top().join(path))
}

fn needed(path: PathBuf, what: &str, command: &str) -> Result<PathBuf> {
    ensure!(path.exists(), "{what} is not at {}: run `{command}`", path.display());
    Ok(path)
}

/// The `thalweg` binary.
///
/// # Errors
/// When it was not built.
pub fn binary() -> Result<PathBuf> {
    let target = || named("CARGO_TARGET_DIR", || file("target")).join("debug/thalweg");
    needed(named("THALWEG_BINARY", target), "the thalweg binary", "make build")
}

/// The Python that has Beam.
///
/// # Errors
/// When it was not set up.
pub fn python() -> Result<PathBuf> {
    needed(named("THALWEG_PYTHON", || file(".venv/bin/python")), "Python with Apache Beam", "make setup")
}

/// Node.js: the machine's if `make guests` took it, else the one beside Python.
///
/// # Errors
/// When what builds JavaScript guests was not set up.
pub fn node() -> Result<PathBuf> {
    needed(file("guest-sdk/js/node_modules/esbuild"), "what builds JavaScript guests", "make guests")?;
    let beside = python()?.with_file_name("node");
    Ok(if beside.exists() { beside } else { PathBuf::from("node") })
}

/// A component of `guest-examples/`, by the name of its file without `.wasm`.
///
/// # Errors
/// When it was not built.
pub fn component(name: &str) -> Result<PathBuf> {
    let folder = named("THALWEG_COMPONENTS", || file("target/guests/components"));
    needed(folder.join(format!("{name}.wasm")), "a component", "make guests")
}

/// The languages whose guests do the same, by the endings of their components' names: `examples_go` beside `examples`.
pub const LANGUAGES: [&str; 4] = ["", "_go", "_python", "_js"];

/// A component in every language.
///
/// # Errors
/// When one was not built.
pub fn components(name: &str) -> Result<Vec<PathBuf>> {
    LANGUAGES.iter().map(|language| component(&format!("{name}{language}"))).collect()
}

/// The script that starts and stops a Kafka broker.
///
/// # Errors
/// When Kafka was not set up.
pub fn kafka() -> Result<PathBuf> {
    kafka_jars()?;
    needed(named("THALWEG_KAFKA", || file("scripts/kafka.sh")), "the script for Kafka", "git checkout scripts/kafka.sh")
}

/// The folder of Kafka's jars.
///
/// # Errors
/// When Kafka was not set up.
pub fn kafka_jars() -> Result<PathBuf> {
    needed(file(".cache/kafka/lib"), "Kafka", "make setup-kafka")
}

/// The flights of January, 27,004 rows.
#[must_use]
pub fn january() -> PathBuf {
    file("guest-examples/data/flights-2013-01.csv")
}

/// A program of `tests/languages` as it was built, or what it needs.
///
/// # Errors
/// When it was not set up.
pub fn program(name: &str) -> Result<PathBuf> {
    needed(
        named("THALWEG_LANGUAGES", || file(".cache/languages")).join(name),
        "what Beam in Go and Java needs",
        "scripts/setup.sh languages",
    )
}
