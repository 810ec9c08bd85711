//! Windows only the SDK understands: merged by it for a grouping, mapped by it for a side input.

mod topologies;

use bytes::Bytes;
use std::sync::Arc;
use thalweg_core::engine::Outcome;
use thalweg_core::error::Result;
use thalweg_core::graph::SideAccess;
use thalweg_core::id::ShardId;
use thalweg_core::testing::{Driver, ScriptedSplit, SinkKind, Topology, User, Work};
use thalweg_core::time::EventTime;
use thalweg_core::window::{Merges, Window, WindowFn, WindowSet, Windowing};
use topologies::{config, out, tens, text, texts};

/// A window with a name, ending with its last instant `max`.
fn named(name: &str, max: i64) -> Window {
    Window::Custom { max: EventTime(max), encoded: Bytes::copy_from_slice(name.as_bytes()) }
}

fn name_of(window: &Window) -> String {
    if let Window::Custom { encoded, .. } = window { text(encoded) } else { String::new() }
}

/// Windows whose names begin with the same letter are one: `a1` and `a2` become `a1a2`.
fn merge(windows: &[Window]) -> Merges {
    let mut letters: Vec<u8> = windows.iter().map(|w| name_of(w).as_bytes()[0]).collect();
    letters.dedup();
    letters.sort_unstable();
    letters.dedup();
    let mut merges = Merges::new();
    for letter in letters {
        let mut same: Vec<Window> = windows.iter().filter(|w| name_of(w).as_bytes()[0] == letter).cloned().collect();
        same.sort();
        if same.len() > 1 {
            let name: Vec<String> = same.iter().map(name_of).collect();
            let max = same.iter().map(|w| w.max_timestamp().0).max().unwrap_or_default();
            merges.push((named(&name.concat(), max), same));
        }
    }
    merges
}

/// Elements `key window max`, grouped by key and merged window; the sink gets `key window: n`.
fn grouping(shards: u16, splits: Vec<ScriptedSplit>) -> Result<Driver> {
    let mut t = Topology::new();
    let lines = t.source("lines", splits);
    let custom = Windowing::of(WindowFn::Custom { merging: true });
    let keyed = t.keyed("keyed", &custom);
    let assign = User::new("assign", |work: &mut Work| {
        for e in work.elements() {
            let line = text(&e.value);
            let parts: Vec<&str> = line.split(' ').collect();
            let window = named(parts[1], parts[2].parse().unwrap_or_default());
            work.emit(0, parts[0].as_bytes(), parts[1].as_bytes(), e.time, &[window]);
        }
        Ok(())
    });
    t.user(assign, &[lines], &[keyed]);
    let grouped = t.group("group", keyed);
    let told = t.plain("told", &custom);
    let tell = User::new("tell", |work: &mut Work| {
        for e in work.elements() {
            let line = format!("{} {}: {}", text(&e.key), name_of(&e.windows[0]), e.value[3]);
            work.emit(0, b"", line.as_bytes(), e.time, &e.windows);
        }
        Ok(())
    });
    t.user(tell, &[grouped], &[told]);
    out(&mut t, told);
    t.merges(Arc::new(merge));
    t.driver(config(shards))
}

fn lines() -> Vec<ScriptedSplit> {
    let rows = [("k a1 50", 1), ("k b1 40", 2), ("l a1 50", 3), ("k a2 60", 4), ("k a1 50", 5), ("l c1 70", 6)];
    vec![ScriptedSplit::of(&rows)]
}

const MERGED: [&str; 4] = ["k a1a2: 3", "k b1: 1", "l a1: 1", "l c1: 1"];

#[test]
fn windows_are_merged_by_the_sdk() -> Result<()> {
    for shards in [1, 3] {
        let mut driver = grouping(shards, lines())?;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), MERGED);
    }
    Ok(())
}

#[test]
fn a_key_does_not_fire_while_its_windows_are_being_merged() -> Result<()> {
    let mut driver = grouping(1, lines())?;
    driver.worker(ShardId(0), "assign").hold_answers = true;
    driver.read_rows = Some(1);
    driver.settle();
    driver.pass_epoch();
    assert_eq!(texts(&driver), [""; 0], "k waits in a window of l's too; the others hold its watermark");
    driver.worker(ShardId(0), "assign").hold_answers = false;
    driver.worker(ShardId(0), "assign").answer();
    driver.listen(ShardId(0));
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), MERGED);
    Ok(())
}

#[test]
fn a_window_that_is_being_merged_holds_the_watermark_of_what_it_will_give() -> Result<()> {
    let mut t = Topology::new();
    let lines = t.source("lines", vec![ScriptedSplit::of(&[("a1", 1), ("a2", 2)])]);
    let keyed = t.keyed("keyed", &Windowing::of(WindowFn::Custom { merging: true }));
    let assign = User::new("assign", |work: &mut Work| {
        work.elements().iter().for_each(|e| work.emit(0, b"k", b"", e.time, &[named(&text(&e.value), 5)]));
        Ok(())
    });
    t.user(assign, &[lines], &[keyed]);
    let grouped = t.group("group", keyed);
    let again = t.keyed("again", &tens());
    let window_fn = tens().window_fn;
    let reassign = User::new("reassign", move |work: &mut Work| {
        work.elements().iter().for_each(|e| work.emit(0, &e.key, b"x", e.time, &window_fn.assign(e.time)));
        Ok(())
    });
    t.user(reassign, &[grouped], &[again]);
    let counted = t.group("count", again);
    t.sink("out", SinkKind::Length, counted);
    t.merges(Arc::new(merge));
    let mut driver = t.driver(config(1))?;
    driver.worker(ShardId(0), "assign").hold_answers = true;
    driver.settle();
    driver.pass_epoch();
    driver.worker(ShardId(0), "assign").answer();
    driver.listen(ShardId(0));
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(driver.disk("out").lines().len(), 1, "it was not late for the window of ten behind it");
    Ok(())
}

#[test]
fn a_lost_workers_merges_are_asked_again() -> Result<()> {
    let mut driver = grouping(1, lines())?;
    driver.worker(ShardId(0), "assign").hold_answers = true;
    driver.settle();
    driver.lose_worker(ShardId(0), None, false);
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), MERGED);
    Ok(())
}

#[test]
fn windows_that_were_not_merged_at_a_crash_are_merged_after_it() -> Result<()> {
    for steps in 0..60 {
        let mut driver = grouping(1, lines())?;
        driver.worker(ShardId(0), "assign").hold_answers = true;
        driver.read_rows = Some(1);
        for _ in 0..steps {
            driver.take(driver.choices()[0]);
        }
        driver.pass_epoch();
        driver.crash(2)?;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), MERGED, "crash after {steps} steps");
    }
    Ok(())
}

/// Main elements in windows `a`, `b`, `c`, ...; side elements in windows `A`, `B`. The SDK maps `a` to `A` and all others to `B`.
fn mapping(sides: Vec<ScriptedSplit>) -> Result<Driver> {
    let mut t = Topology::new();
    let custom = Windowing::of(WindowFn::Custom { merging: false });
    let assign = |name: &str| {
        User::new(name, |work: &mut Work| {
            for e in work.elements() {
                work.emit(0, b"", &e.value, e.time, &[named(&text(&e.value[..1]), 10)]);
            }
            Ok(())
        })
    };
    let main_lines = t.source("main lines", vec![ScriptedSplit::of(&[("a1", 1), ("b1", 2), ("c1", 3), ("a2", 4)])]);
    let side_lines = t.source("side lines", sides);
    let (main, side) = (t.plain("main", &custom), t.plain("side", &custom));
    t.user(assign("assign main"), &[main_lines], &[main]);
    t.user(assign("assign side"), &[side_lines], &[side]);
    let joined = t.plain("joined", &custom);
    let join = User::new("join", |work: &mut Work| {
        let view = work.start.sides[0].clone();
        for e in work.elements() {
            let window = named(if e.windows[0] == named("a", 10) { "A" } else { "B" }, 10);
            let side = view.windows.get(&window).map(|w| text(&w.values)).unwrap_or_default();
            let line = format!("{}+{}", text(&e.value), side.replace('\u{2}', ""));
            work.emit(0, b"", line.as_bytes(), e.time, &e.windows);
        }
        Ok(())
    });
    t.user(join.side("side", side, SideAccess::Iterable), &[main], &[joined]);
    t.sink("out", SinkKind::Length, joined);
    t.maps(Arc::new(|w: &Window| WindowSet::from_elem(named(if name_of(w) == "a" { "A" } else { "B" }, 10), 1)));
    t.driver(config(1))
}

#[test]
fn main_windows_are_mapped_to_side_windows_by_the_sdk() -> Result<()> {
    let mut driver = mapping(vec![ScriptedSplit::of(&[("A1", 1), ("B1", 2), ("B2", 3)])])?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ["a1+A1", "a2+A1", "b1+B1B2", "c1+B1B2"]);
    Ok(())
}

#[test]
fn an_element_waits_until_its_window_is_mapped_and_its_side_input_ready() -> Result<()> {
    let mut driver = mapping(vec![ScriptedSplit::of(&[("A1", 1), ("B1", 2)])])?;
    driver.worker(ShardId(0), "join").hold_answers = true;
    driver.hold("assign side");
    driver.settle();
    driver.pass_epoch();
    assert_eq!(texts(&driver), [""; 0]);
    assert!(driver.open("join").is_empty());
    driver.lose_worker(ShardId(0), None, false); // the question dies with the worker and is asked again
    driver.release("assign side");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ["a1+A1", "a2+A1", "b1+B1", "c1+B1"]);
    Ok(())
}
