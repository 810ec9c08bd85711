//! SIGINT and SIGTERM: the first one asks, the second one ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use thalweg_core::error::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGINT or SIGTERM.
///
/// # Errors
/// `SIGNALS` when the process cannot listen to signals.
pub async fn interrupted() -> Result<()> {
    let failed = |e: std::io::Error| Error::internal("SIGNALS", format!("cannot listen to signals: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Calls `ask` at the first signal; at the second the process ends. The flag says whether there was one.
///
/// # Errors
/// `SIGNALS` when no thread can be started for it.
pub fn on_interrupt(ask: impl FnOnce() + Send + 'static) -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&flag);
    let failed = |e: std::io::Error| Error::internal("SIGNALS", format!("cannot listen to signals: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    let listen = move || {
        runtime.block_on(async move {
            if interrupted().await.is_ok() {
                seen.store(true, Ordering::SeqCst);
                ask();
                if interrupted().await.is_ok() {
                    std::process::exit(i32::from(super::exit::INTERRUPTED));
                }
            }
        });
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen).map_err(failed)?;
    Ok(flag)
}
