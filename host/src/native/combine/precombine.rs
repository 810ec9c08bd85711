//! The half before the grouping: rows of a key and window that meet in one bundle become one accumulator.

use super::accumulator::{Cell, Plan};
use crate::native::payload::CombineRows;
use crate::native::{NativeFn, Outputs};
use crate::row::{FieldType, RowReader, RowWriter};
use hashbrown::{HashMap, HashTable};
use thalweg_core::batch::Batch;
use thalweg_core::error::Result;
use thalweg_core::id::key_hash;
use thalweg_core::time::EventTime;
use thalweg_core::window::{Window, WindowSet};

/// Groups kept at most; then all are given out and the table begins anew. 64 Ki groups of a few cells fill some megabytes.
const GROUPS_MAX: usize = 1 << 16;

/// Combines rows by key and window. Gives pairs of a row of the key's fields and an accumulator.
#[derive(Debug)]
pub struct Precombine {
    rows: CombineRows,
    plan: Plan,
    /// Fields up to this one are looked at.
    depth: usize,
    table: HashTable<u32>,
    groups: Vec<Group>,
    cells: Vec<Cell>,
    keys: Vec<u8>,
    windows: Vec<Window>,
    /// Their places: with sessions every row of a bundle may bring a window of its own.
    index: HashMap<Window, u32, foldhash::fast::FixedState>,
    /// For each window set of the batch at hand the places of its windows in `windows`.
    known: Vec<Option<smallvec::SmallVec<[u32; 1]>>>,
    spans: Vec<Option<(usize, usize)>>,
    key: Vec<u8>,
}

/// A key and window; its cells stand at its own place.
#[derive(Clone, Copy, Debug)]
struct Group {
    hash: u64,
    key: (usize, usize),
    window: u32,
    /// Time of the earliest row: the accumulator holds the watermark as long as its rows would.
    time: EventTime,
}

impl Precombine {
    pub fn new(rows: CombineRows) -> Self {
        let fields = rows.group_by.iter().copied().chain(rows.aggregates.iter().map(|a| a.field));
        let depth = fields.max().map_or(0, |last| last + 1);
        let plan = Plan::new(&rows);
        Self {
            rows,
            plan,
            depth,
            table: HashTable::new(),
            groups: Vec::new(),
            cells: Vec::new(),
            keys: Vec::new(),
            windows: Vec::new(),
            index: HashMap::default(),
            known: Vec::new(),
            spans: Vec::new(),
            key: Vec::new(),
        }
    }

    /// Finds the fields of a row and encodes its key.
    fn read(&mut self, value: &[u8]) -> Result<()> {
        RowReader::new(&self.rows.input, value)?.locate_first(self.depth, value, &mut self.spans)?;
        self.key.clear();
        let mut writer = RowWriter::new(&mut self.key, self.rows.group_by.len());
        for field in &self.rows.group_by {
            let span = self.spans.get(*field).copied().flatten();
            writer.field(span.and_then(|(from, to)| value.get(from..to)));
        }
        writer.finish();
        Ok(())
    }

    /// Adds the row just read to the group of its key in one window.
    fn add(&mut self, hash: u64, window: u32, time: EventTime, value: &[u8]) -> Result<()> {
        let Self { groups, keys, key, .. } = self;
        let same = |group: &u32| {
            groups.get(*group as usize).is_some_and(|g| {
                g.hash == hash && g.window == window && keys.get(g.key.0..g.key.1) == Some(key.as_slice())
            })
        };
        let found = self.table.find(mixed(hash, window), same).copied();
        let mut group = match found {
            Some(group) => group,
            None => self.open(hash, window, time, None),
        };
        if let Some(group) = self.groups.get_mut(group as usize) {
            group.time = group.time.min(time);
        }
        for i in 0..self.rows.aggregates.len() {
            if !self.add_to(group, i, value)? {
                // what is full is given out beside what follows; where they are merged there is more room
                group = self.open(hash, window, time, Some(group));
                self.add_to(group, i, value)?;
            }
        }
        Ok(())
    }

    /// Begins a group of the key just read, in place of one that is full.
    fn open(&mut self, hash: u64, window: u32, time: EventTime, full: Option<u32>) -> u32 {
        let Self { groups, keys, key, cells, table, .. } = self;
        let new = groups.len() as u32;
        let start = keys.len();
        keys.extend_from_slice(key);
        groups.push(Group { hash, key: (start, keys.len()), window, time });
        cells.resize(cells.len() + self.plan.len(), Cell::default());
        let place = full.and_then(|full| table.find_mut(mixed(hash, window), |g| *g == full));
        match place {
            Some(place) => *place = new,
            None => {
                let hasher = |g: &u32| groups.get(*g as usize).map_or(0, |g| mixed(g.hash, g.window));
                table.insert_unique(mixed(hash, window), new, hasher);
            }
        }
        new
    }

    /// Adds a field of the row just read to a group; `false` when the group has no room for it.
    #[inline]
    fn add_to(&mut self, group: u32, i: usize, value: &[u8]) -> Result<bool> {
        let Some(aggregate) = self.rows.aggregates.get(i) else { return Ok(true) };
        let span = self.spans.get(aggregate.field).copied().flatten();
        let field = span.and_then(|(from, to)| value.get(from..to));
        let kind = self.rows.input.fields.get(aggregate.field).map_or(&FieldType::Bytes, |f| &f.kind);
        let cell = self.cells.get_mut(group as usize * self.plan.len() + i);
        cell.map_or(Ok(true), |cell| self.plan.add(i, cell, kind, field))
    }

    /// Places of a window set's windows.
    fn places(&mut self, batch: &Batch, set: u32) -> smallvec::SmallVec<[u32; 1]> {
        let set = set as usize;
        if let Some(Some(places)) = self.known.get(set) {
            return places.clone();
        }
        let windows = batch.window_sets().get(set).map_or(&[][..], WindowSet::as_slice);
        let places: smallvec::SmallVec<[u32; 1]> = windows
            .iter()
            .map(|window| match self.index.get(window) {
                Some(place) => *place,
                None => {
                    let place = self.windows.len() as u32;
                    self.windows.push(window.clone());
                    self.index.insert(window.clone(), place);
                    place
                }
            })
            .collect();
        if let Some(known) = self.known.get_mut(set) {
            *known = Some(places.clone());
        }
        places
    }

    /// Gives out all groups in the order in which they came.
    fn flush(&mut self, out: &mut Outputs) {
        let cells = self.plan.len().max(1);
        for (i, group) in self.groups.iter().enumerate() {
            let key = self.keys.get(group.key.0..group.key.1).unwrap_or_default();
            let Some(window) = self.windows.get(group.window as usize) else { continue };
            let own = self.cells.get(i * cells..(i + 1) * cells).unwrap_or_default();
            let write = |bytes: &mut Vec<u8>| self.plan.write(own, bytes);
            out.push_with(0, (key, group.hash), group.time, std::slice::from_ref(window), write);
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.table.clear();
        self.groups.clear();
        self.cells.clear();
        self.keys.clear();
        self.windows.clear();
        self.index.clear();
        self.known.iter_mut().for_each(|known| *known = None);
    }
}

/// The hash of a key and a window's place.
fn mixed(hash: u64, window: u32) -> u64 {
    // 2^64 divided by the golden ratio: spreads small numbers over all bits
    hash ^ u64::from(window).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl NativeFn for Precombine {
    fn begin(&mut self) {
        self.clear();
    }

    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        self.known.clear();
        self.known.resize(batch.window_sets().len(), None);
        for row in batch.rows() {
            let value = batch.value(row);
            self.read(value)?;
            let hash = key_hash(&self.key);
            for window in self.places(batch, row.windows) {
                self.add(hash, window, row.time, value)?;
            }
            if self.groups.len() >= GROUPS_MAX {
                self.flush(out);
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Outputs) -> Result<()> {
        self.flush(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::payload::{Aggregate, Function};
    use crate::row::Schema;
    use std::time::{Duration, Instant};
    use thalweg_core::batch::BatchBuilder;

    /// How long a bundle of rows takes whose windows begin `apart` after one another, and how many groups it gives.
    fn run(apart: i64) -> Result<(Duration, usize)> {
        let input = Schema::of([("n", FieldType::Int64)]);
        let aggregates = vec![Aggregate { function: Function::Sum, field: 0 }];
        let mut precombine = Precombine::new(CombineRows { input, group_by: Vec::new(), aggregates });
        let mut batch = BatchBuilder::new();
        for i in 0..60_000 {
            let window = Window::Interval { start: EventTime(i * apart), end: EventTime(i * apart + 10) };
            batch.push(&[], b"\x01\x00\x07", EventTime(i * apart), &[window]);
        }
        let (batch, mut out) = (batch.finish(), Outputs::new(&[true]));
        let start = Instant::now();
        precombine.begin();
        precombine.process(&batch, &mut out)?;
        precombine.finish(&mut out)?;
        let took = start.elapsed();
        let mut groups = 0;
        out.drain(|_, batch| groups += batch.rows().len());
        Ok((took, groups))
    }

    #[test]
    fn rows_with_a_window_each_do_not_look_through_each_others() -> Result<()> {
        let (alike, one) = run(0)?;
        let (apart, all) = run(1)?;
        assert_eq!((one, all), (1, 60_000));
        // groups of their own cost some times as much as one; to compare each window with all before it, a thousand times
        let most = alike.max(Duration::from_millis(2)) * 100;
        assert!(apart < most, "{apart:?} with a window each, {alike:?} with one for all");
        Ok(())
    }
}
