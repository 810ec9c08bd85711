//! Order: of input within a lane, of a key's elements and timers, and of who may start under back-pressure.

mod topologies;

use std::sync::{Arc, Mutex};
use thalweg_core::engine::{Config, Outcome};
use thalweg_core::error::Result;
use thalweg_core::id::ShardId;
use thalweg_core::port::worker::TimeDomain;
use thalweg_core::testing::{Driver, Piece, ScriptedSplit, SplitMix64, Topology, User, Work};
use thalweg_core::time::EventTime;
use thalweg_core::window::{Window, Windowing};
use topologies::{by_letter, choose, config, keyed_lines, out, tens, text, texts, written};

const S: ShardId = ShardId(0);

fn names(prefix: &str, n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{prefix}{i:02}")).collect()
}

fn split(names: &[String]) -> ScriptedSplit {
    ScriptedSplit::of(&names.iter().map(|n| (n.as_str(), 0)).collect::<Vec<_>>())
}

/// Passes two splits on, in bundles of two, four at once.
fn passing() -> Result<Driver> {
    let mut t = Topology::new();
    let lines = t.source("lines", vec![split(&names("a", 8)), split(&names("b", 8))]);
    let passed = t.plain("passed", &Windowing::global());
    let pass = User::new("pass", |work: &mut Work| {
        work.elements().iter().for_each(|e| work.emit(0, b"", &e.value, e.time, &e.windows));
        Ok(())
    });
    t.user(pass.bundles(4), &[lines], &[passed]);
    out(&mut t, passed);
    let mut driver = t.driver(Config { bundle_rows_max: 2, ..config(1) })?;
    driver.hold("pass");
    driver.settle();
    Ok(driver)
}

fn of(driver: &Driver, letter: char) -> Vec<String> {
    written(driver).into_iter().filter(|t| t.starts_with(letter)).collect()
}

#[test]
fn bundles_of_a_lane_take_effect_in_the_order_of_their_input() -> Result<()> {
    let mut driver = passing()?;
    while !driver.open("pass").is_empty() {
        let (shard, last) = *driver.open("pass").last().expect("open");
        driver.work(shard, None, last);
        driver.settle();
    }
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!((of(&driver, 'a'), of(&driver, 'b')), (names("a", 8), names("b", 8)));
    Ok(())
}

#[test]
fn the_order_holds_when_a_bundle_in_the_middle_fails_or_its_worker_is_lost() -> Result<()> {
    for lose in [false, true] {
        let mut driver = passing()?;
        let open = driver.open("pass");
        assert_eq!(open.len(), 4);
        driver.work(S, None, open[3].1);
        driver.work(S, None, open[2].1);
        driver.settle();
        if lose {
            driver.lose_worker(S, None, true);
        } else {
            driver.fail_bundle(S, None, open[1].1);
        }
        driver.settle();
        driver.release("pass");
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!((of(&driver, 'a'), of(&driver, 'b')), (names("a", 8), names("b", 8)));
    }
    Ok(())
}

#[test]
fn later_input_of_a_lane_waits_for_the_retry_and_other_lanes_do_not() -> Result<()> {
    let mut t = Topology::new();
    let lines = t.source("lines", vec![split(&names("a", 8)), split(&names("b", 8))]);
    let passed = t.plain("passed", &Windowing::global());
    let pass = User::new("pass", |work: &mut Work| {
        work.elements().iter().for_each(|e| work.emit(0, b"", &e.value, e.time, &e.windows));
        Ok(())
    });
    t.user(pass.bundles(4), &[lines], &[passed]);
    out(&mut t, passed);
    let mut driver = t.driver(Config { bundle_rows_max: 2, retry_ms: 1000, ..config(1) })?;
    driver.hold("pass");
    driver.settle();
    let (_, first) = driver.open("pass")[0];
    driver.fail_bundle(S, None, first);
    driver.release("pass");
    driver.pass_epoch();
    assert_eq!(written(&driver), names("b", 8));
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(of(&driver, 'a'), names("a", 8));
    Ok(())
}

/// Writes down each key's elements in the order in which it sees them, with what each bundle had.
fn keyed(retry_ms: i64, bundles: u32) -> Result<(Driver, Arc<Mutex<Vec<String>>>)> {
    let mut t = Topology::new();
    let rows = ["a0", "b0", "a1", "c0", "b1", "a2", "c1", "a3"].map(str::to_owned);
    let keyed = keyed_lines(&mut t, vec![split(&rows)], &Windowing::global());
    let seen = t.plain("seen", &Windowing::global());
    let log = Arc::new(Mutex::new(Vec::new()));
    let ran = Arc::clone(&log);
    let see = User::new("see", move |work: &mut Work| {
        let texts: Vec<String> = work.elements().iter().map(|e| text(&e.value)).collect();
        ran.lock().expect("lock").push(texts.join(" "));
        for e in work.elements() {
            work.append(e.group, "log", &e.value)?;
            work.emit(0, b"", &e.value, e.time, &e.windows);
        }
        Ok(())
    });
    t.user(see.state("log").bundles(bundles), &[keyed], &[seen]);
    out(&mut t, seen);
    let config = Config { bundle_rows_max: 2, retry_ms, ..config(1) };
    Ok((t.driver(config)?, log))
}

#[test]
fn elements_of_a_key_in_flight_wait_and_other_keys_pass_them() -> Result<()> {
    let (mut driver, _) = keyed(0, 3)?;
    driver.read_rows = Some(8);
    driver.hold("see");
    driver.settle();
    let first: Vec<String> = driver.open("see").iter().map(|(_, b)| inputs(&mut driver, *b)).collect();
    // a and b are in the first bundle, so the second has only c; now all three keys are in flight, and the third has nothing
    assert_eq!(first, ["a0 b0", "c0"]);
    driver.release("see");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    for key in ['a', 'b', 'c'] {
        let mine = of(&driver, key);
        let mut sorted = mine.clone();
        sorted.sort();
        assert_eq!(mine, sorted);
    }
    assert_eq!(texts(&driver).len(), 8);
    Ok(())
}

fn inputs(driver: &mut Driver, bundle: thalweg_core::id::BundleId) -> String {
    use thalweg_core::port::worker::{Input, Item};
    let Some(start) = driver.worker(S, "see").bundle(bundle) else { return String::new() };
    let Input::Keyed { batches, items, .. } = &start.input else { return String::new() };
    let name = |item: &Item| match item {
        Item::Row { batch, row, .. } => {
            let batch = &batches[*batch as usize];
            text(batch.value(&batch.rows()[*row as usize]))
        }
        Item::Timer { .. } => "timer".to_owned(),
    };
    items.iter().map(name).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_key_whose_bundle_failed_waits_whole_and_other_keys_do_not() -> Result<()> {
    let (mut driver, log) = keyed(1000, 3)?;
    driver.read_rows = Some(8);
    driver.hold("see");
    driver.settle();
    let (_, first) = driver.open("see")[0];
    driver.fail_bundle(S, None, first);
    driver.settle();
    log.lock().expect("lock").clear();
    driver.release("see");
    driver.pass_epoch();
    assert_eq!(texts(&driver), ["c0", "c1"]);
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(of(&driver, 'a'), ["a0", "a1", "a2", "a3"]);
    Ok(())
}

#[test]
fn the_order_of_a_key_survives_crashes() -> Result<()> {
    for seed in 0..200 {
        let mut rng = SplitMix64::new(seed);
        let (mut driver, _) = keyed(0, 3)?;
        let mut crashes = 0;
        while !driver.is_over() {
            driver.read_rows = Some(1 + rng.below(4));
            driver.take(choose(&mut rng, &driver));
            if rng.permille(25) && crashes < 6 && driver.outcome().is_none() {
                crashes += 1;
                driver.crash(1)?;
            }
        }
        assert_eq!(of(&driver, 'a'), ["a0", "a1", "a2", "a3"], "seed {seed}");
        assert_eq!(of(&driver, 'b'), ["b0", "b1"], "seed {seed}");
    }
    Ok(())
}

/// For an element sets timers at 10, 20 (tags x, y) and 30; the sink gets what each bundle had of a key.
fn timed() -> Result<Driver> {
    let mut t = Topology::new();
    let rows = [("a", 0), ("b", 0), ("a", 50)].map(|(k, t)| (k, t));
    let keyed = keyed_lines(&mut t, vec![ScriptedSplit::of(&rows)], &Windowing::global());
    let seen = t.plain("seen", &Windowing::global());
    let run = |work: &mut Work| {
        let mut had: std::collections::BTreeMap<String, Vec<String>> = Default::default();
        for piece in work.pieces() {
            match piece {
                Piece::Element(e) => {
                    had.entry(text(&e.key)).or_default().push(format!("element@{}", e.time.0));
                    if e.time.0 == 0 {
                        work.set_timer(e.group, "t", "z", 30, EventTime(30));
                        work.set_timer(e.group, "t", "y", 20, EventTime(20));
                        work.set_timer(e.group, "t", "x", 20, EventTime(20));
                        work.set_timer(e.group, "t", "w", 10, EventTime(10));
                    }
                }
                Piece::Timer(group, due) => {
                    had.entry(text(&work.group(group).key)).or_default().push(format!(
                        "{}@{}",
                        text(&due.tag),
                        due.fire
                    ));
                    if due.fire == 10 {
                        // an earlier one than those that are due already
                        work.set_timer(group, "t", "v", 15, EventTime(15));
                    }
                }
            }
        }
        for (key, had) in had {
            work.emit(0, b"", format!("{key}: {}", had.join(" ")).as_bytes(), EventTime(60), &[Window::Global]);
        }
        Ok(())
    };
    t.user(User::new("timed", run).timer("t", TimeDomain::Event).bundles(3), &[keyed], &[seen]);
    out(&mut t, seen);
    t.driver(config(1))
}

#[test]
fn a_bundle_has_of_a_key_its_elements_or_the_timers_of_one_instant() -> Result<()> {
    let mut driver = timed()?;
    driver.read_rows = Some(3);
    driver.hold("by letter");
    driver.settle();
    driver.release("by letter");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    // the element of 50 came before anything was due
    assert_eq!(of(&driver, 'b'), ["b: element@0", "b: w@10", "b: v@15", "b: x@20 y@20", "b: z@30"]);
    assert_eq!(of(&driver, 'a'), ["a: element@0 element@50", "a: w@10", "a: v@15", "a: x@20 y@20", "a: z@30"]);
    Ok(())
}

#[test]
fn due_timers_come_before_later_elements_of_their_key() -> Result<()> {
    let mut driver = timed()?;
    driver.read_rows = Some(1);
    assert_eq!(driver.run_to_end(), Outcome::Done);
    let a = of(&driver, 'a');
    assert_eq!(a[0], "a: element@0");
    assert_eq!(a.len(), 6, "{a:?}");
    Ok(())
}

#[test]
fn timers_of_a_failed_bundle_come_back_once() -> Result<()> {
    let mut driver = timed()?;
    driver.hold("timed");
    let mut failed = 0;
    while !driver.is_over() {
        driver.settle();
        let open = driver.open("timed");
        for (shard, bundle) in open {
            if failed < 12 && failed % 2 == 0 {
                driver.fail_bundle(shard, None, bundle);
            } else {
                driver.work(shard, None, bundle);
            }
            failed += 1;
        }
        if driver.open("timed").is_empty() && failed > 0 {
            driver.pass_epoch();
        }
    }
    assert_eq!(of(&driver, 'b'), ["b: element@0", "b: w@10", "b: v@15", "b: x@20 y@20", "b: z@30"]);
    Ok(())
}

#[test]
fn a_slow_consumer_stops_its_producers_and_nobody_deadlocks() -> Result<()> {
    for shards in [1, 2, 3] {
        let mut t = Topology::new();
        let splits = vec![split(&names("a", 200)), split(&names("b", 200)), split(&names("c", 200))];
        let keyed = keyed_lines(&mut t, splits, &tens());
        let (one, two) = (t.keyed("one", &tens()), t.keyed("two", &tens()));
        t.user(by_letter("spread", &tens()).spread(), &[keyed], &[one]);
        t.user(by_letter("slow", &tens()).state("s"), &[one], &[two]);
        let grouped = t.group("group", two);
        out(&mut t, grouped);
        let mut driver =
            t.driver(Config { queue_bytes_max: 500, bundle_rows_max: 2, read_rows: 4, ..config(shards) })?;
        driver.hold("slow");
        driver.pass(300);
        let read: u64 = driver.rows_read();
        assert!(read < 150, "{read} rows were read although nobody takes them");
        driver.release("slow");
        assert_eq!(driver.run_to_end(), Outcome::Done);
        let values: usize = driver.disk("out").lines().iter().map(|l| usize::from(l.value[3])).sum();
        assert_eq!(values, 600);
    }
    Ok(())
}

#[test]
fn what_a_cut_stores_anew_stays_before_what_stood_behind_it() -> Result<()> {
    let mut t = Topology::new();
    let rows = ["b0", "c0", "b1", "b2", "b3"].map(str::to_owned);
    let keyed = keyed_lines(&mut t, vec![split(&rows)], &Windowing::global());
    let seen = t.plain("seen", &Windowing::global());
    let see = User::new("see", |work: &mut Work| {
        work.elements().iter().for_each(|e| work.emit(0, b"", &e.value, e.time, &e.windows));
        Ok(())
    });
    t.user(see.state("log"), &[keyed], &[seen]);
    out(&mut t, seen);
    let mut driver = t.driver(Config { bundle_rows_max: 2, ..config(1) })?;
    driver.hold("by letter");
    driver.hold("see");
    driver.read_rows = Some(1);
    // three batches come to `see`: b0, c0 with b1, b2 with b3; the first is in flight and takes all the credit
    driver.settle();
    while !driver.open("by letter").is_empty() {
        for (shard, bundle) in driver.open("by letter") {
            driver.work(shard, None, bundle);
        }
        driver.settle();
    }
    assert_eq!(driver.rows_read(), 5);
    driver.pass_epoch(); // all three are stored
    let stage = driver.stage("see");
    driver.worker(S, "see").credit(stage, 2);
    driver.listen(S);
    driver.settle(); // c0 starts too, b1 stays: their copy is given up
    assert_eq!(driver.open("see").len(), 2);
    driver.pass_epoch(); // b1 is stored anew
    driver.crash(1)?;
    driver.release("by letter");
    driver.release("see");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(of(&driver, 'b'), ["b0", "b1", "b2", "b3"]);
    Ok(())
}

/// Counts letters and tells them when the window ends; says of each bundle which keys it had. `input` says what is asked of it.
fn lone(called: bool, input: fn(User) -> User, seen: &Arc<Mutex<Vec<Vec<String>>>>) -> Result<Driver> {
    let mut t = Topology::new();
    let lines = t.source("lines", vec![split(&names("a", 4)), split(&names("b", 4)), split(&names("c", 4))]);
    let keyed = t.keyed("keyed", &tens());
    t.user(by_letter("by letter", &tens()), &[lines], &[keyed]);
    let told = t.plain("told", &Windowing::global());
    let seen = Arc::clone(seen);
    let count = User::new("count", move |work: &mut Work| {
        let mut keys = Vec::new();
        for piece in work.pieces() {
            let (group, key) = match piece {
                Piece::Element(e) => {
                    let n = work.value(e.group, "n")?.map_or(0, |v| v[0]) + 1;
                    work.set_value(e.group, "n", Some(&[n]))?;
                    if !called {
                        work.set_timer(e.group, "end", "", 9, EventTime(9));
                    }
                    (e.group, text(&e.key))
                }
                Piece::Timer(group, due) => {
                    let n = work.value(group, "n")?.map_or(0, |v| v[0]);
                    let key = text(&work.group(group).key);
                    work.emit(0, b"", format!("{key}{n}").as_bytes(), due.hold, &[Window::Global]);
                    (group, key)
                }
            };
            assert_eq!(text(&work.group(group).key), key);
            keys.push(key);
        }
        keys.sort();
        keys.dedup();
        seen.lock().expect("not poisoned").push(keys);
        Ok(())
    });
    let count = count.state("n").timer("end", TimeDomain::Event).lone_keys();
    let count = if called { count.on_expiry("end") } else { count };
    t.user(input(count), &[keyed], &[told]);
    out(&mut t, told);
    t.driver(config(1))
}

#[test]
fn a_bundle_has_one_key_alone_where_the_worker_does_not_say_which_it_means() -> Result<()> {
    type Asks = fn(User) -> User;
    let inputs: [(&str, Asks); 3] = [("any", |user| user), ("sorted", User::sorted), ("stable", User::stable)];
    for ((name, input), called) in inputs.into_iter().flat_map(|input| [(input, false), (input, true)]) {
        let seen = Arc::default();
        let mut driver = lone(called, input, &seen)?;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), ["a4", "b4", "c4"], "{name} input, called: {called}");
        let seen = seen.lock().expect("not poisoned");
        assert!(seen.len() >= 6 && seen.iter().all(|keys| keys.len() == 1), "{name} input, called: {called}, {seen:?}");
    }
    Ok(())
}
