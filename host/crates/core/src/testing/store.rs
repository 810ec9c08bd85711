//! A store in memory that outlives the crash of a run and can be told to fail a commit.

use crate::error::{Error, Result};
use crate::id::Epoch;
use crate::port::log::LogRecord;
use crate::port::store::{CellWrite, StateRead, StateStore};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How the next commit goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing of the epoch becomes visible, and the commit says so.
    Before,
    /// All of it becomes visible, but the commit says it failed: the caller must not believe it.
    After,
}

#[derive(Default)]
struct Inner {
    cells: BTreeMap<Bytes, Bytes>,
    last: Epoch,
    fault: Option<Fault>,
}

/// A [`StateStore`] over an ordered map. Clones share the cells, as handles of one disk do.
///
/// ```
/// use thalweg_core::{id::Epoch, port::store::{StateRead, StateStore}, testing::FakeStore};
/// let mut store = FakeStore::new();
/// store.commit(Epoch(1), &[(b"k".as_slice().into(), Some(b"v".as_slice().into()))], &[])?;
/// assert_eq!(store.clone().get(b"k")?.as_deref(), Some(&b"v"[..]));
/// # Ok::<(), thalweg_core::error::Error>(())
/// ```
#[derive(Clone)]
pub struct FakeStore {
    inner: Arc<Mutex<Inner>>,
    holds: bool,
}

impl Default for FakeStore {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeStore {
    /// An empty store whose cells can be read back.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Arc::default(), holds: true }
    }

    /// One that keeps only the number of its last epoch, as a job in memory has it.
    #[must_use]
    pub fn forgetting() -> Self {
        Self { inner: Arc::default(), holds: false }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the next commit goes wrong, if at all.
    pub fn fail_next(&self, fault: Option<Fault>) {
        self.lock().fault = fault;
    }

    /// All cells, in key order.
    #[must_use]
    pub fn cells(&self) -> Vec<(Bytes, Bytes)> {
        self.lock().cells.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

impl StateRead for FakeStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.lock().cells.get(key).cloned())
    }

    fn scan(&self, start: &[u8], end: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        // a copy, so that the caller may read again while it is called
        let found: Vec<(Bytes, Bytes)> = self
            .lock()
            .cells
            .range(Bytes::copy_from_slice(start)..)
            .take_while(|(k, _)| k.as_ref() < end)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        for (key, value) in found {
            if !each(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn holds_cells(&self) -> bool {
        self.holds
    }
}

impl StateStore for FakeStore {
    fn reader(&self) -> Arc<dyn StateRead> {
        Arc::new(self.clone())
    }

    fn commit(&mut self, epoch: Epoch, writes: &[CellWrite], records: &[LogRecord]) -> Result<()> {
        LogRecord::refuse(records)?;
        let holds = self.holds;
        let mut inner = self.lock();
        let fault = inner.fault.take();
        let failed = Error::external("STATE_IO", format!("the commit of epoch {} was told to fail", epoch.0));
        if fault == Some(Fault::Before) {
            return Err(failed);
        }
        assert!(inner.last.next() == epoch, "epoch {epoch:?} committed after {:?}", inner.last);
        inner.last = epoch;
        for (key, value) in writes.iter().filter(|_| holds) {
            match value {
                Some(value) => inner.cells.insert(key.clone(), value.clone()),
                None => inner.cells.remove(key),
            };
        }
        if fault == Some(Fault::After) { Err(failed) } else { Ok(()) }
    }

    fn last_epoch(&self) -> Result<Epoch> {
        Ok(self.lock().last)
    }
}

/// A store's cells, and a count of those that scans look at.
pub struct CountingRead {
    cells: Arc<dyn StateRead>,
    count: Arc<AtomicUsize>,
}

impl CountingRead {
    /// Counts what scans of these cells look at.
    #[must_use]
    pub fn new(cells: Arc<dyn StateRead>, count: Arc<AtomicUsize>) -> Self {
        Self { cells, count }
    }
}

impl StateRead for CountingRead {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.cells.get(key)
    }

    fn scan(&self, start: &[u8], end: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        self.cells.scan(start, end, &mut |key, value| {
            self.count.fetch_add(1, Ordering::Relaxed);
            each(key, value)
        })
    }

    fn holds_cells(&self) -> bool {
        self.cells.holds_cells()
    }
}
