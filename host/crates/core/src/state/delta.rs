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
    /// Cells read from the store on the way: they go into the cache.
    pub loaded: SmallVec<[CellChange; 1]>,
    /// States of which every cell was read.
    pub complete: SmallVec<[StateId; 1]>,
}

impl GroupDelta {
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
        let cells = self.changes.iter().chain(&self.loaded);
        GROUP_MEMORY + cells.map(|c| cell_weight(&c.sub, c.value.as_ref())).sum::<usize>()
    }

    /// Whether there is nothing to apply.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.loaded.is_empty() && self.complete.is_empty()
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
