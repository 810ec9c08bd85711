//! The arguments of `thalweg udf` and `thalweg doctor`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

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
    /// Show the functions of a component, what they take and give, and what they need
    Inspect(InspectArgs),
}

/// `thalweg udf new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// rust
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
    #[arg(long, value_name = "JSON", value_parser = json, requires = "elements")]
    pub config: Option<serde_json::Value>,
    /// Windows of the elements: fixed:SIZE, sliding:SIZE:PERIOD, sessions:GAP, with SIZE as 90s, 5m or 1h
    #[arg(long, value_name = "WINDOWS", requires = "elements")]
    pub windows: Option<String>,
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

/// `thalweg doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Languages to look at [default: all; then a missing one is no failure if another is whole]
    pub languages: Vec<String>,
}

fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|e| format!("it is no JSON: {e}"))
}
