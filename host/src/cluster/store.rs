//! The state of one partition: cells in RocksDB on this machine, the truth in the changelog.
//!
//! In: the epochs of a partition. Out: first the transaction on Kafka, then the same cells here, with a *label* in the same batch that says
//! up to which offset of the changelog this copy reaches. So a restart on the same machine reads only what came since, and a copy that is
//! lost, damaged or too old is built again from nothing.

use super::trim::Consumed;
use crate::runtime::now_ms;
use bytes::Bytes;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::{Epoch, StateId};
use thalweg_core::port::log::LogRecord;
use thalweg_core::port::store::{CellWrite, StateRead, StateStore};
use thalweg_core::state::layout::{CellKey, JOB_GROUP, Kind};
use thalweg_io::kafka::cluster::{Changelog, EpochPart, Epochs, Follower, Restored, Step, Tenure};
use thalweg_state::{Database, FsyncPolicy, Options, RocksStateStore};

/// A copy that was not written for so long is not trusted: the topic's compaction keeps a deletion for a day (`delete.retention.ms`), and a
/// copy that never sees it would bring the cell back. Half of it.
const COPY_AGE_MAX_MS: i64 = 12 * 3600 * 1000;

/// The store of one partition.
pub struct ChangelogStore {
    tenure: Tenure,
    local: RocksStateStore,
    /// Behind the last record of the changelog that is here.
    next: i64,
    epochs: Epochs,
    consumed: Arc<Consumed>,
}

/// `next offset (8) | written at, in milliseconds (8)`, big end first.
fn label(next: i64) -> CellWrite {
    let mut value = next.to_be_bytes().to_vec();
    value.extend_from_slice(&now_ms().to_be_bytes());
    (label_key(), Some(Bytes::from(value)))
}

fn label_key() -> Bytes {
    CellKey::new(JOB_GROUP, Kind::Copy, StateId(0)).finish()
}

/// When a copy was labelled last: when its last commit reached it, in milliseconds; nothing in a copy that is whole without a label.
pub fn labelled_at(cells: &dyn StateRead) -> Result<Option<i64>> {
    let label = cells.get(&label_key())?;
    Ok(label.and_then(|label| label.get(8..)?.first_chunk::<8>().map(|at| i64::from_be_bytes(*at))))
}

/// Options of the many stores that a process has: the changelog makes them lasting, and they share what one store would have.
fn options(partitions: u16) -> Options {
    let share = |bytes: usize| (bytes / usize::from(partitions.max(1))).max(4 << 20);
    let default = Options::default();
    Options {
        block_cache_bytes: share(default.block_cache_bytes),
        write_buffer_bytes: share(default.write_buffer_bytes),
        fsync: FsyncPolicy::Relaxed,
        ..default
    }
}

/// What a copy holds already; `None` if it cannot be used.
fn held(local: &RocksStateStore) -> Result<Option<Restored>> {
    let epoch = local.last_epoch()?;
    let Some(value) = local.reader().get(&label_key())? else {
        return Ok((epoch == Epoch(0)).then(Restored::default));
    };
    let read = || {
        let (next, rest) = value.split_first_chunk::<8>()?;
        Some((i64::from_be_bytes(*next), i64::from_be_bytes(rest.try_into().ok()?)))
    };
    let young = |at: i64| now_ms().saturating_sub(at) < COPY_AGE_MAX_MS;
    Ok(read().filter(|(_, at)| young(*at)).map(|(next, _)| Restored { epoch, next, ..Restored::default() }))
}

impl ChangelogStore {
    /// Brings the copy in `dir` up to the changelog.
    ///
    /// # Errors
    /// `STATE_IO`, `STATE_DISK_FULL`, what the changelog says, and `CLUSTER_LOST` when `goes_on` says no.
    pub fn open(
        dir: &Path,
        partitions: u16,
        changelog: &Changelog,
        epochs: Epochs,
        consumed: Arc<Consumed>,
        tenure: Tenure,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(Self, Restored)> {
        let (options, Tenure { partition, committed, .. }) = (options(partitions), tenure);
        if let Some((mut local, have)) = found(dir, &options)?
            && let Some(restored) = bring_up(&mut local, have, changelog, committed, goes_on)?
        {
            return Ok((Self { tenure, local, next: restored.next, epochs, consumed }, restored));
        }
        tracing::info!(partition, "the copy of the state is built anew");
        wipe(dir)?;
        let mut local = RocksStateStore::open(dir, &options)?;
        let restored = bring_up(&mut local, Restored::default(), changelog, committed, goes_on)?.unwrap_or_default();
        Ok((Self { tenure, local, next: restored.next, epochs, consumed }, restored))
    }
}

impl ChangelogStore {
    /// The database of the copy.
    pub fn database(&self) -> &Database {
        self.local.database()
    }
}

/// The copy that is in a directory, if it can be used.
fn found(dir: &Path, options: &Options) -> Result<Option<(RocksStateStore, Restored)>> {
    match RocksStateStore::open(dir, options) {
        Ok(local) => Ok(held(&local)?.map(|have| (local, have))),
        // what is damaged here, or of another version, is whole in the changelog
        Err(e) if ["STATE_CORRUPT", "STATE_VERSION"].contains(&e.code) => Ok(None),
        Err(e) => Err(e),
    }
}

fn bring_up(
    local: &mut RocksStateStore,
    have: Restored,
    changelog: &Changelog,
    committed: Epoch,
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<Restored>> {
    // what holds an epoch that is not committed after all is no beginning
    if have.epoch > committed {
        return Ok(None);
    }
    let read = changelog.read(have, committed, goes_on, &mut |writes| local.load_unlogged(&writes))?;
    let Some(restored) = read else { return Ok(None) };
    if restored.epoch > have.epoch {
        // first the cells, then the label that says they are there
        local.settle()?;
        local.commit(restored.epoch, &[label(restored.next)], &[])?;
    }
    Ok(Some(restored))
}

/// Removes a copy.
///
/// # Errors
/// `STATE_IO`.
pub fn wipe(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::external("STATE_IO", format!("cannot remove {}: {e}", dir.display()))
                .help("check that the directory is writable and its disk is healthy, then start the process again"))
        }
        _ => Ok(()),
    }
}

/// A copy that follows its partition's owner, which is another process.
pub struct Copy {
    local: RocksStateStore,
    follower: Follower,
    /// When its label was written, in milliseconds.
    labelled: i64,
    /// It has not come to the end of the changelog: what it holds may be of no epoch, for the changelog is compacted. Locked while it moves.
    torn: Arc<Mutex<bool>>,
}

impl Copy {
    /// Takes up the copy in `dir`, or begins one.
    ///
    /// # Errors
    /// `STATE_IO`, `STATE_DISK_FULL`, `STATE_LOCKED`, and what the changelog says.
    pub fn open(dir: &Path, partitions: u16, changelog: &dyn Fn() -> Changelog) -> Result<Self> {
        let (options, labelled) = (options(partitions), now_ms());
        if let Some((local, have)) = found(dir, &options)?
            && let Some(follower) = Follower::begin(changelog(), have)?
        {
            return Ok(Self { local, follower, labelled, torn: Arc::new(Mutex::new(true)) });
        }
        wipe(dir)?;
        let local = RocksStateStore::open(dir, &options)?;
        let follower = Follower::begin(changelog(), Restored::default())?;
        let follower = follower.ok_or_else(|| Error::internal("CLUSTER_COPY", "nothing is more than there is"))?;
        Ok(Self { local, follower, labelled, torn: Arc::new(Mutex::new(true)) })
    }

    /// The database of the copy, and what says whether it may be read.
    pub fn readable(&self) -> (&Database, Arc<Mutex<bool>>) {
        (self.local.database(), Arc::clone(&self.torn))
    }

    /// Takes in what was committed since the last call, some megabytes at most.
    ///
    /// # Errors
    /// As [`Copy::open`], and `STATE_CORRUPT`.
    pub fn follow(&mut self) -> Result<Step> {
        let (local, labelled) = (&mut self.local, &mut self.labelled);
        let lock = || self.torn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut moving = None;
        let step = self.follower.step(&mut |mut writes, ended| {
            **moving.get_or_insert_with(lock) = true;
            match ended {
                None => local.load(&writes),
                Some(at) => {
                    *labelled = now_ms();
                    writes.push(label(at.next));
                    local.commit(at.epoch, &writes, &[])
                }
            }
        })?;
        if step.at_end {
            *moving.unwrap_or_else(lock) = false;
        }
        // a copy of a partition in which nothing happens does not grow old
        if step.at_end && now_ms() - self.labelled > COPY_AGE_MAX_MS / 12 {
            self.labelled = now_ms();
            self.local.load(&[label(self.follower.at().next)])?;
        }
        Ok(step)
    }

    /// How far it has come, and how much it has read.
    pub fn at(&self) -> Restored {
        self.follower.at()
    }
}

impl StateStore for ChangelogStore {
    fn reader(&self) -> Arc<dyn StateRead> {
        self.local.reader()
    }

    fn commit(&mut self, epoch: Epoch, writes: &[CellWrite], records: &[LogRecord]) -> Result<()> {
        if writes.is_empty() && records.is_empty() {
            return Ok(()); // nothing has happened: the next epoch that has something says so for this one too
        }
        let (writes_of, records) = (writes.to_vec(), records.to_vec());
        let part = EpochPart { tenure: self.tenure, epoch, after: self.next, writes: writes_of, records };
        let next = self.epochs.commit(part)?;
        self.next = next;
        self.consumed.committed(self.tenure.partition, writes);
        let mut writes = writes.to_vec();
        writes.push(label(next));
        self.local.commit(epoch, &writes, &[])
    }

    fn last_epoch(&self) -> Result<Epoch> {
        self.local.last_epoch()
    }
}
