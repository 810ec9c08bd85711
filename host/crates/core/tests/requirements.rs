//! What a function may require of its input and of the end of its windows: order, stability, a last call; and that state ends.

mod topologies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use thalweg_core::engine::{Config, Outcome};
use thalweg_core::error::Result;
use thalweg_core::graph::{ScriptEvent, SideAccess};
use thalweg_core::port::worker::TimeDomain;
use thalweg_core::state::layout::{KeyReader, Kind};
use thalweg_core::testing::{Driver, Piece, ScriptedSplit, SplitMix64, Topology, User, Work};
use thalweg_core::time::EventTime;
use thalweg_core::window::{Accumulation, Speaks, Trigger, Window, WindowFn, Windowing};
use topologies::{batch, by_letter, choose, config, keyed_lines, out, take, tens, text, texts, written};

fn elements(rows: &[(&str, i64)]) -> ScriptEvent {
    ScriptEvent::Elements { output: 0, batch: batch(rows) }
}

fn watermark(to: i64) -> ScriptEvent {
    ScriptEvent::Watermark { output: 0, to: EventTime(to) }
}

/// Cells of user state, timers and waiting elements that are stored.
fn left(driver: &Driver) -> usize {
    let kinds = [Kind::User, Kind::Timer, Kind::Sorted, Kind::Pending].map(|kind| kind as u8);
    let cells = driver.store.cells();
    cells.iter().filter(|(key, _)| KeyReader::open(key).is_some_and(|(_, kind, ..)| kinds.contains(&kind))).count()
}

/// Counts letters in windows; nothing ever clears the count. With `called`, the count is told when the window expires.
fn counting(windowing: &Windowing, called: bool, shards: u16, events: Vec<ScriptEvent>) -> Result<Driver> {
    let mut t = Topology::new();
    t.epoch_ms = 20;
    let (lines, keyed) = (t.plain("lines", &Windowing::global()), t.keyed("keyed", windowing));
    t.script("script", events, lines);
    t.user(by_letter("by letter", windowing), &[lines], &[keyed]);
    let counted = t.plain("counted", &Windowing::global());
    let mut count = User::new("count", |work: &mut Work| {
        for piece in work.pieces() {
            match piece {
                Piece::Element(e) => {
                    let n = work.value(e.group, "n")?.map_or(0, |v| v[0]) + 1;
                    work.set_value(e.group, "n", Some(&[n]))?;
                    work.emit(0, b"", format!("{} is {n}", text(&e.key)).as_bytes(), e.time, &[Window::Global]);
                }
                Piece::Timer(group, due) => {
                    let n = work.value(group, "n")?.map_or(0, |v| v[0]);
                    let line = format!("{} ended with {n} at {}", text(&work.group(group).key), due.hold.0);
                    work.emit(0, b"", line.as_bytes(), due.hold, &[Window::Global]);
                }
            }
        }
        Ok(())
    })
    .state("n");
    if called {
        count = count.timer("end", TimeDomain::Event).on_expiry("end");
    }
    t.user(count, &[keyed], &[counted]);
    out(&mut t, counted);
    t.driver(config(shards))
}

fn story() -> Vec<ScriptEvent> {
    vec![
        elements(&[("a", 1), ("b", 2), ("a", 3)]),
        watermark(10),
        elements(&[("a", 4), ("c", 15)]),
        watermark(16),
        elements(&[("b", 5), ("a", 17)]),
        watermark(20),
    ]
}

#[test]
fn state_ends_with_its_window_and_what_comes_later_is_dropped_and_counted() -> Result<()> {
    for shards in [1, 3] {
        let mut driver = counting(&tens(), false, shards, story())?;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), ["a is 1", "a is 1", "a is 2", "b is 1", "c is 1"], "{shards} shards");
        assert_eq!(left(&driver), 0, "{shards} shards");
        let dropped = driver.sums.committed.0.iter().find(|(k, _)| k.labels["NAME"] == "droppedDueToLateness");
        let (key, value) = dropped.expect("counted");
        assert_eq!((key.labels["PTRANSFORM"].as_str(), format!("{value:?}")), ("count", "Sum(2)".to_owned()));
    }
    Ok(())
}

#[test]
fn allowed_lateness_keeps_state_and_takes_late_elements() -> Result<()> {
    let windowing = Windowing { allowed_lateness: 6, ..tens() };
    let mut driver = counting(&windowing, false, 1, story())?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    // the first window expires when the watermark is past 15: at 16, before b comes again
    assert_eq!(texts(&driver), ["a is 1", "a is 1", "a is 2", "a is 3", "b is 1", "c is 1"]);
    assert_eq!(left(&driver), 0);
    Ok(())
}

#[test]
fn the_function_is_called_once_per_key_and_window_when_it_expires() -> Result<()> {
    for shards in [1, 3] {
        let mut driver = counting(&tens(), true, shards, story())?;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        let ends: Vec<String> = texts(&driver).into_iter().filter(|t| t.contains("ended")).collect();
        let wanted = ["a ended with 1 at 19", "a ended with 2 at 9", "b ended with 1 at 9", "c ended with 1 at 19"];
        assert_eq!(ends, wanted, "{shards} shards");
        assert_eq!(left(&driver), 0);
    }
    let mut driver = counting(&Windowing::global(), true, 1, story())?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    let ends: Vec<String> = texts(&driver).into_iter().filter(|t| t.contains("ended")).collect();
    let last = EventTime::GLOBAL_WINDOW_MAX.0;
    assert_eq!(ends, [("a", 4), ("b", 2), ("c", 1)].map(|(k, n)| format!("{k} ended with {n} at {last}")));
    Ok(())
}

#[test]
fn the_last_call_is_made_for_keys_that_never_had_state() -> Result<()> {
    for crashes in [false, true] {
        let mut t = Topology::new();
        t.epoch_ms = 20;
        let (lines, keyed) = (t.plain("lines", &Windowing::global()), t.keyed("keyed", &tens()));
        t.script("script", story(), lines);
        t.user(by_letter("by letter", &tens()), &[lines], &[keyed]);
        let told = t.plain("told", &Windowing::global());
        let tell = User::new("tell", |work: &mut Work| {
            for piece in work.pieces() {
                match piece {
                    // what it writes and takes back leaves nothing
                    Piece::Element(e) if text(&e.key) == "a" => {
                        work.set_value(e.group, "n", Some(&[1]))?;
                        work.set_value(e.group, "n", None)?;
                    }
                    // a timer that is gone by then
                    Piece::Element(e) if text(&e.key) == "b" => work.set_timer(e.group, "alarm", "", 5, e.time),
                    Piece::Element(_) => {}
                    Piece::Timer(_, due) if work.family_name(&due) == "alarm" => {}
                    Piece::Timer(group, due) => {
                        let line = format!("{} ended at {}", text(&work.group(group).key), due.hold.0);
                        work.emit(0, b"", line.as_bytes(), due.hold, &[Window::Global]);
                    }
                }
            }
            Ok(())
        });
        let tell = tell.state("n").timer("alarm", TimeDomain::Event).timer("end", TimeDomain::Event).on_expiry("end");
        t.user(tell, &[keyed], &[told]);
        out(&mut t, told);
        let mut driver = t.driver(config(2))?;
        for shards in [1, 3, 2].iter().filter(|_| crashes) {
            take(&mut driver, 60);
            driver.crash(*shards)?;
        }
        driver.run_to_end();
        assert_eq!(driver.outcome(), Some(Outcome::Done));
        assert_eq!(texts(&driver), ["a ended at 19", "a ended at 9", "b ended at 9", "c ended at 19"], "{crashes}");
        assert_eq!(left(&driver), 0, "{crashes}");
    }
    Ok(())
}

#[test]
fn the_last_call_is_made_once_whatever_happens() -> Result<()> {
    for seed in 0..40 {
        let mut rng = SplitMix64::new(seed);
        let mut driver = counting(&tens(), true, 1 + rng.below(3) as u16, story())?;
        let mut crashes = 0;
        while !driver.is_over() {
            driver.take(choose(&mut rng, &driver));
            if rng.permille(10) && crashes < 6 && driver.outcome().is_none() {
                crashes += 1;
                driver.crash(1 + rng.below(3) as u16)?;
            }
            if let (Some((shard, bundle)), true) = (driver.open("count").first(), rng.permille(40)) {
                driver.fail_bundle(*shard, None, *bundle);
            }
        }
        if driver.outcome() == Some(Outcome::Done) {
            let ends: Vec<String> = texts(&driver).into_iter().filter(|t| t.contains("ended")).collect();
            let wanted = ["a ended with 1 at 19", "a ended with 2 at 9", "b ended with 1 at 9", "c ended with 1 at 19"];
            assert_eq!(ends, wanted, "seed {seed}");
            assert_eq!(left(&driver), 0, "seed {seed}");
        }
    }
    Ok(())
}

#[test]
fn a_loop_of_timers_ends_with_its_window() -> Result<()> {
    let mut t = Topology::new();
    let windowing = Windowing::of(WindowFn::Fixed { size: 100, offset: 0 });
    let keyed = keyed_lines(&mut t, vec![ScriptedSplit::of(&[("a", 5)])], &windowing);
    let ticked = t.plain("ticked", &Windowing::global());
    let tick = User::new("tick", |work: &mut Work| {
        for piece in work.pieces() {
            let (group, next) = match piece {
                Piece::Element(e) => (e.group, e.time.0 + 30),
                Piece::Timer(group, due) => {
                    work.emit(0, b"", due.fire.to_string().as_bytes(), due.hold, &[Window::Global]);
                    (group, due.fire + 30)
                }
            };
            work.set_timer(group, "loop", "", next, EventTime(next));
        }
        Ok(())
    });
    t.user(tick.timer("loop", TimeDomain::Event), &[keyed], &[ticked]);
    out(&mut t, ticked);
    let mut driver = t.driver(config(1))?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    // the one behind the end of the window still comes, once
    assert_eq!(written(&driver), ["35", "65", "95", "125"]);
    Ok(())
}

/// What a function of sorted input has seen: `key value`, with timers, in its order.
fn sorting(splits: Vec<ScriptedSplit>, windowing: &Windowing, timers: bool, config: Config) -> Result<Driver> {
    let mut t = Topology::new();
    t.epoch_ms = 20;
    let keyed = keyed_lines(&mut t, splits, windowing);
    let seen = t.plain("seen", &Windowing::global());
    let mut see = User::new("see", move |work: &mut Work| {
        for piece in work.pieces() {
            let (group, line, at) = match piece {
                Piece::Element(e) => {
                    if timers {
                        work.set_timer(e.group, "t", "", e.time.0 + 3, e.time);
                    }
                    (e.group, text(&e.value), e.time.0)
                }
                Piece::Timer(group, due) => (group, format!("{} timer", text(&work.group(group).key)), due.fire),
            };
            // the bag proves the order over bundles and crashes; the last line of a key has it all
            work.append(group, "log", format!("{at},").as_bytes())?;
            let log: String = work.bag(group, "log")?.iter().map(|b| text(b)).collect();
            work.emit(0, b"", format!("{line}@{at}: {log}").as_bytes(), EventTime(at), &[Window::Global]);
        }
        Ok(())
    })
    .state("log")
    .sorted();
    if timers {
        see = see.timer("t", TimeDomain::Event);
    }
    t.user(see, &[keyed], &[seen]);
    out(&mut t, seen);
    t.driver(config)
}

/// What sorted input must give: per key all times in order, each line with those before it.
fn sorted_lines(rows: &[(String, i64)]) -> BTreeSet<String> {
    let mut by_key: BTreeMap<char, Vec<(i64, usize, &str)>> = BTreeMap::new();
    for (i, (name, time)) in rows.iter().enumerate() {
        by_key.entry(name.chars().next().unwrap_or_default()).or_default().push((*time, i, name));
    }
    let mut lines = BTreeSet::new();
    for mut list in by_key.into_values() {
        list.sort_unstable();
        let mut log = String::new();
        for (time, _, name) in list {
            log.push_str(&format!("{time},"));
            lines.insert(format!("{name}@{time}: {log}"));
        }
    }
    lines
}

#[test]
fn sorted_input_comes_in_the_order_of_event_time_through_failures_and_crashes() -> Result<()> {
    for seed in 0..60 {
        let mut rng = SplitMix64::new(seed);
        let mut rows = Vec::new();
        let splits: Vec<ScriptedSplit> = (0..2)
            .map(|split| {
                let list: Vec<(String, i64)> = (0..12)
                    .map(|n| {
                        (
                            format!("{}{split}{n}", ['a', 'b', 'c'][rng.below(3)]),
                            1000 * n + rng.between(-2500, 2500) * 2 + split,
                        )
                    })
                    .collect();
                rows.extend(list.clone());
                ScriptedSplit::of(&list.iter().map(|(name, time)| (name.as_str(), *time)).collect::<Vec<_>>())
            })
            .collect();
        let bounds =
            Config { bundle_rows_max: 1 + rng.below(5), attempts_max: u32::MAX, ..config(1 + rng.below(3) as u16) };
        let mut driver = sorting(splits, &Windowing::global(), false, bounds)?;
        driver.read_rows = Some(1 + rng.below(3));
        let mut crashes = 0;
        while !driver.is_over() {
            driver.take(choose(&mut rng, &driver));
            if rng.permille(10) && crashes < 6 && driver.outcome().is_none() {
                crashes += 1;
                driver.crash(1 + rng.below(3) as u16)?;
            }
            if let (Some((shard, bundle)), true) = (driver.open("see").first(), rng.permille(60)) {
                driver.fail_bundle(*shard, None, *bundle);
            }
        }
        assert_eq!(driver.outcome(), Some(Outcome::Done), "seed {seed}");
        let have: BTreeSet<String> = texts(&driver).into_iter().collect();
        assert_eq!(have, sorted_lines(&rows), "seed {seed}");
        let waiting = driver
            .store
            .cells()
            .iter()
            .any(|(k, _)| KeyReader::open(k).is_some_and(|(_, kind, ..)| kind == Kind::Sorted as u8));
        assert!(!waiting, "seed {seed}: an element is left");
    }
    Ok(())
}

#[test]
fn timers_have_their_turn_among_sorted_elements() -> Result<()> {
    let split = ScriptedSplit::of(&[("a8", 8), ("a1", 1), ("a2", 2)]).bounded();
    let mut driver = sorting(vec![split], &Windowing::global(), true, config(1))?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(
        written(&driver),
        ["a1@1: 1,", "a2@2: 1,2,", "a timer@5: 1,2,5,", "a8@8: 1,2,5,8,", "a timer@11: 1,2,5,8,11,"]
    );
    Ok(())
}

/// Gives stable elements on, with the number of its bundle; remembers what each bundle held.
type Bundles = Arc<Mutex<Vec<Vec<String>>>>;

fn stable(keyed: bool, bundles: &Bundles, config: Config, splits: Vec<ScriptedSplit>) -> Result<Driver> {
    let mut t = Topology::new();
    t.epoch_ms = 20;
    let input = keyed_lines(&mut t, splits, &Windowing::global());
    let passed = t.plain("passed", &Windowing::global());
    let log = Arc::clone(bundles);
    let mut pass = User::new("pass", move |work: &mut Work| {
        let elements = work.elements();
        let names: Vec<String> = elements.iter().map(|e| text(&e.value)).collect();
        log.lock().expect("log").push(names);
        elements.iter().for_each(|e| work.emit(0, b"", &e.value, e.time, &e.windows));
        Ok(())
    });
    if keyed {
        pass = pass.state("s");
    }
    t.user(pass.stable(), &[input], &[passed]);
    out(&mut t, passed);
    t.driver(config)
}

#[test]
fn stable_input_waits_for_its_commit_and_comes_again_in_the_same_bundles() -> Result<()> {
    for (keyed, seed) in (0..60).map(|n| (n % 2 == 0, n)) {
        let mut rng = SplitMix64::new(seed);
        let names: Vec<String> = (0..20).map(|n| format!("{}{n}", ['a', 'b', 'c', 'd'][rng.below(4)])).collect();
        let rows: Vec<(&str, i64)> = names.iter().map(|n| (n.as_str(), 0)).collect();
        let bundles = Bundles::default();
        let bounds =
            Config { bundle_rows_max: 1 + rng.below(6), attempts_max: u32::MAX, losses_max: u32::MAX, ..config(1) };
        let mut driver = stable(keyed, &bundles, bounds, vec![ScriptedSplit::of(&rows)])?;
        driver.read_rows = Some(1 + rng.below(4));
        let mut crashes = 0;
        while !driver.is_over() {
            driver.take(choose(&mut rng, &driver));
            if rng.permille(20) && crashes < 8 && driver.outcome().is_none() {
                crashes += 1;
                driver.crash(1)?;
            }
            if let (Some((shard, bundle)), true) = (driver.open("pass").first(), rng.permille(100)) {
                driver.fail_bundle(*shard, None, *bundle);
            }
        }
        assert_eq!(driver.outcome(), Some(Outcome::Done), "seed {seed}");
        let mut wanted = names.clone();
        wanted.sort();
        assert_eq!(texts(&driver), wanted, "seed {seed}");
        // an element was seen in one company alone, however often
        let mut company: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for bundle in bundles.lock().expect("log").iter() {
            for name in bundle {
                let first = company.entry(name.clone()).or_insert_with(|| bundle.clone());
                assert_eq!(first, bundle, "seed {seed}");
            }
        }
    }
    Ok(())
}

#[test]
fn stable_input_is_not_given_before_it_is_committed() -> Result<()> {
    let bundles = Bundles::default();
    let mut driver = stable(false, &bundles, config(1), vec![ScriptedSplit::of(&[("a1", 0), ("b2", 0)])])?;
    driver.settle();
    assert!(bundles.lock().expect("log").is_empty());
    driver.pass_epoch();
    assert!(!bundles.lock().expect("log").is_empty());
    Ok(())
}

/// Models and main elements of one script; each main element tells which models its window has.
fn modelled(late: &Windowing, events: Vec<ScriptEvent>) -> Result<Driver> {
    let mut t = Topology::new();
    let lines = t.plain("lines", &Windowing::global());
    t.script("script", events, lines);
    let (mains, models) = (t.plain("mains", &tens()), t.plain("models", late));
    let of = |name: &str, letter: u8| {
        User::new(name, move |work: &mut Work| {
            for e in work.elements().into_iter().filter(|e| e.value[0] == letter) {
                work.emit(0, b"", &e.value, e.time, &WindowFn::Fixed { size: 10, offset: 0 }.assign(e.time));
            }
            Ok(())
        })
    };
    t.user(of("take mains", b'x'), &[lines], &[mains]);
    t.user(of("take models", b'm'), &[lines], &[models]);
    let read = t.plain("read", &tens());
    let run = |work: &mut Work| {
        let view = Arc::clone(&work.start.sides[0]);
        for e in work.elements() {
            let model = view.windows.get(&e.windows[0]).map(|w| text(&w.values)).unwrap_or_default();
            let model: String = model.chars().filter(|c| !c.is_control()).collect();
            work.emit(0, b"", format!("{} by {model}", text(&e.value)).as_bytes(), e.time, &e.windows);
        }
        Ok(())
    };
    t.user(User::new("read", run).side("model", models, SideAccess::Iterable), &[mains], &[read]);
    out(&mut t, read);
    t.driver(config(2))
}

#[test]
fn a_side_input_that_speaks_again_is_replaced_and_one_not_ready_is_waited_for() -> Result<()> {
    for (accumulation, second) in [(Accumulation::Discarding, "x2 by m2"), (Accumulation::Accumulating, "x2 by m1m2")] {
        let events = vec![
            elements(&[("x0", 1)]), // waits for its model
            elements(&[("m1", 2)]),
            watermark(10),
            elements(&[("x1", 3)]),
            elements(&[("m2", 4)]),
            elements(&[("x2", 5), ("x3", 15)]), // the second one's window has none, which is known at its end
        ];
        let late = Windowing { allowed_lateness: 100, accumulation, ..tens() };
        let mut driver = modelled(&late, events)?;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), ["x0 by m1", "x1 by m1", second, "x3 by "]);
    }
    Ok(())
}

#[test]
fn a_side_input_that_spoke_early_keeps_what_it_said_when_its_window_ends() -> Result<()> {
    let early = Trigger::AfterEndOfWindow { early: Some(Box::new(Trigger::Always)), late: None };
    for accumulation in [Accumulation::Discarding, Accumulation::Accumulating] {
        for closing in [Speaks::IfNonempty, Speaks::Always] {
            let windowing = Windowing { allowed_lateness: 5, accumulation, closing, ..tens() };
            let events = vec![
                elements(&[("m1", 2)]),
                elements(&[("x0", 1)]),
                watermark(10), // the window ends with nothing new
                elements(&[("x1", 3)]),
                watermark(14),
                elements(&[("x2", 4)]),
            ];
            let mut driver = modelled(&windowing.with_trigger(early.clone()), events)?;
            assert_eq!(driver.run_to_end(), Outcome::Done);
            assert_eq!(texts(&driver), ["x0 by m1", "x1 by m1", "x2 by m1"], "{accumulation:?} {closing:?}");
        }
    }
    Ok(())
}
