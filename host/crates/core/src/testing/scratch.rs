//! Scratch space in memory, which tells how much is kept.

use crate::error::{Error, Result};
use crate::port::scratch::{Place, Scratch};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A fake of scratch space.
#[derive(Debug, Default)]
pub struct MemoryScratch(Mutex<(u64, BTreeMap<u64, Bytes>)>);

impl MemoryScratch {
    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Bytes>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn held(&self) -> usize {
        self.lock().1.values().map(Bytes::len).sum()
    }
}

impl Scratch for MemoryScratch {
    fn put(&self, bytes: &[u8]) -> Result<Place> {
        let mut all = self.lock();
        all.0 += 1;
        let start = all.0;
        all.1.insert(start, Bytes::copy_from_slice(bytes));
        Ok(Place { start, len: bytes.len() })
    }

    fn get(&self, place: Place) -> Result<Bytes> {
        let gone = || Error::internal("SCRATCH_IO", "this place was given up");
        self.lock().1.get(&place.start).cloned().ok_or_else(gone)
    }

    fn free(&self, place: Place) {
        self.lock().1.remove(&place.start);
    }
}
