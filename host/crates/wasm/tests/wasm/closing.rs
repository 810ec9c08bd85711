//! How an instance ends: in order it is closed once, within limits; after a trap it is not asked anything.

use crate::handmade::Guest;
use crate::hostile::run;
use crate::lines::logged;
use crate::stage::Stage;
use std::time::{Duration, Instant};
use thalweg_core::batch::BatchBuilder;
use thalweg_core::port::worker::Input;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_wasm::{Binding, Failures, Limits};

type Fallible = Result<(), Box<dyn std::error::Error>>;

const LOG: &str = r#"(import "thalweg:udf/log@1.0.0" "write" (func $log (param i32 i32 i32 i32 i32)))"#;
const READ_STATE: &str = r#"(import "thalweg:udf/state@1.0.0" "read" (func $read (param i32 i32 i32 i32)))"#;
/// Writes the word at 512 to the log.
const SAYS_SO: &str = "(call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 512) (i32.const 6))";

/// A guest that says when it is closed.
fn guest() -> Guest {
    Guest { imports: LOG, extra: r#"(data (i32.const 512) "closed")"#, close: SAYS_SO, ..Guest::default() }
}

#[test]
fn an_instance_is_closed_once_when_its_worker_goes() {
    let (ran, lines) = logged(|| run(&guest(), Limits::default()));
    assert!(ran.is_ok());
    assert_eq!(lines.matches("closed").count(), 1, "{lines}");
    // one call a frame, one frame an instance
    let (ran, lines) = logged(|| run(&guest(), Limits::default().frame_rows(1).recycle_calls(1)));
    assert!(ran.is_ok());
    assert_eq!(lines.matches("closed").count(), 2, "{lines}");
}

#[test]
fn an_instance_that_trapped_is_not_asked_anything() {
    let (ran, lines) = logged(|| run(&Guest { call: "(unreachable)", ..guest() }, Limits::default()));
    assert!(ran.is_err() && !lines.contains("closed"), "{lines}");
}

#[test]
fn what_goes_wrong_when_it_is_closed_is_told_and_harms_nobody() {
    for (close, imports, said) in [
        ("(unreachable)", LOG, "unreachable"),
        ("(loop (br 0))", LOG, "more than 1000 ms"),
        ("(call $read (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 32))", READ_STATE, "state"),
    ] {
        let start = Instant::now();
        let (ran, lines) = logged(|| run(&Guest { close, imports, ..guest() }, Limits::default()));
        assert!(ran.is_ok() && lines.contains("it did not close") && lines.contains(said), "{lines}");
        assert!(start.elapsed() < Duration::from_secs(20), "it has a second, and not the five of a call");
    }
}

#[test]
fn a_function_of_every_runtime_closes() -> Fallible {
    for language in ["_go", "_python", "_js"] {
        let open =
            || Stage::of(&format!("conformance{language}"), "buffer", "", Binding::default(), Failures::FailBundle);
        let (ran, lines) = logged(|| -> Fallible {
            let mut builder = BatchBuilder::new();
            builder.push(&[], &[1], EventTime(0), &[Window::Global]);
            open()?.run(Input::Elements { batches: vec![(0, builder.finish())] })?;
            Ok(())
        });
        ran?;
        assert_eq!(lines.matches("the buffer is closed").count(), 1, "{language}: {lines}");
    }
    Ok(())
}
