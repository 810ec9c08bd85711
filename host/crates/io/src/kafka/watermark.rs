//! Event times of records, and the watermark of a partition.
//!
//! Source: Beam's KafkaIO, `TimestampPolicyFactory` and `CustomTimestampPolicyWithLimitedDelay`.

use rdkafka::message::{Header, Headers, Message, Timestamp};
use serde::{Deserialize, Serialize};
use thalweg_core::time::EventTime;

/// How far behind the clock the watermark of an idle partition stays where brokers give the times, in milliseconds. Source: KafkaIO's
/// `IDLE_WATERMARK_DELTA`.
const APPEND_IDLE_MS: i64 = 2000;

/// Largest step by which the watermark of an idle partition follows the clock, in milliseconds.
const IDLE_STEP_MAX_MS: i64 = 2000;

/// Where records get their event time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
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
    /// The milliseconds in a header of the record: digits, or eight bytes, big end first. A record without it, or with something
    /// else in it, has its own timestamp. The watermark moves as for [`RecordTime::Record`].
    Header {
        /// Name of the header; the last one of that name counts.
        name: String,
        /// How much earlier than the latest a later record may be, in milliseconds.
        out_of_order_ms: u32,
    },
    /// When the broker appended it, which never goes back; the topic must keep that time (`message.timestamp.type`).
    Append,
    /// When it was read. The watermark is the clock.
    Processing,
}

impl RecordTime {
    /// The timestamp of a record, as far as it counts here.
    pub(super) fn of(&self, record: &impl Message) -> Timestamp {
        let Self::Header { name, .. } = self else { return record.timestamp() };
        let found = record.headers().into_iter().flat_map(Headers::iter).filter(|header| header.key == name).last();
        found.and_then(millis).map_or_else(|| record.timestamp(), Timestamp::CreateTime)
    }
}

/// The milliseconds in a header.
fn millis(header: Header<'_, &[u8]>) -> Option<i64> {
    let bytes = header.value?;
    let digits = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
    digits.or_else(|| Some(i64::from_be_bytes(bytes.try_into().ok()?)))
}

/// The watermark of one partition; it never goes back.
#[derive(Clone, Debug)]
pub(super) struct Watermark {
    time: RecordTime,
    now: EventTime,
    /// When the last record was read, or the partition was opened.
    active_ms: i64,
}

impl Watermark {
    pub(super) fn new(time: RecordTime, clock_ms: i64) -> Self {
        Self { time, now: EventTime::MIN, active_ms: clock_ms }
    }

    /// How long no record has been read.
    pub(super) fn quiet_ms(&self, clock_ms: i64) -> i64 {
        clock_ms.saturating_sub(self.active_ms)
    }

    /// The event time of a record that is read now; moves the watermark.
    ///
    /// # Errors
    /// A sentence when the record does not have such a time.
    pub(super) fn record(&mut self, timestamp: Timestamp, clock_ms: i64) -> Result<EventTime, String> {
        self.active_ms = clock_ms;
        let own = timestamp.to_millis();
        let (at, distance) = match (&self.time, timestamp) {
            (RecordTime::None, _) => return Ok(EventTime::MIN),
            (RecordTime::Record { out_of_order_ms } | RecordTime::Header { out_of_order_ms, .. }, _) => match own {
                Some(at) => (at, i64::from(*out_of_order_ms)),
                None => return Ok(EventTime::MIN),
            },
            (RecordTime::Append, Timestamp::LogAppendTime(at)) => (at, 0),
            (RecordTime::Append, _) => {
                return Err("its time is not the one at which the broker appended it: set message.timestamp.type to \
                            LogAppendTime, or read with the times of the records"
                    .to_owned());
            }
            (RecordTime::Processing, _) => (clock_ms, 0),
        };
        let at = EventTime(at).clamped();
        self.now = self.now.max(at.plus(-distance));
        Ok(at)
    }

    /// Whether brokers must say that nothing was there before an idle partition's watermark may follow the clock. What was not read is late then; but times
    /// of reading are never.
    pub(super) fn needs_brokers(&self) -> bool {
        !matches!(self.time, RecordTime::None | RecordTime::Processing)
    }

    /// Until then everything was read and nothing new was there: the watermark follows the clock. Its steps grow with the silence, and fall on the same moments in
    /// all partitions, for each is committed: a job to which nothing comes costs little.
    pub(super) fn idle(&mut self, clock_ms: i64) {
        let step = (self.quiet_ms(clock_ms) / 10).clamp(1, IDLE_STEP_MAX_MS);
        let clock_ms = clock_ms - clock_ms.rem_euclid(step);
        let distance = match &self.time {
            RecordTime::None => return,
            RecordTime::Record { out_of_order_ms } | RecordTime::Header { out_of_order_ms, .. } => {
                i64::from(*out_of_order_ms)
            }
            RecordTime::Append => APPEND_IDLE_MS,
            RecordTime::Processing => 0,
        };
        self.now = self.now.max(EventTime(clock_ms).plus(-distance));
    }

    pub(super) fn now(&self) -> EventTime {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: i64 = 5000;

    fn created(w: &mut Watermark, ms: i64) -> EventTime {
        w.record(Timestamp::CreateTime(ms), CLOCK).expect("a time")
    }

    #[test]
    fn the_watermark_follows_the_latest_record_and_never_goes_back() {
        let mut w = Watermark::new(RecordTime::Record { out_of_order_ms: 10 }, CLOCK);
        assert_eq!(created(&mut w, 100), EventTime(100));
        assert_eq!(created(&mut w, 50), EventTime(50));
        assert_eq!(w.now(), EventTime(90));
        w.idle(95);
        assert_eq!(w.now(), EventTime(90));
        w.idle(1000);
        assert_eq!(w.now(), EventTime(990));
        assert_eq!(w.record(Timestamp::NotAvailable, CLOCK), Ok(EventTime::MIN));
        assert_eq!(w.now(), EventTime(990));
    }

    #[test]
    fn the_longer_a_partition_is_idle_the_larger_are_the_steps() {
        let mut w = Watermark::new(RecordTime::Record { out_of_order_ms: 0 }, CLOCK);
        created(&mut w, CLOCK);
        let mut after = |quiet_ms: i64| {
            w.idle(CLOCK + quiet_ms);
            w.now().0 - CLOCK
        };
        assert_eq!([after(5), after(1003), after(5350)], [5, 1000, 5165]);
        let far = [after(60_000), after(60_999), after(61_000), after(63_000)];
        assert_eq!(far.map(|quiet| CLOCK + quiet), [64_000, 64_000, 66_000, 68_000]);
    }

    #[test]
    fn without_times_it_stays_at_the_beginning() {
        let mut w = Watermark::new(RecordTime::None, CLOCK);
        assert_eq!(created(&mut w, 100), EventTime::MIN);
        w.idle(1000);
        assert_eq!(w.now(), EventTime::MIN);
    }

    #[test]
    fn times_of_the_broker_are_needed_where_they_are_asked_for() {
        let mut w = Watermark::new(RecordTime::Append, CLOCK);
        assert_eq!(w.record(Timestamp::LogAppendTime(100), CLOCK), Ok(EventTime(100)));
        assert!(w.record(Timestamp::CreateTime(100), CLOCK).is_err());
        w.idle(CLOCK);
        assert_eq!(w.now(), EventTime(CLOCK - APPEND_IDLE_MS));
    }

    #[test]
    fn a_header_gives_the_time_and_the_record_where_it_does_not() {
        use rdkafka::message::{OwnedHeaders, OwnedMessage};
        let time = RecordTime::Header { name: "at".to_owned(), out_of_order_ms: 0 };
        let of = |headers: &[(&str, &[u8])]| {
            let all = headers
                .iter()
                .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
            let record = OwnedMessage::new(None, None, "t".to_owned(), Timestamp::CreateTime(7), 0, 0, Some(all));
            time.of(&record).to_millis()
        };
        assert_eq!(of(&[("at", b"1000"), ("at", b"2000"), ("x", b"3000")]), Some(2000));
        assert_eq!(of(&[("at", &1500i64.to_be_bytes())]), Some(1500));
        assert_eq!(of(&[("at", b"soon")]), Some(7));
        assert_eq!(of(&[]), Some(7));
    }

    #[test]
    fn the_time_of_reading_is_the_clock() {
        let mut w = Watermark::new(RecordTime::Processing, CLOCK);
        assert_eq!(created(&mut w, 100), EventTime(CLOCK));
        w.idle(CLOCK + 1);
        assert_eq!(w.now(), EventTime(CLOCK + 1));
    }
}
