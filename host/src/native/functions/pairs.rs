//! Rows to pairs of key and value, and back: what stands between the rows of a pipeline file and functions with keys.
//!
//! A text or a byte string stands with its length in a row and without it in a pair; every other field and every row is the
//! same bytes in both.

use crate::native::payload::{Half, PairsToRows, Part, RowsToPairs};
use crate::native::{NativeFn, Outputs};
use crate::row::{FieldType, RowReader, RowWriter, Schema, take_field};
use thalweg_core::batch::Batch;
use thalweg_core::coder::{read_varint, take_prefixed, write_varint};
use thalweg_core::error::{Error, Result};

/// Makes pairs of rows.
#[derive(Debug)]
pub struct Split {
    payload: RowsToPairs,
    /// Memory that is kept from row to row.
    spans: Vec<Option<(usize, usize)>>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Split {
    /// For rows of the payload's schema.
    ///
    /// # Errors
    /// `NATIVE_PAYLOAD` for a field that the rows do not have.
    pub fn new(payload: RowsToPairs) -> Result<Self> {
        let fields = |part: &Part| match part {
            Part::Field(i) => vec![*i],
            Part::Fields(fields) => fields.clone(),
        };
        let all = [&payload.key, &payload.value].into_iter().flat_map(fields);
        if all.max().is_some_and(|last| last >= payload.input.fields.len()) {
            return Err(Error::user("NATIVE_PAYLOAD", "a pair is made of a field that the rows do not have"));
        }
        Ok(Self { payload, spans: Vec::new(), key: Vec::new(), value: Vec::new() })
    }

    /// Key and value of a row, in the outer context.
    ///
    /// # Errors
    /// `VALUE_NULL` for a plain value that is null, `CODER_MALFORMED` for a row that is cut off.
    pub fn pair(&mut self, row: &[u8]) -> Result<(&[u8], &[u8])> {
        let Self { payload, spans, key, value } = self;
        RowReader::new(&payload.input, row)?.locate(row, spans)?;
        for (part, out) in [(&payload.key, &mut *key), (&payload.value, &mut *value)] {
            if !write_part(&payload.input, part, row, spans, out)? {
                return Err(Error::user("VALUE_NULL", "a value is null that may not be"));
            }
        }
        Ok((key, value))
    }

    /// The key of a row, in the outer context; `None` for a plain one that is null.
    ///
    /// # Errors
    /// `CODER_MALFORMED` for a row that is cut off.
    pub fn key(&mut self, row: &[u8]) -> Result<Option<&[u8]>> {
        let Self { payload, spans, key, .. } = self;
        RowReader::new(&payload.input, row)?.locate(row, spans)?;
        Ok(write_part(&payload.input, &payload.key, row, spans, key)?.then_some(key))
    }
}

/// Makes one half of a pair of a row; `false` for a plain value that is null.
fn write_part(
    input: &Schema,
    part: &Part,
    row: &[u8],
    spans: &[Option<(usize, usize)>],
    out: &mut Vec<u8>,
) -> Result<bool> {
    out.clear();
    let field = |i: &usize| spans.get(*i).copied().flatten().and_then(|(from, to)| row.get(from..to));
    match part {
        Part::Field(i) => {
            let Some(bytes) = field(i) else { return Ok(false) };
            let kind = input.fields.get(*i).map(|f| &f.kind);
            let prefixed = matches!(kind, Some(FieldType::String | FieldType::Bytes));
            out.extend_from_slice(if prefixed { take_prefixed(bytes)?.0 } else { bytes });
        }
        Part::Fields(fields) => {
            let mut writer = RowWriter::new(out, fields.len());
            fields.iter().for_each(|i| writer.field(field(i)));
            writer.finish();
        }
    }
    Ok(true)
}

impl NativeFn for Split {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            let (key, value) = self.pair(batch.value(row))?;
            out.keyed_like(0, key, value, batch, row);
        }
        Ok(())
    }
}

/// Makes rows of pairs.
#[derive(Debug)]
pub struct Join {
    payload: PairsToRows,
    /// Memory that is kept from row to row.
    row: Vec<u8>,
}

impl Join {
    pub fn new(payload: PairsToRows) -> Self {
        Self { payload, row: Vec::new() }
    }

    fn fields(&self) -> usize {
        let of = |half: &Half| match half {
            Half::Value(_) => 1,
            Half::Row(schema) => schema.fields.len(),
        };
        of(&self.payload.key) + of(&self.payload.value)
    }

    /// Makes the row of a pair in `self.row`.
    fn pair(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let fields = self.fields();
        self.row.clear();
        let mut writer = RowWriter::new(&mut self.row, fields);
        for (half, bytes) in [(&self.payload.key, key), (&self.payload.value, value)] {
            match half {
                Half::Value(FieldType::String) => {
                    let text = std::str::from_utf8(bytes);
                    writer.string(text.map_err(|_| {
                        Error::user("VALUE_NOT_UTF8", "a value that should be text is not UTF-8")
                            .help("let the function give it as bytes")
                    })?);
                }
                Half::Value(FieldType::Bytes) => writer.bytes(bytes),
                Half::Value(_) => writer.field(Some(bytes)),
                Half::Row(schema) => writer.copy(RowReader::new(schema, bytes)?)?,
            }
        }
        writer.finish();
        Ok(())
    }

    /// Reads a pair that failed, one part behind the other in the nested context; gives what follows it.
    fn failed<'a>(&mut self, row: &'a [u8]) -> Result<&'a [u8]> {
        let (_, rest) = read_varint(row)?;
        let (_, rest) = take_prefixed(rest)?; // none of the fields is null
        let (key, rest) = half(&self.payload.key, rest)?;
        let (value, rest) = half(&self.payload.value, rest)?;
        self.pair(key, value)?;
        Ok(rest)
    }
}

/// Splits one half of a nested pair off, and takes its outer length away.
fn half<'a>(of: &Half, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
    match of {
        Half::Value(FieldType::String | FieldType::Bytes) => take_prefixed(bytes),
        Half::Value(kind) => take_field(kind, bytes),
        Half::Row(schema) => take_field(&FieldType::Row(schema.clone()), bytes),
    }
}

impl NativeFn for Join {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            if self.payload.failed {
                let rest = self.failed(batch.value(row))?;
                out.like(0, batch, row, |bytes| {
                    write_varint(bytes, 3);
                    bytes.push(0); // no nulls
                    bytes.extend_from_slice(&self.row);
                    bytes.extend_from_slice(rest);
                });
            } else {
                self.pair(batch.key(row), batch.value(row))?;
                out.like(0, batch, row, |bytes| bytes.extend_from_slice(&self.row));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{nullable, required};
    use thalweg_core::batch::BatchBuilder;
    use thalweg_core::time::EventTime;
    use thalweg_core::window::Window;

    fn run(function: &mut dyn NativeFn, key: &[u8], value: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut batch = BatchBuilder::new();
        batch.push(key, value, EventTime(0), &[Window::Global]);
        let mut out = Outputs::new(&[true]);
        function.process(&batch.finish(), &mut out)?;
        let mut found = Vec::new();
        out.drain(|_, batch| {
            found.extend(batch.rows().iter().map(|row| (batch.key(row).to_vec(), batch.value(row).to_vec())))
        });
        Ok(found)
    }

    fn schema() -> Schema {
        Schema { fields: vec![required("a", FieldType::String), nullable("n", FieldType::Int64)] }
    }

    #[test]
    fn rows_become_pairs_and_rows_again() -> Result<()> {
        let row = b"\x02\x00\x02ab\x07";
        let payload = RowsToPairs { input: schema(), key: Part::Field(0), value: Part::Fields(vec![1]) };
        let pairs = run(&mut Split::new(payload)?, b"", row)?;
        assert_eq!(pairs, [(b"ab".to_vec(), b"\x01\x00\x07".to_vec())]);
        let (key, value) = (&pairs[0].0, &pairs[0].1);
        let whole = PairsToRows {
            key: Half::Value(FieldType::String),
            value: Half::Row(Schema { fields: vec![nullable("n", FieldType::Int64)] }),
            failed: false,
        };
        assert_eq!(run(&mut Join::new(whole), key, value)?, [(Vec::new(), row.to_vec())]);
        Ok(())
    }

    #[test]
    fn nulls_stay_null_in_a_row_and_are_refused_as_a_value() -> Result<()> {
        let row = b"\x02\x01\x02\x01x";
        let payload =
            |key, value| Split::new(RowsToPairs { input: schema(), key: Part::Field(key), value: Part::Fields(value) });
        let pairs = run(&mut payload(0, vec![1, 0])?, b"", row)?;
        assert_eq!(pairs, [(b"x".to_vec(), b"\x02\x01\x01\x01x".to_vec())]);
        assert_eq!(run(&mut payload(1, vec![0])?, b"", row).err().map(|e| e.code), Some("VALUE_NULL"));
        assert_eq!(payload(2, vec![0]).err().map(|e| e.code), Some("NATIVE_PAYLOAD"));
        Ok(())
    }

    #[test]
    fn a_pair_that_failed_becomes_a_row_inside_its_row() -> Result<()> {
        let payload =
            PairsToRows { key: Half::Value(FieldType::String), value: Half::Value(FieldType::Int64), failed: true };
        let failed = b"\x03\x00\x02ab\x07\x03why\x05stack";
        let rows = run(&mut Join::new(payload), b"", failed)?;
        assert_eq!(rows, [(Vec::new(), b"\x03\x00\x02\x00\x02ab\x07\x03why\x05stack".to_vec())]);
        Ok(())
    }
}
