//! Functions in Go: its standard toolchain, for WASI preview1, which our own adapter then leaves nothing of.

use super::language::{Compiled, Toolchain, named_after};
use super::tool::{Tool, failed, run};
use std::path::Path;
use std::process::Command;
use thalweg_core::error::Result;

/// The toolchain.
pub struct Go;

impl Toolchain for Go {
    fn marker(&self) -> &'static str {
        "go.mod"
    }

    fn tools(&self) -> Vec<Tool> {
        vec![Tool {
            name: "go",
            purpose: "compiles Go",
            ask: vec!["go", "version"],
            holds: "",
            oldest: (1, 26),
            install: "curl -sSfL https://go.dev/dl/go1.26.8.linux-amd64.tar.gz | sudo tar -C /usr/local -xz   # then put /usr/local/go/bin on the PATH",
        }]
    }

    fn compile(&self, dir: &Path) -> Result<Compiled> {
        let name = named_after(dir);
        let made = super::tool::Scratch::new()?;
        let module = made.path(&format!("{name}.wasm"));
        let mut go = Command::new("go");
        // without the paths of this machine; the name section stays, so that a trap names functions
        go.args(["build", "-trimpath", "-buildmode=c-shared", "-o"]).arg(&module).arg(".");
        go.env("GOOS", "wasip1").env("GOARCH", "wasm").current_dir(dir);
        run(&mut go, "mend what the compiler says above; `thalweg doctor go` says whether Go is new enough")?;
        let bytes = std::fs::read(&module)
            .map_err(|e| failed(format!("{} makes no module: {e}", dir.display()), "let it be of the package main"))?;
        Ok(Compiled { bytes, name })
    }

    fn tests(&self, dir: &Path) -> Result<Command> {
        let mut go = Command::new("go");
        go.args(["test", "./..."]).current_dir(dir);
        Ok(go)
    }
}
