//! A TestStream owns time: each of its events happens when nothing else can happen any more, on any number of shards.

mod topologies;

use thalweg_core::engine::{Config, Outcome};
use thalweg_core::error::{Domain, Error, Result};
use thalweg_core::graph::{ScriptEvent, SideAccess};
use thalweg_core::id::ShardId;
use thalweg_core::port::worker::TimeDomain;
use thalweg_core::testing::{Choice, Driver, Piece, SplitMix64, Topology, User, Work};
use thalweg_core::time::EventTime;
use thalweg_core::window::{Accumulation, Window, WindowFn, WindowSet, Windowing};
use topologies::{batch, by_letter, choose, config, out, take, tens, text, texts, written};

fn elements(rows: &[(&str, i64)]) -> ScriptEvent {
    ScriptEvent::Elements { output: 0, batch: batch(rows) }
}

fn watermark(to: i64) -> ScriptEvent {
    ScriptEvent::Watermark { output: 0, to: EventTime(to) }
}

/// Letters counted in windows of ten; the sink gets `key end: n`, with the pane where it is not the first.
fn counts(config: Config, lateness: i64, events: Vec<ScriptEvent>) -> Result<Driver> {
    counts_in(Windowing { allowed_lateness: lateness, ..tens() }, 4, config, events)
}

/// The same in other windows; the first stage's worker takes so many bundles at once.
fn counts_in(windowing: Windowing, bundles: u32, config: Config, events: Vec<ScriptEvent>) -> Result<Driver> {
    let mut t = Topology::new();
    t.epoch_ms = 20;
    let (lines, keyed) = (t.plain("lines", &Windowing::global()), t.keyed("keyed", &windowing));
    t.script("script", events, lines);
    t.user(by_letter("by letter", &windowing).bundles(bundles), &[lines], &[keyed]);
    let grouped = t.group("group", keyed);
    let told = t.plain("told", &Windowing::global());
    let tell = User::new("tell", |work: &mut Work| {
        for e in work.elements() {
            let pane = if e.pane.index > 0 { format!(" ({})", e.pane.index) } else { String::new() };
            let line = format!("{} {}: {}{pane}", text(&e.key), e.time.0 + 1, e.value[3]);
            work.emit(0, b"", line.as_bytes(), e.time, &e.windows);
        }
        Ok(())
    });
    t.user(tell, &[grouped], &[told]);
    out(&mut t, told);
    t.driver(config)
}

fn script() -> Vec<ScriptEvent> {
    vec![
        elements(&[("a", 1), ("b", 2), ("c", 3), ("a", 12)]),
        watermark(10),
        elements(&[("a", 9), ("d", 5), ("d", 15)]), // two are late
        watermark(11),
        elements(&[("b", 11)]),
        watermark(30),
        elements(&[("e", 35)]),
    ]
}

const COUNTED: [&str; 7] = ["a 10: 1", "a 20: 1", "b 10: 1", "b 20: 1", "c 10: 1", "d 20: 1", "e 40: 1"];

#[test]
fn windows_fire_and_elements_are_late_by_the_scripts_watermark() -> Result<()> {
    for shards in [1, 2, 3] {
        let mut driver = counts(config(shards), 0, script())?;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), COUNTED, "{shards} shards");
    }
    Ok(())
}

#[test]
fn late_elements_make_late_panes_while_they_are_allowed() -> Result<()> {
    for shards in [1, 3] {
        let mut driver = counts(config(shards), 100, script())?;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        let mut expected = COUNTED.to_vec();
        expected.extend(["a 10: 1 (1)", "d 10: 1"]);
        expected.sort_unstable();
        assert_eq!(texts(&driver), expected, "{shards} shards");
    }
    Ok(())
}

#[test]
fn accumulating_panes_hold_all_of_the_window_and_discarding_ones_what_is_new() -> Result<()> {
    for (accumulation, second) in
        [(Accumulation::Discarding, "a 10: 1 (1)"), (Accumulation::Accumulating, "a 10: 3 (1)")]
    {
        let events = vec![elements(&[("a", 1), ("a", 2)]), watermark(10), elements(&[("a", 3)])];
        let windowing = Windowing { allowed_lateness: 50, accumulation, ..tens() };
        let mut driver = counts_in(windowing, 1, config(1), events)?;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(written(&driver), ["a 10: 2", second]);
    }
    Ok(())
}

#[test]
fn the_script_gives_the_same_whatever_the_order_of_events() -> Result<()> {
    for seed in 0..60 {
        let mut rng = SplitMix64::new(seed);
        let bounds =
            Config { queue_bytes_max: [1, 1 << 20][rng.below(2)], bundle_rows_max: 1 + rng.below(3), ..config(3) };
        let mut driver = counts(bounds, 0, script())?;
        let mut crashes = 0;
        while !driver.is_over() {
            driver.take(choose(&mut rng, &driver));
            if rng.permille(3) && crashes < 5 && driver.outcome().is_none() {
                crashes += 1;
                driver.crash(1 + rng.below(4) as u16)?;
            }
            let open: Vec<_> = driver.open("by letter");
            if let (Some((shard, bundle)), true) = (open.first(), rng.permille(30)) {
                driver.fail_bundle(*shard, None, *bundle);
            }
        }
        // a bundle may fail too often: then the job has failed, and it is another test
        if driver.outcome() == Some(Outcome::Done) {
            assert_eq!(texts(&driver), COUNTED, "seed {seed}");
        }
    }
    Ok(())
}

#[test]
fn the_next_event_waits_for_a_running_bundle() -> Result<()> {
    let mut driver = counts(config(3), 0, vec![elements(&[("a", 1)]), elements(&[("b", 2)])])?;
    driver.hold("by letter");
    driver.pass(500);
    assert_eq!(driver.open("by letter").len(), 1);
    let (shard, bundle) = driver.open("by letter")[0];
    driver.work(shard, None, bundle);
    driver.pass(500);
    assert_eq!(driver.open("by letter").len(), 1, "the next one");
    Ok(())
}

#[test]
fn the_next_event_waits_for_a_worker_that_is_not_there_yet() -> Result<()> {
    let mut driver = counts_in(tens(), 0, config(1), script())?;
    let stage = driver.stage("by letter");
    let shard = ShardId(0);
    driver.pass(500);
    assert!(driver.open("by letter").is_empty() && texts(&driver).is_empty());
    driver.worker(shard, "by letter").credit(stage, 4);
    driver.listen(shard);
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), COUNTED);
    Ok(())
}

#[test]
fn the_next_event_waits_for_a_retry() -> Result<()> {
    for clock in [false, true] {
        let mut events = script();
        if clock {
            events.insert(1, ScriptEvent::ProcessingTime(1));
        }
        let mut driver = counts(Config { retry_ms: 1000, ..config(1) }, 0, events)?;
        let mut failed = 0;
        while !driver.is_over() {
            let choice = driver.choices()[0];
            match choice {
                Choice::Work(shard, env, bundle) if failed < 3 => {
                    failed += 1;
                    driver.fail_bundle(shard, env, bundle);
                }
                choice => driver.take(choice),
            }
        }
        assert_eq!(texts(&driver), COUNTED);
    }
    Ok(())
}

/// Every element sets a processing-time timer ten milliseconds ahead, and one far away. All that happens is written in order.
fn clocked(shards: u16, events: Vec<ScriptEvent>) -> Result<Driver> {
    let mut t = Topology::new();
    let (lines, keyed) = (t.plain("lines", &Windowing::global()), t.keyed("keyed", &Windowing::global()));
    t.script("script", events, lines);
    t.user(by_letter("by letter", &Windowing::global()), &[lines], &[keyed]);
    let told = t.plain("told", &Windowing::global());
    let run = |work: &mut Work| {
        let now = work.start.now.0;
        for piece in work.pieces() {
            let line = match piece {
                Piece::Element(e) => {
                    work.set_timer(e.group, "t", "soon", now + 10, EventTime(0));
                    work.set_timer(e.group, "t", "far", now + 1_000_000, EventTime(0));
                    format!("{} at {now}", text(&e.value))
                }
                Piece::Timer(group, due) => format!("{} {} at {now}", text(&work.group(group).key), text(&due.tag)),
            };
            let line = if now == i64::MAX { line.replace(&now.to_string(), "the end") } else { line };
            work.emit(0, b"", line.as_bytes(), EventTime(0), &[Window::Global]);
        }
        Ok(())
    };
    t.user(User::new("clocked", run).timer("t", TimeDomain::Processing), &[keyed], &[told]);
    out(&mut t, told);
    t.driver(config(shards))
}

fn clock_script() -> Vec<ScriptEvent> {
    vec![
        elements(&[("a", 1)]),
        ScriptEvent::ProcessingTime(5),
        elements(&[("b", 2)]),
        ScriptEvent::ProcessingTime(5),
        elements(&[("c", 3)]),
        ScriptEvent::ProcessingTime(4),
    ]
}

const CLOCKED: [&str; 9] = [
    "a at 0",
    "b at 5",
    "a soon at 10",
    "c at 10",
    "a far at the end",
    "b soon at the end",
    "b far at the end",
    "c soon at the end",
    "c far at the end",
];

#[test]
fn the_clock_is_the_scripts_and_runs_out_after_its_last_event() -> Result<()> {
    let mut driver = clocked(1, clock_script())?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    let mut lines = written(&driver);
    assert_eq!(lines[..4], CLOCKED[..4]);
    lines.sort();
    let mut expected = CLOCKED.to_vec();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert_eq!(driver.run_to_end(), Outcome::Done);
    let mut driver = clocked(3, clock_script())?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), expected);
    Ok(())
}

#[test]
fn a_script_goes_on_where_its_last_epoch_left_it() -> Result<()> {
    for (shards, steps) in [1, 3].into_iter().flat_map(|s| (0..120).step_by(7).map(move |n| (s, n))) {
        let mut driver = clocked(shards, clock_script())?;
        take(&mut driver, steps);
        driver.pass_epoch();
        if driver.is_over() {
            continue;
        }
        driver.crash(shards)?;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        let mut expected = CLOCKED.to_vec();
        expected.sort_unstable();
        assert_eq!(texts(&driver), expected, "crash after {steps} steps on {shards} shards");
    }
    Ok(())
}

#[test]
fn a_script_feeds_side_inputs_too() -> Result<()> {
    for shards in [1, 3] {
        let mut t = Topology::new();
        let (lines, main, side) =
            (t.plain("lines", &Windowing::global()), t.plain("main", &tens()), t.plain("side", &tens()));
        t.script("script", vec![elements(&[("m1", 1), ("s2", 2)]), watermark(20), elements(&[("m3", 25)])], lines);
        let window_fn = tens().window_fn;
        let sort = User::new("sort", move |work: &mut Work| {
            for e in work.elements() {
                work.emit(usize::from(e.value[0] == b's'), b"", &e.value, e.time, &window_fn.assign(e.time));
            }
            Ok(())
        });
        t.user(sort, &[lines], &[main, side]);
        let joined = t.plain("joined", &tens());
        let join = User::new("join", |work: &mut Work| {
            let view = work.start.sides[0].clone();
            for e in work.elements() {
                let side = view.windows.get(&e.windows[0]).map(|w| text(&w.values[1..])).unwrap_or_default();
                work.emit(0, b"", format!("{}+{side}", text(&e.value)).as_bytes(), e.time, &e.windows);
            }
            Ok(())
        });
        t.user(join.side("side", side, SideAccess::Iterable), &[main], &[joined]);
        out(&mut t, joined);
        let mut driver = t.driver(config(shards))?;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), ["m1+s2", "m3+"]);
    }
    Ok(())
}

#[test]
fn the_next_event_waits_for_the_sdks_answer_about_a_window() -> Result<()> {
    let mut t = Topology::new();
    let custom = Windowing::of(WindowFn::Custom { merging: false });
    let (lines, main, side) =
        (t.plain("lines", &Windowing::global()), t.plain("main", &custom), t.plain("side", &custom));
    let once = t.impulse("once");
    t.script("script", vec![elements(&[("m", 1)]), ScriptEvent::ProcessingTime(10)], lines);
    let named = || Window::Custom { max: EventTime(0), encoded: bytes::Bytes::from_static(b"w") };
    for (name, from, to) in [("assign main", lines, main), ("assign side", once, side)] {
        let assign = User::new(name, move |work: &mut Work| {
            work.elements().iter().for_each(|e| work.emit(0, b"", &e.value, EventTime(0), &[named()]));
            Ok(())
        });
        t.user(assign, &[from], &[to]);
    }
    let joined = t.plain("joined", &custom);
    let join = User::new("join", |work: &mut Work| {
        let line = format!("at {}", work.start.now.0);
        work.emit(0, b"", line.as_bytes(), EventTime(0), &[Window::Global]);
        Ok(())
    });
    t.user(join.side("side", side, SideAccess::Iterable), &[main], &[joined]);
    out(&mut t, joined);
    t.maps(std::sync::Arc::new(move |_: &Window| WindowSet::from_elem(named(), 1)));
    let mut driver = t.driver(config(1))?;
    driver.worker(ShardId(0), "join").hold_answers = true;
    driver.pass(500);
    driver.worker(ShardId(0), "join").answer();
    driver.listen(ShardId(0));
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ["at 0"], "the clock stood still while the SDK was asked");
    Ok(())
}

#[test]
fn a_failing_function_ends_a_scripted_job_with_its_error() -> Result<()> {
    let mut t = Topology::new();
    let (lines, never) = (t.plain("lines", &Windowing::global()), t.plain("never", &Windowing::global()));
    t.script("script", vec![elements(&[("a", 1)]), ScriptEvent::ProcessingTime(5)], lines);
    let fail = User::new("fail", |_: &mut Work| Err(Error::new("BUNDLE_FAILED", Domain::Guest, "always")));
    t.user(fail, &[lines], &[never]);
    out(&mut t, never);
    let mut driver = t.driver(config(2))?;
    let Outcome::Failed(error) = driver.run_to_end() else { unreachable!("it always fails") };
    assert_eq!((error.code, error.transform), ("BUNDLE_FAILED", "fail".to_owned()));
    Ok(())
}
