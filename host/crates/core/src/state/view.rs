//! What a bundle sees of state: an owned view of its groups, and the delta it leaves.
//!
//! A view is `Send` and needs no engine: it reads its own changes, then the cells the shard had in memory when the bundle
//! started, then the store. Nobody else writes these groups while the bundle runs, so the three never disagree.

use super::cells::{CellChange, CellValue, GroupCells};
use super::delta::{GroupDelta, StateDelta, cell_weight, changed, changes};
use super::layout::{CellKey, Kind};
use super::page::{CellPage, Stored};
use super::recent::{MOVED_MAX, Recent};
use crate::error::{Error, Result};
use crate::id::{BundleId, KeyGroup, StateId};
use crate::port::store::StateRead;
use crate::port::worker::Group;
use crate::window::Window;
use bytes::Bytes;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sub-keys and values, in their order.
type Cells = Vec<(Bytes, CellValue)>;
/// The first sub-key of a range, and the one behind it.
type Range<'s> = (&'s [u8], Option<&'s [u8]>);

/// State as one bundle sees it.
pub struct StateView {
    bundle: BundleId,
    groups: Arc<[Group]>,
    base: Vec<GroupCells>,
    delta: Vec<GroupDelta>,
    /// Changes that are not in the delta yet, by group.
    recent: BTreeMap<u32, Recent>,
    store: Arc<dyn StateRead>,
    index: Option<HashMap<Group, u32, foldhash::fast::FixedState>>,
    appended: u32,
    /// See [`StateView::weight`].
    weight: usize,
}

impl std::fmt::Debug for StateView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateView").field("bundle", &self.bundle).field("groups", &self.groups.len()).finish()
    }
}

impl StateView {
    /// A view of `groups`; `base` holds the cells in memory of each, and may end before them where there are none.
    #[must_use]
    pub fn new(bundle: BundleId, groups: Arc<[Group]>, base: Vec<GroupCells>, store: Arc<dyn StateRead>) -> Self {
        let delta = std::iter::repeat_with(GroupDelta::default).take(groups.len()).collect();
        Self { bundle, groups, base, delta, recent: BTreeMap::new(), store, index: None, appended: 0, weight: 0 }
    }

    /// A view of nothing, for bundles without state.
    #[must_use]
    pub fn empty(bundle: BundleId, store: Arc<dyn StateRead>) -> Self {
        Self::new(bundle, Arc::from([]), Vec::new(), store)
    }

    /// The index of a key and window, for workers that name them by bytes. The table is built at the first call.
    pub fn group_of(&mut self, key: &[u8], window: &Window) -> Option<u32> {
        let groups = &self.groups;
        let index =
            self.index.get_or_insert_with(|| groups.iter().enumerate().map(|(i, g)| (g.clone(), i as u32)).collect());
        let wanted = Group::new(key, window.clone());
        index.get(&wanted).copied()
    }

    /// The index of a window of the view's only key, for workers that do not say of which key they ask.
    pub fn lone_group(&mut self, window: &Window) -> Option<u32> {
        let key = self.groups.first()?.key.clone();
        if self.groups.iter().any(|group| group.key != key) {
            return None;
        }
        self.group_of(&key, window)
    }

    fn foreign() -> Error {
        Error::new(
            "STATE_FOREIGN_KEY",
            crate::error::Domain::Guest,
            "the worker asked for state of a key that is not in its bundle",
        )
    }

    /// Where the group's cells of a state begin in the store.
    pub(super) fn prefix(group: &Group, id: StateId) -> CellKey {
        CellKey::new(KeyGroup::of_hash(group.hash), Kind::User, id).part(&group.key).window(&group.window)
    }

    /// Reads one cell. Cost: a search among the group's few cells; the first read of a cell that is not in memory
    /// costs one read of the store.
    ///
    /// # Errors
    /// `STATE_FOREIGN_KEY` for a group that is not the bundle's, else the store's errors.
    pub fn get(&mut self, group: u32, id: StateId, sub: &[u8]) -> Result<Option<CellValue>> {
        let g = group as usize;
        let Some(delta) = self.delta.get_mut(g) else { return Err(Self::foreign()) };
        if let Some(change) = changed(delta, id, sub) {
            return Ok(change.value.clone());
        }
        if let Some(value) = self.recent.get(&group).and_then(|recent| recent.get(id, sub)) {
            return Ok(value.clone());
        }
        if let Some(cells) = self.base.get(g) {
            if let Some(cell) = cells.get(id, sub) {
                return Ok(cell.value.cloned());
            }
            if cells.is_complete(id) {
                return Ok(None);
            }
        }
        if !self.store.holds_cells() || delta.has_all(id) {
            return Ok(None);
        }
        if let Some(read) = delta.loaded().iter().find(|c| c.id == id && c.sub == sub) {
            return Ok(read.value.clone());
        }
        let Some(owner) = self.groups.get(g) else { return Err(Self::foreign()) };
        let key = Self::prefix(owner, id).last(sub).finish();
        let value = self.store.get(&key)?.map(CellValue::from);
        delta.load(CellChange { id, sub: Bytes::copy_from_slice(sub), value: value.clone() });
        Ok(value)
    }

    /// Sets or deletes one cell. Cost: O(log n), and less where cells come in the order of state and sub-key.
    ///
    /// # Errors
    /// `STATE_FOREIGN_KEY` for a group that is not the bundle's.
    pub fn put(&mut self, group: u32, id: StateId, sub: &[u8], value: Option<CellValue>) -> Result<()> {
        let delta = self.delta.get_mut(group as usize).ok_or_else(Self::foreign)?;
        let at = delta.changes.binary_search_by(|c| (c.id, c.sub.as_ref()).cmp(&(id, sub)));
        let new = cell_weight(sub, value.as_ref());
        let old = match at {
            Ok(i) => delta.changes.get_mut(i).map(|change| std::mem::replace(&mut change.value, value)),
            // it would move many: it waits for those that come with it
            Err(i) if delta.changes.len() - i > MOVED_MAX => self.recent.entry(group).or_default().put(id, sub, value),
            Err(i) => match self.recent.get_mut(&group).filter(|recent| recent.get(id, sub).is_some()) {
                Some(recent) => recent.put(id, sub, value),
                None => {
                    let sub = if sub.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(sub) };
                    delta.changes.insert(i, CellChange { id, sub, value });
                    None
                }
            },
        };
        let old = old.map_or(0, |old| cell_weight(sub, old.as_ref()));
        self.weight = (self.weight + new).saturating_sub(old);
        Ok(())
    }

    /// About how many bytes of memory take the changes that the bundle has made so far; a cell that was changed again counts once. Cost: none, it is
    /// counted as they are made.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// All cells of a state in sub-key order. The first call per state that is not in memory scans the store.
    ///
    /// # Errors
    /// As for [`StateView::get`].
    pub fn list(&mut self, group: u32, id: StateId) -> Result<Vec<(Bytes, CellValue)>> {
        self.load_all(group, id)?;
        let g = group as usize;
        let Some(delta) = self.delta.get(g) else { return Err(Self::foreign()) };
        let loaded = delta.loaded().iter().filter(|c| c.id == id);
        let loaded = loaded.map(|read| (read.sub.clone(), read.value.clone())).collect();
        Ok(newest(loaded, self.base.get(g), (delta, self.recent.get(&group)), id, (&[], None)))
    }

    /// The cells of a state whose sub-keys are not before `from` and before `to`, in their order; without `to` all from there on. Nothing else of the state
    /// is looked at: a map of many keys is read key by key at the cost of each. Cost: O(log n) and the cells; where the state is not whole in memory,
    /// one scan of the range in the store.
    ///
    /// # Errors
    /// As for [`StateView::get`].
    pub fn range(&self, group: u32, id: StateId, from: &[u8], to: Option<&[u8]>) -> Result<Vec<(Bytes, CellValue)>> {
        let g = group as usize;
        let (Some(delta), Some(owner)) = (self.delta.get(g), self.groups.get(g)) else { return Err(Self::foreign()) };
        let base = self.base.get(g);
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let mut stored = BTreeMap::new();
        let known = base.is_some_and(|cells| cells.is_complete(id));
        if self.store.holds_cells() && !known {
            let prefix = Self::prefix(owner, id);
            let skip = prefix.as_slice().len();
            let start = prefix.clone().last(from).finish();
            let end = to.map_or_else(|| prefix.successor().into(), |to| prefix.clone().last(to).finish());
            self.store.scan(&start, &end, &mut |key, value| {
                let sub = Bytes::copy_from_slice(key.get(skip..).unwrap_or_default());
                stored.insert(sub, Some(CellValue::copy(value)));
                true
            })?;
        }
        Ok(newest(stored, base, (delta, self.recent.get(&group)), id, (from, to)))
    }

    /// The cells of a state from sub-key `from` on and before `to`, about `most` bytes of them (one at least, if there is one), and where those behind
    /// them begin. A cell counts with its sub-key, its value and [`CELL_BYTES`](super::CELL_BYTES). Cost: O(log n) and the cells, with those passed over
    /// that were deleted since; where the state is not whole in memory, scans of about as much in the store. What was read is kept if it is all there
    /// is, so that a small state is read once.
    ///
    /// # Errors
    /// As for [`StateView::get`].
    pub fn page(&mut self, group: u32, id: StateId, from: &[u8], to: Option<&[u8]>, most: usize) -> Result<CellPage> {
        let (page, all) = self.read_page(group as usize, id, (from, to), most)?;
        if let (Some(all), Some(delta)) = (all, self.delta.get_mut(group as usize)) {
            let loaded = all.into_iter().map(|(sub, value)| CellChange { id, sub, value: Some(value) });
            delta.load_all(id, loaded);
        }
        Ok(page)
    }

    /// The page; and all that the store has of the state, if that was read now.
    fn read_page(
        &self,
        g: usize,
        id: StateId,
        (from, to): Range<'_>,
        most: usize,
    ) -> Result<(CellPage, Option<Cells>)> {
        let (Some(delta), Some(owner)) = (self.delta.get(g), self.groups.get(g)) else { return Err(Self::foreign()) };
        let (base, recent) = (self.base.get(g), self.recent.get(&(g as u32)));
        let known = !self.store.holds_cells() || base.is_some_and(|cells| cells.is_complete(id));
        let read = delta.has_all(id);
        let changed = |sub: &[u8]| {
            self::changed(delta, id, sub).is_some()
                || recent.is_some_and(|recent| recent.get(id, sub).is_some())
                || base.is_some_and(|cells| cells.get(id, sub).is_some())
        };
        let (mut page, mut from, mut all) = (CellPage::default(), Bytes::copy_from_slice(from), None);
        while to.is_none_or(|to| from.as_ref() < to) {
            let Stored { cells, behind, .. } = match (known, read) {
                (true, _) => Stored::default(),
                (false, true) => loaded(delta, id, (&from, to), page.room(most)),
                (false, false) => self.stored(owner, id, (&from, to), page.room(most))?,
            };
            if !known && !read && from.is_empty() && to.is_none() && behind.is_none() {
                all = Some(cells.clone());
            }
            let to = behind.as_deref().or(to);
            let of_base = base.into_iter().flat_map(|cells| cells.range(id, &from, to));
            let waiting = recent.into_iter().flat_map(|recent| recent.range(id, &from, to));
            page.fill(cells, of_base, (changes(delta, id, (&from, to)), waiting), most);
            let Some(behind) = behind.filter(|_| page.next.is_none()) else { break };
            // what the store has there and nobody changed is there; else the next cell is one of those behind it
            if !page.cells.is_empty() && !changed(&behind) {
                page.next = Some(behind);
                break;
            }
            from = behind;
        }
        Ok((page, all))
    }

    /// What the store has of a state in a range, about `most` bytes but one cell at least, and the sub-key behind them.
    fn stored(&self, owner: &Group, id: StateId, (from, to): Range<'_>, most: usize) -> Result<Stored> {
        let prefix = Self::prefix(owner, id);
        let skip = prefix.as_slice().len();
        let start = prefix.clone().last(from).finish();
        let end = to.map_or_else(|| prefix.successor().into(), |to| prefix.clone().last(to).finish());
        let mut stored = Stored::default();
        self.store.scan(&start, &end, &mut |key, value| {
            let sub = Bytes::copy_from_slice(key.get(skip..).unwrap_or_default());
            stored.take(sub, value.len(), || CellValue::copy(value), most)
        })?;
        Ok(stored)
    }

    fn load_all(&mut self, group: u32, id: StateId) -> Result<()> {
        let g = group as usize;
        let (Some(delta), Some(owner)) = (self.delta.get_mut(g), self.groups.get(g)) else {
            return Err(Self::foreign());
        };
        let known = self.base.get(g).is_some_and(|cells| cells.is_complete(id));
        if known || delta.has_all(id) || !self.store.holds_cells() {
            return Ok(());
        }
        let prefix = Self::prefix(owner, id);
        let skip = prefix.as_slice().len();
        let mut loaded = Vec::new();
        self.store.scan(prefix.as_slice(), &prefix.successor(), &mut |key, value| {
            let sub = Bytes::copy_from_slice(key.get(skip..).unwrap_or_default());
            loaded.push(CellChange { id, sub, value: Some(CellValue::copy(value)) });
            true
        })?;
        delta.load_all(id, loaded.into_iter());
        Ok(())
    }

    /// Appends a chunk to a bag: a new cell behind all others. Cost: no read.
    ///
    /// # Errors
    /// As for [`StateView::put`].
    pub fn append(&mut self, group: u32, id: StateId, value: CellValue) -> Result<()> {
        let mut sub = [0u8; 12];
        let (bundle, count) = sub.split_at_mut(8);
        bundle.copy_from_slice(&self.bundle.0.to_be_bytes());
        count.copy_from_slice(&self.appended.to_be_bytes());
        self.appended += 1;
        self.put(group, id, &sub, Some(value))
    }

    /// Deletes all cells of a state.
    ///
    /// # Errors
    /// As for [`StateView::get`].
    pub fn clear(&mut self, group: u32, id: StateId) -> Result<()> {
        for (sub, _) in self.list(group, id)? {
            self.put(group, id, &sub, None)?;
        }
        Ok(())
    }

    /// The changes as they are now: a mark for [`StateView::rollback`].
    #[must_use]
    pub fn checkpoint(&mut self, group: u32) -> GroupDelta {
        self.settle(group);
        self.delta.get(group as usize).cloned().unwrap_or_default()
    }

    /// Takes a group back to a checkpoint, when one element of a bundle failed and the others stand.
    pub fn rollback(&mut self, group: u32, to: GroupDelta) {
        self.settle(group);
        if let Some(delta) = self.delta.get_mut(group as usize) {
            let weight = |changes: &[CellChange]| -> usize {
                changes.iter().map(|c| cell_weight(&c.sub, c.value.as_ref())).sum()
            };
            self.weight = (self.weight + weight(&to.changes)).saturating_sub(weight(&delta.changes));
            delta.changes = to.changes;
        }
    }

    /// Puts the changes that wait into the group's delta.
    fn settle(&mut self, group: u32) {
        if let (Some(recent), Some(delta)) = (self.recent.remove(&group), self.delta.get_mut(group as usize)) {
            recent.settle(&mut delta.changes);
        }
    }

    /// Ends the view: what the bundle changed.
    #[must_use]
    pub fn into_delta(mut self) -> StateDelta {
        let waiting: Vec<u32> = self.recent.keys().copied().collect();
        waiting.into_iter().for_each(|group| self.settle(group));
        StateDelta { groups: self.delta }
    }
}

/// Cells of a state as the store has them, with what is in memory and what the bundle changed laid over those of a range.
fn newest(
    mut cells: BTreeMap<Bytes, Option<CellValue>>,
    base: Option<&GroupCells>,
    (delta, recent): (&GroupDelta, Option<&Recent>),
    id: StateId,
    (from, to): Range<'_>,
) -> Cells {
    if let Some(base) = base {
        cells.extend(base.range(id, from, to).map(|c| (c.sub.clone(), c.value.cloned())));
    }
    cells.extend(changes(delta, id, (from, to)).map(|c| (c.sub.clone(), c.value.clone())));
    let recent = recent.into_iter().flat_map(|recent| recent.range(id, from, to));
    cells.extend(recent.map(|(sub, value)| (sub.clone(), value.clone())));
    cells.into_iter().filter_map(|(sub, value)| Some((sub, value?))).collect()
}

/// What the store has of a range, of a state that was read whole: about `most` bytes but one cell at least. Its cells stand together.
fn loaded(delta: &GroupDelta, id: StateId, (from, to): Range<'_>, most: usize) -> Stored {
    let mut stored = Stored::default();
    let cells = delta.loaded();
    let first = cells.iter().position(|c| c.id == id).unwrap_or(cells.len());
    let cells = cells.get(first..).unwrap_or_default();
    let cells = cells.get(..cells.partition_point(|c| c.id == id)).unwrap_or_default();
    let begin = cells.partition_point(|c| c.sub.as_ref() < from);
    for read in cells.iter().skip(begin).take_while(|c| to.is_none_or(|to| c.sub.as_ref() < to)) {
        let Some(value) = &read.value else { continue };
        if !stored.take(read.sub.clone(), value.as_slice().len(), || value.clone(), most) {
            break;
        }
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Epoch;
    use crate::port::store::StateStore as _;
    use crate::testing::FakeStore;

    const STATE: StateId = StateId(4);

    fn group() -> Group {
        Group::new(b"k", Window::Global)
    }

    fn view(base: GroupCells, store: &FakeStore) -> StateView {
        StateView::new(BundleId(1), Arc::from([group()]), vec![base], store.reader())
    }

    fn text(cells: Vec<(Bytes, CellValue)>) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        cells.iter().map(|(sub, value)| format!("{}={}", text(sub), text(value.as_slice()))).collect()
    }

    #[test]
    fn a_range_of_a_state_is_what_all_of_it_is_there() -> Result<()> {
        let key = |sub: &[u8]| StateView::prefix(&group(), STATE).last(sub).finish();
        let stored = [b"a1", b"b1", b"b2", b"b3", b"c1"].map(|sub| (key(sub), Some(Bytes::from_static(b"store"))));
        let mut store = FakeStore::new();
        store.commit(Epoch(1), &stored, &[])?;
        let mut base = GroupCells::default();
        base.put(STATE, Bytes::from_static(b"b2"), None, Epoch(2));
        base.put(STATE, Bytes::from_static(b"b4"), Some(CellValue::copy(b"memory")), Epoch(2));
        base.put(StateId(5), Bytes::from_static(b"b1"), Some(CellValue::copy(b"other")), Epoch(2));
        let mut view = view(base, &store);
        view.put(0, STATE, b"b3", Some(CellValue::copy(b"bundle")))?;
        view.put(0, STATE, b"b4", None)?;
        view.put(0, STATE, b"c0", Some(CellValue::copy(b"bundle")))?;
        let of_b = ["b1=store", "b3=bundle"];
        assert_eq!(text(view.range(0, STATE, b"b", Some(b"c"))?), of_b);
        assert_eq!(text(view.range(0, STATE, b"b3", None)?), ["b3=bundle", "c0=bundle", "c1=store"]);
        assert!(view.range(0, STATE, b"c", Some(b"b"))?.is_empty());
        let all = text(view.list(0, STATE)?);
        assert_eq!(all, ["a1=store", "b1=store", "b3=bundle", "c0=bundle", "c1=store"]);
        assert_eq!(text(view.range(0, STATE, b"", None)?), all);
        Ok(())
    }

    #[test]
    fn what_a_bundle_changed_weighs_what_its_delta_does() -> Result<()> {
        let mut random = 3u64;
        let mut dice = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % n
        };
        let mut view = view(GroupCells::default(), &FakeStore::new());
        assert_eq!(view.weight(), 0);
        for _ in 0..5000 {
            let value = (dice(4) > 0).then(|| CellValue::copy(&vec![7; dice(100) as usize]));
            view.put(0, StateId(dice(3)), &(dice(1500) as u16).to_be_bytes(), value)?;
        }
        let mark = view.checkpoint(0);
        let before = view.weight();
        (0..1500u16).rev().try_for_each(|i| view.put(0, STATE, &i.to_be_bytes(), Some(CellValue::copy(&[1; 50]))))?;
        assert!(view.weight() > before + 1500 * 50);
        view.clear(0, STATE)?;
        view.rollback(0, mark);
        assert_eq!(view.weight(), before);
        let counted = view.weight();
        let delta = view.into_delta();
        let cells = delta.groups[0].changes.iter();
        assert_eq!(counted, cells.map(|c| cell_weight(&c.sub, c.value.as_ref())).sum::<usize>());
        Ok(())
    }

    #[test]
    fn a_range_of_what_is_whole_in_memory_asks_no_store() -> Result<()> {
        let mut base = GroupCells::default();
        base.put(STATE, Bytes::from_static(b"b1"), Some(CellValue::copy(b"memory")), Epoch(2));
        base.set_complete(STATE);
        let key = StateView::prefix(&group(), STATE).last(b"b2").finish();
        let mut store = FakeStore::new();
        store.commit(Epoch(1), &[(key, Some(Bytes::from_static(b"stale")))], &[])?;
        assert_eq!(text(view(base, &store).range(0, STATE, b"b", Some(b"c"))?), ["b1=memory"]);
        Ok(())
    }
}
