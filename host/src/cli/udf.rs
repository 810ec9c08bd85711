//! `thalweg udf`: building components and looking at them.

use super::args::{BuildArgs, ComponentizeArgs};
use super::exit::{Failed, print};
use super::table::{table, thousands};
use crate::compose::ComponentStore;
use crate::pipeline::Element;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use thalweg_core::error::{Domain, Error, Result};
use thalweg_wasm::describe::Coder;
use thalweg_wasm::{Component, Limits};

/// The target that functions are compiled for: no WASI, so nothing of a system is there to be used.
const TARGET: &str = "wasm32-unknown-unknown";

/// Compiles a crate and makes a component of it.
pub fn build(args: &BuildArgs) -> Result<ExitCode, Failed> {
    let module = compile(&args.dir)?;
    let output = args.output.clone().unwrap_or_else(|| args.dir.join(module.file_name().unwrap_or_default()));
    write_component(&module, &output)?;
    print(&format!("{}\n", output.display()));
    Ok(ExitCode::SUCCESS)
}

/// Makes a component of a module.
pub fn componentize(args: &ComponentizeArgs) -> Result<ExitCode, Failed> {
    write_component(&args.module, &args.output)?;
    print(&format!("{}\n", args.output.display()));
    Ok(ExitCode::SUCCESS)
}

/// Runs cargo; returns the module it made.
fn compile(dir: &Path) -> Result<PathBuf> {
    let failed = |message: String, help: &str| Error::new("UDF_BUILD", Domain::User, message).help(help);
    if !dir.join("Cargo.toml").is_file() {
        let why = if dir.is_dir() { "there is no Cargo.toml in it" } else { "there is no such directory" };
        return Err(failed(
            format!("{} is not the directory of a function's crate: {why}", dir.display()),
            "give the directory with the Cargo.toml of the function: `thalweg udf build DIR`",
        ));
    }
    let run = Command::new("cargo")
        .args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"])
        .current_dir(dir)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| {
            failed(format!("cannot run cargo in {}: {e}", dir.display()), "install Rust from https://rustup.rs")
        })?;
    if !run.status.success() {
        let help =
            "mend what the compiler says above; if it misses the target: `rustup target add wasm32-unknown-unknown`";
        return Err(failed(format!("cargo could not compile {}", dir.display()), help));
    }
    let messages = run.stdout.split(|byte| *byte == b'\n');
    let values = messages.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let files = values.flat_map(|v| v.get("filenames").and_then(|f| f.as_array().cloned()).unwrap_or_default());
    let mut modules = files.filter_map(|f| f.as_str().filter(|f| f.ends_with(".wasm")).map(PathBuf::from));
    modules.next_back().ok_or_else(|| {
        let help = "give the crate a library of the type cdylib: `[lib] crate-type = [\"cdylib\"]`";
        failed(format!("{} makes no module", dir.display()), help)
    })
}

fn write_component(module: &Path, output: &Path) -> Result<()> {
    let bytes = std::fs::read(module).map_err(|e| {
        Error::user("UDF_MODULE", format!("cannot read {}: {e}", module.display())).help("check the path")
    })?;
    let component = thalweg_wasm::componentize(&bytes)?;
    let written = || -> std::io::Result<()> {
        if let Some(parent) = output.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(output, &component)
    };
    written().map_err(|e| {
        Error::user("UDF_OUTPUT", format!("cannot write {}: {e}", output.display()))
            .help("check the path, or give another by --output")
    })
}

/// Shows a component.
pub fn inspect(file: &Path) -> Result<ExitCode, Failed> {
    let store = ComponentStore::new(ComponentStore::default_cache_dir().as_deref(), Limits::default());
    let component = store.open(file)?;
    print(&described(&component));
    Ok(ExitCode::SUCCESS)
}

fn described(component: &Component) -> String {
    let description = component.description();
    let sdk = if description.sdk.is_empty() { "unknown" } else { &description.sdk };
    let mut text = format!("{}\n", component.name());
    let facts = [
        ("digest", format!("sha256:{}", component.digest())),
        ("size", format!("{} bytes", thousands(component.size() as u64))),
        ("sdk", sdk.to_owned()),
        ("imports", component.imports().join(", ")),
    ];
    text.push_str(&table(&facts.map(|(name, fact)| vec![name.to_owned(), fact]), &[]));
    for function in &description.functions {
        text.push_str(&format!("\nfunction {}\n", function.name));
        let mut rows = vec![vec!["takes".to_owned(), shown(&function.input)]];
        for (i, output) in function.outputs.iter().enumerate() {
            let kind = if i == 0 { "gives" } else { "and" };
            rows.push(vec![kind.to_owned(), format!("{}: {}", output.name, shown(&output.coder))]);
        }
        for slot in &function.slots {
            let eager = if slot.eager { ", sent with the batch" } else { "" };
            rows.push(vec!["keeps".to_owned(), format!("{}: {}{eager}", slot.name, shown(&slot.coder))]);
        }
        let asks =
            if function.capabilities.is_empty() { "nothing".to_owned() } else { function.capabilities.join(", ") };
        rows.push(vec!["asks for".to_owned(), format!("{asks} (granted by a pipeline's `grant`)")]);
        if let Some(what) = function.unsupported() {
            rows.push(vec!["needs".to_owned(), format!("{what}, which this version does not offer")]);
        }
        text.push_str(&table(&rows, &[]));
    }
    text
}

/// A coder in words.
fn shown(coder: &Coder) -> String {
    Element::of_coder(coder).map_or_else(|| coder.urn.clone(), |element| element.to_string())
}
