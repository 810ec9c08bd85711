//! Windows on the wire.
//!
//! Two forms: in elements and timers a custom window stands behind its last timestamp and its length
//! (`beam:coder:custom_window:v1` around `length_prefix`), so that the runner knows when it ends; in state keys it is
//! the SDK's bare encoding. Standard windows look the same in both.

use super::instant;
use bytes::Bytes;
use thalweg_core::coder::{read_varint, take, take_prefixed, write_varint};
use thalweg_core::error::{Domain, Error, Result};
use thalweg_core::window::{Window, WindowSet};

/// How the windows of a collection are encoded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WindowCoder {
    /// `beam:coder:global_window:v1`: nothing.
    Global,
    /// `beam:coder:interval_window:v1`: end (a timestamp), length (varint, milliseconds).
    Interval,
    /// An SDK's own coder.
    Custom,
}

fn malformed(what: &str) -> Error {
    Error::new("CODER_MALFORMED", Domain::Guest, format!("malformed element: {what}"))
}

impl WindowCoder {
    /// Reads a window as it stands in elements and timers; returns it and what follows. A custom window's bytes are
    /// copied, because the window outlives the message.
    ///
    /// # Errors
    /// `CODER_MALFORMED` when it is cut off, or no window of Beam's time.
    pub fn read<'a>(&self, bytes: &'a [u8]) -> Result<(Window, &'a [u8])> {
        match self {
            Self::Global => Ok((Window::Global, bytes)),
            Self::Interval => {
                let (end, rest) = instant::read_millis(bytes)?;
                let (length, rest) = read_varint(rest)?;
                let start = i64::try_from(length).ok().and_then(|length| end.checked_sub(length));
                let window = start.and_then(|start| Window::interval(start, end));
                Ok((window.ok_or_else(|| malformed(&format!("a window of {length} ms that ends at {end} ms")))?, rest))
            }
            Self::Custom => {
                let (max, rest) = instant::read(bytes)?;
                let (encoded, rest) = take_prefixed(rest)?;
                Ok((Window::Custom { max, encoded: Bytes::copy_from_slice(encoded) }, rest))
            }
        }
    }

    /// Appends a window as it stands in elements and timers.
    pub fn write(&self, window: &Window, out: &mut Vec<u8>) {
        match window {
            Window::Custom { max, encoded } => {
                instant::write(*max, out);
                write_varint(out, encoded.len() as u64);
                out.extend_from_slice(encoded);
            }
            _ => self.write_key(window, out),
        }
    }

    /// Appends a window as it stands in state keys and as an element of its own.
    pub fn write_key(&self, window: &Window, out: &mut Vec<u8>) {
        match window {
            Window::Global => {}
            Window::Interval { start, end } => {
                instant::write_millis(end.0, out);
                write_varint(out, end.0.wrapping_sub(start.0).cast_unsigned());
            }
            Window::Custom { encoded, .. } => out.extend_from_slice(encoded),
        }
    }

    /// Reads a count and that many windows; returns them and what follows.
    ///
    /// # Errors
    /// `CODER_MALFORMED` when they are cut off or not counted.
    pub fn read_set<'a>(&self, bytes: &'a [u8]) -> Result<(WindowSet, &'a [u8])> {
        let (count, mut rest) = take(bytes, 4)?;
        let mut raw = [0; 4];
        raw.copy_from_slice(count);
        let count = u32::try_from(i32::from_be_bytes(raw)).map_err(|_| malformed("uncounted windows"))?;
        let mut windows = WindowSet::new();
        for _ in 0..count {
            let (window, after) = self.read(rest)?;
            if matches!(window, Window::Global) && !windows.is_empty() {
                // it has no bytes: the count alone could fill the memory
                return Err(malformed("the global window twice"));
            }
            windows.push(window);
            rest = after;
        }
        Ok((windows, rest))
    }

    /// Appends a count and windows.
    pub fn write_set(&self, windows: &[Window], out: &mut Vec<u8>) {
        out.extend_from_slice(&(windows.len() as u32).to_be_bytes());
        for window in windows {
            self.write(window, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::time::EventTime;
    use thalweg_core::window::{WINDOW_LENGTH_MAX, WindowFn};

    fn wire(end: i64, length: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        instant::write_millis(end, &mut bytes);
        write_varint(&mut bytes, length);
        bytes
    }

    #[test]
    fn a_window_outside_of_time_is_malformed() {
        let (min, max) = (EventTime::MIN.0, EventTime::MAX.0);
        let ends =
            [(i64::MIN, 1), (i64::MIN, 0), (i64::MAX, 1), (0, u64::MAX), (0, 1 << 63), (min, 10), (max, 1 << 60)];
        for (end, length) in ends {
            let read = WindowCoder::Interval.read(&wire(end, length)).err();
            assert_eq!(read.map(|e| e.code), Some("CODER_MALFORMED"), "{end} {length}");
        }
    }

    #[test]
    fn windows_of_the_first_and_last_timestamps_are_read_as_they_were_written() -> Result<()> {
        let hour = WindowFn::Fixed { size: 3_600_000, offset: 0 };
        let sliding = WindowFn::Sliding { size: 90_000, period: 60_000, offset: 7 };
        let sessions = WindowFn::Sessions { gap: WINDOW_LENGTH_MAX };
        for time in [EventTime::MIN, EventTime(0), EventTime::GLOBAL_WINDOW_MAX, EventTime::MAX] {
            for window in [&hour, &sliding, &sessions].into_iter().flat_map(|function| function.assign(time)) {
                let mut bytes = Vec::new();
                WindowCoder::Interval.write(&window, &mut bytes);
                assert_eq!(WindowCoder::Interval.read(&bytes)?, (window, &[][..]));
            }
        }
        Ok(())
    }
}
