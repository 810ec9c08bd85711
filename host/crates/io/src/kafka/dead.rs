//! Dead letters: what could not be processed, as records that tools for Kafka Connect's dead letter topics read.
//!
//! In: rows of an error output. Out: the record as it was, as far as the row holds it, with headers that say what went wrong and
//! where. Source: KIP-298, `DeadLetterQueueReporter` of Kafka Connect.

use super::metadata::{HeaderRow, text};
use super::outbox::{OutRecord, Text};
use super::record::Room;
use crate::row::{Cursor, Field, FieldType, RowToJson, Schema, null_at};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use thalweg_core::error::{Error, Result};

/// Bytes of a message or a stack trace in a header: the record must not grow beyond what brokers take.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Bytes of what may be the code in front of a message.
const CODE_BYTES_MAX: usize = 100;

/// What dead letters say besides what is in their rows.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterFrom {
    /// Name of the transform whose elements they are; empty if it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub transform: String,
    /// Name of the job.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub job: String,
    /// Which part of the job writes them.
    #[serde(default)]
    pub task: u16,
}

/// What a field of an error row is for a dead letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// What could not be processed: the record's value.
    Element,
    /// The same, a row of a whole record.
    Record,
    Message,
    Stack,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    Value,
    Headers,
    /// Says nothing.
    Other,
}

/// Makes dead letters of rows.
#[derive(Debug)]
pub(super) struct DeadLetters {
    parts: Vec<(Part, FieldType)>,
    /// The parts of a whole record in the row.
    record: Vec<(Part, FieldType)>,
    headers: Option<HeaderRow>,
    /// Writes an element that is neither bytes nor text: its field.
    json: Option<(RowToJson, String)>,
    /// Whether it was a record's value that could not be read.
    reading: bool,
    from: DeadLetterFrom,
    task: String,
}

/// What a row says.
#[derive(Default)]
struct Found<'a> {
    record: OutRecord<'a>,
    message: Text<'a>,
    stack: Text<'a>,
    topic: Option<Text<'a>>,
    partition: Option<i64>,
    offset: Option<i64>,
}

fn outer(field: &Field) -> Part {
    match (field.name.as_str(), &field.kind) {
        ("failed_row" | "element", FieldType::Row(row)) if is_record(row) => Part::Record,
        ("failed_row" | "element", _) => Part::Element,
        ("error_message" | "msg", FieldType::String) => Part::Message,
        ("stack" | "stack_trace", FieldType::String) => Part::Stack,
        _ => of_record(field),
    }
}

fn of_record(field: &Field) -> Part {
    match (field.name.as_str(), &field.kind) {
        ("topic", FieldType::String) => Part::Topic,
        ("partition", FieldType::Int32 | FieldType::Int64) => Part::Partition,
        ("offset", FieldType::Int32 | FieldType::Int64) => Part::Offset,
        ("timestamp", FieldType::Int64) => Part::Timestamp,
        ("key", FieldType::Bytes) => Part::Key,
        ("headers", kind) if HeaderRow::of(kind).is_some() => Part::Headers,
        _ => Part::Other,
    }
}

/// Whether rows hold whole records, as they are read with metadata.
fn is_record(row: &Schema) -> bool {
    let has = |part: Part| row.fields.iter().any(|field| of_record(field) == part);
    let value = row.fields.iter().any(is_value);
    value && [Part::Topic, Part::Partition, Part::Offset].into_iter().all(has)
}

fn is_value(field: &Field) -> bool {
    field.name == "value" && field.kind == FieldType::Bytes
}

impl DeadLetters {
    /// # Errors
    /// `KAFKA_CONFIG` when the rows are none of an error output.
    pub(super) fn new(schema: &Schema, from: &DeadLetterFrom) -> Result<Self> {
        let parts: Vec<_> = schema.fields.iter().map(|field| (outer(field), field)).collect();
        let wrong = |what: String| {
            Error::user("KAFKA_CONFIG", what).help(
                "dead letters are rows of an error output: failed_row and error_message, or element and msg, and perhaps stack, \
                 topic, partition, offset, timestamp, key and headers",
            )
        };
        if let Some((_, field)) = parts.iter().find(|(part, _)| *part == Part::Other) {
            return Err(wrong(format!("the field {:?} is no part of a dead letter, or of another type", field.name)));
        }
        let element = parts.iter().find(|(part, _)| [Part::Element, Part::Record].contains(part));
        let (part, element) = *element.ok_or_else(|| wrong("the rows have no field \"failed_row\"".to_owned()))?;
        if !parts.iter().any(|(part, _)| *part == Part::Message) {
            return Err(wrong("the rows have no field \"error_message\"".to_owned()));
        }
        let nested = match (&element.kind, part) {
            (FieldType::Row(row), Part::Record) => row.fields.as_slice(),
            _ => &[],
        };
        let of = |field: &Field| if is_value(field) { Part::Value } else { of_record(field) };
        let shapes = nested.iter().chain(&schema.fields).filter(|field| field.name == "headers");
        let whole = part == Part::Record || matches!(element.kind, FieldType::Bytes | FieldType::String);
        Ok(Self {
            record: nested.iter().map(|field| (of(field), field.kind.clone())).collect(),
            headers: shapes.filter_map(|field| HeaderRow::of(&field.kind)).next(),
            json: (!whole).then(|| (RowToJson::new(schema), element.name.clone())),
            reading: element.name == "failed_row",
            parts: parts.into_iter().map(|(part, field)| (part, field.kind.clone())).collect(),
            from: from.clone(),
            task: from.task.to_string(),
        })
    }

    /// The dead letter of a row.
    ///
    /// # Errors
    /// `ROW_MALFORMED`.
    pub(super) fn read<'a>(&'a self, row: &'a [u8], room: &'a mut Room) -> Result<OutRecord<'a>> {
        let mut found = Found::default();
        self.gather(&self.parts, &mut Cursor(row), &mut found)?;
        if let Some((json, name)) = &self.json {
            json.write_field(row, name, &mut room.value)?;
        }
        for (number, text) in [(found.partition, &mut room.partition), (found.offset, &mut room.offset)] {
            text.clear();
            number.map_or(Ok(()), |n| write!(text, "{n}")).unwrap_or_default(); // a text takes everything
        }
        let room = &*room;
        let mut record = found.record;
        if self.json.is_some() {
            record.value = Some(&room.value);
        }
        let code = found.message.split_once(": ").map(|(code, _)| code).filter(|code| is_code(code));
        let usual = if self.reading { "KAFKA_RECORD_MALFORMED" } else { "FUNCTION_FAILED" };
        let place = |number: Option<i64>, text: &'a str| number.map_or("", |_| text);
        for (name, value) in [
            ("__connect.errors.topic", found.topic.unwrap_or_default()),
            ("__connect.errors.partition", place(found.partition, &room.partition)),
            ("__connect.errors.offset", place(found.offset, &room.offset)),
            ("__connect.errors.connector.name", self.from.job.as_str()),
            ("__connect.errors.task.id", self.task.as_str()),
            ("__connect.errors.stage", if self.reading { "VALUE_CONVERTER" } else { "TRANSFORMATION" }),
            ("__connect.errors.class.name", self.from.transform.as_str()),
            ("__connect.errors.exception.class.name", code.unwrap_or(usual)),
            ("__connect.errors.exception.message", cut(found.message)),
            ("__connect.errors.exception.stacktrace", cut(found.stack)),
        ] {
            if !value.is_empty() {
                record.headers.push((name, Some(value.as_bytes())));
            }
        }
        Ok(record)
    }

    fn gather<'a>(&self, parts: &[(Part, FieldType)], cursor: &mut Cursor<'a>, found: &mut Found<'a>) -> Result<()> {
        let (count, nulls) = cursor.header()?;
        for (i, (part, kind)) in parts.iter().enumerate() {
            if i as u64 >= count || null_at(nulls, i) {
                continue;
            }
            match part {
                Part::Element if self.json.is_some() => cursor.skip(kind, 0)?,
                Part::Element | Part::Value => found.record.value = Some(cursor.prefixed()?),
                Part::Record => self.gather(&self.record, cursor, found)?,
                Part::Message => found.message = text(cursor.prefixed()?)?,
                Part::Stack => found.stack = text(cursor.prefixed()?)?,
                Part::Topic => found.topic = Some(text(cursor.prefixed()?)?),
                Part::Partition => found.partition = Some(number(kind, cursor)?),
                Part::Offset => found.offset = Some(number(kind, cursor)?),
                // -1 stands for none
                Part::Timestamp => found.record.timestamp = Some(number(kind, cursor)?).filter(|ms| *ms >= 0),
                Part::Key => found.record.key = Some(cursor.prefixed()?),
                Part::Headers => match &self.headers {
                    Some(shape) => cursor.each(|c| {
                        found.record.headers.push(shape.read(c)?);
                        Ok(())
                    })?,
                    None => cursor.skip(kind, 0)?,
                },
                Part::Other => cursor.skip(kind, 0)?,
            }
        }
        Ok(())
    }
}

/// A whole number; those of 32 bits are stored without a sign.
fn number(kind: &FieldType, cursor: &mut Cursor<'_>) -> Result<i64> {
    let n = cursor.varint()?;
    Ok(if *kind == FieldType::Int32 { i64::from(n as u32 as i32) } else { n as i64 })
}

fn is_code(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.$".contains(&b);
    !text.is_empty() && text.len() <= CODE_BYTES_MAX && text.bytes().all(plain)
}

/// As much of a text as goes into a header.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::super::metadata::metadata_schema;
    use super::*;

    fn schema(fields: Vec<(&str, FieldType)>) -> Schema {
        Schema::of(fields)
    }

    fn from() -> DeadLetterFrom {
        DeadLetterFrom { transform: "Read".to_owned(), job: "daily".to_owned(), task: 3 }
    }

    type Shown = (Option<String>, Option<String>, Vec<(String, String)>);

    fn shown(schema: &Schema, row: &[u8]) -> Shown {
        let letters = DeadLetters::new(schema, &from()).expect("an error output");
        let mut room = Room::default();
        let record = letters.read(row, &mut room).expect("a dead letter");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = record.headers.iter().map(|(name, value)| {
            ((*name).replace("__connect.errors", ""), value.map_or_else(|| "null".to_owned(), text))
        });
        (record.key.map(text), record.value.map(text), headers.collect())
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_record_that_cannot_be_read_keeps_its_bytes_and_says_where_it_was() {
        let mut rows = schema(vec![
            ("failed_row", FieldType::Bytes),
            ("error_message", FieldType::String),
            ("topic", FieldType::String),
            ("partition", FieldType::Int32),
            ("offset", FieldType::Int64),
            ("timestamp", FieldType::Int64),
            ("key", FieldType::Bytes),
        ]);
        rows.fields.extend(metadata_schema().fields.into_iter().filter(|field| field.name == "headers"));
        let row = b"\x08\x00\x01{\x06no row\x01t\x02\xac\x02\xe8\x07\x01k\0\0\0\x01\x02\x00\x01h\x01x";
        let (key, value, headers) = shown(&rows, row);
        assert_eq!((key.as_deref(), value.as_deref()), (Some("k"), Some("{")));
        let expected = [
            ("h", "x"),
            (".topic", "t"),
            (".partition", "2"),
            (".offset", "300"),
            (".connector.name", "daily"),
            (".task.id", "3"),
            (".stage", "VALUE_CONVERTER"),
            (".class.name", "Read"),
            (".exception.class.name", "KAFKA_RECORD_MALFORMED"),
            (".exception.message", "no row"),
        ];
        assert_eq!(headers, pairs(&expected));
        let letters = DeadLetters::new(&rows, &from()).expect("an error output");
        assert_eq!(letters.read(row, &mut Room::default()).expect("a dead letter").timestamp, Some(1000));
        assert!((0..row.len()).all(|end| letters.read(&row[..end], &mut Room::default()).is_err()), "cut off anywhere");
    }

    #[test]
    fn an_element_that_a_function_cannot_process_is_json_with_the_functions_own_code() {
        let element = FieldType::Row(schema(vec![("n", FieldType::Int64)]));
        let rows = schema(vec![("element", element), ("msg", FieldType::String), ("stack", FieldType::String)]);
        let (key, value, headers) = shown(&rows, b"\x03\x00\x01\x00\x07\x0abad: seven\x05where");
        assert_eq!((key, value.as_deref()), (None, Some(r#"{"n":7}"#)));
        let expected = [
            (".connector.name", "daily"),
            (".task.id", "3"),
            (".stage", "TRANSFORMATION"),
            (".class.name", "Read"),
            (".exception.class.name", "bad"),
            (".exception.message", "bad: seven"),
            (".exception.stacktrace", "where"),
        ];
        assert_eq!(headers, pairs(&expected));
    }

    #[test]
    fn a_whole_record_in_an_element_is_written_as_it_was() {
        let element = FieldType::Row(metadata_schema());
        let rows = schema(vec![("element", element), ("msg", FieldType::String), ("stack", FieldType::String)]);
        let record = b"\x09\x00\x01t\x04\x05\xe8\x07\x01k\x01v\0\0\0\x00\x00\x00";
        let row = [b"\x03\x00", record.as_slice(), b"\x03sad\x00"].concat();
        let (key, value, headers) = shown(&rows, &row);
        assert_eq!((key.as_deref(), value.as_deref()), (Some("k"), Some("v")));
        assert!(headers.starts_with(&pairs(&[(".topic", "t"), (".partition", "4"), (".offset", "5")])), "{headers:?}");
        assert!(
            headers.ends_with(&pairs(&[(".exception.class.name", "FUNCTION_FAILED"), (".exception.message", "sad")]))
        );
    }

    #[test]
    fn a_message_has_a_bound() {
        let rows = schema(vec![("failed_row", FieldType::Bytes), ("error_message", FieldType::String)]);
        let mut row = b"\x02\x00\x01v\x80\x80\x04".to_vec(); // 64 KiB
        row.extend(std::iter::repeat_n(b'x', 64 << 10));
        let (_, _, headers) = shown(&rows, &row);
        assert_eq!(headers.last().map(|(_, message)| message.len()), Some(TEXT_BYTES_MAX));
    }

    #[test]
    fn rows_of_no_error_output_are_refused_by_name() {
        let refused = |fields| DeadLetters::new(&schema(fields), &from()).err().map(|e| e.message).unwrap_or_default();
        let (value, message) = (("failed_row", FieldType::Bytes), ("error_message", FieldType::String));
        assert!(refused(vec![message.clone()]).contains("\"failed_row\""));
        assert!(refused(vec![value.clone()]).contains("\"error_message\""));
        assert!(refused(vec![value, message, ("word", FieldType::String)]).contains("\"word\""));
    }
}
