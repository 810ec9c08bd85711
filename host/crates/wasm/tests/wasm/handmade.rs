//! Components written in WebAssembly text, to say to the host what no SDK would.

use crate::support::engine;
use crate::world::component;
use thalweg_wasm::{Component, Error, Grants};

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
/// their result stands; `close` returns nothing.
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
    /// Body of `close`.
    pub close: &'static str,
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
            close: "",
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
        let Self { imports, extra, realloc, describe, open, call, close, .. } = self;
        let text = format!(
            r#"(module {imports}
            (memory (export "memory") 64)
            (global $frame_bytes i32 (i32.const {frame_bytes}))
            (global $description_bytes i32 (i32.const {description_bytes}))
            (data (i32.const {DESCRIPTION_AT}) "{description}")
            (data (i32.const {FRAME_AT}) "{frame}")
            {extra}
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
            (func (export "thalweg:udf/guest@1.0.0#describe") (result i32) {describe})
            (func (export "thalweg:udf/guest@1.0.0#open") (param i32 i32 i32 i32) (result i32) {open})
            (func (export "thalweg:udf/guest@1.0.0#call") (param i32 i32 i32 i32) (result i32) {call})
            (func (export "thalweg:udf/guest@1.0.0#close") (param i32) {close}))"#,
            frame_bytes = self.frame.len(),
            description_bytes = self.description.len(),
            description = escape(self.description.as_bytes()),
            frame = escape(&self.frame),
        );
        component(&text, self.wasi.unwrap_or("0.2.0")).expect("a component")
    }

    /// The component, loaded.
    pub fn load(&self) -> Result<Component, Error> {
        Component::from_bytes(engine(), "handmade", &self.build(), None)
    }
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
