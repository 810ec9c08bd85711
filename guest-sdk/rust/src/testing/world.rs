//! What the runner would keep and do, in memory: state, timers, side inputs, tables; and the imports over it.

use crate::dofn::EventTime;
use crate::element::Element;
use crate::frame::{FrameWriter, INHERIT, Sections, pack, section};
use crate::host::{Imports, Level, PAGE_BYTES, Page};
use crate::slot::FirstLength;
use crate::window::Window;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

type Bytes = Vec<u8>;
/// A key in a window.
pub type Group = (Bytes, Window);
/// A timer's group, family and tag.
pub type TimerId = (Group, u32, String);

/// What there is.
#[derive(Default)]
pub struct World {
    /// By slot, of bags.
    bags: Vec<Option<FirstLength>>,
    cells: BTreeMap<(Group, u32), Bytes>,
    entries: BTreeMap<(Group, u32), BTreeMap<Bytes, Bytes>>,
    /// When each timer fires, and the time of what it puts out.
    pub timers: BTreeMap<TimerId, (i64, i64)>,
    /// Elements of side inputs: key and value.
    pub sides: BTreeMap<u32, Vec<(Bytes, Bytes)>>,
    /// Entries of tables.
    pub tables: BTreeMap<u32, BTreeMap<Bytes, Bytes>>,
    /// The groups of the running call.
    pub groups: Vec<Group>,
    /// Early outputs of the running call.
    pub emitted: Vec<Bytes>,
    /// Lines of the log.
    pub logs: Vec<(Level, String)>,
    /// Questions about state so far.
    pub calls: usize,
    /// The clock.
    pub now: i64,
    /// Bytes of a page of grouped values; none is as much as the runner's.
    pub page_bytes: usize,
    /// The pages of the running call, each with whether its list goes on.
    pub pages: Vec<(Bytes, bool)>,
}

/// Entries of an op section.
struct Ops<'a, const N: usize> {
    head: u32,
    entries: &'a [[u8; N]],
    bytes: &'a [u8],
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl<'a, const N: usize> Ops<'a, N> {
    fn of(payload: &'a [u8], count_at: usize) -> Option<Self> {
        let (head, count) = (number(payload, 0)?, number(payload, count_at)? as usize);
        let (entries, bytes) = payload.get(8..)?.split_at_checked(count * N)?;
        Some(Self { head, entries: entries.as_chunks().0, bytes })
    }

    fn range(&self, entry: &[u8; N], at: usize) -> Option<&'a [u8]> {
        self.bytes.get(number(entry, at)? as usize..number(entry, at + 4)? as usize)
    }
}

impl World {
    /// Nothing yet, for a function with these slots.
    pub fn of(bags: Vec<Option<FirstLength>>) -> Self {
        Self { bags, ..Self::default() }
    }

    fn group(&self, group: u32) -> Option<&Group> {
        self.groups.get(group as usize)
    }

    /// The beginning of a list that is longer than a page, and the token of the rest.
    pub fn cut<T: Element>(&mut self, encoded: &[u8]) -> Option<(Bytes, [u8; 8])> {
        let most = if self.page_bytes == 0 { PAGE_BYTES as usize } else { self.page_bytes };
        if encoded.len() <= most {
            return None;
        }
        let mut parts = T::pages(encoded, most).into_iter();
        let (head, rest): (Bytes, Vec<Bytes>) = (parts.next()?, parts.collect());
        let token = (self.pages.len() as u64).to_le_bytes();
        let last = rest.len().checked_sub(1)?;
        self.pages.extend(rest.into_iter().enumerate().map(|(i, page)| (page, i < last)));
        Some((head, token))
    }

    /// Adds the cells of a slot for some groups of the call.
    pub fn cells(&self, frame: &mut FrameWriter, slot: u32, groups: &[u32]) {
        let (mut entries, mut bytes) = (Vec::new(), Vec::new());
        for group in groups {
            let start = bytes.len();
            let cell = self.group(*group).and_then(|group| self.cells.get(&(group.clone(), slot)));
            bytes.extend_from_slice(cell.map_or(&[], Vec::as_slice));
            entries.push(pack(start, bytes.len()));
        }
        frame.table(section::CELLS, [slot, groups.len() as u32], entries.as_flattened(), &bytes);
    }

    /// Adds what a table has for the rows.
    pub fn table_cells<'k>(&self, frame: &mut FrameWriter, table: u32, keys: impl Iterator<Item = &'k [u8]>) {
        let found: Vec<Option<&Bytes>> = keys.map(|key| self.tables.get(&table)?.get(key)).collect();
        answers(frame, section::TABLE_CELLS, [table, found.len() as u32], &found);
    }

    /// Applies the changes of a call whose rows had these times. `None` if they are broken.
    pub fn apply(&mut self, frame: &[u8], times: &[EventTime], event: impl Fn(u32) -> bool) -> Option<()> {
        for section in Sections(frame) {
            let (id, payload) = section.ok()?;
            match id {
                section::CELL_OPS => self.cell_ops(&Ops::of(payload, 4)?)?,
                section::SUBCELL_OPS => self.entry_ops(&Ops::of(payload, 4)?)?,
                section::TIMER_OPS => self.timer_ops(&Ops::of(payload, 0)?, times, &event)?,
                _ => {}
            }
        }
        Some(())
    }

    fn cell_ops(&mut self, ops: &Ops<'_, 16>) -> Option<()> {
        for entry in ops.entries {
            let (group, op, value) = (number(entry, 0)?, number(entry, 4)?, ops.range(entry, 8)?);
            let id = (self.group(group)?.clone(), ops.head);
            let cell = self.cells.entry(id).or_default();
            if op != 1 {
                cell.clear();
            }
            cell.extend_from_slice(value);
        }
        Some(())
    }

    fn entry_ops(&mut self, ops: &Ops<'_, 24>) -> Option<()> {
        for entry in ops.entries {
            let (subkey, value) = (ops.range(entry, 8)?, ops.range(entry, 16)?);
            let id = (self.group(number(entry, 0)?)?.clone(), ops.head);
            let entries = self.entries.entry(id).or_default();
            match number(entry, 4)? {
                0 => drop(entries.insert(subkey.to_vec(), value.to_vec())),
                1 => entries.entry(subkey.to_vec()).or_default().extend_from_slice(value),
                2 => drop(entries.remove(subkey)),
                3 => entries.clear(),
                4 => entries.retain(|key, _| !(subkey..value).contains(&key.as_slice())),
                _ => return None,
            }
        }
        Some(())
    }

    fn timer_ops(&mut self, ops: &Ops<'_, 40>, times: &[EventTime], event: &impl Fn(u32) -> bool) -> Option<()> {
        for entry in ops.entries {
            let (family, row) = (number(entry, 4)?, number(entry, 12)?);
            let tag = String::from_utf8(ops.range(entry, 32)?.to_vec()).ok()?;
            let id = (self.group(number(entry, 0)?)?.clone(), family, tag);
            let (fire, hold) = (long(entry, 16)?, long(entry, 24)?);
            let usual = if event(family) { fire } else { times.get(row as usize)?.0 };
            match number(entry, 8)? {
                0 => drop(self.timers.insert(id, (fire, if hold == INHERIT { usual } else { hold }))),
                1 => drop(self.timers.remove(&id)),
                _ => return None,
            }
        }
        Some(())
    }

    /// Takes the timers of the earliest instant that is due.
    pub fn due(&mut self, to: i64, ours: impl Fn(u32) -> bool) -> Vec<(TimerId, (i64, i64))> {
        let due = |(id, (fire, _)): (&TimerId, &(i64, i64))| (ours(id.1) && *fire <= to).then_some(*fire);
        let Some(first) = self.timers.iter().filter_map(due).min() else { return Vec::new() };
        let is = |id: &TimerId, at: &mut (i64, i64)| ours(id.1) && at.0 == first;
        self.timers.extract_if(.., is).collect()
    }

    /// The groups that keep something and whose window is over.
    pub fn expired(&self, watermark: EventTime) -> Vec<Group> {
        let cells = self.cells.iter().filter(|(_, cell)| !cell.is_empty()).map(|(id, _)| &id.0);
        let entries = self.entries.iter().filter(|(_, entries)| !entries.is_empty()).map(|(id, _)| &id.0);
        let over = |group: &&Group| match &group.1 {
            Window::Interval(interval) => interval.end <= watermark,
            _ => watermark.0 == i64::MAX,
        };
        let mut groups: Vec<Group> = cells.chain(entries).filter(over).cloned().collect();
        groups.sort();
        groups.dedup();
        groups
    }

    /// Drops what a group keeps.
    pub fn forget(&mut self, group: &Group) {
        self.cells.retain(|id, _| id.0 != *group);
        self.entries.retain(|id, _| id.0 != *group);
        self.timers.retain(|id, _| id.0 != *group);
    }
}

/// Entries that may be absent.
fn answers(frame: &mut FrameWriter, id: u32, head: [u32; 2], found: &[Option<&Bytes>]) {
    let (mut entries, mut bytes) = (Vec::new(), Vec::new());
    for entry in found {
        let start = bytes.len();
        bytes.extend_from_slice(entry.map_or(&[], Vec::as_slice));
        entries.extend([pack(usize::from(entry.is_some()), 0), pack(start, bytes.len())]);
    }
    frame.table(id, head, entries.as_flattened(), &bytes);
}

/// Rows of key and value.
fn page<'a>(rows: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Bytes {
    let (mut key, mut value, mut arena) = (Vec::new(), Vec::new(), Vec::new());
    for (k, v) in rows {
        let start = arena.len();
        arena.extend_from_slice(k);
        let middle = arena.len();
        arena.extend_from_slice(v);
        key.push(pack(start, middle));
        value.push(pack(middle, arena.len()));
    }
    let mut frame = FrameWriter::new(key.len(), arena.len());
    frame.section(section::KEY, &[key.as_flattened()]);
    frame.section(section::VALUE, &[value.as_flattened()]);
    frame.section(section::ARENA, &[&arena]);
    frame.finish()
}

/// The questions of a lookup: group and key.
fn questions(frame: &[u8]) -> Vec<(u32, Bytes)> {
    let subkeys = Sections(frame).flatten().find(|(id, _)| *id == section::SUBKEYS);
    let ops = subkeys.and_then(|(_, payload)| Ops::<16>::of(payload, 0));
    let read = |ops: &Ops<'_, 16>, entry: &[u8; 16]| Some((number(entry, 0)?, ops.range(entry, 8)?.to_vec()));
    ops.map(|ops| ops.entries.iter().filter_map(|entry| read(&ops, entry)).collect()).unwrap_or_default()
}

/// How many rows a page has, so that tests see more than one.
const PAGE_ROWS: usize = 3;

/// A page of rows, from where the token says.
fn part(rows: &[(&[u8], &[u8])], start: Option<&[u8]>) -> Page {
    let from = start.and_then(|token| long(token, 0)).map_or(0, |at| at as usize);
    let end = rows.len().min(from + PAGE_ROWS);
    let next = (end < rows.len()).then(|| (end as i64).to_le_bytes().to_vec());
    (page(rows[from.min(end)..end].iter().copied()), next)
}

/// The values of a bag as rows.
fn values(mut cell: &[u8], first: FirstLength) -> Vec<(&[u8], &[u8])> {
    let mut rows = Vec::new();
    while let Some((value, rest)) = first(cell).filter(|n| *n > 0).and_then(|n| cell.split_at_checked(n)) {
        rows.push((&[][..], value));
        cell = rest;
    }
    rows
}

/// The world, from inside and outside of the function.
pub struct Shared(pub Arc<Mutex<World>>);

impl Shared {
    /// Looks at it or changes it.
    pub fn with<R>(&self, f: impl FnOnce(&mut World) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Imports for Shared {
    fn log(&mut self, level: Level, _row: Option<u32>, message: &str) {
        self.with(|world| world.logs.push((level, message.to_owned())));
    }

    fn emit(&mut self, rows: Bytes) {
        self.with(|world| world.emitted.push(rows));
    }

    fn read(&mut self, slot: u32, groups: &[u32]) -> Bytes {
        self.with(|world| {
            world.calls += 1;
            let mut frame = FrameWriter::new(0, 0);
            world.cells(&mut frame, slot, groups);
            frame.finish()
        })
    }

    fn lookup(&mut self, slot: u32, subkeys: &[u8]) -> Bytes {
        self.with(|world| {
            world.calls += 1;
            let asked = questions(subkeys);
            let entry = |(group, key): &(u32, Bytes)| {
                world.entries.get(&(world.group(*group)?.clone(), slot)).and_then(|entries| entries.get(key))
            };
            let found: Vec<_> = asked.iter().map(entry).collect();
            let mut frame = FrameWriter::new(0, 0);
            answers(&mut frame, section::SUBCELLS, [found.len() as u32, 0], &found);
            frame.finish()
        })
    }

    fn scan(&mut self, slot: u32, group: u32, start: &[u8], end: Option<&[u8]>, _max_bytes: u32) -> Page {
        self.with(|world| {
            world.calls += 1;
            if let Some(first) = world.bags.get(slot as usize).copied().flatten() {
                let cell = world.group(group).and_then(|group| world.cells.get(&(group.clone(), slot)));
                let values = values(cell.map_or(&[], Vec::as_slice), first);
                return part(&values, (!start.is_empty()).then_some(start));
            }
            let entries = world.group(group).and_then(|group| world.entries.get(&(group.clone(), slot)));
            let inside = |key: &&Bytes| key.as_slice() >= start && end.is_none_or(|end| key.as_slice() < end);
            let rows = entries.into_iter().flatten().filter(|(key, _)| inside(key));
            let rows: Vec<(&[u8], &[u8])> = rows.map(|(key, cell)| (key.as_slice(), cell.as_slice())).collect();
            let next = rows.get(PAGE_ROWS).map(|(key, _)| key.to_vec());
            (page(rows.into_iter().take(PAGE_ROWS)), next)
        })
    }

    fn iterable(&mut self, token: &[u8], _max_bytes: u32) -> Page {
        self.with(|world| {
            let at = long(token, 0).unwrap_or(i64::MAX) as usize;
            let Some((elements, more)) = world.pages.get(at) else { return (Bytes::new(), None) };
            (page([(&[][..], elements.as_slice())].into_iter()), more.then(|| (at as u64 + 1).to_le_bytes().to_vec()))
        })
    }

    fn side(&mut self, input: u32, _windows: u32, key: Option<&[u8]>, start: Option<&[u8]>, _max_bytes: u32) -> Page {
        self.with(|world| {
            let rows = world.sides.get(&input).into_iter().flatten();
            let rows = rows.filter(|(k, _)| key.is_none_or(|key| key == k));
            let rows: Vec<(&[u8], &[u8])> =
                rows.map(|(k, v)| (if key.is_some() { &[][..] } else { k.as_slice() }, v.as_slice())).collect();
            part(&rows, start)
        })
    }

    fn side_keys(&mut self, input: u32, _windows: u32, start: Option<&[u8]>, _max_bytes: u32) -> Page {
        self.with(|world| {
            let mut keys: Vec<&[u8]> =
                world.sides.get(&input).into_iter().flatten().map(|(k, _)| k.as_slice()).collect();
            keys.sort_unstable();
            keys.dedup();
            part(&keys.into_iter().map(|key| (&[][..], key)).collect::<Vec<_>>(), start)
        })
    }

    fn table(&mut self, table: u32, keys: &[u8]) -> Bytes {
        self.with(|world| {
            let asked = questions(keys);
            let found: Vec<_> = asked.iter().map(|(_, key)| world.tables.get(&table)?.get(key)).collect();
            let mut frame = FrameWriter::new(0, 0);
            answers(&mut frame, section::SUBCELLS, [found.len() as u32, 0], &found);
            frame.finish()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Answers;

    #[test]
    fn answers_are_read_back() {
        let (mut frame, there) = (FrameWriter::new(0, 0), b"x".to_vec());
        answers(&mut frame, section::SUBCELLS, [2, 0], &[None, Some(&there)]);
        let frame = frame.finish();
        let found = Answers::find(&frame).map(|answers| (answers.get(0), answers.get(1), answers.get(2)));
        assert_eq!(found, Some((None, Some(&b"x"[..]), None)));
    }
}
