//! Failure through the worker port: bundles that fail, workers that are lost, timers that fail, and what metrics say of it.

mod topologies;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use thalweg_core::engine::{Config, Outcome};
use thalweg_core::error::{Domain, Error, Result};
use thalweg_core::id::ShardId;
use thalweg_core::metric::MetricValue;
use thalweg_core::port::worker::{Command, TimeDomain, Worker};
use thalweg_core::testing::{Driver, Piece, ScriptedSplit, Topology, User, Work};
use thalweg_core::time::EventTime;
use thalweg_core::window::{Window, Windowing};
use topologies::{by_letter, config, keyed_lines, out, tens, text, texts};

const S: ShardId = ShardId(0);

/// A keyed stage whose first `failures` attempts at the key `b` fail after having put out and changed state.
fn failing(failures: u32, config: Config) -> Result<(Driver, Arc<Mutex<Vec<u64>>>)> {
    failing_with(failures, config, Error::new("BUNDLE_FAILED", Domain::Guest, "b is bad").trace("line 7"))
}

fn failing_with(failures: u32, config: Config, error: Error) -> Result<(Driver, Arc<Mutex<Vec<u64>>>)> {
    let mut t = Topology::new();
    let keyed = keyed_lines(&mut t, vec![ScriptedSplit::of(&[("a", 1), ("b", 2), ("b", 3)])], &Windowing::global());
    let counted = t.plain("counted", &Windowing::global());
    let (left, tokens) = (AtomicU32::new(failures), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&tokens);
    let count = User::new("count", move |work: &mut Work| {
        seen.lock().expect("lock").push(work.start.cache_token.0);
        for e in work.elements() {
            let n = work.value(e.group, "n")?.map_or(0, |v| v[0]) + 1;
            work.set_value(e.group, "n", Some(&[n]))?;
            work.count("elements", 1);
            work.emit(0, b"", format!("{}{n}", text(&e.key)).as_bytes(), e.time, &e.windows);
            if e.key == b"b" && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                return Err(error.clone());
            }
        }
        Ok(())
    });
    t.user(count.state("n"), &[keyed], &[counted]);
    out(&mut t, counted);
    Ok((t.driver(config)?, tokens))
}

#[test]
fn a_failed_bundle_leaves_no_trace_and_is_retried_whole() -> Result<()> {
    let (mut driver, tokens) = failing(3, config(1))?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ["a1", "b1", "b2"]);
    let tokens = tokens.lock().expect("lock").clone();
    let mut different = tokens.clone();
    different.dedup();
    assert_eq!(tokens, different, "every failure changes the cache token");
    Ok(())
}

#[test]
fn metrics_count_attempts_and_what_is_committed() -> Result<()> {
    let (mut driver, _) = failing(1, config(1))?;
    driver.hold("by letter");
    driver.settle();
    driver.release("by letter");
    while driver.sums.attempted.is_empty() {
        assert!(driver.sums.committed.is_empty());
        topologies::take(&mut driver, 1);
    }
    assert!(driver.sums.committed.is_empty(), "not before the commit");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    let sum = |m: &thalweg_core::metric::Metrics| m.0.values().next().cloned();
    assert_eq!(sum(&driver.sums.committed), Some(MetricValue::Sum(3)));
    assert_eq!(sum(&driver.sums.attempted), Some(MetricValue::Sum(3)), "a failed bundle reports none at its end");
    Ok(())
}

#[test]
fn a_bundle_that_fails_too_often_fails_the_job_by_name() -> Result<()> {
    let (mut driver, _) = failing(100, config(1))?;
    let Outcome::Failed(error) = driver.run_to_end() else { unreachable!("it always fails") };
    assert_eq!((error.code, error.transform.as_str(), error.trace.as_str()), ("BUNDLE_FAILED", "count", "line 7"));
    assert!(texts(&driver).is_empty());
    Ok(())
}

#[test]
fn a_bundle_whose_error_would_come_again_is_not_tried_again() -> Result<()> {
    let hopeless = Error::new("BUNDLE_FAILED", Domain::Guest, "it loops").permanent();
    let (mut driver, tokens) = failing_with(100, config(1), hopeless)?;
    assert!(matches!(driver.run_to_end(), Outcome::Failed(error) if error.message == "it loops"));
    assert_eq!(tokens.lock().expect("lock").len(), 1);
    Ok(())
}

#[test]
fn retries_pause_longer_and_longer() -> Result<()> {
    let (mut driver, tokens) = failing(3, Config { retry_ms: 20, ..config(1) })?;
    driver.settle();
    let attempts = || tokens.lock().expect("lock").len();
    let begin = attempts();
    for pause in [20, 40, 80] {
        driver.pass(pause - 1);
        let before = attempts();
        driver.pass(1);
        assert!(attempts() > before, "after {pause} ms");
    }
    assert_eq!(begin, 1);
    Ok(())
}

#[test]
fn a_failing_timer_fails_the_job_but_old_failures_are_forgotten() -> Result<()> {
    for (each, ends_well) in [(2, true), (9, false)] {
        let mut t = Topology::new();
        let rows: Vec<_> = (0..8).map(|i| ("a", i * 10)).collect();
        let keyed = keyed_lines(&mut t, vec![ScriptedSplit::of(&rows)], &tens());
        let fired = t.plain("fired", &tens());
        let left = Mutex::new(std::collections::BTreeMap::new());
        let run = move |work: &mut Work| {
            for piece in work.pieces() {
                match piece {
                    Piece::Element(e) => {
                        let end = e.windows[0].max_timestamp();
                        work.set_timer(e.group, "t", "", end.0, end);
                    }
                    Piece::Timer(_, due) => {
                        let mut left = left.lock().expect("lock");
                        let left = left.entry(due.fire).or_insert(each);
                        if *left > 0 {
                            *left -= 1;
                            return Err(Error::new("BUNDLE_FAILED", Domain::Guest, "the timer fails"));
                        }
                        work.emit(0, b"", b"x", due.hold, &[Window::Global]);
                    }
                }
            }
            Ok(())
        };
        t.user(User::new("timer", run).timer("t", TimeDomain::Event), &[keyed], &[fired]);
        out(&mut t, fired);
        let mut driver = t.driver(Config { bundle_rows_max: 1, ..config(1) })?;
        assert_eq!(driver.run_to_end() == Outcome::Done, ends_well, "{each} failures each");
        assert_eq!(texts(&driver).len(), if ends_well { 8 } else { 0 });
    }
    Ok(())
}

#[test]
fn a_lost_workers_bundles_run_on_the_next_one_and_late_words_are_nobodys() -> Result<()> {
    for late in [false, true] {
        let (mut driver, _) = failing(0, config(1))?;
        driver.hold("count");
        driver.settle();
        let (shard, bundle) = driver.open("count")[0];
        driver.work(shard, None, bundle); // done, but not yet heard
        driver.lose_worker(shard, None, late);
        driver.release("count");
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), ["a1", "b1", "b2"]);
    }
    Ok(())
}

#[test]
fn a_bundle_that_loses_its_worker_too_often_fails_the_job() -> Result<()> {
    let (mut driver, _) = failing(0, Config { losses_max: 3, ..config(1) })?;
    driver.hold("count");
    for _ in 0..3 {
        driver.settle();
        assert_eq!(driver.outcome(), None);
        driver.lose_worker(S, None, false);
    }
    let Outcome::Failed(error) = driver.run_to_end() else { unreachable!("it was lost three times") };
    assert_eq!((error.code, error.transform.as_str()), ("WORKER_LOST", "count"));
    Ok(())
}

#[test]
fn a_lost_worker_takes_only_its_own_environment_with_it() -> Result<()> {
    let mut t = Topology::new();
    let lines = t.source("lines", vec![ScriptedSplit::of(&[("a", 1), ("b", 2)])]);
    let (one, two) = (t.keyed("one", &Windowing::global()), t.keyed("two", &Windowing::global()));
    t.user(by_letter("first", &Windowing::global()), &[lines], &[one]);
    t.user(by_letter("second", &Windowing::global()).environment(7), &[one], &[two]);
    out(&mut t, two);
    let mut driver = t.driver(config(1))?;
    driver.hold("first");
    driver.settle();
    let open = driver.open("first");
    let other = driver.environment(driver.stage("second"));
    driver.lose_worker(S, other, false);
    driver.settle();
    assert_eq!(driver.open("first"), open, "not touched");
    driver.release("first");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ["a", "b"]);
    Ok(())
}

#[test]
fn progress_changes_attempted_metrics_alone() -> Result<()> {
    let (mut driver, _) = failing(0, config(1))?;
    driver.hold("count");
    driver.settle();
    let (shard, bundle) = driver.open("count")[0];
    driver.worker(shard, "count").submit(Command::Progress(bundle))?;
    driver.listen(shard);
    driver.settle();
    assert!(driver.sums.committed.is_empty());
    driver.release("count");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ["a1", "b1", "b2"]);
    Ok(())
}

#[test]
fn a_key_that_is_not_in_the_bundle_is_denied() -> Result<()> {
    for timer in [false, true] {
        let mut t = Topology::new();
        let keyed = keyed_lines(&mut t, vec![ScriptedSplit::of(&[("a", 1)])], &Windowing::global());
        let never = t.plain("never", &Windowing::global());
        let stray = User::new("stray", move |work: &mut Work| {
            if timer {
                work.set_timer(7, "t", "", 10, EventTime(10));
                return Ok(());
            }
            work.append(7, "n", b"x")
        });
        t.user(stray.state("n").timer("t", TimeDomain::Event), &[keyed], &[never]);
        out(&mut t, never);
        let mut driver = t.driver(config(1))?;
        let Outcome::Failed(error) = driver.run_to_end() else { unreachable!("the key is foreign") };
        assert_eq!(error.code, if timer { "TIMER_FOREIGN_KEY" } else { "STATE_FOREIGN_KEY" });
    }
    Ok(())
}
