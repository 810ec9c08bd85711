//! The commit authority: RocksDB in the job's state directory, or memory with scratch space for what is too large.

use std::path::Path;
use std::sync::Arc;
use thalweg_core::error::Result;
use thalweg_core::port::store::{NullStore, StateStore};
use thalweg_state::{FileScratch, Options, RocksStateStore};

/// Opens the store of a job.
pub fn open(dir: Option<&Path>) -> Result<Box<dyn StateStore>> {
    Ok(match dir {
        Some(dir) => Box::new(RocksStateStore::open(dir, &Options::default())?),
        None => Box::new(NullStore::with_scratch(Arc::new(FileScratch::default()))),
    })
}
