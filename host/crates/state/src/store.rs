//! The store of a job: cells in a column family of a [`Database`], behind core's port.
//!
//! All cells of a job and the epoch they stand for live in one column family, so that one write batch carries an epoch, with the records
//! that go out with it. The epoch's own cell lies behind every key the layout can make and is out of reach of scans.

use crate::database::{Database, Db, Held, own};
use crate::error::{corrupt, from_rocks};
use crate::log::RocksLog;
use crate::options::Options;
use bytes::Bytes;
use rocksdb::{DBRawIteratorWithThreadMode, ReadOptions, WriteBatch};
use std::path::Path;
use std::sync::Arc;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::Epoch;
use thalweg_core::port::log::{Log, LogRecord};
use thalweg_core::port::store::{CellWrite, StateRead, StateStore};
use thalweg_core::state::layout::{EPOCH, RESERVED};

/// Reads of a job's cells.
#[derive(Clone)]
struct Cells {
    database: Database,
    /// The column family; none for the directory's own job.
    family: Option<Arc<Held>>,
}

/// The commit authority of an embedded job with a state directory.
///
/// Commits are atomic and, under [`FsyncPolicy::EachEpoch`](crate::FsyncPolicy::EachEpoch), synced. Reads see committed cells only. All memory is bounded by
/// [`Options`]. The directory stays locked until the store and all its readers are gone.
///
/// ```
/// # fn main() -> thalweg_core::error::Result<()> {
/// use bytes::Bytes;
/// use thalweg_core::{id::Epoch, port::store::StateStore};
/// use thalweg_state::{Options, RocksStateStore};
/// let dir = tempfile::tempdir().expect("a temporary directory");
/// let mut store = RocksStateStore::open(dir.path(), &Options::default())?;
/// store.commit(Epoch(1), &[(Bytes::from("cell"), Some(Bytes::from("value")))], &[])?;
/// assert_eq!(store.reader().get(b"cell")?, Some(Bytes::from("value")));
/// assert_eq!(store.last_epoch()?, Epoch(1));
/// # Ok(())
/// # }
/// ```
pub struct RocksStateStore {
    cells: Cells,
    last: Epoch,
    failed: bool,
}

impl std::fmt::Debug for RocksStateStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStateStore").field("database", &self.cells.database).field("last", &self.last).finish()
    }
}

impl RocksStateStore {
    /// Opens the store in `dir`, and makes one where there is none.
    ///
    /// # Errors
    /// As for [`Database::open`].
    pub fn open(dir: impl AsRef<Path>, options: &Options) -> Result<Self> {
        Database::open(dir, options)?.store()
    }

    /// Writes cells that are part of no epoch: of a copy that is being built. A crash may leave any of them, so whoever builds it begins
    /// again where the last commit says.
    ///
    /// # Errors
    /// As for [`StateStore::commit`].
    pub fn load(&mut self, writes: &[CellWrite]) -> Result<()> {
        self.load_by(writes, |database, batch| database.write(batch, None))
    }

    /// As [`RocksStateStore::load`], past the database's own log: for a whole state. None of it is lasting before
    /// [`RocksStateStore::settle`], and no commit may come before that.
    ///
    /// # Errors
    /// As for [`StateStore::commit`].
    pub fn load_unlogged(&mut self, writes: &[CellWrite]) -> Result<()> {
        self.load_by(writes, Database::write_unlogged)
    }

    fn load_by(&mut self, writes: &[CellWrite], write: impl FnOnce(&Database, WriteBatch) -> Result<()>) -> Result<()> {
        let mut batch = WriteBatch::default();
        self.put(&mut batch, writes)?;
        let written = write(&self.cells.database, batch);
        self.failed |= written.is_err();
        written
    }

    /// Makes lasting what was written past the log. Cost: what is in memory is written to files, at most
    /// [`Options::write_buffer_bytes`].
    ///
    /// # Errors
    /// `STATE_DISK_FULL`, `STATE_IO`.
    pub fn settle(&mut self) -> Result<()> {
        let flushed = self.cells.database.flush(self.cells.name());
        self.failed |= flushed.is_err();
        flushed
    }

    /// The database it is in.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.cells.database
    }

    fn put(&self, batch: &mut WriteBatch, writes: &[CellWrite]) -> Result<()> {
        let family = self.cells.database.family(self.cells.name())?;
        for (key, value) in writes {
            if key.as_ref() >= RESERVED {
                return Err(Error::internal("STATE_RESERVED_KEY", "a cell's key lies behind the last group"));
            }
            match value {
                Some(value) => batch.put_cf(&family, key, value),
                None => batch.delete_cf(&family, key),
            }
        }
        Ok(())
    }

    pub(crate) fn new(database: Database, family: Option<Held>) -> Result<Self> {
        let cells = Cells { database, family: family.map(Arc::new) };
        let last = cells.epoch()?;
        Ok(Self { cells, last, failed: false })
    }

    pub(crate) fn last(&self) -> Epoch {
        self.last
    }

    fn batch(&self, epoch: Epoch, writes: &[CellWrite]) -> Result<WriteBatch> {
        let bytes: usize = writes.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, Bytes::len) + 12).sum();
        let mut batch = WriteBatch::with_capacity_bytes(bytes + 64);
        self.put(&mut batch, writes)?;
        let family = self.cells.database.family(self.cells.name())?;
        batch.put_cf(&family, EPOCH, epoch.0.to_be_bytes());
        Ok(batch)
    }
}

impl StateStore for RocksStateStore {
    fn reader(&self) -> Arc<dyn StateRead> {
        Arc::new(self.cells.clone())
    }

    /// Cost: about 2 µs a cell or record and one sync.
    ///
    /// # Errors
    /// `STATE_DISK_FULL`, `STATE_IO`: whether the epoch reached the disk is then unknown, so this store takes no other commit;
    /// open it again and ask for the last epoch. `STATE_EPOCH_ORDER` when the epoch is not a later one. For records as
    /// [`Log::append`]; nothing is committed then.
    fn commit(&mut self, epoch: Epoch, writes: &[CellWrite], records: &[LogRecord]) -> Result<()> {
        let database = &self.cells.database;
        if self.failed {
            return Err(crate::error::broken(database.dir(), "an earlier commit failed"));
        }
        if epoch <= self.last {
            let what = format!("epoch {} was to be committed after epoch {}", epoch.0, self.last.0);
            return Err(Error::internal("STATE_EPOCH_ORDER", what));
        }
        let mut batch = self.batch(epoch, writes)?;
        let own = self.cells.family.is_none().then_some(epoch);
        let written = if records.is_empty() {
            database.write(batch, own)
        } else {
            let staged = database.ledger().stage(database, records, &mut batch)?;
            database.write(batch, own).map(|()| staged.publish())
        };
        self.failed = written.is_err();
        written?;
        self.last = epoch;
        Ok(())
    }

    fn last_epoch(&self) -> Result<Epoch> {
        Ok(self.last)
    }

    fn log(&self) -> Option<Arc<dyn Log>> {
        Some(Arc::new(RocksLog::new(self.cells.database.clone())))
    }
}

impl Cells {
    /// The column family's name.
    fn name(&self) -> &str {
        self.family.as_ref().map_or(own(), |held| held.name())
    }

    fn failed(&self, e: &rocksdb::Error) -> Error {
        from_rocks(self.database.dir(), e)
    }

    fn epoch(&self) -> Result<Epoch> {
        match self.get(EPOCH)? {
            None => Ok(Epoch(0)),
            Some(bytes) => read_epoch(self.database.dir(), &bytes),
        }
    }
}

/// The number of the epoch that a job's cells stand for.
pub(crate) fn read_epoch(dir: &Path, stored: &[u8]) -> Result<Epoch> {
    let bytes =
        <[u8; 8]>::try_from(stored).map_err(|_| corrupt(dir, "the number of its last epoch is not a number"))?;
    Ok(Epoch(u64::from_be_bytes(bytes)))
}

/// Gives the cells of a range, whose end is that of all cells if it is empty, until `each` says no. `begin` is not asked for an empty range.
pub(crate) fn scan_cells<'a>(
    dir: &Path,
    (start, end): (&[u8], &[u8]),
    begin: impl FnOnce(ReadOptions) -> Result<DBRawIteratorWithThreadMode<'a, Db>>,
    each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<()> {
    let end = if end.is_empty() || end > RESERVED { RESERVED } else { end };
    if start >= end {
        return Ok(());
    }
    let mut how = ReadOptions::default();
    how.set_iterate_upper_bound(end);
    how.set_total_order_seek(true);
    let mut at = begin(how)?;
    at.seek(start);
    while let Some((key, value)) = at.item() {
        if !each(key, value) {
            return Ok(());
        }
        at.next();
    }
    at.status().map_err(|e| from_rocks(dir, &e))
}

impl StateRead for Cells {
    /// Cost: one copy of the value.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let db = self.database.db();
        let found = match &self.family {
            None => db.get_pinned(key),
            Some(held) => db.get_pinned_cf(&self.database.family(held.name())?, key),
        };
        Ok(found.map_err(|e| self.failed(&e))?.map(|pinned| Bytes::copy_from_slice(&pinned)))
    }

    /// Sees the cells as they were when it began. An empty `end` is the end of all cells. Cost: no copy.
    fn scan(&self, start: &[u8], end: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let begin = |how: ReadOptions| {
            let family = self.database.family(self.name())?;
            Ok(self.database.db().raw_iterator_cf_opt(&family, how))
        };
        scan_cells(self.database.dir(), (start, end), begin, each)
    }

    fn holds_cells(&self) -> bool {
        true
    }
}
