//! Counters and distributions: named by constants, summed up in the guest, sent as deltas with the call's result.
//! Metrics count attempts: what a failed element counted stays counted.

use crate::frame::{FrameWriter, pack, section};

/// A number that grows.
#[derive(Clone, Copy, Debug)]
pub struct Counter(&'static str);

impl Counter {
    /// Names a counter.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }
}

/// Count, sum, minimum and maximum of reported values.
#[derive(Clone, Copy, Debug)]
pub struct Distribution(&'static str);

impl Distribution {
    /// Names a distribution.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }
}

struct Delta {
    kind: u32,
    name: &'static str,
    touched: bool,
    values: [i64; 4],
    /// The row that changed it last, and what it was before that.
    row: u32,
    before: (bool, [i64; 4]),
}

const COUNTER: u32 = 0;
const DISTRIBUTION: u32 = 1;

/// What the current call added.
#[derive(Default)]
pub struct Metrics {
    deltas: Vec<Delta>,
    row: u32,
}

/// No row.
const NONE: u32 = u32::MAX;

impl Metrics {
    /// Starts a call: what a failed one left is gone.
    pub fn begin(&mut self) {
        self.row = NONE;
        for delta in &mut self.deltas {
            (delta.touched, delta.values, delta.row) = (false, [0; 4], NONE);
        }
    }

    /// Turns to a row.
    #[inline]
    pub fn enter(&mut self, row: u32) {
        self.row = row;
    }

    /// Takes back what a row added.
    pub fn undo(&mut self, row: u32) {
        for delta in self.deltas.iter_mut().filter(|delta| delta.row == row) {
            (delta.touched, delta.values) = delta.before;
        }
    }

    /// Adds to a counter.
    pub fn count(&mut self, counter: Counter, n: i64) {
        let delta = self.delta(COUNTER, counter.0);
        delta.values[0] = delta.values[0].wrapping_add(n);
    }

    /// Adds a value to a distribution.
    pub fn report(&mut self, distribution: Distribution, value: i64) {
        let delta = self.delta(DISTRIBUTION, distribution.0);
        let [count, sum, min, max] = delta.values;
        delta.values = match count {
            0 => [1, value, value, value],
            _ => [count + 1, sum.wrapping_add(value), min.min(value), max.max(value)],
        };
    }

    // A function has a handful of metrics: a search by address beats any map.
    fn delta(&mut self, kind: u32, name: &'static str) -> &mut Delta {
        let known = self.deltas.iter().position(|d| d.kind == kind && (std::ptr::eq(d.name, name) || d.name == name));
        let i = known.unwrap_or_else(|| {
            let before = (false, [0; 4]);
            self.deltas.push(Delta { kind, name, touched: false, values: [0; 4], row: NONE, before });
            self.deltas.len() - 1
        });
        let delta = &mut self.deltas[i];
        if delta.row != self.row {
            (delta.row, delta.before) = (self.row, (delta.touched, delta.values));
        }
        delta.touched = true;
        delta
    }

    /// Adds the section of the deltas, if there are any, and starts again from nothing.
    pub fn drain_into(&mut self, frame: &mut FrameWriter) {
        let (mut count, mut entries, mut names) = (0, Vec::new(), Vec::new());
        for delta in self.deltas.iter_mut().filter(|d| d.touched) {
            count += 1;
            let start = names.len();
            names.extend_from_slice(delta.name.as_bytes());
            entries.extend(pack(delta.kind as usize, 0));
            entries.extend(pack(start, names.len()));
            entries.extend(delta.values.map(i64::to_le_bytes).as_flattened());
            (delta.touched, delta.values) = (false, [0; 4]);
        }
        if count > 0 {
            frame.table(section::METRICS, [count, 0], &entries, &names);
        }
    }
}
