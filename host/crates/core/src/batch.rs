//! Ground floor: the batch, the only form in which elements move.
//!
//! A batch is an arena of encoded bytes and a table of rows that point into it. Keys and values stand in Beam's outer
//! context (see [`coder`](crate::coder)). The arena is shared, so selecting, routing and broadcasting rows
//! copies 48 bytes a row and never the data; a worker's wire message can itself be the arena. The hash of a key is
//! computed once, when the row is made, and carried. Windows and panes are indices into small per-batch dictionaries.

use crate::error::{Error, Result};
use crate::id::{KeyGroup, key_hash};
use crate::port::scratch::Chunk;
use crate::time::EventTime;
use crate::window::{Window, WindowSet};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// A range of the arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// Number of bytes.
    #[must_use]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

/// One element: where its bytes are, when it happened, in which windows and pane it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The key of a KV; empty otherwise.
    pub key: Span,
    /// The value of a KV; the whole element otherwise.
    pub value: Span,
    /// Event time.
    pub time: EventTime,
    /// Hash of the key; without meaning where there is no key.
    pub hash: u64,
    /// Index into the batch's window sets.
    pub windows: u32,
    /// Index into the batch's panes.
    pub pane: u32,
}

impl Row {
    /// The key group of the row.
    #[must_use]
    pub fn group(&self) -> KeyGroup {
        KeyGroup::of_hash(self.hash)
    }
}

/// When a pane fired, relative to the watermark.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Timing {
    /// Before the watermark passed the end of the window.
    Early,
    /// As the watermark passed it.
    OnTime,
    /// After that.
    Late,
    /// Not from a trigger.
    #[default]
    Unknown,
}

/// Beam's `PaneInfo`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pane {
    /// Timing of the firing.
    pub timing: Timing,
    /// First pane of its window.
    pub first: bool,
    /// Last pane of its window.
    pub last: bool,
    /// Number of the pane in its window.
    pub index: u64,
    /// Number among the panes that are not early; -1 for early ones.
    pub non_speculative: i64,
}

impl Pane {
    /// The pane of an element that no trigger made.
    pub const NO_FIRING: Self = Self { timing: Timing::Unknown, first: true, last: true, index: 0, non_speculative: 0 };
}

/// A grouped value too large for an arena: its elements in nested encoding, in pieces that never cut one.
#[derive(Clone, Debug)]
pub struct Large {
    /// Pieces put away, in order.
    pub pieces: Arc<Vec<Arc<Chunk>>>,
    /// The last piece.
    pub rest: Bytes,
}

/// What stands in the arena for a large value: no coder takes it for a value.
const LARGE: u8 = 0xff;

/// A shared, immutable run of elements.
#[derive(Clone, Debug)]
pub struct Batch {
    arena: Bytes,
    rows: Arc<Vec<Row>>,
    /// Which of the rows are in this batch.
    part: Range<usize>,
    windows: Arc<Vec<WindowSet>>,
    panes: Arc<Vec<Pane>>,
    /// Large values by where their rows' values begin, ascending.
    large: Arc<Vec<(u32, Large)>>,
    min_time: EventTime,
    bytes: usize,
}

impl Batch {
    /// Makes a batch of parts; the adapters that index foreign bytes use it. Batches may share their dictionaries.
    ///
    /// # Errors
    /// `BATCH_INVALID` when a row points outside its arena or dictionaries.
    pub fn from_parts(
        arena: Bytes,
        rows: Vec<Row>,
        windows: impl Into<Arc<Vec<WindowSet>>>,
        panes: impl Into<Arc<Vec<Pane>>>,
    ) -> Result<Self> {
        let (windows, panes) = (windows.into(), panes.into());
        let size = arena.len() as u64;
        let inside = |s: Span| s.start <= s.end && u64::from(s.end) <= size;
        // checked and summed in one walk: rows of a large batch are read from far away
        let (mut min_time, mut bytes) = (EventTime::MAX, 0);
        for row in &rows {
            if !inside(row.key)
                || !inside(row.value)
                || row.windows as usize >= windows.len()
                || row.pane as usize >= panes.len()
            {
                return Err(Error::internal("BATCH_INVALID", "a row points outside its batch"));
            }
            (min_time, bytes) = (min_time.min(row.time), bytes + weight(row));
        }
        Ok(Self::summed(arena, rows, windows, panes, (min_time, bytes)))
    }

    fn trusted(arena: Bytes, rows: Vec<Row>, windows: Arc<Vec<WindowSet>>, panes: Arc<Vec<Pane>>) -> Self {
        let sums = sums(&rows);
        Self::summed(arena, rows, windows, panes, sums)
    }

    fn summed(
        arena: Bytes,
        rows: Vec<Row>,
        windows: Arc<Vec<WindowSet>>,
        panes: Arc<Vec<Pane>>,
        (min_time, bytes): (EventTime, usize),
    ) -> Self {
        let part = 0..rows.len();
        Self { arena, rows: Arc::new(rows), part, windows, panes, large: Arc::default(), min_time, bytes }
    }

    fn part(&self, part: Range<usize>) -> Self {
        let (min_time, bytes) = sums(self.rows.get(part.clone()).unwrap_or_default());
        Self { part, min_time, bytes, ..self.clone() }
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        self.rows.get(self.part.clone()).unwrap_or_default()
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.part.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.part.is_empty()
    }

    /// Memory the rows stand for, in bytes; the measure of queues and credits.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes
    }

    /// The earliest event time; the end of time for an empty batch.
    #[must_use]
    pub fn min_time(&self) -> EventTime {
        self.min_time
    }

    /// The bytes all rows point into.
    #[must_use]
    pub fn arena(&self) -> &Bytes {
        &self.arena
    }

    /// The window sets rows point at.
    #[must_use]
    pub fn window_sets(&self) -> &[WindowSet] {
        &self.windows
    }

    /// The panes rows point at.
    #[must_use]
    pub fn panes(&self) -> &[Pane] {
        &self.panes
    }

    /// Bytes of a span of one of this batch's rows.
    #[must_use]
    pub fn slice(&self, span: Span) -> &[u8] {
        self.arena.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// The same without copying and without borrowing.
    #[must_use]
    pub fn shared(&self, span: Span) -> Bytes {
        if span.is_empty() { Bytes::new() } else { self.arena.slice(span.start as usize..span.end as usize) }
    }

    /// Key of a row.
    #[must_use]
    pub fn key(&self, row: &Row) -> &[u8] {
        self.slice(row.key)
    }

    /// Value of a row.
    #[must_use]
    pub fn value(&self, row: &Row) -> &[u8] {
        self.slice(row.value)
    }

    /// The value of a row, if it is too large for the arena: what stands there then is no value.
    #[must_use]
    pub fn large(&self, row: &Row) -> Option<&Large> {
        if self.large.is_empty() {
            return None;
        }
        let at = self.large.binary_search_by_key(&row.value.start, |(start, _)| *start).ok()?;
        self.large.get(at).map(|(_, large)| large)
    }

    /// Whether any row may have a large value.
    #[must_use]
    pub fn has_large(&self) -> bool {
        !self.large.is_empty()
    }

    fn with_large(mut self, large: Arc<Vec<(u32, Large)>>) -> Self {
        self.large = large;
        self
    }

    /// Windows of a row.
    #[must_use]
    pub fn windows(&self, row: &Row) -> &[Window] {
        self.windows.get(row.windows as usize).map_or(&[], |set| set.as_slice())
    }

    /// Pane of a row.
    #[must_use]
    pub fn pane(&self, row: &Row) -> Pane {
        self.panes.get(row.pane as usize).copied().unwrap_or(Pane::NO_FIRING)
    }

    /// A batch of some of the rows, sharing everything else.
    #[must_use]
    pub fn with_rows(&self, rows: Vec<Row>) -> Self {
        let parts = Self::trusted(self.arena.clone(), rows, Arc::clone(&self.windows), Arc::clone(&self.panes));
        parts.with_large(Arc::clone(&self.large))
    }

    /// The first `n` rows and the others. Copies nothing; cost: O(rows) for their earliest time and their bytes.
    #[must_use]
    pub fn split_at(&self, n: usize) -> (Self, Self) {
        let at = self.part.start + n.min(self.len());
        (self.part(self.part.start..at), self.part(at..self.part.end))
    }

    /// The same rows with other windows and panes; used where the runner itself assigns windows.
    #[must_use]
    pub fn with_windows(&self, rows: Vec<Row>, windows: Vec<WindowSet>) -> Self {
        let parts = Self::trusted(self.arena.clone(), rows, Arc::new(windows), Arc::clone(&self.panes));
        parts.with_large(Arc::clone(&self.large))
    }
}

/// The earliest time of rows, and the bytes they stand for.
fn sums(rows: &[Row]) -> (EventTime, usize) {
    rows.iter().fold((EventTime::MAX, 0), |(time, sum), row| (time.min(row.time), sum + weight(row)))
}

/// The bytes that a row stands for.
fn weight(row: &Row) -> usize {
    row.key.len() + row.value.len() + size_of::<Row>()
}

/// Builds a batch row by row, copying bytes into a fresh arena.
///
/// ```
/// use thalweg_core::{batch::BatchBuilder, time::EventTime, window::Window};
/// let mut b = BatchBuilder::new();
/// b.push(b"key", b"value", EventTime(7), &[Window::Global]);
/// let batch = b.finish();
/// assert_eq!(batch.value(&batch.rows()[0]), b"value");
/// ```
#[derive(Default, Debug)]
pub struct BatchBuilder {
    arena: Vec<u8>,
    rows: Vec<Row>,
    windows: Vec<WindowSet>,
    panes: Vec<Pane>,
    large: Vec<(u32, Large)>,
}

impl BatchBuilder {
    /// An empty builder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an element of no pane; without a key the key is empty.
    pub fn push(&mut self, key: &[u8], value: &[u8], time: EventTime, windows: &[Window]) {
        self.push_in_pane(key, value, time, windows, Pane::NO_FIRING);
    }

    /// Appends an element.
    pub fn push_in_pane(&mut self, key: &[u8], value: &[u8], time: EventTime, windows: &[Window], pane: Pane) {
        let (windows, pane) = (self.window_index(windows), self.pane_index(pane));
        let hash = key_hash(key);
        let key = self.append(key);
        let value = self.append(value);
        self.rows.push(Row { key, value, time, hash, windows, pane });
    }

    /// Appends a keyed element whose value `write` puts into the arena itself.
    pub fn push_with(
        &mut self,
        key: &[u8],
        hash: u64,
        time: EventTime,
        windows: &[Window],
        pane: Pane,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let (windows, pane) = (self.window_index(windows), self.pane_index(pane));
        let key = self.append(key);
        let start = self.arena.len() as u32;
        write(&mut self.arena);
        let value = Span { start, end: self.arena.len() as u32 };
        self.rows.push(Row { key, value, time, hash, windows, pane });
    }

    /// Appends a keyed element with a large value.
    pub fn push_large(&mut self, key: &[u8], hash: u64, time: EventTime, windows: &[Window], pane: Pane, large: Large) {
        self.push_with(key, hash, time, windows, pane, |arena| arena.push(LARGE));
        let start = self.rows.last().map_or(0, |row| row.value.start);
        self.large.push((start, large));
    }

    fn append(&mut self, bytes: &[u8]) -> Span {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        Span { start, end: self.arena.len() as u32 }
    }

    fn window_index(&mut self, windows: &[Window]) -> u32 {
        // neighbours nearly always share their windows; look back a few, then accept a repeat
        let found = self.windows.iter().rev().take(8).position(|w| w.as_slice() == windows);
        match found {
            Some(back) => (self.windows.len() - 1 - back) as u32,
            None => {
                self.windows.push(windows.iter().cloned().collect());
                (self.windows.len() - 1) as u32
            }
        }
    }

    fn pane_index(&mut self, pane: Pane) -> u32 {
        match self.panes.iter().rposition(|p| *p == pane) {
            Some(i) => i as u32,
            None => {
                self.panes.push(pane);
                (self.panes.len() - 1) as u32
            }
        }
    }

    /// Number of rows so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Size of the arena so far, in bytes; stays under 4 GiB because callers flush at their batch bound.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// The batch; the builder is empty afterwards.
    pub fn finish(&mut self) -> Batch {
        let built = std::mem::take(self);
        let batch =
            Batch::trusted(Bytes::from(built.arena), built.rows, Arc::new(built.windows), Arc::new(built.panes));
        if built.large.is_empty() { batch } else { batch.with_large(Arc::new(built.large)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_point_outside_are_refused() {
        let row = Row {
            key: Span::default(),
            value: Span { start: 0, end: 9 },
            time: EventTime(0),
            hash: 0,
            windows: 0,
            pane: 0,
        };
        let made =
            Batch::from_parts(Bytes::from_static(b"short"), vec![row], vec![WindowSet::new()], vec![Pane::NO_FIRING]);
        assert_eq!(made.err().map(|e| e.code), Some("BATCH_INVALID"));
    }

    #[test]
    fn selecting_rows_shares_the_arena() {
        let mut b = BatchBuilder::new();
        for i in 0..10u8 {
            b.push(&[i], b"v", EventTime(i64::from(i)), &[Window::Global]);
        }
        let all = b.finish();
        let (_, tail) = all.split_at(7);
        assert_eq!(tail.min_time(), EventTime(7));
        assert_eq!(tail.arena().as_ptr(), all.arena().as_ptr());
        assert_eq!(tail.window_sets().len(), 1);
    }
}
