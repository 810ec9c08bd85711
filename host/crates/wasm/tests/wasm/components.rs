//! Files that are no components of ours: each is refused with its own error.

use crate::handmade::Guest;
use crate::support::{engine, guest};
use std::path::Path;
use thalweg_wasm::{Component, Error, describe::SlotKind};

fn refusal(bytes: &[u8]) -> Error {
    Component::from_bytes(engine(), "it.wasm", bytes, None).expect_err("a refusal")
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("a component")
}

#[test]
fn a_missing_file_names_its_path() {
    let error = Component::load(engine(), Path::new("no/such/file.wasm"), None).expect_err("a refusal");
    assert_eq!(error.code(), "WASM_UNREADABLE");
    assert!(error.to_string().contains("no/such/file.wasm"));
}

#[test]
fn other_files_are_not_wasm() {
    assert_eq!(refusal(b"").code(), "WASM_NOT_WASM");
    assert_eq!(refusal(b"\x7fELF and so on").code(), "WASM_NOT_WASM");
    assert_eq!(refusal(b"(component)").code(), "WASM_NOT_WASM");
}

#[test]
fn a_core_module_is_told_from_a_component() {
    let error = refusal(&component("(module)"));
    assert_eq!(error.code(), "WASM_CORE_MODULE");
    assert!(error.help().contains("thalweg udf build"));
}

#[test]
fn a_component_of_another_world_names_what_it_exports() {
    let error = refusal(&component("(component)"));
    assert_eq!(error.code(), "WASM_WRONG_WORLD");
    let text = r#"(component (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#;
    let error = refusal(&component(text));
    assert!(error.to_string().contains("wasi:cli/run@0.2.0"), "{error}");
    let text = r#"(component (instance $i) (export "thalweg:udf/guest@1.0.0" (instance $i)))"#;
    assert_eq!(refusal(&component(text)).code(), "WASM_WRONG_WORLD");
}

/// A guest with another version in the place of 1.0.0, which is as long.
fn built_for(version: &str) -> Vec<u8> {
    let logs = r#"(import "thalweg:udf/log@1.0.0" "write" (func $log (param i32 i32 i32 i32 i32)))"#;
    let mut bytes = Guest { imports: logs, ..Guest::default() }.build();
    let (from, to) = (b"@1.0.0", format!("@{version}").into_bytes());
    let places: Vec<usize> = bytes.windows(from.len()).enumerate().filter(|(_, w)| w == from).map(|(i, _)| i).collect();
    assert!(places.len() > 2);
    places.into_iter().for_each(|at| bytes[at..at + from.len()].copy_from_slice(&to));
    bytes
}

#[test]
fn components_of_version_1_are_run_and_those_of_others_refused_by_it() {
    for version in ["1.0.0", "1.0.9", "1.7.0"] {
        let loaded = Component::from_bytes(engine(), "it.wasm", &built_for(version), None);
        assert!(loaded.is_ok_and(|component| component.function("f").is_ok()), "{version}");
    }
    for version in ["0.9.0", "2.0.0", "3.1.4"] {
        let error = refusal(&built_for(version));
        assert_eq!(error.code(), "WASM_WRONG_WORLD");
        assert!(error.to_string().contains(&format!("built for thalweg:udf {version}, and 1.x is run")), "{error}");
    }
}

#[test]
fn the_components_of_released_versions_are_there_and_load() -> Result<(), Error> {
    // the other tests run them where they run the guests of today
    for name in ["conformance", "words"] {
        let released = Component::load(engine(), &guest(&format!("released/1.0.0/{name}")), None)?;
        assert!(!released.description().functions.is_empty());
    }
    Ok(())
}

#[test]
fn imports_outside_the_contract_are_refused_by_name() {
    let text = r#"(component
        (import "wasi:filesystem/types@0.2.0" (instance))
        (import "wasi:filesystem/types@0.3.0" (instance))
        (import "wasi:nn/graph@0.2.0" (instance))
        (import "my:own/thing" (instance))
        (import "thalweg:udf/log@1.0.0" (instance))
        (import "thalweg:udf/timers@1.0.0" (instance)))"#;
    let error = refusal(&component(text));
    assert_eq!(error.code(), "WASM_FORBIDDEN_IMPORT");
    let imports = ["wasi:filesystem/types@0.3.0", "wasi:nn/graph@0.2.0", "my:own/thing", "thalweg:udf/timers@1.0.0"];
    let imports = imports.map(String::from).to_vec();
    assert_eq!(error, Error::ForbiddenImport { name: "it.wasm".into(), imports });
}

#[test]
fn damaged_components_are_refused_wherever_they_are_cut() {
    let whole = Guest::default().build();
    for end in (8..whole.len()).step_by(97) {
        let error = refusal(&whole[..end]);
        assert!(["WASM_INVALID", "WASM_WRONG_WORLD"].contains(&error.code()), "cut at {end}: {error}");
    }
}

#[test]
fn the_functions_of_a_component_are_described() -> Result<(), Error> {
    let bench = Component::load(engine(), &guest("bench_udfs"), None)?;
    let names: Vec<_> = bench.description().functions.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["split", "event", "change", "count", "join", "same", "pass", "number"]);
    let count = bench.function("count")?;
    assert_eq!(
        (count.slots[0].name.as_str(), &count.slots[0].kind, count.slots[0].eager),
        ("n", &SlotKind::Value, true)
    );
    assert!(bench.imports().iter().all(|import| import.starts_with("thalweg:udf/")));
    let error = bench.function("parse").expect_err("a refusal");
    assert!(error.to_string().contains("split, event, change, count"), "{error}");
    Ok(())
}

#[test]
fn a_component_without_state_does_not_import_it() -> Result<(), Error> {
    let parse = Component::load(engine(), &guest("flights_parse"), None)?;
    assert!(!parse.imports().iter().any(|import| import.contains("/state@")), "{:?}", parse.imports());
    Ok(())
}

#[test]
fn a_capability_is_not_granted_and_an_unknown_coder_is_refused() {
    let load = |description| Guest { description, ..Guest::default() }.load();
    let wants = r#"{"functions":[{"name":"f","kind":"dofn","input":{"urn":"beam:coder:bytes:v1"},
        "outputs":[{"name":"main","coder":{"urn":"beam:coder:bytes:v1"}}],"capabilities":["http"]}]}"#;
    let error = load(wants).and_then(|component| component.function("f").cloned()).expect_err("a refusal");
    assert!(error.code() == "WASM_UNSUPPORTED" && error.to_string().contains("http"), "{error}");
    let other = r#"{"functions":[{"name":"f","kind":"dofn","input":{"urn":"beam:coder:later:v1"},
        "outputs":[{"name":"main","coder":{"urn":"beam:coder:bytes:v1"}}]}]}"#;
    assert_eq!(load(other).expect_err("a refusal").code(), "WASM_DESCRIPTION");
}

#[test]
fn memory_that_threads_could_share_is_refused() {
    assert_eq!(refusal(&component("(component (core module (memory 1 2 shared)))")).code(), "WASM_INVALID");
}

#[test]
fn what_cannot_become_a_component_says_why() {
    let why = |module: &[u8]| thalweg_wasm::componentize(module).expect_err("a refusal").to_string();
    assert!(why(b"no module").contains("magic"), "{}", why(b"no module"));
    let empty = component("(module)");
    assert!(why(&empty).contains("thalweg:udf/guest@1.0.0"), "{}", why(&empty));
    let foreign = component(r#"(module (import "env" "call" (func)))"#);
    assert!(why(&foreign).contains("env"), "{}", why(&foreign));
    // a function of preview1 that the adapter does not have
    let unknown =
        component(r#"(module (import "wasi_snapshot_preview1" "fd_fly" (func)) (memory (export "memory") 1))"#);
    assert!(why(&unknown).contains("fd_fly"), "{}", why(&unknown));
}
