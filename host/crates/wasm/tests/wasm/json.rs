//! Elements as JSON: encoded and decoded by the coder of a description, so that tests can stand as data.

use serde_json::{Map, Value};
use thalweg_core::coder::write_varint;
use thalweg_wasm::describe::{Coder, Field};

fn double(value: &Value, out: &mut Vec<u8>) {
    out.extend(value.as_f64().expect("a number").to_be_bytes());
}

fn number(value: &Value, out: &mut Vec<u8>) {
    write_varint(out, value.as_i64().expect("a whole number").cast_unsigned());
}

fn text(value: &Value) -> &[u8] {
    value.as_str().expect("a text").as_bytes()
}

/// Appends the nested encoding, or the outer one.
pub fn encode(coder: &Coder, value: &Value, outer: bool, out: &mut Vec<u8>) {
    match coder.urn.as_str() {
        "beam:coder:string_utf8:v1" | "beam:coder:bytes:v1" => {
            if !outer {
                write_varint(out, text(value).len() as u64);
            }
            out.extend_from_slice(text(value));
        }
        "beam:coder:varint:v1" => number(value, out),
        "beam:coder:double:v1" => double(value, out),
        "beam:coder:kv:v1" => {
            encode(&coder.components[0], &value[0], false, out);
            encode(&coder.components[1], &value[1], outer, out);
        }
        "beam:coder:row:v1" => {
            out.extend([coder.fields.len() as u8, 0]);
            for field in &coder.fields {
                let value = &value[&field.name];
                match field.kind.as_str() {
                    "int64" => number(value, out),
                    "double" => double(value, out),
                    "string" => {
                        write_varint(out, text(value).len() as u64);
                        out.extend_from_slice(text(value));
                    }
                    other => unreachable!("no field of the type {other} is written here"),
                }
            }
        }
        other => unreachable!("nothing of {other} is written here"),
    }
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (head, tail) = bytes.split_at(n);
    *bytes = tail;
    head
}

fn varint(bytes: &mut &[u8]) -> i64 {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let byte = take(bytes, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return value.cast_signed();
        }
    }
}

fn field(field: &Field, bytes: &mut &[u8]) -> Value {
    match field.kind.as_str() {
        "int64" => varint(bytes).into(),
        "double" => f64::from_be_bytes(take(bytes, 8).try_into().expect("8 bytes")).into(),
        "string" => {
            let length = varint(bytes) as usize;
            String::from_utf8(take(bytes, length).to_vec()).expect("UTF-8").into()
        }
        other => unreachable!("no field of the type {other} is read here"),
    }
}

/// Takes a nested encoding off the front, or an outer one.
pub fn decode(coder: &Coder, bytes: &mut &[u8], outer: bool) -> Value {
    match coder.urn.as_str() {
        "beam:coder:string_utf8:v1" => {
            let length = if outer { bytes.len() } else { varint(bytes) as usize };
            String::from_utf8(take(bytes, length).to_vec()).expect("UTF-8").into()
        }
        "beam:coder:varint:v1" => varint(bytes).into(),
        "beam:coder:double:v1" => f64::from_be_bytes(take(bytes, 8).try_into().expect("8 bytes")).into(),
        "beam:coder:kv:v1" => {
            let key = decode(&coder.components[0], bytes, false);
            Value::Array(vec![key, decode(&coder.components[1], bytes, outer)])
        }
        "beam:coder:iterable:v1" => {
            let count = i32::from_be_bytes(take(bytes, 4).try_into().expect("4 bytes"));
            (0..count).map(|_| decode(&coder.components[0], bytes, false)).collect()
        }
        "beam:coder:row:v1" => {
            assert_eq!(take(bytes, 2), [coder.fields.len() as u8, 0], "a row without nulls");
            let fields = coder.fields.iter().map(|f| (f.name.clone(), field(f, bytes)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => unreachable!("nothing of {other} is read here"),
    }
}

/// Key and value of an element, each in the outer context.
pub fn columns(coder: &Coder, value: &Value) -> (Vec<u8>, Vec<u8>) {
    let (mut key, mut rest) = (Vec::new(), Vec::new());
    if coder.is_kv() {
        encode(&coder.components[0], &value[0], true, &mut key);
        encode(&coder.components[1], &value[1], true, &mut rest);
    } else {
        encode(coder, value, true, &mut rest);
    }
    (key, rest)
}

/// The element of key and value. All bytes have to be its.
pub fn element(coder: &Coder, mut key: &[u8], mut value: &[u8]) -> Value {
    let element = if coder.is_kv() {
        let first = decode(&coder.components[0], &mut key, true);
        Value::Array(vec![first, decode(&coder.components[1], &mut value, true)])
    } else {
        decode(coder, &mut value, true)
    };
    assert!(key.is_empty() && value.is_empty(), "bytes behind {element}");
    element
}
