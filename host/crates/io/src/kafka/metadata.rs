//! Records with all Kafka knows of them, as rows: read with metadata, written with headers.
//!
//! Source: KafkaIO's `ByteArrayKafkaRecord` and `KafkaTimestampType`; `WriteToKafka(with_headers=True)`.

use super::outbox::{OutRecord, Text};
use crate::row::{Cursor, Field, FieldType, Schema, null_at};
use rdkafka::message::{Headers, Message, Timestamp};
use thalweg_core::coder::write_varint;
use thalweg_core::error::{Domain, Error, Result};

fn field(name: &str, kind: FieldType, nullable: bool) -> Field {
    Field { name: name.to_owned(), kind, nullable }
}

/// The row of a record that is read with metadata: `topic, partition, offset, timestamp, key, value, headers, timestampTypeId,
/// timestampTypeName`.
#[must_use]
pub fn metadata_schema() -> Schema {
    let header = vec![field("key", FieldType::String, false), field("value", FieldType::Bytes, true)];
    let header = field("", FieldType::Row(Schema { fields: header }), false);
    Schema {
        fields: vec![
            field("topic", FieldType::String, false),
            field("partition", FieldType::Int32, false),
            field("offset", FieldType::Int64, false),
            field("timestamp", FieldType::Int64, false),
            field("key", FieldType::Bytes, true),
            field("value", FieldType::Bytes, true),
            field("headers", FieldType::Array(Box::new(header)), true),
            field("timestampTypeId", FieldType::Int32, false),
            field("timestampTypeName", FieldType::String, false),
        ],
    }
}

/// Appends the row of a record.
pub(super) fn write(record: &impl Message, out: &mut Vec<u8>) {
    let (time, type_id, type_name) = match record.timestamp() {
        Timestamp::NotAvailable => (-1, -1, "NoTimestampType"),
        Timestamp::CreateTime(ms) => (ms, 0, "CreateTime"),
        Timestamp::LogAppendTime(ms) => (ms, 1, "LogAppendTime"),
    };
    let nulls = u8::from(record.key().is_none()) << 4 | u8::from(record.payload().is_none()) << 5;
    out.push(9);
    out.extend_from_slice(if nulls == 0 { &[0] } else { &[1] });
    if nulls != 0 {
        out.push(nulls);
    }
    bytes(out, record.topic().as_bytes());
    int32(out, record.partition());
    write_varint(out, record.offset() as u64);
    write_varint(out, time as u64);
    record.key().into_iter().chain(record.payload()).for_each(|part| bytes(out, part));
    let headers = record.headers();
    let count = headers.map_or(0, Headers::count);
    out.extend_from_slice(&(count as i32).to_be_bytes());
    for header in headers.into_iter().flat_map(Headers::iter) {
        out.extend_from_slice(if header.value.is_none() { &[2, 1, 2] } else { &[2, 0] });
        bytes(out, header.key.as_bytes());
        header.value.into_iter().for_each(|value| bytes(out, value));
    }
    int32(out, type_id);
    bytes(out, type_name.as_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn int32(out: &mut Vec<u8>, n: i32) {
    write_varint(out, u64::from(n as u32));
}

/// Which field of a row becomes which part of a record.
#[derive(Debug)]
pub(super) struct RecordRow {
    schema: Schema,
    headers: Option<HeaderRow>,
}

/// Which fields of a header's row are what.
#[derive(Debug)]
pub(super) struct HeaderRow {
    key: usize,
    value: usize,
    row: Schema,
}

impl RecordRow {
    /// # Errors
    /// `KAFKA_CONFIG` when a field is missing or of another type.
    pub(super) fn new(schema: &Schema) -> Result<Self> {
        let wrong = |what: String| {
            Error::user("KAFKA_CONFIG", what).help(
                "rows for Kafka have the fields key and value (bytes), and perhaps headers (a list of rows of key, a string, and \
                 value, bytes), topic (a string), partition and timestamp (whole numbers)",
            )
        };
        let mut headers = None;
        for field in &schema.fields {
            let fits = match (field.name.as_str(), &field.kind) {
                ("key" | "value", FieldType::Bytes)
                | ("topic", FieldType::String)
                | ("partition" | "timestamp", FieldType::Int32 | FieldType::Int64) => true,
                ("headers", kind) => {
                    headers = HeaderRow::of(kind);
                    headers.is_some()
                }
                _ => false,
            };
            if !fits {
                return Err(wrong(format!(
                    "the field {:?} is no part of a Kafka record, or of another type",
                    field.name
                )));
            }
        }
        match ["key", "value"].into_iter().find(|name| schema.position(name).is_none()) {
            Some(name) => Err(wrong(format!("the rows have no field {name:?}"))),
            None => Ok(Self { schema: schema.clone(), headers }),
        }
    }

    /// The record of a row.
    ///
    /// # Errors
    /// `ROW_MALFORMED`.
    pub(super) fn read<'a>(&self, row: &'a [u8]) -> Result<OutRecord<'a>> {
        let mut cursor = Cursor(row);
        let (count, nulls) = cursor.header()?;
        let mut record = OutRecord::default();
        for (i, field) in self.schema.fields.iter().enumerate() {
            if i as u64 >= count || null_at(nulls, i) {
                continue;
            }
            match field.name.as_str() {
                "key" => record.key = Some(cursor.prefixed()?),
                "value" => record.value = Some(cursor.prefixed()?),
                "topic" => record.topic = Some(text(cursor.prefixed()?)?),
                "partition" => {
                    let n = cursor.varint()?;
                    let n = i32::try_from(n as i64).ok().filter(|n| *n >= 0);
                    record.partition = Some(n.ok_or_else(|| malformed("a partition is a number from 0"))?);
                }
                "timestamp" => record.timestamp = Some(cursor.varint()? as i64),
                _ => {
                    let shape = self.headers.as_ref().ok_or_else(|| malformed("it has no headers"))?;
                    cursor.each(|c| {
                        record.headers.push(shape.read(c)?);
                        Ok(())
                    })?;
                }
            }
        }
        Ok(record)
    }
}

impl HeaderRow {
    /// The headers in a field of this type; none if it is no list of rows of a key, a string, and a value, bytes.
    pub(super) fn of(kind: &FieldType) -> Option<Self> {
        let FieldType::Array(element) = kind else { return None };
        let FieldType::Row(row) = &element.kind else { return None };
        let has = |name: &str, kind: &FieldType| {
            row.position(name).filter(|i| row.fields.get(*i).is_some_and(|f| f.kind == *kind))
        };
        let places = has("key", &FieldType::String).zip(has("value", &FieldType::Bytes)).filter(|_| !element.nullable);
        places.map(|(key, value)| Self { key, value, row: row.clone() })
    }

    /// The next header.
    ///
    /// # Errors
    /// `ROW_MALFORMED`.
    pub(super) fn read<'a>(&self, cursor: &mut Cursor<'a>) -> Result<(Text<'a>, Option<&'a [u8]>)> {
        let (count, nulls) = cursor.header()?;
        let (mut key, mut value) = ("", None);
        for (i, field) in self.row.fields.iter().enumerate() {
            if i as u64 >= count || null_at(nulls, i) {
                continue;
            }
            match i {
                _ if i == self.key => key = text(cursor.prefixed()?)?,
                _ if i == self.value => value = Some(cursor.prefixed()?),
                _ => cursor.skip(&field.kind, 0)?,
            }
        }
        Ok((key, value))
    }
}

pub(super) fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| malformed("a string is not UTF-8"))
}

fn malformed(what: &str) -> Error {
    Error::new("ROW_MALFORMED", Domain::Guest, format!("malformed row for Kafka: {what}"))
        .help("the worker's encoding does not match the schema declared in the pipeline")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::RowToJson;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    fn shown(record: &OwnedMessage) -> String {
        let mut row = Vec::new();
        write(record, &mut row);
        let mut out = Vec::new();
        RowToJson::new(&metadata_schema()).write(&row, &mut out).expect("a row of that schema");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_record_becomes_the_row_that_kafkaio_gives() {
        let headers = OwnedHeaders::new()
            .insert(Header { key: "a", value: Some("x") })
            .insert(Header { key: "b", value: None::<&str> });
        let time = Timestamp::CreateTime(1000);
        let record = OwnedMessage::new(Some(b"v".to_vec()), None, "t".to_owned(), time, 2, 300, Some(headers));
        assert_eq!(
            shown(&record),
            r#"{"topic":"t","partition":2,"offset":300,"timestamp":1000,"key":null,"value":"dg==","headers":[{"key":"a","value":"eA=="},{"key":"b","value":null}],"timestampTypeId":0,"timestampTypeName":"CreateTime"}"#
        );
        let bare = OwnedMessage::new(None, Some(b"k".to_vec()), "t".to_owned(), Timestamp::NotAvailable, 0, 0, None);
        assert_eq!(
            shown(&bare),
            r#"{"topic":"t","partition":0,"offset":0,"timestamp":-1,"key":"aw==","value":null,"headers":[],"timestampTypeId":-1,"timestampTypeName":"NoTimestampType"}"#
        );
    }

    #[test]
    fn a_row_with_headers_becomes_a_record() {
        let header =
            Schema { fields: vec![field("key", FieldType::String, false), field("value", FieldType::Bytes, true)] };
        let headers = FieldType::Array(Box::new(field("", FieldType::Row(header), false)));
        let schema = Schema {
            fields: vec![
                field("value", FieldType::Bytes, true),
                field("key", FieldType::Bytes, false),
                field("headers", headers, true),
                field("partition", FieldType::Int64, true),
                field("timestamp", FieldType::Int64, true),
                field("topic", FieldType::String, true),
            ],
        };
        let rows = RecordRow::new(&schema).expect("fits");
        let row = b"\x06\x00\x01v\x01k\0\0\0\x01\x02\x00\x01h\x02xy\x03\xe8\x07\x01t";
        let record = rows.read(row).expect("a row");
        assert_eq!((record.key, record.value, record.topic), (Some(&b"k"[..]), Some(&b"v"[..]), Some("t")));
        assert_eq!((record.partition, record.timestamp), (Some(3), Some(1000)));
        assert_eq!(record.headers, [("h", Some(&b"xy"[..]))]);
        let tombstone = rows.read(b"\x06\x01\x3d\x01k").expect("a row");
        assert_eq!(tombstone, OutRecord { key: Some(b"k"), ..OutRecord::default() });
        assert!((0..row.len()).all(|cut| rows.read(&row[..cut]).is_err()), "cut off anywhere");
    }

    #[test]
    fn rows_without_the_fields_of_a_record_are_refused() {
        let refused = |fields: Vec<Field>| RecordRow::new(&Schema { fields }).err().map(|e| e.message);
        let key = field("key", FieldType::Bytes, false);
        assert!(refused(vec![key.clone()]).is_some_and(|m| m.contains("\"value\"")));
        let value = field("value", FieldType::String, false);
        assert!(refused(vec![key.clone(), value]).is_some_and(|m| m.contains("\"value\"")));
        let value = field("value", FieldType::Bytes, false);
        assert!(refused(vec![key, value, field("x", FieldType::Int64, true)]).is_some_and(|m| m.contains("\"x\"")));
    }
}
