//! Side inputs: what a view stage keeps on every shard, and the immutable snapshots bundles read.

use super::layout::{CellKey, JOB_GROUP, Kind};
use crate::batch::{Batch, BatchBuilder};
use crate::coder::{Coder, take};
use crate::error::Result;
use crate::graph::{SideAccess, ViewStage};
use crate::id::{Epoch, ShardId, StateId};
use crate::port::store::CellWrite;
use crate::time::EventTime;
use crate::window::{Window, Windowing};
use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type FixedState = foldhash::fast::FixedState;

/// The contents of one window of a side input.
#[derive(Clone, Default, Debug)]
pub struct SideWindow {
    /// All elements in nested encoding, in arrival order; empty for a multimap.
    pub values: Vec<u8>,
    /// For a multimap: values in nested encoding by key (outer encoding).
    pub by_key: HashMap<Bytes, Vec<u8>, FixedState>,
    /// Keys in order of arrival.
    pub keys: Vec<Bytes>,
}

/// A side input as a bundle sees it.
#[derive(Clone, Default, Debug)]
pub struct SideView {
    /// By window of the side input; a window without elements is absent and reads as empty.
    pub windows: HashMap<Window, Arc<SideWindow>, FixedState>,
}

/// Windows that have passed are kept up to this number: an element that comes late still finds its own.
const KEPT_WINDOWS: usize = 1024;

/// Elements whole, under the empty key: how the panes of a side input are grouped.
#[must_use]
pub fn whole(batch: &Batch, coder: &Coder) -> Batch {
    let mut out = BatchBuilder::new();
    for row in batch.rows() {
        let mut element = Vec::new();
        match coder.kv() {
            Some((key, value)) => {
                key.write_nested(&mut element, batch.key(row));
                value.write_nested(&mut element, batch.value(row));
            }
            None => element.extend_from_slice(batch.value(row)),
        }
        out.push_in_pane(b"", &element, row.time, batch.windows(row), batch.pane(row));
    }
    out.finish()
}

/// The contents of a view stage on one shard. Every shard holds all of it; one of them stores it. Of a window that may speak
/// more than once, what it said last is its contents.
#[derive(Debug)]
pub struct ViewRoom {
    coder: Arc<Coder>,
    access: SideAccess,
    windowing: Arc<Windowing>,
    /// What comes are panes.
    panes: bool,
    view: Arc<SideView>,
    watermark: EventTime,
    id: StateId,
    stores: bool,
    fresh: Vec<Batch>,
    seen: HashSet<Window, FixedState>,
    /// Stored chunks, each with the windows that still need it.
    chunks: BTreeMap<Bytes, BTreeSet<Window>>,
    deletes: Vec<Bytes>,
    /// Windows forgotten here whose stored contents another shard may still need.
    gone: BTreeSet<Window>,
    /// What the readers on other shards are past.
    passed: BTreeMap<ShardId, EventTime>,
}

impl ViewRoom {
    /// An empty room; `stores` on the one shard that writes it down.
    #[must_use]
    pub fn new(stage: &ViewStage, id: StateId, stores: bool) -> Self {
        Self {
            coder: Arc::clone(&stage.coder),
            access: stage.access,
            windowing: Arc::clone(&stage.windowing),
            panes: stage.panes,
            view: Arc::default(),
            watermark: EventTime::MIN,
            id,
            stores,
            fresh: Vec::new(),
            seen: HashSet::default(),
            chunks: BTreeMap::new(),
            deletes: Vec::new(),
            gone: BTreeSet::new(),
            passed: BTreeMap::new(),
        }
    }

    /// Takes elements, or panes. Snapshots that bundles hold stay as they are. Cost: O(bytes), or a copy of the window's contents
    /// if a snapshot of it is in use.
    ///
    /// # Errors
    /// `CODER_MALFORMED` when a pane is no list of elements.
    pub fn add(&mut self, batch: Batch) -> Result<()> {
        self.index(&batch)?;
        if self.stores {
            self.fresh.push(batch);
        }
        Ok(())
    }

    fn index(&mut self, batch: &Batch) -> Result<()> {
        for row in batch.rows() {
            if self.panes {
                let contents = Arc::new(self.pane(batch.value(row))?);
                for window in batch.windows(row) {
                    self.seen.insert(window.clone());
                    Arc::make_mut(&mut self.view).windows.insert(window.clone(), Arc::clone(&contents));
                }
                continue;
            }
            let view = Arc::make_mut(&mut self.view);
            for window in batch.windows(row) {
                self.seen.insert(window.clone());
                let side = Arc::make_mut(view.windows.entry(window.clone()).or_default());
                match (self.access, self.coder.kv()) {
                    (SideAccess::Multimap, Some((_, value))) => side.put(value, batch.key(row), batch.value(row)),
                    (_, Some((key, value))) => {
                        key.write_nested(&mut side.values, batch.key(row));
                        value.write_nested(&mut side.values, batch.value(row));
                    }
                    _ => self.coder.write_nested(&mut side.values, batch.value(row)),
                }
            }
        }
        Ok(())
    }

    /// The contents that a pane stands for: an iterable of elements.
    fn pane(&self, mut bytes: &[u8]) -> Result<SideWindow> {
        let mut side = SideWindow::default();
        let (_, rest) = take(bytes, 4)?; // their number: they fill what follows
        bytes = rest;
        if self.access != SideAccess::Multimap {
            side.values.extend_from_slice(bytes);
            return Ok(side);
        }
        let Some((key, value)) = self.coder.kv() else { return Ok(side) };
        while !bytes.is_empty() {
            let rest = key.skip(bytes)?;
            let (first, _) = take(bytes, bytes.len() - rest.len())?;
            let after = value.skip(rest)?;
            let (second, _) = take(rest, rest.len() - after.len())?;
            side.put(value, key.content(first)?, value.content(second)?);
            if after.len() == bytes.len() {
                break; // elements without bytes cannot be told apart
            }
            bytes = after;
        }
        Ok(side)
    }

    /// Takes the watermark of the view's input.
    pub fn advance(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(watermark);
    }

    /// Whether a window can be read: the watermark has passed it, or a trigger has spoken for it.
    #[must_use]
    pub fn is_ready(&self, window: &Window) -> bool {
        window.max_timestamp().is_passed_by(self.watermark) || (self.panes && self.seen.contains(window))
    }

    /// The window of the side input that belongs to a window of the main input; `None` if only the SDK can say.
    #[must_use]
    pub fn map(&self, main: &Window) -> Option<Window> {
        self.windowing.window_fn.side_of(main)
    }

    /// The contents as they are.
    #[must_use]
    pub fn snapshot(&self) -> Arc<SideView> {
        Arc::clone(&self.view)
    }

    /// Whether there are more windows than are kept for late elements, or forgotten ones are still stored.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.view.windows.len() > 2 * KEPT_WINDOWS || !self.gone.is_empty()
    }

    /// The readers on another shard will not ask for windows that end before `floor`.
    pub fn passed(&mut self, shard: ShardId, floor: EventTime) {
        self.passed.insert(shard, floor);
    }

    /// Forgets windows that end before `floor`, but the latest of them. What is stored of them goes once `others`, all other
    /// shards, are past them too: one that lags would miss it after a crash.
    pub fn forget_before(&mut self, floor: EventTime, others: &[ShardId]) {
        if self.view.windows.len() > 2 * KEPT_WINDOWS {
            self.forget_passed(floor);
        }
        let passed = |shard| self.passed.get(shard).copied().unwrap_or(EventTime::MIN);
        let least = others.iter().map(passed).min().unwrap_or(EventTime::MAX);
        let release: BTreeSet<Window> = self.gone.extract_if(.., |w| w.max_timestamp() < least).collect();
        self.release(&release);
    }

    fn forget_passed(&mut self, floor: EventTime) {
        let mut passed: Vec<Window> = self.view.windows.keys().filter(|w| w.max_timestamp() < floor).cloned().collect();
        passed.sort_by_key(|w| (std::cmp::Reverse(w.max_timestamp()), w.clone()));
        let gone: BTreeSet<Window> = passed.into_iter().skip(KEPT_WINDOWS).collect();
        if gone.is_empty() {
            return;
        }
        Arc::make_mut(&mut self.view).windows.retain(|window, _| !gone.contains(window));
        self.seen.retain(|window| !gone.contains(window));
        if self.stores {
            self.gone.extend(gone);
        }
    }

    /// Stored chunks do not need to hold these windows any more.
    fn release(&mut self, windows: &BTreeSet<Window>) {
        let deletes = &mut self.deletes;
        self.chunks.retain(|key, needed| {
            needed.retain(|window| !windows.contains(window));
            if needed.is_empty() {
                deletes.push(key.clone());
            }
            !needed.is_empty()
        });
    }

    /// Writes down what came since the last seal. What a later pane has taken the place of goes.
    pub fn seal(&mut self, epoch: Epoch, out: &mut Vec<CellWrite>) {
        for (i, batch) in std::mem::take(&mut self.fresh).into_iter().enumerate() {
            let key = CellKey::new(JOB_GROUP, Kind::View, self.id).number(epoch.0).number(i as u64).finish();
            self.note(key.clone(), &batch);
            out.push((key, Some(Bytes::from(crate::stored::encode(&batch)))));
        }
        out.extend(self.deletes.drain(..).map(|key| (key, None)));
    }

    fn note(&mut self, key: Bytes, batch: &Batch) {
        let windows: BTreeSet<Window> = batch.rows().iter().flat_map(|row| batch.windows(row)).cloned().collect();
        if self.panes {
            self.release(&windows);
        }
        self.chunks.insert(key, windows);
    }

    /// Takes a stored chunk back in.
    ///
    /// # Errors
    /// As [`ViewRoom::add`].
    pub fn restore(&mut self, key: &[u8], batch: &Batch) -> Result<()> {
        if self.stores {
            self.note(Bytes::copy_from_slice(key), batch);
        }
        self.index(batch)
    }
}

impl SideWindow {
    /// Adds a value of a key, both in outer encoding.
    fn put(&mut self, coder: &Coder, key: &[u8], value: &[u8]) {
        if !self.by_key.contains_key(key) {
            let key = Bytes::copy_from_slice(key);
            self.keys.push(key.clone());
            self.by_key.insert(key, Vec::new());
        }
        if let Some(values) = self.by_key.get_mut(key) {
            coder.write_nested(values, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::WindowFn;

    fn room(panes: bool) -> ViewRoom {
        let pair = Coder::Kv(Arc::new(Coder::Bytes), Arc::new(Coder::Bytes));
        let stage = ViewStage {
            collection: crate::graph::CollectionId(0),
            coder: Arc::new(pair),
            access: SideAccess::Multimap,
            windowing: Arc::new(Windowing::of(WindowFn::Fixed { size: 10, offset: 0 })),
            panes,
        };
        ViewRoom::new(&stage, StateId(3), true)
    }

    fn pane(window: i64, pairs: &[(&str, &str)]) -> Batch {
        let (key, value) = (Coder::Bytes, Coder::Bytes);
        let mut list = (pairs.len() as u32).to_be_bytes().to_vec();
        for (k, v) in pairs {
            key.write_nested(&mut list, k.as_bytes());
            value.write_nested(&mut list, v.as_bytes());
        }
        let mut batch = BatchBuilder::new();
        batch.push(b"", &list, EventTime(window), &[span(window)]);
        batch.finish()
    }

    fn span(start: i64) -> Window {
        Window::Interval { start: EventTime(start), end: EventTime(start + 10) }
    }

    fn read(room: &ViewRoom, window: i64, key: &[u8]) -> Vec<u8> {
        let view = room.snapshot();
        view.windows.get(&span(window)).and_then(|w| w.by_key.get(key).cloned()).unwrap_or_default()
    }

    #[test]
    fn the_last_pane_is_the_contents_and_what_it_replaced_leaves_the_store() -> Result<()> {
        let mut room = room(true);
        assert!(!room.is_ready(&span(0)));
        room.add(pane(0, &[("a", "1"), ("b", "2")]))?;
        assert!(room.is_ready(&span(0)), "a trigger has spoken");
        let before = room.snapshot();
        let mut first = Vec::new();
        room.seal(Epoch(1), &mut first);
        room.add(pane(0, &[("a", "3"), ("a", "4")]))?;
        assert_eq!((read(&room, 0, b"a"), read(&room, 0, b"b")), (b"\x013\x014".to_vec(), Vec::new()));
        assert_eq!(before.windows[&span(0)].by_key[&b"b"[..]], b"\x012", "a snapshot stays as it was");
        let mut second = Vec::new();
        room.seal(Epoch(2), &mut second);
        assert!(second.contains(&(first[0].0.clone(), None)), "the first chunk goes");
        let mut after = self::room(true);
        let (key, value) = &second[0];
        after.restore(key, &crate::stored::decode(value.as_ref().expect("put"))?)?;
        assert_eq!(read(&after, 0, b"a"), b"\x013\x014");
        Ok(())
    }

    #[test]
    fn windows_behind_all_readers_are_forgotten_but_the_latest() -> Result<()> {
        let mut room = room(true);
        let windows = 3 * KEPT_WINDOWS as i64;
        for n in 0..windows {
            room.add(pane(10 * n, &[("a", "1")]))?;
        }
        room.seal(Epoch(1), &mut Vec::new());
        assert!(room.is_crowded());
        let (floor, other) = (EventTime(10 * (windows - 1)), [ShardId(1)]);
        room.forget_before(floor, &other);
        assert_eq!(room.snapshot().windows.len(), KEPT_WINDOWS + 1);
        assert_eq!(read(&room, 10 * (windows - 2), b"a"), b"\x011");
        let mut writes = Vec::new();
        room.seal(Epoch(2), &mut writes);
        assert_eq!(writes.len(), 0, "nobody knows how far the other shard is");
        room.passed(ShardId(1), EventTime(1000));
        room.forget_before(floor, &other);
        room.seal(Epoch(3), &mut writes);
        assert_eq!(writes.len(), 100, "it lags");
        room.passed(ShardId(1), floor);
        room.forget_before(floor, &other);
        room.seal(Epoch(4), &mut writes);
        assert_eq!(writes.len(), 2 * KEPT_WINDOWS - 1, "the chunks of all that is forgotten");
        assert!(!room.is_crowded());
        Ok(())
    }
}
