//! Functions that gather in memory from START to FINISH of a bundle: what they have at the end is every row once, however worn their instance
//! is and whatever fails on the way.

use crate::handmade::{DESCRIPTION as KEYED, Guest, frame, header, pair, section};
use crate::stage::Stage;
use crate::support::{bundle, in_every_language, keyed};
use std::sync::Arc;
use thalweg_core::batch::BatchBuilder;
use thalweg_core::error::{Domain, Error as CoreError};
use thalweg_core::id::{BundleId, StageId, StateId};
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{BundleResult, Command, Event, Input, Worker};
use thalweg_core::state::StateView;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_wasm::{Binding, Callee, Failures, Limits, Pool, StagePlan, Step, Target, Task, WasmWorker};

const DESCRIPTION: &str = r#"{"functions":[{"name":"f","kind":"dofn","input":{"urn":"beam:coder:bytes:v1"},
    "outputs":[{"name":"main","coder":{"urn":"beam:coder:bytes:v1"}}],"bundles":true}]}"#;
/// The event time of poison: a frame has it for its rows alone, where the arena may have bytes of others. As bytes it is `POIS`.
const POISON: EventTime = EventTime(0x5349_4f50);

/// What `process` does with a frame that has poison in it.
const TRAPS: &str = "unreachable";
/// It has taken some rows already when it gives up.
const REFUSES: &str = "(global.set $n (i32.add (global.get $n) (i32.const 1)))
    (i32.store8 (i32.const 8) (i32.const 1)) (memory.fill (i32.const 12) (i32.const 0) (i32.const 28)) (return (i32.const 8))";

/// A guest that counts the rows of a bundle and puts the count out at its end, where it stands in the arena of `frame`; each call puts a row out, too.
/// It traps at a call outside of a bundle and at a bundle within another.
fn guest(poison: &str, also: &str) -> Guest {
    let sets = [pair(1, 0), pair(0, 4), pair(0, 0)[..4].to_vec()].concat();
    let none = u32::MAX.to_le_bytes();
    let columns = [section(4, &pair(5, 0)), section(8, &pair(0, 4)), section(11, &none), section(5, &[0; 4])];
    let frame = frame(&[header(1), columns.concat(), section(16, &sets), section(9, &[0; 4])]);
    let arena = 16384 + frame.len() - 8;
    let each = [header(1), section(8, &pair(0, 0)), section(11, &[0; 4])].concat();
    let escape = |bytes: &[u8]| bytes.iter().map(|b| format!("\\{b:02x}")).collect::<String>();
    let ok = |at: &str, bytes: &str| {
        format!(
            "(i32.store8 (i32.const 8) (i32.const 0)) (i32.store (i32.const 12) (i32.const {at}))
            (i32.store (i32.const 16) {bytes}) (return (i32.const 8))"
        )
    };
    let each_ok = ok("512", &format!("(i32.const {})", each.len()));
    let call = format!(
        "(local $at i32) (local $end i32)
        (if (i32.eq (local.get 1) (i32.const 1)) (then
            (if (global.get $on) (then unreachable))
            (global.set $on (i32.const 1)) (global.set $n (i32.const 0))
            {start}))
        (if (i32.eqz (global.get $on)) (then unreachable))
        (if (i32.eq (local.get 1) (i32.const 2)) (then
            (global.set $on (i32.const 0)) (i32.store (i32.const {arena}) (global.get $n))
            {finish}))
        (local.set $at (local.get 2)) (local.set $end (i32.add (local.get 2) (local.get 3)))
        (loop
            (if (i32.eq (i32.load (local.get $at)) (i32.const 0x53494f50)) (then {poison}))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $at) (local.get $end))))
        {also}
        (global.set $n (i32.add (global.get $n) (i32.load (i32.add (local.get 2) (i32.const 12)))))
        {each_ok} unreachable",
        start = ok("640", "(i32.const 16)"),
        finish = ok("16384", "(global.get $frame_bytes)"),
    );
    let extra = format!(
        r#"(global $n (mut i32) (i32.const 0)) (global $on (mut i32) (i32.const 0))
        (data (i32.const 512) "{}") (data (i32.const 640) "{}")"#,
        escape(&each),
        escape(&header(0)),
    );
    Guest { description: DESCRIPTION, call: call.leak(), extra: extra.leak(), frame, ..Guest::default() }
}

fn worker(guest: &Guest, limits: Limits, failures: Failures, binding: Binding<'_>) -> Result<WasmWorker, CoreError> {
    let pool = Pool::new(&guest.load()?, "f", "T", "", limits)?;
    let outputs = vec![vec![Target::Output(0)]];
    let step = Step::new("T", Callee::Wasm(pool), Task::Process, binding, outputs, failures)?;
    Ok(WasmWorker::new([(StageId(0), StagePlan::new(vec![step])?)]))
}

/// What a bundle gave: how many rows its calls put out, the counts of its end, how many dead letters, and its result.
#[derive(Debug)]
struct Gave {
    rows: usize,
    counts: Vec<u32>,
    letters: usize,
    result: BundleResult,
}

fn run(worker: &mut WasmWorker, input: Input, state: StateView) -> Result<Gave, CoreError> {
    worker.submit(Command::Start(Box::new(bundle(input, state))))?;
    let mut events = Vec::new();
    worker.poll(&mut events);
    let (mut rows, mut counts, mut letters) = (0, Vec::new(), 0);
    for event in events {
        match event {
            Event::Output { output: 0, batch, .. } => {
                for row in batch.rows() {
                    match batch.value(row).first_chunk::<4>() {
                        Some(count) => counts.push(u32::from_le_bytes(*count)),
                        None => rows += 1,
                    }
                }
            }
            Event::Output { batch, .. } => letters += batch.len(),
            Event::Done { result, .. } => return Ok(Gave { rows, counts, letters, result: *result }),
            Event::Failed { error, .. } => return Err(error),
            _ => {}
        }
    }
    Err(CoreError::internal("TEST", "the bundle is not done"))
}

fn elements(rows: usize, poison: &[usize]) -> (Input, StateView) {
    let mut batches = [BatchBuilder::new(), BatchBuilder::new()];
    for i in 0..rows {
        let time = if poison.contains(&i) { POISON } else { EventTime(0) };
        batches[usize::from(i >= rows / 2)].push(&[], b"value", time, &[Window::Global]);
    }
    let batches = batches.map(|mut batch| (0, batch.finish())).into();
    (Input::Elements { batches }, StateView::empty(BundleId(1), Arc::new(NullStore::default())))
}

fn letters() -> Failures {
    Failures::DeadLetter(vec![Target::Output(1)])
}

#[test]
fn an_instance_that_is_worn_gathers_to_the_end_of_its_bundle() -> Result<(), CoreError> {
    for limits in [Limits::default().recycle_calls(1), Limits::default().recycle_bytes(0)] {
        let mut worker = worker(&guest(TRAPS, ""), limits.frame_rows(1), Failures::FailBundle, Binding::default())?;
        for rows in [7, 3] {
            let (input, state) = elements(rows, &[]);
            let gave = run(&mut worker, input, state)?;
            assert_eq!((gave.rows, gave.counts), (rows, vec![rows as u32]));
        }
    }
    Ok(())
}

#[test]
fn the_buffers_of_every_language_hold_all_of_their_bundle() -> Result<(), Box<dyn std::error::Error>> {
    in_every_language("conformance", |guest| {
        let limits = Limits::default().frame_rows(1).recycle_calls(1);
        let mut stage = match Stage::limited(guest, "buffer", limits, Binding::default(), letters()) {
            Err(thalweg_wasm::Error::NoFunction { .. }) => return Ok(()),
            stage => stage?,
        };
        for _ in 0..2 {
            let mut builder = BatchBuilder::new();
            for number in 1..=5 {
                builder.push(&[], &[number], EventTime(0), &[Window::Global]);
            }
            // one that is no varint of one row: it fails alone, and the sum stands
            builder.push(&[], &[0xff], EventTime(0), &[Window::Global]);
            let ran = stage.run(Input::Elements { batches: vec![(0, builder.finish())] })?;
            let out = |output| ran.outputs.iter().filter(|(o, _)| *o == output).map(|(_, b)| b).collect::<Vec<_>>();
            let sums: Vec<_> = out(0).iter().flat_map(|b| b.rows().iter().map(|row| b.value(row).to_vec())).collect();
            assert_eq!(sums, [vec![15]]);
            assert_eq!(out(1).iter().map(|batch| batch.len()).sum::<usize>(), 1);
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    })
}

#[test]
fn only_the_poison_rows_of_a_bundle_that_is_gathered_are_lost() -> Result<(), CoreError> {
    for (poison, places) in [TRAPS, REFUSES].into_iter().flat_map(|p| {
        let places: [&[usize]; 6] = [&[], &[0], &[6], &[12], &[2, 3, 9], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]];
        places.map(|places| (p, places))
    }) {
        let mut worker = worker(&guest(poison, ""), Limits::default().frame_rows(3), letters(), Binding::default())?;
        for _ in 0..2 {
            let (input, state) = elements(13, places);
            let gave = run(&mut worker, input, state)?;
            let sound = 13 - places.len();
            assert_eq!((gave.counts, gave.letters), (vec![sound as u32], places.len()), "{places:?}");
            assert!(gave.rows <= sound, "{} calls for {sound} rows count", gave.rows);
        }
    }
    Ok(())
}

#[test]
fn what_a_bundle_that_failed_had_gathered_is_not_in_the_next_one() -> Result<(), CoreError> {
    let mut worker =
        worker(&guest(REFUSES, ""), Limits::default().frame_rows(2), Failures::FailBundle, Binding::default())?;
    for _ in 0..2 {
        let (input, state) = elements(9, &[8]);
        let failed = run(&mut worker, input, state).map_err(|error| error.code);
        assert_eq!(failed.err(), Some("WASM_REFUSED"));
        let (input, state) = elements(9, &[]);
        assert_eq!(run(&mut worker, input, state)?.counts, [9]);
    }
    Ok(())
}

#[test]
fn a_failure_that_can_be_put_down_to_no_row_fails_the_bundle() -> Result<(), CoreError> {
    // the fourth row of an instance is too much, whichever it is
    let also = "(if (i32.eq (global.get $n) (i32.const 3)) (then unreachable))";
    let mut worker = worker(&guest(TRAPS, also), Limits::default().frame_rows(1), letters(), Binding::default())?;
    let (input, state) = elements(5, &[]);
    let error = run(&mut worker, input, state).map(|gave| gave.counts).err();
    assert_eq!(error.map(|error| (error.code, error.domain)), Some(("WASM_TRAP", Domain::Guest)));
    let (input, state) = elements(3, &[]);
    assert_eq!(run(&mut worker, input, state)?.counts, [3], "the next bundle is as good as new");
    Ok(())
}

#[test]
fn state_is_what_the_attempt_that_counts_has_made_of_it() -> Result<(), CoreError> {
    // every call adds to the bag of its first key
    let op = section(20, &[pair(1, 1), pair(0, 1), pair(0, 2), b"xy".to_vec()].concat());
    let text = op.iter().map(|b| format!("\\{b:02x}")).collect::<String>();
    let also = format!("(call $write (i32.const 1024000) (i32.const {}))", op.len());
    let plain = guest(TRAPS, &also);
    let description = KEYED.replacen(r#""kind":"dofn","#, r#""kind":"dofn","bundles":true,"#, 1).leak();
    let imports = r#"(import "thalweg:udf/state@1.0.0" "write" (func $write (param i32 i32)))"#;
    let extra = format!(r#"{} (data (i32.const 1024000) "{text}")"#, plain.extra).leak();
    let guest = Guest { description, imports, extra, ..plain };
    let states = [("n", StateId(1)), ("bag", StateId(2))];
    let binding = Binding { states: &states, ..Binding::default() };
    let mut worker = worker(&guest, Limits::default().frame_rows(1), letters(), binding)?;
    let (_, groups) = keyed(&[("a", 0), ("b", 0)]);
    let (mut builder, mut items) = (BatchBuilder::new(), Vec::new());
    for (row, (group, time)) in
        [(0, EventTime(0)), (0, EventTime(0)), (0, POISON), (1, EventTime(0))].into_iter().enumerate()
    {
        builder.push(&groups[group].key, b"value", time, &[Window::Global]);
        items.push(thalweg_core::port::worker::Item::Row { group: group as u32, batch: 0, row: row as u32 });
    }
    let state = StateView::new(BundleId(1), Arc::clone(&groups), Vec::new(), Arc::new(NullStore::default()));
    let gave = run(&mut worker, Input::Keyed { groups, batches: vec![builder.finish()], items }, state)?;
    assert_eq!((gave.counts, gave.letters, gave.rows), (vec![3], 1, 3));
    let chunks: Vec<usize> = gave.result.state.groups.iter().map(|group| group.changes.len()).collect();
    assert_eq!(chunks, [2, 1]);
    Ok(())
}
