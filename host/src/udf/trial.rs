//! A function run over a file of elements: the real engine, one shard, a TestStream in front and a list behind.
//!
//! In: a component, the name of a function, lines. Out: the rows of every output, failed rows with the guest's stack, metrics.
//!
//! A line is an element, as [`elements`] writes it, or `{"element": .., "time": .., "key": ..}` with an event time
//! in milliseconds or RFC 3339 and, for CombineFns, a key; or `{"watermark": time}`, or `{"clock_ms": n}`, which
//! moves processing time on. At the end the watermark goes to the end of time.

use super::elements;
use crate::compose::{Composer, Connectors, Settings};
use crate::native::Registry;
use crate::pipeline::{Collection, Element, PipelineBuilder, Windows, urn};
use crate::runtime;
use prost::Message as _;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_beam::translate::translate;
use thalweg_beam::urn::transform::TEST_STREAM;
use thalweg_core::batch::{Batch, Row};
use thalweg_core::coder::take_prefixed;
use thalweg_core::engine::Outcome;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::Epoch;
use thalweg_core::metric::{MetricValue, Metrics};
use thalweg_core::port::sink::{Prepared, Sink};
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_proto::pipeline::{
    TestStreamPayload,
    test_stream_payload::{
        Event, TimestampedElement,
        event::{AddElements, AdvanceProcessingTime, AdvanceWatermark, Event as Kind},
    },
};
use thalweg_wasm::describe::{Coder, Function, Kind as FunctionKind};

/// The tag of failed rows: no function gives it to an output of its own.
const FAILED: &str = "\0failed";
const SINK: &str = "thalweg:sink:udf_trial:v1";
/// The transform's name in metrics and messages.
const NAME: &str = "udf";

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Trial<'a> {
    /// The component's file.
    pub component: &'a Path,
    /// The function; the only one there is without it.
    pub function: Option<&'a str>,
    /// What the function is opened with.
    pub config: Option<Value>,
    /// Windows of the elements.
    pub windows: Windows,
    /// The lines.
    pub lines: &'a str,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    /// Rows of all outputs, in the order in which they came.
    pub rows: Vec<TrialRow>,
    /// Metrics by name, as text.
    pub metrics: Vec<(String, String)>,
}

/// A row that came out.
#[derive(Clone, PartialEq, Debug)]
pub struct TrialRow {
    /// `{"output": .., "element": .., "time": .., "window": ..}`, or `{"failed": .., "message": ..}`.
    pub json: Value,
    /// The guest's stack, of a failed row.
    pub stack: String,
    /// Whether it is a failed row.
    pub failed: bool,
}

/// Runs it.
///
/// # Errors
/// `UDF_TEST` for lines that do not fit the function, `WASM_*` for the component, else what the job failed with.
pub fn run(trial: &Trial<'_>) -> Result<Tried> {
    let settings =
        Settings { shards: 1, cache_dir: crate::compose::ComponentStore::default_cache_dir(), ..Settings::default() };
    let rows = Rows::default();
    let keep = rows.clone();
    let mut connectors = Connectors::default();
    connectors.register_sink(SINK, move |spec| Ok(Box::new(Keep { rows: keep.clone(), shape: shape(&spec.payload)? })));
    let composer = Composer::new(settings, Registry::standard())?.with_connectors(connectors);
    let component = composer.components().open(trial.component)?;
    let function = chosen(trial, component.description().functions.as_slice())?;
    let pipeline = pipeline(trial, function)?;
    let composed = composer.compose(&mut translate(pipeline)?, NAME)?;
    let finished = runtime::start(composer.job(NAME, composed))?.join();
    match finished.outcome {
        Outcome::Done | Outcome::Drained => {}
        Outcome::Failed(error) => return Err(error),
        Outcome::Cancelled => return Err(Error::internal("JOB_CANCELLED", "the run was cancelled")),
    }
    let rows = std::mem::take(&mut *rows.0.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Tried { rows, metrics: metrics(&finished.committed) })
}

fn wrong(message: impl Into<String>, help: &str) -> Error {
    Error::user("UDF_TEST", message).help(help)
}

/// The function that is meant.
fn chosen<'a>(trial: &Trial<'_>, functions: &'a [Function]) -> Result<&'a Function> {
    let names = || functions.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = match (trial.function, functions) {
        (Some(name), _) => functions.iter().find(|f| f.name == name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let function = found.ok_or_else(|| {
        let message = match trial.function {
            Some(name) => format!("{} has no function {name:?}", trial.component.display()),
            None => format!("{} has several functions", trial.component.display()),
        };
        wrong(message, &format!("choose one by --function: {}", names()))
    })?;
    if function.kind == FunctionKind::WindowFn {
        let message = format!("`{}` is a WindowFn, which a file of elements alone does not try", function.name);
        return Err(wrong(message, "use the test kit of the language, or the function in a pipeline"));
    }
    Ok(function)
}

fn pipeline(trial: &Trial<'_>, function: &Function) -> Result<thalweg_proto::pipeline::Pipeline> {
    let combines = function.kind == FunctionKind::CombineFn;
    let of = |coder: &Coder| {
        Element::of_coder(coder).ok_or_else(|| {
            let message =
                format!("`{}` has elements of the coder {}, which a file cannot hold", function.name, coder.urn);
            wrong(message, "use the test kit of the language, or the function in a pipeline")
        })
    };
    let keyed = |element| if combines { Element::kv(Element::String, element) } else { element };
    let mut build = PipelineBuilder::new();
    let input = build.collection("Elements.output", keyed(of(&function.input)?), Windows::Global, true);
    let script = script(trial.lines, function)?;
    build.transform("Elements", TEST_STREAM, script.encode_to_vec(), &[], &[("output", &input)]);
    let input = windowed(&mut build, input, trial.windows);
    let mut outputs = Vec::new();
    for output in &function.outputs {
        let element = match function.kind {
            FunctionKind::KeySelector => Element::kv(of(&output.coder)?, input.element.clone()),
            _ => keyed(of(&output.coder)?),
        };
        let collection = build.collection(&format!("udf.{}", output.name), element, input.windows, true);
        outputs.push((output.name.clone(), collection, output_shape(function, output)));
    }
    let dofn = function.kind == FunctionKind::DoFn;
    if dofn {
        let failed = build.collection("udf.failed", Element::Bytes, input.windows, true);
        outputs.push((FAILED.to_owned(), failed, json!({ "failed": function.input })));
    }
    let call = json!({
        "component": trial.component,
        "function": function.name,
        "config": trial.config,
        "errors": dofn.then_some(FAILED),
    });
    let tagged: Vec<(&str, &Collection)> = outputs.iter().map(|(tag, c, _)| (tag.as_str(), c)).collect();
    build.native(NAME, urn::WASM, &call, &[("input", &input)], &tagged);
    for (tag, collection, shape) in &outputs {
        build.native(&format!("Keep {}", tag.trim_start_matches('\0')), SINK, shape, &[("input", collection)], &[]);
    }
    Ok(build.finish())
}

/// How the rows of an output are read: its name and the coders of key and value.
fn output_shape(function: &Function, output: &thalweg_wasm::describe::Output) -> Value {
    let text = json!({ "urn": "beam:coder:string_utf8:v1" });
    let (key, value) = match (&function.kind, output.coder.components.as_slice()) {
        (FunctionKind::CombineFn, _) => (text, json!(output.coder)),
        (FunctionKind::KeySelector, _) => (json!(output.coder), json!(function.input)),
        (_, [key, value]) if output.coder.is_kv() => (json!(key), json!(value)),
        _ => (Value::Null, json!(output.coder)),
    };
    json!({ "output": output.name, "key": key, "value": value })
}

fn windowed(build: &mut PipelineBuilder, input: Collection, windows: Windows) -> Collection {
    if windows == Windows::Global {
        return input;
    }
    let output = build.collection("Windows.output", input.element.clone(), windows, true);
    build.transform("Windows", urn::WINDOW_INTO, windows.payload(), &[("input", &input)], &[("output", &output)]);
    output
}

/// The lines as events.
fn script(lines: &str, function: &Function) -> Result<TestStreamPayload> {
    let mut events: Vec<Event> = Vec::new();
    let mut push = |kind| events.push(Event { event: Some(kind) });
    let tag = "output".to_owned();
    let mut waiting = Vec::new();
    for (i, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = |why: String| {
            wrong(format!("line {}: {why}", i + 1), "`thalweg udf inspect` shows what the function takes")
        };
        let value: Value = serde_json::from_str(line).map_err(|e| at(format!("it is no JSON: {e}")))?;
        match Line::read(&value, function).map_err(at)? {
            Line::Element(element) => waiting.push(element),
            other => {
                push(Kind::ElementEvent(AddElements { elements: std::mem::take(&mut waiting), tag: tag.clone() }));
                push(match other {
                    Line::Watermark(to) => {
                        Kind::WatermarkEvent(AdvanceWatermark { new_watermark: to, tag: tag.clone() })
                    }
                    Line::Clock(by) => Kind::ProcessingTimeEvent(AdvanceProcessingTime { advance_duration: by }),
                    Line::Element(_) => continue,
                });
            }
        }
    }
    push(Kind::ElementEvent(AddElements { elements: waiting, tag: tag.clone() }));
    push(Kind::WatermarkEvent(AdvanceWatermark { new_watermark: EventTime::MAX.0, tag }));
    Ok(TestStreamPayload { events, ..TestStreamPayload::default() })
}

enum Line {
    Element(TimestampedElement),
    Watermark(i64),
    Clock(i64),
}

impl Line {
    fn read(value: &Value, function: &Function) -> std::result::Result<Self, String> {
        if let Some([(name, value)]) = value.as_object().map(|o| o.iter().collect::<Vec<_>>()).as_deref() {
            match name.as_str() {
                "watermark" => return time(value).map(Self::Watermark),
                "clock_ms" => return value.as_i64().map(Self::Clock).ok_or_else(|| "clock_ms is a number".to_owned()),
                _ => {}
            }
        }
        let envelope = value.as_object().filter(|o| is_envelope(o));
        let element = envelope.and_then(|o| o.get("element")).unwrap_or(value);
        let timestamp = envelope.and_then(|o| o.get("time")).map_or(Ok(EventTime::MIN.0), time)?;
        let mut bytes = Vec::new();
        if function.kind == FunctionKind::CombineFn {
            let key = envelope.and_then(|o| o.get("key")).and_then(Value::as_str).unwrap_or_default();
            let text = Coder { urn: "beam:coder:string_utf8:v1".to_owned(), components: vec![], fields: vec![] };
            elements::encode(&text, &json!(key), true, &mut bytes)?;
        }
        elements::encode(&function.input, element, false, &mut bytes)?;
        Ok(Self::Element(TimestampedElement { encoded_element: bytes.into(), timestamp }))
    }
}

/// Whether an object is an element with its time and key, and not the element itself.
fn is_envelope(object: &Map<String, Value>) -> bool {
    object.contains_key("element") && object.keys().all(|key| ["element", "time", "key"].contains(&key.as_str()))
}

/// Milliseconds since 1970.
fn time(value: &Value) -> std::result::Result<i64, String> {
    let wrong = || format!("{value} is no time: write milliseconds since 1970, or RFC 3339");
    match value {
        Value::Number(n) => n.as_i64().ok_or_else(wrong),
        Value::String(text) => text.parse::<jiff::Timestamp>().map(|t| t.as_millisecond()).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

/// Rows of all outputs.
#[derive(Clone, Default)]
struct Rows(Arc<Mutex<Vec<TrialRow>>>);

/// Reads the rows of an output.
enum Shape {
    Output { name: String, key: Option<Coder>, value: Coder },
    Failed(Coder),
}

fn shape(payload: &[u8]) -> Result<Shape> {
    let read = || -> serde_json::Result<Shape> {
        let mut value: Value = serde_json::from_slice(payload)?;
        let mut part = |name: &str| value.get_mut(name).map(Value::take).unwrap_or_default();
        let failed = part("failed");
        if !failed.is_null() {
            return serde_json::from_value(failed).map(Shape::Failed);
        }
        let (name, key, value) = (part("output"), part("key"), part("value"));
        let name = name.as_str().unwrap_or_default().to_owned();
        Ok(Shape::Output { name, key: serde_json::from_value(key)?, value: serde_json::from_value(value)? })
    };
    read().map_err(|e| Error::internal("NATIVE_PAYLOAD", format!("a shape of rows cannot be read: {e}")))
}

impl Shape {
    fn row(&self, batch: &Batch, row: &Row) -> Result<TrialRow> {
        let (key, value) = (batch.key(row), batch.value(row));
        let (mut json, mut stack) = (Map::new(), String::new());
        match self {
            Self::Output { name, key: coder, value: of } => {
                let value = elements::decode(of, value)?;
                let key = coder.as_ref().map(|coder| elements::decode(coder, key)).transpose()?;
                json.insert("output".to_owned(), json!(name));
                json.insert("element".to_owned(), key.map_or_else(|| value.clone(), |key| json!([key, value])));
            }
            Self::Failed(coder) => {
                // a row of three fields without nulls, see `Failures::DeadLetter`
                let (_, rest) = value.split_at_checked(2).unwrap_or_default();
                let (element, rest) = elements::nested(coder, rest)?;
                let (message, rest) = take_prefixed(rest)?;
                let (trace, _) = take_prefixed(rest)?;
                stack = String::from_utf8_lossy(trace).into_owned();
                json.insert("failed".to_owned(), element);
                json.insert("message".to_owned(), json!(String::from_utf8_lossy(message)));
            }
        }
        if row.time != EventTime::MIN {
            json.insert("time".to_owned(), shown(row.time));
        }
        if let [Window::Interval { start, end }] = batch.windows(row) {
            json.insert("window".to_owned(), json!([shown(*start), shown(*end)]));
        }
        Ok(TrialRow { json: Value::Object(json), stack, failed: matches!(self, Self::Failed(_)) })
    }
}

/// A time as people write it, where the calendar has a word for it.
fn shown(time: EventTime) -> Value {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| json!(time.0), |t| json!(t.to_string()))
}

struct Keep {
    rows: Rows,
    shape: Shape,
}

impl Sink for Keep {
    fn prepare(&mut self, _epoch: Epoch, batches: &[Batch]) -> Result<Prepared> {
        let mut rows = self.rows.0.lock().unwrap_or_else(PoisonError::into_inner);
        for batch in batches {
            for row in batch.rows() {
                rows.push(self.shape.row(batch, row)?);
            }
        }
        Ok(Prepared::default())
    }

    fn deliver(&mut self, _epoch: Epoch, _outbox: &[u8]) -> Result<()> {
        Ok(())
    }

    fn recover(&mut self, _mark: Option<&[u8]>) -> Result<Option<Epoch>> {
        Ok(None)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What the function itself counted.
fn metrics(all: &Metrics) -> Vec<(String, String)> {
    let own = all.0.iter().filter(|(key, _)| key.labels.get("NAMESPACE").is_some_and(|n| n == "udf"));
    let shown = own.filter_map(|(key, value)| {
        let text = match value {
            MetricValue::Sum(n) => n.to_string(),
            MetricValue::Distribution { count, sum, min, max } => {
                format!("{count} values, {sum} in all, {min} to {max}")
            }
            _ => return None,
        };
        Some((key.labels.get("NAME")?.clone(), text))
    });
    shown.collect()
}
