//! Kafka as schema transforms: rows in and out, as Beam YAML and managed transforms ask for them.
//!
//! Source: `KafkaReadSchemaTransformProvider`, `KafkaWriteSchemaTransformProvider`, `standard_io.yaml`.

use super::{error_handling, error_schema, json, kafka, offer, rows, sole_text_field, take_error_output, text_map};
use crate::compose::payload::{KafkaSink, KafkaSource};
use crate::native::payload::{CreateRows, ParseJson, WrapValue};
use crate::native::urn as function;
use crate::pipeline::urn;
use crate::row::{FieldType, Schema, to_proto};
use thalweg_beam::expansion::{Expansion, Offer, Options, Request};
use thalweg_beam::urn::coder;
use thalweg_core::error::{Error, Result};
use thalweg_io::kafka::{Limit, RecordTime, SinkElement, SourceElement};

/// Reads a topic as rows.
pub const READ: &str = "beam:schematransform:org.apache.beam:kafka_read:v1";
/// Writes rows to a topic.
pub const WRITE: &str = "beam:schematransform:org.apache.beam:kafka_write:v1";

const FORMATS: &str = "choose RAW, STRING or JSON; other formats: read or write RAW and convert in a function";

/// What is discovered.
pub fn offers() -> Vec<Offer> {
    use FieldType::{Int32, String};
    let read = [
        ("auto_offset_reset_config", String, false),
        ("bootstrap_servers", String, true),
        ("confluent_schema_registry_subject", String, false),
        ("confluent_schema_registry_url", String, false),
        ("consumer_config_updates", text_map(), false),
        ("error_handling", error_handling(), false),
        ("file_descriptor_path", String, false),
        ("format", String, false),
        ("max_read_time_seconds", Int32, false),
        ("message_name", String, false),
        ("schema", String, false),
        ("topic", String, true),
    ];
    let write = [
        ("bootstrap_servers", String, true),
        ("error_handling", error_handling(), false),
        ("file_descriptor_path", String, false),
        ("format", String, true),
        ("message_name", String, false),
        ("producer_config_updates", text_map(), false),
        ("schema", String, false),
        ("topic", String, true),
    ];
    vec![
        offer(READ, "Reads a Kafka topic as rows; formats RAW, STRING and JSON.", &read, &[], &["output", "errors"]),
        offer(WRITE, "Writes rows to a Kafka topic; formats RAW, STRING and JSON.", &write, &["input"], &["errors"]),
    ]
}

/// A format in capital letters.
fn format(options: &mut Options) -> Result<String> {
    Ok(options.text("format")?.unwrap_or_else(|| "RAW".to_owned()).to_uppercase())
}

fn other_format(options: &Options, format: &str) -> Error {
    options.wrong("format", &format!("is {format}, which is not known without a JVM")).help(FORMATS)
}

/// Options of formats that are not known.
fn no_other_formats(options: &mut Options) -> Result<()> {
    options.refuse(
        &["confluent_schema_registry_subject", "confluent_schema_registry_url", "file_descriptor_path", "message_name"],
        "belongs to a format that is not known without a JVM",
        FORMATS,
    )
}

/// Reads a topic.
pub fn read(request: &Request, mut options: Options, out: &mut Expansion) -> Result<()> {
    request.no_input()?;
    let format = format(&mut options)?;
    let errors = take_error_output(&mut options)?;
    no_other_formats(&mut options)?;
    let topic = options.need_text("topic")?;
    let reset = options.text("auto_offset_reset_config")?;
    let seconds = options.count("max_read_time_seconds")?;
    let schema = options.text("schema")?;
    let source = KafkaSource {
        properties: options.map("consumer_config_updates")?,
        start: kafka::reset(&options, "auto_offset_reset_config", reset.as_deref())?,
        limit: Limit { millis: seconds.map(|s| s.saturating_mul(1000)), ..Limit::default() },
        time: Some(RecordTime::Processing),
        ..KafkaSource::new(&options.need_text("bootstrap_servers")?, &topic)
    };
    let payload = |kind| Schema::of([("payload", kind)]);
    match (format.as_str(), schema) {
        ("RAW", None) => {
            options.finish()?;
            whole(&KafkaSource { element: SourceElement::Payload, ..source }, &payload(FieldType::Bytes), out);
            no_errors(errors.as_deref(), out);
        }
        ("STRING", None) => {
            options.finish()?;
            let wrap = WrapValue { kind: FieldType::String };
            in_two(&source, &payload(FieldType::String), function::WRAP_VALUE, json(&wrap), None, out);
            no_errors(errors.as_deref(), out);
        }
        ("RAW" | "STRING", Some(_)) => {
            return Err(options
                .wrong("schema", &format!("says nothing about the format {format}"))
                .help("leave it out"));
        }
        ("JSON", Some(text)) => {
            let schema = super::json_schema(&text).map_err(|why| options.wrong("schema", &why))?;
            options.finish()?;
            if errors.is_none() {
                whole(&KafkaSource { element: SourceElement::Json(schema.clone()), ..source }, &schema, out);
            } else {
                let parse = ParseJson { output: schema.clone(), from: topic, errors: errors.clone() };
                in_two(&source, &schema, function::PARSE_JSON, json(&parse), errors.as_deref(), out);
            }
        }
        ("JSON", None) => {
            return Err(options.wrong("schema", "is needed with the format JSON").help(
                "add a JSON schema: {\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\"}}}",
            ));
        }
        _ => return Err(other_format(&options, &format)),
    }
    Ok(())
}

/// A source that gives the rows itself.
fn whole(source: &KafkaSource, schema: &Schema, out: &mut Expansion) {
    let coder = out.row_coder(&to_proto(schema));
    let rows = out.collection("Read.output", &coder, source.bounded());
    out.step("Read", urn::SOURCE_KAFKA, json(source), &[], &[("output", &rows)]);
    out.output("output", &rows);
}

/// A source of bytes, and a function that makes rows of them.
fn in_two(
    source: &KafkaSource,
    schema: &Schema,
    urn: &str,
    payload: Vec<u8>,
    errors: Option<&str>,
    out: &mut Expansion,
) {
    let bytes = out.coder(coder::BYTES, &[]);
    let records = out.collection("Read.output", &bytes, source.bounded());
    let source = KafkaSource { element: SourceElement::Value, ..source.clone() };
    out.step("Read", urn::SOURCE_KAFKA, json(&source), &[], &[("output", &records)]);
    let coder = out.row_coder(&to_proto(schema));
    let rows = out.collection("Parse.output", &coder, source.bounded());
    let mut outputs = vec![("output".to_owned(), rows)];
    if let Some(tag) = errors {
        let coder = out.row_coder(&to_proto(&error_schema()));
        outputs.push((tag.to_owned(), out.collection("Parse.errors", &coder, source.bounded())));
    }
    let ends: Vec<(&str, &str)> = outputs.iter().map(|(tag, id)| (tag.as_str(), id.as_str())).collect();
    out.step("Parse", urn, payload, &[("input", &records)], &ends);
    outputs.iter().for_each(|(tag, id)| out.output(tag, id));
}

/// The error output of a transform in which nothing can fail: it is there, and empty.
fn no_errors(tag: Option<&str>, out: &mut Expansion) {
    let Some(tag) = tag else { return };
    let bytes = out.coder(coder::BYTES, &[]);
    let start = out.collection("Errors/Impulse.output", &bytes, true);
    out.step("Errors/Impulse", urn::IMPULSE, Vec::new(), &[], &[("output", &start)]);
    let coder = out.row_coder(&to_proto(&error_schema()));
    let none = out.collection("Errors.output", &coder, true);
    let payload = CreateRows { schema: Schema::default(), rows: Vec::new() };
    out.step("Errors", function::CREATE, json(&payload), &[("input", &start)], &[("output", &none)]);
    out.output(tag, &none);
}

/// Writes a topic.
pub fn write(request: &Request, mut options: Options, out: &mut Expansion) -> Result<()> {
    let (_, schema) = rows(request)?;
    let format = format(&mut options)?;
    let errors = take_error_output(&mut options)?;
    no_other_formats(&mut options)?;
    options.refuse(&["schema"], "belongs to a format that is not known without a JVM", FORMATS)?;
    let element = match format.as_str() {
        "JSON" => SinkElement::Json { schema, key: None },
        "RAW" | "STRING" => {
            sole_text_field(request, &schema)?;
            SinkElement::Payload
        }
        _ => return Err(other_format(&options, &format)),
    };
    let (servers, topic) = (options.need_text("bootstrap_servers")?, options.need_text("topic")?);
    let properties = options.map("producer_config_updates")?;
    let payload = KafkaSink { properties, ..KafkaSink::new(&servers, &topic, element) };
    options.finish()?;
    super::sink(request, urn::SINK_KAFKA, &payload, out)?;
    no_errors(errors.as_deref(), out);
    Ok(())
}
