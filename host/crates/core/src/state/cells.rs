//! The cells of one key and window, ordered by state and sub-key.

use crate::id::{Epoch, StateId};
use crate::short::ShortBytes;
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;

/// The value of a cell.
pub type CellValue = ShortBytes;

/// What a cell without sub-key has in its place.
static NO_SUB: Bytes = Bytes::new();

/// One cell of a group: a value state has one with an empty sub-key, a bag one per appended chunk, a map one per key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell<'c> {
    /// Which state.
    pub id: StateId,
    /// Which cell of it.
    pub sub: &'c Bytes,
    /// `None`: known to be absent.
    pub value: Option<&'c CellValue>,
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

/// What a cell has, and since which epoch.
#[derive(Clone, Debug)]
struct Latest {
    value: Option<CellValue>,
    epoch: Epoch,
}

impl Latest {
    fn cell<'c>(&'c self, id: StateId, sub: &'c Bytes) -> Cell<'c> {
        Cell { id, sub, value: self.value.as_ref(), epoch: self.epoch }
    }

    /// Whether it is still needed after a commit.
    fn stays(&self, committed: Epoch, evict: bool) -> bool {
        self.epoch > committed || (self.value.is_some() && !evict)
    }
}

/// The cells of one key and window that are in memory. Cost of a clone: that of the only value, or of a reference to several.
#[derive(Clone, Default, Debug)]
pub struct GroupCells(Held);

/// A group nearly always has one cell, of a value state: it stands where its group stands, which saves a way through memory.
#[derive(Clone, Default, Debug)]
enum Held {
    #[default]
    Nothing,
    /// One cell without sub-key.
    Value(StateId, Latest),
    Several(Arc<Several>),
}

/// Cells of any number.
#[derive(Clone, Default, Debug)]
struct Several {
    /// In (state, sub-key) order.
    cells: Vec<(StateId, Bytes, Latest)>,
    /// States all of whose cells are in memory.
    complete: SmallVec<[StateId; 2]>,
}

impl Several {
    fn find(&self, id: StateId, sub: &[u8]) -> Result<usize, usize> {
        self.cells.binary_search_by(|(own, known, _)| (*own, known.as_ref()).cmp(&(id, sub)))
    }
}

impl GroupCells {
    /// The cell without sub-key that is alone, and the cells where there are several.
    fn parts(&self) -> (Option<Cell<'_>>, &[(StateId, Bytes, Latest)]) {
        match &self.0 {
            Held::Nothing => (None, &[]),
            Held::Value(id, latest) => (Some(latest.cell(*id, &NO_SUB)), &[]),
            Held::Several(several) => (None, &several.cells),
        }
    }

    /// Changes the cells as a list that may grow.
    fn change_several(&mut self, change: impl FnOnce(&mut Several)) {
        let mut several = match std::mem::take(&mut self.0) {
            Held::Nothing => Arc::default(),
            Held::Value(id, latest) => {
                Arc::new(Several { cells: vec![(id, Bytes::new(), latest)], ..Several::default() })
            }
            Held::Several(several) => several,
        };
        change(Arc::make_mut(&mut several));
        self.0 = Held::Several(several);
    }

    /// The cell, if it is in memory.
    #[must_use]
    pub fn get(&self, id: StateId, sub: &[u8]) -> Option<Cell<'_>> {
        match &self.0 {
            Held::Nothing => None,
            Held::Value(own, latest) => (*own == id && sub.is_empty()).then(|| latest.cell(id, &NO_SUB)),
            Held::Several(several) => {
                let (_, sub, latest) = several.cells.get(several.find(id, sub).ok()?)?;
                Some(latest.cell(id, sub))
            }
        }
    }

    /// All cells in memory of one state, in sub-key order.
    pub fn of(&self, id: StateId) -> impl Iterator<Item = Cell<'_>> {
        self.range(id, &[], None)
    }

    /// The cells in memory of one state whose sub-keys are not before `from` and before `to`, in their order. Cost: O(log n) and the cells.
    pub fn range<'c>(&'c self, id: StateId, from: &[u8], to: Option<&'c [u8]>) -> impl Iterator<Item = Cell<'c>> {
        let (only, several) = self.parts();
        let inside = move |c: &Cell<'_>| c.id == id && to.is_none_or(|to| c.sub.as_ref() < to);
        let first = several.partition_point(|(own, sub, _)| (*own, sub.as_ref()) < (id, from));
        let several = several.iter().skip(first).map(|(id, sub, latest)| latest.cell(*id, sub));
        only.filter(|_| from.is_empty()).into_iter().chain(several).take_while(inside)
    }

    /// All cells in memory.
    pub fn iter(&self) -> impl Iterator<Item = Cell<'_>> {
        let (only, several) = self.parts();
        only.into_iter().chain(several.iter().map(|(id, sub, latest)| latest.cell(*id, sub)))
    }

    /// Whether all cells of a state are in memory.
    #[must_use]
    pub fn is_complete(&self, id: StateId) -> bool {
        matches!(&self.0, Held::Several(several) if several.complete.contains(&id))
    }

    /// Notes that all cells of a state are in memory.
    pub fn set_complete(&mut self, id: StateId) {
        if !self.is_complete(id) {
            self.change_several(|several| several.complete.push(id));
        }
    }

    /// Sets a cell.
    pub fn put(&mut self, id: StateId, sub: Bytes, value: Option<CellValue>, epoch: Epoch) {
        let latest = Latest { value, epoch };
        match &mut self.0 {
            Held::Nothing if sub.is_empty() => self.0 = Held::Value(id, latest),
            Held::Value(own, known) if *own == id && sub.is_empty() => *known = latest,
            _ => self.change_several(|several| match several.find(id, &sub) {
                Ok(i) => {
                    if let Some((.., known)) = several.cells.get_mut(i) {
                        *known = latest;
                    }
                }
                Err(i) => several.cells.insert(i, (id, sub, latest)),
            }),
        }
    }

    /// Sets a cell as the store has it, unless something newer is here.
    pub fn put_clean(&mut self, id: StateId, sub: Bytes, value: Option<CellValue>) {
        if self.get(id, &sub).is_none() {
            self.put(id, sub, value, Epoch(0));
        }
    }

    /// Drops absences that are committed; with `evict` also values that are committed.
    pub fn settle(&mut self, committed: Epoch, evict: bool) {
        match &mut self.0 {
            Held::Nothing => {}
            Held::Value(_, latest) => {
                if !latest.stays(committed, evict) {
                    self.0 = Held::Nothing;
                }
            }
            Held::Several(_) => self.change_several(|several| {
                several.cells.retain(|(.., latest)| latest.stays(committed, evict));
                if evict {
                    several.complete.clear();
                }
            }),
        }
    }

    /// Whether nothing is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.parts(), (None, []))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<(StateId, Vec<u8>), (Option<CellValue>, Epoch)>;

    fn all(cells: &GroupCells) -> Model {
        let cell = |c: Cell<'_>| ((c.id, c.sub.to_vec()), (c.value.cloned(), c.epoch));
        cells.iter().map(cell).collect()
    }

    /// One cell without sub-key and several of any are kept in two ways, and behave in one.
    #[test]
    fn cells_are_those_of_a_sorted_map_however_many_there_are() {
        let mut random = 5u64;
        let mut dice = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        for round in 0..2000u64 {
            let (mut cells, mut model) = (GroupCells::default(), Model::new());
            let kinds = 1 + round % 3; // a third of the rounds has cells of one state without sub-key alone
            for step in 0..dice(12) {
                let (id, sub) = (StateId(dice(kinds)), vec![7; dice(kinds) as usize]);
                let value = (dice(3) > 0).then(|| CellValue::copy(&step.to_be_bytes()));
                let key = (id, sub.clone());
                let shared = cells.clone();
                let before = all(&shared);
                match dice(4) {
                    0 => {
                        cells.put_clean(id, sub.into(), value.clone());
                        model.entry(key).or_insert((value, Epoch(0)));
                    }
                    1 => {
                        let (committed, evict) = (Epoch(dice(6)), dice(2) == 0);
                        cells.settle(committed, evict);
                        model.retain(|_, (value, epoch)| *epoch > committed || (value.is_some() && !evict));
                    }
                    _ => {
                        let epoch = Epoch(1 + step);
                        cells.put(id, sub.into(), value.clone(), epoch);
                        model.insert(key, (value, epoch));
                    }
                }
                assert_eq!(all(&shared), before, "a view is not changed behind its back");
                assert_eq!((all(&cells), cells.is_empty()), (model.clone(), model.is_empty()));
                let (id, from, to) = (StateId(dice(kinds)), vec![7; dice(3) as usize], vec![7; dice(4) as usize]);
                let found = cells.range(id, &from, Some(&to)).map(|c| c.sub.to_vec());
                let wanted = model.keys().filter(|(own, sub)| *own == id && *sub >= from && *sub < to);
                assert!(found.eq(wanted.map(|(_, sub)| sub.clone())));
                assert_eq!(cells.get(id, &from).map(|c| c.epoch), model.get(&(id, from)).map(|(_, epoch)| *epoch));
            }
        }
    }
}
