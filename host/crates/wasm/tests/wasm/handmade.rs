//! Components written in WebAssembly text, to say to the host what no SDK would.

use crate::support::{engine, root};
use std::fs;
use thalweg_wasm::{Component, Error, Grants};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// Where the description stands in the memory of a hand-made guest.
pub const DESCRIPTION_AT: usize = 1024;
/// Where its frame stands.
pub const FRAME_AT: usize = 16384;

/// A stateful function `f` from KV of bytes to bytes and KV of bytes, with an eager value slot and a bag.
pub const DESCRIPTION: &str = r#"{"functions":[{"name":"f","kind":"dofn",
    "input":{"urn":"beam:coder:kv:v1","components":[{"urn":"beam:coder:bytes:v1"},{"urn":"beam:coder:bytes:v1"}]},
    "outputs":[{"name":"main","coder":{"urn":"beam:coder:bytes:v1"}}],
    "slots":[{"name":"n","kind":"value","coder":{"urn":"beam:coder:bytes:v1"},"eager":true},
        {"name":"bag","kind":"bag","coder":{"urn":"beam:coder:bytes:v1"}}]}]}"#;

/// The parts of a hand-made guest in text form. `describe`, `open` and `call` are bodies of functions that return where
/// their result stands.
pub struct Guest {
    /// Imports of interface functions.
    pub imports: &'static str,
    /// Further functions, globals, a start function.
    pub extra: &'static str,
    /// Body of `cabi_realloc`.
    pub realloc: &'static str,
    /// Body of `describe`.
    pub describe: &'static str,
    /// Body of `open`.
    pub open: &'static str,
    /// Body of `call`.
    pub call: &'static str,
    /// What `call` returns or writes, if its body says so.
    pub frame: Vec<u8>,
    /// What `describe` returns, if its body says so.
    pub description: &'static str,
    /// The version of WASI that it may import beside the contract.
    pub wasi: Option<&'static str>,
    /// What the pipeline grants.
    pub grants: Grants,
}

/// A result that is ok with the frame at `FRAME_AT`.
pub const OK: &str = "(i32.store8 (i32.const 8) (i32.const 0)) (i32.store (i32.const 12) (i32.const 16384))
    (i32.store (i32.const 16) (global.get $frame_bytes)) (i32.const 8)";

impl Default for Guest {
    fn default() -> Self {
        Self {
            imports: "",
            extra: "",
            // a bump allocator that starts again with every call: its argument is consumed when the call returns
            realloc: "(i32.const 65536)",
            describe:
                "(i32.store (i32.const 8) (i32.const 1024)) (i32.store (i32.const 12) (global.get $description_bytes))
                (i32.const 8)",
            open: "(i32.store8 (i32.const 8) (i32.const 0)) (i32.store (i32.const 12) (i32.const 0)) (i32.const 8)",
            call: OK,
            frame: frame(&[header(0)]),
            description: DESCRIPTION,
            wasi: None,
            grants: Grants::default(),
        }
    }
}

impl Guest {
    /// The component.
    pub fn build(&self) -> Vec<u8> {
        let escape = |bytes: &[u8]| bytes.iter().map(|b| format!("\\{b:02x}")).collect::<String>();
        let Self { imports, extra, realloc, describe, open, call, .. } = self;
        let text = format!(
            r#"(module {imports}
            (memory (export "memory") 64)
            (global $frame_bytes i32 (i32.const {frame_bytes}))
            (global $description_bytes i32 (i32.const {description_bytes}))
            (data (i32.const {DESCRIPTION_AT}) "{description}")
            (data (i32.const {FRAME_AT}) "{frame}")
            {extra}
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
            (func (export "thalweg:udf/guest@0.10.0#describe") (result i32) {describe})
            (func (export "thalweg:udf/guest@0.10.0#open") (param i32 i32 i32 i32) (result i32) {open})
            (func (export "thalweg:udf/guest@0.10.0#call") (param i32 i32 i32 i32) (result i32) {call})
            (func (export "thalweg:udf/guest@0.10.0#close") (param i32)))"#,
            frame_bytes = self.frame.len(),
            description_bytes = self.description.len(),
            description = escape(self.description.as_bytes()),
            frame = escape(&self.frame),
        );
        let mut module = wat::parse_str(text).expect("a module");
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(root().join("wit")).expect("the contract");
        let world = match self.wasi {
            None => resolve.select_world(&[package], Some("full")).expect("the world"),
            Some(version) => world_with_wasi(&mut resolve, version),
        };
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a module with its world");
        thalweg_wasm::componentize(&module).expect("a component")
    }

    /// The component, loaded.
    pub fn load(&self) -> Result<Component, Error> {
        Component::from_bytes(engine(), "handmade", &self.build(), None)
    }
}

/// The world of the contract with what the host serves of WASI, both in another version, and with something that it does not serve.
fn world_with_wasi(resolve: &mut Resolve, version: &str) -> WorldId {
    let (from, to) = (root().join("host/crates/wasm/wasi"), tempfile::tempdir().expect("a directory"));
    fs::create_dir(to.path().join("deps")).expect("a directory");
    for file in ["world", "deps/cli", "deps/clocks", "deps/filesystem", "deps/io", "deps/random", "deps/sockets"] {
        let text = fs::read_to_string(from.join(file).with_extension("wit")).expect("a file");
        let text = text.replace("@0.2.0", &format!("@{version}"));
        fs::write(to.path().join(file).with_extension("wit"), text).expect("a file");
    }
    resolve.push_dir(to.path()).expect("WASI");
    let http = format!("package wasi:http@{version}; interface outgoing-handler {{ handle: func() -> u64; }}");
    resolve.push_str("http.wit", &http).expect("a package");
    let both = format!(
        "package test:both; world both {{ include thalweg:udf/full@0.10.0; include thalweg:wasi/served;
            import wasi:http/outgoing-handler@{version}; }}"
    );
    let package = resolve.push_str("both.wit", &both).expect("a package");
    resolve.select_world(&[package], Some("both")).expect("the world")
}

/// Two numbers as they stand in a section.
pub fn pair(a: u32, b: u32) -> Vec<u8> {
    [a.to_le_bytes(), b.to_le_bytes()].concat()
}

/// A section of a frame.
pub fn section(id: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = pair(id, payload.len() as u32);
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// The header of a frame.
pub fn header(rows: u32) -> Vec<u8> {
    section(1, &pair(1, rows))
}

/// A frame of sections.
pub fn frame(sections: &[Vec<u8>]) -> Vec<u8> {
    sections.concat()
}
