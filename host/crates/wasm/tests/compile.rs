//! Compiling in a child: honest components compile as they do here, bombs end in their error within their limits, and what was compiled
//! once is loaded in milliseconds. This program is its own child: started with `compile` it compiles and ends.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use thalweg_wasm::{Cache, CompileLimits, Compiler, Component, Engine, EngineLimits, Error};

/// The argument that makes a child.
const CHILD: &str = "compile";

type Fallible = Result<(), Box<dyn std::error::Error>>;
type Test = fn() -> Fallible;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == CHILD) {
        return thalweg_wasm::compile_child(args);
    }
    let tests: [(&str, Test); 5] = [
        ("a_child_gives_the_code_that_this_process_would", same_code),
        ("a_component_that_is_none_is_refused_with_the_compilers_words", refused),
        ("a_bomb_ends_at_the_limits_of_its_child", bombs),
        ("components_in_components_without_end_fell_a_child_at_most", nested),
        ("what_was_compiled_once_is_there_in_milliseconds", cached),
    ];
    let mut failed = 0;
    for (name, test) in tests {
        let told = test();
        println!("test {name} ... {}", if told.is_ok() { "ok" } else { "FAILED" });
        if let Err(e) = told {
            println!("  {e}");
            failed += 1;
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn engine(limits: CompileLimits) -> Result<Engine, Box<dyn std::error::Error>> {
    let mut compiler = Compiler::this_program(CHILD)?;
    if let Compiler::Child { limits: of, .. } = &mut compiler {
        *of = limits;
    }
    Ok(Engine::compiling(EngineLimits::default().instances(4), compiler)?)
}

fn ensure(holds: bool, what: &str) -> Fallible {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// A component of the contract that exports a `guest` which does nothing, with more in its module.
fn component(more: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let text = format!("(component (core module {more}) (instance $i) (export \"thalweg:other/thing\" (instance $i)))");
    Ok(wat::parse_str(text)?)
}

fn code(engine: &Engine, bytes: &[u8]) -> Result<String, Box<dyn std::error::Error>> {
    match Component::from_bytes(engine, "it", bytes, None) {
        Err(Error::WrongWorld { .. }) => Ok("compiled".to_owned()),
        Err(e) => Ok(format!("{}: {e}", e.code())),
        Ok(_) => Err("a component of another world was taken".into()),
    }
}

fn same_code() -> Fallible {
    let bytes = component("(func (export \"f\") (result i32) i32.const 7)")?;
    let told = code(&engine(CompileLimits::default())?, &bytes)?;
    ensure(told == "compiled", &told)
}

fn refused() -> Fallible {
    let mut bytes = component("")?;
    bytes.truncate(bytes.len() - 3);
    let told = code(&engine(CompileLimits::default())?, &bytes)?;
    ensure(told.starts_with("WASM_INVALID") && told.contains("unexpected end"), &told)
}

/// A module with a function whose values all live until its end, so that there is much to find a place for.
fn crowded(values: usize) -> String {
    let sets: String = (0..values).map(|i| format!("(local.set {} (call $f (local.get {})))", i + 1, i)).collect();
    let sum: String = (0..values).map(|i| format!("(local.get {}) i32.add ", i + 1)).collect();
    let locals = "i32 ".repeat(values);
    format!("(func $f (param i32) (result i32) (local {locals}) {sets} (local.get 0) {sum})")
}

fn bombs() -> Fallible {
    let bytes = component(&crowded(45_000))?;
    let start = Instant::now();
    let told = code(&engine(CompileLimits::default().cpu(Duration::from_secs(1)))?, &bytes)?;
    ensure(told.starts_with("WASM_COMPILE_LIMIT") && told.contains("CPU"), &told)?;
    let told = code(&engine(CompileLimits::default().wall(Duration::from_millis(300)))?, &bytes)?;
    ensure(told.starts_with("WASM_COMPILE_LIMIT") && told.contains("wall"), &told)?;
    let told = code(&engine(CompileLimits::default().memory_bytes(200 << 20))?, &bytes)?;
    ensure(told.starts_with("WASM_COMPILE_LIMIT") || told.starts_with("WASM_INVALID"), &told)?;
    println!("  three bombs ended after {:?}", start.elapsed());
    Ok(())
}

fn nested() -> Fallible {
    // a component section is its id, its length and a whole component
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..20_000 {
        let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
        let mut length = bytes.len();
        while length >= 128 {
            outer.push(length as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.extend(&bytes);
        bytes = outer;
    }
    let told = code(&engine(CompileLimits::default())?, &bytes)?;
    // the standard has no bound for it; a child that falls over it falls alone
    ensure(["compiled", "WASM_INVALID", "WASM_COMPILE_LIMIT"].iter().any(|end| told.starts_with(end)), &told)
}

fn cached() -> Fallible {
    let folder = tempfile::tempdir()?;
    let engine = engine(CompileLimits::default())?;
    let cache = Cache::open(&folder.path().join("cache"))?;
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/guests/components/conformance.wasm");
    if !path.is_file() {
        println!("  no guest is built here: make guests");
        return Ok(());
    }
    let mut took = Vec::new();
    for _ in 0..4 {
        let start = Instant::now();
        Component::load(&engine, &path, Some(&cache))?;
        took.push(start.elapsed());
    }
    println!("  deploy of a new component {:?}, of a compiled one {:?}", took[0], took[3]);
    // far above what it takes, so that a loaded machine does not fail it: compiling takes longer than this
    ensure(took[3] < took[0], "a compiled component is not loaded faster than it was compiled")
}
