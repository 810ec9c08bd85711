//! What the bundles of a shard hold in memory before they are over: the state and timers their worker has written. In: by how much a bundle's part
//! has changed. Out: whether there is room for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use thalweg_core::error::{Domain, Error, Result};

/// The bytes of all bundles of a shard.
#[derive(Debug)]
pub(super) struct Holding {
    bytes: AtomicUsize,
    max: usize,
}

impl Holding {
    /// At most so many bytes.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), max })
    }
}

/// The part of one bundle, given back when it is over.
#[derive(Debug)]
pub(super) struct Held {
    of: Arc<Holding>,
    bytes: AtomicUsize,
}

impl Held {
    /// Nothing yet.
    pub fn new(of: &Arc<Holding>) -> Self {
        Self { of: Arc::clone(of), bytes: AtomicUsize::new(0) }
    }

    /// What weighed `before` weighs `now`.
    ///
    /// # Errors
    /// `BUNDLE_STATE_TOO_LARGE` when it has become more, and all of the shard is more than it may be.
    pub fn change(&self, before: usize, now: usize) -> Result<()> {
        if now <= before {
            self.take(before - now);
            return Ok(());
        }
        let more = now - before;
        let mine = self.bytes.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        let all = self.of.bytes.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        if all > self.of.max { Err(too_large(mine, all, self.of.max)) } else { Ok(()) }
    }

    fn take(&self, less: usize) {
        self.bytes.fetch_sub(less, Ordering::Relaxed);
        self.of.bytes.fetch_sub(less, Ordering::Relaxed);
    }

    /// The bundle is over.
    pub fn release(&self) {
        let all = self.bytes.swap(0, Ordering::Relaxed);
        self.of.bytes.fetch_sub(all, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

fn too_large(mine: usize, all: usize, max: usize) -> Error {
    let message = format!(
        "bundles of a shard have written {} MiB of state and timers before their end, where {} are allowed; the last of them {} MiB",
        all >> 20,
        max >> 20,
        mine >> 20
    );
    Error::new("BUNDLE_STATE_TOO_LARGE", Domain::User, message).help(
        "what a bundle writes is in memory until it is done: keep less per element, or make bundles smaller with the option --max_bundle_size",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_of_a_shard_share_what_they_may_hold() {
        let holding = Holding::new(100);
        let (a, b) = (Held::new(&holding), Held::new(&holding));
        assert!(a.change(0, 60).is_ok() && b.change(0, 40).is_ok());
        assert_eq!(b.change(40, 41).map_err(|e| e.code), Err("BUNDLE_STATE_TOO_LARGE"));
        assert!(b.change(41, 1).is_ok(), "less is always allowed");
        a.release();
        assert!(b.change(1, 100).is_ok());
        drop(b);
        assert_eq!(holding.bytes.load(Ordering::Relaxed), 0);
    }
}
