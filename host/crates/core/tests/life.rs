//! The life of a job: paused and resumed, left to others, finished before another pipeline takes over.

mod topologies;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thalweg_core::engine::{Config, JobEvent, Outcome, check_job, stored_revision};
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;
use thalweg_core::port::store::StateStore as _;
use thalweg_core::port::worker::TimeDomain;
use thalweg_core::state::layout::Kind;
use thalweg_core::testing::{Driver, Piece, ScriptedSplit, SinkKind, SplitMix64, Topology, User, Work};
use thalweg_core::window::{Window, Windowing};
use topologies::{choose, config, keyed_lines, out, text, texts, written};

fn rows() -> Vec<ScriptedSplit> {
    let letters: Vec<String> = (0..52u8).map(|i| format!("{}{}!", (b'a' + i % 26) as char, i / 26)).collect();
    vec![ScriptedSplit::of(&letters.iter().map(|l| (l.as_str(), 1)).collect::<Vec<_>>())]
}

/// Each letter comes twice, and is numbered.
fn all() -> Vec<String> {
    let mut all: Vec<String> =
        (b'a'..=b'z').flat_map(|b| [format!("{}1", b as char), format!("{}2", b as char)]).collect();
    all.sort();
    all
}

/// Numbers every key's elements. `late` after an element, by the clock, its key says so.
fn numbering(late: Option<i64>) -> (Topology, Arc<AtomicU64>) {
    let ran = Arc::new(AtomicU64::new(0));
    let mut t = Topology::new();
    t.epoch_ms = 10;
    let keyed = keyed_lines(&mut t, rows(), &Windowing::global());
    let numbered = t.plain("numbered", &Windowing::global());
    let count = Arc::clone(&ran);
    let number = User::new("number", move |work: &mut Work| {
        let now = work.start.now;
        for piece in work.pieces() {
            match piece {
                Piece::Element(e) => {
                    count.fetch_add(1, Ordering::Relaxed);
                    let n = work.value(e.group, "n")?.map_or(0, |v| v[0]) + 1;
                    work.set_value(e.group, "n", Some(&[n]))?;
                    work.emit(0, b"", format!("{}{n}", text(&e.key)).as_bytes(), e.time, &e.windows);
                    if let Some(ms) = late {
                        work.set_timer(e.group, "t", "", now.0 + ms, e.time);
                    }
                }
                Piece::Timer(_, due) => work.emit(0, b"", b"late", due.hold, &[Window::Global]),
            }
        }
        Ok(())
    });
    let number = number.state("n");
    let number = if late.is_some() { number.timer("t", TimeDomain::Processing) } else { number };
    t.user(number, &[keyed], &[numbered]);
    out(&mut t, numbered);
    (t, ran)
}

#[test]
fn a_job_that_is_paused_reads_nothing_finishes_what_it_has_and_goes_on_when_it_is_told() -> Result<()> {
    for shards in [1, 2] {
        let (topology, _) = numbering(None);
        let mut driver = topology.driver(config(shards))?;
        driver.read_rows = Some(10);
        while driver.rows_read() < 20 {
            let choice = driver.choices()[0];
            driver.take(choice);
        }
        driver.tell(JobEvent::Pause);
        driver.settle();
        driver.pass_epoch();
        driver.pass_epoch();
        let (read, there) = (driver.rows_read(), written(&driver).len());
        assert!((20..52).contains(&read), "{read} rows were read");
        assert_eq!(there as u64, read, "what was read is finished and committed");
        for _ in 0..20 {
            driver.pass_epoch();
        }
        assert_eq!((driver.rows_read(), written(&driver).len()), (read, there), "paused");
        driver.tell(JobEvent::Resume);
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), all());
    }
    Ok(())
}

#[test]
fn a_job_may_be_paused_from_its_first_moment_and_a_drain_ends_a_pause() -> Result<()> {
    let (topology, _) = numbering(None);
    let mut driver = topology.driver(Config { paused: true, ..config(2) })?;
    driver.tell(JobEvent::Pause);
    driver.settle();
    (0..5).for_each(|_| driver.pass_epoch());
    assert_eq!((driver.rows_read(), written(&driver).len()), (0, 0));
    driver.drain();
    assert_eq!(driver.run_to_end(), Outcome::Drained);
    Ok(())
}

#[test]
fn timers_by_the_clock_wait_for_the_end_of_a_pause() -> Result<()> {
    let (topology, _) = numbering(Some(100));
    let mut driver = topology.driver(config(1))?;
    driver.read_rows = Some(10);
    while driver.rows_read() < 20 {
        let choice = driver.choices()[0];
        driver.take(choice);
    }
    driver.tell(JobEvent::Pause);
    driver.settle();
    driver.pass(1000);
    assert!(!texts(&driver).contains(&"late".to_owned()));
    assert_eq!(written(&driver).len() as u64, driver.rows_read());
    driver.tell(JobEvent::Resume);
    driver.pass(20);
    assert!(texts(&driver).contains(&"late".to_owned()), "they are due since long");
    Ok(())
}

#[test]
fn a_job_that_is_left_lets_what_runs_come_to_its_end_and_nothing_runs_twice() -> Result<()> {
    let (topology, ran) = numbering(None);
    let mut driver = topology.driver(config(1))?;
    driver.read_rows = Some(10);
    driver.hold("number");
    while driver.open("number").is_empty() {
        let choice = driver.choices()[0];
        driver.take(choice);
    }
    driver.tell(JobEvent::Leave(1000));
    driver.pass(500);
    assert_eq!(driver.outcome(), None, "it waits for the bundle that runs");
    driver.release("number");
    driver.settle();
    driver.pass(20);
    assert_eq!(driver.outcome(), Some(Outcome::Cancelled), "it does not wait for the rest of its time");
    let before = ran.load(Ordering::Relaxed);
    assert!((1..52).contains(&before), "{before} elements ran before it was left");
    assert_eq!(written(&driver).len() as u64, before, "all that ran is committed");
    driver.crash(2)?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!((texts(&driver), ran.load(Ordering::Relaxed)), (all(), 52));
    Ok(())
}

#[test]
fn a_job_is_left_in_time_although_a_bundle_does_not_end() -> Result<()> {
    let (topology, ran) = numbering(None);
    let mut driver = topology.driver(config(1))?;
    driver.hold("number");
    driver.settle();
    driver.tell(JobEvent::Leave(100));
    driver.pass(150);
    assert_eq!(driver.outcome(), Some(Outcome::Cancelled));
    driver.crash(1)?;
    driver.release("number");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!((texts(&driver), ran.load(Ordering::Relaxed)), (all(), 52));
    Ok(())
}

#[test]
fn before_another_pipeline_takes_over_what_was_read_is_finished() -> Result<()> {
    let (topology, _) = numbering(None);
    let mut driver = topology.driver(config(2))?;
    driver.read_rows = Some(10);
    driver.hold("number");
    while driver.rows_read() < 20 {
        let choice = driver.choices()[0];
        driver.take(choice);
    }
    driver.tell(JobEvent::Settle(10_000));
    driver.settle();
    driver.pass(100);
    assert!(driver.stored(Kind::Pending) > 0, "so far it waits");
    driver.release("number");
    driver.settle();
    driver.pass(50);
    assert_eq!(driver.outcome(), Some(Outcome::Cancelled));
    assert_eq!(driver.stored(Kind::Pending), 0);
    assert!(driver.store.last_epoch()? > Epoch(0) && written(&driver).len() < 52);
    driver.crash(1)?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), all());
    Ok(())
}

#[test]
fn pauses_and_departures_at_any_moment_lose_and_double_nothing() -> Result<()> {
    for seed in 0..60 {
        let mut rng = SplitMix64::new(seed);
        let (topology, _) = numbering(None);
        let mut driver = topology.driver(config(1 + rng.below(3) as u16))?;
        driver.read_rows = Some(3);
        let mut paused = false;
        for _ in 0..400 {
            if driver.is_over() {
                match driver.outcome() {
                    Some(Outcome::Done) => break,
                    Some(Outcome::Cancelled) => driver.crash(1 + rng.below(3) as u16)?,
                    other => unreachable!("seed {seed}: {other:?}"),
                }
                paused = false;
            }
            if rng.permille(20) {
                paused = !paused;
                driver.tell(if paused { JobEvent::Pause } else { JobEvent::Resume });
            } else if rng.permille(10) {
                driver.tell(if rng.permille(500) { JobEvent::Leave(50) } else { JobEvent::Settle(50) });
            }
            let choice = choose(&mut rng, &driver);
            driver.take(choice);
        }
        driver.crash(2)?;
        assert_eq!(driver.run_to_end(), Outcome::Done, "seed {seed}");
        assert_eq!(texts(&driver), all(), "seed {seed}");
    }
    Ok(())
}

/// Numbers every key's elements and has them told by a function without state, in a stage of its own.
fn told_by(name: &str, sink: &str) -> Topology {
    let mut t = Topology::new();
    t.epoch_ms = 10;
    let keyed = keyed_lines(&mut t, rows(), &Windowing::global());
    let numbered = t.plain("numbered", &Windowing::global());
    let number = User::new("number", |work: &mut Work| {
        for e in work.elements() {
            let n = work.value(e.group, "n")?.map_or(0, |v| v[0]) + 1;
            work.set_value(e.group, "n", Some(&[n]))?;
            work.emit(0, b"", format!("{}{n}", text(&e.key)).as_bytes(), e.time, &e.windows);
        }
        Ok(())
    });
    t.user(number.state("n"), &[keyed], &[numbered]);
    let told = t.plain("told", &Windowing::global());
    let tell = User::new(name, |work: &mut Work| {
        for e in work.elements() {
            work.emit(0, b"", &e.value, e.time, &e.windows);
        }
        Ok(())
    });
    t.user(tell.spread(), &[numbered], &[told]);
    t.sink(sink, SinkKind::Length, told);
    t
}

#[test]
fn another_pipeline_takes_over_state_and_positions_and_input_that_nobody_would_take_is_refused_by_name() -> Result<()> {
    for settles in [true, false] {
        let mut driver = told_by("tell", "out").driver(config(1))?;
        driver.read_rows = Some(10);
        driver.hold("tell");
        while driver.open("tell").is_empty() {
            let choice = driver.choices()[0];
            driver.take(choice);
        }
        if settles {
            driver.release("tell");
        }
        driver.tell(if settles { JobEvent::Settle(1000) } else { JobEvent::Leave(20) });
        driver.pass(1500);
        assert_eq!(driver.outcome(), Some(Outcome::Cancelled));
        let mut before = texts(&driver);
        let store = driver.store.clone();
        assert_eq!(driver.stored(Kind::Pending) == 0, settles);
        let topology = told_by("say", "else");
        let plan = topology.plan()?;
        let same = check_job(&plan, &store, 0).err().map(|e| e.code);
        assert_eq!(same, Some("STATE_OTHER_JOB"), "it is no update");
        check_job(&plan, &store, 1)?;
        let mut updated = Driver::on(topology, Config { revision: 1, ..config(2) }, store)?;
        match updated.run_to_end() {
            Outcome::Done if settles => {
                before.extend(updated.disk("else").texts());
                before.sort();
                assert_eq!(before, all());
                assert_eq!(stored_revision(&updated.store)?, 1);
                let older = check_job(&updated.plan, &updated.store, 0).err().map(|e| e.code);
                assert_eq!(older, Some("STATE_NEWER"));
            }
            Outcome::Failed(error) if !settles => {
                assert_eq!((error.code, error.transform.as_str()), ("UPDATE_INCOMPATIBLE", "tell"));
            }
            other => unreachable!("{settles}: {other:?}"),
        }
    }
    Ok(())
}
