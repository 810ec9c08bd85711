//! Windowing strategies: from the proto to the engine's [`Windowing`].

use crate::error::{Result, payload, refuse};
use crate::urn::window_fn as urn;
use prost_types::{Duration, Timestamp};
use thalweg_core::window::{Accumulation, OutputTime, Trigger, WindowFn, Windowing};
use thalweg_proto::pipeline::{
    self, FixedWindowsPayload, FunctionSpec, SessionWindowsPayload, SlidingWindowsPayload, WindowingStrategy,
    accumulation_mode, closing_behavior, merge_status, on_time_behavior, output_time, trigger::Trigger as Proto,
};

/// The windowing of a strategy.
///
/// # Errors
/// `PIPELINE_WINDOWING` for retractions and windows that are not of whole milliseconds.
pub fn windowing(strategy: &WindowingStrategy) -> Result<Windowing> {
    let spec = strategy.window_fn.clone().unwrap_or_default();
    let status = merge_status::Enum::try_from(strategy.merge_status).unwrap_or(merge_status::Enum::Unspecified);
    let window_fn = match (window_fn(&spec)?, status) {
        // windows that were merged before stay as they are
        (Some(window_fn), merge_status::Enum::AlreadyMerged) if window_fn.merges() => {
            WindowFn::Custom { merging: false }
        }
        (Some(window_fn), _) => window_fn,
        (None, status) => WindowFn::Custom { merging: status == merge_status::Enum::NeedsMerge },
    };
    if strategy.accumulation_mode == accumulation_mode::Enum::Retracting as i32 {
        return Err(refuse(
            "PIPELINE_WINDOWING",
            "a windowing strategy asks for retractions, which no Beam runner has",
        )
        .help("use the accumulation mode DISCARDING or ACCUMULATING"));
    }
    let accumulating = strategy.accumulation_mode == accumulation_mode::Enum::Accumulating as i32;
    Ok(Windowing {
        window_fn,
        trigger: trigger(strategy.trigger.as_ref(), strategy.allowed_lateness),
        accumulation: if accumulating { Accumulation::Accumulating } else { Accumulation::Discarding },
        output_time: match output_time::Enum::try_from(strategy.output_time) {
            Ok(output_time::Enum::LatestInPane) => OutputTime::Latest,
            Ok(output_time::Enum::EarliestInPane) => OutputTime::Earliest,
            _ => OutputTime::EndOfWindow,
        },
        allowed_lateness: strategy.allowed_lateness.max(0),
    })
}

/// The proto of the default windowing, with the id of a global window coder.
#[must_use]
pub fn global_strategy(window_coder_id: &str) -> WindowingStrategy {
    WindowingStrategy {
        window_fn: Some(FunctionSpec { urn: urn::GLOBAL.to_owned(), ..Default::default() }),
        merge_status: merge_status::Enum::NonMerging as i32,
        window_coder_id: window_coder_id.to_owned(),
        trigger: Some(pipeline::Trigger { trigger: Some(Proto::Default(pipeline::trigger::Default {})) }),
        accumulation_mode: accumulation_mode::Enum::Discarding as i32,
        output_time: output_time::Enum::EndOfWindow as i32,
        closing_behavior: closing_behavior::Enum::EmitIfNonempty as i32,
        on_time_behavior: on_time_behavior::Enum::FireAlways as i32,
        assigns_to_one_window: true,
        ..Default::default()
    }
}

/// A standard window function; `None` for one of an SDK.
///
/// # Errors
/// `PIPELINE_WINDOWING` for sizes that are not at least one millisecond, or not of whole milliseconds.
pub fn window_fn(spec: &FunctionSpec) -> Result<Option<WindowFn>> {
    let bytes = &spec.payload;
    Ok(Some(match spec.urn.as_str() {
        urn::GLOBAL => WindowFn::Global,
        urn::FIXED => {
            let p: FixedWindowsPayload = payload(bytes, "fixed windows")?;
            WindowFn::Fixed { size: size(p.size)?, offset: offset(p.offset)? }
        }
        urn::SLIDING => {
            let p: SlidingWindowsPayload = payload(bytes, "sliding windows")?;
            WindowFn::Sliding { size: size(p.size)?, period: size(p.period)?, offset: offset(p.offset)? }
        }
        urn::SESSION => {
            let p: SessionWindowsPayload = payload(bytes, "session windows")?;
            WindowFn::Sessions { gap: size(p.gap_size)? }
        }
        _ => return Ok(None),
    }))
}

fn size(of: Option<Duration>) -> Result<i64> {
    let of = of.unwrap_or_default();
    let size = millis(of.seconds, of.nanos)?;
    if size < 1 {
        return Err(refuse("PIPELINE_WINDOWING", format!("a window has a size or period of {size} ms"))
            .help("give windows a size of at least one millisecond"));
    }
    Ok(size)
}

fn offset(of: Option<Timestamp>) -> Result<i64> {
    let of = of.unwrap_or_default();
    millis(of.seconds, of.nanos)
}

fn millis(seconds: i64, nanos: i32) -> Result<i64> {
    let whole = (nanos % 1_000_000 == 0).then_some(i64::from(nanos / 1_000_000));
    whole.and_then(|ms| seconds.checked_mul(1000)?.checked_add(ms)).ok_or_else(|| {
        refuse("PIPELINE_WINDOWING", "a window's size or offset is not a whole number of milliseconds")
            .help("round the sizes and offsets of windows to milliseconds")
    })
}

/// The engine's trigger of a proto.
fn trigger(of: Option<&pipeline::Trigger>, lateness: i64) -> Trigger {
    match of.and_then(|t| t.trigger.as_ref()) {
        None | Some(Proto::Default(_)) => Trigger::Default,
        // without lateness there is nothing after the end of the window, so the two cannot be told apart
        Some(Proto::AfterEndOfWindow(t)) if lateness == 0 && t.early_firings.is_none() => Trigger::Default,
        Some(Proto::Repeat(repeat)) if is_end_of_window(repeat.subtrigger.as_deref()) => Trigger::Default,
        Some(other) => Trigger::Other(words(other)),
    }
}

fn is_end_of_window(of: Option<&pipeline::Trigger>) -> bool {
    match of.and_then(|t| t.trigger.as_ref()) {
        Some(Proto::AfterEndOfWindow(t)) => t.early_firings.is_none() && t.late_firings.is_none(),
        Some(Proto::Default(_)) => true,
        _ => false,
    }
}

/// A trigger in the words of Beam's proto.
fn words(trigger: &Proto) -> String {
    let boxed = |t: &Option<Box<pipeline::Trigger>>| of_option(t.as_deref());
    match trigger {
        Proto::AfterAll(t) => format!("after_all({})", list(&t.subtriggers)),
        Proto::AfterAny(t) => format!("after_any({})", list(&t.subtriggers)),
        Proto::AfterEach(t) => format!("after_each({})", list(&t.subtriggers)),
        Proto::AfterEndOfWindow(t) => {
            format!("after_end_of_window(early={}, late={})", boxed(&t.early_firings), boxed(&t.late_firings))
        }
        Proto::AfterProcessingTime(t) => format!("after_processing_time({} steps)", t.timestamp_transforms.len()),
        Proto::AfterSynchronizedProcessingTime(_) => "after_synchronized_processing_time".to_owned(),
        Proto::Always(_) => "always".to_owned(),
        Proto::Default(_) => "default".to_owned(),
        Proto::ElementCount(t) => format!("element_count({})", t.element_count),
        Proto::Never(_) => "never".to_owned(),
        Proto::OrFinally(t) => format!("or_finally({}, {})", boxed(&t.main), boxed(&t.finally)),
        Proto::Repeat(t) => format!("repeat({})", boxed(&t.subtrigger)),
    }
}

fn of_option(trigger: Option<&pipeline::Trigger>) -> String {
    trigger.and_then(|t| t.trigger.as_ref()).map_or_else(|| "none".to_owned(), words)
}

fn list(triggers: &[pipeline::Trigger]) -> String {
    triggers.iter().map(|t| of_option(Some(t))).collect::<Vec<_>>().join(", ")
}

/// Whether elements may be combined before the trigger sees them: not where it counts them.
pub(super) fn liftable(trigger: Option<&pipeline::Trigger>) -> bool {
    let Some(trigger) = trigger.and_then(|t| t.trigger.as_ref()) else { return true };
    match trigger {
        Proto::Default(_)
        | Proto::Always(_)
        | Proto::Never(_)
        | Proto::AfterProcessingTime(_)
        | Proto::AfterSynchronizedProcessingTime(_) => true,
        Proto::ElementCount(t) => t.element_count == 1,
        Proto::AfterEndOfWindow(t) => liftable(t.early_firings.as_deref()) && liftable(t.late_firings.as_deref()),
        Proto::AfterAny(t) => t.subtriggers.iter().all(|t| liftable(Some(t))),
        Proto::Repeat(t) => liftable(t.subtrigger.as_deref()),
        Proto::AfterAll(_) | Proto::AfterEach(_) | Proto::OrFinally(_) => false,
    }
}
