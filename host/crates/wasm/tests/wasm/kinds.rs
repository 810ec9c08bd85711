//! CombineFns, WindowFns and key selectors of the conformance guest, as a component.

use crate::support::{bundle, component, in_every_language};
use bytes::Bytes;
use std::sync::Arc;
use thalweg_core::batch::{Batch, BatchBuilder, Large, Pane};
use thalweg_core::error::{Error as CoreError, Result as CoreResult};
use thalweg_core::id::{BundleId, StageId, key_hash};
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{Command, Event, Input, Worker};
use thalweg_core::state::StateView;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_wasm::{Binding, Callee, Error, Failures, Limits, Pool, StagePlan, Step, Target, Task, WasmWorker};

type Fallible = Result<(), Box<dyn std::error::Error>>;

fn step(guest: &str, function: &str, task: Task, target: Target) -> Result<Step, Error> {
    configured(guest, function, task, target, "")
}

fn configured(guest: &str, function: &str, task: Task, target: Target, config: &str) -> Result<Step, Error> {
    let pool = Pool::new(&component(guest), function, "T", config, Limits::default())?;
    Step::new("T", Callee::Wasm(pool), task, Binding::default(), vec![vec![target]], Failures::FailBundle)
}

fn worker(guest: &str, function: &str, tasks: &[Task]) -> Result<WasmWorker, Error> {
    let last = tasks.len() - 1;
    let target = |i| if i == last { Target::Output(0) } else { Target::Step(i + 1) };
    let steps = tasks.iter().enumerate().map(|(i, task)| step(guest, function, *task, target(i)));
    Ok(WasmWorker::new([(StageId(0), StagePlan::new(steps.collect::<Result<_, _>>()?)?)]))
}

fn events(worker: &mut WasmWorker, command: Command) -> CoreResult<Vec<Event>> {
    let mut events = Vec::new();
    worker.poll(&mut events);
    events.clear();
    worker.submit(command)?;
    worker.poll(&mut events);
    Ok(events)
}

fn run(worker: &mut WasmWorker, batch: Batch) -> CoreResult<Batch> {
    let state = StateView::empty(BundleId(1), Arc::new(NullStore::default()));
    let start = bundle(Input::Elements { batches: vec![(0, batch)] }, state);
    let mut builder = BatchBuilder::new();
    for event in events(worker, Command::Start(Box::new(start)))? {
        match event {
            Event::Output { batch, .. } => batch.rows().iter().for_each(|row| {
                builder.push(batch.key(row), batch.value(row), row.time, batch.windows(row));
            }),
            Event::Failed { error, .. } => return Err(error),
            _ => {}
        }
    }
    Ok(builder.finish())
}

fn rows(rows: &[(&str, Vec<u8>, i64)], window: &Window) -> Batch {
    let mut builder = BatchBuilder::new();
    for (key, value, time) in rows {
        builder.push(key.as_bytes(), value, EventTime(*time), std::slice::from_ref(window));
    }
    builder.finish()
}

/// An iterable of varints of one byte.
fn iterable(numbers: &[u8]) -> Vec<u8> {
    [&(numbers.len() as i32).to_be_bytes()[..], numbers].concat()
}

fn values(batch: &Batch) -> Vec<(Vec<u8>, Vec<u8>)> {
    batch.rows().iter().map(|row| (batch.key(row).to_vec(), batch.value(row).to_vec())).collect()
}

#[test]
fn values_are_added_by_key_and_window_and_accumulators_merged_and_extracted() -> Fallible {
    in_every_language("conformance", |guest| {
        let mut lift = worker(guest, "top", &[Task::Add])?;
        let (early, late) = (interval(0, 10), interval(10, 20));
        let mut builder = BatchBuilder::new();
        for (key, value, window) in
            [("a", 5, &early), ("b", 1, &early), ("a", 9, &early), ("a", 7, &late), ("a", 6, &early)]
        {
            builder.push(key.as_bytes(), &[value], EventTime(1), std::slice::from_ref(window));
        }
        let lifted = run(&mut lift, builder.finish())?;
        let found: Vec<_> = lifted
            .rows()
            .iter()
            .map(|row| (lifted.key(row).to_vec(), lifted.windows(row)[0].clone(), lifted.value(row).to_vec()))
            .collect();
        let expected = [
            (b"a".to_vec(), early.clone(), iterable(&[9, 6, 5])),
            (b"b".to_vec(), early, iterable(&[1])),
            (b"a".to_vec(), late, iterable(&[7])),
        ];
        assert_eq!(found, expected);
        // grouped accumulators of a key: an iterable of iterables
        let grouped = [&2i32.to_be_bytes()[..], &iterable(&[9, 6, 5]), &iterable(&[8, 1])].concat();
        let mut merge = worker(guest, "top", &[Task::Merge, Task::Extract])?;
        let merged = run(&mut merge, rows(&[("a", grouped, 3)], &Window::Global))?;
        assert_eq!(values(&merged), [(b"a".to_vec(), iterable(&[9, 8, 6]))]);
        Ok(())
    })
}

#[test]
fn grouped_values_are_combined_however_many_there_are() -> Fallible {
    in_every_language("conformance", |guest| {
        let mut combine = worker(guest, "top", &[Task::Combine])?;
        // 40,000 values are several frames, whose accumulators are merged
        let many: Vec<u8> = (0..40_000).map(|i| (i % 100) as u8).collect();
        let input = rows(&[("a", iterable(&many), 0), ("b", iterable(&[3, 4]), 0)], &Window::Global);
        let made = run(&mut combine, input)?;
        assert_eq!(values(&made), [(b"a".to_vec(), iterable(&[99, 99, 99])), (b"b".to_vec(), iterable(&[4, 3]))]);
        Ok(())
    })
}

#[test]
fn cells_of_accumulators_are_compacted() -> Fallible {
    in_every_language("conformance", |guest| {
        let mut worker = worker(guest, "top", &[Task::Merge])?;
        let cells = vec![
            vec![Bytes::from(iterable(&[1, 2])), Bytes::from(iterable(&[7, 8]))],
            vec![Bytes::from(iterable(&[5]))],
        ];
        let events = events(&mut worker, Command::Compact { request: 3, stage: StageId(0), cells })?;
        let Some(Event::Compacted { request: 3, cells }) = events.first() else { return Err("no answer".into()) };
        assert_eq!(*cells, [iterable(&[8, 7, 2]), iterable(&[5])]);
        Ok(())
    })
}

#[test]
fn grouped_values_too_large_for_an_arena_are_combined_and_processed_whole() -> Fallible {
    in_every_language("conformance", |guest| {
        let large = |rest: Vec<u8>| Large { pieces: Arc::default(), rest: rest.into() };
        let mut builder = BatchBuilder::new();
        let (hash, pane) = (key_hash(b"a"), Pane::NO_FIRING);
        let many: Vec<u8> = (0..40_000).map(|i| (i % 100) as u8).collect();
        builder.push_large(b"a", hash, EventTime(0), &[Window::Global], pane, large(many));
        builder.push(b"b", &iterable(&[3, 4]), EventTime(0), &[Window::Global]);
        let made = run(&mut worker(guest, "top", &[Task::Combine])?, builder.finish())?;
        assert_eq!(values(&made), [(b"a".to_vec(), iterable(&[99, 99, 99])), (b"b".to_vec(), iterable(&[4, 3]))]);
        let mut builder = BatchBuilder::new();
        builder.push_large(b"a", hash, EventTime(0), &[Window::Global], pane, large(vec![1; 600_000]));
        let made = run(&mut worker(guest, "total", &[Task::Process])?, builder.finish())?;
        let mut total = Vec::new();
        thalweg_core::coder::write_varint(&mut total, 600_000);
        assert_eq!(values(&made), [(b"a".to_vec(), total)]);
        Ok(())
    })
}

#[test]
fn accumulators_that_fill_frames_of_their_own_are_merged_too() -> Fallible {
    in_every_language("conformance", |guest| {
        // Small frames: the same way through the host, and a guest that is interpreted has its CPU time to spare.
        let pool = Pool::new(&component(guest), "top", "T", "1000000", Limits::default().frame_bytes(16 << 10))?;
        let callee = Callee::Wasm(pool);
        let targets = vec![vec![Target::Output(0)]];
        let step = Step::new("T", callee, Task::Merge, Binding::default(), targets, Failures::FailBundle)?;
        let mut worker = WasmWorker::new([(StageId(0), StagePlan::new(vec![step])?)]);
        let large = |n: u8| Bytes::from(iterable(&vec![n; 20_000]));
        let cells = vec![vec![large(1), large(3), large(2)], vec![large(4)]];
        let events = events(&mut worker, Command::Compact { request: 3, stage: StageId(0), cells })?;
        let Some(Event::Compacted { cells, .. }) = events.first() else { return Err("no answer".into()) };
        assert_eq!(cells.iter().map(Bytes::len).collect::<Vec<_>>(), [60_004, 20_004]);
        assert_eq!((cells[0][4], cells[0][60_003]), (3, 1));
        Ok(())
    })
}

#[test]
fn a_value_that_cannot_be_added_fails_the_bundle_by_its_name() -> Fallible {
    in_every_language("conformance", |guest| {
        let mut negative = Vec::new();
        thalweg_core::coder::write_varint(&mut negative, (-1i64).cast_unsigned());
        let error = run(&mut worker(guest, "top", &[Task::Add])?, rows(&[("a", negative, 0)], &Window::Global)).err();
        let error: CoreError = error.ok_or("no error")?;
        assert_eq!(error.code, "WASM_ROW_FAILED");
        assert!(error.message.contains("NEGATIVE"), "{}", error.message);
        Ok(())
    })
}

fn interval(start: i64, end: i64) -> Window {
    Window::Interval { start: EventTime(start), end: EventTime(end) }
}

#[test]
fn elements_get_windows_by_their_time_and_by_their_value() -> Fallible {
    in_every_language("conformance", |guest| {
        let input = rows(&[("a", vec![4], 3), ("b", vec![5], 7)], &Window::Global);
        let assigned = run(&mut worker(guest, "sessions", &[Task::Assign])?, input.clone())?;
        let windows: Vec<_> = assigned.rows().iter().map(|row| assigned.windows(row).to_vec()).collect();
        assert_eq!(windows, [[interval(3, 13)], [interval(7, 17)]]);
        assert_eq!(values(&assigned), values(&input), "the elements stay as they are");
        let assigned = run(&mut worker(guest, "spans", &[Task::Assign])?, input)?;
        let windows: Vec<_> = assigned.rows().iter().map(|row| assigned.windows(row).to_vec()).collect();
        assert_eq!(windows, [[interval(3, 7), interval(3, 11)], [interval(7, 12), interval(7, 17)]]);
        let error =
            run(&mut worker(guest, "spans", &[Task::Assign])?, rows(&[("a", vec![0], 3)], &Window::Global)).err();
        assert_eq!(error.map(|e| e.code), Some("WASM_ROW_FAILED"));
        Ok(())
    })
}

#[test]
fn windows_of_several_keys_are_merged_and_windows_mapped() -> Fallible {
    in_every_language("conformance", |guest| {
        let mut worker = WasmWorker::new([])
            .with_windows(StageId(4), 0, step(guest, "sessions", Task::Assign, Target::Output(0))?)
            .with_windows(StageId(5), 1, step(guest, "sessions", Task::Assign, Target::Output(0))?);
        let keys = vec![vec![interval(0, 10), interval(50, 60), interval(9, 19)], vec![interval(0, 10)], Vec::new()];
        let answer = events(&mut worker, Command::MergeWindows { request: 1, stage: StageId(4), keys })?;
        let Some(Event::WindowsMerged { keys, .. }) = answer.first() else { return Err("no answer".into()) };
        assert_eq!(keys[0].as_slice(), [(interval(0, 19), vec![interval(0, 10), interval(9, 19)])]);
        assert!(keys[1].is_empty() && keys[2].is_empty());
        let command = Command::MapWindows { request: 2, stage: StageId(5), side: 1, windows: vec![interval(0, 100)] };
        let answer = events(&mut worker, command)?;
        let Some(Event::WindowsMapped { windows, .. }) = answer.first() else { return Err("no answer".into()) };
        assert_eq!(windows[0].as_slice(), [interval(99, 109)]);
        Ok(())
    })
}

#[test]
fn elements_get_the_key_that_the_function_selects() -> Fallible {
    in_every_language("conformance", |guest| {
        let mut worker = worker(guest, "first_word", &[Task::Select])?;
        let selected = run(&mut worker, rows(&[("", b"to be".to_vec(), 0), ("", b"or".to_vec(), 0)], &Window::Global))?;
        assert_eq!(values(&selected), [(b"to".to_vec(), b"to be".to_vec()), (b"or".to_vec(), b"or".to_vec())]);
        assert_eq!(selected.rows()[0].hash, key_hash(b"to"));
        let error = run(&mut worker, rows(&[("", b" ".to_vec(), 0)], &Window::Global)).err();
        assert_eq!(error.map(|e| e.code), Some("WASM_ROW_FAILED"));
        Ok(())
    })
}
