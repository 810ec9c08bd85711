//! Elements as JSON, and back: what stands in the lines of a file that a function is tried on.
//!
//! | coder | JSON |
//! |---|---|
//! | `string_utf8` | a text |
//! | `bytes` | a text, or `{"hex": "00ff"}` for what is not UTF-8 |
//! | `varint`, `double`, `bool` | a number, true and false |
//! | `kv` | `[key, value]`, or `{"key": .., "value": ..}` |
//! | `iterable` | a list |
//! | `nullable` | null, or the value |
//! | `row` | an object, by the names of the fields |
//! | `interval_window` | `[start, end]` in milliseconds |
//!
//! In: descriptions of coders. It knows nothing of functions and files.

use crate::pipeline::Element;
use crate::row::Schema;
use serde_json::{Value, json};
use thalweg_core::coder::{read_varint, take, take_prefixed, write_varint};
use thalweg_core::error::{Error, Result};
use thalweg_io::row::{JsonToRow, RowToJson};
use thalweg_wasm::describe::Coder;

/// Time is stored with its sign turned, so that bytes order as times do.
const SIGN: u64 = 1 << 63;

/// What is wrong with a value, in words.
type Read<T = ()> = std::result::Result<T, String>;

/// Appends the encoding of a value: nested, or as the whole of its bytes in Beam's outer context.
///
/// # Errors
/// A sentence on what does not fit the coder.
pub fn encode(coder: &Coder, value: &Value, nested: bool, out: &mut Vec<u8>) -> Read {
    let part = |i: usize| coder.components.get(i).ok_or_else(|| unknown(coder));
    let wanted = |what: &str| format!("expected {what}, found {value}");
    match name(coder) {
        "string_utf8" => prefixed(value.as_str().ok_or_else(|| wanted("a text"))?.as_bytes(), nested, out),
        "bytes" => prefixed(&bytes_of(value).ok_or_else(|| wanted("a text or {\"hex\": \"..\"}"))?, nested, out),
        "bool" => out.push(u8::from(value.as_bool().ok_or_else(|| wanted("true or false"))?)),
        "varint" => write_varint(out, value.as_i64().ok_or_else(|| wanted("a whole number"))? as u64),
        "double" => out.extend(value.as_f64().ok_or_else(|| wanted("a number"))?.to_be_bytes()),
        "kv" => {
            let (key, of) = pair(value).ok_or_else(|| wanted("[key, value]"))?;
            encode(part(0)?, key, true, out)?;
            encode(part(1)?, of, nested, out)?;
        }
        "iterable" => {
            let list = value.as_array().ok_or_else(|| wanted("a list"))?;
            out.extend(i32::try_from(list.len()).map_err(|_| "the list is too long".to_owned())?.to_be_bytes());
            list.iter().try_for_each(|element| encode(part(0)?, element, true, out))?;
        }
        "nullable" if value.is_null() => out.push(0),
        "nullable" => {
            out.push(1);
            encode(part(0)?, value, true, out)?;
        }
        "row" => {
            let writer = JsonToRow::new(&schema(coder)?).map_err(|e| format!("{}; {}", e.message, e.help))?;
            writer.write(value.to_string().as_bytes(), out)?;
        }
        "interval_window" => {
            let ends = pair(value).and_then(|(start, end)| Some((start.as_i64()?, end.as_i64()?)));
            let (start, end) = ends.filter(|(start, end)| start <= end).ok_or_else(|| wanted("[start, end]"))?;
            out.extend(((end as u64) ^ SIGN).to_be_bytes());
            write_varint(out, end.wrapping_sub(start) as u64);
        }
        _ => return Err(unknown(coder)),
    }
    Ok(())
}

/// The value of bytes in the engine's form: texts and bytes without their length, everything else nested.
///
/// # Errors
/// `CODER_MALFORMED` when they are not such an element.
pub fn decode(coder: &Coder, bytes: &[u8]) -> Result<Value> {
    match name(coder) {
        "string_utf8" => Ok(text(bytes)),
        "bytes" => Ok(shown(bytes)),
        _ => {
            let (value, rest) = nested(coder, bytes)?;
            if rest.is_empty() { Ok(value) } else { Err(malformed("bytes are left over")) }
        }
    }
}

/// The value in front of nested bytes, and what follows it.
///
/// # Errors
/// As for [`decode`].
pub fn nested<'a>(coder: &Coder, bytes: &'a [u8]) -> Result<(Value, &'a [u8])> {
    let part = |i: usize| coder.components.get(i).ok_or_else(|| malformed("of an unknown coder"));
    Ok(match name(coder) {
        "string_utf8" => take_prefixed(bytes).map(|(content, rest)| (text(content), rest))?,
        "bytes" => take_prefixed(bytes).map(|(content, rest)| (shown(content), rest))?,
        "bool" => take(bytes, 1).map(|(content, rest)| (json!(content != [0]), rest))?,
        "varint" => read_varint(bytes).map(|(n, rest)| (json!(n as i64), rest))?,
        "double" => {
            let (content, rest) = take(bytes, 8)?;
            let number = content.first_chunk::<8>().map_or(f64::NAN, |eight| f64::from_be_bytes(*eight));
            // JSON has no word for these
            (if number.is_finite() { json!(number) } else { json!(number.to_string()) }, rest)
        }
        "kv" => {
            let (key, rest) = nested(part(0)?, bytes)?;
            let (value, rest) = nested(part(1)?, rest)?;
            (json!([key, value]), rest)
        }
        "iterable" => list(part(0)?, bytes)?,
        "nullable" => match take(bytes, 1)? {
            ([0], rest) => (Value::Null, rest),
            (_, rest) => nested(part(0)?, rest)?,
        },
        "row" => {
            let core = coder.to_core().ok_or_else(|| malformed("of an unknown coder"))?;
            let rest = core.skip(bytes)?;
            let (row, _) = take(bytes, bytes.len() - rest.len())?;
            let mut json = Vec::new();
            RowToJson::new(&schema(coder).map_err(|why| malformed(&why))?).write(row, &mut json)?;
            (serde_json::from_slice(&json).map_err(|e| malformed(&e.to_string()))?, rest)
        }
        "interval_window" => {
            let (end, rest) = take(bytes, 8)?;
            let (span, rest) = read_varint(rest)?;
            let end = end.first_chunk::<8>().map_or(0, |eight| (u64::from_be_bytes(*eight) ^ SIGN) as i64);
            (json!([end.wrapping_sub(span as i64), end]), rest)
        }
        other => return Err(malformed(&format!("of the unknown coder {other}"))),
    })
}

/// A list with its count in front, or, where the count is -1, in blocks that end with an empty one.
fn list<'a>(coder: &Coder, bytes: &'a [u8]) -> Result<(Value, &'a [u8])> {
    let (count, mut rest) = take(bytes, 4)?;
    let count = count.first_chunk::<4>().map_or(0, |four| i32::from_be_bytes(*four));
    let mut values = Vec::new();
    let mut block = |n: u64, mut rest: &'a [u8]| {
        for _ in 0..n {
            let (value, behind) = nested(coder, rest)?;
            values.push(value);
            rest = behind;
        }
        Ok::<_, Error>(rest)
    };
    if let Ok(count) = u64::try_from(count) {
        rest = block(count, rest)?;
    } else {
        loop {
            let (n, behind) = read_varint(rest)?;
            rest = block(n, behind)?;
            if n == 0 {
                break;
            }
        }
    }
    Ok((Value::Array(values), rest))
}

/// The middle of the coder's URN.
fn name(coder: &Coder) -> &str {
    coder.urn.strip_prefix("beam:coder:").and_then(|rest| rest.strip_suffix(":v1")).unwrap_or(&coder.urn)
}

fn schema(coder: &Coder) -> Read<Schema> {
    match Element::of_coder(coder) {
        Some(Element::Row(schema)) => Ok(schema),
        _ => Err(unknown(coder)),
    }
}

fn prefixed(bytes: &[u8], nested: bool, out: &mut Vec<u8>) {
    if nested {
        write_varint(out, bytes.len() as u64);
    }
    out.extend_from_slice(bytes);
}

fn pair(value: &Value) -> Option<(&Value, &Value)> {
    match value {
        Value::Array(two) => match two.as_slice() {
            [key, value] => Some((key, value)),
            _ => None,
        },
        Value::Object(fields) if fields.len() == 2 => fields.get("key").zip(fields.get("value")),
        _ => None,
    }
}

fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    if let Some(text) = value.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let digits = value.get("hex")?.as_str()?.as_bytes();
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let byte = |two: &[u8]| match two {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    };
    digits.chunks(2).map(byte).collect()
}

fn text(bytes: &[u8]) -> Value {
    Value::String(String::from_utf8_lossy(bytes).into_owned())
}

fn shown(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() }),
    }
}

fn unknown(coder: &Coder) -> String {
    format!("values of the coder {} have no form in JSON here", coder.urn)
}

fn malformed(what: &str) -> Error {
    Error::user("CODER_MALFORMED", format!("an element that came out cannot be read: {what}"))
        .help("the function's output does not fit the coder that it describes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coder(json: &str) -> Coder {
        serde_json::from_str(&json.replace("U(", "{\"urn\":\"beam:coder:").replace(")", ":v1\"}")).unwrap()
    }

    fn there_and_back(coder: &Coder, value: &Value) -> Value {
        let mut bytes = Vec::new();
        encode(coder, value, true, &mut bytes).unwrap();
        let (found, rest) = nested(coder, &bytes).unwrap();
        assert!(rest.is_empty());
        found
    }

    #[test]
    fn values_come_back_as_they_went() {
        let row = r#"{"urn":"beam:coder:row:v1","fields":[{"name":"a","type":"int64"},
            {"name":"b","type":"string","nullable":true}]}"#;
        let of = |name: &str, parts: &str| format!(r#"{{"urn":"beam:coder:{name}:v1","components":[{parts}]}}"#);
        let cases = [
            ("U(string_utf8)".to_owned(), json!("ä")),
            ("U(bytes)".to_owned(), json!({"hex": "00ff"})),
            ("U(varint)".to_owned(), json!(-7)),
            ("U(double)".to_owned(), json!(0.5)),
            ("U(bool)".to_owned(), json!(true)),
            (of("kv", "U(string_utf8), U(varint)"), json!(["k", 3])),
            (of("iterable", "U(varint)"), json!([1, 2, 3])),
            (of("nullable", "U(varint)"), json!(null)),
            (of("nullable", "U(varint)"), json!(5)),
            ("U(interval_window)".to_owned(), json!([-1000, 2000])),
            (row.to_owned(), json!({"a": 1, "b": null})),
            (of("kv", &format!("U(string_utf8),{row}")), json!(["k", {"a": 2, "b": "x"}])),
        ];
        for (text, value) in cases {
            assert_eq!(there_and_back(&coder(&text), &value), value, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let mut out = Vec::new();
        let why = encode(&coder("U(varint)"), &json!("7"), false, &mut out).unwrap_err();
        assert_eq!(why, "expected a whole number, found \"7\"");
        assert!(decode(&coder("U(varint)"), &[1, 1]).is_err());
        assert!(decode(&coder("U(varint)"), &[]).is_err());
    }
}
