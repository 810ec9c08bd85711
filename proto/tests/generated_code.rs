//! The checked-in Rust code is what the generator makes of the `.proto` files today.
//!
//! In: `proto/org/` and `proto/src/gen/`. Out: a failure that names each file out of step.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result};

#[path = "../examples/generate.rs"]
#[expect(dead_code, reason = "the example's main is not called here")]
mod generate;

#[test]
fn generated_code_is_in_step_with_the_proto_files() -> Result<()> {
    let fresh = tempfile::tempdir()?;
    generate::write(fresh.path())?;
    let fresh = read(fresh.path())?;
    let checked_in = read(&generate::crate_dir().join("src/gen"))?;
    let differing: BTreeSet<&String> =
        fresh.keys().chain(checked_in.keys()).filter(|name| fresh.get(*name) != checked_in.get(*name)).collect();
    assert!(
        differing.is_empty(),
        "out of step: {differing:?}; run `cargo run -p thalweg-proto --example generate` and commit proto/src/gen"
    );
    assert!(!fresh.is_empty(), "the generator wrote nothing");
    Ok(())
}

/// The content of each file of a folder, by name.
fn read(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
    }
    Ok(files)
}
