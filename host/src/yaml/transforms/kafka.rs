//! `ReadFromKafka` and `WriteToKafka`, native: no JVM.
//!
//! Beyond Beam YAML there are the formats RECORD, rows of all Kafka knows of a record, and DEAD_LETTER, rows of an error output;
//! WriteToKafka knows a `key` and a `partitioner`.

use super::super::expand::Leaf;
use super::super::node::{Fields, Node, Place, Value};
use super::super::outputs::Outputs;
use super::super::suggest::did_you_mean;
use super::files::sole_field;
use super::{check_new, kafka_options, rows, take_error_output};
use crate::compose::payload::{KafkaSink, KafkaSource};
use crate::native::payload::{DecodeRecords, WrapValue, dead_record_schema};
use crate::native::urn;
use crate::pipeline::{Element, Windows, urn as ends};
use crate::row::{Field, FieldType, Schema};
use serde::Serialize;
use std::collections::BTreeMap;
use thalweg_core::error::{Error, Result};
use thalweg_io::format::Format;
use thalweg_io::kafka::{DeadLetterFrom, Partitioner, SinkElement, SourceElement, metadata_schema};

/// Formats of records.
const FORMATS: [&str; 6] = ["RAW", "STRING", "JSON", "AVRO", "PROTO", "RECORD"];
/// Formats of records that are written.
const WRITTEN: [&str; 7] = ["RAW", "STRING", "JSON", "AVRO", "PROTO", "RECORD", "DEAD_LETTER"];

/// `type: ReadFromKafka`.
pub fn read(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    leaf.no_input()?;
    let source = kafka_options::source(leaf)?;
    let (name, place) = format_name(leaf, &FORMATS)?;
    let registry = registry(leaf)?;
    let schema = leaf.config.get("schema");
    let message = leaf.config.get("message_name").map(|node| node.text().map(str::to_owned)).transpose()?;
    let errors = take_error_output(&mut leaf.config)?;
    let plain = ["RAW", "STRING", "RECORD"].contains(&name.as_str());
    if plain && (errors.is_some() || registry.is_some() || message.is_some()) {
        let error = place.error(
            "YAML_UNSUPPORTED",
            format!("records of `format: {name}` are not read into fields, so that none can fail"),
        );
        return Err(error.help("leave `error_handling`, `message_name` and `schema_registry_url` out"));
    }
    match name.as_str() {
        "RAW" => {
            let payload = Schema::of([("payload", FieldType::Bytes)]);
            return Ok(whole(leaf, KafkaSource { element: SourceElement::Payload, ..source }, payload));
        }
        "RECORD" => {
            return Ok(whole(leaf, KafkaSource { element: SourceElement::Metadata, ..source }, metadata_schema()));
        }
        "STRING" => {
            let source = KafkaSource { element: SourceElement::Value, ..source };
            let row = Schema::of([("payload", FieldType::String)]);
            let wrap = WrapValue { kind: FieldType::String };
            return Ok(in_two(leaf, &source, Element::Bytes, row, urn::WRAP_VALUE, &wrap, None));
        }
        _ => {}
    }
    let format = format(&name, schema, message, &place)?;
    let row = format.row().map_err(|e| at(e, schema.map_or(&place, |node| &node.place)))?;
    if let (Format::Json(schema), None, None) = (&format, errors, &registry) {
        return Ok(whole(leaf, KafkaSource { element: SourceElement::Json(schema.clone()), ..source }, row));
    }
    let element = SourceElement::Metadata;
    let source = KafkaSource { element, schema_registry: registry.clone().filter(|_| name == "AVRO"), ..source };
    let decode = DecodeRecords { format, registry, errors: errors.map(str::to_owned) };
    Ok(in_two(leaf, &source, Element::Row(metadata_schema()), row, urn::DECODE_RECORDS, &decode, errors))
}

/// The format in capital letters, and where it stands.
fn format_name(leaf: &mut Leaf<'_, '_>, known: &[&str]) -> Result<(String, Place)> {
    let Some(node) = leaf.config.get("format") else { return Ok(("RAW".to_owned(), leaf.place.clone())) };
    let name = node.text()?.to_uppercase();
    if known.contains(&name.as_str()) {
        return Ok((name, node.place.clone()));
    }
    let error = node.place.error("YAML_FORMAT", format!("`{name}` is not a format"));
    Err(error.help(did_you_mean(&name, known)))
}

/// The address of a schema registry, under our name or Beam's.
fn registry(leaf: &mut Leaf<'_, '_>) -> Result<Option<String>> {
    if let Some(node) = leaf.config.get("confluent_schema_registry_subject") {
        let error = node.place.error("YAML_UNSUPPORTED", "schemas are not asked for when the pipeline is read");
        return Err(error
            .help("give the fields that are to be read as `schema`; records name the schema they were written with"));
    }
    let ours = leaf.config.get("schema_registry_url");
    let node = ours.or(leaf.config.get("confluent_schema_registry_url"));
    node.map(|node| node.text().map(str::to_owned)).transpose()
}

/// What values hold, where it is more than bytes.
fn format(name: &str, schema: Option<&Node>, message: Option<String>, place: &Place) -> Result<Format> {
    if message.is_some() && name != "PROTO" {
        return Err(place.error("YAML_UNSUPPORTED", format!("`message_name` means nothing with `format: {name}`")));
    }
    let schema = schema.ok_or_else(|| {
        let error = place.error("YAML_MISSING_KEY", format!("`format: {name}` needs a `schema`"));
        error.help(match name {
            "AVRO" => "add the Avro schema as a text: `schema: '{\"type\": \"record\", ...}'`",
            "PROTO" => {
                "add the text of the .proto file: `schema: 'syntax = \"proto3\"; message M { string word = 1; }'`"
            }
            _ => "add `schema: {type: object, properties: {field: {type: string}}}`",
        })
    })?;
    Ok(match name {
        "AVRO" => Format::Avro { schema: schema.text()?.to_owned() },
        "PROTO" => Format::Proto { schema: schema.text()?.to_owned(), message },
        _ => Format::Json(json_schema(schema)?),
    })
}

/// An error of a schema, at its place in the file.
fn at(e: Error, place: &Place) -> Error {
    place.error(e.code, &e.message).help(e.help)
}

/// A source that gives the rows itself.
fn whole(leaf: &mut Leaf<'_, '_>, source: KafkaSource, row: Schema) -> Outputs {
    let bounded = source.bounded();
    let output = leaf.build.collection(&format!("{}.output", leaf.name), Element::Row(row), Windows::Global, bounded);
    leaf.build.native(&leaf.name, ends::SOURCE_KAFKA, &source, &[], &[("output", &output)]);
    Outputs::one(output)
}

/// A source of `records` and a function that makes rows of them.
fn in_two<P: Serialize>(
    leaf: &mut Leaf<'_, '_>,
    source: &KafkaSource,
    records: Element,
    row: Schema,
    function: &str,
    payload: &P,
    errors: Option<&str>,
) -> Outputs {
    let bounded = source.bounded();
    let name = leaf.name.clone();
    leaf.build.open(&name);
    let records = leaf.build.collection(&format!("{name}/Read.output"), records, Windows::Global, bounded);
    leaf.build.native(&format!("{name}/Read"), ends::SOURCE_KAFKA, source, &[], &[("output", &records)]);
    let mut outputs = Outputs::one(leaf.output("output", Element::Row(row), &records));
    if let Some(tag) = errors {
        outputs.named.push((tag.to_owned(), leaf.output(tag, Element::Row(dead_record_schema()), &records)));
    }
    let ends: Vec<_> = outputs.named.iter().map(|(tag, c)| (tag.as_str(), c)).collect();
    leaf.build.native(&format!("{name}/Parse"), function, payload, &[("input", &records)], &ends);
    leaf.build.close(&[], &ends);
    outputs
}

/// `type: WriteToKafka`: a record per row.
pub fn write(leaf: &mut Leaf<'_, '_>) -> Result<Outputs> {
    let input = leaf.input()?;
    let row = rows(leaf, &input)?.clone();
    let topic = leaf.config.need("topic")?.text()?.to_owned();
    let bootstrap_servers = leaf.config.need("bootstrap_servers")?.text()?.to_owned();
    let properties = leaf.config.get("producer_config_updates").map_or(Ok(BTreeMap::new()), properties)?;
    leaf.config.need("format")?;
    let (name, place) = format_name(leaf, &WRITTEN)?;
    let registry = registry(leaf)?;
    let schema = leaf.config.get("schema");
    let message = leaf.config.get("message_name").map(|node| node.text().map(str::to_owned)).transpose()?;
    let key = leaf.config.get("key");
    if let Some(node) = key {
        super::field(&row, node.text()?, &node.place)?;
    }
    let key_name = key.map(|node| node.text().map(str::to_owned)).transpose()?;
    let partitioner = leaf.config.get("partitioner").map(partitioner).transpose()?;
    let element = match (name.as_str(), schema) {
        ("JSON", _) if registry.is_none() => SinkElement::Json { schema: row, key: key_name },
        ("RAW" | "STRING", _) => {
            sole_field(&row, leaf.kind, leaf.place)?;
            SinkElement::Payload
        }
        ("RECORD", _) => SinkElement::Row(row),
        ("DEAD_LETTER", _) => {
            let transform = input.id.rsplit_once('.').map_or(input.id.as_str(), |(transform, _)| transform).to_owned();
            SinkElement::DeadLetter { schema: row, from: DeadLetterFrom { transform, ..DeadLetterFrom::default() } }
        }
        (_, schema) => {
            let place = schema.map_or(&place, |node| &node.place);
            let format = match (name.as_str(), schema) {
                ("AVRO", None) => Format::avro_of(&row).map_err(|e| at(e, place))?,
                ("JSON", _) => Format::Json(row.clone()),
                _ => format(&name, schema, message, place)?,
            };
            SinkElement::Encoded { schema: row, format, framed: registry.is_some(), key: key_name }
        }
    };
    element.check().map_err(|e| at(e, &place))?;
    if let SinkElement::Payload | SinkElement::Row(_) | SinkElement::DeadLetter { .. } = &element {
        let nothing = |what: &str, place: &Place| {
            place.error("YAML_UNSUPPORTED", format!("`{what}` means nothing with `format: {name}`"))
        };
        if let Some(node) = key {
            let help = "write rows with the fields key and value with `format: RECORD`";
            return Err(nothing("key", &node.place).help(help));
        }
        if registry.is_some() {
            return Err(nothing("schema_registry_url", &place).help("leave it out, or write AVRO or PROTO"));
        }
    }
    let sink = KafkaSink {
        properties,
        partitioner,
        schema_registry: registry,
        ..KafkaSink::new(&bootstrap_servers, &topic, element)
    };
    leaf.build.native(&leaf.name, ends::SINK_KAFKA, &sink, &[("input", &input)], &[]);
    Ok(Outputs::default())
}

/// `key`, `round_robin`, or the number of a partition.
fn partitioner(node: &Node) -> Result<Partitioner> {
    match &node.value {
        Value::Int(n) => i32::try_from(*n).ok().filter(|n| *n >= 0).map(Partitioner::Fixed),
        Value::Text(text) if text == "key" => Some(Partitioner::Key),
        Value::Text(text) if text == "round_robin" => Some(Partitioner::RoundRobin),
        _ => None,
    }
    .ok_or_else(|| {
        let error = node.place.error("YAML_CHOICE", format!("expected a partitioner, found {}", node.describe()));
        error.help("write `key`, `round_robin`, or the number of a partition")
    })
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
