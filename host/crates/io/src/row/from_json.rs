//! From a JSON object to an encoded row, without a value in between.

use super::from_json_value::ValueSeed;
use super::schema::{Field, FieldType, Schema};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;
use thalweg_core::coder::write_varint;
use thalweg_core::error::{Error, Result};

/// Reads JSON objects as rows of one schema.
///
/// Fields may stand in any order; unknown ones are passed over; of repeated ones the last counts; one that is missing is null, which
/// is an error unless the field may be null. Integers must be whole numbers in range; a double takes any number.
///
/// ```
/// use thalweg_io::row::{FieldType, JsonToRow, Schema};
/// let reader = JsonToRow::new(&Schema::of([("line", FieldType::String), ("row", FieldType::Int64)])).unwrap();
/// let mut out = Vec::new();
/// reader.write(br#"{"row": 7, "line": "hi"}"#, &mut out).unwrap();
/// assert_eq!(out, b"\x02\x00\x02hi\x07");
/// ```
#[derive(Clone, Debug)]
pub struct JsonToRow {
    schema: Schema,
}

impl JsonToRow {
    /// A reader for rows of `schema`.
    ///
    /// # Errors
    /// `ROW_NOT_FROM_JSON` when a field has a type that JSON has no word for (bytes, instants).
    pub fn new(schema: &Schema) -> Result<Self> {
        fn check(field: &Field) -> Option<&Field> {
            match &field.kind {
                FieldType::Bytes | FieldType::MillisInstant | FieldType::MicrosInstant => Some(field),
                FieldType::Array(element) => check(element).map(|_| field),
                FieldType::Map(key, value) if key.kind == FieldType::String => check(value).map(|_| field),
                FieldType::Map(..) => Some(field),
                FieldType::Row(schema) => schema.fields.iter().find_map(check),
                _ => None,
            }
        }
        match schema.fields.iter().find_map(check) {
            Some(field) => Err(Error::user(
                "ROW_NOT_FROM_JSON",
                format!("field {:?} cannot be read from JSON as {:?}", field.name, field.kind),
            )
            .help("declare it as string and convert it in a function")),
            None => Ok(Self { schema: schema.clone() }),
        }
    }

    /// Appends the encoding of one JSON object.
    ///
    /// # Errors
    /// A sentence on what is wrong with the JSON and where; `out` is as it was before.
    pub fn write(&self, json: &[u8], out: &mut Vec<u8>) -> std::result::Result<(), String> {
        let start = out.len();
        let mut input = serde_json::Deserializer::from_slice(json);
        let done = RowSeed { schema: &self.schema, out }.deserialize(&mut input).and_then(|()| input.end());
        done.map_err(|e| {
            out.truncate(start);
            e.to_string()
        })
    }
}

/// Reads an object into the encoding of a row.
pub(super) struct RowSeed<'a> {
    pub schema: &'a Schema,
    pub out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> std::result::Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> std::result::Result<(), A::Error> {
        let fields = &self.schema.fields;
        // values in the object's order; put into the schema's order at the end
        let mut values = Vec::new();
        let mut spans: Vec<Option<(usize, usize)>> = vec![None; fields.len()];
        let mut expected = 0;
        while let Some(i) = object.next_key_seed(NameSeed { fields, expected })? {
            let Some((field, span)) = i.and_then(|i| Some((fields.get(i)?, spans.get_mut(i)?))) else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            expected = i.unwrap_or_default() + 1;
            let start = values.len();
            let some = object.next_value_seed(ValueSeed { kind: &field.kind, out: &mut values, name: &field.name })?;
            *span = some.then_some((start, values.len()));
        }
        write_varint(self.out, fields.len() as u64);
        if spans.iter().all(Option::is_some) {
            self.out.push(0);
        } else {
            let mut nulls = vec![0u8; fields.len().div_ceil(8)];
            for (i, (field, span)) in fields.iter().zip(&spans).enumerate() {
                if span.is_none() {
                    if !field.nullable {
                        return Err(de::Error::custom(format_args!("field {:?} is missing or null", field.name)));
                    }
                    if let Some(byte) = nulls.get_mut(i / 8) {
                        *byte |= 1 << (i % 8);
                    }
                }
            }
            write_varint(self.out, nulls.len() as u64);
            self.out.extend_from_slice(&nulls);
        }
        for (start, end) in spans.into_iter().flatten() {
            self.out.extend_from_slice(values.get(start..end).unwrap_or_default());
        }
        Ok(())
    }
}

/// Reads a name into the position of its field; the one after the last found is tried first.
struct NameSeed<'a> {
    fields: &'a [Field],
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> std::result::Result<Option<usize>, D::Error> {
        d.deserialize_identifier(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> std::result::Result<Option<usize>, E> {
        if self.fields.get(self.expected).is_some_and(|f| f.name == name) {
            return Ok(Some(self.expected));
        }
        Ok(self.fields.iter().position(|f| f.name == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::RowToJson;

    fn field(name: &str, kind: FieldType, nullable: bool) -> Field {
        Field { name: name.to_owned(), kind, nullable }
    }

    /// Reads a text and writes it again.
    fn round(schema: &Schema, json: &str) -> std::result::Result<String, String> {
        let mut row = Vec::new();
        JsonToRow::new(schema).map_err(|e| e.to_string())?.write(json.as_bytes(), &mut row)?;
        let mut out = Vec::new();
        RowToJson::new(schema).write(&row, &mut out).map_err(|e| e.to_string())?;
        Ok(String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn what_is_read_is_written_again() {
        let inner = Schema::of([("x", FieldType::Double)]);
        let schema = Schema {
            fields: vec![
                field("s", FieldType::String, true),
                field("i", FieldType::Int64, true),
                field("n", FieldType::Int32, true),
                field("d", FieldType::Double, true),
                field("b", FieldType::Boolean, true),
                field("l", FieldType::Array(Box::new(field("", FieldType::Int64, true))), true),
                field(
                    "m",
                    FieldType::Map(
                        Box::new(field("", FieldType::String, false)),
                        Box::new(field("", FieldType::Boolean, false)),
                    ),
                    true,
                ),
                field("r", FieldType::Row(inner), true),
                field("z", FieldType::Byte, true),
            ],
        };
        let json =
            r#"{"s":"a\"ü","i":-5,"n":-1,"d":2.0,"b":true,"l":[1,null,3],"m":{"k":true},"r":{"x":1.5},"z":-128}"#;
        assert_eq!(round(&schema, json), Ok(json.to_owned()));
        let nulls = r#"{"s":null,"i":null,"n":null,"d":null,"b":null,"l":null,"m":null,"r":null,"z":null}"#.to_owned();
        assert_eq!(round(&schema, "{}"), Ok(nulls.clone()));
        assert_eq!(round(&schema, &nulls), Ok(nulls));
    }

    #[test]
    fn order_unknown_and_repeated_fields_do_not_matter() {
        let schema = Schema::of([("a", FieldType::Int64), ("b", FieldType::Double)]);
        let json = r#" {"x": [{"a": 9}], "b": 2, "a": 1, "a": 3} "#;
        assert_eq!(round(&schema, json), Ok(r#"{"a":3,"b":2.0}"#.to_owned()));
    }

    #[test]
    fn what_does_not_fit_is_an_error_with_its_place() {
        let schema = Schema::of([("a", FieldType::Int32), ("s", FieldType::String)]);
        let mut out = b"before".to_vec();
        for (json, why) in [
            (r#"{"a":1}"#, "\"s\" is missing"),
            (r#"{"a":null,"s":""}"#, "\"a\" is missing or null"),
            (r#"{"a":3000000000,"s":""}"#, "out of its range"),
            (r#"{"a":1.5,"s":""}"#, "expected Int32 for field \"a\""),
            (r#"{"a":"1","s":""}"#, "expected Int32 for field \"a\""),
            (r#"{"a":1,"s":2}"#, "expected String for field \"s\""),
            (r#"{"a":1,"s":"" } x"#, "trailing characters"),
            ("{\"a\":1,\n\"s\":\"", "line 2"),
            ("[]", "expected an object"),
            ("", "EOF"),
        ] {
            let error = JsonToRow::new(&schema).expect("a schema").write(json.as_bytes(), &mut out).expect_err(json);
            assert!(error.contains(why), "{json}: {error}");
            assert_eq!(out, b"before");
        }
    }

    #[test]
    fn types_without_json_are_refused_by_name() {
        let schema = Schema::of([("raw", FieldType::Array(Box::new(field("", FieldType::Bytes, false))))]);
        let error = JsonToRow::new(&schema).expect_err("no bytes in JSON");
        assert_eq!(error.code, "ROW_NOT_FROM_JSON");
        assert!(error.message.contains("\"raw\""));
    }
}
