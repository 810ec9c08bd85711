//! KafkaIO of Java under its external names: records as pairs, or as rows with all Kafka knows of them.
//!
//! Source: `KafkaIO.Read.External`, `KafkaIO.Write.External`.

use super::{json, rows, serializer};
use crate::compose::payload::{KafkaSink, KafkaSource};
use crate::pipeline::urn;
use crate::row::to_proto;
use std::collections::BTreeMap;
use thalweg_beam::expansion::{Expansion, Options, Request};
use thalweg_beam::urn::{coder, transform};
use thalweg_core::error::Result;
use thalweg_io::kafka::{DatumType, Limit, RecordTime, SinkElement, SourceElement, Start, metadata_schema};

/// Pairs of key and value.
pub const READ: &str = "beam:transform:org.apache.beam:kafka_read_without_metadata:v1";
/// Rows of a record's key, value, place, time and headers.
pub const READ_WITH_METADATA: &str = "beam:transform:org.apache.beam:kafka_read_with_metadata:v1";
/// Writes pairs of key and value.
pub const WRITE: &str = "beam:transform:org.apache.beam:kafka_write:v1";
/// Writes rows of key, value, headers and more.
pub const WRITE_WITH_HEADERS: &str = "beam:transform:org.apache.beam:kafka_write_with_headers:v1";

/// What an SDK sends when it names no class.
const BYTES_IN: &str = "org.apache.kafka.common.serialization.ByteArrayDeserializer";
const BYTES_OUT: &str = "org.apache.kafka.common.serialization.ByteArraySerializer";

/// Reads pairs.
pub fn read(request: &Request, mut options: Options, out: &mut Expansion) -> Result<()> {
    let (key, value) =
        (deserializer("key_deserializer", &mut options)?, deserializer("value_deserializer", &mut options)?);
    let (key, value) = (serializer::to_read(key), serializer::to_read(value));
    let parts = [serializer::coder_of(key, out), serializer::coder_of(value, out)];
    let coder = out.coder(coder::KV, &parts.each_ref().map(String::as_str));
    source(request, options, &coder, SourceElement::Pair { key, value }, out)
}

/// Reads rows.
pub fn read_with_metadata(request: &Request, mut options: Options, out: &mut Expansion) -> Result<()> {
    for name in ["key_deserializer", "value_deserializer"] {
        if deserializer(name, &mut options)? != DatumType::Bytes {
            return Err(options.wrong(name, "reads something else than bytes, but rows with metadata hold bytes"));
        }
    }
    let coder = out.row_coder(&to_proto(&metadata_schema()));
    source(request, options, &coder, SourceElement::Metadata, out)
}

fn deserializer(name: &'static str, options: &mut Options) -> Result<DatumType> {
    let class = options.text(name)?.unwrap_or_else(|| BYTES_IN.to_owned());
    serializer::of_class(name, &class, "Deserializer")
}

fn source(
    request: &Request,
    mut options: Options,
    coder: &str,
    element: SourceElement,
    out: &mut Expansion,
) -> Result<()> {
    request.no_input()?;
    let mut properties = options.map("consumer_config")?;
    let bootstrap_servers = servers(&options, "consumer_config", &mut properties)?;
    let topics = options.texts("topics")?;
    if topics.is_empty() {
        return Err(options.wrong("topics", "names no topic"));
    }
    let reset = reset(&options, "consumer_config", properties.get("auto.offset.reset").map(String::as_str))?;
    let start_time = options.count("start_read_time")?;
    let limit = Limit {
        records: options.count("max_num_records")?,
        millis: options.count("max_read_time")?.map(|s| s.saturating_mul(1000)),
        discover_ms: options.count("dynamic_read_poll_interval_seconds")?.map(|s| s.max(1).saturating_mul(1000)),
    };
    let time = match options.text("timestamp_policy")?.as_deref() {
        None | Some("ProcessingTime") => RecordTime::Processing,
        Some("CreateTime") => RecordTime::Record { out_of_order_ms: 0 },
        Some("LogAppendTime") => RecordTime::Append,
        Some(other) => {
            let error = options.wrong("timestamp_policy", &format!("is {other:?}, which is none of them"));
            return Err(error.help("choose ProcessingTime, CreateTime or LogAppendTime"));
        }
    };
    let named = properties.get("group.id").is_some_and(|group| !group.is_empty());
    let commit_group = options.boolean("commit_offset_in_finalize")?;
    if commit_group && !named {
        let error = options.wrong("commit_offset_in_finalize", "needs a group to commit to");
        return Err(error.help("add \"group.id\" to the consumer's configuration"));
    }
    let auto_commit = named && properties.get("enable.auto.commit").is_some_and(|on| on == "true");
    let redistribute = options.boolean("redistribute")?;
    tuning(&mut options)?;
    options.refuse(
        &["consumer_factory_fn_class", "consumer_factory_fn_params"],
        "names a class of Java, which does not run without a JVM",
        "give its result as properties in consumer_config",
    )?;
    options.finish()?;
    let payload = KafkaSource {
        bootstrap_servers,
        topics,
        properties,
        start: start_time.map_or(reset, |ms| Start::Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))),
        from_group: named && start_time.is_none(),
        commit_group: commit_group || auto_commit,
        limit,
        time: Some(time),
        element,
        ..KafkaSource::new("", "")
    };
    let bounded = payload.bounded();
    let records = out.collection("Read.output", coder, bounded);
    out.step("Read", urn::SOURCE_KAFKA, json(&payload), &[], &[("output", &records)]);
    if !redistribute {
        out.output("output", &records);
        return Ok(());
    }
    let spread = out.collection("Redistribute.output", coder, bounded);
    let (input, output) = ([("input", records.as_str())], [("output", spread.as_str())]);
    out.step("Redistribute", transform::REDISTRIBUTE_ARBITRARILY, Vec::new(), &input, &output);
    out.output("output", &spread);
    Ok(())
}

/// Options that tune Java's reader, and change nothing of what is read.
fn tuning(options: &mut Options) -> Result<()> {
    for name in ["consumer_polling_timeout", "redistribute_num_keys"] {
        options.count(name)?;
    }
    for name in ["allow_duplicates", "offset_deduplication", "redistribute_by_record_key"] {
        options.boolean(name)?;
    }
    Ok(())
}

/// The address of the cluster, out of the properties.
pub fn servers(options: &Options, name: &str, properties: &mut BTreeMap<String, String>) -> Result<String> {
    let servers = properties.remove("bootstrap.servers").filter(|servers| !servers.is_empty());
    servers.ok_or_else(|| {
        options.wrong(name, "does not say where the cluster is").help("add \"bootstrap.servers\": \"host:port\"")
    })
}

/// Where a partition that nobody has read begins.
pub fn reset(options: &Options, name: &str, word: Option<&str>) -> Result<Start> {
    match word {
        Some("earliest") => Ok(Start::Earliest),
        None | Some("latest") => Ok(Start::Latest),
        Some(other) => {
            let error = options.wrong(name, &format!("lets reading begin at {other:?}, which is no place"));
            Err(error.help("choose earliest or latest"))
        }
    }
}

/// Writes pairs.
pub fn write(request: &Request, mut options: Options, out: &mut Expansion) -> Result<()> {
    let input = request.input()?;
    let (coder::KV, [key_coder, value_coder]) = request.coder(&input.coder) else {
        let why = "takes pairs of key and value. Declare them, in Python with .with_output_types(tuple[bytes, bytes])";
        return Err(request.wrong_input(why));
    };
    let mut datum = |part: &str, name: &'static str, coder: &str| {
        let class = options.text(name)?.unwrap_or_else(|| BYTES_OUT.to_owned());
        serializer::to_write(request, part, coder, serializer::of_class(name, &class, "Serializer")?)
    };
    let key = datum("key", "key_serializer", key_coder)?;
    let value = datum("value", "value_serializer", value_coder)?;
    sink(request, options, SinkElement::Pair { key, value }, out)
}

/// Writes rows.
pub fn write_with_headers(request: &Request, mut options: Options, out: &mut Expansion) -> Result<()> {
    for name in ["key_serializer", "value_serializer"] {
        let class = options.text(name)?.unwrap_or_else(|| BYTES_OUT.to_owned());
        if serializer::of_class(name, &class, "Serializer")? != DatumType::Bytes {
            return Err(options.wrong(name, "writes something else than bytes, but rows with headers hold bytes"));
        }
    }
    let (_, schema) = rows(request)?;
    let element = SinkElement::Row(schema);
    element.check()?;
    sink(request, options, element, out)
}

fn sink(request: &Request, mut options: Options, element: SinkElement, out: &mut Expansion) -> Result<()> {
    let mut properties = options.map("producer_config")?;
    let bootstrap_servers = servers(&options, "producer_config", &mut properties)?;
    let topic = options.need_text("topic")?;
    options.finish()?;
    let payload = KafkaSink { properties, ..KafkaSink::new(&bootstrap_servers, &topic, element) };
    super::sink(request, urn::SINK_KAFKA, &payload, out)
}
