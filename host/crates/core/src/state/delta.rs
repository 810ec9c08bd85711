//! What a bundle leaves of state: the changes of its groups, in their order.

use super::cells::{CellChange, CellValue};
use crate::id::StateId;
use bytes::Bytes;
use smallvec::SmallVec;

/// About what a group takes in memory beside its cells, and a cell beside its bytes: their entries in the table of groups.
const GROUP_MEMORY: usize = 128;
const CELL_MEMORY: usize = 64;

/// About how many bytes of memory a changed cell takes.
pub(super) fn cell_weight(sub: &[u8], value: Option<&CellValue>) -> usize {
    CELL_MEMORY + sub.len() + value.map_or(0, |value| value.as_slice().len())
}

/// Changes of one group.
#[derive(Clone, Default, Debug)]
pub struct GroupDelta {
    /// In (state, sub-key) order, one per cell.
    pub changes: SmallVec<[CellChange; 1]>,
    /// What was read of the store on the way: it goes into the cache. Most bundles find all they need in memory.
    pub read: Option<Box<Reads>>,
}

/// What a bundle has read of a group.
#[derive(Clone, Default, Debug)]
pub struct Reads {
    /// Cells, those of a state together.
    pub cells: SmallVec<[CellChange; 1]>,
    /// States of which every cell was read.
    pub complete: SmallVec<[StateId; 1]>,
}

impl GroupDelta {
    /// Cells that were read.
    pub(super) fn loaded(&self) -> &[CellChange] {
        self.read.as_ref().map_or(&[], |read| &read.cells)
    }

    /// Whether every cell of a state was read.
    pub(super) fn has_all(&self, id: StateId) -> bool {
        self.read.as_ref().is_some_and(|read| read.complete.contains(&id))
    }

    /// Notes a cell that was read.
    pub(super) fn load(&mut self, cell: CellChange) {
        self.read.get_or_insert_default().cells.push(cell);
    }

    /// Notes that these cells are all of a state.
    pub(super) fn load_all(&mut self, id: StateId, cells: impl Iterator<Item = CellChange>) {
        let read = self.read.get_or_insert_default();
        read.cells.retain(|c| c.id != id);
        read.cells.extend(cells);
        read.complete.push(id);
    }

    /// Sets the one cell of a state, which has nothing in it.
    pub fn note(&mut self, id: StateId) {
        let at = self.changes.partition_point(|change| change.id < id);
        self.changes.insert(at, CellChange { id, sub: Bytes::new(), value: Some(CellValue::default()) });
    }

    /// About how many bytes of memory the group takes with what was read and written; nothing if neither was.
    #[must_use]
    pub fn weight(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        let cells = self.changes.iter().chain(self.loaded());
        GROUP_MEMORY + cells.map(|c| cell_weight(&c.sub, c.value.as_ref())).sum::<usize>()
    }

    /// Whether there is nothing to apply.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.read.is_none()
    }
}

/// Changes of a bundle, by group index. Groups beyond the end are unchanged.
#[derive(Clone, Default, Debug)]
pub struct StateDelta {
    /// One per group of the bundle.
    pub groups: Vec<GroupDelta>,
}

/// What the bundle made of a cell.
pub(super) fn changed<'d>(delta: &'d GroupDelta, id: StateId, sub: &[u8]) -> Option<&'d CellChange> {
    let at = delta.changes.binary_search_by(|c| (c.id, c.sub.as_ref()).cmp(&(id, sub))).ok()?;
    delta.changes.get(at)
}

/// What the bundle changed of the cells of a range, in their order.
pub(super) fn changes<'d>(
    delta: &'d GroupDelta,
    id: StateId,
    (from, to): (&[u8], Option<&'d [u8]>),
) -> impl Iterator<Item = &'d CellChange> {
    let first = delta.changes.partition_point(|c| (c.id, c.sub.as_ref()) < (id, from));
    let inside = move |c: &&CellChange| c.id == id && to.is_none_or(|to| c.sub.as_ref() < to);
    delta.changes.iter().skip(first).take_while(inside)
}
