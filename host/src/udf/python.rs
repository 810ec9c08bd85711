//! Functions in Python: componentize-py, one pinned package of PyPI, in a folder of the user's cache.

use super::language::{Compiled, Toolchain, named_after};
use super::tool::{Tool, failed, fetched_dir, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use thalweg_core::error::Result;

/// The package, and its version: the same as the SDK is tested with.
const COMPONENTIZE: &str = "componentize-py";
const VERSION: &str = "0.25.1";
/// The world of components in Python, which the SDK has beside the contract.
const WORLD: &str = "thalweg:machine/full";
/// Where the SDK stands in a project.
const SDK: &str = ".thalweg/guest-sdk/python";

/// The toolchain.
pub struct Python;

impl Toolchain for Python {
    fn marker(&self) -> &'static str {
        "pyproject.toml"
    }

    fn tools(&self) -> Vec<Tool> {
        vec![Tool {
            name: "python3",
            purpose: "runs tests, and fetches componentize-py once, which brings the Python of components",
            ask: vec!["python3", "-c", "import ensurepip, sys; print(sys.version)"],
            holds: "",
            oldest: (3, 11),
            install: "sudo apt-get install -y python3 python3-venv   # Python 3.11 or newer",
        }]
    }

    fn compile(&self, dir: &Path) -> Result<Compiled> {
        let module = module(dir)?;
        let (name, made) = (named_after(dir), super::tool::Scratch::new()?);
        let output = made.path(&format!("{name}.wasm"));
        let mut build = Command::new(componentize()?);
        build.args(["-q", "-d", ".thalweg/wit", "-d", &format!("{SDK}/wit"), "-w", WORLD, "componentize", &module]);
        build.args(["-p", ".", "-p", SDK, "-o"]);
        build.arg(&output).current_dir(dir);
        run(&mut build, "mend what Python says above: module code runs when the component is built")?;
        let bytes = std::fs::read(&output)
            .map_err(|e| failed(format!("{} makes no component: {e}", dir.display()), "build it again"))?;
        Ok(Compiled { bytes, name })
    }

    fn tests(&self, dir: &Path) -> Result<Command> {
        let mut python = Command::new("python3");
        python.args(["-m", "unittest", "discover", "--start-directory", ".", "--pattern", "test_*.py"]);
        python.current_dir(dir).env("PYTHONPATH", SDK).env("PYTHONDONTWRITEBYTECODE", "1");
        Ok(python)
    }
}

/// The module with the functions: what `[tool.thalweg]` names, `functions` else.
fn module(dir: &Path) -> Result<String> {
    let path = dir.join("pyproject.toml");
    let text = std::fs::read_to_string(&path)
        .map_err(|e| failed(format!("cannot read {}: {e}", path.display()), "check the file"))?;
    let section = text.lines().skip_while(|line| line.trim() != "[tool.thalweg]").skip(1);
    let mut pairs = section.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    let named =
        pairs.find(|(key, _)| key.trim() == "module").map(|(_, value)| value.trim().trim_matches('"').to_owned());
    Ok(named.unwrap_or_else(|| "functions".to_owned()))
}

/// The program, fetched if it is not there yet: about 40 MB, once per version.
fn componentize() -> Result<PathBuf> {
    let home = fetched_dir()?.join(format!("{COMPONENTIZE}-{VERSION}"));
    let program = home.join("bin").join(COMPONENTIZE);
    if !program.is_file() {
        let help = "fetching it needs the network once; `thalweg doctor python` says what else";
        run(Command::new("python3").args(["-m", "venv"]).arg(&home), help)?;
        let mut pip = Command::new(home.join("bin/python"));
        pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check", &format!("{COMPONENTIZE}=={VERSION}")]);
        run(&mut pip, help)?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_what_the_project_names() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let of = |text: &str| -> anyhow::Result<String> {
            std::fs::write(dir.path().join("pyproject.toml"), text)?;
            Ok(module(dir.path())?)
        };
        assert_eq!(of("[tool.thalweg]\nmodule = \"app\"\n")?, "app");
        assert_eq!(of("[tool.other]\nmodule = \"app\"\n[tool.thalweg]\n[tool.x]\nmodule = \"b\"\n")?, "functions");
        Ok(())
    }
}
