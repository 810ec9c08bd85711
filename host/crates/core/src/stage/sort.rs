//! Elements in the order of event time: what a stage that asks for sorted input has been given and may not see yet.
//!
//! In: keyed rows as they come. Out: the earliest rows of a key and window, once the watermark has passed them; cells at the
//! seal. Rows of a bundle are not here, but their cells stand until it is applied; they come back if it is dropped. Rows of
//! the same time keep the order of their arrival. Source: `beam:requirement:pardo:time_sorted_input:v1`.

use crate::batch::{Batch, Pane};
use crate::id::{KeyGroup, StateId, key_hash};
use crate::port::store::CellWrite;
use crate::port::worker::Group;
use crate::progress::MinTimes;
use crate::short::ShortBytes;
use crate::state::layout::{CellKey, Kind};
use crate::stored::{read_pane, write_pane};
use crate::time::EventTime;
use crate::window::Window;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Time and sequence: the place of an element in its group.
type Turn = (EventTime, u64);
/// Key and window.
type Owner = (ShortBytes, Window);

/// An element that waits.
#[derive(Clone, Debug)]
pub struct SortedRow {
    /// Its time and sequence.
    pub turn: (EventTime, u64),
    /// Its value in outer encoding.
    pub value: Bytes,
    /// Its pane.
    pub pane: Pane,
}

/// Rows of one key and window, taken out to be run.
#[derive(Clone, Debug)]
pub struct SortedRows {
    /// Whose.
    pub group: Group,
    /// In their order; never empty.
    pub rows: Vec<SortedRow>,
    /// How often bundles with them have failed.
    pub attempts: u32,
    /// How often bundles with them have lost their worker.
    pub losses: u32,
}

impl SortedRows {
    /// The time of the first of them.
    #[must_use]
    pub fn first(&self) -> EventTime {
        self.rows.first().map_or(EventTime::MAX, |row| row.turn.0)
    }

    /// Bytes of their values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.iter().map(|row| row.value.len()).sum()
    }
}

/// The elements that wait on one shard.
#[derive(Debug)]
pub struct SortRoom {
    id: StateId,
    next: u64,
    groups: BTreeMap<Owner, BTreeMap<Turn, SortedRow>>,
    /// The first element of each group.
    first: BTreeSet<(EventTime, Owner)>,
    times: MinTimes,
    dirty: BTreeMap<Bytes, Option<Bytes>>,
    /// Failures and losses of rows whose bundles were dropped.
    tries: BTreeMap<Owner, (u32, u32)>,
}

impl SortRoom {
    /// An empty room. `id` names what is stored of it.
    #[must_use]
    pub fn new(id: StateId) -> Self {
        Self {
            id,
            next: 0,
            groups: BTreeMap::new(),
            first: BTreeSet::new(),
            times: MinTimes::default(),
            dirty: BTreeMap::new(),
            tries: BTreeMap::new(),
        }
    }

    /// Sequences begin here, above all of earlier runs.
    pub fn begin_at(&mut self, first: u64) {
        self.next = first;
    }

    /// Takes the rows of a batch, each for each of its windows. Cost: O(log n) a row; values are copied.
    pub fn add(&mut self, batch: &Batch) {
        for row in batch.rows() {
            for window in batch.windows(row) {
                let turn = (row.time, self.next);
                self.next += 1;
                let mut cell = Vec::new();
                write_pane(&mut cell, &batch.pane(row));
                let skip = cell.len();
                cell.extend_from_slice(batch.value(row));
                let cell = Bytes::from(cell);
                let value = cell.slice(skip..);
                let owner = (ShortBytes::copy(batch.key(row)), window.clone());
                self.dirty.insert(self.cell_key(&owner, row.hash, turn), Some(cell));
                self.insert(owner, SortedRow { turn, value, pane: batch.pane(row) });
            }
        }
    }

    fn cell_key(&self, (key, window): &Owner, hash: u64, (time, sequence): Turn) -> Bytes {
        let front = CellKey::new(KeyGroup::of_hash(hash), Kind::Sorted, self.id);
        front.part(key).window(window).time(time).number(sequence).finish()
    }

    fn insert(&mut self, owner: Owner, row: SortedRow) {
        self.times.add(row.turn.0);
        let rows = self.groups.entry(owner.clone()).or_default();
        let before = rows.first_key_value().map(|(turn, _)| turn.0);
        if before.is_none_or(|before| row.turn.0 < before) {
            if let Some(before) = before {
                self.first.remove(&(before, owner.clone()));
            }
            self.first.insert((row.turn.0, owner));
        }
        rows.insert(row.turn, row);
    }

    /// Keys and windows with elements that the watermark has passed, earliest first.
    pub fn due(&self, watermark: EventTime) -> impl Iterator<Item = (EventTime, Group)> {
        let due = self.first.iter().take_while(move |(time, _)| time.is_passed_by(watermark));
        due.map(|(time, (key, window))| {
            (*time, Group { key: key.clone(), hash: key_hash(key), window: window.clone() })
        })
    }

    /// The time of the first element of a key and window.
    #[must_use]
    pub fn first_of(&self, group: &Group) -> Option<EventTime> {
        let rows = self.groups.get(&(group.key.clone(), group.window.clone()))?;
        rows.first_key_value().map(|((time, _), _)| *time)
    }

    /// Takes out up to `most` elements of a key and window that are not after `last`; no more than one after `bytes_max` is
    /// reached.
    pub fn take(&mut self, group: &Group, last: EventTime, most: usize, bytes_max: usize) -> Option<SortedRows> {
        let owner = (group.key.clone(), group.window.clone());
        let waiting = self.groups.get_mut(&owner)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while rows.len() < most
            && bytes < bytes_max.max(1)
            && let Some(entry) = waiting.first_entry().filter(|entry| entry.key().0 <= last)
        {
            let row = entry.remove();
            bytes += row.value.len();
            rows.push(row);
        }
        let left = waiting.first_key_value().map(|(turn, _)| turn.0);
        let first = rows.first()?.turn.0;
        self.first.remove(&(first, owner.clone()));
        rows.iter().for_each(|row| self.times.remove(row.turn.0));
        match left {
            Some(time) => {
                self.first.insert((time, owner.clone()));
            }
            None => {
                self.groups.remove(&owner);
            }
        }
        let (attempts, losses) = self.tries.remove(&owner).unwrap_or_default();
        Some(SortedRows { group: group.clone(), rows, attempts, losses })
    }

    /// The bundle of taken rows was dropped: they wait again.
    pub fn put_back(&mut self, taken: SortedRows) {
        let owner = (taken.group.key, taken.group.window);
        self.tries.insert(owner.clone(), (taken.attempts, taken.losses));
        taken.rows.into_iter().for_each(|row| self.insert(owner.clone(), row));
    }

    /// The bundle of taken rows was applied: their cells go.
    pub fn applied(&mut self, taken: &SortedRows) {
        let owner = (taken.group.key.clone(), taken.group.window.clone());
        for row in &taken.rows {
            let key = self.cell_key(&owner, taken.group.hash, row.turn);
            if !matches!(self.dirty.remove(&key), Some(Some(_))) {
                self.dirty.insert(key, None);
            }
        }
    }

    /// The earliest element; the end of time when there is none.
    #[must_use]
    pub fn hold(&self) -> EventTime {
        self.times.min()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Collects the writes of the epoch.
    pub fn seal(&mut self, out: &mut Vec<CellWrite>) {
        out.extend(std::mem::take(&mut self.dirty));
    }

    /// Takes a stored element back in; used when a partition is restored.
    pub fn restore(&mut self, key: &[u8], window: Window, turn: (EventTime, u64), cell: &[u8]) -> Option<()> {
        let (pane, value) = read_pane(cell).ok()?;
        let row = SortedRow { turn, value: Bytes::copy_from_slice(value), pane };
        self.insert((ShortBytes::copy(key), window), row);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;
    use crate::state::layout::KeyReader;

    fn room(rows: &[(&str, &str, i64)]) -> SortRoom {
        let mut room = SortRoom::new(StateId(7));
        let mut batch = BatchBuilder::new();
        for (key, value, time) in rows {
            batch.push(key.as_bytes(), value.as_bytes(), EventTime(*time), &[Window::Global]);
        }
        room.add(&batch.finish());
        room
    }

    fn group(key: &str) -> Group {
        Group::new(key.as_bytes(), Window::Global)
    }

    fn values(taken: &Option<SortedRows>) -> Vec<&[u8]> {
        taken.iter().flat_map(|t| &t.rows).map(|r| r.value.as_ref()).collect()
    }

    #[test]
    fn elements_of_a_key_come_by_time_and_then_in_the_order_of_arrival() {
        let mut room = room(&[("a", "x", 5), ("a", "y", 3), ("b", "z", 4), ("a", "w", 3)]);
        let due: Vec<_> = room.due(EventTime(5)).map(|(time, g)| (time.0, g.key)).collect();
        assert_eq!(due, [(3, ShortBytes::copy(b"a")), (4, ShortBytes::copy(b"b"))]);
        let first = room.take(&group("a"), EventTime(4), 10, usize::MAX);
        assert_eq!(values(&first), [b"y", b"w"]);
        assert_eq!(room.hold(), EventTime(4));
        first.into_iter().for_each(|taken| room.put_back(taken));
        assert_eq!(values(&room.take(&group("a"), EventTime(9), 10, usize::MAX)), [b"y", b"w", b"x"]);
    }

    #[test]
    fn large_elements_are_taken_a_few_at_a_time() {
        let mut room = room(&[("a", "1234", 1), ("a", "5678", 2), ("a", "9", 3)]);
        assert_eq!(values(&room.take(&group("a"), EventTime::MAX, 10, 5)), [&b"1234"[..], b"5678"]);
        assert_eq!(values(&room.take(&group("a"), EventTime::MAX, 10, 0)), [b"9"], "at least one");
    }

    #[test]
    fn what_runs_stays_stored_until_it_is_applied_and_what_was_never_stored_is_not_deleted() {
        let mut room = room(&[("a", "x", 5), ("a", "y", 3)]);
        let taken = room.take(&group("a"), EventTime(3), 10, usize::MAX).expect("y");
        let mut writes = Vec::new();
        room.seal(&mut writes);
        assert_eq!(writes.len(), 2);
        let mut after = SortRoom::new(StateId(7));
        for (key, value) in &writes {
            let (_, kind, _, mut rest) = KeyReader::open(key).expect("key");
            assert_eq!(kind, Kind::Sorted as u8);
            let (user, window) = (rest.part().expect("part"), rest.window().expect("window"));
            let turn = (rest.time().expect("time"), rest.number().expect("sequence"));
            after.restore(user, window, turn, value.as_ref().expect("put")).expect("reads");
        }
        assert_eq!(values(&after.take(&group("a"), EventTime::MAX, 10, usize::MAX)), [b"y", b"x"]);
        room.applied(&taken);
        let x = room.take(&group("a"), EventTime::MAX, 10, usize::MAX).expect("x");
        room.applied(&x);
        writes.clear();
        room.seal(&mut writes);
        assert!(writes.len() == 2 && writes.iter().all(|(_, value)| value.is_none()));
        let mut fresh = self::room(&[("a", "x", 5)]);
        let x = fresh.take(&group("a"), EventTime::MAX, 10, usize::MAX).expect("x");
        fresh.applied(&x);
        writes.clear();
        fresh.seal(&mut writes);
        assert!(writes.is_empty() && fresh.is_empty());
    }
}
