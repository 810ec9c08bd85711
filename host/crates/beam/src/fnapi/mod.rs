//! The Fn API side of the worker port: SDK harnesses (Python, Java, Go) as [`Worker`](thalweg_core::port::worker::Worker)s.
//!
//! In: commands of a shard. Out: events of the worker port. Between them stand a gRPC server that harnesses connect to and
//! one conversation per bundle. Knows Beam's Fn API and the wire form of elements; knows nothing of epochs, shuffles,
//! time or jobs.
//!
//! # Shape
//! - [`FnApiServer`]: the services (control, data, state, logging, provision, status) on one port. One per process.
//! - [`Harness`]: one SDK process (or thread, for LOOPBACK), started through its [`Environment`] and supervised. Shared by
//!   all shards; a handle is cheap.
//! - [`FnApiWorker`]: the worker port of one shard.
//!
//! # Threads and bounds
//! A shard's thread only queues: a command becomes an instruction and a *feed*, which the server's tasks encode into
//! messages of about [`FnApiConfig::chunk_bytes`] when the connection can take them. Outputs are indexed in the server's
//! tasks, one buffer per message, and wait in a channel bounded in events and bytes; while it is full the worker's data
//! stream is not read, so the worker stops. State requests are answered in the server's tasks from the bundle's own
//! view. No lock is taken per element.

mod bundle;
mod chunks;
mod clock;
mod config;
mod environment;
mod failure;
mod feed;
mod harness;
mod held;
mod link;
mod metrics;
mod ordered;
mod pages;
mod pool;
mod process;
mod provision;
mod queue;
mod said;
mod samples;
mod server;
mod service;
mod session;
mod sides;
mod split;
mod state;
mod windows;
mod wiring;
mod worker;

pub use config::FnApiConfig;
pub use environment::{Allowed, Chosen, Environment};
pub use harness::{Harness, HarnessSpec};
pub use link::Waker;
pub use provision::Provision;
pub use server::FnApiServer;
pub use service::{LogRecord, LogSink, Severity};
pub use windows::Windows;
pub use worker::FnApiWorker;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic of another holder: what is guarded here is replaced whole or append-only.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
