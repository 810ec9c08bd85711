//! The guest's side of `wit/LAYOUT.md`: an input frame as borrowed columns, and the writing of sections. The host wrote
//! the input, so a broken one is a failure of the call and not worth more than one word.

use crate::wire::Malformed;

/// Section ids of layout 1.
pub mod section {
    /// Layout and number of rows.
    pub const HEADER: u32 = 1;
    /// What each row is.
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

/// In the time column of an output frame: the row keeps the time of its source.
pub const INHERIT: i64 = i64::MIN;

/// In the columns SOURCE and WINDOWS of an output frame: the row comes from no row, or keeps the windows of its source.
pub const NONE: u32 = u32::MAX;

/// Kind of a row that says that a window is over.
pub const EXPIRES: u8 = 255;

/// The frame's layout number.
pub const LAYOUT: u32 = 1;

const BAD: Malformed = Malformed("a frame of layout 1");

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn range(pair: [u8; 8]) -> (usize, usize) {
    let [a, b, c, d, e, f, g, h] = pair;
    (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize)
}

/// The sections of a frame, in the order they stand.
pub struct Sections<'a>(pub &'a [u8]);

impl<'a> Iterator for Sections<'a> {
    type Item = Result<(u32, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let taken = (|| {
            let (id, length) = (u32_at(self.0, 0)?, u32_at(self.0, 4)? as usize);
            let payload = self.0.get(8..8 + length)?;
            self.0 = self.0.get((8 + length).next_multiple_of(8)..)?;
            Some((id, payload))
        })();
        if taken.is_none() {
            self.0 = &[];
        }
        Some(taken.ok_or(BAD))
    }
}

/// Entries that point into bytes of their own: a dictionary, or the cells of a slot.
#[derive(Clone, Copy, Default)]
pub struct Table<'a> {
    /// The first number of the section: the slot of cells; the count of a dictionary is in its place.
    pub head: u32,
    ranges: &'a [[u8; 8]],
    bytes: &'a [u8],
}

impl<'a> Table<'a> {
    fn of(payload: &'a [u8], count_at: usize) -> Option<Self> {
        let (count, rest) = (u32_at(payload, count_at)? as usize, payload.get(8..)?);
        let (ranges, bytes) = rest.split_at_checked(count.checked_mul(8)?)?;
        Some(Self { head: u32_at(payload, 0)?, ranges: ranges.as_chunks().0, bytes })
    }

    /// Reads a dictionary.
    #[must_use]
    pub fn dictionary(payload: &'a [u8]) -> Option<Self> {
        Self::of(payload, 0)
    }

    /// Reads the cells of a slot.
    #[must_use]
    pub fn cells(payload: &'a [u8]) -> Option<Self> {
        Self::of(payload, 4)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The bytes of an entry; none outside the table.
    #[must_use]
    #[inline(always)]
    pub fn get(&self, i: usize) -> &'a [u8] {
        cut(self.ranges, i, self.bytes)
    }
}

/// Entries that may be absent: the answers of a lookup, or what a table has for each row.
#[derive(Clone, Copy, Default)]
pub struct Answers<'a> {
    /// The first number of the section: the table of TABLE_CELLS.
    pub head: u32,
    entries: &'a [[u8; 16]],
    bytes: &'a [u8],
}

impl<'a> Answers<'a> {
    fn of(payload: &'a [u8], count_at: usize) -> Option<Self> {
        let (count, rest) = (u32_at(payload, count_at)? as usize, payload.get(8..)?);
        let (entries, bytes) = rest.split_at_checked(count.checked_mul(16)?)?;
        Some(Self { head: u32_at(payload, 0)?, entries: entries.as_chunks().0, bytes })
    }

    /// The section SUBCELLS of a frame.
    #[must_use]
    pub fn find(frame: &'a [u8]) -> Option<Self> {
        let found = Sections(frame).flatten().find(|(id, _)| *id == section::SUBCELLS);
        found.and_then(|(_, payload)| Self::of(payload, 0))
    }

    /// The entry whose first number this is.
    #[must_use]
    pub fn named(&self, name: u32) -> Option<&'a [u8]> {
        let entry = self.entries.iter().find(|entry| entry.first_chunk() == Some(&name.to_le_bytes()))?;
        let (start, end) = range(*entry.last_chunk()?);
        self.bytes.get(start..end)
    }

    /// An entry, if it is there.
    #[must_use]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        let entry = self.entries.get(i).filter(|entry| entry[0] != 0)?;
        let (start, end) = range(*entry.last_chunk()?);
        self.bytes.get(start..end)
    }
}

/// The bytes of entry `i` of a column of ranges; none if there is no such entry.
#[must_use]
#[inline(always)]
pub fn cut<'a>(ranges: &[[u8; 8]], i: usize, bytes: &'a [u8]) -> &'a [u8] {
    let entry = ranges.get(i).and_then(|pair| {
        let (start, end) = range(*pair);
        bytes.get(start..end)
    });
    entry.unwrap_or_default()
}

/// An input frame as columns that borrow from it.
#[derive(Default)]
pub struct Input<'a> {
    /// Number of rows.
    pub rows: usize,
    /// Group of each row; empty without groups.
    pub group: &'a [[u8; 4]],
    /// Window set of each row; empty if all have the first.
    pub windows: &'a [[u8; 4]],
    /// Pane of each row; empty if all have the first.
    pub pane: &'a [[u8; 4]],
    /// Window sets.
    pub window_sets: Table<'a>,
    /// Panes.
    pub panes: Table<'a>,
    /// State cells of the eager slots.
    pub cells: Vec<Table<'a>>,
    /// What tables have for each row.
    pub tables: Vec<Answers<'a>>,
    /// Rows whose value goes on elsewhere, in the form of answers: row and token.
    large: Answers<'a>,
    /// Processing time of the call.
    pub now: i64,
    /// Seed of pseudo-random numbers.
    pub seed: u64,
    /// What each row is; empty if all are elements.
    pub kind: &'a [u8],
    fire: &'a [[u8; 8]],
    time: &'a [[u8; 8]],
    key: &'a [[u8; 8]],
    value: &'a [[u8; 8]],
    groups: &'a [[u8; 16]],
    arena: &'a [u8],
}

impl<'a> Input<'a> {
    /// Reads the sections of `frame`.
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut input = Self::default();
        for section in Sections(frame) {
            let (id, payload) = section?;
            match id {
                section::HEADER => {
                    input.rows = u32_at(payload, 4).filter(|_| u32_at(payload, 0) == Some(LAYOUT)).ok_or(BAD)? as usize;
                }
                section::KIND => input.kind = payload,
                section::FIRE => input.fire = payload.as_chunks().0,
                section::GROUP => input.group = payload.as_chunks().0,
                section::TIME => input.time = payload.as_chunks().0,
                section::WINDOWS => input.windows = payload.as_chunks().0,
                section::PANE => input.pane = payload.as_chunks().0,
                section::KEY => input.key = payload.as_chunks().0,
                section::VALUE => input.value = payload.as_chunks().0,
                section::ARENA => input.arena = payload,
                section::WINDOW_SETS => input.window_sets = Table::dictionary(payload).ok_or(BAD)?,
                section::PANES => input.panes = Table::dictionary(payload).ok_or(BAD)?,
                section::GROUPS => input.groups = payload.get(8..).ok_or(BAD)?.as_chunks().0,
                section::CELLS => input.cells.push(Table::cells(payload).ok_or(BAD)?),
                section::TABLE_CELLS => input.tables.push(Answers::of(payload, 4).ok_or(BAD)?),
                section::LARGE => input.large = Answers::of(payload, 0).ok_or(BAD)?,
                section::SEED => input.seed = u64::from_le_bytes(payload.try_into().map_err(|_| BAD)?),
                section::CLOCK => input.now = i64::from_le_bytes(payload.try_into().map_err(|_| BAD)?),
                _ => {}
            }
        }
        Ok(input)
    }

    /// Event time of a row in milliseconds.
    #[inline(always)]
    #[must_use]
    pub fn time(&self, row: usize) -> i64 {
        self.time.get(row).map_or(0, |t| i64::from_le_bytes(*t))
    }

    /// When a timer's row was to fire.
    #[must_use]
    pub fn fire(&self, row: usize) -> i64 {
        self.fire.get(row).map_or(0, |t| i64::from_le_bytes(*t))
    }

    /// The token of what follows in a row's value, if its beginning alone stands here.
    #[must_use]
    #[inline]
    pub fn rest(&self, row: usize) -> Option<&'a [u8]> {
        self.large.named(row as u32)
    }

    /// The group of a row; the first without groups.
    #[must_use]
    #[inline(always)]
    pub fn group_of(&self, row: usize) -> u32 {
        self.group.get(row).map_or(0, |group| u32::from_le_bytes(*group))
    }

    /// Number of groups.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Key and value of a row.
    #[inline(always)]
    pub fn element(&self, row: usize) -> Result<(&'a [u8], &'a [u8]), Malformed> {
        let value = match self.value.get(row) {
            Some(pair) => self.bytes(*pair)?,
            None => &[],
        };
        let key = match self.key.get(row) {
            Some(pair) => self.bytes(*pair)?,
            None => self.group_key(row)?,
        };
        Ok((key, value))
    }

    #[inline(always)]
    fn group_key(&self, row: usize) -> Result<&'a [u8], Malformed> {
        let Some(group) = self.group.get(row) else { return Ok(&[]) };
        let entry = self.groups.get(u32::from_le_bytes(*group) as usize).ok_or(BAD)?;
        self.bytes(*entry.first_chunk::<8>().ok_or(BAD)?)
    }

    #[inline(always)]
    fn bytes(&self, pair: [u8; 8]) -> Result<&'a [u8], Malformed> {
        let (start, end) = range(pair);
        self.arena.get(start..end).ok_or(BAD)
    }
}

/// Start and end of a range as they stand in a column: one store instead of two.
#[inline(always)]
#[must_use]
pub fn pack(start: usize, end: usize) -> [u8; 8] {
    (start as u64 | (end as u64) << 32).to_le_bytes()
}

/// Puts sections one after the other into a buffer.
pub struct FrameWriter(Vec<u8>);

impl FrameWriter {
    /// A frame of `rows` rows; `bytes` is about how large it will be.
    #[must_use]
    pub fn new(rows: usize, bytes: usize) -> Self {
        let mut writer = Self(Vec::with_capacity(bytes + 64));
        writer.section(section::HEADER, &[&LAYOUT.to_le_bytes(), &(rows as u32).to_le_bytes()]);
        writer
    }

    /// Adds a section; its payload may stand in several places.
    pub fn section(&mut self, id: u32, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.0.extend(id.to_le_bytes());
        self.0.extend((length as u32).to_le_bytes());
        for part in parts {
            self.0.extend_from_slice(part);
        }
        self.0.resize(self.0.len().next_multiple_of(8), 0);
    }

    /// Adds a section of entries that point into bytes of their own.
    pub fn table(&mut self, id: u32, head: [u32; 2], entries: &[u8], bytes: &[u8]) {
        self.section(id, &[&pack(head[0] as usize, head[1] as usize), entries, bytes]);
    }

    /// The frame.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_aligned_and_unknown_ones_are_skipped() -> Result<(), Malformed> {
        let mut writer = FrameWriter::new(1, 0);
        writer.section(9999, &[b"from a later version"]);
        writer.section(section::ARENA, &[b"k", b"value"]);
        writer.section(section::KEY, &[&pack(0, 1)]);
        writer.section(section::VALUE, &[&pack(1, 6)]);
        let frame = writer.finish();
        assert_eq!(frame.len() % 8, 0);
        let input = Input::parse(&frame)?;
        assert_eq!((input.rows, input.element(0)?), (1, (b"k".as_slice(), b"value".as_slice())));
        Ok(())
    }

    #[test]
    fn the_key_of_a_grouped_row_is_that_of_its_group() -> Result<(), Malformed> {
        let mut writer = FrameWriter::new(1, 0);
        writer.section(section::ARENA, &[b"key"]);
        writer.section(section::GROUP, &[&0u32.to_le_bytes()]);
        writer.table(section::GROUPS, [1, 0], &pack(0, 3), &[0; 8]);
        let frame = writer.finish();
        assert_eq!(Input::parse(&frame)?.element(0)?.0, b"key");
        Ok(())
    }

    #[test]
    fn cut_frames_are_refused() {
        let frame = FrameWriter::new(1, 0).finish();
        for end in 1..frame.len() {
            assert!(Input::parse(&frame[..end]).is_err(), "{end}");
        }
        let mut writer = FrameWriter::new(1, 0);
        writer.section(section::VALUE, &[&pack(1, 6)]);
        assert!(Input::parse(&writer.finish()).is_ok_and(|input| input.element(0).is_err()));
    }
}
