//! Calls of a step without state: parts of a batch, whose arena is copied as it stands.

use super::beside::{Looked, fitting};
use super::collect::{Outcome, Sources};
use super::drive::{Calls, drive, frames};
use super::edges;
use super::large::{Cut, iterable, lend};
use super::{Callee, PROCESS, ROW_BYTES, Scratch, Step};
use crate::error::{Error, Result};
use crate::frame::Moment;
use crate::side::SideAccess;
use crate::store::Loan;
use std::ops::Range;
use std::sync::Arc;
use thalweg_core::batch::{Batch, Row};

struct ElementCalls<'a> {
    step: &'a mut Step,
    cut: &'a Cut,
    sides: Option<&'a SideAccess>,
    moment: Moment,
    scratch: &'a mut Scratch,
    out: &'a mut Outcome,
}

/// Runs a batch through a step.
pub fn elements(
    step: &mut Step,
    batch: &Batch,
    sides: Option<&SideAccess>,
    moment: Moment,
    scratch: &mut Scratch,
    out: &mut Outcome,
) -> Result<()> {
    let isolate = step.isolates();
    let size = |row: &Row| row.key.len() + row.value.len() + ROW_BYTES;
    let cut = Cut::of(step, batch)?;
    let mut calls = ElementCalls { step, cut: &cut, sides, moment, scratch, out };
    frames(calls.step.frame, cut.batch.rows().iter().map(size))
        .into_iter()
        .try_for_each(|rows| drive(&mut calls, rows, isolate))
}

fn sources<'a>(
    batch: &'a Batch,
    rows: Range<usize>,
    whole: &'a dyn Fn(usize) -> Result<Option<Vec<u8>>>,
) -> Sources<'a, impl Fn(usize) -> (&'a [u8], &'a [u8])> {
    let rows = batch.rows().get(rows).unwrap_or_default();
    Sources {
        rows,
        windows: batch.window_sets(),
        panes: batch.panes(),
        kinds: &[],
        element: move |i: usize| rows.get(i).map_or((&[][..], &[][..]), |row| (batch.key(row), batch.value(row))),
        whole,
    }
}

/// The value of a row whose beginning alone stands in the batch.
fn whole(step: &Step, cut: &Cut, row: usize) -> Result<Option<Vec<u8>>> {
    cut.tail(row as u32).map(|tail| iterable(step, &tail.value)).transpose()
}

impl Calls for ElementCalls<'_> {
    fn attempt(&mut self, rows: Range<usize>) -> Result<usize> {
        let batch = &self.cut.batch;
        let keys = batch.rows().get(rows.clone()).unwrap_or_default().iter().map(|row| batch.key(row));
        let looked = Looked::of(self.step, keys);
        let fits = self.step.declared.is_empty();
        let taken = if fits { rows.len() } else { fitting(self.step, rows.len(), |row| Ok(looked.bytes(row)))? };
        let rows = rows.start..rows.start + taken;
        let Scratch { encoder, sections } = self.scratch;
        sections.clear();
        looked.write(taken, sections);
        let iterables = lend(self.step, self.cut.within(&rows), sections);
        let frame = encoder.elements(batch, rows.clone(), self.step.keyed, sections, self.moment);
        let (sides, tables) = (self.sides.cloned(), Arc::clone(&self.step.tables));
        let returned =
            Callee::call(&mut self.step.callee, PROCESS, frame, Loan { state: None, sides, iterables, tables }).0?;
        let (step, start) = (&*self.step, rows.start);
        let whole = |row| whole(step, self.cut, start + row);
        self.out.take(step, returned, &sources(batch, rows, &whole)).map(|_| taken)
    }

    fn recover(&mut self, error: &Error) -> Result<()> {
        edges::recover(self.step, error, self.moment, self.scratch, self.out)
    }

    fn bury(&mut self, row: usize, error: &Error) -> Result<()> {
        self.out.put_aside(row);
        let step = &*self.step;
        let whole = |_| whole(step, self.cut, row);
        self.out.bury(step, &sources(&self.cut.batch, row..row + 1, &whole), &error.to_string(), error.trace())
    }
}
