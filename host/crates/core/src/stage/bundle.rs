//! One bundle: what it took, how far it is, what it gave.

use super::inbox::{Lane, Pending};
use super::sort::SortedRows;
use crate::batch::Batch;
use crate::id::{BundleId, StageId};
use crate::metric::Metrics;
use crate::port::worker::{BundleResult, SplitReply};
use crate::state::Lease;
use crate::time::{EventTime, ProcessingTime};
use crate::timer::Taken;

/// Where a bundle is in its life. `Applied` bundles that want no finalization are forgotten at once, abandoned ones too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BundleState {
    /// With the worker.
    Open,
    /// With the worker, and asked to split.
    Splitting,
    /// Complete; waits for earlier bundles of its lane.
    Done,
    /// Applied to an epoch that is not yet committed; wants to be told.
    Applied(crate::id::Epoch),
}

/// How a long bundle goes on.
#[derive(Clone, Default, Debug)]
pub struct Pace {
    /// Elements it has taken, as far as is known.
    pub consumed: u64,
    /// Its metrics so far.
    pub metrics: Metrics,
    /// Not to be asked to split before this.
    pub split_at: ProcessingTime,
    /// How often in a row it could give nothing back.
    pub fruitless: u32,
}

/// A bundle and everything needed to apply it or to undo it.
#[derive(Debug)]
pub struct Bundle {
    /// Its id.
    pub id: BundleId,
    /// Its stage.
    pub stage: StageId,
    /// Where it is.
    pub state: BundleState,
    /// The lane that orders it; `None` for keyed bundles, which their keys order, and where there is no order to keep.
    pub lane: Option<Lane>,
    /// The input it took. A split rewrites it to the primary.
    pub inputs: Vec<Pending>,
    /// The groups it has, in the order of their index.
    pub leases: Vec<Lease>,
    /// The timers it fires.
    pub timers: Vec<Taken>,
    /// The elements of sorted input it has, beside `inputs`.
    pub sorted: Vec<SortedRows>,
    /// What it has put out so far.
    pub outputs: Vec<(u32, Batch)>,
    /// Bytes in `outputs`.
    pub output_weight: usize,
    /// Its result, once done.
    pub result: Option<Box<BundleResult>>,
    /// When it was started.
    pub started: ProcessingTime,
    /// What it holds the stage's output watermark at.
    pub hold: EventTime,
    /// It truncates its input instead of processing it.
    pub truncates: bool,
    /// The last of its inputs is what it keeps of one element: to the worker its rows are still that element.
    pub cut: bool,
    /// How it goes on.
    pub pace: Pace,
}

impl Bundle {
    /// Finds out anew what it holds the stage's output watermark at. Cost: O(inputs + timers).
    pub fn hold_again(&mut self) {
        let inputs = self.inputs.iter().map(Pending::hold);
        let timers = self.timers.iter().map(Taken::hold);
        let sorted = self.sorted.iter().map(SortedRows::first);
        self.hold = inputs.chain(timers).chain(sorted).min().unwrap_or(EventTime::MAX);
    }

    /// Number of elements that are not of sorted input.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.inputs.iter().map(|p| p.batch.len()).sum()
    }

    /// Number of elements and timers.
    #[must_use]
    pub fn rows(&self) -> usize {
        let sorted: usize = self.sorted.iter().map(|s| s.rows.len()).sum();
        self.elements() + sorted + self.timers.len()
    }

    /// Whether it has elements, and not timers alone.
    #[must_use]
    pub fn has_elements(&self) -> bool {
        !self.inputs.is_empty() || !self.sorted.is_empty()
    }

    /// Whether the worker has it.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.state, BundleState::Open | BundleState::Splitting)
    }

    /// Whether its input has been truncated by a drain.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.inputs.iter().all(|p| p.truncated)
    }

    /// Whether it has taken effect.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        matches!(self.state, BundleState::Applied(_))
    }

    /// How often what it has in hand has failed already.
    #[must_use]
    pub fn failures(&self) -> u32 {
        let inputs = self.inputs.iter().map(|p| p.attempts);
        let sorted = self.sorted.iter().map(|s| s.attempts);
        inputs.chain(self.timers.iter().map(|t| t.attempts)).chain(sorted).max().unwrap_or(0)
    }

    /// How often what it has in hand has lost its worker already.
    #[must_use]
    pub fn losses(&self) -> u32 {
        let inputs = self.inputs.iter().map(|p| p.losses);
        let sorted = self.sorted.iter().map(|s| s.losses);
        inputs.chain(self.timers.iter().map(|t| t.losses)).chain(sorted).max().unwrap_or(0)
    }

    /// A split was made: the bundle keeps its primary. Returns whole elements it no longer covers. Every part is a pending batch
    /// of its own that no stored copy and no read covers: the caller has seen to that.
    pub fn keep(&mut self, reply: &SplitReply) -> Vec<Pending> {
        let mut rest = Vec::new();
        let mut keep = reply.keep.unwrap_or(usize::MAX);
        let mut primary = reply.primary.clone();
        let last = self.inputs.len().saturating_sub(1);
        let was_cut = std::mem::take(&mut self.cut);
        for (i, pending) in std::mem::take(&mut self.inputs).into_iter().enumerate() {
            let one = was_cut && i == last;
            let elements = if one { 1 } else { pending.batch.len() };
            let n = keep.min(elements);
            keep -= n;
            if n == elements {
                self.cut |= one;
                self.inputs.push(pending);
                continue;
            }
            let (head, tail) = pending.batch.split_at(n);
            // the element that was split in two is neither kept whole nor given back whole
            let primary = primary.take();
            self.cut |= primary.as_ref().is_some_and(|batch| !batch.is_empty());
            let tail = match &primary {
                Some(_) if one => tail.split_at(tail.len()).1,
                Some(_) => tail.split_at(1).1,
                None => tail,
            };
            let kept = [Some(head), primary].into_iter().flatten().filter(|b| !b.is_empty());
            let mut kept: Vec<Pending> = kept.map(|batch| pending.part(batch, false)).collect();
            if !tail.is_empty() {
                rest.push(pending.part(tail, true));
            } else if let Some(last) = kept.last_mut() {
                last.origin = pending.origin;
            }
            self.inputs.extend(kept);
        }
        self.hold_again();
        rest
    }
}
