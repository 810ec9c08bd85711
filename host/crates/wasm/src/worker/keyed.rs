//! Calls of a step with keys: rows and due timers by group, each group a key and one window, with the state of exactly these
//! groups.

use super::beside::{Looked, fitting};
use super::collect::{Changes, Outcome, Sources};
use super::drive::{Calls, drive, frames};
use super::edges;
use super::large::{Cut, Tail, iterable, lend};
use super::{Callee, Family, PROCESS, ROW_BYTES, Scratch, Step};
use crate::error::{Error, Result};
use crate::frame::{self, EXPIRES, Frame, Keyed, Moment, TimerOp};
use crate::iterables::Iterables;
use crate::side::SideAccess;
use crate::state::StateAccess;
use crate::store::Loan;
use std::ops::Range;
use std::sync::Arc;
use thalweg_core::batch::{Pane, Row, Span};
use thalweg_core::port::worker::{DueTimer, Group, Item, TimerSet, TimerUpdate};
use thalweg_core::state::{SideView, StateView};
use thalweg_core::time::EventTime;
use thalweg_core::window::WindowSet;

/// The rows of a keyed bundle.
pub struct Rows<'a> {
    /// Keys and windows.
    pub groups: &'a [Group],
    /// What items point into.
    pub batches: &'a [Cut],
    /// The rows in the order to run, groups contiguous.
    pub items: &'a [Item],
}

/// A row with its group: an element, a timer or the end of a window.
struct Found<'a> {
    /// Its place among the bundle's items.
    item: usize,
    group: u32,
    value: &'a [u8],
    /// What is left out of the value.
    tail: Option<&'a Tail>,
    time: EventTime,
    pane: Pane,
    kind: u8,
    fire: i64,
}

struct KeyedCalls<'a> {
    step: &'a mut Step,
    groups: &'a [Group],
    rows: &'a [Found<'a>],
    sides: &'a Arc<[Arc<SideView>]>,
    /// Lent to one call at a time.
    view: Option<StateView>,
    moment: Moment,
    scratch: &'a mut Scratch,
    out: &'a mut Outcome,
}

/// Runs the rows of a keyed bundle through a step. The state view stays with the caller, whatever the step fails with.
pub fn keyed(
    step: &mut Step,
    input: &Rows<'_>,
    view: &mut Option<StateView>,
    sides: &Arc<[Arc<SideView>]>,
    moment: Moment,
    scratch: &mut Scratch,
    out: &mut Outcome,
) -> Result<()> {
    let isolate = step.isolates();
    let rows = resolve(step, input)?;
    let size = |found: &Found<'_>| {
        let key = input.groups.get(found.group as usize).map_or(0, |g| g.key.len());
        key + found.value.len() + ROW_BYTES
    };
    let ranges = frames(step.frame, rows.iter().map(size));
    let groups = input.groups;
    let mut calls = KeyedCalls { step, groups, rows: &rows, sides, view: view.take(), moment, scratch, out };
    let ran = ranges.into_iter().try_for_each(|rows| drive(&mut calls, rows, isolate));
    *view = calls.view.take();
    ran.and_then(|()| if view.is_some() { Ok(()) } else { Err(lost_view()) })
}

fn lost_view() -> Error {
    Error::Engine { why: "a call did not give back its state".into() }
}

/// The rows behind the items.
fn resolve<'a>(step: &Step, input: &Rows<'a>) -> Result<Vec<Found<'a>>> {
    let missing = || Error::Engine { why: "a bundle names a row that it does not have".into() };
    let find = |(at, item): (usize, &'a Item)| match item {
        Item::Row { group, batch, row } => {
            let cut = input.batches.get(*batch as usize).ok_or_else(missing)?;
            let (tail, batch) = (cut.tail(*row), &cut.batch);
            let row = batch.rows().get(*row as usize).ok_or_else(missing)?;
            let (value, pane) = (batch.value(row), batch.pane(row));
            Ok(Some(Found { item: at, group: *group, value, tail, time: row.time, pane, kind: 0, fire: 0 }))
        }
        // a timer of a family that only a version had which was rolled back is nobody's
        Item::Timer { group, timer } => {
            Ok(step.timers.get(timer.family as usize).map(|family| due(at, *group, timer, family)))
        }
    };
    input.items.iter().enumerate().filter_map(|item| find(item).transpose()).collect()
}

fn due<'a>(item: usize, group: u32, timer: &'a DueTimer, family: &Family) -> Found<'a> {
    let (kind, value) = match family {
        Family::Timers { index, .. } => ((*index + 1) as u8, timer.tag.as_ref()),
        Family::Expiration => (EXPIRES, &[][..]),
    };
    Found { item, group, value, tail: None, time: timer.hold, pane: timer.pane, kind, fire: timer.fire }
}

/// The rows of one frame with their dictionaries.
struct Chunk<'a> {
    values: Vec<&'a [u8]>,
    /// What is left out of values, by row.
    tails: Vec<(u32, &'a Tail)>,
    /// Empty if all rows are elements.
    kinds: Vec<u8>,
    fires: Vec<i64>,
    group_of: Vec<u32>,
    groups: Vec<&'a Group>,
    /// For each group of the frame its index in the bundle.
    bundle_group: Vec<u32>,
    window_sets: Vec<WindowSet>,
    window_of: Vec<u32>,
    panes: Vec<Pane>,
    sources: Vec<Row>,
}

impl<'a> Chunk<'a> {
    fn of(groups: &'a [Group], rows: &[Found<'a>]) -> Self {
        let mut this = Self {
            values: Vec::with_capacity(rows.len()),
            tails: Vec::new(),
            kinds: Vec::new(),
            fires: Vec::new(),
            group_of: Vec::with_capacity(rows.len()),
            groups: Vec::new(),
            bundle_group: Vec::new(),
            window_sets: Vec::new(),
            window_of: Vec::new(),
            panes: Vec::new(),
            sources: Vec::with_capacity(rows.len()),
        };
        if rows.iter().any(|found| found.kind != 0) {
            this.kinds = rows.iter().map(|found| found.kind).collect();
            this.fires = rows.iter().map(|found| found.fire).collect();
        }
        for found in rows {
            if this.bundle_group.last() != Some(&found.group) {
                this.open_group(found.group, groups);
            }
            let pane = index_of(&mut this.panes, found.pane);
            let windows = this.window_of.last().copied().unwrap_or_default();
            this.tails.extend(found.tail.map(|tail| (this.values.len() as u32, tail)));
            this.values.push(found.value);
            this.group_of.push(this.groups.len().saturating_sub(1) as u32);
            let (key, value) = (Span::default(), Span::default());
            this.sources.push(Row { key, value, time: found.time, hash: 0, windows, pane });
        }
        this
    }

    fn open_group(&mut self, group: u32, groups: &'a [Group]) {
        let Some(found) = groups.get(group as usize) else { return };
        let same = self.window_sets.last().is_some_and(|set| set.as_slice() == std::slice::from_ref(&found.window));
        if !same {
            self.window_sets.push(WindowSet::from_iter([found.window.clone()]));
        }
        self.window_of.push(self.window_sets.len() as u32 - 1);
        self.bundle_group.push(group);
        self.groups.push(found);
    }

    fn key(&self, row: usize) -> &'a [u8] {
        self.group_of.get(row).and_then(|g| self.groups.get(*g as usize)).map_or(&[], |g| &g.key)
    }

    /// The value of a row whose beginning alone stands in the frame.
    fn whole(&self, step: &Step, row: usize) -> Result<Option<Vec<u8>>> {
        let tail = self.tails.iter().find(|(at, _)| *at as usize == row);
        tail.map(|(_, tail)| iterable(step, &tail.value)).transpose()
    }

    fn sources<'s>(
        &'s self,
        whole: &'s dyn Fn(usize) -> Result<Option<Vec<u8>>>,
    ) -> Sources<'s, impl Fn(usize) -> (&'s [u8], &'s [u8])> {
        Sources {
            rows: &self.sources,
            windows: &self.window_sets,
            panes: &self.panes,
            kinds: &self.kinds,
            element: |i: usize| (self.key(i), self.values.get(i).copied().unwrap_or_default()),
            whole,
        }
    }

    /// Appends what stands beside the rows, or says that it has more than so many bytes.
    fn beside(
        &self,
        step: &Step,
        access: &mut StateAccess,
        looked: &Looked,
        most: usize,
        sections: &mut Vec<u8>,
    ) -> Result<bool> {
        sections.clear();
        let slots = Arc::clone(&access.slots);
        for (index, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.eager) {
            let filled = frame::cells(index as u32, self.groups.len(), sections, |i, bytes| {
                access.cell(slot, i as u32, bytes, usize::MAX).map_err(|e| Some(Error::State(e)))?;
                if bytes.len() > most { Err(None) } else { Ok(()) }
            });
            match filled {
                Ok(()) => {}
                Err(None) => return Ok(false),
                Err(Some(error)) => return Err(error),
            }
        }
        if !step.declared.is_empty() {
            let tables: usize = (0..self.values.len()).map(|row| looked.bytes(row)).sum();
            if sections.len().saturating_add(tables) > most {
                return Ok(false);
            }
            looked.write(self.values.len(), sections);
        }
        Ok(true)
    }

    /// How many bytes stand beside a row: the cells of a group count for its first one.
    fn bytes_beside(&self, access: &mut StateAccess, looked: &Looked, row: usize) -> Result<usize> {
        let mut bytes = looked.bytes(row);
        let group = |row: usize| self.group_of.get(row).copied();
        if row == 0 || group(row) != group(row - 1) {
            let slots = Arc::clone(&access.slots);
            for slot in slots.iter().filter(|slot| slot.eager) {
                let cell = access.cell_bytes(slot, group(row).unwrap_or_default()).map_err(Error::State)?;
                bytes = bytes.saturating_add(cell);
            }
        }
        Ok(bytes)
    }

    fn encode<'f>(&self, step: &Step, scratch: &'f mut Scratch, moment: Moment) -> (&'f Frame, Option<Iterables>) {
        let Scratch { encoder, sections } = scratch;
        let iterables = lend(step, self.tails.iter().copied(), sections);
        let input = Keyed {
            values: &self.values,
            sources: &self.sources,
            kinds: &self.kinds,
            fires: &self.fires,
            group_of: &self.group_of,
            groups: &self.groups,
            window_sets: &self.window_sets,
            window_of: &self.window_of,
            panes: &self.panes,
            sections,
        };
        (encoder.keyed(&input, moment), iterables)
    }

    /// What an op of a guest means for the engine.
    fn timer(&self, step: &Step, group: u32, op: &TimerOp<'_>) -> Option<TimerUpdate> {
        let (family, domain) = step.timers.iter().enumerate().find_map(|(place, family)| match family {
            Family::Timers { index, domain } if *index == op.family => Some((place as u32, *domain)),
            _ => None,
        })?;
        let row = self.sources.get(op.row as usize);
        let pane = row.and_then(|row| self.panes.get(row.pane as usize)).copied().unwrap_or(Pane::NO_FIRING);
        let set = op.set.map(|(fire, hold)| {
            let usual = match domain {
                crate::describe::Domain::Event => EventTime(fire),
                crate::describe::Domain::Processing => row.map_or(EventTime::MIN, |row| row.time),
            };
            TimerSet { fire, hold: hold.unwrap_or(usual), pane }
        });
        Some(TimerUpdate { group, family, tag: bytes::Bytes::copy_from_slice(op.tag), set })
    }

    /// Makes the changes of a call that counts.
    fn apply(&self, step: &Step, access: &mut StateAccess, changes: &Changes, out: &mut Outcome) -> Result<()> {
        changes
            .frames()
            .try_for_each(|ops| access.apply(ops, |group, op| out.timers.extend(self.timer(step, group, op))))
    }
}

impl<'a> KeyedCalls<'a> {
    /// As many of the rows as have room in a frame with what stands beside them; that is in the scratch.
    fn chunk(&mut self, rows: &'a [Found<'a>], access: &mut StateAccess) -> Result<Chunk<'a>> {
        let (step, sections) = (&*self.step, &mut self.scratch.sections);
        let all = Chunk::of(self.groups, rows);
        access.groups.clone_from(&all.bundle_group);
        let looked = Looked::of(step, (0..rows.len()).map(|i| all.key(i)));
        if all.beside(step, access, &looked, step.frame.bytes, sections)? {
            return Ok(all);
        }
        let few = fitting(step, rows.len(), |row| all.bytes_beside(access, &looked, row))?;
        let some = Chunk::of(self.groups, rows.get(..few).unwrap_or_default());
        access.groups.clone_from(&some.bundle_group);
        some.beside(step, access, &looked, usize::MAX, sections)?;
        Ok(some)
    }
}

impl Calls for KeyedCalls<'_> {
    fn attempt(&mut self, rows: Range<usize>) -> Result<usize> {
        let view = self.view.take().ok_or_else(lost_view)?;
        let slots = Arc::clone(&self.step.slots);
        let timers = self.step.timer_families;
        let mut access = StateAccess { view, slots, timers, groups: Vec::new() };
        let chunk = match self.chunk(self.rows.get(rows).unwrap_or_default(), &mut access) {
            Ok(chunk) => chunk,
            Err(e) => {
                self.view = Some(access.view);
                return Err(e);
            }
        };
        let (frame, iterables) = chunk.encode(self.step, self.scratch, self.moment);
        let sides = (!self.step.sides.is_empty()).then(|| SideAccess {
            sides: Arc::clone(&self.step.sides),
            views: Arc::clone(self.sides),
            windows: chunk.window_sets.clone(),
        });
        let loan = Loan { state: Some(access), sides, iterables, tables: Arc::clone(&self.step.tables) };
        let (result, loan) = Callee::call(&mut self.step.callee, PROCESS, frame, loan);
        let mut access = loan.state.ok_or_else(lost_view)?;
        let step = &*self.step;
        let whole = |row| chunk.whole(step, row);
        let taken = result.and_then(|returned| self.out.take(step, returned, &chunk.sources(&whole)));
        let done = taken.and_then(|changes| chunk.apply(self.step, &mut access, &changes, self.out));
        self.view = Some(access.view);
        done.map(|()| chunk.values.len())
    }

    fn recover(&mut self, error: &Error) -> Result<()> {
        edges::recover(self.step, error, self.moment, self.scratch, self.out)
    }

    fn bury(&mut self, row: usize, error: &Error) -> Result<()> {
        let rows = self.rows.get(row..row + 1).unwrap_or_default();
        if rows.iter().any(|found| found.kind != 0) {
            return Err(error.clone()); // a timer is no element that could be put aside
        }
        rows.iter().for_each(|found| self.out.put_aside(found.item));
        let chunk = Chunk::of(self.groups, rows);
        let step = &*self.step;
        let whole = |row| chunk.whole(step, row);
        self.out.bury(step, &chunk.sources(&whole), &error.to_string(), error.trace())
    }
}

/// The index of a value in a short list; it is added if it is new.
fn index_of<T: PartialEq>(list: &mut Vec<T>, value: T) -> u32 {
    // neighbours nearly always share it
    match list.iter().rposition(|known| *known == value) {
        Some(i) => i as u32,
        None => {
            list.push(value);
            (list.len() - 1) as u32
        }
    }
}
