//! Ground floor: what the engine knows of Beam's coders: where an element ends, and how its outer length prefix looks.
//!
//! Elements are never decoded here. Inside the engine a key or a value is its encoding in Beam's *outer* context (bytes
//! and strings without their length); on the wire of an SDK it is in *nested* context. [`Coder::skip`] finds the end of
//! a nested encoding, [`Coder::content`] strips the outer length, [`Coder::write_nested`] puts it back.
//!
//! Source: `beam:coder:*:v1`.

use crate::error::{Error, Result};
use std::sync::Arc;

/// A coder as far as the engine must understand it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Coder {
    /// `beam:coder:bytes:v1`: length, bytes.
    Bytes,
    /// `beam:coder:string_utf8:v1`: length, UTF-8.
    StringUtf8,
    /// `beam:coder:bool:v1`: one byte.
    Bool,
    /// `beam:coder:varint:v1`: 1 to 10 bytes, little end first.
    VarInt,
    /// `beam:coder:double:v1`: eight bytes, big end first.
    Double,
    /// `beam:coder:kv:v1`: key, value.
    Kv(Arc<Coder>, Arc<Coder>),
    /// `beam:coder:iterable:v1`: count (4 bytes) or -1 and counted blocks, then the elements.
    Iterable(Arc<Coder>),
    /// `beam:coder:length_prefix:v1` around anything, and every coder we do not know, which is always sent that way.
    LengthPrefix,
    /// `beam:coder:interval_window:v1`: end (8 bytes), length (varint).
    IntervalWindow,
    /// `beam:coder:global_window:v1`: nothing.
    GlobalWindow,
    /// `beam:coder:nullable:v1`: a flag byte, then perhaps the element.
    Nullable(Arc<Coder>),
    /// `beam:coder:row:v1`: field count, null bits, fields.
    Row(Arc<[Field]>),
    /// `beam:coder:sharded_key:v1`: shard id bytes, key.
    ShardedKey(Arc<Coder>),
}

/// One field of a row, as far as its length is concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Field {
    /// BYTE and BOOLEAN: one byte.
    One,
    /// INT16: two bytes in Beam's standard schema coder.
    Two,
    /// INT32, INT64 as varint.
    VarInt,
    /// FLOAT: four bytes.
    Four,
    /// DOUBLE: eight bytes.
    Eight,
    /// STRING and BYTES: length, then that many bytes.
    Bytes,
    /// ARRAY and ITERABLE: count (4 bytes), elements.
    Array(Box<Field>),
    /// MAP: count (4 bytes), then keys and values in turn.
    Map(Box<Field>, Box<Field>),
    /// A row inside a row.
    Row(Arc<[Field]>),
    /// A nullable element inside an array or map: flag byte, element.
    Nullable(Box<Field>),
    /// A logical type that travels as bytes with their length.
    Opaque,
    /// A decimal: scale (varint), then length and bytes of the unscaled number.
    Decimal,
}

/// What is wrong with bytes that should be an element.
fn malformed(what: &str) -> Error {
    Error::new("CODER_MALFORMED", crate::error::Domain::Guest, format!("malformed element: {what}"))
        .help("the worker's encoding does not match the coder declared in the pipeline")
}

/// Reads a varint; returns the value and what follows it.
///
/// # Errors
/// `CODER_MALFORMED` when it is cut off or longer than ten bytes.
pub fn read_varint(bytes: &[u8]) -> Result<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).wrapping_shl(7 * i as u32);
        if byte & 0x80 == 0 {
            return Ok((value, bytes.get(i + 1..).unwrap_or_default()));
        }
    }
    Err(malformed("cut off or endless varint"))
}

/// Appends a varint.
pub fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Splits off `n` bytes.
///
/// # Errors
/// `CODER_MALFORMED` when there are fewer.
pub fn take(bytes: &[u8], n: usize) -> Result<(&[u8], &[u8])> {
    bytes.split_at_checked(n).ok_or_else(|| malformed("it is cut off"))
}

/// Splits off a length-prefixed run of bytes: its content, and the rest.
///
/// # Errors
/// `CODER_MALFORMED` when it is cut off.
pub fn take_prefixed(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let (n, rest) = read_varint(bytes)?;
    take(rest, usize::try_from(n).map_err(|_| malformed("length over the address space"))?)
}

/// Splits off a big-endian `i32` count.
fn take_count(bytes: &[u8]) -> Result<(i32, &[u8])> {
    let (n, rest) = take(bytes, 4)?;
    Ok((i32::from_be_bytes(n.try_into().map_err(|_| malformed("count"))?), rest))
}

/// Runs `skip` over `count` elements.
fn skip_n(count: u64, mut bytes: &[u8], skip: impl Fn(&[u8]) -> Result<&[u8]>) -> Result<&[u8]> {
    for _ in 0..count {
        let rest = skip(bytes)?;
        if rest.len() == bytes.len() {
            return Ok(bytes); // elements without bytes: a hostile count costs nothing
        }
        bytes = rest;
    }
    Ok(bytes)
}

impl Coder {
    /// Returns what follows one element in nested context. Cost: O(1) but for iterables, rows and maps.
    ///
    /// # Errors
    /// `CODER_MALFORMED` when the bytes are not such an element.
    pub fn skip<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        Ok(match self {
            Self::Bytes | Self::StringUtf8 | Self::LengthPrefix => take_prefixed(bytes)?.1,
            Self::Bool => take(bytes, 1)?.1,
            Self::VarInt => read_varint(bytes)?.1,
            Self::Double => take(bytes, 8)?.1,
            Self::Kv(key, value) => value.skip(key.skip(bytes)?)?,
            Self::Iterable(element) => skip_iterable(bytes, |b| element.skip(b))?,
            Self::IntervalWindow => read_varint(take(bytes, 8)?.1)?.1,
            Self::GlobalWindow => bytes,
            Self::Nullable(inner) => match take(bytes, 1)? {
                ([0], rest) => rest,
                (_, rest) => inner.skip(rest)?,
            },
            Self::Row(fields) => skip_row(fields, bytes)?,
            Self::ShardedKey(key) => key.skip(take_prefixed(bytes)?.1)?,
        })
    }

    /// Whether the nested encoding is the outer one behind its length.
    #[must_use]
    pub fn is_prefixed(&self) -> bool {
        matches!(self, Self::Bytes | Self::StringUtf8 | Self::LengthPrefix)
    }

    /// The outer encoding inside a nested one that [`Coder::skip`] has found whole.
    ///
    /// # Errors
    /// `CODER_MALFORMED` when the length is cut off.
    pub fn content<'a>(&self, nested: &'a [u8]) -> Result<&'a [u8]> {
        if self.is_prefixed() { Ok(take_prefixed(nested)?.0) } else { Ok(nested) }
    }

    /// Appends the nested encoding of an element given in outer context.
    ///
    /// ```
    /// use thalweg_core::coder::Coder;
    /// let mut out = Vec::new();
    /// Coder::StringUtf8.write_nested(&mut out, b"ab");
    /// assert_eq!(out, b"\x02ab");
    /// ```
    pub fn write_nested(&self, out: &mut Vec<u8>, outer: &[u8]) {
        if self.is_prefixed() {
            write_varint(out, outer.len() as u64);
        }
        out.extend_from_slice(outer);
    }

    /// Key and value coders of a KV coder.
    #[must_use]
    pub fn kv(&self) -> Option<(&Arc<Coder>, &Arc<Coder>)> {
        match self {
            Self::Kv(key, value) => Some((key, value)),
            _ => None,
        }
    }
}

fn skip_iterable<'a>(bytes: &'a [u8], skip: impl Fn(&[u8]) -> Result<&[u8]>) -> Result<&'a [u8]> {
    let (count, mut rest) = take_count(bytes)?;
    // the closure's lifetime is generic: re-slice by length instead of returning its borrow
    let tail = |rest: &'a [u8], n: u64| -> Result<&'a [u8]> {
        let left = skip_n(n, rest, &skip)?.len();
        take(rest, rest.len() - left).map(|(_, tail)| tail)
    };
    if let Ok(n) = u64::try_from(count) {
        return tail(rest, n);
    }
    loop {
        let (n, after) = read_varint(rest)?;
        if n == 0 {
            return Ok(after);
        }
        rest = tail(after, n)?;
    }
}

fn skip_row<'a>(fields: &[Field], bytes: &'a [u8]) -> Result<&'a [u8]> {
    let (count, rest) = read_varint(bytes)?;
    let (nulls, mut rest) = take_prefixed(rest)?;
    let count = usize::try_from(count).map_err(|_| malformed("row with too many fields"))?;
    for (i, field) in fields.iter().enumerate().take(count) {
        let null = nulls.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
        if !null {
            rest = field.skip(rest)?;
        }
    }
    Ok(rest)
}

impl Field {
    /// Returns what follows one field.
    fn skip<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        Ok(match self {
            Self::One => take(bytes, 1)?.1,
            Self::Two => take(bytes, 2)?.1,
            Self::VarInt => read_varint(bytes)?.1,
            Self::Four => take(bytes, 4)?.1,
            Self::Eight => take(bytes, 8)?.1,
            Self::Bytes | Self::Opaque => take_prefixed(bytes)?.1,
            Self::Decimal => take_prefixed(read_varint(bytes)?.1)?.1,
            Self::Array(element) => skip_iterable(bytes, |b| element.skip(b))?,
            Self::Map(key, value) => {
                let (count, rest) = take_count(bytes)?;
                let left = skip_n(u64::try_from(count).unwrap_or(0), rest, |b| value.skip(key.skip(b)?))?.len();
                take(rest, rest.len() - left)?.1
            }
            Self::Row(fields) => skip_row(fields, bytes)?,
            Self::Nullable(inner) => match take(bytes, 1)? {
                ([0], rest) => rest,
                (_, rest) => inner.skip(rest)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_elements_end_where_they_should() -> Result<()> {
        let kv = Coder::Kv(Arc::new(Coder::StringUtf8), Arc::new(Coder::VarInt));
        assert_eq!(kv.skip(b"\x01a\x80\x01rest")?, b"rest");
        let list = Coder::Iterable(Arc::new(Coder::VarInt));
        assert_eq!(list.skip(b"\0\0\0\x02\x05\x06rest")?, b"rest");
        assert_eq!(list.skip(b"\xff\xff\xff\xff\x01\x05\x02\x06\x07\x00rest")?, b"rest");
        let row = Coder::Row([Field::Bytes, Field::VarInt].into());
        assert_eq!(row.skip(b"\x02\x00\x01x\x07rest")?, b"rest");
        assert_eq!(row.skip(b"\x02\x01\x02\x01xrest")?, b"rest");
        Ok(())
    }

    #[test]
    fn cut_off_elements_are_errors() {
        assert!(Coder::StringUtf8.skip(b"\x05ab").is_err());
        assert!(Coder::VarInt.skip(&[0x80; 11]).is_err());
        assert!(Coder::Iterable(Arc::new(Coder::Double)).skip(b"\x7f\xff\xff\xff").is_err());
    }

    #[test]
    fn a_hostile_count_of_empty_elements_costs_nothing() -> Result<()> {
        let list = Coder::Iterable(Arc::new(Coder::GlobalWindow));
        assert_eq!(list.skip(b"\x7f\xff\xff\xffrest")?, b"rest");
        Ok(())
    }
}
