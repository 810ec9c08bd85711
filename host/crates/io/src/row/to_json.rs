//! From an encoded row to a JSON object, straight from bytes to bytes.
//!
//! Numbers that JSON cannot say (NaN, infinities) become `null`, as serde_json and pandas do; bytes become Base64; instants
//! RFC 3339; maps whose keys are not strings have their keys' JSON as strings.

use super::cursor::{Cursor, DEPTH_MAX, null_at};
use super::instant::{write_millis, write_parts};
use super::malformed;
use super::schema::{Field, FieldType, Schema};
use serde::Serialize;
use thalweg_core::error::Result;

/// Writes rows of one schema as JSON objects.
///
/// ```
/// use thalweg_io::row::{FieldType, RowToJson, Schema};
/// let writer = RowToJson::new(&Schema::of([("line", FieldType::String), ("row", FieldType::Int64)]));
/// let mut out = Vec::new();
/// writer.write(b"\x02\x00\x02hi\x07", &mut out).unwrap();
/// assert_eq!(out, br#"{"line":"hi","row":7}"#);
/// ```
#[derive(Clone, Debug)]
pub struct RowToJson {
    fields: Vec<Member>,
}

/// A field with the text in front of its value.
#[derive(Clone, Debug)]
struct Member {
    /// `{"name":` or `,"name":`.
    front: Vec<u8>,
    value: Value,
    name: String,
}

/// A type, with what its writing needs prepared.
#[derive(Clone, Debug)]
enum Value {
    Plain(FieldType),
    Array(Box<Element>),
    Map(Box<Element>, Box<Element>),
    Row(RowToJson),
}

#[derive(Clone, Debug)]
struct Element {
    value: Value,
    nullable: bool,
}

impl RowToJson {
    /// A writer for rows of `schema`.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        let mut fields = Vec::with_capacity(schema.fields.len());
        for field in &schema.fields {
            let mut front = vec![if fields.is_empty() { b'{' } else { b',' }];
            json(&mut front, &field.name);
            front.push(b':');
            fields.push(Member { front, value: Value::new(&field.kind), name: field.name.clone() });
        }
        Self { fields }
    }

    /// Appends the JSON of one row. Fields beyond those the row was encoded with are `null`. Cost: no allocation but the
    /// growth of `out`, and one for each map key that is not a string.
    ///
    /// # Errors
    /// `ROW_MALFORMED` when the bytes are not such a row; `out` then ends in the middle.
    pub fn write(&self, row: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.write_nested(&mut Cursor(row), out, 0)
    }

    /// Appends the value of one field: a string or bytes as they are, anything else as JSON. `false` when it is null or unknown.
    ///
    /// # Errors
    /// As for [`RowToJson::write`].
    pub fn write_field(&self, row: &[u8], name: &str, out: &mut Vec<u8>) -> Result<bool> {
        self.write_one(row, name, false, out)
    }

    /// As [`RowToJson::write_field`], for a line of text: an instant stands there without quotes, too.
    ///
    /// # Errors
    /// As for [`RowToJson::write`].
    pub fn write_line(&self, row: &[u8], name: &str, out: &mut Vec<u8>) -> Result<bool> {
        self.write_one(row, name, true, out)
    }

    fn write_one(&self, row: &[u8], name: &str, line: bool, out: &mut Vec<u8>) -> Result<bool> {
        let mut cursor = Cursor(row);
        let (count, nulls) = cursor.header()?;
        for (i, field) in self.fields.iter().enumerate() {
            let null = i as u64 >= count || null_at(nulls, i);
            if field.name == name {
                match field.value {
                    _ if null => return Ok(false),
                    Value::Plain(FieldType::String | FieldType::Bytes) => out.extend_from_slice(cursor.prefixed()?),
                    Value::Plain(ref kind @ (FieldType::MillisInstant | FieldType::MicrosInstant)) if line => {
                        write_instant(kind, &mut cursor, out)?;
                    }
                    _ => field.value.write(&mut cursor, out, 0)?,
                }
                return Ok(true);
            }
            if !null {
                field.value.skip(&mut cursor)?;
            }
        }
        Ok(false)
    }

    fn write_nested(&self, cursor: &mut Cursor<'_>, out: &mut Vec<u8>, depth: u32) -> Result<()> {
        let (count, nulls) = cursor.header()?;
        for (i, field) in self.fields.iter().enumerate() {
            out.extend_from_slice(&field.front);
            if i as u64 >= count || null_at(nulls, i) {
                out.extend_from_slice(b"null");
            } else {
                field.value.write(cursor, out, depth)?;
            }
        }
        out.extend_from_slice(if self.fields.is_empty() { b"{}" } else { b"}" });
        Ok(())
    }
}

impl Value {
    fn new(kind: &FieldType) -> Self {
        match kind {
            FieldType::Array(element) => Self::Array(Box::new(Element::new(element))),
            FieldType::Map(key, value) => Self::Map(Box::new(Element::new(key)), Box::new(Element::new(value))),
            FieldType::Row(schema) => Self::Row(RowToJson::new(schema)),
            plain => Self::Plain(plain.clone()),
        }
    }

    fn write(&self, cursor: &mut Cursor<'_>, out: &mut Vec<u8>, depth: u32) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(malformed("it is nested too deeply"));
        }
        match self {
            Self::Plain(kind) => write_plain(kind, cursor, out),
            Self::Row(row) => row.write_nested(cursor, out, depth + 1),
            Self::Array(element) => {
                out.push(b'[');
                let mut first = true;
                cursor.each(|c| {
                    comma(&mut first, out);
                    element.write(c, out, depth + 1)
                })?;
                out.push(b']');
                Ok(())
            }
            Self::Map(key, value) => {
                out.push(b'{');
                let mut first = true;
                cursor.each(|c| {
                    comma(&mut first, out);
                    key.write_as_name(c, out, depth + 1)?;
                    out.push(b':');
                    value.write(c, out, depth + 1)
                })?;
                out.push(b'}');
                Ok(())
            }
        }
    }

    fn skip(&self, cursor: &mut Cursor<'_>) -> Result<()> {
        match self {
            Self::Plain(kind) => cursor.skip(kind, 0),
            nested => nested.write(cursor, &mut Vec::new(), 0), // rare: a nested field in front of a Kafka key
        }
    }
}

impl Element {
    fn new(field: &Field) -> Self {
        Self { value: Value::new(&field.kind), nullable: field.nullable }
    }

    fn write(&self, cursor: &mut Cursor<'_>, out: &mut Vec<u8>, depth: u32) -> Result<()> {
        if self.nullable && cursor.is_null()? {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        self.value.write(cursor, out, depth)
    }

    fn write_as_name(&self, cursor: &mut Cursor<'_>, out: &mut Vec<u8>, depth: u32) -> Result<()> {
        let mut text = Vec::new();
        self.write(cursor, &mut text, depth)?;
        if text.first() == Some(&b'"') {
            out.extend_from_slice(&text);
        } else {
            json(out, std::str::from_utf8(&text).unwrap_or_default());
        }
        Ok(())
    }
}

fn comma(first: &mut bool, out: &mut Vec<u8>) {
    if !std::mem::take(first) {
        out.push(b',');
    }
}

fn write_plain(kind: &FieldType, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<()> {
    match kind {
        FieldType::Byte => json(out, &i8::from_be_bytes(cursor.array()?)),
        FieldType::Int16 => json(out, &i16::from_be_bytes(cursor.array()?)),
        FieldType::Int32 => json(out, &(cursor.varint()? as i32)),
        FieldType::Int64 => json(out, &(cursor.varint()? as i64)),
        FieldType::Float => json(out, &f32::from_be_bytes(cursor.array()?)),
        FieldType::Double => json(out, &f64::from_be_bytes(cursor.array()?)),
        FieldType::Boolean => json(out, &(cursor.array::<1>()? != [0])),
        FieldType::String => {
            let text = std::str::from_utf8(cursor.prefixed()?).map_err(|_| malformed("a string is not UTF-8"))?;
            json(out, text);
        }
        FieldType::Bytes => {
            let bytes = cursor.prefixed()?;
            quoted(out, |out| base64(out, bytes));
        }
        FieldType::MillisInstant | FieldType::MicrosInstant => {
            out.push(b'"');
            write_instant(kind, cursor, out)?;
            out.push(b'"');
        }
        FieldType::Array(_) | FieldType::Map(..) | FieldType::Row(_) => cursor.skip(kind, 0)?, // never plain
    }
    Ok(())
}

/// Appends an instant as RFC 3339, without quotes.
fn write_instant(kind: &FieldType, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<()> {
    if *kind == FieldType::MillisInstant {
        write_millis(out, cursor.millis()?);
    } else {
        let (seconds, micros) = cursor.seconds_and_micros()?;
        write_parts(out, seconds, micros);
    }
    Ok(())
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// Appends the JSON of a number or string. Writing to memory cannot fail, nor can such a value be refused.
fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let _ = serde_json::to_writer(out, value);
}

/// Appends bytes in Base64 with padding. Source: RFC 4648, section 4.
pub(crate) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * i) & 63) as usize).copied().unwrap_or(b'=');
            out.push(if i <= chunk.len() { digit } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(schema: &Schema, row: &[u8]) -> Result<String> {
        let mut out = Vec::new();
        RowToJson::new(schema).write(row, &mut out)?;
        Ok(String::from_utf8(out).expect("UTF-8"))
    }

    fn of(kind: FieldType, bytes: &[u8]) -> String {
        let row = [b"\x01\x00", bytes].concat();
        let json = text(&Schema::of([("f", kind)]), &row).expect("a row");
        json.strip_prefix(r#"{"f":"#).and_then(|s| s.strip_suffix('}')).expect("one field").to_owned()
    }

    fn element(kind: FieldType, nullable: bool) -> Box<Field> {
        Box::new(Field { name: String::new(), kind, nullable })
    }

    #[test]
    fn every_type_has_its_json() {
        assert_eq!(of(FieldType::Byte, b"\xff"), "-1");
        assert_eq!(of(FieldType::Int16, b"\xff\xfe"), "-2");
        assert_eq!(of(FieldType::Int32, b"\xff\xff\xff\xff\x0f"), "-1"); // as Beam's VarInt32Coder
        assert_eq!(of(FieldType::Int32, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "-1"); // as its VarIntCoder
        assert_eq!(of(FieldType::Int64, b"\x80\x01"), "128");
        assert_eq!(of(FieldType::Float, &1.5f32.to_be_bytes()), "1.5");
        assert_eq!(of(FieldType::Double, &2.0f64.to_be_bytes()), "2.0");
        assert_eq!(of(FieldType::Double, &f64::NAN.to_be_bytes()), "null");
        assert_eq!(of(FieldType::Boolean, b"\x01"), "true");
        assert_eq!(of(FieldType::String, b"\x04a\"\n\x01"), r#""a\"\n\u0001""#);
        assert_eq!(of(FieldType::Bytes, b"\x04\xff\x00ab"), r#""/wBhYg==""#);
        let millis = (1_357_034_400_000u64 ^ (1 << 63)).to_be_bytes();
        assert_eq!(of(FieldType::MillisInstant, &millis), r#""2013-01-01T10:00:00Z""#);
        assert_eq!(of(FieldType::MicrosInstant, b"\x02\x00\x01\x05"), r#""1970-01-01T00:00:01.000005Z""#);
        // Beam's first instant and its minute's beginning, for both of which microseconds need more than 64 bits on the way
        for (seconds, micros, text) in [
            (-9_223_372_036_855i64, 225_000, r#""-290308-12-21T19:59:05.225Z""#),
            (-9_223_372_036_860, 0, r#""-290308-12-21T19:59:00Z""#),
            (9_223_372_036_860, 0, r#""294247-01-10T04:01:00Z""#),
        ] {
            let mut bytes = b"\x02\x00".to_vec();
            thalweg_core::coder::write_varint(&mut bytes, seconds as u64);
            thalweg_core::coder::write_varint(&mut bytes, micros);
            assert_eq!(of(FieldType::MicrosInstant, &bytes), text);
        }
        let list = FieldType::Array(element(FieldType::Int64, true));
        assert_eq!(of(list.clone(), b"\0\0\0\x02\x00\x01\x07"), "[null,7]");
        assert_eq!(of(list, b"\xff\xff\xff\xff\x01\x01\x05\x01\x01\x06\x00"), "[5,6]");
        let map = FieldType::Map(element(FieldType::Int64, false), element(FieldType::String, false));
        assert_eq!(of(map, b"\0\0\0\x01\x07\x01x"), r#"{"7":"x"}"#);
        let inner = Schema::of([("a", FieldType::Int64)]);
        assert_eq!(of(FieldType::Row(inner), b"\x01\x00\x07"), r#"{"a":7}"#);
        assert_eq!(of(FieldType::Row(Schema::default()), b"\x00\x00"), "{}");
    }

    #[test]
    fn nulls_and_missing_fields_are_null() {
        let schema = Schema::of([("a", FieldType::Int64), ("b", FieldType::Int64), ("c", FieldType::Int64)]);
        assert_eq!(text(&schema, b"\x03\x01\x02\x01\x03"), Ok(r#"{"a":1,"b":null,"c":3}"#.to_owned()));
        assert_eq!(text(&schema, b"\x01\x00\x01"), Ok(r#"{"a":1,"b":null,"c":null}"#.to_owned()));
    }

    #[test]
    fn malformed_rows_are_errors() {
        let schema = Schema::of([("a", FieldType::String)]);
        for bad in [&b""[..], b"\x01", b"\x01\x00", b"\x01\x00\x05ab", b"\x01\x00\x01\xff"] {
            assert!(text(&schema, bad).is_err());
        }
        let list = Schema::of([("a", FieldType::Array(element(FieldType::Row(Schema::default()), false)))]);
        assert!(text(&list, b"\x01\x00\x7f\xff\xff\xff").is_err());
    }

    #[test]
    fn a_field_can_be_had_alone() {
        let inner = Schema::of([("a", FieldType::Int64)]);
        let schema = Schema::of([("r", FieldType::Row(inner)), ("k", FieldType::String), ("n", FieldType::Int64)]);
        let writer = RowToJson::new(&schema);
        let field = |row: &[u8], name: &str| {
            let mut out = Vec::new();
            writer.write_field(row, name, &mut out).map(|some| some.then_some(out))
        };
        let row = b"\x03\x00\x01\x00\x07\x02\"k\x05";
        assert_eq!(field(row, "k"), Ok(Some(b"\"k".to_vec())));
        assert_eq!(field(row, "n"), Ok(Some(b"5".to_vec())));
        assert_eq!(field(row, "x"), Ok(None));
        assert_eq!(field(b"\x03\x01\x02\x01\x00\x07\x05", "k"), Ok(None));
        let schema = Schema::of([("at", FieldType::MicrosInstant), ("ms", FieldType::MillisInstant)]);
        let (writer, row) = (RowToJson::new(&schema), b"\x02\x00\x02\x00\x01\x05\x80\0\0\0\0\0\0\x01");
        for (name, text) in [("at", "1970-01-01T00:00:01.000005Z"), ("ms", "1970-01-01T00:00:00.001Z")] {
            let (mut line, mut key) = (Vec::new(), Vec::new());
            assert_eq!(writer.write_line(row, name, &mut line), Ok(true));
            assert_eq!(writer.write_field(row, name, &mut key), Ok(true));
            let (line, key) = (String::from_utf8_lossy(&line), String::from_utf8_lossy(&key));
            assert_eq!(
                (line.as_ref(), key),
                (text, format!("{text:?}").into()),
                "JSON as a key, none in a line of text"
            );
        }
    }
}
