//! What programs may have expanded here: our native transforms, and the names under which programs know Java's KafkaIO. Hence stock
//! `ReadFromKafka` and `WriteToKafka` work without a JVM; and functions of components.
//!
//! In: the options of a transform. Out: native sources, sinks and functions with their payloads. Whatever a pipeline asks for that
//! means something else here than in Java is an error that names the option; nothing is silently different.
//!
//! Source: `apache_beam/io/kafka.py`, `kafkaio` of the Go SDK, `KafkaIO.java`, `managed.py`.

mod files;
mod json_schema;
mod kafka;
mod kafka_rows;
mod managed;
mod serializer;
#[cfg(test)]
mod tests;
mod wasm;

use crate::compose::ComponentStore;
use crate::row::{Field, FieldType, Schema, from_proto, nullable, required, to_proto};
use serde::Serialize;
use std::sync::Arc;
use thalweg_beam::expansion::{Expander, Expansion, Input, Offer, Options, Request};
use thalweg_beam::urn::coder;
use thalweg_core::error::{Error, Result};

pub use json_schema::schema as json_schema;

/// Everything that is offered.
#[derive(Clone, Debug)]
pub struct Offers {
    components: Arc<ComponentStore>,
}

impl Offers {
    /// What is offered where components are described by `components`.
    #[must_use]
    pub fn new(components: Arc<ComponentStore>) -> Self {
        Self { components }
    }
}

/// Expands a transform of given options.
type Expand = fn(&Request, Options, &mut Expansion) -> Result<()>;

/// The transforms by URN, and whether they are schema transforms.
const TRANSFORMS: [(&str, Expand); 11] = [
    (kafka::READ, kafka::read),
    (kafka::READ_WITH_METADATA, kafka::read_with_metadata),
    (kafka::WRITE, kafka::write),
    (kafka::WRITE_WITH_HEADERS, kafka::write_with_headers),
    (kafka_rows::READ, kafka_rows::read),
    (kafka_rows::WRITE, kafka_rows::write),
    (managed::URN, managed::expand),
    (files::READ_TEXT, files::read_text),
    (files::WRITE_TEXT, files::write_text),
    (files::READ_JSON, files::read_json),
    (files::WRITE_JSON, files::write_json),
];

/// The transform of a URN or identifier.
fn find(urn: &str) -> Result<Expand> {
    let found = TRANSFORMS.iter().find(|(known, _)| *known == urn).map(|(_, expand)| *expand);
    found.ok_or_else(|| {
        let known: Vec<&str> = TRANSFORMS.iter().map(|(urn, _)| *urn).chain([wasm::CALL, wasm::SCHEMA]).collect();
        Error::user("EXPANSION_UNKNOWN", format!("{urn:?} is not offered here"))
            .help(format!("offered are {}; for others start the expansion service of their SDK", known.join(", ")))
    })
}

impl Expander for Offers {
    fn expand(&self, request: &Request, out: &mut Expansion) -> Result<()> {
        match request.urn.as_str() {
            wasm::CALL | wasm::SCHEMA => wasm::call(&self.components, request, request.options(), out),
            urn => find(urn)?(request, request.options(), out),
        }
    }

    fn offers(&self) -> Vec<Offer> {
        [kafka_rows::offers(), managed::offers(), files::offers(), wasm::offers()].into_iter().flatten().collect()
    }
}

/// The last part of a write. Python leaves out a part without outputs, so it has one, in which there never is anything.
fn sink(request: &Request, urn: &str, payload: &impl Serialize, out: &mut Expansion) -> Result<()> {
    let bytes = out.coder(coder::BYTES, &[]);
    let none = out.collection("Write.output", &bytes, true);
    let input = [("input", request.input()?.collection.as_str())];
    out.step("Write", urn, json(payload), &input, &[("output", &none)]);
    Ok(())
}

/// A payload of ours. They are plain structs with string keys, which always have a JSON form.
fn json(payload: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(payload).unwrap_or_default()
}

/// An offer with options of the given types; `needed` ones are not null.
fn offer(
    identifier: &str,
    description: &str,
    options: &[(&str, FieldType, bool)],
    inputs: &[&str],
    outputs: &[&str],
) -> Offer {
    let field = |(name, kind, needed): &(&str, FieldType, bool)| {
        if *needed { required(name, kind.clone()) } else { nullable(name, kind.clone()) }
    };
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Offer {
        identifier: identifier.to_owned(),
        configuration: to_proto(&Schema { fields: options.iter().map(field).collect() }),
        inputs: owned(inputs),
        outputs: owned(outputs),
        description: description.to_owned(),
    }
}

/// `{output: NAME}`, where elements that fail go.
fn error_handling() -> FieldType {
    FieldType::Row(Schema::of([("output", FieldType::String)]))
}

/// A map of strings.
fn text_map() -> FieldType {
    FieldType::Map(Box::new(required("", FieldType::String)), Box::new(required("", FieldType::String)))
}

/// Name of the output for elements that fail, if there is to be one.
fn take_error_output(options: &mut Options) -> Result<Option<String>> {
    let Some(mut inner) = options.row("error_handling")? else { return Ok(None) };
    let output = inner.need_text("output")?;
    inner.finish()?;
    match output.as_str() {
        "output" => Err(options.wrong("error_handling", "calls its output as the main one is called")),
        _ => Ok(Some(output)),
    }
}

/// Rows of what failed. Source: `ErrorHandling.errorSchemaBytes` of Java.
fn error_schema() -> Schema {
    Schema::of([("failed_row", FieldType::Bytes), ("error_message", FieldType::String)])
}

/// The one input, which must hold rows, and their schema.
fn rows(request: &Request) -> Result<(&Input, Schema)> {
    let input = request.input()?;
    match request.schema(&input.coder)? {
        Some(schema) => Ok((input, from_proto(&schema)?)),
        None => Err(request.wrong_input("takes rows: give the step before it a schema (beam.Row, NamedTuple, struct)")),
    }
}

/// The only field of rows, which is text or bytes.
fn sole_text_field<'s>(request: &Request, schema: &'s Schema) -> Result<&'s Field> {
    match schema.fields.as_slice() {
        [only] if matches!(only.kind, FieldType::String | FieldType::Bytes) => Ok(only),
        _ => Err(request.wrong_input("takes rows of exactly one field, bytes or a string, in this format")),
    }
}
