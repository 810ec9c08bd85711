//! What trigger trees make of elements, the clock and the watermark: which keys and windows are asked when.
//!
//! In order: keys whose windows were merged, keys whose time on the clock has come, windows that have ended, windows that have expired.

use super::treed::{Alarm, At, Clocks, Treed};
use super::{FIRED_BATCH_BYTES, GroupRoom};
use crate::batch::{Batch, Row};
use crate::time::ProcessingTime;
use crate::window::Window;
use bytes::Bytes;

impl GroupRoom {
    pub(super) fn add_to_tree(&mut self, batch: &Batch, row: &Row, window: &Window, clocks: Clocks) {
        let Some(treed) = &mut self.treed else { return };
        let at = (window.max_timestamp(), window.clone());
        let ended = at.0.is_passed_by(clocks.watermark);
        if !ended && !self.windows.contains_key(&at) {
            self.open.insert(at.clone());
        }
        let key = batch.key(row);
        let cell = self.windows.entry(at.clone()).or_default().key(key, row.hash);
        if !treed.admits(cell, ended) {
            return;
        }
        cell.push(&self.value, batch.value(row));
        cell.put_away(self.scratch.as_ref());
        treed.arrived(cell, &at, row.time, clocks);
        if !self.windowing.window_fn.merges() {
            return treed.see(cell, &at, clocks, false, &mut self.deletes);
        }
        treed.track(cell, &at, clocks, false);
        self.merging.arrived(key, row.hash, window);
        if self.merging.has_work() {
            self.merge_now(clocks);
        }
        let key = Bytes::copy_from_slice(key);
        if !self.merging.waits_for(&key) {
            self.tell_tree(&key, row.hash, window);
            self.answer(clocks, false);
        }
    }

    /// Asks the triggers of keys whose windows were merged.
    fn answer(&mut self, clocks: Clocks, settled: bool) {
        let Some(treed) = &mut self.treed else { return };
        while let Some((at, key, hash)) = treed.answered.pop_first() {
            let Some(cell) = self.windows.get_mut(&at).and_then(|window| window.find(&key, hash)) else { continue };
            if settled || cell.panes_of_tree.as_ref().is_some_and(|panes| panes.unseen > 0) {
                treed.see(cell, &at, clocks, settled, &mut self.deletes);
            }
        }
    }

    pub(super) fn fire_trees(&mut self, clocks: Clocks) -> Option<Batch> {
        self.answer(clocks, true);
        let full = |treed: &Treed| treed.out.bytes() >= FIRED_BATCH_BYTES;
        while !self.treed.as_ref().is_none_or(|t| full(t))
            && (self.ring(clocks) || self.end(clocks) || self.close(clocks))
        {}
        self.fired()
    }

    /// Asks the trigger of the key and window whose time has come.
    fn ring(&mut self, clocks: Clocks) -> bool {
        let Some(treed) = &mut self.treed else { return false };
        if treed.alarms.first().is_none_or(|alarm| alarm.time > clocks.now) {
            return false;
        }
        let Some(Alarm { at, key, hash, .. }) = treed.alarms.pop_first() else { return false };
        if let Some(cell) = self.windows.get_mut(&at).and_then(|window| window.find(&key, hash)) {
            if let Some(panes) = &mut cell.panes_of_tree {
                panes.alarm = None;
            }
            // one that waits for a merge is asked when that is answered
            if !self.merging.waits_for(&key) {
                treed.consider(cell, &at, clocks, true, &mut self.deletes);
            }
        }
        true
    }

    fn ended(&self, clocks: Clocks) -> Option<At> {
        let mut ended = self.open.iter().take_while(|(end, _)| end.is_passed_by(clocks.watermark));
        ended.find(|at| !self.blocked(at)).cloned()
    }

    /// Asks the triggers of a window that has ended, as many as go into a batch.
    fn end(&mut self, clocks: Clocks) -> bool {
        let Some(at) = self.ended(clocks) else { return false };
        let expired = self.windowing.is_expired(&at.1, clocks.watermark);
        let (Some(treed), Some(buffer)) = (&mut self.treed, self.windows.get_mut(&at)) else {
            return self.open.remove(&at);
        };
        // the last pane of an expired one is its pane on time
        while !expired && treed.out.bytes() < FIRED_BATCH_BYTES {
            let Some(cell) = buffer.at(buffer.walk) else { break };
            treed.end(cell, &at, clocks, &mut self.deletes);
            buffer.walk += 1;
        }
        if expired || buffer.at(buffer.walk).is_none() {
            buffer.walk = 0;
            self.open.remove(&at);
        }
        true
    }

    fn expired(&self, clocks: Clocks) -> Option<At> {
        let mut expired = self.windows.keys().take_while(|at| self.windowing.is_expired(&at.1, clocks.watermark));
        expired.find(|at| !self.open.contains(at) && !self.blocked(at)).cloned()
    }

    /// Fires the last panes of a window that has expired, as many as go into a batch, and forgets it.
    fn close(&mut self, clocks: Clocks) -> bool {
        let Some(at) = self.expired(clocks) else { return false };
        let (Some(treed), Some(buffer)) = (&mut self.treed, self.windows.get_mut(&at)) else { return false };
        while treed.out.bytes() < FIRED_BATCH_BYTES {
            let Some(cell) = buffer.at(buffer.walk) else { break };
            treed.close(cell, &at, clocks);
            cell.clear(self.id, &at.1, &mut self.deletes);
            cell.clean(false);
            buffer.walk += 1;
        }
        if buffer.at(buffer.walk).is_none() {
            self.forget(&at);
        }
        true
    }

    pub(super) fn tree_has_due(&self, clocks: Clocks) -> bool {
        let Some(treed) = &self.treed else { return false };
        let rings = treed.alarms.iter().take_while(|a| a.time <= clocks.now).any(|a| !self.merging.waits_for(&a.key));
        rings || !treed.answered.is_empty() || self.ended(clocks).is_some() || self.expired(clocks).is_some()
    }

    /// When a trigger waits for the clock next.
    #[must_use]
    pub fn next_alarm(&self) -> Option<ProcessingTime> {
        self.treed.as_ref()?.alarms.first().map(|alarm| alarm.time)
    }
}
