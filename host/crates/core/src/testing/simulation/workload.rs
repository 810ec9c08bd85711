//! The input of a simulation: what its sources hold, and the window sizes of its pipeline.

use crate::testing::{ScriptedSplit, SourceRow, SplitMix64};
use crate::time::EventTime;

/// One element of the main input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Which key; a letter.
    pub key: u8,
    /// Which split, and its number there.
    pub from: (usize, usize),
    /// Whether it goes to the second output.
    pub bad: bool,
    /// Event time.
    pub time: i64,
}

impl Entry {
    /// As the source has it: `g:a:0:17`.
    #[must_use]
    pub fn text(&self) -> String {
        let kind = if self.bad { 'b' } else { 'g' };
        format!("{kind}:{}:{}:{}", self.key as char, self.from.0, self.from.1)
    }
}

/// The input.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Elements of the main source, by split.
    pub splits: Vec<Vec<Entry>>,
    /// Splits that promise nothing before their end.
    pub bounded: Vec<bool>,
    /// Side input: key, value, event time.
    pub facts: Vec<(u8, String, i64)>,
    /// Ranges to count up, by split: from, to, event time.
    pub ranges: Vec<Vec<(i64, i64, i64)>>,
    /// They are spread over the shards; else they stay where they are read.
    pub spread_ranges: bool,
    /// Length of fixed windows.
    pub window: i64,
    /// Gap of sessions.
    pub gap: i64,
    /// The side input is windowed as the main input is; else it is global.
    pub windowed_side: bool,
}

impl Workload {
    /// The input of a seed.
    #[must_use]
    pub fn new(rng: &mut SplitMix64) -> Self {
        let keys = 1 + rng.below(6);
        let splits = 2 + rng.below(2);
        let entries = |split: usize, rng: &mut SplitMix64| {
            let mut clock = rng.between(-50, 50);
            (0..rng.below(40))
                .map(|n| {
                    clock += rng.between(0, 8);
                    Entry {
                        key: b'a' + rng.below(keys) as u8,
                        from: (split, n),
                        bad: rng.permille(100),
                        time: clock + rng.between(-15, 15),
                    }
                })
                .collect()
        };
        let fact =
            |n: usize, rng: &mut SplitMix64| (b'a' + rng.below(keys + 1) as u8, format!("v{n}"), rng.between(-60, 200));
        Self {
            splits: (0..splits).map(|split| entries(split, rng)).collect(),
            bounded: (0..splits).map(|_| rng.permille(300)).collect(),
            facts: (0..rng.below(12)).map(|n| fact(n, rng)).collect(),
            ranges: (0..2).map(|split| ranges(split, rng)).collect(),
            spread_ranges: rng.permille(500),
            window: [1, 10, 50][rng.below(3)],
            gap: [1, 5, 20][rng.below(3)],
            windowed_side: rng.permille(500),
        }
    }

    /// The splits of the main source.
    #[must_use]
    pub fn source(&self) -> Vec<ScriptedSplit> {
        let split = |(entries, bounded): (&Vec<Entry>, &bool)| {
            let split = ScriptedSplit::new(entries.iter().map(|e| row(&e.text(), e.time)).collect());
            if *bounded { split.bounded() } else { split }
        };
        self.splits.iter().zip(&self.bounded).map(split).collect()
    }

    /// The splits of the source of ranges.
    #[must_use]
    pub fn range_source(&self) -> Vec<ScriptedSplit> {
        let line = |(from, to, time): &(i64, i64, i64)| row(&format!("{from}..{to}"), *time);
        self.ranges.iter().map(|split| ScriptedSplit::new(split.iter().map(line).collect())).collect()
    }

    /// The splits of the side input's source.
    #[must_use]
    pub fn side_source(&self) -> Vec<ScriptedSplit> {
        let rows = |odd: usize| {
            let mine = self.facts.iter().enumerate().filter(move |(i, _)| i % 2 == odd);
            mine.map(|(_, (key, value, time))| row(&format!("{}:{value}", *key as char), *time)).collect()
        };
        vec![ScriptedSplit::new(rows(0)), ScriptedSplit::new(rows(1))]
    }
}

fn ranges(split: usize, rng: &mut SplitMix64) -> Vec<(i64, i64, i64)> {
    let range = |n: usize, rng: &mut SplitMix64| {
        let from = 1000 * split as i64 + 20 * n as i64;
        (from, from + rng.between(0, 12), rng.between(0, 100))
    };
    (0..rng.below(6)).map(|n| range(n, rng)).collect()
}

fn row(text: &str, time: i64) -> SourceRow {
    SourceRow { key: Vec::new(), value: text.as_bytes().to_vec(), time: EventTime(time) }
}
