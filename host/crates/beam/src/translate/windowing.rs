//! Windowing strategies: from the proto to the engine's [`Windowing`].

use crate::error::{Result, payload, refuse};
use crate::urn::{coder, window_fn as urn};
use bytes::Bytes;
use prost_types::{Duration, Timestamp};
use thalweg_core::time::EventTime;
use thalweg_core::window::{
    Accumulation, AfterFinish, OutputTime, Speaks, TimestampTransform, Trigger, WINDOW_LENGTH_MAX,
    WINDOWS_PER_ELEMENT_MAX, WindowFn, Windowing,
};
use thalweg_proto::pipeline::{
    self, Coder, FixedWindowsPayload, FunctionSpec, SessionWindowsPayload, SlidingWindowsPayload, WindowingStrategy,
    accumulation_mode, closing_behavior, merge_status, on_time_behavior, output_time,
    timestamp_transform::TimestampTransform as Step, trigger::Trigger as Proto,
};

/// What a collection is, as far as its triggers matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Extent {
    /// A bounded collection of a batch job: a window's elements are all there before it speaks, so it speaks once.
    Whole,
    /// A bounded collection of a streaming job: its triggers speak, but nothing is lost to one that has finished.
    Bounded,
    /// An unbounded collection.
    Unbounded,
}

/// The windowing of a collection by its strategy.
///
/// # Errors
/// `PIPELINE_WINDOWING` for retractions and windows that are not of whole milliseconds, `PIPELINE_TRIGGER` for triggers with nothing
/// in them.
pub fn windowing(strategy: &WindowingStrategy, extent: Extent) -> Result<Windowing> {
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
    // Beam's runners differ about the global window; the Go SDK, which alone lets such triggers pass, expects to lose nothing there
    let drops = extent == Extent::Unbounded && window_fn != WindowFn::Global;
    Ok(Windowing {
        window_fn,
        trigger: match extent {
            Extent::Whole => Trigger::Default,
            _ => simple(trigger(strategy.trigger.as_ref())?, strategy.allowed_lateness),
        },
        accumulation: if accumulating { Accumulation::Accumulating } else { Accumulation::Discarding },
        output_time: match output_time::Enum::try_from(strategy.output_time) {
            Ok(output_time::Enum::LatestInPane) => OutputTime::Latest,
            Ok(output_time::Enum::EarliestInPane) => OutputTime::Earliest,
            _ => OutputTime::EndOfWindow,
        },
        allowed_lateness: strategy.allowed_lateness.max(0),
        on_time: match on_time_behavior::Enum::try_from(strategy.on_time_behavior) {
            Ok(on_time_behavior::Enum::FireIfNonempty) => Speaks::IfNonempty,
            _ => Speaks::Always,
        },
        closing: match closing_behavior::Enum::try_from(strategy.closing_behavior) {
            Ok(closing_behavior::Enum::EmitAlways) => Speaks::Always,
            _ => Speaks::IfNonempty,
        },
        after_finish: if drops { AfterFinish::Drop } else { AfterFinish::Keep },
    })
}

/// The coder of windows that a component assigns: that of intervals, and its payload the call by which the host finds the component.
#[must_use]
pub fn component_window_coder(call: Bytes) -> Coder {
    let spec = FunctionSpec { urn: coder::INTERVAL_WINDOW.to_owned(), payload: call };
    Coder { spec: Some(spec), component_coder_ids: Vec::new() }
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
/// `PIPELINE_WINDOWING` for sizes that are not at least one millisecond, or not of whole milliseconds, or longer than time; for an offset
/// outside of it; for sliding windows of which an element would be in too many.
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
            sliding(size(p.size)?, size(p.period)?, offset(p.offset)?)?
        }
        urn::SESSION => {
            let p: SessionWindowsPayload = payload(bytes, "session windows")?;
            WindowFn::Sessions { gap: size(p.gap_size)? }
        }
        _ => return Ok(None),
    }))
}

fn sliding(size: i64, period: i64, offset: i64) -> Result<WindowFn> {
    let windows = size.saturating_add(period - 1) / period;
    if windows > WINDOWS_PER_ELEMENT_MAX {
        let message = format!(
            "windows of {size} ms every {period} ms put each element into {windows} windows, where {WINDOWS_PER_ELEMENT_MAX} are allowed"
        );
        return Err(refuse("PIPELINE_WINDOWING", message).help("make the windows shorter, or begin one less often"));
    }
    Ok(WindowFn::Sliding { size, period, offset })
}

fn size(of: Option<Duration>) -> Result<i64> {
    let of = of.unwrap_or_default();
    let size = millis(of.seconds, of.nanos)?;
    if !(1..=WINDOW_LENGTH_MAX).contains(&size) {
        return Err(refuse("PIPELINE_WINDOWING", format!("a window has a size or period of {size} ms"))
            .help(format!("give windows a size of at least one millisecond and at most {WINDOW_LENGTH_MAX}")));
    }
    Ok(size)
}

fn offset(of: Option<Timestamp>) -> Result<i64> {
    let of = of.unwrap_or_default();
    let offset = millis(of.seconds, of.nanos)?;
    if EventTime(offset).clamped().0 != offset {
        return Err(refuse(
            "PIPELINE_WINDOWING",
            format!("windows have an offset of {offset} ms, outside of Beam's time"),
        )
        .help("give windows an offset smaller than their period"));
    }
    Ok(offset)
}

fn millis(seconds: i64, nanos: i32) -> Result<i64> {
    let whole = (nanos % 1_000_000 == 0).then_some(i64::from(nanos / 1_000_000));
    whole.and_then(|ms| seconds.checked_mul(1000)?.checked_add(ms)).ok_or_else(|| {
        refuse("PIPELINE_WINDOWING", "a window's size or offset is not a whole number of milliseconds")
            .help("round the sizes and offsets of windows to milliseconds")
    })
}

/// The engine's trigger of a proto.
fn trigger(of: Option<&pipeline::Trigger>) -> Result<Trigger> {
    let Some(of) = of.and_then(|t| t.trigger.as_ref()) else { return Ok(Trigger::Default) };
    let boxed = |t: &Option<Box<pipeline::Trigger>>| trigger(t.as_deref()).map(Box::new);
    let side = |t: &Option<Box<pipeline::Trigger>>| t.is_some().then(|| boxed(t)).transpose();
    Ok(match of {
        Proto::AfterAll(t) => Trigger::AfterAll(several(&t.subtriggers, "after_all")?),
        Proto::AfterAny(t) => Trigger::AfterAny(several(&t.subtriggers, "after_any")?),
        Proto::AfterEach(t) => Trigger::AfterEach(several(&t.subtriggers, "after_each")?),
        Proto::AfterEndOfWindow(t) => {
            Trigger::AfterEndOfWindow { early: side(&t.early_firings)?, late: side(&t.late_firings)? }
        }
        Proto::AfterProcessingTime(t) => {
            let steps = t.timestamp_transforms.iter().filter_map(|t| t.timestamp_transform.as_ref());
            Trigger::AfterProcessingTime(steps.map(step).collect())
        }
        Proto::AfterSynchronizedProcessingTime(_) => Trigger::AfterSynchronizedProcessingTime,
        Proto::Always(_) => Trigger::Always,
        Proto::Default(_) => Trigger::Default,
        Proto::ElementCount(t) => Trigger::ElementCount(t.element_count.max(1).unsigned_abs()),
        Proto::Never(_) => Trigger::Never,
        Proto::OrFinally(t) => Trigger::OrFinally { main: boxed(&t.main)?, finally: boxed(&t.finally)? },
        Proto::Repeat(t) => Trigger::Repeat(boxed(&t.subtrigger)?),
    })
}

fn several(triggers: &[pipeline::Trigger], name: &str) -> Result<Vec<Trigger>> {
    if triggers.is_empty() {
        return Err(refuse("PIPELINE_TRIGGER", format!("a windowing strategy has the trigger {name} of no triggers"))
            .help("give the trigger at least one that it waits for"));
    }
    triggers.iter().map(|t| trigger(Some(t))).collect()
}

fn step(of: &Step) -> TimestampTransform {
    match of {
        Step::Delay(t) => TimestampTransform::Delay(t.delay_millis.max(0)),
        Step::AlignTo(t) => TimestampTransform::AlignTo { period: t.period.max(1), offset: t.offset },
    }
}

/// The default trigger in place of those that cannot be told from it.
fn simple(trigger: Trigger, lateness: i64) -> Trigger {
    match &trigger {
        // without lateness there is nothing after the end of the window
        Trigger::AfterEndOfWindow { early: None, .. } if lateness <= 0 => Trigger::Default,
        Trigger::Repeat(part) => match **part {
            Trigger::AfterEndOfWindow { early: None, late: None } | Trigger::Default => Trigger::Default,
            _ => trigger,
        },
        _ => trigger,
    }
}

/// Whether elements may be combined before the trigger sees them: not where it speaks by the element, and not where their times decide
/// that of the pane, since elements that are late do not count for it.
#[must_use]
pub fn liftable(windowing: &Windowing) -> bool {
    windowing.output_time == OutputTime::EndOfWindow && uncounted(&windowing.trigger)
}

fn uncounted(trigger: &Trigger) -> bool {
    match trigger {
        Trigger::Default
        | Trigger::Never
        | Trigger::AfterProcessingTime(_)
        | Trigger::AfterSynchronizedProcessingTime => true,
        Trigger::Always | Trigger::ElementCount(_) => false,
        Trigger::AfterEndOfWindow { early, late } => [early, late].into_iter().flatten().all(|part| uncounted(part)),
        Trigger::AfterAll(parts) | Trigger::AfterAny(parts) | Trigger::AfterEach(parts) => parts.iter().all(uncounted),
        Trigger::OrFinally { main, finally } => uncounted(main) && uncounted(finally),
        Trigger::Repeat(part) => uncounted(part),
    }
}
