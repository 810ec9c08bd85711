//! One process per state directory.

use crate::error::from_io;
use std::fs::{File, TryLockError};
use std::path::Path;
use thalweg_core::error::{Error, Result};

/// Held as long as anything may still read or write the store; the system lets go of it when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a directory.
    ///
    /// # Errors
    /// `STATE_LOCKED` when another process, or another store of this one, has it.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("LOCK"))
            .map_err(|e| from_io(dir, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(locked(dir)),
            Err(TryLockError::Error(e)) => Err(from_io(dir, &e)),
        }
    }

    /// Takes the lock together with others who only look. Nothing is made.
    ///
    /// # Errors
    /// As for [`Lock::take`].
    pub(crate) fn share(dir: &Path) -> Result<Self> {
        let file = File::open(dir.join("LOCK")).map_err(|e| from_io(dir, &e))?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(locked(dir)),
            Err(TryLockError::Error(e)) => Err(from_io(dir, &e)),
        }
    }
}

fn locked(dir: &Path) -> Error {
    Error::user("STATE_LOCKED", format!("the state directory {} is in use by another process", dir.display()))
        .help("stop the other process first, or give this job a state directory of its own")
}
