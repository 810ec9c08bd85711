//! Windows of a WindowFn of one's own that merge: sessions that end at midnight (UTC). Windows that overlap or touch become one, if
//! they lie in the same day; so the result is the same in whatever order they come.

use crate::{config, positive};
use serde::Deserialize;
use thalweg_udf::{EventTime, Failure, Interval, Merged, WindowFn};

const DAY: i64 = 86_400_000;

#[derive(Deserialize)]
#[serde(default)]
struct Config {
    gap_ms: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self { gap_ms: 1_800_000 }
    }
}

/// Sessions within a day.
pub struct DaySessions {
    gap: i64,
}

impl WindowFn for DaySessions {
    type In = Vec<u8>;
    const MERGES: bool = true;

    fn open(text: &str) -> Result<Self, Failure> {
        let Config { gap_ms } = config(text)?;
        Ok(Self { gap: positive("gap_ms", gap_ms)? })
    }

    fn assign(&mut self, time: EventTime, _: Option<&[u8]>, windows: &mut Vec<Interval>) -> Result<(), Failure> {
        let midnight = (time.0.div_euclid(DAY) + 1) * DAY;
        windows.push(Interval::new(time.0, midnight.min(time.0 + self.gap)));
        Ok(())
    }

    fn merge(&mut self, windows: &[Interval]) -> Vec<Merged> {
        let mut order: Vec<usize> = (0..windows.len()).collect();
        order.sort_by_key(|i| windows[*i]);
        let day = |window: &Interval| window.start.0.div_euclid(DAY);
        let mut merged: Vec<Merged> = Vec::new();
        for i in order {
            match merged.last_mut() {
                Some((into, members)) if windows[i].start <= into.end && day(&windows[i]) == day(into) => {
                    into.end = into.end.max(windows[i].end);
                    members.push(i);
                }
                _ => merged.push((windows[i], vec![i])),
            }
        }
        merged.retain(|(_, members)| members.len() > 1);
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::testing::WindowKit;

    #[test]
    fn sessions_end_at_midnight() -> Result<(), Failure> {
        let mut kit = WindowKit::<DaySessions>::open(r#"{"gap_ms": 1000}"#)?;
        assert_eq!(kit.assign(EventTime(5), b"")?, [Interval::new(5, 1005)]);
        assert_eq!(kit.assign(EventTime(DAY - 1), b"")?, [Interval::new(DAY - 1, DAY)]);
        let windows = [
            Interval::new(DAY, DAY + 1000),
            Interval::new(DAY - 500, DAY),
            Interval::new(DAY - 1500, DAY - 500),
            Interval::new(7, 9),
        ];
        let merged = kit.merge(&windows)?;
        assert!(merged.contains(&(Interval::new(DAY - 1500, DAY), vec![1, 2])), "{merged:?}");
        assert_eq!(merged.len(), 3);
        Ok(())
    }
}
