//! Groupings whose trigger is a tree: a state machine per key and window, which is asked at every element, at the end of the window, at the
//! times it waits for, and when the window expires.
//!
//! In: key buffers that have changed, with the watermark and the clock. Out: panes, holds and alarms. What still waits for the clock when its
//! window expires goes out in the last pane: the end of time waits for no clock.

use super::buffer::KeyBuffer;
use super::pane::{Panes, pane_key};
use super::tree::{Moment, Tree};
use crate::batch::{Batch, BatchBuilder, Pane, Timing};
use crate::id::StateId;
use crate::progress::MinTimes;
use crate::time::{EventTime, ProcessingTime};
use crate::window::{Accumulation, AfterFinish, OutputTime, Speaks, Window, Windowing};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A window and its last instant, which orders.
pub(super) type At = (EventTime, Window);

/// The times at which a grouping is asked.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// What the input promises.
    pub watermark: EventTime,
    /// What the output has promised.
    pub output: EventTime,
    /// The time on the clock.
    pub now: ProcessingTime,
}

/// A key and window that waits for the clock.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Alarm {
    pub time: ProcessingTime,
    pub at: At,
    pub key: Bytes,
    pub hash: u64,
}

/// What all keys and windows of a grouping with a tree have together.
#[derive(Debug)]
pub(super) struct Treed {
    tree: Tree,
    windowing: Arc<Windowing>,
    id: StateId,
    pub holds: MinTimes,
    pub alarms: BTreeSet<Alarm>,
    pub out: BatchBuilder,
    /// Stored panes that have gone.
    pub gone: BTreeSet<Bytes>,
    /// Elements dropped so far behind a finished trigger.
    pub dropped: u64,
    /// Keys whose windows have been merged since: their triggers have still to be told.
    pub answered: BTreeSet<(At, Bytes, u64)>,
}

impl Treed {
    pub fn new(windowing: &Arc<Windowing>, id: StateId) -> Self {
        Self {
            tree: Tree::new(&windowing.trigger, windowing.window_fn.merges()),
            windowing: Arc::clone(windowing),
            id,
            holds: MinTimes::default(),
            alarms: BTreeSet::new(),
            out: BatchBuilder::new(),
            gone: BTreeSet::new(),
            dropped: 0,
            answered: BTreeSet::new(),
        }
    }

    /// Panes that have been fired.
    pub fn take(&mut self) -> Option<Batch> {
        (!self.out.is_empty()).then(|| self.out.finish())
    }

    /// Whether a key and window takes another element. Its panes begin with the first one.
    pub fn admits(&mut self, cell: &mut KeyBuffer, ended: bool) -> bool {
        let tree = &self.tree;
        let fresh = || Box::new(Panes { memory: tree.memory(), late: ended, ..Panes::default() });
        let panes = cell.panes_of_tree.get_or_insert_with(fresh);
        let admits = self.windowing.after_finish == AfterFinish::Keep || !tree.is_finished(&panes.memory);
        self.dropped += u64::from(!admits);
        admits
    }

    /// An element has been put into the buffer; the trigger is told later.
    pub fn arrived(&self, cell: &mut KeyBuffer, at: &At, time: EventTime, clocks: Clocks) {
        let Some(panes) = &mut cell.panes_of_tree else { return };
        if !self.tree.is_finished(&panes.memory) {
            panes.unseen += 1;
        }
        let ended = at.0.is_passed_by(clocks.watermark);
        // whatever was on time is told by now, also if it was nothing
        panes.late |= at.0.is_passed_by(clocks.output);
        panes.time = match self.windowing.output_time {
            OutputTime::EndOfWindow => panes.time.or((!ended).then_some(at.0)),
            // what the output has passed cannot be held any more
            _ if time < clocks.output => panes.time,
            OutputTime::Earliest => Some(panes.time.map_or(time, |t| t.min(time))),
            OutputTime::Latest => Some(panes.time.map_or(time, |t| t.max(time))),
        };
    }

    /// Tells the trigger of the elements it has not seen, and fires what that makes due.
    pub fn see(&mut self, cell: &mut KeyBuffer, at: &At, clocks: Clocks, settled: bool, deletes: &mut Vec<Bytes>) {
        let moment = moment(at, clocks, settled);
        if let Some(panes) = &mut cell.panes_of_tree {
            for _ in 0..std::mem::take(&mut panes.unseen) {
                self.tree.on_element(&mut panes.memory, moment);
            }
        }
        self.consider(cell, at, clocks, settled, deletes);
    }

    /// Fires the pane of a key and window if it is due.
    pub fn consider(&mut self, cell: &mut KeyBuffer, at: &At, clocks: Clocks, settled: bool, deletes: &mut Vec<Bytes>) {
        let moment = moment(at, clocks, settled);
        let pending = cell.is_pending();
        let Some(panes) = &mut cell.panes_of_tree else { return };
        if self.tree.should_fire(&panes.memory, moment) {
            self.tree.on_fire(&mut panes.memory, moment);
            let finished = self.tree.is_finished(&panes.memory);
            let drops = self.windowing.after_finish == AfterFinish::Drop;
            let pane = panes.next(moment.ended, finished && drops);
            cell.touch(pending);
            if pending || self.speaks_on_time(pane) {
                self.emit(cell, at, pane);
            }
            if self.windowing.accumulation == Accumulation::Discarding || finished && drops {
                cell.clear(self.id, &at.1, deletes);
            }
        }
        self.track(cell, at, clocks, settled);
    }

    /// The watermark has passed the end of a window.
    pub fn end(&mut self, cell: &mut KeyBuffer, at: &At, clocks: Clocks, deletes: &mut Vec<Bytes>) {
        let Some(panes) = &cell.panes_of_tree else { return };
        if !cell.is_pending() && (panes.timely > 0 || panes.late) {
            return self.track(cell, at, clocks, true); // a restored window that had ended before
        }
        self.consider(cell, at, clocks, true, deletes);
    }

    /// A window has expired: its last pane, if there is one, is fired.
    pub fn close(&mut self, cell: &mut KeyBuffer, at: &At, clocks: Clocks) {
        let moment = moment(at, clocks, true);
        let Some(panes) = &cell.panes_of_tree else { return };
        let finished = self.tree.is_finished(&panes.memory);
        let due = self.tree.should_fire(&panes.memory, moment);
        let pane = panes.next(moment.ended, true);
        let says = due && self.speaks_on_time(pane) || !finished && self.windowing.closing == Speaks::Always;
        if cell.is_pending() || says {
            self.emit(cell, at, pane);
        }
        self.forget(cell, at);
    }

    /// Whether an empty pane is fired because the window has ended.
    fn speaks_on_time(&self, pane: Pane) -> bool {
        pane.timing == Timing::OnTime && self.windowing.on_time == Speaks::Always && self.tree.ends_windows()
    }

    fn emit(&mut self, cell: &mut KeyBuffer, at: &At, pane: Pane) {
        let Some(panes) = &mut cell.panes_of_tree else { return };
        let time = panes.time.take().unwrap_or(at.0);
        panes.emitted(pane);
        cell.emit(time, &at.1, pane, &mut self.out);
        cell.touch(false);
    }

    /// Puts the hold and the alarm of a key and window as they have to be now. `settled` says that what was due has been fired.
    pub fn track(&mut self, cell: &mut KeyBuffer, at: &At, clocks: Clocks, settled: bool) {
        let pending = cell.is_pending();
        let (key, hash) = (cell.key.clone(), cell.hash);
        let Some(panes) = &mut cell.panes_of_tree else { return };
        let finished = self.tree.is_finished(&panes.memory);
        let after = if settled { clocks.now } else { ProcessingTime(i64::MIN) };
        let alarm = if finished { None } else { self.tree.alarm(&panes.memory, after) };
        let hold = self.hold(panes, at, pending, finished, at.0.is_passed_by(clocks.watermark));
        if alarm != panes.alarm {
            let entry = |time| Alarm { time, at: at.clone(), key: key.clone(), hash };
            if let Some(time) = std::mem::replace(&mut panes.alarm, alarm) {
                self.alarms.remove(&entry(time));
            }
            self.alarms.extend(alarm.map(entry));
        }
        if hold != panes.held {
            if let Some(time) = std::mem::replace(&mut panes.held, hold) {
                self.holds.remove(time);
            }
            hold.into_iter().for_each(|time| self.holds.add(time));
        }
    }

    /// Where a key and window holds the output watermark: at what its next pane's time will be, if that can still be held, else at its
    /// expiry, which a late pane must not miss.
    fn hold(&self, panes: &Panes, at: &At, pending: bool, finished: bool, ended: bool) -> Option<EventTime> {
        let expiry = || self.windowing.expiry(&at.1);
        let closing = self.windowing.closing == Speaks::Always;
        let on_time = self.windowing.on_time == Speaks::Always && self.tree.ends_windows();
        match (pending, finished) {
            (true, _) => Some(panes.time.unwrap_or_else(|| if ended { expiry() } else { at.0 })),
            (false, true) => None,
            (false, false) if !ended && (on_time || closing) => Some(at.0),
            (false, false) => closing.then(expiry),
        }
    }

    /// A key and window is no more: its hold, alarm and stored panes go.
    pub fn forget(&mut self, cell: &mut KeyBuffer, at: &At) {
        let Some(panes) = cell.panes_of_tree.take() else { return };
        if let Some(time) = panes.held {
            self.holds.remove(time);
        }
        if let Some(time) = panes.alarm {
            self.alarms.remove(&Alarm { time, at: at.clone(), key: cell.key.clone(), hash: cell.hash });
        }
        if panes.stored {
            self.gone.insert(pane_key(self.id, &at.1, &cell.key, cell.hash));
        }
    }

    /// The panes of a window that takes the place of several. What was emitted of the same window counts on; a new one begins anew.
    pub fn merged(&self, parts: &[(Window, KeyBuffer)], at: &At, clocks: Clocks) -> Panes {
        let moment = moment(at, clocks, false);
        let known = |part: &&(Window, KeyBuffer)| {
            let panes = part.1.panes_of_tree.as_ref();
            panes.is_some_and(|p| p.emitted > 0 || part.1.count() > p.unseen || self.tree.is_finished(&p.memory))
        };
        let of = |part: &(Window, KeyBuffer)| part.1.panes_of_tree.as_deref().cloned().unwrap_or_default();
        let seen: Vec<Panes> = parts.iter().filter(known).map(of).collect();
        let memories: Vec<_> = seen.iter().map(|p| &p.memory).collect();
        let memory = if memories.is_empty() { self.tree.memory() } else { self.tree.merge(&memories, moment) };
        let same = parts.iter().find(|(window, _)| *window == at.1).map(of);
        let same = same.unwrap_or_else(|| Panes { late: at.0.is_passed_by(clocks.output), ..Panes::default() });
        let times = parts.iter().filter_map(|(_, cell)| cell.panes_of_tree.as_ref()?.time);
        let time = match self.windowing.output_time {
            OutputTime::EndOfWindow => (!moment.ended).then_some(at.0).or(times.max().map(|_| at.0)),
            OutputTime::Earliest => times.min(),
            OutputTime::Latest => times.max(),
        };
        let unseen = parts.iter().filter_map(|(_, cell)| Some(cell.panes_of_tree.as_ref()?.unseen)).sum();
        let pending = parts.iter().any(|(_, cell)| cell.is_pending());
        Panes {
            memory,
            emitted: same.emitted,
            timely: same.timely,
            late: same.late,
            unseen,
            time: time.filter(|_| pending),
            ..Panes::default()
        }
    }

    /// After a merge: what a finished trigger has to be told of is dropped.
    pub fn drop_unseen(&mut self, cell: &mut KeyBuffer, at: &At, deletes: &mut Vec<Bytes>) {
        let Some(panes) = &mut cell.panes_of_tree else { return };
        if !self.tree.is_finished(&panes.memory) {
            return;
        }
        let unseen = std::mem::take(&mut panes.unseen);
        if self.windowing.after_finish == AfterFinish::Drop {
            self.dropped += u64::from(unseen);
            panes.time = None;
            cell.clear(self.id, &at.1, deletes);
            cell.touch(false);
        }
    }

    /// Takes stored panes back in.
    pub fn restore(&mut self, cell: &mut KeyBuffer, at: &At, value: &[u8]) -> Option<()> {
        let (panes, pending) = Panes::decode(value, self.tree.memory().len())?;
        cell.panes_of_tree = Some(Box::new(panes));
        cell.clean(pending);
        let clocks = Clocks { watermark: EventTime::MIN, output: EventTime::MIN, now: ProcessingTime(i64::MIN) };
        self.track(cell, at, clocks, false);
        Some(())
    }
}

fn moment(at: &At, clocks: Clocks, settled: bool) -> Moment {
    Moment { ended: at.0.is_passed_by(clocks.watermark), now: clocks.now, settled }
}
