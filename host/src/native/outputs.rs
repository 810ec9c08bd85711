//! Where a native function puts its elements: a batch under construction per output.

use thalweg_core::batch::{Batch, BatchBuilder, Pane, Row};
use thalweg_core::id::key_hash;
use thalweg_core::metric::{MetricKey, MetricValue, Metrics};
use thalweg_core::time::{EventTime, ProcessingTime};
use thalweg_core::window::Window;

/// Size at which a batch is handed on, in bytes: large enough that its fixed cost is nothing, small enough to stay in
/// the second-level cache until the next function reads it.
const BATCH_BYTES: usize = 256 << 10;

/// The outputs of one function during one bundle.
#[derive(Debug)]
pub struct Outputs {
    slots: Vec<Slot>,
    metrics: Metrics,
    now: ProcessingTime,
    watermark: EventTime,
}

#[derive(Debug, Default)]
struct Slot {
    /// Whether anyone takes it.
    wanted: bool,
    open: BatchBuilder,
    ready: Vec<Batch>,
}

impl Slot {
    fn close(&mut self) {
        if !self.open.is_empty() {
            self.ready.push(self.open.finish());
        }
    }
}

impl Outputs {
    /// Outputs of which those marked `true` are taken by someone.
    #[must_use]
    pub fn new(wanted: &[bool]) -> Self {
        let slots = wanted.iter().map(|wanted| Slot { wanted: *wanted, ..Slot::default() }).collect();
        Self { slots, metrics: Metrics::default(), now: ProcessingTime(0), watermark: EventTime::MIN }
    }

    /// Processing time of the bundle.
    #[must_use]
    pub fn now(&self) -> ProcessingTime {
        self.now
    }

    /// Input watermark of the stage.
    #[must_use]
    pub fn watermark(&self) -> EventTime {
        self.watermark
    }

    fn slot(&mut self, output: usize) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(output).filter(|slot| slot.wanted)?;
        if slot.open.bytes() >= BATCH_BYTES {
            slot.close();
        }
        Some(slot)
    }

    /// Adds an element; without a key the key is empty.
    #[inline]
    pub fn push(&mut self, output: usize, key: &[u8], value: &[u8], time: EventTime, windows: &[Window]) {
        if let Some(slot) = self.slot(output) {
            slot.open.push(key, value, time, windows);
        }
    }

    /// Adds an element whose value `write` puts into the batch itself. `hash` is that of the key.
    #[inline]
    pub fn push_with(
        &mut self,
        output: usize,
        (key, hash): (&[u8], u64),
        time: EventTime,
        windows: &[Window],
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if let Some(slot) = self.slot(output) {
            slot.open.push_with(key, hash, time, windows, Pane::NO_FIRING, write);
        }
    }

    /// Adds an element without key, with time, windows and pane of `row`; `write` puts its value into the batch itself.
    #[inline]
    pub fn like(&mut self, output: usize, batch: &Batch, row: &Row, write: impl FnOnce(&mut Vec<u8>)) {
        self.like_in(output, batch, row, batch.windows(row), write);
    }

    /// As [`Outputs::like`], in these windows.
    #[inline]
    pub fn like_in(
        &mut self,
        output: usize,
        batch: &Batch,
        row: &Row,
        windows: &[Window],
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if let Some(slot) = self.slot(output) {
            slot.open.push_with(&[], 0, row.time, windows, batch.pane(row), write);
        }
    }

    /// Adds a keyed element with time, windows and pane of `row`.
    pub fn keyed_like(&mut self, output: usize, key: &[u8], value: &[u8], batch: &Batch, row: &Row) {
        if let Some(slot) = self.slot(output) {
            let write = |bytes: &mut Vec<u8>| bytes.extend_from_slice(value);
            slot.open.push_with(key, key_hash(key), row.time, batch.windows(row), batch.pane(row), write);
        }
    }

    /// Hands a whole batch on without copying it.
    pub fn forward(&mut self, output: usize, batch: Batch) {
        if let Some(slot) = self.slot(output) {
            slot.close();
            slot.ready.push(batch);
        }
    }

    /// Adds to a metric of the bundle.
    pub fn metric(&mut self, key: &MetricKey, value: &MetricValue) {
        self.metrics.add(key, value);
    }

    pub(super) fn begin(&mut self, now: ProcessingTime, watermark: EventTime) {
        (self.now, self.watermark) = (now, watermark);
        self.metrics = Metrics::default();
        for slot in &mut self.slots {
            slot.open = BatchBuilder::new();
            slot.ready.clear();
        }
    }

    /// Takes what is there: output by output, in order.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(usize, Batch)) {
        for (i, slot) in self.slots.iter_mut().enumerate() {
            slot.close();
            for batch in slot.ready.drain(..) {
                each(i, batch);
            }
        }
    }

    pub(super) fn take_metrics(&mut self) -> Metrics {
        std::mem::take(&mut self.metrics)
    }
}
