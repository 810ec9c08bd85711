//! A function run over a file of elements: the real engine, one shard, a TestStream in front and a list behind.
//!
//! In: a component, the name of a function, lines. Out: the rows of every output, failed rows with the guest's stack, metrics.
//!
//! A line is an element, as [`elements`] writes it, or `{"element": .., "time": .., "key": ..}` with an event time
//! in milliseconds or RFC 3339 and, for CombineFns, a key; or `{"watermark": time}`, or `{"clock_ms": n}`, which
//! moves processing time on. At the end the watermark goes to the end of time. A line of a side input is an element of it.

use super::elements;
use super::script::{MAIN, script, side_tag, wrong};
use crate::compose::{ComponentStore, Composer, Connectors, Settings};
use crate::native::Registry;
use crate::pipeline::{Collection, Element, PipelineBuilder, Windows, urn};
use crate::runtime;
use crate::table::TableSpec;
use prost::Message as _;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
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
use thalweg_wasm::describe::{Coder, Function, Kind as FunctionKind, SideInput};
use thalweg_wasm::{Compiler, Grants};

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
    /// What side inputs have: name and lines.
    pub sides: Vec<(String, String)>,
    /// Tables by the names in the function's description.
    pub tables: BTreeMap<String, TableSpec>,
    /// What of the machine the function may see.
    pub grant: Grants,
    /// What compiles the component.
    pub compiler: Compiler,
}

impl Trial<'_> {
    /// The call of the function; `errors` is the output for failed elements.
    fn call(&self, function: &Function, errors: Option<&str>) -> Value {
        json!({
            "component": self.component,
            "function": function.name,
            "config": self.config,
            "errors": errors,
            "tables": self.tables,
            "grant": self.grant,
        })
    }
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
    let settings = Settings {
        shards: 1,
        cache_dir: ComponentStore::default_cache_dir(),
        compiler: trial.compiler.clone(),
        ..Settings::default()
    };
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
    Ok(function)
}

/// The side inputs with their lines, in the order of the description.
fn sides<'a>(trial: &'a Trial<'_>, function: &'a Function) -> Result<Vec<(&'a SideInput, &'a str)>> {
    if let Some((name, _)) = trial.sides.iter().find(|(name, _)| !function.side_inputs.iter().any(|s| s.name == *name))
    {
        let message = format!("`{}` reads no side input `{name}`", function.name);
        return Err(wrong(message, "`thalweg udf inspect` shows what the function reads"));
    }
    let found = |side: &'a SideInput| {
        let lines = trial.sides.iter().find(|(name, _)| *name == side.name);
        let lines = lines.ok_or_else(|| {
            let message = format!("`{}` reads a side input `{}`, which nobody gives", function.name, side.name);
            wrong(message, &format!("give a file of its elements: --side {}=FILE", side.name))
        });
        lines.map(|(_, lines)| (side, lines.as_str()))
    };
    function.side_inputs.iter().map(found).collect()
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
    let sides = sides(trial, function)?;
    let script = script(trial.lines, &sides, function)?;
    let mut inputs = Vec::new();
    for (side, _) in &sides {
        let collection = build.collection(&format!("Elements.{}", side.name), of(&side.coder)?, Windows::Global, true);
        inputs.push((side.name.as_str(), side_tag(&side.name), collection));
    }
    let scripted: Vec<(&str, &Collection)> =
        [(MAIN, &input)].into_iter().chain(inputs.iter().map(|(_, tag, c)| (tag.as_str(), c))).collect();
    build.transform("Elements", TEST_STREAM, script.encode_to_vec(), &[], &scripted);
    if function.kind == FunctionKind::WindowFn {
        return Ok(assigned(build, &input, trial, function));
    }
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
    let call = trial.call(function, dofn.then_some(FAILED));
    let tagged: Vec<(&str, &Collection)> = outputs.iter().map(|(tag, c, _)| (tag.as_str(), c)).collect();
    let read: Vec<(&str, &Collection)> =
        [("input", &input)].into_iter().chain(inputs.iter().map(|(name, _, c)| (*name, c))).collect();
    build.native(NAME, urn::WASM, &call, &read, &tagged);
    for (tag, collection, shape) in &outputs {
        build.native(&format!("Keep {}", tag.trim_start_matches('\0')), SINK, shape, &[("input", collection)], &[]);
    }
    Ok(build.finish())
}

/// The elements in the windows that a WindowFn gives them. What it merges shows behind a grouping only, and is for its test kit.
fn assigned(
    mut build: PipelineBuilder,
    input: &Collection,
    trial: &Trial<'_>,
    function: &Function,
) -> thalweg_proto::pipeline::Pipeline {
    let call = trial.call(function, None).to_string();
    let windows = build.component_windows(call.into_bytes(), function.merges);
    let output = build.collection("udf.windows", input.element.clone(), windows, true);
    build.window_into(NAME, input, &output);
    let shape = match function.input.components.as_slice() {
        [key, value] if function.input.is_kv() => json!({ "output": "windows", "key": key, "value": value }),
        _ => json!({ "output": "windows", "key": null, "value": function.input }),
    };
    build.native("Keep windows", SINK, &shape, &[("input", &output)], &[]);
    build.finish()
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
        let interval = |window: &Window| match window {
            Window::Interval { start, end } => Some(json!([shown(*start), shown(*end)])),
            _ => None,
        };
        let mut windows: Vec<Value> = batch.windows(row).iter().filter_map(interval).collect();
        match windows.len() {
            0 => {}
            1 => drop(json.insert("window".to_owned(), windows.pop().unwrap_or_default())),
            _ => drop(json.insert("windows".to_owned(), Value::Array(windows))),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_function_is_given_what_it_is_granted_and_its_tables() -> anyhow::Result<()> {
        let grant = r#"{"clock":true,"env":{"REGION":"eu"}}"#;
        let table = r#"{"source":{"file":{"path":"t.csv","format":"csv"}},"schema":[],"key":"k"}"#;
        let trial = Trial {
            component: Path::new("c.wasm"),
            function: None,
            config: None,
            windows: Windows::Global,
            lines: "",
            sides: Vec::new(),
            tables: BTreeMap::from([("t".to_owned(), serde_json::from_str(table)?)]),
            grant: serde_json::from_str(grant)?,
            compiler: Compiler::Here,
        };
        for kind in ["dofn", "windowfn", "keyselector", "combinefn"] {
            let text = json!({ "urn": "beam:coder:string_utf8:v1" });
            let outputs = json!([{ "name": "main", "coder": text }]);
            let function = json!({ "name": "f", "kind": kind, "input": text, "outputs": outputs });
            let made = pipeline(&trial, &serde_json::from_value(function)?)?.encode_to_vec();
            let made = String::from_utf8_lossy(&made);
            assert!(
                made.contains(&format!("\"grant\":{grant}")) && made.contains("\"path\":\"t.csv\""),
                "{kind}: {made}"
            );
        }
        Ok(())
    }
}
