//! State that nobody writes goes after a while, by the clock: as a part of the epoch, on all ways a job comes back, and nothing else goes.

mod topologies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use thalweg_core::engine::{Config, Outcome};
use thalweg_core::error::Result;
use thalweg_core::graph::ScriptEvent;
use thalweg_core::port::worker::TimeDomain;
use thalweg_core::state::layout::{KeyReader, Kind};
use thalweg_core::testing::{
    Choice, Driver, FakeStore, Piece, ScriptedSplit, SinkKind, SourceRow, SplitMix64, Topology, User, Work,
};
use thalweg_core::time::EventTime;
use thalweg_core::window::{Window, WindowFn, Windowing};
use topologies::{batch, by_letter, choose, config, keyed_lines, out, take, tens, text, texts, written};

/// How long state lives; a mark is good for an eighth of it.
const TTL: i64 = 8_000;
const STEP: i64 = TTL / 8;

/// Counts by letter. After the letter: `?` only asks, `-` clears, `@` also sets a timer five lives ahead, that tells the count.
fn counter(ttl: Option<i64>) -> User {
    let count = User::new("count", |work: &mut Work| {
        let now = work.start.now.0;
        for piece in work.pieces() {
            let (group, what, time) = match &piece {
                Piece::Element(e) => (e.group, e.value.get(1).copied().unwrap_or(b'+'), e.time),
                Piece::Timer(group, due) => (*group, b'!', due.hold),
            };
            let n = work.value(group, "n")?.map_or(0, |v| v[0]) + u8::from(what != b'?' && what != b'!');
            let had = work.bag(group, "all")?.len();
            match what {
                b'?' | b'!' => {}
                b'-' => {
                    work.set_value(group, "n", None)?;
                    work.clear(group, "all")?;
                }
                _ => {
                    work.set_value(group, "n", Some(&[n]))?;
                    work.append(group, "all", b"x")?;
                }
            }
            if what == b'@' {
                work.set_timer(group, "later", "", now + 5 * TTL, time);
            }
            let key = text(&work.group(group).key);
            let line = match what {
                b'!' => format!("{key} told {n}"),
                b'-' => format!("{key} cleared"),
                _ => format!("{key} is {n} had {had}"),
            };
            work.emit(0, b"", line.as_bytes(), time, &[Window::Global]);
        }
        Ok(())
    });
    let count = count.state("n").state("all").timer("later", TimeDomain::Processing);
    match ttl {
        Some(ms) => count.ttl(ms),
        None => count,
    }
}

fn counting(rows: &[&str], ttl: Option<i64>) -> Topology {
    let mut t = Topology::new();
    let rows: Vec<(&str, i64)> = rows.iter().map(|row| (*row, 1)).collect();
    let keyed = keyed_lines(&mut t, vec![ScriptedSplit::of(&rows).endless()], &Windowing::global());
    let counted = t.plain("counted", &Windowing::global());
    t.user(counter(ttl), &[keyed], &[counted]);
    // what it has brought out is its own, so another pipeline may go on with the state
    t.sink("out", SinkKind::Outbox, counted);
    t
}

/// All that can happen without time or more input.
fn rest(driver: &mut Driver) {
    while let Some(choice) = driver.choices().into_iter().find(|c| !matches!(c, Choice::Time | Choice::Read(..))) {
        driver.take(choice);
    }
}

/// Reads so many rows, and what follows from them.
fn read(driver: &mut Driver, rows: usize) {
    driver.read_rows = Some(rows);
    rest(driver);
    let choice = driver.choices().into_iter().find(|c| matches!(c, Choice::Read(..)));
    driver.take(choice.expect("something to read"));
    rest(driver);
}

/// Lets time pass, and no input come. A commit is among it.
fn wait(driver: &mut Driver, ms: i64) {
    let until = driver.now.plus(ms);
    rest(driver);
    while driver.now < until {
        driver.take(Choice::Time);
        rest(driver);
    }
}

/// Keys with state, as they are stored.
fn stored(driver: &Driver) -> Vec<String> {
    let names: BTreeSet<String> = cells(driver, Kind::User).into_keys().map(|(key, _)| key).collect();
    names.into_iter().collect()
}

/// Cells of a kind that are of keys, by key and window.
fn cells(driver: &Driver, wanted: Kind) -> BTreeMap<(String, Window), Vec<u8>> {
    let mut found = BTreeMap::new();
    for (key, value) in driver.store.cells() {
        let (_, kind, _, mut rest) = KeyReader::open(&key).expect("a cell");
        if kind == wanted as u8 {
            if wanted == Kind::Expires {
                rest.number().expect("its time");
            }
            let (key, window) = (text(rest.part().expect("a key")), rest.window().expect("a window"));
            found.insert((key, window), value.to_vec());
        }
    }
    found
}

/// Whatever is committed has a mark, a turn, or neither; and nothing else has.
fn marks_agree(driver: &Driver) {
    let names = |kind| cells(driver, kind).into_keys().collect::<Vec<_>>();
    assert_eq!(names(Kind::User), names(Kind::Written), "state and marks");
    assert_eq!(names(Kind::User), names(Kind::Expires), "state and turns");
    assert_eq!(driver.stored(Kind::Expires), driver.stored(Kind::Written), "turns of old marks are left");
}

#[test]
fn what_is_not_written_for_so_long_is_gone_and_a_key_that_comes_again_begins_anew() -> Result<()> {
    for shards in [1, 3] {
        let mut driver = counting(&["a", "b", "a", "b?", "a", "b", "a"], Some(TTL)).driver(config(shards))?;
        read(&mut driver, 2); // a, b
        wait(&mut driver, TTL / 2);
        read(&mut driver, 2); // a, b?
        marks_agree(&driver);
        wait(&mut driver, TTL / 2 - 200);
        assert_eq!(stored(&driver), ["a", "b"], "not yet");
        wait(&mut driver, STEP + 400);
        assert_eq!(stored(&driver), ["a"], "who only asks does not write");
        read(&mut driver, 2); // a, b
        wait(&mut driver, 200);
        marks_agree(&driver);
        wait(&mut driver, TTL + STEP + 200);
        assert_eq!(driver.stored(Kind::User) + driver.stored(Kind::Written) + driver.stored(Kind::Expires), 0);
        read(&mut driver, 1); // a
        wait(&mut driver, 200);
        let wanted = [
            "a is 1 had 0",
            "b is 1 had 0",
            "a is 2 had 1",
            "b is 1 had 1",
            "a is 3 had 2",
            "b is 1 had 0",
            "a is 1 had 0",
        ];
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        assert_eq!(texts(&driver), wanted, "{shards} shards");
        let dropped = driver.sums.attempted.0.iter().find(|(k, _)| k.labels["NAME"] == "droppedByStateTtl");
        assert_eq!(dropped.map(|(_, value)| format!("{value:?}")), Some("Sum(3)".to_owned()));
    }
    Ok(())
}

#[test]
fn a_hot_key_is_marked_eight_times_in_the_life_of_its_state() -> Result<()> {
    let rows = vec!["a"; 100];
    let mut driver = counting(&rows, Some(TTL)).driver(config(1))?;
    let mut marks = BTreeSet::new();
    for _ in 0..80 {
        read(&mut driver, 1);
        wait(&mut driver, TTL / 80);
        marks.extend(cells(&driver, Kind::Written).into_values());
        marks_agree(&driver);
    }
    assert!((8..=10).contains(&marks.len()), "{} marks", marks.len());
    assert_eq!(stored(&driver), ["a"]);
    Ok(())
}

#[test]
fn a_job_in_memory_drops_state_as_well() -> Result<()> {
    let topology = counting(&["a", "a", "b", "a"], Some(TTL));
    let mut driver = Driver::on(topology, config(2), FakeStore::forgetting())?;
    read(&mut driver, 1);
    wait(&mut driver, TTL / 2);
    read(&mut driver, 2); // a, b
    wait(&mut driver, TTL + STEP + 200);
    read(&mut driver, 1);
    wait(&mut driver, 200);
    assert_eq!(texts(&driver), ["a is 1 had 0", "a is 1 had 0", "a is 2 had 1", "b is 1 had 0"]);
    Ok(())
}

#[test]
fn a_timer_keeps_the_state_that_it_will_ask_for_and_does_not_go_itself() -> Result<()> {
    let mut driver = counting(&["a@", "b", "a"], Some(TTL)).driver(config(1))?;
    read(&mut driver, 2);
    wait(&mut driver, 2 * TTL);
    assert_eq!((stored(&driver), driver.stored(Kind::Timer)), (vec!["a".to_owned()], 1));
    marks_agree(&driver);
    wait(&mut driver, 3 * TTL + 500);
    assert!(texts(&driver).contains(&"a told 1".to_owned()), "{:?}", texts(&driver));
    wait(&mut driver, TTL + 2 * STEP + 500);
    assert_eq!((stored(&driver).len(), driver.stored(Kind::Timer)), (0, 0), "nobody will ask any more");
    read(&mut driver, 1);
    wait(&mut driver, 200);
    assert_eq!(texts(&driver), ["a is 1 had 0", "a is 1 had 0", "a told 1", "b is 1 had 0"]);
    Ok(())
}

#[test]
fn a_function_that_clears_its_state_leaves_no_mark() -> Result<()> {
    for cached in [0, 100] {
        let topology = counting(&["a", "b", "a-", "b"], Some(TTL));
        let mut driver = topology.driver(Config { cached_groups: cached, ..config(1) })?;
        read(&mut driver, 2);
        wait(&mut driver, 500);
        read(&mut driver, 2);
        wait(&mut driver, 500);
        assert_eq!(stored(&driver), ["b"]);
        marks_agree(&driver);
    }
    Ok(())
}

#[test]
fn state_of_a_window_goes_with_the_window_and_its_mark_with_it() -> Result<()> {
    let mut t = Topology::new();
    let row = |(value, time): (&str, i64)| SourceRow { key: vec![], value: value.into(), time: EventTime(time) };
    let rows = [("a", 1), ("b", 2), ("a", 25)].map(row).to_vec();
    let keyed = keyed_lines(&mut t, vec![ScriptedSplit::new(rows).endless()], &tens());
    let counted = t.plain("counted", &Windowing::global());
    t.user(counter(Some(TTL)), &[keyed], &[counted]);
    out(&mut t, counted);
    let mut driver = t.driver(config(1))?;
    read(&mut driver, 1);
    wait(&mut driver, 200);
    assert_eq!(driver.stored(Kind::Written), 1);
    read(&mut driver, 2);
    wait(&mut driver, 200);
    assert_eq!(cells(&driver, Kind::User).len(), 1, "of the last window");
    marks_agree(&driver);
    // a watermark that stands does not keep it
    wait(&mut driver, TTL + STEP);
    assert_eq!(driver.stored(Kind::User) + driver.stored(Kind::Written) + driver.stored(Kind::Expires), 0);
    Ok(())
}

#[test]
fn time_goes_on_while_a_job_is_down_and_who_comes_first_still_begins_anew() -> Result<()> {
    // more keys than are dropped at once, and not in any order of theirs
    let keys: Vec<String> = (0..90u8).map(|i| ((b'!' + i) as char).to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).filter(|k| !"-?@".contains(*k)).collect();
    let rows: Vec<&str> = keys.iter().chain(&keys).copied().collect();
    for shards in [1, 2] {
        let mut driver = counting(&rows, Some(TTL)).driver(config(1))?;
        read(&mut driver, keys.len());
        wait(&mut driver, 500);
        assert_eq!(stored(&driver).len(), keys.len());
        marks_agree(&driver);
        driver.crash(1)?;
        driver.now = driver.now.plus(TTL + STEP);
        driver.crash(shards)?;
        let first = driver.choices().into_iter().find(|c| matches!(c, Choice::Order(_)));
        driver.take(first.expect("the start"));
        read(&mut driver, keys.len());
        wait(&mut driver, 500);
        assert_eq!(texts(&driver).iter().filter(|t| t.ends_with("is 1 had 0")).count(), rows.len());
        marks_agree(&driver);
    }
    Ok(())
}

/// Many keys by number, so that a round takes many portions.
fn numbers(n: u32, ttl: Option<i64>) -> (Topology, Arc<Mutex<Vec<u8>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut t = Topology::new();
    let row = |i: u32| SourceRow { key: vec![], value: (i % n).to_be_bytes().to_vec(), time: EventTime(1) };
    let lines = t.source("lines", vec![ScriptedSplit::new((0..2 * n).map(row).collect()).endless()]);
    let (keyed, counted) = (t.keyed("keyed", &Windowing::global()), t.plain("counted", &Windowing::global()));
    let by_number = User::new("by number", |work: &mut Work| {
        for e in work.elements() {
            work.emit(0, &e.value, b"", e.time, &[Window::Global]);
        }
        Ok(())
    });
    t.user(by_number, &[lines], &[keyed]);
    let told = Arc::clone(&seen);
    let count = User::new("count", move |work: &mut Work| {
        for e in work.elements() {
            let n = work.value(e.group, "n")?.map_or(0, |v| v[0]) + 1;
            work.set_value(e.group, "n", Some(&[n]))?;
            told.lock().expect("whole").push(n);
        }
        Ok(())
    });
    let count = ttl.map_or(count.clone(), |ms| count.ttl(ms)).state("n");
    t.user(count, &[keyed], &[counted]);
    out(&mut t, counted);
    (t, seen)
}

#[test]
fn a_turn_drops_a_portion_and_a_key_whose_turn_has_not_come_is_fresh_nevertheless() -> Result<()> {
    let keys = 2_000;
    let (topology, seen) = numbers(keys, Some(TTL));
    let mut driver = topology.driver(Config { cached_groups: 0, ..config(1) })?;
    read(&mut driver, keys as usize);
    wait(&mut driver, 500);
    assert_eq!(driver.stored(Kind::User), keys as usize);
    // the process sleeps: all is due at once
    driver.now = driver.now.plus(TTL + STEP);
    driver.take(Choice::Time);
    rest(&mut driver);
    driver.take(Choice::Time);
    rest(&mut driver);
    let left = driver.stored(Kind::User);
    assert!(left > keys as usize / 2, "{left} are left after a few portions");
    read(&mut driver, keys as usize);
    assert_eq!(seen.lock().expect("whole").iter().filter(|n| **n != 1).count(), 0, "all begin anew");
    wait(&mut driver, 2_000);
    assert_eq!(driver.stored(Kind::User), keys as usize);
    marks_agree(&driver);
    wait(&mut driver, TTL + 2 * STEP + 2_000);
    assert_eq!(driver.stored(Kind::User), 0);
    Ok(())
}

/// Goes on with the same store and another time to live.
fn again(driver: &Driver, topology: Topology, shards: u16) -> Result<Driver> {
    let mut next = Driver::on(topology, config(shards), driver.store.clone())?;
    next.now = driver.now;
    next.crash(shards)?;
    rest(&mut next);
    Ok(next)
}

#[test]
fn state_from_before_is_marked_when_a_run_says_how_long_it_lives() -> Result<()> {
    let rows = ["a", "b", "c", "c"];
    let mut driver = counting(&rows, None).driver(config(2))?;
    read(&mut driver, 3);
    wait(&mut driver, 10 * TTL);
    assert_eq!((stored(&driver).len(), driver.stored(Kind::Written)), (3, 0));
    let mut driver = again(&driver, counting(&rows, Some(TTL)), 1)?;
    wait(&mut driver, 500);
    assert_eq!(stored(&driver), ["a", "b", "c"], "it counts as written when the run began");
    marks_agree(&driver);
    driver.crash(3)?;
    wait(&mut driver, TTL / 2);
    read(&mut driver, 1);
    wait(&mut driver, TTL / 2 + STEP + 500);
    assert_eq!(stored(&driver), ["c"]);
    assert_eq!(texts(&driver), ["c is 2 had 1"]);
    marks_agree(&driver);
    Ok(())
}

#[test]
fn marks_go_when_a_run_does_not_want_them_and_what_was_written_meanwhile_is_not_old() -> Result<()> {
    let rows = ["a", "b", "a", "a", "b"];
    let mut driver = counting(&rows, Some(TTL)).driver(config(1))?;
    read(&mut driver, 2);
    wait(&mut driver, 500);
    marks_agree(&driver);
    // it dies before it has come to the marks: they are there, and say nothing
    let mut off = again(&driver, counting(&rows, None), 2)?;
    wait(&mut off, 2 * TTL);
    assert_eq!((stored(&off).len(), off.stored(Kind::Written), off.stored(Kind::Expires)), (2, 0, 0));
    read(&mut off, 1);
    wait(&mut off, 2 * TTL);
    let mut on = again(&off, counting(&rows, Some(TTL)), 1)?;
    wait(&mut on, TTL / 2);
    assert_eq!(stored(&on), ["a", "b"]);
    marks_agree(&on);
    read(&mut on, 1);
    assert_eq!(texts(&on).len(), 0);
    wait(&mut on, 500);
    assert_eq!(texts(&on), ["a is 3 had 2"]);
    Ok(())
}

#[test]
fn marks_that_no_run_has_kept_up_are_not_believed() -> Result<()> {
    let rows = ["a", "b", "a", "a", "b"];
    let mut driver = counting(&rows, Some(TTL)).driver(config(1))?;
    read(&mut driver, 2);
    wait(&mut driver, 500);
    let marked = driver.store.cells();
    // a run without them commits what it does and dies before it has deleted a mark
    let mut off = again(&driver, counting(&rows, None), 1)?;
    wait(&mut off, 200);
    let marks = |kind: u8| [Kind::Written as u8, Kind::Expires as u8].contains(&kind);
    let kept = marked.into_iter().filter(|(key, _)| KeyReader::open(key).is_some_and(|(_, kind, ..)| marks(kind)));
    let (epoch, kept) = (last(&off).next(), kept.map(|(key, value)| (key, Some(value))).collect::<Vec<_>>());
    let mut store = off.store.clone();
    thalweg_core::port::store::StateStore::commit(&mut store, epoch, &kept, &[])?;
    off.now = off.now.plus(5 * TTL);
    let mut on = again(&off, counting(&rows, Some(TTL)), 1)?;
    wait(&mut on, TTL / 2);
    assert_eq!(stored(&on), ["a", "b"], "they count as written when the run began");
    wait(&mut on, TTL);
    assert_eq!(stored(&on).len(), 0);
    assert_eq!(on.stored(Kind::Written) + on.stored(Kind::Expires), 0);
    Ok(())
}

fn last(driver: &Driver) -> thalweg_core::id::Epoch {
    thalweg_core::port::store::StateStore::last_epoch(&driver.store).unwrap_or_default()
}

#[test]
fn the_time_to_live_may_be_another_in_every_run() -> Result<()> {
    let rows = ["a", "a", "a"];
    let mut driver = counting(&rows, Some(100 * TTL)).driver(config(1))?;
    read(&mut driver, 1);
    wait(&mut driver, TTL);
    // shorter: an eighth of the longer one is how exactly the last write is known
    let mut short = again(&driver, counting(&rows, Some(TTL)), 1)?;
    wait(&mut short, TTL);
    assert_eq!(stored(&short), ["a"]);
    wait(&mut short, 100 * TTL / 8);
    assert_eq!(stored(&short).len(), 0);
    read(&mut short, 1);
    wait(&mut short, 500);
    let mut long = again(&short, counting(&rows, Some(100 * TTL)), 1)?;
    wait(&mut long, 20 * TTL);
    assert_eq!(stored(&long), ["a"]);
    marks_agree(&long);
    Ok(())
}

#[test]
fn a_scripts_clock_decides_and_nothing_is_dropped_late() -> Result<()> {
    let elements = |rows: &[(&str, i64)]| ScriptEvent::Elements { output: 0, batch: batch(rows) };
    let mut t = Topology::new();
    let (lines, keyed) = (t.plain("lines", &Windowing::global()), t.keyed("keyed", &Windowing::global()));
    let events = vec![
        elements(&[("a", 1), ("b", 1)]),
        ScriptEvent::ProcessingTime(TTL / 2),
        elements(&[("a", 2)]),
        ScriptEvent::ProcessingTime(TTL / 2 + STEP),
        elements(&[("a", 3), ("b", 3)]),
    ];
    t.script("script", events, lines);
    t.user(by_letter("by letter", &Windowing::of(WindowFn::Global)), &[lines], &[keyed]);
    let counted = t.plain("counted", &Windowing::global());
    t.user(counter(Some(TTL)), &[keyed], &[counted]);
    out(&mut t, counted);
    let mut driver = t.driver(config(1))?;
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ["a is 1 had 0", "a is 2 had 1", "a is 3 had 2", "b is 1 had 0", "b is 1 had 0"]);
    Ok(())
}

#[test]
fn state_and_marks_are_of_one_epoch_whenever_it_crashes() -> Result<()> {
    let letters: Vec<String> = (0..60u32).map(|i| ((b'a' + (i * 7 % 26) as u8) as char).to_string()).collect();
    let rows: Vec<&str> = letters.iter().map(String::as_str).collect();
    for seed in 0..40 {
        let mut rng = SplitMix64::new(seed);
        let mut driver = counting(&rows, Some(TTL)).driver(Config { cached_groups: 3, ..config(2) })?;
        driver.read_rows = Some(3);
        for _ in 0..6 {
            for _ in 0..rng.below(60) {
                let choice = choose(&mut rng, &driver);
                driver.take(choice);
            }
            driver.now = driver.now.plus(rng.below(TTL as usize) as i64);
            let choice = choose(&mut rng, &driver);
            driver.crash_within(choice, rng.below(4), 1 + rng.below(3) as u16)?;
            marks_agree(&driver);
            take(&mut driver, rng.below(40));
        }
        let counts = written(&driver);
        driver.read_rows = Some(100);
        wait(&mut driver, 20_000 + TTL + STEP);
        assert_eq!(
            driver.stored(Kind::User) + driver.stored(Kind::Written) + driver.stored(Kind::Expires),
            0,
            "seed {seed}: {counts:?}"
        );
    }
    Ok(())
}

#[test]
fn a_function_is_told_of_a_windows_end_though_its_state_went_before() -> Result<()> {
    let mut t = Topology::new();
    let row = |(value, time): (&str, i64)| SourceRow { key: vec![], value: value.into(), time: EventTime(time) };
    // what is not read holds the watermark
    let rows = [("a", 1), ("b", 2), ("c", 25)].map(row).to_vec();
    let keyed = keyed_lines(&mut t, vec![ScriptedSplit::new(rows).endless()], &tens());
    let told = t.plain("told", &Windowing::global());
    let last = User::new("last", |work: &mut Work| {
        for piece in work.pieces() {
            let (group, what, time) = match &piece {
                Piece::Element(e) => (e.group, "came", e.time),
                Piece::Timer(group, due) => (*group, "ended", due.hold),
            };
            let had = work.value(group, "n")?.is_some();
            work.set_value(group, "n", Some(b"x"))?;
            let line = format!("{} {what}, had {had}", text(&work.group(group).key));
            work.emit(0, b"", line.as_bytes(), time, &[Window::Global]);
        }
        Ok(())
    });
    t.user(last.state("n").timer("end", TimeDomain::Event).on_expiry("end").ttl(TTL), &[keyed], &[told]);
    out(&mut t, told);
    let mut driver = t.driver(config(1))?;
    read(&mut driver, 1);
    wait(&mut driver, TTL + 2 * STEP);
    assert_eq!(texts(&driver), ["a came, had false"]);
    read(&mut driver, 1);
    wait(&mut driver, 200);
    let told = ["a came, had false", "a ended, had false", "b came, had false", "b ended, had true"];
    assert_eq!(texts(&driver), told);
    Ok(())
}
