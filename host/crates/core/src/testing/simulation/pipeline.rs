//! The pipeline of the simulation, and how a line of its sinks reads.
//!
//! From one source: a stage with three outputs; fixed windows grouped; sliding windows counted with state and timers; sessions behind a
//! redistribution, merged by the runner and once more by the SDK; elements kept back by the clock; a join with a side input from
//! a second source. From a third source: ranges counted up by a splittable function.

use super::stages::{self, interval, prefixed, text};
use super::workload::Workload;
use crate::graph::SideAccess;
use crate::testing::{Line, SinkKind, SplitMix64, Topology};
use crate::time::EventTime;
use crate::window::{WindowFn, WindowSet, Windowing};
use std::sync::Arc;

/// Builds it. Which worker takes how many bundles, and which sink speaks which protocol, is drawn.
pub(super) fn topology(workload: &Workload, rng: &mut SplitMix64) -> Topology {
    let mut t = Topology::new();
    let fixed = Windowing::of(WindowFn::Fixed { size: workload.window, offset: 0 });
    let sliding = Windowing::of(WindowFn::Sliding { size: 2 * workload.window, period: workload.window, offset: 0 });
    let global = Windowing::global();
    let mut bundles = || 1 + rng.below(4) as u32;

    let lines = t.source("lines", workload.source());
    let (main, dead, slid) = (t.keyed("main", &fixed), t.plain("dead letters", &global), t.keyed("slid", &sliding));
    let parse = stages::parse(&fixed.window_fn, &sliding.window_fn);
    t.user(parse.bundles(bundles()), &[lines], &[main, dead, slid]);
    let audited = t.plain("audit", &global);
    t.user(stages::pass("audit").bundles(bundles()).environment(1), &[lines], &[audited]);

    let grouped = t.group("group", main);
    let counted = t.plain("counts", &sliding);
    t.user(stages::counter().bundles(bundles()).environment(1), &[slid], &[counted]);
    let batched = t.plain("batches", &fixed);
    t.user(stages::batcher().bundles(bundles()), &[main], &[batched]);

    let gap = workload.gap;
    let gaps = Windowing::of(WindowFn::Sessions { gap });
    let spread = t.keyed("spread", &gaps);
    let assign = stages::assign("assign", move |time| WindowFn::Sessions { gap }.assign(time));
    t.user(assign.bundles(bundles()).spread(), &[main], &[spread]);
    let sessions = t.group("session", spread);
    let named = t.keyed("named", &Windowing::of(WindowFn::Custom { merging: true }));
    let assign = stages::assign("assign named", move |time| WindowSet::from_elem(stages::custom(time, gap), 1));
    t.user(assign.bundles(bundles()).spread().environment(1), &[main], &[named]);
    let merged = t.group("merge", named);
    t.merges(Arc::new(stages::merge));

    let side_windows = if workload.windowed_side { &fixed } else { &global };
    let fact_lines = t.source("fact lines", workload.side_source());
    let facts = t.keyed("facts", side_windows);
    t.user(stages::parse_facts(&side_windows.window_fn).bundles(bundles()), &[fact_lines], &[facts]);
    let joined = t.plain("joins", &fixed);
    let join = stages::join(workload.windowed_side).bundles(bundles()).side("facts", facts, SideAccess::Multimap);
    t.user(join.environment(1), &[main], &[joined]);

    let ranges = t.source("ranges", workload.range_source());
    let numbers = t.plain("numbers", &global);
    let count_up = stages::count_up().bundles(bundles());
    let count_up = match (workload.spread_ranges, workload.window) {
        (true, 1) => count_up.spread(),
        // as if they were endless: given back again and again, and dealt out one by one
        (true, size) => count_up.splittable(size == 10),
        (false, _) => count_up,
    };
    t.user(count_up, &[ranges], &[numbers]);
    t.splits(Arc::new(stages::split));

    let sinks = [
        ("dead", dead),
        ("audited", audited),
        ("grouped", grouped),
        ("counted", counted),
        ("batched", batched),
        ("sessions", sessions),
        ("merged", merged),
        ("joined", joined),
        ("numbers", numbers),
    ];
    for (name, collection) in sinks {
        let kind = if rng.permille(500) { SinkKind::Length } else { SinkKind::Outbox };
        t.sink(name, kind, collection);
    }
    t
}

/// A line of a sink as the oracle writes it.
pub(super) fn describe(sink: &str, line: &Line) -> String {
    let ending = if line.pane == 0 { "" } else { " in a later pane" };
    match sink {
        "grouped" | "sessions" | "merged" => {
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
