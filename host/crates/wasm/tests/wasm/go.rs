//! What Go's runtime does in a component: its clock, randomness and output are those of the adapter, its collector runs where memory is
//! asked for, and whatever ends a call is a typed error with the guest's stack.

use crate::lines::logged;
use crate::stage::{Ran, Stage};
use crate::support::component;
use std::sync::Arc;
use std::time::Duration;
use thalweg_core::batch::BatchBuilder;
use thalweg_core::error::Error as CoreError;
use thalweg_core::id::StateId;
use thalweg_core::port::worker::{Group, Input, Item};
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_wasm::{Binding, Failures, Limits, Target};

type Fallible = Result<(), Box<dyn std::error::Error>>;

fn elements(commands: &[&str]) -> Input {
    let mut builder = BatchBuilder::new();
    for (i, command) in commands.iter().enumerate() {
        builder.push(&[], command.as_bytes(), EventTime(i as i64), &[Window::Global]);
    }
    Input::Elements { batches: vec![(0, builder.finish())] }
}

fn run(commands: &[&str], failures: Failures) -> Result<Ran, CoreError> {
    let limits = Limits::default().cpu_soft(Duration::from_millis(500)).wall_hard(Duration::from_secs(5));
    let stage = Stage::limited("runtime_go", "run", limits, Binding::default(), failures);
    stage.map_err(|e| CoreError::internal("TEST", e.to_string()))?.run(elements(commands))
}

fn said(commands: &[&str]) -> Result<Vec<String>, CoreError> {
    let ran = run(commands, Failures::FailBundle)?;
    Ok(ran.rows(0).into_iter().map(|(_, text, _)| text).collect())
}

#[test]
fn a_component_of_go_imports_what_its_functions_need_and_nothing_of_wasi() {
    let imports = |guest| {
        let component = component(guest);
        let mut names: Vec<String> = component
            .imports()
            .iter()
            .filter_map(|name| name.strip_prefix("thalweg:udf/")?.strip_suffix("@1.0.0").map(str::to_owned))
            .collect();
        assert_eq!(names.len(), component.imports().len(), "{:?}", component.imports());
        names.sort_unstable();
        names
    };
    // any function may have lists, as far as the linker knows; `udf build` leaves out what is not described
    assert_eq!(imports("runtime_go"), ["iterables", "log", "outputs", "state", "types"]);
    assert_eq!(imports("conformance_go"), ["iterables", "log", "outputs", "side-inputs", "state", "tables", "types"]);
}

#[test]
fn time_stands_still_but_for_sleep_and_is_that_of_the_call() -> Fallible {
    // the processing time of the tests is 7
    assert_eq!(said(&["clock", "clock"])?, ["7 7 1h0m0s", "7 7 1h0m0s"]);
    Ok(())
}

#[test]
fn randomness_comes_from_the_seed_of_the_call_and_there_are_no_files() -> Fallible {
    let first = said(&["random", "random"])?;
    assert_ne!(first[0], first[1]);
    assert_eq!(first, said(&["random", "random"])?, "another instance");
    assert_eq!(said(&["files"])?, ["true 0 0"]);
    Ok(())
}

#[test]
fn goroutines_of_a_call_run_in_it() -> Fallible {
    assert_eq!(said(&["goroutines"])?, ["[0 1 2 3 4 5 6 7 8 9]"]);
    Ok(())
}

#[test]
fn a_panic_is_the_failure_of_the_call_with_the_stack_and_its_row_stands_alone() -> Fallible {
    let error = run(&["panic"], Failures::FailBundle).err().ok_or("no error")?;
    assert_eq!(error.code, "WASM_REFUSED", "{error:?}");
    assert!(error.message.contains("PANIC") && error.message.contains("nil map"), "{}", error.message);
    let lines: Vec<&str> = error.trace.lines().collect();
    assert!(lines[0].starts_with("main.fail(") && lines[1].contains("runtime/main.go:"), "{}", error.trace);
    let commands = ["clock", "panic", "clock", "error", "clock"];
    let ran = run(&commands, Failures::DeadLetter(vec![Target::Output(1)]))?;
    assert_eq!(ran.rows(0).len(), 3);
    let letters = ran.rows(1);
    assert_eq!(letters.len(), 2);
    let panicked = letters.iter().find(|(_, letter, _)| letter.contains("PANIC")).ok_or("no panic")?;
    assert!(panicked.1.contains("main.fail("), "the stack goes with the dead letter: {}", panicked.1);
    Ok(())
}

#[test]
fn what_ends_the_runtime_is_a_trap_of_the_guest() {
    for command in ["deadlock", "exit", "goroutine"] {
        let error = run(&[command], Failures::FailBundle).expect_err(command);
        assert_eq!(error.code, "WASM_TRAP", "{command}: {error:?}");
    }
    for (command, code) in
        [("recursion", "WASM_STACK_LIMIT"), ("memory", "WASM_MEMORY_LIMIT"), ("loop", "WASM_CPU_LIMIT")]
    {
        let error = run(&[command], Failures::FailBundle).expect_err(command);
        assert_eq!(error.code, code, "{command}: {error:?}");
    }
}

#[test]
fn the_collector_may_run_while_the_host_asks_for_memory() -> Fallible {
    let binding = Binding { states: &[("texts", StateId(1)), ("map", StateId(2))], ..Binding::default() };
    let mut stage = Stage::of("runtime_go", "waste", "", binding, Failures::FailBundle)?;
    let groups: Arc<[Group]> = [Group::new(b"k", Window::Global)].into();
    let mut sums = Vec::new();
    for round in 0..20u8 {
        let mut builder = BatchBuilder::new();
        let text = vec![b'a' + round; 5000];
        builder.push(b"k", &text, EventTime(0), &[Window::Global]);
        let items = vec![Item::Row { group: 0, batch: 0, row: 0 }];
        let input = Input::Keyed { groups: Arc::clone(&groups), batches: vec![builder.finish()], items };
        sums.push(stage.run(input)?.rows(0)[0].1.clone());
    }
    assert_eq!(sums[19], format!("{} true", 19 * 5000 * 8), "and it did run");
    Ok(())
}

#[test]
fn what_is_printed_is_logged_by_lines() -> Fallible {
    let (ran, lines) = logged(|| run(&["print"], Failures::FailBundle));
    ran?;
    for wanted in ["INFO", "one line \u{fc}", "WARN", "bad ? byte", "and a rest", "logged"] {
        assert!(lines.contains(wanted), "{wanted:?} is not in\n{lines}");
    }
    Ok(())
}
