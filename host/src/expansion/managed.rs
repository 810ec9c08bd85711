//! Managed transforms: an identifier, and the configuration of the transform behind it as YAML.
//!
//! Source: `apache_beam/transforms/managed.py`, `ManagedSchemaTransformProvider`.

use super::{find, kafka_rows, offer};
use crate::row::FieldType;
use serde_json::Value as Yaml;
use thalweg_beam::expansion::{Expansion, Offer, Options, Request, Value};
use thalweg_core::error::{Error, Result};

/// The identifier.
pub const URN: &str = "beam:transform:managed:v1";

/// What is discovered.
pub fn offers() -> Vec<Offer> {
    let text = FieldType::String;
    let options =
        [("config", text.clone(), false), ("config_url", text.clone(), false), ("transform_identifier", text, true)];
    vec![offer(URN, "A managed transform; kafka is known.", &options, &["input"], &["output"])]
}

/// Expands the transform behind.
pub fn expand(request: &Request, mut options: Options, out: &mut Expansion) -> Result<()> {
    let identifier = options.need_text("transform_identifier")?;
    options.refuse(
        &["config_url"],
        "names a file, which this service does not read for others",
        "give the configuration itself, as `config`",
    )?;
    let config = options.text("config")?.unwrap_or_default();
    options.finish()?;
    if ![kafka_rows::READ, kafka_rows::WRITE].contains(&identifier.as_str()) {
        return Err(Error::user(
            "EXPANSION_UNKNOWN",
            format!("the managed transform {identifier:?} is not offered here"),
        )
        .help(format!("offered are {} and {}", kafka_rows::READ, kafka_rows::WRITE)));
    }
    let fields = fields(&config).map_err(|why| {
        Error::user("EXPANSION_OPTION", format!("{URN}: `config` is no YAML of a mapping: {why}"))
            .help("write one option a line: `topic: my_topic`")
    })?;
    // the transform behind, under its own name in messages
    let mut behind = request.clone();
    behind.urn.clone_from(&identifier);
    find(&identifier)?(&behind, Options::new(&identifier, fields), out)
}

fn fields(config: &str) -> std::result::Result<Vec<(String, Value)>, String> {
    if config.trim().is_empty() {
        return Ok(Vec::new());
    }
    match serde_saphyr::from_str::<Yaml>(config).map_err(|e| e.to_string())? {
        Yaml::Null => Ok(Vec::new()),
        Yaml::Object(fields) => Ok(fields.into_iter().map(|(name, yaml)| (name, value(yaml))).collect()),
        _ => Err("it is something else".to_owned()),
    }
}

fn value(yaml: Yaml) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(b) => Value::Boolean(b),
        Yaml::Number(n) => n.as_i64().map_or_else(|| Value::Double(n.as_f64().unwrap_or(f64::NAN)), Value::Integer),
        Yaml::String(text) => Value::Text(text),
        Yaml::Array(list) => Value::List(list.into_iter().map(value).collect()),
        Yaml::Object(fields) => Value::Row(fields.into_iter().map(|(name, yaml)| (name, value(yaml))).collect()),
    }
}
