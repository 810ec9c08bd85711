//! Avro's binary encoding to and from rows.
//!
//! In: a datum and the schema it was written with, or a row. Out: the other one. A datum that was written with another
//! schema is brought into the reader's by Avro's rules: fields added with a default, promoted numbers, aliases of fields.

use super::avro_said::{cut, said};
use super::avro_schema;
use super::avro_shape::Shape;
use super::avro_writer;
use crate::row::{Cell, FieldType, Schema, read_row, write_row};
use apache_avro::Schema as Avro;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use std::io::{self, ErrorKind, Read};

/// Bytes that one string, list or map of a datum may take; a hostile length must not.
pub(super) const DATUM_BYTES_MAX: usize = 64 << 20;

/// Rows of one Avro schema.
#[derive(Debug)]
pub(super) struct AvroRows {
    schema: Avro,
    row: Schema,
    /// What the library does not look at.
    shape: Shape,
    /// Whether writers may have fields under other names.
    renames: bool,
}

/// How data are decoded that somebody wrote.
#[derive(Debug)]
pub(super) struct Writer {
    /// None for the reader's own schema.
    schema: Option<Avro>,
}

/// A schema from its JSON.
///
/// # Errors
/// A sentence on what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Avro, String> {
    apache_avro::util::max_allocation_bytes(DATUM_BYTES_MAX);
    Avro::parse_str(text).map_err(|e| format!("it is no Avro schema: {}", cut(&e)))
}

/// A datum that is read, and whether more was asked for than it has. The library takes the end for a null in some places.
struct Datum<'a> {
    rest: &'a [u8],
    short: bool,
}

impl Read for Datum<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.rest.read(into)?;
        self.short |= read == 0 && !into.is_empty();
        Ok(read)
    }

    fn read_exact(&mut self, into: &mut [u8]) -> io::Result<()> {
        if into.len() > self.rest.len() {
            self.short = true;
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.rest.read_exact(into)
    }
}

impl AvroRows {
    /// # Errors
    /// A sentence on what is wrong with the schema, or on the field that no row can have.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let schema = parse(text)?;
        let row = avro_schema::to_row(&schema)?;
        avro_writer::bounded(&schema)?;
        let shape = Shape::new(&schema);
        let renames = shape.renames();
        Ok(Self { schema, row, shape, renames })
    }

    /// The fields of the rows.
    pub(super) fn row(&self) -> &Schema {
        &self.row
    }

    /// How data are decoded that were written with a schema.
    ///
    /// # Errors
    /// A sentence on why they cannot be.
    pub(super) fn writer(&self, text: &str) -> Result<Writer, String> {
        let whole = parse(text);
        if whole.as_ref().is_ok_and(|whole| *whole == self.schema) {
            return Ok(Writer { schema: None });
        }
        let schema = avro_writer::plain(text)?;
        avro_writer::bounded(&schema)?;
        if let Ok(whole) = whole {
            avro_writer::in_its_units(&whole, &self.schema)?;
        }
        Ok(Writer { schema: Some(schema) })
    }

    /// Appends the row of a datum. `writer` is who wrote it, if that is known. Cost: the types that either schema names are looked up
    /// anew.
    ///
    /// # Errors
    /// A sentence on what is wrong with the datum.
    pub(super) fn decode(&self, datum: &[u8], writer: Option<&Writer>, out: &mut Vec<u8>) -> Result<(), String> {
        let no_datum = |why: &str| format!("it is no such Avro datum: {why}");
        let written = writer.and_then(|writer| writer.schema.as_ref());
        let mut datum = Datum { rest: datum, short: false };
        let reader = GenericDatumReader::builder(written.unwrap_or(&self.schema)).build();
        let value = reader.and_then(|reader| reader.read_value(&mut datum));
        if datum.short {
            return Err(no_datum("it is cut off"));
        }
        let mut value = value.map_err(|e| no_datum(&said(&e)))?;
        if !datum.rest.is_empty() {
            return Err(no_datum(&format!("{} bytes are left over", datum.rest.len())));
        }
        if written.is_some() {
            if self.renames {
                self.shape.rename(&mut value);
            }
            value = value.resolve(&self.schema).map_err(|e| no_datum(&said(&e)))?;
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
        let unfit = |why: &str| format!("it does not fit the Avro schema: {why}");
        // the names in the schema are resolved by the library, by name
        let value = record(schema, cells);
        self.shape.fits("", &value).map_err(|why| unfit(&why))?;
        let resolved = value.resolve(&self.schema).map_err(|e| unfit(&said(&e)))?;
        let writer = GenericDatumWriter::builder(&self.schema).validate(false).build();
        let written = writer.and_then(|writer| writer.write_value_ref(out, &resolved));
        written.map(drop).map_err(|e| unfit(&said(&e)))
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
        let text = r#"{"type": "record", "name": "R", "fields": [
            {"name": "gone", "type": "string"}, {"name": "n", "type": "int"}]}"#;
        let reader = AvroRows::new(
            r#"{"type": "record", "name": "R", "fields": [
            {"name": "n", "type": "double"}, {"name": "new", "type": "string", "default": "x"},
            {"name": "maybe", "type": ["null", "long"], "default": null}]}"#,
        )
        .expect("a schema");
        let mut row = Vec::new();
        reader.decode(b"\x02g\x0e", Some(&reader.writer(text).expect("a writer")), &mut row).expect("a row");
        assert_eq!(shown(&reader, &row), r#"{"n":7.0,"new":"x","maybe":null}"#);
        let unfit = AvroRows::new(r#"{"type": "record", "name": "R", "fields": [{"name": "new", "type": "string"}]}"#);
        let unfit = unfit.expect("a schema");
        let writer = unfit.writer(text).expect("a writer");
        let error = unfit.decode(b"\x02g\x0e", Some(&writer), &mut row).expect_err("no default");
        assert!(error.contains("no such Avro datum"), "{error}");
    }

    #[test]
    fn damaged_data_are_errors() {
        let rows = AvroRows::new(FLIGHT).expect("a schema");
        let whole = datum();
        for cut in 0..whole.len() {
            assert!(rows.decode(&whole[..cut], None, &mut Vec::new()).is_err(), "cut at {cut}");
        }
        let long = [whole.as_slice(), b"x"].concat();
        assert!(rows.decode(&long, None, &mut Vec::new()).is_err_and(|why| why.contains("1 bytes are left over")));
        // a string of 2^60 bytes
        let huge = b"\x80\x80\x80\x80\x80\x80\x80\x80\x20";
        assert!(rows.decode(huge, None, &mut Vec::new()).is_err());
    }

    /// A schema of records with these fields.
    fn record_of(fields: &str) -> String {
        format!(r#"{{"type": "record", "name": "R", "fields": [{fields}]}}"#)
    }

    /// What a reader makes of a datum that was written with another schema.
    fn read(reader: &str, writer: &str, datum: &[u8]) -> Result<String, String> {
        let rows = AvroRows::new(&record_of(reader))?;
        let mut row = Vec::new();
        rows.decode(datum, Some(&rows.writer(&record_of(writer))?), &mut row)?;
        Ok(shown(&rows, &row))
    }

    #[test]
    fn what_is_cut_off_is_no_null() {
        let note = r#"{"name": "id", "type": "long"}, {"name": "note", "type": ["null", "string"]}"#;
        let rows = AvroRows::new(&record_of(note)).expect("a schema");
        for datum in [&b"\x02"[..], b"\x02\x02", b"\x02\x02\x0a", b"\x02\x02\x0ahe"] {
            let why = rows.decode(datum, None, &mut Vec::new()).expect_err("cut off");
            assert!(why.contains("cut off"), "{why}");
        }
        let flag = r#"{"name": "flag", "type": ["null", "boolean"]}"#;
        assert!(read(flag, flag, b"\x02").is_err_and(|why| why.contains("cut off")));
        assert_eq!(read(note, note, b"\x02\x00"), Ok(r#"{"id":1,"note":null}"#.to_owned()));
    }

    #[test]
    fn a_writer_cannot_decide_over_stack_and_memory() {
        let n = r#"{"name": "n", "type": "long"}"#;
        let in_itself = format!(r#"{n}, {{"name": "x", "type": ["null", "R"]}}"#);
        let why = read(n, &in_itself, &b"\x02\x02".repeat(100_000)).expect_err("too deep");
        assert!(why.contains("\"x\" is nested too deeply, or in itself"), "{why}");
        let nothing = r#"{"name": "x", "type": {"type": "array", "items": {"type": "array", "items": "null"}}}"#;
        let why = read(n, &format!("{n}, {nothing}"), b"\x02\x00").expect_err("too many");
        assert!(why.contains("take no bytes"), "{why}");
        let own = AvroRows::new(&record_of(
            r#"{"name": "x", "type": {"type": "fixed", "name": "F", "size": 1000000000000}}"#,
        ));
        assert!(own.is_err_and(|why| why.contains("1000000000000 bytes")));
    }

    #[test]
    fn a_reader_without_logical_types_reads_what_has_them_and_the_other_way_round() {
        let logical = r#"{"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
            {"name": "id", "type": {"type": "string", "logicalType": "uuid"}}"#;
        let plain = r#"{"name": "at", "type": "long"}, {"name": "day", "type": ["null", "int"]}, {"name": "id", "type": "string"}"#;
        let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let datum = [b"\xd0\x0f\x02\x0e\x48", id.as_bytes()].concat();
        assert_eq!(read(plain, logical, &datum), Ok(format!(r#"{{"at":1000,"day":7,"id":"{id}"}}"#)));
        let times = Ok(format!(r#"{{"at":"1970-01-01T00:00:01Z","day":7,"id":"{id}"}}"#));
        assert_eq!(read(logical, plain, &datum), times);
        // a field more, so that it is not the reader's own schema
        let more = format!(r#"{logical}, {{"name": "z", "type": "int"}}"#);
        assert_eq!(read(logical, &more, &[&datum, &b"\x02"[..]].concat()), times);
        let price =
            r#"{"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}}"#;
        let bytes = r#"{"name": "price", "type": "bytes"}"#;
        assert_eq!(read(bytes, price, b"\x04\x01\x02"), Ok(r#"{"price":"AQI="}"#.to_owned()));
        let maybe =
            r#"{"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null}"#;
        let micros = r#"{"name": "at", "type": ["null", "long"], "default": null}"#;
        assert_eq!(read(maybe, micros, b"\x02\x02"), Ok(r#"{"at":"1970-01-01T00:00:00.000001Z"}"#.to_owned()));
        let why = read(maybe, logical, &datum).expect_err("a thousand times as much");
        assert!(why.contains("\"at\" is written in milliseconds and would be read in microseconds"), "{why}");
    }

    #[test]
    fn a_field_is_found_by_its_aliases() {
        let inner = |name: &str, more: &str| {
            format!(
                r#"{{"name": "{name}", {more} "type": ["null", {{"type": "record", "name": "In", "fields": [
                {{"name": "{name}{name}", {more} "type": "long", "default": 0}}]}}], "default": null}}"#
            )
        };
        let reader = format!(
            r#"{{"name": "n", "aliases": ["id", "number"], "type": "long", "default": 0}}, {}"#,
            inner("b", r#""aliases": ["a", "aa"],"#)
        );
        let writer = format!(r#"{{"name": "number", "type": "int"}}, {}"#, inner("a", ""));
        assert_eq!(read(&reader, &writer, b"\x0e\x02\x10"), Ok(r#"{"n":7,"b":{"bb":8}}"#.to_owned()));
        // its own name comes first, and another field's is no alias
        let both = r#"{"name": "id", "type": "int"}, {"name": "n", "type": "int"}"#;
        assert_eq!(
            read(r#"{"name": "n", "aliases": ["id"], "type": "long"}"#, both, b"\x0e\x10"),
            Ok(r#"{"n":8}"#.to_owned())
        );
        let swapped = r#"{"name": "n", "type": "int"}, {"name": "m", "aliases": ["n"], "type": "int", "default": 1}"#;
        assert_eq!(read(swapped, r#"{"name": "n", "type": "int"}"#, b"\x0e"), Ok(r#"{"n":7,"m":1}"#.to_owned()));
    }

    #[test]
    fn symbols_that_an_enum_has_not_and_wrong_lengths_are_not_written() {
        let size =
            r#"{"name": "size", "type": {"type": "enum", "name": "Size", "symbols": ["S", "M"], "default": "S"}}"#;
        let code = r#"{"name": "code", "type": ["null", {"type": "array", "items": {"type": "fixed", "name": "Code", "size": 3}}]}"#;
        let rows = AvroRows::new(&record_of(&format!("{size}, {code}"))).expect("a schema");
        let element = crate::row::Field { name: String::new(), kind: FieldType::String, nullable: false };
        let row = Schema::of([("size", FieldType::String), ("code", FieldType::Array(Box::new(element)))]);
        let written = |json: &str| {
            let (mut bytes, mut datum) = (Vec::new(), Vec::new());
            JsonToRow::new(&row).expect("JSON").write(json.as_bytes(), &mut bytes).expect("a row");
            rows.encode(&row, &bytes, &mut datum).map(|()| datum)
        };
        assert_eq!(written(r#"{"size": "M", "code": ["abc"]}"#), Ok(b"\x02\x02\x02abc\x00".to_vec()));
        let symbol = written(r#"{"size": "XL", "code": ["abc"]}"#).expect_err("no symbol");
        assert!(symbol.contains("\"size\" is \"XL\", which is no symbol"), "{symbol}");
        let length = written(r#"{"size": "M", "code": ["abc", "abcd"]}"#).expect_err("too long");
        assert!(length.contains("\"code\" has 4 bytes instead of 3"), "{length}");
    }

    #[test]
    fn errors_do_not_repeat_the_record() {
        let (text, number) = (r#"{"name": "x", "type": "string"}"#, r#"{"name": "x", "type": "long"}"#);
        let secret = [&b"\xd0\x0f"[..], &b"secret".repeat(200)[..1000]].concat();
        let why = read(number, text, &secret).expect_err("no number");
        assert!(why.contains("got: String") && !why.contains("secret") && why.len() < 400, "{why}");
        let (text, maybe) = (r#"{"name": "x", "type": ["string"]}"#, r#"{"name": "x", "type": ["null", "long"]}"#);
        let why = read(maybe, text, &[&b"\x00\x1c"[..], b"secret, got (1"].concat()).expect_err("no number");
        assert!(why.contains("fits what is of the type String") && !why.contains("secret"), "{why}");
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
