//! The server's temporary directory for staged artifacts: nobody else may enter it or guess its name, and none is left behind.
//!
//! In: the system's directory for temporary files. Out: a directory of this process, removed with it. A process that was
//! killed cannot do that; the next one to start here does it in its place. What lives in the directory is not known here.

use crate::files;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thalweg_core::error::{Error, Result};

/// How the names begin.
const PREFIX: &str = "thalweg-staging-";
/// The file that a living process has locked; the system lets go of it with the process, however that ends.
const LOCK: &str = "LOCK";
/// A directory without a lock may be about to get one, for so long.
const YOUNG: Duration = Duration::from_secs(60);

/// A directory of this process, removed when it is dropped.
#[derive(Debug)]
pub struct StagingDir {
    path: PathBuf,
    /// Held as long as the directory is in use.
    _lock: File,
}

impl StagingDir {
    /// Makes one below `parent`, after removing those of processes that are gone.
    ///
    /// # Errors
    /// `ARTIFACT_STORE_FAILED` when none can be made.
    pub fn create(parent: &Path) -> Result<Self> {
        let failed = |e: io::Error| {
            Error::external("ARTIFACT_STORE_FAILED", format!("cannot make a directory in {}: {e}", parent.display()))
                .help("staged artifacts need a directory for temporary files: set TMPDIR to one with room")
        };
        loop {
            let path = files::own_dir(parent, PREFIX).map_err(failed)?;
            let lock = File::create(path.join(LOCK)).map_err(failed)?;
            // another process may have swept it away between the two
            if lock.try_lock().is_ok() && is_at(&lock, &path.join(LOCK)) {
                sweep(parent, fs::metadata(&path).map_err(failed)?.uid());
                return Ok(Self { path, _lock: lock });
            } // else another process was about to sweep: it removes this one, and another is made
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StagingDir {
    fn drop(&mut self) {
        // what cannot be removed now is removed by the next process
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the directories of this user whose process is gone.
fn sweep(parent: &Path, user: u32) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let ours = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX));
    for path in ours.map(|e| e.path()) {
        // a link that somebody put there is not followed
        let Ok(facts) = fs::symlink_metadata(&path) else { continue };
        // a lock that was taken is held until the directory is gone: nobody begins to use it meanwhile
        if facts.is_dir()
            && facts.uid() == user
            && let Some(_lock) = left_behind(&path, &facts)
        {
            tracing::debug!(path = %path.display(), "removing what a process that is gone had staged");
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// The lock of a directory that nobody uses, if there is one.
fn left_behind(path: &Path, facts: &fs::Metadata) -> Option<Option<File>> {
    match File::open(path.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok().then_some(Some(lock)),
        Err(_) => {
            let age = facts.modified().ok().and_then(|at| at.elapsed().ok());
            age.is_some_and(|age| age > YOUNG).then_some(None)
        }
    }
}

/// Whether a file is the one that stands at this place.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata().and_then(|mine| Ok(same(mine, fs::metadata(path)?))).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<PathBuf> {
        fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect()
    }

    #[test]
    fn only_this_user_may_enter_and_nothing_is_left_at_the_end() -> anyhow::Result<()> {
        let parent = tempfile::tempdir()?;
        let (one, two) = (StagingDir::create(parent.path())?, StagingDir::create(parent.path())?);
        assert_ne!(one.path(), two.path());
        assert_eq!(fs::metadata(one.path())?.mode() & 0o777, 0o700);
        drop((one, two));
        assert!(names(parent.path()).is_empty());
        Ok(())
    }

    #[test]
    fn what_a_killed_process_left_goes_and_what_a_living_one_has_stays() -> anyhow::Result<()> {
        let parent = tempfile::tempdir()?;
        let living = StagingDir::create(parent.path())?;
        let dead = parent.path().join(format!("{PREFIX}dead"));
        let young = parent.path().join(format!("{PREFIX}young"));
        let other = parent.path().join("others");
        for dir in [&dead, &young, &other] {
            fs::create_dir(dir)?;
        }
        File::create(dead.join(LOCK))?;
        File::create(dead.join("artifact"))?;
        let next = StagingDir::create(parent.path())?;
        assert!(!dead.exists() && young.exists() && other.exists() && living.path().exists() && next.path().exists());
        Ok(())
    }
}
