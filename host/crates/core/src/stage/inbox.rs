//! Input that waits: batches with where they came from, so that consuming them can be undone, acknowledged and stored.

use crate::batch::Batch;
use crate::id::{EdgeId, Epoch, ShardId, SourceId, SplitId};
use crate::progress::MinTimes;
use crate::time::{EventTime, ProcessingTime};
use std::collections::VecDeque;

/// Where a batch came from: what must happen when it is consumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Made on this shard; nothing to tell anyone.
    Local,
    /// A read of a source on this shard: consuming it moves the split's position.
    Read {
        /// Which source.
        source: SourceId,
        /// Which split.
        split: SplitId,
        /// Number of the read.
        read: u64,
    },
    /// A message of another shard: consuming it gives credit back.
    Remote {
        /// The sender.
        from: ShardId,
        /// What it counted.
        weight: usize,
    },
}

/// Bundles of one lane are applied in the order of their input.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lane {
    /// Made here or sent by this shard.
    Shard(EdgeId, ShardId),
    /// Read from a split.
    Split(SourceId, SplitId),
    /// Given back by a bundle; has no order.
    Residual(u64),
}

/// A batch that waits for a stage.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The elements.
    pub batch: Batch,
    /// Which edge brought it; `None` for residuals.
    pub edge: Option<EdgeId>,
    /// The stage's input, or a residual's entry point.
    pub input: u32,
    /// Its lane.
    pub lane: Lane,
    /// What consuming it means.
    pub origin: Origin,
    /// The number of its stored copy, once a cut has met it.
    pub stored: Option<u64>,
    /// How often a bundle with it has failed.
    pub attempts: u32,
    /// How often a bundle with it has lost its worker.
    pub losses: u32,
    /// Not to be run before this.
    pub not_before: ProcessingTime,
    /// Holds the output watermark here instead of at its own time.
    pub hold: Option<EventTime>,
    /// For a stage of stable input: the epoch whose commit makes it one; `None` until a cut has formed it.
    pub stable: Option<Epoch>,
    /// A restriction that a drain has truncated already, or what is left of one.
    pub truncated: bool,
}

impl Pending {
    /// A batch that has just come.
    #[must_use]
    pub fn new(batch: Batch, edge: Option<EdgeId>, input: u32, lane: Lane, origin: Origin) -> Self {
        Self {
            batch,
            edge,
            input,
            lane,
            origin,
            stored: None,
            attempts: 0,
            losses: 0,
            not_before: ProcessingTime(i64::MIN),
            hold: None,
            stable: None,
            truncated: false,
        }
    }

    /// A part of it with some of its rows. The credit of the whole goes with the part for which `last` is set.
    #[must_use]
    pub fn part(&self, batch: Batch, last: bool) -> Self {
        let origin = match self.origin {
            Origin::Remote { from, .. } if !last => Origin::Remote { from, weight: 0 },
            origin => origin,
        };
        Self { batch, origin, stored: None, ..self.clone() }
    }

    fn is_delayed(&self) -> bool {
        self.not_before.0 > i64::MIN
    }

    /// What it holds the stage's watermark at.
    #[must_use]
    pub fn hold(&self) -> EventTime {
        self.hold.unwrap_or(self.batch.min_time())
    }
}

/// The queue of a stage.
#[derive(Default, Debug)]
pub struct Inbox {
    queue: VecDeque<Pending>,
    times: MinTimes,
    weight: usize,
    rows: u64,
    /// Entries that were not to be run at once.
    delayed: usize,
}

impl Inbox {
    /// Appends.
    pub fn push(&mut self, pending: Pending) {
        self.account(&pending);
        self.queue.push_back(pending);
    }

    /// Puts back what a dropped bundle had, in its old order and in front.
    pub fn push_front(&mut self, pendings: Vec<Pending>) {
        for pending in pendings.into_iter().rev() {
            self.account(&pending);
            self.queue.push_front(pending);
        }
    }

    fn account(&mut self, pending: &Pending) {
        self.times.add(pending.hold());
        self.weight += pending.batch.weight();
        self.rows += pending.batch.len() as u64;
        self.delayed += usize::from(pending.is_delayed());
    }

    fn unaccount(&mut self, pending: &Pending) {
        self.times.remove(pending.hold());
        self.weight -= pending.batch.weight();
        self.rows -= pending.batch.len() as u64;
        self.delayed -= usize::from(pending.is_delayed());
    }

    /// Takes out the entry at `i`.
    pub fn remove(&mut self, i: usize) -> Option<Pending> {
        let pending = self.queue.remove(i)?;
        self.unaccount(&pending);
        Some(pending)
    }

    /// Puts an entry at `i`, before what stands there.
    pub fn insert(&mut self, i: usize, pending: Pending) {
        self.account(&pending);
        self.queue.insert(i.min(self.queue.len()), pending);
    }

    /// Takes the entries of which `which` is true, in their order. Cost: O(entries).
    pub fn take_where(&mut self, which: impl Fn(&Pending) -> bool) -> Vec<Pending> {
        let (taken, left) = std::mem::take(&mut self.queue).into_iter().partition(which);
        self.queue = left;
        let taken: VecDeque<Pending> = taken;
        taken.iter().for_each(|pending| self.unaccount(pending));
        taken.into()
    }

    /// Takes everything.
    pub fn drain(&mut self) -> Vec<Pending> {
        self.times = MinTimes::default();
        self.weight = 0;
        self.rows = 0;
        self.delayed = 0;
        self.queue.drain(..).collect()
    }

    /// Entries that were not to be run at once: residuals with a delay, and what has failed. Cost: nothing when there are none.
    pub fn delays(&self) -> impl Iterator<Item = &Pending> {
        let some = if self.delayed > 0 { self.queue.len() } else { 0 };
        self.queue.iter().take(some).filter(|p| p.is_delayed())
    }

    /// The entry at `i`.
    #[must_use]
    pub fn get(&self, i: usize) -> Option<&Pending> {
        self.queue.get(i)
    }

    /// The entry that came last.
    pub fn last_mut(&mut self) -> Option<&mut Pending> {
        self.queue.back_mut()
    }

    /// All entries, also for noting that they were stored.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Pending> {
        self.queue.iter_mut()
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.queue.iter()
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Number of elements.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Memory that waits, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// The earliest hold; the end of time when empty.
    #[must_use]
    pub fn min_time(&self) -> EventTime {
        self.times.min()
    }
}
