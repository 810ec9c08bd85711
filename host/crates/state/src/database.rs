//! The database of a state directory: RocksDB, what it has acknowledged, the log, and the lock of the directory.
//!
//! In: batches of whoever makes something lasting: the stores of jobs, and those who append to the log. Out: one durable write
//! at a time per caller, noted as acknowledged. After a write that failed, nobody writes any more: what reached the disk is unknown.

use crate::acknowledged::Acknowledged;
use crate::error::{broken, corrupt, from_io, from_opening, from_rocks, in_use, lost_epoch, lost_writes, not_ours};
use crate::lock::Lock;
use crate::log::Ledger;
use crate::look::frozen;
use crate::manifest::Manifest;
use crate::options::{FsyncPolicy, Options};
use crate::room::wait_for_room;
use crate::store::RocksStateStore;
use crate::version;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{BoundColumnFamily, DBWithThreadMode, MultiThreaded, WriteBatch, WriteOptions};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::{fs, io};
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;
use thalweg_core::port::store::StateRead;

pub(crate) type Db = DBWithThreadMode<MultiThreaded>;

/// The column family of the one job that a directory has of its own.
const OWN: &str = "default";
/// The column family of the log.
const LOG: &str = "log";
/// How those of other jobs begin.
pub(crate) const JOB: &str = "job.";

/// A state directory that is open: for the job that it belongs to, for jobs that share it, and for its log. Cheap to clone; the
/// directory stays locked until all clones, stores and readers are gone.
#[derive(Clone)]
pub struct Database(Arc<Opened>);

/// A database that others may close: it keeps nothing open.
#[derive(Clone)]
pub struct WeakDatabase(Weak<Opened>);

impl std::fmt::Debug for WeakDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakDatabase")
    }
}

impl WeakDatabase {
    /// The database, if it is open. Who holds it keeps the directory locked.
    #[must_use]
    pub fn upgrade(&self) -> Option<Database> {
        self.0.upgrade().map(Database)
    }
}

/// Dropped in this order: the lock goes last.
struct Opened {
    db: Db,
    /// Taken before what is acknowledged, where both are.
    manifest: Mutex<Manifest>,
    acknowledged: Mutex<Acknowledged>,
    ledger: Ledger,
    options: Options,
    cache: rocksdb::Cache,
    failed: AtomicBool,
    /// Column families of jobs of which a store is open.
    held: Mutex<BTreeSet<String>>,
    dir: PathBuf,
    _lock: Lock,
}

/// A job's column family among others, held by its one store and all of that one's readers.
pub(crate) struct Held {
    database: Database,
    name: String,
}

impl Held {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.database.0.held().remove(&self.name);
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the database in `dir`, and makes one where there is none.
    ///
    /// # Errors
    /// `STATE_NOT_OURS` when `dir` is a file or holds something else, and nothing was touched, `STATE_LOCKED` when another process has it
    /// open, `STATE_VERSION` when another version wrote it, `STATE_CORRUPT` when it is damaged or has lost what was
    /// acknowledged, `STATE_DISK_FULL` and `STATE_IO` for the disk.
    pub fn open(dir: impl AsRef<Path>, options: &Options) -> Result<Self> {
        let dir = dir.as_ref();
        refuse_foreign(dir)?;
        make(dir).map_err(|e| from_io(dir, &e))?;
        let lock = Lock::take(dir)?;
        let cache = options.cache();
        if version::exists(dir) {
            version::check(dir)?;
        } else {
            create(dir, &options.rocks(&cache))?;
        }
        let (mut acknowledged, least) = Acknowledged::open(dir, options.fsync)?;
        let db = open_all(dir, &options.rocks(&cache)).map_err(|e| from_opening(dir, &e))?;
        if db.latest_sequence_number() < least {
            return Err(lost_writes(dir, least));
        }
        let manifest = Manifest::open(&dir.join("db")).map_err(|e| from_io(dir, &e))?;
        acknowledged.note_manifest(manifest.mark());
        let ledger = Ledger::load(&db, dir)?;
        let opened = Opened {
            db,
            manifest: Mutex::new(manifest),
            acknowledged: Mutex::new(acknowledged),
            ledger,
            options: options.clone(),
            cache,
            failed: AtomicBool::new(false),
            held: Mutex::default(),
            dir: dir.to_owned(),
            _lock: lock,
        };
        Ok(Self(Arc::new(opened)))
    }

    /// The store of the job that the directory belongs to.
    ///
    /// # Errors
    /// `STATE_CORRUPT`, and when it has lost an epoch that was acknowledged.
    pub fn store(&self) -> Result<RocksStateStore> {
        let store = RocksStateStore::new(self.clone(), None)?;
        let least = self.acknowledged().epoch();
        if store.last() < least {
            return Err(lost_epoch(&self.0.dir, store.last(), least));
        }
        Ok(store)
    }

    /// The store of one of several jobs that share the directory, and so its log. There is one at a time.
    ///
    /// # Errors
    /// `STATE_LOCKED` while another one of this job, or a reader of it, is there; `STATE_CORRUPT`, `STATE_IO`.
    pub fn store_of(&self, job: &str) -> Result<RocksStateStore> {
        let name = format!("{JOB}{job}");
        if !self.0.held().insert(name.clone()) {
            return Err(in_use(&self.0.dir, job));
        }
        let held = Held { database: self.clone(), name };
        if self.0.db.cf_handle(held.name()).is_none() {
            self.0.db.create_cf(held.name(), &self.0.rocks()).map_err(|e| from_rocks(&self.0.dir, &e))?;
        }
        RocksStateStore::new(self.clone(), Some(held))
    }

    /// Whether there is a store of such a job.
    #[must_use]
    pub fn has_store_of(&self, job: &str) -> bool {
        self.0.db.cf_handle(&format!("{JOB}{job}")).is_some()
    }

    /// Whether there is one in a directory that need not be open, and may be another process's.
    ///
    /// # Errors
    /// `STATE_CORRUPT`, `STATE_IO`.
    pub fn is_store_of(dir: &Path, job: &str, options: &Options) -> Result<bool> {
        let names = Db::list_cf(&options.rocks(&options.cache()), dir.join("db"));
        Ok(names.map_err(|e| from_opening(dir, &e))?.iter().any(|name| name.strip_prefix(JOB) == Some(job)))
    }

    /// Whether a write has failed: nobody can write any more before it is opened anew.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::Acquire)
    }

    /// Forgets all jobs that share the directory and for which `stays` says no.
    ///
    /// # Errors
    /// `STATE_IO`.
    pub fn forget(&self, stays: impl Fn(&str) -> bool) -> Result<()> {
        let names = Db::list_cf(&self.0.rocks(), self.0.dir.join("db"));
        for name in names.map_err(|e| from_rocks(&self.0.dir, &e))? {
            if name.strip_prefix(JOB).is_some_and(|job| !stays(job)) {
                self.0.db.drop_cf(&name).map_err(|e| from_rocks(&self.0.dir, &e))?;
            }
        }
        Ok(())
    }

    /// Makes a copy of the whole database in a directory that does not exist or is empty: the last commit of every job, and the log. Files that
    /// do not change any more are linked, where both are on one disk; the copy is a state directory like any other. Writers wait only for a flush.
    ///
    /// # Errors
    /// `STATE_NOT_OURS` when there is something at `to`, `STATE_DISK_FULL` and `STATE_IO` for the disk.
    pub fn savepoint(&self, to: &Path) -> Result<()> {
        let taken = match fs::read_dir(to) {
            Ok(mut entries) => entries.next().is_some(),
            Err(e) => e.kind() != io::ErrorKind::NotFound,
        };
        if taken {
            return Err(not_ours(to, "a savepoint needs a directory of its own, and there is something"));
        }
        fs::create_dir_all(to).map_err(|e| from_io(to, &e))?;
        let checkpoint = Checkpoint::new(&self.0.db).map_err(|e| from_rocks(to, &e))?;
        checkpoint.create_checkpoint(to.join("db")).map_err(|e| from_rocks(to, &e))?;
        Acknowledged::create(to)?;
        // last: what has no version file was never finished
        version::write(to)
    }

    /// The same, without keeping it open.
    #[must_use]
    pub fn downgrade(&self) -> WeakDatabase {
        WeakDatabase(Arc::downgrade(&self.0))
    }

    /// Reads cells as one commit left them, while others commit: those of the directory's own job, or of one that shares it. `read` gets the
    /// commit's epoch with them. Cost: a snapshot, which keeps what it sees on the disk until `read` returns.
    ///
    /// # Errors
    /// `STATE_NO_JOB` when there is no such job or it has not committed yet, the store's own, and what `read` says.
    pub fn committed<T>(&self, job: Option<&str>, read: impl FnOnce(&dyn StateRead, Epoch) -> Result<T>) -> Result<T> {
        frozen(&self.0.db, &self.0.dir, job, read)
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// The column family of the log.
    ///
    /// # Errors
    /// `STATE_CORRUPT`; never, as long as it is open.
    pub(crate) fn log_family(&self) -> Result<Arc<BoundColumnFamily<'_>>> {
        self.family(LOG)
    }

    /// A column family.
    ///
    /// # Errors
    /// `STATE_CORRUPT` when it was dropped.
    pub(crate) fn family(&self, name: &str) -> Result<Arc<BoundColumnFamily<'_>>> {
        self.0.db.cf_handle(name).ok_or_else(|| corrupt(&self.0.dir, format!("its part {name:?} is missing")))
    }

    fn acknowledged(&self) -> MutexGuard<'_, Acknowledged> {
        self.0.acknowledged()
    }

    /// Makes a batch lasting, all of it or nothing; `epoch` is that of the directory's own job. Waits for room on the disk, as long as the
    /// options say.
    ///
    /// # Errors
    /// `STATE_DISK_FULL`, `STATE_IO`. Unless it waited for room in vain, it is unknown what reached the disk, and nobody can write any more.
    pub(crate) fn write(&self, batch: WriteBatch, epoch: Option<Epoch>) -> Result<()> {
        let mut how = WriteOptions::default();
        how.set_sync(self.0.options.fsync == FsyncPolicy::EachEpoch);
        self.apply(batch, &how)?;
        self.acknowledged().note(epoch, self.0.db.latest_sequence_number());
        Ok(())
    }

    /// Writes a batch past the log of the database: it is lasting, all that came before included, once it is flushed.
    ///
    /// # Errors
    /// As for [`Database::write`].
    pub(crate) fn write_unlogged(&self, batch: WriteBatch) -> Result<()> {
        let mut how = WriteOptions::default();
        how.disable_wal(true);
        self.apply(batch, &how)
    }

    /// Makes lasting what was written past the log.
    ///
    /// # Errors
    /// `STATE_DISK_FULL`, `STATE_IO`; nobody can write any more then.
    pub(crate) fn flush(&self, family: &str) -> Result<()> {
        let flushed = self.0.db.flush_cf(&self.family(family)?);
        self.unless_failed(flushed)?;
        self.0.note_manifest();
        Ok(())
    }

    fn apply(&self, batch: WriteBatch, how: &WriteOptions) -> Result<()> {
        let Opened { db, options, failed, dir, .. } = self.0.as_ref();
        if failed.load(Ordering::Acquire) {
            return Err(broken(dir, "an earlier write failed"));
        }
        wait_for_room(dir, batch.size_in_bytes() as u64, options)?;
        self.unless_failed(db.write_opt(batch, how))?;
        self.0.note_manifest();
        Ok(())
    }

    fn unless_failed(&self, done: Result<(), rocksdb::Error>) -> Result<()> {
        done.map_err(|e| {
            self.0.failed.store(true, Ordering::Release);
            from_rocks(&self.0.dir, &e)
        })
    }
}

impl Opened {
    fn rocks(&self) -> rocksdb::Options {
        self.options.rocks(&self.cache)
    }

    fn held(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acknowledged(&self) -> MutexGuard<'_, Acknowledged> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far the manifest goes, if it grew. A failure is passed over: what was noted before still holds. Cost: two calls of the system, unless
    /// there was a flush or a compaction since.
    fn note_manifest(&self) {
        let mut manifest = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        if manifest.grew().is_ok_and(|grew| grew) {
            self.acknowledged().note_manifest(manifest.mark());
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.note_manifest();
        if self.options.fsync == FsyncPolicy::Relaxed {
            // a clean close loses nothing; a failure leaves what this policy promises
            let _ = self.db.flush_wal(true);
        }
    }
}

/// Opens all column families there are, and that of the log.
fn open_all(dir: &Path, each: &rocksdb::Options) -> Result<Db, rocksdb::Error> {
    let mut rocks = each.clone();
    rocks.create_missing_column_families(true);
    let place = dir.join("db");
    // without that file there is no database yet, or none any more: RocksDB says which
    let there = place.join("CURRENT").exists();
    let mut names = if there { Db::list_cf(&rocks, &place)? } else { vec![OWN.to_owned()] };
    if !names.iter().any(|name| name == LOG) {
        names.push(LOG.to_owned());
    }
    Db::open_cf_with_opts(&rocks, place, names.into_iter().map(|name| (name, each.clone())))
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

/// Makes a directory that is not there, and its name lasting: what is committed in it must be found again.
fn make(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    // who may not read the directory above has to do without
    let above = dir.canonicalize()?.parent().and_then(|above| fs::File::open(above).ok());
    above.map_or(Ok(()), |above| above.sync_all())
}

/// Makes an empty database. The version file comes last: what has none was never committed to.
fn create(dir: &Path, options: &rocksdb::Options) -> Result<()> {
    let mut rocks = options.clone();
    rocks.create_if_missing(true);
    if dir.join("db").exists() {
        let db = open_all(dir, &rocks).map_err(|e| from_rocks(dir, &e))?;
        if db.latest_sequence_number() != 0 {
            return Err(corrupt(dir, "its file VERSION is missing"));
        }
    }
    open_all(dir, &rocks).map_err(|e| from_rocks(dir, &e))?;
    Acknowledged::create(dir)?;
    version::write(dir)
}

/// The column family of the directory's own job, in RocksDB's words.
pub(crate) fn own() -> &'static str {
    OWN
}
