//! `thalweg udf`: what the workshop of functions does, asked for and shown.

use super::deploy;
use super::exit::{Failed, print};
use super::inspect;
use super::trial;
use super::udf_args::{BuildArgs, NewArgs, UdfCommand};
use crate::udf::{self, Built, Language, Project};
use std::path::Path;
use std::process::ExitCode;
use thalweg_core::error::{Error, Result};

/// Does what is asked for.
pub fn udf(command: &UdfCommand) -> Result<ExitCode, Failed> {
    match command {
        UdfCommand::New(args) => new(args),
        UdfCommand::Build(args) => build(args),
        UdfCommand::Test(args) => trial::test(args),
        UdfCommand::Componentize(files) => {
            udf::componentize_file(&files.module, &files.output)?;
            print(&format!("{}\n", files.output.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        UdfCommand::Deploy(args) => deploy::deploy(args),
        UdfCommand::Inspect(args) => inspect::inspect(args),
    }
}

fn new(args: &NewArgs) -> Result<ExitCode, Failed> {
    let language = Language::parse(&args.language)?;
    // `.` and `x/..` have a name, too
    let dir = std::path::absolute(&args.dir).unwrap_or_else(|_| args.dir.clone());
    let project = udf::new(language, &dir)?;
    let lacks = udf::check(&[project.language]).iter().any(|checked| !checked.is_good());
    let shown = args.dir.display();
    let mut text = format!("{shown}\ntry next\n");
    if lacks {
        text.push_str(&format!("  thalweg doctor {}   # a tool is missing\n", language.name()));
    }
    text.push_str(&format!(
        "  cd {shown}\n  thalweg udf test\n  thalweg udf build\n  \
         thalweg udf test examples/lines.jsonl --function split --expect examples/lines.expected.jsonl\n"
    ));
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn build(args: &BuildArgs) -> Result<ExitCode, Failed> {
    let Built { path, .. } = make(&args.dir, args.output.as_deref())?;
    print(&format!("{}\n", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Builds a folder's component.
pub fn make(dir: &Path, output: Option<&Path>) -> Result<Built> {
    udf::build(&Project::at(dir)?, output, super::compiler())
}

/// Reads a text file that the command line names.
pub fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|e| Error::user("UDF_TEST", format!("cannot read {}: {e}", path.display())).help("check the path"))
}
