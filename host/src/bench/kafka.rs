//! The workloads between two Kafka topics. Records are a text as the key and a `long` as the value, as Kafka's own serializers write them.
//!
//! | workload | pipeline |
//! |---|---|
//! | W2 | topic -> *pass* -> windows of one minute -> *number* per key and window -> topic |
//! | W4 | topic -> *count so far, per key* -> topic |
//! | latency | topic -> *pass* -> *number* per key, told at every record -> topic |
//!
//! All functions are components: so the same pipeline runs here and on a server, which knows nothing of the benchmark.

use crate::compose::payload::{KafkaSink, KafkaSource, StopAt, WasmCall};
use crate::pipeline::{Collection, Element, PipelineBuilder, Windows, urn};
use std::path::Path;
use thalweg_io::kafka::{Datum, DatumType, RecordTime, SinkElement, SourceElement, Start};
use thalweg_proto::pipeline::{Pipeline, Trigger, WindowingStrategy, accumulation_mode, trigger};

/// How much earlier than the latest record of its partition another may be: as the input was made.
const LATE_MS: u32 = 10_000;

/// What is done between the topics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Counts per key and minute.
    W2,
    /// Each record with the count of its key so far, in state.
    W4,
    /// Counts per key, told whenever they change: for taking the time from record to record.
    Latency,
}

/// Where records come from and go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topics {
    /// `host:port` of the brokers.
    pub bootstrap: String,
    /// The topic that is read, from its beginning.
    pub from: String,
    /// The topic that is written.
    pub to: String,
    /// Whether it goes on at the end of the topic.
    pub endless: bool,
}

/// Builds the pipeline.
#[must_use]
pub fn pipeline(flow: Flow, component: &Path, topics: &Topics) -> Pipeline {
    let datum = |kind| Datum { kind, nullable: false };
    let (key, value) = (datum(DatumType::String), datum(DatumType::Long));
    let mut build = Build { build: PipelineBuilder::new(), component: component.to_string_lossy().into_owned() };
    let source = KafkaSource {
        start: Start::Earliest,
        stop: if topics.endless { StopAt::Never } else { StopAt::EndOffsets },
        time: Some(RecordTime::Record { out_of_order_ms: LATE_MS }),
        element: SourceElement::Pair { key, value },
        ..KafkaSource::new(&topics.bootstrap, &topics.from)
    };
    let records = build.build.collection("Read.output", pair(), Windows::Global, source.bounded());
    build.build.native("Read", urn::SOURCE_KAFKA, &source, &[], &[("output", &records)]);
    let results = match flow {
        Flow::W4 => build.call("Count", "count", "counts", &records),
        Flow::Latency => {
            let passed = build.call("Pass", "pass", "passed", &records);
            build.call("Number", "number", "output", &passed)
        }
        Flow::W2 => {
            let passed = build.call("Pass", "pass", "passed", &records);
            let minutes = Windows::Fixed { size: 60_000, offset: 0 };
            let windowed = build.build.collection("Minutes.output", pair(), minutes, passed.bounded);
            build.build.window_into("Minutes", &passed, &windowed);
            build.call("Number", "number", "output", &windowed)
        }
    };
    let sink = KafkaSink::new(&topics.bootstrap, &topics.to, SinkElement::Pair { key, value });
    build.build.native("Write", urn::SINK_KAFKA, &sink, &[("input", &results)], &[]);
    let mut pipeline = build.build.finish();
    if flow == Flow::Latency {
        let strategies = pipeline.components.as_mut().map(|components| components.windowing_strategies.values_mut());
        strategies.into_iter().flatten().for_each(at_every_element);
    }
    pipeline
}

struct Build {
    build: PipelineBuilder,
    component: String,
}

impl Build {
    /// A function of the component, pairs to pairs.
    fn call(&mut self, name: &str, function: &str, tag: &str, input: &Collection) -> Collection {
        let output = self.build.collection(&format!("{name}.{tag}"), pair(), input.windows, input.bounded);
        let call = WasmCall { component: self.component.clone(), function: function.to_owned(), ..WasmCall::default() };
        self.build.native(name, urn::WASM, &call, &[("input", input)], &[(tag, &output)]);
        output
    }
}

fn pair() -> Element {
    Element::kv(Element::String, Element::Int64)
}

/// Results so far, whenever there is an element.
fn at_every_element(strategy: &mut WindowingStrategy) {
    let one = Trigger { trigger: Some(trigger::Trigger::ElementCount(trigger::ElementCount { element_count: 1 })) };
    let again = trigger::Repeat { subtrigger: Some(Box::new(one)) };
    strategy.trigger = Some(Trigger { trigger: Some(trigger::Trigger::Repeat(Box::new(again))) });
    strategy.accumulation_mode = accumulation_mode::Enum::Accumulating as i32;
}
