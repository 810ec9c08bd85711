//! Avro's binary encoding to and from rows.
//!
//! In: a datum and the schema it was written with, or a row. Out: the other one. A datum that was written with another
//! schema is brought into the reader's by Avro's rules: fields added with a default, promoted numbers, aliases.

use super::avro_schema;
use crate::row::{Cell, FieldType, Schema, read_row, write_row};
use apache_avro::Schema as Avro;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;

/// Bytes that one string, list or map of a datum may take; a hostile length must not.
const DATUM_BYTES_MAX: usize = 64 << 20;

/// Rows of one Avro schema.
#[derive(Debug)]
pub(super) struct AvroRows {
    schema: Avro,
    row: Schema,
}

/// A schema from its JSON.
///
/// # Errors
/// A sentence on what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Avro, String> {
    apache_avro::util::max_allocation_bytes(DATUM_BYTES_MAX);
    Avro::parse_str(text).map_err(|e| format!("it is no Avro schema: {e}"))
}

impl AvroRows {
    /// # Errors
    /// A sentence on what is wrong with the schema, or on the field that no row can have.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let schema = parse(text)?;
        let row = avro_schema::to_row(&schema)?;
        Ok(Self { schema, row })
    }

    /// The fields of the rows.
    pub(super) fn row(&self) -> &Schema {
        &self.row
    }

    /// Appends the row of a datum. `writer` is the schema it was written with, if that is another one. Cost: the types
    /// that either schema names are looked up anew.
    ///
    /// # Errors
    /// A sentence on what is wrong with the datum.
    pub(super) fn decode(&self, datum: &[u8], writer: Option<&Avro>, out: &mut Vec<u8>) -> Result<(), String> {
        let said = |e: apache_avro::Error| format!("it is no such Avro datum: {e}");
        let mut rest = datum;
        let value = match writer.filter(|writer| **writer != self.schema) {
            None => GenericDatumReader::builder(&self.schema).build().and_then(|r| r.read_value(&mut rest)),
            Some(writer) => {
                let reader = GenericDatumReader::builder(writer).reader_schema(&self.schema).build();
                reader.and_then(|r| r.read_value(&mut rest))
            }
        };
        let value = value.map_err(said)?;
        if !rest.is_empty() {
            return Err(format!("it is no such Avro datum: {} bytes are left over", rest.len()));
        }
        match cell(value) {
            Cell::Row(cells) => write_row(&self.row, &cells, out),
            _ => Err("it is no Avro record".to_owned()),
        }
    }

    /// Appends the datum of a row of `schema`, whose fields are found by their names.
    ///
    /// # Errors
    /// A sentence on what does not fit.
    pub(super) fn encode(&self, schema: &Schema, row: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let cells = read_row(schema, row).map_err(|e| e.message.clone())?;
        // the names in the schema are resolved by the library, by name
        let value = record(schema, cells);
        let resolved = value.resolve(&self.schema).map_err(|e| format!("it does not fit the Avro schema: {e}"))?;
        let writer = GenericDatumWriter::builder(&self.schema).validate(false).build();
        let written = writer.and_then(|writer| writer.write_value_ref(out, &resolved));
        written.map(drop).map_err(|e| format!("it does not fit the Avro schema: {e}"))
    }
}

/// An Avro value as one of a row.
fn cell(value: Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Boolean(b) => Cell::Boolean(b),
        Value::Int(n) | Value::Date(n) | Value::TimeMillis(n) => Cell::Integer(n.into()),
        Value::Long(n)
        | Value::TimeMicros(n)
        | Value::TimestampMillis(n)
        | Value::TimestampMicros(n)
        | Value::TimestampNanos(n)
        | Value::LocalTimestampMillis(n)
        | Value::LocalTimestampMicros(n)
        | Value::LocalTimestampNanos(n) => Cell::Integer(n),
        Value::Float(x) => Cell::Float(x.into()),
        Value::Double(x) => Cell::Float(x),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => Cell::Bytes(bytes),
        Value::String(text) | Value::Enum(_, text) => Cell::Text(text),
        Value::Uuid(uuid) => Cell::Text(uuid.to_string()),
        Value::Union(_, inner) => cell(*inner),
        Value::Array(list) => Cell::List(list.into_iter().map(cell).collect()),
        Value::Map(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0)); // the library's order is none: the same datum gives the same row
            Cell::Map(entries.into_iter().map(|(k, v)| (Cell::Text(k), cell(v))).collect())
        }
        Value::Record(fields) => Cell::Row(fields.into_iter().map(|(_, value)| cell(value)).collect()),
        // no schema of rows has these
        Value::Decimal(_) | Value::BigDecimal(_) | Value::Duration(_) => Cell::Null,
    }
}

fn record(schema: &Schema, cells: Vec<Cell>) -> Value {
    let values = schema.fields.iter().zip(cells);
    Value::Record(values.map(|(field, cell)| (field.name.clone(), value(&field.kind, cell))).collect())
}

/// A row's value as one of Avro, to be brought into the schema by the library.
fn value(kind: &FieldType, cell: Cell) -> Value {
    match (kind, cell) {
        (_, Cell::Null) => Value::Null,
        (_, Cell::Boolean(b)) => Value::Boolean(b),
        (FieldType::MillisInstant, Cell::Integer(n)) => Value::TimestampMillis(n),
        (FieldType::MicrosInstant, Cell::Integer(n)) => Value::TimestampMicros(n),
        (FieldType::Int64, Cell::Integer(n)) => Value::Long(n),
        (_, Cell::Integer(n)) => i32::try_from(n).map_or(Value::Long(n), Value::Int),
        (FieldType::Float, Cell::Float(x)) => Value::Float(x as f32),
        (_, Cell::Float(x)) => Value::Double(x),
        (_, Cell::Text(text)) => Value::String(text),
        (_, Cell::Bytes(bytes)) => Value::Bytes(bytes),
        (FieldType::Array(element), Cell::List(list)) => {
            Value::Array(list.into_iter().map(|cell| value(&element.kind, cell)).collect())
        }
        (FieldType::Map(_, kind), Cell::Map(entries)) => Value::Map(
            entries
                .into_iter()
                .map(|(key, cell)| match key {
                    Cell::Text(key) => (key, value(&kind.kind, cell)),
                    other => (format!("{other:?}"), value(&kind.kind, cell)),
                })
                .collect(),
        ),
        (FieldType::Row(schema), Cell::Row(cells)) => record(schema, cells),
        (_, Cell::List(_) | Cell::Map(_) | Cell::Row(_)) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{JsonToRow, RowToJson};

    const FLIGHT: &str = r#"{"type": "record", "name": "Flight", "fields": [
        {"name": "carrier", "type": "string"},
        {"name": "delay", "type": ["null", "int"], "default": null},
        {"name": "stops", "type": {"type": "array", "items": "string"}},
        {"name": "seats", "type": {"type": "map", "values": "long"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "class", "type": {"type": "enum", "name": "Class", "symbols": ["FIRST", "SECOND"]}},
        {"name": "plane", "type": {"type": "record", "name": "Plane", "fields": [{"name": "tail", "type": "bytes"}]}},
        {"name": "next", "type": ["null", "Plane"], "default": null}]}"#;

    fn shown(rows: &AvroRows, row: &[u8]) -> String {
        let mut out = Vec::new();
        RowToJson::new(rows.row()).write(row, &mut out).expect("a row");
        String::from_utf8(out).expect("UTF-8")
    }

    /// A flight as Avro's specification writes it.
    fn datum() -> Vec<u8> {
        let mut bytes = b"\x04AA\x02\x1d".to_vec(); // "AA", branch 1 of the union, -15
        bytes.extend_from_slice(b"\x04\x06JFK\x06LAX\x00"); // two stops
        bytes.extend_from_slice(b"\x02\x02e\xc8\x01\x00"); // e: 100
        bytes.extend_from_slice(b"\xd0\x0f\x02"); // 1000 ms, SECOND
        bytes.extend_from_slice(b"\x04N1\x02\x04N2"); // plane, branch 1, plane
        bytes
    }

    #[test]
    fn a_datum_becomes_a_row_and_a_row_the_datum() {
        let rows = AvroRows::new(FLIGHT).expect("a schema");
        let mut row = Vec::new();
        rows.decode(&datum(), None, &mut row).expect("a flight");
        assert_eq!(
            shown(&rows, &row),
            r#"{"carrier":"AA","delay":-15,"stops":["JFK","LAX"],"seats":{"e":100},"at":"1970-01-01T00:00:01Z","class":"SECOND","plane":{"tail":"TjE="},"next":{"tail":"TjI="}}"#
        );
        let mut back = Vec::new();
        rows.encode(rows.row(), &row, &mut back).expect("a datum");
        assert_eq!(back, datum());
    }

    #[test]
    fn what_was_written_with_another_schema_is_read_by_avros_rules() {
        let writer = parse(
            r#"{"type": "record", "name": "R", "fields": [
            {"name": "gone", "type": "string"}, {"name": "n", "type": "int"}]}"#,
        )
        .expect("a schema");
        let reader = AvroRows::new(
            r#"{"type": "record", "name": "R", "fields": [
            {"name": "n", "type": "double"}, {"name": "new", "type": "string", "default": "x"},
            {"name": "maybe", "type": ["null", "long"], "default": null}]}"#,
        )
        .expect("a schema");
        let mut row = Vec::new();
        reader.decode(b"\x02g\x0e", Some(&writer), &mut row).expect("a row");
        assert_eq!(shown(&reader, &row), r#"{"n":7.0,"new":"x","maybe":null}"#);
        let unfit = AvroRows::new(r#"{"type": "record", "name": "R", "fields": [{"name": "new", "type": "string"}]}"#);
        let error = unfit.expect("a schema").decode(b"\x02g\x0e", Some(&writer), &mut row).expect_err("no default");
        assert!(error.contains("no such Avro datum"), "{error}");
    }

    #[test]
    fn damaged_data_are_errors() {
        let rows = AvroRows::new(FLIGHT).expect("a schema");
        let whole = datum();
        // where the bytes end before the last field, which may be null, the library takes it for null
        for cut in (0..whole.len()).filter(|cut| *cut != whole.len() - 4) {
            assert!(rows.decode(&whole[..cut], None, &mut Vec::new()).is_err(), "cut at {cut}");
        }
        let long = [whole.as_slice(), b"x"].concat();
        assert!(rows.decode(&long, None, &mut Vec::new()).is_err_and(|why| why.contains("1 bytes are left over")));
        // a string of 2^60 bytes
        let huge = b"\x80\x80\x80\x80\x80\x80\x80\x80\x20";
        assert!(rows.decode(huge, None, &mut Vec::new()).is_err());
    }

    #[test]
    fn types_that_no_row_can_have_are_refused_by_name() {
        let of = |kind: &str| {
            let text = format!(r#"{{"type": "record", "name": "R", "fields": [{{"name": "x", "type": {kind}}}]}}"#);
            AvroRows::new(&text).err().unwrap_or_default()
        };
        assert!(of(r#"["null", "int", "string"]"#).contains("\"x\" is a union of 2 types"));
        assert!(of(r#""null""#).contains("\"x\" is always null"));
        assert!(of(r#"{"type": "bytes", "logicalType": "decimal", "precision": 4}"#).contains("\"x\" is a decimal"));
        assert!(of(r#"["null", "R"]"#).contains("nested too deeply, or in itself"));
        assert!(AvroRows::new(r#""int""#).expect_err("no record").contains("of no record"));
        assert!(AvroRows::new("{").expect_err("no JSON").contains("no Avro schema"));
    }

    #[test]
    fn rows_have_an_avro_schema_of_their_own() {
        let element = crate::row::Field { name: String::new(), kind: FieldType::Int64, nullable: true };
        let mut schema = Schema::of([
            ("word", FieldType::String),
            ("list", FieldType::Array(Box::new(element))),
            ("in", FieldType::Row(Schema::of([("at", FieldType::MicrosInstant)]))),
            ("n", FieldType::Int64),
        ]);
        schema.fields[3].nullable = true;
        let text = avro_schema::of_row(&schema).expect("a schema");
        let rows = AvroRows::new(&text).expect(&text);
        assert_eq!(*rows.row(), schema);
        let mut in_json = Schema::of([("word", FieldType::String), ("n", FieldType::Int64)]);
        in_json.fields[1].nullable = true;
        let rows = AvroRows::new(&avro_schema::of_row(&in_json).expect("a schema")).expect("rows");
        for json in [r#"{"word":"a","n":7}"#, r#"{"word":"b","n":null}"#] {
            let (mut row, mut datum, mut back) = (Vec::new(), Vec::new(), Vec::new());
            JsonToRow::new(&in_json).expect("JSON").write(json.as_bytes(), &mut row).expect("a row");
            rows.encode(&in_json, &row, &mut datum).expect("a datum");
            rows.decode(&datum, None, &mut back).expect("the row");
            assert_eq!(shown(&rows, &back), json);
        }
    }

    #[test]
    fn a_row_that_does_not_fit_the_schema_says_so() {
        let rows = AvroRows::new(r#"{"type": "record", "name": "R", "fields": [{"name": "n", "type": "int"}]}"#);
        let rows = rows.expect("a schema");
        let other = Schema::of([("m", FieldType::Int64)]);
        let error = rows.encode(&other, b"\x01\x00\x07", &mut Vec::new()).expect_err("another field");
        assert!(error.contains("does not fit the Avro schema"), "{error}");
    }
}
