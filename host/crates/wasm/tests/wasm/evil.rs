//! Every hostile guest of `guest-examples/evil/wat`: what it ends in, within its deadline, and that nothing is left of it.

use crate::support::{bundle, engine, keyed, root};
use crate::world::component;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_core::error::{Domain, Error as CoreError};
use thalweg_core::id::{BundleId, StageId, StateId};
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{Command, Event, Worker};
use thalweg_core::state::StateView;
use thalweg_wasm::{Binding, Callee, Component, Failures, Limits, Pool, StagePlan, Step, Target, Task, WasmWorker};

/// The attacks and the code of the error that each ends in; nothing for those that harm themselves alone.
const ATTACKS: &[(&str, &str)] = &[
    ("bag_place_broken", "WASM_STATE_DENIED"),
    ("bag_place_forged", "WASM_STATE_DENIED"),
    ("description_deep", "WASM_DESCRIPTION"),
    ("description_huge", "WASM_OUTPUT_LIMIT"),
    ("description_no_json", "WASM_DESCRIPTION"),
    ("description_not_utf8", "WASM_TRAP"),
    ("division_by_zero", "WASM_TRAP"),
    ("emits_of_nothing", "WASM_OUTPUT_LIMIT"),
    ("entries_flood", "WASM_STATE_LIMIT"),
    ("entropy_flood", "WASM_DENIED"),
    ("exits", "WASM_TRAP"),
    ("failed_amplified", "WASM_ROW_FAILED"),
    ("failed_foreign", "WASM_FRAME"),
    ("failed_not_utf8", "WASM_FRAME"),
    ("failure_huge", "WASM_REFUSED"),
    ("failure_not_utf8", "WASM_TRAP"),
    ("frame_column_short", "WASM_FRAME"),
    ("frame_count_lies", "WASM_FRAME"),
    ("frame_empty", "WASM_FRAME"),
    ("frame_section_length_overflows", "WASM_FRAME"),
    ("frame_section_over_the_end", "WASM_FRAME"),
    ("frame_section_twice", "WASM_FRAME"),
    ("frame_torn", "WASM_FRAME"),
    ("frame_without_header", "WASM_FRAME"),
    ("group_foreign", "WASM_STATE_DENIED"),
    ("group_read_foreign", "WASM_STATE_DENIED"),
    ("group_written_early", "WASM_STATE_DENIED"),
    ("groups_without_end", "WASM_STATE_DENIED"),
    ("handle_dropped_twice", "WASM_TRAP"),
    ("handle_forged", "WASM_TRAP"),
    ("handles_leaked", "WASM_TRAP"),
    ("host_reads_outside", "WASM_TRAP"),
    ("host_writes_outside", "WASM_TRAP"),
    ("huge_memory_declared", "WASM_INVALID"),
    ("layout_unknown", "WASM_FRAME"),
    ("log_escapes", ""),
    ("log_flood", ""),
    ("log_huge", ""),
    ("lookups_amplified", "WASM_CPU_LIMIT"),
    ("loop_at_start", "WASM_CPU_LIMIT"),
    ("loop_in_bulk_memory", "WASM_CPU_LIMIT"),
    ("loop_in_close", ""),
    ("loop_in_host_calls", "WASM_CPU_LIMIT"),
    ("loop_in_open", "WASM_CPU_LIMIT"),
    ("loop_in_post_return", "WASM_CPU_LIMIT"),
    ("loop_in_realloc", "WASM_CPU_LIMIT"),
    ("loop_plain", "WASM_CPU_LIMIT"),
    ("memory_bomb", "WASM_MEMORY_LIMIT"),
    ("metrics_without_end", "WASM_FRAME"),
    ("output_amplified", "WASM_OUTPUT_LIMIT"),
    ("output_huge", "WASM_OUTPUT_LIMIT"),
    ("output_undeclared", "WASM_FRAME"),
    ("outputs_flood", "WASM_OUTPUT_LIMIT"),
    ("previous_tenant", ""),
    ("range_at_the_end_of_numbers", "WASM_OUTPUT_LIMIT"),
    ("range_falls", "WASM_FRAME"),
    ("range_outside", "WASM_FRAME"),
    ("realloc_calls_the_host", "WASM_TRAP"),
    ("realloc_grows", "WASM_MEMORY_LIMIT"),
    ("realloc_negative", "WASM_TRAP"),
    ("realloc_outside", "WASM_TRAP"),
    ("realloc_the_same_place", "WASM_FRAME"),
    ("realloc_traps", "WASM_TRAP"),
    ("recursion_deep", "WASM_STACK_LIMIT"),
    ("recursion_mutual", "WASM_STACK_LIMIT"),
    ("result_at_the_end_of_addresses", "WASM_TRAP"),
    ("result_neither_ok_nor_error", "WASM_TRAP"),
    ("result_of_2_31", "WASM_TRAP"),
    ("result_outside", "WASM_TRAP"),
    ("result_over_itself", "WASM_FRAME"),
    ("result_over_the_end", "WASM_TRAP"),
    ("return_area_outside", "WASM_TRAP"),
    ("return_area_unaligned", "WASM_TRAP"),
    ("scan_of_a_cell", "WASM_STATE_DENIED"),
    ("secrets_probe", ""),
    ("side_input_undeclared", "WASM_STATE_DENIED"),
    ("sleeps_for_ever", ""),
    ("slot_of_another_kind", "WASM_STATE_DENIED"),
    ("slot_undeclared", "WASM_STATE_DENIED"),
    ("source_foreign", "WASM_FRAME"),
    ("source_none", "WASM_FRAME"),
    ("state_amplified", "WASM_STATE_LIMIT"),
    ("state_flood", "WASM_STATE_LIMIT"),
    ("state_op_unknown", "WASM_FRAME"),
    ("table_bomb", "WASM_TRAP"),
    ("table_undeclared", "WASM_STATE_DENIED"),
    ("text_not_utf8", "WASM_TRAP"),
    ("time_at_the_beginning", "WASM_FRAME"),
    ("time_at_the_end", "WASM_FRAME"),
    ("timer_hold_at_the_end", "WASM_FRAME"),
    ("timer_of_foreign_group", "WASM_STATE_DENIED"),
    ("timer_undeclared", "WASM_STATE_DENIED"),
    ("timers_flood", "WASM_STATE_LIMIT"),
    ("token_forged", "WASM_STATE_DENIED"),
    ("trap_at_start", "WASM_TRAP"),
    ("trap_in_call", "WASM_TRAP"),
    ("trap_in_close", ""),
    ("trap_in_describe", "WASM_TRAP"),
    ("trap_in_open", "WASM_TRAP"),
    ("uses_http", "WASM_DENIED"),
    ("wants_the_clock", "WASM_NOT_GRANTED"),
    ("window_falls", "WASM_FRAME"),
    ("windows_foreign", "WASM_FRAME"),
    ("writes_of_nothing", "WASM_STATE_LIMIT"),
];

/// How long an attack may take: the wall limit of what runs before the limits of these tests hold, and a machine that does other
/// things.
const DEADLINE: Duration = Duration::from_secs(45);

fn limits() -> Limits {
    Limits::default()
        .cpu_soft(Duration::from_millis(400))
        .memory_bytes(128 << 20)
        .output_bytes(4 << 20)
        .state_bytes(2 << 20)
}

/// Runs two rows of two keys through the guest.
fn attack(name: &str) -> Result<(), CoreError> {
    let text = fs::read_to_string(root().join(format!("guest-examples/evil/wat/{name}.wat"))).expect("a file");
    let bytes = component(&evil::handmade::module(&text), "0.2.9").expect("a component");
    let component = Component::from_bytes(engine(), name, &bytes, None)?;
    let pool = Pool::new(&component, "f", "T", "", limits())?;
    let binding = Binding {
        states: &[("n", StateId(1)), ("bag", StateId(2)), ("map", StateId(3))],
        timers: &[Some("t")],
        ..Binding::default()
    };
    let outputs = vec![vec![Target::Output(0)]];
    let step = Step::new("T", Callee::Wasm(pool), Task::Process, binding, outputs, Failures::FailBundle)?;
    let mut worker = WasmWorker::new([(StageId(0), StagePlan::new(vec![step])?)]);
    for _ in 0..2 {
        let (input, groups) = keyed(&[("a", 1), ("b", 2)]);
        let state = StateView::new(BundleId(1), groups, Vec::new(), Arc::new(NullStore::default()));
        worker.submit(Command::Start(Box::new(bundle(input, state))))?;
        let mut events = Vec::new();
        worker.poll(&mut events);
        if let Some(Event::Failed { error, .. }) = events.pop() {
            return Err(error);
        }
    }
    Ok(())
}

#[test]
fn every_attack_ends_in_its_error_within_its_deadline() {
    let mut wrong = Vec::new();
    for (name, code) in ATTACKS {
        let start = Instant::now();
        let found = attack(name).err();
        let blamed = found.as_ref().is_none_or(|e| matches!(e.domain, Domain::Guest | Domain::User));
        let found_code = found.as_ref().map_or("", |e| e.code);
        let short = found.as_ref().is_none_or(|e| e.message.len() + e.trace.len() < 16 << 10);
        if !short || found_code != *code || !blamed || start.elapsed() > DEADLINE {
            let found: String = format!("{found:?}").chars().take(300).collect();
            wrong.push(format!("{name}: {found} after {:?}, not {code}", start.elapsed()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_is_in_the_table() {
    let files = fs::read_dir(root().join("guest-examples/evil/wat")).expect("a directory");
    let mut names: Vec<String> = files
        .map(|f| f.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    let table: BTreeMap<_, _> = ATTACKS.iter().copied().collect();
    assert_eq!(names, table.keys().copied().collect::<Vec<_>>());
}
