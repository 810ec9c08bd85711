//! Elements on the wire: `beam:coder:windowed_value:v1`, to and from batches.
//!
//! An element is timestamp (8 bytes), window count (4 bytes), windows, pane, and the value in nested context. In: a
//! data message of a worker, which is indexed and itself becomes the batch's arena. Out: bytes appended to a data
//! message. Neither direction decodes a value.

use super::{WindowCoder, instant, pane};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use thalweg_core::batch::{Batch, Pane, Row, Span};
use thalweg_core::coder::Coder;
use thalweg_core::error::{Domain, Error, Result};
use thalweg_core::id::key_hash;
use thalweg_core::window::{Window, WindowSet};

/// How the elements of a collection look between runner and worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WireCoder {
    /// The value, unknown parts length-prefixed.
    pub element: Arc<Coder>,
    /// Its windows.
    pub window: WindowCoder,
}

/// Room is made for at most so many elements before they are seen: 1.5 MiB, and about as many as SDKs send in a message.
const ROWS_EXPECTED_MAX: usize = 1 << 15;

/// Encodings seen last: neighbouring elements nearly always share windows and pane.
#[derive(Default)]
struct Seen {
    windows: Vec<WindowSet>,
    panes: Vec<Pane>,
    /// The bytes of `windows.last()`, count included, as a range of the message.
    last_windows: Range<usize>,
    last_pane: Option<u8>,
}

impl WireCoder {
    /// Indexes all elements of a message without copying them: the message becomes the arena. Cost: O(elements).
    ///
    /// # Errors
    /// `CODER_MALFORMED` when an element is cut off, or the message has 4 GiB or more.
    pub fn decode(&self, message: Bytes) -> Result<Batch> {
        if u32::try_from(message.len()).is_err() {
            return Err(Error::new("CODER_MALFORMED", Domain::Guest, "a data message of 4 GiB or more"));
        }
        let kv = self.element.kv();
        let mut rows = Vec::new();
        let mut seen = Seen::default();
        let mut rest = message.as_ref();
        while !rest.is_empty() {
            let (time, after) = instant::read(rest)?;
            let (windows, after) = self.windows(&mut seen, &message, after)?;
            let (pane, after) = seen.pane(after)?;
            let value_at = message.len() - after.len();
            let row = |key, value, hash| Row { key, value, time, hash, windows, pane };
            rest = match kv {
                Some((key_coder, value_coder)) => {
                    let middle = key_coder.skip(after)?;
                    let end = value_coder.skip(middle)?;
                    let split = message.len() - middle.len();
                    let key = content(key_coder, &message, value_at..split)?;
                    let value = content(value_coder, &message, split..message.len() - end.len())?;
                    let hash = key_hash(message.get(key.start as usize..key.end as usize).unwrap_or_default());
                    rows.push(row(key, value, hash));
                    end
                }
                None => {
                    let end = self.element.skip(after)?;
                    let value = content(&self.element, &message, value_at..message.len() - end.len())?;
                    rows.push(row(Span::default(), value, 0));
                    end
                }
            };
            if let [_] = rows.as_slice() {
                // most elements of a message are as long as the first
                rows.reserve((rest.len() / (message.len() - rest.len())).min(ROWS_EXPECTED_MAX));
            }
        }
        Batch::from_parts(message, rows, seen.windows, seen.panes)
    }

    /// Reads the windows of an element; returns their index.
    fn windows<'a>(&self, seen: &mut Seen, message: &'a [u8], bytes: &'a [u8]) -> Result<(u32, &'a [u8])> {
        let last = message.get(seen.last_windows.clone()).unwrap_or_default();
        if !last.is_empty() && bytes.starts_with(last) {
            // the encoding says itself where it ends, so equal beginnings are equal windows
            return Ok(((seen.windows.len() - 1) as u32, bytes.get(last.len()..).unwrap_or_default()));
        }
        let (windows, rest) = self.window.read_set(bytes)?;
        seen.windows.push(windows);
        seen.last_windows = message.len() - bytes.len()..message.len() - rest.len();
        Ok(((seen.windows.len() - 1) as u32, rest))
    }

    /// Appends rows of a batch, each with all its windows.
    pub fn encode(&self, batch: &Batch, rows: &[Row], out: &mut Vec<u8>) {
        let mut last: Option<(u32, Range<usize>)> = None;
        for row in rows {
            instant::write(row.time, out);
            match &last {
                Some((index, bytes)) if *index == row.windows => out.extend_from_within(bytes.clone()),
                _ => {
                    let start = out.len();
                    self.window.write_set(batch.windows(row), out);
                    last = Some((row.windows, start..out.len()));
                }
            }
            self.encode_value(batch, row, out);
        }
    }

    /// Appends one row, in one window alone: how elements of a keyed bundle are sent, whose groups have one window
    /// each.
    pub fn encode_in(&self, window: &Window, batch: &Batch, row: &Row, out: &mut Vec<u8>) {
        instant::write(row.time, out);
        self.window.write_set(std::slice::from_ref(window), out);
        self.encode_value(batch, row, out);
    }

    /// Appends one row of a pair whose value has the given form instead of its own; `window` is that of a keyed bundle.
    pub fn encode_as(&self, value: &[u8], window: Option<&Window>, batch: &Batch, row: &Row, out: &mut Vec<u8>) {
        instant::write(row.time, out);
        self.window.write_set(window.map_or_else(|| batch.windows(row), std::slice::from_ref), out);
        pane::write(&batch.pane(row), out);
        if let Some((key, _)) = self.element.kv() {
            key.write_nested(out, batch.key(row));
        }
        out.extend_from_slice(value);
    }

    fn encode_value(&self, batch: &Batch, row: &Row, out: &mut Vec<u8>) {
        pane::write(&batch.pane(row), out);
        match self.element.kv() {
            Some((key, value)) => {
                key.write_nested(out, batch.key(row));
                value.write_nested(out, batch.value(row));
            }
            None => self.element.write_nested(out, batch.value(row)),
        }
    }
}

impl Seen {
    /// Reads a pane; returns its index.
    fn pane<'a>(&mut self, bytes: &'a [u8]) -> Result<(u32, &'a [u8])> {
        if let Some((first, rest)) = bytes.split_first()
            && Some(*first) == self.last_pane
        {
            return Ok(((self.panes.len() - 1) as u32, rest));
        }
        let (pane, rest) = pane::read(bytes)?;
        self.last_pane = (bytes.len() - rest.len() == 1).then(|| bytes.first().copied()).flatten();
        if self.panes.last() != Some(&pane) {
            self.panes.push(pane);
        }
        Ok(((self.panes.len() - 1) as u32, rest))
    }
}

/// The outer encoding inside a nested one, as a span of the message.
fn content(coder: &Coder, message: &[u8], nested: Range<usize>) -> Result<Span> {
    let end = nested.end as u32;
    let length = coder.content(message.get(nested).unwrap_or_default())?.len() as u32;
    Ok(Span { start: end - length, end })
}

#[cfg(test)]
mod tests;
