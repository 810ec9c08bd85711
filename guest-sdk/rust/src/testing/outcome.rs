//! What a function gave in a test: its elements, failures, metrics and log lines.

use crate::dofn::{EventTime, Failure, Output, OutputSpec};
use crate::element::{Element, View};
use crate::frame::{INHERIT, NONE, Sections, Table, cut, section};
use crate::host::Level;
use crate::window::Window;

/// Time, windows and element.
type Placed<'a, T> = (EventTime, Vec<Window>, View<'a, T>);

/// What a batch, or the timers that came due, gave.
#[derive(Default)]
pub struct Outcome {
    pub(super) calls: Vec<Ran>,
    pub(super) logs: Vec<(Level, String)>,
}

/// What one call gave.
pub(super) struct Ran {
    /// The frame that was returned is the last.
    pub(super) frames: Vec<Vec<u8>>,
    /// Of each row its place in the batch, time and window.
    pub(super) order: Vec<(usize, EventTime, Window)>,
}

impl Outcome {
    /// The elements of an output with their event times, without those of failed elements.
    ///
    /// # Errors
    /// If what was written is not of the output's type.
    pub fn elements<T: Element>(&self, output: &Output<T>) -> Result<Vec<(EventTime, View<'_, T>)>, Failure> {
        Ok(self.windowed(output)?.into_iter().map(|(time, _, element)| (time, element)).collect())
    }

    /// The elements of an output with their event times and windows, without those of failed elements.
    ///
    /// # Errors
    /// If what was written is not of the output's type.
    pub fn windowed<T: Element>(&self, output: &Output<T>) -> Result<Vec<Placed<'_, T>>, Failure> {
        let mut elements = Vec::new();
        for call in &self.calls {
            let failed: Vec<u32> = call.failed_rows().into_iter().map(|(row, _)| row).collect();
            for frame in &call.frames {
                let columns = Columns::of(frame);
                for i in 0..columns.value.len() {
                    let source = Columns::number(columns.source, i);
                    if Columns::number(columns.output, i) != output.index() || failed.contains(&source) {
                        continue;
                    }
                    let own = columns.time.get(i).map(|t| i64::from_le_bytes(*t)).filter(|t| *t != INHERIT);
                    let from = call.order.get(source as usize);
                    let inherited = from.map_or(EventTime(0), |(_, time, _)| *time);
                    let windows = columns.windows(i).or_else(|| from.map(|(_, _, window)| vec![window.clone()]));
                    let element = T::decode_columns(columns.bytes(columns.key, i), columns.bytes(columns.value, i))?;
                    elements.push((own.map_or(inherited, EventTime), windows.unwrap_or_default(), element));
                }
            }
        }
        Ok(elements)
    }

    /// The failed elements: place in the batch, and why.
    #[must_use]
    pub fn failures(&self) -> Vec<(usize, Failure)> {
        let of = |call: &Ran| {
            let place = |row: u32| call.order.get(row as usize).map_or(usize::MAX, |(i, _, _)| *i);
            call.failed_rows().into_iter().map(|(row, failure)| (place(row), failure)).collect::<Vec<_>>()
        };
        self.calls.iter().flat_map(of).collect()
    }

    /// The outcome, if no row of it failed.
    pub(super) fn all_good(self) -> Result<Self, Failure> {
        match self.failures().into_iter().next() {
            Some((_, failure)) => Err(failure),
            None => Ok(self),
        }
    }

    /// The log lines.
    #[must_use]
    pub fn logs(&self) -> &[(Level, String)] {
        &self.logs
    }

    /// What the batch added to a metric: a counter's sum first; of a distribution count, sum, minimum, maximum.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<[i64; 4]> {
        // a batch is one call; beside it there are the ends of its bundle, which have metrics of their own
        self.calls.iter().find_map(|call| call.metric(name))
    }
}

impl Ran {
    fn metric(&self, name: &str) -> Option<[i64; 4]> {
        let payload = self.section(section::METRICS)?;
        let (entries, names) = table_of(payload, 48)?;
        entries.chunks_exact(48).find_map(|entry| {
            let at = |i: usize| entry[i * 8..].first_chunk::<8>().map(|b| i64::from_le_bytes(*b)).unwrap_or_default();
            let (start, end) = ((at(1) & 0xffff_ffff) as usize, (at(1) >> 32) as usize);
            (names.get(start..end)? == name.as_bytes()).then(|| [at(2), at(3), at(4), at(5)])
        })
    }

    fn failed_rows(&self) -> Vec<(u32, Failure)> {
        let Some((entries, texts)) = self.section(section::FAILED).and_then(|payload| table_of(payload, 24)) else {
            return Vec::new();
        };
        let text = |entry: &[[u8; 4]], at: usize| {
            let range = Columns::number(entry, at) as usize..Columns::number(entry, at + 1) as usize;
            String::from_utf8_lossy(texts.get(range).unwrap_or_default()).into_owned()
        };
        let entries = entries.chunks_exact(24).map(|entry| entry.as_chunks::<4>().0);
        entries.map(|e| (Columns::number(e, 0), Failure::new(text(e, 2), text(e, 4)))).collect()
    }

    fn section(&self, id: u32) -> Option<&[u8]> {
        Sections(self.frames.last()?).flatten().find(|section| section.0 == id).map(|section| section.1)
    }
}

fn table_of(payload: &[u8], entry: usize) -> Option<(&[u8], &[u8])> {
    let count = u32::from_le_bytes(*payload.first_chunk()?) as usize;
    payload.get(8..)?.split_at_checked(count * entry)
}

/// The columns of an output frame.
#[derive(Default)]
struct Columns<'a> {
    source: &'a [[u8; 4]],
    output: &'a [[u8; 4]],
    time: &'a [[u8; 8]],
    key: &'a [[u8; 8]],
    value: &'a [[u8; 8]],
    windows: &'a [[u8; 4]],
    sets: Table<'a>,
    arena: &'a [u8],
}

impl<'a> Columns<'a> {
    fn of(frame: &'a [u8]) -> Self {
        let mut columns = Self::default();
        for (id, payload) in Sections(frame).flatten() {
            match id {
                section::SOURCE => columns.source = payload.as_chunks().0,
                section::OUTPUT => columns.output = payload.as_chunks().0,
                section::TIME => columns.time = payload.as_chunks().0,
                section::KEY => columns.key = payload.as_chunks().0,
                section::VALUE => columns.value = payload.as_chunks().0,
                section::WINDOWS => columns.windows = payload.as_chunks().0,
                section::WINDOW_SETS => columns.sets = Table::dictionary(payload).unwrap_or_default(),
                section::ARENA => columns.arena = payload,
                _ => {}
            }
        }
        columns
    }

    /// The windows of its own that a row has.
    fn windows(&self, i: usize) -> Option<Vec<Window>> {
        let set = self.windows.get(i).map(|set| u32::from_le_bytes(*set)).filter(|set| *set != NONE)?;
        let (mut rest, mut windows) = (self.sets.get(set as usize), Vec::new());
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (window, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            windows.push(Window::of(window));
            rest = tail;
        }
        Some(windows)
    }

    fn number(column: &[[u8; 4]], i: usize) -> u32 {
        column.get(i).map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    fn bytes(&self, column: &[[u8; 8]], i: usize) -> &'a [u8] {
        cut(column, i, self.arena)
    }
}
