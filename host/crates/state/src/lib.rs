//! Lasting state on RocksDB: the adapter behind [`StateStore`](thalweg_core::port::store::StateStore).
//!
//! In: the writes of one epoch, with keys laid out by `core::state::layout`. Out: an atomic, synced commit, and reads of
//! committed cells. Knows nothing of jobs, stages or what a cell means.
//!
//! Beside it stands scratch space, for values that a job in memory cannot hold there. A store is one directory:
//!
//! | entry | what it is |
//! |---|---|
//! | `LOCK` | held while a process has the store open |
//! | `VERSION` | layout version, key groups and key hash, with a checksum |
//! | `ACKNOWLEDGED` | the last epoch and write that were acknowledged, so that a log that lost its end is noticed, and how far RocksDB's list of its files goes |
//! | `db/` | RocksDB: all cells and the epoch they stand for, and the embedded log's topics |

mod acknowledged;
mod database;
mod error;
mod lock;
mod log;
mod look;
mod manifest;
mod options;
mod room;
mod scratch;
mod store;
mod version;

pub use database::{Database, WeakDatabase};
pub use log::RocksLog;
pub use look::Look;
pub use options::{FsyncPolicy, Options};
pub use scratch::FileScratch;
pub use store::RocksStateStore;
