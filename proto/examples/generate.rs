//! Generates `proto/src/gen/*.rs` from the `.proto` files of this folder; the tests use the same functions.
//!
//! In: the `.proto` files under `proto/org/` and `proto/thalweg/`. Out: one Rust file per protobuf package, checked in, so that a user of the
//! crate needs neither this program nor protoc. Run it after a change: `cargo run -p thalweg-proto --example generate`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use prost_types::FileDescriptorSet;
use protox::Compiler;

fn main() -> Result<()> {
    write(&crate_dir().join("src/gen"))
}

/// The folder of this crate, which is also the root of the `.proto` imports.
pub fn crate_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Compiles every `.proto` file of ours, and what they import from `google/protobuf`, which comes with the compiler.
///
/// # Errors
/// A file that cannot be read, or that is not valid protobuf.
pub fn descriptors() -> Result<FileDescriptorSet> {
    let root = crate_dir();
    let mut files = Vec::new();
    collect(&root.join("org"), &mut files)?;
    collect(&root.join("thalweg"), &mut files)?;
    // The order of files decides the order of types in the generated code.
    files.sort();
    let mut compiler = Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(files)?;
    Ok(compiler.file_descriptor_set())
}

/// Writes the generated code into `out`, which must exist.
///
/// # Errors
/// As [`descriptors`], or a file that cannot be written.
pub fn write(out: &Path) -> Result<()> {
    tonic_prost_build::configure()
        .out_dir(out)
        .emit_rerun_if_changed(false)
        // Payloads of elements and state are slices of the received message, not copies.
        .bytes(".")
        // A map that is always written in the same order gives the same bytes for the same message.
        .btree_map(".")
        .client_mod_attribute(".", r#"#[cfg(feature = "grpc")]"#)
        .server_mod_attribute(".", r#"#[cfg(feature = "grpc")]"#)
        .compile_fds(descriptors()?)
        .context("generating Rust code")
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
