//! Native sources: from a URN and its payload to something that shards can open.

use super::payload::{KafkaSource as KafkaPayload, Record, StartAt, StopAt, TextSource as TextPayload};
use super::{Connectors, Settings, payload_of};
use crate::pipeline::urn;
use crate::runtime::{OpenSource, SourceSpec};
use std::path::PathBuf;
use std::sync::Arc;
use thalweg_beam::translate::NativeSpec;
use thalweg_core::error::{Error, Result};
use thalweg_io::file::{FileList, LineElement, TextConfig, TextSource};
use thalweg_io::kafka::{KafkaSource, KafkaSourceConfig, KafkaSplits, RecordTime, SourceElement, Start};

/// Where the times of an endless topic's own records are the event times: how much earlier than the newest record of its
/// partition another one may be, in milliseconds.
const OUT_OF_ORDER_MS: u32 = 10_000;

/// A source, and how many rows there are to read if that is known.
pub struct Found {
    /// For the runtime.
    pub spec: SourceSpec,
    /// For a progress bar.
    pub rows: Option<u64>,
    /// The files it reads, by their real paths.
    pub files: Vec<PathBuf>,
}

/// Whether anyone knows a source.
pub fn known(urn: &str, connectors: &Connectors) -> bool {
    [urn::SOURCE_TEXT, urn::SOURCE_KAFKA].contains(&urn) || connectors.source(urn).is_some()
}

/// The source of a spec. Looks for its splits now, so that what is not there fails the job before it starts.
pub fn source(spec: &NativeSpec, settings: &Settings, connectors: &Connectors) -> Result<Found> {
    let found = match spec.urn.as_str() {
        urn::SOURCE_TEXT => text(&payload_of::json(&spec.payload, &spec.name)?),
        urn::SOURCE_KAFKA => kafka(payload_of::json(&spec.payload, &spec.name)?, settings),
        other => match connectors.source(other) {
            Some(make) => make(spec).map(|spec| Found { spec, rows: None, files: Vec::new() }),
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
    Ok(Found { spec: SourceSpec { splits, open }, rows: None, files: read })
}

fn kafka(payload: KafkaPayload, settings: &Settings) -> Result<Found> {
    let bounded = payload.stop == StopAt::EndOffsets;
    let config = KafkaSourceConfig {
        client: settings.kafka_client(&payload.bootstrap_servers, payload.properties),
        topics: vec![payload.topic],
        element: match payload.element {
            Record::KeyValue => SourceElement::KeyValue,
            Record::Value => SourceElement::Value,
            Record::Payload => SourceElement::Payload,
            Record::Json(schema) => SourceElement::Json(schema),
        },
        // of an endless topic nothing else would ever move the watermark
        time: if bounded { RecordTime::None } else { RecordTime::Record { out_of_order_ms: OUT_OF_ORDER_MS } },
        start: match payload.start {
            StartAt::Earliest => Start::Earliest,
            StartAt::Latest => Start::Latest,
        },
        bounded,
    };
    let found = KafkaSplits::discover(&config)?;
    let (splits, rows) = (found.splits(), bounded.then(|| found.records()));
    let open: OpenSource = Arc::new(move || Ok(Box::new(KafkaSource::new(config.clone(), found.clone())?)));
    Ok(Found { spec: SourceSpec { splits, open }, rows, files: Vec::new() })
}
