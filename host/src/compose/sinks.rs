//! Native sinks: from a URN and its payload to something that the epoch writer drives, with a counter in front.

use super::payload::{FileSink, KafkaSink as KafkaPayload, Line};
use super::sources::unknown;
use super::{Connectors, Schemas, Settings, embedded, payload_of};
use crate::pipeline::urn;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thalweg_beam::translate::NativeSpec;
use thalweg_core::batch::Batch;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::Epoch;
use thalweg_core::port::log::Log;
use thalweg_core::port::sink::{Prepared, Sink};
use thalweg_core::time::EventTime;
use thalweg_io::file::{JsonLinesConfig, JsonLinesSink};
use thalweg_io::kafka::cluster::{ClusterSink, ClusterSinkConfig};
use thalweg_io::kafka::{Guarantee, KafkaSink, KafkaSinkConfig, Partitioner};

/// Who writes: a job, or the partition of one whose partitions run apart.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// Names the job among those that use the same cluster.
    pub job: &'a str,
    /// Which of its partitions.
    pub partition: Option<u16>,
}

/// What a run writes to one sink.
#[derive(Clone, Debug)]
pub struct SinkReport {
    /// Unique name of the transform.
    pub name: String,
    /// Where it writes.
    pub place: Place,
    rows: Arc<AtomicU64>,
}

/// Where a sink writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// To this file.
    File(String),
    /// To a topic of a cluster.
    Topic(String, String),
    /// Elsewhere: the URN of an embedder's sink.
    Other(String),
}

impl SinkReport {
    /// Rows of this run that were handed to the sink so far; live.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}

/// Refuses a sink whose file the job reads: it would cut the file before a line of it is read.
pub fn refuse_own_input(report: &SinkReport, read: &[PathBuf]) -> Result<()> {
    let Place::File(path) = &report.place else { return Ok(()) };
    match Path::new(path).canonicalize() {
        Ok(real) if read.contains(&real) => Err(Error::user(
            "FILE_READ_AND_WRITTEN",
            format!("{path} is an input of the pipeline, so nothing may write it"),
        )
        .help("write to another file")
        .in_transform(&report.name)),
        _ => Ok(()),
    }
}

/// Whether anyone knows a sink.
pub fn known(urn: &str, connectors: &Connectors) -> bool {
    [urn::SINK_FILE, urn::SINK_KAFKA, urn::SINK_DISCARD].contains(&urn) || connectors.sink(urn).is_some()
}

/// The sink of a spec. Nothing is touched yet.
pub fn sink(
    spec: &NativeSpec,
    settings: &Settings,
    connectors: &Connectors,
    schemas: &Schemas,
    writer: Writer<'_>,
    log: Option<&Arc<dyn Log>>,
) -> Result<(Box<dyn Sink>, SinkReport)> {
    let made = match spec.urn.as_str() {
        urn::SINK_KAFKA if embedded::is_embedded(spec)? => {
            let payload = kafka_payload(spec, writer)?;
            let place = Place::Topic(payload.topic.clone(), payload.bootstrap_servers.clone());
            embedded::sink(payload, schemas, log).map(|sink| (sink, place))
        }
        urn::SINK_FILE => file(payload_of::json(&spec.payload, &spec.name)?, settings),
        urn::SINK_KAFKA => kafka(kafka_payload(spec, writer)?, &spec.name, settings, schemas, writer),
        urn::SINK_DISCARD => Ok((Box::new(Discard) as Box<dyn Sink>, Place::Other(spec.urn.clone()))),
        other => match connectors.sink(other) {
            Some(make) => make(spec).map(|sink| (sink, Place::Other(other.to_owned()))),
            None => Err(unknown(spec)),
        },
    };
    let (sink, place) = made.map_err(|e| e.in_transform(&spec.name))?;
    let rows = Arc::new(AtomicU64::new(0));
    let report = SinkReport { name: spec.name.clone(), place, rows: Arc::clone(&rows) };
    Ok((Box::new(Counted { sink, rows, name: spec.name.clone() }), report))
}

fn file(payload: FileSink, settings: &Settings) -> Result<(Box<dyn Sink>, Place)> {
    if settings.commits_on.is_some() {
        return Err(Error::user(
            "CLUSTER_SINK_LOCAL",
            format!("{} is a file of one machine, the job runs on many", payload.path),
        )
        .help("write to a topic, or run the pipeline with `thalweg run`"));
    }
    let field = match payload.line {
        Line::Json => None,
        Line::Field(name) => Some(name),
    };
    let place = Place::File(payload.path.clone());
    // a job that keeps its state keeps its output as safe as that
    let durable = settings.state_dir.is_some();
    let config = JsonLinesConfig { path: payload.path.into(), schema: payload.schema, durable, field };
    Ok((Box::new(JsonLinesSink::new(&config)), place))
}

fn kafka_payload(spec: &NativeSpec, writer: Writer<'_>) -> Result<KafkaPayload> {
    let mut payload: KafkaPayload = payload_of::json(&spec.payload, &spec.name)?;
    payload.element.written_by(writer.job, writer.partition.unwrap_or_default());
    Ok(payload)
}

fn kafka(
    payload: KafkaPayload,
    name: &str,
    settings: &Settings,
    schemas: &Schemas,
    writer: Writer<'_>,
) -> Result<(Box<dyn Sink>, Place)> {
    let place = Place::Topic(payload.topic.clone(), payload.bootstrap_servers.clone());
    let registry = schemas.of(payload.schema_registry.as_deref())?;
    // whoever runs the process has the last word
    let property = |name: &str| settings.kafka.get(name).or_else(|| payload.properties.get(name));
    let guarantee = property("processing.guarantee").map_or(Ok(Guarantee::default()), |word| guarantee(word))?;
    let given = payload.partitioner.or(property("partitioner.class").and_then(|class| java_partitioner(class)));
    let partitioner = given.unwrap_or_default();
    let commits_here = settings.commits_on.as_deref() == Some(payload.bootstrap_servers.as_str());
    let client = settings.kafka_client(&payload.bootstrap_servers, payload.properties);
    // who wants no transactions wants records that all readers see at once: they go out after the commit
    if commits_here && guarantee == Guarantee::ExactlyOnceV2 {
        let config = ClusterSinkConfig { client, topic: payload.topic, element: payload.element, partitioner };
        return Ok((Box::new(ClusterSink::new(config)?.with_schemas(registry)), place));
    }
    // parts of a transactional id: letters that every cluster takes
    let clean = |text: &str| text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect::<String>();
    let partition = writer.partition.map_or_else(String::new, |partition| format!("-{partition}"));
    let config = KafkaSinkConfig {
        guarantee,
        partitioner,
        client,
        topic: payload.topic,
        app_id: format!("thalweg-{}{partition}", clean(writer.job)),
        sink: clean(name),
        element: payload.element,
        transaction_timeout_ms: 60_000,
        delivery_timeout_ms: 180_000,
        outbox_bytes_max: 256 << 20,
    };
    Ok((Box::new(KafkaSink::new(config)?.with_schemas(registry)), place))
}

/// A guarantee by the word of Kafka Streams.
fn guarantee(word: &str) -> Result<Guarantee> {
    match word {
        "exactly_once_v2" => Ok(Guarantee::ExactlyOnceV2),
        "at_least_once" => Ok(Guarantee::AtLeastOnce),
        other => Err(Error::user("KAFKA_CONFIG", format!("processing.guarantee is {other:?}, which is no guarantee"))
            .help("choose exactly_once_v2 or at_least_once")),
    }
}

/// What a partitioner of Java's client does, where that is not what happens anyway.
fn java_partitioner(class: &str) -> Option<Partitioner> {
    class.ends_with(".RoundRobinPartitioner").then_some(Partitioner::RoundRobin)
}

/// Keeps nothing.
struct Discard;

impl Sink for Discard {
    fn prepare(&mut self, _epoch: Epoch, _batches: &[Batch]) -> Result<Prepared> {
        Ok(Prepared::default())
    }
}

/// Counts what goes into a sink, and puts its name to what it complains about.
struct Counted {
    sink: Box<dyn Sink>,
    rows: Arc<AtomicU64>,
    name: String,
}

impl Sink for Counted {
    fn prepare(&mut self, epoch: Epoch, batches: &[Batch]) -> Result<Prepared> {
        let prepared = self.sink.prepare(epoch, batches).map_err(|e| e.in_transform(&self.name))?;
        self.rows.fetch_add(batches.iter().map(|b| b.len() as u64).sum(), Ordering::Relaxed);
        Ok(prepared)
    }

    fn reach(&mut self, to: EventTime) -> bool {
        self.sink.reach(to)
    }

    fn deliver(&mut self, epoch: Epoch, outbox: &[u8]) -> Result<()> {
        self.sink.deliver(epoch, outbox).map_err(|e| e.in_transform(&self.name))
    }

    fn recover(&mut self, mark: Option<&[u8]>) -> Result<Option<Epoch>> {
        self.sink.recover(mark).map_err(|e| e.in_transform(&self.name))
    }

    fn take_over(&mut self, mark: &[u8]) -> Result<Option<Epoch>> {
        self.sink.take_over(mark).map_err(|e| e.in_transform(&self.name))
    }

    fn finish(&mut self) -> Result<()> {
        self.sink.finish().map_err(|e| e.in_transform(&self.name))
    }
}
