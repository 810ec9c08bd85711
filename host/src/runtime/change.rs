//! Changes of a running job that take effect between two epochs, on all shards, and last with the epoch that they end.
//!
//! In: a [`Change`], from whoever steers the job, at any time. Out: its writes, committed with the epoch that ends next; what it
//! does on every shard, behind that epoch's seal and so in the next epoch; word when the epoch is committed. If the
//! process is killed before that, nothing of the change is left; after it, whoever starts the job again finds what was written. It knows
//! nothing of what is changed.

use super::Order;
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_core::engine::Event;
use thalweg_core::id::{Epoch, ShardId};
use thalweg_core::port::store::CellWrite;

/// What is done on a shard, on its thread; what the shard's machine is told then.
pub(super) type Apply = Arc<dyn Fn(ShardId) -> Vec<Event> + Send + Sync>;

/// A change of a job.
pub struct Change {
    pub(super) writes: Vec<CellWrite>,
    apply: Apply,
    lasts: Box<dyn FnOnce(Epoch) + Send>,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change").field("writes", &self.writes.len()).finish_non_exhaustive()
    }
}

impl Change {
    /// A change that writes these cells and does `apply` on every shard, which must be quick. `lasts` is called once the epoch
    /// is committed; it is dropped if the job ends before.
    #[must_use]
    pub fn new(
        writes: Vec<CellWrite>,
        apply: impl Fn(ShardId) -> Vec<Event> + Send + Sync + 'static,
        lasts: impl FnOnce(Epoch) + Send + 'static,
    ) -> Self {
        Self { writes, apply: Arc::new(apply), lasts: Box::new(lasts) }
    }

    pub(super) fn order(&self) -> Order {
        Order::Change(Arc::clone(&self.apply))
    }

    pub(super) fn lasts(self, epoch: Epoch) {
        (self.lasts)(epoch);
    }
}

/// Changes that wait for the end of an epoch. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Changes(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    list: Vec<Change>,
    closed: bool,
}

impl Changes {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a change made at the end of the open epoch. Dropped if the job is over.
    pub fn make(&self, change: Change) {
        let mut waiting = self.waiting();
        if !waiting.closed {
            waiting.list.push(change);
        }
    }

    /// Whether the job is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.waiting().closed
    }

    pub(super) fn take(&self) -> Vec<Change> {
        std::mem::take(&mut self.waiting().list)
    }

    /// The job is over: what waits is dropped, and what comes.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.list.clear();
    }
}
