//! Calls of a key selector: every element gets the key that the function gives for it.

use super::collect::Outcome;
use super::drive::frames;
use super::{Callee, PROCESS, ROW_BYTES, Scratch, Step};
use crate::error::{Error, Result};
use crate::frame::{FrameError, Moment, OutputFrame, Shape};
use crate::store::Loan;
use thalweg_core::batch::{Batch, BatchBuilder, Row};
use thalweg_core::id::key_hash;

/// Makes pairs of key and element.
pub fn select(step: &mut Step, batch: &Batch, moment: Moment, scratch: &mut Scratch, out: &mut Outcome) -> Result<()> {
    let sizes = batch.rows().iter().map(|row| row.key.len() + row.value.len() + ROW_BYTES);
    for range in frames(step.frame, sizes) {
        let rows = batch.rows().get(range.clone()).unwrap_or_default();
        let frame = scratch.encoder.elements(batch, range, step.keyed, &[], moment);
        let returned = Callee::call(&mut step.callee, PROCESS, frame, Loan::default()).0?;
        let broken =
            |e: FrameError| Error::Frame { function: step.transform.clone(), section: e.section, what: e.what };
        let Some(frame) = returned.frames.last() else { continue };
        let parsed = OutputFrame::parse(frame).map_err(broken)?;
        let shape = Shape { sources: rows, outputs: &[false], window_sets: 0, pane: 0 };
        if let Some(failed) = parsed.failed(&shape).map_err(broken)?.first() {
            let element = rows.get(failed.row as usize).map_or(&[][..], |row| batch.value(row));
            return Err(super::collect::row_failed(step, failed, element));
        }
        let in_order = (0..parsed.len()).all(|i| parsed.source(i) as usize == i);
        if parsed.len() != rows.len() || !in_order || returned.frames.len() > 1 {
            let what = "is not the rows of the input in their order";
            return Err(broken(FrameError { section: "SOURCE", what }));
        }
        out.metrics.extend(parsed.metrics().map_err(broken)?);
        let mut builder = BatchBuilder::new();
        for (i, row) in rows.iter().enumerate() {
            let key = parsed.value(i).map_err(broken)?;
            builder.push_with(key, key_hash(key), row.time, batch.windows(row), batch.pane(row), |arena| {
                element(step, batch, row, arena);
            });
        }
        out.push(0, builder.finish());
    }
    Ok(())
}

/// Appends the whole element in the outer context.
fn element(step: &Step, batch: &Batch, row: &Row, arena: &mut Vec<u8>) {
    if let Some((key, _)) = step.input_coder.kv() {
        key.write_nested(arena, batch.key(row));
    }
    arena.extend_from_slice(batch.value(row));
}
