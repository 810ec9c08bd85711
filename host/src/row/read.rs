//! Reading encoded rows field by field, without decoding what is not asked for.

use super::{Field, FieldType, Schema};
use thalweg_core::coder::{read_varint, take, take_prefixed};
use thalweg_core::error::{Domain, Error, Result};

/// What is wrong with bytes that should be a row.
fn malformed(what: &str) -> Error {
    Error::new("CODER_MALFORMED", Domain::Guest, format!("malformed row: {what}"))
        .help("the encoding of the row does not match the schema declared in the pipeline")
}

/// Hands out the encoded fields of one row in their order.
///
/// ```
/// use thalweg::row::{FieldType, RowReader, Schema, read_i64};
/// let schema = Schema::of([("a", FieldType::String), ("n", FieldType::Int64)]);
/// let mut row = RowReader::new(&schema, b"\x02\x00\x01x\x07")?;
/// assert_eq!(row.next_field()?, Some(&b"\x01x"[..]));
/// assert_eq!(row.next_field()?.map(|n| read_i64(&FieldType::Int64, n)).transpose()?, Some(7));
/// # Ok::<(), thalweg_core::error::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RowReader<'s, 'a> {
    schema: &'s Schema,
    nulls: &'a [u8],
    rest: &'a [u8],
    count: usize,
    next: usize,
}

impl<'s, 'a> RowReader<'s, 'a> {
    /// Begins to read a row.
    ///
    /// # Errors
    /// `CODER_MALFORMED` when the front of the row is cut off.
    pub fn new(schema: &'s Schema, bytes: &'a [u8]) -> Result<Self> {
        let (count, rest) = read_varint(bytes)?;
        let (nulls, rest) = take_prefixed(rest)?;
        let count = usize::try_from(count).map_err(|_| malformed("too many fields"))?;
        Ok(Self { schema, nulls, rest, count, next: 0 })
    }

    /// The encoding of the next field, `None` if it is null. A row of an older schema has fewer fields: those missing are
    /// null. Behind the last field it says null for ever.
    ///
    /// # Errors
    /// `CODER_MALFORMED` when the field is cut off.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<&'a [u8]>> {
        let i = self.next;
        self.next += 1;
        let null = self.nulls.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
        let Some(field) = self.schema.fields.get(i).filter(|_| !null && i < self.count) else { return Ok(None) };
        let rest = skip(&field.kind, self.rest)?;
        let (value, rest) = take(self.rest, self.rest.len() - rest.len())?;
        self.rest = rest;
        Ok(Some(value))
    }

    /// Where each field stands in `row`, the bytes this reader was made of; `None` for null.
    ///
    /// # Errors
    /// As for [`RowReader::next_field`].
    pub fn locate(self, row: &[u8], spans: &mut Vec<Option<(usize, usize)>>) -> Result<()> {
        let fields = self.schema.fields.len();
        self.locate_first(fields, row, spans)
    }

    /// As [`RowReader::locate`], for the first `fields` fields only.
    ///
    /// # Errors
    /// As for [`RowReader::next_field`].
    pub fn locate_first(mut self, fields: usize, row: &[u8], spans: &mut Vec<Option<(usize, usize)>>) -> Result<()> {
        spans.clear();
        for _ in 0..fields {
            let field = self.next_field()?;
            let end = row.len() - self.rest.len().min(row.len());
            spans.push(field.map(|bytes| (end - bytes.len().min(end), end)));
        }
        Ok(())
    }

    /// The encoding of all fields, if none is null or missing.
    pub(super) fn body(&self) -> Option<&'a [u8]> {
        let whole = self.nulls.is_empty() && self.count == self.schema.fields.len() && self.next == 0;
        whole.then_some(self.rest)
    }

    /// Number of fields of the schema.
    pub(super) fn fields(&self) -> usize {
        self.schema.fields.len()
    }

    /// What follows the fields read so far.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Splits off one encoded field.
///
/// # Errors
/// `CODER_MALFORMED` when it is cut off.
pub fn take_field<'a>(kind: &FieldType, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
    let rest = skip(kind, bytes)?;
    take(bytes, bytes.len() - rest.len())
}

/// Returns what follows one field.
#[inline]
fn skip<'a>(kind: &FieldType, bytes: &'a [u8]) -> Result<&'a [u8]> {
    Ok(match kind {
        FieldType::Byte | FieldType::Boolean => take(bytes, 1)?.1,
        FieldType::Int16 => take(bytes, 2)?.1,
        FieldType::Int32 | FieldType::Int64 => read_varint(bytes)?.1,
        FieldType::Float => take(bytes, 4)?.1,
        FieldType::Double | FieldType::MillisInstant => take(bytes, 8)?.1,
        FieldType::String | FieldType::Bytes => take_prefixed(bytes)?.1,
        FieldType::MicrosInstant => {
            let (_, nulls) = read_varint(bytes)?;
            read_varint(read_varint(take_prefixed(nulls)?.1)?.1)?.1
        }
        FieldType::Array(element) => skip_counted(bytes, &[element])?,
        FieldType::Map(key, value) => skip_counted(bytes, &[key, value])?,
        FieldType::Row(schema) => {
            let mut row = RowReader::new(schema, bytes)?;
            for _ in &schema.fields {
                row.next_field()?;
            }
            row.rest
        }
    })
}

/// Skips a counted list of `parts`: elements, or keys and values in turn.
fn skip_counted<'a>(bytes: &'a [u8], parts: &[&Field]) -> Result<&'a [u8]> {
    let (count, mut rest) = take(bytes, 4)?;
    let count = i32::from_be_bytes(count.try_into().map_err(|_| malformed("a list without its size"))?);
    let count = u32::try_from(count).map_err(|_| malformed("a list of unknown size"))?;
    for _ in 0..count {
        let before = rest.len();
        for part in parts {
            let (flag, behind) = if part.nullable { take(rest, 1)? } else { (&[1u8][..], rest) };
            rest = if flag == [0] { behind } else { skip(&part.kind, behind)? };
        }
        if rest.len() == before {
            return Err(malformed("an element without bytes")); // a hostile count would never end
        }
    }
    Ok(rest)
}

/// Decodes a whole number.
///
/// # Errors
/// `CODER_MALFORMED` when the field is of another type or cut off.
#[inline]
pub fn read_i64(kind: &FieldType, field: &[u8]) -> Result<i64> {
    match (kind, field) {
        (FieldType::Int64, _) => Ok(read_varint(field)?.0 as i64),
        (FieldType::Int32, _) => Ok(i64::from(read_varint(field)?.0 as i32)),
        (FieldType::Int16, [a, b]) => Ok(i64::from(i16::from_be_bytes([*a, *b]))),
        (FieldType::Byte, [a]) => Ok(i64::from(*a as i8)),
        _ => Err(malformed("not a whole number")),
    }
}

/// Decodes a number, whole or not.
///
/// # Errors
/// As for [`read_i64`].
#[inline]
pub fn read_f64(kind: &FieldType, field: &[u8]) -> Result<f64> {
    match kind {
        FieldType::Double => Ok(f64::from_be_bytes(field.try_into().map_err(|_| malformed("a short double"))?)),
        FieldType::Float => {
            Ok(f64::from(f32::from_be_bytes(field.try_into().map_err(|_| malformed("a short float"))?)))
        }
        _ => read_i64(kind, field).map(|n| n as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{nullable, required};
    use super::*;

    #[test]
    fn nulls_and_missing_fields_read_as_none() -> Result<()> {
        let schema = Schema { fields: ["a", "b", "c"].map(|n| nullable(n, FieldType::Int64)).to_vec() };
        let mut row = RowReader::new(&schema, b"\x02\x01\x01\x09rest")?;
        assert_eq!(row.next_field()?, None);
        assert_eq!(row.next_field()?, Some(&b"\x09"[..]));
        assert_eq!(row.next_field()?, None);
        assert_eq!(row.rest(), b"rest");
        Ok(())
    }

    #[test]
    fn fields_of_every_type_end_where_they_should() -> Result<()> {
        let list = FieldType::Array(Box::new(nullable("", FieldType::Int16)));
        let map = FieldType::Map(Box::new(required("", FieldType::String)), Box::new(required("", FieldType::Byte)));
        let inner = FieldType::Row(Schema::of([("x", FieldType::Boolean)]));
        let cases: [(&FieldType, &[u8]); 5] = [
            (&list, b"\0\0\0\x02\x00\x01\x00\x05"),
            (&map, b"\0\0\0\x01\x01k\x07"),
            (&inner, b"\x01\x00\x01"),
            (&FieldType::MicrosInstant, b"\x02\x00\x80\x01\x05"),
            (&FieldType::Float, b"\0\0\0\0"),
        ];
        for (kind, bytes) in cases {
            let more = [bytes, b"rest"].concat();
            assert_eq!(skip(kind, &more)?, b"rest", "{kind:?}");
        }
        assert!(skip(&list, b"\xff\xff\xff\xff").is_err());
        Ok(())
    }
}
