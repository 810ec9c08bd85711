//! Reads the pieces of an encoded row one after the other.

use super::malformed;
use super::schema::{Field, FieldType, Schema};
use thalweg_core::coder;
use thalweg_core::error::Result;

/// Depth of rows, arrays and maps in one another that is still read; a hostile encoding must not exhaust the stack.
pub(super) const DEPTH_MAX: u32 = 64;

/// What is left of a row.
pub(crate) struct Cursor<'a>(pub &'a [u8]);

/// How many elements follow.
pub(super) enum Count {
    /// So many.
    Known(u64),
    /// Blocks, each with its count in front, up to an empty one.
    Blocks,
}

impl<'a> Cursor<'a> {
    pub(crate) fn varint(&mut self) -> Result<u64> {
        let (value, rest) = coder::read_varint(self.0)?;
        self.0 = rest;
        Ok(value)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| malformed("it is cut off"))?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(crate) fn prefixed(&mut self) -> Result<&'a [u8]> {
        let (bytes, rest) = coder::take_prefixed(self.0)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// The front of a row: how many fields it has, and which are null.
    pub(crate) fn header(&mut self) -> Result<(u64, &'a [u8])> {
        Ok((self.varint()?, self.prefixed()?))
    }

    /// The flag in front of an element that may be null; `true` for null.
    pub(super) fn is_null(&mut self) -> Result<bool> {
        Ok(self.array::<1>()? == [0])
    }

    pub(super) fn count(&mut self) -> Result<Count> {
        let n = i32::from_be_bytes(self.array()?);
        Ok(u64::try_from(n).map_or(Count::Blocks, Count::Known))
    }

    /// Seconds and microseconds of a `micros_instant`.
    pub(super) fn seconds_and_micros(&mut self) -> Result<(i64, i64)> {
        let (count, nulls) = self.header()?;
        if count != 2 || !nulls.is_empty() {
            return Err(malformed("a time is not a row of seconds and microseconds"));
        }
        Ok((self.varint()? as i64, self.varint()? as i64))
    }

    /// A `micros_instant` in microseconds; of the seconds around the ends of time the nearest that 64 bits hold.
    #[cfg(feature = "formats")]
    pub(super) fn micros(&mut self) -> Result<i64> {
        let (seconds, micros) = self.seconds_and_micros()?;
        // the first second of Beam's time begins before what 64 bits hold, so its fraction is added before it is cut
        let all = i128::from(seconds) * 1_000_000 + i128::from(micros);
        Ok(all.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }

    /// Milliseconds of a `millis_instant`.
    pub(super) fn millis(&mut self) -> Result<i64> {
        Ok((u64::from_be_bytes(self.array()?) ^ (1 << 63)) as i64)
    }

    /// Passes over one value.
    pub(crate) fn skip(&mut self, kind: &FieldType, depth: u32) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(malformed("it is nested too deeply"));
        }
        match kind {
            FieldType::Byte | FieldType::Boolean => self.array::<1>().map(drop),
            FieldType::Int16 => self.array::<2>().map(drop),
            FieldType::Int32 | FieldType::Int64 => self.varint().map(drop),
            FieldType::Float => self.array::<4>().map(drop),
            FieldType::Double | FieldType::MillisInstant => self.array::<8>().map(drop),
            FieldType::String | FieldType::Bytes => self.prefixed().map(drop),
            FieldType::MicrosInstant => self.seconds_and_micros().map(drop),
            FieldType::Row(schema) => self.skip_row(schema, depth + 1),
            FieldType::Array(element) => self.each(|c| c.skip_element(element, depth + 1)),
            FieldType::Map(key, value) => self.each(|c| {
                c.skip_element(key, depth + 1)?;
                c.skip_element(value, depth + 1)
            }),
        }
    }

    fn skip_element(&mut self, element: &Field, depth: u32) -> Result<()> {
        if element.nullable && self.is_null()? {
            return Ok(());
        }
        self.skip(&element.kind, depth)
    }

    fn skip_row(&mut self, schema: &Schema, depth: u32) -> Result<()> {
        let (count, nulls) = self.header()?;
        for (i, field) in schema.fields.iter().enumerate() {
            if (i as u64) < count && !null_at(nulls, i) {
                self.skip(&field.kind, depth)?;
            }
        }
        Ok(())
    }

    /// Calls `one` for each element of an array or map, however they are counted.
    pub(crate) fn each(&mut self, mut one: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let mut run = |cursor: &mut Self, n: u64| -> Result<()> {
            for _ in 0..n {
                let before = cursor.0.len();
                one(cursor)?;
                if cursor.0.len() == before {
                    return Err(malformed("an element without bytes")); // a hostile count would never end
                }
            }
            Ok(())
        };
        match self.count()? {
            Count::Known(n) => run(self, n),
            Count::Blocks => loop {
                match self.varint()? {
                    0 => return Ok(()),
                    n => run(self, n)?,
                }
            },
        }
    }
}

/// Whether the null bits name a field.
pub(crate) fn null_at(nulls: &[u8], field: usize) -> bool {
    nulls.get(field / 8).is_some_and(|byte| byte >> (field % 8) & 1 == 1)
}
