//! What a function gives depends neither on how its input is cut into frames and bundles nor on how often a call was made.

use crate::support::{bundle, engine, guest, texts};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use thalweg_core::batch::{Batch, BatchBuilder};
use thalweg_core::error::Error as CoreError;
use thalweg_core::id::{BundleId, StageId, StateId};
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{Command, Event, Group, Input, Item, Worker};
use thalweg_core::state::{CellValue, StateView};
use thalweg_core::testing::SplitMix64;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_wasm::{
    Binding, Callee, Component, Failures, Limits, NativeFunction, Pool, StagePlan, Step, Target, Task, WasmWorker,
};

/// The slots of the conformance guest's ledger.
const SLOTS: [&str; 7] = ["value", "sum", "bag", "map", "set", "multi", "list"];
/// Rows of the input: more than the largest frame of the test has.
const ROWS: usize = 3_000;

/// Keys and commands: every kind of state is written, some elements fail, some answers are asked for.
fn script(random: &mut SplitMix64) -> Vec<(String, String)> {
    let command = |random: &mut SplitMix64| {
        let n = random.below(9);
        let verb = ["value.set", "sum.add", "bag.add", "map.put", "multi.add", "list.add", "set.add"];
        match random.below(12) {
            i @ 0..7 => format!("{} {n} {}", verb.get(i).copied().unwrap_or_default(), random.below(5)),
            7 => "sum.get".to_owned(),
            8 => "bag.all; map.all".to_owned(),
            9 => "multi.all; list.all; set.all".to_owned(),
            10 => format!("fail sum.add {n}"),
            _ => "value.get".to_owned(),
        }
    };
    (0..ROWS).map(|_| (format!("key {}", random.below(7)), command(random))).collect()
}

/// The answers of every key in order, and the state at the end.
#[derive(Default, PartialEq, Debug)]
struct Gave {
    answers: BTreeMap<String, Vec<String>>,
    failed: usize,
    cells: BTreeMap<(Bytes, StateId, Bytes), Vec<u8>>,
}

/// Runs the script in bundles that end at these rows, with frames of so many rows.
fn run(rows: &[(String, String)], ends: &[usize], frame_rows: usize) -> Result<Gave, CoreError> {
    let component = Component::load(engine(), &guest("conformance"), None)?;
    let pool = Pool::new(&component, "ledger", "T", "", Limits::default().frame_rows(frame_rows))?;
    let states: Vec<(&str, StateId)> = SLOTS.iter().zip(1..).map(|(name, id)| (*name, StateId(id))).collect();
    let binding = Binding { states: &states, ..Binding::default() };
    let failures = Failures::DeadLetter(vec![Target::Output(1)]);
    let step = Step::new("T", Callee::Wasm(pool), Task::Process, binding, vec![vec![Target::Output(0)]], failures)?;
    let mut worker = WasmWorker::new([(StageId(0), StagePlan::new(vec![step])?)]);
    let (mut gave, mut cells, mut start) = (Gave::default(), BTreeMap::new(), 0);
    for (number, end) in ends.iter().enumerate() {
        let (input, groups) = grouped(rows.get(start..*end).unwrap_or_default());
        start = *end;
        let id = BundleId(number as u64 + 1);
        let mut state = StateView::new(id, Arc::clone(&groups), Vec::new(), Arc::new(NullStore::default()));
        let known: &BTreeMap<(Bytes, StateId, Bytes), Option<CellValue>> = &cells;
        for ((key, slot, sub), value) in known {
            if let Some(group) = groups.iter().position(|group| *group.key == **key) {
                state.put(group as u32, *slot, sub, value.clone())?;
            }
        }
        let command = bundle(input, state);
        worker.submit(Command::Start(Box::new(thalweg_core::port::worker::BundleStart { bundle: id, ..command })))?;
        let mut events = Vec::new();
        worker.poll(&mut events);
        for event in events {
            match event {
                Event::Output { output: 0, batch, .. } => take(&batch, &mut gave.answers),
                Event::Output { batch, .. } => gave.failed += batch.len(),
                Event::Failed { error, .. } => return Err(error),
                Event::Done { result, .. } => {
                    for (group, delta) in groups.iter().zip(result.state.groups) {
                        let changes = delta.changes.into_iter();
                        cells.extend(changes.map(|c| ((group.key.to_bytes(), c.id, c.sub.clone()), c.value)));
                    }
                }
                _ => {}
            }
        }
    }
    // a bag is kept in chunks, whose number depends on the bundles: its elements do not
    for ((key, slot, sub), value) in cells {
        let Some(value) = value else { continue };
        let sub = if slot == StateId(3) { Bytes::new() } else { sub };
        gave.cells.entry((key, slot, sub)).or_default().extend_from_slice(value.as_slice());
    }
    Ok(gave)
}

fn take(batch: &Batch, answers: &mut BTreeMap<String, Vec<String>>) {
    for (row, text) in batch.rows().iter().zip(texts(batch)) {
        answers.entry(String::from_utf8_lossy(batch.key(row)).into_owned()).or_default().push(text);
    }
}

/// The rows by key, each key's in order.
fn grouped(rows: &[(String, String)]) -> (Input, Arc<[Group]>) {
    let mut keys: Vec<&str> = Vec::new();
    rows.iter().for_each(|(key, _)| {
        if !keys.contains(&key.as_str()) {
            keys.push(key)
        }
    });
    let (mut builder, mut items, mut groups) = (BatchBuilder::new(), Vec::new(), Vec::new());
    for (group, key) in keys.iter().enumerate() {
        groups.push(Group::new(key.as_bytes(), Window::Global));
        for (_, command) in rows.iter().filter(|(k, _)| k == key) {
            items.push(Item::Row { group: group as u32, batch: 0, row: items.len() as u32 });
            builder.push(key.as_bytes(), command.as_bytes(), EventTime(5), &[Window::Global]);
        }
    }
    let groups: Arc<[Group]> = groups.into();
    (Input::Keyed { groups: Arc::clone(&groups), batches: vec![builder.finish()], items }, groups)
}

#[test]
fn frames_of_any_size_and_bundles_split_anywhere_give_the_same() -> Result<(), CoreError> {
    let mut random = SplitMix64::new(20_261_121);
    let rows = script(&mut random);
    let whole = run(&rows, &[ROWS], usize::MAX)?;
    assert!(whole.failed > 50 && whole.answers.len() == 7, "{} failed", whole.failed);
    for frame_rows in [1, 2, 1_000] {
        assert!(run(&rows, &[ROWS], frame_rows)? == whole, "frames of {frame_rows} rows");
    }
    for round in 0..6 {
        let mut ends: Vec<usize> = (0..1 + random.below(12)).map(|_| random.below(ROWS)).chain([ROWS]).collect();
        ends.sort_unstable();
        ends.dedup();
        let frame_rows = 1 + random.below(400);
        assert!(
            run(&rows, &ends, frame_rows)? == whole,
            "round {round}: bundles end at {ends:?}, frames of {frame_rows}"
        );
    }
    Ok(())
}

const ECHO: &str = r#"{"functions":[{"name":"f","kind":"dofn","input":{"urn":"beam:coder:bytes:v1"},
    "outputs":[{"name":"main","coder":{"urn":"beam:coder:bytes:v1"}}]}]}"#;

#[test]
fn a_retry_gets_the_frame_of_the_first_attempt() -> Result<(), CoreError> {
    let seen = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
    let keeps = Arc::clone(&seen);
    let function = NativeFunction::new(ECHO, "f", Limits::default(), |_| {
        Ok(Box::new(move |_, input: &[u8]| {
            keeps.lock().map_err(|_| ("LOCK".to_owned(), String::new()))?.push(input.to_vec());
            Err(("FAIL".to_owned(), "as it was told".to_owned()))
        }))
    })?;
    let failures = Failures::DeadLetter(vec![Target::Output(1)]);
    let (task, outputs) = (Task::Process, vec![vec![Target::Output(0)]]);
    let step = Step::new("T", Callee::Native(function), task, Binding::default(), outputs, failures)?;
    let mut worker = WasmWorker::new([(StageId(0), StagePlan::new(vec![step])?)]);
    let mut builder = BatchBuilder::new();
    (0..4).for_each(|i| builder.push(&[], &[i], EventTime(0), &[Window::Global]));
    let batches = vec![(0, builder.finish())];
    let state = StateView::empty(BundleId(1), Arc::new(NullStore::default()));
    worker.submit(Command::Start(Box::new(bundle(Input::Elements { batches }, state))))?;
    let frames = seen.lock().map_err(|_| CoreError::internal("TEST", "a lock"))?;
    // whole, halves, single rows: each twice
    assert_eq!(frames.len(), 2 * 7);
    for pair in frames.chunks(2) {
        assert_eq!(pair.first(), pair.last());
    }
    Ok(())
}
