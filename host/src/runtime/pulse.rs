//! The pulse of a shard: what others see of its thread without asking it, and without a lock.
//!
//! In: the steps of the shard's thread, the stage it is in, and which bundle it has been waiting for longest. Out: a look at them from any thread. What a pulse
//! that stands still means is not known here.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use thalweg_core::id::{BundleId, StageId};
use thalweg_core::port::worker::Awaited;

/// No stage, and no bundle.
const NONE: u32 = u32::MAX;

/// The pulse of one shard, on a cache line of its own: its thread writes at every step.
#[derive(Debug)]
#[repr(align(64))]
pub struct Pulse {
    /// Steps since the shard has read its state; zero before that, and once its thread has ended.
    steps: AtomicU64,
    /// The stage that the thread is in.
    inside: AtomicU32,
    /// The stage of the bundle that it has been waiting for longest, which one that is, and how often it gave a sign.
    awaited: AtomicU32,
    bundle: AtomicU64,
    signs: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        let (count, stage) = (|| AtomicU64::new(0), || AtomicU32::new(NONE));
        Self { steps: count(), inside: stage(), awaited: stage(), bundle: count(), signs: count() }
    }
}

/// What a look at a pulse sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beat {
    /// Steps so far.
    pub steps: u64,
    /// The stage that the thread is in.
    pub inside: Option<StageId>,
    /// The bundle that it has been waiting for longest.
    pub awaited: Option<Awaited>,
}

fn stage(stored: &AtomicU32) -> Option<StageId> {
    let stage = stored.load(Ordering::Relaxed);
    (stage != NONE).then_some(StageId(stage))
}

impl Pulse {
    /// The thread makes a step. Not to be called before the shard has read its state, which may take long.
    pub(super) fn beat(&self) {
        // nobody else writes, so this need not be one operation
        self.steps.store(self.steps.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// The thread is in a stage from now on, or in none.
    pub(super) fn inside(&self, stage: Option<StageId>) {
        self.inside.store(stage.map_or(NONE, |stage| stage.0), Ordering::Relaxed);
    }

    /// What the thread waits for.
    pub(super) fn awaits(&self, awaited: Option<Awaited>) {
        self.awaited.store(awaited.map_or(NONE, |a| a.stage.0), Ordering::Relaxed);
        if let Some(Awaited { bundle, signs, .. }) = awaited {
            self.bundle.store(bundle.0, Ordering::Relaxed);
            self.signs.store(signs, Ordering::Relaxed);
        }
    }

    /// The thread has ended.
    pub(super) fn ends(&self) {
        self.steps.store(0, Ordering::Relaxed);
    }

    /// What there is to be seen; nothing while the shard reads its state, and once its thread has ended.
    #[must_use]
    pub fn now(&self) -> Option<Beat> {
        let steps = self.steps.load(Ordering::Relaxed);
        let bundle = BundleId(self.bundle.load(Ordering::Relaxed));
        let signs = self.signs.load(Ordering::Relaxed);
        let awaited = stage(&self.awaited).map(|stage| Awaited { stage, bundle, signs });
        (steps > 0).then(|| Beat { steps, inside: stage(&self.inside), awaited })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_is_seen_from_the_first_step_to_the_end() {
        let pulse = Pulse::default();
        pulse.inside(Some(StageId(3)));
        assert_eq!(pulse.now(), None, "it reads its state");
        pulse.beat();
        assert_eq!(pulse.now(), Some(Beat { steps: 1, inside: Some(StageId(3)), awaited: None }));
        let awaited = Awaited { stage: StageId(0), bundle: BundleId(7), signs: 2 };
        pulse.awaits(Some(awaited));
        pulse.inside(None);
        assert_eq!(pulse.now(), Some(Beat { steps: 1, inside: None, awaited: Some(awaited) }));
        pulse.ends();
        assert_eq!(pulse.now(), None);
    }
}
