//! The worker port, one scripted topology per thing it can do: outputs, state, timers of both clocks, finalization, credit. What
//! fails is in `worker_failure`, what is split in `worker_split`, what only the SDK knows of windows in `worker_windows`.

mod topologies;

use thalweg_core::engine::{Config, Outcome};
use thalweg_core::error::Result;
use thalweg_core::id::ShardId;
use thalweg_core::port::worker::TimeDomain;
use thalweg_core::testing::{Driver, Piece, ScriptedSplit, SinkKind, Topology, User, Work};
use thalweg_core::time::EventTime;
use thalweg_core::window::{Window, Windowing};
use topologies::{config, keyed_lines, out, tens, text, texts, written};

const S: ShardId = ShardId(0);

#[test]
fn several_outputs_reach_their_own_consumers() -> Result<()> {
    let mut t = Topology::new();
    let global = Windowing::global();
    let lines = t.source("lines", vec![ScriptedSplit::of(&[("a", 1), ("B", 2), ("c", 3), ("!", 4)])]);
    let (low, high, nobody) = (t.plain("low", &global), t.plain("high", &global), t.plain("nobody", &global));
    let sort = User::new("sort", |work: &mut Work| {
        for e in work.elements() {
            let n = if e.value == b"!" { 2 } else { usize::from(e.value[0].is_ascii_uppercase()) };
            work.emit(n, b"", &e.value, e.time, &e.windows);
        }
        Ok(())
    });
    t.user(sort, &[lines], &[low, high, nobody]);
    let both = t.plain("both", &global);
    t.flatten("both", &[low, high], both);
    for (name, collection) in [("low", low), ("high", high), ("both", both)] {
        t.sink(name, SinkKind::Length, collection);
    }
    let mut driver = t.driver(config(1))?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(driver.disk("low").texts(), ["a", "c"]);
    assert_eq!(driver.disk("high").texts(), ["B"]);
    assert_eq!(driver.disk("both").texts(), ["B", "a", "c"]);
    Ok(())
}

/// Numbers each key's elements with a value state, keeps them in a bag, and on `*` clears both.
fn numbering(bundle_rows_max: usize) -> Result<Driver> {
    let mut t = Topology::new();
    let rows = [("a1", 1), ("b1", 2), ("a2", 3), ("a*", 4), ("a3", 5), ("b2", 6)];
    let keyed = keyed_lines(&mut t, vec![ScriptedSplit::of(&rows)], &Windowing::global());
    let numbered = t.plain("numbered", &Windowing::global());
    let number = User::new("number", |work: &mut Work| {
        for e in work.elements() {
            if e.value.ends_with(b"*") {
                work.clear(e.group, "n")?;
                work.clear(e.group, "bag")?;
                continue;
            }
            let n = work.value(e.group, "n")?.map_or(0, |v| v[0]) + 1;
            work.set_value(e.group, "n", Some(&[n]))?;
            work.append(e.group, "bag", &e.value)?;
            let bag: Vec<String> = work.bag(e.group, "bag")?.iter().map(|v| text(v)).collect();
            work.emit(0, b"", format!("{n}:{}", bag.join("+")).as_bytes(), e.time, &e.windows);
        }
        Ok(())
    });
    t.user(number.state("n").state("bag"), &[keyed], &[numbered]);
    out(&mut t, numbered);
    t.driver(Config { bundle_rows_max, ..config(1) })
}

#[test]
fn state_is_kept_by_key_over_bundles_and_crashes() -> Result<()> {
    let expected = ["1:a1", "1:a3", "1:b1", "2:a1+a2", "2:b1+b2"];
    for rows in [1, 2, 100] {
        let mut driver = numbering(rows)?;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), expected, "{rows} rows a bundle");
        let mut driver = numbering(rows)?;
        driver.read_rows = Some(1);
        for _ in 0..30 {
            (0..7).for_each(|_| driver.take(driver.choices()[0]));
            driver.pass_epoch();
            driver.crash(1)?;
            driver.read_rows = Some(1);
        }
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), expected, "{rows} rows a bundle, with crashes");
    }
    Ok(())
}

/// For an element `x<fire>` of key `x` sets a timer; a fired timer says when it was set for, and its output time.
fn timers(domain: TimeDomain, splits: Vec<ScriptedSplit>) -> Result<Driver> {
    let mut t = Topology::new();
    let keyed = keyed_lines(&mut t, splits, &Windowing::global());
    let fired = t.plain("fired", &Windowing::global());
    let run = |work: &mut Work| {
        for piece in work.pieces() {
            match piece {
                Piece::Element(e) => {
                    // "a@tag=fire" sets, "a@tag" clears
                    let line = text(&e.value);
                    let (_, timer) = line.split_once('@').unwrap_or_default();
                    match timer.split_once('=') {
                        Some((tag, fire)) => {
                            let fire = fire.parse().unwrap_or_default();
                            work.set_timer(e.group, "t", tag, fire, EventTime(e.time.0.max(0)));
                        }
                        None => work.clear_timer(e.group, "t", timer),
                    }
                }
                Piece::Timer(group, due) => {
                    let line = format!("{}@{}={}", text(&work.group(group).key), text(&due.tag), due.fire);
                    work.emit(0, b"", line.as_bytes(), due.hold, &[Window::Global]);
                }
            }
        }
        Ok(())
    };
    t.epoch_ms = 10;
    t.user(User::new("timers", run).timer("t", domain), &[keyed], &[fired]);
    out(&mut t, fired);
    t.driver(config(1))
}

#[test]
fn event_timers_fire_in_the_order_of_their_time_and_by_tag() -> Result<()> {
    let rows = [("a@x=30", 1), ("a@y=20", 2), ("a@z=25", 3), ("a@x=40", 4), ("a@z", 5), ("b@x=10", 6)];
    let mut driver = timers(TimeDomain::Event, vec![ScriptedSplit::of(&rows)])?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    let mut mine = written(&driver);
    mine.retain(|line| line.starts_with('a'));
    assert_eq!(mine, ["a@y=20", "a@x=40"], "set again: replaced; cleared: silent");
    assert_eq!(texts(&driver).len(), 3);
    Ok(())
}

#[test]
fn an_event_timer_waits_until_nothing_of_its_instant_can_come() -> Result<()> {
    // the split promises 20 after its first row, and its second row happens at 20
    let rows = ScriptedSplit::of(&[("a@x=20", 1), ("b@y=99", 20), ("b@y=99", 21)]);
    let mut driver = timers(TimeDomain::Event, vec![rows.endless()])?;
    driver.read_rows = Some(1);
    driver.hold("by letter");
    driver.settle();
    let step = |driver: &mut Driver| {
        let (shard, bundle) = driver.open("by letter")[0];
        driver.work(shard, None, bundle);
        driver.settle();
    };
    step(&mut driver);
    driver.pass_epoch();
    assert!(texts(&driver).is_empty(), "the row of 20 is still upstream");
    step(&mut driver);
    driver.pass_epoch();
    assert_eq!(texts(&driver), ["a@x=20"]);
    Ok(())
}

#[test]
fn processing_timers_fire_by_the_clock() -> Result<()> {
    let rows = ScriptedSplit::of(&[("a@late=1000500", 1), ("a@soon=1000020", 2)]);
    let mut driver = timers(TimeDomain::Processing, vec![rows.endless()])?;
    driver.pass(15);
    assert!(texts(&driver).is_empty());
    driver.pass(25);
    assert_eq!(texts(&driver), ["a@soon=1000020"]);
    driver.pass(500);
    assert_eq!(texts(&driver), ["a@late=1000500", "a@soon=1000020"]);
    Ok(())
}

#[test]
fn processing_timers_fire_by_the_clock_where_another_source_goes_on() -> Result<()> {
    let mut t = Topology::new();
    let ticks = t.source("ticks", vec![ScriptedSplit::of(&[]).endless()]);
    t.sink("ticks", SinkKind::Length, ticks);
    a_timer_waits_for_the_clock(t)
}

#[test]
fn processing_timers_fire_by_the_clock_where_the_endless_part_of_a_job_is_elsewhere() -> Result<()> {
    let mut t = Topology::new();
    // as where another shard has the one split of a topic
    t.endless();
    a_timer_waits_for_the_clock(t)
}

fn a_timer_waits_for_the_clock(mut t: Topology) -> Result<()> {
    let keyed = keyed_lines(&mut t, vec![ScriptedSplit::of(&[("a", 1)])], &Windowing::global());
    let told = t.plain("told", &Windowing::global());
    let run = |work: &mut Work| {
        for piece in work.pieces() {
            match piece {
                Piece::Element(e) => work.set_timer(e.group, "t", "", 1_000_050, e.time),
                Piece::Timer(_, due) => work.emit(0, b"", b"timer", due.hold, &[Window::Global]),
            }
        }
        Ok(())
    };
    t.user(User::new("beat", run).timer("t", TimeDomain::Processing), &[keyed], &[told]);
    out(&mut t, told);
    t.epoch_ms = 10;
    let mut driver = t.driver(config(1))?;
    driver.pass(30);
    assert!(texts(&driver).is_empty());
    driver.pass(50);
    assert_eq!(texts(&driver), ["timer"]);
    Ok(())
}

#[test]
fn processing_timers_wait_for_all_elements_but_not_for_the_clock_where_the_input_has_an_end() -> Result<()> {
    const DAY: i64 = 86_400_000;
    let mut t = Topology::new();
    let rows = [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5)];
    let keyed = keyed_lines(&mut t, vec![ScriptedSplit::of(&rows)], &Windowing::global());
    let told = t.plain("told", &Windowing::global());
    let run = |work: &mut Work| {
        for piece in work.pieces() {
            let (key, what) = match piece {
                Piece::Element(e) => {
                    work.set_timer(e.group, "t", "", 1_000_000 + DAY, e.time);
                    (work.group(e.group).key, "element")
                }
                Piece::Timer(group, _) => (work.group(group).key, "timer"),
            };
            work.emit(0, b"", format!("{} {what}", text(&key)).as_bytes(), EventTime(9), &[Window::Global]);
        }
        Ok(())
    };
    t.user(User::new("buffer", run).timer("t", TimeDomain::Processing), &[keyed], &[told]);
    out(&mut t, told);
    // an element a bundle: a timer could be due before the next one is taken
    let mut driver = t.driver(Config { bundle_rows_max: 1, ..config(1) })?;
    driver.hold("buffer");
    driver.settle();
    driver.release("buffer");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert!(driver.now.0 < 1_000_000 + DAY, "it waited for the clock");
    let written = written(&driver);
    for key in ["a", "b"] {
        let mine: Vec<&str> = written.iter().filter_map(|line| line.strip_prefix(key)).map(str::trim).collect();
        let elements = rows.iter().filter(|(k, _)| *k == key).count();
        assert_eq!(mine.iter().filter(|what| **what == "element").count(), elements);
        assert_eq!(mine.iter().position(|what| *what == "timer"), Some(elements), "{written:?}");
    }
    Ok(())
}

#[test]
fn a_timers_hold_keeps_the_output_watermark_back() -> Result<()> {
    let mut t = Topology::new();
    let keyed = keyed_lines(&mut t, vec![ScriptedSplit::of(&[("a", 5), ("b", 35)])], &tens());
    let held = t.keyed("held", &tens());
    let run = |work: &mut Work| {
        for piece in work.pieces() {
            match piece {
                // outputs at 5 what is only known at 60
                Piece::Element(e) => work.set_timer(e.group, "t", "", 60, e.time),
                Piece::Timer(group, due) => {
                    let window = work.group(group).window;
                    work.emit(0, b"k", b"late but in time", due.hold, &[window]);
                }
            }
        }
        Ok(())
    };
    t.user(User::new("hold", run).timer("t", TimeDomain::Event), &[keyed], &[held]);
    let grouped = t.group("group", held);
    out(&mut t, grouped);
    let mut driver = t.driver(config(2))?;
    driver.observer.strict = true;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    let panes: Vec<_> = driver.disk("out").lines().iter().map(|l| (l.time.0, l.pane)).collect();
    assert_eq!(panes.len(), 2);
    assert!(panes.iter().all(|(_, pane)| *pane == 0), "every window fired once, on time: {panes:?}");
    Ok(())
}

#[test]
fn a_timer_may_set_itself_again_until_it_stops() -> Result<()> {
    let mut t = Topology::new();
    let keyed = keyed_lines(&mut t, vec![ScriptedSplit::of(&[("a", 0)])], &Windowing::global());
    let beats = t.plain("beats", &Windowing::global());
    let run = |work: &mut Work| {
        for piece in work.pieces() {
            match piece {
                Piece::Element(e) => work.set_timer(e.group, "t", "", 10, EventTime(10)),
                Piece::Timer(group, due) => {
                    work.emit(0, b"", format!("{}", due.fire).as_bytes(), due.hold, &[Window::Global]);
                    if due.fire < 50 {
                        work.set_timer(group, "t", "", due.fire + 10, EventTime(due.fire + 10));
                    }
                }
            }
        }
        Ok(())
    };
    t.user(User::new("loop", run).timer("t", TimeDomain::Event), &[keyed], &[beats]);
    out(&mut t, beats);
    let mut driver = t.driver(config(1))?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(written(&driver), ["10", "20", "30", "40", "50"]);
    Ok(())
}

#[test]
fn a_bundle_is_finalized_after_its_epoch_is_committed_and_only_then() -> Result<()> {
    let mut t = Topology::new();
    let lines = t.source("lines", vec![ScriptedSplit::of(&[("a", 1)]).endless()]);
    let kept = t.plain("kept", &Windowing::global());
    let keep = User::new("keep", |work: &mut Work| {
        work.elements().iter().for_each(|e| work.emit(0, b"", &e.value, e.time, &e.windows));
        work.finalize();
        Ok(())
    });
    t.user(keep, &[lines], &[kept]);
    out(&mut t, kept);
    let mut driver = t.driver(config(1))?;
    driver.settle();
    assert!(driver.worker(S, "keep").finalized.is_empty(), "applied, not committed");
    driver.crash(1)?;
    driver.settle();
    assert!(driver.worker(S, "keep").finalized.is_empty());
    driver.pass_epoch();
    assert_eq!(driver.worker(S, "keep").finalized.len(), 1);
    driver.pass_epoch();
    assert_eq!(driver.worker(S, "keep").finalized.len(), 1);
    Ok(())
}

#[test]
fn a_worker_runs_as_many_bundles_as_it_has_credit_for() -> Result<()> {
    let mut t = Topology::new();
    let rows: Vec<_> = (0..20).map(|i| ("x", i)).collect();
    let lines = t.source("lines", vec![ScriptedSplit::of(&rows)]);
    let passed = t.plain("passed", &Windowing::global());
    let pass = User::new("pass", |work: &mut Work| {
        work.elements().iter().for_each(|e| work.emit(0, b"", &e.value, e.time, &e.windows));
        Ok(())
    });
    t.user(pass.bundles(3), &[lines], &[passed]);
    out(&mut t, passed);
    let mut driver = t.driver(Config { bundle_rows_max: 2, ..config(1) })?;
    driver.hold("pass");
    driver.settle();
    assert_eq!(driver.open("pass").len(), 3);
    let stage = driver.stage("pass");
    driver.worker(S, "pass").credit(stage, 5);
    driver.listen(S);
    driver.settle();
    assert_eq!(driver.open("pass").len(), 5);
    driver.worker(S, "pass").credit(stage, 0);
    driver.listen(S);
    let open = driver.open("pass");
    open.iter().for_each(|(shard, bundle)| driver.work(*shard, None, *bundle));
    driver.settle();
    assert!(driver.open("pass").is_empty(), "no credit, no bundle");
    driver.worker(S, "pass").credit(stage, 1);
    driver.listen(S);
    driver.release("pass");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver).len(), 20);
    Ok(())
}
