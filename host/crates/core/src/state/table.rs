//! All groups of one keyed stage on one shard, with what is in flight and what the open epoch has changed.

use super::cells::{CellValue, GroupCells};
use super::delta::GroupDelta;
use super::layout::{CellKey, Kind};
use super::ttl::Mark;
use crate::id::{BundleId, Epoch, KeyGroup};
use crate::port::store::CellWrite;
use crate::port::worker::Group;
use crate::short::ShortBytes;
use crate::window::Window;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::sync::Arc;

/// A group's place in the table; valid until the group is released.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Lease(u32);

#[derive(Debug)]
struct Entry {
    group: Group,
    cells: GroupCells,
    dirty: bool,
    /// The bundle that has the group, and the group's index in it.
    holder: Option<(BundleId, u32)>,
    /// Until when it was written, where that counts.
    mark: Mark,
}

/// What became of an attempt to take a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Take {
    /// It is the bundle's now.
    New(Lease),
    /// The bundle has it already, under this index.
    Mine(u32),
    /// Another bundle has it.
    Busy,
}

/// The groups of a stage that are in memory.
#[derive(Default, Debug)]
pub struct CellTable {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    dirty: Vec<u32>,
    /// Groups in which a deleted cell is remembered until its deletion is committed.
    deleted: Vec<u32>,
}

/// A group's hash: its key's, mixed with its window's.
fn hash_of(hash: u64, window: &Window) -> u64 {
    foldhash::fast::FixedState::with_seed(hash).hash_one(window)
}

impl CellTable {
    /// Number of groups in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, key: &[u8], hash: u64, window: &Window) -> Option<u32> {
        self.index.find(hash_of(hash, window), |&i| self.matches(i, key, window)).copied()
    }

    fn matches(&self, i: u32, key: &[u8], window: &Window) -> bool {
        matches!(self.entries.get(i as usize), Some(Some(e)) if e.group.key.as_slice() == key && e.group.window == *window)
    }

    /// Whether another bundle than this has the group.
    #[must_use]
    pub fn is_busy(&self, key: &[u8], hash: u64, window: &Window, bundle: BundleId) -> bool {
        let entry = self.find(key, hash, window).and_then(|i| self.entries.get(i as usize)?.as_ref());
        entry.is_some_and(|e| e.holder.is_some_and(|(holder, _)| holder != bundle))
    }

    /// Takes a group for a bundle, where it will have `index`. The key is copied only for a group that is not in memory.
    pub fn take(&mut self, key: &[u8], hash: u64, window: &Window, bundle: BundleId, index: u32) -> Take {
        if let Some(i) = self.find(key, hash, window) {
            let Some(Some(entry)) = self.entries.get_mut(i as usize) else { return Take::Busy };
            return match entry.holder {
                None => {
                    entry.holder = Some((bundle, index));
                    Take::New(Lease(i))
                }
                Some((holder, index)) if holder == bundle => Take::Mine(index),
                Some(_) => Take::Busy,
            };
        }
        let group = Group { key: ShortBytes::copy(key), hash, window: window.clone() };
        let entry = Entry {
            group,
            cells: GroupCells::default(),
            dirty: false,
            holder: Some((bundle, index)),
            mark: Mark::Unknown,
        };
        let i = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        if let Some(slot) = self.entries.get_mut(i as usize) {
            *slot = Some(entry);
        }
        let entries = &self.entries;
        self.index.insert_unique(hash_of(hash, window), i, |&j| match entries.get(j as usize) {
            Some(Some(e)) => hash_of(e.group.hash, &e.group.window),
            _ => 0,
        });
        Take::New(Lease(i))
    }

    /// The group of a lease.
    #[must_use]
    pub fn group(&self, lease: Lease) -> Option<&Group> {
        self.entries.get(lease.0 as usize)?.as_ref().map(|e| &e.group)
    }

    /// The cells of a lease.
    #[must_use]
    pub fn cells(&self, lease: Lease) -> Option<&GroupCells> {
        self.entries.get(lease.0 as usize)?.as_ref().map(|e| &e.cells)
    }

    /// The groups of a bundle and their cells as they are now, in the order of the leases.
    #[must_use]
    pub fn lend(&self, leases: &[Lease]) -> (Arc<[Group]>, Vec<GroupCells>) {
        let groups = leases.iter().map(|lease| self.group(*lease).cloned().unwrap_or_default()).collect();
        let cells = leases.iter().map(|lease| self.cells(*lease).cloned().unwrap_or_default()).collect();
        (groups, cells)
    }

    /// Where a group is, if it is in memory.
    #[must_use]
    pub fn lease_of(&self, group: &Group) -> Option<Lease> {
        self.find(&group.key, group.hash, &group.window).map(Lease)
    }

    /// What is known of when a group was written.
    #[must_use]
    pub fn mark(&self, lease: Lease) -> Mark {
        self.entries.get(lease.0 as usize).and_then(Option::as_ref).map_or(Mark::Unknown, |e| e.mark)
    }

    /// Notes when a group was written.
    pub fn set_mark(&mut self, lease: Lease, mark: Mark) {
        if let Some(Some(entry)) = self.entries.get_mut(lease.0 as usize) {
            entry.mark = mark;
        }
    }

    /// Gives a group back. A group without cells is forgotten.
    pub fn release(&mut self, lease: Lease) {
        let Some(Some(entry)) = self.entries.get_mut(lease.0 as usize) else { return };
        entry.holder = None;
        if entry.cells.is_empty() {
            self.forget(lease.0);
        }
    }

    /// Changes a group as its bundle did. The delta is empty then.
    pub fn apply(&mut self, lease: Lease, delta: &mut GroupDelta, epoch: Epoch) {
        let Some(Some(entry)) = self.entries.get_mut(lease.0 as usize) else { return };
        let cells = &mut entry.cells;
        if let Some(read) = delta.read.take() {
            read.cells.into_iter().for_each(|read| cells.put_clean(read.id, read.sub, read.value));
            read.complete.into_iter().for_each(|id| cells.set_complete(id));
        }
        if delta.changes.is_empty() {
            return;
        }
        if !entry.dirty {
            entry.dirty = true;
            self.dirty.push(lease.0);
        }
        let mut deletes = false;
        for change in std::mem::take(&mut delta.changes) {
            deletes |= change.value.is_none();
            cells.put(change.id, change.sub, change.value, epoch);
        }
        if deletes {
            self.deleted.push(lease.0);
        }
    }

    fn forget(&mut self, i: u32) {
        let Some(slot) = self.entries.get_mut(i as usize) else { return };
        let Some(entry) = slot.take() else { return };
        let hash = hash_of(entry.group.hash, &entry.group.window);
        if let Ok(found) = self.index.find_entry(hash, |&j| j == i) {
            found.remove();
        }
        self.free.push(i);
    }

    /// Collects what `epoch` changed, one write per cell.
    pub fn seal(&mut self, epoch: Epoch, out: &mut Vec<CellWrite>) {
        for i in self.dirty.drain(..) {
            let Some(Some(entry)) = self.entries.get_mut(i as usize) else { continue };
            entry.dirty = false;
            let group = &entry.group;
            for cell in entry.cells.iter().filter(|c| c.epoch == epoch) {
                let key = CellKey::new(KeyGroup::of_hash(group.hash), Kind::User, cell.id)
                    .part(&group.key)
                    .window(&group.window)
                    .last(cell.sub)
                    .finish();
                out.push((key, cell.value.map(CellValue::to_bytes)));
            }
        }
    }

    /// After a commit: forgets committed absences, and with more than `keep` groups also committed values (`keep` is
    /// `usize::MAX` when no store holds them). Cost: O(groups with deletions), or O(groups) when there are too many.
    pub fn settle(&mut self, committed: Epoch, keep: usize) {
        let evict = self.len() > keep;
        let deleted = std::mem::take(&mut self.deleted);
        let all = if evict { 0..self.entries.len() as u32 } else { 0..0 };
        for i in all.chain(deleted) {
            let Some(Some(entry)) = self.entries.get_mut(i as usize) else { continue };
            if entry.holder.is_some() || entry.dirty {
                if entry.cells.iter().any(|c| c.value.is_none()) {
                    self.deleted.push(i);
                }
                continue;
            }
            entry.cells.settle(committed, evict);
            if entry.cells.is_empty() {
                self.forget(i);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{StateId, key_hash};
    use crate::state::CellChange;
    use bytes::Bytes;

    fn change(value: &[u8]) -> GroupDelta {
        let change = CellChange { id: StateId(1), sub: Bytes::new(), value: Some(CellValue::copy(value)) };
        GroupDelta { changes: smallvec::smallvec![change], ..GroupDelta::default() }
    }

    fn take(table: &mut CellTable, bundle: u64) -> Lease {
        match table.take(b"k", key_hash(b"k"), &Window::Global, BundleId(bundle), 0) {
            Take::New(lease) => lease,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn a_group_is_in_one_bundle_at_a_time() {
        let mut table = CellTable::default();
        let lease = take(&mut table, 1);
        assert_eq!(table.take(b"k", key_hash(b"k"), &Window::Global, BundleId(1), 5), Take::Mine(0));
        assert_eq!(table.take(b"k", key_hash(b"k"), &Window::Global, BundleId(2), 0), Take::Busy);
        assert!(table.is_busy(b"k", key_hash(b"k"), &Window::Global, BundleId(2)));
        table.release(lease);
        take(&mut table, 2);
    }

    #[test]
    fn a_cell_is_written_once_per_epoch_with_its_last_value() {
        let mut table = CellTable::default();
        for value in [b"1", b"2"] {
            let lease = take(&mut table, 1);
            table.apply(lease, &mut change(value), Epoch(1));
            table.release(lease);
        }
        let mut writes = Vec::new();
        table.seal(Epoch(1), &mut writes);
        assert_eq!(writes.len(), 1);
        assert_eq!(writes[0].1.as_deref(), Some(&b"2"[..]));
        writes.clear();
        table.seal(Epoch(2), &mut writes);
        assert!(writes.is_empty());
    }

    #[test]
    fn an_uncommitted_value_is_never_evicted() {
        let mut table = CellTable::default();
        let lease = take(&mut table, 1);
        table.apply(lease, &mut change(b"1"), Epoch(2));
        table.release(lease);
        table.seal(Epoch(2), &mut Vec::new());
        table.settle(Epoch(1), 0);
        assert_eq!(table.len(), 1);
        table.settle(Epoch(2), 0);
        assert_eq!(table.len(), 0);
    }
}
