//! Ground floor: event time and processing time are different types, both milliseconds since the Unix epoch.
//!
//! Source: Beam's `BoundedWindow` limits. Core never asks a clock: processing time enters with events.

use std::fmt;

/// When something happened, by the data's own account, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventTime(pub i64);

/// When something is processed, by the clock of the process, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ProcessingTime(pub i64);

impl EventTime {
    /// Beam's smallest timestamp: `-9223372036854775` ms.
    pub const MIN: Self = Self(-9_223_372_036_854_775);
    /// Beam's largest timestamp, the end of time: `9223372036854775` ms.
    pub const MAX: Self = Self(9_223_372_036_854_775);
    /// The last timestamp inside the global window, one day before [`EventTime::MAX`].
    pub const GLOBAL_WINDOW_MAX: Self = Self(9_223_371_950_454_775);

    /// Moves by `ms`, staying inside Beam's range.
    #[must_use]
    pub fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms)).clamped()
    }

    /// Whether a watermark has passed this time: nothing that happened then is still to come. A watermark only promises that
    /// nothing *earlier* comes, so equality is not enough, but at the end of time.
    #[must_use]
    pub fn is_passed_by(self, watermark: Self) -> bool {
        watermark > self || watermark == Self::MAX
    }

    /// Brings a foreign number into Beam's range.
    #[must_use]
    pub fn clamped(self) -> Self {
        Self(self.0.clamp(Self::MIN.0, Self::MAX.0))
    }
}

impl ProcessingTime {
    /// Moves by `ms`.
    #[must_use]
    pub fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl fmt::Debug for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("-inf"),
            Self::MAX => f.write_str("+inf"),
            Self(ms) => write!(f, "{ms}ms"),
        }
    }
}
