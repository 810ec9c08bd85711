//! The host's side of `wit/LAYOUT.md`: batches into input frames, output frames into batches.
//!
//! Encoding trusts the engine. Decoding trusts nothing: a frame comes from a guest, and every count, range, index and
//! text is checked before it is used; what is wrong becomes a [`FrameError`] that names the section.

mod cells;
mod changes;
mod decode;
mod encode;
mod rows;

pub use cells::{cells, elements, large, page, sub_cells};
pub use changes::{Change, Op, SubOp, TimerOp, changes, subkeys};
pub(crate) use decode::interval;
pub use decode::{FailedRow, MetricDelta, OutputFrame, RowSet, Rows, Shape};
pub(crate) use encode::window;
pub use encode::{Encoder, Keyed, Moment, plan};

/// Section ids of layout 1, and their names for errors.
pub mod section {
    /// Layout and number of rows.
    pub const HEADER: u32 = 1;
    /// Whether each row is an element, a timer or the end of a window.
    pub const KIND: u32 = 2;
    /// Group of each row.
    pub const GROUP: u32 = 3;
    /// Event time of each row.
    pub const TIME: u32 = 4;
    /// Window set of each row.
    pub const WINDOWS: u32 = 5;
    /// Pane of each row.
    pub const PANE: u32 = 6;
    /// Key of each row.
    pub const KEY: u32 = 7;
    /// Value of each row.
    pub const VALUE: u32 = 8;
    /// The bytes that keys and values point into.
    pub const ARENA: u32 = 9;
    /// Output of each output row.
    pub const OUTPUT: u32 = 10;
    /// Input row of each output row.
    pub const SOURCE: u32 = 11;
    /// When each timer was to fire.
    pub const FIRE: u32 = 12;
    /// Rows whose value goes on elsewhere.
    pub const LARGE: u32 = 13;
    /// What became of each window of a merge.
    pub const TARGET: u32 = 14;
    /// Dictionary of window sets.
    pub const WINDOW_SETS: u32 = 16;
    /// Dictionary of panes.
    pub const PANES: u32 = 17;
    /// Keys and windows of the groups.
    pub const GROUPS: u32 = 18;
    /// State cells of one slot.
    pub const CELLS: u32 = 19;
    /// Changes of state cells of one slot.
    pub const CELL_OPS: u32 = 20;
    /// Timers set and cleared.
    pub const TIMER_OPS: u32 = 21;
    /// Questions of a lookup.
    pub const SUBKEYS: u32 = 22;
    /// Their answers.
    pub const SUBCELLS: u32 = 23;
    /// Rows that could not be processed.
    pub const FAILED: u32 = 24;
    /// Metric deltas.
    pub const METRICS: u32 = 25;
    /// Changes of the entries of one slot.
    pub const SUBCELL_OPS: u32 = 26;
    /// What a table has for each row.
    pub const TABLE_CELLS: u32 = 27;
    /// Processing time of the call.
    pub const CLOCK: u32 = 32;
    /// Seed of pseudo-random numbers.
    pub const SEED: u32 = 33;
    /// Configuration of an instance.
    pub const CONFIG: u32 = 40;
}

/// The layout's number, in every header.
pub const LAYOUT: u32 = 1;

/// In the time column of an output frame: the row keeps the time of its source.
pub const INHERIT: i64 = i64::MIN;

/// In the columns SOURCE and WINDOWS of an output frame: the row comes from no row, or keeps the windows of its source.
pub const NONE: u32 = u32::MAX;

/// Kind of a row that says that a window is over.
pub const EXPIRES: u8 = 255;

/// An input frame.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Frame {
    bytes: Vec<u8>,
    moment: Moment,
}

impl Frame {
    /// Its bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Its bytes, for good.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }

    /// The generated bindings want the vector itself.
    pub(crate) fn as_vec(&self) -> &Vec<u8> {
        &self.bytes
    }

    /// When its call takes place, as the frame says it.
    pub(crate) fn moment(&self) -> Moment {
        self.moment
    }
}

/// What is wrong with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameError {
    /// The section, by its name in the layout.
    pub section: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "section {}: {}", self.section, self.what)
    }
}

/// Shorthand for an error of a section.
fn bad(section: &'static str, what: &'static str) -> FrameError {
    FrameError { section, what }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A range as it stands in a column.
#[inline]
fn range(pair: [u8; 8]) -> (u32, u32) {
    let both = u64::from_le_bytes(pair);
    (both as u32, (both >> 32) as u32)
}

#[inline]
fn pack(start: u32, end: u32) -> [u8; 8] {
    (u64::from(start) | u64::from(end) << 32).to_le_bytes()
}

/// The bytes of a range, if it lies in them and does not fall.
#[inline]
fn cut(bytes: &[u8], pair: [u8; 8]) -> Option<&[u8]> {
    let (start, end) = range(pair);
    bytes.get(start as usize..end as usize)
}

/// Walks over the sections of a frame.
struct Sections<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Sections<'a> {
    type Item = Result<(u32, &'a [u8]), FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let taken = (|| {
            let (id, length) = (u32_at(self.rest, 0)?, u32_at(self.rest, 4)? as usize);
            let end = length.checked_add(8)?;
            let payload = self.rest.get(8..end)?;
            self.rest = self.rest.get(end.checked_next_multiple_of(8)?..)?;
            Some((id, payload))
        })();
        if taken.is_none() {
            self.rest = &[];
        }
        Some(taken.ok_or(bad("FRAME", "a section reaches over the end of the frame")))
    }
}
