//! The port of scratch space: bytes that need not outlive the run but would fill the memory.
//!
//! In: bytes that are wanted later. Out: a [`Chunk`], which reads them back and gives their place up when it goes. What a
//! job must not lose is in its store; scratch space is a larger memory, not a safer one.

use crate::error::Result;
use bytes::Bytes;
use std::fmt::Debug;
use std::sync::Arc;

/// Where bytes were put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// First byte.
    pub start: u64,
    /// Number of bytes.
    pub len: usize,
}

/// Scratch space. Shared by shards and workers, hence `Sync`.
pub trait Scratch: Send + Sync + Debug {
    /// Puts bytes away.
    ///
    /// # Errors
    /// `SCRATCH_IO` when there is no room; the caller still has the bytes.
    fn put(&self, bytes: &[u8]) -> Result<Place>;

    /// Reads them back.
    ///
    /// # Errors
    /// `SCRATCH_IO`.
    fn get(&self, place: Place) -> Result<Bytes>;

    /// Gives a place up; it may be used again at once.
    fn free(&self, place: Place);
}

/// Bytes in scratch space, kept as long as this lives.
#[derive(Debug)]
pub struct Chunk {
    scratch: Arc<dyn Scratch>,
    place: Place,
}

impl Chunk {
    /// Puts bytes away.
    ///
    /// # Errors
    /// As for [`Scratch::put`].
    pub fn put(scratch: &Arc<dyn Scratch>, bytes: &[u8]) -> Result<Self> {
        Ok(Self { scratch: Arc::clone(scratch), place: scratch.put(bytes)? })
    }

    /// Reads them back. Cost: O(bytes), from a disk if need be.
    ///
    /// # Errors
    /// As for [`Scratch::get`].
    pub fn read(&self) -> Result<Bytes> {
        self.scratch.get(self.place)
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.scratch.free(self.place);
    }
}
