//! What stands in a frame beside its rows: the cells of eager slots, and what tables have for the rows' keys. It is of any size, so the rows of a frame are
//! as many as have room with it.

use super::Step;
use crate::error::{Error, Result};
use crate::side::declared;
use bytes::Bytes;

/// What tables have for the keys of rows.
pub struct Looked(Vec<(u32, Vec<Option<Bytes>>)>);

impl Looked {
    /// Asks the tables that the function looks up by key.
    pub fn of<'k>(step: &Step, keys: impl Iterator<Item = &'k [u8]>) -> Self {
        if step.declared.is_empty() {
            return Self(Vec::new());
        }
        let keys: Vec<&[u8]> = keys.collect();
        let table = |index: &u32| Some((*index, step.tables.get(*index as usize)?.get_all(&keys)));
        Self(step.declared.iter().filter_map(table).collect())
    }

    /// How many bytes they have for a row.
    pub fn bytes(&self, row: usize) -> usize {
        self.0.iter().filter_map(|(_, entries)| entries.get(row)?.as_ref()).map(Bytes::len).sum()
    }

    /// Appends what they have for the first rows.
    pub fn write(&self, rows: usize, sections: &mut Vec<u8>) {
        for (table, entries) in &self.0 {
            declared(*table, entries.get(..rows).unwrap_or(entries), sections);
        }
    }
}

/// How many of the rows, one at least, have room for what stands beside them, which is as much as for themselves.
///
/// # Errors
/// [`Error::MemoryLimit`] if what stands beside the first one is more than the guest's memory holds; those of `beside`.
pub fn fitting(step: &Step, rows: usize, mut beside: impl FnMut(usize) -> Result<usize>) -> Result<usize> {
    let mut bytes = 0usize;
    for row in 0..rows {
        bytes = bytes.saturating_add(beside(row)?);
        if row > 0 && bytes > step.frame.bytes {
            return Ok(row);
        }
        let limit = step.callee.limits().memory_bytes;
        if bytes > limit {
            let (function, trace) = (step.transform.clone(), String::new());
            return Err(Error::MemoryLimit { function, limit_bytes: limit as u64, trace });
        }
    }
    Ok(rows)
}
