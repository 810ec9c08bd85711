//! The guests of the repository through the worker: an element's way in and out, state, failures, and hostile guests.

use crate::support::{bundle, component, engine, guest, in_every_language, keyed, texts};
use std::sync::Arc;
use std::time::Duration;
use thalweg_core::batch::{Batch, BatchBuilder};
use thalweg_core::error::{Domain, Error as CoreError};
use thalweg_core::id::{StageId, StateId};
use thalweg_core::metric::MetricValue;
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{BundleResult, Command, Event, Group, Input, Worker};
use thalweg_core::state::{CellValue, StateView};
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_wasm::{
    Binding, Callee, Component, Error, Failures, Limits, Pool, StagePlan, Step, Target, Task, WasmWorker,
};

type Fallible = Result<(), Box<dyn std::error::Error>>;

/// A worker whose only stage is one function; output i of the function is output i of the stage, dead letters come after.
fn worker(file: &str, function: &str, limits: Limits, dead_letters: bool) -> Result<WasmWorker, Error> {
    let component = Component::load(engine(), &guest(file), None)?;
    let outputs = component.function(function)?.outputs.len() as u32;
    let pool = Pool::new(&component, function, "T", "", limits)?;
    let targets = (0..outputs).map(|i| vec![Target::Output(i)]).collect();
    let failures =
        if dead_letters { Failures::DeadLetter(vec![Target::Output(outputs)]) } else { Failures::FailBundle };
    let binding = Binding { states: &[("n", StateId(1))], ..Binding::default() };
    let step = Step::new("T", Callee::Wasm(pool), Task::Process, binding, targets, failures)?;
    Ok(WasmWorker::new([(StageId(0), StagePlan::new(vec![step])?)]))
}

struct Ran {
    outputs: Vec<(u32, Batch)>,
    result: Option<BundleResult>,
    error: Option<CoreError>,
}

fn run(worker: &mut WasmWorker, input: Input, state: StateView) -> Result<Ran, CoreError> {
    let mut events = Vec::new();
    worker.poll(&mut events);
    events.clear();
    worker.submit(Command::Start(Box::new(bundle(input, state))))?;
    worker.poll(&mut events);
    let mut ran = Ran { outputs: Vec::new(), result: None, error: None };
    for event in events {
        match event {
            Event::Output { output, batch, .. } => ran.outputs.push((output, batch)),
            Event::Done { result, .. } => ran.result = Some(*result),
            Event::Failed { error, .. } => ran.error = Some(error),
            _ => {}
        }
    }
    Ok(ran)
}

fn elements(values: &[&[u8]]) -> Input {
    let mut builder = BatchBuilder::new();
    for (i, value) in values.iter().enumerate() {
        builder.push(&[], value, EventTime(i as i64), &[Window::Global]);
    }
    Input::Elements { batches: vec![(0, builder.finish())] }
}

fn stateless() -> StateView {
    StateView::empty(thalweg_core::id::BundleId(1), Arc::new(NullStore::default()))
}

/// A row `{line: string, row: int64}`.
fn line(text: &str, row: u8) -> Vec<u8> {
    let mut bytes = vec![2, 0];
    thalweg_core::coder::write_varint(&mut bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(row);
    bytes
}

#[test]
fn a_flight_gets_its_event_time_and_a_bad_line_its_reason() -> Fallible {
    let mut worker = worker("flights_parse", "parse", Limits::default(), false)?;
    let good = line("2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z", 1);
    let ran = run(&mut worker, elements(&[&good, &line("nonsense", 2)]), stateless())?;
    assert_eq!(ran.outputs.len(), 2);
    let (output, flights) = &ran.outputs[0];
    let flight = &flights.rows()[0];
    assert_eq!((*output, flight.time), (0, EventTime(1_357_034_400_000 + 15 * 60_000)));
    assert_eq!(flights.value(flight), b"\x06\x00\x02UA\x03EWR\x03IAH\x02\xf8\x0a\x05");
    let (output, letters) = &ran.outputs[1];
    let letter = &letters.rows()[0];
    assert_eq!((*output, letter.time, letters.windows(letter)), (1, EventTime(1), &[Window::Global][..]));
    assert_eq!(letters.value(letter), b"\x02\x00\x02\x2cmalformed: row: expected 19 columns, found 1");
    let metrics = ran.result.map(|r| r.metrics).unwrap_or_default();
    let malformed = metrics.0.iter().find(|(key, _)| key.labels.get("NAME").is_some_and(|name| name == "malformed"));
    assert_eq!(malformed.map(|(_, value)| value), Some(&MetricValue::Sum(1)));
    Ok(())
}

#[test]
fn large_bundles_are_cut_into_frames_and_lose_nothing() -> Fallible {
    let mut worker = worker("bench_udfs", "split", Limits::default(), false)?;
    let lines: Vec<String> = (0..30_000).map(|i| format!("a{i} {} b{i}", "x".repeat(i % 40))).collect();
    let values: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    let ran = run(&mut worker, elements(&values), stateless())?;
    assert!(ran.outputs.len() > 3, "several frames");
    let words: Vec<String> = ran.outputs.iter().flat_map(|(_, batch)| texts(batch)).collect();
    let expected: Vec<String> = lines.iter().flat_map(|l| l.split_whitespace().map(str::to_owned)).collect();
    assert_eq!(words, expected);
    Ok(())
}

#[test]
fn output_rows_inherit_windows_and_a_frame_feeds_the_next_step() -> Fallible {
    let component = Component::load(engine(), &guest("bench_udfs"), None)?;
    let step = |targets| {
        let pool = Pool::new(&component, "split", "T", "", Limits::default())?;
        let binding = Binding::default();
        Step::new("T", Callee::Wasm(pool), Task::Process, binding, vec![targets], Failures::FailBundle)
    };
    let steps = vec![step(vec![Target::Step(1)])?, step(vec![Target::Output(0)])?];
    let mut worker = WasmWorker::new([(StageId(0), StagePlan::new(steps)?)]);
    let window = |start| Window::Interval { start: EventTime(start), end: EventTime(start + 10) };
    let mut builder = BatchBuilder::new();
    for i in 0..40 {
        builder.push(&[], b"two words", EventTime(i), &[window(i / 10 * 10)]);
    }
    let ran = run(&mut worker, Input::Elements { batches: vec![(0, builder.finish())] }, stateless())?;
    let (_, batch) = &ran.outputs[0];
    let seen: Vec<_> = batch.rows().iter().map(|row| (row.time.0, batch.windows(row)[0].clone())).collect();
    let expected: Vec<_> = (0..40).flat_map(|i| [(i, window(i / 10 * 10)), (i, window(i / 10 * 10))]).collect();
    assert_eq!(seen, expected);
    Ok(())
}

#[test]
fn state_is_read_and_written_per_key_and_survives_frames() -> Fallible {
    let mut worker = worker("bench_udfs", "count", Limits::default(), false)?;
    // 20,000 rows of one key reach over several frames, whose later ones must see what the earlier ones wrote
    let rows: Vec<(&str, u8)> = (0..20_000).map(|_| ("hot", 0)).chain([("cold", 0)]).collect();
    let (input, groups) = keyed(&rows);
    let mut state = StateView::new(thalweg_core::id::BundleId(1), groups, Vec::new(), Arc::new(NullStore::default()));
    state.put(1, StateId(1), &[], Some(CellValue::copy(&[41])))?;
    let ran = run(&mut worker, input, state)?;
    assert_eq!(ran.error, None);
    let last = ran.outputs.last().map(|(_, batch)| {
        let row = batch.rows().last().expect("a row");
        (batch.key(row).to_vec(), batch.value(row).to_vec(), row.hash)
    });
    assert_eq!(last, Some((b"cold".to_vec(), vec![42], thalweg_core::id::key_hash(b"cold"))));
    let delta = ran.result.map(|r| r.state).unwrap_or_default();
    let hot = delta.groups[0].changes[0].value.as_ref().map(|v| v.as_slice().to_vec());
    assert_eq!(hot, Some(vec![0xa0, 0x9c, 0x01])); // 20,000 as a varint
    Ok(())
}

#[test]
fn an_element_that_fails_alone_fails_the_bundle_or_becomes_a_dead_letter() -> Fallible {
    let input = || elements(&[b"k\t5\t1", b"bad", b"k\t6\t1"]);
    let ran = run(&mut worker("bench_udfs", "event", Limits::default(), false)?, input(), stateless())?;
    let error = ran.error.expect("an error");
    assert_eq!((error.code, error.domain, error.transform.as_str()), ("WASM_ROW_FAILED", Domain::Guest, "T"));
    assert!(error.message.contains("COLUMNS") && error.message.contains("bad"), "{}", error.message);
    let ran = run(&mut worker("bench_udfs", "event", Limits::default(), true)?, input(), stateless())?;
    let counts: Vec<_> = ran.outputs.iter().map(|(output, batch)| (*output, batch.len())).collect();
    assert_eq!(counts, [(0, 2), (1, 1)]);
    let (_, letters) = &ran.outputs[1];
    let expected = [&b"\x03\x00\x03bad\x29COLUMNS: the line does not have 3 columns\x00"[..]];
    assert_eq!(letters.rows().iter().map(|row| letters.value(row)).collect::<Vec<_>>(), expected);
    Ok(())
}

#[test]
fn a_trap_is_a_typed_error_with_the_guests_stack() -> Fallible {
    let mut worker = worker("evil", "trap", Limits::default(), false)?;
    let ran = run(&mut worker, elements(&[b"fine", b"trap"]), stateless())?;
    let error = ran.error.expect("an error");
    assert_eq!((error.code, error.domain), ("WASM_TRAP", Domain::Guest));
    assert!(error.trace.contains("fall at ") && error.trace.contains("trap.rs:29"), "{}", error.trace);
    assert!(!error.help.is_empty() && ran.outputs.is_empty());
    // the next bundle gets a fresh instance
    let ran = run(&mut worker, elements(&[b"fine"]), stateless())?;
    assert_eq!(texts(&ran.outputs[0].1), ["fine"]);
    Ok(())
}

#[test]
fn the_poison_row_alone_is_dead_lettered() -> Fallible {
    let mut worker = worker("evil", "trap", Limits::default(), true)?;
    let ran = run(&mut worker, elements(&[b"a", b"b", b"trap", b"c", b"d"]), stateless())?;
    let passed: Vec<_> = ran.outputs.iter().filter(|(output, _)| *output == 0).flat_map(|(_, b)| texts(b)).collect();
    assert_eq!(passed, ["a", "b", "c", "d"]);
    let letters: Vec<_> = ran.outputs.iter().filter(|(output, _)| *output == 1).map(|(_, b)| b.clone()).collect();
    assert_eq!(letters.len(), 1);
    let value = letters[0].value(&letters[0].rows()[0]).to_vec();
    assert!(value.starts_with(b"\x03\x00\x04trap") && letters[0].rows()[0].time == EventTime(2));
    Ok(())
}

fn limited(function: &str, limits: Limits, value: &[u8]) -> Result<CoreError, Box<dyn std::error::Error>> {
    let mut worker = worker("evil", function, limits, false)?;
    let ran = run(&mut worker, elements(&[value]), stateless())?;
    Ok(ran.error.ok_or("no error")?)
}

#[test]
fn an_endless_loop_ends_at_the_cpu_limit_or_the_wall_limit() -> Fallible {
    let short = Duration::from_millis(50);
    let started = std::time::Instant::now();
    let error = limited("endless_loop", Limits::default().cpu_soft(short), b"x")?;
    assert_eq!((error.code, error.domain), ("WASM_CPU_LIMIT", Domain::Guest));
    assert!(error.trace.contains("endless_loop"), "{}", error.trace);
    let error = limited("endless_loop", Limits::default().wall_hard(short), b"x")?;
    assert_eq!(error.code, "WASM_WALL_LIMIT");
    assert!(started.elapsed() < Duration::from_secs(5));
    Ok(())
}

#[test]
fn growth_without_end_ends_at_the_memory_limit() -> Fallible {
    let error = limited("memory_growth", Limits::default().memory_bytes(16 << 20), b"x")?;
    assert_eq!((error.code, error.domain), ("WASM_MEMORY_LIMIT", Domain::Guest));
    Ok(())
}

#[test]
fn a_huge_output_leaves_in_pieces_up_to_its_limit() -> Fallible {
    let mut many = Vec::new();
    thalweg_core::coder::write_varint(&mut many, 100_000); // of 1 KiB each
    let error = limited("huge_output", Limits::default().output_bytes(4 << 20), &many)?;
    assert_eq!((error.code, error.domain), ("WASM_OUTPUT_LIMIT", Domain::Guest));
    let mut worker = worker("evil", "huge_output", Limits::default(), false)?;
    let mut some = Vec::new();
    thalweg_core::coder::write_varint(&mut some, 2_000);
    let ran = run(&mut worker, elements(&[&some]), stateless())?;
    assert_eq!(ran.outputs.iter().map(|(_, batch)| batch.len()).sum::<usize>(), 2_000);
    assert!(ran.outputs.len() > 4, "early outputs");
    Ok(())
}

#[test]
fn state_of_a_failed_call_does_not_count() -> Fallible {
    let mut worker = worker("bench_udfs", "count", Limits::default().state_bytes(8), false)?;
    let (input, groups): (Input, Arc<[Group]>) = keyed(&[("a", 0), ("b", 0)]);
    let state = StateView::new(thalweg_core::id::BundleId(1), groups, Vec::new(), Arc::new(NullStore::default()));
    let ran = run(&mut worker, input, state)?;
    assert_eq!(ran.error.map(|e| e.code), Some("WASM_STATE_LIMIT"));
    assert!(ran.result.is_none() && ran.outputs.is_empty());
    Ok(())
}

#[test]
fn instances_are_reused_and_recycled() -> Fallible {
    let component = Component::load(engine(), &guest("bench_udfs"), None)?;
    for (limits, opened) in
        [(Limits::default(), 1), (Limits::default().recycle_calls(2), 3), (Limits::default().recycle_bytes(0), 5)]
    {
        let mut pool = Pool::new(&component, "split", "T", "", limits)?;
        let mut encoder = thalweg_wasm::frame::Encoder::default();
        let Input::Elements { batches } = elements(&[b"a b"]) else { return Err("elements".into()) };
        for _ in 0..5 {
            let frame = encoder.elements(&batches[0].1, 0..1, false, &[], moment(0));
            pool.call_stateless(frame)?;
        }
        assert_eq!(pool.opened(), opened);
    }
    Ok(())
}

#[test]
fn the_same_frame_gives_the_same_bytes_in_another_instance() -> Fallible {
    let Input::Elements { batches } = elements(&[b"a b", b"", b"c"]) else { return Err("elements".into()) };
    let mut encoder = thalweg_wasm::frame::Encoder::default();
    let frame = encoder.elements(&batches[0].1, 0..3, false, &[], moment(7));
    in_every_language("bench_udfs", |guest| {
        let open = || Pool::new(&component(guest), "split", "T", "", Limits::default());
        let (mut one, mut other) = (open()?, open()?);
        let first = one.call_stateless(frame)?;
        assert_eq!(first, other.call_stateless(frame)?);
        assert_eq!(first, one.call_stateless(frame)?);
        Ok(())
    })
}

fn moment(now: i64) -> thalweg_wasm::frame::Moment {
    thalweg_wasm::frame::Moment { now: thalweg_core::time::ProcessingTime(now), seed: 1 }
}
