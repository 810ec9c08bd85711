//! Event times of records, and the watermark of a partition.
//!
//! Source: Beam's KafkaIO, `CustomTimestampPolicyWithLimitedDelay`.

use serde::{Deserialize, Serialize};
use thalweg_core::time::EventTime;

/// Where records get their event time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum RecordTime {
    /// None: the beginning of time. The watermark stays there until a bounded source ends; functions give the times.
    #[default]
    None,
    /// The record's own timestamp. The watermark follows the latest one at a distance; a partition without new records follows
    /// the clock at the same distance, so that it holds nothing back.
    Record {
        /// How much earlier than the latest a later record may be, in milliseconds.
        out_of_order_ms: u32,
    },
}

/// The watermark of one partition; it never goes back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watermark {
    distance: Option<i64>,
    now: EventTime,
}

impl Watermark {
    pub(super) fn new(time: RecordTime) -> Self {
        let distance = match time {
            RecordTime::None => None,
            RecordTime::Record { out_of_order_ms } => Some(i64::from(out_of_order_ms)),
        };
        Self { distance, now: EventTime::MIN }
    }

    /// The event time of a record; moves the watermark.
    pub(super) fn record(&mut self, timestamp: Option<i64>) -> EventTime {
        let (Some(distance), Some(at)) = (self.distance, timestamp) else { return EventTime::MIN };
        let at = EventTime(at).clamped();
        self.now = self.now.max(at.plus(-distance));
        at
    }

    /// Everything was read and nothing new is there: the watermark follows the clock.
    pub(super) fn idle(&mut self, clock_ms: i64) {
        if let Some(distance) = self.distance {
            self.now = self.now.max(EventTime(clock_ms).plus(-distance));
        }
    }

    pub(super) fn now(&self) -> EventTime {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_follows_the_latest_record_and_never_goes_back() {
        let mut w = Watermark::new(RecordTime::Record { out_of_order_ms: 10 });
        assert_eq!(w.record(Some(100)), EventTime(100));
        assert_eq!(w.record(Some(50)), EventTime(50));
        assert_eq!(w.now(), EventTime(90));
        w.idle(95);
        assert_eq!(w.now(), EventTime(90));
        w.idle(1000);
        assert_eq!(w.now(), EventTime(990));
        assert_eq!(w.record(None), EventTime::MIN);
        assert_eq!(w.now(), EventTime(990));
    }

    #[test]
    fn without_times_it_stays_at_the_beginning() {
        let mut w = Watermark::new(RecordTime::None);
        assert_eq!(w.record(Some(100)), EventTime::MIN);
        w.idle(1000);
        assert_eq!(w.now(), EventTime::MIN);
    }
}
