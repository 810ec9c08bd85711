//! Ground floor: the stored form of a batch, for input that survives a cut unconsumed and for side inputs.
//!
//! `format (1) | window sets | panes | rows`, each row with its own bytes: a few rows of a large arena do not drag the
//! whole arena to the disk. Format 1 is frozen; a reader of a later version keeps reading it.

use crate::batch::{Batch, BatchBuilder, Pane, Timing};
use crate::coder::{read_varint, take, take_prefixed, write_varint};
use crate::error::{Error, Result};
use crate::time::EventTime;
use crate::window::{Window, WindowSet};
use bytes::Bytes;

const FORMAT: u8 = 1;

/// Appends the stored form of some rows.
#[must_use]
pub fn encode(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.weight());
    out.push(FORMAT);
    write_varint(&mut out, batch.window_sets().len() as u64);
    for set in batch.window_sets() {
        write_varint(&mut out, set.len() as u64);
        set.iter().for_each(|w| write_window(&mut out, w));
    }
    write_varint(&mut out, batch.panes().len() as u64);
    batch.panes().iter().for_each(|p| write_pane(&mut out, p));
    write_varint(&mut out, batch.len() as u64);
    for row in batch.rows() {
        out.extend_from_slice(&row.time.0.to_be_bytes());
        write_varint(&mut out, u64::from(row.windows));
        write_varint(&mut out, u64::from(row.pane));
        for span in [row.key, row.value] {
            write_varint(&mut out, span.len() as u64);
            out.extend_from_slice(batch.slice(span));
        }
    }
    out
}

fn corrupt() -> Error {
    Error::external("STATE_CORRUPT", "a stored batch cannot be read")
        .help("the state directory is damaged or of another version; restore a copy of it")
}

/// Reads a stored batch.
///
/// # Errors
/// `STATE_CORRUPT` when the bytes are not such a batch.
pub fn decode(bytes: &[u8]) -> Result<Batch> {
    read(bytes).map_err(|_| corrupt())
}

fn read(bytes: &[u8]) -> Result<Batch> {
    let ([FORMAT], rest) = take(bytes, 1)? else { return Err(corrupt()) };
    let (count, mut rest) = read_varint(rest)?;
    let mut sets: Vec<WindowSet> = Vec::new();
    for _ in 0..count {
        let (n, after) = read_varint(rest)?;
        rest = after;
        let mut set = WindowSet::new();
        for _ in 0..n {
            let (window, after) = read_window(rest)?;
            set.push(window);
            rest = after;
        }
        sets.push(set);
    }
    let (count, mut rest) = read_varint(rest)?;
    let mut panes = Vec::new();
    for _ in 0..count {
        let (pane, after) = read_pane(rest)?;
        panes.push(pane);
        rest = after;
    }
    let (count, mut rest) = read_varint(rest)?;
    let mut builder = BatchBuilder::new();
    for _ in 0..count {
        let (time, after) = read_i64(rest)?;
        let (windows, after) = read_varint(after)?;
        let (pane, after) = read_varint(after)?;
        let (key, after) = take_prefixed(after)?;
        let (value, after) = take_prefixed(after)?;
        rest = after;
        let windows = sets.get(windows as usize).ok_or_else(corrupt)?;
        let pane = panes.get(pane as usize).copied().ok_or_else(corrupt)?;
        builder.push_in_pane(key, value, EventTime(time), windows, pane);
    }
    Ok(builder.finish())
}

fn read_i64(bytes: &[u8]) -> Result<(i64, &[u8])> {
    let (n, rest) = take(bytes, 8)?;
    Ok((i64::from_be_bytes(n.try_into().map_err(|_| corrupt())?), rest))
}

fn write_window(out: &mut Vec<u8>, window: &Window) {
    match window {
        Window::Global => out.push(0),
        Window::Interval { start, end } => {
            out.push(1);
            out.extend_from_slice(&start.0.to_be_bytes());
            out.extend_from_slice(&end.0.to_be_bytes());
        }
        Window::Custom { max, encoded } => {
            out.push(2);
            out.extend_from_slice(&max.0.to_be_bytes());
            write_varint(out, encoded.len() as u64);
            out.extend_from_slice(encoded);
        }
    }
}

fn read_window(bytes: &[u8]) -> Result<(Window, &[u8])> {
    let (tag, rest) = take(bytes, 1)?;
    match tag {
        [0] => Ok((Window::Global, rest)),
        [1] => {
            let (start, rest) = read_i64(rest)?;
            let (end, rest) = read_i64(rest)?;
            Ok((Window::Interval { start: EventTime(start), end: EventTime(end) }, rest))
        }
        [2] => {
            let (max, rest) = read_i64(rest)?;
            let (encoded, rest) = take_prefixed(rest)?;
            Ok((Window::Custom { max: EventTime(max), encoded: Bytes::copy_from_slice(encoded) }, rest))
        }
        _ => Err(corrupt()),
    }
}

/// Appends a pane: flags, index, non-speculative index.
pub fn write_pane(out: &mut Vec<u8>, pane: &Pane) {
    let timing = match pane.timing {
        Timing::Early => 0,
        Timing::OnTime => 1,
        Timing::Late => 2,
        Timing::Unknown => 3,
    };
    out.push(timing << 2 | u8::from(pane.first) << 1 | u8::from(pane.last));
    out.extend_from_slice(&pane.index.to_be_bytes());
    out.extend_from_slice(&pane.non_speculative.to_be_bytes());
}

/// Reads what [`write_pane`] wrote.
///
/// # Errors
/// `CODER_MALFORMED` when cut off.
pub fn read_pane(bytes: &[u8]) -> Result<(Pane, &[u8])> {
    let (flags, rest) = take(bytes, 1)?;
    let flags = flags.first().copied().unwrap_or_default();
    let (index, rest) = read_i64(rest)?;
    let (non_speculative, rest) = read_i64(rest)?;
    let timing = match flags >> 2 {
        0 => Timing::Early,
        1 => Timing::OnTime,
        2 => Timing::Late,
        _ => Timing::Unknown,
    };
    let pane = Pane { timing, first: flags & 2 != 0, last: flags & 1 != 0, index: index as u64, non_speculative };
    Ok((pane, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_batch_reads_back() -> Result<()> {
        let custom = Window::Custom { max: EventTime(9), encoded: Bytes::from_static(b"w") };
        let late = Pane { timing: Timing::Late, first: false, last: true, index: 4, non_speculative: 3 };
        let mut b = BatchBuilder::new();
        b.push(b"k", b"v", EventTime(-5), &[Window::Global]);
        b.push_in_pane(b"", b"w", EventTime(8), &[custom.clone(), Window::Global], late);
        let back = decode(&encode(&b.finish()))?;
        let rows = back.rows();
        assert_eq!((back.key(&rows[0]), back.value(&rows[0]), rows[0].time), (&b"k"[..], &b"v"[..], EventTime(-5)));
        assert_eq!(back.windows(&rows[1]), &[custom, Window::Global]);
        assert_eq!(back.pane(&rows[1]), late);
        Ok(())
    }

    #[test]
    fn damage_is_an_error() {
        let mut b = BatchBuilder::new();
        b.push(b"k", b"v", EventTime(-5), &[Window::Global]);
        let bytes = encode(&b.finish());
        for n in 0..bytes.len() {
            assert!(decode(&bytes[..n]).is_err(), "cut at {n}");
        }
    }
}
