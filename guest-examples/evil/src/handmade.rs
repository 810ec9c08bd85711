//! Hostile guests in WebAssembly text, for what no SDK would say to a host: one attack per file of `wat/`. In: such a file, which defines
//! what it does differently. Out: the text of a whole module.
//!
//! A file may import anything and define `$describe`, `$open`, `$call`, `$close` and `$realloc`; what it leaves out behaves. The
//! honest guest is a function `f` from pairs of bytes to bytes, with slots and a timer family, and returns a frame without rows. It
//! has 4 MiB of memory; its description stands at 1024, the frame it returns at 16384, the input at 65536.

use std::fmt::Write;

/// What the honest guest says of itself.
pub const DESCRIPTION: &str = r#"{"functions":[{"name":"f","kind":"dofn",
    "input":{"urn":"beam:coder:kv:v1","components":[{"urn":"beam:coder:bytes:v1"},{"urn":"beam:coder:bytes:v1"}]},
    "outputs":[{"name":"main","coder":{"urn":"beam:coder:bytes:v1"}}],
    "slots":[{"name":"n","kind":"value","coder":{"urn":"beam:coder:bytes:v1"},"eager":true},
        {"name":"bag","kind":"bag","coder":{"urn":"beam:coder:bytes:v1"}},
        {"name":"map","kind":"map","key":{"urn":"beam:coder:bytes:v1"},"coder":{"urn":"beam:coder:bytes:v1"}}],
    "timers":[{"name":"t","domain":"event"}]}]}"#;

/// The exports with their types and what they do if the file does not say.
const EXPORTS: [(&str, &str, &str); 5] = [
    ("realloc", "(param i32 i32 i32 i32) (result i32)", "(i32.const 65536)"),
    (
        "describe",
        "(result i32)",
        "(i32.store (i32.const 8) (i32.const 1024)) (i32.store (i32.const 12) (global.get $description_bytes)) (i32.const 8)",
    ),
    (
        "open",
        "(param i32 i32 i32 i32) (result i32)",
        "(i32.store8 (i32.const 8) (i32.const 0)) (i32.store (i32.const 12) (i32.const 0)) (i32.const 8)",
    ),
    ("call", "(param i32 i32 i32 i32) (result i32)", "(call $ok)"),
    ("close", "(param i32)", ""),
];

/// Returns the frame at 16384.
const OK: &str =
    "(func $ok (result i32) (i32.store8 (i32.const 8) (i32.const 0)) (i32.store (i32.const 12) (i32.const 16384))
    (i32.store (i32.const 16) (global.get $frame_bytes)) (i32.const 8))";

/// An empty frame: its header.
const FRAME: &str = "(data (i32.const 16384) (i32 1 8 1 0)) (global $frame_bytes i32 (i32.const 16))";

/// The text of the module of a file.
#[must_use]
pub fn module(file: &str) -> String {
    let mut text = format!("(module\n{file}\n{OK}\n");
    let memory = if file.contains("(memory ") { "" } else { "(memory (export \"memory\") 64)\n" };
    text.push_str(memory);
    if !file.contains("$frame_bytes i32") {
        text.push_str(FRAME);
    }
    let description = DESCRIPTION.bytes().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "\\{byte:02x}"); // writing to a String cannot fail
        text
    });
    let _ = writeln!(text, "(data (i32.const 1024) \"{description}\")");
    let _ = writeln!(text, "(global $description_bytes i32 (i32.const {}))", DESCRIPTION.len());
    for (name, kind, body) in EXPORTS {
        let export =
            if name == "realloc" { "cabi_realloc".to_owned() } else { format!("thalweg:udf/guest@1.0.0#{name}") };
        if !file.contains(&format!("(func ${name} ")) {
            let _ = writeln!(text, "(func ${name} {kind} {body})");
        }
        let _ = writeln!(text, "(export \"{export}\" (func ${name}))");
    }
    text.push(')');
    text
}
