//! Calls of a step without state: parts of a batch, whose arena is copied as it stands.

use super::collect::{Outcome, Sources};
use super::drive::{Calls, drive, frames};
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
    batch: &'a Batch,
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
    let mut calls = ElementCalls { step, batch, sides, moment, scratch, out };
    frames(calls.step.frame, batch.rows().iter().map(size))
        .into_iter()
        .try_for_each(|rows| drive(&mut calls, rows, isolate))
}

fn sources<'a>(batch: &'a Batch, rows: Range<usize>) -> Sources<'a, impl Fn(usize) -> (&'a [u8], &'a [u8])> {
    let rows = batch.rows().get(rows).unwrap_or_default();
    Sources {
        rows,
        windows: batch.window_sets(),
        panes: batch.panes(),
        kinds: &[],
        element: move |i: usize| rows.get(i).map_or((&[][..], &[][..]), |row| (batch.key(row), batch.value(row))),
    }
}

impl Calls for ElementCalls<'_> {
    fn attempt(&mut self, rows: Range<usize>) -> Result<()> {
        let Scratch { encoder, sections } = self.scratch;
        sections.clear();
        let keys = self.batch.rows().get(rows.clone()).unwrap_or_default().iter().map(|row| self.batch.key(row));
        self.step.look_up(keys, sections);
        let frame = encoder.elements(self.batch, rows.clone(), self.step.keyed, sections, self.moment);
        let loan = Loan { state: None, sides: self.sides.cloned(), tables: Arc::clone(&self.step.tables) };
        let returned = Callee::call(&mut self.step.callee, PROCESS, frame, loan).0?;
        self.out.take(self.step, returned, &sources(self.batch, rows)).map(drop)
    }

    fn bury(&mut self, row: usize, error: &Error) -> Result<()> {
        self.out.bury(self.step, &sources(self.batch, row..row + 1), 0, &error.to_string(), error.trace());
        Ok(())
    }
}
