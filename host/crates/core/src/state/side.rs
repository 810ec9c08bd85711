//! Side inputs: what a view stage keeps on every shard, and the immutable snapshots bundles read.

use super::layout::{CellKey, JOB_GROUP, Kind};
use crate::batch::Batch;
use crate::coder::Coder;
use crate::graph::{SideAccess, ViewStage};
use crate::id::{Epoch, StateId};
use crate::port::store::CellWrite;
use crate::time::EventTime;
use crate::window::{Trigger, Window, WindowFn, Windowing};
use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
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

/// The contents of a view stage on one shard. Every shard holds all of it and shares the bytes; one of them stores it.
#[derive(Debug)]
pub struct ViewRoom {
    coder: Arc<Coder>,
    access: SideAccess,
    windowing: Arc<Windowing>,
    view: Arc<SideView>,
    watermark: EventTime,
    id: StateId,
    stores: bool,
    fresh: Vec<Batch>,
    seen: HashSet<Window, FixedState>,
}

impl ViewRoom {
    /// An empty room; `stores` on the one shard that writes it down.
    #[must_use]
    pub fn new(stage: &ViewStage, id: StateId, stores: bool) -> Self {
        Self {
            coder: Arc::clone(&stage.coder),
            access: stage.access,
            windowing: Arc::clone(&stage.windowing),
            view: Arc::default(),
            watermark: EventTime::MIN,
            id,
            stores,
            fresh: Vec::new(),
            seen: HashSet::default(),
        }
    }

    /// Takes elements. Snapshots that bundles hold stay as they are. Cost: O(bytes), or a copy of the window's contents if a
    /// snapshot of it is in use.
    pub fn add(&mut self, batch: Batch) {
        self.index(&batch);
        if self.stores {
            self.fresh.push(batch);
        }
    }

    fn index(&mut self, batch: &Batch) {
        let view = Arc::make_mut(&mut self.view);
        for row in batch.rows() {
            for window in batch.windows(row) {
                self.seen.insert(window.clone());
                let side = Arc::make_mut(view.windows.entry(window.clone()).or_default());
                match (self.access, self.coder.kv()) {
                    (SideAccess::Multimap, Some((_, value))) => {
                        let key = batch.key(row);
                        if !side.by_key.contains_key(key) {
                            let key = Bytes::copy_from_slice(key);
                            side.keys.push(key.clone());
                            side.by_key.insert(key, Vec::new());
                        }
                        if let Some(values) = side.by_key.get_mut(key) {
                            value.write_nested(values, batch.value(row));
                        }
                    }
                    (_, Some((key, value))) => {
                        key.write_nested(&mut side.values, batch.key(row));
                        value.write_nested(&mut side.values, batch.value(row));
                    }
                    _ => self.coder.write_nested(&mut side.values, batch.value(row)),
                }
            }
        }
    }

    /// Takes the watermark of the view's input.
    pub fn advance(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(watermark);
    }

    /// Whether a window can be read: the watermark has passed it, or a trigger has spoken for it.
    #[must_use]
    pub fn is_ready(&self, window: &Window) -> bool {
        window.max_timestamp().is_passed_by(self.watermark)
            || (self.windowing.trigger != Trigger::Default && self.seen.contains(window))
    }

    /// The window of the side input that belongs to a window of the main input; `None` if only the SDK can say.
    #[must_use]
    pub fn map(&self, main: &Window) -> Option<Window> {
        match &self.windowing.window_fn {
            WindowFn::Custom { .. } => None,
            WindowFn::Sessions { .. } => None,
            function => function.assign(main.max_timestamp()).into_iter().next(),
        }
    }

    /// The contents as they are.
    #[must_use]
    pub fn snapshot(&self) -> Arc<SideView> {
        Arc::clone(&self.view)
    }

    /// Writes down what came since the last seal.
    pub fn seal(&mut self, epoch: Epoch, out: &mut Vec<CellWrite>) {
        for (i, batch) in self.fresh.drain(..).enumerate() {
            let key = CellKey::new(JOB_GROUP, Kind::View, self.id).number(epoch.0).number(i as u64).finish();
            out.push((key, Some(Bytes::from(crate::stored::encode(&batch)))));
        }
    }

    /// Takes stored contents back in.
    pub fn restore(&mut self, batch: &Batch) {
        self.index(batch);
    }
}
