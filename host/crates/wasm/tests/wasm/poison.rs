//! Poison rows: exactly they are put aside, wherever they stand, and nothing of what they did is left.

use crate::support::{bundle, engine, guest};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::batch::{Batch, BatchBuilder};
use thalweg_core::error::Error as CoreError;
use thalweg_core::id::{BundleId, StageId, StateId};
use thalweg_core::metric::MetricValue;
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{BundleResult, Command, Event, Group, Input, Item, Worker};
use thalweg_core::state::StateView;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_wasm::{Binding, Callee, Component, Failures, Limits, Pool, StagePlan, Step, Target, Task, WasmWorker};

/// As many as the promise speaks of.
const ROWS: usize = 10_000;
/// Where poison may stand: first, in the middle, last, several, neighbours, at the end of a frame.
const PLACES: [&[usize]; 6] =
    [&[0], &[4_999], &[ROWS - 1], &[0, 17, 5_000, 9_998, 9_999], &[700, 701, 702], &[3_000, 7_000]];

fn worker(function: &str) -> Result<WasmWorker, CoreError> {
    let component = Component::load(engine(), &guest("evil"), None)?;
    let pool = Pool::new(&component, function, "T", "", Limits::default())?;
    let (states, timers) = (vec![("n", StateId(1)), ("seen", StateId(2))], [Some("gap")]);
    let keyed = function == "poison";
    let binding = Binding {
        states: if keyed { &states } else { &[] },
        timers: if keyed { &timers } else { &[] },
        ..Binding::default()
    };
    let outputs = vec![vec![Target::Output(0)]];
    let failures = Failures::DeadLetter(vec![Target::Output(1)]);
    let step = Step::new("T", Callee::Wasm(pool), Task::Process, binding, outputs, failures)?;
    Ok(WasmWorker::new([(StageId(0), StagePlan::new(vec![step])?)]))
}

/// What a bundle gave: values of the main output in order, dead letters, its result.
struct Gave {
    main: Vec<(Vec<u8>, Vec<u8>)>,
    letters: Vec<Vec<u8>>,
    result: BundleResult,
}

fn run(worker: &mut WasmWorker, input: Input, state: StateView) -> Result<Gave, CoreError> {
    worker.submit(Command::Start(Box::new(bundle(input, state))))?;
    let mut events = Vec::new();
    worker.poll(&mut events);
    let (mut main, mut letters, mut done) = (Vec::new(), Vec::new(), None);
    for event in events {
        match event {
            Event::Output { output: 0, batch, .. } => {
                main.extend(batch.rows().iter().map(|row| (batch.key(row).to_vec(), batch.value(row).to_vec())));
            }
            Event::Output { batch, .. } => letters.extend(batch.rows().iter().map(|row| batch.value(row).to_vec())),
            Event::Done { result, .. } => done = Some(*result),
            Event::Failed { error, .. } => return Err(error),
            _ => {}
        }
    }
    let result = done.ok_or_else(|| CoreError::internal("TEST", "the bundle is not done"))?;
    Ok(Gave { main, letters, result })
}

fn value(i: usize, poison: &[usize], word: &str) -> String {
    if poison.contains(&i) { word.to_owned() } else { format!("value {i}") }
}

fn plain(poison: &[usize], word: &str) -> Batch {
    let mut builder = BatchBuilder::new();
    for i in 0..ROWS {
        builder.push(&[], value(i, poison, word).as_bytes(), EventTime(i as i64), &[Window::Global]);
    }
    builder.finish()
}

#[test]
fn a_poison_row_that_traps_is_put_aside_alone_wherever_it_stands() -> Result<(), CoreError> {
    let mut worker = worker("trap")?;
    for poison in PLACES {
        let batches = vec![(0, plain(poison, "trap"))];
        let gave = run(
            &mut worker,
            Input::Elements { batches },
            StateView::empty(BundleId(1), Arc::new(NullStore::default())),
        )?;
        let wanted = (0..ROWS).filter(|i| !poison.contains(i)).map(|i| format!("value {i}").into_bytes());
        let main: Vec<Vec<u8>> = gave.main.into_iter().map(|(_, value)| value).collect();
        assert_eq!(main, wanted.collect::<Vec<_>>(), "{poison:?}");
        assert_eq!(gave.letters.len(), poison.len());
        for letter in gave.letters {
            let text = String::from_utf8_lossy(&letter).into_owned();
            // the element, what happened and the guest's own function
            assert!(text.contains("trap") && text.contains("unreachable") && text.contains("fall"), "{text}");
        }
    }
    Ok(())
}

/// Keys of the keyed input.
const KEYS: usize = 40;

/// The rows of key after key.
fn keyed(poison: &[usize], word: &str) -> (Input, Arc<[Group]>) {
    let (mut builder, mut items) = (BatchBuilder::new(), Vec::new());
    let mut groups = Vec::new();
    for i in 0..ROWS {
        let group = i / (ROWS / KEYS);
        let key = Bytes::from(format!("key {group}"));
        builder.push(&key, value(i, poison, word).as_bytes(), EventTime(i as i64), &[Window::Global]);
        if groups.len() == group {
            groups.push(Group::new(&key, Window::Global));
        }
        items.push(Item::Row { group: group as u32, batch: 0, row: i as u32 });
    }
    let groups: Arc<[Group]> = groups.into();
    (Input::Keyed { groups: Arc::clone(&groups), batches: vec![builder.finish()], items }, groups)
}

#[test]
fn nothing_of_a_poison_row_is_left_in_state_timers_outputs_and_metrics() -> Result<(), CoreError> {
    let mut worker = worker("poison")?;
    for (poison, word) in PLACES.into_iter().flat_map(|poison| [(poison, "trap"), (poison, "error")]) {
        let (input, groups) = keyed(poison, word);
        let state = StateView::new(BundleId(1), groups, Vec::new(), Arc::new(NullStore::default()));
        let gave = run(&mut worker, input, state)?;
        // the count of each key goes on over the poison as if it had never been there
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        let sound = || (0..ROWS).filter(|i| !poison.contains(i));
        let mut wanted = Vec::new();
        for i in sound() {
            let key = format!("key {}", i / (ROWS / KEYS));
            let count = counts.entry(key.clone()).or_default();
            *count += 1;
            wanted.push((key.into_bytes(), varint(*count)));
        }
        assert!(gave.main == wanted, "{word} at {poison:?}: other counts");
        assert_eq!(gave.letters.len(), poison.len(), "{word} at {poison:?}");
        assert_eq!(gave.result.timers.len(), sound().count(), "{word} at {poison:?}");
        let tags = gave.result.timers.iter().any(|timer| timer.tag.as_ref() == word.as_bytes());
        assert!(!tags, "a timer of the poison row is left");
        for (at, group) in gave.result.state.groups.iter().enumerate() {
            let n = group.changes.iter().find(|change| change.id == StateId(1)).and_then(|c| c.value.as_ref());
            let wanted = varint(counts.get(&format!("key {at}")).copied().unwrap_or_default());
            assert_eq!(n.map(|v| v.as_slice().to_vec()), Some(wanted), "{word} at {poison:?}");
            let entries = group.changes.iter().filter(|change| change.id == StateId(2) && change.value.is_some());
            assert_eq!(entries.count() as i64, counts.get(&format!("key {at}")).copied().unwrap_or_default());
        }
        let counted: i64 =
            gave.result.metrics.0.values().map(|v| if let MetricValue::Sum(n) = v { *n } else { 0 }).sum();
        assert_eq!(counted as usize, sound().count(), "{word} at {poison:?}: the counter");
    }
    Ok(())
}

/// Source: `beam:coder:varint:v1`.
fn varint(n: i64) -> Vec<u8> {
    let mut out = Vec::new();
    thalweg_core::coder::write_varint(&mut out, n.cast_unsigned());
    out
}
