//! Drives the lines of a flights table through the component `flights_parse`, frame by frame, and prints what comes out:
//! `parse [TABLE.csv]` after `scripts/build-guests.sh`.

use std::sync::Arc;
use thalweg_core::batch::BatchBuilder;
use thalweg_core::coder::{read_varint, take_prefixed, write_varint};
use thalweg_core::id::{BundleId, CacheToken, StageId};
use thalweg_core::port::store::NullStore;
use thalweg_core::port::worker::{BundleStart, Command, Event, Input, Worker};
use thalweg_core::state::StateView;
use thalweg_core::time::{EventTime, ProcessingTime};
use thalweg_core::window::Window;
use thalweg_wasm::{
    Binding, Callee, Component, Engine, EngineLimits, Failures, Limits, Pool, StagePlan, Step, Target, Task, WasmWorker,
};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// The fields of an encoded row; `kinds` has a letter per field, `s`tring or `n`umber.
fn fields(row: &[u8], kinds: &str) -> Fallible<String> {
    let (_, rest) = read_varint(row)?;
    let (_, mut rest) = take_prefixed(rest)?;
    let mut texts = Vec::new();
    for kind in kinds.chars() {
        if kind == 's' {
            let (text, tail) = take_prefixed(rest)?;
            texts.push(String::from_utf8_lossy(text).into_owned());
            rest = tail;
        } else {
            let (number, tail) = read_varint(rest)?;
            texts.push(number.cast_signed().to_string());
            rest = tail;
        }
    }
    Ok(texts.join("\t"))
}

fn main() -> Fallible<()> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../..");
    let table = std::env::args().nth(1).unwrap_or(format!("{root}/guest-examples/flights/dirty.csv"));
    let engine = Engine::new(EngineLimits::default())?;
    let file = format!("{root}/target/guests/components/flights_parse.wasm");
    let component = Component::load(&engine, file.as_ref(), None)?;
    let pool = Pool::new(&component, "parse", "parse", "", Limits::default())?;
    let outputs = vec![vec![Target::Output(0)], vec![Target::Output(1)]];
    let step =
        Step::new("parse", Callee::Wasm(pool), Task::Process, Binding::default(), outputs, Failures::FailBundle)?;
    let mut worker = WasmWorker::new([(StageId(0), StagePlan::new(vec![step])?)]);

    let mut rows = BatchBuilder::new();
    for (number, line) in std::fs::read_to_string(table)?.lines().enumerate().skip(1) {
        let mut row = vec![2, 0];
        write_varint(&mut row, line.len() as u64);
        row.extend_from_slice(line.as_bytes());
        write_varint(&mut row, number as u64);
        rows.push(&[], &row, EventTime(0), &[Window::Global]);
    }
    let bundle = BundleId(1);
    worker.submit(Command::Start(Box::new(BundleStart {
        bundle,
        stage: StageId(0),
        input: Input::Elements { batches: vec![(0, rows.finish())] },
        state: StateView::empty(bundle, Arc::new(NullStore::default())),
        sides: Vec::new(),
        cache_token: CacheToken(0),
        watermark: EventTime::MIN,
        now: ProcessingTime(0),
        truncate: false,
    })))?;
    let mut events = Vec::new();
    worker.poll(&mut events);
    for event in events {
        match event {
            Event::Output { output, batch, .. } => {
                for row in batch.rows() {
                    let text = fields(batch.value(row), if output == 0 { "sssnnn" } else { "ns" })?;
                    println!("{}\t{}\t{text}", if output == 0 { "flight" } else { "dead" }, row.time.0);
                }
            }
            Event::Failed { error, .. } => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
