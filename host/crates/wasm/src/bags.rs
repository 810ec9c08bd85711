//! Bags that a call reads by page. In: the chunks that the state's storage has of a bag, one per change that added to it, and what the call itself
//! has made of it. Out: a page of elements and a token for the next one.
//!
//! A token is a place: a chunk of the storage by its sub-key, or the call's own additions, and the byte of it where an element begins. A guest may
//! make one up: what is no such place of its bag is an error. Memory: the chunk that was read last, which is at most what one call may write; what
//! is read for the page; and what the call added to the bags that it walks over.

use crate::frame::{self, Change, Op};
use crate::replay::replay;
use crate::state::StateAccess;
use bytes::Bytes;
use std::collections::BTreeMap;
use thalweg_core::coder::Coder;
use thalweg_core::error::Result as CoreResult;
use thalweg_core::id::StateId;
use thalweg_core::state::{CELL_BYTES, CellValue};

/// A page of a bag: a frame of rows with an element each, and where to go on.
type Page = (Vec<u8>, Option<Vec<u8>>);

/// Where an element begins.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    /// At a byte of the stored chunk with this sub-key.
    Stored(u32, Bytes),
    /// At a byte of all that the call has added so far, what it cleared since included.
    Added(u64),
}

impl Place {
    const STORED: u8 = 1;
    const ADDED: u8 = 2;

    fn token(&self) -> Vec<u8> {
        match self {
            Self::Stored(at, sub) => [&[Self::STORED][..], &at.to_le_bytes(), sub].concat(),
            Self::Added(at) => [&[Self::ADDED][..], &at.to_le_bytes()].concat(),
        }
    }

    fn read(token: &[u8]) -> Option<Self> {
        match token.split_first()? {
            (&Self::STORED, rest) => {
                let (at, sub) = rest.split_first_chunk()?;
                Some(Self::Stored(u32::from_le_bytes(*at), Bytes::copy_from_slice(sub)))
            }
            (&Self::ADDED, rest) => Some(Self::Added(u64::from_le_bytes(rest.try_into().ok()?))),
            _ => None,
        }
    }
}

/// What a call has made of a bag.
#[derive(Default, Debug)]
struct Own {
    /// How many of the call's frames of changes are in it.
    replayed: usize,
    /// Whether what is stored no longer counts.
    over: bool,
    /// Its additions since it last cleared the bag, and how many bytes it had added before.
    added: Vec<u8>,
    before: u64,
    /// The place in them that the call was told last: it is known to be one.
    told: u64,
}

impl Own {
    fn clear(&mut self) {
        self.over = true;
        self.before += self.added.len() as u64;
        self.added.clear();
    }

    /// The byte of `added` that is a place; the first one for what was cleared since. None if no element begins there.
    fn place(&self, coder: &Coder, at: u64) -> CoreResult<Option<usize>> {
        let from = usize::try_from(at.saturating_sub(self.before)).unwrap_or(usize::MAX);
        let known = at < self.before || at == self.told || begins(coder, &self.added, from)?;
        Ok(known.then_some(from))
    }

    /// Makes the changes that came since it was last asked.
    fn catch_up(&mut self, changes: &[Vec<u8>], slot: u32, group: u32) {
        replay(changes.get(self.replayed..).unwrap_or_default(), |change| {
            if let Change::Cell(s, g, op) = change
                && (s, g) == (slot, group)
            {
                match op {
                    Op::Append(bytes) => self.added.extend_from_slice(bytes),
                    Op::Set(bytes) => {
                        self.clear();
                        self.added.extend_from_slice(bytes);
                    }
                    Op::Clear => self.clear(),
                }
            }
        });
        self.replayed = changes.len();
    }
}

/// The bags that a call walks over.
#[derive(Default, Debug)]
pub struct Bags {
    /// By slot and group.
    own: BTreeMap<(u32, u32), Own>,
    /// The chunk that the last page ended in, with its slot and group, and the place where the next one begins: it is known to be one.
    last: Option<((u32, u32), Place, CellValue)>,
}

/// A bag of a group of the frame.
#[derive(Clone, Copy, Debug)]
pub struct Bag<'a> {
    /// The slot's index in the description.
    pub slot: u32,
    /// The group's index in the frame.
    pub group: u32,
    /// Where it is stored.
    pub id: StateId,
    /// Coder of its elements.
    pub coder: &'a Coder,
}

/// The byte behind the element at the beginning of `bytes`, which are some.
fn end(coder: &Coder, bytes: &[u8]) -> CoreResult<usize> {
    let length = bytes.len() - coder.skip(bytes)?.len();
    // elements without bytes cannot be told apart
    Ok(if length == 0 { bytes.len() } else { length })
}

/// Whether an element begins at a byte of a chunk, or the chunk itself, which may have none. Cost: O(elements before it).
fn begins(coder: &Coder, chunk: &[u8], at: usize) -> CoreResult<bool> {
    let mut walked = 0;
    while walked < at {
        match chunk.get(walked..) {
            Some(rest) if !rest.is_empty() => walked += end(coder, rest)?,
            _ => return Ok(false),
        }
    }
    Ok(at == 0 || (walked == at && at < chunk.len()))
}

/// The rows of a page while it is filled.
#[derive(Default)]
struct Rows<'c> {
    rows: Vec<(&'c [u8], &'c [u8])>,
    bytes: usize,
}

impl<'c> Rows<'c> {
    /// Adds the elements of a chunk from a byte on until the page is full. Gives the byte of the first one that has no room.
    fn fill(&mut self, coder: &Coder, chunk: &'c [u8], mut at: usize, most: usize) -> CoreResult<Option<usize>> {
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) {
            let length = end(coder, rest)?;
            self.bytes = self.bytes.saturating_add(length + CELL_BYTES);
            if self.bytes > most && !self.rows.is_empty() {
                return Ok(Some(at));
            }
            self.rows.push((&[], rest.get(..length).unwrap_or_default()));
            at += length;
        }
        Ok(None)
    }
}

/// Chunks of a bag, and the sub-key of the one behind them.
type Chunks = (Vec<(Bytes, CellValue)>, Option<Bytes>);

/// The stored chunks from a place on that a page needs; `last` is the chunk of that place, if it is here. None if there is no such place.
fn stored(
    bag: Bag<'_>,
    at: usize,
    sub: &Bytes,
    last: Option<CellValue>,
    most: usize,
    access: &mut StateAccess,
) -> CoreResult<Option<Chunks>> {
    let group = access.group(bag.group).unwrap_or_default();
    let Some(chunk) = last else {
        let page = access.view.page(group, bag.id, sub, None, most)?;
        let place = match page.cells.first() {
            Some((first, chunk)) if first == sub => begins(bag.coder, chunk.as_slice(), at)?,
            _ => false,
        };
        return Ok(place.then_some((page.cells, page.next)));
    };
    let rest = chunk.as_slice().get(at..).unwrap_or_default();
    if rest.len() >= most && end(bag.coder, rest)? < rest.len() {
        return Ok(Some((vec![(sub.clone(), chunk)], None)));
    }
    let room = most.saturating_sub(rest.len());
    let page = access.view.page(group, bag.id, &[sub, &[0][..]].concat(), None, room)?;
    let chunks = std::iter::once((sub.clone(), chunk)).chain(page.cells).collect();
    Ok(Some((chunks, page.next)))
}

impl Bags {
    /// Elements of a bag from a token on, which is empty for the first ones, about `most` bytes of them but one at least; and the token of those behind
    /// them. It sees the changes of the call. None if the token is no place of the bag.
    ///
    /// # Errors
    /// Those of the store, and `CODER_MALFORMED` for what is no element.
    pub fn page(
        &mut self,
        bag: Bag<'_>,
        start: &[u8],
        most: usize,
        access: &mut StateAccess,
        changes: &[Vec<u8>],
    ) -> CoreResult<Option<Page>> {
        let of = (bag.slot, bag.group);
        let own = self.own.entry(of).or_default();
        own.catch_up(changes, bag.slot, bag.group);
        let last = self.last.take();
        let (mut at, own_at, found) = match Place::read(start) {
            None if !start.is_empty() => return Ok(None),
            None if own.over => (0, 0, Some(Chunks::default())),
            None => {
                let page = access.view.page(access.group(bag.group).unwrap_or_default(), bag.id, &[], None, most)?;
                (0, 0, Some((page.cells, page.next)))
            }
            Some(Place::Added(at)) => {
                let at = own.place(bag.coder, at)?;
                (0, at.unwrap_or_default(), at.map(|_| Chunks::default()))
            }
            Some(Place::Stored(at, sub)) => {
                let last = last.filter(|(whose, place, _)| *whose == of && *place == Place::Stored(at, sub.clone()));
                let chunks = stored(bag, at as usize, &sub, last.map(|(_, _, chunk)| chunk), most, access)?;
                (at as usize, 0, chunks)
            }
        };
        let Some((mut chunks, mut behind)) = found else { return Ok(None) };
        if own.over {
            (chunks, behind) = Chunks::default(); // the call has cleared the bag since
        }
        let (mut rows, mut next) = (Rows::default(), behind.map(|sub| Place::Stored(0, sub)));
        for (sub, chunk) in &chunks {
            if let Some(full) = rows.fill(bag.coder, chunk.as_slice(), at, most)? {
                let place = Place::Stored(full as u32, sub.clone());
                self.last = Some((of, place.clone(), chunk.clone()));
                next = Some(place);
                break;
            }
            at = 0;
        }
        if next.is_none()
            && let Some(full) = rows.fill(bag.coder, &own.added, own_at, most)?
        {
            own.told = own.before + full as u64;
            next = Some(Place::Added(own.told));
        }
        Ok(Some((frame::page(&rows.rows).into_vec(), next.map(|place| place.token()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::SlotKind;
    use crate::error::{Error, Result};
    use crate::frame::{Moment, OutputFrame};
    use crate::limits::Limits;
    use crate::state::Slot;
    use crate::store::{GuestStore, Loan};
    use std::sync::Arc;
    use thalweg_core::id::BundleId;
    use thalweg_core::port::store::NullStore;
    use thalweg_core::port::worker::Group;
    use thalweg_core::state::StateView;
    use thalweg_core::window::Window;

    const BAG: StateId = StateId(2);

    /// A string as it stands in a bag.
    fn text(i: usize) -> Vec<u8> {
        let text = i.to_string().repeat(1 + i % 5);
        [vec![text.len() as u8], text.into_bytes()].concat()
    }

    fn texts(range: std::ops::Range<usize>) -> Vec<u8> {
        range.flat_map(text).collect()
    }

    /// A store whose call may read a bag of strings in these chunks, of the second of two groups; slot 0 is a value, slot 2 a map.
    fn store(chunks: &[Vec<u8>], limits: Limits) -> Result<GuestStore> {
        let groups = [b"a", b"b"].map(|key| Group::new(key, Window::Global));
        let mut view = StateView::new(BundleId(7), Arc::from(groups), Vec::new(), Arc::new(NullStore::default()));
        for chunk in chunks {
            view.append(1, BAG, CellValue::copy(chunk)).map_err(Error::State)?;
        }
        let slot = |kind, id| Slot { id: StateId(id), kind, eager: false, coder: Some(Arc::new(Coder::StringUtf8)) };
        let slots = [slot(SlotKind::Value, 1), slot(SlotKind::Bag, 2), slot(SlotKind::Map, 3)].into();
        let state = Some(StateAccess { view, slots, timers: 0, groups: vec![0, 1] });
        let mut store = GuestStore::new("f".into(), "T".into(), Arc::new(limits), 0);
        store.begin(Moment::default(), Loan { state, ..Loan::default() });
        Ok(store)
    }

    /// CELL_OPS with one op on the bag of the second group.
    fn op(op: u32, value: &[u8]) -> Vec<u8> {
        let words = [1, 8, 1, 0, 20, 24 + value.len() as u32, 1, 1, 1, op, 0, value.len() as u32];
        let mut frame: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        frame.extend(value);
        frame.resize(frame.len().next_multiple_of(8), 0);
        frame
    }

    fn elements(page: &[u8]) -> Vec<u8> {
        let rows = OutputFrame::parse(page).expect("a frame");
        (0..rows.len()).flat_map(|row| rows.value(row).expect("a value").to_vec()).collect()
    }

    /// The bag of the second group page by page, and how many pages there were.
    fn walk(store: &mut GuestStore, most: u32) -> Result<(Vec<u8>, usize)> {
        let (mut all, mut pages, mut start) = (Vec::new(), 0, Some(Vec::new()));
        while let Some(at) = start {
            let (page, next) = store.scan(1, 1, &at, None, most)?;
            let page = elements(&page);
            assert!(pages == 0 || !page.is_empty(), "a page behind a token has an element");
            all.extend(page);
            (pages, start) = (pages + 1, next);
        }
        Ok((all, pages))
    }

    /// What `state.read` gives.
    fn whole(store: &mut GuestStore) -> Result<Vec<u8>> {
        let frame = store.read_cells(1, &[1])?;
        let number = |at: usize| u32::from_le_bytes(frame[at..at + 4].try_into().expect("four bytes")) as usize;
        Ok(frame[24 + number(16)..24 + number(20)].to_vec())
    }

    fn code<T>(result: Result<T>) -> &'static str {
        result.map_or_else(|error| error.code(), |_| "")
    }

    #[test]
    fn pages_are_what_a_read_is_whatever_the_call_has_written() -> Result<()> {
        let chunks = [texts(0..300), texts(300..301), texts(301..310), texts(310..900)];
        for most in [1, 60, 1000, u32::MAX] {
            let mut store = store(&chunks, Limits::default())?;
            assert_eq!(walk(&mut store, most)?.0, texts(0..900), "pages of {most} bytes");
            let writes =
                [op(1, &texts(5..200)), op(1, &text(9)), op(0, &texts(3..40)), op(1, &texts(1..2)), op(2, &[])];
            for write in writes.into_iter().chain([op(1, &texts(7..8)), op(0, &[])]) {
                store.write_changes(write)?;
                let expected = whole(&mut store)?;
                assert_eq!(walk(&mut store, most)?.0, expected, "pages of {most} bytes");
            }
        }
        Ok(())
    }

    #[test]
    fn a_bag_larger_than_a_call_may_get_at_once_is_read_by_page() -> Result<()> {
        let limit = 4096;
        let chunks: Vec<_> = (0..40).map(|i| texts(i * 100..(i + 1) * 100)).collect();
        let mut store = store(&chunks, Limits::default().output_bytes(limit))?;
        assert_eq!(code(store.read_cells(1, &[1])), "WASM_STATE_LIMIT");
        let (all, pages) = walk(&mut store, u32::MAX)?;
        assert_eq!(all, texts(0..4000));
        assert!(pages > all.len() / limit, "{pages} pages of {} bytes", all.len());
        Ok(())
    }

    #[test]
    fn a_read_that_is_too_large_is_given_up_on_the_way() -> Result<()> {
        let chunks: Vec<_> = (0..60).map(|i| texts(i * 1000..(i + 1) * 1000)).collect();
        let Some(mut access) = store(&chunks, Limits::default())?.call.loan.state.take() else { panic!("its state") };
        let slot = access.slots[1].clone();
        let (mut some, mut all) = (Vec::new(), Vec::new());
        access.cell(&slot, 1, &mut some, 1000).map_err(Error::State)?;
        access.cell(&slot, 1, &mut all, usize::MAX).map_err(Error::State)?;
        assert_eq!(all, chunks.concat());
        assert!(
            all.starts_with(&some) && (1001..150_000).contains(&some.len()) && all.len() > 500_000,
            "{}",
            some.len()
        );
        Ok(())
    }

    #[test]
    fn a_walk_goes_on_behind_what_the_call_writes_on_its_way() -> Result<()> {
        let mut store = store(&[texts(0..50)], Limits::default())?;
        let (page, next) = store.scan(1, 1, &[], None, 100)?;
        let seen = elements(&page);
        store.write_changes(op(1, &texts(50..60)))?;
        let in_it = next.clone().unwrap_or_default();
        let (mut rest, mut start) = (Vec::new(), next);
        while let Some(at) = start {
            let (page, next) = store.scan(1, 1, &at, None, 100)?;
            rest.extend(elements(&page));
            start = next;
        }
        assert_eq!([seen, rest].concat(), texts(0..60), "what was added stands behind");
        store.write_changes(op(0, &texts(70..72)))?;
        let (page, next) = store.scan(1, 1, &in_it, None, 1000)?;
        assert_eq!((elements(&page), next), (texts(70..72), None), "what was there is gone");
        // a place in what was cleared is where that begins which came after it
        let added = store.scan(1, 1, &[], None, 1)?.1.unwrap_or_default();
        store.write_changes(op(0, &texts(80..90)))?;
        assert_eq!(elements(&store.scan(1, 1, &added, None, 1000)?.0), texts(80..90));
        Ok(())
    }

    #[test]
    fn two_walks_at_once_do_not_meet() -> Result<()> {
        let mut store = store(&[texts(0..50), texts(50..90)], Limits::default())?;
        store.write_changes(op(1, &texts(90..120)))?;
        let (mut first, mut second) = (Some(Vec::new()), Some(Vec::new()));
        let (mut a, mut b) = (Vec::new(), Vec::new());
        while first.is_some() || second.is_some() {
            for (start, all, most) in [(&mut first, &mut a, 90), (&mut second, &mut b, 70)] {
                if let Some(at) = start.take() {
                    let (page, next) = store.scan(1, 1, &at, None, most)?;
                    all.extend(elements(&page));
                    *start = next;
                }
            }
        }
        assert_eq!((a, b), (texts(0..120), texts(0..120)));
        Ok(())
    }

    #[test]
    fn a_token_is_a_place_of_its_bag_or_an_error() -> Result<()> {
        let mut store = store(&[texts(0..50), texts(50..90)], Limits::default())?;
        store.write_changes(op(1, &texts(90..120)))?;
        let stored = store.scan(1, 1, &[], None, 100)?.1.unwrap_or_default();
        let Some(Place::Stored(at, sub)) = Place::read(&stored) else { panic!("a place in a chunk") };
        let inside = [1, u32::MAX - at].map(|n| Place::Stored(at + n, sub.clone()).token());
        let length = texts(0..50).len() as u32;
        let others = [
            Place::Stored(length, sub.clone()),
            Place::Stored(0, Bytes::new()),
            Place::Stored(0, sub.slice(..11)),
            Place::Stored(0, Bytes::from_static(&[0xff; 12])),
            Place::Stored(at, [&sub[..], &[0]].concat().into()),
            Place::Added(1),
            Place::Added(texts(90..120).len() as u64),
            Place::Added(u64::MAX),
        ];
        let forged = inside.into_iter().chain(others.map(|place| place.token()));
        let broken = [&[0][..], &[1], &[1, 0, 0, 0], &[2], &[2, 0, 0, 0, 0, 0, 0, 0], &[2; 10], &[9; 17], b"key"];
        for token in forged.chain(broken.map(<[u8]>::to_vec)) {
            assert_eq!(code(store.scan(1, 1, &token, None, 100)), "WASM_STATE_DENIED", "{token:?}");
        }
        assert_eq!(code(store.scan(1, 0, &stored, None, 100)), "WASM_STATE_DENIED", "the bag of another group");
        assert_eq!(code(store.scan(1, 1, &[], Some(&[]), 100)), "WASM_STATE_DENIED", "a bag has no end");
        assert_eq!(code(store.scan(0, 1, &[], None, 100)), "WASM_STATE_DENIED", "a value is read");
        assert_eq!(code(store.scan(1, 2, &[], None, 100)), "WASM_STATE_DENIED", "no such group");
        assert!(store.scan(1, 1, &stored, None, 100).is_ok(), "an error takes nothing away");
        Ok(())
    }

    #[test]
    fn a_walk_goes_over_chunks_without_elements() -> Result<()> {
        let mut store = store(&[Vec::new(), texts(0..2), Vec::new(), texts(2..3), Vec::new()], Limits::default())?;
        let (mut all, mut start) = (Vec::new(), Some(Vec::new()));
        while let Some(at) = start {
            let (page, next) = store.scan(1, 1, &at, None, 1)?;
            all.extend(elements(&page));
            start = next;
        }
        assert_eq!(all, texts(0..3));
        // none is stored any more
        let Some(mut access) = store.call.loan.state.take() else { panic!("its state") };
        let before = access.view.list(1, BAG).map_err(Error::State)?.len();
        access.apply(&op(1, &[]), |_, _| {})?;
        assert_eq!(access.view.list(1, BAG).map_err(Error::State)?.len(), before);
        access.apply(&op(0, &[]), |_, _| {})?;
        assert_eq!(access.view.list(1, BAG).map_err(Error::State)?.len(), 0);
        Ok(())
    }

    #[test]
    fn what_is_no_element_is_an_error() -> Result<()> {
        let mut store = store(&[texts(0..3), b"\x7fcut off".to_vec()], Limits::default())?;
        assert_eq!(code(walk(&mut store, 1000)), "CODER_MALFORMED");
        let mut store = super::tests::store(&[texts(0..3)], Limits::default())?;
        store.write_changes(op(1, &[0xff; 11]))?;
        assert_eq!(code(walk(&mut store, 1000)), "CODER_MALFORMED");
        Ok(())
    }
}
