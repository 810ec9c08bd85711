//! Merging windows: sessions are merged here, windows of an SDK's function by the SDK, a request for many keys at once.
//!
//! Only keys with more than one active window are looked at. A key that waits for an answer keeps taking elements and does
//! not fire; windows that arrived meanwhile make it ask again.

use super::treed::{At, Clocks};
use super::{GroupRoom, KeyBuffer};
use crate::time::EventTime;
use crate::window::{Merges, Window, WindowFn, merge_overlapping};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Windows to be merged by the SDK: one list per key, answered in the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeRequest {
    /// The keys, for the answer.
    pub keys: Vec<(Bytes, u64)>,
    /// Their active windows.
    pub windows: Vec<Vec<Window>>,
}

/// The windows of one key.
#[derive(Debug)]
struct Active {
    hash: u64,
    /// Merged with each other: of sessions no two overlap, so they end in the order in which they begin.
    settled: BTreeSet<Window>,
    /// Come since.
    fresh: BTreeSet<Window>,
}

impl Active {
    fn new(hash: u64) -> Self {
        Self { hash, settled: BTreeSet::new(), fresh: BTreeSet::new() }
    }

    fn all(&self) -> impl Iterator<Item = &Window> {
        self.settled.iter().chain(&self.fresh)
    }

    /// The settled sessions that a window overlaps.
    fn over(&self, window: &Window) -> impl Iterator<Item = &Window> {
        let (start, end) = match window {
            Window::Interval { start, end } => (*start, *end),
            _ => (EventTime::MAX, EventTime::MIN),
        };
        let before = Window::Interval { start: end, end: EventTime::MIN };
        let overlaps = move |other: &&Window| matches!(other, Window::Interval { end, .. } if *end > start);
        self.settled.range(..before).rev().take_while(overlaps)
    }

    /// The fresh windows, which are settled from now on, with the settled sessions that they overlap: all that a merge can be about. Cost:
    /// O(log n) for each of them.
    fn touched(&mut self) -> Vec<Window> {
        let mut touched = std::mem::take(&mut self.fresh);
        let mut near = BTreeSet::new();
        touched.iter().for_each(|window| near.extend(self.over(window).cloned()));
        self.settled.extend(touched.iter().cloned());
        touched.append(&mut near);
        touched.into_iter().collect()
    }
}

/// Active windows by key, and which keys wait.
#[derive(Default, Debug)]
pub struct Merging {
    active: BTreeMap<Bytes, Active>,
    changed: BTreeSet<Bytes>,
    waiting: BTreeSet<Bytes>,
}

impl Merging {
    /// Notes that a key has a window. Cost: O(log n).
    pub fn arrived(&mut self, key: &[u8], hash: u64, window: &Window) {
        match self.active.get_mut(key) {
            Some(active) if active.settled.contains(window) => {}
            Some(active) => {
                if active.fresh.insert(window.clone()) {
                    self.changed.insert(Bytes::copy_from_slice(key));
                }
            }
            None => self.arrived_silently(key, hash, window),
        }
    }

    /// Notes that a key has a window that overlaps no other of it.
    pub(super) fn arrived_silently(&mut self, key: &[u8], hash: u64, window: &Window) {
        let active = match self.active.get_mut(key) {
            Some(active) => active,
            None => self.active.entry(Bytes::copy_from_slice(key)).or_insert_with(|| Active::new(hash)),
        };
        active.settled.insert(window.clone());
    }

    /// Whether a key has new windows beside old ones.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Whether any key waits for the SDK.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.changed.is_empty()
    }

    /// Whether this key waits for the SDK, or will.
    #[must_use]
    pub fn waits_for(&self, key: &Bytes) -> bool {
        self.waiting.contains(key) || self.changed.contains(key)
    }

    /// A key has no such window any more.
    pub fn gone(&mut self, key: &[u8], window: &Window) {
        let Some(active) = self.active.get_mut(key) else { return };
        if !active.settled.remove(window) {
            active.fresh.remove(window);
        }
        if active.all().next().is_none() {
            self.active.remove(key);
        }
    }
}

impl GroupRoom {
    /// Merges what the runner itself can merge.
    pub(super) fn merge_now(&mut self, clocks: Clocks) {
        if !matches!(self.windowing.window_fn, WindowFn::Sessions { .. }) {
            return;
        }
        for key in std::mem::take(&mut self.merging.changed) {
            let Some(active) = self.merging.active.get_mut(&key) else { continue };
            let (hash, touched) = (active.hash, active.touched());
            let live: Vec<Window> = touched.into_iter().filter(|w| self.holds(&key, hash, w)).collect();
            self.apply_merges(&key, hash, merge_overlapping(&live), clocks);
        }
    }

    fn holds(&self, key: &[u8], hash: u64, window: &Window) -> bool {
        self.windows.get(&(window.max_timestamp(), window.clone())).is_some_and(|w| w.contains(key, hash))
    }

    /// What the SDK has to merge now, if anything.
    pub fn merge_request(&mut self) -> Option<MergeRequest> {
        if !matches!(self.windowing.window_fn, WindowFn::Custom { merging: true }) || self.merging.changed.is_empty() {
            return None;
        }
        let mut request = MergeRequest { keys: Vec::new(), windows: Vec::new() };
        let mut again = BTreeSet::new();
        for key in std::mem::take(&mut self.merging.changed) {
            if self.merging.waiting.contains(&key) {
                again.insert(key);
                continue;
            }
            let Some(active) = self.merging.active.get_mut(&key) else { continue };
            active.settled.append(&mut active.fresh);
            let (hash, windows) = (active.hash, active.settled.clone());
            let live: Vec<Window> = windows.into_iter().filter(|w| self.holds(&key, hash, w)).collect();
            self.merging.waiting.insert(key.clone());
            request.keys.push((key, hash));
            request.windows.push(live);
        }
        self.merging.changed = again;
        (!request.keys.is_empty()).then_some(request)
    }

    /// The SDK's answer to a request.
    pub fn merged(&mut self, request: &MergeRequest, answers: Vec<Merges>, clocks: Clocks) {
        for ((key, hash), merges) in request.keys.iter().zip(answers) {
            self.merging.waiting.remove(key);
            self.apply_merges(key, *hash, merges, clocks);
            self.tell_trees(key, *hash);
        }
    }

    /// The request's worker is gone: ask again.
    pub fn merge_failed(&mut self, request: &MergeRequest) {
        for (key, _) in &request.keys {
            self.merging.waiting.remove(key);
            self.merging.changed.insert(key.clone());
        }
    }

    fn apply_merges(&mut self, key: &[u8], hash: u64, merges: Merges, clocks: Clocks) {
        for (result, mut consumed) in merges {
            if consumed.iter().all(|w| *w == result) {
                continue;
            }
            if self.treed.is_some() && !consumed.contains(&result) {
                consumed.push(result.clone());
            }
            let mut parts = Vec::new();
            for window in consumed {
                self.merging.gone(key, &window);
                parts.extend(self.take_from(key, hash, &window).map(|part| (window, part)));
            }
            let at = (result.max_timestamp(), result.clone());
            let cell = self.windows.entry(at.clone()).or_default().key(key, hash);
            parts.iter_mut().for_each(|(window, part)| cell.absorb(part, *window == result));
            if let Some(treed) = &mut self.treed {
                cell.panes_of_tree = Some(Box::new(treed.merged(&parts, &at, clocks)));
                treed.drop_unseen(cell, &at, &mut self.deletes);
                treed.track(cell, &at, clocks, false);
            }
            // the SDK may have answered after the watermark had passed the window's end: late is what the output has passed
            if !at.0.is_passed_by(clocks.output) {
                self.open.insert(at);
            } else if self.treed.is_none() {
                self.late.insert(at);
            }
            self.merging.arrived_silently(key, hash, &result);
        }
    }

    /// The windows of a key stand: the triggers of those with elements they have not seen are asked next.
    fn tell_trees(&mut self, key: &[u8], hash: u64) {
        let Some(treed) = &mut self.treed else { return };
        let Some(active) = self.merging.active.get(key) else { return };
        treed.answered.extend(active.all().map(|window| asked(window, key, hash)));
    }

    /// The same for what has become of one window.
    pub(super) fn tell_tree(&mut self, key: &[u8], hash: u64, window: &Window) {
        if !matches!(self.windowing.window_fn, WindowFn::Sessions { .. }) {
            return self.tell_trees(key, hash);
        }
        let Some(treed) = &mut self.treed else { return };
        let Some(active) = self.merging.active.get(key) else { return };
        treed.answered.extend(active.over(window).map(|window| asked(window, key, hash)));
    }

    fn take_from(&mut self, key: &[u8], hash: u64, window: &Window) -> Option<KeyBuffer> {
        let at = (window.max_timestamp(), window.clone());
        let buffer = self.windows.get_mut(&at)?;
        let mut taken = buffer.take_key(key, hash, self.id, window, &mut self.deletes);
        if let (Some(treed), Some(cell)) = (&mut self.treed, &mut taken) {
            let panes = cell.panes_of_tree.clone();
            treed.forget(cell, &at);
            cell.panes_of_tree = panes;
        }
        if buffer.emptied() {
            self.windows.remove(&at);
            self.open.remove(&at);
            self.late.remove(&at);
        }
        taken
    }
}

/// A key and window whose trigger is to be asked.
fn asked(window: &Window, key: &[u8], hash: u64) -> (At, Bytes, u64) {
    ((window.max_timestamp(), window.clone()), Bytes::copy_from_slice(key), hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Timing};
    use crate::testing::SplitMix64;
    use crate::time::ProcessingTime;
    use crate::trigger::tests::room;
    use crate::window::{Trigger, Windowing};

    fn session(start: i64, end: i64) -> Window {
        Window::Interval { start: EventTime(start), end: EventTime(end) }
    }

    /// A grouping by sessions of 10, discarding.
    fn sessions(allowed_lateness: i64) -> GroupRoom {
        room(Windowing { allowed_lateness, ..Windowing::of(WindowFn::Sessions { gap: 10 }) })
    }

    fn at(watermark: EventTime) -> Clocks {
        Clocks { watermark, output: EventTime::MIN, now: ProcessingTime(0) }
    }

    #[test]
    fn a_session_that_has_fired_is_there_for_late_elements_whatever_became_of_other_keys_in_its_window() {
        let mut room = sessions(100);
        let mut arrive = |key: &[u8], time: i64, watermark: i64| {
            let mut batch = BatchBuilder::new();
            batch.push(key, b"v", EventTime(time), &[session(time, time + 10)]);
            let clocks = at(EventTime(watermark));
            room.add(&batch.finish(), clocks);
            let fired = room.fire(clocks);
            fired.map(|batch| batch.rows().iter().flat_map(|row| batch.windows(row).to_vec()).collect::<Vec<_>>())
        };
        assert_eq!(arrive(b"a", 0, 0), None);
        assert_eq!(arrive(b"b", 0, 20), Some(vec![session(0, 10); 2]));
        assert_eq!(arrive(b"b", 5, 20), Some(vec![session(0, 15)]));
        assert_eq!(arrive(b"a", 5, 20), Some(vec![session(0, 15)]));
    }

    /// What the merges of single arrivals, or of a few at once, leave of all windows.
    fn settled(windows: &[Window], at_once: usize) -> Vec<Window> {
        let mut merging = Merging::default();
        for some in windows.chunks(at_once) {
            some.iter().for_each(|window| merging.arrived(b"k", 7, window));
            merging.changed.clear();
            let touched = merging.active.get_mut(b"k".as_slice()).expect("a key").touched();
            for (result, consumed) in merge_overlapping(&touched) {
                consumed.iter().for_each(|window| merging.gone(b"k", window));
                merging.arrived_silently(b"k", 7, &result);
            }
        }
        merging.active.values().flat_map(Active::all).cloned().collect()
    }

    #[test]
    fn sessions_that_merge_as_they_come_are_those_that_merge_at_once() {
        for seed in 0..200 {
            let mut random = SplitMix64::new(seed);
            let window = |random: &mut SplitMix64| {
                let start = random.between(0, 400);
                session(start, start + random.between(1, 20))
            };
            let windows: Vec<Window> = (0..40).map(|_| window(&mut random)).collect();
            let mut wanted: BTreeSet<Window> = windows.iter().cloned().collect();
            for (result, consumed) in merge_overlapping(&windows) {
                consumed.iter().for_each(|window| {
                    wanted.remove(window);
                });
                wanted.insert(result);
            }
            let wanted: Vec<Window> = wanted.into_iter().collect();
            for at_once in [1, 3, 40] {
                assert_eq!(settled(&windows, at_once), wanted, "seed {seed}, {at_once} at once");
            }
        }
    }

    #[test]
    fn what_the_sdk_merges_after_the_watermark_came_is_late_only_if_the_output_has_passed_it() {
        let tree = Trigger::AfterEndOfWindow { early: None, late: Some(Box::new(Trigger::Always)) };
        for (trigger, output, wanted) in [
            (Trigger::Default, 0, Timing::OnTime),
            (Trigger::Default, 100, Timing::Late),
            (tree.clone(), 0, Timing::OnTime),
            (tree, 100, Timing::Late),
        ] {
            let mut room = room(Windowing {
                allowed_lateness: 1000,
                trigger: trigger.clone(),
                ..Windowing::of(WindowFn::Custom { merging: true })
            });
            let mut batch = BatchBuilder::new();
            for time in [0, 5] {
                batch.push(b"k", b"v", EventTime(time), &[session(time, time + 10)]);
            }
            room.add(&batch.finish(), at(EventTime(0)));
            let request = room.merge_request().expect("two windows");
            let clocks = Clocks { output: EventTime(output), ..at(EventTime(100)) };
            let merges = request.windows.iter().map(|all| vec![(session(0, 15), all.clone())]).collect();
            room.merged(&request, merges, clocks);
            let mut panes = Vec::new();
            while let Some(batch) = room.fire(clocks) {
                panes.extend(batch.rows().iter().map(|row| batch.pane(row).timing));
            }
            assert_eq!(panes, [wanted], "{trigger:?} {output}");
        }
    }

    #[test]
    fn a_key_may_have_very_many_sessions() {
        // no clock is asked: where an arrival looks at all of them, this takes many minutes
        const SESSIONS: usize = 20_000;
        let mut room = sessions(0);
        let clocks = at(EventTime::MIN);
        for n in 0..SESSIONS as i64 {
            let mut batch = BatchBuilder::new();
            for time in [n * 100, n * 100 + 5] {
                batch.push(b"k", b"v", EventTime(time), &[session(time, time + 10)]);
            }
            room.add(&batch.finish(), clocks);
        }
        let mut fired = 0;
        while let Some(batch) = room.fire(at(EventTime::MAX)) {
            fired += batch.len();
        }
        assert_eq!(fired, SESSIONS);
    }

    #[test]
    fn a_window_is_merged_with_those_that_it_overlaps_and_no_other_is_looked_at() {
        let mut active = Active::new(7);
        active.settled.extend((0..1000).map(|n| session(n * 10, n * 10 + 5)));
        active.fresh.insert(session(5004, 5011));
        let near = [session(5000, 5005), session(5004, 5011), session(5010, 5015)];
        assert_eq!(active.touched(), near);
        assert!(active.touched().is_empty());
    }
}
