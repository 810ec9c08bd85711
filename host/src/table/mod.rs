//! Tables: entries by key that functions look up and rows are joined with.
//!
//! In: a [`TableSpec`], as pipelines declare it. Out: a [`LocalTable`] in memory, filled from a file or a compacted topic as it
//! stands when the job starts, and read by every shard; keys and values in the outer context of their coders. A job that
//! starts again fills its tables again. It does not know who looks a table up.

mod file;
mod join;
mod spec;
#[cfg(test)]
mod tests;
mod topic;

pub use join::{Join, TableJoin};
pub use spec::{Columns, Format, TableSource, TableSpec, Topic};

use crate::native::Split;
use bytes::Bytes;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_core::error::{Error, Result};

/// Keys and values of a table are at most so many bytes: a table is for what fits into memory beside the job's state.
const TABLE_BYTES_MAX: usize = 1 << 30;

/// A table in memory. A lookup costs a hash of the key.
#[derive(Default)]
pub struct LocalTable {
    entries: HashMap<Box<[u8]>, Bytes, foldhash::fast::FixedState>,
}

impl fmt::Debug for LocalTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalTable").field("entries", &self.entries.len()).finish()
    }
}

impl LocalTable {
    /// The entry of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.entries.get(key)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl thalweg_wasm::Table for LocalTable {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.entries.get(key).cloned()
    }
}

/// Makes a table of rows.
struct Filling {
    split: Split,
    table: LocalTable,
    bytes: usize,
    name: String,
}

impl Filling {
    fn new(spec: &TableSpec) -> Result<Self> {
        let split = Split::new(spec.pairs()?)?;
        Ok(Self { split, table: LocalTable::default(), bytes: 0, name: spec.source.to_string() })
    }

    /// Adds a row; of two with one key the later one counts.
    fn add(&mut self, row: &[u8]) -> Result<()> {
        let (key, value) = self.split.pair(row)?;
        self.bytes += value.len();
        match self.table.entries.get_mut(key) {
            Some(entry) => {
                self.bytes -= entry.len();
                *entry = Bytes::copy_from_slice(value);
            }
            None => {
                self.bytes += key.len();
                self.table.entries.insert(key.into(), Bytes::copy_from_slice(value));
            }
        }
        if self.bytes > TABLE_BYTES_MAX {
            let message = format!("{} has more than {TABLE_BYTES_MAX} bytes of keys and values", self.name);
            return Err(Error::user("TABLE_TOO_LARGE", message)
                .help("leave columns out with `value`, or join with a side input or by grouping"));
        }
        Ok(())
    }

    /// Takes an entry away.
    fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.table.entries.remove(key) {
            self.bytes -= entry.len() + key.len();
        }
    }
}

/// The tables of a job, each filled once.
#[derive(Debug, Default)]
pub struct Tables {
    kafka: BTreeMap<String, String>,
    filled: Mutex<Vec<(TableSpec, Arc<LocalTable>)>>,
}

impl Tables {
    /// No tables yet. `kafka` are properties of whoever runs the process, which win over those of a pipeline.
    #[must_use]
    pub fn new(kafka: BTreeMap<String, String>) -> Self {
        Self { kafka, filled: Mutex::default() }
    }

    /// A table, filled if it is not yet. Blocks while it is.
    ///
    /// # Errors
    /// `TABLE_*`, and those of Kafka.
    pub fn get(&self, spec: &TableSpec) -> Result<Arc<LocalTable>> {
        let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, table)) = filled.iter().find(|(known, _)| known == spec) {
            return Ok(Arc::clone(table));
        }
        let mut filling = Filling::new(spec)?;
        match &spec.source {
            TableSource::File { path, format } => file::fill(path, *format, &spec.schema, &mut filling)?,
            TableSource::Topic(from) => topic::fill(from, spec, &self.kafka, &mut filling)?,
        }
        let table = Arc::new(filling.table);
        tracing::info!("{} has {} entries", spec.source, table.len());
        filled.push((spec.clone(), Arc::clone(&table)));
        Ok(table)
    }
}
