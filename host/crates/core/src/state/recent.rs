//! Changes of a bundle that came out of order. In: cells in any order. Out: the same in the order of state and sub-key. A group's changes stand in a sorted list,
//! which is cheap to read and to hand over; but each cell that is put into the middle of a long one moves all behind it, so such cells wait here.

use super::cells::{CellChange, CellValue};
use crate::id::StateId;
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::ops::Bound;

/// How many changes may move for one that comes before them.
pub(super) const MOVED_MAX: usize = 256;

/// Cells that wait, none of which is in the list.
#[derive(Default, Debug)]
pub(super) struct Recent(BTreeMap<StateId, BTreeMap<Bytes, Option<CellValue>>>);

impl Recent {
    /// What was made of a cell.
    pub(super) fn get(&self, id: StateId, sub: &[u8]) -> Option<&Option<CellValue>> {
        self.0.get(&id)?.get(sub)
    }

    /// Sets or deletes a cell; gives what was made of it before.
    pub(super) fn put(&mut self, id: StateId, sub: &[u8], value: Option<CellValue>) -> Option<Option<CellValue>> {
        let cells = self.0.entry(id).or_default();
        match cells.get_mut(sub) {
            Some(known) => Some(std::mem::replace(known, value)),
            None => cells.insert(Bytes::copy_from_slice(sub), value),
        }
    }

    /// The cells of a state from a sub-key on and before another, which comes after it.
    pub(super) fn range(
        &self,
        id: StateId,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl Iterator<Item = (&Bytes, &Option<CellValue>)> {
        let range = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        self.0.get(&id).into_iter().flat_map(move |cells| cells.range::<[u8], _>(range))
    }

    /// Puts the cells into the list. Cost: O(cells and list).
    pub(super) fn settle(self, list: &mut SmallVec<[CellChange; 1]>) {
        let cells = self
            .0
            .into_iter()
            .flat_map(|(id, cells)| cells.into_iter().map(move |(sub, value)| CellChange { id, sub, value }));
        list.extend(cells);
        list.sort_by(|a, b| (a.id, &a.sub).cmp(&(b.id, &b.sub))); // two sorted runs, which it finds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::id::BundleId;
    use crate::port::store::NullStore;
    use crate::port::worker::Group;
    use crate::state::StateView;
    use crate::window::Window;
    use std::sync::Arc;

    type Model = BTreeMap<(StateId, [u8; 2]), Option<CellValue>>;

    fn of(model: &Model, id: StateId, from: [u8; 2], to: [u8; 2]) -> Vec<(Bytes, CellValue)> {
        let range = model.range((id, from)..(id, to));
        range.filter_map(|((_, sub), value)| Some((Bytes::copy_from_slice(sub), value.clone()?))).collect()
    }

    #[test]
    fn cells_that_come_in_any_order_are_seen_at_once_and_leave_in_theirs() -> Result<()> {
        let groups = Arc::from([Group::new(b"a", Window::Global)]);
        let mut view = StateView::new(BundleId(1), groups, Vec::new(), Arc::new(NullStore::default()));
        let (mut model, mut random) = (Model::new(), 1u64);
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for step in 0..6000u32 {
            let (id, sub) = (StateId(next(2)), (next(2000) as u16).to_be_bytes());
            let value = (next(4) > 0).then(|| CellValue::copy(&step.to_be_bytes()));
            view.put(0, id, &sub, value.clone())?;
            model.insert((id, sub), value);
            let (id, sub) = (StateId(next(2)), (next(2000) as u16).to_be_bytes());
            assert_eq!(view.get(0, id, &sub)?, model.get(&(id, sub)).cloned().flatten());
            let to = (next(2100) as u16).to_be_bytes();
            match step % 1000 {
                200 => assert_eq!(view.list(0, id)?, of(&model, id, [0; 2], [255; 2])),
                400 if sub < to => assert_eq!(view.range(0, id, &sub, Some(&to))?, of(&model, id, sub, to)),
                600 => assert_eq!(view.page(0, id, &sub, None, usize::MAX)?.cells, of(&model, id, sub, [255; 2])),
                800 => {
                    let mark = view.checkpoint(0);
                    (0..600u16).try_for_each(|i| view.put(0, id, &(599 - i).to_be_bytes(), None))?;
                    view.rollback(0, mark);
                }
                _ => {}
            }
        }
        let delta = view.into_delta();
        let changes = delta.groups[0].changes.iter().map(|c| ((c.id, [c.sub[0], c.sub[1]]), c.value.clone()));
        assert!(changes.eq(model), "sorted, and each cell once");
        Ok(())
    }
}
