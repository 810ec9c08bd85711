//! Output rows as columns, written into the frame that a call returns or puts out early. A column that all rows so far could do
//! without is empty.

use crate::dofn::EventTime;
use crate::element::{Element, View};
use crate::frame::{FrameWriter, INHERIT, NONE, pack, section};
use crate::window::Window;

/// Where a row comes from, and what it does not inherit.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The input row; [`NONE`] if it comes from none.
    pub source: u32,
    /// Its own time.
    pub time: Option<EventTime>,
    /// Its own windows; empty if it inherits them.
    pub windows: &'a [Window],
}

/// The rows so far.
#[derive(Default)]
pub struct Rows {
    source: Vec<[u8; 4]>,
    value: Vec<[u8; 8]>,
    key: Vec<[u8; 8]>,
    output: Vec<[u8; 4]>,
    time: Vec<[u8; 8]>,
    windows: Vec<[u8; 4]>,
    sets: Vec<[u8; 8]>,
    set_bytes: Vec<u8>,
    arena: Vec<u8>,
}

impl Rows {
    /// Forgets them.
    pub fn clear(&mut self) {
        self.source.clear();
        self.value.clear();
        self.key.clear();
        self.output.clear();
        self.time.clear();
        self.windows.clear();
        self.sets.clear();
        self.set_bytes.clear();
        self.arena.clear();
    }

    /// About how many bytes they are.
    #[inline]
    pub fn size(&self) -> usize {
        self.arena.len() + self.value.len() * 16
    }

    /// Adds a row.
    #[inline]
    pub fn push<T: Element>(&mut self, output: u32, place: Place<'_>, element: &View<'_, T>) {
        let before = self.value.len();
        let start = self.arena.len();
        let value = T::encode_columns(element, &mut self.arena);
        self.value.push(pack(value, self.arena.len()));
        self.source.push(place.source.to_le_bytes());
        if T::KEYED || !self.key.is_empty() {
            self.key.resize(before, [0; 8]);
            self.key.push(pack(start, value));
        }
        if output != 0 || !self.output.is_empty() {
            self.output.resize(before, [0; 4]);
            self.output.push(output.to_le_bytes());
        }
        if place.time.is_some() || !self.time.is_empty() {
            self.time.resize(before, INHERIT.to_le_bytes());
            self.time.push(place.time.map_or(INHERIT, |time| time.0).to_le_bytes());
        }
        if !place.windows.is_empty() || !self.windows.is_empty() {
            self.own_windows(before, place.windows);
        }
    }

    #[cold]
    fn own_windows(&mut self, before: usize, windows: &[Window]) {
        self.windows.resize(before, NONE.to_le_bytes());
        if windows.is_empty() {
            self.windows.push(NONE.to_le_bytes());
            return;
        }
        let start = self.set_bytes.len();
        windows.iter().for_each(|window| window.put(&mut self.set_bytes));
        self.sets.push(pack(start, self.set_bytes.len()));
        self.windows.push((self.sets.len() as u32 - 1).to_le_bytes());
    }

    /// The frame of the rows.
    pub fn write(&self) -> FrameWriter {
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
        for (id, column) in [(section::OUTPUT, &self.output), (section::WINDOWS, &self.windows)] {
            if !column.is_empty() {
                frame.section(id, &[column.as_flattened()]);
            }
        }
        if !self.sets.is_empty() {
            let head = [self.sets.len() as u32, 0];
            frame.table(section::WINDOW_SETS, head, self.sets.as_flattened(), &self.set_bytes);
        }
        frame.section(section::ARENA, &[&self.arena]);
        frame
    }
}
