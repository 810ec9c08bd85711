//! What a call returned, checked and turned into batches. Nothing is kept of a call whose frames are broken.

use super::{Failures, Step};
use crate::error::{Error, Result};
use crate::frame::{FailedRow, FrameError, MetricDelta, OutputFrame, RowSet, Rows, Shape};
use crate::store::{Returned, cut_text};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::batch::{Batch, BatchBuilder, Pane, Row};
use thalweg_core::coder::{Coder, write_varint};
use thalweg_core::port::worker::TimerUpdate;
use thalweg_core::window::{Window, WindowSet};

/// Length of an element's preview in an error.
const PREVIEW_BYTES: usize = 80;

/// What a step gave.
#[derive(Debug)]
pub struct Outcome {
    /// Batches per output.
    pub outputs: Vec<Vec<Batch>>,
    /// Metric deltas.
    pub metrics: Vec<MetricDelta>,
    /// Timers set and cleared.
    pub timers: Vec<TimerUpdate>,
    letters: BatchBuilder,
    /// Letters of rows that were put aside: they count whatever becomes of the rest.
    poison: BatchBuilder,
    /// Letters of another outcome.
    gone: Vec<Batch>,
    /// Why nothing here counts but those: the function lost what it had gathered of the bundle.
    torn: Option<Error>,
    /// Which of the bundle's batches is under way.
    pub batch: usize,
    aside: Vec<(usize, usize)>,
}

/// Frames with checked changes of state and timers, in order.
#[derive(Default, Debug)]
pub struct Changes {
    written: Vec<Vec<u8>>,
    returned: Option<Bytes>,
}

impl Changes {
    /// The frames.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.written.iter().map(Vec::as_slice).chain(self.returned.as_deref())
    }
}

/// Where the rows of an input frame came from.
pub struct Sources<'a, B> {
    /// The rows, with windows and panes as indices into the dictionaries below.
    pub rows: &'a [Row],
    /// Window sets.
    pub windows: &'a [WindowSet],
    /// Panes.
    pub panes: &'a [Pane],
    /// What each row is; empty if all are elements.
    pub kinds: &'a [u8],
    /// Key and value of a row, as they stand in the frame.
    pub element: B,
    /// The value of a row whose beginning alone stands there.
    pub whole: &'a dyn Fn(usize) -> Result<Option<Vec<u8>>>,
}

/// The dictionaries of a call's batches. Those of the input are copied once, however many frames come early.
struct Dictionaries<'a> {
    step: &'a Step,
    input: &'a [WindowSet],
    shared: Option<Arc<Vec<WindowSet>>>,
    panes: Arc<Vec<Pane>>,
    /// Bytes that sets of the input may still take beside own ones.
    room: usize,
}

impl<'a> Dictionaries<'a> {
    fn of(step: &'a Step, input: &'a [WindowSet], panes: &[Pane]) -> Self {
        let mut panes = panes.to_vec();
        if !panes.contains(&Pane::NO_FIRING) {
            panes.push(Pane::NO_FIRING);
        }
        Self { step, input, shared: None, panes: Arc::new(panes), room: step.callee.limits().output_bytes }
    }

    fn panes(&self) -> Arc<Vec<Pane>> {
        Arc::clone(&self.panes)
    }

    /// The sets that a frame's rows name: the input's; or the frame's own and, behind them, those of the input that its rows keep beside them.
    fn windows(&mut self, own: Vec<WindowSet>, outputs: &mut [Vec<Row>]) -> Result<Arc<Vec<WindowSet>>> {
        if own.is_empty() {
            return Ok(Arc::clone(self.shared.get_or_insert_with(|| Arc::new(self.input.to_vec()))));
        }
        let (mut sets, mut kept) = (own, BTreeMap::new());
        for row in outputs.iter_mut().flatten() {
            row.windows = match (row.windows as usize).checked_sub(self.input.len()) {
                Some(own) => own as u32,
                None => match kept.get(&row.windows) {
                    Some(at) => *at,
                    None => {
                        let set = self.input.get(row.windows as usize).cloned().unwrap_or_default();
                        self.pay(set.len() * size_of::<Window>())?;
                        sets.push(set);
                        let at = sets.len() as u32 - 1;
                        kept.insert(row.windows, at);
                        at
                    }
                },
            };
        }
        Ok(Arc::new(sets))
    }

    fn pay(&mut self, bytes: usize) -> Result<()> {
        let limit_bytes = self.step.callee.limits().output_bytes as u64;
        let too_much = || Error::OutputLimit { function: self.step.transform.clone(), limit_bytes };
        self.room = self.room.checked_sub(bytes).ok_or_else(too_much)?;
        Ok(())
    }
}

impl Outcome {
    /// Nothing yet, for so many outputs.
    pub fn new(outputs: usize) -> Self {
        let (metrics, timers) = (Vec::new(), Vec::new());
        let (outputs, aside, gone) = (vec![Vec::new(); outputs], Vec::new(), Vec::new());
        let (letters, poison) = (BatchBuilder::new(), BatchBuilder::new());
        Self { outputs, metrics, timers, letters, poison, gone, torn: None, batch: 0, aside }
    }

    /// Nothing counts from here on but the letters of rows that are put aside.
    pub fn tear(&mut self, why: &Error) {
        self.torn.get_or_insert_with(|| why.clone());
    }

    /// Notes that a row of the batch under way is put aside.
    pub fn put_aside(&mut self, row: usize) {
        self.aside.push((self.batch, row));
    }

    /// Whether what is here counts.
    pub fn counts(&self) -> bool {
        self.torn.is_none()
    }

    /// If nothing counts: begins anew with the letters of the rows that were put aside. Gives why, and these rows by their batch.
    pub fn begin_again(&mut self) -> Option<(Error, Vec<(usize, usize)>)> {
        let why = self.torn.take()?;
        let (poison, aside) = (std::mem::take(&mut self.poison), std::mem::take(&mut self.aside));
        *self = Self { poison, ..Self::new(self.outputs.len()) };
        Some((why, aside))
    }

    /// Adds what another one has.
    pub fn absorb(&mut self, mut other: Self) {
        let letters = other.dead_letters();
        let outputs = self.outputs.iter_mut().zip(other.outputs);
        outputs.for_each(|(all, batches)| all.extend(batches));
        self.metrics.extend(other.metrics);
        self.timers.extend(other.timers);
        self.gone.extend(letters);
    }

    /// Adds a batch to an output.
    pub fn push(&mut self, output: usize, batch: Batch) {
        self.outputs.get_mut(output).into_iter().for_each(|list| list.push(batch.clone()));
    }

    /// The dead letters.
    pub fn dead_letters(&mut self) -> Vec<Batch> {
        let mut all = std::mem::take(&mut self.gone);
        let written = [&mut self.poison, &mut self.letters].into_iter().filter(|letters| !letters.is_empty());
        all.extend(written.map(BatchBuilder::finish));
        all
    }

    /// Takes what a call returned; gives back its state changes, which count now.
    ///
    /// # Errors
    /// [`Error::Frame`] if a frame is broken; [`Error::RowFailed`] if a row failed and has no place to go.
    pub fn take<'a, B>(&mut self, step: &Step, returned: Returned, sources: &Sources<'a, B>) -> Result<Changes>
    where
        B: Fn(usize) -> (&'a [u8], &'a [u8]),
    {
        let broken =
            |e: FrameError| Error::Frame { function: step.transform.clone(), section: e.section, what: e.what };
        let pane = sources.panes.iter().position(|pane| *pane == Pane::NO_FIRING);
        let shape = Shape {
            sources: sources.rows,
            outputs: &step.output_keyed,
            window_sets: sources.windows.len() as u32,
            pane: pane.unwrap_or(sources.panes.len()) as u32,
        };
        let frames: Vec<Bytes> = returned.frames.into_iter().map(Bytes::from).collect();
        let (failed, metrics) = match frames.last() {
            Some(last) => {
                let last = OutputFrame::parse(last).map_err(broken)?;
                (last.failed(&shape).map_err(broken)?, last.metrics().map_err(broken)?)
            }
            None => (Vec::new(), Vec::new()),
        };
        // a timer, or the end of a window, is no element that could be put aside
        let is_element = |row: &&FailedRow| sources.kinds.get(row.row as usize).is_none_or(|kind| *kind == 0);
        let fatal = match &step.failures {
            Failures::FailBundle => failed.first(),
            Failures::DeadLetter(_) => failed.iter().find(|row| !is_element(row)),
        };
        if let Some(row) = fatal {
            let (key, value) = (sources.element)(row.row as usize);
            return Err(row_failed(step, row, if step.keyed { key } else { value }));
        }
        let letters = failed.iter().map(|row| (sources.whole)(row.row as usize)).collect::<Result<Vec<_>>>()?;
        let skip = RowSet::of(&failed);
        let mut made = Vec::new();
        let mut dictionaries = Dictionaries::of(step, sources.windows, sources.panes);
        for frame in &frames {
            let parsed = OutputFrame::parse(frame).map_err(broken)?;
            let Rows { mut outputs, window_sets } = parsed.rows(&shape, &skip).map_err(broken)?;
            let arena = frame.slice_ref(parsed.arena());
            let windows = dictionaries.windows(window_sets, &mut outputs)?;
            for (output, rows) in outputs.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
                let batch = Batch::from_parts(arena.clone(), rows, Arc::clone(&windows), dictionaries.panes());
                made.push((output, batch.map_err(|e| Error::Engine { why: e.message })?));
            }
        }
        for (output, batch) in made {
            if let Some(list) = self.outputs.get_mut(output) {
                list.push(batch);
            }
        }
        for (row, whole) in failed.iter().zip(letters) {
            let message = format!("{}: {}", row.code, row.message);
            letter(&mut self.letters, step, sources, (row.row as usize, whole), (&message, ""));
        }
        self.metrics.extend(metrics);
        let last = if returned.last_changes { frames.into_iter().next_back() } else { None };
        Ok(Changes { written: returned.changes, returned: last })
    }

    /// Makes a dead letter of the first row, in the row's windows and pane and at its time.
    ///
    /// # Errors
    /// [`Error::MemoryLimit`] if its value is larger than what a letter may have.
    pub fn bury<'a, B>(&mut self, step: &Step, sources: &Sources<'a, B>, message: &str, trace: &str) -> Result<()>
    where
        B: Fn(usize) -> (&'a [u8], &'a [u8]),
    {
        let whole = (sources.whole)(0)?;
        letter(&mut self.poison, step, sources, (0, whole), (message, trace));
        Ok(())
    }
}

/// Writes the dead letter of a row; its value, if only the beginning of it stands among the sources; what happened and where.
fn letter<'a, B>(
    letters: &mut BatchBuilder,
    step: &Step,
    sources: &Sources<'a, B>,
    (row, whole): (usize, Option<Vec<u8>>),
    (message, trace): (&str, &str),
) where
    B: Fn(usize) -> (&'a [u8], &'a [u8]),
{
    let Some(from) = sources.rows.get(row) else { return };
    let windows = sources.windows.get(from.windows as usize).map_or(&[][..], |set| set.as_slice());
    let pane = sources.panes.get(from.pane as usize).copied().unwrap_or(Pane::NO_FIRING);
    let (key, value) = (sources.element)(row);
    let value = whole.as_deref().unwrap_or(value);
    letters.push_with(&[], 0, from.time, windows, pane, |out| {
        out.extend([3, 0]); // three fields, none of them null
        match &step.input_coder {
            Coder::Kv(key_coder, value_coder) => {
                key_coder.write_nested(out, key);
                value_coder.write_nested(out, value);
            }
            coder => coder.write_nested(out, value),
        }
        for text in [message, trace] {
            write_varint(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
    });
}

/// The error of an element that the function said it cannot process.
pub fn row_failed(step: &Step, row: &FailedRow, element: &[u8]) -> Error {
    let text = String::from_utf8_lossy(element.get(..PREVIEW_BYTES).unwrap_or(element)).escape_debug().to_string();
    Error::RowFailed {
        function: step.transform.clone(),
        code: row.code.clone(),
        message: row.message.clone(),
        element: cut_text(&text, PREVIEW_BYTES).to_owned(),
    }
}
