//! State per key and window: the cells of the group whose rows are being processed.
//!
//! Rows of one group stand together, so one cell per slot is alive at a time. A cell is loaded when it is first asked for:
//! an eager slot's from the input frame, another's from the host, a page of groups at a time. Changes are
//! collected and leave with the result of the call. A row that fails is undone by its slots' undo copies.

use crate::element::{Element, View};
use crate::entries::{At, Entries};
use crate::frame::{FrameWriter, Input, Sections, Table, pack, section};
use crate::host::Host;
use crate::slot::{BagSlot, SlotSpec, ValueSlot};
use crate::walk::Walk;
use crate::wire::{self, Malformed};
use std::marker::PhantomData;

/// Groups whose cells are read together when a slot that is not eager is first used.
const READ_AHEAD: usize = 64;

/// The values of a bag, or of one key of a multimap, in the order they were added.
pub struct Items<'a, T> {
    parts: [&'a [u8]; 2],
    value: PhantomData<fn() -> T>,
}

impl<'a, T> Items<'a, T> {
    /// What is encoded in two pieces, one behind the other.
    pub(crate) fn of(parts: [&'a [u8]; 2]) -> Self {
        Self { parts, value: PhantomData }
    }
}

impl<'a, T: Element> Iterator for Items<'a, T> {
    type Item = Result<View<'a, T>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let part = self.parts.iter_mut().find(|part| !part.is_empty())?;
        let item = T::decode_nested(part);
        if item.is_err() {
            self.parts = [&[], &[]];
        }
        Some(item)
    }
}

/// The cell of one slot in the current group: what the host has, and what the rows so far made of it.
#[derive(Default)]
struct Cell {
    /// What the host has, once loaded.
    base: Vec<u8>,
    loaded: bool,
    /// What the rows added; the whole cell if `over`.
    new: Vec<u8>,
    /// Whether `base` no longer counts.
    over: bool,
    // What undoing the row needs: `new` was `kept` bytes long, or stands in `saved` if the row replaced it.
    row: Option<u32>,
    kept: usize,
    was_over: bool,
    saved: Option<Vec<u8>>,
    spare: Vec<u8>,
}

impl Cell {
    fn reset(&mut self) {
        (self.loaded, self.over, self.row) = (false, false, None);
        self.base.clear();
        self.new.clear();
    }

    #[inline(always)]
    fn touch(&mut self, row: u32) {
        if self.row != Some(row) {
            (self.row, self.kept, self.was_over) = (Some(row), self.new.len(), self.over);
            if let Some(old) = self.saved.take() {
                self.spare = old;
            }
        }
    }

    #[inline(always)]
    fn replace(&mut self, row: u32) -> &mut Vec<u8> {
        self.touch(row);
        if self.saved.is_none() {
            let empty = std::mem::take(&mut self.spare);
            self.saved = Some(std::mem::replace(&mut self.new, empty));
        }
        self.over = true;
        self.new.clear();
        &mut self.new
    }

    fn undo(&mut self, row: u32) {
        if self.row != Some(row) {
            return;
        }
        if let Some(old) = self.saved.take() {
            self.spare = std::mem::replace(&mut self.new, old);
        }
        self.new.truncate(self.kept);
        (self.over, self.row) = (self.was_over, None);
    }
}

const SET: u32 = 0;
const APPEND: u32 = 1;
const CLEAR: u32 = 2;

/// One slot: its cell in the current group, and the changes of the groups before.
#[derive(Default)]
struct Slot {
    cell: Cell,
    eager: bool,
    ops: Vec<[u8; 16]>,
    bytes: Vec<u8>,
    // the last page read from the host, and the group it begins with
    page: Vec<u8>,
    page_group: u32,
}

impl Slot {
    fn close_group(&mut self, group: u32) {
        let cell = &mut self.cell;
        let op = match (cell.over, cell.new.is_empty()) {
            (true, false) => SET,
            (true, true) => CLEAR,
            (false, false) => APPEND,
            (false, true) => return,
        };
        let start = self.bytes.len();
        wire::put_short(&cell.new, &mut self.bytes);
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&pack(group as usize, op as usize));
        entry[8..].copy_from_slice(&pack(start, self.bytes.len()));
        self.ops.push(entry);
    }

    fn load(&mut self, index: u32, group: u32, groups: u32, host: &mut Host) {
        if self.cell.loaded {
            return;
        }
        let page = |slot: &Self| {
            let at = group.checked_sub(slot.page_group)? as usize;
            let cells = Sections(&slot.page).flatten().find(|(id, _)| *id == section::CELLS)?.1;
            Table::cells(cells).filter(|table| at < table.len()).map(|table| table.get(at).to_vec())
        };
        let cell = page(self).unwrap_or_else(|| {
            let end = groups.min(group.saturating_add(READ_AHEAD as u32));
            self.page = host.read(index, &(group..end).collect::<Vec<_>>());
            self.page_group = group;
            page(self).unwrap_or_default()
        });
        (self.cell.base, self.cell.loaded) = (cell, true);
    }
}

/// The state of one instance during a call.
#[derive(Default)]
pub struct State {
    slots: Vec<Slot>,
    /// Of the slots that have entries; at the places of others nothing happens. Empty if there is no such slot.
    entries: Vec<Entries>,
    group: Option<u32>,
    groups: u32,
}

impl State {
    /// State with these slots.
    #[must_use]
    pub fn new(specs: &[&dyn SlotSpec]) -> Self {
        let slots = specs.iter().map(|spec| Slot { eager: spec.eager(), ..Slot::default() }).collect();
        // a function that has none pays nothing for them
        let has = specs.iter().any(|spec| !spec.is_plain());
        let entries = specs.iter().filter(|_| has).map(|_| Entries::default()).collect();
        Self { slots, entries, group: None, groups: 0 }
    }

    /// Begins a call.
    pub fn begin(&mut self, groups: usize) {
        (self.group, self.groups) = (None, groups as u32);
        for slot in &mut self.slots {
            slot.cell.reset();
            slot.ops.clear();
            slot.bytes.clear();
            slot.page.clear();
        }
        self.entries.iter_mut().for_each(Entries::begin);
    }

    /// Moves on to the group of the next row.
    #[inline(always)]
    pub fn enter(&mut self, group: u32, input: &Input<'_>) {
        if self.group == Some(group) {
            return;
        }
        self.close_group();
        self.group = Some(group);
        for (index, slot) in self.slots.iter_mut().enumerate().filter(|(_, slot)| slot.eager) {
            if let Some(table) = input.cells.iter().find(|table| table.head == index as u32) {
                wire::put_short(table.get(group as usize), &mut slot.cell.base);
                slot.cell.loaded = true;
            }
        }
    }

    fn close_group(&mut self) {
        let Some(group) = self.group.take() else { return };
        for slot in &mut self.slots {
            slot.close_group(group);
            slot.cell.reset();
        }
        self.entries.iter_mut().for_each(|entries| entries.close_group(group));
    }

    /// Takes back what the row did.
    pub fn undo(&mut self, row: u32) {
        for slot in &mut self.slots {
            slot.cell.undo(row);
        }
        self.entries.iter_mut().for_each(|entries| entries.undo(row));
    }

    /// The entries of a slot in the current group; none for a slot that the function does not list.
    pub fn entries<'a>(&'a mut self, slot: u32, row: u32, host: &'a mut Host) -> Option<At<'a>> {
        let group = self.group.unwrap_or_default();
        let entries = self.entries.get_mut(slot as usize)?;
        Some(At { entries, host, slot, group, row })
    }

    /// Ends the call: the changes of all groups leave with its result.
    pub fn finish(&mut self, frame: &mut FrameWriter) {
        self.close_group();
        for (index, slot) in self.slots.iter().enumerate().filter(|(_, slot)| !slot.ops.is_empty()) {
            let head = [index as u32, slot.ops.len() as u32];
            frame.table(section::CELL_OPS, head, slot.ops.as_flattened(), &slot.bytes);
        }
        for (index, entries) in self.entries.iter().enumerate() {
            entries.finish(index as u32, frame);
        }
    }

    /// The bytes of a slot with one value; empty if it has none, or the function does not list it.
    #[inline(always)]
    pub fn bytes(&mut self, slot: u32, host: &mut Host) -> &[u8] {
        let (group, groups) = (self.group.unwrap_or_default(), self.groups);
        let Some(state) = self.slots.get_mut(slot as usize) else { return &[] };
        if state.cell.over {
            return &state.cell.new;
        }
        state.load(slot, group, groups, host);
        &state.cell.base
    }

    /// Where the new bytes of a slot with one value go.
    #[inline(always)]
    pub fn replace(&mut self, row: u32, slot: u32) -> Option<&mut Vec<u8>> {
        self.slots.get_mut(slot as usize).map(|state| state.cell.replace(row))
    }

    /// The value of a slot, if it has one. `None` too for a slot that the function does not list.
    #[inline(always)]
    pub fn get<T: Element>(&mut self, slot: &ValueSlot<T>, host: &mut Host) -> Result<Option<View<'_, T>>, Malformed> {
        let mut bytes = self.bytes(slot.index, host);
        if bytes.is_empty() { Ok(None) } else { T::decode_nested(&mut bytes).map(Some) }
    }

    /// Replaces the value of a slot.
    #[inline(always)]
    pub fn set<T: Element>(&mut self, row: u32, slot: &ValueSlot<T>, value: &View<'_, T>) {
        if let Some(place) = self.replace(row, slot.index) {
            T::encode_nested(value, place);
        }
    }

    /// Adds to a bag.
    #[inline(always)]
    pub fn add<T: Element>(&mut self, row: u32, slot: &BagSlot<T>, value: &View<'_, T>) {
        if let Some(state) = self.slots.get_mut(slot.index as usize) {
            state.cell.touch(row);
            T::encode_nested(value, &mut state.cell.new);
        }
    }

    /// The values of a bag.
    pub fn items<T: Element>(&mut self, slot: &BagSlot<T>, host: &mut Host) -> Items<'_, T> {
        let (group, groups) = (self.group.unwrap_or_default(), self.groups);
        let parts = match self.slots.get_mut(slot.index as usize) {
            Some(state) if state.cell.over => [&[][..], &state.cell.new[..]],
            Some(state) => {
                state.load(slot.index, group, groups, host);
                [&state.cell.base[..], &state.cell.new[..]]
            }
            None => [&[][..], &[][..]],
        };
        Items::of(parts)
    }

    /// The values of a bag, page by page. What is here already is not fetched again.
    pub fn walk<T: Element>(&mut self, slot: &BagSlot<T>, host: &Host) -> Walk<T> {
        let place = (slot.index, self.group.unwrap_or_default());
        match self.slots.get(slot.index as usize).map(|state| &state.cell) {
            Some(cell) if cell.over => Walk::new(host.clone(), place, Vec::new(), false, cell.new.clone()),
            Some(cell) => Walk::new(host.clone(), place, cell.base.clone(), !cell.loaded, cell.new.clone()),
            None => Walk::new(host.clone(), place, Vec::new(), false, Vec::new()),
        }
    }

    /// Empties a slot.
    pub fn clear(&mut self, row: u32, slot: &dyn SlotSpec) {
        let index = slot.index() as usize;
        if slot.is_plain() {
            if let Some(state) = self.slots.get_mut(index) {
                state.cell.replace(row);
            }
        } else if let Some(entries) = self.entries.get_mut(index) {
            entries.clear(row);
        }
    }
}
