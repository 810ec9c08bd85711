//! Typed elements: which Rust type stands for which Beam coder, how it is borrowed from a frame and written into one.
//!
//! | type | what `process` sees | coder |
//! |---|---|---|
//! | `Vec<u8>` | `&[u8]` | `beam:coder:bytes:v1` |
//! | `String` | `&str` | `beam:coder:string_utf8:v1` |
//! | `i64` | `i64` | `beam:coder:varint:v1` |
//! | `f64` | `f64` | `beam:coder:double:v1` |
//! | `bool` | `bool` | `beam:coder:bool:v1` |
//! | [`Many<T>`](crate::Many) | [`Values<T>`](crate::Values) | `beam:coder:iterable:v1` |
//! | `Kv<K, V>` | `(K's view, V's view)` | `beam:coder:kv:v1` |
//! | a [`Row`](crate::Row) | its own view | `beam:coder:row:v1` |

use crate::many::Rest;
use crate::wire::{self, Malformed};
use std::marker::PhantomData;

/// What `process` sees of an element of type `T`.
pub type View<'a, T> = <T as Element>::View<'a>;

/// A type that a Beam coder can carry.
///
/// *Outer* is the encoding when the length is known from outside, *nested* the one inside something else. Decoding
/// borrows; nothing is allocated.
pub trait Element: 'static {
    /// The borrowed form.
    type View<'a>;

    /// Whether the element has its key in a column of its own.
    const KEYED: bool = false;

    /// Appends the coder as JSON: `{"urn": ..}`, with `components` or `fields`.
    fn coder(json: &mut String);

    /// Reads an encoding that ends where `bytes` ends.
    fn decode(bytes: &[u8]) -> Result<Self::View<'_>, Malformed>;

    /// Takes an encoding off the front of `input`.
    fn decode_nested<'a>(input: &mut &'a [u8]) -> Result<Self::View<'a>, Malformed>;

    /// Appends the outer encoding.
    fn encode(view: &Self::View<'_>, out: &mut Vec<u8>);

    /// Appends the nested encoding.
    fn encode_nested(view: &Self::View<'_>, out: &mut Vec<u8>);

    /// Reads an element from its two columns.
    #[inline(always)]
    fn decode_columns<'a>(_key: &'a [u8], value: &'a [u8]) -> Result<Self::View<'a>, Malformed> {
        Self::decode(value)
    }

    /// Tells a value where it goes on whose beginning alone stands in the frame. False for what is no list.
    fn attach(view: &mut Self::View<'_>, rest: Rest) -> bool {
        let _ = (view, rest);
        false
    }

    /// An encoded list in parts of about `bytes` bytes, the first with the count: for the test kit. None for what is no list.
    #[doc(hidden)]
    #[cfg(not(target_arch = "wasm32"))]
    fn pages(encoded: &[u8], bytes: usize) -> Vec<Vec<u8>> {
        let _ = (encoded, bytes);
        Vec::new()
    }

    /// Appends key and value; gives the position where the value begins.
    #[inline(always)]
    fn encode_columns(view: &Self::View<'_>, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        Self::encode(view, out);
        start
    }
}

impl Element for Vec<u8> {
    type View<'a> = &'a [u8];

    fn coder(json: &mut String) {
        json.push_str(r#"{"urn":"beam:coder:bytes:v1"}"#);
    }
    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<&[u8], Malformed> {
        Ok(bytes)
    }
    #[inline(always)]
    fn decode_nested<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
        wire::get_prefixed(input)
    }
    #[inline(always)]
    fn encode(view: &&[u8], out: &mut Vec<u8>) {
        wire::put_short(view, out);
    }
    #[inline(always)]
    fn encode_nested(view: &&[u8], out: &mut Vec<u8>) {
        wire::put_prefixed(view, out);
    }
}

impl Element for String {
    type View<'a> = &'a str;

    fn coder(json: &mut String) {
        json.push_str(r#"{"urn":"beam:coder:string_utf8:v1"}"#);
    }
    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<&str, Malformed> {
        std::str::from_utf8(bytes).map_err(|_| Malformed("UTF-8"))
    }
    #[inline(always)]
    fn decode_nested<'a>(input: &mut &'a [u8]) -> Result<&'a str, Malformed> {
        Self::decode(wire::get_prefixed(input)?)
    }
    #[inline(always)]
    fn encode(view: &&str, out: &mut Vec<u8>) {
        wire::put_short(view.as_bytes(), out);
    }
    #[inline(always)]
    fn encode_nested(view: &&str, out: &mut Vec<u8>) {
        wire::put_prefixed(view.as_bytes(), out);
    }
}

impl Element for i64 {
    type View<'a> = Self;

    fn coder(json: &mut String) {
        json.push_str(r#"{"urn":"beam:coder:varint:v1"}"#);
    }
    #[inline(always)]
    fn decode(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let value = Self::decode_nested(&mut bytes)?;
        if bytes.is_empty() { Ok(value) } else { Err(Malformed("a varint alone")) }
    }
    #[inline(always)]
    fn decode_nested(input: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(wire::get_varint(input)?.cast_signed())
    }
    #[inline(always)]
    fn encode(view: &Self, out: &mut Vec<u8>) {
        wire::put_varint(view.cast_unsigned(), out);
    }
    #[inline(always)]
    fn encode_nested(view: &Self, out: &mut Vec<u8>) {
        wire::put_varint(view.cast_unsigned(), out);
    }
}

impl Element for f64 {
    type View<'a> = Self;

    fn coder(json: &mut String) {
        json.push_str(r#"{"urn":"beam:coder:double:v1"}"#);
    }
    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Ok(Self::from_be_bytes(bytes.try_into().map_err(|_| Malformed("a double of 8 bytes"))?))
    }
    #[inline(always)]
    fn decode_nested(input: &mut &[u8]) -> Result<Self, Malformed> {
        Self::decode(wire::get_bytes(8, input)?)
    }
    #[inline(always)]
    fn encode(view: &Self, out: &mut Vec<u8>) {
        out.extend(view.to_be_bytes());
    }
    #[inline(always)]
    fn encode_nested(view: &Self, out: &mut Vec<u8>) {
        out.extend(view.to_be_bytes());
    }
}

impl Element for bool {
    type View<'a> = Self;

    fn coder(json: &mut String) {
        json.push_str(r#"{"urn":"beam:coder:bool:v1"}"#);
    }
    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Malformed("a bool")),
        }
    }
    #[inline(always)]
    fn decode_nested(input: &mut &[u8]) -> Result<Self, Malformed> {
        Self::decode(wire::get_bytes(1, input)?)
    }
    #[inline(always)]
    fn encode(view: &Self, out: &mut Vec<u8>) {
        out.push(u8::from(*view));
    }
    #[inline(always)]
    fn encode_nested(view: &Self, out: &mut Vec<u8>) {
        out.push(u8::from(*view));
    }
}

/// A key and a value. Never constructed: `process` sees a pair of views.
pub struct Kv<K, V>(PhantomData<fn() -> (K, V)>);

impl<K: Element, V: Element> Element for Kv<K, V> {
    type View<'a> = (K::View<'a>, V::View<'a>);
    const KEYED: bool = true;

    fn coder(json: &mut String) {
        json.push_str(r#"{"urn":"beam:coder:kv:v1","components":["#);
        K::coder(json);
        json.push(',');
        V::coder(json);
        json.push_str("]}");
    }
    #[inline(always)]
    fn decode(mut bytes: &[u8]) -> Result<Self::View<'_>, Malformed> {
        Ok((K::decode_nested(&mut bytes)?, V::decode(bytes)?))
    }
    #[inline(always)]
    fn decode_nested<'a>(input: &mut &'a [u8]) -> Result<Self::View<'a>, Malformed> {
        Ok((K::decode_nested(input)?, V::decode_nested(input)?))
    }
    #[inline(always)]
    fn encode(view: &Self::View<'_>, out: &mut Vec<u8>) {
        K::encode_nested(&view.0, out);
        V::encode(&view.1, out);
    }
    #[inline(always)]
    fn encode_nested(view: &Self::View<'_>, out: &mut Vec<u8>) {
        K::encode_nested(&view.0, out);
        V::encode_nested(&view.1, out);
    }
    #[inline(always)]
    fn decode_columns<'a>(key: &'a [u8], value: &'a [u8]) -> Result<Self::View<'a>, Malformed> {
        Ok((K::decode(key)?, V::decode(value)?))
    }
    #[inline(always)]
    fn encode_columns(view: &Self::View<'_>, out: &mut Vec<u8>) -> usize {
        K::encode(&view.0, out);
        let start = out.len();
        V::encode(&view.1, out);
        start
    }
    fn attach(view: &mut Self::View<'_>, rest: Rest) -> bool {
        V::attach(&mut view.1, rest)
    }
    #[cfg(not(target_arch = "wasm32"))]
    fn pages(encoded: &[u8], bytes: usize) -> Vec<Vec<u8>> {
        V::pages(encoded, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_those_of_beam() {
        let mut out = Vec::new();
        Kv::<String, i64>::encode(&("ab", 300), &mut out);
        assert_eq!(out, [2, b'a', b'b', 0xac, 2]);
        out.clear();
        Kv::<String, Kv<Vec<u8>, f64>>::encode_nested(&("a", (b"xy".as_slice(), 1.0)), &mut out);
        assert_eq!(out, [1, b'a', 2, b'x', b'y', 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]);
        out.clear();
        i64::encode(&-1, &mut out);
        assert_eq!(out, [255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut out = Vec::new();
        let value = Kv::<String, Kv<bool, i64>>::encode_columns(&("key", (true, -5)), &mut out);
        let (key, value) = out.split_at(value);
        assert_eq!(Kv::<String, Kv<bool, i64>>::decode_columns(key, value), Ok(("key", (true, -5))));
    }

    #[test]
    fn foreign_bytes_are_malformed() {
        assert!(String::decode(&[0xff]).is_err());
        assert!(i64::decode(&[1, 1]).is_err());
        assert!(f64::decode(&[0; 7]).is_err());
        assert!(bool::decode(&[2]).is_err());
    }
}
