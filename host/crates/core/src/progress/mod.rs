//! Beside the rooms: watermarks. What a stage has been promised by its inputs and what it may promise itself.
//!
//! A promise only rises. The rule of every stage: output = min(input, earliest element waiting or in flight, holds).

use crate::time::EventTime;
use std::collections::BTreeMap;

/// A multiset of times with a cheap minimum: queued elements, timer holds.
#[derive(Clone, Default, Debug)]
pub struct MinTimes(BTreeMap<EventTime, usize>);

impl MinTimes {
    /// Adds a time. Cost: O(log n) in the number of different times.
    pub fn add(&mut self, time: EventTime) {
        *self.0.entry(time).or_default() += 1;
    }

    /// Takes one occurrence out again.
    pub fn remove(&mut self, time: EventTime) {
        if let Some(count) = self.0.get_mut(&time) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&time);
            }
        }
    }

    /// The earliest; the end of time when empty.
    #[must_use]
    pub fn min(&self) -> EventTime {
        self.0.first_key_value().map_or(EventTime::MAX, |(t, _)| *t)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A watermark that never falls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watermark(EventTime);

impl Default for Watermark {
    fn default() -> Self {
        Self(EventTime::MIN)
    }
}

impl Watermark {
    /// Where it stands.
    #[must_use]
    pub fn get(self) -> EventTime {
        self.0
    }

    /// Raises it; a lower value is ignored. Tells whether it moved.
    pub fn raise(&mut self, to: EventTime) -> bool {
        let moved = to > self.0;
        if moved {
            self.0 = to;
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_counts_repeats() {
        let mut times = MinTimes::default();
        times.add(EventTime(5));
        times.add(EventTime(5));
        times.add(EventTime(9));
        times.remove(EventTime(5));
        assert_eq!(times.min(), EventTime(5));
        times.remove(EventTime(5));
        assert_eq!(times.min(), EventTime(9));
    }

    #[test]
    fn a_watermark_never_falls() {
        let mut mark = Watermark::default();
        assert!(mark.raise(EventTime(3)));
        assert!(!mark.raise(EventTime(2)));
        assert_eq!(mark.get(), EventTime(3));
    }
}
