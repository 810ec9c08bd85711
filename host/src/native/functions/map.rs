//! Copies, drops, renames and orders fields. Their bytes are copied as they are.

use crate::native::payload::MapFields;
use crate::native::{NativeFn, Outputs};
use crate::row::{RowReader, RowWriter};
use thalweg_core::batch::Batch;
use thalweg_core::error::Result;

/// Gives rows of some of the fields.
#[derive(Debug)]
pub struct Map {
    payload: MapFields,
    /// Where the fields of the row at hand stand in it.
    spans: Vec<Option<(usize, usize)>>,
}

impl Map {
    pub fn new(payload: MapFields) -> Self {
        Self { payload, spans: Vec::new() }
    }
}

impl NativeFn for Map {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        let fields = &self.payload.fields;
        for row in batch.rows() {
            let value = batch.value(row);
            RowReader::new(&self.payload.input, value)?.locate(value, &mut self.spans)?;
            out.like(0, batch, row, |bytes| {
                let mut writer = RowWriter::new(bytes, fields.len());
                for field in fields {
                    let span = self.spans.get(*field).copied().flatten();
                    writer.field(span.and_then(|(from, to)| value.get(from..to)));
                }
                writer.finish();
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{FieldType, Schema, nullable, required};
    use thalweg_core::batch::BatchBuilder;
    use thalweg_core::time::EventTime;
    use thalweg_core::window::Window;

    #[test]
    fn fields_are_copied_dropped_and_ordered_with_their_nulls() -> Result<()> {
        let fields =
            vec![nullable("a", FieldType::Int64), required("b", FieldType::String), nullable("c", FieldType::Int64)];
        let mut map = Map::new(MapFields { input: Schema { fields }, fields: vec![2, 0, 2] });
        let mut batch = BatchBuilder::new();
        for value in [b"\x03\x00\x05\x01x\x09".as_slice(), b"\x03\x01\x01\x01x\x09"] {
            batch.push(&[], value, EventTime(3), &[Window::Global]);
        }
        let mut out = Outputs::new(&[true]);
        map.process(&batch.finish(), &mut out)?;
        let mut values = Vec::new();
        out.drain(|_, batch| values.extend(batch.rows().iter().map(|row| (row.time, batch.value(row).to_vec()))));
        assert_eq!(
            values,
            [(EventTime(3), b"\x03\x00\x09\x05\x09".to_vec()), (EventTime(3), b"\x03\x01\x02\x09\x09".to_vec())]
        );
        Ok(())
    }
}
