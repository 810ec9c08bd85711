//! The examples in every language give what `guest-examples/expected` says: elements in batches of three sizes, timers by the
//! watermark, accumulators made and merged in parts, windows assigned and merged.

use crate::json::{columns, element};
use crate::stage::{Ran, Stage};
use crate::support::{bundle, component, in_every_language, root};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::batch::{BatchBuilder, Pane};
use thalweg_core::id::{BundleId, StageId, StateId};
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{Command, DueTimer, Event, Group, Input, Item, Worker};
use thalweg_core::state::StateView;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_wasm::describe::Function;
use thalweg_wasm::{Binding, Callee, Failures, Limits, Pool, StagePlan, Step, Table, Target, Task, WasmWorker};

type Fallible = Result<(), Box<dyn std::error::Error>>;

/// What a file says.
struct Script(Value);

impl Script {
    fn of(name: &str) -> Self {
        let path = root().join(format!("guest-examples/expected/{name}.json"));
        Self(serde_json::from_slice(&std::fs::read(path).expect("a script")).expect("JSON"))
    }

    fn config(&self) -> String {
        self.0.get("config").map_or_else(String::new, Value::to_string)
    }

    fn steps(&self) -> &[Value] {
        list(&self.0["steps"])
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The values without their order.
fn sorted(mut values: Vec<Value>) -> Vec<String> {
    values.sort_by_key(Value::to_string);
    values.iter().map(Value::to_string).collect()
}

#[derive(Debug)]
struct Entries(BTreeMap<Vec<u8>, Bytes>);

impl Table for Entries {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.get(key).cloned()
    }
}

/// Key, family and tag of a timer, and when it fires with which time.
type Timers = BTreeMap<(Bytes, u32, Bytes), (i64, EventTime)>;

/// A DoFn that goes through a script.
struct Player {
    stage: Stage,
    function: Function,
    timers: Timers,
}

impl Player {
    fn of(guest: &str, script: &Script) -> Result<Self, thalweg_wasm::Error> {
        let name = script.0["function"].as_str().unwrap_or_default();
        let function = component(guest).function(name)?.clone();
        let states: Vec<_> = function.slots.iter().zip(1..).map(|(s, id)| (s.name.as_str(), StateId(id))).collect();
        let timers: Vec<_> = function.timers.iter().map(|t| Some(t.name.as_str())).collect();
        let entries = |table: &thalweg_wasm::describe::Table| {
            let rows = script.0["tables"][&table.name].as_object().into_iter().flatten();
            let text = |text: &Value| Bytes::copy_from_slice(text.as_str().unwrap_or_default().as_bytes());
            let rows = rows.map(|(key, value)| (key.clone().into_bytes(), text(value)));
            Arc::new(Entries(rows.collect())) as Arc<dyn Table>
        };
        let tables = function.tables.iter().map(entries).collect();
        let binding = Binding { states: &states, timers: &timers, tables, ..Binding::default() };
        let failures = Failures::DeadLetter(vec![Target::Output(function.outputs.len() as u32)]);
        let stage = Stage::of(guest, name, &script.config(), binding, failures)?;
        Ok(Self { stage, function, timers: Timers::new() })
    }

    fn play(&mut self, script: &Script, size: usize) -> Fallible {
        for (place, step) in script.steps().iter().enumerate() {
            let (mut given, mut failed) = (Vec::new(), Vec::new());
            let batches: Vec<Input> = match step["watermark"].as_i64() {
                None => list(&step["elements"]).chunks(size).map(|part| self.batch(part)).collect(),
                Some(_) => Vec::new(),
            };
            for batch in batches {
                self.run(batch, &mut given, &mut failed)?;
            }
            while let Some(due) = step["watermark"].as_i64().and_then(|to| self.due(to)) {
                self.run(due, &mut given, &mut failed)?;
            }
            assert_eq!(sorted(given), sorted(list(&step["gives"]).to_vec()), "step {place} in batches of {size}");
            let codes = list(&step["fails"]).iter().map(|fail| fail[1].as_str().unwrap_or_default());
            let fits = failed.len() == codes.clone().count();
            assert!(fits && codes.clone().all(|code| failed.iter().any(|f| f.contains(code))), "{place}: {failed:?}");
        }
        Ok(())
    }

    fn is_keyed(&self) -> bool {
        !self.function.slots.is_empty() || !self.function.timers.is_empty()
    }

    /// A bundle of elements, brought together by key if there is state.
    fn batch(&self, elements: &[Value]) -> Input {
        let mut builder = BatchBuilder::new();
        let mut by_key: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
        for (row, one) in elements.iter().enumerate() {
            let (key, value) = columns(&self.function.input, &one["value"]);
            let time = EventTime(one["time"].as_i64().expect("a time"));
            builder.push(&key, &value, time, &[Window::Global]);
            by_key.entry(key).or_default().push(row as u32);
        }
        let batches = vec![builder.finish()];
        if !self.is_keyed() {
            return Input::Elements { batches: batches.into_iter().map(|batch| (0, batch)).collect() };
        }
        let group = |key: &Vec<u8>| group(Bytes::copy_from_slice(key));
        let groups: Arc<[Group]> = by_key.keys().map(group).collect();
        let item = |(group, rows): (usize, &Vec<u32>)| {
            let item = move |row: &u32| Item::Row { group: group as u32, batch: 0, row: *row };
            rows.iter().map(item).collect::<Vec<_>>()
        };
        let items = by_key.values().enumerate().flat_map(item).collect();
        Input::Keyed { groups, batches, items }
    }

    /// A bundle of the timers that fire first, if they are due.
    fn due(&mut self, to: i64) -> Option<Input> {
        let first = self.timers.values().map(|(fire, _)| *fire).min().filter(|fire| *fire <= to)?;
        let (mut groups, mut items) = (Vec::new(), Vec::new());
        for ((key, family, tag), (fire, hold)) in self.timers.extract_if(.., |_, (fire, _)| *fire == first) {
            let timer = DueTimer { family, tag, fire, hold, pane: Pane::NO_FIRING };
            items.push(Item::Timer { group: groups.len() as u32, timer: Box::new(timer) });
            groups.push(group(key));
        }
        Some(Input::Keyed { groups: groups.into(), batches: Vec::new(), items })
    }

    fn run(&mut self, input: Input, given: &mut Vec<Value>, failed: &mut Vec<String>) -> Fallible {
        let groups: Arc<[Group]> = match &input {
            Input::Keyed { groups, .. } => Arc::clone(groups),
            Input::Elements { .. } => Arc::default(),
        };
        let ran = self.stage.run(input)?;
        for update in &ran.result.timers {
            let id = (groups[update.group as usize].key.to_bytes(), update.family, update.tag.clone());
            match update.set {
                Some(set) => drop(self.timers.insert(id, (set.fire, set.hold))),
                None => drop(self.timers.remove(&id)),
            }
        }
        given.extend(self.given(&ran));
        failed.extend(ran.rows(self.function.outputs.len() as u32).into_iter().map(|(_, row, _)| row));
        Ok(())
    }

    fn given(&self, ran: &Ran) -> Vec<Value> {
        let of = |(output, batch): &(u32, thalweg_core::batch::Batch)| {
            let Some(output) = self.function.outputs.get(*output as usize) else { return Vec::new() };
            let row = |row: &thalweg_core::batch::Row| {
                let value = element(&output.coder, batch.key(row), batch.value(row));
                json!({ "output": output.name, "time": row.time.0, "value": value })
            };
            batch.rows().iter().map(row).collect()
        };
        ran.outputs.iter().flat_map(of).collect()
    }
}

fn group(key: Bytes) -> Group {
    Group::new(&key, Window::Global)
}

fn dofn(name: &str) -> Fallible {
    let script = Script::of(name);
    in_every_language("examples", |guest| {
        for size in [1, 2, 1000] {
            Player::of(guest, &script)?.play(&script, size)?;
        }
        Ok(())
    })
}

#[test]
fn sessions_are_made_by_state_and_timers() -> Fallible {
    dofn("sessionize")
}

#[test]
fn lines_become_words() -> Fallible {
    dofn("words")
}

#[test]
fn lines_become_words_in_c_too() -> Fallible {
    let script = Script::of("words");
    for guest in ["examples_c", "released/1.0.0/words"] {
        for size in [1, 2, 1000] {
            Player::of(guest, &script)?.play(&script, size)?;
        }
        assert_eq!(component(guest).imports(), ["thalweg:udf/types@1.0.0"]);
    }
    Ok(())
}

#[test]
fn alerts_are_limited_in_their_rate() -> Fallible {
    dofn("alerts")
}

#[test]
fn elements_are_enriched_by_a_table() -> Fallible {
    dofn("enrich")
}

#[test]
fn flights_are_parsed() -> Fallible {
    let script = Script::of("parse");
    for size in [1, 2, 1000] {
        Player::of("flights_parse", &script)?.play(&script, size)?;
    }
    in_every_language("examples", |guest| {
        // in Rust the function is a component of its own
        if guest != "examples" {
            Player::of(guest, &script)?.play(&script, 1000)?;
        }
        Ok(())
    })
}

fn step(guest: &str, script: &Script, task: Task, target: Target) -> Result<Step, thalweg_wasm::Error> {
    let name = script.0["function"].as_str().unwrap_or_default();
    let pool = Pool::new(&component(guest), name, "T", &script.config(), Limits::default())?;
    Step::new("T", Callee::Wasm(pool), task, Binding::default(), vec![vec![target]], Failures::FailBundle)
}

/// What comes of values of one key, in parts that are merged.
fn combined(guest: &str, script: &Script, values: &[Value], part: usize) -> Result<Value, Box<dyn std::error::Error>> {
    let function = component(guest).function(script.0["function"].as_str().unwrap_or_default())?.clone();
    let add = step(guest, script, Task::Add, Target::Output(0))?;
    let mut lift = WasmWorker::new([(StageId(0), StagePlan::new(vec![add])?)]);
    let mut grouped = Vec::new();
    for part in values.chunks(part) {
        let mut builder = BatchBuilder::new();
        for value in part {
            let mut bytes = Vec::new();
            crate::json::encode(&function.input, value, true, &mut bytes);
            builder.push(b"k", &bytes, EventTime(0), &[Window::Global]);
        }
        grouped.push(one_value(&mut lift, builder)?);
    }
    let inner = function.accumulator.as_ref().and_then(thalweg_wasm::describe::Coder::to_core).ok_or("a coder")?;
    let mut accumulators = (grouped.len() as i32).to_be_bytes().to_vec();
    grouped.iter().for_each(|bytes| inner.write_nested(&mut accumulators, bytes));
    let steps = vec![
        step(guest, script, Task::Merge, Target::Step(1))?,
        step(guest, script, Task::Extract, Target::Output(0))?,
    ];
    let mut merge = WasmWorker::new([(StageId(0), StagePlan::new(steps)?)]);
    let mut builder = BatchBuilder::new();
    builder.push(b"k", &accumulators, EventTime(0), &[Window::Global]);
    let bytes = one_value(&mut merge, builder)?;
    Ok(element(&function.outputs[0].coder, b"", &bytes))
}

/// The value of the only row that a bundle gives.
fn one_value(worker: &mut WasmWorker, mut builder: BatchBuilder) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let state = StateView::empty(BundleId(1), Arc::new(NullStore::default()));
    let start = bundle(Input::Elements { batches: vec![(0, builder.finish())] }, state);
    worker.submit(Command::Start(Box::new(start)))?;
    let (mut events, mut values) = (Vec::new(), Vec::new());
    worker.poll(&mut events);
    for event in events {
        match event {
            Event::Output { batch, .. } => values.extend(batch.rows().iter().map(|row| batch.value(row).to_vec())),
            Event::Failed { error, .. } => return Err(error.into()),
            _ => {}
        }
    }
    assert_eq!(values.len(), 1);
    Ok(values.remove(0))
}

fn combinefn(name: &str) -> Fallible {
    let script = Script::of(name);
    in_every_language("examples", |guest| {
        for step in script.steps() {
            let values = list(&step["combine"]);
            // a key of no values is in no pipeline; test kits have it
            for part in 1..=values.len() {
                match (combined(guest, &script, values, part), step["fails"][0][1].as_str()) {
                    (Ok(found), None) => assert_eq!(found, step["gives"], "in parts of {part}"),
                    (Err(error), Some(code)) => assert!(error.to_string().contains(code), "{error}"),
                    (found, expected) => return Err(format!("{found:?} and not {expected:?}").into()),
                }
            }
        }
        Ok(())
    })
}

#[test]
fn the_best_of_a_key_are_kept() -> Fallible {
    combinefn("top_k")
}

#[test]
fn numbers_are_summed_up() -> Fallible {
    combinefn("sum")
}

fn interval(value: &Value) -> Window {
    let at = |i: usize| EventTime(value[i].as_i64().expect("a time"));
    Window::Interval { start: at(0), end: at(1) }
}

#[test]
fn sessions_end_at_midnight_by_a_window_function() -> Fallible {
    let script = Script::of("day_sessions");
    in_every_language("examples", |guest| {
        let assign = step(guest, &script, Task::Assign, Target::Output(0))?;
        let merge = step(guest, &script, Task::Assign, Target::Output(0))?;
        let mut worker =
            WasmWorker::new([(StageId(0), StagePlan::new(vec![assign])?)]).with_windows(StageId(4), 0, merge);
        for (place, step) in script.steps().iter().enumerate() {
            let mut events = Vec::new();
            worker.poll(&mut events);
            events.clear();
            let mut found: Vec<Window> = Vec::new();
            if let Some(time) = step["assign"].as_i64() {
                let mut builder = BatchBuilder::new();
                builder.push(b"", b"x", EventTime(time), &[Window::Global]);
                let state = StateView::empty(BundleId(1), Arc::new(NullStore::default()));
                let start = bundle(Input::Elements { batches: vec![(0, builder.finish())] }, state);
                worker.submit(Command::Start(Box::new(start)))?;
                worker.poll(&mut events);
                for event in &events {
                    let Event::Output { batch, .. } = event else { continue };
                    found.extend(batch.rows().iter().flat_map(|row| batch.windows(row).to_vec()));
                }
            } else {
                found = list(&step["merge"]).iter().map(interval).collect();
                let keys = vec![found.clone()];
                worker.submit(Command::MergeWindows { request: 1, stage: StageId(4), keys })?;
                worker.poll(&mut events);
                let Some(Event::WindowsMerged { keys, .. }) = events.first() else { return Err("no answer".into()) };
                for (into, members) in &keys[0] {
                    found.retain(|window| !members.contains(window));
                    found.push(into.clone());
                }
            }
            found.sort();
            let mut expected: Vec<Window> = list(&step["gives"]).iter().map(interval).collect();
            expected.sort();
            assert_eq!(found, expected, "step {place}");
        }
        Ok::<(), Box<dyn std::error::Error>>(())
    })
}
