//! Which keys have state in which window: what has to go when a window expires.
//!
//! In: keys and windows whose state was written, or that had elements where the function is called about their end. Out: those of windows that have expired. Nothing of it is stored: a restored
//! run finds it in the cells themselves. Windows stand in the order of their expiry, so looking for expired ones costs
//! nothing while there are none. Memory: one entry per key and window with state, as for timers.

use crate::short::ShortBytes;
use crate::time::EventTime;
use crate::window::Window;
use std::collections::{BTreeMap, BTreeSet};

/// The keys with state of one stage on one shard, by window.
#[derive(Default, Debug)]
pub struct Expiry {
    windows: BTreeMap<(EventTime, Window), BTreeSet<ShortBytes>>,
}

impl Expiry {
    /// A key has state in a window that expires at `at`. Cost: O(log n).
    pub fn note(&mut self, at: EventTime, window: &Window, key: &ShortBytes) {
        match self.windows.get_mut(&(at, window.clone())) {
            Some(keys) if keys.contains(key) => {}
            Some(keys) => {
                keys.insert(key.clone());
            }
            None => {
                self.windows.insert((at, window.clone()), BTreeSet::from([key.clone()]));
            }
        }
    }

    /// Whether a key was noted. Cost: O(log n).
    #[must_use]
    pub fn has(&self, at: EventTime, window: &Window, key: &ShortBytes) -> bool {
        self.windows.get(&(at, window.clone())).is_some_and(|keys| keys.contains(key))
    }

    /// Up to `most` keys and windows that have expired when the watermark stands here, earliest first; those for which `wanted`
    /// says no are passed over.
    pub fn due(
        &self,
        watermark: EventTime,
        most: usize,
        mut wanted: impl FnMut(&ShortBytes, &Window) -> bool,
    ) -> Vec<(EventTime, ShortBytes, Window)> {
        let expired = self.windows.iter().take_while(|((at, _), _)| at.is_passed_by(watermark));
        let all = expired.flat_map(|((at, window), keys)| keys.iter().map(move |key| (*at, key, window)));
        let some = all.filter(|(_, key, window)| wanted(key, window));
        some.take(most).map(|(at, key, window)| (at, key.clone(), window.clone())).collect()
    }

    /// Whether something has expired.
    #[must_use]
    pub fn has_due(&self, watermark: EventTime) -> bool {
        self.windows.first_key_value().is_some_and(|((at, _), _)| at.is_passed_by(watermark))
    }

    /// Whether nothing is to go.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// The state of a key and window is gone.
    pub fn forget(&mut self, at: EventTime, window: &Window, key: &[u8]) {
        let name = (at, window.clone());
        if let Some(keys) = self.windows.get_mut(&name) {
            keys.remove(key);
            if keys.is_empty() {
                self.windows.remove(&name);
            }
        }
    }

    /// When the first window expires; the end of time when there is none.
    #[must_use]
    pub fn first(&self) -> EventTime {
        self.windows.first_key_value().map_or(EventTime::MAX, |((at, _), _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_come_up_in_the_order_of_their_expiry_and_go_with_their_last_key() {
        let mut expiry = Expiry::default();
        let window = |end: i64| Window::Interval { start: EventTime(0), end: EventTime(end) };
        for (end, key) in [(20, "a"), (10, "b"), (10, "a")] {
            expiry.note(EventTime(end - 1), &window(end), &ShortBytes::copy(key.as_bytes()));
        }
        assert!(!expiry.has_due(EventTime(9)) && expiry.has_due(EventTime(10)));
        let due = expiry.due(EventTime(50), 10, |_, _| true);
        let names: Vec<_> = due.iter().map(|(at, key, _)| (at.0, key.as_ref())).collect();
        assert_eq!(names, [(9, &b"a"[..]), (9, b"b"), (19, b"a")]);
        expiry.forget(EventTime(9), &window(10), b"a");
        expiry.forget(EventTime(9), &window(10), b"b");
        assert_eq!(expiry.first(), EventTime(19));
    }
}
