//! Counting by key around a grouping: a table per bundle before it, a sum of varints after it.

use super::pipelines::functions;
use crate::native::{NativeFn, Outputs, Registry, Shape};
use hashbrown::HashTable;
use thalweg_core::batch::{Batch, Row};
use thalweg_core::coder::{read_varint, take, write_varint};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::key_hash;
use thalweg_core::time::EventTime;
use thalweg_core::window::WindowSet;

/// Groups kept at most before they are given out.
const GROUPS_MAX: usize = 1 << 16;

/// Adds the functions.
pub fn register(registry: &mut Registry) {
    registry.register(functions::COUNT_VALUES, Shape::default(), |_| Ok(Box::new(Partial::by_value())));
    registry.register(functions::COUNT_KEYS, Shape::default(), |_| Ok(Box::new(Partial::by_key())));
    registry.register(functions::SUM, Shape::default(), |_| Ok(Box::new(Sum)));
}

/// Counts elements of a bundle by key and windows.
struct Partial {
    by_value: bool,
    table: HashTable<u32>,
    groups: Vec<Group>,
    keys: Vec<u8>,
    windows: Vec<WindowSet>,
}

#[derive(Clone, Copy)]
struct Group {
    hash: u64,
    key: (u32, u32),
    windows: u32,
    count: u64,
    time: EventTime,
}

impl Partial {
    fn new(by_value: bool) -> Self {
        Self { by_value, table: HashTable::new(), groups: Vec::new(), keys: Vec::new(), windows: Vec::new() }
    }

    /// Elements are their own keys.
    fn by_value() -> Self {
        Self::new(true)
    }

    /// Elements are pairs.
    fn by_key() -> Self {
        Self::new(false)
    }

    fn add(&mut self, key: &[u8], hash: u64, windows: u32, row: &Row) {
        let Self { table, groups, keys, .. } = self;
        // windows are few and stand in the low bits of a product with 2^64 over the golden ratio
        let mixed = hash ^ u64::from(windows).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let same = |group: &u32| {
            groups.get(*group as usize).is_some_and(|g| {
                g.hash == hash && g.windows == windows && keys.get(g.key.0 as usize..g.key.1 as usize) == Some(key)
            })
        };
        let found = table.find(mixed, same).copied();
        if let Some(group) = found.and_then(|g| groups.get_mut(g as usize)) {
            group.count += 1;
            group.time = group.time.min(row.time);
            return;
        }
        let start = keys.len() as u32;
        keys.extend_from_slice(key);
        groups.push(Group { hash, key: (start, keys.len() as u32), windows, count: 1, time: row.time });
        let hasher = |group: &u32| {
            let group = groups.get(*group as usize);
            group.map_or(0, |g| g.hash ^ u64::from(g.windows).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        };
        table.insert_unique(mixed, (groups.len() - 1) as u32, hasher);
    }

    fn flush(&mut self, out: &mut Outputs) {
        for group in &self.groups {
            let key = self.keys.get(group.key.0 as usize..group.key.1 as usize).unwrap_or_default();
            let windows = self.windows.get(group.windows as usize).map_or(&[][..], WindowSet::as_slice);
            out.push_with(0, (key, group.hash), group.time, windows, |bytes| write_varint(bytes, group.count));
        }
        self.begin();
    }
}

impl NativeFn for Partial {
    fn begin(&mut self) {
        self.table.clear();
        self.groups.clear();
        self.keys.clear();
        self.windows.clear();
    }

    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        // the batch's own window sets, by their place among those of the bundle
        let sets: Vec<u32> = batch
            .window_sets()
            .iter()
            .map(|set| {
                let known = self.windows.iter().rposition(|w| w == set);
                known.unwrap_or_else(|| {
                    self.windows.push(set.clone());
                    self.windows.len() - 1
                }) as u32
            })
            .collect();
        for row in batch.rows() {
            let (key, hash) = if self.by_value {
                let value = batch.value(row);
                (value, key_hash(value))
            } else {
                (batch.key(row), row.hash)
            };
            self.add(key, hash, sets.get(row.windows as usize).copied().unwrap_or_default(), row);
        }
        if self.groups.len() >= GROUPS_MAX {
            self.flush(out);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Outputs) -> Result<()> {
        self.flush(out);
        Ok(())
    }
}

/// Sums the counts of a group.
struct Sum;

impl NativeFn for Sum {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            let (count, mut rest) = take(batch.value(row), 4)?;
            let cut = |_| Error::internal("CODER_MALFORMED", "a grouped value without its count");
            let mut sum = 0u64;
            for _ in 0..u32::from_be_bytes(count.try_into().map_err(cut)?) {
                let (n, behind) = read_varint(rest)?;
                sum += n;
                rest = behind;
            }
            out.push_with(0, (batch.key(row), row.hash), row.time, batch.windows(row), |bytes| {
                write_varint(bytes, sum)
            });
        }
        Ok(())
    }
}
