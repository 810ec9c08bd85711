//! Threads that belong to a client.

use std::thread::{Builder, JoinHandle};
use thalweg_core::error::{Error, Result};

/// Starts a thread.
///
/// # Errors
/// `THREAD_START`.
pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(body).map_err(|e| {
        Error::external("THREAD_START", format!("cannot start a thread: {e}"))
            .help("raise the process's limit of threads")
    })
}
