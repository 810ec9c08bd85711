//! The store: RocksDB behind core's port.
//!
//! All cells and the epoch they stand for live in one column family, so that one write batch carries an epoch. The epoch's own
//! cell lies behind every key the layout can make and is out of reach of scans.

use crate::acknowledged::Acknowledged;
use crate::error::{broken, corrupt, from_io, from_opening, from_rocks, not_ours};
use crate::lock::Lock;
use crate::options::{FsyncPolicy, Options};
use crate::version;
use bytes::Bytes;
use rocksdb::{DB, ReadOptions, WriteBatch, WriteOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::Epoch;
use thalweg_core::port::log::LogRecord;
use thalweg_core::port::store::{CellWrite, StateRead, StateStore};

/// First key that no cell has: behind the job's group (0xffff), kinds never reach 0xff.
const RESERVED: &[u8] = &[0xff, 0xff, 0xff];
/// Where the number of the last epoch stands: eight bytes, big end.
const EPOCH: &[u8] = b"\xff\xff\xffepoch";

/// What readers share with the store. The fields are dropped in this order: the lock goes last.
struct Shared {
    db: DB,
    dir: PathBuf,
    _lock: Lock,
}

/// The commit authority of an embedded job with a state directory.
///
/// Commits are atomic and, under [`FsyncPolicy::EachEpoch`], synced. Reads see committed cells only. All memory is bounded by
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
    shared: Arc<Shared>,
    acknowledged: Acknowledged,
    fsync: FsyncPolicy,
    last: Epoch,
    failed: bool,
}

impl std::fmt::Debug for RocksStateStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStateStore").field("dir", &self.shared.dir).field("last", &self.last).finish()
    }
}

impl RocksStateStore {
    /// Opens the store in `dir`, and makes one where there is none.
    ///
    /// # Errors
    /// `STATE_NOT_OURS` when `dir` is a file or holds something else, and nothing was touched, `STATE_LOCKED` when another process has it open, `STATE_VERSION` when another version wrote it, `STATE_CORRUPT` when
    /// it is damaged or has lost acknowledged epochs, `STATE_DISK_FULL` and `STATE_IO` for the disk.
    pub fn open(dir: impl AsRef<Path>, options: &Options) -> Result<Self> {
        let dir = dir.as_ref();
        refuse_foreign(dir)?;
        fs::create_dir_all(dir).map_err(|e| from_io(dir, &e))?;
        let lock = Lock::take(dir)?;
        if version::exists(dir) {
            version::check(dir)?;
        } else {
            create(dir, options)?;
        }
        let (acknowledged, least) = Acknowledged::open(dir, options.fsync)?;
        let db = DB::open(&options.rocks(), dir.join("db")).map_err(|e| from_opening(dir, &e))?;
        let last = read_epoch(&db, dir)?;
        if last < least {
            let what = format!("it holds epoch {} although epoch {} was committed", last.0, least.0);
            return Err(corrupt(dir, what));
        }
        let shared = Arc::new(Shared { db, dir: dir.to_owned(), _lock: lock });
        Ok(Self { shared, acknowledged, fsync: options.fsync, last, failed: false })
    }
}

impl RocksStateStore {
    /// Writes cells that are part of no epoch: of a copy that is being built. A crash may leave any of them, so whoever builds it begins
    /// again where the last commit says. Not synced.
    ///
    /// # Errors
    /// As for [`StateStore::commit`].
    pub fn load(&mut self, writes: &[CellWrite]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in writes {
            match value {
                _ if key.as_ref() >= RESERVED => return Err(reserved()),
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        self.shared.db.write_opt(batch, &WriteOptions::default()).map_err(|e| {
            self.failed = true;
            from_rocks(&self.shared.dir, &e)
        })
    }
}

fn reserved() -> Error {
    Error::internal("STATE_RESERVED_KEY", "a cell's key lies behind the last group")
}

/// Refuses a path that is no directory, and a directory in which others keep their files, before anything is written.
fn refuse_foreign(dir: &Path) -> Result<()> {
    // what a store that was never finished may have left
    const UNFINISHED: [&str; 4] = ["LOCK", "ACKNOWLEDGED", "VERSION.new", "db"];
    let entries = match fs::read_dir(dir) {
        Ok(_) if version::exists(dir) => return Ok(()),
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Err(not_ours(dir, "it is not a directory")),
        Err(e) => return Err(from_io(dir, &e)),
    };
    for entry in entries {
        let name = entry.map_err(|e| from_io(dir, &e))?.file_name();
        if !UNFINISHED.iter().any(|ours| name == *ours) {
            return Err(not_ours(dir, format!("it holds {}", name.display())));
        }
    }
    Ok(())
}

/// Makes an empty store. The version file comes last: what has none was never committed to.
fn create(dir: &Path, options: &Options) -> Result<()> {
    if dir.join("db").exists() {
        let mut rocks = options.rocks();
        rocks.create_if_missing(true);
        let db = DB::open(&rocks, dir.join("db")).map_err(|e| from_rocks(dir, &e))?;
        if db.latest_sequence_number() != 0 {
            return Err(corrupt(dir, "its file VERSION is missing"));
        }
    }
    Acknowledged::create(dir)?;
    let mut rocks = options.rocks();
    rocks.create_if_missing(true);
    DB::open(&rocks, dir.join("db")).map_err(|e| from_rocks(dir, &e))?;
    version::write(dir)
}

fn read_epoch(db: &DB, dir: &Path) -> Result<Epoch> {
    match db.get(EPOCH).map_err(|e| from_rocks(dir, &e))? {
        None => Ok(Epoch(0)),
        Some(bytes) => {
            let bytes = <[u8; 8]>::try_from(bytes.as_slice())
                .map_err(|_| corrupt(dir, "the number of its last epoch is not a number"))?;
            Ok(Epoch(u64::from_be_bytes(bytes)))
        }
    }
}

impl StateStore for RocksStateStore {
    fn reader(&self) -> Arc<dyn StateRead> {
        Arc::clone(&self.shared) as Arc<dyn StateRead>
    }

    /// Cost: about 2 µs a cell and one sync.
    ///
    /// # Errors
    /// `STATE_DISK_FULL`, `STATE_IO`: whether the epoch reached the disk is then unknown, so this store takes no other commit;
    /// open it again and ask for the last epoch. `STATE_EPOCH_ORDER` when the epoch is not a later one.
    fn commit(&mut self, epoch: Epoch, writes: &[CellWrite], records: &[LogRecord]) -> Result<()> {
        LogRecord::refuse(records)?;
        let dir = &self.shared.dir;
        if self.failed {
            return Err(broken(dir, "an earlier commit failed"));
        }
        if epoch <= self.last {
            let what = format!("epoch {} was to be committed after epoch {}", epoch.0, self.last.0);
            return Err(Error::internal("STATE_EPOCH_ORDER", what));
        }
        let bytes: usize = writes.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, Bytes::len) + 12).sum();
        let mut batch = WriteBatch::with_capacity_bytes(bytes + 64);
        for (key, value) in writes {
            if key.as_ref() >= RESERVED {
                return Err(reserved());
            }
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        batch.put(EPOCH, epoch.0.to_be_bytes());
        let mut how = WriteOptions::default();
        how.set_sync(self.fsync == FsyncPolicy::EachEpoch);
        if let Err(e) = self.shared.db.write_opt(batch, &how) {
            self.failed = true;
            return Err(from_rocks(dir, &e));
        }
        self.acknowledged.note(epoch);
        self.last = epoch;
        Ok(())
    }

    fn last_epoch(&self) -> Result<Epoch> {
        Ok(self.last)
    }
}

impl Drop for RocksStateStore {
    fn drop(&mut self) {
        if self.fsync == FsyncPolicy::Relaxed {
            // a clean close loses nothing; a failure leaves what this policy promises
            let _ = self.shared.db.flush_wal(true);
        }
    }
}

impl StateRead for Shared {
    /// Cost: one copy of the value.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let found = self.db.get_pinned(key).map_err(|e| from_rocks(&self.dir, &e))?;
        Ok(found.map(|pinned| Bytes::copy_from_slice(&pinned)))
    }

    /// Sees the cells as they were when it began. An empty `end` is the end of all cells. Cost: no copy.
    fn scan(&self, start: &[u8], end: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let end = if end.is_empty() || end > RESERVED { RESERVED } else { end };
        if start >= end {
            return Ok(());
        }
        let mut how = ReadOptions::default();
        how.set_iterate_upper_bound(end);
        how.set_total_order_seek(true);
        let mut at = self.db.raw_iterator_opt(how);
        at.seek(start);
        while let Some((key, value)) = at.item() {
            if !each(key, value) {
                return Ok(());
            }
            at.next();
        }
        at.status().map_err(|e| from_rocks(&self.dir, &e))
    }

    fn holds_cells(&self) -> bool {
        true
    }
}
