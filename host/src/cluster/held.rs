//! A job whose sources are held for a moment, so that a savepoint meets it standing still.
//!
//! In: an order, with the time at which it ends of itself: whoever gave it may die. Out: partitions of this process that are not read, and are again. Nothing
//! depends on everybody having heard of it: who makes a savepoint sees whether the job stands still.

use super::Inner;
use super::order::{Until, What};
use crate::runtime::now_ms;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use thalweg_core::error::{Error, Result};

/// How long an order holds, and how often it is given again: clocks of machines differ, and the journal may wait for a broker.
const HOLDS_MS: i64 = 30_000;
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// By how much later it is looked: threads and clocks are not that exact.
const SURELY_OVER: Duration = Duration::from_millis(20);

impl Inner {
    /// Does not read the sources of a job until then, in milliseconds since 1970 UTC; whatever the clock of who said so, no longer than an order holds.
    pub(super) fn hold(self: &Arc<Self>, job: &str, until_ms: i64) {
        if let Some(known) = self.state().jobs.get_mut(job) {
            known.held_ms = until_ms.min(now_ms() + HOLDS_MS);
        }
        self.keep_held(job);
    }

    /// Has this process's part of a job do what was said last, if it was started by now.
    pub(super) fn keep_held(self: &Arc<Self>, job: &str) {
        let known = self.state().jobs.get(job).map(|known| (known.node.clone(), known.held_ms));
        let Some((Some(node), until_ms)) = known else { return };
        node.hold(until_ms);
        let left = until_ms.saturating_sub(now_ms());
        if left <= 0 {
            return;
        }
        let (this, job) = (Arc::downgrade(self), job.to_owned());
        let end = move || {
            std::thread::sleep(Duration::from_millis(left.unsigned_abs()) + SURELY_OVER);
            let Some(this) = this.upgrade() else { return };
            let (node, held_ms) = match this.state().jobs.get(&job) {
                Some(known) => (known.node.clone(), known.held_ms),
                None => return,
            };
            if held_ms <= until_ms {
                node.iter().for_each(|node| node.hold(held_ms)); // it is over by now
            }
        };
        if let Err(error) = std::thread::Builder::new().name("job-hold".to_owned()).spawn(end) {
            tracing::error!(%error, "cannot start a thread that ends a hold");
            node.hold(0);
        }
    }
}

/// A job is held as long as this lives.
pub struct Held {
    release: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Held {
    /// Holds a job.
    ///
    /// # Errors
    /// What the journal says; `THREAD_START`.
    pub fn begin(inner: &Arc<Inner>, job: &str) -> Result<Self> {
        let order = |inner: &Inner, job: &str, ms: i64| inner.order(job, What::Hold(Until { ms }));
        order(inner, job, now_ms() + HOLDS_MS)?;
        let (release, released) = sync_channel(1);
        let (this, name) = (Arc::clone(inner), job.to_owned());
        let again = move || {
            while released.recv_timeout(AGAIN_AFTER) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = order(&this, &name, now_ms() + HOLDS_MS) {
                    tracing::warn!(job = name, %error, "the job may go on before its savepoint is made");
                }
            }
            if let Err(error) = order(&this, &name, 0) {
                tracing::warn!(job = name, %error, "the job goes on in half a minute");
            }
        };
        let thread = std::thread::Builder::new().name("job-held".to_owned()).spawn(again).map_err(|e| {
            Error::external("THREAD_START", format!("cannot start a thread: {e}"))
                .help("raise the process's limit of threads")
        })?;
        Ok(Self { release: Some(release), thread: Some(thread) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release = None;
        if let Some(thread) = self.thread.take() {
            // a panic of that thread is no reason for one of this
            drop(thread.join());
        }
    }
}
