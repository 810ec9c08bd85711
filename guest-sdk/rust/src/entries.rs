//! State with entries: maps, sets, multimaps and ordered lists of the current group. What the rows change is laid over what the
//! host has, which is asked only for what a row wants to know; every row's changes can be taken back.

use crate::frame::{Answers, FrameWriter, Input, pack, section};
use crate::host::{Host, PAGE_BYTES};
use std::collections::BTreeMap;

type Bytes = Vec<u8>;

/// What the rows made of an entry.
#[derive(Clone)]
enum Over {
    /// It is this now.
    Set(Bytes),
    /// It has gone.
    Removed,
    /// It has these values more.
    Appended(Bytes),
}

/// How to take back a change.
enum Undo {
    /// What stood over an entry before.
    Entry(Bytes, Option<Over>),
    /// All that there was before the slot was emptied.
    All(BTreeMap<Bytes, Over>, Vec<(Bytes, Bytes)>, bool),
    /// One range was removed.
    Range,
}

const PUT: u32 = 0;
const APPEND: u32 = 1;
const REMOVE: u32 = 2;
const CLEAR: u32 = 3;
const REMOVE_RANGE: u32 = 4;

/// The entries of one slot in the current group, and the changes of the groups before.
#[derive(Default)]
pub struct Entries {
    over: BTreeMap<Bytes, Over>,
    /// Whether what the host has no longer counts.
    cleared: bool,
    /// From and to of what no longer counts.
    removed: Vec<(Bytes, Bytes)>,
    /// What the host has, as far as it was asked.
    base: BTreeMap<Bytes, Option<Bytes>>,
    undo: Vec<Undo>,
    row: Option<u32>,
    ops: Vec<[u8; 24]>,
    bytes: Bytes,
}

impl Entries {
    /// Begins a call.
    pub fn begin(&mut self) {
        self.forget();
        self.ops.clear();
        self.bytes.clear();
    }

    fn forget(&mut self) {
        self.over.clear();
        self.base.clear();
        self.removed.clear();
        self.undo.clear();
        (self.cleared, self.row) = (false, None);
    }

    fn touch(&mut self, row: u32) {
        if self.row != Some(row) {
            self.undo.clear();
            self.row = Some(row);
        }
    }

    fn lay(&mut self, row: u32, subkey: &[u8], over: Over) {
        self.touch(row);
        let before = self.over.insert(subkey.to_vec(), over);
        self.undo.push(Undo::Entry(subkey.to_vec(), before));
    }

    fn append(&mut self, row: u32, subkey: &[u8], values: &[u8]) {
        let over = match self.over.get(subkey) {
            Some(Over::Set(old)) => Over::Set([old, values].concat()),
            Some(Over::Appended(old)) => Over::Appended([old, values].concat()),
            Some(Over::Removed) => Over::Set(values.to_vec()),
            None if self.gone(subkey) => Over::Set(values.to_vec()),
            None => Over::Appended(values.to_vec()),
        };
        self.lay(row, subkey, over);
    }

    /// Empties the slot.
    pub fn clear(&mut self, row: u32) {
        self.touch(row);
        let (over, removed) = (std::mem::take(&mut self.over), std::mem::take(&mut self.removed));
        self.undo.push(Undo::All(over, removed, std::mem::replace(&mut self.cleared, true)));
    }

    fn remove_range(&mut self, row: u32, from: &[u8], to: &[u8]) {
        self.touch(row);
        let inside: Vec<Bytes> = self.over.keys().filter(|key| (from..to).contains(&key.as_slice())).cloned().collect();
        for key in inside {
            let before = self.over.remove(&key);
            self.undo.push(Undo::Entry(key, before));
        }
        self.removed.push((from.to_vec(), to.to_vec()));
        self.undo.push(Undo::Range);
    }

    /// Takes back what the row did.
    pub fn undo(&mut self, row: u32) {
        if self.row != Some(row) {
            return;
        }
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Entry(key, Some(before)) => drop(self.over.insert(key, before)),
                Undo::Entry(key, None) => drop(self.over.remove(&key)),
                Undo::Range => drop(self.removed.pop()),
                Undo::All(over, removed, cleared) => {
                    (self.over, self.removed, self.cleared) = (over, removed, cleared);
                }
            }
        }
        self.row = None;
    }

    /// Whether the host's entry of this key no longer counts.
    fn gone(&self, subkey: &[u8]) -> bool {
        let inside = |(from, to): &(Bytes, Bytes)| (from.as_slice()..to.as_slice()).contains(&subkey);
        self.cleared || self.removed.iter().any(inside)
    }

    /// Moves on: what the rows of the group changed becomes operations.
    pub fn close_group(&mut self, group: u32) {
        let cleared = self.cleared;
        if cleared {
            self.op(group, CLEAR, &[], &[]);
        }
        for (from, to) in std::mem::take(&mut self.removed) {
            self.op(group, REMOVE_RANGE, &from, &to);
        }
        for (subkey, over) in std::mem::take(&mut self.over) {
            match over {
                Over::Set(value) => self.op(group, PUT, &subkey, &value),
                Over::Appended(values) => self.op(group, APPEND, &subkey, &values),
                Over::Removed if !cleared => self.op(group, REMOVE, &subkey, &[]),
                Over::Removed => {}
            }
        }
        self.forget();
    }

    fn op(&mut self, group: u32, op: u32, subkey: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(subkey);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        let mut entry = [0; 24];
        entry[..8].copy_from_slice(&pack(group as usize, op as usize));
        entry[8..16].copy_from_slice(&pack(start, middle));
        entry[16..].copy_from_slice(&pack(middle, self.bytes.len()));
        self.ops.push(entry);
    }

    /// Adds the section of the changes, if there are any.
    pub fn finish(&self, slot: u32, frame: &mut FrameWriter) {
        if !self.ops.is_empty() {
            let head = [slot, self.ops.len() as u32];
            frame.table(section::SUBCELL_OPS, head, self.ops.as_flattened(), &self.bytes);
        }
    }
}

/// The entries of a slot in the group of a row.
pub struct At<'a> {
    /// The entries.
    pub entries: &'a mut Entries,
    /// Has what no row touched.
    pub host: &'a mut Host,
    /// Index of the slot.
    pub slot: u32,
    /// The group.
    pub group: u32,
    /// The row that reads and writes.
    pub row: u32,
}

impl At<'_> {
    /// Asks the host for what it has of these keys, in one call.
    pub fn fetch(&mut self, subkeys: &[Bytes]) {
        let entries = &mut *self.entries;
        let wanted = |key: &&Bytes| {
            let over = entries.over.get(*key);
            !entries.gone(key)
                && !entries.base.contains_key(*key)
                && over.is_none_or(|o| matches!(o, Over::Appended(_)))
        };
        let wanted: Vec<&Bytes> = subkeys.iter().filter(wanted).collect();
        if wanted.is_empty() {
            return;
        }
        let answer = self.host.lookup(self.slot, &questions(self.group, wanted.iter().map(|key| key.as_slice())));
        let answers = Answers::find(&answer).unwrap_or_default();
        for (i, key) in wanted.into_iter().enumerate() {
            entries.base.insert(key.clone(), answers.get(i).map(<[u8]>::to_vec));
        }
    }

    /// The entry of a key in two pieces, if there is one.
    pub fn get(&mut self, subkey: &[u8]) -> Option<[&[u8]; 2]> {
        self.fetch(&[subkey.to_vec()]);
        let gone = self.entries.gone(subkey);
        let base = self.entries.base.get(subkey).and_then(Option::as_deref).filter(|_| !gone);
        match (self.entries.over.get(subkey), base) {
            (Some(Over::Set(value)), _) => Some([value, &[]]),
            (Some(Over::Removed), _) => None,
            (Some(Over::Appended(values)), base) => Some([base.unwrap_or_default(), values]),
            (None, base) => base.map(|value| [value, &[][..]]),
        }
    }

    /// All entries from a key to before another, by rising key.
    pub fn scan(&mut self, from: &[u8], to: Option<&[u8]>) -> Vec<(Bytes, Bytes)> {
        let mut all: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        let mut start = (!self.entries.cleared).then(|| from.to_vec());
        while let Some(at) = start {
            let (rows, next) = self.host.scan(self.slot, self.group, &at, to, PAGE_BYTES);
            let page = Input::parse(&rows).unwrap_or_default();
            for (key, value) in (0..page.rows).map_while(|row| page.element(row).ok()) {
                if !self.entries.gone(key) {
                    all.insert(key.to_vec(), value.to_vec());
                }
            }
            start = next;
        }
        for (key, over) in &self.entries.over {
            if key.as_slice() < from || to.is_some_and(|to| key.as_slice() >= to) {
                continue;
            }
            match over {
                Over::Set(value) => drop(all.insert(key.clone(), value.clone())),
                Over::Removed => drop(all.remove(key)),
                Over::Appended(values) => all.entry(key.clone()).or_default().extend_from_slice(values),
            }
        }
        all.into_iter().collect()
    }

    /// Makes the bytes the entry.
    pub fn put(&mut self, subkey: &[u8], value: Bytes) {
        self.entries.lay(self.row, subkey, Over::Set(value));
    }

    /// Adds values to the entry.
    pub fn append(&mut self, subkey: &[u8], values: &[u8]) {
        self.entries.append(self.row, subkey, values);
    }

    /// Removes the entry.
    pub fn remove(&mut self, subkey: &[u8]) {
        self.entries.lay(self.row, subkey, Over::Removed);
    }

    /// Removes the entries from a key to before another.
    pub fn remove_range(&mut self, from: &[u8], to: &[u8]) {
        self.entries.remove_range(self.row, from, to);
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.entries.clear(self.row);
    }
}

/// The frame of a lookup.
pub fn questions<'k>(group: u32, keys: impl Iterator<Item = &'k [u8]>) -> Bytes {
    let (mut entries, mut bytes) = (Vec::new(), Vec::new());
    for key in keys {
        let start = bytes.len();
        bytes.extend_from_slice(key);
        entries.extend([pack(group as usize, 0), pack(start, bytes.len())]);
    }
    let mut frame = FrameWriter::new(0, entries.len() * 8 + bytes.len());
    frame.table(section::SUBKEYS, [entries.len() as u32 / 2, 0], entries.as_flattened(), &bytes);
    frame.finish()
}
