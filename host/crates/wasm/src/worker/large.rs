//! Grouped values that are too large for an arena: their elements stand in pieces elsewhere. In: a batch that has some. Out: for a
//! CombineFn piece after piece; for other functions a batch with the values whole, as far as the guest's memory could hold them.

use super::Step;
use crate::error::{Error, Result};
use bytes::Bytes;
use thalweg_core::batch::{Batch, BatchBuilder, Large};
use thalweg_core::coder::Coder;

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
    let element = step.input_coder.kv().and_then(|(_, value)| match value.as_ref() {
        Coder::Iterable(element) => Some(element.as_ref()),
        _ => None,
    });
    let missing = || Error::Unsupported {
        function: step.transform.clone(),
        what: "grouped values larger than memory for an input that is no pair of key and list".to_owned(),
    };
    let element = element.ok_or_else(missing)?;
    let mut builder = BatchBuilder::new();
    for row in batch.rows() {
        let made = batch.large(row).map(|large| iterable(step, element, large)).transpose()?;
        let value = made.as_deref().unwrap_or_else(|| batch.value(row));
        builder.push_with(batch.key(row), row.hash, row.time, batch.windows(row), batch.pane(row), |arena| {
            arena.extend_from_slice(value);
        });
    }
    Ok(builder.finish())
}

/// The elements behind their count. Source: `beam:coder:iterable:v1`.
fn iterable(step: &Step, element: &Coder, large: &Large) -> Result<Vec<u8>> {
    let most = step.callee.limits().memory_bytes;
    let (mut out, mut count) = (vec![0; 4], 0i32);
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
