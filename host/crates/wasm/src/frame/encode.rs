//! Batches into input frames. One pass over the rows fills all columns; the arena is copied as it stands unless the rows
//! are a thin selection of it.

use super::{Frame, LAYOUT, pack, section};
use std::ops::Range;
use thalweg_core::batch::{Batch, Pane, Row, Timing};
use thalweg_core::coder::write_varint;
use thalweg_core::port::worker::Group;
use thalweg_core::time::ProcessingTime;
use thalweg_core::window::{Window, WindowSet};

/// Builds input frames in one buffer, which every frame reuses.
#[derive(Default, Debug)]
pub struct Encoder {
    out: Frame,
}

/// What every frame says of its call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moment {
    /// Processing time.
    pub now: ProcessingTime,
    /// Seed of pseudo-random numbers, equal in retries.
    pub seed: u64,
}

/// The rows of a frame with groups.
#[derive(Debug)]
pub struct Keyed<'a> {
    /// The value of each row.
    pub values: &'a [&'a [u8]],
    /// Time, windows and pane of each row, the last two as indices into the dictionaries here.
    pub sources: &'a [Row],
    /// What each row is; empty if all are elements.
    pub kinds: &'a [u8],
    /// When each timer was to fire; empty if all rows are elements.
    pub fires: &'a [i64],
    /// The group of each row, as an index into `groups`.
    pub group_of: &'a [u32],
    /// The groups.
    pub groups: &'a [&'a Group],
    /// Window sets, each of one window, and for each group its index.
    pub window_sets: &'a [WindowSet],
    /// For each group the index of its window set.
    pub window_of: &'a [u32],
    /// Panes.
    pub panes: &'a [Pane],
    /// Finished sections: CELLS of the eager slots, TABLE_CELLS.
    pub sections: &'a [u8],
}

/// The frame of an `open` call.
#[must_use]
pub fn plan(config: &str) -> Frame {
    let mut encoder = Encoder::default();
    encoder.begin(0);
    encoder.section(section::CONFIG, &[config.as_bytes()]);
    encoder.out
}

impl Encoder {
    /// A call without rows.
    pub fn bare(&mut self, moment: Moment) -> &Frame {
        self.begin(0);
        self.moment(moment);
        &self.out
    }

    /// Some rows of a batch, for a function without state. `keyed`: whether the elements are KVs. `sections` stand at the end
    /// as they are.
    pub fn elements(
        &mut self,
        batch: &Batch,
        rows: Range<usize>,
        keyed: bool,
        sections: &[u8],
        moment: Moment,
    ) -> &Frame {
        let rows = batch.rows().get(rows).unwrap_or_default();
        let n = rows.len();
        let many_windows = batch.window_sets().len() > 1;
        let many_panes = batch.panes().len() > 1 || batch.panes().first().is_some_and(|p| *p != Pane::NO_FIRING);
        self.begin(n);
        let arena = self.arena(batch, rows, keyed);
        let columns = [
            self.reserve(section::TIME, n * 8),
            self.reserve(section::VALUE, n * 8),
            self.optional(keyed, section::KEY, n * 8),
            self.optional(many_windows, section::WINDOWS, n * 4),
            self.optional(many_panes, section::PANE, n * 4),
        ];
        if let Ok([time, value, key, windows, pane]) = self.out.bytes.get_disjoint_mut(columns) {
            let (time, value, key) =
                (time.as_chunks_mut::<8>().0, value.as_chunks_mut::<8>().0, key.as_chunks_mut::<8>().0);
            let (windows, pane) = (windows.as_chunks_mut::<4>().0, pane.as_chunks_mut::<4>().0);
            fill(rows.iter().map(|row| row.time.0.to_le_bytes()), time);
            match arena {
                // The same ranges, counted from where the copied part of the arena begins.
                Placement::Shifted(base) => {
                    fill(rows.iter().map(|row| pack(row.value.start - base, row.value.end - base)), value);
                    fill(
                        rows.iter()
                            .map(|row| pack(row.key.start.saturating_sub(base), row.key.end.saturating_sub(base))),
                        key,
                    );
                }
                Placement::Packed => pack_ranges(rows, keyed, value, key),
            }
            fill(rows.iter().map(|row| row.windows.to_le_bytes()), windows);
            fill(rows.iter().map(|row| row.pane.to_le_bytes()), pane);
        }
        self.window_sets(batch.window_sets());
        if many_panes {
            self.panes(batch.panes());
        }
        self.out.bytes.extend_from_slice(sections);
        self.moment(moment);
        &self.out
    }

    /// Rows by groups, for a function with state.
    pub fn keyed(&mut self, input: &Keyed<'_>, moment: Moment) -> &Frame {
        let n = input.values.len();
        let many_windows = input.window_sets.len() > 1;
        let many_panes = input.panes.len() > 1 || input.panes.first().is_some_and(|p| *p != Pane::NO_FIRING);
        self.begin(n);
        let columns = [
            self.reserve(section::TIME, n * 8),
            self.reserve(section::VALUE, n * 8),
            self.reserve(section::GROUP, n * 4),
            self.optional(many_windows, section::WINDOWS, n * 4),
            self.optional(many_panes, section::PANE, n * 4),
            self.optional(!input.fires.is_empty(), section::FIRE, n * 8),
        ];
        if !input.kinds.is_empty() {
            self.section(section::KIND, &[input.kinds]);
        }
        let groups = self.reserve(section::GROUPS, 8 + input.groups.len() * 16);
        let mut at = 0u32;
        let mut place = |length: usize| {
            let start = at;
            at += length as u32;
            pack(start, at)
        };
        if let Some(table) = self.out.bytes.get_mut(groups) {
            let (head, entries) = table.split_at_mut(8);
            head.copy_from_slice(&pack(input.groups.len() as u32, 0));
            for ((entry, group), windows) in
                entries.as_chunks_mut::<16>().0.iter_mut().zip(input.groups).zip(input.window_of)
            {
                entry[..8].copy_from_slice(&place(group.key.len()));
                entry[8..].copy_from_slice(&pack(*windows, 0));
            }
        }
        if let Ok([time, value, group, windows, pane, fire]) = self.out.bytes.get_disjoint_mut(columns) {
            fill(input.sources.iter().map(|row| row.time.0.to_le_bytes()), time.as_chunks_mut::<8>().0);
            fill(input.values.iter().map(|bytes| place(bytes.len())), value.as_chunks_mut::<8>().0);
            fill(input.group_of.iter().map(|g| g.to_le_bytes()), group.as_chunks_mut::<4>().0);
            fill(input.sources.iter().map(|row| row.windows.to_le_bytes()), windows.as_chunks_mut::<4>().0);
            fill(input.sources.iter().map(|row| row.pane.to_le_bytes()), pane.as_chunks_mut::<4>().0);
            fill(input.fires.iter().map(|at| at.to_le_bytes()), fire.as_chunks_mut::<8>().0);
        }
        let arena = self.open_section(section::ARENA);
        for group in input.groups {
            self.out.bytes.extend_from_slice(&group.key);
        }
        for value in input.values {
            put(&mut self.out.bytes, value);
        }
        self.close_section(arena);
        self.window_sets(input.window_sets);
        if many_panes {
            self.panes(input.panes);
        }
        self.out.bytes.extend_from_slice(input.sections);
        self.moment(moment);
        &self.out
    }

    /// Rows that are a key and a value each, and nothing else.
    pub(super) fn page(&mut self, rows: &[(&[u8], &[u8])]) {
        self.begin(rows.len());
        let columns = [self.reserve(section::KEY, rows.len() * 8), self.reserve(section::VALUE, rows.len() * 8)];
        let mut at = 0;
        let mut place = |length: usize| {
            let start = at;
            at += length as u32;
            pack(start, at)
        };
        let ranges: Vec<_> = rows.iter().map(|(key, value)| (place(key.len()), place(value.len()))).collect();
        if let Ok([key, value]) = self.out.bytes.get_disjoint_mut(columns) {
            fill(ranges.iter().map(|r| r.0), key.as_chunks_mut::<8>().0);
            fill(ranges.iter().map(|r| r.1), value.as_chunks_mut::<8>().0);
        }
        let arena = self.open_section(section::ARENA);
        for (key, value) in rows {
            self.out.bytes.extend_from_slice(key);
            self.out.bytes.extend_from_slice(value);
        }
        self.close_section(arena);
    }

    /// The frame, for good.
    pub(super) fn into_frame(self) -> Frame {
        self.out
    }

    fn moment(&mut self, moment: Moment) {
        self.section(section::CLOCK, &[&moment.now.0.to_le_bytes()]);
        self.section(section::SEED, &[&moment.seed.to_le_bytes()]);
        self.out.moment = moment;
    }

    fn begin(&mut self, rows: usize) {
        self.out.bytes.clear();
        self.section(section::HEADER, &[&LAYOUT.to_le_bytes(), &(rows as u32).to_le_bytes()]);
    }

    /// Copies what the rows point into: the part of the batch's arena between the first and the last byte used, or row by row
    /// where more than half of that would be bytes nobody asked for.
    fn arena(&mut self, batch: &Batch, rows: &[Row], keyed: bool) -> Placement {
        let (mut low, mut high, mut used) = (u32::MAX, 0, 0usize);
        for row in rows {
            (low, high) = (low.min(row.value.start), high.max(row.value.end));
            used += row.value.len();
            if keyed {
                (low, high) = (low.min(row.key.start), high.max(row.key.end));
                used += row.key.len();
            }
        }
        let start = self.open_section(section::ARENA);
        let whole = batch.arena().get(low as usize..high as usize).filter(|whole| whole.len() / 2 <= used);
        let placement = if let Some(whole) = whole {
            self.out.bytes.extend_from_slice(whole);
            Placement::Shifted(low)
        } else {
            for row in rows {
                if keyed {
                    put(&mut self.out.bytes, batch.key(row));
                }
                put(&mut self.out.bytes, batch.value(row));
            }
            Placement::Packed
        };
        self.close_section(start);
        placement
    }

    fn window_sets(&mut self, sets: &[WindowSet]) {
        self.dictionary(section::WINDOW_SETS, sets, |set, out| {
            for window in set {
                let length = out.len();
                out.extend([0; 4]);
                put_window(window, out);
                let bytes = (out.len() - length - 4) as u32;
                if let Some(place) = out.get_mut(length..length + 4) {
                    place.copy_from_slice(&bytes.to_le_bytes());
                }
            }
        });
    }

    fn panes(&mut self, panes: &[Pane]) {
        self.dictionary(section::PANES, panes, |pane, out| put_pane(*pane, out));
    }

    fn dictionary<T>(&mut self, id: u32, entries: &[T], write: impl Fn(&T, &mut Vec<u8>)) {
        let start = self.open_section(id);
        self.out.bytes.extend(pack(entries.len() as u32, 0));
        let ranges = self.out.bytes.len();
        let bytes = ranges + entries.len() * 8;
        self.out.bytes.resize(bytes, 0);
        for (i, entry) in entries.iter().enumerate() {
            let begin = self.out.bytes.len() - bytes;
            write(entry, &mut self.out.bytes);
            let range = pack(begin as u32, (self.out.bytes.len() - bytes) as u32);
            if let Some(place) = self.out.bytes.get_mut(ranges + i * 8..ranges + i * 8 + 8) {
                place.copy_from_slice(&range);
            }
        }
        self.close_section(start);
    }

    fn section(&mut self, id: u32, parts: &[&[u8]]) {
        let start = self.open_section(id);
        for part in parts {
            self.out.bytes.extend_from_slice(part);
        }
        self.close_section(start);
    }

    fn open_section(&mut self, id: u32) -> usize {
        self.out.bytes.extend(pack(id, 0));
        self.out.bytes.len()
    }

    fn close_section(&mut self, start: usize) {
        let length = (self.out.bytes.len() - start) as u32;
        if let Some(place) = self.out.bytes.get_mut(start - 4..start) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        self.out.bytes.resize(self.out.bytes.len().next_multiple_of(8), 0);
    }

    fn reserve(&mut self, id: u32, length: usize) -> Range<usize> {
        let start = self.open_section(id);
        self.out.bytes.resize(start + length, 0);
        self.close_section(start);
        start..start + length
    }

    fn optional(&mut self, wanted: bool, id: u32, length: usize) -> Range<usize> {
        if wanted { self.reserve(id, length) } else { self.out.bytes.len()..self.out.bytes.len() }
    }
}

/// How ranges of the batch become ranges of the frame.
#[derive(Clone, Copy)]
enum Placement {
    /// All move by the same number of bytes.
    Shifted(u32),
    /// Key and value of row after row, without gaps.
    Packed,
}

fn pack_ranges(rows: &[Row], keyed: bool, value: &mut [[u8; 8]], key: &mut [[u8; 8]]) {
    let mut at = 0;
    let mut key = key.iter_mut();
    for (row, value) in rows.iter().zip(value) {
        if let Some(place) = key.next().filter(|_| keyed) {
            let start = at;
            at += row.key.len() as u32;
            *place = pack(start, at);
        }
        let start = at;
        at += row.value.len() as u32;
        *value = pack(start, at);
    }
}

fn fill<const N: usize>(from: impl Iterator<Item = [u8; N]>, to: &mut [[u8; N]]) {
    for (place, bytes) in to.iter_mut().zip(from) {
        *place = bytes;
    }
}

/// Appends a few bytes: a loop beats the call of memcpy for the length of a usual value.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() <= 16 {
        for byte in bytes {
            out.push(*byte);
        }
    } else {
        out.extend_from_slice(bytes);
    }
}

/// A window as the rows of a merge have it.
pub(crate) fn window(window: &Window) -> Vec<u8> {
    let mut out = Vec::with_capacity(12);
    put_window(window, &mut out);
    out
}

/// Source: `beam:coder:interval_window:v1`, `beam:coder:global_window:v1`.
fn put_window(window: &Window, out: &mut Vec<u8>) {
    match window {
        Window::Global => {}
        Window::Interval { start, end } => {
            out.extend((end.0.cast_unsigned() ^ (1 << 63)).to_be_bytes());
            write_varint(out, end.0.wrapping_sub(start.0).cast_unsigned());
        }
        Window::Custom { encoded, .. } => out.extend_from_slice(encoded),
    }
}

/// Source: the pane part of `beam:coder:windowed_value:v1`.
fn put_pane(pane: Pane, out: &mut Vec<u8>) {
    let timing = match pane.timing {
        Timing::Early => 0,
        Timing::OnTime => 1,
        Timing::Late => 2,
        Timing::Unknown => 3,
    };
    let flags = u8::from(pane.first) | u8::from(pane.last) << 1 | timing << 2;
    let (index, non_speculative) = (pane.index, pane.non_speculative.cast_unsigned());
    if (index == 0 && non_speculative == 0) || pane.timing == Timing::Unknown {
        out.push(flags);
    } else if index == non_speculative || pane.timing == Timing::Early {
        out.push(flags | 1 << 4);
        write_varint(out, index);
    } else {
        out.push(flags | 2 << 4);
        write_varint(out, index);
        write_varint(out, non_speculative);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::time::EventTime;

    #[test]
    fn windows_and_panes_are_coded_as_beam_codes_them() {
        // the bytes are those of IntervalWindowCoder and PaneInfoCoderImpl of apache_beam 2.77
        let mut out = Vec::new();
        put_window(&Window::Interval { start: EventTime(0), end: EventTime(3_600_000) }, &mut out);
        assert_eq!(out, [128, 0, 0, 0, 0, 54, 238, 128, 128, 221, 219, 1]);
        out.clear();
        put_pane(Pane::NO_FIRING, &mut out);
        assert_eq!(out, [0x0f]);
        out.clear();
        let pane = Pane { timing: Timing::Late, first: false, last: true, index: 300, non_speculative: 1 };
        put_pane(pane, &mut out);
        assert_eq!(out, [0b0010_1010, 0xac, 2, 1]);
    }
}
