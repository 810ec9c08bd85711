//! Plain values to rows of one field, and back.
//!
//! Both encode the same but for what carries its length: as an element it stands without, as a field behind it.

use crate::native::payload::{UnwrapValue, WrapValue};
use crate::native::{NativeFn, Outputs};
use crate::row::{FieldType, RowReader, RowWriter, Schema, TypeName};
use thalweg_core::batch::Batch;
use thalweg_core::coder::take_prefixed;
use thalweg_core::error::{Error, Result};

fn check(kind: &FieldType) -> Result<()> {
    match kind {
        FieldType::String | FieldType::Bytes | FieldType::Int64 | FieldType::Double | FieldType::Boolean => Ok(()),
        FieldType::Array(_) => Ok(()), // as an element and as a field: the count, then the elements
        _ => Err(Error::user("NATIVE_PAYLOAD", format!("a field of type {} is no plain value", TypeName(kind)))),
    }
}

/// Makes rows of values.
#[derive(Debug)]
pub struct Wrap {
    kind: FieldType,
}

impl Wrap {
    pub fn new(payload: WrapValue) -> Result<Self> {
        check(&payload.kind)?;
        Ok(Self { kind: payload.kind })
    }
}

impl NativeFn for Wrap {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            let value = batch.value(row);
            if self.kind == FieldType::String && std::str::from_utf8(value).is_err() {
                let error = Error::user("VALUE_NOT_UTF8", "a value that should be text is not UTF-8");
                return Err(error.help("read it as bytes (`format: RAW`)"));
            }
            out.like(0, batch, row, |bytes| {
                let mut writer = RowWriter::new(bytes, 1);
                match self.kind {
                    FieldType::String | FieldType::Bytes => writer.bytes(value),
                    _ => writer.field(Some(value)),
                }
                writer.finish();
            });
        }
        Ok(())
    }
}

/// Takes the value out of rows.
#[derive(Debug)]
pub struct Unwrap {
    schema: Schema,
    prefixed: bool,
}

impl Unwrap {
    pub fn new(payload: UnwrapValue) -> Result<Self> {
        let [field] = payload.input.fields.as_slice() else {
            return Err(Error::user("NATIVE_PAYLOAD", "rows of one value have not one field"));
        };
        check(&field.kind)?;
        let prefixed = matches!(field.kind, FieldType::String | FieldType::Bytes);
        Ok(Self { schema: payload.input, prefixed })
    }
}

impl NativeFn for Unwrap {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            let field = RowReader::new(&self.schema, batch.value(row))?.next_field()?;
            let field = field.ok_or_else(|| Error::user("VALUE_NULL", "a value is null that may not be"))?;
            let value = if self.prefixed { take_prefixed(field)?.0 } else { field };
            out.like(0, batch, row, |bytes| bytes.extend_from_slice(value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::batch::BatchBuilder;
    use thalweg_core::time::EventTime;
    use thalweg_core::window::Window;

    fn run(function: &mut dyn NativeFn, value: &[u8]) -> Result<Vec<u8>> {
        let mut batch = BatchBuilder::new();
        batch.push(b"", value, EventTime(0), &[Window::Global]);
        let mut out = Outputs::new(&[true]);
        function.process(&batch.finish(), &mut out)?;
        let mut found = Vec::new();
        out.drain(|_, batch| found.extend(batch.rows().iter().flat_map(|row| batch.value(row).to_vec())));
        Ok(found)
    }

    #[test]
    fn values_survive_the_way_into_a_row_and_back() -> Result<()> {
        let double = 2.5f64.to_be_bytes();
        let cases: [(FieldType, &[u8], &[u8]); 4] = [
            (FieldType::String, b"ab", b"\x01\x00\x02ab"),
            (FieldType::Bytes, b"", b"\x01\x00\x00"),
            (FieldType::Int64, b"\x80\x01", b"\x01\x00\x80\x01"),
            (FieldType::Double, &double, b"\x01\x00\x40\x04\0\0\0\0\0\0"),
        ];
        for (kind, value, row) in cases {
            assert_eq!(run(&mut Wrap::new(WrapValue { kind: kind.clone() })?, value)?, row);
            let input = Schema::of([("element", kind)]);
            assert_eq!(run(&mut Unwrap::new(UnwrapValue { input })?, row)?, value);
        }
        let mut text = Wrap::new(WrapValue { kind: FieldType::String })?;
        assert_eq!(run(&mut text, b"\xff").err().map(|e| e.code), Some("VALUE_NOT_UTF8"));
        Ok(())
    }
}
