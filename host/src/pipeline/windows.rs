//! The window functions a front door can name, and their windowing strategies.

use prost::Message;
use thalweg_proto::pipeline::{
    FixedWindowsPayload, FunctionSpec, SessionWindowsPayload, SlidingWindowsPayload, Trigger, WindowIntoPayload,
    WindowingStrategy, accumulation_mode, closing_behavior, merge_status, on_time_behavior, output_time, trigger,
};

/// How elements get their windows; all numbers are milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Windows {
    /// One window.
    Global,
    /// Windows of one size.
    Fixed {
        /// Length, at least 1.
        size: i64,
        /// Shift.
        offset: i64,
    },
    /// Windows of one size that overlap.
    Sliding {
        /// Length, at least 1.
        size: i64,
        /// Distance of two starts, at least 1.
        period: i64,
        /// Shift.
        offset: i64,
    },
    /// Windows that grow while the next element comes within the gap.
    Sessions {
        /// At least 1.
        gap: i64,
    },
    /// Windows that a component assigns.
    Component {
        /// Place of the call among those of the [`PipelineBuilder`](super::PipelineBuilder).
        call: u32,
        /// Whether they merge.
        merges: bool,
    },
}

impl Windows {
    /// Whether windows are intervals: they have a start.
    #[must_use]
    pub fn is_interval(self) -> bool {
        self != Self::Global
    }

    /// The window function. That of a component has its payload from the builder.
    #[must_use]
    pub fn function(self) -> FunctionSpec {
        let (urn, payload) = match self {
            Self::Global => ("beam:window_fn:global_windows:v1", Vec::new()),
            Self::Fixed { size, offset } => {
                let payload = FixedWindowsPayload { size: Some(duration(size)), offset: Some(timestamp(offset)) };
                ("beam:window_fn:fixed_windows:v1", payload.encode_to_vec())
            }
            Self::Sliding { size, period, offset } => {
                let (size, period, offset) = (Some(duration(size)), Some(duration(period)), Some(timestamp(offset)));
                ("beam:window_fn:sliding_windows:v1", SlidingWindowsPayload { size, offset, period }.encode_to_vec())
            }
            Self::Sessions { gap } => {
                let payload = SessionWindowsPayload { gap_size: Some(duration(gap)) };
                ("beam:window_fn:session_windows:v1", payload.encode_to_vec())
            }
            Self::Component { .. } => (super::urn::WASM_WINDOW_FN, Vec::new()),
        };
        FunctionSpec { urn: urn.to_owned(), payload: payload.into() }
    }

    /// Payload of the transform that assigns these windows.
    #[must_use]
    pub fn payload(self) -> Vec<u8> {
        WindowIntoPayload { window_fn: Some(self.function()) }.encode_to_vec()
    }

    /// The strategy: default trigger, panes of what is new, results at the end of the window, no lateness.
    pub(super) fn strategy(self, window_coder_id: &str) -> WindowingStrategy {
        let merging = matches!(self, Self::Sessions { .. } | Self::Component { merges: true, .. });
        let merge = if merging { merge_status::Enum::NeedsMerge } else { merge_status::Enum::NonMerging };
        WindowingStrategy {
            window_fn: Some(self.function()),
            merge_status: merge as i32,
            window_coder_id: window_coder_id.to_owned(),
            trigger: Some(Trigger { trigger: Some(trigger::Trigger::Default(trigger::Default {})) }),
            accumulation_mode: accumulation_mode::Enum::Discarding as i32,
            output_time: output_time::Enum::EndOfWindow as i32,
            closing_behavior: closing_behavior::Enum::EmitIfNonempty as i32,
            allowed_lateness: 0,
            on_time_behavior: on_time_behavior::Enum::FireAlways as i32,
            assigns_to_one_window: !matches!(self, Self::Sliding { .. } | Self::Component { .. }),
            environment_id: String::new(),
        }
    }

    /// A name that tells strategies apart.
    pub(super) fn id(self) -> String {
        match self {
            Self::Global => "global".to_owned(),
            Self::Fixed { size, offset: 0 } => format!("fixed_{size}ms"),
            Self::Fixed { size, offset } => format!("fixed_{size}ms_offset_{offset}ms"),
            Self::Sliding { size, period, offset } => format!("sliding_{size}ms_every_{period}ms_offset_{offset}ms"),
            Self::Sessions { gap } => format!("sessions_{gap}ms"),
            Self::Component { call, .. } => format!("component_{call}"),
        }
    }
}

fn duration(ms: i64) -> prost_types::Duration {
    prost_types::Duration { seconds: ms.div_euclid(1000), nanos: ms.rem_euclid(1000) as i32 * 1_000_000 }
}

fn timestamp(ms: i64) -> prost_types::Timestamp {
    let prost_types::Duration { seconds, nanos } = duration(ms);
    prost_types::Timestamp { seconds, nanos }
}
