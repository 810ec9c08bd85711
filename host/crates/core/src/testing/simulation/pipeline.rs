//! The pipeline of the simulation: two outputs, a grouping, state and timers, sessions behind a redistribution, a side input.

use super::workload::Workload;
use crate::coder::take_prefixed;
use crate::graph::SideAccess;
use crate::port::worker::TimeDomain;
use crate::testing::{Line, Piece, SinkKind, SplitMix64, Topology, User, Work};
use crate::time::EventTime;
use crate::window::{Window, WindowFn, WindowSet, Windowing};

/// Builds it. Which worker takes how many bundles, and which sink speaks which protocol, is drawn.
pub(super) fn topology(workload: &Workload, rng: &mut SplitMix64) -> Topology {
    let mut t = Topology::new();
    let fixed = Windowing::of(WindowFn::Fixed { size: workload.window, offset: 0 });
    let mut bundles = || 1 + rng.below(4) as u32;
    let lines = t.source("lines", workload.source());
    let (main, dead) = (t.keyed("main", &fixed), t.plain("dead letters", &Windowing::global()));
    t.user(parse(&fixed.window_fn).bundles(bundles()), &[lines], &[main, dead]);

    let grouped = t.group("group", main);
    let counted = t.plain("counts", &fixed);
    t.user(counter().bundles(bundles()).environment(1), &[main], &[counted]);

    let gaps = Windowing::of(WindowFn::Sessions { gap: workload.gap });
    let spread = t.keyed("spread", &gaps);
    t.user(assign(&gaps.window_fn).bundles(bundles()).spread(), &[main], &[spread]);
    let sessions = t.group("session", spread);

    let side_windows = if workload.windowed_side { fixed.clone() } else { Windowing::global() };
    let fact_lines = t.source("fact lines", workload.side_source());
    let facts = t.keyed("facts", &side_windows);
    t.user(parse_facts(&side_windows.window_fn).bundles(bundles()), &[fact_lines], &[facts]);
    let joined = t.plain("joins", &fixed);
    let join = join(workload.windowed_side).bundles(bundles()).side("facts", facts, SideAccess::Multimap);
    t.user(join.environment(1), &[main], &[joined]);

    let sinks =
        [("dead", dead), ("grouped", grouped), ("counted", counted), ("sessions", sessions), ("joined", joined)];
    for (name, collection) in sinks {
        let kind = if rng.permille(500) { SinkKind::Length } else { SinkKind::Outbox };
        t.sink(name, kind, collection);
    }
    t
}

fn parse(window_fn: &WindowFn) -> User {
    let window_fn = window_fn.clone();
    User::new("parse", move |work| {
        for e in work.elements() {
            if e.value.first() == Some(&b'b') {
                work.emit(1, b"", &e.value, e.time, &e.windows);
            } else {
                work.emit(0, &e.value[2..3], &e.value, e.time, &window_fn.assign(e.time));
            }
        }
        if work.start.bundle.0 % 3 == 0 {
            work.finalize();
        }
        Ok(())
    })
}

fn parse_facts(window_fn: &WindowFn) -> User {
    let window_fn = window_fn.clone();
    User::new("parse facts", move |work| {
        for e in work.elements() {
            work.emit(0, &e.value[..1], &e.value[2..], e.time, &window_fn.assign(e.time));
        }
        Ok(())
    })
}

fn assign(window_fn: &WindowFn) -> User {
    let window_fn = window_fn.clone();
    User::new("assign", move |work| {
        for e in work.elements() {
            work.emit(0, &e.key, &e.value, e.time, &window_fn.assign(e.time));
        }
        Ok(())
    })
}

/// Counts a key's elements in a value, keeps them in a bag, speaks when the window ends, and then forgets.
fn counter() -> User {
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

fn join(windowed: bool) -> User {
    User::new("join", move |work| {
        let view = work.start.sides[0].clone();
        for e in work.elements() {
            let window = if windowed { e.windows[0].clone() } else { Window::Global };
            let side = view.windows.get(&window).and_then(|w| w.by_key.get(e.key.as_slice()));
            let mut values = side.map(|bytes| prefixed(bytes)).unwrap_or_default();
            values.sort();
            let line = format!("{} joins {}", text(&e.value), values.join(","));
            work.emit(0, b"", line.as_bytes(), e.time, &WindowSet::from(&e.windows[..]));
        }
        Ok(())
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn interval(window: &Window) -> String {
    match window {
        Window::Interval { start, end } => format!("[{}, {})", start.0, end.0),
        other => format!("{other:?}"),
    }
}

fn prefixed(mut bytes: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    while let Ok((value, rest)) = take_prefixed(bytes) {
        values.push(text(value));
        bytes = rest;
    }
    values
}

/// A line of a sink as the oracle writes it.
pub(super) fn describe(sink: &str, line: &Line) -> String {
    let ending = if line.pane == 0 { "" } else { " in a later pane" };
    match sink {
        "grouped" | "sessions" => {
            let mut values = prefixed(line.value.get(4..).unwrap_or_default());
            values.sort();
            let EventTime(at) = line.time;
            let (key, window) = (text(&line.key), interval(&line.window));
            format!("{key} {window} at {at}: {}{ending}", values.join(","))
        }
        "counted" => {
            let all = line.text();
            let (front, seen) = all.split_once(": ").unwrap_or((&all, ""));
            let mut seen: Vec<&str> = seen.split(',').collect();
            seen.sort_unstable();
            format!("{front}: {}{ending}", seen.join(","))
        }
        _ => line.text(),
    }
}

/// A bag keeps what a split gave to a key in the order of the split.
pub(super) fn in_input_order(line: &str) {
    let (_, seen) = line.split_once(": ").unwrap_or(("", ""));
    let mut last: [i64; 8] = [-1; 8];
    for entry in seen.split(',').filter(|e| !e.is_empty()) {
        let mut parts = entry.split(':').skip(2).map(|n| n.parse::<i64>().unwrap_or_default());
        let (split, number) = (parts.next().unwrap_or_default() as usize, parts.next().unwrap_or_default());
        assert!(last[split] < number, "out of input order: {line}");
        last[split] = number;
    }
}
