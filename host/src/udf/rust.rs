//! Functions in Rust: cargo, for a target without a system.

use super::language::{Compiled, Toolchain};
use super::tool::{Tool, failed, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use thalweg_core::error::Result;

/// The target that functions are compiled for: no WASI, so nothing of a system is there to be used.
const TARGET: &str = "wasm32-unknown-unknown";
/// Functions are made into few large ones. In a component every call asks whether stack and time are left, so small ones cost more than in a
/// program of the machine: with LLVM's usual threshold, 225, the benchmark's word splitter takes 40 % longer, with 5 % less code. It is added to
/// what a `.cargo/config.toml` says; the variable `RUSTFLAGS` takes its place.
const INLINING: &str = "target.wasm32-unknown-unknown.rustflags=['-Cllvm-args=--inline-threshold=2000']";

/// The toolchain.
pub struct Rust;

impl Toolchain for Rust {
    fn marker(&self) -> &'static str {
        "Cargo.toml"
    }

    fn tools(&self) -> Vec<Tool> {
        vec![
            Tool {
                name: "cargo",
                purpose: "compiles Rust",
                ask: vec!["cargo", "--version"],
                holds: "",
                oldest: (1, 95),
                install: "curl https://sh.rustup.rs -sSf | sh   # or, if rustup is there: rustup update stable",
            },
            Tool {
                name: TARGET,
                purpose: "Rust's standard library for components",
                ask: vec!["rustup", "target", "list", "--installed"],
                holds: TARGET,
                oldest: (0, 0),
                install: "rustup target add wasm32-unknown-unknown",
            },
        ]
    }

    fn compile(&self, dir: &Path) -> Result<Compiled> {
        let mut cargo = Command::new("cargo");
        cargo
            .args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"])
            .args(["--config", INLINING])
            .current_dir(dir);
        let help =
            "mend what the compiler says above; if it misses the target: `rustup target add wasm32-unknown-unknown`";
        let output = run(&mut cargo, help)?;
        let path = module(&output.stdout).ok_or_else(|| {
            let help = "give the crate a library of the type cdylib: `[lib] crate-type = [\"cdylib\"]`";
            failed(format!("{} makes no module", dir.display()), help)
        })?;
        let bytes = std::fs::read(&path)
            .map_err(|e| failed(format!("cannot read {}: {e}", path.display()), "build it again"))?;
        Ok(Compiled { bytes, name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned() })
    }

    fn tests(&self, dir: &Path) -> Result<Command> {
        let mut cargo = Command::new("cargo");
        cargo.args(["test", "--quiet"]).current_dir(dir);
        Ok(cargo)
    }

    /// In the repository the SDK is locked together with the guests.
    fn standalone(&self, name: &str, bytes: &[u8]) -> Option<String> {
        let text = name.ends_with("Cargo.toml").then(|| std::str::from_utf8(bytes).ok())??;
        let lines = text.lines().filter(|line| !line.starts_with("workspace ") && !line.starts_with('#'));
        Some(lines.flat_map(|line| [line, "\n"]).collect())
    }
}

/// The last module among the files that cargo says it made.
fn module(messages: &[u8]) -> Option<PathBuf> {
    let lines = messages.split(|byte| *byte == b'\n');
    let values = lines.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let files = values.flat_map(|v| v.get("filenames").and_then(|f| f.as_array().cloned()).unwrap_or_default());
    let mut modules = files.filter_map(|f| f.as_str().filter(|f| f.ends_with(".wasm")).map(PathBuf::from));
    modules.next_back()
}
