//! SIGINT and SIGTERM: the first one asks, the second one ends the process, and so does the end of the grace period.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thalweg_core::error::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM from the moment it was made: none that comes between two waits is missed.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to listen. Needs a runtime of tokio.
    ///
    /// # Errors
    /// `SIGNALS` when the process cannot listen to signals.
    pub fn listen() -> Result<Self> {
        let failed = |e: std::io::Error| Error::internal("SIGNALS", format!("cannot listen to signals: {e}"));
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate()).map_err(failed)? })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for the next one, at most so long. What runs then is cut off, which loses nothing that is committed.
    pub async fn next_within(&mut self, grace: Duration) {
        if tokio::time::timeout(grace, self.next()).await.is_err() {
            eprintln!("the grace period of {} s is over: what still runs is cut off", grace.as_secs());
        }
    }
}

/// Calls `ask` at the first signal; at the second, or `grace` after the first, the process ends. The flag says whether there was one.
///
/// # Errors
/// `SIGNALS` when no thread can be started for it.
pub fn on_interrupt(grace: Duration, ask: impl FnOnce() + Send + 'static) -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&flag);
    let failed = |e: std::io::Error| Error::internal("SIGNALS", format!("cannot listen to signals: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let listen = move || {
        runtime.block_on(async move {
            let Ok(mut signals) = Signals::listen() else { return };
            signals.next().await;
            seen.store(true, Ordering::SeqCst);
            ask();
            signals.next_within(grace).await;
            std::process::exit(i32::from(super::exit::INTERRUPTED));
        });
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen).map_err(failed)?;
    Ok(flag)
}
