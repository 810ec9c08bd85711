//! What happened to a job, in order: a bounded list that any number of followers read at their own pace.
//!
//! The first and the last messages are kept, states always. A follower keeps the number it wants next; when the next
//! event it is given has a higher one, the messages between were dropped.

use super::runner::Importance;
use super::state::JobState;
use prost_types::Timestamp;
use std::collections::VecDeque;

/// Changes of state kept from the middle of a job that pauses and resumes for months.
const STATES_MAX: usize = 1000;

/// Something that happened to a job.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Event {
    /// Counted from 0 without gaps.
    pub number: u64,
    pub time: Timestamp,
    pub what: What,
}

/// A change of state or a message.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum What {
    State(JobState),
    Message { importance: Importance, text: String },
}

/// The events of one job. Reading the next one costs O(log n).
#[derive(Debug)]
pub(super) struct History {
    first: Vec<Event>,
    last: VecDeque<Event>,
    first_max: usize,
    last_max: usize,
    next: u64,
}

impl History {
    /// An empty history that keeps `first_max` events of the beginning and `last_max` (at least 1) of the end.
    pub(super) fn new(first_max: usize, last_max: usize) -> Self {
        Self { first: Vec::new(), last: VecDeque::new(), first_max, last_max: last_max.max(1), next: 0 }
    }

    /// Adds an event. Times never run backwards, whatever the clock does.
    pub(super) fn push(&mut self, mut time: Timestamp, what: What) {
        if let Some(before) = self.last.back().or(self.first.last())
            && (before.time.seconds, before.time.nanos) > (time.seconds, time.nanos)
        {
            time = before.time;
        }
        let event = Event { number: self.next, time, what };
        self.next += 1;
        if self.last.is_empty() && self.first.len() < self.first_max {
            self.first.push(event);
            return;
        }
        self.last.push_back(event);
        if self.last.len() > self.last_max {
            self.forget_oldest();
        }
    }

    /// Drops the oldest event of the end; a state moves to the beginning instead.
    fn forget_oldest(&mut self) {
        if let Some(event) = self.last.pop_front()
            && matches!(event.what, What::State(_))
            && self.first.len() < self.first_max + STATES_MAX
        {
            self.first.push(event);
        }
    }

    /// The first kept event numbered `number` or higher.
    pub(super) fn at_or_after(&self, number: u64) -> Option<&Event> {
        let i = self.first.partition_point(|e| e.number < number);
        self.first.get(i).or_else(|| self.last.get(self.last.partition_point(|e| e.number < number)))
    }

    /// The last change of state and its time.
    pub(super) fn last_state(&self) -> Option<(JobState, Timestamp)> {
        self.last.iter().rev().chain(self.first.iter().rev()).find_map(|e| match e.what {
            What::State(state) => Some((state, e.time)),
            What::Message { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> What {
        What::Message { importance: Importance::Basic, text: text.to_owned() }
    }

    fn numbers(history: &History) -> Vec<u64> {
        let mut next = 0;
        let mut seen = Vec::new();
        while let Some(event) = history.at_or_after(next) {
            seen.push(event.number);
            next = event.number + 1;
        }
        seen
    }

    #[test]
    fn the_first_and_the_last_events_are_kept() {
        let mut history = History::new(2, 3);
        for i in 0..10 {
            history.push(Timestamp::default(), message(&i.to_string()));
        }
        assert_eq!(numbers(&history), [0, 1, 7, 8, 9]);
    }

    #[test]
    fn states_are_kept_when_messages_are_dropped() {
        let mut history = History::new(1, 2);
        history.push(Timestamp::default(), What::State(JobState::Stopped));
        history.push(Timestamp::default(), message("1"));
        history.push(Timestamp::default(), What::State(JobState::Running));
        for i in 3..9 {
            history.push(Timestamp::default(), message(&i.to_string()));
        }
        assert_eq!(numbers(&history), [0, 2, 7, 8]);
        assert_eq!(history.last_state().map(|(state, _)| state), Some(JobState::Running));
    }

    #[test]
    fn times_never_run_backwards() {
        let mut history = History::new(1, 2);
        history.push(Timestamp { seconds: 5, nanos: 7 }, message("a"));
        history.push(Timestamp { seconds: 5, nanos: 6 }, message("b"));
        assert_eq!(history.at_or_after(1).map(|e| e.time), Some(Timestamp { seconds: 5, nanos: 7 }));
    }
}
