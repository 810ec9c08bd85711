//! From RocksDB's and the system's errors to the codes of `docs/errors.md`.

use rocksdb::ErrorKind;
use std::io;
use std::path::Path;
use thalweg_core::error::Error;
use thalweg_core::id::Epoch;

/// Damage: what is on disk is not what was written.
pub(crate) fn corrupt(dir: &Path, what: impl std::fmt::Display) -> Error {
    Error::external("STATE_CORRUPT", format!("the state directory {} is damaged: {what}", dir.display()))
        .help("restore the directory from a copy, or start the job anew with an empty directory; check the disk")
}

/// A database without the last writes that were acknowledged.
pub(crate) fn lost_writes(dir: &Path, least: u64) -> Error {
    corrupt(dir, format!("it has lost the end of its log: write {least} was acknowledged"))
}

/// A job's cells without the last epoch that was acknowledged.
pub(crate) fn lost_epoch(dir: &Path, found: Epoch, least: Epoch) -> Error {
    corrupt(dir, format!("it holds epoch {} although epoch {} was committed", found.0, least.0))
}

/// A directory that has no cells of such a job.
pub(crate) fn no_job(dir: &Path, job: Option<&str>, others: &[String]) -> Error {
    let dir = dir.display();
    let what = match job {
        Some(job) => format!("the state directory {dir} holds nothing of a job {job:?}"),
        None => format!("the state directory {dir} holds no job of its own that has committed anything"),
    };
    let help = match others {
        [] => "start a job with this directory, and ask again once it has committed".to_owned(),
        others => format!("name one of the jobs that share it: {}", others.join(", ")),
    };
    Error::user("STATE_NO_JOB", what).help(help)
}

/// A path that is not a state directory, and does not become one.
pub(crate) fn not_ours(dir: &Path, why: impl std::fmt::Display) -> Error {
    Error::user("STATE_NOT_OURS", format!("{} is not a state directory of Thalweg: {why}", dir.display()))
        .help("give a directory that is empty or does not exist yet; nothing was changed in this one")
}

/// Another store of a job is open.
pub(crate) fn in_use(dir: &Path, job: &str) -> Error {
    Error::user("STATE_LOCKED", format!("the state of {job:?} in {} is in use by another job", dir.display()))
        .help("wait until that job has ended, or give this one another state_name")
}

/// The disk has no room.
pub(crate) fn full(dir: &Path, what: impl std::fmt::Display) -> Error {
    Error::external("STATE_DISK_FULL", format!("no room for the state directory {}: {what}", dir.display()))
        .help("make room on that disk and start the job again: it goes on after the last committed epoch")
}

/// Any other failure of the disk.
pub(crate) fn broken(dir: &Path, what: impl std::fmt::Display) -> Error {
    Error::external("STATE_IO", format!("cannot use the state directory {}: {what}", dir.display()))
        .help("check that the directory exists, is writable and its disk is healthy, then start the job again")
}

/// An error of a file of our own.
pub(crate) fn from_io(dir: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => full(dir, error),
        _ => broken(dir, error),
    }
}

/// An error of RocksDB. It has no code for a full disk, so that one is known by the system's sentence.
pub(crate) fn from_rocks(dir: &Path, error: &rocksdb::Error) -> Error {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::Corruption => corrupt(dir, &text),
        _ if text.contains("No space left on device") || text.contains("Disk quota exceeded") => full(dir, &text),
        _ => broken(dir, &text),
    }
}

/// As [`from_rocks`], for a store that was whole when it was closed: a file that is not there, or cannot be what it is
/// named, was lost or damaged since.
pub(crate) fn from_opening(dir: &Path, error: &rocksdb::Error) -> Error {
    let text = error.to_string();
    let lost = ["No such file or directory", "does not exist", "CURRENT file"].iter().any(|s| text.contains(s));
    if lost || matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::NotSupported | ErrorKind::NotFound) {
        corrupt(dir, &text)
    } else {
        from_rocks(dir, error)
    }
}
