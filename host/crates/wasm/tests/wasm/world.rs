//! Components of modules in text: the contract's world, with what is served of WASI, is put into them.

use std::fs;
use std::path::{Path, PathBuf};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// The component of a module in text, in the world with WASI of a version.
pub fn component(text: &str, wasi: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut module = wat::parse_str(text)?;
    let mut resolve = Resolve::default();
    resolve.push_dir(root().join("wit"))?;
    let world = world_with_wasi(&mut resolve, wasi)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    Ok(thalweg_wasm::componentize(&module)?)
}

/// The world of the contract with what the host serves of WASI in another version, and with something that it does not serve.
fn world_with_wasi(resolve: &mut Resolve, version: &str) -> Result<WorldId, Box<dyn std::error::Error>> {
    let (from, to) = (root().join("host/crates/wasm/wasi"), tempfile::tempdir()?);
    fs::create_dir(to.path().join("deps"))?;
    for file in ["world", "deps/cli", "deps/clocks", "deps/filesystem", "deps/io", "deps/random", "deps/sockets"] {
        let text = fs::read_to_string(from.join(file).with_extension("wit"))?;
        fs::write(to.path().join(file).with_extension("wit"), text.replace("@0.2.0", &format!("@{version}")))?;
    }
    resolve.push_dir(to.path())?;
    let http = format!("package wasi:http@{version}; interface outgoing-handler {{ handle: func() -> u64; }}");
    resolve.push_str("http.wit", &http)?;
    let both = format!(
        "package test:both; world both {{ include thalweg:udf/full@1.0.0; include thalweg:wasi/served;
            import wasi:http/outgoing-handler@{version}; }}"
    );
    let package = resolve.push_str("both.wit", &both)?;
    Ok(resolve.select_world(&[package], Some("both"))?)
}
