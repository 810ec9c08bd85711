//! What a function sees beside its element: its time, its outputs, its state, its metrics, the log.
//!
//! All buffers here live as long as the instance and are reused by every call, so that an element allocates nothing.

use crate::dofn::{DoFn, EventTime, Failure, Output, OutputSpec};
use crate::element::{Element, View};
use crate::frame::{FrameWriter, INHERIT, Input, Table, pack, section};
use crate::host::{Host, Level};
use crate::metric::{Counter, Distribution, Metrics};
use crate::state::{BagSlot, Items, SlotSpec, State, ValueSlot};

/// Outputs leave before the call ends when they are this large.
const FLUSH_BYTES: usize = 256 * 1024;

/// Output rows as columns; a column that all rows so far could do without is empty.
#[derive(Default)]
struct Rows {
    source: Vec<[u8; 4]>,
    value: Vec<[u8; 8]>,
    key: Vec<[u8; 8]>,
    output: Vec<[u8; 4]>,
    time: Vec<[u8; 8]>,
    arena: Vec<u8>,
}

impl Rows {
    fn clear(&mut self) {
        self.source.clear();
        self.value.clear();
        self.key.clear();
        self.output.clear();
        self.time.clear();
        self.arena.clear();
    }

    fn size(&self) -> usize {
        self.arena.len() + self.value.len() * 16
    }

    fn write(&self) -> FrameWriter {
        let rows = self.value.len();
        let columns = self.source.len() * 4 + (self.value.len() + self.key.len() + self.time.len()) * 8;
        let mut frame = FrameWriter::new(rows, columns + self.output.len() * 4 + self.arena.len() + 64);
        frame.section(section::SOURCE, &[self.source.as_flattened()]);
        frame.section(section::VALUE, &[self.value.as_flattened()]);
        for (id, column) in [(section::KEY, &self.key), (section::TIME, &self.time)] {
            if !column.is_empty() {
                frame.section(id, &[column.as_flattened()]);
            }
        }
        if !self.output.is_empty() {
            frame.section(section::OUTPUT, &[self.output.as_flattened()]);
        }
        frame.section(section::ARENA, &[&self.arena]);
        frame
    }
}

/// What `process` gets beside the element.
pub struct Context {
    row: u32,
    time: EventTime,
    now: i64,
    windows: Vec<u8>,
    pane: Vec<u8>,
    rows: Rows,
    state: State,
    metrics: Metrics,
    failed: Vec<(u32, Failure)>,
    host: Host,
}

impl Context {
    pub(crate) fn new(host: Host, slots: &[&dyn SlotSpec]) -> Self {
        Self {
            row: 0,
            time: EventTime::default(),
            now: 0,
            windows: Vec::new(),
            pane: Vec::new(),
            rows: Rows::default(),
            state: State::new(slots),
            metrics: Metrics::default(),
            failed: Vec::new(),
            host,
        }
    }

    /// The element's event time.
    #[must_use]
    #[inline]
    pub fn time(&self) -> EventTime {
        self.time
    }

    /// The processing time of the call in milliseconds since 1970: constant in a call, equal when it is retried. The
    /// only clock there is.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now
    }

    /// The element's windows, each as the pipeline's window coder encodes it.
    pub fn windows(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.windows.as_slice();
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_first_chunk::<4>()?;
            let (window, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = tail;
            Some(window)
        })
    }

    /// The pane of the element as Beam encodes it.
    #[must_use]
    pub fn pane(&self) -> &[u8] {
        &self.pane
    }

    /// Puts an element out, with time and windows of the element that is being processed.
    #[inline]
    pub fn emit<T: Element>(&mut self, output: &Output<T>, element: View<'_, T>) {
        if !self.rows.time.is_empty() {
            self.rows.time.push(INHERIT.to_le_bytes());
        }
        self.push(output, &element);
    }

    /// Puts an element out with an event time of its own.
    #[inline]
    pub fn emit_at<T: Element>(&mut self, output: &Output<T>, time: EventTime, element: View<'_, T>) {
        let rows = self.rows.value.len();
        if self.rows.time.len() < rows {
            self.rows.time.resize(rows, INHERIT.to_le_bytes());
        }
        self.rows.time.push(time.0.to_le_bytes());
        self.push(output, &element);
    }

    #[inline]
    fn push<T: Element>(&mut self, output: &Output<T>, element: &View<'_, T>) {
        let rows = &mut self.rows;
        let before = rows.value.len();
        let start = rows.arena.len();
        let value = T::encode_columns(element, &mut rows.arena);
        rows.value.push(pack(value, rows.arena.len()));
        rows.source.push(self.row.to_le_bytes());
        if T::KEYED || !rows.key.is_empty() {
            rows.key.resize(before, [0; 8]);
            rows.key.push(pack(start, value));
        }
        if output.index() != 0 || !rows.output.is_empty() {
            rows.output.resize(before, [0; 4]);
            rows.output.push(output.index().to_le_bytes());
        }
        if rows.size() >= FLUSH_BYTES {
            self.flush();
        }
    }

    // Rows of an element that fails later are dropped by the host, so it does not matter that they have left.
    #[cold]
    fn flush(&mut self) {
        self.host.emit(self.rows.write().finish());
        self.rows.clear();
    }

    /// The value of a slot for the element's key and window.
    ///
    /// # Errors
    /// If what is stored is not a value of the slot's type: the element fails.
    #[inline]
    pub fn get<T: Element>(&mut self, slot: &ValueSlot<T>) -> Result<Option<View<'_, T>>, Failure> {
        self.state.get(slot, &mut self.host).map_err(Failure::from)
    }

    /// Replaces the value of a slot.
    #[inline]
    pub fn set<T: Element>(&mut self, slot: &ValueSlot<T>, value: View<'_, T>) {
        self.state.set(self.row, slot, &value);
    }

    /// Adds a value to a bag.
    #[inline]
    pub fn add<T: Element>(&mut self, slot: &BagSlot<T>, value: View<'_, T>) {
        self.state.add(self.row, slot, &value);
    }

    /// The values of a bag in the order they were added. An item is an error if what is stored is not of the slot's type.
    pub fn items<T: Element>(&mut self, slot: &BagSlot<T>) -> Items<'_, T> {
        self.state.items(slot, &mut self.host)
    }

    /// Empties a slot.
    pub fn clear(&mut self, slot: &dyn SlotSpec) {
        self.state.clear(self.row, slot);
    }

    /// Adds to a counter.
    pub fn count(&mut self, counter: Counter, n: i64) {
        self.metrics.count(counter, n);
    }

    /// Reports a value to a distribution.
    pub fn report(&mut self, distribution: Distribution, value: i64) {
        self.metrics.report(distribution, value);
    }

    /// Writes a line about the element to the job's log. The host drops lines above its rate limit.
    pub fn log(&mut self, level: Level, message: &str) {
        self.host.log(level, Some(self.row), message);
    }

    pub(crate) fn begin(&mut self, input: &Input<'_>) {
        self.rows.clear();
        self.failed.clear();
        self.state.begin(input.groups());
        self.now = input.now;
        self.show(&input.window_sets, 0, &input.panes, 0);
    }

    #[inline]
    pub(crate) fn enter<D: DoFn>(&mut self, row: usize, input: &Input<'_>) {
        self.row = row as u32;
        self.time = EventTime(input.time(row));
        if let (false, Some(group)) = (D::SLOTS.is_empty(), input.group.get(row)) {
            self.state.enter(u32::from_le_bytes(*group), input);
        }
        if !input.windows.is_empty() || !input.pane.is_empty() {
            let at = |column: &[[u8; 4]]| column.get(row).map_or(0, |i| u32::from_le_bytes(*i) as usize);
            self.show(&input.window_sets, at(input.windows), &input.panes, at(input.pane));
        }
    }

    fn show(&mut self, window_sets: &Table<'_>, windows: usize, panes: &Table<'_>, pane: usize) {
        const ONLY_FIRING: &[u8] = &[0x0f];
        self.windows.clear();
        self.windows.extend_from_slice(window_sets.get(windows));
        self.pane.clear();
        self.pane.extend_from_slice(if panes.is_empty() { ONLY_FIRING } else { panes.get(pane) });
    }

    #[cold]
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.state.undo(self.row);
        self.failed.push((self.row, failure));
    }

    // Constant per function: a stateless one carries no code for state, and its component no import of it.
    pub(crate) fn finish<D: DoFn>(&mut self) -> Vec<u8> {
        if !D::SLOTS.is_empty() {
            self.state.finish(&mut self.host);
        }
        let mut frame = self.rows.write();
        if !self.failed.is_empty() {
            let (mut entries, mut texts) = (Vec::new(), Vec::new());
            for (row, failure) in &self.failed {
                let start = texts.len();
                texts.extend_from_slice(failure.code.as_bytes());
                let code = texts.len();
                texts.extend_from_slice(failure.message.as_bytes());
                entries.extend([pack(*row as usize, 0), pack(start, code), pack(code, texts.len())]);
            }
            frame.table(section::FAILED, [self.failed.len() as u32, 0], entries.as_flattened(), &texts);
        }
        self.metrics.drain_into(&mut frame);
        frame.finish()
    }
}
