//! Splittable work through the port: residuals with delay and watermark, splits of running bundles, and their retries.

mod topologies;

use std::sync::Arc;
use thalweg_core::engine::{Config, Outcome};
use thalweg_core::error::Result;
use thalweg_core::id::{BundleId, ShardId};
use thalweg_core::port::worker::{BundleStart, Input, Residual, SplitReply};
use thalweg_core::testing::{Driver, ScriptedSplit, Topology, User, Work};
use thalweg_core::time::EventTime;
use thalweg_core::window::Windowing;
use topologies::{batch, config, out, tens, text, texts};

const S: ShardId = ShardId(0);

fn range(value: &[u8]) -> (i64, i64) {
    let line = text(value);
    let (from, to) = line.split_once("..").unwrap_or_default();
    (from.parse().unwrap_or_default(), to.parse().unwrap_or_default())
}

fn residual(from: i64, to: i64, delay_ms: i64, watermark: Option<i64>) -> Residual {
    let batch = batch(&[(&format!("{from}..{to}"), 0)]);
    Residual { entry: 1, batch, delay_ms, watermark: watermark.map(EventTime) }
}

/// Each element `from..to` puts out its numbers, at themselves as event time. After `most` of them it gives the rest back with
/// `delay` and, if it says so, their first number as watermark.
fn counting(rows: &[(&str, i64)], most: i64, delay: i64, tells: bool, shards: u16) -> Result<Driver> {
    counting_in(true, rows, most, delay, tells, shards)
}

/// The same; the ranges are spread over the shards, or they stay in the lane of the split they were read from.
fn counting_in(spread: bool, rows: &[(&str, i64)], most: i64, delay: i64, tells: bool, shards: u16) -> Result<Driver> {
    counting_by(halve, spread, rows, most, delay, tells, shards)
}

/// The same, with this way to split.
fn counting_by(
    split: fn(&mut BundleStart, f64) -> SplitReply,
    spread: bool,
    rows: &[(&str, i64)],
    most: i64,
    delay: i64,
    tells: bool,
    shards: u16,
) -> Result<Driver> {
    let mut t = Topology::new();
    t.epoch_ms = 10;
    let lines = t.source("lines", vec![ScriptedSplit::of(rows)]);
    let numbers = t.keyed("numbers", &tens());
    let window_fn = tens().window_fn;
    let count = User::new("count", move |work: &mut Work| {
        for e in work.elements() {
            let (from, to) = range(&e.value);
            let end = to.min(from + most);
            for n in from..end {
                let time = EventTime(n);
                work.emit(0, b"k", n.to_string().as_bytes(), time, &window_fn.assign(time));
            }
            if end < to {
                work.residual(residual(end, to, delay, tells.then_some(end)));
            }
        }
        Ok(())
    });
    let count = if spread { count.spread() } else { count };
    t.user(count.bundles(4), &[lines], &[numbers]);
    let grouped = t.group("group", numbers);
    let told = t.plain("told", &Windowing::global());
    let tell = User::new("tell", |work: &mut Work| {
        for e in work.elements() {
            let line = format!("{}:{}{}", e.time.0, e.value[3], if e.pane.index > 0 { " again" } else { "" });
            work.emit(0, b"", line.as_bytes(), e.time, &e.windows);
        }
        Ok(())
    });
    t.user(tell, &[grouped], &[told]);
    out(&mut t, told);
    t.splits(Arc::new(split));
    t.driver(config(shards))
}

/// Splits the only range of a bundle in two.
fn halve(start: &mut BundleStart, _fraction: f64) -> SplitReply {
    let Input::Elements { batches } = &mut start.input else { return SplitReply::default() };
    let (input, only) = batches[0].clone();
    let (from, to) = range(only.value(&only.rows()[0]));
    let middle = (from + to) / 2;
    let primary = batch(&[(&format!("{from}..{middle}"), 0)]);
    batches[0] = (input, primary.clone());
    SplitReply { keep: Some(0), primary: Some(primary), residuals: vec![residual(middle, to, 0, Some(middle))] }
}

const ALL: [&str; 3] = ["19:10", "29:5", "9:10"];

#[test]
fn a_residual_runs_until_nothing_is_left() -> Result<()> {
    for shards in [1, 2] {
        let mut driver = counting(&[("0..25", 0)], 3, 0, true, shards)?;
        driver.observer.strict = true;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), ALL);
    }
    Ok(())
}

#[test]
fn a_residual_waits_for_its_delay() -> Result<()> {
    let mut driver = counting(&[("0..25", 0)], 10, 1000, true, 1)?;
    driver.pass(500);
    assert_eq!(texts(&driver), ["9:10"]);
    driver.pass(600);
    assert_eq!(texts(&driver), ["19:10", "9:10"]);
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ALL);
    Ok(())
}

#[test]
fn a_residual_without_watermark_holds_at_its_own_time() -> Result<()> {
    let mut driver = counting(&[("0..25", 0)], 10, 1000, false, 1)?;
    driver.pass(1500);
    assert_eq!(texts(&driver), [""; 0], "its element is of time 0");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ALL);
    Ok(())
}

#[test]
fn residuals_survive_a_crash_with_their_delay_and_watermark() -> Result<()> {
    let mut driver = counting(&[("0..25", 0)], 10, 1000, true, 1)?;
    driver.pass(100);
    driver.crash(2)?;
    driver.pass(100);
    assert_eq!(texts(&driver), ["9:10"], "still delayed");
    driver.pass(900);
    driver.crash(1)?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ALL);
    Ok(())
}

fn open(driver: &Driver) -> (ShardId, BundleId) {
    driver.open("count")[0]
}

#[test]
fn a_running_bundle_gives_back_half_of_its_work() -> Result<()> {
    let mut driver = counting(&[("0..25", 0)], 100, 0, true, 1)?;
    driver.observer.strict = true;
    driver.hold("count");
    driver.settle();
    driver.split(S, open(&driver).1, 0.5);
    driver.listen(S);
    driver.settle();
    assert_eq!(driver.open("count").len(), 2, "the other half runs beside it");
    driver.release("count");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ALL);
    Ok(())
}

/// Splits what a bundle has in two, as one element of it: what it keeps has two parts.
fn halve_in_parts(start: &mut BundleStart, _fraction: f64) -> SplitReply {
    let Input::Elements { batches } = &mut start.input else { return SplitReply::default() };
    let (input, only) = batches[0].clone();
    let ranges: Vec<(i64, i64)> = only.rows().iter().map(|row| range(only.value(row))).collect();
    let (from, to) = (ranges[0].0, ranges[ranges.len() - 1].1);
    let (quarter, middle) = ((3 * from + to) / 4, (from + to) / 2);
    let primary = batch(&[(&format!("{from}..{quarter}"), 0), (&format!("{quarter}..{middle}"), 0)]);
    batches[0] = (input, primary.clone());
    SplitReply { keep: Some(0), primary: Some(primary), residuals: vec![residual(middle, to, 0, Some(middle))] }
}

#[test]
fn an_element_that_was_split_into_parts_is_still_one_element_to_the_next_split() -> Result<()> {
    for fails in [false, true] {
        let mut driver = counting_by(halve_in_parts, true, &[("0..25", 0)], 100, 0, true, 1)?;
        driver.hold("count");
        driver.settle();
        let (shard, bundle) = open(&driver);
        for _ in 0..2 {
            driver.split(shard, bundle, 0.5);
            driver.listen(S);
            driver.settle();
        }
        assert_eq!(driver.open("count").len(), 3, "two rests run beside it");
        if fails {
            driver.fail_bundle(shard, None, bundle);
        }
        driver.release("count");
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), ALL, "it fails: {fails}");
    }
    Ok(())
}

#[test]
fn a_retry_after_a_split_repeats_the_primary_alone() -> Result<()> {
    let mut driver = counting(&[("0..25", 0)], 100, 0, true, 1)?;
    driver.hold("count");
    driver.settle();
    let (shard, bundle) = open(&driver);
    driver.split(shard, bundle, 0.5);
    driver.listen(S);
    driver.settle();
    driver.fail_bundle(shard, None, bundle);
    driver.release("count");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ALL);
    Ok(())
}

#[test]
fn a_split_is_remembered_by_the_cut_whatever_half_is_done_at_the_crash() -> Result<()> {
    // epochs before the split (so that the input has a stored copy or an unmoved position), after it, or both
    let cases =
        [(false, true, false), (true, true, false), (true, false, false), (false, true, true), (true, true, true)];
    for ((before, after, residual_done), spread) in cases.into_iter().flat_map(|c| [(c, true), (c, false)]) {
        let rows = [("0..25", 0), ("90..92", 1)];
        let rows = if spread { &rows[..] } else { &rows[..1] };
        let mut driver = counting_in(spread, rows, 100, 0, true, 1)?;
        driver.hold("count");
        driver.read_rows = Some(1);
        driver.settle();
        if before {
            driver.pass_epoch();
        }
        let (shard, bundle) = open(&driver);
        let others = driver.open("count").len();
        driver.split(shard, bundle, 0.5);
        driver.listen(S);
        driver.settle();
        assert_eq!(driver.open("count").len(), others + 1, "the residual");
        if residual_done {
            let last = driver.open("count").last().map(|o| o.1).expect("the residual");
            driver.work(shard, None, last);
            driver.settle();
        }
        if after {
            driver.pass_epoch();
        }
        driver.crash(1)?;
        driver.release("count");
        assert_eq!(driver.run_to_end(), Outcome::Done);
        let mut texts = texts(&driver);
        texts.retain(|t| !t.starts_with("99"));
        assert_eq!(texts, ALL, "epoch before {before}, after {after}, residual done {residual_done}, spread {spread}");
    }
    Ok(())
}

#[test]
fn whole_elements_given_back_keep_their_place_in_the_lane() -> Result<()> {
    let mut t = Topology::new();
    let names: Vec<String> = (0..30).map(|i| format!("{i:02}")).collect();
    let rows: Vec<(&str, i64)> = names.iter().map(|n| (n.as_str(), 0)).collect();
    let lines = t.source("lines", vec![ScriptedSplit::of(&rows)]);
    let passed = t.plain("passed", &Windowing::global());
    let pass = User::new("count", |work: &mut Work| {
        work.elements().iter().for_each(|e| work.emit(0, b"", &e.value, e.time, &e.windows));
        Ok(())
    });
    t.user(pass.bundles(2), &[lines], &[passed]);
    out(&mut t, passed);
    let mut driver = t.driver(Config { bundle_rows_max: 8, ..config(1) })?;
    driver.read_rows = Some(3);
    driver.hold("count");
    let mut splits = 0;
    while !driver.is_over() {
        driver.settle();
        let Some((shard, bundle)) = driver.open("count").last().copied() else { break };
        driver.split(shard, bundle, 0.5);
        driver.listen(shard);
        driver.settle();
        splits += 1;
        let (shard, first) = open(&driver);
        driver.work(shard, None, first);
        driver.settle();
    }
    driver.release("count");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(topologies::written(&driver), names);
    assert!(splits > 4, "{splits} splits");
    Ok(())
}

#[test]
fn a_long_restriction_holds_up_no_other() -> Result<()> {
    for spread in [true, false] {
        let mut t = Topology::new();
        let lines = t.source("lines", vec![ScriptedSplit::of(&[("a", 0), ("b", 1), ("c", 2)])]);
        let passed = t.plain("passed", &Windowing::global());
        let pass = User::new("count", |work: &mut Work| {
            work.elements().iter().for_each(|e| work.emit(0, b"", &e.value, e.time, &e.windows));
            Ok(())
        });
        let pass = if spread { pass.spread() } else { pass };
        t.user(pass.bundles(3), &[lines], &[passed]);
        out(&mut t, passed);
        let mut driver = t.driver(config(1))?;
        driver.read_rows = Some(1);
        driver.hold("count");
        driver.settle();
        for (shard, bundle) in &driver.open("count")[1..] {
            driver.work(*shard, None, *bundle);
        }
        driver.pass_epoch();
        // what was read in order takes effect in order; what was spread does not wait
        assert_eq!(texts(&driver), if spread { &["b", "c"][..] } else { &[][..] });
        driver.release("count");
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), ["a", "b", "c"]);
    }
    Ok(())
}
