//! The join of rows with a table: a lookup per row, the columns of the table behind those of the row.

use super::{LocalTable, TableSpec, Tables};
use crate::native::payload::{Half, Part, RowsToPairs};
use crate::native::{NativeFn, Outputs, Setup, Split};
use crate::row::{FieldType, RowReader, RowWriter, Schema};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thalweg_core::batch::Batch;
use thalweg_core::error::{Error, Result};

/// Joins rows with a table. The Python package writes the same. URN `thalweg:fn:table_join:v1`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableJoin {
    /// Fields of the rows that come in.
    pub input: Schema,
    /// What of a row is looked up: of the type of the table's key, or null, for which there is no entry.
    pub key: Part,
    /// The table.
    pub table: TableSpec,
    /// Whether rows without an entry are left out; else they have nulls in the table's columns.
    #[serde(default)]
    pub inner: bool,
}

impl TableJoin {
    /// Fields of the rows that come out: those of the row, then the columns of the table's value.
    ///
    /// # Errors
    /// `TABLE_SPEC`.
    pub fn output(&self) -> Result<Schema> {
        let mut schema = self.input.clone();
        for mut field in self.table.added()?.fields {
            field.nullable |= !self.inner;
            if schema.position(&field.name).is_some() {
                let message = format!("{} and the rows both have a field `{}`", self.table.source, field.name);
                return Err(Error::user("TABLE_SPEC", message).help("choose other columns with `value` of the table"));
            }
            schema.fields.push(field);
        }
        Ok(schema)
    }
}

/// Runs a [`TableJoin`].
#[derive(Debug)]
pub struct Join {
    input: Schema,
    inner: bool,
    table: Arc<LocalTable>,
    split: Split,
    value: Half,
    added: usize,
}

impl Join {
    /// The function of a payload; fills the table if that was not done yet.
    ///
    /// # Errors
    /// `TABLE_*`: what is wrong with the payload or the table.
    pub fn new(setup: &Setup<'_>, tables: &Tables) -> Result<Self> {
        let TableJoin { input, key, table: spec, inner } = setup.json()?;
        let added = spec.added()?;
        let value = match (spec.pairs()?.value, added.fields.as_slice()) {
            (Part::Field(_), [only]) => Half::Value(only.kind.clone()),
            _ => Half::Row(added.clone()),
        };
        let nothing = Part::Fields(Vec::new());
        let split = Split::new(RowsToPairs { input: input.clone(), key, value: nothing })?;
        Ok(Self { input, inner, table: tables.get(&spec)?, split, value, added: added.fields.len() })
    }
}

impl NativeFn for Join {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            let bytes = batch.value(row);
            // null is the key of no entry
            let entry = self.split.key(bytes)?.and_then(|key| self.table.get(key));
            if entry.is_none() && self.inner {
                continue;
            }
            let reader = RowReader::new(&self.input, bytes)?;
            let mut failed = Ok(());
            out.like(0, batch, row, |bytes| {
                let mut writer = RowWriter::new(bytes, self.input.fields.len() + self.added);
                failed = writer
                    .copy(reader)
                    .and_then(|()| write(entry.map(AsRef::as_ref), &self.value, self.added, &mut writer));
                writer.finish();
            });
            failed?;
        }
        Ok(())
    }
}

fn write(entry: Option<&[u8]>, value: &Half, fields: usize, writer: &mut RowWriter<'_>) -> Result<()> {
    match (entry, value) {
        (None, _) => (0..fields).for_each(|_| writer.null()),
        (Some(bytes), Half::Value(FieldType::String | FieldType::Bytes)) => writer.bytes(bytes),
        (Some(bytes), Half::Value(_)) => writer.field(Some(bytes)),
        (Some(bytes), Half::Row(schema)) => writer.copy(RowReader::new(schema, bytes)?)?,
    }
    Ok(())
}
