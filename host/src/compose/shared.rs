//! One log for the jobs of a process: a state directory of its own, in which each job that uses the log has its cells.
//!
//! In: a directory. Out: its database, opened when the first job wants it, and its door for other processes. So that an epoch is one
//! write, cells and records of a job are in one database, and jobs that share a log share it.

use crate::topics::Door;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use thalweg_core::error::Result;
use thalweg_state::{Database, Options};

/// The log of a process.
#[derive(Debug)]
pub struct SharedLog {
    dir: PathBuf,
    options: Options,
    /// How the names of jobs begin that stay when their process ends.
    stay: &'static str,
    opened: Mutex<Option<(Database, Option<Door>)>>,
}

impl SharedLog {
    /// A log in `dir`, which is made when it is first used. Cells of jobs whose names do not begin with `stay` are forgotten then.
    #[must_use]
    pub fn new(dir: PathBuf, options: Options, stay: &'static str) -> Self {
        Self { dir, options, stay, opened: Mutex::default() }
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it was ever used.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.dir.is_dir()
    }

    /// Whether it holds the state of this job, which a job that does not stay cannot have. A log that is not open here is not opened for that:
    /// it may be another process's, and jobs without topics need none.
    ///
    /// # Errors
    /// `STATE_CORRUPT`, `STATE_IO`.
    pub fn has(&self, job: &str) -> Result<bool> {
        if !job.starts_with(self.stay) || !self.is_there() {
            return Ok(false);
        }
        match self.opened().as_ref() {
            Some((database, _)) => Ok(database.has_store_of(job)),
            None => Database::is_store_of(&self.dir, job, &self.options),
        }
    }

    fn opened(&self) -> MutexGuard<'_, Option<(Database, Option<Door>)>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the state of a job that nobody can find again.
    ///
    /// # Errors
    /// `STATE_IO`; then it is forgotten when the log is opened next.
    pub fn forget(&self, job: &str) -> Result<()> {
        self.opened().as_ref().map_or(Ok(()), |(database, _)| database.forget(|other| other != job))
    }

    /// The database; opened now if it was not before, and served at its door. One in which a write has failed is opened anew once no job of
    /// before holds it any more.
    ///
    /// # Errors
    /// As for [`Database::open`].
    pub fn database(&self) -> Result<Database> {
        let mut opened = self.opened();
        drop(opened.take_if(|(database, _)| database.has_failed()));
        if let Some((database, _)) = opened.as_ref() {
            return Ok(database.clone());
        }
        let database = Database::open(&self.dir, &self.options)?;
        // nobody could find the state of the others again
        database.forget(|job| job.starts_with(self.stay))?;
        let door = Door::try_open(database.clone());
        *opened = Some((database.clone(), door));
        Ok(database)
    }
}
