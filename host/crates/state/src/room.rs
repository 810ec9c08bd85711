//! Room on the disk: a write that would not fit waits until there is room, so that a full disk stops a job and does not break it.
//!
//! In: a directory and the bytes that are to be written. Out: nothing, after a while, or an error. RocksDB writes what it is given twice
//! (log, then table) and needs as much again to compact, so the reserve is not a few bytes.

use crate::error::full;
use crate::options::Options;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use thalweg_core::error::Result;

/// Between two looks at a disk that is full.
const LOOK: Duration = Duration::from_millis(200);
/// Between two lines in the program's log.
const SAY: Duration = Duration::from_secs(10);

/// Returns once the disk would still have its reserve after a write of so many bytes.
///
/// # Errors
/// `STATE_DISK_FULL` when it would not after the time that the options give.
pub(crate) fn wait_for_room(dir: &Path, bytes: u64, options: &Options) -> Result<()> {
    let needed = options.disk_reserve_bytes.saturating_add(bytes);
    let Some(mut free) = free(dir).filter(|free| *free < needed) else { return Ok(()) };
    let end = Instant::now() + options.disk_wait;
    let mut said: Option<Instant> = None;
    while free < needed {
        if Instant::now() >= end {
            return Err(full(dir, format!("{free} bytes are free and {needed} are needed")));
        }
        if said.is_none_or(|at| at.elapsed() >= SAY) {
            tracing::warn!(
                target: "state",
                "the disk of {} is full: {free} bytes are free and {needed} are needed; nothing is read until there is room",
                dir.display()
            );
            said = Some(Instant::now());
        }
        sleep(LOOK);
        free = self::free(dir).unwrap_or(u64::MAX);
    }
    tracing::info!(target: "state", "the disk of {} has room again", dir.display());
    Ok(())
}

/// Bytes that the file system of a directory has for us; none if it does not say.
fn free(dir: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(dir).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}
