//! The arguments of `thalweg udf` and `thalweg doctor`.

use crate::table::TableSpec;
use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::PathBuf;
use thalweg_wasm::Grants;

/// `thalweg udf`.
#[derive(Debug, Subcommand)]
pub enum UdfCommand {
    /// Make a folder with functions that builds and tests at once
    New(NewArgs),
    /// Compile the functions of a folder to a component
    Build(BuildArgs),
    /// Run the tests of a folder, or a function over a file of elements
    Test(TestArgs),
    /// Make a component of a compiled module
    Componentize(ComponentizeArgs),
    /// Have a running job run another version of a function, without losing state
    Deploy(DeployArgs),
    /// Show the functions of a component, what they take and give, and what they need
    Inspect(InspectArgs),
}

/// `thalweg udf new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// rust, go, python or js
    pub language: String,
    /// The folder, whose name is the project's
    pub dir: PathBuf,
}

/// `thalweg udf build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Folder of the functions
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// Where to put the component [default: NAME.wasm in the folder]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `thalweg udf test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Elements, one JSON value a line; without it the folder's own tests run, in their own language
    pub elements: Option<PathBuf>,
    /// Folder of the functions
    #[arg(long, default_value = ".", conflicts_with = "component")]
    pub dir: PathBuf,
    /// A component, instead of building the folder's
    #[arg(long, value_name = "FILE", requires = "elements")]
    pub component: Option<PathBuf>,
    /// The function; needed if there are several
    #[arg(long, value_name = "NAME", requires = "elements")]
    pub function: Option<String>,
    /// Configuration, as JSON
    #[arg(long, value_name = "JSON", value_parser = json::<serde_json::Value>, requires = "elements")]
    pub config: Option<serde_json::Value>,
    /// Windows of the elements: fixed:SIZE, sliding:SIZE:PERIOD, sessions:GAP, with SIZE as 90s, 5m or 1h
    #[arg(long, value_name = "WINDOWS", requires = "elements")]
    pub windows: Option<String>,
    /// A side input: its name, and a file of its elements, one JSON value a line; of a multimap pairs of key and value
    #[arg(long = "side", value_name = "NAME=FILE", value_parser = named, requires = "elements")]
    pub sides: Vec<(String, PathBuf)>,
    /// The tables that the function looks up, as JSON: {"NAME": {"source": {"file": {"path": .., "format": "csv"}}, "schema": .., "key": ..}}
    #[arg(long, value_name = "JSON", value_parser = json::<BTreeMap<String, TableSpec>>, requires = "elements")]
    pub tables: Option<BTreeMap<String, TableSpec>>,
    /// What of the machine the function may see, as JSON: {"clock": true, "env": {"REGION": "eu"}}
    #[arg(long, value_name = "JSON", value_parser = json::<Grants>, requires = "elements")]
    pub grant: Option<Grants>,
    /// What must come out, as this command prints it, in any order; the exit code is 1 if it does not
    #[arg(long, value_name = "FILE", requires = "elements")]
    pub expect: Option<PathBuf>,
}

/// `thalweg udf componentize`.
#[derive(Debug, Args)]
pub struct ComponentizeArgs {
    /// The module that the compiler made
    pub module: PathBuf,
    /// Where to put the component
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

/// `thalweg udf inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The component
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `thalweg udf deploy`.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// The component of the new version
    #[arg(required_unless_present_any = ["roll_back", "status"])]
    pub component: Option<PathBuf>,
    /// The job, by the id that the SDK printed
    #[arg(long, value_name = "ID")]
    pub job: String,
    /// The transform whose function it is
    #[arg(long, value_name = "NAME", required_unless_present = "status")]
    pub transform: Option<String>,
    /// Where the server is
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8099")]
    pub server: String,
    /// The function [default: the one that runs now]
    #[arg(long, value_name = "NAME")]
    pub function: Option<String>,
    /// Configuration, as JSON [default: as now]
    #[arg(long, value_name = "JSON", value_parser = json::<serde_json::Value>)]
    pub config: Option<serde_json::Value>,
    /// Give it this share of the keys alone, as 0.1 or 10%; deploy it again without this to give it all
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub canary: Option<f64>,
    /// Roll back when it fails more than this share of its bundles, of at least 100
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = share)]
    pub failures_max: f64,
    /// Bundles after which it has passed, and the old version is gone
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub bundles: u64,
    /// Go back to the version before the last one
    #[arg(long, conflicts_with_all = ["component", "status"])]
    pub roll_back: bool,
    /// Show what runs
    #[arg(long, conflicts_with = "component")]
    pub status: bool,
}

/// `thalweg doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Languages to look at [default: all; then a missing one is no failure if another is whole]
    pub languages: Vec<String>,
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|e| format!("it is no such JSON: {e}"))
}

/// `NAME=FILE`.
fn named(text: &str) -> Result<(String, PathBuf), String> {
    let parts = text.split_once('=').filter(|(name, file)| !name.is_empty() && !file.is_empty());
    parts.map(|(name, file)| (name.to_owned(), PathBuf::from(file))).ok_or_else(|| "write NAME=FILE".to_owned())
}

/// `0.1` or `10%`.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    match number.trim().parse::<f64>().map(|n| n / unit) {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("write a share as 0.1 or 10%".to_owned()),
    }
}
