//! Kafka as schema transforms: rows in and out, as Beam YAML and managed transforms ask for them.
//!
//! Source: `KafkaReadSchemaTransformProvider`, `KafkaWriteSchemaTransformProvider`, `standard_io.yaml`.

use super::{error_handling, error_schema, json, kafka, offer, rows, sole_text_field, take_error_output, text_map};
use crate::compose::payload::{KafkaSink, KafkaSource};
use crate::native::payload::{CreateRows, DecodeRecords, WrapValue, dead_record_schema};
use crate::native::urn as function;
use crate::pipeline::urn;
use crate::row::{FieldType, Schema, to_proto};
use thalweg_beam::expansion::{Expansion, Offer, Options, Request};
use thalweg_beam::urn::coder;
use thalweg_core::error::{Error, Result};
use thalweg_io::format::Format;
use thalweg_io::kafka::{DeadLetterFrom, Limit, RecordTime, SinkElement, SourceElement, metadata_schema};

/// Reads a topic as rows.
pub const READ: &str = "beam:schematransform:org.apache.beam:kafka_read:v1";
/// Writes rows to a topic.
pub const WRITE: &str = "beam:schematransform:org.apache.beam:kafka_write:v1";

const FORMATS: &str =
    "choose RAW, STRING, JSON, AVRO or PROTO; other formats: read or write RAW and convert in a function";

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
        ("confluent_schema_registry_url", String, false),
        ("error_handling", error_handling(), false),
        ("file_descriptor_path", String, false),
        ("format", String, true),
        ("message_name", String, false),
        ("producer_config_updates", text_map(), false),
        ("schema", String, false),
        ("topic", String, true),
    ];
    vec![
        offer(
            READ,
            "Reads a Kafka topic as rows; formats RAW, STRING, JSON, AVRO and PROTO.",
            &read,
            &[],
            &["output", "errors"],
        ),
        offer(
            WRITE,
            "Writes rows to a Kafka topic; formats RAW, STRING, JSON, AVRO, PROTO and DEAD_LETTER.",
            &write,
            &["input"],
            &["errors"],
        ),
    ]
}

/// A format in capital letters.
fn format(options: &mut Options) -> Result<String> {
    Ok(options.text("format")?.unwrap_or_else(|| "RAW".to_owned()).to_uppercase())
}

fn other_format(options: &Options, format: &str) -> Error {
    options.wrong("format", &format!("is {format}, which is not known without a JVM")).help(FORMATS)
}

/// What values hold, where it is more than bytes, and the registry in whose frame they stand.
struct Asked {
    schema: Option<String>,
    message: Option<String>,
    registry: Option<String>,
}

impl Asked {
    fn of(options: &mut Options) -> Result<Self> {
        options.refuse(
            &["confluent_schema_registry_subject"],
            "has a schema asked for while the pipeline is made, which does not happen here",
            "give the fields that are to be read as `schema`; records name the schema they were written with",
        )?;
        options.refuse(
            &["file_descriptor_path"],
            "names a file, which this service does not read for others",
            "give the text of the .proto file as `schema`",
        )?;
        Ok(Self {
            schema: options.text("schema")?,
            message: options.text("message_name")?,
            registry: options.text("confluent_schema_registry_url")?,
        })
    }

    /// Refuses what means nothing with a format that is not taken apart.
    fn nothing(&self, options: &Options, format: &str) -> Result<()> {
        let given = [
            ("schema", &self.schema),
            ("message_name", &self.message),
            ("confluent_schema_registry_url", &self.registry),
        ];
        match given.into_iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) => {
                Err(options.wrong(name, &format!("says nothing about the format {format}")).help("leave it out"))
            }
            None => Ok(()),
        }
    }

    fn format(&self, options: &Options, format: &str) -> Result<Format> {
        let text = self.schema.clone().ok_or_else(|| {
            options.wrong("schema", &format!("is needed with the format {format}")).help(match format {
                "AVRO" => "add the Avro schema of a record",
                "PROTO" => "add the text of a .proto file",
                _ => "add a JSON schema: {\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\"}}}",
            })
        })?;
        match format {
            "AVRO" => Ok(Format::Avro { schema: text }),
            "PROTO" => Ok(Format::Proto { schema: text, message: self.message.clone() }),
            _ => super::json_schema(&text).map(Format::Json).map_err(|why| options.wrong("schema", &why)),
        }
    }
}

/// Reads a topic.
pub fn read(request: &Request, mut options: Options, out: &mut Expansion) -> Result<()> {
    request.no_input()?;
    let format = format(&mut options)?;
    let errors = take_error_output(&mut options)?;
    let asked = Asked::of(&mut options)?;
    let topic = options.need_text("topic")?;
    let reset = options.text("auto_offset_reset_config")?;
    let seconds = options.count("max_read_time_seconds")?;
    let source = KafkaSource {
        properties: options.map("consumer_config_updates")?,
        start: kafka::reset(&options, "auto_offset_reset_config", reset.as_deref())?,
        limit: Limit { millis: seconds.map(|s| s.saturating_mul(1000)), ..Limit::default() },
        time: Some(RecordTime::Processing),
        ..KafkaSource::new(&options.need_text("bootstrap_servers")?, &topic)
    };
    let payload = |kind| Schema::of([("payload", kind)]);
    match format.as_str() {
        "RAW" => {
            asked.nothing(&options, &format)?;
            options.finish()?;
            whole(&KafkaSource { element: SourceElement::Payload, ..source }, &payload(FieldType::Bytes), out);
            no_errors(errors.as_deref(), out);
        }
        "STRING" => {
            asked.nothing(&options, &format)?;
            options.finish()?;
            let source = KafkaSource { element: SourceElement::Value, ..source };
            let wrap = json(&WrapValue { kind: FieldType::String });
            in_two(&source, None, &payload(FieldType::String), function::WRAP_VALUE, wrap, None, out);
            no_errors(errors.as_deref(), out);
        }
        "JSON" | "AVRO" | "PROTO" => {
            let held = asked.format(&options, &format)?;
            options.finish()?;
            let row = held.row()?;
            if let (Format::Json(_), None, None) = (&held, &errors, &asked.registry) {
                whole(&KafkaSource { element: SourceElement::Json(row.clone()), ..source }, &row, out);
                return Ok(());
            }
            let schema_registry = asked.registry.clone().filter(|_| format == "AVRO");
            let source = KafkaSource { element: SourceElement::Metadata, schema_registry, ..source };
            let decode = DecodeRecords { format: held, registry: asked.registry, errors: errors.clone() };
            let records = Some(&metadata_schema());
            in_two(&source, records, &row, function::DECODE_RECORDS, json(&decode), errors.as_deref(), out);
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

/// A source of bytes, or of `records`, and a function that makes rows of them.
fn in_two(
    source: &KafkaSource,
    records: Option<&Schema>,
    schema: &Schema,
    urn: &str,
    payload: Vec<u8>,
    errors: Option<&str>,
    out: &mut Expansion,
) {
    let read = match records {
        Some(schema) => out.row_coder(&to_proto(schema)),
        None => out.coder(coder::BYTES, &[]),
    };
    let records = out.collection("Read.output", &read, source.bounded());
    out.step("Read", urn::SOURCE_KAFKA, json(source), &[], &[("output", &records)]);
    let coder = out.row_coder(&to_proto(schema));
    let rows = out.collection("Parse.output", &coder, source.bounded());
    let mut outputs = vec![("output".to_owned(), rows)];
    if let Some(tag) = errors {
        let coder = out.row_coder(&to_proto(&dead_record_schema()));
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
    let asked = Asked::of(&mut options)?;
    let element = match format.as_str() {
        "RAW" | "STRING" => {
            asked.nothing(&options, &format)?;
            sole_text_field(request, &schema)?;
            SinkElement::Payload
        }
        "JSON" => {
            asked.nothing(&options, &format)?;
            SinkElement::Json { schema, key: None }
        }
        "AVRO" | "PROTO" => {
            let held = match (format.as_str(), &asked.schema) {
                ("AVRO", None) => Format::avro_of(&schema)?,
                _ => asked.format(&options, &format)?,
            };
            SinkElement::Encoded { schema, format: held, framed: asked.registry.is_some(), key: None }
        }
        "DEAD_LETTER" => {
            asked.nothing(&options, &format)?;
            SinkElement::DeadLetter { schema, from: DeadLetterFrom::default() }
        }
        _ => return Err(other_format(&options, &format)),
    };
    element.check()?;
    let (servers, topic) = (options.need_text("bootstrap_servers")?, options.need_text("topic")?);
    let properties = options.map("producer_config_updates")?;
    let schema_registry = asked.registry;
    let payload = KafkaSink { properties, schema_registry, ..KafkaSink::new(&servers, &topic, element) };
    options.finish()?;
    super::sink(request, urn::SINK_KAFKA, &payload, out)?;
    no_errors(errors.as_deref(), out);
    Ok(())
}
