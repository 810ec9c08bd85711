//! Rows that stand in the pipeline: each element that comes in (the one of an impulse) gives all of them.

use crate::native::payload::CreateRows;
use crate::native::{NativeFn, Outputs};
use crate::row::{FieldType, RowWriter, Schema};
use serde_json::Value;
use thalweg_core::batch::Batch;
use thalweg_core::error::{Error, Result};

/// Gives constant rows.
#[derive(Debug)]
pub struct Create {
    rows: Vec<Vec<u8>>,
}

impl Create {
    pub fn new(payload: &CreateRows) -> Result<Self> {
        let rows = payload.rows.iter().map(|row| encode(&payload.schema, row)).collect::<Result<_>>()?;
        Ok(Self { rows })
    }
}

impl NativeFn for Create {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            for value in &self.rows {
                out.like(0, batch, row, |bytes| bytes.extend_from_slice(value));
            }
        }
        Ok(())
    }
}

fn encode(schema: &Schema, values: &[Value]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut row = RowWriter::new(&mut out, schema.fields.len());
    for (i, field) in schema.fields.iter().enumerate() {
        match (&field.kind, values.get(i)) {
            (_, None | Some(Value::Null)) if field.nullable => row.null(),
            (FieldType::Boolean, Some(Value::Bool(b))) => row.boolean(*b),
            (FieldType::Int64, Some(Value::Number(n))) if n.is_i64() => row.int64(n.as_i64().unwrap_or_default()),
            (FieldType::Double, Some(Value::Number(n))) => row.double(n.as_f64().unwrap_or_default()),
            (FieldType::String, Some(Value::String(text))) => row.string(text),
            _ => {
                return Err(Error::user(
                    "NATIVE_PAYLOAD",
                    format!("a constant row has no fitting value for {}", field.name),
                ));
            }
        }
    }
    row.finish();
    Ok(out)
}
