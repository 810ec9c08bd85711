//! From an element to a record.

use super::datum::Datum;
use super::dead::{DeadLetterFrom, DeadLetters};
use super::metadata::RecordRow;
use super::outbox::OutRecord;
use crate::format::{Format, RowEncoder, SchemaRegistry};
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
    /// `KV` of what Kafka's own serializers write. A null value is a tombstone.
    Pair {
        /// The key.
        key: Datum,
        /// The value.
        value: Datum,
    },
    /// A row of `key`, `value` and perhaps `headers`, `topic`, `partition` and `timestamp`.
    Row(Schema),
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
    /// A row of an error output: a record of a dead letter topic, with the headers of Kafka Connect. The fields are found by their
    /// names: `failed_row` or `element`, `error_message` or `msg`, and perhaps `stack`, `topic`, `partition`, `offset`,
    /// `timestamp`, `key` and `headers`.
    DeadLetter {
        /// Schema of the rows.
        schema: Schema,
        /// What its headers say besides.
        #[serde(default)]
        from: DeadLetterFrom,
    },
    /// A row of this schema: the value is in another format, perhaps in the frame of a schema registry.
    Encoded {
        /// Schema of the rows.
        schema: Schema,
        /// What values hold.
        format: Format,
        /// Whether values are framed. The schema is registered under the subject `<topic>-value` then.
        #[serde(default)]
        framed: bool,
        /// As in `Json`.
        #[serde(default)]
        key: Option<String>,
    },
}

impl SinkElement {
    /// Whether records can be made of such elements.
    ///
    /// # Errors
    /// `KAFKA_CONFIG` naming the field that is missing or of another type.
    pub fn check(&self) -> Result<()> {
        Records::new(self).map(drop)
    }

    /// Says who writes: the job, and which part of it.
    pub fn written_by(&mut self, job: &str, task: u16) {
        if let Self::DeadLetter { from, .. } = self {
            (from.job, from.task) = (job.to_owned(), task);
        }
    }
}

/// Makes records of elements.
#[derive(Debug)]
pub(super) enum Records {
    KeyValue,
    Pair { key: Datum, value: Datum },
    Row(RecordRow),
    Value,
    Payload,
    Json { json: RowToJson, key: Option<String> },
    DeadLetter(Box<DeadLetters>),
    Encoded { encoder: Box<RowEncoder>, format: Format, keys: RowToJson, key: Option<String> },
}

/// Room for a record's key and value.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// Numbers of a dead letter's headers.
    pub(super) partition: String,
    pub(super) offset: String,
}

impl Records {
    /// # Errors
    /// `KAFKA_CONFIG` when the key is no field of the schema, or a row of records does not have their fields.
    pub(super) fn new(element: &SinkElement) -> Result<Self> {
        Ok(match element {
            SinkElement::KeyValue => Self::KeyValue,
            SinkElement::Pair { key, value } => Self::Pair { key: *key, value: *value },
            SinkElement::Row(schema) => Self::Row(RecordRow::new(schema)?),
            SinkElement::Value => Self::Value,
            SinkElement::Payload => Self::Payload,
            SinkElement::Json { schema, key } => {
                check_key(schema, key.as_deref())?;
                Self::Json { json: RowToJson::new(schema), key: key.clone() }
            }
            SinkElement::DeadLetter { schema, from } => Self::DeadLetter(Box::new(DeadLetters::new(schema, from)?)),
            SinkElement::Encoded { schema, format, framed, key } => {
                check_key(schema, key.as_deref())?;
                let encoder = Box::new(RowEncoder::new(format, schema, *framed)?);
                Self::Encoded { encoder, format: format.clone(), keys: RowToJson::new(schema), key: key.clone() }
            }
        })
    }

    /// Has a registry give the schema of values its number, where both are there. Waits for the answer.
    ///
    /// # Errors
    /// `KAFKA_REGISTRY`.
    pub(super) fn register(&mut self, registry: Option<&SchemaRegistry>, topic: &str) -> Result<()> {
        match (self, registry) {
            (Self::Encoded { encoder, format, .. }, Some(registry)) => {
                encoder.register(registry, &format!("{topic}-value"), format)
            }
            _ => Ok(()),
        }
    }

    /// The record of an element, in its own bytes or in those of `room`.
    ///
    /// # Errors
    /// `ROW_MALFORMED`, `FORMAT_ELEMENT`, or `KAFKA_ELEMENT` for a key or value that its serializer cannot write.
    pub(super) fn record<'a>(&'a self, key: &'a [u8], value: &'a [u8], room: &'a mut Room) -> Result<OutRecord<'a>> {
        let of = |key: Option<&'a [u8]>, value: &'a [u8]| OutRecord { key, value: Some(value), ..OutRecord::default() };
        room.key.clear();
        room.value.clear();
        Ok(match self {
            Self::KeyValue => of(Some(key).filter(|key| !key.is_empty()), value),
            Self::Pair { key: key_as, value: value_as } => {
                let unfit = |what: &str, why: String| {
                    Error::new("KAFKA_ELEMENT", Domain::Guest, format!("a {what} cannot be written: {why}"))
                        .help("choose another serializer, or convert the elements before they are written")
                };
                let some_key = key_as.encode(key, &mut room.key).map_err(|why| unfit("key", why))?;
                let some_value = value_as.encode(value, &mut room.value).map_err(|why| unfit("value", why))?;
                OutRecord {
                    key: some_key.then_some(&room.key),
                    value: some_value.then_some(&room.value),
                    ..OutRecord::default()
                }
            }
            Self::Row(rows) => rows.read(value)?,
            Self::DeadLetter(letters) => letters.read(value, room)?,
            Self::Value => of(None, value),
            Self::Payload => of(None, payload(value)?),
            Self::Json { json, key: name } => {
                json.write(value, &mut room.value)?;
                let some = name.as_ref().map_or(Ok(false), |name| json.write_field(value, name, &mut room.key))?;
                of(some.then_some(&room.key), &room.value)
            }
            Self::Encoded { encoder, keys, key: name, .. } => {
                encoder.encode(value, &mut room.value)?;
                let some = name.as_ref().map_or(Ok(false), |name| keys.write_field(value, name, &mut room.key))?;
                of(some.then_some(&room.key), &room.value)
            }
        })
    }
}

fn check_key(schema: &Schema, key: Option<&str>) -> Result<()> {
    match key.filter(|name| schema.position(name).is_none()) {
        Some(name) => Err(Error::user("KAFKA_CONFIG", format!("the rows have no field {name:?} to be the key"))),
        None => Ok(()),
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
        let mut room = Room::default();
        let records = Records::new(element).expect("a kind");
        let record = records.record(key, value, &mut room).expect("a record");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        (record.key.map(text), record.value.map_or("null".to_owned(), text))
    }

    #[test]
    fn elements_become_what_is_asked_for() {
        let pair = |k: Option<&str>, v: &str| (k.map(str::to_owned), v.to_owned());
        assert_eq!(one(&SinkElement::KeyValue, b"k", b"v"), pair(Some("k"), "v"));
        assert_eq!(one(&SinkElement::KeyValue, b"", b"v"), pair(None, "v"));
        assert_eq!(one(&SinkElement::Value, b"", b"v"), pair(None, "v"));
        let some = SinkElement::Pair { key: Datum::NULLABLE_BYTES, value: Datum::NULLABLE_BYTES };
        assert_eq!(one(&some, b"\x01\x00", b"\x01\x01v"), pair(Some(""), "v"));
        assert_eq!(one(&some, b"\x00", b"\x00"), pair(None, "null"));
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
