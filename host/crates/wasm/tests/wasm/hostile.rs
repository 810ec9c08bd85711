//! Hand-made hostile guests: each attack ends in a typed error that blames the guest, and the next call is as good as new.

use crate::handmade::{Guest, OK, frame, header, pair, section};
use crate::support::{bundle, keyed};
use std::sync::Arc;
use std::time::Duration;
use thalweg_core::error::{Domain, Error as CoreError};
use thalweg_core::id::{StageId, StateId};
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{BundleResult, Command, Event, Worker};
use thalweg_core::state::StateView;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_wasm::{Binding, Callee, Failures, Limits, Pool, StagePlan, Step, Target, Task, WasmWorker};

const WRITE_STATE: &str = r#"(import "thalweg:udf/state@1.0.0" "write" (func $write (param i32 i32)))"#;
const READ_STATE: &str = r#"(import "thalweg:udf/state@1.0.0" "read" (func $read (param i32 i32 i32 i32)))"#;
const EMIT: &str = r#"(import "thalweg:udf/outputs@1.0.0" "emit" (func $emit (param i32 i32)))"#;
const LOG: &str = r#"(import "thalweg:udf/log@1.0.0" "write" (func $log (param i32 i32 i32 i32 i32)))"#;

/// Runs two rows of two keys; gives what the bundle did or why it failed.
pub fn run(guest: &Guest, limits: Limits) -> Result<BundleResult, CoreError> {
    match events(guest, limits, Failures::FailBundle)?.pop() {
        Some(Event::Done { result, .. }) => Ok(*result),
        Some(Event::Failed { error, .. }) => Err(error),
        other => Err(CoreError::internal("TEST", format!("{other:?}"))),
    }
}

/// The same; gives all that the worker says.
fn events(guest: &Guest, limits: Limits, failures: Failures) -> Result<Vec<Event>, CoreError> {
    let component = guest.load()?;
    let pool = Pool::granted(&component, "f", "T", "", limits, &guest.grants)?;
    let states = [("n", StateId(1)), ("bag", StateId(2))];
    let step = Step::new(
        "T",
        Callee::Wasm(pool),
        Task::Process,
        Binding { states: &states, ..Binding::default() },
        vec![vec![Target::Output(0)]],
        failures,
    )?;
    let mut worker = WasmWorker::new([(StageId(0), StagePlan::new(vec![step])?)]);
    let (input, groups) = keyed(&[("a", 1), ("b", 2)]);
    let state = StateView::new(thalweg_core::id::BundleId(1), groups, Vec::new(), Arc::new(NullStore::default()));
    worker.submit(Command::Start(Box::new(bundle(input, state))))?;
    let mut events = Vec::new();
    worker.poll(&mut events);
    Ok(events)
}

/// The values that a guest puts out.
pub fn outputs(guest: &Guest) -> Vec<Vec<u8>> {
    let events = events(guest, Limits::default(), Failures::FailBundle).expect("a bundle");
    let values = events.iter().filter_map(|event| match event {
        Event::Output { batch, .. } => {
            Some(batch.rows().iter().map(|row| batch.value(row).to_vec()).collect::<Vec<_>>())
        }
        _ => None,
    });
    values.flatten().collect()
}

/// The code of the error that a guest's attack ends in; it must blame the guest.
pub fn code(guest: &Guest) -> &'static str {
    let limits = Limits::default().cpu_soft(Duration::from_millis(200)).memory_bytes(8 << 20).output_bytes(1 << 20);
    match run(guest, limits) {
        Err(error) => {
            assert_eq!(error.domain, Domain::Guest, "{error}");
            error.code
        }
        Ok(_) => "",
    }
}

/// Writes the guest's frame as state, then returns an empty one.
const WRITES: &str = "(call $write (i32.const 16384) (global.get $frame_bytes))
    (i32.store8 (i32.const 8) (i32.const 0)) (i32.store (i32.const 12) (i32.const 512))
    (i32.store (i32.const 16) (i32.const 16)) (i32.const 8)";
/// The header of an empty frame at 512, for what `WRITES` returns.
const EMPTY_FRAME: &str = r#"(data (i32.const 512) "\01\00\00\00\08\00\00\00\01\00\00\00\00\00\00\00")"#;

fn writes(ops: &[Vec<u8>]) -> Guest {
    Guest { imports: WRITE_STATE, extra: EMPTY_FRAME, call: WRITES, frame: frame(ops), ..Guest::default() }
}

/// One op on a slot: its group, its kind, the value `xy`.
fn op(slot: u32, group: u32, kind: u32) -> Vec<u8> {
    section(20, &[pair(slot, 1), pair(group, kind), pair(0, 2), b"xy".to_vec()].concat())
}

#[test]
fn an_honest_handmade_guest_passes() {
    assert_eq!(code(&Guest::default()), "");
}

#[test]
fn state_is_written_for_the_groups_of_the_frame() -> Result<(), CoreError> {
    let result = run(&writes(&[op(0, 1, 0), op(1, 0, 1), op(1, 0, 1)]), Limits::default())?;
    let cells = |group: usize| {
        let group = result.state.groups.get(group);
        group.map(|g| {
            g.changes.iter().map(|c| (c.id, c.value.as_ref().map(|v| v.as_slice().to_vec()))).collect::<Vec<_>>()
        })
    };
    let chunk = (StateId(2), Some(b"xy".to_vec()));
    assert_eq!(cells(0), Some(vec![chunk.clone(), chunk]));
    assert_eq!(cells(1), Some(vec![(StateId(1), Some(b"xy".to_vec()))]));
    Ok(())
}

#[test]
fn state_of_foreign_groups_and_slots_is_denied() {
    assert_eq!(code(&writes(&[op(0, 2, 0)])), "WASM_STATE_DENIED");
    assert_eq!(code(&writes(&[op(0, u32::MAX, 0)])), "WASM_STATE_DENIED");
    assert_eq!(code(&writes(&[op(2, 0, 0)])), "WASM_STATE_DENIED");
    assert_eq!(code(&writes(&[op(0, 0, 1)])), "WASM_STATE_DENIED"); // appends to a value
    assert_eq!(code(&writes(&[op(0, 0, 9)])), "WASM_FRAME");
    assert_eq!(code(&writes(&[section(20, &pair(0, u32::MAX))])), "WASM_FRAME");
}

#[test]
fn reads_of_foreign_groups_and_more_groups_than_there_are_are_denied() {
    let reads = |call| Guest { imports: READ_STATE, call, ..Guest::default() };
    // slot 0, the one group whose index is at address 0: 0, then u32::MAX
    let fine = "(call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32))
        (i32.store8 (i32.const 8) (i32.const 0)) (i32.store (i32.const 12) (i32.const 16384))
        (i32.store (i32.const 16) (global.get $frame_bytes)) (i32.const 8)";
    assert_eq!(code(&reads(fine)), "");
    let foreign = "(i32.store (i32.const 0) (i32.const -1))
        (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32)) unreachable";
    assert_eq!(code(&reads(foreign)), "WASM_STATE_DENIED");
    let many = "(call $read (i32.const 0) (i32.const 100000) (i32.const 1000) (i32.const 32)) unreachable";
    assert_eq!(code(&reads(many)), "WASM_STATE_DENIED");
}

#[test]
fn forged_output_frames_are_named() {
    let returns = |sections: &[Vec<u8>]| Guest { frame: frame(sections), ..Guest::default() };
    let value = section(8, &pair(0, 0));
    for (what, guest) in [
        ("an undeclared output", returns(&[header(1), value.clone(), section(10, &1u32.to_le_bytes())])),
        ("a foreign source", returns(&[header(1), value.clone(), section(11, &2u32.to_le_bytes())])),
        ("a range outside", returns(&[header(1), section(8, &pair(0, 1))])),
        ("a count that lies", returns(&[header(u32::MAX)])),
        ("no header", returns(&[value])),
        ("nothing", returns(&[])),
    ] {
        assert_eq!(code(&guest), "WASM_FRAME", "{what}");
    }
}

#[test]
fn pointers_outside_of_memory_are_the_guests_error() {
    let outside = "(i32.store8 (i32.const 8) (i32.const 0)) (i32.store (i32.const 12) (i32.const 0x7fffffff))
        (i32.store (i32.const 16) (i32.const 64)) (i32.const 8)";
    assert_eq!(code(&Guest { call: outside, ..Guest::default() }), "WASM_TRAP");
    let huge = "(i32.store8 (i32.const 8) (i32.const 0)) (i32.store (i32.const 12) (i32.const 0))
        (i32.store (i32.const 16) (i32.const -1)) (i32.const 8)";
    assert!(["WASM_TRAP", "WASM_OUTPUT_LIMIT"].contains(&code(&Guest { call: huge, ..Guest::default() })));
    assert_eq!(code(&Guest { call: "(i32.const 0x7fffffff)", ..Guest::default() }), "WASM_TRAP");
    assert_eq!(code(&Guest { realloc: "(i32.const -16)", ..Guest::default() }), "WASM_TRAP");
    assert_eq!(code(&Guest { realloc: "unreachable", ..Guest::default() }), "WASM_TRAP");
}

#[test]
fn a_result_that_is_neither_ok_nor_error_is_refused() {
    let call = "(i32.store8 (i32.const 8) (i32.const 7)) (i32.const 8)";
    assert_eq!(code(&Guest { call, ..Guest::default() }), "WASM_TRAP");
}

#[test]
fn endless_loops_end_wherever_they_are() {
    let forever = "(loop (br 0)) unreachable";
    assert_eq!(code(&Guest { call: forever, ..Guest::default() }), "WASM_CPU_LIMIT");
    assert_eq!(code(&Guest { open: forever, ..Guest::default() }), "WASM_CPU_LIMIT");
    // in calls of the host that each are short
    let logs = "(loop (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 64)) (br 0)) unreachable";
    assert_eq!(code(&Guest { imports: LOG, call: logs, ..Guest::default() }), "WASM_CPU_LIMIT");
    // in a bulk operation over all of memory
    let fills = "(loop (memory.fill (i32.const 65536) (i32.const 0) (i32.const 4000000)) (br 0)) unreachable";
    assert_eq!(code(&Guest { call: fills, ..Guest::default() }), "WASM_CPU_LIMIT");
}

#[test]
fn recursion_without_end_ends_at_the_stack_limit() {
    let extra = "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))";
    assert_eq!(code(&Guest { extra, call: "(call $deep (i32.const 0))", ..Guest::default() }), "WASM_STACK_LIMIT");
}

#[test]
fn early_outputs_count_to_the_limit() {
    let call = "(loop (call $emit (i32.const 16384) (i32.const 65536)) (br 0)) unreachable";
    assert_eq!(code(&Guest { imports: EMIT, call, ..Guest::default() }), "WASM_OUTPUT_LIMIT");
    let call = "(call $emit (i32.const 16384) (i32.const 2000000)) unreachable";
    assert_eq!(code(&Guest { imports: EMIT, call, ..Guest::default() }), "WASM_OUTPUT_LIMIT");
}

#[test]
fn log_lines_that_are_not_utf_8_are_the_guests_error() {
    let call = "(i32.store8 (i32.const 0) (i32.const 0xff))
        (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1)) unreachable";
    assert_eq!(code(&Guest { imports: LOG, call, ..Guest::default() }), "WASM_TRAP");
}

#[test]
fn memory_that_is_refused_is_named_when_the_guest_gives_up() {
    let call = "(if (i32.eq (memory.grow (i32.const 10000)) (i32.const -1)) (then unreachable)) unreachable";
    assert_eq!(code(&Guest { call, ..Guest::default() }), "WASM_MEMORY_LIMIT");
}

#[test]
fn traps_in_init_and_describe_are_reported_at_load() {
    let load = |guest: Guest| guest.load().err().map(|e| e.code());
    assert_eq!(load(Guest { extra: "(func $init unreachable) (start $init)", ..Guest::default() }), Some("WASM_TRAP"));
    assert_eq!(load(Guest { describe: "unreachable", ..Guest::default() }), Some("WASM_TRAP"));
    assert_eq!(load(Guest { description: "{", ..Guest::default() }), Some("WASM_DESCRIPTION"));
}

#[test]
fn an_instance_starts_with_clean_memory() {
    // traps unless the byte that it sets is unset: a second call in the same instance would trap, another instance must not
    let call: &'static str = Box::leak(
        format!("(if (i32.load8_u (i32.const 3000000)) (then unreachable)) (i32.store8 (i32.const 3000000) (i32.const 1)) {OK}")
            .into_boxed_str(),
    );
    let guest = Guest { call, ..Guest::default() };
    for _ in 0..8 {
        assert_eq!(code(&guest), "");
    }
}

#[test]
fn a_failed_call_leaves_no_state_where_its_rows_become_dead_letters() -> Result<(), CoreError> {
    let call = "(call $write (i32.const 16384) (global.get $frame_bytes)) unreachable";
    let guest = Guest { call, ..writes(&[op(0, 0, 0)]) };
    let mut events = events(&guest, Limits::default(), Failures::DeadLetter(vec![Target::Output(1)]))?;
    let Some(Event::Done { result, .. }) = events.pop() else { unreachable!("both rows have a place to go") };
    assert!(result.state.groups.iter().all(|group| group.changes.is_empty()));
    let letters = events.iter().map(|event| match event {
        Event::Output { output: 1, batch, .. } => batch.len(),
        _ => 0,
    });
    assert_eq!(letters.sum::<usize>(), 2);
    Ok(())
}

/// A guest that does this in its call and returns an empty frame.
pub fn does(what: &str) -> Guest {
    Guest { call: Box::leak(format!("{what} {OK}").into_boxed_str()), ..Guest::default() }
}

#[test]
fn a_table_does_not_grow_over_its_limit() {
    let call = "(if (i32.ne (table.grow $t (ref.null func) (i32.const 200000)) (i32.const -1)) (then unreachable))";
    assert_eq!(code(&Guest { extra: "(table $t 1 funcref)", ..does(call) }), "");
}

#[test]
fn table_elements_that_were_not_given_are_not_counted_and_those_given_are() {
    let mut call = String::new();
    // the table's own maximum forbids the first, no table has room for the second, and 100,000 are all there are
    for (more, given) in [(99_000, false), (-1, false), (60_000, true), (-1, false), (60_000, false), (30_000, true)] {
        let wrong = if given { "i64.eq" } else { "i64.ne" };
        let grow = format!("(table.grow $t (ref.null func) (i64.const {more}))");
        call.push_str(&format!("(if ({wrong} {grow} (i64.const -1)) (then unreachable))"));
    }
    assert_eq!(code(&Guest { extra: "(table $t i64 1 95000 funcref)", ..does(&call) }), "");
}

#[test]
fn memory_that_was_not_given_is_not_counted() -> Result<(), CoreError> {
    // 24,576 pages are within the limit; of one memory the engine gives 16,384
    let call = "(if (i32.ne (memory.grow (i32.const 20000)) (i32.const -1)) (then unreachable))
        (if (i32.eq (memory.grow (i32.const 10000)) (i32.const -1)) (then unreachable))";
    run(&does(call), Limits::default().memory_bytes(3 << 29)).map(drop)
}

#[test]
fn every_nan_that_is_computed_is_the_canonical_one() {
    // with a payload before the addition and, without the rule, after it
    let guest = does(
        "(i32.store (i32.const 0) (i32.const 0x7fa00001))
        (if (i32.ne (i32.reinterpret_f32 (f32.add (f32.load (i32.const 0)) (f32.const 1))) (i32.const 0x7fc00000))
            (then unreachable))",
    );
    assert_eq!(code(&guest), "");
}

/// A window as it stands in a set: from the beginning of 1970 on, so many milliseconds.
fn window(millis: u8) -> Vec<u8> {
    let end = (u64::from(millis) ^ (1 << 63)).to_be_bytes();
    [&9u32.to_le_bytes()[..], &end, &[millis]].concat()
}

/// A dictionary of one set.
fn one_set(windows: &[u8]) -> Vec<u8> {
    section(16, &[pair(1, 0), pair(0, windows.len() as u32), windows.to_vec()].concat())
}

#[test]
fn windows_that_rows_share_are_paid_for_by_each() {
    let rows = |count: usize, windows: usize| {
        let columns =
            [section(8, &pair(0, 0).repeat(count)), section(11, &vec![0; 4 * count]), section(5, &vec![0; 4 * count])];
        let frame = frame(&[header(count as u32), columns.concat(), one_set(&window(9).repeat(windows))]);
        code(&Guest { realloc: "(i32.const 3000000)", frame, ..Guest::default() })
    };
    // 13 bytes a window; a call may put out a megabyte
    assert_eq!((rows(1000, 50), rows(1000, 500)), ("", "WASM_OUTPUT_LIMIT"));
    assert_eq!((rows(1, 10_000), rows(1, 10_001)), ("", "WASM_FRAME"));
}

#[test]
fn early_outputs_share_the_dictionaries_of_their_input() -> Result<(), CoreError> {
    let frame = frame(&[header(1), section(8, &pair(0, 0)), section(11, &[0; 4])]);
    let call = format!("{} {OK}", "(call $emit (i32.const 16384) (global.get $frame_bytes))".repeat(3));
    let guest = Guest { imports: EMIT, call: call.leak(), frame, ..Guest::default() };
    let events = events(&guest, Limits::default(), Failures::FailBundle)?;
    let batches: Vec<_> =
        events.iter().filter_map(|e| if let Event::Output { batch, .. } = e { Some(batch) } else { None }).collect();
    assert_eq!(batches.len(), 4);
    let first = batches[0];
    for batch in &batches {
        assert!(std::ptr::eq(batch.window_sets(), first.window_sets()) && std::ptr::eq(batch.panes(), first.panes()));
    }
    Ok(())
}

#[test]
fn rows_keep_the_windows_of_their_input_beside_those_that_have_their_own() -> Result<(), CoreError> {
    let windows = [1u32, u32::MAX, 0, u32::MAX].map(u32::to_le_bytes).concat();
    let sources = [0u32, 0, 1, 1].map(u32::to_le_bytes).concat();
    let sets = [pair(2, 0), pair(0, 13), pair(13, 26), window(1), window(2)].concat();
    let columns = [section(8, &pair(0, 0).repeat(4)), section(11, &sources), section(5, &windows)];
    let frame = frame(&[header(4), columns.concat(), section(16, &sets)]);
    let events = events(&Guest { frame, ..Guest::default() }, Limits::default(), Failures::FailBundle)?;
    let batches = events.iter().filter_map(|e| if let Event::Output { batch, .. } = e { Some(batch) } else { None });
    let found: Vec<_> = batches.flat_map(|b| b.rows().iter().map(|row| b.windows(row).to_vec())).collect();
    let own = |end| Window::Interval { start: EventTime(0), end: EventTime(end) };
    assert_eq!(found, [vec![own(2)], vec![Window::Global], vec![own(1)], vec![Window::Global]]);
    Ok(())
}

#[test]
fn a_row_that_is_listed_as_failed_twice_is_no_two_dead_letters() {
    let failed = |rows: [u32; 2]| {
        let entries = rows.map(|row| [pair(row, 0), pair(0, 0), pair(0, 0)].concat()).concat();
        code(&Guest { frame: frame(&[header(0), section(24, &[pair(2, 0), entries].concat())]), ..Guest::default() })
    };
    assert_eq!((failed([1, 0]), failed([1, 1])), ("WASM_ROW_FAILED", "WASM_FRAME"));
}
