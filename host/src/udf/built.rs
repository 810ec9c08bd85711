//! Building: from a folder to a component of the smallest world that covers what its functions describe.

use super::language::Project;
use crate::compose::ComponentStore;
use std::path::{Path, PathBuf};
use thalweg_core::error::{Error, Result};
use thalweg_wasm::{Compiler, Component, Limits, World, componentize, componentize_in};

/// A component that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// Where it is.
    pub path: PathBuf,
    /// What it may import.
    pub world: World,
    /// Its size in bytes.
    pub size: u64,
    /// Names of its functions.
    pub functions: Vec<String>,
}

/// Compiles a project and writes its component to `output`, or as `NAME.wasm` into the project. What the component is to the host, `compiler`
/// finds out.
///
/// # Errors
/// `UDF_BUILD` for the compiler, `WASM_*` for what it made, `UDF_OUTPUT` when it cannot be written.
pub fn build(project: &Project, output: Option<&Path>, compiler: Compiler) -> Result<Built> {
    project.put_sdk()?;
    let compiled = project.language.toolchain().compile(&project.dir)?;
    let path = output.map_or_else(|| project.dir.join(format!("{}.wasm", compiled.name)), Path::to_path_buf);
    let is_component = compiled.bytes.get(6) == Some(&1);
    let whole = if is_component { compiled.bytes.clone() } else { componentize(&compiled.bytes)? };
    let name = path.display().to_string();
    let described = store(compiler).from_bytes(&name, &whole)?;
    let world = World::covering(described.description());
    let bytes = if !is_component && described.imports().iter().any(|import| world.lacks(import)) {
        componentize_in(&compiled.bytes, world)?
    } else {
        whole
    };
    write(&path, &bytes)?;
    let functions = described.description().functions.iter().map(|f| f.name.clone()).collect();
    Ok(Built { path, world, size: bytes.len() as u64, functions })
}

/// Makes a component of a module in a file.
///
/// # Errors
/// `UDF_MODULE` when it cannot be read, else as for [`build`].
pub fn componentize_file(module: &Path, output: &Path) -> Result<()> {
    let bytes = std::fs::read(module).map_err(|e| {
        Error::user("UDF_MODULE", format!("cannot read {}: {e}", module.display())).help("check the path")
    })?;
    write(output, &componentize(&bytes)?)
}

/// A component in a file, compiled by `compiler`.
///
/// # Errors
/// `WASM_*`: it cannot be read, is no component of ours, or does not compile.
pub fn open(file: &Path, compiler: Compiler) -> Result<Component> {
    store(compiler).open(file)
}

fn store(compiler: Compiler) -> ComponentStore {
    let cache_dir = ComponentStore::default_cache_dir();
    ComponentStore::new(cache_dir.as_deref(), Limits::default()).compiled_by(compiler)
}

fn write(path: &Path, component: &[u8]) -> Result<()> {
    let written = || -> std::io::Result<()> {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, component)
    };
    written().map_err(|e| {
        Error::user("UDF_OUTPUT", format!("cannot write {}: {e}", path.display()))
            .help("check the path, or give another by --output")
    })
}
