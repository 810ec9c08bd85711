//! Coders as they are noted beside stored state, and what they make of its bytes: JSON for people and programs, and keys from text.
//!
//! | coder | JSON |
//! |---|---|
//! | `string_utf8` | a text |
//! | `bytes` | a text, or `{"hex": "00ff"}` for what is not UTF-8 |
//! | `varint`, `double`, `bool` | a number, true and false |
//! | `kv` | `[key, value]` |
//! | `iterable` | a list |
//! | `nullable` | null, or the value |
//! | `row` | an object, by the names of the fields |
//! | `interval_window` | `[start, end]` in milliseconds |
//! | any other | `{"coder": its URN, "hex": the bytes}` |
//!
//! In: coders of pipelines and of components. It knows nothing of cells.

use crate::row::{RowReader, Schema, from_proto, to_proto};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thalweg_beam::urn::coder as urn;
use thalweg_core::coder::{read_varint, take, take_prefixed, write_varint};
use thalweg_io::row::{JsonToRow, RowToJson};
use thalweg_proto::pipeline as pb;
use thalweg_wasm::describe::Coder;

/// Coders in coders, beyond which nobody looks.
const DEPTH_MAX: usize = 20;
/// Coders in one coder at most: few that share their parts may stand for very many.
const PARTS_MAX: usize = 4096;
/// Time is stored with its sign turned, so that bytes order as times do.
const SIGN: u64 = 1 << 63;

/// A coder, with all that is needed to read what it wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// Its name in Beam.
    pub urn: String,
    /// Coders inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<Noted>,
    /// Of a row: Beam's proto of its schema, as hexadecimal digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub schema: String,
}

impl Noted {
    /// A coder of a pipeline.
    #[must_use]
    pub fn of_pipeline(components: &pb::Components, id: &str) -> Self {
        Self::at_depth(components, id, 0, &mut { PARTS_MAX })
    }

    fn at_depth(components: &pb::Components, id: &str, depth: usize, left: &mut usize) -> Self {
        let Some(coder) = components.coders.get(id).filter(|_| depth < DEPTH_MAX) else { return Self::default() };
        let spec = coder.spec.clone().unwrap_or_default();
        let mut parts = coder.component_coder_ids.as_slice();
        match left.checked_sub(parts.len()) {
            Some(rest) => *left = rest,
            None => parts = &[],
        }
        let of = parts.iter().map(|id| Self::at_depth(components, id, depth + 1, left)).collect();
        let schema = if spec.urn == urn::ROW { hex(&spec.payload) } else { String::new() };
        Self { urn: spec.urn, of, schema }
    }

    /// A coder that a component describes.
    #[must_use]
    pub fn of_component(coder: &Coder) -> Self {
        let row = match crate::pipeline::Element::of_coder(coder) {
            Some(crate::pipeline::Element::Row(schema)) => hex(&to_proto(&schema).encode_to_vec()),
            _ => String::new(),
        };
        Self { urn: coder.urn.clone(), of: coder.components.iter().map(Self::of_component).collect(), schema: row }
    }

    /// Its name for people: with what is inside, without what all names have.
    #[must_use]
    pub fn name(&self) -> String {
        let short = self.urn.strip_prefix("beam:coder:").and_then(|rest| rest.strip_suffix(":v1"));
        let of: Vec<String> = self.of.iter().map(Self::name).collect();
        let inside = if of.is_empty() { String::new() } else { format!("<{}>", of.join(", ")) };
        format!("{}{inside}", short.unwrap_or(&self.urn))
    }

    /// Coder number `i` inside.
    #[must_use]
    pub fn part(&self, i: usize) -> Option<&Self> {
        self.of.get(i)
    }

    /// A whole value in Beam's outer context; bytes that cannot be read as one are shown as they are.
    #[must_use]
    pub fn show(&self, bytes: &[u8]) -> Value {
        let whole = match self.urn.as_str() {
            urn::STRING_UTF8 => std::str::from_utf8(bytes).ok().map(|text| json!(text)),
            urn::BYTES => Some(plain(bytes)),
            urn::LENGTH_PREFIX => self.part(0).map(|inner| inner.show(bytes)),
            _ => self.read(bytes, 0).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value),
        };
        whole.unwrap_or_else(|| self.unread(bytes))
    }

    /// Values one after the other, each in the nested context; if they cannot be told apart they are one.
    #[must_use]
    pub fn show_all(&self, bytes: &[u8]) -> Vec<Value> {
        let (mut values, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            match self.read(rest, 0) {
                Some((value, behind)) if behind.len() < rest.len() => {
                    values.push(value);
                    rest = behind;
                }
                _ => return vec![self.unread(bytes)],
            }
        }
        values
    }

    fn unread(&self, bytes: &[u8]) -> Value {
        json!({ "coder": self.urn, "hex": hex(bytes) })
    }

    /// The value in front of nested bytes, and what follows it; nothing if they are no such value or its coder is not known.
    fn read<'a>(&self, bytes: &'a [u8], depth: usize) -> Option<(Value, &'a [u8])> {
        let depth = if depth > DEPTH_MAX { return None } else { depth + 1 };
        Some(match self.urn.as_str() {
            urn::STRING_UTF8 => {
                let (content, rest) = take_prefixed(bytes).ok()?;
                (json!(std::str::from_utf8(content).ok()?), rest)
            }
            urn::BYTES => take_prefixed(bytes).ok().map(|(content, rest)| (plain(content), rest))?,
            urn::LENGTH_PREFIX => {
                take_prefixed(bytes).ok().and_then(|(content, rest)| Some((self.part(0)?.show(content), rest)))?
            }
            urn::BOOL => take(bytes, 1).ok().map(|(content, rest)| (json!(content != [0]), rest))?,
            urn::VARINT => read_varint(bytes).ok().map(|(n, rest)| (json!(n.cast_signed()), rest))?,
            urn::DOUBLE => {
                let (eight, rest) = bytes.split_first_chunk::<8>()?;
                let number = f64::from_be_bytes(*eight);
                // JSON has no word for these
                (if number.is_finite() { json!(number) } else { json!(number.to_string()) }, rest)
            }
            urn::KV => {
                let (key, rest) = self.part(0)?.read(bytes, depth)?;
                let (value, rest) = self.part(1)?.read(rest, depth)?;
                (json!([key, value]), rest)
            }
            urn::ITERABLE => self.part(0)?.list(bytes, depth)?,
            urn::NULLABLE => match bytes.split_first()? {
                (0, rest) => (Value::Null, rest),
                (_, rest) => self.part(0)?.read(rest, depth)?,
            },
            urn::ROW => self.row(bytes)?,
            urn::INTERVAL_WINDOW => {
                let (end, rest) = bytes.split_first_chunk::<8>()?;
                let (span, rest) = read_varint(rest).ok()?;
                let end = (u64::from_be_bytes(*end) ^ SIGN).cast_signed();
                (json!([end.wrapping_sub(span.cast_signed()), end]), rest)
            }
            urn::GLOBAL_WINDOW => (json!("global"), bytes),
            _ => return None,
        })
    }

    /// A list with its count in front, or, where the count is -1, in blocks that end with an empty one.
    fn list<'a>(&self, bytes: &'a [u8], depth: usize) -> Option<(Value, &'a [u8])> {
        let (count, mut rest) = bytes.split_first_chunk::<4>()?;
        let mut values = Vec::new();
        let mut block = |n: u64, mut rest: &'a [u8]| {
            for _ in 0..n {
                let (value, behind) = self.read(rest, depth)?;
                // a count is not trusted further than there are bytes
                if behind.len() == rest.len() {
                    return None;
                }
                values.push(value);
                rest = behind;
            }
            Some(rest)
        };
        if let Ok(count) = u64::try_from(i32::from_be_bytes(*count)) {
            rest = block(count, rest)?;
        } else {
            loop {
                let (n, behind) = read_varint(rest).ok()?;
                rest = block(n, behind)?;
                if n == 0 {
                    break;
                }
            }
        }
        Some((Value::Array(values), rest))
    }

    fn schema(&self) -> Option<Schema> {
        let proto = pb::Schema::decode(unhex(&self.schema)?.as_slice()).ok()?;
        from_proto(&proto).ok()
    }

    fn row<'a>(&self, bytes: &'a [u8]) -> Option<(Value, &'a [u8])> {
        let schema = self.schema()?;
        let mut reader = RowReader::new(&schema, bytes).ok()?;
        for _ in &schema.fields {
            reader.next_field().ok()?;
        }
        let rest = reader.rest();
        let mut text = Vec::new();
        RowToJson::new(&schema).write(bytes.get(..bytes.len() - rest.len())?, &mut text).ok()?;
        Some((serde_json::from_slice(&text).ok()?, rest))
    }

    /// The stored form of a key that a user names: `json:` before a JSON value, `hex:` before the digits of its bytes, `text:` before a text;
    /// without any of them it is a text where keys are texts or bytes, and JSON where they are something else.
    ///
    /// # Errors
    /// A sentence on what does not fit.
    pub fn key(&self, given: &str) -> Result<Vec<u8>, String> {
        if let Some(digits) = given.strip_prefix("hex:") {
            return unhex(digits).ok_or_else(|| "there have to be two hexadecimal digits for each byte".to_owned());
        }
        let json = |text: &str| serde_json::from_str::<Value>(text).map_err(|e| format!("it is no JSON: {e}"));
        let value = match (given.strip_prefix("json:"), given.strip_prefix("text:")) {
            (Some(text), _) => json(text)?,
            (_, Some(text)) => json!(text),
            _ if self.is_text() => json!(given),
            _ => json(given)?,
        };
        let mut out = Vec::new();
        self.write(&value, false, &mut out).map(|()| out)
    }

    /// Whether its values are texts or bytes.
    #[must_use]
    pub fn is_text(&self) -> bool {
        match self.urn.as_str() {
            urn::STRING_UTF8 | urn::BYTES => true,
            urn::LENGTH_PREFIX => self.part(0).is_some_and(Self::is_text),
            _ => false,
        }
    }

    fn write(&self, value: &Value, nested: bool, out: &mut Vec<u8>) -> Result<(), String> {
        let wanted = |what: &str| format!("{what} was expected instead of {value}");
        let unknown = || format!("keys of the coder {} can only be given as hex:", self.urn);
        let part = |i: usize| self.part(i).ok_or_else(unknown);
        match self.urn.as_str() {
            urn::STRING_UTF8 => prefixed(value.as_str().ok_or_else(|| wanted("a text"))?.as_bytes(), nested, out),
            urn::BYTES => {
                let hex = value.get("hex").and_then(Value::as_str).map(unhex);
                let bytes = hex.unwrap_or_else(|| value.as_str().map(|text| text.as_bytes().to_vec()));
                prefixed(&bytes.ok_or_else(|| wanted("a text or {\"hex\": \"..\"}"))?, nested, out);
            }
            urn::LENGTH_PREFIX => {
                let mut inner = Vec::new();
                part(0)?.write(value, false, &mut inner)?;
                prefixed(&inner, nested, out);
            }
            urn::BOOL => out.push(u8::from(value.as_bool().ok_or_else(|| wanted("true or false"))?)),
            urn::VARINT => {
                write_varint(out, value.as_i64().ok_or_else(|| wanted("a whole number"))?.cast_unsigned());
            }
            urn::DOUBLE => out.extend(value.as_f64().ok_or_else(|| wanted("a number"))?.to_be_bytes()),
            urn::KV => {
                let Some([key, of]) = value.as_array().map(Vec::as_slice) else { return Err(wanted("[key, value]")) };
                part(0)?.write(key, true, out)?;
                part(1)?.write(of, true, out)?;
            }
            urn::NULLABLE if value.is_null() => out.push(0),
            urn::NULLABLE => {
                out.push(1);
                part(0)?.write(value, true, out)?;
            }
            urn::ROW => {
                let writer = JsonToRow::new(&self.schema().ok_or_else(unknown)?).map_err(|e| e.message)?;
                writer.write(value.to_string().as_bytes(), out)?;
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }
}

fn prefixed(bytes: &[u8], nested: bool, out: &mut Vec<u8>) {
    if nested {
        write_varint(out, bytes.len() as u64);
    }
    out.extend_from_slice(bytes);
}

fn plain(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| json!({ "hex": hex(bytes) }), |text| json!(text))
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits.
#[must_use]
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let byte = |two: &[u8]| match two {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    };
    digits.as_bytes().chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::FieldType;

    fn coder(urn: &str, of: &[Noted]) -> Noted {
        Noted { urn: format!("beam:coder:{urn}:v1"), of: of.to_vec(), schema: String::new() }
    }

    #[test]
    fn coders_that_share_their_parts_without_end_are_noted_in_part() {
        let of = |i: usize| pb::Coder { component_coder_ids: vec![format!("c{}", i + 1); 4], ..Default::default() };
        let coders = (0..DEPTH_MAX).map(|i| (format!("c{i}"), of(i))).collect();
        let components = pb::Components { coders, ..Default::default() };
        fn parts(coder: &Noted) -> usize {
            coder.of.iter().map(|inner| 1 + parts(inner)).sum()
        }
        let noted = parts(&Noted::of_pipeline(&components, "c0"));
        assert!((1..=PARTS_MAX).contains(&noted), "{noted}");
    }

    #[test]
    fn keys_are_found_by_the_text_that_shows_them() {
        let row = Schema::of([("a", FieldType::Int64), ("b", FieldType::String)]);
        let row = Noted { schema: hex(&to_proto(&row).encode_to_vec()), ..coder("row", &[]) };
        let (text, number) = (coder("string_utf8", &[]), coder("varint", &[]));
        let cases = [
            (&text, "ä b", json!("ä b")),
            (&text, "text:json:1", json!("json:1")),
            (&text, "json:\"x\"", json!("x")),
            (&coder("bytes", &[]), "hex:00ff", json!({"hex": "00ff"})),
            (&number, "-7", json!(-7)),
            (&number, "json:7", json!(7)),
            (&coder("double", &[]), "0.5", json!(0.5)),
            (&coder("bool", &[]), "true", json!(true)),
            (&coder("kv", &[text.clone(), number.clone()]), "[\"k\", 3]", json!(["k", 3])),
            (&coder("nullable", std::slice::from_ref(&number)), "null", json!(null)),
            (&coder("length_prefix", std::slice::from_ref(&text)), "x", json!("x")),
            (&row, "{\"a\": 1, \"b\": \"x\"}", json!({"a": 1, "b": "x"})),
        ];
        for (coder, given, shown) in cases {
            let bytes = coder.key(given).unwrap();
            assert_eq!(coder.show(&bytes), shown, "{given}");
        }
        assert!(number.key("seven").is_err() && number.key("\"7\"").is_err() && text.key("hex:0").is_err());
        let strange = coder("pickled_python", &[]);
        assert!(strange.key("json:1").unwrap_err().contains("hex:"));
        assert_eq!(strange.show(b"\x01"), json!({"coder": "beam:coder:pickled_python:v1", "hex": "01"}));
    }

    #[test]
    fn values_in_a_row_are_told_apart_and_what_is_damaged_is_shown_as_it_is() {
        let pairs = coder("kv", &[coder("string_utf8", &[]), coder("iterable", &[coder("varint", &[])])]);
        let one = b"\x01a\0\0\0\x02\x05\x06";
        assert_eq!(pairs.show_all(&one.repeat(2)), [json!(["a", [5, 6]]), json!(["a", [5, 6]])]);
        for damaged in [&b"\x05a"[..], b"\x01a\x7f\xff\xff\xff", b"\x01\xff\0\0\0\0"] {
            assert_eq!(pairs.show_all(damaged), [json!({"coder": "beam:coder:kv:v1", "hex": hex(damaged)})]);
        }
        let empty = coder("iterable", &[coder("global_window", &[])]);
        assert_eq!(empty.show(b"\x7f\xff\xff\xff").get("hex"), Some(&json!("7fffffff")), "a hostile count");
    }

    #[test]
    fn a_coder_of_a_component_reads_rows() {
        let text = r#"{"urn":"beam:coder:row:v1","fields":[{"name":"a","type":"int64"}]}"#;
        let noted = Noted::of_component(&serde_json::from_str(text).unwrap());
        assert_eq!(noted.show(b"\x01\x00\x07"), json!({"a": 7}));
        assert_eq!(noted.name(), "row");
    }
}
