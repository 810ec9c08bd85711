//! Output frames into rows of batches.

use super::{FrameError, LAYOUT, Sections, bad, cut, range, section, u32_at};
use crate::store::{CODE_BYTES, MESSAGE_BYTES};
use thalweg_core::batch::{Row, Span};
use thalweg_core::coder::read_varint;
use thalweg_core::time::EventTime;
use thalweg_core::window::{Window, WindowSet};

/// Most metrics that one call may report, and longest name: a guest names few, and each becomes an entry on the host.
const METRICS_MAX: usize = 1000;
const METRIC_NAME_MAX: usize = 256;
/// Most windows that an element may be in: rows may share a set, and each of them is one element per window from there on.
const WINDOWS_MAX: usize = 10_000;

/// What an output frame is measured against.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Rows of the input frame: their time, windows and pane are inherited.
    pub sources: &'a [Row],
    /// For each output of the function whether its elements are KVs.
    pub outputs: &'a [bool],
    /// Number of window sets of the input frame: own ones of the output are counted on from there.
    pub window_sets: u32,
    /// Index of the pane of rows that come from no row.
    pub pane: u32,
}

/// Where the rows of a frame go.
#[derive(Default, Debug)]
pub struct Rows {
    /// Rows per output.
    pub outputs: Vec<Vec<Row>>,
    /// Window sets of the frame's own, behind those of the input.
    pub window_sets: Vec<WindowSet>,
}

/// A row that the guest could not process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailedRow {
    /// Its place in the input frame.
    pub row: u32,
    /// The guest's code.
    pub code: String,
    /// The guest's sentence.
    pub message: String,
}

/// What a call adds to a metric.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetricDelta {
    /// Adds to a counter.
    Counter {
        /// Name of the metric.
        name: String,
        /// What is added.
        value: i64,
    },
    /// Adds to a distribution.
    Distribution {
        /// Name of the metric.
        name: String,
        /// Count, sum, minimum, maximum.
        values: [i64; 4],
    },
}

/// A set of rows of an input frame.
#[derive(Default, Debug)]
pub struct RowSet(Vec<bool>);

impl RowSet {
    /// The rows of `failed`.
    #[must_use]
    pub fn of(failed: &[FailedRow]) -> Self {
        let mut set = Self::default();
        for row in failed {
            let at = row.row as usize;
            if set.0.len() <= at {
                set.0.resize(at + 1, false);
            }
            if let Some(place) = set.0.get_mut(at) {
                *place = true;
            }
        }
        set
    }

    /// Whether it has none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, row: u32) -> bool {
        self.0.get(row as usize).copied().unwrap_or(false)
    }
}

/// An output frame whose sections have been found; columns are checked as they are used.
#[derive(Debug)]
pub struct OutputFrame<'a> {
    pub(super) rows: usize,
    pub(super) time: Option<&'a [[u8; 8]]>,
    pub(super) key: Option<&'a [[u8; 8]]>,
    pub(super) value: Option<&'a [[u8; 8]]>,
    pub(super) output: Option<&'a [[u8; 4]]>,
    pub(super) source: Option<&'a [[u8; 4]]>,
    pub(super) windows: Option<&'a [[u8; 4]]>,
    window_sets: Option<&'a [u8]>,
    target: Option<&'a [u8]>,
    changes: bool,
    pub(super) arena: &'a [u8],
    failed: Option<&'a [u8]>,
    metrics: Option<&'a [u8]>,
}

impl<'a> OutputFrame<'a> {
    /// Finds the sections of a frame.
    ///
    /// # Errors
    /// If a section reaches over the end or stands twice, or a column has not one entry per row.
    pub fn parse(frame: &'a [u8]) -> Result<Self, FrameError> {
        let mut sections = Sections { rest: frame };
        let header = match sections.next().transpose()? {
            Some((section::HEADER, payload)) => payload,
            _ => return Err(bad("HEADER", "does not stand first")),
        };
        if u32_at(header, 0) != Some(LAYOUT) {
            return Err(bad("HEADER", "names a layout that is not known here"));
        }
        let rows = u32_at(header, 4).ok_or(bad("HEADER", "is too short"))? as usize;
        let mut this = Self {
            rows,
            time: None,
            key: None,
            value: None,
            output: None,
            source: None,
            windows: None,
            window_sets: None,
            target: None,
            changes: false,
            arena: &[],
            failed: None,
            metrics: None,
        };
        let mut arena = None;
        for taken in sections {
            let (id, payload) = taken?;
            match id {
                section::HEADER => return Err(bad("HEADER", "stands twice")),
                section::TIME => column(&mut this.time, "TIME", payload, rows)?,
                section::KEY => column(&mut this.key, "KEY", payload, rows)?,
                section::VALUE => column(&mut this.value, "VALUE", payload, rows)?,
                section::OUTPUT => column(&mut this.output, "OUTPUT", payload, rows)?,
                section::SOURCE => column(&mut this.source, "SOURCE", payload, rows)?,
                section::WINDOWS => column(&mut this.windows, "WINDOWS", payload, rows)?,
                section::WINDOW_SETS => once(&mut this.window_sets, "WINDOW_SETS", payload)?,
                section::TARGET => once(&mut this.target, "TARGET", payload)?,
                section::CELL_OPS | section::SUBCELL_OPS | section::TIMER_OPS => this.changes = true,
                section::ARENA => once(&mut arena, "ARENA", payload)?,
                section::FAILED => once(&mut this.failed, "FAILED", payload)?,
                section::METRICS => once(&mut this.metrics, "METRICS", payload)?,
                _ => {}
            }
        }
        this.arena = arena.unwrap_or_default();
        if rows > 0 && this.value.is_none() && this.key.is_none() && this.source.is_none() {
            // A count with nothing behind it would be work for free.
            return Err(bad("HEADER", "counts rows of which there is no column"));
        }
        Ok(this)
    }

    /// The bytes that keys and values point into.
    #[must_use]
    pub fn arena(&self) -> &'a [u8] {
        self.arena
    }

    /// Bytes of the keys, values and own windows of all rows together. It is more than the frame has if rows share theirs: what is made of
    /// them later does not.
    #[must_use]
    pub fn logical_bytes(&self) -> usize {
        let length = |pair: &[u8; 8]| {
            let (start, end) = range(*pair);
            u64::from(end.saturating_sub(start))
        };
        // a frame has fewer than 2^28 entries of less than 2^32 bytes
        let sum = |column: Option<&[[u8; 8]]>| column.unwrap_or_default().iter().map(length).sum::<u64>();
        let windows = self.window_sets.and_then(|payload| table::<8>(payload, "WINDOW_SETS").ok());
        let sets = windows.map_or(&[][..], |(ranges, _)| ranges);
        let named = self.windows.unwrap_or_default().iter().map(|set| sets.get(u32::from_le_bytes(*set) as usize));
        let windows = named.flatten().map(length).sum::<u64>();
        usize::try_from(sum(self.key) + sum(self.value) + windows).unwrap_or(usize::MAX)
    }

    /// Whether it changes state or timers.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.changes
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The value of a row.
    ///
    /// # Errors
    /// If its range lies outside of the arena.
    pub fn value(&self, i: usize) -> Result<&'a [u8], FrameError> {
        let span = self.span(self.value, i).ok_or(bad("VALUE", "a range lies outside of the arena"))?;
        Ok(self.arena.get(span.start as usize..span.end as usize).unwrap_or_default())
    }

    /// The row that a row comes from.
    #[must_use]
    pub fn source(&self, i: usize) -> u32 {
        number(self.source, i).unwrap_or(i as u32)
    }

    /// The windows that a row names among the frame's `sets` own sets.
    ///
    /// # Errors
    /// If there are none.
    pub fn windows(&self, sets: usize, i: usize) -> Result<u32, FrameError> {
        let own = number(self.windows, i).filter(|own| (*own as usize) < sets);
        own.ok_or(bad("WINDOWS", "a row has no windows"))
    }

    /// For each of the input's `inputs` rows the output row that it went into.
    ///
    /// # Errors
    /// If there is not one entry for each, or it is no row.
    pub fn targets(&self, inputs: usize) -> Result<Vec<u32>, FrameError> {
        const NAME: &str = "TARGET";
        let (entries, rest) = self.target.unwrap_or_default().as_chunks::<4>();
        if entries.len() != inputs || !rest.is_empty() {
            return Err(bad(NAME, "has not one entry per row of the input"));
        }
        let targets: Vec<u32> = entries.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        if targets.iter().any(|to| *to as usize >= self.rows) {
            return Err(bad(NAME, "names a row that is not there"));
        }
        Ok(targets)
    }

    /// The window sets of the frame.
    ///
    /// # Errors
    /// If an entry has no window, or one that is neither the global nor an interval window.
    pub fn own_windows(&self) -> Result<Vec<WindowSet>, FrameError> {
        const NAME: &str = "WINDOW_SETS";
        let Some((ranges, bytes)) = self.window_sets.map(|payload| table::<8>(payload, NAME)).transpose()? else {
            return Ok(Vec::new());
        };
        let lengths = ranges.iter().map(|pair| range(*pair)).map(|(start, end)| end.saturating_sub(start) as usize);
        if lengths.fold(0, usize::saturating_add) > bytes.len() {
            return Err(bad(NAME, "sets overlap"));
        }
        let set = |range: &[u8; 8]| {
            let mut rest = cut(bytes, *range).ok_or(bad(NAME, "a range lies outside of its bytes"))?;
            let mut set = WindowSet::new();
            while let Some((length, tail)) = rest.split_first_chunk::<4>() {
                let taken = tail.split_at_checked(u32::from_le_bytes(*length) as usize);
                let (window, tail) = taken.ok_or(bad(NAME, "a window reaches over the end of its set"))?;
                let global = window.is_empty().then_some(Window::Global);
                let window = global.or_else(|| interval(window));
                set.push(window.ok_or(bad(NAME, "a window is neither the global nor an interval window"))?);
                if set.len() > WINDOWS_MAX {
                    return Err(bad(NAME, "a set has more than 10,000 windows"));
                }
                rest = tail;
            }
            if set.is_empty() || !rest.is_empty() { Err(bad(NAME, "a set has no window")) } else { Ok(set) }
        };
        ranges.iter().map(set).collect()
    }

    #[inline]
    pub(super) fn span(&self, column: Option<&[[u8; 8]]>, i: usize) -> Option<Span> {
        let Some(column) = column else { return Some(Span::default()) };
        self.inside(*column.get(i)?)
    }

    /// A range that lies in the arena and does not fall.
    #[inline]
    pub(super) fn inside(&self, pair: [u8; 8]) -> Option<Span> {
        let (start, end) = range(pair);
        (start <= end && end as usize <= self.arena.len()).then_some(Span { start, end })
    }

    /// The rows that the guest could not process.
    ///
    /// # Errors
    /// If an entry is not whole, names no input row or one that was named before, or is not UTF-8.
    pub fn failed(&self, shape: &Shape<'_>) -> Result<Vec<FailedRow>, FrameError> {
        const NAME: &str = "FAILED";
        let Some((entries, texts)) = self.failed.map(|payload| table::<24>(payload, NAME)).transpose()? else {
            return Ok(Vec::new());
        };
        let row_of = |entry: &[u8; 24]| {
            let row = u32_at(entry, 0).filter(|row| (*row as usize) < shape.sources.len());
            let row = row.ok_or(bad(NAME, "names a row that is not in the input"))?;
            let (code, message) = (cell(entry, 8, texts, NAME)?, cell(entry, 16, texts, NAME)?);
            let (code, message) = (short(code, CODE_BYTES, NAME)?, short(message, MESSAGE_BYTES, NAME)?);
            Ok(FailedRow { row, code: code.to_owned(), message: message.to_owned() })
        };
        if entries.len() > shape.sources.len() {
            return Err(bad(NAME, "lists more rows than there are"));
        }
        let mut named = vec![false; if entries.is_empty() { 0 } else { shape.sources.len() }];
        let mut once = |row: FailedRow| {
            let named = named.get_mut(row.row as usize).map(|named| std::mem::replace(named, true));
            if named == Some(false) { Ok(row) } else { Err(bad(NAME, "names a row twice")) }
        };
        entries.iter().map(|entry| row_of(entry).and_then(&mut once)).collect()
    }

    /// What the call adds to metrics.
    ///
    /// # Errors
    /// If an entry is not whole, of an unknown kind, or its name is empty, too long or not UTF-8.
    pub fn metrics(&self) -> Result<Vec<MetricDelta>, FrameError> {
        const NAME: &str = "METRICS";
        let Some((entries, names)) = self.metrics.map(|payload| table::<48>(payload, NAME)).transpose()? else {
            return Ok(Vec::new());
        };
        if entries.len() > METRICS_MAX {
            return Err(bad(NAME, "lists more than 1,000 metrics"));
        }
        let delta = |entry: &[u8; 48]| {
            let name = cell(entry, 8, names, NAME)?;
            if name.is_empty() || name.len() > METRIC_NAME_MAX {
                return Err(bad(NAME, "a name is empty or longer than 256 bytes"));
            }
            let name = short(name, METRIC_NAME_MAX, NAME)?;
            let value =
                |i: usize| entry.get(16 + i * 8..).and_then(|b| b.first_chunk()).map_or(0, |b| i64::from_le_bytes(*b));
            let name = name.to_owned();
            match u32_at(entry, 0) {
                Some(0) => Ok(MetricDelta::Counter { name, value: value(0) }),
                Some(1) => Ok(MetricDelta::Distribution { name, values: [0, 1, 2, 3].map(value) }),
                _ => Err(bad(NAME, "a kind is unknown")),
            }
        };
        entries.iter().map(delta).collect()
    }
}

pub(super) fn own_time(own: [u8; 8]) -> Result<EventTime, FrameError> {
    let time = EventTime(i64::from_le_bytes(own));
    if time < EventTime::MIN || time > EventTime::MAX {
        return Err(bad("TIME", "a time lies outside of Beam's range"));
    }
    Ok(time)
}

/// An interval window of a guest: it ends after it begins, both in Beam's range.
///
/// Source: `beam:coder:interval_window:v1`.
pub(crate) fn interval(bytes: &[u8]) -> Option<Window> {
    let (end, rest) = bytes.split_first_chunk::<8>()?;
    let end = (u64::from_be_bytes(*end) ^ (1 << 63)).cast_signed();
    let (span, rest) = read_varint(rest).ok()?;
    let span = i64::try_from(span).ok()?;
    let start = end.checked_sub(span)?;
    let inside = start >= EventTime::MIN.0 && end <= EventTime::MAX.0;
    (rest.is_empty() && span > 0 && inside).then_some(Window::Interval { start: EventTime(start), end: EventTime(end) })
}

#[inline]
pub(super) fn number(column: Option<&[[u8; 4]]>, i: usize) -> Option<u32> {
    column?.get(i).map(|bytes| u32::from_le_bytes(*bytes))
}

fn once<'a>(place: &mut Option<&'a [u8]>, name: &'static str, payload: &'a [u8]) -> Result<(), FrameError> {
    match place.replace(payload) {
        None => Ok(()),
        Some(_) => Err(bad(name, "stands twice")),
    }
}

fn column<'a, const N: usize>(
    place: &mut Option<&'a [[u8; N]]>,
    name: &'static str,
    payload: &'a [u8],
    rows: usize,
) -> Result<(), FrameError> {
    let (entries, rest) = payload.as_chunks::<N>();
    if entries.len() != rows || !rest.is_empty() {
        return Err(bad(name, "has not one entry per row"));
    }
    match place.replace(entries) {
        None => Ok(()),
        Some(_) => Err(bad(name, "stands twice")),
    }
}

/// Entries of `N` bytes and the bytes that they point into.
fn table<'a, const N: usize>(payload: &'a [u8], name: &'static str) -> Result<(&'a [[u8; N]], &'a [u8]), FrameError> {
    let taken = (|| {
        let length = (u32_at(payload, 0)? as usize).checked_mul(N)?;
        payload.get(8..)?.split_at_checked(length)
    })();
    let (entries, bytes) = taken.ok_or(bad(name, "is too short for its entries"))?;
    Ok((entries.as_chunks().0, bytes))
}

/// The bytes of a range in an entry.
fn cell<'a>(entry: &[u8], at: usize, bytes: &'a [u8], name: &'static str) -> Result<&'a [u8], FrameError> {
    let pair = entry.get(at..).and_then(|rest| rest.first_chunk());
    pair.and_then(|pair| cut(bytes, *pair)).ok_or(bad(name, "a range lies outside of its bytes"))
}

/// The first bytes of a text. Entries may share their bytes, so that a long text would cost its length for every one of them.
fn short<'a>(bytes: &'a [u8], most: usize, name: &'static str) -> Result<&'a str, FrameError> {
    let kept = bytes.get(..most).unwrap_or(bytes);
    match std::str::from_utf8(kept) {
        Ok(text) => Ok(text),
        // cut in the middle of a character
        Err(e) if e.error_len().is_none() && kept.len() < bytes.len() => {
            let whole = kept.get(..e.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(whole).map_err(|_| bad(name, "a text is not UTF-8"))
        }
        Err(_) => Err(bad(name, "a text is not UTF-8")),
    }
}

#[cfg(test)]
mod tests;
