//! What the user stages of the simulation do.

use crate::batch::BatchBuilder;
use crate::port::worker::{BundleStart, Input, Residual, SplitReply, TimeDomain};
use crate::testing::{Piece, User, Work, give_back_whole};
use crate::time::EventTime;
use crate::window::{Merges, Window, WindowFn, WindowSet, merge_overlapping};
use bytes::Bytes;

/// Sorts lines: good ones by their key, in fixed windows and in sliding ones; bad ones to the side.
pub(super) fn parse(fixed: &WindowFn, sliding: &WindowFn) -> User {
    let (fixed, sliding) = (fixed.clone(), sliding.clone());
    User::new("parse", move |work| {
        for e in work.elements() {
            if e.value.first() == Some(&b'b') {
                work.emit(1, b"", &e.value, e.time, &e.windows);
            } else {
                work.emit(0, &e.value[2..3], &e.value, e.time, &fixed.assign(e.time));
                work.emit(2, &e.value[2..3], &e.value, e.time, &sliding.assign(e.time));
            }
        }
        if work.start.bundle.0 % 3 == 0 {
            work.finalize();
        }
        Ok(())
    })
}

/// Passes elements on as they are.
pub(super) fn pass(name: &str) -> User {
    User::new(name, |work| {
        work.elements().iter().for_each(|e| work.emit(0, &e.key, &e.value, e.time, &e.windows));
        Ok(())
    })
}

/// Facts of the side input by their key.
pub(super) fn parse_facts(window_fn: &WindowFn) -> User {
    let window_fn = window_fn.clone();
    User::new("parse facts", move |work| {
        for e in work.elements() {
            work.emit(0, &e.value[..1], &e.value[2..], e.time, &window_fn.assign(e.time));
        }
        Ok(())
    })
}

/// Gives keyed elements other windows.
pub(super) fn assign(name: &str, assign: impl Fn(EventTime) -> WindowSet + Send + Sync + 'static) -> User {
    User::new(name, move |work| {
        work.elements().iter().for_each(|e| work.emit(0, &e.key, &e.value, e.time, &assign(e.time)));
        Ok(())
    })
}

/// Counts a key's elements in a value, keeps them in a bag, speaks when the window ends, and then forgets.
pub(super) fn counter() -> User {
    let run = |work: &mut Work| {
        for piece in work.pieces() {
            match piece {
                Piece::Element(e) => {
                    let n = work.value(e.group, "n")?.map_or(0, |v| v[0]);
                    work.set_value(e.group, "n", Some(&[n + 1]))?;
                    work.append(e.group, "seen", &e.value)?;
                    let end = e.windows[0].max_timestamp();
                    work.set_timer(e.group, "end", "", end.0, end);
                    // a timer that is always cleared: if it fires, the line below is a ghost
                    work.set_timer(e.group, "end", "never", end.0 + 5, end);
                }
                Piece::Timer(group, timer) => {
                    let n = work.value(group, "n")?.map_or(0, |v| v[0]);
                    let seen = work.bag(group, "seen")?.iter().map(|v| text(v)).collect::<Vec<_>>().join(",");
                    let owner = work.group(group);
                    let line = format!("{} {} n={n}: {seen}", text(&owner.key), interval(&owner.window));
                    work.emit(0, b"", line.as_bytes(), timer.hold, &[owner.window]);
                    work.clear(group, "n")?;
                    work.clear(group, "seen")?;
                    work.clear_timer(group, "end", "never");
                }
            }
        }
        Ok(())
    };
    User::new("count", run).state("n").state("seen").timer("end", TimeDomain::Event)
}

/// Keeps elements back and lets them go by the clock, at the latest when their window ends.
pub(super) fn batcher() -> User {
    let run = |work: &mut Work| {
        for piece in work.pieces() {
            match piece {
                Piece::Element(e) => {
                    work.append(e.group, "kept", &e.value)?;
                    let (end, soon) = (e.windows[0].max_timestamp(), work.start.now.0 + 7);
                    work.set_timer(e.group, "soon", "", soon, end);
                    work.set_timer(e.group, "end", "", end.0, end);
                }
                Piece::Timer(group, timer) => {
                    let window = [work.group(group).window];
                    for value in work.bag(group, "kept")? {
                        work.emit(0, b"", &value, timer.hold, &window);
                    }
                    work.clear(group, "kept")?;
                    work.clear_timer(group, if work.family_name(&timer) == "end" { "soon" } else { "end" }, "");
                }
            }
        }
        Ok(())
    };
    User::new("batch", run).state("kept").timer("soon", TimeDomain::Processing).timer("end", TimeDomain::Event)
}

/// Joins elements with the facts of their key.
pub(super) fn join(windowed: bool) -> User {
    User::new("join", move |work| {
        let view = work.start.sides[0].clone();
        for e in work.elements() {
            let window = if windowed { e.windows[0].clone() } else { Window::Global };
            let side = view.windows.get(&window).and_then(|w| w.by_key.get(e.key.as_slice()));
            let mut values = side.map(|bytes| prefixed(bytes)).unwrap_or_default();
            values.sort();
            let line = format!("{} joins {}", text(&e.value), values.join(","));
            work.emit(0, b"", line.as_bytes(), e.time, &e.windows);
        }
        Ok(())
    })
}

/// Puts out the numbers of a range `from..to`, a few at a time.
pub(super) fn count_up() -> User {
    User::new("count up", |work| {
        for e in work.elements() {
            let Some((from, to)) = range(&e.value) else { continue };
            let end = to.min(from + 3);
            (from..end).for_each(|n| work.emit(0, b"", n.to_string().as_bytes(), e.time, &e.windows));
            if end < to {
                let batch = one(&format!("{end}..{to}"), e.time);
                let watermark = (end % 2 == 0).then_some(e.time);
                work.residual(Residual { entry: 1, batch, delay_ms: end % 3 * 5, watermark });
            }
        }
        Ok(())
    })
}

/// Splits a bundle somewhere: inside a range where there is one, else between elements.
pub(super) fn split(start: &mut BundleStart, fraction: f64) -> SplitReply {
    let Input::Elements { batches } = &mut start.input else { return SplitReply::default() };
    let rows: usize = batches.iter().map(|(_, b)| b.len()).sum();
    let at = ((rows as f64 * (1.0 - fraction)) as usize).min(rows.saturating_sub(1));
    let mut before = 0;
    for i in 0..batches.len() {
        let (input, batch) = batches[i].clone();
        if at >= before + batch.len() {
            before += batch.len();
            continue;
        }
        let row = batch.rows()[at - before];
        let Some((from, to)) = range(batch.value(&row)).filter(|(from, to)| to - from >= 2) else { break };
        let middle = (from + to) / 2;
        let primary = one(&format!("{from}..{middle}"), row.time);
        batches.truncate(i);
        batches.push((input, batch.split_at(at - before).0));
        batches.push((input, primary.clone()));
        let batch = one(&format!("{middle}..{to}"), row.time);
        let residual = Residual { entry: 1, batch, delay_ms: 0, watermark: None };
        return SplitReply { keep: Some(at), primary: Some(primary), residuals: vec![residual] };
    }
    give_back_whole(start, fraction)
}

fn range(value: &[u8]) -> Option<(i64, i64)> {
    let line = text(value);
    let (from, to) = line.split_once("..")?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

fn one(value: &str, time: EventTime) -> crate::batch::Batch {
    let mut batch = BatchBuilder::new();
    batch.push(b"", value.as_bytes(), time, &[Window::Global]);
    batch.finish()
}

/// A session's proto-window as an SDK's window function would make it.
pub(super) fn custom(time: EventTime, gap: i64) -> Window {
    wrap(time.0, time.0 + gap)
}

fn wrap(start: i64, end: i64) -> Window {
    let encoded = [start.to_be_bytes(), end.to_be_bytes()].concat();
    Window::Custom { max: EventTime(end - 1), encoded: Bytes::from(encoded) }
}

fn unwrap(window: &Window) -> Window {
    let Window::Custom { encoded, .. } = window else { return window.clone() };
    let read = |at: usize| encoded[at..at + 8].iter().fold(0i64, |n, b| n << 8 | i64::from(*b));
    Window::Interval { start: EventTime(read(0)), end: EventTime(read(8)) }
}

/// Merges such windows as sessions merge.
pub(super) fn merge(windows: &[Window]) -> Merges {
    let plain: Vec<Window> = windows.iter().map(unwrap).collect();
    let again = |w: Window| match w {
        Window::Interval { start, end } => wrap(start.0, end.0),
        other => other,
    };
    let merges = merge_overlapping(&plain).into_iter();
    merges.map(|(result, from)| (again(result), from.into_iter().map(again).collect())).collect()
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `[start, end)`.
pub(super) fn interval(window: &Window) -> String {
    match unwrap(window) {
        Window::Interval { start, end } => format!("[{}, {})", start.0, end.0),
        other => format!("{other:?}"),
    }
}

/// Length-prefixed values, one after the other.
pub(super) fn prefixed(mut bytes: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    while let Ok((value, rest)) = crate::coder::take_prefixed(bytes) {
        values.push(text(value));
        bytes = rest;
    }
    values
}
