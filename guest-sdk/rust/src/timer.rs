//! Timers of a key and window: families named by constants, and the timers that the rows of a call set and clear.

use crate::dofn::{EventTime, Failure};
use crate::element::{Element, View};
use crate::frame::{FrameWriter, INHERIT, pack, section};

/// A family of timers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer {
    index: u32,
    name: &'static str,
    event: bool,
}

impl Timer {
    /// Timers by event time: they fire when the watermark passes their time. `index` is the place in
    /// [`DoFn::TIMERS`](crate::DoFn::TIMERS).
    #[must_use]
    pub const fn event(index: u32, name: &'static str) -> Self {
        Self { index, name, event: true }
    }

    /// Timers by processing time: they fire when the clock passes their time.
    #[must_use]
    pub const fn processing(index: u32, name: &'static str) -> Self {
        Self { index, name, event: false }
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn domain(&self) -> &'static str {
        if self.event { "event" } else { "processing" }
    }
}

/// A timer that has come due.
#[derive(Clone, Copy, Debug)]
pub struct Fired<'a> {
    pub(crate) family: u32,
    pub(crate) tag: &'a str,
    pub(crate) fire_ms: i64,
    pub(crate) key: &'a [u8],
}

impl<'a> Fired<'a> {
    /// Whether it is of this family.
    #[must_use]
    pub fn is(&self, timer: &Timer) -> bool {
        self.family == timer.index
    }

    /// The tag it was set with; empty without one.
    #[must_use]
    pub fn tag(&self) -> &'a str {
        self.tag
    }

    /// When it was to fire, in milliseconds of its family's clock.
    #[must_use]
    pub fn fire_ms(&self) -> i64 {
        self.fire_ms
    }

    /// The key it belongs to; `K` is the type of the input's keys.
    ///
    /// # Errors
    /// If the key is not of that type.
    pub fn key<K: Element>(&self) -> Result<View<'a, K>, Failure> {
        Ok(K::decode(self.key)?)
    }
}

/// A key whose window is over.
#[derive(Clone, Copy, Debug)]
pub struct Expired<'a> {
    pub(crate) key: &'a [u8],
}

impl<'a> Expired<'a> {
    /// The key; `K` is the type of the input's keys.
    ///
    /// # Errors
    /// If the key is not of that type.
    pub fn key<K: Element>(&self) -> Result<View<'a, K>, Failure> {
        Ok(K::decode(self.key)?)
    }
}

const SET: u32 = 0;
const CLEAR: u32 = 1;

/// What the rows of a call do to timers.
#[derive(Default)]
pub struct Timers {
    ops: Vec<[u8; 40]>,
    tags: Vec<u8>,
    /// Where the current row began.
    mark: (u32, usize, usize),
}

impl Timers {
    /// Begins a call.
    pub fn begin(&mut self) {
        self.ops.clear();
        self.tags.clear();
        self.mark = (u32::MAX, 0, 0);
    }

    fn op(&mut self, at: (u32, u32), family: u32, op: u32, fire: i64, hold: i64, tag: &str) {
        let (group, row) = at;
        if self.mark.0 != row {
            self.mark = (row, self.ops.len(), self.tags.len());
        }
        let start = self.tags.len();
        self.tags.extend_from_slice(tag.as_bytes());
        let mut entry = [0; 40];
        entry[..8].copy_from_slice(&pack(group as usize, family as usize));
        entry[8..16].copy_from_slice(&pack(op as usize, row as usize));
        entry[16..24].copy_from_slice(&fire.to_le_bytes());
        entry[24..32].copy_from_slice(&hold.to_le_bytes());
        entry[32..].copy_from_slice(&pack(start, self.tags.len()));
        self.ops.push(entry);
    }

    /// Takes back what the row did.
    pub fn undo(&mut self, row: u32) {
        if self.mark.0 == row {
            self.ops.truncate(self.mark.1);
            self.tags.truncate(self.mark.2);
        }
    }

    /// Adds the section of the changes, if there are any.
    pub fn finish(&self, frame: &mut FrameWriter) {
        if !self.ops.is_empty() {
            frame.table(section::TIMER_OPS, [self.ops.len() as u32, 0], self.ops.as_flattened(), &self.tags);
        }
    }
}

/// A timer of the element's key and window, to set or to clear: what [`Context::timer`](crate::Context::timer) gives.
#[must_use]
pub struct SetTimer<'a> {
    timers: &'a mut Timers,
    /// Group and row.
    at: (u32, u32),
    family: u32,
    tag: &'a str,
    hold: i64,
}

impl<'a> SetTimer<'a> {
    pub(crate) fn new(timers: &'a mut Timers, at: (u32, u32), family: u32) -> Self {
        Self { timers, at, family, tag: "", hold: INHERIT }
    }

    /// Names one timer of the family: a key and window may have any number of them by tag.
    pub fn tag(mut self, tag: &'a str) -> Self {
        self.tag = tag;
        self
    }

    /// The time of what the timer will put out; it holds the watermark back until then. Without it: when it fires, or in
    /// processing time the time of the element that sets it.
    pub fn output_at(mut self, time: EventTime) -> Self {
        self.hold = time.0;
        self
    }

    /// Sets the timer, in milliseconds of its family's clock; one that is set already moves.
    pub fn set(self, fire_ms: i64) {
        self.timers.op(self.at, self.family, SET, fire_ms, self.hold, self.tag);
    }

    /// Clears the timer.
    pub fn clear(self) {
        self.timers.op(self.at, self.family, CLEAR, 0, INHERIT, self.tag);
    }
}
