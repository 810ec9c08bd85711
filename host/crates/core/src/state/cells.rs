//! The cells of one key and window, ordered by state and sub-key.

use crate::id::{Epoch, StateId};
use crate::short::ShortBytes;
use bytes::Bytes;
use smallvec::SmallVec;

/// The value of a cell.
pub type CellValue = ShortBytes;

/// One cell of a group: a value state has one with an empty sub-key, a bag one per appended chunk, a map one per key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    /// Which state.
    pub id: StateId,
    /// Which cell of it.
    pub sub: Bytes,
    /// `None`: known to be absent.
    pub value: Option<CellValue>,
    /// The epoch that wrote it last; zero if it is as the store has it.
    pub epoch: Epoch,
}

/// A change of one cell by a bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CellChange {
    /// Which state.
    pub id: StateId,
    /// Which cell of it.
    pub sub: Bytes,
    /// Its new value; `None` deletes.
    pub value: Option<CellValue>,
}

/// The cells of one key and window that are in memory.
#[derive(Clone, Default, Debug)]
pub struct GroupCells {
    cells: SmallVec<[Cell; 1]>,
    /// States all of whose cells are in memory.
    complete: SmallVec<[StateId; 2]>,
}

impl GroupCells {
    fn find(&self, id: StateId, sub: &[u8]) -> Result<usize, usize> {
        // a group nearly always has one cell, of a value state: no search, and no call to compare nothing with nothing
        if let [only] = self.cells.as_slice()
            && only.id == id
            && only.sub.is_empty()
            && sub.is_empty()
        {
            return Ok(0);
        }
        self.cells.binary_search_by(|c| (c.id, c.sub.as_ref()).cmp(&(id, sub)))
    }

    /// The cell, if it is in memory.
    #[must_use]
    pub fn get(&self, id: StateId, sub: &[u8]) -> Option<&Cell> {
        self.find(id, sub).ok().and_then(|i| self.cells.get(i))
    }

    /// All cells in memory of one state, in sub-key order.
    pub fn of(&self, id: StateId) -> impl Iterator<Item = &Cell> {
        self.range(id, &[], None)
    }

    /// The cells in memory of one state whose sub-keys are not before `from` and before `to`, in their order. Cost: O(log n) and the cells.
    pub fn range<'c>(&'c self, id: StateId, from: &[u8], to: Option<&'c [u8]>) -> impl Iterator<Item = &'c Cell> {
        let first = self.cells.partition_point(|c| (c.id, c.sub.as_ref()) < (id, from));
        let inside = move |c: &&Cell| c.id == id && to.is_none_or(|to| c.sub.as_ref() < to);
        self.cells.iter().skip(first).take_while(inside)
    }

    /// All cells in memory.
    pub fn iter(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter()
    }

    /// Whether all cells of a state are in memory.
    #[must_use]
    pub fn is_complete(&self, id: StateId) -> bool {
        self.complete.contains(&id)
    }

    /// Notes that all cells of a state are in memory.
    pub fn set_complete(&mut self, id: StateId) {
        if !self.is_complete(id) {
            self.complete.push(id);
        }
    }

    /// Sets a cell.
    pub fn put(&mut self, id: StateId, sub: Bytes, value: Option<CellValue>, epoch: Epoch) {
        match self.find(id, &sub) {
            Ok(i) => {
                if let Some(cell) = self.cells.get_mut(i) {
                    cell.value = value;
                    cell.epoch = epoch;
                }
            }
            Err(i) => self.cells.insert(i, Cell { id, sub, value, epoch }),
        }
    }

    /// Sets a cell as the store has it, unless something newer is here.
    pub fn put_clean(&mut self, id: StateId, sub: Bytes, value: Option<CellValue>) {
        if let Err(i) = self.find(id, &sub) {
            self.cells.insert(i, Cell { id, sub, value, epoch: Epoch(0) });
        }
    }

    /// Drops absences that are committed; with `evict` also values that are committed.
    pub fn settle(&mut self, committed: Epoch, evict: bool) {
        self.cells.retain(|c| c.epoch > committed || (c.value.is_some() && !evict));
        if evict {
            self.complete.clear();
        }
    }

    /// Whether nothing is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }
}
