//! Grouped values that a call reads by page. In: for each such value where its elements are, and where those end that stand in the
//! frame. Out: a page for a token, and the token of the next one.
//!
//! A token is a place in a value of the call: which one, which of its pieces, where in that. It is good for places that this call was
//! told of, which a set remembers; so a guest that makes one up reads nothing but an error, and the same frame has the same tokens
//! when it is tried again. Memory: the piece that was read last, and the places.

use crate::error::{Error, Result};
use crate::frame;
use crate::store::GuestStore;
use bytes::Bytes;
use std::collections::BTreeSet;
use thalweg_core::batch::Large;
use thalweg_core::coder::Coder;
use thalweg_core::error::Result as CoreResult;

/// Places that one call may be told of. At the default size of a page that is 16 GiB of values; who asks for smaller pages has fewer.
const PLACES_MAX: usize = 1 << 16;
/// Length of a token.
pub const TOKEN_BYTES: usize = 12;

/// Where a page begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Which value of the call.
    pub value: u32,
    /// Which of its pieces; the one behind the last that was put away is the rest.
    pub piece: u32,
    /// The byte in it.
    pub at: u32,
}

impl Place {
    /// The place as a guest holds it.
    pub fn token(self) -> [u8; TOKEN_BYTES] {
        let mut token = [0; TOKEN_BYTES];
        for (bytes, number) in token.as_chunks_mut::<4>().0.iter_mut().zip([self.value, self.piece, self.at]) {
            *bytes = number.to_le_bytes();
        }
        token
    }

    fn read(token: &[u8]) -> Option<Self> {
        let ([value, piece, at], []) = token.as_chunks::<4>() else { return None };
        let [value, piece, at] = [value, piece, at].map(|bytes| u32::from_le_bytes(*bytes));
        Some(Self { value, piece, at })
    }
}

/// The values of a call that are read by page.
#[derive(Debug)]
pub struct Iterables {
    /// Coder of the elements.
    coder: Coder,
    values: Vec<Large>,
    told: BTreeSet<Place>,
    /// The piece that was read last, with its value and number: pages are smaller than pieces.
    last: Option<(u32, u32, Bytes)>,
}

impl Default for Iterables {
    fn default() -> Self {
        Self::new(Coder::Bytes)
    }
}

impl Iterables {
    /// None yet. `coder` is that of the elements.
    pub fn new(coder: Coder) -> Self {
        Self { coder, values: Vec::new(), told: BTreeSet::new(), last: None }
    }

    /// Adds a value, whose elements from byte `at` of its first piece on do not stand in the frame. Gives their token.
    pub fn add(&mut self, value: Large, at: u32) -> [u8; TOKEN_BYTES] {
        let place = Place { value: self.values.len() as u32, piece: 0, at };
        self.values.push(value);
        self.told.insert(place);
        place.token()
    }

    /// A piece of a value, and whether it was fetched from afar.
    fn piece(&self, place: Place) -> CoreResult<Bytes> {
        if let Some((_, _, bytes)) = self.last.as_ref().filter(|(v, p, _)| (*v, *p) == (place.value, place.piece)) {
            return Ok(bytes.clone());
        }
        let value = self.values.get(place.value as usize);
        match value.and_then(|value| value.pieces.get(place.piece as usize)) {
            Some(piece) => piece.read(),
            None => Ok(value.map(|value| value.rest.clone()).unwrap_or_default()),
        }
    }

    /// Where the elements go on behind those that end at byte `at` of a piece of `length` bytes.
    fn behind(&self, place: Place, at: usize, length: usize) -> Option<Place> {
        if at < length {
            return Some(Place { at: at as u32, ..place });
        }
        let value = self.values.get(place.value as usize)?;
        let next = Place { piece: place.piece + 1, at: 0, ..place };
        let put_away = value.pieces.len();
        let there = (next.piece as usize) < put_away || (next.piece as usize == put_away && !value.rest.is_empty());
        there.then_some(next)
    }
}

/// How many bytes the elements at the beginning of `bytes` have that together have about `most` bytes, one element at least; and how many
/// they are. Cost: O(elements).
pub fn prefix(coder: &Coder, bytes: &[u8], most: usize) -> CoreResult<(usize, u32)> {
    let (mut rest, mut count) = (bytes, 0);
    while !rest.is_empty() && bytes.len() - rest.len() < most.max(1) {
        let next = coder.skip(rest)?;
        if next.len() == rest.len() {
            return Ok((bytes.len(), count)); // elements without bytes cannot be told apart
        }
        (rest, count) = (next, count + 1);
    }
    Ok((bytes.len() - rest.len(), count))
}

impl GuestStore {
    /// The elements from a token on, about `max_bytes` of them but never more than a page, and the token of those behind them.
    pub fn read_iterable(&mut self, token: &[u8], max_bytes: u32) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
        let mut held = self.call.loan.iterables.take().unwrap_or_default();
        let page = self.page_of(&mut held, token, self.limits.page_bytes.min(max_bytes as usize));
        self.call.loan.iterables = Some(held);
        page
    }

    fn page_of(&mut self, held: &mut Iterables, token: &[u8], most: usize) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
        let denied =
            |this: &Self, what: &str| Error::StateDenied { function: this.function.to_string(), what: what.into() };
        let place = Place::read(token).filter(|place| held.told.contains(place));
        let place = place.ok_or_else(|| denied(self, "it forged the token of an iterable"))?;
        // a disk's time is not the guest's
        let piece = self.suspended(|| held.piece(place)).map_err(Error::State)?;
        let rest = piece.get(place.at as usize..).unwrap_or_default();
        let (taken, _) = prefix(&held.coder, rest, most).map_err(Error::State)?;
        let page = frame::elements(rest.get(..taken).unwrap_or_default()).into_vec();
        let next = held.behind(place, place.at as usize + taken, piece.len());
        if let Some(next) = next
            && held.told.insert(next)
            && held.told.len() > PLACES_MAX
        {
            return Err(denied(self, "it reads lists in too many small pages"));
        }
        held.last = Some((place.value, place.piece, piece));
        Ok((page, next.map(|next| next.token().to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::store::Loan;
    use std::sync::Arc;
    use thalweg_core::port::scratch::{Chunk, Scratch};
    use thalweg_core::testing::MemoryScratch;

    const PAGE: usize = 64;

    /// A store whose call may read a value of strings "0", "1", .. in two pieces and a rest; and the token of its beginning.
    fn store(numbers: usize) -> (GuestStore, Vec<u8>, Vec<u8>) {
        let text = |i: usize| i.to_string();
        let part = |range: std::ops::Range<usize>| -> Vec<u8> {
            range.flat_map(|i| [vec![text(i).len() as u8], text(i).into_bytes()].concat()).collect()
        };
        let scratch: Arc<dyn Scratch> = Arc::new(MemoryScratch::default());
        let third = numbers / 3;
        let pieces = [part(0..third), part(third..2 * third)];
        let pieces = pieces.iter().map(|piece| Arc::new(Chunk::put(&scratch, piece).expect("a chunk"))).collect();
        let value = Large { pieces: Arc::new(pieces), rest: part(2 * third..numbers).into() };
        let mut iterables = Iterables::new(Coder::StringUtf8);
        let token = iterables.add(value, 0).to_vec();
        let mut store = GuestStore::new("f".into(), "T".into(), Arc::new(Limits::default().page_bytes(PAGE)), 0);
        store.begin(crate::frame::Moment::default(), Loan { iterables: Some(iterables), ..Loan::default() });
        (store, token, part(0..numbers))
    }

    /// The elements of a page, which is a frame of one row.
    fn bytes(page: &[u8]) -> Vec<u8> {
        let parsed = crate::frame::OutputFrame::parse(page).expect("a frame");
        assert_eq!(parsed.len(), 1);
        parsed.value(0).expect("a value").to_vec()
    }

    #[test]
    fn a_value_is_read_page_by_page_across_its_pieces_as_often_as_one_likes() -> Result<()> {
        let (mut store, first, whole) = store(300);
        for most in [u32::MAX, 30, 1] {
            let (mut token, mut read, mut pages) = (Some(first.clone()), Vec::new(), 0);
            while let Some(at) = token {
                let (page, next) = store.read_iterable(&at, most)?;
                let page = bytes(&page);
                assert!(!page.is_empty() && page.len() < PAGE + 4, "{}", page.len());
                read.extend(page);
                (token, pages) = (next, pages + 1);
            }
            assert_eq!(read, whole);
            assert_eq!(
                pages,
                match most {
                    1 => 300,
                    30 => 36,
                    _ => 19,
                }
            );
        }
        Ok(())
    }

    #[test]
    fn a_token_is_good_for_places_that_the_call_was_told_of() {
        let (mut store, first, _) = store(300);
        let next = store.read_iterable(&first, 30).expect("a page").1.expect("a token");
        let inside = Place { value: 0, piece: 0, at: 5 }.token();
        let (foreign, ahead) = (Place { value: 1, piece: 0, at: 0 }, Place { value: 0, piece: 1, at: 0 });
        for token in [&[][..], &[0; 11], &[0; 13], &[0xff; 12], &inside, &foreign.token(), &ahead.token()] {
            let what = store.read_iterable(token, 64).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(what.contains("forged"), "{what}");
        }
        assert!(store.read_iterable(&next, 64).is_ok(), "an error takes nothing away");
        store.begin(crate::frame::Moment::default(), Loan::default());
        assert!(store.read_iterable(&next, 64).is_err(), "the next call has no such value");
    }

    #[test]
    fn a_call_is_told_of_so_many_places_and_no_more() {
        let (mut store, first, _) = store(PLACES_MAX + 10);
        let mut token = first;
        let error = loop {
            match store.read_iterable(&token, 1) {
                Ok((_, Some(next))) => token = next,
                Ok((_, None)) => panic!("it was never stopped"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("too many small pages"), "{error}");
    }
}
