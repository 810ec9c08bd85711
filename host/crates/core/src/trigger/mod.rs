//! Room: trigger. Groups by key and window, and fires panes.
//!
//! In: keyed rows of a shard's key groups, and the stage's input watermark. Out: `KV<key, iterable>` batches, holds for the
//! output watermark, writes at the seal. Buffers stand window-major. Under the default trigger there is one look per window end: no
//! cell and no timer per key and window. Other triggers are state machines, one per key and window (see `treed`). Windows of merging
//! functions merge as elements arrive; those of the SDK wait for its answer.

mod buffer;
mod due;
mod merge;
mod pane;
mod tree;
mod treed;

pub use buffer::{KeyBuffer, WindowBuffer};
pub use merge::MergeRequest;
pub use pane::Panes;
pub use tree::{Memory, Moment, NodeMemory, Tree};
pub use treed::Clocks;

use crate::batch::{Batch, BatchBuilder, Pane, Row, Timing};
use crate::coder::Coder;
use crate::graph::GroupStage;
use crate::id::{Epoch, StateId};
use crate::port::scratch::Scratch;
use crate::port::store::CellWrite;
use crate::time::EventTime;
use crate::window::{Accumulation, OutputTime, Speaks, Trigger, Window, WindowFn, Windowing};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A batch of fired panes is closed at this size, in bytes.
const FIRED_BATCH_BYTES: usize = 1 << 20;

/// The grouping of one stage on one shard.
#[derive(Debug)]
pub struct GroupRoom {
    value: Arc<Coder>,
    windowing: Arc<Windowing>,
    id: StateId,
    /// By the window's last instant, then window.
    windows: BTreeMap<(EventTime, Window), WindowBuffer>,
    /// Windows not yet fired on time: what holds the output watermark.
    open: BTreeSet<(EventTime, Window)>,
    merging: merge::Merging,
    /// Windows with panes that wait to be fired late.
    late: BTreeSet<(EventTime, Window)>,
    deletes: Vec<Bytes>,
    /// Elements dropped since they were last counted: of expired windows.
    dropped: u64,
    /// What the watermark had reached when last nothing waited: what waits now is not late by what came after it.
    reached: EventTime,
    /// There, where the trigger is more than the default one.
    treed: Option<Box<treed::Treed>>,
    /// Where large values are put away; nothing is stored then.
    scratch: Option<Arc<dyn Scratch>>,
    /// Whether whoever takes the output reads large values piece by piece.
    pieces: bool,
}

/// Whether the default trigger's short way is enough: one look per window end, no memory of a key.
fn is_default(windowing: &Windowing) -> bool {
    let silent = windowing.closing == Speaks::IfNonempty || windowing.allowed_lateness == 0;
    windowing.trigger == Trigger::Default && windowing.output_time == OutputTime::EndOfWindow && silent
}

impl GroupRoom {
    /// An empty room. `id` names what is stored of it.
    #[must_use]
    pub fn new(stage: &GroupStage, id: StateId) -> Self {
        Self {
            value: Arc::clone(&stage.value),
            windowing: Arc::clone(&stage.windowing),
            id,
            windows: BTreeMap::new(),
            open: BTreeSet::new(),
            merging: merge::Merging::default(),
            late: BTreeSet::new(),
            deletes: Vec::new(),
            dropped: 0,
            reached: EventTime::MIN,
            treed: (!is_default(&stage.windowing)).then(|| Box::new(treed::Treed::new(&stage.windowing, id))),
            scratch: None,
            pieces: stage.pieces,
        }
    }

    /// Puts large values away, where what comes out is read piece by piece. Only for jobs that store nothing.
    pub fn spill(&mut self, scratch: Option<Arc<dyn Scratch>>) {
        self.scratch = scratch.filter(|_| self.pieces);
    }

    /// Takes the rows of a batch. Rows of windows that have expired are dropped and counted. Under a trigger tree panes are fired
    /// element by element: [`GroupRoom::fired`] has them.
    pub fn add(&mut self, batch: &Batch, clocks: Clocks) {
        for row in batch.rows() {
            for window in batch.windows(row) {
                if self.windowing.is_expired(window, clocks.watermark) {
                    self.dropped += 1;
                } else if self.treed.is_some() {
                    self.add_to_tree(batch, row, window, clocks);
                } else {
                    self.add_row(batch, row, window, clocks.watermark);
                }
            }
        }
        if self.merging.has_work() {
            self.merge_now(clocks);
        }
    }

    /// Whether adding elements may fire panes.
    #[must_use]
    pub fn speaks_at_once(&self) -> bool {
        self.treed.is_some()
    }

    /// Panes that were fired by elements.
    pub fn fired(&mut self) -> Option<Batch> {
        self.treed.as_mut()?.take()
    }

    /// What the watermark has reached for this grouping.
    #[must_use]
    pub fn reached(&self) -> EventTime {
        self.reached
    }

    /// Nothing waits to be added: the watermark counts.
    pub fn reach(&mut self, watermark: EventTime) {
        self.reached = self.reached.max(watermark);
    }

    fn add_row(&mut self, batch: &Batch, row: &Row, window: &Window, watermark: EventTime) {
        let at = (window.max_timestamp(), window.clone());
        let fired = at.0.is_passed_by(watermark);
        let buffer = match self.windows.get_mut(&at) {
            Some(buffer) => buffer,
            None => {
                if !fired {
                    self.open.insert(at.clone());
                }
                self.windows.entry(at.clone()).or_default()
            }
        };
        let key = batch.key(row);
        let cell = buffer.key(key, row.hash);
        cell.push(&self.value, batch.value(row));
        cell.put_away(self.scratch.as_ref());
        if self.windowing.window_fn.merges() {
            self.merging.arrived(key, row.hash, window);
        }
        if fired {
            self.late.insert(at);
        }
    }

    /// Elements dropped since this was last asked: of expired windows, and behind finished triggers.
    pub fn take_dropped(&mut self) -> (u64, u64) {
        let closed = self.treed.as_mut().map_or(0, |treed| std::mem::take(&mut treed.dropped));
        (std::mem::take(&mut self.dropped), closed)
    }

    /// What the output watermark may not pass: the earliest window that has still to speak.
    #[must_use]
    pub fn hold(&self) -> EventTime {
        if let Some(treed) = &self.treed {
            return treed.holds.min();
        }
        let open = self.open.first().map_or(EventTime::MAX, |(end, _)| *end);
        let late = self.late.first().map_or(EventTime::MAX, |(end, _)| *end);
        open.min(late)
    }

    /// Whether windows wait to be merged.
    #[must_use]
    pub fn is_merging(&self) -> bool {
        self.merging.is_waiting()
    }

    /// Whether nothing is buffered that could still fire.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.open.is_empty() && self.late.is_empty() && (self.treed.is_none() || self.windows.is_empty())
    }

    /// Whether [`GroupRoom::fire`] has something to do.
    #[must_use]
    pub fn has_due(&self, clocks: Clocks) -> bool {
        if self.treed.is_some() { self.tree_has_due(clocks) } else { self.due(clocks.watermark).is_some() }
    }

    fn due(&self, watermark: EventTime) -> Option<(EventTime, Window)> {
        let passed = |set: &BTreeSet<(EventTime, Window)>| {
            set.iter().take_while(|(end, _)| end.is_passed_by(watermark)).find(|at| !self.blocked(at)).cloned()
        };
        match (passed(&self.open), passed(&self.late)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// A window may not fire while a key in it waits for the SDK to merge.
    fn blocked(&self, at: &(EventTime, Window)) -> bool {
        self.merging.is_waiting()
            && self.windows.get(at).is_some_and(|w| w.keys().any(|key| self.merging.waits_for(key)))
    }

    /// Fires what is due, a batch at a time; empty when nothing is left. Cost: O(bytes of the batch).
    pub fn fire(&mut self, clocks: Clocks) -> Option<Batch> {
        if self.treed.is_some() {
            return self.fire_trees(clocks);
        }
        let mut out = BatchBuilder::new();
        while out.bytes() < FIRED_BATCH_BYTES {
            let Some(at) = self.due(clocks.watermark) else { break };
            self.fire_window(&at, clocks.watermark, &mut out);
        }
        (!out.is_empty()).then(|| out.finish())
    }

    fn fire_window(&mut self, at: &(EventTime, Window), watermark: EventTime, out: &mut BatchBuilder) {
        let on_time = self.open.contains(at);
        let keep = self.windowing.allowed_lateness > 0 && !self.windowing.is_expired(&at.1, watermark);
        let Some(buffer) = self.windows.get_mut(at) else {
            self.open.remove(at);
            self.late.remove(at);
            return;
        };
        while let Some(key) = buffer.next_pending() {
            let discard = self.windowing.accumulation == Accumulation::Discarding || !keep;
            fire_key(key, at, on_time, keep, out);
            if discard {
                key.clear(self.id, &at.1, &mut self.deletes);
            }
            if out.bytes() >= FIRED_BATCH_BYTES {
                return;
            }
        }
        self.open.remove(at);
        self.late.remove(at);
        if !keep {
            self.forget(at);
        }
    }

    fn forget(&mut self, at: &(EventTime, Window)) {
        let Some(mut buffer) = self.windows.remove(at) else { return };
        buffer.clear_all(self.id, &at.1, &mut self.deletes);
        if self.windowing.window_fn.merges() {
            buffer.keys().for_each(|key| self.merging.gone(key, &at.1));
        }
    }

    /// Forgets windows that were kept for late elements and have expired.
    pub fn expire(&mut self, watermark: EventTime) {
        if self.windowing.allowed_lateness == 0 || self.treed.is_some() {
            return;
        }
        let expired: Vec<_> = self
            .windows
            .keys()
            .take_while(|(end, _)| end.is_passed_by(watermark))
            .filter(|at| {
                self.windowing.is_expired(&at.1, watermark) && !self.open.contains(at) && !self.late.contains(at)
            })
            .cloned()
            .collect();
        expired.iter().for_each(|at| self.forget(at));
    }

    /// Collects the writes of the epoch: one chunk per key and window that has new values, and its panes under a trigger tree.
    pub fn seal(&mut self, epoch: Epoch, out: &mut Vec<CellWrite>) {
        if self.scratch.is_some() {
            self.deletes.clear();
            self.windows.values_mut().for_each(WindowBuffer::settle);
            self.treed.iter_mut().for_each(|treed| treed.gone.clear());
            return;
        }
        out.extend(self.deletes.drain(..).map(|key| (key, None)));
        let first = out.len();
        for ((_, window), buffer) in &mut self.windows {
            buffer.seal(self.id, window, epoch, out);
        }
        if let Some(treed) = &mut self.treed {
            let mut gone = std::mem::take(&mut treed.gone);
            if !gone.is_empty() {
                out.iter().skip(first).for_each(|(key, _)| {
                    gone.remove(key);
                });
            }
            out.extend(gone.into_iter().map(|key| (key, None)));
        }
    }

    /// Takes a stored chunk back in; used when a partition is restored.
    ///
    /// Source of the layout: `window, key, chunk` in the key; see `buffer`.
    pub fn restore(&mut self, window: Window, key: &[u8], chunk: u64, value: Bytes) -> Option<()> {
        let at = (window.max_timestamp(), window);
        let hash = crate::id::key_hash(key);
        let cell = self.windows.entry(at.clone()).or_default().key(key, hash);
        cell.restore(chunk, value)?;
        let (panes, pending) = (cell.panes(), cell.is_pending());
        if let Some(treed) = &mut self.treed {
            // its panes come after its chunks
            treed.admits(cell, false);
            self.open.insert(at.clone());
        } else if panes == 0 {
            self.open.insert(at.clone());
        } else if pending {
            self.late.insert(at.clone());
        }
        self.restore_merging(key, hash, &at.1);
        Some(())
    }

    /// Takes the stored panes of a trigger tree back in. Source of the layout: `window, key` in the key; see `pane`.
    pub fn restore_panes(&mut self, window: Window, key: &[u8], value: &[u8]) -> Option<()> {
        let Some(treed) = &mut self.treed else { return Some(()) };
        let at = (window.max_timestamp(), window);
        let hash = crate::id::key_hash(key);
        treed.restore(self.windows.entry(at.clone()).or_default().key(key, hash), &at, value)?;
        self.restore_merging(key, hash, &at.1);
        self.open.insert(at);
        Some(())
    }

    fn restore_merging(&mut self, key: &[u8], hash: u64, window: &Window) {
        match &self.windowing.window_fn {
            // the runner merges as elements arrive, so what was stored is merged
            WindowFn::Sessions { .. } => self.merging.arrived_silently(key, hash, window),
            // the SDK may not have answered before the cut
            WindowFn::Custom { merging: true } => self.merging.arrived(key, hash, window),
            _ => {}
        }
    }
}

/// Writes one pane. A window is on time while it fires, but a key of it has one pane that is.
fn fire_key(key: &mut KeyBuffer, at: &(EventTime, Window), on_time: bool, keep: bool, out: &mut BatchBuilder) {
    let index = key.panes();
    let pane = Pane {
        timing: if on_time && index == 0 { Timing::OnTime } else { Timing::Late },
        first: index == 0,
        last: !keep,
        index,
        non_speculative: index as i64,
    };
    key.emit(at.0, &at.1, pane, out);
    key.fired();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::TransformId;
    use crate::time::ProcessingTime;

    /// A grouping of bytes, windowed so.
    pub(super) fn room(windowing: Windowing) -> GroupRoom {
        let stage = GroupStage {
            transform: TransformId(0),
            key: Arc::new(Coder::Bytes),
            value: Arc::new(Coder::Bytes),
            windowing: Arc::new(windowing),
            environment: None,
            whole: false,
            pieces: false,
        };
        GroupRoom::new(&stage, StateId(1))
    }

    #[test]
    fn a_key_has_one_pane_that_is_on_time_though_its_window_takes_long_to_fire() {
        let windowing = Windowing { allowed_lateness: 100, ..Windowing::of(WindowFn::Fixed { size: 10, offset: 0 }) };
        let mut room = room(windowing);
        let clocks = Clocks { watermark: EventTime(20), output: EventTime::MIN, now: ProcessingTime(0) };
        let window = [Window::Interval { start: EventTime(0), end: EventTime(10) }];
        let large = vec![0; FIRED_BATCH_BYTES];
        for (key, value) in [(b"a", large.as_slice()), (b"b", b"v")] {
            let mut batch = BatchBuilder::new();
            batch.push(key, value, EventTime(1), &window);
            room.add(&batch.finish(), Clocks { watermark: EventTime(0), ..clocks });
        }
        let mut fire = |late: Option<&[u8]>| {
            if let Some(key) = late {
                let mut batch = BatchBuilder::new();
                batch.push(key, b"late", EventTime(2), &window);
                room.add(&batch.finish(), clocks);
            }
            let batch = room.fire(clocks).expect("something fires");
            batch.rows().iter().map(|row| (batch.key(row).to_vec(), batch.pane(row).timing)).collect::<Vec<_>>()
        };
        assert_eq!(fire(None), [(b"a".to_vec(), Timing::OnTime)], "the window has not fired whole");
        assert_eq!(fire(Some(b"a")), [(b"a".to_vec(), Timing::Late), (b"b".to_vec(), Timing::OnTime)]);
    }
}
