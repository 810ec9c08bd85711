//! The pipelines of the workloads.

use crate::compose::payload::{TextSource, WasmCall};
use crate::pipeline::{Collection, Element, PipelineBuilder, Windows, urn};
use crate::row::{FieldType, Schema, required};
use crate::table::{Columns, Format, TableSource, TableSpec};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use thalweg_proto::pipeline::Pipeline;

/// A workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workload {
    /// Words of lines, counted.
    W1,
    /// Events, parsed and counted by key and minute.
    W2,
    /// JSON documents, those that are to go on changed.
    W3,
    /// Events, each with the count of its key so far.
    W4,
    /// Events, joined with a table.
    W5,
}

/// Where the user's function runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Function {
    /// In this component, as `split`, `event`, `change`, `count` or `join`.
    Wasm(PathBuf),
    /// In the host.
    Native,
}

/// URNs of the host's forms of the functions.
pub mod functions {
    /// A line to its words.
    pub const SPLIT: &str = "thalweg:fn:bench_split:v1";
    /// A line to key and value with their event time.
    pub const EVENT: &str = "thalweg:fn:bench_event:v1";
    /// A JSON document to its changed text and its id.
    pub const CHANGE: &str = "thalweg:fn:bench_change:v1";
    /// A line to key and value, at the time of the line.
    pub const KEY: &str = "thalweg:fn:bench_key:v1";
    /// Counts per key in state.
    pub const COUNT: &str = "thalweg:fn:bench_count:v1";
    /// Multiplies by what the table has.
    pub const JOIN: &str = "thalweg:fn:bench_join:v1";
    /// Counts elements by themselves before a grouping.
    pub const COUNT_VALUES: &str = "thalweg:fn:bench_count_values:v1";
    /// Counts pairs by their key before a grouping.
    pub const COUNT_KEYS: &str = "thalweg:fn:bench_count_keys:v1";
    /// Sums counts after a grouping.
    pub const SUM: &str = "thalweg:fn:bench_sum:v1";
    /// The sink that adds up.
    pub const TALLY: &str = "thalweg:sink:bench_tally:v1";
}

/// Builds the pipeline of a workload.
#[must_use]
pub fn pipeline(workload: Workload, function: &Function, data: &Path) -> Pipeline {
    let mut build = Build { build: PipelineBuilder::new(), function, tables: BTreeMap::new() };
    let pair = || Element::kv(Element::String, Element::Int64);
    let counts = match workload {
        Workload::W1 => {
            let lines = build.lines(&data.join("text.txt"));
            let words = build.udf("Split", "split", functions::SPLIT, &lines, "words", Element::String);
            build.count(functions::COUNT_VALUES, &words)
        }
        Workload::W2 => {
            let lines = build.lines(&data.join("events.tsv"));
            let events = build.udf("Event", "event", functions::EVENT, &lines, "events", pair());
            let windows = Windows::Fixed { size: 60_000, offset: 0 };
            let windowed = build.build.collection("Minutes.output", events.element.clone(), windows, true);
            let ends = ([("input", &events)], [("output", &windowed)]);
            build.build.transform("Minutes", urn::WINDOW_INTO, windows.payload(), &ends.0, &ends.1);
            build.count(functions::COUNT_KEYS, &windowed)
        }
        Workload::W3 => {
            let lines = build.lines(&data.join("events.jsonl"));
            build.udf("Change", "change", functions::CHANGE, &lines, "documents", pair())
        }
        Workload::W4 => {
            let lines = build.lines(&data.join("events.tsv"));
            let keyed = build.native("Key", functions::KEY, &lines, pair());
            build.udf("Count", "count", functions::COUNT, &keyed, "counts", pair())
        }
        Workload::W5 => {
            let lines = build.lines(&data.join("events.tsv"));
            let keyed = build.native("Key", functions::KEY, &lines, pair());
            build.tables.insert("factors".to_owned(), factors(data));
            build.udf("Join", "join", functions::JOIN, &keyed, "joined", pair())
        }
    };
    build.build.transform("Tally", functions::TALLY, Vec::new(), &[("input", &counts)], &[]);
    build.build.finish()
}

/// The table of W5.
pub fn factors(data: &Path) -> TableSpec {
    let path = data.join("table.csv").to_string_lossy().into_owned();
    let fields = vec![required("key", FieldType::String), required("factor", FieldType::Int64)];
    TableSpec {
        source: TableSource::File { path, format: Format::Csv },
        schema: Schema { fields },
        key: Columns::One("key".to_owned()),
        value: Some(Columns::One("factor".to_owned())),
    }
}

struct Build<'a> {
    build: PipelineBuilder,
    function: &'a Function,
    tables: BTreeMap<String, TableSpec>,
}

impl Build<'_> {
    fn lines(&mut self, path: &Path) -> Collection {
        let lines = self.build.collection("Lines.output", Element::String, Windows::Global, true);
        let path = path.to_string_lossy().into_owned();
        let source = TextSource { path, skip_header_lines: 0, row_number: None, plain: true };
        self.build.native("Lines", urn::SOURCE_TEXT, &source, &[], &[("output", &lines)]);
        lines
    }

    fn native(&mut self, name: &str, urn: &str, input: &Collection, element: Element) -> Collection {
        let output = self.build.collection(&format!("{name}.output"), element, input.windows, true);
        self.build.transform(name, urn, Vec::new(), &[("input", input)], &[("output", &output)]);
        output
    }

    /// The user's function.
    fn udf(
        &mut self,
        name: &str,
        wasm: &str,
        native: &str,
        input: &Collection,
        tag: &str,
        element: Element,
    ) -> Collection {
        let Function::Wasm(component) = self.function else { return self.native(name, native, input, element) };
        let output = self.build.collection(&format!("{name}.{tag}"), element, input.windows, true);
        let component = component.to_string_lossy().into_owned();
        let tables = std::mem::take(&mut self.tables);
        let call = WasmCall { component, function: wasm.to_owned(), tables, ..WasmCall::default() };
        self.build.native(name, urn::WASM, &call, &[("input", input)], &[(tag, &output)]);
        output
    }

    /// Counts by key: before the grouping, and the sum after it.
    fn count(&mut self, before: &str, input: &Collection) -> Collection {
        let partial = self.native("Partial", before, input, Element::kv(Element::String, Element::Int64));
        let list = Element::kv(Element::String, Element::iterable(Element::Int64));
        let grouped = self.native("Group", urn::GROUP_BY_KEY, &partial, list);
        self.native("Sum", functions::SUM, &grouped, Element::kv(Element::String, Element::Int64))
    }
}
