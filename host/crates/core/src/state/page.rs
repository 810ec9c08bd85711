//! Cells of a state by page: what the store has from a sub-key on, as much of it as a page wants, with what is newer laid over it. In: three
//! ordered sources. Out: the cells of a page and where the next one begins. It knows nothing of bundles.

use super::cells::{Cell, CellChange, CellValue};
use bytes::Bytes;
use std::cmp::Ordering;

/// What a cell of a page counts beside the bytes of its sub-key and its value: a cell without any is not for nothing.
pub const CELL_BYTES: usize = 16;

/// Some cells of a state, in the order of their sub-keys.
#[derive(Default, Debug)]
pub struct CellPage {
    /// Sub-key and value of each.
    pub cells: Vec<(Bytes, CellValue)>,
    /// The sub-key of the first cell behind them, if there is one.
    pub next: Option<Bytes>,
    bytes: usize,
}

/// What a cell counts in a page.
fn weight(sub: &[u8], value_bytes: usize) -> usize {
    sub.len().saturating_add(value_bytes).saturating_add(CELL_BYTES)
}

/// Cells of the store, and the sub-key of the one behind them.
#[derive(Default)]
pub(super) struct Stored {
    pub cells: Vec<(Bytes, CellValue)>,
    pub behind: Option<Bytes>,
    bytes: usize,
}

impl Stored {
    /// Takes a cell if it is the first one or there is room for it among `most` bytes. Else it is the one behind them, and nothing more is wanted.
    pub(super) fn take(&mut self, sub: Bytes, bytes: usize, value: impl FnOnce() -> CellValue, most: usize) -> bool {
        self.bytes = self.bytes.saturating_add(weight(&sub, bytes));
        if self.bytes > most && !self.cells.is_empty() {
            self.behind = Some(sub);
            return false;
        }
        self.cells.push((sub, value()));
        true
    }
}

impl CellPage {
    /// How many bytes of `most` it has room for.
    pub(super) fn room(&self, most: usize) -> usize {
        most.saturating_sub(self.bytes)
    }

    /// Adds cells until it has about `most` bytes. The sources are in the order of their sub-keys; of a cell that several have, the last one's
    /// word counts; the two of `delta` have none in common. Cost: the cells it takes, and those that are passed over because they are deleted.
    pub(super) fn fill<'c>(
        &mut self,
        stored: Vec<(Bytes, CellValue)>,
        base: impl Iterator<Item = Cell<'c>>,
        (delta, waiting): (
            impl Iterator<Item = &'c CellChange>,
            impl Iterator<Item = (&'c Bytes, &'c Option<CellValue>)>,
        ),
        most: usize,
    ) {
        let stored = stored.into_iter().map(|(sub, value)| (sub, Some(value)));
        let base = base.map(|cell| (cell.sub.clone(), cell.value.cloned()));
        let delta = delta.map(|change| (change.sub.clone(), change.value.clone()));
        let waiting = waiting.map(|(sub, value)| (sub.clone(), value.clone()));
        for (sub, value) in Newest::new(Newest::new(stored, base), Newest::new(delta, waiting)) {
            let Some(value) = value else { continue };
            let bytes = self.bytes.saturating_add(weight(&sub, value.as_slice().len()));
            if bytes > most && !self.cells.is_empty() {
                self.next = Some(sub);
                return;
            }
            self.bytes = bytes;
            self.cells.push((sub, value));
        }
    }
}

type Entry = (Bytes, Option<CellValue>);

/// Two ordered sources as one; where both have a sub-key, the newer's cell.
struct Newest<A: Iterator, B: Iterator> {
    older: std::iter::Peekable<A>,
    newer: std::iter::Peekable<B>,
}

impl<A: Iterator<Item = Entry>, B: Iterator<Item = Entry>> Newest<A, B> {
    fn new(older: A, newer: B) -> Self {
        Self { older: older.peekable(), newer: newer.peekable() }
    }
}

impl<A: Iterator<Item = Entry>, B: Iterator<Item = Entry>> Iterator for Newest<A, B> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let order = match (self.older.peek(), self.newer.peek()) {
            (Some((older, _)), Some((newer, _))) => older.cmp(newer),
            (Some(_), None) => Ordering::Less,
            _ => Ordering::Greater,
        };
        match order {
            Ordering::Less => self.older.next(),
            Ordering::Greater => self.newer.next(),
            Ordering::Equal => {
                self.older.next();
                self.newer.next()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::id::{BundleId, Epoch, StateId};
    use crate::port::store::StateStore as _;
    use crate::port::worker::Group;
    use crate::state::{GroupCells, StateView};
    use crate::testing::{CountingRead, FakeStore};
    use crate::window::Window;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    const STATE: StateId = StateId(4);
    /// Of a cell with a sub-key of two bytes and a value of five.
    const WEIGHT: usize = CELL_BYTES + 7;

    fn sub(i: u16) -> [u8; 2] {
        i.to_be_bytes()
    }

    /// A view of a group with cells of these sub-keys in the store, and the count of what is read of it.
    fn view(stored: std::ops::Range<u16>, base: GroupCells) -> Result<(StateView, Arc<AtomicUsize>)> {
        let group = Group::new(b"k", Window::Global);
        let key = |id, i| StateView::prefix(&group, id).last(&sub(i)).finish();
        let cells = stored.map(|i| (key(STATE, i), Some(Bytes::from_static(b"store"))));
        let others = [(key(StateId(3), 9), Some(Bytes::new())), (key(StateId(5), 0), Some(Bytes::new()))];
        let mut store = FakeStore::new();
        store.commit(Epoch(1), &cells.chain(others).collect::<Vec<_>>(), &[])?;
        let read = Arc::new(AtomicUsize::new(0));
        let store = Arc::new(CountingRead::new(store.reader(), Arc::clone(&read)));
        Ok((StateView::new(BundleId(1), Arc::from([group]), vec![base], store), read))
    }

    /// All cells page by page, and how many pages there were.
    fn walk(view: &mut StateView, most: usize) -> Result<(Vec<(Bytes, CellValue)>, usize)> {
        let (mut all, mut pages, mut from) = (Vec::new(), 0, Some(Bytes::new()));
        while let Some(at) = from {
            let page = view.page(0, STATE, &at, None, most)?;
            let bytes: usize = page.cells.iter().map(|(sub, value)| weight(sub, value.as_slice().len())).sum();
            assert!(page.cells.len() == 1 || bytes <= most, "{bytes} of {most}");
            assert!(at.is_empty() || page.cells.first().is_some_and(|(sub, _)| *sub == at), "a next is there");
            (pages, from) = (pages + 1, page.next);
            all.extend(page.cells);
        }
        Ok((all, pages))
    }

    #[test]
    fn pages_of_what_three_layers_have_are_all_of_it() -> Result<()> {
        let mut random = 7u64;
        for most in [0, 30, 100, 1000, usize::MAX] {
            for round in 0..20 {
                let mut base = GroupCells::default();
                let mut dice = |n: u64| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (random >> 33) % n
                };
                let values = [None, Some(&b"newer"[..]), Some(&[b'x'; 90][..])].map(|v| v.map(CellValue::copy));
                for _ in 0..dice(40) {
                    let value = values[dice(3) as usize].clone();
                    base.put(STATE, Bytes::copy_from_slice(&sub(dice(60) as u16)), value, Epoch(2));
                }
                let (mut view, _) = view(dice(20) as u16..dice(60) as u16, base)?;
                for _ in 0..dice(40) {
                    view.put(0, STATE, &sub(dice(60) as u16), values[dice(3) as usize].clone())?;
                }
                let paged = walk(&mut view, most)?.0;
                assert_eq!(paged, view.list(0, STATE)?, "round {round} of pages of {most} bytes");
            }
        }
        Ok(())
    }

    #[test]
    fn a_page_costs_what_it_reads() -> Result<()> {
        let (mut view, read) = view(0..1000, GroupCells::default())?;
        let page = view.page(0, STATE, &sub(500), None, 10 * WEIGHT)?;
        assert_eq!((page.cells.len(), page.next), (10, Some(Bytes::copy_from_slice(&sub(510)))));
        assert_eq!(read.swap(0, Relaxed), 11, "the page, and where the next one begins");
        let page = view.page(0, STATE, &sub(500), Some(&sub(507)), 10 * WEIGHT)?;
        assert_eq!((page.cells.len(), page.next), (7, None));
        assert_eq!(read.swap(0, Relaxed), 7, "nothing behind the end");
        let (all, pages) = walk(&mut view, 10 * WEIGHT)?;
        assert_eq!((all.len(), pages, read.load(Relaxed)), (1000, 100, 1099));
        Ok(())
    }

    #[test]
    fn what_one_page_has_whole_is_read_once() -> Result<()> {
        let (mut view, read) = view(0..5, GroupCells::default())?;
        view.put(0, STATE, &sub(2), None)?;
        assert_eq!(view.get(0, STATE, &sub(3))?.map(|v| v.len()), Some(5));
        for most in [usize::MAX, 2 * WEIGHT, 1] {
            assert_eq!(walk(&mut view, most)?.0.len(), 4);
            assert_eq!(read.load(Relaxed), 5, "the first time only");
        }
        assert_eq!((view.list(0, STATE)?.len(), read.load(Relaxed)), (4, 5));
        let delta = view.into_delta();
        let read = delta.groups[0].read.as_ref().map(|read| (read.cells.len(), &read.complete[..]));
        assert_eq!(read, Some((5, &[STATE][..])), "for the cache");
        Ok(())
    }

    #[test]
    fn what_was_deleted_since_is_passed_over() -> Result<()> {
        let (mut view, _) = view(0..1000, GroupCells::default())?;
        for i in 3..997 {
            view.put(0, STATE, &sub(i), None)?;
        }
        let (all, pages) = walk(&mut view, 4 * WEIGHT)?;
        assert_eq!((all.len(), pages), (6, 2));
        view.clear(0, STATE)?;
        let page = view.page(0, STATE, &[], None, 4 * WEIGHT)?;
        assert!(page.cells.is_empty() && page.next.is_none());
        Ok(())
    }
}
