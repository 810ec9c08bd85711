//! Reads from outside of a job: cells as one commit left them, of a database that is open or of a directory at rest.
//!
//! In: a job's name. Out: a view of its cells that no later commit changes, with the epoch it stands for. Nothing is written: a directory at rest
//! is opened for reading alone, under a lock that those who look share.

use crate::acknowledged::Acknowledged;
use crate::database::{Db, JOB, own};
use crate::error::{from_opening, from_rocks, lost_epoch, lost_writes, no_job, not_ours};
use crate::lock::Lock;
use crate::options::Options;
use crate::store::{read_epoch, scan_cells};
use crate::version;
use bytes::Bytes;
use rocksdb::{BoundColumnFamily, ReadOptions, SnapshotWithThreadMode};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;
use thalweg_core::port::store::StateRead;
use thalweg_core::state::layout::EPOCH;

/// A state directory that is open to be looked at, while no process has it. Jobs that start meanwhile find it locked.
pub struct Look {
    db: Db,
    acknowledged: Epoch,
    dir: PathBuf,
    _lock: Lock,
}

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Look {
    /// Opens the database in `dir`. Cost: the log that was not flushed is read into memory.
    ///
    /// # Errors
    /// `STATE_NOT_OURS` when `dir` is no state directory, `STATE_LOCKED` when a process has it open, `STATE_VERSION` when another version wrote it,
    /// `STATE_CORRUPT` when it is damaged or has lost what was acknowledged, `STATE_IO` for the disk.
    pub fn open(dir: impl AsRef<Path>, options: &Options) -> Result<Self> {
        let dir = dir.as_ref();
        if !version::exists(dir) {
            return Err(not_ours(dir, "it has no file VERSION"));
        }
        let lock = Lock::share(dir)?;
        version::check(dir)?;
        let (acknowledged, least) = Acknowledged::look(dir)?;
        let each = options.rocks(&options.cache());
        let place = dir.join("db");
        let names = Db::list_cf(&each, &place).map_err(|e| from_opening(dir, &e))?;
        let families = names.into_iter().map(|name| (name, each.clone()));
        let db =
            Db::open_cf_with_opts_for_read_only(&each, place, families, false).map_err(|e| from_opening(dir, &e))?;
        if db.latest_sequence_number() < least {
            return Err(lost_writes(dir, least));
        }
        Ok(Self { db, acknowledged, dir: dir.to_owned(), _lock: lock })
    }

    /// As [`Database::committed`](crate::Database::committed).
    ///
    /// # Errors
    /// As there, and `STATE_CORRUPT` when an epoch that was acknowledged is not there.
    pub fn committed<T>(&self, job: Option<&str>, read: impl FnOnce(&dyn StateRead, Epoch) -> Result<T>) -> Result<T> {
        let least = self.acknowledged;
        frozen(&self.db, &self.dir, job, |cells, epoch| {
            if job.is_none() && epoch < least {
                return Err(lost_epoch(&self.dir, epoch, least));
            }
            read(cells, epoch)
        })
    }
}

/// The cells of a job as they were when this was made.
struct Frozen<'a> {
    snapshot: SnapshotWithThreadMode<'a, Db>,
    family: Arc<BoundColumnFamily<'a>>,
    dir: &'a Path,
}

/// Reads a job's cells as one commit left them.
pub(crate) fn frozen<T>(
    db: &Db,
    dir: &Path,
    job: Option<&str>,
    read: impl FnOnce(&dyn StateRead, Epoch) -> Result<T>,
) -> Result<T> {
    let name = job.map_or_else(|| own().to_owned(), |job| format!("{JOB}{job}"));
    let nothing = || {
        let names = Db::list_cf(&rocksdb::Options::default(), dir.join("db")).unwrap_or_default();
        let jobs: Vec<String> = names.iter().filter_map(|name| name.strip_prefix(JOB)).map(str::to_owned).collect();
        no_job(dir, job, &jobs)
    };
    let family = db.cf_handle(&name).ok_or_else(nothing)?;
    let cells = Frozen { snapshot: db.snapshot(), family, dir };
    let Some(epoch) = cells.get(EPOCH)? else { return Err(nothing()) };
    read(&cells, read_epoch(dir, &epoch)?)
}

impl StateRead for Frozen<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let found = self.snapshot.get_cf(&self.family, key).map_err(|e| from_rocks(self.dir, &e))?;
        Ok(found.map(Bytes::from))
    }

    fn scan(&self, start: &[u8], end: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let begin = |mut how: ReadOptions| {
            // who looks once must not drive out what the job reads all the time
            how.fill_cache(false);
            Ok(self.snapshot.raw_iterator_cf_opt(&self.family, how))
        };
        scan_cells(self.dir, (start, end), begin, each)
    }

    fn holds_cells(&self) -> bool {
        true
    }
}
