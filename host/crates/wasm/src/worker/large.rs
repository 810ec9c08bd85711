//! Grouped values that are large: too large for an arena, so that their elements stand in pieces elsewhere, or only longer than a page.
//! In: a batch that has some. Out: for a CombineFn piece after piece; for a function that reads pages a batch with the beginnings of
//! these values, and the rest for its calls; for other functions a batch with the values whole, as far as the guest's memory could hold them.

use super::Step;
use super::step::grouped;
use crate::error::{Error, Result};
use crate::iterables::{Iterables, TOKEN_BYTES, prefix};
use bytes::Bytes;
use std::ops::Range;
use thalweg_core::batch::{Batch, BatchBuilder, Large, Row};
use thalweg_core::coder::Coder;

/// Length of the count in front of the elements of an iterable.
const COUNT: usize = 4;

/// Hands out the pieces of a value in order: elements in the nested encoding, none of them cut.
pub fn pieces(large: &Large, mut each: impl FnMut(Bytes) -> Result<()>) -> Result<()> {
    for piece in large.pieces.iter() {
        each(piece.read().map_err(Error::State)?)?;
    }
    each(large.rest.clone())
}

/// The batch with its large values in its arena.
///
/// # Errors
/// [`Error::Unsupported`] if the function takes no grouped values; [`Error::MemoryLimit`] for one that its memory could not hold.
pub fn whole(step: &Step, batch: &Batch) -> Result<Batch> {
    if !batch.has_large() {
        return Ok(batch.clone());
    }
    replaced(batch, |row| batch.large(row).map(|large| iterable(step, large)).transpose())
}

/// The batch with other values in some rows.
fn replaced(batch: &Batch, mut other: impl FnMut(&Row) -> Result<Option<Vec<u8>>>) -> Result<Batch> {
    let mut builder = BatchBuilder::new();
    for row in batch.rows() {
        let made = other(row)?;
        let value = made.as_deref().unwrap_or_else(|| batch.value(row));
        builder.push_with(batch.key(row), row.hash, row.time, batch.windows(row), batch.pane(row), |arena| {
            arena.extend_from_slice(value);
        });
    }
    Ok(builder.finish())
}

/// The elements of a large value behind their count. Source: `beam:coder:iterable:v1`.
///
/// # Errors
/// As for [`whole`].
pub fn iterable(step: &Step, large: &Large) -> Result<Vec<u8>> {
    let missing = || Error::Unsupported {
        function: step.transform.clone(),
        what: "grouped values larger than memory for an input that is no pair of key and list".to_owned(),
    };
    let element = grouped(&step.input_coder).ok_or_else(missing)?;
    let most = step.callee.limits().memory_bytes;
    let (mut out, mut count) = (vec![0; COUNT], 0i32);
    pieces(large, |piece| {
        if out.len().saturating_add(piece.len()) > most {
            let (function, trace) = (step.transform.clone(), String::new());
            return Err(Error::MemoryLimit { function, limit_bytes: most as u64, trace });
        }
        let mut rest = piece.as_ref();
        while !rest.is_empty() {
            rest = element.skip(rest).map_err(Error::State)?;
            count = count.saturating_add(1);
        }
        out.extend_from_slice(&piece);
        Ok(())
    })?;
    if let Some(place) = out.first_chunk_mut() {
        *place = count.to_be_bytes();
    }
    Ok(out)
}

/// A value of which only the beginning stands in its batch.
#[derive(Debug)]
pub struct Tail {
    /// All of it.
    pub value: Large,
    /// The byte of its first piece from which on it is left out.
    from: u32,
}

/// A batch whose large values stand in it with their beginning alone.
#[derive(Debug)]
pub struct Cut {
    /// The batch.
    pub batch: Batch,
    /// The rows whose values are cut, ascending.
    pub tails: Vec<(u32, Tail)>,
}

impl Cut {
    /// The batch as a step's calls take it. Cost: nothing if no value can be large.
    ///
    /// # Errors
    /// As for [`whole`], if the function does not read pages.
    pub fn of(step: &Step, batch: &Batch) -> Result<Self> {
        let Some(element) = grouped(&step.input_coder).filter(|_| step.pages) else {
            return Ok(Self { batch: whole(step, batch)?, tails: Vec::new() });
        };
        let page = step.callee.limits().page_bytes;
        let (mut tails, mut at) = (Vec::new(), 0..);
        if !batch.has_large() && batch.rows().iter().all(|row| row.value.len() <= page) {
            return Ok(Self { batch: batch.clone(), tails });
        }
        let batch = replaced(batch, |row| {
            let index = at.next().unwrap_or_default();
            // one that was put away is not fetched for its beginning
            let cut = match batch.large(row) {
                Some(large) => Some((vec![0; COUNT], Tail { value: large.clone(), from: 0 })),
                None => head(element, batch.shared(row.value), page)?,
            };
            Ok(cut.map(|(head, tail)| {
                tails.push((index, tail));
                head
            }))
        })?;
        Ok(Self { batch, tails })
    }

    /// What is left out of a row's value.
    pub fn tail(&self, row: u32) -> Option<&Tail> {
        let at = self.tails.binary_search_by_key(&row, |(row, _)| *row).ok()?;
        self.tails.get(at).map(|(_, tail)| tail)
    }

    /// What is left out of the values of some rows, with their place among them.
    pub fn within(&self, rows: &Range<usize>) -> impl Iterator<Item = (u32, &Tail)> {
        let first = self.tails.partition_point(|(row, _)| (*row as usize) < rows.start);
        let (start, end) = (rows.start, rows.end);
        let found = self.tails.iter().skip(first).take_while(move |(row, _)| (*row as usize) < end);
        found.map(move |(row, tail)| (*row - start as u32, tail))
    }
}

/// The beginning of a value that is longer than a page, and the rest. `None` where it is sent whole: its elements come in blocks, or it
/// is one element.
fn head(element: &Coder, value: Bytes, page: usize) -> Result<Option<(Vec<u8>, Tail)>> {
    let Some((count, _)) = value.split_first_chunk::<COUNT>().filter(|_| value.len() > page) else { return Ok(None) };
    if i32::from_be_bytes(*count) < 0 {
        return Ok(None);
    }
    let elements = value.slice(COUNT..);
    let (taken, count) = prefix(element, &elements, page).map_err(Error::State)?;
    if taken == elements.len() {
        return Ok(None);
    }
    let mut head = count.to_be_bytes().to_vec();
    head.extend_from_slice(elements.get(..taken).unwrap_or_default());
    Ok(Some((head, Tail { value: Large { pieces: Default::default(), rest: elements }, from: taken as u32 })))
}

/// What a call may read of the values that are cut in its frame, and the LARGE section with their tokens.
pub fn lend<'t>(
    step: &Step,
    tails: impl Iterator<Item = (u32, &'t Tail)>,
    sections: &mut Vec<u8>,
) -> Option<Iterables> {
    let mut tails = tails.peekable();
    tails.peek()?;
    let mut held = Iterables::new(grouped(&step.input_coder)?.clone());
    let rows: Vec<(u32, [u8; TOKEN_BYTES])> =
        tails.map(|(row, tail)| (row, held.add(tail.value.clone(), tail.from))).collect();
    crate::frame::large(&rows, sections);
    Some(held)
}
