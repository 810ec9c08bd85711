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

/// Columns that not every row needs.
const KEY: u8 = 1;
const OUTPUT: u8 = 2;
const TIME: u8 = 4;
const WINDOWS: u8 = 8;

/// The rows so far.
#[derive(Default)]
pub struct Rows {
    /// Which of the columns that not every row needs are there.
    used: u8,
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
        self.used = 0;
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
    #[inline(always)]
    pub fn size(&self) -> usize {
        self.arena.len() + self.value.len() * 16
    }

    /// Adds a row. What is known where the row is put out, as nearly everything is, costs nothing here.
    #[inline(always)]
    pub fn push<T: Element>(&mut self, output: u32, place: Place<'_>, element: &View<'_, T>) {
        let needed = (if T::KEYED { KEY } else { 0 })
            | (if output != 0 { OUTPUT } else { 0 })
            | (if place.time.is_some() { TIME } else { 0 })
            | (if place.windows.is_empty() { 0 } else { WINDOWS });
        if self.used != needed {
            self.align(needed);
        }
        let start = self.arena.len();
        let value = T::encode_columns(element, &mut self.arena);
        self.value.push(pack(value, self.arena.len()));
        self.source.push(place.source.to_le_bytes());
        if T::KEYED {
            self.key.push(pack(start, value));
        }
        if output != 0 {
            self.output.push(output.to_le_bytes());
        }
        if let Some(time) = place.time {
            self.time.push(time.0.to_le_bytes());
        }
        if !place.windows.is_empty() {
            self.own_windows(place.windows);
        }
    }

    /// Before a row that needs other columns than the one before it: those that are new begin here, and the row has no entry of its own in
    /// those that it does not need.
    #[cold]
    fn align(&mut self, needed: u8) {
        self.used |= needed;
        let lacks = self.used & !needed;
        let rows = |column: u8| self.value.len() + usize::from(lacks & column != 0);
        let (output, time, windows) = (rows(OUTPUT), rows(TIME), rows(WINDOWS));
        if self.used & KEY != 0 {
            self.key.resize(self.value.len(), [0; 8]);
        }
        if lacks & KEY != 0 {
            self.key.push(pack(self.arena.len(), self.arena.len()));
        }
        if self.used & OUTPUT != 0 {
            self.output.resize(output, [0; 4]);
        }
        if self.used & TIME != 0 {
            self.time.resize(time, INHERIT.to_le_bytes());
        }
        if self.used & WINDOWS != 0 {
            self.windows.resize(windows, NONE.to_le_bytes());
        }
    }

    #[cold]
    fn own_windows(&mut self, windows: &[Window]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::Kv;
    use crate::frame::Sections;

    #[test]
    fn rows_that_need_other_columns_than_their_neighbours_leave_what_they_lack_to_the_host() {
        let mut rows = Rows::default();
        let place = |time: Option<i64>| Place { source: 7, time: time.map(EventTime), windows: &[] };
        rows.push::<i64>(0, place(None), &1);
        rows.push::<Kv<i64, i64>>(1, place(Some(5)), &(2, 3));
        rows.push::<i64>(0, place(None), &4);
        rows.push::<i64>(2, place(None), &5);
        rows.push::<i64>(0, Place { windows: &[Window::Global], ..place(None) }, &6);
        rows.push::<i64>(0, place(None), &7);
        let frame = rows.write().finish();
        let column =
            |id: u32| Sections(&frame).flatten().find(|(found, _)| *found == id).map(|(_, bytes)| bytes.to_vec());
        let longs = |all: [i64; 6]| Some(all.map(i64::to_le_bytes).concat());
        let numbers = |all: [u32; 6]| Some(all.map(u32::to_le_bytes).concat());
        let ranges = |all: [(usize, usize); 6]| Some(all.map(|(start, end)| pack(start, end)).concat());
        assert_eq!(column(section::VALUE), ranges([(0, 1), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7)]));
        assert_eq!(column(section::KEY), ranges([(0, 0), (1, 2), (3, 3), (4, 4), (5, 5), (6, 6)]));
        assert_eq!(column(section::OUTPUT), numbers([0, 1, 0, 2, 0, 0]));
        assert_eq!(column(section::TIME), longs([INHERIT, 5, INHERIT, INHERIT, INHERIT, INHERIT]));
        assert_eq!(column(section::WINDOWS), numbers([NONE, NONE, NONE, NONE, 0, NONE]));
        assert_eq!(column(section::SOURCE), numbers([7; 6]));
        rows.clear();
        rows.push::<i64>(0, place(None), &1);
        let frame = rows.write().finish();
        assert!(
            Sections(&frame).flatten().all(|(id, _)| ![section::KEY, section::OUTPUT, section::TIME].contains(&id))
        );
    }
}
