//! Calls of a CombineFn: values into accumulators, accumulators into one, accumulators into outputs; over many keys in a call.
//!
//! What a group has may need several frames; what they give is merged again until every group has one accumulator.

use super::collect::Outcome;
use super::drive::frames;
use super::{ADD, Callee, EXTRACT, MERGE, ROW_BYTES, Scratch, Step};
use crate::error::{Error, Result};
use crate::frame::{FrameError, Keyed, Moment, OutputFrame, Shape};
use crate::store::Loan;
use bytes::Bytes;
use hashbrown::HashTable;
use thalweg_core::batch::{Batch, BatchBuilder, Large, Pane, Row, Span};
use thalweg_core::coder::Coder;
use thalweg_core::port::worker::Group;
use thalweg_core::short::ShortBytes;
use thalweg_core::time::EventTime;
use thalweg_core::window::{Window, WindowSet};

/// A value or accumulator of a group.
type Part = (u32, Bytes);

/// Rows of a key and window that meet in the batch become one accumulator.
pub fn add(step: &mut Step, batch: &Batch, moment: Moment, scratch: &mut Scratch, out: &mut Outcome) -> Result<()> {
    let mut groups: Vec<(Group, EventTime)> = Vec::new();
    let mut table = HashTable::new();
    let mut parts: Vec<Part> = Vec::new();
    for row in batch.rows() {
        for window in batch.windows(row) {
            let same = |i: &u32| {
                groups.get(*i as usize).is_some_and(|(g, _)| g.key.as_slice() == batch.key(row) && g.window == *window)
            };
            let found = table.find(row.hash, same).copied();
            let group = found.unwrap_or_else(|| {
                let key = ShortBytes::copy(batch.key(row));
                groups.push((Group { key, hash: row.hash, window: window.clone() }, row.time));
                let new = (groups.len() - 1) as u32;
                let hash = |i: &u32| groups.get(*i as usize).map_or(0, |(g, _)| g.hash);
                table.insert_unique(row.hash, new, hash);
                new
            });
            if let Some((_, time)) = groups.get_mut(group as usize) {
                *time = (*time).min(row.time);
            }
            parts.push((group, batch.shared(row.value)));
        }
    }
    parts.sort_by_key(|(group, _)| *group);
    let mut call = Combine { step, moment, scratch, out };
    let made = call.reduce(ADD, groups.len(), parts)?;
    let mut builder = BatchBuilder::new();
    for ((group, time), accumulator) in groups.iter().zip(made) {
        let windows = std::slice::from_ref(&group.window);
        builder.push_with(&group.key, group.hash, *time, windows, Pane::NO_FIRING, |arena| {
            arena.extend_from_slice(&accumulator);
        });
    }
    out.push(0, builder.finish());
    Ok(())
}

/// Elements of key and accumulators (or values, with `op` [`ADD`]) become elements of key and one accumulator; with `extract`
/// of key and output.
pub fn merge(
    step: &mut Step,
    op: u32,
    extract: bool,
    batch: &Batch,
    moment: Moment,
    scratch: &mut Scratch,
    out: &mut Outcome,
) -> Result<()> {
    let coder = step.element_coder.clone();
    let mut call = Combine { step, moment, scratch, out };
    let mut parts: Vec<Part> = Vec::new();
    let (mut small, mut rows) = (Vec::new(), vec![Bytes::new(); batch.len()]);
    for (i, row) in batch.rows().iter().enumerate() {
        match batch.large(row) {
            Some(value) => {
                let made = call.large(op, &coder, value)?;
                rows.get_mut(i).into_iter().for_each(|place| *place = made.clone());
            }
            None => {
                let group = small.len() as u32;
                small.push(i);
                split(&coder, &batch.shared(row.value), |part| parts.push((group, part)))?;
            }
        }
    }
    for (i, made) in small.iter().zip(call.reduce(op, small.len(), parts)?) {
        rows.get_mut(*i).into_iter().for_each(|place| *place = made.clone());
    }
    let mut made = rows;
    if extract {
        made = call.each(EXTRACT, made)?;
    }
    out.push(0, with_values(batch, &made));
    Ok(())
}

/// Elements of key and accumulator become elements of key and output.
pub fn extract(step: &mut Step, batch: &Batch, moment: Moment, scratch: &mut Scratch, out: &mut Outcome) -> Result<()> {
    let accumulators = batch.rows().iter().map(|row| batch.shared(row.value)).collect();
    let mut call = Combine { step, moment, scratch, out };
    let made = call.each(EXTRACT, accumulators)?;
    out.push(0, with_values(batch, &made));
    Ok(())
}

/// Merges the accumulators of each cell.
pub fn compact(step: &mut Step, cells: Vec<Vec<Bytes>>, moment: Moment, scratch: &mut Scratch) -> Result<Vec<Bytes>> {
    let count = cells.len();
    let parts = cells.into_iter().enumerate().flat_map(|(i, cell)| cell.into_iter().map(move |part| (i as u32, part)));
    let mut out = Outcome::new(1);
    Combine { step, moment, scratch, out: &mut out }.reduce(MERGE, count, parts.collect())
}

/// The rows of a batch with other values.
fn with_values(batch: &Batch, values: &[Bytes]) -> Batch {
    let mut builder = BatchBuilder::new();
    for (row, value) in batch.rows().iter().zip(values) {
        builder.push_with(batch.key(row), row.hash, row.time, batch.windows(row), batch.pane(row), |arena| {
            arena.extend_from_slice(value);
        });
    }
    builder.finish()
}

/// The elements of an iterable, each in the outer context.
fn split(coder: &Coder, iterable: &Bytes, mut each: impl FnMut(Bytes)) -> Result<()> {
    let broken = || Error::Engine { why: "a grouped value is no iterable".into() };
    let mut one = |bytes: &Bytes| take(coder, bytes, &mut each);
    let count = i32::from_be_bytes(*iterable.first_chunk::<4>().ok_or_else(broken)?);
    let mut rest = iterable.slice(4..);
    if count >= 0 {
        for _ in 0..count {
            rest = one(&rest)?;
        }
        return Ok(());
    }
    loop {
        let (block, tail) = thalweg_core::coder::read_varint(&rest).map_err(Error::State)?;
        rest = rest.slice_ref(tail);
        if block == 0 {
            return Ok(());
        }
        for _ in 0..block {
            rest = one(&rest)?;
        }
    }
}

/// Takes an element off the front; gives what follows it.
fn take(coder: &Coder, bytes: &Bytes, each: impl FnOnce(Bytes)) -> Result<Bytes> {
    let tail = coder.skip(bytes).map_err(Error::State)?.len();
    let nested = bytes.slice(..bytes.len() - tail);
    each(nested.slice_ref(coder.content(&nested).map_err(Error::State)?));
    Ok(bytes.slice(bytes.len() - tail..))
}

struct Combine<'a> {
    step: &'a mut Step,
    moment: Moment,
    scratch: &'a mut Scratch,
    out: &'a mut Outcome,
}

impl Combine<'_> {
    /// The accumulator of a value that is too large for an arena: piece after piece.
    fn large(&mut self, op: u32, coder: &Coder, value: &Large) -> Result<Bytes> {
        let mut made = Vec::new();
        super::large::pieces(value, |mut piece| {
            let mut parts = Vec::new();
            while !piece.is_empty() {
                piece = take(coder, &piece, |part| parts.push((0, part)))?;
            }
            if !parts.is_empty() {
                made.push((0, self.reduce(op, 1, parts)?.pop().ok_or_else(|| lost("a piece"))?));
            }
            Ok(())
        })?;
        self.reduce(MERGE, 1, made)?.pop().ok_or_else(|| lost("a large value"))
    }

    /// One accumulator for each of `groups` groups; those without a part get that of none.
    fn reduce(&mut self, mut op: u32, groups: usize, mut parts: Vec<Part>) -> Result<Vec<Bytes>> {
        let mut made: Vec<Option<Bytes>> = vec![None; groups];
        let mut ranges = frames(self.step.frame, parts.iter().map(|(_, bytes)| bytes.len() + ROW_BYTES));
        loop {
            let mut again: Vec<Part> = Vec::new();
            for range in ranges {
                for (group, accumulator) in self.call(op, parts.get(range).unwrap_or_default())? {
                    let place = made.get_mut(group as usize).ok_or_else(|| lost("a group"))?;
                    // a second one: both are merged in the next round
                    if let Some(first) = place.replace(accumulator.clone()) {
                        if again.last().is_none_or(|(g, _)| *g != group) {
                            again.push((group, first));
                        }
                        again.push((group, accumulator));
                    }
                }
            }
            if again.is_empty() {
                break;
            }
            again.iter().for_each(|(group, _)| {
                made.get_mut(*group as usize).into_iter().for_each(|place| *place = None);
            });
            (op, parts) = (MERGE, again);
            ranges = frames(self.step.frame, parts.iter().map(|(_, bytes)| bytes.len() + ROW_BYTES));
            if ranges.len() == parts.len() {
                ranges = pairs(&parts); // each fills a frame of its own, where nothing would merge with it
            }
        }
        made.into_iter().map(|accumulator| accumulator.ok_or_else(|| lost("a group without values"))).collect()
    }

    /// One call for parts whose groups stand together: an accumulator per group.
    fn call(&mut self, op: u32, parts: &[Part]) -> Result<Vec<Part>> {
        let mut groups: Vec<u32> = Vec::new();
        let mut group_of = Vec::with_capacity(parts.len());
        for (group, _) in parts {
            if groups.last() != Some(group) {
                groups.push(*group);
            }
            group_of.push(groups.len().saturating_sub(1) as u32);
        }
        let made = self.frame(op, parts.iter().map(|(_, bytes)| bytes), &group_of, groups.len())?;
        if made.len() != groups.len() {
            return Err(self.broken(("HEADER", "counts not one row per group")));
        }
        Ok(groups.into_iter().zip(made).collect())
    }

    /// One output for each value.
    fn each(&mut self, op: u32, values: Vec<Bytes>) -> Result<Vec<Bytes>> {
        let mut made = Vec::with_capacity(values.len());
        for range in frames(self.step.frame, values.iter().map(|bytes| bytes.len() + ROW_BYTES)) {
            let values = values.get(range).unwrap_or_default();
            let group_of: Vec<u32> = (0..values.len() as u32).collect();
            let some = self.frame(op, values.iter(), &group_of, values.len())?;
            if some.len() != values.len() {
                return Err(self.broken(("HEADER", "counts not one row per row of the input")));
            }
            made.extend(some);
        }
        Ok(made)
    }

    /// Calls with some values in groups; the values of the rows that came back.
    fn frame<'v>(
        &mut self,
        op: u32,
        values: impl Iterator<Item = &'v Bytes>,
        group_of: &[u32],
        groups: usize,
    ) -> Result<Vec<Bytes>> {
        let values: Vec<&[u8]> = values.map(Bytes::as_ref).collect();
        let source =
            Row { key: Span::default(), value: Span::default(), time: EventTime(0), hash: 0, windows: 0, pane: 0 };
        let sources = vec![source; values.len()];
        let nobody = Group { key: ShortBytes::default(), hash: 0, window: Window::Global };
        let input = Keyed {
            values: &values,
            sources: &sources,
            kinds: &[],
            fires: &[],
            group_of,
            groups: &vec![&nobody; groups],
            window_sets: &[WindowSet::from_elem(Window::Global, 1)],
            window_of: &vec![0; groups],
            panes: &[Pane::NO_FIRING],
            sections: &[],
        };
        let frame = self.scratch.encoder.keyed(&input, self.moment);
        let mut returned = Callee::call(&mut self.step.callee, op, frame, Loan::default()).0?;
        let Some(frame) = returned.frames.pop().map(Bytes::from) else { return Ok(Vec::new()) };
        if !returned.frames.is_empty() || returned.last_changes || !returned.changes.is_empty() {
            return Err(self.broken(("HEADER", "of a CombineFn comes with early outputs or changes of state")));
        }
        let named = |e: FrameError| (e.section, e.what);
        let parsed = OutputFrame::parse(&frame).map_err(named).map_err(|e| self.broken(e))?;
        let shape = Shape { sources: &sources, outputs: &[false], window_sets: 1, pane: 0 };
        let failed = parsed.failed(&shape).map_err(named).map_err(|e| self.broken(e))?;
        if let Some(row) = failed.into_iter().next() {
            let element = values.get(row.row as usize).copied().unwrap_or_default();
            return Err(super::collect::row_failed(self.step, &row, element));
        }
        self.out.metrics.extend(parsed.metrics().map_err(named).map_err(|e| self.broken(e))?);
        let value = |i| parsed.value(i).map(|bytes| frame.slice_ref(bytes)).map_err(named);
        (0..parsed.len()).map(value).collect::<Result<_, _>>().map_err(|e| self.broken(e))
    }

    fn broken(&self, (section, what): (&'static str, &'static str)) -> Error {
        Error::Frame { function: self.step.transform.clone(), section, what }
    }
}

/// Two parts of a group at a time, whatever their size.
fn pairs(parts: &[Part]) -> Vec<std::ops::Range<usize>> {
    let (mut ranges, mut start) = (Vec::new(), 0);
    while let Some((group, _)) = parts.get(start) {
        let two = parts.get(start + 1).is_some_and(|(next, _)| next == group);
        let end = start + 1 + usize::from(two);
        ranges.push(start..end);
        start = end;
    }
    ranges
}

fn lost(what: &str) -> Error {
    Error::Engine { why: format!("{what} was lost in a combine") }
}
