//! Timers on the wire: `beam:coder:timer:v1`, in both directions.
//!
//! Key (nested), dynamic tag, windows, a flag; unless the flag clears the timer: firing time, hold, pane. A worker sets
//! timers so, and learns so that they have come due.

use super::{WindowCoder, instant, pane};
use bytes::Bytes;
use std::sync::Arc;
use thalweg_core::coder::{Coder, take, take_prefixed, write_varint};
use thalweg_core::error::Result;
use thalweg_core::port::worker::TimerSet;
use thalweg_core::time::EventTime;
use thalweg_core::window::WindowSet;

/// The hold of a timer that may put nothing out, one millisecond behind the end of time. It holds nothing back, and must come back as
/// it was set: the SDK knows by it that what the timer puts out is an error. Source: Java's `Timer.withNoOutputTimestamp`.
const NO_OUTPUT: EventTime = EventTime(EventTime::MAX.0 + 1);

/// How the timers of a family look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimerCoder {
    /// The key, unknown parts length-prefixed.
    pub key: Arc<Coder>,
    /// Its windows.
    pub window: WindowCoder,
}

/// A timer as it travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WireTimer {
    /// The key in outer encoding.
    pub key: Bytes,
    /// The dynamic tag; empty if there is none.
    pub tag: Bytes,
    /// Its windows; a timer in several stands for one in each.
    pub windows: WindowSet,
    /// Set, or cleared.
    pub set: Option<TimerSet>,
}

impl TimerCoder {
    /// Reads all timers of a message; keys and tags share its memory.
    ///
    /// # Errors
    /// `CODER_MALFORMED` when one is cut off.
    pub fn decode(&self, message: &Bytes) -> Result<Vec<WireTimer>> {
        let mut timers = Vec::new();
        let mut rest = message.as_ref();
        while !rest.is_empty() {
            let after = self.key.skip(rest)?;
            let nested = rest.get(..rest.len() - after.len()).unwrap_or_default();
            let key = message.slice_ref(self.key.content(nested)?);
            let (tag, after) = take_prefixed(after)?;
            let (windows, after) = self.window.read_set(after)?;
            let (clear, after) = take(after, 1)?;
            let (set, after) = if clear == [0] { read_set(after)? } else { (None, after) };
            timers.push(WireTimer { key, tag: message.slice_ref(tag), windows, set });
            rest = after;
        }
        Ok(timers)
    }

    /// Appends a timer.
    pub fn encode(&self, timer: &WireTimer, out: &mut Vec<u8>) {
        self.key.write_nested(out, &timer.key);
        write_varint(out, timer.tag.len() as u64);
        out.extend_from_slice(&timer.tag);
        self.window.write_set(&timer.windows, out);
        out.push(u8::from(timer.set.is_none()));
        if let Some(set) = &timer.set {
            instant::write_millis(set.fire, out);
            match set.hold {
                NO_OUTPUT => instant::write_millis(NO_OUTPUT.0, out),
                hold => instant::write(hold, out),
            }
            pane::write(&set.pane, out);
        }
    }
}

fn read_set(bytes: &[u8]) -> Result<(Option<TimerSet>, &[u8])> {
    let (fire, rest) = instant::read_millis(bytes)?;
    let (hold, rest) = instant::read_millis(rest)?;
    let hold = if hold == NO_OUTPUT.0 { NO_OUTPUT } else { EventTime(hold).clamped() };
    let (pane, rest) = pane::read(rest)?;
    Ok((Some(TimerSet { fire, hold, pane }), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::batch::Pane;
    use thalweg_core::window::Window;

    fn coder() -> TimerCoder {
        TimerCoder { key: Arc::new(Coder::LengthPrefix), window: WindowCoder::Interval }
    }

    #[test]
    fn set_and_cleared_timers_come_back() -> Result<()> {
        let window = Window::Interval { start: EventTime(0), end: EventTime(60_000) };
        let set = TimerSet { fire: -5, hold: EventTime(59_999), pane: Pane::NO_FIRING };
        let of = |set| WireTimer {
            key: Bytes::from_static(b"k"),
            tag: Bytes::from_static(b"tag"),
            windows: [window.clone()].into_iter().collect(),
            set,
        };
        let timers = vec![of(Some(set)), of(None), of(Some(TimerSet { hold: NO_OUTPUT, ..set }))];
        let mut bytes = Vec::new();
        timers.iter().for_each(|t| coder().encode(t, &mut bytes));
        assert_eq!(coder().decode(&Bytes::from(bytes))?, timers);
        Ok(())
    }

    #[test]
    fn python_timers_are_read_and_written_back() -> Result<()> {
        // printed by apache-beam 2.77.0: _TimerCoder(StrUtf8Coder(), IntervalWindowCoder()).get_impl().encode_nested of
        // Timer('k', 'tag', [0 s, 60 s), fire 30 s, hold 20 s, no pane), and of that key's cleared timer without a tag
        const PYTHON: &[u8] = b"\x01\x6b\x03\x74\x61\x67\x00\x00\x00\x01\
            \x80\x00\x00\x00\x00\x00\xea\x60\xe0\xd4\x03\x00\
            \x80\x00\x00\x00\x00\x00\x75\x30\x80\x00\x00\x00\x00\x00\x4e\x20\x0f\
            \x01\x6b\x00\x00\x00\x00\x01\x80\x00\x00\x00\x00\x00\xea\x60\xe0\xd4\x03\x01";
        let timers = coder().decode(&Bytes::from_static(PYTHON))?;
        let set = TimerSet { fire: 30_000, hold: EventTime(20_000), pane: Pane::NO_FIRING };
        assert_eq!(
            timers.iter().map(|t| (t.tag.as_ref(), t.set)).collect::<Vec<_>>(),
            [(&b"tag"[..], Some(set)), (b"", None)]
        );
        let mut bytes = Vec::new();
        timers.iter().for_each(|t| coder().encode(t, &mut bytes));
        assert_eq!(bytes, PYTHON);
        Ok(())
    }

    #[test]
    fn a_cut_off_timer_is_an_error() {
        assert!(coder().decode(&Bytes::from_static(b"\x01k\x00\0\0\0\x01")).is_err());
    }
}
