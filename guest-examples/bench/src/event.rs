//! W2: a line `key<TAB>milliseconds<TAB>value` in, the pair of key and value with its event time out.

use thalweg_udf::{Context, DoFn, EventTime, Failure, Kv, Output, OutputSpec, text};

/// The events.
pub const EVENTS: Output<Kv<String, i64>> = Output::new(0, "events");

/// Parses and timestamps.
pub struct Event;

impl DoFn for Event {
    type In = String;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&EVENTS];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, line: &str, ctx: &mut Context) -> Result<(), Failure> {
        let mut columns = text::split(line, b'\t');
        let (Some(key), Some(time), Some(value), None) =
            (columns.next(), columns.next(), columns.next(), columns.next())
        else {
            return Err(Failure::new("COLUMNS", "the line does not have 3 columns"));
        };
        let (Some(time), Some(value)) = (number(time), number(value)) else {
            return Err(Failure::new("NUMBER", "time or value is not a whole number"));
        };
        ctx.emit_at(&EVENTS, EventTime(time), (key, value));
        Ok(())
    }
}

fn number(digits: &str) -> Option<i64> {
    if digits.is_empty() || digits.len() > 18 {
        return None; // 18 digits cannot overflow
    }
    digits.bytes().try_fold(0i64, |sum, digit| match digit.wrapping_sub(b'0') {
        digit @ 0..=9 => Some(sum.wrapping_mul(10).wrapping_add(i64::from(digit))),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::testing::Kit;

    #[test]
    fn lines_become_events_and_bad_ones_fail_alone() -> Result<(), Failure> {
        let lines = ["key-1\t1700000000000\t12", "key-2\tx\t1", "key-3", "key-4\t5\t0"];
        let outcome = Kit::<Event>::open("")?.run(lines.map(|line| (EventTime(0), line)))?;
        let expected = [(EventTime(1_700_000_000_000), ("key-1", 12)), (EventTime(5), ("key-4", 0))];
        assert_eq!(outcome.elements(&EVENTS)?, expected);
        let failed: Vec<_> = outcome.failures().into_iter().map(|(row, failure)| (row, failure.code)).collect();
        assert_eq!(failed, [(1, "NUMBER".into()), (2, "COLUMNS".into())]);
        Ok(())
    }
}
