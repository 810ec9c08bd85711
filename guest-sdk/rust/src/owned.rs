//! Types that a CombineFn keeps and gives: values that own what they hold, and the Beam coders they travel by.
//!
//! | type | coder |
//! |---|---|
//! | `i64`, `f64`, `bool`, `String`, `Vec<u8>` | as for [`Element`] |
//! | `(A, B)` | `beam:coder:kv:v1` |
//! | `Vec<T>` | `beam:coder:iterable:v1` |
//! | `Option<T>` | `beam:coder:nullable:v1` |

use crate::element::Element;
use crate::wire::{self, Malformed};

/// A value with a Beam coder that owns what it holds. [`Element`] is for what is borrowed from a batch.
///
/// *Outer* is the encoding when the length is known from outside, *nested* the one inside something else.
pub trait Owned: Sized + 'static {
    /// Appends the coder as JSON: `{"urn": ..}`, with `components` if it has some.
    fn coder(json: &mut String);

    /// Takes a nested encoding off the front of `input`.
    ///
    /// # Errors
    /// If it is none.
    fn decode_nested(input: &mut &[u8]) -> Result<Self, Malformed>;

    /// Appends the nested encoding.
    fn encode_nested(&self, out: &mut Vec<u8>);

    /// Reads an outer encoding, which ends where `bytes` ends.
    ///
    /// # Errors
    /// If it is none, or something follows it.
    fn decode(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let value = Self::decode_nested(&mut bytes)?;
        if bytes.is_empty() { Ok(value) } else { Err(Malformed("the end of a value")) }
    }

    /// Appends the outer encoding.
    fn encode(&self, out: &mut Vec<u8>) {
        self.encode_nested(out);
    }
}

impl Owned for i64 {
    fn coder(json: &mut String) {
        <Self as Element>::coder(json);
    }
    fn decode_nested(input: &mut &[u8]) -> Result<Self, Malformed> {
        <Self as Element>::decode_nested(input)
    }
    fn encode_nested(&self, out: &mut Vec<u8>) {
        <Self as Element>::encode_nested(self, out);
    }
}

impl Owned for f64 {
    fn coder(json: &mut String) {
        <Self as Element>::coder(json);
    }
    fn decode_nested(input: &mut &[u8]) -> Result<Self, Malformed> {
        <Self as Element>::decode_nested(input)
    }
    fn encode_nested(&self, out: &mut Vec<u8>) {
        <Self as Element>::encode_nested(self, out);
    }
}

impl Owned for bool {
    fn coder(json: &mut String) {
        <Self as Element>::coder(json);
    }
    fn decode_nested(input: &mut &[u8]) -> Result<Self, Malformed> {
        <Self as Element>::decode_nested(input)
    }
    fn encode_nested(&self, out: &mut Vec<u8>) {
        <Self as Element>::encode_nested(self, out);
    }
}

impl Owned for String {
    fn coder(json: &mut String) {
        <Self as Element>::coder(json);
    }
    fn decode_nested(input: &mut &[u8]) -> Result<Self, Malformed> {
        <Self as Element>::decode_nested(input).map(str::to_owned)
    }
    fn encode_nested(&self, out: &mut Vec<u8>) {
        <Self as Element>::encode_nested(&self.as_str(), out);
    }
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        <Self as Element>::decode(bytes).map(str::to_owned)
    }
    fn encode(&self, out: &mut Vec<u8>) {
        <Self as Element>::encode(&self.as_str(), out);
    }
}

impl Owned for Vec<u8> {
    fn coder(json: &mut String) {
        <Self as Element>::coder(json);
    }
    fn decode_nested(input: &mut &[u8]) -> Result<Self, Malformed> {
        <Self as Element>::decode_nested(input).map(<[u8]>::to_vec)
    }
    fn encode_nested(&self, out: &mut Vec<u8>) {
        <Self as Element>::encode_nested(&self.as_slice(), out);
    }
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        <Self as Element>::decode(bytes).map(<[u8]>::to_vec)
    }
    fn encode(&self, out: &mut Vec<u8>) {
        <Self as Element>::encode(&self.as_slice(), out);
    }
}

impl<A: Owned, B: Owned> Owned for (A, B) {
    fn coder(json: &mut String) {
        json.push_str(r#"{"urn":"beam:coder:kv:v1","components":["#);
        A::coder(json);
        json.push(',');
        B::coder(json);
        json.push_str("]}");
    }
    fn decode_nested(input: &mut &[u8]) -> Result<Self, Malformed> {
        Ok((A::decode_nested(input)?, B::decode_nested(input)?))
    }
    fn encode_nested(&self, out: &mut Vec<u8>) {
        self.0.encode_nested(out);
        self.1.encode_nested(out);
    }
    fn decode(mut bytes: &[u8]) -> Result<Self, Malformed> {
        Ok((A::decode_nested(&mut bytes)?, B::decode(bytes)?))
    }
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode_nested(out);
        self.1.encode(out);
    }
}

pub(crate) fn iterable(json: &mut String, element: impl FnOnce(&mut String)) {
    json.push_str(r#"{"urn":"beam:coder:iterable:v1","components":["#);
    element(json);
    json.push_str("]}");
}

/// The count in front of an iterable; none if its elements come in blocks.
pub(crate) fn count(input: &mut &[u8]) -> Result<Option<usize>, Malformed> {
    let (count, rest) = input.split_first_chunk::<4>().ok_or(Malformed("an iterable"))?;
    *input = rest;
    Ok(usize::try_from(i32::from_be_bytes(*count)).ok())
}

impl<T: Owned> Owned for Vec<T> {
    fn coder(json: &mut String) {
        iterable(json, T::coder);
    }
    fn decode_nested(input: &mut &[u8]) -> Result<Self, Malformed> {
        let mut all = Self::new();
        if let Some(count) = count(input)? {
            for _ in 0..count {
                all.push(T::decode_nested(input)?);
            }
            return Ok(all);
        }
        loop {
            match wire::get_varint(input)? {
                0 => return Ok(all),
                block => {
                    for _ in 0..block {
                        all.push(T::decode_nested(input)?);
                    }
                }
            }
        }
    }
    fn encode_nested(&self, out: &mut Vec<u8>) {
        out.extend((self.len() as i32).to_be_bytes());
        self.iter().for_each(|value| value.encode_nested(out));
    }
}

impl<T: Owned> Owned for Option<T> {
    fn coder(json: &mut String) {
        json.push_str(r#"{"urn":"beam:coder:nullable:v1","components":["#);
        T::coder(json);
        json.push_str("]}");
    }
    fn decode_nested(input: &mut &[u8]) -> Result<Self, Malformed> {
        match wire::get_bytes(1, input)? {
            [0] => Ok(None),
            [1] => T::decode_nested(input).map(Some),
            _ => Err(Malformed("a nullable value")),
        }
    }
    fn encode_nested(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        self.iter().for_each(|value| value.encode_nested(out));
    }
    fn decode(mut bytes: &[u8]) -> Result<Self, Malformed> {
        match wire::get_bytes(1, &mut bytes)? {
            [0] => Ok(None),
            [1] => T::decode(bytes).map(Some),
            _ => Err(Malformed("a nullable value")),
        }
    }
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        self.iter().for_each(|value| value.encode(out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outer<T: Owned>(value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        value.encode(&mut out);
        out
    }

    #[test]
    fn encodings_are_those_of_beam() {
        assert_eq!(outer(&("a".to_owned(), 5i64)), [1, b'a', 5]);
        assert_eq!(outer(&vec!["ab".to_owned()]), [0, 0, 0, 1, 2, b'a', b'b']);
        assert_eq!(outer(&Some("ab".to_owned())), [1, b'a', b'b']);
        assert_eq!(outer(&vec![Some(1i64), None]), [0, 0, 0, 2, 1, 1, 0]);
        let mut json = String::new();
        <Vec<(String, Option<i64>)> as Owned>::coder(&mut json);
        assert!(
            json.starts_with(r#"{"urn":"beam:coder:iterable:v1","components":[{"urn":"beam:coder:kv:v1""#),
            "{json}"
        );
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let value = (vec![(String::from("x"), 1.5f64)], Some(vec![7u8, 8]));
        assert_eq!(Owned::decode(&outer(&value)), Ok(value));
        assert_eq!(<Vec<i64> as Owned>::decode(&[0, 0, 0, 1, 3, 9]), Err(Malformed("the end of a value")));
        assert!(<Option<i64> as Owned>::decode(&[2]).is_err());
    }
}
