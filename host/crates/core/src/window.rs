//! Ground floor: windows, window functions and the windowing strategy of a collection.
//!
//! Source: `beam:window_fn:{global_windows,fixed_windows,sliding_windows,session_windows}:v1` and
//! `WindowingStrategy`. A window of an SDK-defined function stays opaque bytes; the SDK merges and maps it.

use crate::time::EventTime;
use bytes::Bytes;
use smallvec::SmallVec;

/// One window.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub enum Window {
    /// All of time.
    #[default]
    Global,
    /// `[start, end)`.
    Interval {
        /// First instant inside.
        start: EventTime,
        /// First instant after.
        end: EventTime,
    },
    /// A window of an SDK-defined function.
    Custom {
        /// Last instant inside, as far as the SDK's coder tells.
        max: EventTime,
        /// The SDK's encoding, which is its identity.
        encoded: Bytes,
    },
}

/// Windows that an element may be in at most: 30 days every minute are 43,200, a day every second 86,400. Each of them is an entry in
/// memory, and for every key of a grouping one in its state.
pub const WINDOWS_PER_ELEMENT_MAX: i64 = 100_000;

/// The longest window, in milliseconds: as long as all of Beam's time.
pub const WINDOW_LENGTH_MAX: i64 = EventTime::MAX.0 - EventTime::MIN.0;

impl Window {
    /// The window `[start, end)`, if time may have one: it ends after time begins, and no later than the longest window of the last timestamp. Standard
    /// functions do not stop at the ends of time, so windows of the first and last timestamps reach beyond them.
    #[must_use]
    pub fn interval(start: i64, end: i64) -> Option<Self> {
        let (first, last) = (EventTime::MIN.0 - WINDOW_LENGTH_MAX, EventTime::MAX.0 + WINDOW_LENGTH_MAX);
        let fits = first <= start && start <= end && EventTime::MIN.0 < end && end <= last;
        fits.then_some(Self::Interval { start: EventTime(start), end: EventTime(end) })
    }

    /// The last timestamp inside the window.
    #[must_use]
    pub fn max_timestamp(&self) -> EventTime {
        match self {
            Self::Global => EventTime::GLOBAL_WINDOW_MAX,
            Self::Interval { end, .. } => EventTime(end.0.saturating_sub(1)),
            Self::Custom { max, .. } => *max,
        }
    }
}

/// The windows of one element; nearly always one.
pub type WindowSet = SmallVec<[Window; 1]>;

/// How elements get their windows. Lengths are at most [`WINDOW_LENGTH_MAX`] and shifts inside Beam's time; an element is in
/// [`WINDOWS_PER_ELEMENT_MAX`] windows at most. Whoever makes one of a foreign description sees to that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WindowFn {
    /// One window for everything.
    Global,
    /// Windows of `size` ms, shifted by `offset` ms.
    Fixed {
        /// Length in milliseconds, at least 1.
        size: i64,
        /// Shift in milliseconds.
        offset: i64,
    },
    /// Windows of `size` ms, one every `period` ms.
    Sliding {
        /// Length in milliseconds, at least 1.
        size: i64,
        /// Distance of two starts in milliseconds, at least 1.
        period: i64,
        /// Shift in milliseconds.
        offset: i64,
    },
    /// A proto-window of `gap` ms per element; overlapping ones of a key merge.
    Sessions {
        /// Length in milliseconds, at least 1.
        gap: i64,
    },
    /// Defined in the SDK: assigned, merged and mapped there.
    Custom {
        /// Whether windows of one key have to be merged through the SDK.
        merging: bool,
    },
}

impl WindowFn {
    /// The windows of an element at `time`; empty for [`WindowFn::Custom`], which only the SDK can answer.
    ///
    /// ```
    /// use thalweg_core::{time::EventTime, window::{Window, WindowFn}};
    /// let hour = WindowFn::Fixed { size: 3_600_000, offset: 0 };
    /// let w = hour.assign(EventTime(-1));
    /// assert_eq!(w[0], Window::Interval { start: EventTime(-3_600_000), end: EventTime(0) });
    /// ```
    #[must_use]
    pub fn assign(&self, time: EventTime) -> WindowSet {
        let mut windows = WindowSet::new();
        match *self {
            Self::Global => windows.push(Window::Global),
            Self::Fixed { size, offset } => {
                let start = time.0 - (time.0 - offset).rem_euclid(size);
                windows.push(interval(start, size));
            }
            Self::Sliding { size, period, offset } => {
                let mut start = time.0 - (time.0 - offset).rem_euclid(period);
                while start > time.0 - size {
                    windows.push(interval(start, size));
                    start -= period;
                }
            }
            Self::Sessions { gap } => windows.push(interval(time.0, gap)),
            Self::Custom { .. } => {}
        }
        windows
    }

    /// The window of a side input with these windows that belongs to a window of the main input: of those that the end of that one is in
    /// the earliest, as in all of Beam's SDKs. `None` where only the SDK can say.
    ///
    /// ```
    /// use thalweg_core::{time::EventTime, window::{Window, WindowFn}};
    /// let last_minute = WindowFn::Sliding { size: 60_000, period: 10_000, offset: 0 };
    /// let main = Window::Interval { start: EventTime(0), end: EventTime(10_000) };
    /// let side = Window::Interval { start: EventTime(-50_000), end: EventTime(10_000) };
    /// assert_eq!(last_minute.side_of(&main), Some(side));
    /// ```
    #[must_use]
    pub fn side_of(&self, main: &Window) -> Option<Window> {
        if self.merges() {
            return None;
        }
        let time = main.max_timestamp();
        match *self {
            // windows that all cover the time, of which there may be very many, are not made for one of them
            Self::Sliding { size, period, offset } => {
                let since = (time.0 - offset).rem_euclid(period);
                let older = (since < size).then(|| (size - since - 1) / period)?;
                Some(interval(time.0 - since - older * period, size))
            }
            _ => self.assign(time).into_iter().next_back(),
        }
    }

    /// Whether windows of one key merge.
    #[must_use]
    pub fn merges(&self) -> bool {
        matches!(self, Self::Sessions { .. } | Self::Custom { merging: true })
    }
}

fn interval(start: i64, size: i64) -> Window {
    Window::Interval { start: EventTime(start), end: EventTime(start.saturating_add(size)) }
}

/// Result of merging: each new window with the windows it takes the place of.
pub type Merges = Vec<(Window, Vec<Window>)>;

/// Merges overlapping intervals, as sessions do. Windows that stay alone are not listed.
#[must_use]
pub fn merge_overlapping(windows: &[Window]) -> Merges {
    let mut spans: Vec<(i64, i64, &Window)> = windows
        .iter()
        .filter_map(|w| match w {
            Window::Interval { start, end } => Some((start.0, end.0, w)),
            _ => None,
        })
        .collect();
    spans.sort_unstable_by_key(|s| (s.0, s.1));
    let mut merges: Merges = Vec::new();
    let mut open: Option<(i64, i64, Vec<Window>)> = None;
    for (start, end, window) in spans {
        match &mut open {
            Some((_, last, members)) if start < *last => {
                *last = end.max(*last);
                members.push(window.clone());
            }
            _ => {
                close(&mut merges, open.take());
                open = Some((start, end, vec![window.clone()]));
            }
        }
    }
    close(&mut merges, open);
    merges
}

fn close(merges: &mut Merges, open: Option<(i64, i64, Vec<Window>)>) {
    if let Some((start, end, members)) = open
        && members.len() > 1
    {
        merges.push((Window::Interval { start: EventTime(start), end: EventTime(end) }, members));
    }
}

/// Whether a pane holds only what is new or everything so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accumulation {
    /// A pane holds what came since the last one.
    Discarding,
    /// A pane holds everything of the window so far.
    Accumulating,
}

/// The timestamp of a grouped result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutputTime {
    /// The window's last instant.
    EndOfWindow,
    /// The latest element of the pane.
    Latest,
    /// The earliest element of the pane.
    Earliest,
}

/// When a grouping speaks: the tree of Beam's `Trigger`. A trigger that has finished speaks no more, unless one that
/// repeats it stands above it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// When all of these could.
    AfterAll(Vec<Self>),
    /// When any of these does.
    AfterAny(Vec<Self>),
    /// As the first of these that has not finished.
    AfterEach(Vec<Self>),
    /// Once when the watermark passes the end of the window, perhaps before and after it, too.
    AfterEndOfWindow {
        /// Repeated before the end of the window.
        early: Option<Box<Self>>,
        /// Repeated after it.
        late: Option<Box<Self>>,
    },
    /// Once at a processing time that is computed from that of the pane's first element.
    AfterProcessingTime(Vec<TimestampTransform>),
    /// Once when all that was sent at the processing time of the pane's first element has arrived.
    AfterSynchronizedProcessingTime,
    /// With every element.
    Always,
    /// When the watermark passes the end of the window, then for every late element.
    Default,
    /// Once with so many elements.
    ElementCount(u32),
    /// Not before the window expires.
    Never,
    /// As `main`, until `finally` speaks for the last time.
    OrFinally {
        /// Speaks.
        main: Box<Self>,
        /// Ends it.
        finally: Box<Self>,
    },
    /// Again and again.
    Repeat(Box<Self>),
}

/// A step of computing a processing time. Source: Beam's `TimestampTransform`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampTransform {
    /// So many milliseconds later.
    Delay(i64),
    /// The next multiple of `period` milliseconds, counted from `offset`; a multiple stays as it is.
    AlignTo {
        /// Distance of two such times in milliseconds, at least 1.
        period: i64,
        /// Milliseconds since the epoch.
        offset: i64,
    },
}

/// Whether something is said although there is nothing new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaks {
    /// An empty pane, too.
    Always,
    /// Only what has elements.
    IfNonempty,
}

/// What becomes of elements that come when the trigger of their key and window has finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterFinish {
    /// They are dropped and counted.
    Drop,
    /// They go out when the window expires: of a bounded collection, and in the global window, nothing is lost to a trigger.
    Keep,
}

/// Windowing of a collection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Windowing {
    /// Assigns windows.
    pub window_fn: WindowFn,
    /// When panes fire.
    pub trigger: Trigger,
    /// What panes hold.
    pub accumulation: Accumulation,
    /// Timestamp of panes.
    pub output_time: OutputTime,
    /// How long after its end a window still takes elements, in milliseconds.
    pub allowed_lateness: i64,
    /// Whether the pane that the end of the window asks for may be empty.
    pub on_time: Speaks,
    /// Whether the last pane, when the window expires, may be empty.
    pub closing: Speaks,
    /// What becomes of elements behind a finished trigger.
    pub after_finish: AfterFinish,
}

impl Windowing {
    /// Beam's default: global window, default trigger, discarding, end of window, no lateness, an on-time pane even if it is empty.
    #[must_use]
    pub fn global() -> Self {
        Self::of(WindowFn::Global)
    }

    /// The default strategy with another window function.
    #[must_use]
    pub fn of(window_fn: WindowFn) -> Self {
        Self {
            window_fn,
            trigger: Trigger::Default,
            accumulation: Accumulation::Discarding,
            output_time: OutputTime::EndOfWindow,
            allowed_lateness: 0,
            on_time: Speaks::Always,
            closing: Speaks::IfNonempty,
            after_finish: AfterFinish::Drop,
        }
    }

    /// The default strategy in these windows with another trigger.
    #[must_use]
    pub fn with_trigger(self, trigger: Trigger) -> Self {
        Self { trigger, ..self }
    }

    /// From when on nothing of `window` can be added any more.
    #[must_use]
    pub fn expiry(&self, window: &Window) -> EventTime {
        window.max_timestamp().plus(self.allowed_lateness)
    }

    /// Whether nothing of `window` can be added any more.
    #[must_use]
    pub fn is_expired(&self, window: &Window, watermark: EventTime) -> bool {
        self.expiry(window).is_passed_by(watermark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn w(start: i64, end: i64) -> Window {
        Window::Interval { start: EventTime(start), end: EventTime(end) }
    }

    #[test]
    fn sliding_windows_cover_the_instant() {
        let f = WindowFn::Sliding { size: 10, period: 5, offset: 0 };
        assert_eq!(f.assign(EventTime(12)).to_vec(), vec![w(10, 20), w(5, 15)]);
    }

    #[test]
    fn the_window_of_a_side_input_is_the_earliest_of_those_that_cover_the_end() {
        for (size, period, offset) in [(10, 5, 0), (7, 5, 1), (2, 5, 0), (5, 5, -3), (1, 1, 9), (100, 7, 13)] {
            let function = WindowFn::Sliding { size, period, offset };
            for end in -60..60 {
                let all = function.assign(EventTime(end - 1));
                assert_eq!(function.side_of(&w(end - 3, end)).as_ref(), all.last(), "{function:?} at {end}");
            }
        }
    }

    #[test]
    fn the_widest_windows_are_found_without_making_them_all() {
        let most = WindowFn::Sliding { size: WINDOW_LENGTH_MAX, period: 1, offset: EventTime::MIN.0 };
        let side = most.side_of(&Window::Global).expect("one");
        let start = EventTime::GLOBAL_WINDOW_MAX.0 - WINDOW_LENGTH_MAX + 1;
        assert_eq!(side, w(start, start + WINDOW_LENGTH_MAX));
        let latest = w(0, EventTime::MAX.0 + WINDOW_LENGTH_MAX);
        assert!(most.side_of(&latest).is_some(), "the latest end a window may have");
    }

    #[test]
    fn windows_reach_beyond_time_only_as_far_as_functions_put_them() {
        let (min, max) = (EventTime::MIN.0, EventTime::MAX.0);
        let day = WindowFn::Fixed { size: 86_400_000, offset: 0 };
        for time in [EventTime::MIN, EventTime::GLOBAL_WINDOW_MAX, EventTime::MAX] {
            for function in [&day, &WindowFn::Sessions { gap: WINDOW_LENGTH_MAX }] {
                let Some(Window::Interval { start, end }) = function.assign(time).first().cloned() else {
                    panic!("one")
                };
                assert_eq!(Window::interval(start.0, end.0), Some(w(start.0, end.0)), "{function:?} at {time:?}");
            }
        }
        for (start, end) in
            [(i64::MIN, 0), (0, i64::MAX), (i64::MIN, i64::MIN), (i64::MAX, i64::MIN), (2, 1), (min - 1, min)]
        {
            assert_eq!(Window::interval(start, end), None, "{start} {end}");
        }
        assert_eq!(Window::interval(max, max + 1), Some(w(max, max + 1)));
        assert_eq!(w(i64::MIN, i64::MIN).max_timestamp(), EventTime(i64::MIN));
    }

    #[test]
    fn touching_sessions_stay_apart_and_overlapping_ones_merge() {
        let merges = merge_overlapping(&[w(0, 10), w(10, 20), w(15, 30), w(29, 31)]);
        assert_eq!(merges, vec![(w(10, 31), vec![w(10, 20), w(15, 30), w(29, 31)])]);
    }
}
