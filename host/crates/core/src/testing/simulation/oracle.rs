//! What the pipeline must give, computed from the input with plain maps and no code of the engine.

use super::workload::{Entry, Workload};
use std::collections::BTreeMap;

/// The lines of every sink, sorted.
pub(super) fn outputs(workload: &Workload) -> BTreeMap<&'static str, Vec<String>> {
    let good: Vec<&Entry> = workload.splits.iter().flatten().filter(|e| !e.bad).collect();
    let dead = workload.splits.iter().flatten().filter(|e| e.bad).map(Entry::text).collect();
    let numbers = workload.ranges.iter().flatten().flat_map(|(from, to, _)| *from..*to).map(|n| n.to_string());
    let mut all = BTreeMap::from([
        ("dead", dead),
        ("audited", workload.splits.iter().flatten().map(Entry::text).collect()),
        ("grouped", grouped(workload, &good)),
        ("counted", counted(workload, &good)),
        ("batched", good.iter().map(|e| e.text()).collect()),
        ("sessions", sessions(workload, &good)),
        ("merged", sessions(workload, &good)),
        ("numbers", numbers.collect()),
        ("joined", joined(workload, &good)),
    ]);
    all.values_mut().for_each(|lines: &mut Vec<String>| lines.sort());
    all
}

fn window_of(time: i64, size: i64) -> i64 {
    time.div_euclid(size) * size
}

/// Texts by window's start and key; an element is in `overlap` windows that begin a window's length apart.
fn panes(workload: &Workload, good: &[&Entry], overlap: i64) -> BTreeMap<(i64, u8), Vec<String>> {
    let mut panes: BTreeMap<(i64, u8), Vec<String>> = BTreeMap::new();
    for entry in good {
        for back in 0..overlap {
            let start = window_of(entry.time, workload.window) - back * workload.window;
            panes.entry((start, entry.key)).or_default().push(entry.text());
        }
    }
    panes.values_mut().for_each(|texts| texts.sort());
    panes
}

fn grouped(workload: &Workload, good: &[&Entry]) -> Vec<String> {
    let line = |((start, key), texts): ((i64, u8), Vec<String>)| {
        let end = start + workload.window;
        format!("{} [{start}, {end}) at {}: {}", key as char, end - 1, texts.join(","))
    };
    panes(workload, good, 1).into_iter().map(line).collect()
}

fn counted(workload: &Workload, good: &[&Entry]) -> Vec<String> {
    let line = |((start, key), texts): ((i64, u8), Vec<String>)| {
        let end = start + 2 * workload.window;
        format!("{} [{start}, {end}) n={}: {}", key as char, texts.len(), texts.join(","))
    };
    panes(workload, good, 2).into_iter().map(line).collect()
}

fn sessions(workload: &Workload, good: &[&Entry]) -> Vec<String> {
    let mut by_key: BTreeMap<u8, Vec<(i64, String)>> = BTreeMap::new();
    for entry in good {
        by_key.entry(entry.key).or_default().push((entry.time, entry.text()));
    }
    let mut lines = Vec::new();
    for (key, mut entries) in by_key {
        entries.sort();
        let mut open: Option<(i64, i64, Vec<String>)> = None;
        let mut close = |open: Option<(i64, i64, Vec<String>)>| {
            if let Some((start, end, mut texts)) = open {
                texts.sort();
                lines.push(format!("{} [{start}, {end}) at {}: {}", key as char, end - 1, texts.join(",")));
            }
        };
        for (time, text) in entries {
            match &mut open {
                Some((_, end, texts)) if time < *end => {
                    *end = time + workload.gap;
                    texts.push(text);
                }
                _ => {
                    close(open.take());
                    open = Some((time, time + workload.gap, vec![text]));
                }
            }
        }
        close(open);
    }
    lines
}

fn joined(workload: &Workload, good: &[&Entry]) -> Vec<String> {
    let line = |entry: &&Entry| {
        let same = |time: i64| {
            !workload.windowed_side || window_of(time, workload.window) == window_of(entry.time, workload.window)
        };
        let facts = workload.facts.iter().filter(|(key, _, time)| *key == entry.key && same(*time));
        let mut values: Vec<&str> = facts.map(|(_, value, _)| value.as_str()).collect();
        values.sort_unstable();
        format!("{} joins {}", entry.text(), values.join(","))
    };
    good.iter().map(line).collect()
}
