//! The commit authority: RocksDB in the job's state directory or in one that jobs share, or memory with scratch space for what is too large.

use super::SharedLog;
use std::path::Path;
use std::sync::Arc;
use thalweg_core::error::{Error, Result};
use thalweg_core::port::store::{NullStore, StateStore};
use thalweg_state::{Database, FileScratch, Options};

/// A store that is open, and its database if it has one.
pub struct Opened {
    pub store: Box<dyn StateStore>,
    pub database: Option<Database>,
    /// What the job is called in it, if others share it.
    pub shares: Option<String>,
}

/// Opens the store of a job.
pub fn open(dir: Option<&Path>, options: &Options) -> Result<Opened> {
    let Some(dir) = dir else {
        return Ok(Opened {
            store: Box::new(NullStore::with_scratch(Arc::new(FileScratch::default()))),
            database: None,
            shares: None,
        });
    };
    let database = Database::open(dir, options)?;
    Ok(Opened { store: Box::new(database.store()?), database: Some(database), shares: None })
}

/// The store that a job has already, or the one beside a log that it shares. A job's own directory that is not there is not made.
pub fn existing(
    dir: Option<&Path>,
    shared: Option<&SharedLog>,
    uses_log: bool,
    options: &Options,
) -> Result<Option<Opened>> {
    let Some(dir) = dir else { return Ok(None) };
    let own = dir.is_dir();
    if let Some(shared) = shared {
        let job = dir.file_name().unwrap_or_default().to_string_lossy();
        if own && uses_log {
            let what =
                format!("the job has kept its state in {} so far, without the log that jobs share", dir.display());
            return Err(Error::user("STATE_OTHER_JOB", what)
                .help("give the job another state_name: with topics of the embedded log it begins anew"));
        }
        if uses_log || (!own && shared.has(&job)?) {
            let database = shared.database()?;
            let (store, shares) = (Box::new(database.store_of(&job)?), Some(job.into_owned()));
            return Ok(Some(Opened { store, database: Some(database), shares }));
        }
    }
    if own { open(Some(dir), options).map(Some) } else { Ok(None) }
}
