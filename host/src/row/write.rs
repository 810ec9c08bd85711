//! Writing rows field by field.

use super::RowReader;
use thalweg_core::coder::write_varint;
use thalweg_core::error::Result;

/// Writes the fields of one row behind what `out` already holds.
///
/// ```
/// use thalweg::row::RowWriter;
/// let mut out = Vec::new();
/// let mut row = RowWriter::new(&mut out, 2);
/// row.string("x");
/// row.null();
/// row.finish();
/// assert_eq!(out, b"\x02\x01\x02\x01x");
/// ```
#[derive(Debug)]
pub struct RowWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Where the length of the bitmap stands.
    bitmap_at: usize,
    nulls: Nulls,
    next: usize,
}

/// The bitmap: on the stack for rows of up to 64 fields.
#[derive(Debug)]
enum Nulls {
    Small(u64),
    Large(Vec<u8>),
}

impl<'a> RowWriter<'a> {
    /// Begins a row of `fields` fields; exactly so many have to be written.
    pub fn new(out: &'a mut Vec<u8>, fields: usize) -> Self {
        write_varint(out, fields as u64);
        let bitmap_at = out.len();
        out.push(0); // no nulls so far
        let nulls = if fields <= 64 { Nulls::Small(0) } else { Nulls::Large(vec![0; fields.div_ceil(8)]) };
        Self { out, bitmap_at, nulls, next: 0 }
    }

    /// Writes null.
    pub fn null(&mut self) {
        match &mut self.nulls {
            Nulls::Small(bits) => *bits |= 1u64.wrapping_shl(self.next as u32),
            Nulls::Large(bytes) => {
                if let Some(byte) = bytes.get_mut(self.next / 8) {
                    *byte |= 1 << (self.next % 8);
                }
            }
        }
        self.next += 1;
    }

    /// Copies a field that is encoded already, or writes null.
    #[inline]
    pub fn field(&mut self, encoded: Option<&[u8]>) {
        match encoded {
            Some(bytes) => {
                self.next += 1;
                self.out.extend_from_slice(bytes);
            }
            None => self.null(),
        }
    }

    /// Copies all fields of another row, which must be the whole of its bytes.
    ///
    /// # Errors
    /// `CODER_MALFORMED` when that row is cut off.
    pub fn copy(&mut self, mut row: RowReader<'_, '_>) -> Result<()> {
        if let Some(body) = row.body() {
            self.next += row.fields();
            self.out.extend_from_slice(body);
            return Ok(());
        }
        for _ in 0..row.fields() {
            let field = row.next_field()?;
            self.field(field);
        }
        Ok(())
    }

    /// Writes an INT64.
    #[inline]
    pub fn int64(&mut self, value: i64) {
        self.next += 1;
        write_varint(self.out, value as u64);
    }

    /// Writes a DOUBLE.
    #[inline]
    pub fn double(&mut self, value: f64) {
        self.next += 1;
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    /// Writes a BOOLEAN.
    pub fn boolean(&mut self, value: bool) {
        self.next += 1;
        self.out.push(u8::from(value));
    }

    /// Writes a STRING.
    pub fn string(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// Writes BYTES.
    pub fn bytes(&mut self, value: &[u8]) {
        self.next += 1;
        write_varint(self.out, value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// Writes a `micros_instant` of milliseconds: a row of seconds and microseconds.
    pub fn instant(&mut self, ms: i64) {
        self.next += 1;
        self.out.extend_from_slice(&[2, 0]);
        write_varint(self.out, ms.div_euclid(1000) as u64);
        write_varint(self.out, ms.rem_euclid(1000) as u64 * 1000);
    }

    /// Ends the row.
    pub fn finish(self) {
        let small;
        let bitmap: &[u8] = match &self.nulls {
            Nulls::Small(0) => return,
            Nulls::Small(bits) => {
                small = bits.to_le_bytes();
                &small
            }
            Nulls::Large(bytes) => bytes,
        };
        let Some(last) = bitmap.iter().rposition(|byte| *byte != 0) else { return };
        let mut insert = Vec::with_capacity(last + 3);
        write_varint(&mut insert, last as u64 + 1);
        insert.extend_from_slice(bitmap.get(..=last).unwrap_or_default());
        // rare, so the bytes behind it are moved once instead of every row carrying an empty bitmap
        self.out.splice(self.bitmap_at..=self.bitmap_at, insert);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FieldType, RowReader, Schema, nullable};
    use super::*;

    #[test]
    fn rows_with_many_fields_keep_their_nulls() -> thalweg_core::error::Result<()> {
        for fields in [1usize, 9, 64, 65, 130] {
            let schema = Schema { fields: vec![nullable("f", FieldType::Int64); fields] };
            let mut out = vec![7];
            let mut row = RowWriter::new(&mut out, fields);
            for i in 0..fields {
                if i % 3 == 0 { row.null() } else { row.int64(i as i64) }
            }
            row.finish();
            let mut read = RowReader::new(&schema, out.get(1..).unwrap_or_default())?;
            for i in 0..fields {
                assert_eq!(read.next_field()?.is_none(), i % 3 == 0, "field {i} of {fields}");
            }
            assert_eq!(read.rest(), b"");
        }
        Ok(())
    }
}
