//! Calls of a step with keys: rows by group, each group a key and one window, with the state of exactly these groups.

use super::collect::{Outcome, Sources};
use super::drive::{Calls, drive, frames};
use super::{Callee, Failures, PROCESS, ROW_BYTES, Scratch, Step};
use crate::error::{Error, Result};
use crate::frame::{self, Frame, Keyed};
use crate::state::StateAccess;
use std::ops::Range;
use std::sync::Arc;
use thalweg_core::batch::{Batch, Pane, Row};
use thalweg_core::port::worker::{Group, Item};
use thalweg_core::state::StateView;
use thalweg_core::time::ProcessingTime;
use thalweg_core::window::WindowSet;

/// The rows of a keyed bundle.
pub struct Rows<'a> {
    /// Keys and windows.
    pub groups: &'a [Group],
    /// What items point into.
    pub batches: &'a [Batch],
    /// The rows in the order to run, groups contiguous.
    pub items: &'a [Item],
}

/// A row with its group.
type Found<'a> = (u32, &'a Batch, &'a Row);

struct KeyedCalls<'a> {
    step: &'a mut Step,
    groups: &'a [Group],
    rows: &'a [Found<'a>],
    /// Lent to one call at a time.
    view: Option<StateView>,
    now: ProcessingTime,
    scratch: &'a mut Scratch,
    out: &'a mut Outcome,
}

/// Runs the rows of a keyed bundle through a step; gives the state view back.
pub fn keyed(
    step: &mut Step,
    input: &Rows<'_>,
    view: Option<StateView>,
    now: ProcessingTime,
    scratch: &mut Scratch,
    out: &mut Outcome,
) -> Result<StateView> {
    let isolate = matches!(step.failures, Failures::DeadLetter(_));
    let rows = resolve(step, input)?;
    let size = |(group, batch, row): &Found<'_>| {
        let key = input.groups.get(*group as usize).map_or(0, |g| g.key.len());
        key + batch.value(row).len() + ROW_BYTES
    };
    let ranges = frames(rows.iter().map(size));
    let mut calls = KeyedCalls { step, groups: input.groups, rows: &rows, view, now, scratch, out };
    ranges.into_iter().try_for_each(|rows| drive(&mut calls, rows, isolate))?;
    calls.view.ok_or_else(lost_view)
}

fn lost_view() -> Error {
    Error::Engine { why: "a call did not give back its state".into() }
}

/// The rows behind the items.
fn resolve<'a>(step: &Step, input: &Rows<'a>) -> Result<Vec<Found<'a>>> {
    let missing = || Error::Engine { why: "a bundle names a row that it does not have".into() };
    let find = |item: &Item| match item {
        Item::Row { group, batch, row } => {
            let batch = input.batches.get(*batch as usize).ok_or_else(missing)?;
            Ok((*group, batch, batch.rows().get(*row as usize).ok_or_else(missing)?))
        }
        Item::Timer { .. } => Err(Error::Unsupported { function: step.transform.clone(), what: "timers".into() }),
    };
    input.items.iter().map(find).collect()
}

/// The rows of one frame with their dictionaries.
struct Chunk<'a> {
    rows: Vec<(&'a Batch, &'a Row)>,
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
            rows: Vec::with_capacity(rows.len()),
            group_of: Vec::with_capacity(rows.len()),
            groups: Vec::new(),
            bundle_group: Vec::new(),
            window_sets: Vec::new(),
            window_of: Vec::new(),
            panes: Vec::new(),
            sources: Vec::with_capacity(rows.len()),
        };
        for (group, batch, row) in rows {
            if this.bundle_group.last() != Some(group) {
                this.open_group(*group, groups);
            }
            let pane = index_of(&mut this.panes, batch.pane(row));
            let windows = this.window_of.last().copied().unwrap_or_default();
            this.rows.push((*batch, *row));
            this.group_of.push(this.groups.len().saturating_sub(1) as u32);
            this.sources.push(Row { windows, pane, ..**row });
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

    fn sources(&self) -> Sources<'_, impl Fn(usize) -> (&'a [u8], &'a [u8])> {
        Sources {
            rows: &self.sources,
            windows: &self.window_sets,
            panes: &self.panes,
            element: |i: usize| {
                let key = self.group_of.get(i).and_then(|g| self.groups.get(*g as usize)).map_or(&[][..], |g| &g.key);
                (key, self.rows.get(i).map_or(&[][..], |(batch, row)| batch.value(row)))
            },
        }
    }

    fn encode<'f>(&self, access: &mut StateAccess, scratch: &'f mut Scratch, now: ProcessingTime) -> Result<&'f Frame> {
        scratch.cells.clear();
        let slots = Arc::clone(&access.slots);
        for (index, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.eager) {
            let cells = &mut scratch.cells;
            frame::cells(index as u32, self.groups.len(), cells, |i, bytes| access.cell(slot, i as u32, bytes))
                .map_err(Error::State)?;
        }
        let input = Keyed {
            rows: &self.rows,
            sources: &self.sources,
            group_of: &self.group_of,
            groups: &self.groups,
            window_sets: &self.window_sets,
            window_of: &self.window_of,
            panes: &self.panes,
            cells: &scratch.cells,
        };
        Ok(scratch.encoder.keyed(&input, now))
    }
}

impl Calls for KeyedCalls<'_> {
    fn attempt(&mut self, rows: Range<usize>) -> Result<()> {
        let view = self.view.take().ok_or_else(lost_view)?;
        let chunk = Chunk::of(self.groups, self.rows.get(rows).unwrap_or_default());
        let slots = Arc::clone(&self.step.slots);
        let mut access = StateAccess { view, slots, groups: chunk.bundle_group.clone() };
        let frame = match chunk.encode(&mut access, self.scratch, self.now) {
            Ok(frame) => frame,
            Err(e) => {
                self.view = Some(access.view);
                return Err(e);
            }
        };
        let (result, access) = Callee::call(&mut self.step.callee, PROCESS, frame, Some(access));
        let mut access = access.ok_or_else(lost_view)?;
        let taken = result.and_then(|returned| self.out.take(self.step, returned, &chunk.sources()));
        let done = taken.and_then(|changes| access.apply(&changes));
        self.view = Some(access.view);
        done
    }

    fn bury(&mut self, row: usize, error: &Error) {
        let chunk = Chunk::of(self.groups, self.rows.get(row..row + 1).unwrap_or_default());
        self.out.bury(self.step, &chunk.sources(), 0, &error.to_string(), error.trace());
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
