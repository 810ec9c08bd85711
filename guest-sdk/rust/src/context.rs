//! What a function sees beside its element: its time, its outputs, its state, its metrics, the log.
//!
//! All buffers here live as long as the instance and are reused by every call, so that an element allocates nothing.

use crate::collections::{MapState, MultimapState, OrderedListState, SetState};
use crate::combine::CombineFn;
use crate::dofn::{DoFn, EventTime, Failure, Output, OutputSpec, is_keyed};
use crate::element::{Element, View};
use crate::frame::{Answers, FrameWriter, Input, NONE, Table as Dictionary, pack, section};
use crate::host::{Host, Level};
use crate::many::Rest;
use crate::metric::{Counter, Distribution, Metrics};
use crate::owned::Owned;
use crate::rows::{Place, Rows};
use crate::side::{Reads, Side, SideList, SideMultimap, Table};
use crate::slot::{BagSlot, CombiningSlot, MapSlot, MultimapSlot, OrderedListSlot, SetSlot, SlotSpec, ValueSlot};
use crate::state::{Items, State};
use crate::timer::{SetTimer, Timer, Timers};
use crate::walk::Walk;
use crate::window::Window;

/// Outputs leave before the call ends when they are this large.
const FLUSH_BYTES: usize = 256 * 1024;

/// What a table has for the element's key.
struct Joined {
    table: u32,
    present: bool,
    entry: Vec<u8>,
}

/// What `process` gets beside the element.
pub struct Context {
    row: u32,
    group: u32,
    time: EventTime,
    now: i64,
    random: u64,
    /// Index of the window set in the frame.
    window_set: u32,
    windows: Vec<u8>,
    pane: Vec<u8>,
    rows: Rows,
    state: State,
    timers: Timers,
    reads: Reads,
    joined: Vec<Joined>,
    metrics: Metrics,
    failed: Vec<(u32, Failure)>,
    host: Host,
}

impl Context {
    pub(crate) fn new(host: Host, slots: &[&dyn SlotSpec]) -> Self {
        Self {
            row: 0,
            group: 0,
            time: EventTime::default(),
            now: 0,
            random: 0,
            window_set: 0,
            windows: Vec::new(),
            pane: Vec::new(),
            rows: Rows::default(),
            state: State::new(slots),
            timers: Timers::default(),
            reads: Reads::default(),
            joined: Vec::new(),
            metrics: Metrics::default(),
            failed: Vec::new(),
            host,
        }
    }

    /// The element's event time.
    #[must_use]
    #[inline(always)]
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

    /// The window of the element; the first, if it has several. Elements of a keyed function have one.
    #[must_use]
    pub fn window(&self) -> Window {
        self.windows().next().map_or(Window::Global, Window::of)
    }

    /// A pseudo-random number: the same ones come again when a call is retried.
    pub fn random(&mut self) -> u64 {
        // SplitMix64
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Puts an element out, with time and windows of the element that is being processed.
    #[inline(always)]
    pub fn emit<T: Element>(&mut self, output: &Output<T>, element: View<'_, T>) {
        self.push(output, Place { source: self.row, time: None, windows: &[] }, &element);
    }

    /// Puts an element out with an event time of its own.
    #[inline(always)]
    pub fn emit_at<T: Element>(&mut self, output: &Output<T>, time: EventTime, element: View<'_, T>) {
        self.push(output, Place { source: self.row, time: Some(time), windows: &[] }, &element);
    }

    /// Puts an element out with an event time and windows of its own.
    pub fn emit_in<T: Element>(
        &mut self,
        output: &Output<T>,
        time: EventTime,
        windows: &[Window],
        element: View<'_, T>,
    ) {
        self.push(output, Place { source: self.row, time: Some(time), windows }, &element);
    }

    /// Puts an element out that comes from none.
    pub(crate) fn emit_free<T: Element>(
        &mut self,
        output: &Output<T>,
        time: EventTime,
        window: &Window,
        element: &View<'_, T>,
    ) {
        let windows = std::slice::from_ref(window);
        self.push(output, Place { source: NONE, time: Some(time), windows }, element);
    }

    #[inline(always)]
    fn push<T: Element>(&mut self, output: &Output<T>, place: Place<'_>, element: &View<'_, T>) {
        self.rows.push::<T>(output.index(), place, element);
        if self.rows.size() >= FLUSH_BYTES {
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
    #[inline(always)]
    pub fn get<T: Element>(&mut self, slot: &ValueSlot<T>) -> Result<Option<View<'_, T>>, Failure> {
        self.state.get(slot, &mut self.host).map_err(Failure::from)
    }

    /// Replaces the value of a slot.
    #[inline(always)]
    pub fn set<T: Element>(&mut self, slot: &ValueSlot<T>, value: View<'_, T>) {
        self.state.set(self.row, slot, &value);
    }

    /// Adds a value to a bag.
    #[inline(always)]
    pub fn add<T: Element>(&mut self, slot: &BagSlot<T>, value: View<'_, T>) {
        self.state.add(self.row, slot, &value);
    }

    /// The values of a bag in the order they were added. An item is an error if what is stored is not of the slot's type.
    pub fn items<T: Element>(&mut self, slot: &BagSlot<T>) -> Items<'_, T> {
        self.state.items(slot, &mut self.host)
    }

    /// The values of a bag in the order they were added, a page of them in memory at a time: for bags that may be large. [`items`](Self::items) is
    /// dearer in memory and cheaper in calls to the host, as it fetches the bags of many keys together.
    pub fn walk<T: Element>(&mut self, slot: &BagSlot<T>) -> Walk<T> {
        self.state.walk(slot, &self.host)
    }

    /// Adds a value to the accumulator of a slot.
    ///
    /// # Errors
    /// If what is stored is no accumulator, or the CombineFn refuses the value: the element fails.
    pub fn combine<C: CombineFn + Default>(
        &mut self,
        slot: &CombiningSlot<C>,
        value: View<'_, C::In>,
    ) -> Result<(), Failure> {
        let combine = C::default();
        let mut accumulator = self.accumulator(slot, &combine)?;
        combine.add(&mut accumulator, value)?;
        if let Some(place) = self.state.replace(self.row, slot.index) {
            accumulator.encode_nested(place);
        }
        Ok(())
    }

    /// What the accumulator of a slot comes to; that of no values if it is empty.
    ///
    /// # Errors
    /// If what is stored is no accumulator: the element fails.
    pub fn combined<C: CombineFn + Default>(&mut self, slot: &CombiningSlot<C>) -> Result<C::Out, Failure> {
        let combine = C::default();
        let accumulator = self.accumulator(slot, &combine)?;
        Ok(combine.extract(accumulator))
    }

    fn accumulator<C: CombineFn>(&mut self, slot: &CombiningSlot<C>, combine: &C) -> Result<C::Accumulator, Failure> {
        let mut bytes = self.state.bytes(slot.index, &mut self.host);
        if bytes.is_empty() { Ok(combine.create()) } else { Ok(C::Accumulator::decode_nested(&mut bytes)?) }
    }

    /// The map of a slot.
    pub fn map<K: Element, V: Element>(&mut self, slot: &MapSlot<K, V>) -> MapState<'_, K, V> {
        MapState::new(self.state.entries(slot.index, self.row, &mut self.host))
    }

    /// The set of a slot.
    pub fn set_of<T: Element>(&mut self, slot: &SetSlot<T>) -> SetState<'_, T> {
        SetState::new(self.state.entries(slot.index, self.row, &mut self.host))
    }

    /// The multimap of a slot.
    pub fn multimap<K: Element, V: Element>(&mut self, slot: &MultimapSlot<K, V>) -> MultimapState<'_, K, V> {
        MultimapState::new(self.state.entries(slot.index, self.row, &mut self.host))
    }

    /// The ordered list of a slot.
    pub fn ordered_list<T: Element>(&mut self, slot: &OrderedListSlot<T>) -> OrderedListState<'_, T> {
        OrderedListState::new(self.state.entries(slot.index, self.row, &mut self.host))
    }

    /// A timer of the element's key and window: `ctx.timer(&GAP).set(at_ms)`.
    pub fn timer(&mut self, timer: &Timer) -> SetTimer<'_> {
        SetTimer::new(&mut self.timers, (self.group, self.row), timer.index())
    }

    /// The elements of a side input in the element's window.
    pub fn side<T: Element>(&mut self, side: &SideList<T>) -> Side<T> {
        self.reads.list(side, self.window_set, &mut self.host)
    }

    /// The values that a side input has for a key in the element's window.
    pub fn side_values<K: Element, V: Element>(&mut self, side: &SideMultimap<K, V>, key: View<'_, K>) -> Side<V> {
        self.reads.values(side, self.window_set, &key, &mut self.host)
    }

    /// The keys of a side input in the element's window.
    pub fn side_keys<K: Element, V: Element>(&mut self, side: &SideMultimap<K, V>) -> Side<K> {
        self.reads.keys(side, self.window_set, &mut self.host)
    }

    /// What a table has for the element's key, which arrived with the batch. The table is one made by [`Table::by_key`].
    ///
    /// # Errors
    /// If the entry is not of the table's type: the element fails.
    pub fn joined<K: Element, V: Element>(&self, table: &Table<K, V>) -> Result<Option<View<'_, V>>, Failure> {
        let found = self.joined.iter().find(|joined| joined.table == table.index && joined.present);
        Ok(found.map(|joined| V::decode(&joined.entry)).transpose()?)
    }

    /// What a table has for a key. It may wait for the table.
    ///
    /// # Errors
    /// If the entry is not of the table's type: the element fails.
    pub fn lookup<K: Element, V: Element>(
        &mut self,
        table: &Table<K, V>,
        key: View<'_, K>,
    ) -> Result<Option<View<'_, V>>, Failure> {
        self.reads.lookup(table, &key, &mut self.host)
    }

    /// Asks a table for several keys in one call to the host, for lookups that follow.
    pub fn prefetch<'k, K: Element, V: Element>(
        &mut self,
        table: &Table<K, V>,
        keys: impl IntoIterator<Item = View<'k, K>>,
    ) {
        let encode = |key: View<'k, K>| {
            let mut bytes = Vec::new();
            K::encode(&key, &mut bytes);
            bytes
        };
        let keys: Vec<Vec<u8>> = keys.into_iter().map(encode).collect();
        self.reads.fetch(table.index, &keys, &mut self.host);
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

    pub(crate) fn log_bundle(&mut self, level: Level, message: &str) {
        self.host.log(level, None, message);
    }

    pub(crate) fn rest(&self, token: &[u8]) -> Rest {
        Rest::new(token, &self.host)
    }

    pub(crate) fn begin(&mut self, input: &Input<'_>) {
        self.rows.clear();
        self.failed.clear();
        self.timers.begin();
        self.metrics.begin();
        self.reads.begin();
        self.state.begin(input.groups());
        self.now = input.now;
        self.random = input.seed;
        self.window_set = 0;
        self.show(&input.window_sets, 0, &input.panes, 0);
    }

    #[inline(always)]
    pub(crate) fn enter<D: DoFn>(&mut self, row: usize, input: &Input<'_>) {
        self.row = row as u32;
        self.metrics.enter(row as u32);
        self.time = EventTime(input.time(row));
        if is_keyed::<D>() {
            self.group = input.group_of(row);
            self.state.enter(self.group, input);
        }
        if !input.windows.is_empty() || !input.pane.is_empty() {
            let at = |column: &[[u8; 4]]| column.get(row).map_or(0, |i| u32::from_le_bytes(*i) as usize);
            self.window_set = at(input.windows) as u32;
            self.show(&input.window_sets, at(input.windows), &input.panes, at(input.pane));
        }
        if !D::TABLES.is_empty() {
            self.join(row, &input.tables);
        }
    }

    fn join(&mut self, row: usize, tables: &[Answers<'_>]) {
        let empty = || Joined { table: 0, present: false, entry: Vec::new() };
        self.joined.resize_with(tables.len(), empty);
        for (joined, table) in self.joined.iter_mut().zip(tables) {
            let entry = table.get(row);
            (joined.table, joined.present) = (table.head, entry.is_some());
            joined.entry.clear();
            joined.entry.extend_from_slice(entry.unwrap_or_default());
        }
    }

    fn show(&mut self, window_sets: &Dictionary<'_>, windows: usize, panes: &Dictionary<'_>, pane: usize) {
        const ONLY_FIRING: &[u8] = &[0x0f];
        self.windows.clear();
        self.windows.extend_from_slice(window_sets.get(windows));
        self.pane.clear();
        self.pane.extend_from_slice(if panes.is_empty() { ONLY_FIRING } else { panes.get(pane) });
    }

    #[cold]
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.state.undo(self.row);
        self.timers.undo(self.row);
        self.metrics.undo(self.row);
        self.failed.push((self.row, failure));
    }

    // Constant per function: a stateless one carries no code for state, and its component no import of it.
    pub(crate) fn finish<D: DoFn>(&mut self) -> Vec<u8> {
        let mut frame = self.rows.write();
        if !D::SLOTS.is_empty() {
            self.state.finish(&mut frame);
        }
        if !D::TIMERS.is_empty() {
            self.timers.finish(&mut frame);
        }
        failed_section(&self.failed, &mut frame);
        self.metrics.drain_into(&mut frame);
        frame.finish()
    }
}

/// Adds the section of the rows that failed, if there are any.
pub fn failed_section(failed: &[(u32, Failure)], frame: &mut FrameWriter) {
    if failed.is_empty() {
        return;
    }
    let (mut entries, mut texts) = (Vec::new(), Vec::new());
    for (row, failure) in failed {
        let start = texts.len();
        texts.extend_from_slice(failure.code.as_bytes());
        let code = texts.len();
        texts.extend_from_slice(failure.message.as_bytes());
        entries.extend([pack(*row as usize, 0), pack(start, code), pack(code, texts.len())]);
    }
    frame.table(section::FAILED, [failed.len() as u32, 0], entries.as_flattened(), &texts);
}
