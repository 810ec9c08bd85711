//! Errors of files, with the codes of `docs/errors.md`.

use std::io;
use std::path::Path;
use thalweg_core::error::Error;

/// A file that cannot be read.
pub(super) fn unreadable(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::user("FILE_UNREADABLE", format!("cannot read {}: {why}", path.display()))
        .help("check the path (a relative one starts at the current directory) and that this user may read the file")
}

/// A file that cannot be written.
pub(super) fn unwritable(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::external("FILE_DISK_FULL", format!("no room to write {}: {error}", path.display())).help(
                "make room and start the job again: with a state directory it goes on after the last committed epoch",
            )
        }
        _ => Error::user("FILE_UNWRITABLE", format!("cannot write {}: {error}", path.display()))
            .help("check the path, and that this user may create and write files there"),
    }
}

/// A file that is not what it was when the job stopped.
pub(super) fn changed(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::user("FILE_CHANGED", format!("{} was changed since the job stopped: {what}", path.display()))
        .help("put the old file back, or start the job anew with an empty state directory")
}
