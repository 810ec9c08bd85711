//! Merging windows: sessions are merged here, windows of an SDK's function by the SDK, a request for many keys at once.
//!
//! Only keys with more than one active window are looked at. A key that waits for an answer keeps taking elements and does
//! not fire; windows that arrived meanwhile make it ask again.

use super::GroupRoom;
use crate::time::EventTime;
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
    pub(super) fn merge_now(&mut self, watermark: EventTime) {
        if !matches!(self.windowing.window_fn, WindowFn::Sessions { .. }) {
            return;
        }
        for key in std::mem::take(&mut self.merging.changed) {
            let Some((hash, windows)) = self.merging.active.get(&key).cloned() else { continue };
            let live: Vec<Window> = windows.into_iter().filter(|w| self.holds(&key, hash, w)).collect();
            let merges = merge_overlapping(&live);
            self.apply_merges(&key, hash, live, merges, watermark);
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
    pub fn merged(&mut self, request: &MergeRequest, answers: Vec<Merges>, watermark: EventTime) {
        for (((key, hash), live), merges) in request.keys.iter().zip(&request.windows).zip(answers) {
            self.merging.waiting.remove(key);
            self.apply_merges(key, *hash, live.clone(), merges, watermark);
        }
    }

    /// The request's worker is gone: ask again.
    pub fn merge_failed(&mut self, request: &MergeRequest) {
        for (key, _) in &request.keys {
            self.merging.waiting.remove(key);
            self.merging.changed.push(key.clone());
        }
    }

    fn apply_merges(&mut self, key: &[u8], hash: u64, live: Vec<Window>, merges: Merges, watermark: EventTime) {
        if let Some((_, windows)) = self.merging.active.get_mut(key) {
            windows.retain(|w| live.contains(w) || !merges.iter().any(|(_, from)| from.contains(w)));
        }
        for (result, consumed) in merges {
            if consumed.iter().all(|w| *w == result) {
                continue;
            }
            let mut parts = Vec::new();
            for window in &consumed {
                parts.extend(self.take_from(key, hash, window));
                self.merging.gone(key, window);
            }
            let at = (result.max_timestamp(), result.clone());
            let cell = self.windows.entry(at.clone()).or_default().key(key, hash);
            parts.iter().for_each(|part| cell.absorb(part));
            if at.0.is_passed_by(watermark) {
                self.late.insert(at);
            } else {
                self.open.insert(at);
            }
            self.merging.arrived_silently(key, hash, &result);
        }
    }

    fn take_from(&mut self, key: &[u8], hash: u64, window: &Window) -> Option<super::KeyBuffer> {
        let at = (window.max_timestamp(), window.clone());
        let buffer = self.windows.get_mut(&at)?;
        let taken = buffer.take_key(key, hash, self.id, window, &mut self.deletes);
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
