//! What a shard leaves undone for a while: a job that is paused, and one that is left to others.
//!
//! In: how much is held. Out: which sources may be read, which stages may begin a bundle, and what time it is. A job that is paused reads nothing and begins
//! no restriction, finishes what was read, and its clock stands still; one that is left begins nothing at all. State and positions are what they were.

use super::shard::Shard;
use crate::graph::WorkerStage;
use crate::id::SourceId;
use crate::time::ProcessingTime;

/// What is held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Debug)]
pub enum Hold {
    /// Nothing.
    #[default]
    Nothing,
    /// Sources are not read, restrictions are not begun, and the clock stands still. What was read is finished, exchanges included.
    Sources,
    /// Nothing is begun any more: what runs comes to its end.
    Everything,
}

impl Shard {
    /// Holds so much from now on.
    pub(super) fn hold(&mut self, hold: Hold, now: ProcessingTime) {
        // a clock that stands already stays where it is
        self.stood = (hold != Hold::Nothing).then(|| self.stood.unwrap_or(now));
        self.holds = hold;
        self.pace_at = ProcessingTime(i64::MIN);
        self.alarm = None;
    }

    /// The clock of this shard: a script's, one that stands still, or the process's.
    pub(super) fn time(&self, now: ProcessingTime) -> ProcessingTime {
        self.clock.or(self.stood).unwrap_or(now)
    }

    /// Whether a source may be read now. Who polls asks again before each poll: one that was asked for may have to wait.
    #[must_use]
    pub fn reads(&self, source: SourceId) -> bool {
        match self.holds {
            Hold::Nothing => true,
            Hold::Sources => self.plan.is_exchange(source),
            Hold::Everything => false,
        }
    }

    /// Whether a stage may begin bundles now.
    pub(super) fn begins(&self, spec: &WorkerStage) -> bool {
        match self.holds {
            Hold::Nothing => true,
            Hold::Sources => !spec.splittable,
            Hold::Everything => false,
        }
    }

    /// Whether nothing runs, and nothing will.
    pub(super) fn is_resting(&self) -> bool {
        self.holds == Hold::Everything && self.bundles.values().all(|b| b.is_applied())
    }
}
