//! The port of lasting state: reads for the engine, and one atomic commit per epoch for the shell.
//!
//! A commit may carry records for the topics of the authority's own log: they become visible with it or not at all.
//!
//! What is stored are cells: an encoded [`CellKey`](crate::state::CellKey) and bytes. The layout of keys is
//! core's (`state::layout`), so every store orders them alike, byte by byte.

use super::log::{Log, LogRecord};
use super::scratch::Scratch;
use crate::error::Result;
use crate::id::Epoch;
use bytes::Bytes;
use std::sync::Arc;

/// A put (`Some`) or a delete (`None`) of one cell.
pub type CellWrite = (Bytes, Option<Bytes>);

/// Reads of committed cells. Shared by shards and workers, hence `Sync`.
pub trait StateRead: Send + Sync {
    /// The committed value of a cell.
    ///
    /// # Errors
    /// `STATE_IO` or `STATE_CORRUPT`; never wrong data.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Calls `each` for the cells from `start` (inclusive) to `end` (exclusive) in byte order, until it returns `false`.
    ///
    /// # Errors
    /// As for [`StateRead::get`].
    fn scan(&self, start: &[u8], end: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()>;

    /// Whether committed cells can be read back. `false` for a job in memory alone: then the engine's own cells are all
    /// there is, and it never evicts one.
    fn holds_cells(&self) -> bool;

    /// Scratch space for values too large for the memory. `None`: then they stay in memory.
    fn scratch(&self) -> Option<Arc<dyn Scratch>> {
        None
    }
}

/// The commit authority of a job: RocksDB of an embedded one, its own Kafka cluster of a distributed one.
pub trait StateStore: Send {
    /// A handle for reads.
    fn reader(&self) -> Arc<dyn StateRead>;

    /// Makes the epoch lasting: all writes and records or none. A later write of the same key in the list wins. Returns only when
    /// the epoch would survive a crash of the process and, where the store says so, of the machine.
    ///
    /// # Errors
    /// `STATE_IO` when the disk is full or broken; nothing of the epoch is visible then. `LOG_MISSING` when there are records and
    /// the store has no log.
    fn commit(&mut self, epoch: Epoch, writes: &[CellWrite], records: &[LogRecord]) -> Result<()>;

    /// The last committed epoch; zero for a new job.
    ///
    /// # Errors
    /// `STATE_IO` or `STATE_CORRUPT`.
    fn last_epoch(&self) -> Result<Epoch>;

    /// The store's own log, if it has one that can be read.
    fn log(&self) -> Option<Arc<dyn Log>> {
        None
    }
}

/// A store that forgets: for jobs in memory.
#[derive(Debug, Default, Clone)]
pub struct NullStore {
    last: Epoch,
    scratch: Option<Arc<dyn Scratch>>,
}

impl NullStore {
    /// The same with scratch space.
    #[must_use]
    pub fn with_scratch(scratch: Arc<dyn Scratch>) -> Self {
        Self { scratch: Some(scratch), ..Self::default() }
    }
}

impl StateRead for NullStore {
    fn get(&self, _key: &[u8]) -> Result<Option<Bytes>> {
        Ok(None)
    }

    fn scan(&self, _start: &[u8], _end: &[u8], _each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        Ok(())
    }

    fn holds_cells(&self) -> bool {
        false
    }

    fn scratch(&self) -> Option<Arc<dyn Scratch>> {
        self.scratch.clone()
    }
}

impl StateStore for NullStore {
    fn reader(&self) -> Arc<dyn StateRead> {
        Arc::new(self.clone())
    }

    fn commit(&mut self, epoch: Epoch, _writes: &[CellWrite], records: &[LogRecord]) -> Result<()> {
        LogRecord::refuse(records)?;
        self.last = epoch;
        Ok(())
    }

    fn last_epoch(&self) -> Result<Epoch> {
        Ok(self.last)
    }
}
