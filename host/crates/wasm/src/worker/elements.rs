//! Calls of a step without state: parts of a batch, whose arena is copied as it stands.

use super::collect::{Outcome, Sources};
use super::drive::{Calls, drive, frames};
use super::{Callee, Failures, PROCESS, ROW_BYTES, Scratch, Step};
use crate::error::{Error, Result};
use std::ops::Range;
use thalweg_core::batch::{Batch, Row};
use thalweg_core::time::ProcessingTime;

struct ElementCalls<'a> {
    step: &'a mut Step,
    batch: &'a Batch,
    now: ProcessingTime,
    scratch: &'a mut Scratch,
    out: &'a mut Outcome,
}

/// Runs a batch through a step.
pub fn elements(
    step: &mut Step,
    batch: &Batch,
    now: ProcessingTime,
    scratch: &mut Scratch,
    out: &mut Outcome,
) -> Result<()> {
    let isolate = matches!(step.failures, Failures::DeadLetter(_));
    let size = |row: &Row| row.key.len() + row.value.len() + ROW_BYTES;
    let mut calls = ElementCalls { step, batch, now, scratch, out };
    frames(batch.rows().iter().map(size)).into_iter().try_for_each(|rows| drive(&mut calls, rows, isolate))
}

fn sources<'a>(batch: &'a Batch, rows: Range<usize>) -> Sources<'a, impl Fn(usize) -> (&'a [u8], &'a [u8])> {
    let rows = batch.rows().get(rows).unwrap_or_default();
    Sources {
        rows,
        windows: batch.window_sets(),
        panes: batch.panes(),
        element: move |i: usize| rows.get(i).map_or((&[][..], &[][..]), |row| (batch.key(row), batch.value(row))),
    }
}

impl Calls for ElementCalls<'_> {
    fn attempt(&mut self, rows: Range<usize>) -> Result<()> {
        let frame = self.scratch.encoder.elements(self.batch, rows.clone(), self.step.keyed, self.now);
        let returned = Callee::call(&mut self.step.callee, PROCESS, frame, None).0?;
        self.out.take(self.step, returned, &sources(self.batch, rows)).map(drop)
    }

    fn bury(&mut self, row: usize, error: &Error) {
        self.out.bury(self.step, &sources(self.batch, row..row + 1), 0, &error.to_string(), error.trace());
    }
}
