//! What is refused before anything is opened, and jobs with functions and sinks of an embedder.

use super::{Composer, Connectors, Settings};
use crate::native::payload::{CreateRows, Part};
use crate::native::{Keyed, NativeFn, Outputs, Registry, Shape, Turn};
use crate::pipeline::{Element, PipelineBuilder, Windows, urn};
use crate::row::{FieldType, Schema, nullable, required};
use crate::runtime;
use crate::table::{Columns, Format, TableJoin, TableSource, TableSpec};
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_beam::translate::translate;
use thalweg_core::batch::Batch;
use thalweg_core::engine::Outcome;
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;
use thalweg_core::port::sink::{Prepared, Sink};
use thalweg_core::port::worker::{TimeDomain, TimerSet};
use thalweg_core::state::CellValue;
use thalweg_core::time::EventTime;
use thalweg_proto::pipeline::Pipeline;

/// An impulse, a function of this URN on it, and a sink.
fn pipeline(function: &str, keyed: bool, sink: &str) -> Pipeline {
    let mut build = PipelineBuilder::new();
    let start = build.collection("Start.out", Element::Bytes, Windows::Global, true);
    build.transform("Start", urn::IMPULSE, Vec::new(), &[], &[("out", &start)]);
    let pairs = Element::kv(Element::Bytes, Element::Bytes);
    let element = if keyed { pairs.clone() } else { Element::Bytes };
    let input = build.collection("Pairs.out", element, Windows::Global, true);
    build.transform("Pairs", "thalweg:fn:test_pairs:v1", Vec::new(), &[("in", &start)], &[("out", &input)]);
    let output = build.collection("Function.out", pairs, Windows::Global, true);
    build.transform("Function", function, Vec::new(), &[("in", &input)], &[("out", &output)]);
    build.transform("Sink", sink, Vec::new(), &[("in", &output)], &[]);
    build.finish()
}

const SUM: &str = "thalweg:fn:test_sum:v1";
const KEEP: &str = "thalweg:sink:test_keep:v1";

/// Pairs of letter and number.
struct Pairs;

impl NativeFn for Pairs {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            for (key, value) in [(b"a", 1), (b"b", 2), (b"a", 3)] {
                out.push(0, key, &[value], EventTime(5), batch.windows(row));
            }
        }
        Ok(())
    }
}

/// Sums up in state, and gives the sum when a timer at the end of time fires.
struct Sum;

impl NativeFn for Sum {
    fn process(&mut self, _: &Batch, _: &mut Outputs) -> Result<()> {
        Ok(())
    }

    fn process_keyed(&mut self, input: &mut Keyed<'_>, out: &mut Outputs) -> Result<()> {
        for i in 0..input.len() {
            let Some((group, turn)) = input.turn(i) else { continue };
            let sum = input.get(group, 0)?.and_then(|cell| cell.as_slice().first().copied()).unwrap_or(0);
            match turn {
                Turn::Element(batch, row) => {
                    let value = batch.value(row).first().copied().unwrap_or(0);
                    input.put(group, 0, Some(CellValue::copy(&[sum + value])))?;
                    let set = TimerSet { fire: EventTime::GLOBAL_WINDOW_MAX.0, hold: row.time, pane: batch.pane(row) };
                    input.timer(group, 0, Some(set));
                }
                Turn::Timer(timer) => {
                    let Some(owner) = input.group(group) else { continue };
                    out.push(0, &owner.key, &[sum], timer.hold, std::slice::from_ref(&owner.window));
                }
            }
        }
        Ok(())
    }
}

/// Key and value of what was written.
type Kept = Arc<Mutex<Vec<(Vec<u8>, Vec<u8>)>>>;

/// Keeps what it gets.
struct Keep(Kept);

impl Sink for Keep {
    fn prepare(&mut self, _: Epoch, batches: &[Batch]) -> Result<Prepared> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for batch in batches {
            kept.extend(batch.rows().iter().map(|row| (batch.key(row).to_vec(), batch.value(row).to_vec())));
        }
        Ok(Prepared::default())
    }
}

fn composer(kept: &Kept) -> Result<Composer> {
    let mut registry = Registry::standard();
    registry.register("thalweg:fn:test_pairs:v1", Shape::default(), |_| Ok(Box::new(Pairs)));
    let timers = vec![("end".to_owned(), TimeDomain::Event)];
    let shape = Shape { keyed: true, states: vec!["sum".to_owned()], timers };
    registry.register(SUM, shape, |_| Ok(Box::new(Sum)));
    let mut connectors = Connectors::default();
    let kept = Arc::clone(kept);
    connectors.register_sink(KEEP, move |_| Ok(Box::new(Keep(Arc::clone(&kept)))));
    let settings = Settings { shards: 2, epoch_ms: 20, ..Settings::default() };
    Ok(Composer::new(settings, registry)?.with_connectors(connectors))
}

fn refusal(pipeline: Pipeline) -> Result<Option<(&'static str, String)>> {
    let refused = composer(&Kept::default())?.plan(&mut translate(pipeline)?).err();
    Ok(refused.map(|e| (e.code, e.transform)))
}

#[test]
fn what_nobody_knows_is_refused_by_name() -> Result<()> {
    let unknown = Some(("NATIVE_UNKNOWN", "Function".to_owned()));
    assert_eq!(refusal(pipeline("thalweg:fn:nobody:v1", true, KEEP))?, unknown);
    let unknown = Some(("NATIVE_UNKNOWN", "Sink".to_owned()));
    assert_eq!(refusal(pipeline(SUM, true, "thalweg:sink:nobody:v1"))?, unknown);
    let unkeyed = Some(("NATIVE_NOT_KEYED", "Function".to_owned()));
    assert_eq!(refusal(pipeline(SUM, false, KEEP))?, unkeyed);
    assert_eq!(refusal(pipeline(SUM, true, KEEP))?, None);
    Ok(())
}

/// Rows of a number and a text, joined with a table of texts by one of these fields, or by rows of them.
fn joined(key: Part, columns: Columns) -> Pipeline {
    let mut build = PipelineBuilder::new();
    let start = build.collection("Start.out", Element::Bytes, Windows::Global, true);
    build.transform("Start", urn::IMPULSE, Vec::new(), &[], &[("out", &start)]);
    let input = Schema { fields: vec![required("n", FieldType::Int64), nullable("at", FieldType::String)] };
    let rows = build.collection("Rows.out", Element::Row(input.clone()), Windows::Global, true);
    let created = CreateRows { schema: input.clone(), rows: Vec::new() };
    build.native("Rows", crate::native::urn::CREATE, &created, &[("in", &start)], &[("out", &rows)]);
    let schema = Schema::of([("code", FieldType::String), ("name", FieldType::String)]);
    let source = TableSource::File { path: "places.csv".to_owned(), format: Format::Csv };
    let table = TableSpec { source, schema, key: columns, value: Some(Columns::One("name".to_owned())) };
    let join = TableJoin { input: input.clone(), key, table, inner: false };
    let after = Schema { fields: [input.fields, vec![nullable("name", FieldType::String)]].concat() };
    let output = build.collection("Join.out", Element::Row(after), Windows::Global, true);
    build.native("Join", crate::native::urn::TABLE_JOIN, &join, &[("in", &rows)], &[("out", &output)]);
    build.transform("Sink", KEEP, Vec::new(), &[("in", &output)], &[]);
    build.finish()
}

#[test]
fn a_join_by_a_field_of_another_type_than_the_tables_key_is_refused() -> Result<()> {
    let one = || Columns::One("code".to_owned());
    let row = || Columns::Row(vec!["code".to_owned()]);
    assert_eq!(refusal(joined(Part::Field(1), one()))?, None);
    assert_eq!(refusal(joined(Part::Fields(vec![1]), row()))?, None);
    let mismatch = Some(("WASM_MISMATCH", "Join".to_owned()));
    for (key, columns) in [
        (Part::Field(0), one()),
        (Part::Fields(vec![0]), row()),
        (Part::Fields(vec![1]), one()),
        (Part::Field(1), row()),
        (Part::Fields(vec![1, 1]), row()),
        (Part::Field(7), one()),
    ] {
        assert_eq!(refusal(joined(key, columns))?, mismatch);
    }
    let error = composer(&Kept::default())?.plan(&mut translate(joined(Part::Field(0), one()))?).err();
    assert_eq!(
        error.map(|e| e.message).unwrap_or_default(),
        "the table places.csv has a key of string, but the rows are joined by int64"
    );
    Ok(())
}

#[test]
fn functions_with_state_and_timers_and_sinks_of_embedders_run() -> Result<()> {
    let kept = Kept::default();
    let composer = composer(&kept)?;
    let composed = composer.compose(&mut translate(pipeline(SUM, true, KEEP))?, "test")?;
    let reports = composed.reports.clone();
    let finished = runtime::start(composer.job("test", composed))?.join();
    assert_eq!(finished.outcome, Outcome::Done);
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
    kept.sort_unstable();
    assert_eq!(kept, [(b"a".to_vec(), vec![4]), (b"b".to_vec(), vec![2])]);
    assert_eq!(reports.iter().map(|r| (r.name.as_str(), r.rows())).collect::<Vec<_>>(), [("Sink", 2)]);
    Ok(())
}
