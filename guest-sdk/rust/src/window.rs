//! Windows, and WindowFns: which windows an element gets, and how the windows of a key merge.

use crate::capability::{self, Capability};
use crate::context::failed_section;
use crate::dofn::{EventTime, Failure};
use crate::element::{Element, View};
use crate::frame::{FrameWriter, Input, pack, section};
use crate::host::Host;
use crate::instance::{Instance, bad_frame, no_operation};
use crate::wire::{self, Malformed};

/// A window of time: from a time to before another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Interval {
    /// The first time in it.
    pub start: EventTime,
    /// The first time behind it.
    pub end: EventTime,
}

impl Interval {
    /// A window.
    #[must_use]
    pub const fn new(start_ms: i64, end_ms: i64) -> Self {
        Self { start: EventTime(start_ms), end: EventTime(end_ms) }
    }

    /// Reads Beam's encoding, `beam:coder:interval_window:v1`.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        const BAD: Malformed = Malformed("an interval window");
        let (end, mut rest) = bytes.split_first_chunk::<8>().ok_or(BAD)?;
        let end = (u64::from_be_bytes(*end) ^ (1 << 63)).cast_signed();
        let span = i64::try_from(wire::get_varint(&mut rest)?).map_err(|_| BAD)?;
        let start = end.checked_sub(span).filter(|_| rest.is_empty()).ok_or(BAD)?;
        Ok(Self::new(start, end))
    }

    /// Appends Beam's encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend((self.end.0.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        wire::put_varint(self.end.0.wrapping_sub(self.start.0).cast_unsigned(), out);
    }
}

/// A window of an element.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Window {
    /// All of time.
    Global,
    /// A window of time.
    Interval(Interval),
    /// A window of another kind, as the pipeline's coder encodes it.
    Other(Vec<u8>),
}

impl Window {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match Interval::decode(bytes) {
            _ if bytes.is_empty() => Self::Global,
            Ok(interval) => Self::Interval(interval),
            Err(_) => Self::Other(bytes.to_vec()),
        }
    }

    /// Appends it as an entry of a window set: its length and encoding.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; 4]);
        match self {
            Self::Global => {}
            Self::Interval(interval) => interval.encode(out),
            Self::Other(bytes) => out.extend_from_slice(bytes),
        }
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// A window that others merge into: the window, and the places of those that it takes the place of.
pub type Merged = (Interval, Vec<usize>);

/// Gives elements their windows.
///
/// ```
/// use thalweg_udf::{EventTime, Failure, Interval, View, WindowFn};
///
/// /// Windows of one minute.
/// struct Minutes;
///
/// impl WindowFn for Minutes {
///     type In = Vec<u8>;
///
///     fn open(_config: &str) -> Result<Self, Failure> {
///         Ok(Self)
///     }
///     fn assign(&mut self, time: EventTime, _: Option<&[u8]>, windows: &mut Vec<Interval>) -> Result<(), Failure> {
///         let start = time.0.div_euclid(60_000) * 60_000;
///         windows.push(Interval::new(start, start + 60_000));
///         Ok(())
///     }
/// }
///
/// thalweg_udf::export!(windowfn "minutes" => Minutes);
/// # fn main() {}
/// ```
pub trait WindowFn: Sized + Send + 'static {
    /// The elements, if it looks at them.
    type In: Element;

    /// Whether it looks at the elements. Else it sees their times alone.
    const SEES_ELEMENTS: bool = false;

    /// Whether the windows of a key merge.
    const MERGES: bool = false;

    /// What of the machine it wants to see; nothing without it.
    const CAPABILITIES: &'static [Capability] = &[];

    /// Makes an instance. `config` is the JSON text of `config:` in the pipeline, empty if there is none.
    fn open(config: &str) -> Result<Self, Failure>;

    /// Appends the windows of an element, at least one. `element` is there if [`Self::SEES_ELEMENTS`].
    ///
    /// # Errors
    /// An element that cannot have windows fails the bundle.
    fn assign(
        &mut self,
        time: EventTime,
        element: Option<View<'_, Self::In>>,
        windows: &mut Vec<Interval>,
    ) -> Result<(), Failure>;

    /// Which of a key's windows become one; windows that are not named stay as they are. [`merge_overlapping`] is what
    /// sessions want, and what happens without a `merge` of one's own.
    fn merge(&mut self, windows: &[Interval]) -> Vec<Merged> {
        merge_overlapping(windows)
    }
}

/// Merges windows that share an instant into the window that spans them.
#[must_use]
pub fn merge_overlapping(windows: &[Interval]) -> Vec<Merged> {
    let mut order: Vec<usize> = (0..windows.len()).collect();
    order.sort_by_key(|i| windows[*i]);
    let mut merged: Vec<Merged> = Vec::new();
    for i in order {
        match merged.last_mut() {
            Some((into, members)) if windows[i].start < into.end => {
                into.end = into.end.max(windows[i].end);
                members.push(i);
            }
            _ => merged.push((windows[i], vec![i])),
        }
    }
    merged.retain(|(_, members)| members.len() > 1);
    merged
}

const ASSIGN: u32 = 32;
const MERGE: u32 = 33;

pub fn describe<W: WindowFn>(json: &mut String) {
    json.push_str(r#","kind":"windowfn","input":"#);
    W::In::coder(json);
    json.push_str(r#","outputs":[]"#);
    for (wanted, text) in [(W::MERGES, r#","merges":true"#), (W::SEES_ELEMENTS, r#","element":true"#)] {
        if wanted {
            json.push_str(text);
        }
    }
    capability::describe(W::CAPABILITIES, json);
}

/// A WindowFn that is open.
pub struct Runner<W>(W);

impl<W: WindowFn> Runner<W> {
    pub fn open(config: &str, _host: Host) -> Result<Self, Failure> {
        W::open(config).map(Self)
    }

    fn assign(&mut self, input: &Input<'_>) -> Result<Vec<u8>, Failure> {
        let (mut index, mut ranges, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut failed, mut windows, mut source) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..input.rows {
            let (key, value) = input.element(row).map_err(|_| bad_frame("input frame"))?;
            windows.clear();
            let element = if W::SEES_ELEMENTS { W::In::decode_columns(key, value).map(Some) } else { Ok(None) };
            let time = EventTime(input.time(row));
            let done = element.map_err(Failure::from).and_then(|e| self.0.assign(time, e, &mut windows));
            let none = || Failure::new("NO_WINDOW", "the element has no window");
            if let Err(failure) = done.and_then(|()| if windows.is_empty() { Err(none()) } else { Ok(()) }) {
                failed.push((row as u32, failure));
                windows.push(Interval::new(0, 1));
            }
            let start = bytes.len();
            windows.iter().for_each(|window| Window::Interval(*window).put(&mut bytes));
            ranges.push(pack(start, bytes.len()));
            index.push((row as u32).to_le_bytes());
            source.push((row as u32).to_le_bytes());
        }
        let mut frame = FrameWriter::new(input.rows, input.rows * 16 + bytes.len());
        frame.section(section::SOURCE, &[source.as_flattened()]);
        frame.section(section::WINDOWS, &[index.as_flattened()]);
        frame.table(section::WINDOW_SETS, [ranges.len() as u32, 0], ranges.as_flattened(), &bytes);
        failed_section(&failed, &mut frame);
        Ok(frame.finish())
    }

    fn merge(&mut self, input: &Input<'_>) -> Result<Vec<u8>, Failure> {
        let (mut values, mut arena, mut target) = (Vec::new(), Vec::new(), vec![[0; 4]; input.rows]);
        let mut push = |window: &Interval| {
            let start = arena.len();
            window.encode(&mut arena);
            values.push(pack(start, arena.len()));
            (values.len() as u32 - 1).to_le_bytes()
        };
        let mut first = 0;
        while first < input.rows {
            let group = input.group_of(first);
            let end = (first..input.rows).find(|row| input.group_of(*row) != group).unwrap_or(input.rows);
            let read = |row| {
                Interval::decode(input.element(row).map_err(|_| bad_frame("input frame"))?.1).map_err(Failure::from)
            };
            let windows = (first..end).map(read).collect::<Result<Vec<_>, _>>()?;
            let mut places: Vec<Option<[u8; 4]>> = vec![None; windows.len()];
            for (into, members) in self.0.merge(&windows) {
                let place = push(&into);
                for member in members {
                    let known = places.get_mut(member).filter(|place| place.is_none());
                    let twice = || Failure::new("MERGE", "a merge names a window that is not there, or twice");
                    *known.ok_or_else(twice)? = Some(place);
                }
            }
            for (i, window) in windows.iter().enumerate() {
                target[first + i] = places[i].unwrap_or_else(|| push(window));
            }
            first = end;
        }
        let mut frame = FrameWriter::new(values.len(), values.len() * 8 + arena.len() + target.len() * 4);
        frame.section(section::VALUE, &[values.as_flattened()]);
        frame.section(section::ARENA, &[&arena]);
        frame.section(section::TARGET, &[target.as_flattened()]);
        Ok(frame.finish())
    }
}

impl<W: WindowFn> Instance for Runner<W> {
    fn call(&mut self, op: u32, input: &[u8]) -> Result<Vec<u8>, Failure> {
        let input = Input::parse(input).map_err(|_| bad_frame("input frame"))?;
        match op {
            ASSIGN => self.assign(&input),
            MERGE if W::MERGES => self.merge(&input),
            _ => Err(no_operation("WindowFn", op)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_coded_as_beam_codes_them() {
        let (hour, mut out) = (Interval::new(0, 3_600_000), Vec::new());
        hour.encode(&mut out);
        assert_eq!(out, [128, 0, 0, 0, 0, 54, 238, 128, 128, 221, 219, 1]);
        assert_eq!(Interval::decode(&out), Ok(hour));
        assert_eq!((Window::of(&out), Window::of(&[])), (Window::Interval(hour), Window::Global));
    }

    #[test]
    fn windows_that_only_touch_stay_apart() {
        let windows = [Interval::new(20, 30), Interval::new(0, 10), Interval::new(5, 15), Interval::new(15, 20)];
        assert_eq!(merge_overlapping(&windows), [(Interval::new(0, 15), vec![1, 2])]);
    }
}
