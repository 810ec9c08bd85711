//! The bytes of Beam's standard coders that more than one element type needs: variable-length integers and
//! length-prefixed strings. In: the rest of an encoding, which each read shortens. Out: plain values.
//!
//! Source: `beam:coder:varint:v1`, `beam:coder:bytes:v1`.

use std::fmt;

/// Bytes that are no encoding of the type they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed(
    /// What was expected, in a few words.
    pub &'static str,
);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not {}", self.0)
    }
}

/// Appends a variable-length integer: seven bits a byte, the lowest first.
#[inline(always)]
pub fn put_varint(value: u64, out: &mut Vec<u8>) {
    if value < 0x80 {
        out.push(value as u8);
    } else {
        put_long_varint(value, out);
    }
}

fn put_long_varint(value: u64, out: &mut Vec<u8>) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Takes a variable-length integer off the front of `input`.
#[inline(always)]
pub fn get_varint(input: &mut &[u8]) -> Result<u64, Malformed> {
    if let Some((&byte, rest)) = input.split_first()
        && byte < 0x80
    {
        *input = rest;
        return Ok(u64::from(byte));
    }
    get_long_varint(input)
}

fn get_long_varint(input: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0u64;
    for (i, &byte) in input.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *input = &input[i + 1..];
            return Ok(value);
        }
    }
    Err(Malformed("a varint"))
}

/// Takes `n` bytes off the front of `input`.
#[inline(always)]
pub fn get_bytes<'a>(n: usize, input: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let (head, tail) = input.split_at_checked(n).ok_or(Malformed("long enough"))?;
    *input = tail;
    Ok(head)
}

/// Takes a length and that many bytes off the front of `input`.
#[inline(always)]
pub fn get_prefixed<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = get_varint(input)?;
    get_bytes(usize::try_from(length).map_err(|_| Malformed("long enough"))?, input)
}

/// Appends a length and the bytes.
#[inline(always)]
pub fn put_prefixed(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    put_short(bytes, out);
}

/// Appends bytes that are mostly few. A copy by the memory instruction costs a call out of the guest's code, which for
/// a word is dearer than the word; and a loop asks at every turn whether the call may go on.
#[inline(always)]
pub fn put_short(bytes: &[u8], out: &mut Vec<u8>) {
    // whole words are written and what is too much of them taken back: one look at the capacity instead of one a byte
    if bytes.len() <= 8 {
        out.extend(word_of(bytes).to_le_bytes());
        out.truncate(out.len() + bytes.len() - 8);
    } else if let (true, Some(first), Some(last)) = (bytes.len() <= 16, bytes.first_chunk(), bytes.last_chunk()) {
        let tail = u64::from_le_bytes(*last) >> (8 * (16 - bytes.len()));
        let both = u128::from(u64::from_le_bytes(*first)) | u128::from(tail) << 64;
        out.extend(both.to_le_bytes());
        out.truncate(out.len() + bytes.len() - 16);
    } else {
        out.extend_from_slice(bytes);
    }
}

/// At most 8 bytes as the low ones of a word.
#[inline(always)]
pub(crate) fn word_of(bytes: &[u8]) -> u64 {
    let n = bytes.len();
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*low)) | u64::from(u32::from_le_bytes(*high)) << (8 * (n - 4));
    }
    // one to three bytes: the first, the middle and the last, which may be the same
    let (Some(first), Some(middle), Some(last)) = (bytes.first(), bytes.get(n / 2), bytes.last()) else { return 0 };
    u64::from(*first) | u64::from(*middle) << (8 * (n / 2)) | u64::from(*last) << (8 * (n - 1))
}

/// Appends a text as a JSON string.
pub fn put_json_string(text: &str, out: &mut String) {
    use fmt::Write;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 => {
                // writing into a String cannot fail
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_read_back() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            let mut rest = bytes.as_slice();
            assert_eq!(get_varint(&mut rest), Ok(value));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn an_endless_or_cut_varint_is_malformed() {
        assert!(get_varint(&mut [0x80u8; 11].as_slice()).is_err());
        assert!(get_varint(&mut [0x80u8].as_slice()).is_err());
        assert!(get_prefixed(&mut [5u8, 1, 2].as_slice()).is_err());
    }

    #[test]
    fn short_copies_equal_long_ones() {
        let source: Vec<u8> = (0..100).collect();
        for n in 0..100 {
            let mut out = vec![7];
            put_short(&source[..n], &mut out);
            assert_eq!(out[1..], source[..n]);
        }
    }

    #[test]
    fn json_strings_are_escaped() {
        let mut out = String::new();
        put_json_string("a\"\\\n", &mut out);
        assert_eq!(out, "\"a\\\"\\\\\\u000a\"");
    }
}
