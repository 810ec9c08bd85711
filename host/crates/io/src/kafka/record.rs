//! From an element to a record.

use crate::row::{RowToJson, Schema};
use serde::{Deserialize, Serialize};
use thalweg_core::coder::{read_varint, take_prefixed};
use thalweg_core::error::{Domain, Error, Result};

/// What an element's record holds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkElement {
    /// `KV<bytes, bytes>`: key and value. An empty key is null, so that such records are spread over the partitions.
    #[default]
    KeyValue,
    /// `bytes`: the value; the key is null.
    Value,
    /// A row `{payload: bytes}`, as Beam YAML's format RAW: the value; the key is null.
    Payload,
    /// A row of this schema: the value is its JSON.
    Json {
        /// Schema of the rows.
        schema: Schema,
        /// The field that becomes the key: a string as it is, anything else as JSON; null stays null. Without it keys are null.
        #[serde(default)]
        key: Option<String>,
    },
}

/// Makes records of elements.
#[derive(Debug)]
pub(super) enum Records {
    KeyValue,
    Value,
    Payload,
    Json { json: RowToJson, key: Option<String> },
}

impl Records {
    /// # Errors
    /// `KAFKA_CONFIG` when the key is no field of the schema.
    pub(super) fn new(element: &SinkElement) -> Result<Self> {
        Ok(match element {
            SinkElement::KeyValue => Self::KeyValue,
            SinkElement::Value => Self::Value,
            SinkElement::Payload => Self::Payload,
            SinkElement::Json { schema, key } => {
                if let Some(name) = key.as_ref().filter(|name| schema.position(name).is_none()) {
                    return Err(Error::user("KAFKA_CONFIG", format!("the rows have no field {name:?} to be the key")));
                }
                Self::Json { json: RowToJson::new(schema), key: key.clone() }
            }
        })
    }

    /// Writes the value of an element's record to `value`, and its key to `key`; `false` when the key is null.
    ///
    /// # Errors
    /// `ROW_MALFORMED`.
    pub(super) fn write(&self, key_in: &[u8], value_in: &[u8], key: &mut Vec<u8>, value: &mut Vec<u8>) -> Result<bool> {
        match self {
            Self::KeyValue => {
                key.extend_from_slice(key_in);
                value.extend_from_slice(value_in);
                Ok(!key_in.is_empty())
            }
            Self::Value => {
                value.extend_from_slice(value_in);
                Ok(false)
            }
            Self::Payload => {
                value.extend_from_slice(payload(value_in)?);
                Ok(false)
            }
            Self::Json { json, key: name } => {
                json.write(value_in, value)?;
                name.as_ref().map_or(Ok(false), |name| json.write_field(value_in, name, key))
            }
        }
    }
}

/// The one field of a row; empty when it is null.
fn payload(row: &[u8]) -> Result<&[u8]> {
    let (count, rest) = read_varint(row)?;
    let (nulls, rest) = take_prefixed(rest)?;
    if count != 1 {
        return Err(Error::new("ROW_MALFORMED", Domain::Guest, "a row for Kafka's raw format has one field, payload"));
    }
    if nulls.first().is_some_and(|bits| bits & 1 == 1) { Ok(&[]) } else { Ok(take_prefixed(rest)?.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::FieldType;

    fn one(element: &SinkElement, key: &[u8], value: &[u8]) -> (Option<String>, String) {
        let (mut k, mut v) = (Vec::new(), Vec::new());
        let some = Records::new(element).expect("a kind").write(key, value, &mut k, &mut v).expect("a record");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (some.then(|| text(k)), text(v))
    }

    #[test]
    fn elements_become_what_is_asked_for() {
        let pair = |k: Option<&str>, v: &str| (k.map(str::to_owned), v.to_owned());
        assert_eq!(one(&SinkElement::KeyValue, b"k", b"v"), pair(Some("k"), "v"));
        assert_eq!(one(&SinkElement::KeyValue, b"", b"v"), pair(None, "v"));
        assert_eq!(one(&SinkElement::Value, b"", b"v"), pair(None, "v"));
        assert_eq!(one(&SinkElement::Payload, b"", b"\x01\x00\x01v"), pair(None, "v"));
        assert_eq!(one(&SinkElement::Payload, b"", b"\x01\x01\x01"), pair(None, ""));
        let schema = Schema::of([("s", FieldType::String), ("n", FieldType::Int64)]);
        let json = |key: Option<&str>| SinkElement::Json { schema: schema.clone(), key: key.map(str::to_owned) };
        let row = b"\x02\x00\x01x\x07";
        assert_eq!(one(&json(None), b"", row), pair(None, r#"{"s":"x","n":7}"#));
        assert_eq!(one(&json(Some("s")), b"", row), pair(Some("x"), r#"{"s":"x","n":7}"#));
        assert_eq!(one(&json(Some("n")), b"", row), pair(Some("7"), r#"{"s":"x","n":7}"#));
        assert_eq!(Records::new(&json(Some("z"))).err().map(|e| e.code), Some("KAFKA_CONFIG"));
    }
}
