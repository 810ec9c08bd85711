//! WASI 0.2 as guests find it: whatever the runtime of a language asks at its start is answered, and nothing of the machine is seen.

use crate::handmade::{DESCRIPTION, FRAME_AT, Guest, frame, header, pair, section};
use crate::hostile::{code, does, outputs, run};
use crate::support::guest;
use thalweg_core::error::Domain;
use thalweg_wasm::{Component, Error, Grants, Limits};

/// A guest that was built for a later version of WASI than the host names, and does this in its call.
fn with_wasi(imports: &'static str, what: &str) -> Guest {
    Guest { imports, wasi: Some("0.2.9"), ..does(what) }
}

#[test]
fn every_import_of_wasi_is_linked_whatever_its_version() -> Result<(), Error> {
    let random = r#"(import "wasi:random/random@0.2.9" "get-random-u64" (func $random (result i64)))"#;
    let component = with_wasi(random, "(drop (call $random))").load()?;
    assert!(component.imports().iter().any(|import| import == "wasi:random/random@0.2.9"), "{:?}", component.imports());
    let older =
        Guest { imports: r#"(import "wasi:random/random@0.2.0" "get-random-u64" (func (result i64)))"#, ..does("") };
    Guest { wasi: Some("0.2.0"), ..older }.load().map(drop)
}

#[test]
fn environment_and_directories_are_empty() {
    let lists = r#"(import "wasi:cli/environment@0.2.9" "get-environment" (func $environment (param i32)))
        (import "wasi:cli/environment@0.2.9" "get-arguments" (func $arguments (param i32)))
        (import "wasi:filesystem/preopens@0.2.9" "get-directories" (func $directories (param i32)))"#;
    for list in ["environment", "arguments", "directories"] {
        let call = format!("(call ${list} (i32.const 0)) (if (i32.load (i32.const 4)) (then unreachable))");
        assert_eq!(code(&with_wasi(lists, &call)), "", "{list}");
    }
}

#[test]
fn the_wall_clock_is_the_bundles_processing_time() {
    let clock = r#"(import "wasi:clocks/wall-clock@0.2.9" "now" (func $now (param i32)))"#;
    // the bundle of these tests runs seven milliseconds after 1970
    let looks = "(call $now (i32.const 0))
        (if (i64.ne (i64.load (i32.const 0)) (i64.const 0)) (then unreachable))
        (if (i32.ne (i32.load (i32.const 8)) (i32.const 7000000)) (then unreachable))";
    assert_eq!(code(&with_wasi(clock, &looks.repeat(2))), "");
}

#[test]
fn a_sleep_moves_the_monotonic_clock_and_takes_no_time() {
    let clock = r#"(import "wasi:clocks/monotonic-clock@0.2.9" "now" (func $now (result i64)))
        (import "wasi:clocks/monotonic-clock@0.2.9" "subscribe-duration" (func $sleep (param i64) (result i32)))
        (import "wasi:io/poll@0.2.9" "[method]pollable.block" (func $block (param i32)))"#;
    let day = "(if (i64.ne (call $now) (i64.const 7001000)) (then unreachable))
        (call $block (call $sleep (i64.const 86400000000000)))
        (if (i64.ne (call $now) (i64.const 86400007002000)) (then unreachable))";
    assert_eq!(code(&with_wasi(clock, day)), "");
}

#[test]
fn random_numbers_are_those_of_the_frames_seed() {
    let random = r#"(import "wasi:random/random@0.2.9" "get-random-u64" (func $random (result i64)))
        (import "wasi:random/insecure-seed@0.2.9" "insecure-seed" (func $seed (param i32)))
        (import "wasi:random/random@0.2.9" "get-random-bytes" (func $bytes (param i64 i32)))"#;
    let differ = "(if (i64.eq (call $random) (call $random)) (then unreachable))";
    assert_eq!(code(&with_wasi(random, differ)), "");
    let flood = "(call $bytes (i64.const 1000000000000) (i32.const 0))";
    assert_eq!(code(&with_wasi(random, flood)), "WASM_DENIED");
}

#[test]
fn sockets_and_names_are_refused_by_an_error_the_guest_can_read() {
    let sockets = r#"
        (import "wasi:sockets/tcp-create-socket@0.2.9" "create-tcp-socket" (func $tcp (param i32 i32)))
        (import "wasi:sockets/udp-create-socket@0.2.9" "create-udp-socket" (func $udp (param i32 i32)))
        (import "wasi:sockets/instance-network@0.2.9" "instance-network" (func $network (result i32)))
        (import "wasi:sockets/ip-name-lookup@0.2.9" "resolve-addresses" (func $name (param i32 i32 i32 i32)))"#;
    // an error, and the one that is called access-denied
    let denied = "(if (i32.ne (i32.load8_u (i32.const 0)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 4)) (i32.const 1)) (then unreachable))";
    for call in [
        "(call $tcp (i32.const 0) (i32.const 0))",
        "(call $udp (i32.const 1) (i32.const 0))",
        "(call $name (call $network) (i32.const 1024) (i32.const 4) (i32.const 0))",
    ] {
        assert_eq!(code(&with_wasi(sockets, &format!("{call} {denied}"))), "", "{call}");
    }
}

#[test]
fn standard_input_is_at_its_end_and_output_is_taken() {
    let streams = r#"(import "wasi:cli/stdin@0.2.9" "get-stdin" (func $stdin (result i32)))
        (import "wasi:cli/stderr@0.2.9" "get-stderr" (func $stderr (result i32)))
        (import "wasi:io/streams@0.2.9" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))
        (import "wasi:io/streams@0.2.9" "[method]output-stream.blocking-write-and-flush"
            (func $write (param i32 i32 i32 i32)))"#;
    let closed = "(call $read (call $stdin) (i64.const 100) (i32.const 0))
        (if (i32.ne (i32.load8_u (i32.const 0)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 4)) (i32.const 1)) (then unreachable))";
    assert_eq!(code(&with_wasi(streams, closed)), "");
    let write = "(call $write (call $stderr) (i32.const 1024) (i32.const 600) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then unreachable))";
    assert_eq!(code(&with_wasi(streams, write)), "");
    let flood = "(i32.store (i32.const 32) (call $stderr))
        (loop (call $write (i32.load (i32.const 32)) (i32.const 1024) (i32.const 600) (i32.const 0)) (br 0))";
    assert_eq!(code(&with_wasi(streams, flood)), "WASM_CPU_LIMIT");
}

#[test]
fn what_is_not_served_ends_the_call_by_name() {
    let http = r#"(import "wasi:http/outgoing-handler@0.2.9" "handle" (func $handle (result i64)))"#;
    assert_eq!(code(&with_wasi(http, "(drop (call $handle))")), "WASM_DENIED");
    assert_eq!(code(&with_wasi(http, "")), "");
}

#[test]
fn a_guest_that_exits_has_trapped() {
    let exit = r#"(import "wasi:cli/exit@0.2.9" "exit" (func $exit (param i32)))"#;
    assert_eq!(code(&with_wasi(exit, "(call $exit (i32.const 0))")), "WASM_TRAP");
}

#[test]
fn handles_are_not_made_without_end_or_forged() {
    let clock = r#"(import "wasi:clocks/monotonic-clock@0.2.9" "subscribe-duration" (func $sleep (param i64) (result i32)))
        (import "wasi:io/poll@0.2.9" "[method]pollable.block" (func $block (param i32)))
        (import "wasi:io/poll@0.2.9" "[resource-drop]pollable" (func $drop (param i32)))"#;
    let leak = "(loop (drop (call $sleep (i64.const 1))) (br 0))";
    assert_eq!(code(&with_wasi(clock, leak)), "WASM_TRAP");
    assert_eq!(code(&with_wasi(clock, "(call $block (i32.const 77))")), "WASM_TRAP");
    let twice = "(i32.store (i32.const 0) (call $sleep (i64.const 1)))
        (call $drop (i32.load (i32.const 0))) (call $drop (i32.load (i32.const 0)))";
    assert_eq!(code(&with_wasi(clock, twice)), "WASM_TRAP");
}

#[test]
fn guests_that_need_no_wasi_are_not_given_any() -> Result<(), Error> {
    let component = Component::load(crate::support::engine(), &guest("bench_udfs"), None)?;
    assert!(!component.imports().iter().any(|import| import.starts_with("wasi:")));
    Ok(())
}

/// A guest that describes these capabilities, is granted these, and does this.
fn granted(described: &str, grants: &str, imports: &'static str, what: &str) -> Guest {
    let description = DESCRIPTION.replace(r#"[{"name":"f","#, &format!(r#"[{{"name":"f","capabilities":{described},"#));
    let grants: Grants = serde_json::from_str(grants).expect("grants");
    Guest { description: Box::leak(description.into_boxed_str()), grants, ..with_wasi(imports, what) }
}

#[test]
fn what_is_described_and_not_granted_refuses_the_job_by_name() {
    let error = run(&granted(r#"["clock","env:REGION"]"#, "{}", "", ""), Limits::default()).expect_err("a refusal");
    assert_eq!((error.code, error.domain), ("WASM_NOT_GRANTED", Domain::User));
    assert!(error.message.contains("clock, env:REGION"), "{}", error.message);
}

#[test]
fn a_granted_clock_is_the_time_of_day_and_goes_on() {
    let clock = r#"(import "wasi:clocks/wall-clock@0.2.9" "now" (func $now (param i32)))
        (import "wasi:clocks/monotonic-clock@0.2.9" "now" (func $monotonic (result i64)))"#;
    // later than the year 2025; and the monotonic clock does not go in steps of a microsecond
    let real = "(call $now (i32.const 0))
        (if (i64.lt_u (i64.load (i32.const 0)) (i64.const 1735689600)) (then unreachable))
        (i64.store (i32.const 32) (call $monotonic))
        (loop (if (i64.eq (call $monotonic) (i64.load (i32.const 32))) (then (br 1))))";
    assert_eq!(code(&granted(r#"["clock"]"#, r#"{"clock":true}"#, clock, real)), "");
    // what is granted but not described is not given
    assert_eq!(code(&granted("[]", r#"{"clock":true}"#, clock, real)), "WASM_TRAP");
}

#[test]
fn granted_entropy_is_not_the_frames_seed() {
    let random = r#"(import "wasi:random/random@0.2.9" "get-random-u64" (func $random (result i64)))"#;
    // two fresh instances, the same frame
    let first = |described: &str| {
        // the arena begins behind header, VALUE and its own head
        let call = format!("(i64.store (i32.const {}) (call $random))", FRAME_AT + 16 + 16 + 8);
        let value = frame(&[header(1), section(8, &pair(0, 8)), section(9, &[0; 8])]);
        outputs(&Guest { frame: value, ..granted(described, r#"{"random":true}"#, random, &call) })
    };
    assert_eq!(first("[]"), first("[]"));
    assert_ne!(first(r#"["random"]"#), first(r#"["random"]"#));
}

#[test]
fn a_granted_variable_is_all_there_is_in_the_environment() {
    let environment = r#"(import "wasi:cli/environment@0.2.9" "get-environment" (func $environment (param i32)))"#;
    // one pair, whose value has two bytes; the described one that is granted
    let looks = "(call $environment (i32.const 0))
        (if (i32.ne (i32.load (i32.const 4)) (i32.const 1)) (then unreachable))";
    let grants = r#"{"env":{"REGION":"eu","OTHER":"x"}}"#;
    assert_eq!(code(&granted(r#"["env:REGION"]"#, grants, environment, looks)), "");
}
