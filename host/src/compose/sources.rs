//! Native sources: from a URN and its payload to something that shards can open.

use super::payload::{KafkaSource as KafkaPayload, StopAt, TextSource as TextPayload};
use super::{Connectors, Schemas, Settings, embedded, payload_of};
use crate::pipeline::urn;
use crate::runtime::{OpenSource, SourceSpec};
use std::path::PathBuf;
use std::sync::Arc;
use thalweg_beam::translate::NativeSpec;
use thalweg_core::error::{Error, Result};
use thalweg_core::port::log::Log;
use thalweg_io::file::{FileList, LineElement, TextConfig, TextSource};
use thalweg_io::kafka::{GroupOffsets, KafkaSource, KafkaSourceConfig, KafkaSplits, MergedKafkaSource, RecordTime};

/// Where the times of an endless topic's own records are the event times: how much earlier than the newest record of its
/// partition another one may be, in milliseconds.
pub(super) const OUT_OF_ORDER_MS: u32 = 10_000;

/// How often an endless source looks for new partitions, in milliseconds, if nobody says anything else. Source: `metadata.max.age.ms` of
/// Java's consumer.
const DISCOVER_MS: u64 = 300_000;

/// A source, and how many rows there are to read if that is known.
pub struct Found {
    /// For the runtime.
    pub spec: SourceSpec,
    /// For a progress bar.
    pub rows: Option<u64>,
    /// The files it reads, by their real paths.
    pub files: Vec<PathBuf>,
    /// Told of its positions once they are committed.
    pub mirror: Option<GroupOffsets>,
}

impl From<SourceSpec> for Found {
    fn from(spec: SourceSpec) -> Self {
        Self { spec, rows: None, files: Vec::new(), mirror: None }
    }
}

/// Whether anyone knows a source.
pub fn known(urn: &str, connectors: &Connectors) -> bool {
    [urn::SOURCE_TEXT, urn::SOURCE_KAFKA].contains(&urn) || connectors.source(urn).is_some()
}

/// The source of a spec. Looks for its splits now, so that what is not there fails the job before it starts.
pub fn source(
    spec: &NativeSpec,
    settings: &Settings,
    connectors: &Connectors,
    schemas: &Schemas,
    log: Option<&Arc<dyn Log>>,
) -> Result<Found> {
    let found = match spec.urn.as_str() {
        urn::SOURCE_KAFKA if embedded::is_embedded(spec)? => {
            embedded::source(payload_of::json(&spec.payload, &spec.name)?, log)
        }
        urn::SOURCE_TEXT => text(&payload_of::json(&spec.payload, &spec.name)?),
        urn::SOURCE_KAFKA => kafka(payload_of::json(&spec.payload, &spec.name)?, settings, schemas),
        other => match connectors.source(other) {
            Some(make) => make(spec).map(Found::from),
            None => Err(unknown(spec)),
        },
    };
    found.map_err(|e| e.in_transform(&spec.name))
}

/// A URN that this version does not have.
pub fn unknown(spec: &NativeSpec) -> Error {
    Error::user(
        "NATIVE_UNKNOWN",
        format!("{} is a {:?}, which this version of Thalweg does not have", spec.name, spec.urn),
    )
    .help("check the name, or use the version of Thalweg that the pipeline was written for")
    .in_transform(&spec.name)
}

fn text(payload: &TextPayload) -> Result<Found> {
    let files = FileList::find(std::slice::from_ref(&payload.path))?;
    let element = match payload.row_number {
        _ if payload.plain => LineElement::String,
        None => LineElement::Row,
        // the encoding of a row does not hold the names of its fields
        Some(_) => LineElement::NumberedRow,
    };
    let config = TextConfig { skip_header_lines: payload.skip_header_lines, element, ..TextConfig::default() };
    let splits = files.splits();
    let read = splits.iter().filter_map(|split| files.path(*split)?.canonicalize().ok()).collect();
    let open: OpenSource = Arc::new(move || Ok(Box::new(TextSource::new(config.clone(), files.clone()))));
    Ok(Found { files: read, ..Found::from(SourceSpec::new(splits, open)) })
}

fn kafka(payload: KafkaPayload, settings: &Settings, schemas: &Schemas) -> Result<Found> {
    let ends = payload.bounded();
    let bounded = payload.stop != StopAt::Never;
    let stop_ms = if let StopAt::Timestamp(ms) = payload.stop { Some(ms) } else { None };
    let age = payload.properties.get("metadata.max.age.ms").and_then(|ms| ms.trim().parse().ok());
    let discover_ms = payload.limit.discover_ms.or(age).unwrap_or(DISCOVER_MS);
    // of an endless topic nothing else would ever move the watermark
    let usual = if ends { RecordTime::None } else { RecordTime::Record { out_of_order_ms: OUT_OF_ORDER_MS } };
    let config = KafkaSourceConfig {
        client: settings.kafka_client(&payload.bootstrap_servers, payload.properties),
        topics: payload.topics,
        element: payload.element,
        time: payload.time.unwrap_or(usual),
        start: payload.start,
        from_group: payload.from_group,
        bounded,
        stop_ms,
        idle_after_ms: payload.idle_after_ms,
        discover_ms: Some(discover_ms),
    };
    let schemas = schemas.of(payload.schema_registry.as_deref())?;
    let found = KafkaSplits::discover(&config)?;
    let mirror = payload.commit_group.then(|| GroupOffsets::new(&config.client, found.clone())).transpose()?;
    let rows = bounded.then(|| found.records());
    let limit = payload.limit;
    let spec = if !limit.ends() {
        let splits = found.splits();
        let open: OpenSource = Arc::new(move || {
            let source = KafkaSource::new(config.clone(), found.clone())?;
            Ok(Box::new(source.with_schemas(schemas.clone())))
        });
        let spec = SourceSpec::new(splits, open);
        if bounded { spec } else { spec.growing() }
    } else {
        let open: OpenSource = Arc::new(move || {
            let source = MergedKafkaSource::new(config.clone(), found.clone(), limit)?;
            Ok(Box::new(source.with_schemas(schemas.clone())))
        });
        SourceSpec::new(MergedKafkaSource::splits(), open)
    };
    Ok(Found { rows: rows.map(|n| n.min(limit.records.unwrap_or(n))), mirror, ..Found::from(spec) })
}
