//! The types of transforms: each reads its configuration and adds to the proto.

mod combine;
mod create;
mod feed;
mod files;
mod join;
mod kafka;
mod kafka_options;
mod mapping;
mod pairs;
mod union;
mod wasm;
mod windowing;

pub use kafka::{json_schema, properties};
pub use union::flatten;

use super::expand::Leaf;
use super::node::{Fields, Node, Place, Value};
use super::outputs::Outputs;
use super::suggest::{did_you_mean, nearest};
use crate::pipeline::{Collection, Element};
use crate::row::{Schema, Show};
use thalweg_core::error::{Error, Result};

/// What to do with a file that needs more of Beam YAML than is read here.
pub const RUN_WITH_BEAM: &str = "do this step in a Wasm function, or run the file by Beam: \
    `python -m apache_beam.yaml.main --yaml_pipeline_file=FILE --runner=PrismRunner --prism_location=thalweg`";

type Expand = fn(&mut Leaf<'_, '_>) -> Result<Outputs>;

/// The types that run here.
const TRANSFORMS: [(&str, Expand); 14] = [
    ("Combine", combine::combine),
    ("Create", create::create),
    ("ExtractWindowingInfo", windowing::extract_info),
    ("Flatten", union::union),
    ("LogForTesting", mapping::log),
    ("MapToFields", mapping::map_to_fields),
    ("ReadFromKafka", kafka::read),
    ("ReadFromText", files::read_text),
    ("TableJoin", join::join),
    ("Wasm", wasm::wasm),
    ("WindowInto", windowing::window_into),
    ("WriteToJson", files::write_json),
    ("WriteToKafka", kafka::write),
    ("WriteToText", files::write_text),
];

/// Types of Beam YAML that do not run here.
const OTHERS: [&str; 44] = [
    "AnomalyDetection",
    "AssertEqual",
    "AssignTimestamps",
    "Enrichment",
    "Explode",
    "ExtractWindowingInfo-sql",
    "Filter",
    "Join",
    "MLTransform",
    "Partition",
    "PyTransform",
    "ReadFromAvro",
    "ReadFromBigQuery",
    "ReadFromBigTable",
    "ReadFromCsv",
    "ReadFromIceberg",
    "ReadFromJdbc",
    "ReadFromJson",
    "ReadFromMongoDB",
    "ReadFromMySql",
    "ReadFromParquet",
    "ReadFromPostgres",
    "ReadFromPubSub",
    "ReadFromPubSubLite",
    "ReadFromSpanner",
    "ReadFromSqlServer",
    "ReadFromTFRecord",
    "RunInference",
    "Sql",
    "StripErrorMetadata",
    "TestStream",
    "ValidateWithSchema",
    "WriteToAvro",
    "WriteToBigQuery",
    "WriteToBigTable",
    "WriteToCsv",
    "WriteToIceberg",
    "WriteToJdbc",
    "WriteToMongoDB",
    "WriteToParquet",
    "WriteToPubSub",
    "WriteToSpanner",
    "WriteToTFRecord",
    "WriteToMySql",
];

/// Expands a transform by its type. `windowing` is what a WindowInto says outside its configuration.
pub fn expand(mut leaf: Leaf<'_, '_>, windowing: Option<&Node>) -> Result<Outputs> {
    if leaf.kind == "WindowInto"
        && let Some(windowing) = windowing
    {
        let outputs = windowing::assign(&mut leaf, windowing)?;
        return leaf.config.finish().map(|()| outputs);
    }
    let Some((_, expand)) = TRANSFORMS.iter().find(|(name, _)| *name == leaf.kind) else {
        return Err(unknown(leaf.kind, leaf.place));
    };
    let outputs = expand(&mut leaf)?;
    leaf.config.finish()?;
    Ok(outputs)
}

fn unknown(kind: &str, place: &Place) -> Error {
    let names: Vec<&str> = TRANSFORMS.iter().map(|(name, _)| *name).collect();
    if OTHERS.contains(&kind) {
        let error = place.error("YAML_UNSUPPORTED", format!("`{kind}` of Beam YAML does not run natively"));
        return error.help(RUN_WITH_BEAM);
    }
    let all = names.iter().copied().chain(OTHERS).chain(["chain", "composite"]);
    let help = nearest(kind, all).map_or_else(|| did_you_mean(kind, &names), |near| format!("did you mean `{near}`?"));
    place.error("YAML_UNKNOWN_TRANSFORM", format!("there is no transform of type `{kind}`")).help(help)
}

/// The name of the error output that a configuration declares, and where.
pub fn error_output(config: &Node) -> Result<Option<&Node>> {
    let Value::Map(entries) = &config.value else { return Ok(None) };
    let Some((_, handling)) = entries.iter().find(|(key, _)| key.name == "error_handling") else { return Ok(None) };
    if matches!(&handling.value, Value::Null) || matches!(&handling.value, Value::Map(map) if map.is_empty()) {
        return Ok(None);
    }
    let mut fields = Fields::of(handling)?;
    let output = fields.need("output")?;
    output.text()?;
    fields.finish()?;
    Ok(Some(output))
}

/// Takes `error_handling` out of a transform's configuration.
fn take_error_output<'n>(config: &mut Fields<'n>) -> Result<Option<&'n str>> {
    let Some(handling) = config.get("error_handling") else { return Ok(None) };
    let mut fields = Fields::of(handling)?;
    let output = fields.need("output")?.text()?;
    fields.finish()?;
    Ok(Some(output))
}

/// The schema of rows, or an error for other elements.
fn rows<'c>(leaf: &Leaf<'_, '_>, input: &'c Collection) -> Result<&'c Schema> {
    match &input.element {
        Element::Row(schema) => Ok(schema),
        other => Err(leaf
            .place
            .error("SCHEMA_MISMATCH", format!("`{}` takes rows, but `{}` gives {other}", leaf.kind, producer(input)))
            .help("put a Wasm function in between that makes rows of them")),
    }
}

/// The name of the transform that gives a collection.
fn producer(of: &Collection) -> &str {
    of.id.rsplit_once('.').map_or(of.id.as_str(), |(name, _)| name)
}

/// The place of a field.
fn field(schema: &Schema, name: &str, place: &Place) -> Result<usize> {
    if let Some(i) = schema.position(name) {
        return Ok(i);
    }
    let identifier = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.is_empty();
    if !identifier {
        let error =
            place.error("YAML_EXPRESSION", format!("`{name}` is an expression, and expressions do not run natively"));
        return Err(
            error.help(format!("name a field of {}; compute in a Wasm function before this step", Show(schema)))
        );
    }
    let names: Vec<&str> = schema.fields.iter().map(|f| f.name.as_str()).collect();
    Err(place
        .error("SCHEMA_UNKNOWN_FIELD", format!("there is no field `{name}` in {}", Show(schema)))
        .help(did_you_mean(name, &names)))
}

/// Whether a name is free in a schema under construction.
fn check_new(schema: &Schema, name: &str, place: &Place) -> Result<()> {
    if schema.position(name).is_none() {
        return Ok(());
    }
    let error = place.error("SCHEMA_DUPLICATE_FIELD", format!("there are two fields `{name}`"));
    Err(error.help("give one of them another name"))
}
