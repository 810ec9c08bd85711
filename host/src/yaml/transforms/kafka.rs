//! `ReadFromKafka` and `WriteToKafka`, native: no JVM.
//!
//! Beyond Beam YAML, ReadFromKafka knows `stop_at: end_offsets`: each partition is read up to its end as seen at the start.

use super::super::expand::Leaf;
use super::super::node::{Fields, Node, Value};
use super::super::outputs::Outputs;
use super::super::suggest::did_you_mean;
use super::files::sole_field;
use super::{check_new, rows, take_error_output};
use crate::compose::payload::{KafkaSink, KafkaSource, StopAt};
use crate::native::payload::{ParseJson, WrapValue};
use crate::native::urn;
use crate::pipeline::{Element, Windows, urn as ends};
use crate::row::{Field, FieldType, Schema};
use serde::Serialize;
use std::collections::BTreeMap;
use thalweg_core::error::Result;
use thalweg_io::kafka::{Limit, SinkElement, SourceElement, Start};

/// Formats of Beam YAML that do not run here.
const OTHER_FORMATS: [&str; 2] = ["AVRO", "PROTO"];

/// `type: ReadFromKafka`.
pub fn read(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    leaf.no_input()?;
    let topic = leaf.config.need("topic")?.text()?.to_owned();
    let bootstrap_servers = leaf.config.need("bootstrap_servers")?.text()?.to_owned();
    let properties = leaf.config.get("consumer_config").map_or(Ok(BTreeMap::new()), properties)?;
    let start = choice(
        leaf.config.get("auto_offset_reset_config"),
        &[("earliest", Start::Earliest), ("latest", Start::Latest)],
    )?;
    let stop = choice(leaf.config.get("stop_at"), &[("never", StopAt::Never), ("end_offsets", StopAt::EndOffsets)])?;
    let stop = stop.unwrap_or(StopAt::Never);
    let seconds = leaf.config.get("max_read_time_seconds").map(|node| match node.value {
        Value::Int(n) if n > 0 => Ok(n.unsigned_abs()),
        _ => Err(node.place.error("YAML_CHOICE", "`max_read_time_seconds` is a whole number of seconds above 0")),
    });
    let millis = seconds.transpose()?.map(|s| s.saturating_mul(1000));
    for key in ["confluent_schema_registry_url", "confluent_schema_registry_subject"] {
        if let Some(node) = leaf.config.get(key) {
            return Err(node
                .place
                .error("YAML_UNSUPPORTED", format!("`{key}` is not supported"))
                .help(super::RUN_WITH_BEAM));
        }
    }
    let format = leaf.config.get("format").map_or(Ok("RAW"), Node::text)?.to_uppercase();
    let schema = leaf.config.get("schema");
    let errors = take_error_output(&mut leaf.config)?;
    let source = KafkaSource {
        properties,
        start: start.unwrap_or(Start::Latest),
        stop,
        limit: Limit { millis, ..Limit::default() },
        element: SourceElement::Value,
        ..KafkaSource::new(&bootstrap_servers, &topic)
    };
    match (format.as_str(), errors) {
        ("RAW", None) => {
            let payload = Schema::of([("payload", FieldType::Bytes)]);
            Ok(whole(leaf, KafkaSource { element: SourceElement::Payload, ..source }, payload))
        }
        ("STRING", None) => {
            let row = Schema::of([("payload", FieldType::String)]);
            Ok(in_two(leaf, &source, row, urn::WRAP_VALUE, &WrapValue { kind: FieldType::String }, None))
        }
        ("JSON", errors) => {
            let schema = schema.ok_or_else(|| {
                let error = leaf.place.error("YAML_MISSING_KEY", "`format: JSON` needs a `schema`");
                error.help("add `schema: {type: object, properties: {field: {type: string}}}`")
            })?;
            let row = json_schema(schema)?;
            if errors.is_none() {
                return Ok(whole(leaf, KafkaSource { element: SourceElement::Json(row.clone()), ..source }, row));
            }
            let (from, errors) = (topic, errors.map(str::to_owned));
            let payload = ParseJson { output: row.clone(), from, errors: errors.clone() };
            Ok(in_two(leaf, &source, row, urn::PARSE_JSON, &payload, errors.as_deref()))
        }
        ("RAW" | "STRING", Some(_)) => {
            let error = leaf.place.error("YAML_UNSUPPORTED", format!("records of `format: {format}` cannot fail"));
            Err(error.help("leave `error_handling` out"))
        }
        (other, _) => {
            let unsupported = OTHER_FORMATS.contains(&other);
            let what = if unsupported { "is not read natively" } else { "is not a format" };
            let error = leaf.place.error("YAML_FORMAT", format!("`{other}` {what}"));
            let help = did_you_mean(other, &["RAW", "STRING", "JSON"]);
            Err(error.help(if unsupported { super::RUN_WITH_BEAM.to_owned() } else { help }))
        }
    }
}

/// A source that gives the rows itself.
fn whole(leaf: &mut Leaf<'_, '_>, source: KafkaSource, row: Schema) -> Outputs {
    let bounded = source.bounded();
    let output = leaf.build.collection(&format!("{}.output", leaf.name), Element::Row(row), Windows::Global, bounded);
    leaf.build.native(&leaf.name, ends::SOURCE_KAFKA, &source, &[], &[("output", &output)]);
    Outputs::one(output)
}

/// A source of bytes and a function that makes rows of them.
fn in_two<P: Serialize>(
    leaf: &mut Leaf<'_, '_>,
    source: &KafkaSource,
    row: Schema,
    function: &str,
    payload: &P,
    errors: Option<&str>,
) -> Outputs {
    let bounded = source.bounded();
    let name = leaf.name.clone();
    leaf.build.open(&name);
    let records = leaf.build.collection(&format!("{name}/Read.output"), Element::Bytes, Windows::Global, bounded);
    leaf.build.native(&format!("{name}/Read"), ends::SOURCE_KAFKA, source, &[], &[("output", &records)]);
    let mut outputs = Outputs::one(leaf.output("output", Element::Row(row), &records));
    if let Some(tag) = errors {
        let row = Schema::of([("failed_row", FieldType::Bytes), ("error_message", FieldType::String)]);
        outputs.named.push((tag.to_owned(), leaf.output(tag, Element::Row(row), &records)));
    }
    let ends: Vec<_> = outputs.named.iter().map(|(tag, c)| (tag.as_str(), c)).collect();
    leaf.build.native(&format!("{name}/Parse"), function, payload, &[("input", &records)], &ends);
    leaf.build.close(&[], &ends);
    outputs
}

/// `type: WriteToKafka`: a record per row, without a key.
pub fn write(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    let input = leaf.input()?;
    let schema = rows(leaf, &input)?.clone();
    let topic = leaf.config.need("topic")?.text()?.to_owned();
    let bootstrap_servers = leaf.config.need("bootstrap_servers")?.text()?.to_owned();
    let properties = leaf.config.get("producer_config_updates").map_or(Ok(BTreeMap::new()), properties)?;
    let format = leaf.config.need("format")?;
    let element = match format.text()?.to_uppercase().as_str() {
        "JSON" => SinkElement::Json { schema, key: None },
        "RAW" | "STRING" => {
            sole_field(&schema, leaf.kind, leaf.place)?;
            SinkElement::Payload
        }
        other => {
            let unsupported = OTHER_FORMATS.contains(&other);
            let what = if unsupported { "is not written natively" } else { "is not a format" };
            let error = format.place.error("YAML_FORMAT", format!("`{other}` {what}"));
            let help = did_you_mean(other, &["RAW", "STRING", "JSON"]);
            return Err(error.help(if unsupported { super::RUN_WITH_BEAM.to_owned() } else { help }));
        }
    };
    let sink = KafkaSink { properties, ..KafkaSink::new(&bootstrap_servers, &topic, element) };
    leaf.build.native(&leaf.name, ends::SINK_KAFKA, &sink, &[("input", &input)], &[]);
    Ok(Outputs::default())
}

/// Properties of the client, verbatim. Numbers and truth values may stand without quotes.
pub fn properties(node: &Node) -> Result<BTreeMap<String, String>> {
    let text = |node: &Node| match &node.value {
        Value::Int(n) => Ok(n.to_string()),
        Value::Bool(b) => Ok(b.to_string()),
        _ => node.text().map(str::to_owned),
    };
    node.map()?.iter().map(|(key, node)| Ok((key.name.clone(), text(node)?))).collect()
}

/// One of a few words.
fn choice<T: Copy>(node: Option<&Node>, words: &[(&str, T)]) -> Result<Option<T>> {
    let Some(node) = node else { return Ok(None) };
    let text = node.text()?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.map(Some).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        node.place.error("YAML_CHOICE", format!("`{text}` cannot stand here")).help(did_you_mean(text, &known))
    })
}

/// The schema of a JSON schema, which is an object or, inside a text, the JSON of one.
pub fn json_schema(node: &Node) -> Result<Schema> {
    if let Value::Text(text) = &node.value {
        let parsed = super::super::parse_inline(text, &node.place)?;
        return json_schema(&parsed);
    }
    let mut fields = Fields::of(node)?;
    let kind = fields.need("type")?;
    if kind.text()? != "object" {
        let error = kind.place.error("YAML_SCHEMA", "records are objects");
        return Err(error.help("write `type: object` and list the fields under `properties`"));
    }
    let properties = fields.need("properties")?.map()?;
    let required = fields.get("required").map_or(Ok(Vec::new()), Node::texts)?;
    for key in ["additionalProperties", "description", "title", "$schema", "$id"] {
        fields.get(key); // says nothing about the fields
    }
    fields.finish()?;
    let mut schema = Schema::default();
    for (key, node) in properties {
        check_new(&schema, &key.name, &key.place)?;
        let kind = json_type(node)?;
        let nullable = !required.iter().any(|(name, _)| *name == key.name);
        schema.fields.push(Field { name: key.name.clone(), kind, nullable });
    }
    for (name, place) in required {
        super::field(&schema, name, place)?;
    }
    Ok(schema)
}

fn json_type(node: &Node) -> Result<FieldType> {
    let mut fields = Fields::of(node)?;
    let kind = fields.need("type")?;
    for key in ["description", "format", "title"] {
        fields.get(key); // says nothing about the encoding
    }
    fields.finish()?;
    let known = ["string", "integer", "number", "boolean"];
    match kind.text()? {
        "string" => Ok(FieldType::String),
        "integer" => Ok(FieldType::Int64),
        "number" => Ok(FieldType::Double),
        "boolean" => Ok(FieldType::Boolean),
        other @ ("array" | "object") => {
            let error = kind.place.error("YAML_UNSUPPORTED", format!("fields of type `{other}` are not read natively"));
            Err(error.help("read with `format: STRING` and parse in a Wasm function"))
        }
        other => {
            let error = kind.place.error("YAML_SCHEMA", format!("there is no type `{other}`"));
            Err(error.help(did_you_mean(other, &known)))
        }
    }
}
