//! State by page, as workers read it: as many cells of a state as a page may have, never one that is cut, and a token for what follows.
//!
//! In: a range of a state's cells, the token of a request. Out: whole chunks joined, and the sub-key of the one that begins the next page, which is its
//! token. A page costs what it reads, however large the state is.

use super::state::page;
use bytes::Bytes;
use thalweg_core::error::Result;
use thalweg_core::id::StateId;
use thalweg_core::state::{CellValue, StateView};
use thalweg_proto::fn_execution::state_response;

/// Cells of a state of one key and window.
#[derive(Clone, Copy)]
pub(super) struct Chunks<'s> {
    /// Key and window, and the state.
    pub of: (u32, StateId),
    /// The first sub-key, and the one behind the last.
    pub range: (&'s [u8], Option<&'s [u8]>),
    /// About how many bytes are read at once.
    pub page_bytes: usize,
}

impl Chunks<'_> {
    /// Goes through the cells from a token on, until `each` wants no more.
    pub fn walk(
        self,
        view: &mut StateView,
        token: &[u8],
        mut each: impl FnMut(Bytes, CellValue) -> Result<bool>,
    ) -> Result<()> {
        let ((group, id), (from, to)) = (self.of, self.range);
        let mut from = Bytes::copy_from_slice(from.max(token));
        loop {
            let page = view.page(group, id, &from, to, self.page_bytes)?;
            for (sub, value) in page.cells {
                if !each(sub, value)? {
                    return Ok(());
                }
            }
            let Some(next) = page.next else { return Ok(()) };
            from = next;
        }
    }

    /// A page of them, joined.
    pub fn read(self, view: &mut StateView, token: &[u8]) -> Result<state_response::Response> {
        let (mut first, mut data, mut next) = (None, Vec::new(), Bytes::new());
        self.walk(view, token, |sub, value| {
            match &first {
                None => first = Some(value), // nearly always the only one, and shared
                Some(first) => {
                    if data.is_empty() {
                        data.extend_from_slice(first.as_slice());
                    }
                    if data.len() + value.as_slice().len() > self.page_bytes {
                        next = sub;
                        return Ok(false);
                    }
                    data.extend_from_slice(value.as_slice());
                }
            }
            Ok(true)
        })?;
        Ok(match first {
            Some(only) if data.is_empty() => page(only.to_bytes(), next),
            _ => page(data, next),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use thalweg_core::id::{BundleId, Epoch, KeyGroup};
    use thalweg_core::port::store::StateStore as _;
    use thalweg_core::port::worker::Group;
    use thalweg_core::state::{CellKey, Kind};
    use thalweg_core::testing::{CountingRead, FakeStore};
    use thalweg_core::window::Window;

    const STATE: StateId = StateId(4);

    /// A view of a key with chunks of these lengths in the store, and the count of what is read of it.
    fn stored(lengths: impl Iterator<Item = usize>) -> Result<(StateView, Arc<AtomicUsize>)> {
        let group = Group::new(b"k", Window::Global);
        let prefix = CellKey::new(KeyGroup::of_hash(group.hash), Kind::User, STATE).part(&group.key);
        let prefix = prefix.window(&group.window);
        let cell = |(i, length): (usize, usize)| {
            let sub = [&1u64.to_be_bytes()[..], &(i as u32).to_be_bytes()].concat();
            (prefix.clone().last(&sub).finish(), Some(Bytes::from(vec![i as u8; length])))
        };
        let mut store = FakeStore::new();
        store.commit(Epoch(1), &lengths.enumerate().map(cell).collect::<Vec<_>>(), &[])?;
        let read = Arc::new(AtomicUsize::new(0));
        let store = Arc::new(CountingRead::new(store.reader(), Arc::clone(&read)));
        Ok((StateView::new(BundleId(2), Arc::from([group]), Vec::new(), store), read))
    }

    fn bag(page_bytes: usize) -> Chunks<'static> {
        Chunks { of: (0, STATE), range: (b"", None), page_bytes }
    }

    fn parts(response: state_response::Response) -> (Bytes, Bytes) {
        match response {
            state_response::Response::Get(get) => (get.data, get.continuation_token),
            other => unreachable!("a page, not {other:?}"),
        }
    }

    /// All pages as a worker reads them, each with the token of the next.
    fn pages(of: Chunks<'_>, view: &mut StateView) -> Result<Vec<(Bytes, Bytes)>> {
        let (mut read, mut token) = (Vec::new(), Bytes::new());
        loop {
            let (data, next) = parts(of.read(view, &token)?);
            read.push((data, next.clone()));
            if next.is_empty() {
                return Ok(read);
            }
            token = next;
        }
    }

    /// What the pages are by all cells: as many as fit, one at least.
    fn expected(cells: &[(Bytes, CellValue)], page_bytes: usize) -> Vec<(Bytes, Bytes)> {
        let (mut pages, mut data) = (Vec::new(), Vec::new());
        for (i, (sub, value)) in cells.iter().enumerate() {
            if i > 0 && data.len() + value.as_slice().len() > page_bytes {
                pages.push((Bytes::from(std::mem::take(&mut data)), sub.clone()));
            }
            data.extend_from_slice(value.as_slice());
        }
        pages.push((data.into(), Bytes::new()));
        pages
    }

    #[test]
    fn pages_are_as_full_as_they_may_be_and_cut_no_chunk() -> Result<()> {
        for page_bytes in [1, 10, 64, 1000, 1 << 20] {
            for chunks in [0, 1, 2, 3, 100] {
                let (mut view, _) = stored((0..chunks).map(|i| 1 + i * 37 % 60))?;
                if chunks == 100 {
                    (0..30).try_for_each(|i| view.append(0, STATE, CellValue::copy(&[i; 9])))?;
                }
                let cells = view.list(0, STATE)?;
                let read = pages(bag(page_bytes), &mut view)?;
                assert_eq!(read, expected(&cells, page_bytes), "{chunks} chunks in pages of {page_bytes} bytes");
            }
        }
        Ok(())
    }

    #[test]
    fn a_large_bag_is_read_at_the_cost_of_its_size() -> Result<()> {
        let (mut view, read) = stored((0..20_000).map(|_| 100))?;
        let bytes = |pages: &[(Bytes, Bytes)]| pages.iter().map(|(data, _)| data.len()).sum::<usize>();
        let begun = std::time::Instant::now();
        let all = pages(bag(10_000), &mut view)?;
        println!("{} pages: {} cells read in {:?}", all.len(), read.load(Relaxed), begun.elapsed());
        assert_eq!((all.len(), bytes(&all)), (200, 2_000_000));
        assert!(read.load(Relaxed) < 3 * 20_000, "{}", read.load(Relaxed));
        // a bag that is all in memory: no page makes a copy of it
        (0..20_000u32).try_for_each(|_| view.append(0, StateId(5), CellValue::copy(&[1; 100])))?;
        let of = Chunks { of: (0, StateId(5)), ..bag(10_000) };
        let begun = std::time::Instant::now();
        let walked = bytes(&pages(of, &mut view)?);
        println!("{walked} bytes of memory in {:?}", begun.elapsed());
        assert_eq!(walked, 2_000_000);
        Ok(())
    }
}
