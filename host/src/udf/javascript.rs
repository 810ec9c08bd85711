//! Functions in JavaScript and TypeScript: the SDK's own build program under Node.js, with what it needs from npm, pinned, in a folder of
//! the user's cache.

use super::embedded;
use super::language::{Compiled, Toolchain, named_after};
use super::tool::{Tool, failed, fetched_dir, run};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};
use thalweg_core::error::Result;

/// Where the SDK stands in a project.
const SDK: &str = ".thalweg/guest-sdk/js";

/// The toolchain.
pub struct JavaScript;

impl Toolchain for JavaScript {
    fn marker(&self) -> &'static str {
        "package.json"
    }

    fn tools(&self) -> Vec<Tool> {
        let tool = |name, purpose, ask: &[&'static str], oldest| Tool {
            name,
            purpose,
            ask: ask.to_vec(),
            holds: "",
            oldest,
            install: "sudo apt-get install -y nodejs npm   # Node.js 20 or newer",
        };
        vec![
            tool("node", "runs tests and the build", &["node", "--version"], (20, 0)),
            tool("npm", "fetches componentize-js and esbuild, once", &["npm", "--version"], (0, 0)),
        ]
    }

    fn compile(&self, dir: &Path) -> Result<Compiled> {
        link(&modules()?, &dir.join(SDK).join("node_modules"))?;
        let (name, made) = (named_after(dir), super::tool::Scratch::new()?);
        let output = made.path(&format!("{name}.wasm"));
        let mut node = Command::new("node");
        node.arg(format!("{SDK}/build.js")).arg(main(dir)?).arg("-o").arg(&output).args(["--wit", ".thalweg/wit"]);
        node.current_dir(dir);
        run(&mut node, "mend what the build says above: modules are run when the component is built")?;
        let bytes = fs::read(&output)
            .map_err(|e| failed(format!("{} makes no component: {e}", dir.display()), "build it again"))?;
        Ok(Compiled { bytes, name })
    }

    fn tests(&self, dir: &Path) -> Result<Command> {
        // as `npm install` would do it
        let link_at = dir.join("node_modules/thalweg-udf");
        if fs::symlink_metadata(&link_at).is_err() {
            link(&Path::new("..").join(SDK), &link_at)?;
        }
        let mut node = Command::new("node");
        node.arg("--test").current_dir(dir);
        Ok(node)
    }
}

/// The module with the functions: the package's `main`.
fn main(dir: &Path) -> Result<String> {
    let path = dir.join("package.json");
    let help = "let package.json be JSON with \"main\", the module that exports `functions`";
    let text = fs::read(&path).map_err(|e| failed(format!("cannot read {}: {e}", path.display()), help))?;
    let package: serde_json::Value =
        serde_json::from_slice(&text).map_err(|e| failed(format!("{} is no JSON: {e}", path.display()), help))?;
    let main = package.get("main").and_then(|main| main.as_str());
    main.map(str::to_owned).ok_or_else(|| failed(format!("{} has no \"main\"", path.display()), help))
}

/// The folder of what the SDK's build program imports, fetched if it is not there yet: about 400 MB, once per version.
fn modules() -> Result<PathBuf> {
    let file = |name: &str| embedded::below("guest-sdk/js/").find(|(path, _)| *path == name).map(|(_, bytes)| bytes);
    let help = "fetching it needs the network once; `thalweg doctor js` says what else";
    let (Some(package), Some(lock)) = (file("package.json"), file("package-lock.json")) else {
        return Err(failed("this program was built without the SDK for JavaScript", "use another build of it"));
    };
    let digest: String = Sha256::digest(lock).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let home = fetched_dir()?.join(format!("componentize-js-{digest}"));
    let modules = home.join("node_modules");
    if !home.join("whole").is_file() {
        let write = || -> io::Result<()> {
            fs::create_dir_all(&home)?;
            fs::write(home.join("package.json"), package)?;
            fs::write(home.join("package-lock.json"), lock)
        };
        write().map_err(|e| failed(format!("cannot write {}: {e}", home.display()), help))?;
        let mut npm = Command::new("npm");
        // not `npm ci`, which fails where a registry lacks optional packages for other systems; the versions are those of the lock
        npm.args(["install", "--omit=dev", "--silent", "--no-audit", "--no-fund"]).current_dir(&home);
        run(&mut npm, help)?;
        fs::write(home.join("whole"), "").map_err(|e| failed(format!("cannot write {}: {e}", home.display()), help))?;
    }
    Ok(modules)
}

/// Makes a link, in place of one that leads elsewhere.
fn link(to: &Path, at: &Path) -> Result<()> {
    let make = || -> io::Result<()> {
        if fs::read_link(at).is_ok_and(|there| there == to) {
            return Ok(());
        }
        match fs::remove_file(at) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        at.parent().map_or(Ok(()), fs::create_dir_all)?;
        std::os::unix::fs::symlink(to, at)
    };
    make().map_err(|e| failed(format!("cannot make the link {}: {e}", at.display()), "remove what is there"))
}
