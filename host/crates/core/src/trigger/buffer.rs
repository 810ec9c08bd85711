//! What a grouping holds of one window: per key, the values in nested encoding, as chunks.
//!
//! A chunk is what one epoch added; it is stored as one cell: `count (4) | panes fired (8) | pending (1) | values`. Keys stand
//! in order of arrival, so that firing does not depend on a hash. Where a trigger tree decides, a key has [`Panes`] of its own, and
//! theirs count instead of the facts in the chunks.
//!
//! Where nothing is stored and whoever takes the output reads piece by piece, a large value is put away in pieces: a firing
//! hands on references, and memory holds of each key no more than a piece.

use super::pane::{Panes, pane_key};
use crate::batch::{BatchBuilder, Large, Pane};
use crate::coder::Coder;
use crate::id::{Epoch, KeyGroup, StateId};
use crate::port::scratch::{Chunk, Scratch};
use crate::port::store::CellWrite;
use crate::state::layout::{CellKey, Kind};
use crate::time::EventTime;
use crate::window::Window;
use bytes::Bytes;
use hashbrown::HashTable;
use std::sync::Arc;

/// Values of one key and window, in bytes, from which on they are put away: a worker takes less in one message.
const LARGE_BYTES: usize = 4 << 20;
/// Size of the pieces that follow: a worker asks for about as much at once.
const PIECE_BYTES: usize = 1 << 20;

/// The values of one key in one window.
#[derive(Debug)]
pub struct KeyBuffer {
    /// The key, outer encoding.
    pub key: Bytes,
    /// Its hash.
    pub hash: u64,
    /// Values, nested; those before `sealed` are in stored chunks.
    values: Vec<u8>,
    sealed: usize,
    count: u32,
    sealed_count: u32,
    panes: u64,
    /// There is something to fire.
    pending: bool,
    /// Numbers of stored chunks.
    chunks: Vec<u64>,
    /// Values put away, all before those in `values`.
    pieces: Arc<Vec<Arc<Chunk>>>,
    /// Bytes at which putting away is tried next, after it has failed.
    away_next: usize,
    dirty: bool,
    /// What a trigger tree knows of it; nothing under the default trigger.
    pub panes_of_tree: Option<Box<Panes>>,
}

impl KeyBuffer {
    fn new(key: &[u8], hash: u64) -> Self {
        Self {
            key: Bytes::copy_from_slice(key),
            hash,
            values: Vec::new(),
            sealed: 0,
            count: 0,
            sealed_count: 0,
            panes: 0,
            pending: false,
            chunks: Vec::new(),
            pieces: Arc::default(),
            away_next: 0,
            dirty: false,
            panes_of_tree: None,
        }
    }

    /// Adds a value given in outer context.
    pub fn push(&mut self, coder: &Coder, value: &[u8]) {
        coder.write_nested(&mut self.values, value);
        self.count += 1;
        self.pending = true;
        self.dirty = true;
    }

    /// Puts what has gathered away once it is much. What cannot be put away stays in memory, and is tried again when it has
    /// doubled. Only for buffers that are not stored:
    /// what is put away is not written by a seal.
    pub fn put_away(&mut self, scratch: Option<&Arc<dyn Scratch>>) {
        let Some(scratch) = scratch.filter(|_| self.values.len() >= self.away_at()) else { return };
        let Ok(chunk) = Chunk::put(scratch, &self.values) else {
            self.away_next = self.values.len().saturating_mul(2);
            return;
        };
        Arc::make_mut(&mut self.pieces).push(Arc::new(chunk));
        // many keys may be large: none keeps room for a piece it may never fill again
        self.values = Vec::new();
        self.sealed = 0;
        self.away_next = 0;
    }

    /// Bytes in memory from which on they are put away.
    fn away_at(&self) -> usize {
        let least = if self.pieces.is_empty() { LARGE_BYTES } else { PIECE_BYTES };
        least.max(self.away_next)
    }

    /// Takes all values of another key buffer (a window merged into this one). Its panes count on only if it was the same window:
    /// those of a new one begin anew. Cost: O(1) into an empty buffer, so that a session grows by what is added to its end.
    pub fn absorb(&mut self, other: &mut Self, same_window: bool) {
        if self.values.is_empty() {
            std::mem::swap(&mut self.values, &mut other.values);
        } else {
            self.values.append(&mut other.values);
        }
        if !other.pieces.is_empty() {
            Arc::make_mut(&mut self.pieces).extend(other.pieces.iter().cloned());
        }
        self.count += other.count;
        if same_window {
            self.panes = self.panes.max(other.panes);
        }
        self.pending |= other.pending;
        self.dirty = true;
    }

    /// It stands as it is stored.
    pub fn clean(&mut self, pending: bool) {
        self.pending = pending;
        self.dirty = false;
    }

    /// Values held.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Something about it has changed, or there is nothing new in it any more.
    pub fn touch(&mut self, pending: bool) {
        self.pending = pending;
        self.dirty = true;
    }

    /// Panes fired so far.
    #[must_use]
    pub fn panes(&self) -> u64 {
        self.panes
    }

    /// Whether there is something to fire.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// Appends an element: the key, and the values as a Beam iterable: count (4 bytes), values. Values that were put away stay where
    /// they are.
    pub fn emit(&self, time: EventTime, window: &Window, pane: Pane, out: &mut BatchBuilder) {
        let windows = std::slice::from_ref(window);
        if !self.pieces.is_empty() {
            let large = Large { pieces: Arc::clone(&self.pieces), rest: Bytes::copy_from_slice(&self.values) };
            return out.push_large(&self.key, self.hash, time, windows, pane, large);
        }
        out.push_with(&self.key, self.hash, time, windows, pane, |arena| {
            arena.extend_from_slice(&self.count.to_be_bytes());
            arena.extend_from_slice(&self.values);
        });
    }

    /// Notes that a pane was fired.
    pub fn fired(&mut self) {
        self.panes += 1;
        self.pending = false;
        self.dirty = true;
    }

    /// Drops the values and their stored chunks.
    pub fn clear(&mut self, id: StateId, window: &Window, deletes: &mut Vec<Bytes>) {
        for chunk in self.chunks.drain(..) {
            deletes.push(chunk_key(id, window, &self.key, self.hash, chunk));
        }
        self.values.clear();
        self.pieces = Arc::default();
        self.sealed = 0;
        self.count = 0;
        self.sealed_count = 0;
    }

    fn seal(&mut self, id: StateId, window: &Window, epoch: Epoch, out: &mut Vec<CellWrite>) {
        if !self.dirty {
            return;
        }
        self.dirty = false;
        let pending = self.pending;
        if let Some(panes) = &mut self.panes_of_tree {
            panes.stored = true;
            out.push((pane_key(id, window, &self.key, self.hash), Some(panes.encode(pending))));
            if self.count == self.sealed_count {
                return;
            }
        }
        let fresh = self.values.get(self.sealed..).unwrap_or_default();
        let mut value = Vec::with_capacity(fresh.len() + 13);
        value.extend_from_slice(&(self.count - self.sealed_count).to_be_bytes());
        value.extend_from_slice(&self.panes.to_be_bytes());
        value.push(u8::from(self.pending));
        value.extend_from_slice(fresh);
        out.push((chunk_key(id, window, &self.key, self.hash, epoch.0), Some(Bytes::from(value))));
        self.chunks.push(epoch.0);
        self.sealed = self.values.len();
        self.sealed_count = self.count;
    }

    /// Takes a stored chunk back in. Chunks come in order, so the last one's facts stand.
    pub fn restore(&mut self, chunk: u64, value: Bytes) -> Option<()> {
        let (count, rest) = value.split_first_chunk::<4>()?;
        let (panes, rest) = rest.split_first_chunk::<8>()?;
        let (pending, values) = rest.split_first()?;
        self.count += u32::from_be_bytes(*count);
        self.panes = u64::from_be_bytes(*panes);
        self.pending = *pending == 1;
        self.values.extend_from_slice(values);
        self.sealed = self.values.len();
        self.sealed_count = self.count;
        self.chunks.push(chunk);
        Some(())
    }
}

fn chunk_key(id: StateId, window: &Window, key: &[u8], hash: u64, chunk: u64) -> Bytes {
    CellKey::new(KeyGroup::of_hash(hash), Kind::Buffer, id).window(window).part(key).number(chunk).finish()
}

/// All keys of one window.
#[derive(Default, Debug)]
pub struct WindowBuffer {
    keys: Vec<KeyBuffer>,
    index: HashTable<u32>,
    /// Keys before this one have nothing pending.
    cursor: usize,
    /// Keys that may have changed since the last seal.
    touched: Vec<u32>,
    /// Keys before this one have nothing at all.
    bare: usize,
    /// Where a walk over all keys goes on.
    pub walk: usize,
}

impl WindowBuffer {
    /// The buffer of a key, made if need be. The key is copied only then.
    #[expect(clippy::indexing_slicing, reason = "the index holds positions of `keys` alone")]
    pub fn key(&mut self, key: &[u8], hash: u64) -> &mut KeyBuffer {
        let keys = &mut self.keys;
        let found = self.index.find(hash, |&i| keys[i as usize].key == key).copied();
        let i = found.unwrap_or_else(|| {
            let i = keys.len() as u32;
            keys.push(KeyBuffer::new(key, hash));
            self.index.insert_unique(hash, i, |&j| keys[j as usize].hash);
            i
        });
        self.cursor = self.cursor.min(i as usize);
        self.bare = self.bare.min(i as usize);
        let entry = &mut keys[i as usize];
        if !entry.dirty {
            self.touched.push(i);
        }
        entry
    }

    /// The next key with something to fire.
    pub fn next_pending(&mut self) -> Option<&mut KeyBuffer> {
        while let Some(key) = self.keys.get(self.cursor) {
            if key.pending {
                let entry = self.keys.get_mut(self.cursor)?;
                if !entry.dirty {
                    self.touched.push(self.cursor as u32);
                }
                return Some(entry);
            }
            self.cursor += 1;
        }
        None
    }

    /// The buffer of a key, if there is one.
    pub fn find(&mut self, key: &[u8], hash: u64) -> Option<&mut KeyBuffer> {
        let place = *self.index.find(hash, |&i| self.keys.get(i as usize).is_some_and(|k| k.key == key))?;
        self.at(place as usize)
    }

    /// The key at a place, in order of arrival.
    pub fn at(&mut self, place: usize) -> Option<&mut KeyBuffer> {
        self.bare = self.bare.min(place);
        let entry = self.keys.get_mut(place)?;
        if !entry.dirty {
            self.touched.push(place as u32);
        }
        Some(entry)
    }

    /// All keys' bytes.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.keys.iter().map(|k| &k.key)
    }

    /// Whether a key has values here.
    #[must_use]
    pub fn contains(&self, key: &[u8], hash: u64) -> bool {
        self.index.find(hash, |&i| self.keys.get(i as usize).is_some_and(|k| k.key == key)).is_some()
    }

    /// Takes one key out: its buffer, emptied here.
    pub fn take_key(
        &mut self,
        key: &[u8],
        hash: u64,
        id: StateId,
        window: &Window,
        deletes: &mut Vec<Bytes>,
    ) -> Option<KeyBuffer> {
        let at = *self.index.find(hash, |&i| self.keys.get(i as usize).is_some_and(|k| k.key == key))?;
        let entry = self.keys.get_mut(at as usize)?;
        let mut taken = KeyBuffer::new(&entry.key, hash);
        taken.absorb(entry, true);
        taken.panes_of_tree = entry.panes_of_tree.take();
        entry.clear(id, window, deletes);
        entry.panes = 0;
        entry.pending = false;
        entry.dirty = false;
        Some(taken)
    }

    /// Whether no key has values, or has fired and is kept for late ones. Cost: O(1) where keys leave in the order in which they came.
    pub fn emptied(&mut self) -> bool {
        let bare = |k: &KeyBuffer| k.count == 0 && k.panes == 0 && !k.pending && k.panes_of_tree.is_none();
        while self.keys.get(self.bare).is_some_and(bare) {
            self.bare += 1;
        }
        self.bare == self.keys.len()
    }

    /// Drops everything.
    pub fn clear_all(&mut self, id: StateId, window: &Window, deletes: &mut Vec<Bytes>) {
        self.keys.iter_mut().for_each(|k| k.clear(id, window, deletes));
    }

    /// The same for buffers that are not stored.
    pub fn settle(&mut self) {
        for i in self.touched.drain(..) {
            if let Some(key) = self.keys.get_mut(i as usize) {
                key.dirty = false;
            }
        }
    }

    /// Writes a chunk per key that changed.
    pub fn seal(&mut self, id: StateId, window: &Window, epoch: Epoch, out: &mut Vec<CellWrite>) {
        for i in self.touched.drain(..) {
            if let Some(key) = self.keys.get_mut(i as usize) {
                key.seal(id, window, epoch, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Result};
    use crate::port::scratch::Place;
    use crate::testing::MemoryScratch;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A buffer of `count` values of 64 KiB, none like another.
    fn filled(count: u32, scratch: &Arc<dyn Scratch>) -> KeyBuffer {
        let mut buffer = KeyBuffer::new(b"key", 7);
        for i in 0..count {
            buffer.push(&Coder::Bytes, &i.to_be_bytes().repeat(1 << 14));
            buffer.put_away(Some(scratch));
        }
        buffer
    }

    fn emitted(buffer: &KeyBuffer) -> crate::batch::Batch {
        let mut out = BatchBuilder::new();
        buffer.emit(EventTime(0), &Window::Global, Pane::NO_FIRING, &mut out);
        out.finish()
    }

    #[test]
    fn a_large_value_is_put_away_and_handed_on_by_reference() -> Result<()> {
        let memory = Arc::new(MemoryScratch::default());
        let scratch: Arc<dyn Scratch> = memory.clone();
        let mut buffer = filled(200, &scratch);
        assert!(buffer.values.len() < PIECE_BYTES, "{} bytes are in memory", buffer.values.len());
        let batch = emitted(&buffer);
        let mut all = Vec::new();
        let large = batch.rows().first().and_then(|row| batch.large(row)).expect("a large value");
        for piece in large.pieces.iter() {
            let piece = piece.read()?;
            let mut rest = piece.as_ref();
            while !rest.is_empty() {
                rest = Coder::Bytes.skip(rest)?; // no piece cuts a value
            }
            all.extend_from_slice(&piece);
        }
        all.extend_from_slice(&large.rest);
        let mut wanted = Vec::new();
        (0..200_u32).for_each(|i| Coder::Bytes.write_nested(&mut wanted, &i.to_be_bytes().repeat(1 << 14)));
        assert!(all == wanted, "{} bytes are not the {} that were put in", all.len(), wanted.len());
        buffer.clear(StateId(1), &Window::Global, &mut Vec::new());
        assert!(memory.held() > 0, "the batch still has it");
        drop(batch);
        assert_eq!(memory.held(), 0);
        Ok(())
    }

    #[test]
    fn a_small_value_stays_in_the_arena() {
        let scratch: Arc<dyn Scratch> = Arc::new(MemoryScratch::default());
        let batch = emitted(&filled(10, &scratch));
        assert!(!batch.has_large());
        assert_eq!(batch.weight() >> 16, 10);
    }

    #[test]
    fn what_cannot_be_put_away_stays_in_memory() {
        #[derive(Debug, Default)]
        struct Full(AtomicUsize);
        impl Scratch for Full {
            fn put(&self, _: &[u8]) -> Result<Place> {
                self.0.fetch_add(1, Ordering::Relaxed);
                Err(Error::internal("SCRATCH_IO", "full"))
            }
            fn get(&self, _: Place) -> Result<Bytes> {
                Err(Error::internal("SCRATCH_IO", "full"))
            }
            fn free(&self, _: Place) {}
        }
        let full = Arc::new(Full::default());
        let scratch: Arc<dyn Scratch> = full.clone();
        let batch = emitted(&filled(200, &scratch));
        assert_eq!(batch.weight() >> 16, 200);
        assert_eq!(full.0.load(Ordering::Relaxed), 2, "at 4 MiB and at 8");
    }
}
