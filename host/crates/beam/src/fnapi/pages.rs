//! Grouped values that are sent a page at a time: the first page goes with the element, the rest is asked for.
//!
//! In: the encoded values of a key. Out: the element's form of `beam:coder:state_backed_iterable:v1`, whose token says which
//! row of the bundle it is and where its first page ends, and the pages asked for by such a token. A value is never in a
//! message whole, and a worker that iterates holds one page. It does not know where the values are kept: they live as long as the
//! batches of the bundle.
//!
//! Source: `beam:coder:state_backed_iterable:v1`, `StateKey.Runner`.

use crate::coder::WireCoder;
use bytes::Bytes;
use thalweg_core::batch::{Batch, Large, Row};
use thalweg_core::coder::{Coder, write_varint};
use thalweg_core::error::{Domain, Error, Result};
use thalweg_core::port::worker::Input;

/// Length of the count in front of the elements of an iterable.
const COUNT: usize = 4;
/// What stands for the count when it is not known, and for the block that a token replaces.
const UNKNOWN: i32 = -1;
/// Bits of a place within a piece.
const HALF: u32 = 32;

/// Part of a value: elements, how many, and where the next part begins.
#[derive(Debug)]
pub(super) struct Page<'v> {
    /// Encoded elements.
    pub data: &'v [u8],
    /// How many.
    pub count: u64,
    /// Where the rest begins; `None` if there is none.
    pub next: Option<usize>,
}

/// The elements from byte `from` on, up to about `bytes` bytes and at least one. Cost: O(elements of the page).
pub(super) fn page<'v>(all: &'v [u8], coder: &Coder, from: usize, bytes: usize) -> Result<Page<'v>> {
    let rest = all.get(from..).unwrap_or_default();
    let (mut after, mut count) = (rest, 0);
    while !after.is_empty() && rest.len() - after.len() < bytes.max(1) {
        let next = coder.skip(after)?;
        if next.len() == after.len() {
            break; // elements without bytes cannot be told apart
        }
        after = next;
        count += 1;
    }
    let taken = rest.len() - after.len();
    let next = (!after.is_empty() && taken > 0).then_some(from + taken);
    Ok(Page { data: rest.get(..taken).unwrap_or_default(), count, next })
}

/// Which values of an input are sent in pages: those over `over` bytes, `first` bytes of them with the element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pages {
    /// A value with more bytes is paged.
    pub over: usize,
    /// Size of a page.
    pub first: usize,
}

impl Pages {
    /// Whether a batch has a value to be paged. Cost: nothing for small batches.
    pub fn any(&self, batch: &Batch) -> bool {
        let may = batch.has_large() || batch.arena().len() > self.over;
        may && batch.rows().iter().any(|row| self.is_paged(batch, row))
    }

    /// Whether the value of a row is.
    pub fn is_paged(&self, batch: &Batch, row: &Row) -> bool {
        row.value.len() > self.over || batch.large(row).is_some()
    }

    /// The form of a value in its element; `None` where it can only be sent whole: its elements have no known ends.
    /// One that was put away is not read for it: all its pages are asked for.
    pub fn head(&self, coder: &WireCoder, batch: &Batch, (index, row): (u32, u32)) -> Option<Vec<u8>> {
        if batch.rows().get(row as usize).is_some_and(|row| batch.large(row).is_some()) {
            return Some(form(&Page { data: &[], count: 0, next: None }, Token { batch: index, row, from: 0 }));
        }
        let values = values_of(coder, batch, row)?;
        let first = page(values.0, values.1, 0, self.first).ok()?;
        let from = first.next? as u64;
        Some(form(&first, Token { batch: index, row, from }))
    }
}

/// An element's value: the first page, and the token by which the rest is asked for.
fn form(first: &Page<'_>, token: Token) -> Vec<u8> {
    let mut out = Vec::with_capacity(first.data.len() + 48);
    out.extend_from_slice(&UNKNOWN.to_be_bytes());
    if first.count > 0 {
        write_varint(&mut out, first.count);
        out.extend_from_slice(first.data);
    }
    write_varint(&mut out, i64::from(UNKNOWN).cast_unsigned());
    let token = token.to_bytes();
    write_varint(&mut out, token.len() as u64);
    out.extend_from_slice(&token);
    out
}

/// A page of a value that was put away. `from` is the number of the piece and, in its lower half, where in the piece the page begins.
fn page_of(large: &Large, coder: &Coder, from: u64, bytes: usize) -> Result<(Vec<u8>, Option<u64>)> {
    let (number, at) = ((from >> HALF) as usize, (from & u64::from(u32::MAX)) as usize);
    let piece = match large.pieces.get(number) {
        Some(piece) => piece.read()?,
        None => large.rest.clone(),
    };
    let found = page(&piece, coder, at, bytes)?;
    let next_piece = || (number < large.pieces.len()).then(|| (number as u64 + 1) << HALF);
    let next = found.next.map(|at| (number as u64) << HALF | at as u64).or_else(next_piece);
    Ok((found.data.to_vec(), next))
}

/// The coder of what is grouped.
fn element_of(coder: &WireCoder) -> Option<&Coder> {
    let (_, value) = coder.element.kv()?;
    if let Coder::Iterable(element) = value.as_ref() { Some(element) } else { None }
}

/// The elements of a row's value, behind their count, and their coder.
fn values_of<'b>(coder: &'b WireCoder, batch: &'b Batch, row: u32) -> Option<(&'b [u8], &'b Coder)> {
    let element = element_of(coder)?;
    let bytes = batch.value(batch.rows().get(row as usize)?);
    let (count, values) = bytes.split_first_chunk::<COUNT>()?;
    (i32::from_be_bytes(*count) >= 0).then_some((values, element))
}

/// Names the rest of a value within its bundle.
struct Token {
    batch: u32,
    row: u32,
    from: u64,
}

impl Token {
    fn to_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let (place, from) = bytes.split_at_mut(8);
        let (batch, row) = place.split_at_mut(4);
        batch.copy_from_slice(&self.batch.to_be_bytes());
        row.copy_from_slice(&self.row.to_be_bytes());
        from.copy_from_slice(&self.from.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (batch, rest) = bytes.split_first_chunk()?;
        let (row, from) = rest.split_first_chunk()?;
        Some(Self {
            batch: u32::from_be_bytes(*batch),
            row: u32::from_be_bytes(*row),
            from: u64::from_be_bytes(from.try_into().ok()?),
        })
    }
}

/// The batches of a bundle that have paged values, by their place in its input; what is not needed is not kept.
pub(super) fn kept(input: &Input, pages: Option<Pages>) -> Vec<Option<Batch>> {
    let Some(pages) = pages else { return Vec::new() };
    let keep = |batch: &Batch| pages.any(batch).then(|| batch.clone());
    let all: Vec<Option<Batch>> = match input {
        Input::Elements { batches } => batches.iter().map(|(_, batch)| keep(batch)).collect(),
        Input::Keyed { batches, .. } => batches.iter().map(keep).collect(),
    };
    if all.iter().all(Option::is_none) { Vec::new() } else { all }
}

/// A page of the value that `token` names: the one behind `continuation`, or the first behind what went with the element.
///
/// # Errors
/// `STATE_UNKNOWN` when the bundle has no such value.
pub(super) fn read(
    kept: &[Option<Batch>],
    coder: &WireCoder,
    (token, continuation): (&[u8], &[u8]),
    bytes: usize,
) -> Result<(Vec<u8>, Bytes)> {
    let foreign = || {
        Error::new("STATE_UNKNOWN", Domain::Guest, "the worker asked for a grouped value that its bundle does not have")
    };
    let token = Token::read(token).ok_or_else(foreign)?;
    let batch = kept.get(token.batch as usize).and_then(Option::as_ref).ok_or_else(foreign)?;
    let from = <[u8; 8]>::try_from(continuation).map_or(token.from, u64::from_be_bytes);
    if let Some(large) = batch.rows().get(token.row as usize).and_then(|row| batch.large(row)) {
        let (data, next) = page_of(large, element_of(coder).ok_or_else(foreign)?, from, bytes)?;
        return Ok((data, next.map(|at| Bytes::copy_from_slice(&at.to_be_bytes())).unwrap_or_default()));
    }
    let (values, element) = values_of(coder, batch, token.row).ok_or_else(foreign)?;
    let found = page(values, element, usize::try_from(from).map_err(|_| foreign())?, bytes)?;
    let next = found.next.map(|at| Bytes::copy_from_slice(&(at as u64).to_be_bytes())).unwrap_or_default();
    Ok((found.data.to_vec(), next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coder::WindowCoder;
    use std::sync::Arc;
    use thalweg_core::batch::{BatchBuilder, Pane};
    use thalweg_core::coder::read_varint;
    use thalweg_core::port::scratch::{Chunk, Scratch};
    use thalweg_core::testing::MemoryScratch;
    use thalweg_core::time::EventTime;
    use thalweg_core::window::Window;

    fn coder() -> WireCoder {
        let list = Arc::new(Coder::Iterable(Arc::new(Coder::Bytes)));
        WireCoder { element: Arc::new(Coder::Kv(Arc::new(Coder::Bytes), list)), window: WindowCoder::Global }
    }

    fn grouped(elements: u32) -> Batch {
        let mut value = elements.to_be_bytes().to_vec();
        (0..elements).for_each(|i| Coder::Bytes.write_nested(&mut value, &i.to_be_bytes()));
        let mut builder = BatchBuilder::new();
        builder.push(b"small", &[0, 0, 0, 0], EventTime(0), &[Window::Global]);
        builder.push(b"large", &value, EventTime(0), &[Window::Global]);
        builder.finish()
    }

    /// Reads an element's value as an SDK does: the blocks inline, then all pages by the token.
    fn read_all(head: &[u8], kept: &[Option<Batch>]) -> Result<Vec<u8>> {
        let (count, rest) = read_varint(&head[COUNT..])?;
        let mut after = rest;
        for _ in 0..count {
            after = Coder::Bytes.skip(after)?;
        }
        read_pages(after, kept, rest[..rest.len() - after.len()].to_vec())
    }

    /// The same from the end of the inline blocks on.
    fn read_pages(after: &[u8], kept: &[Option<Batch>], mut all: Vec<u8>) -> Result<Vec<u8>> {
        let (end, rest) = read_varint(after)?;
        assert_eq!(end, u64::MAX);
        let token = Coder::Bytes.content(rest)?;
        let mut continuation = Bytes::new();
        loop {
            let (data, next) = read(kept, &coder(), (token, &continuation), 64)?;
            assert!(data.len() <= 64 + 4);
            all.extend(data);
            if next.is_empty() {
                return Ok(all);
            }
            continuation = next;
        }
    }

    #[test]
    fn a_large_value_is_read_whole_page_by_page_and_a_small_one_stays_as_it_is() -> Result<()> {
        let (pages, batch) = (Pages { over: 100, first: 64 }, grouped(1000));
        assert!(pages.any(&batch));
        assert!(!pages.is_paged(&batch, &batch.rows()[0]));
        let head = pages.head(&coder(), &batch, (0, 1)).expect("paged");
        assert!(head.len() < 150);
        let kept = kept(&Input::Elements { batches: vec![(0, batch.clone())] }, Some(pages));
        assert_eq!(read_all(&head, &kept)?, batch.value(&batch.rows()[1])[COUNT..]);
        Ok(())
    }

    #[test]
    fn a_value_that_was_put_away_is_read_across_its_pieces() -> Result<()> {
        let scratch: Arc<dyn Scratch> = Arc::new(MemoryScratch::default());
        let whole = grouped(1000);
        let all = &whole.value(&whole.rows()[1])[COUNT..];
        let (first, rest) = all.split_at(505); // of five bytes each
        let (second, rest) = rest.split_at(5);
        let pieces = [first, second].map(|piece| Chunk::put(&scratch, piece).map(Arc::new)).into_iter();
        let pieces = Arc::new(pieces.collect::<Result<Vec<_>>>()?);
        let mut builder = BatchBuilder::new();
        let large = Large { pieces, rest: Bytes::copy_from_slice(rest) };
        builder.push(b"small", &[0, 0, 0, 0], EventTime(0), &[Window::Global]);
        builder.push_large(b"large", 1, EventTime(0), &[Window::Global], Pane::NO_FIRING, large);
        let (pages, batch) = (Pages { over: 100, first: 64 }, builder.finish());
        assert!(pages.any(&batch) && !pages.is_paged(&batch, &batch.rows()[0]));
        let (_, batch) = batch.split_at(1);
        let head = pages.head(&coder(), &batch, (0, 0)).expect("paged");
        let kept = kept(&Input::Elements { batches: vec![(0, batch.clone())] }, Some(pages));
        assert_eq!(read_pages(&head[COUNT..], &kept, Vec::new())?, all);
        Ok(())
    }

    #[test]
    fn a_token_of_nothing_is_an_error() {
        let kept = [Some(grouped(1000)), None];
        for token in [&[][..], &[0; 15], &Token { batch: 1, row: 0, from: 0 }.to_bytes(), &[0xff; 16]] {
            let code = read(&kept, &coder(), (token, &[]), 64).err().map(|e| e.code);
            assert_eq!(code, Some("STATE_UNKNOWN"));
        }
    }
}
