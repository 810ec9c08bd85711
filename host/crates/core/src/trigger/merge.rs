//! Merging windows: sessions are merged here, windows of an SDK's function by the SDK, a request for many keys at once.
//!
//! Only keys with more than one active window are looked at. A key that waits for an answer keeps taking elements and does
//! not fire; windows that arrived meanwhile make it ask again.

use super::treed::Clocks;
use super::{GroupRoom, KeyBuffer};
use crate::window::{Merges, Window, WindowFn, merge_overlapping};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Windows to be merged by the SDK: one list per key, answered in the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeRequest {
    /// The keys, for the answer.
    pub keys: Vec<(Bytes, u64)>,
    /// Their active windows.
    pub windows: Vec<Vec<Window>>,
}

/// Active windows by key, and which keys wait.
#[derive(Default, Debug)]
pub struct Merging {
    active: BTreeMap<Bytes, (u64, Vec<Window>)>,
    changed: Vec<Bytes>,
    waiting: BTreeMap<Bytes, ()>,
}

impl Merging {
    /// Notes that a key has a window.
    pub fn arrived(&mut self, key: &[u8], hash: u64, window: &Window) {
        match self.active.get_mut(key) {
            Some((_, windows)) if windows.contains(window) => {}
            Some((_, windows)) => {
                windows.push(window.clone());
                self.changed.push(Bytes::copy_from_slice(key));
            }
            None => {
                self.active.insert(Bytes::copy_from_slice(key), (hash, vec![window.clone()]));
            }
        }
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
        self.waiting.contains_key(key) || self.changed.contains(key)
    }

    /// A key has no such window any more.
    pub fn gone(&mut self, key: &[u8], window: &Window) {
        let Some((_, windows)) = self.active.get_mut(key) else { return };
        windows.retain(|w| w != window);
        if windows.is_empty() {
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
            let Some((hash, windows)) = self.merging.active.get(&key).cloned() else { continue };
            let live: Vec<Window> = windows.into_iter().filter(|w| self.holds(&key, hash, w)).collect();
            let merges = merge_overlapping(&live);
            self.apply_merges(&key, hash, live, merges, clocks);
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
        let mut again = Vec::new();
        for key in std::mem::take(&mut self.merging.changed) {
            if self.merging.waiting.contains_key(&key) {
                again.push(key);
                continue;
            }
            let Some((hash, windows)) = self.merging.active.get(&key).cloned() else { continue };
            let live: Vec<Window> = windows.into_iter().filter(|w| self.holds(&key, hash, w)).collect();
            self.merging.waiting.insert(key.clone(), ());
            request.keys.push((key, hash));
            request.windows.push(live);
        }
        self.merging.changed = again;
        (!request.keys.is_empty()).then_some(request)
    }

    /// The SDK's answer to a request.
    pub fn merged(&mut self, request: &MergeRequest, answers: Vec<Merges>, clocks: Clocks) {
        for (((key, hash), live), merges) in request.keys.iter().zip(&request.windows).zip(answers) {
            self.merging.waiting.remove(key);
            self.apply_merges(key, *hash, live.clone(), merges, clocks);
            self.tell_trees(key, *hash);
        }
    }

    /// The request's worker is gone: ask again.
    pub fn merge_failed(&mut self, request: &MergeRequest) {
        for (key, _) in &request.keys {
            self.merging.waiting.remove(key);
            self.merging.changed.push(key.clone());
        }
    }

    fn apply_merges(&mut self, key: &[u8], hash: u64, live: Vec<Window>, merges: Merges, clocks: Clocks) {
        if let Some((_, windows)) = self.merging.active.get_mut(key) {
            windows.retain(|w| live.contains(w) || !merges.iter().any(|(_, from)| from.contains(w)));
        }
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
            parts.iter().for_each(|(window, part)| cell.absorb(part, *window == result));
            if let Some(treed) = &mut self.treed {
                cell.panes_of_tree = Some(Box::new(treed.merged(&parts, &at, clocks)));
                treed.drop_unseen(cell, &at, &mut self.deletes);
                treed.track(cell, &at, clocks, false);
            }
            if !at.0.is_passed_by(clocks.watermark) {
                self.open.insert(at);
            } else if self.treed.is_none() {
                self.late.insert(at);
            }
            self.merging.arrived_silently(key, hash, &result);
        }
    }

    /// The windows of a key stand: the triggers of those with elements they have not seen are asked next.
    pub(super) fn tell_trees(&mut self, key: &[u8], hash: u64) {
        let Some(treed) = &mut self.treed else { return };
        let Some((_, windows)) = self.merging.active.get(key) else { return };
        for window in windows {
            treed.answered.insert(((window.max_timestamp(), window.clone()), Bytes::copy_from_slice(key), hash));
        }
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
        if buffer.is_empty() {
            self.windows.remove(&at);
            self.open.remove(&at);
            self.late.remove(&at);
        }
        taken
    }
}

impl Merging {
    pub(super) fn arrived_silently(&mut self, key: &[u8], hash: u64, window: &Window) {
        let entry = self.active.entry(Bytes::copy_from_slice(key)).or_insert_with(|| (hash, Vec::new()));
        if !entry.1.contains(window) {
            entry.1.push(window.clone());
        }
    }
}
