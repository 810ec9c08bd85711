//! Bundles that run for long: asked how far they are, split while places are free, given back when they are endless, truncated
//! when the job drains.

mod topologies;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use thalweg_core::engine::{Config, Outcome};
use thalweg_core::error::Result;
use thalweg_core::id::{BundleId, ShardId};
use thalweg_core::metric::{MetricKey, MetricValue, Metrics};
use thalweg_core::port::worker::{BundleStart, Input, Residual, SplitReply};
use thalweg_core::testing::{Driver, ScriptedSplit, SplitFn, Topology, User, Work};
use thalweg_core::time::EventTime;
use thalweg_core::window::Windowing;
use topologies::{batch, config, out, tens, text, texts};

const S: ShardId = ShardId(0);
/// Far enough to be endless.
const FAR: i64 = 1_000_000;

fn range(value: &[u8]) -> (i64, i64) {
    let line = text(value);
    let (from, to) = line.split_once("..").unwrap_or_default();
    (from.parse().unwrap_or_default(), to.parse().unwrap_or_default())
}

fn residual(from: i64, to: i64) -> Residual {
    let batch = batch(&[(&format!("{from}..{to}"), 0)]);
    Residual { entry: 0, batch, delay_ms: 0, watermark: Some(EventTime(from)) }
}

/// Keeps `keep` numbers of the first range of a bundle, which has one, or half of it.
fn cut(start: &mut BundleStart, keep: Option<i64>) -> SplitReply {
    let Input::Elements { batches } = &mut start.input else { return SplitReply::default() };
    let (input, only) = batches[0].clone();
    let (from, to) = range(only.value(&only.rows()[0]));
    let at = keep.map_or((from + to) / 2, |n| to.min(from + n));
    if at == from || at == to {
        return SplitReply::default();
    }
    let primary = batch(&[(&format!("{from}..{at}"), 0)]);
    batches[0] = (input, primary.clone());
    SplitReply { keep: Some(0), primary: Some(primary), residuals: vec![residual(at, to)] }
}

/// A place that says it is asked for all has had ten numbers' time; else it shares.
fn splitter() -> SplitFn {
    Arc::new(|start, fraction| cut(start, (fraction >= 1.0).then_some(10)))
}

/// Counts ranges, grouped by tens. A truncated endless range ends three numbers on.
fn counting(rows: &[(&str, i64)], unbounded: bool, sizes: Config, split: SplitFn) -> Result<Driver> {
    let mut t = Topology::new();
    t.epoch_ms = 10;
    let lines = t.source("lines", vec![ScriptedSplit::of(rows)]);
    let numbers = t.keyed("numbers", &tens());
    let window_fn = tens().window_fn;
    let count = User::new("count", move |work: &mut Work| {
        for e in work.elements() {
            let (from, to) = range(&e.value);
            if work.start.truncate {
                let to = if to >= FAR { from + 3 } else { to };
                work.residual(Residual { watermark: None, ..residual(from, to) });
                continue;
            }
            assert!(to < FAR, "nobody counts so far");
            for n in from..to {
                let time = EventTime(n);
                work.emit(0, b"k", n.to_string().as_bytes(), time, &window_fn.assign(time));
            }
        }
        Ok(())
    });
    t.user(count.splittable(unbounded).bundles(4), &[lines], &[numbers]);
    let grouped = t.group("group", numbers);
    let told = t.plain("told", &Windowing::global());
    let tell = User::new("tell", |work: &mut Work| {
        for e in work.elements() {
            let line = format!("{}:{}", e.time.0, e.value[3]);
            work.emit(0, b"", line.as_bytes(), e.time, &e.windows);
        }
        Ok(())
    });
    t.user(tell, &[grouped], &[told]);
    out(&mut t, told);
    t.splits(split);
    let mut driver = t.driver(sizes)?;
    driver.observer.strict = true;
    Ok(driver)
}

fn sizes(shards: u16) -> Config {
    Config { progress_ms: 20, split_after_ms: 0, checkpoint_ms: 0, ..config(shards) }
}

fn open(driver: &Driver) -> Vec<(ShardId, BundleId)> {
    driver.open("count")
}

#[test]
fn a_long_bundle_is_split_until_no_place_is_free_and_every_number_is_counted_once() -> Result<()> {
    let sizes = Config { split_after_ms: 100, ..sizes(1) };
    let mut driver = counting(&[("0..40", 0)], false, sizes, splitter())?;
    driver.hold("count");
    driver.pass(90);
    assert_eq!(open(&driver).len(), 1, "it is not long yet");
    driver.pass(20);
    assert_eq!(open(&driver).len(), 2);
    driver.pass(2000);
    assert_eq!(open(&driver).len(), 4, "its worker takes four");
    driver.release("count");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ["19:10", "29:10", "39:10", "9:10"]);
    Ok(())
}

#[test]
fn who_can_give_nothing_back_is_asked_later_and_later() -> Result<()> {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let split: SplitFn = Arc::new(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        SplitReply::default()
    });
    let mut driver = counting(&[("0..10", 0)], false, Config { split_after_ms: 10, ..sizes(1) }, split)?;
    driver.hold("count");
    driver.pass(1000);
    let first = asked.swap(0, Ordering::Relaxed);
    assert!((4..10).contains(&first), "{first} times");
    driver.pass(1000);
    assert!(asked.load(Ordering::Relaxed) <= 2);
    driver.release("count");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ["9:10"]);
    Ok(())
}

#[test]
fn an_endless_restriction_is_given_back_so_that_epochs_and_watermarks_go_on() -> Result<()> {
    let endless = format!("0..{FAR}");
    let mut driver = counting(&[(&endless, 0)], true, Config { checkpoint_ms: 100, ..sizes(1) }, splitter())?;
    driver.hold("count");
    for seen in [&[][..], &["9:10"], &["19:10", "9:10"]] {
        assert_eq!(texts(&driver), seen);
        driver.pass(130);
        let (shard, bundle) = open(&driver)[0];
        driver.work(shard, None, bundle);
        driver.listen(S);
        driver.pass(30);
    }
    assert!(!open(&driver).is_empty(), "the rest goes on");
    Ok(())
}

#[test]
fn a_drain_truncates_what_runs_and_what_waits() -> Result<()> {
    for shards in [1, 4] {
        let endless = format!("20..{FAR}");
        let rows = [("0..10", 0), (endless.as_str(), 0)];
        let mut driver = counting(&rows, true, sizes(shards), splitter())?;
        driver.hold("count");
        driver.pass(100);
        driver.drain();
        // the bundle that counts far away is asked for what it has not begun: it keeps ten numbers
        driver.pass(200);
        driver.release("count");
        assert_eq!(driver.run_to_end(), Outcome::Drained);
        assert_eq!(texts(&driver), ["29:10", "39:3", "9:10"], "{shards} shards");
    }
    Ok(())
}

#[test]
fn a_drain_does_not_wait_for_what_asked_to_go_on_later() -> Result<()> {
    const HOUR: i64 = 3_600_000;
    let mut t = Topology::new();
    let start = t.impulse("start");
    let told = t.plain("told", &Windowing::global());
    let poll = User::new("poll", |work: &mut Work| {
        for e in work.elements() {
            let line = if work.start.truncate { "the end" } else { "polled" };
            work.emit(0, b"", line.as_bytes(), e.time, &e.windows);
            if !work.start.truncate {
                work.residual(Residual { delay_ms: HOUR, ..residual(0, FAR) });
            }
        }
        Ok(())
    });
    t.user(poll.splittable(true), &[start], &[told]);
    out(&mut t, told);
    let mut driver = t.driver(sizes(1))?;
    driver.pass(100);
    let begun = driver.now;
    driver.drain();
    assert_eq!(driver.run_to_end(), Outcome::Drained);
    assert_eq!(texts(&driver), ["polled", "the end"]);
    assert!(driver.now < begun.plus(HOUR), "{:?} after {begun:?}", driver.now);
    Ok(())
}

#[test]
fn a_job_drained_from_its_first_moment_truncates_everything_and_reads_nothing() -> Result<()> {
    let mut t = Topology::new();
    let start = t.impulse("start");
    let lines = t.source("lines", vec![ScriptedSplit::of(&[("never", 0)])]);
    let made = t.plain("made", &Windowing::global());
    let make = User::new("make", |work: &mut Work| {
        let endless = format!("7..{FAR}");
        work.elements().iter().for_each(|e| work.emit(0, b"", endless.as_bytes(), e.time, &e.windows));
        Ok(())
    });
    t.user(make, &[start], &[made]);
    let told = t.plain("told", &Windowing::global());
    let all = t.plain("all", &Windowing::global());
    let count = User::new("count", |work: &mut Work| {
        for e in work.elements() {
            let (from, to) = range(&e.value);
            if work.start.truncate {
                assert_eq!(to, FAR, "only once");
                work.residual(Residual { watermark: None, ..residual(from, from + 4) });
            } else if to - from > 1 {
                // what it gives back itself is truncated already
                work.emit(0, b"", from.to_string().as_bytes(), e.time, &e.windows);
                work.residual(residual(from + 1, to));
            }
        }
        Ok(())
    });
    t.user(count.splittable(true), &[made], &[told]);
    t.flatten("both", &[told, lines], all);
    out(&mut t, all);
    let mut driver = t.driver(Config { drain: true, ..sizes(2) })?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ["7", "8", "9"]);
    Ok(())
}

#[test]
fn a_residual_at_the_beginning_of_time_holds_the_watermark_only_until_the_next() -> Result<()> {
    let mut t = Topology::new();
    t.epoch_ms = 10;
    let start = t.impulse("start");
    let numbers = t.keyed("numbers", &tens());
    let window_fn = tens().window_fn;
    // as a wrapped unbounded source does: nothing yet, then elements and a watermark
    let read = User::new("read", move |work: &mut Work| {
        for e in work.elements() {
            let at: i64 = text(&e.value).parse().unwrap_or_default();
            let watermark = (at > 2).then_some(EventTime(at * 10));
            if at > 2 {
                let time = EventTime(at * 10);
                work.emit(0, b"k", b"v", time, &window_fn.assign(time));
            }
            let mut next = residual(0, 0);
            next.batch = batch(&[(&(at + 1).to_string(), EventTime::MIN.0)]);
            work.residual(Residual { delay_ms: 5, watermark: watermark.or(Some(EventTime::MIN)), ..next });
        }
        Ok(())
    });
    t.user(read.splittable(true), &[start], &[numbers]);
    let grouped = t.group("group", numbers);
    out(&mut t, grouped);
    let mut driver = t.driver(sizes(1))?;
    driver.pass(100);
    assert!(texts(&driver).len() > 5, "{:?}", texts(&driver));
    Ok(())
}

#[test]
fn restrictions_are_dealt_out_one_by_one() -> Result<()> {
    let names: Vec<String> = (0..16).map(|n| format!("{}..{}", 10 * n, 10 * n + 10)).collect();
    let rows: Vec<(&str, i64)> = names.iter().map(|n| (n.as_str(), 0)).collect();
    let mut driver = counting(&rows, false, sizes(4), splitter())?;
    driver.read_rows = Some(16);
    driver.hold("count");
    driver.settle();
    for shard in (0..4).map(ShardId) {
        assert_eq!(open(&driver).iter().filter(|(s, _)| *s == shard).count(), 4, "{shard:?}");
    }
    driver.release("count");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver).len(), 16);
    Ok(())
}

fn count(n: i64) -> Metrics {
    let key = MetricKey { urn: "u".to_owned(), kind: "k".to_owned(), labels: Default::default() };
    Metrics([(key, MetricValue::Sum(n))].into())
}

#[test]
fn metrics_of_a_running_bundle_are_told_and_those_of_a_lost_one_stay_attempted() -> Result<()> {
    let mut driver = counting(&[("0..10", 0)], false, sizes(1), splitter())?;
    driver.hold("count");
    driver.settle();
    driver.worker(S, "count").so_far = count(7);
    driver.pass(50);
    assert_eq!(driver.sums.running.get(&S), Some(&count(7)));
    assert_eq!(driver.sums.attempted, Metrics::default());
    driver.lose_worker(S, None, false);
    driver.listen(S);
    driver.settle();
    assert_eq!(driver.sums.attempted, count(7));
    assert_eq!(driver.sums.running.get(&S), Some(&Metrics::default()));
    driver.release("count");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(driver.sums.committed, Metrics::default());
    Ok(())
}
