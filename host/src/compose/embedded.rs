//! Sources and sinks that say `embedded` in place of a cluster's servers: topics of the log in the job's own store.
//!
//! In: the payloads of Kafka's sources and sinks. What concerns clients and groups means nothing here: positions are the job's
//! own, and no group has offsets.

use super::payload::{KafkaSink, KafkaSource, StopAt};
use super::sources::{Found, OUT_OF_ORDER_MS};
use super::{Schemas, payload_of};
use crate::pipeline::urn;
use crate::runtime::{OpenSource, SourceSpec};
use serde::Deserialize;
use std::sync::Arc;
use thalweg_beam::translate::{NativeSpec, Translation};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::SplitId;
use thalweg_core::port::log::{EMBEDDED, Log};
use thalweg_core::port::sink::Sink;
use thalweg_io::kafka::RecordTime;
use thalweg_io::kafka::embedded::{LimitedLogSource, LogSink, LogSinkConfig, LogSource, LogSourceConfig, LogSplits};

/// Bytes that one epoch writes to the log: as much as to a cluster.
const EPOCH_BYTES_MAX: usize = 256 << 20;

/// The part of a payload that says where its topics are.
#[derive(Deserialize)]
struct Servers {
    bootstrap_servers: String,
}

/// Whether a source or sink is of the embedded log.
///
/// # Errors
/// `NATIVE_PAYLOAD`.
pub fn is_embedded(spec: &NativeSpec) -> Result<bool> {
    if ![urn::SOURCE_KAFKA, urn::SINK_KAFKA].contains(&spec.urn.as_str()) {
        return Ok(false);
    }
    let servers: Servers = payload_of::json(&spec.payload, &spec.name)?;
    Ok(servers.bootstrap_servers == EMBEDDED)
}

/// Whether any source or sink of a pipeline is.
///
/// # Errors
/// `NATIVE_PAYLOAD`.
pub fn any(translation: &Translation) -> Result<bool> {
    let all = translation.sources.iter().chain(&translation.sinks);
    all.map(is_embedded).try_fold(false, |any, one| Ok(any | one?))
}

/// The log of a job that has to have one.
///
/// # Errors
/// `LOG_MISSING`.
pub fn needed(log: Option<&Arc<dyn Log>>) -> Result<Arc<dyn Log>> {
    log.cloned().ok_or_else(|| {
        Error::user("LOG_MISSING", "topics of the embedded log are kept in a state directory, and the job has none")
            .help("give one with --state-dir DIR, or read and write a cluster")
    })
}

/// The source of a payload.
pub fn source(payload: KafkaSource, log: Option<&Arc<dyn Log>>) -> Result<Found> {
    let log = needed(log)?;
    let bounded = payload.stop == StopAt::EndOffsets;
    // of an endless topic nothing else would ever move the watermark
    let ends = payload.bounded();
    let usual = if ends { RecordTime::None } else { RecordTime::Record { out_of_order_ms: OUT_OF_ORDER_MS } };
    let time = match payload.time.unwrap_or(usual) {
        // the log keeps a record's own time; without one it is that of appending
        RecordTime::Append => RecordTime::Record { out_of_order_ms: 0 },
        time => time,
    };
    let (topics, element, start, limit) = (payload.topics, payload.element, payload.start, payload.limit);
    let config = LogSourceConfig { topics, element, time, start, bounded };
    let splits = LogSplits::discover(log.as_ref(), &config)?;
    let rows = bounded.then(|| splits.records());
    let spec = if limit.ends() {
        let open: OpenSource = Arc::new(move || {
            Ok(Box::new(LimitedLogSource::new(Arc::clone(&log), config.clone(), splits.clone(), limit)?))
        });
        SourceSpec::new(vec![SplitId(0)], open)
    } else {
        let all = splits.splits();
        let open: OpenSource =
            Arc::new(move || Ok(Box::new(LogSource::new(Arc::clone(&log), config.clone(), splits.clone())?)));
        SourceSpec::new(all, open)
    };
    Ok(Found { rows: rows.map(|n| n.min(limit.records.unwrap_or(n))), ..Found::from(spec) })
}

/// The sink of a payload.
pub fn sink(payload: KafkaSink, schemas: &Schemas, log: Option<&Arc<dyn Log>>) -> Result<Box<dyn Sink>> {
    let registry = schemas.of(payload.schema_registry.as_deref())?;
    let config = LogSinkConfig {
        topic: payload.topic,
        element: payload.element,
        partitioner: payload.partitioner.unwrap_or_default(),
        epoch_bytes_max: EPOCH_BYTES_MAX,
    };
    Ok(Box::new(LogSink::new(needed(log)?, config)?.with_schemas(registry)))
}
