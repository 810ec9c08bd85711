//! Formats of records: how a value holds a row.
//!
//! In: the bytes of a record's value. Out: rows, or a sentence on why it is none; and the way back. A value may stand in the
//! frame of a schema registry: `0 | number of the schema (4, big end) | for Protobuf the place of the message | data`. What
//! is not framed is in the format's own encoding. Source: the wire format of Confluent's serializers.

mod access;
mod avro;
mod avro_said;
mod avro_schema;
mod avro_shape;
mod avro_writer;
mod proto;
mod registry;
pub mod testing;

pub use access::{Access, Address};
pub use registry::{Found, Registered, SchemaRegistry};

use crate::row::{JsonToRow, RowToJson, Schema};
use avro::AvroRows;
use proto::ProtoRows;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::coder::{read_varint, write_varint};
use thalweg_core::error::{Domain, Error, Result};

/// Writers' schemas that a decoder keeps parsed; of more it begins anew.
const WRITERS_MAX: usize = 256;
/// Messages in one another that a frame may name.
const PLACE_MAX: u64 = 32;

/// How a value holds a row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A JSON object with the fields of this schema.
    Json(Schema),
    /// Avro's binary encoding of a record.
    Avro {
        /// The schema, as JSON.
        schema: String,
    },
    /// A Protobuf message.
    Proto {
        /// The text of a .proto file.
        schema: String,
        /// Name of the message; may be left out where the file has only one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
}

#[derive(Debug)]
enum Rows {
    Json(Schema),
    Avro(AvroRows),
    Proto(ProtoRows),
}

impl Format {
    /// Rows that are written in Avro, with a schema made of theirs.
    ///
    /// # Errors
    /// `FORMAT_SCHEMA` naming the field that Avro cannot have.
    pub fn avro_of(row: &Schema) -> Result<Self> {
        Ok(Self::Avro { schema: avro_schema::of_row(row).map_err(|why| unfit(&why))? })
    }

    /// The fields of the rows that are read.
    ///
    /// # Errors
    /// `FORMAT_SCHEMA` for a schema that cannot be read, or names what no row can have.
    pub fn row(&self) -> Result<Schema> {
        Ok(self.rows()?.row().clone())
    }

    fn rows(&self) -> Result<Rows> {
        let rows = match self {
            Self::Json(schema) => return Ok(Rows::Json(schema.clone())),
            Self::Avro { schema } => AvroRows::new(schema).map(Rows::Avro),
            Self::Proto { schema, message } => ProtoRows::new(schema, message.as_deref()).map(Rows::Proto),
        };
        rows.map_err(|why| unfit(&why))
    }
}

impl Rows {
    /// What a registry calls it.
    fn kind(&self) -> &'static str {
        match self {
            Self::Json(_) => "JSON",
            Self::Avro(_) => "AVRO",
            Self::Proto(_) => "PROTOBUF",
        }
    }

    fn row(&self) -> &Schema {
        match self {
            Self::Json(row) => row,
            Self::Avro(rows) => rows.row(),
            Self::Proto(rows) => rows.row(),
        }
    }
}

fn unfit(why: &str) -> Error {
    Error::user("FORMAT_SCHEMA", format!("the schema of the records does not do: {why}"))
        .help("correct the schema; what no row can have may be read as RAW and taken apart in a function")
}

/// The number of the schema in a frame, and what follows; none where there is no frame.
#[must_use]
pub fn framed(value: &[u8]) -> Option<(u32, &[u8])> {
    let (0, rest) = value.split_first().map(|(magic, rest)| (*magic, rest))? else { return None };
    let (id, rest) = rest.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*id), rest))
}

/// Why there is no row.
#[derive(Debug)]
pub enum Undecodable {
    /// The record is at fault: a sentence.
    Record(String),
    /// Something else is, and other records would fare no better.
    Job(Error),
}

impl From<String> for Undecodable {
    fn from(why: String) -> Self {
        Self::Record(why)
    }
}

/// Makes rows of values.
#[derive(Debug)]
pub struct RowDecoder {
    rows: Rows,
    json: Option<JsonToRow>,
    /// Values are framed, and this knows the schemas.
    registry: Option<Arc<SchemaRegistry>>,
    writers: Writers,
}

impl RowDecoder {
    /// A decoder; with a registry values must be framed.
    ///
    /// # Errors
    /// `FORMAT_SCHEMA`, `ROW_NOT_FROM_JSON`.
    pub fn new(format: &Format, registry: Option<Arc<SchemaRegistry>>) -> Result<Self> {
        let rows = format.rows()?;
        let json = if let Rows::Json(schema) = &rows { Some(JsonToRow::new(schema)?) } else { None };
        Ok(Self { rows, json, registry, writers: Writers::default() })
    }

    /// Appends the row of a value; `None` is a null value, which holds none.
    ///
    /// # Errors
    /// [`Undecodable`]; `out` may then end in the middle.
    pub fn decode(&mut self, value: Option<&[u8]>, out: &mut Vec<u8>) -> std::result::Result<(), Undecodable> {
        let value = value.ok_or_else(|| "its value is null (a tombstone)".to_owned())?;
        let Some(registry) = self.registry.clone() else { return Ok(self.plain(value, out)?) };
        let no_frame = || "it does not begin with the frame of a schema registry (a zero and the schema's number)";
        let (id, data) = framed(value).ok_or_else(|| no_frame().to_owned())?;
        match &self.rows {
            Rows::Json(_) => Ok(self.plain(data, out)?),
            Rows::Proto(rows) => {
                let (place, data) = take_place(data).ok_or_else(|| "its frame is cut off".to_owned())?;
                let writer = self.writers.of(&self.rows, &registry, id)?;
                if !matches!(writer, Writer::Proto(Some(there)) if *there == place) {
                    let other = "it holds another message than the one that is read: of its schema";
                    return Err(Undecodable::Record(format!("{other} {id} the one at {place:?}")));
                }
                Ok(rows.decode(data, out)?)
            }
            Rows::Avro(rows) => {
                let Writer::Avro(writer) = self.writers.of(&self.rows, &registry, id)? else {
                    return Err(Undecodable::Record(format!("its schema {id} is not of Avro")));
                };
                Ok(rows.decode(data, Some(writer), out)?)
            }
        }
    }

    fn plain(&self, value: &[u8], out: &mut Vec<u8>) -> std::result::Result<(), String> {
        match (&self.rows, &self.json) {
            (Rows::Avro(rows), _) => rows.decode(value, None, out),
            (Rows::Proto(rows), _) => rows.decode(value, out),
            (Rows::Json(_), Some(json)) => {
                json.write(value, out).map_err(|why| format!("it is no such JSON object: {why}"))
            }
            (Rows::Json(_), None) => Ok(()),
        }
    }
}

/// How values of a writer are read.
#[derive(Debug)]
enum Writer {
    Avro(avro::Writer),
    /// Where the message that is read stands in the writer's file; none where it does not.
    Proto(Option<Vec<i64>>),
}

/// Writers by the number of their schema; the sentence for one that does not do.
#[derive(Debug, Default)]
struct Writers(BTreeMap<u32, std::result::Result<Writer, String>>);

impl Writers {
    /// The writer of a number. Waits for the registry if that was not asked yet.
    fn of(&mut self, rows: &Rows, registry: &SchemaRegistry, id: u32) -> std::result::Result<&Writer, Undecodable> {
        if !self.0.contains_key(&id) {
            // what is no schema is not kept: there may be one yet
            let found = match registry.schema(id).map_err(Undecodable::Job)? {
                Found::Schema(found) => found,
                Found::Unknown => return Err(format!("the schema registry does not know its schema {id}").into()),
                Found::Unusable(why) => return Err(format!("its schema {id}: {why}").into()),
            };
            if self.0.len() >= WRITERS_MAX {
                self.0.clear();
            }
            self.0.insert(id, writer(rows, &found));
        }
        let writer = self.0.get(&id).ok_or_else(|| "its schema is gone".to_owned())?;
        Ok(writer.as_ref().map_err(|why| format!("its schema {id}: {why}"))?)
    }
}

fn writer(rows: &Rows, found: &Registered) -> std::result::Result<Writer, String> {
    match (rows, found.kind.as_str()) {
        (Rows::Avro(rows), "AVRO") => rows.writer(&found.text).map(Writer::Avro),
        (Rows::Proto(rows), "PROTOBUF") => rows.place_in(&found.text).map(Writer::Proto),
        (rows, other) => Err(format!("it is of the kind {other}, not {}", rows.kind())),
    }
}

/// The place of a message: how many numbers, and the numbers, all zigzag; a zero alone stands for the first message of the file.
fn take_place(data: &[u8]) -> Option<(Vec<i64>, &[u8])> {
    let zigzag = |n: u64| (n >> 1) as i64 ^ -((n & 1) as i64);
    let (count, mut rest) = read_varint(data).ok()?;
    let count = u64::try_from(zigzag(count)).ok().filter(|count| *count <= PLACE_MAX)?;
    let mut place = Vec::new();
    for _ in 0..count {
        let (n, left) = read_varint(rest).ok()?;
        place.push(zigzag(n));
        rest = left;
    }
    if place.is_empty() {
        place.push(0);
    }
    Some((place, rest))
}

fn put_place(place: &[i64], out: &mut Vec<u8>) {
    if place == [0] {
        out.push(0);
        return;
    }
    let zigzag = |n: i64| (n << 1 ^ n >> 63) as u64;
    write_varint(out, zigzag(place.len() as i64));
    place.iter().for_each(|n| write_varint(out, zigzag(*n)));
}

/// Makes values of rows.
#[derive(Debug)]
pub struct RowEncoder {
    rows: Rows,
    json: Option<RowToJson>,
    row: Schema,
    /// The frame in front of values; empty without a registry, and until it was asked.
    frame: Vec<u8>,
    framed: bool,
}

impl RowEncoder {
    /// An encoder of rows with the fields of `row`, which are found by their names; `framed` ones must be registered first.
    ///
    /// # Errors
    /// `FORMAT_SCHEMA`; `FORMAT_UNSUPPORTED` for framed JSON.
    pub fn new(format: &Format, row: &Schema, framed: bool) -> Result<Self> {
        let rows = format.rows()?;
        if framed && matches!(rows, Rows::Json(_)) {
            let error = Error::user("FORMAT_UNSUPPORTED", "JSON is not written in the frame of a schema registry");
            return Err(error.help("leave the registry out, or write AVRO"));
        }
        let known = |name: &str| rows.row().position(name).is_some();
        if let Some(field) = row.fields.iter().find(|field| !known(&field.name)) {
            return Err(unfit(&format!("it has no field {:?}, but the rows have", field.name)));
        }
        let json = matches!(rows, Rows::Json(_)).then(|| RowToJson::new(row));
        Ok(Self { rows, json, row: row.clone(), frame: Vec::new(), framed })
    }

    /// Has a registry give the schema its number. Waits for the answer.
    ///
    /// # Errors
    /// `KAFKA_REGISTRY`.
    pub fn register(&mut self, registry: &SchemaRegistry, subject: &str, format: &Format) -> Result<()> {
        let (Format::Avro { schema: text } | Format::Proto { schema: text, .. }) = format else { return Ok(()) };
        let id = registry.register(subject, &Registered { kind: self.rows.kind().to_owned(), text: text.clone() })?;
        self.frame = [&[0], id.to_be_bytes().as_slice()].concat();
        if let Rows::Proto(rows) = &self.rows {
            put_place(&rows.place(), &mut self.frame);
        }
        Ok(())
    }

    /// Appends the value of a row.
    ///
    /// # Errors
    /// `FORMAT_ELEMENT` for a row that does not fit the schema, `ROW_MALFORMED`.
    pub fn encode(&self, row: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if self.framed && self.frame.is_empty() {
            return Err(Error::internal(
                "FORMAT_NOT_REGISTERED",
                "rows were written before their schema was registered",
            ));
        }
        out.extend_from_slice(&self.frame);
        let written = match (&self.rows, &self.json) {
            (Rows::Avro(rows), _) => rows.encode(&self.row, row, out),
            (Rows::Proto(rows), _) => rows.encode(&self.row, row, out),
            (Rows::Json(_), Some(json)) => return json.write(row, out),
            (Rows::Json(_), None) => Ok(()),
        };
        written.map_err(|why| {
            Error::new("FORMAT_ELEMENT", Domain::Guest, format!("a row cannot be written: {why}"))
                .help("change the row's fields or the schema, so that one fits the other")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::testing::FakeRegistry;
    use super::*;
    use crate::row::FieldType;

    const NUMBER: &str = r#"{"type":"record","name":"R","fields":[{"name":"n","type":"long"}]}"#;
    const MESSAGES: &str =
        r#"syntax = "proto3"; message A { int64 n = 1; message B { int64 n = 1; } } message C { int64 n = 1; }"#;

    fn avro(schema: &str) -> Format {
        Format::Avro { schema: schema.to_owned() }
    }

    fn proto(message: &str) -> Format {
        Format::Proto { schema: MESSAGES.to_owned(), message: Some(message.to_owned()) }
    }

    fn at(address: &str) -> Arc<SchemaRegistry> {
        let addresses = Address::list(address).expect("an address");
        Arc::new(SchemaRegistry::new(&addresses, &Access::default()).expect("a client"))
    }

    fn registry(fake: &FakeRegistry) -> Arc<SchemaRegistry> {
        at(&fake.url())
    }

    fn decoded(decoder: &mut RowDecoder, value: Option<&[u8]>) -> std::result::Result<Vec<u8>, String> {
        let mut out = Vec::new();
        match decoder.decode(value, &mut out) {
            Ok(()) => Ok(out),
            Err(Undecodable::Record(why)) => Err(why),
            Err(Undecodable::Job(e)) => Err(format!("job: {}", e.code)),
        }
    }

    /// The row `{n: 7}`.
    const ROW: &[u8] = b"\x01\x00\x07";

    #[test]
    fn values_in_the_frame_of_a_registry_are_read_with_their_writers_schema() {
        let fake = FakeRegistry::start();
        let old = fake.add(
            "AVRO",
            r#"{"type":"record","name":"R","fields":[{"name":"x","type":"string"},{"name":"n","type":"int"}]}"#,
        );
        let json = fake.add("JSON", "{}");
        let mut decoder = RowDecoder::new(&avro(NUMBER), Some(registry(&fake))).expect("a decoder");
        let value = |id: u32, data: &[u8]| [&[0], id.to_be_bytes().as_slice(), data].concat();
        for _ in 0..3 {
            assert_eq!(decoded(&mut decoder, Some(&value(old, b"\x02a\x0e"))), Ok(ROW.to_vec()));
        }
        assert_eq!(fake.asked().len(), 1);
        let why = |decoder: &mut RowDecoder, value: Option<&[u8]>| decoded(decoder, value).err().unwrap_or_default();
        assert!(why(&mut decoder, Some(&value(77, b"\x0e"))).contains("does not know its schema 77"));
        assert!(why(&mut decoder, Some(&value(json, b"\x0e"))).contains("of the kind JSON"));
        let refers = fake.add("AVRO", "refers");
        assert!(why(&mut decoder, Some(&value(refers, b"\x0e"))).contains("refers to other schemas"));
        assert!(why(&mut decoder, Some(b"\x0e")).contains("does not begin with the frame"));
        assert!(why(&mut decoder, Some(b"\x00\x00")).contains("does not begin with the frame"));
        assert!(why(&mut decoder, None).contains("tombstone"));
        let gone = at("http://127.0.0.1:1");
        let mut decoder = RowDecoder::new(&avro(NUMBER), Some(gone)).expect("a decoder");
        assert_eq!(decoded(&mut decoder, Some(&value(1, b"\x0e"))), Err("job: KAFKA_REGISTRY".to_owned()));
    }

    #[test]
    fn rows_are_written_into_the_frame_that_readers_expect() {
        let fake = FakeRegistry::start();
        let row = Schema::of([("n", FieldType::Int64)]);
        for (format, place) in [
            (avro(NUMBER), &b""[..]),
            (proto("A"), b"\x00"),
            (proto("C"), b"\x02\x02"),
            (proto("A.B"), b"\x04\x00\x00"),
        ] {
            let mut encoder = RowEncoder::new(&format, &row, true).expect("an encoder");
            assert_eq!(encoder.encode(ROW, &mut Vec::new()).map_err(|e| e.code), Err("FORMAT_NOT_REGISTERED"));
            encoder.register(&registry(&fake), "t-value", &format).expect("registered");
            let mut value = Vec::new();
            encoder.encode(ROW, &mut value).expect("a value");
            let (id, data) = framed(&value).expect("a frame");
            assert!(id >= 100_000 && data.starts_with(place), "{data:?}");
            let mut decoder = RowDecoder::new(&format, Some(registry(&fake))).expect("a decoder");
            assert_eq!(decoded(&mut decoder, Some(&value)), Ok(ROW.to_vec()));
            if !place.is_empty() && place != b"\x00" {
                let mut other = RowDecoder::new(&proto("A"), Some(registry(&fake))).expect("a decoder");
                assert!(decoded(&mut other, Some(&value)).is_err_and(|why| why.contains("another message")));
            }
        }
        let json = Format::Json(row.clone());
        assert_eq!(RowEncoder::new(&json, &row, true).err().map(|e| e.code), Some("FORMAT_UNSUPPORTED"));
        let mut decoder = RowDecoder::new(&json, Some(registry(&fake))).expect("a decoder");
        assert_eq!(decoded(&mut decoder, Some(b"\x00\x00\x00\x00\x01{\"n\":7}")), Ok(ROW.to_vec()));
    }

    #[test]
    fn a_protobuf_message_is_told_by_its_name_in_the_file_of_its_writer() {
        let fake = FakeRegistry::start();
        let before = "message Z { } ";
        let file = |package: &str, first: &str| {
            format!(
                r#"syntax = "proto3"; package {package}; import "far.proto"; {first}message A {{ far.Far f = 2; int64 n = 1; }}"#
            )
        };
        let ours = r#"syntax = "proto3"; package p; message A { int64 n = 1; }"#;
        let ours = Format::Proto { schema: ours.to_owned(), message: None };
        let mut decoder = RowDecoder::new(&ours, Some(registry(&fake))).expect("a decoder");
        let mut read = |kind: &str, text: &str, place: &[u8]| {
            let id = fake.add(kind, text);
            decoded(&mut decoder, Some(&[&[0], id.to_be_bytes().as_slice(), place, b"\x08\x07"].concat()))
        };
        // what a file imports is not asked for
        assert_eq!(read("PROTOBUF", &file("p", ""), b"\x00"), Ok(ROW.to_vec()));
        assert_eq!(read("PROTOBUF", &file("p", before), b"\x02\x02"), Ok(ROW.to_vec()));
        for (kind, text, place, why) in [
            ("PROTOBUF", file("p", before), &b"\x00"[..], "another message"),
            ("PROTOBUF", file("q", ""), b"\x00", "another message"),
            ("PROTOBUF", file("p", ""), b"\x04\x00\x00", "another message"),
            ("PROTOBUF", "message".to_owned(), b"\x00", "no .proto file"),
            ("AVRO", NUMBER.to_owned(), b"\x00", "of the kind AVRO, not PROTOBUF"),
        ] {
            assert!(read(kind, &text, place).is_err_and(|said| said.contains(why)), "{kind} {text}");
        }
    }

    #[test]
    fn values_without_a_frame_are_in_the_formats_own_encoding() {
        let row = Schema::of([("n", FieldType::Int64)]);
        for (format, value) in [
            (avro(NUMBER), &b"\x0e"[..]),
            (proto("A"), b"\x08\x07"),
            (Format::Json(row.clone()), b"{\"n\":7}"),
            (Format::avro_of(&row).expect("a schema"), b"\x0e"),
        ] {
            assert_eq!(format.row().as_ref(), Ok(&row));
            let mut out = Vec::new();
            RowEncoder::new(&format, &row, false).expect("an encoder").encode(ROW, &mut out).expect("a value");
            assert_eq!(out, value);
            let mut decoder = RowDecoder::new(&format, None).expect("a decoder");
            assert_eq!(decoded(&mut decoder, Some(value)), Ok(ROW.to_vec()));
        }
        let other = Schema::of([("m", FieldType::Int64)]);
        let error = RowEncoder::new(&avro(NUMBER), &other, false).expect_err("another field");
        assert!(error.code == "FORMAT_SCHEMA" && error.message.contains("no field \"m\""), "{error}");
        assert_eq!(avro("{").row().map_err(|e| e.code), Err("FORMAT_SCHEMA"));
    }
}
