//! The epoch: what a cut holds, what survives a crash at each of its moments, and what a commit makes visible.

mod topologies;

use thalweg_core::engine::{Config, Outcome, stored_partitions};
use thalweg_core::error::Result;
use thalweg_core::id::{Epoch, ShardId};
use thalweg_core::port::store::StateStore;
use thalweg_core::state::layout::Kind;
use thalweg_core::testing::{Choice, Driver, FakeStore, Fault, ScriptedSplit, SinkKind, Topology, User, Work};
use thalweg_core::window::Windowing;
use topologies::{by_letter, config, keyed_lines, out, take, tens, text, texts, written};

const ZERO: ShardId = ShardId(0);
const ONE: ShardId = ShardId(1);

fn rows() -> Vec<ScriptedSplit> {
    let letters: Vec<String> = (b'a'..=b'z').map(|b| format!("{}!", b as char)).collect();
    vec![ScriptedSplit::of(&letters.iter().map(|l| (l.as_str(), 1)).collect::<Vec<_>>())]
}

fn all() -> Vec<String> {
    (b'a'..=b'z').map(|b| format!("{}1", b as char)).collect()
}

/// Numbers every key's elements: each letter comes once, so anything but `x1` was lost or doubled.
fn numbering(splits: Vec<ScriptedSplit>) -> Topology {
    let mut t = Topology::new();
    let keyed = keyed_lines(&mut t, splits, &Windowing::global());
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
    out(&mut t, numbered);
    t
}

/// Ends the epoch by the clock and lets the job ask for the seal, no more.
fn ask_for_seal(driver: &mut Driver) {
    driver.take(Choice::Time);
    driver.take(Choice::Tell);
}

#[test]
fn a_message_that_crosses_the_cut_is_stored_as_pending() -> Result<()> {
    let mut driver = numbering(rows()).driver(config(2))?;
    driver.hold("by letter");
    driver.hold("number");
    driver.settle();
    ask_for_seal(&mut driver);
    driver.take(Choice::Order(ONE)); // shard 1 has cut ...
    let (shard, bundle) = driver.open("by letter")[0];
    assert_eq!(shard, ZERO);
    driver.work(shard, None, bundle);
    while driver.choices().contains(&Choice::Speak(ZERO, None, Some(bundle))) {
        driver.take(Choice::Speak(ZERO, None, Some(bundle))); // ... and now shard 0 sends, still before its own cut
    }
    assert!(driver.in_flight(ZERO, ONE) > 0);
    driver.take(Choice::Order(ZERO));
    assert_eq!(driver.stored(Kind::Pending), 0);
    driver.settle();
    assert_eq!(driver.store.last_epoch()?, Epoch(1));
    assert_eq!(driver.stored(Kind::Pending), 2, "what shard 0 kept, and what crossed");
    driver.crash(2)?;
    driver.release("by letter");
    driver.release("number");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), all());
    assert_eq!(driver.stored(Kind::Pending), 0, "consumed, so its copy is gone");
    Ok(())
}

#[test]
fn input_that_can_be_read_again_is_held_by_its_position() -> Result<()> {
    let mut driver = numbering(rows()).driver(config(1))?;
    driver.hold("by letter");
    driver.read_rows = Some(10);
    driver.settle();
    driver.pass_epoch();
    assert_eq!(driver.store.last_epoch()?, Epoch(1));
    assert_eq!((driver.stored(Kind::Pending), driver.stored(Kind::Position)), (0, 0));
    driver.crash(1)?;
    driver.release("by letter");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), all());
    assert_eq!(driver.stored(Kind::Position), 1);
    Ok(())
}

#[test]
fn what_is_left_of_a_half_consumed_read_is_stored_and_the_position_moves() -> Result<()> {
    let mut driver = numbering(rows()).driver(Config { bundle_rows_max: 10, ..config(1) })?;
    driver.hold("by letter");
    driver.read_rows = Some(26);
    driver.settle();
    let (shard, bundle) = driver.open("by letter")[0];
    driver.work(shard, None, bundle);
    driver.settle();
    driver.pass_epoch();
    assert!(driver.stored(Kind::Position) == 1 && driver.stored(Kind::Pending) > 0);
    driver.crash(1)?;
    driver.release("by letter");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), all());
    assert_eq!(driver.rows_read(), 0, "the whole split had been read before the crash");
    driver.crash(1)?;
    while !driver.is_over() {
        take(&mut driver, 1);
        let reads = driver.choices().iter().any(|c| matches!(c, Choice::Read(..)));
        assert!(!reads, "a split that has ended is not polled again");
    }
    Ok(())
}

#[test]
fn other_input_is_stored_when_it_survives_a_cut_and_deleted_when_it_is_consumed() -> Result<()> {
    let mut t = Topology::new();
    let (once, told) = (t.impulse("once"), t.plain("told", &Windowing::global()));
    let tell = User::new("tell", |work: &mut Work| {
        work.elements().iter().for_each(|e| work.emit(0, b"", b"once", e.time, &e.windows));
        Ok(())
    });
    t.user(tell, &[once], &[told]);
    out(&mut t, told);
    let mut driver = t.driver(config(2))?;
    driver.hold("tell");
    driver.pass_epoch();
    assert_eq!(driver.stored(Kind::Pending), 1);
    driver.pass_epoch();
    assert_eq!(driver.stored(Kind::Pending), 1, "stored once");
    driver.crash(3)?;
    driver.release("tell");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), ["once"], "an impulse fires once in the life of a job");
    assert_eq!(driver.stored(Kind::Pending), 0);
    Ok(())
}

#[test]
fn a_running_bundle_never_holds_up_an_epoch() -> Result<()> {
    let mut driver = numbering(rows()).driver(config(3))?;
    driver.read_rows = Some(1);
    driver.hold("number");
    for _ in 0..5 {
        driver.pass_epoch();
    }
    assert!(driver.store.last_epoch()? >= Epoch(5));
    driver.release("number");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    assert_eq!(texts(&driver), all());
    Ok(())
}

#[test]
fn nothing_is_visible_of_a_commit_that_failed() -> Result<()> {
    for (fault, epoch) in [(Fault::Before, 0), (Fault::After, 1)] {
        let mut driver = numbering(rows()).driver(config(2))?;
        driver.store.fail_next(Some(fault));
        let Outcome::Failed(error) = driver.run_to_end() else { unreachable!("the commit was told to fail") };
        assert_eq!(error.code, "STATE_IO");
        assert_eq!(driver.store.last_epoch()?, Epoch(epoch));
        assert!(!driver.disk("out").is_finished());
        driver.crash(2)?;
        assert_eq!(driver.disk("out").lines().len(), if fault == Fault::Before { 0 } else { 26 });
        assert_eq!(driver.run_to_end(), Outcome::Done);
        assert_eq!(texts(&driver), all(), "{fault:?}");
    }
    Ok(())
}

#[test]
fn a_crash_at_any_moment_of_the_writer_loses_and_doubles_nothing() -> Result<()> {
    for kind in [SinkKind::Length, SinkKind::Outbox] {
        for steps in 0..8 {
            let mut t = Topology::new();
            let lines = t.source("lines", vec![ScriptedSplit::of(&[("a", 1), ("b", 2)]).endless()]);
            let keyed = t.keyed("keyed", &Windowing::global());
            t.user(by_letter("by letter", &Windowing::global()), &[lines], &[keyed]);
            t.sink("out", kind, keyed);
            let mut driver = t.driver(config(1))?;
            driver.settle();
            driver.take(Choice::Time);
            while !driver.choices().contains(&Choice::Write) {
                driver.take(driver.choices()[0]);
            }
            take(&mut driver, steps); // prepare, commit, tell, deliver
            driver.crash(1)?;
            driver.pass_epoch();
            driver.crash(1)?;
            driver.pass_epoch();
            assert_eq!(texts(&driver), ["a", "b"], "{kind:?}, crash after {steps} steps");
            assert_eq!(driver.disk("out").truncated() > 0, kind == SinkKind::Length && steps == 1);
            driver.pass_epoch();
            assert_eq!(driver.stored(Kind::Outbox), 0, "a delivered outbox is deleted");
        }
    }
    Ok(())
}

#[test]
fn state_timers_and_buffers_move_with_their_keys_to_another_number_of_shards() -> Result<()> {
    let mut splits = rows();
    splits.push(rows().remove(0).bounded());
    let mut t = numbering(splits);
    let more = t.source("more", rows());
    let keyed = t.keyed("more keyed", &tens());
    t.user(by_letter("more by letter", &tens()), &[more], &[keyed]);
    let grouped = t.group("group", keyed);
    t.sink("grouped", SinkKind::Outbox, grouped);
    let mut driver = t.driver(Config { bundle_rows_max: 3, ..config(1) })?;
    for (i, shards) in [4, 2, 3, 1, 4, 1].into_iter().enumerate() {
        driver.read_rows = Some(2 + i);
        take(&mut driver, 25);
        driver.pass_epoch();
        if driver.is_over() {
            break;
        }
        driver.crash(shards)?;
    }
    assert_eq!(driver.run_to_end(), Outcome::Done);
    let mut expected = all();
    expected.extend((b'a'..=b'z').map(|b| format!("{}2", b as char)));
    expected.sort();
    assert_eq!(texts(&driver), expected);
    assert_eq!(driver.disk("grouped").lines().len(), 26);
    assert_eq!(driver.stored(Kind::Progress), driver.plan.stages.len(), "shards that are gone promise nothing");
    Ok(())
}

#[test]
fn a_job_in_memory_keeps_all_its_cells() -> Result<()> {
    let mut splits = rows();
    splits.extend(rows());
    let bounds = Config { cached_groups: 0, bundle_rows_max: 2, ..config(2) };
    let mut driver = Driver::on(numbering(splits), bounds, FakeStore::forgetting())?;
    driver.read_rows = Some(2);
    while !driver.is_over() {
        driver.pass_epoch();
        driver.read_rows = Some(2);
    }
    let mut expected = all();
    expected.extend((b'a'..=b'z').map(|b| format!("{}2", b as char)));
    expected.sort();
    assert_eq!(texts(&driver), expected);
    Ok(())
}

#[test]
fn evicted_cells_are_read_back_from_the_store() -> Result<()> {
    let two = ScriptedSplit::of(&[("a", 1), ("a", 2), ("a", 3)]);
    let mut driver = numbering(vec![two]).driver(Config { cached_groups: 0, bundle_rows_max: 1, ..config(1) })?;
    driver.hold("by letter");
    driver.read_rows = Some(1);
    for n in 1..=3 {
        driver.settle();
        let (shard, bundle) = driver.open("by letter")[0];
        driver.work(shard, None, bundle);
        driver.settle();
        driver.pass_epoch();
        assert_eq!(driver.disk("out").lines().len(), n);
    }
    assert_eq!(written(&driver), ["a1", "a2", "a3"]);
    Ok(())
}

#[test]
fn a_drained_job_finishes_what_it_has_read_and_reads_no_more() -> Result<()> {
    let endless = rows().into_iter().map(ScriptedSplit::endless).collect();
    let mut driver = numbering(endless).driver(config(2))?;
    driver.read_rows = Some(5);
    while driver.rows_read() < 10 {
        take(&mut driver, 1);
    }
    driver.drain();
    assert_eq!(driver.run_to_end(), Outcome::Drained);
    let read = texts(&driver);
    assert!(!read.is_empty() && read.len() < 26, "{read:?}");
    assert_eq!(read, all()[..read.len()]);
    assert!(driver.disk("out").is_finished());
    Ok(())
}

#[test]
fn a_read_under_way_at_a_drain_is_left_for_the_next_run() -> Result<()> {
    let endless = rows().into_iter().map(ScriptedSplit::endless).collect();
    let mut driver = numbering(endless).driver(config(1))?;
    driver.read_rows = Some(5);
    driver.hold("by letter");
    while driver.rows_read() < 5 {
        take(&mut driver, 1);
    }
    driver.drain();
    // the drain is heard while the next poll is under way
    while let Some(choice) = driver.choices().into_iter().find(|c| !matches!(c, Choice::Read(..) | Choice::Time)) {
        driver.take(choice);
    }
    driver.settle();
    assert_eq!(driver.rows_read(), 5);
    driver.release("by letter");
    assert_eq!(driver.run_to_end(), Outcome::Drained);
    assert_eq!(texts(&driver), all()[..5]);
    driver.crash(1)?;
    driver.pass_epoch();
    assert_eq!(texts(&driver), all(), "nothing was skipped");
    Ok(())
}

#[test]
fn a_shard_that_has_seen_nothing_does_not_look_like_one_that_has_ended() -> Result<()> {
    // one bounded split: shard 0 promises nothing, shards 1 and 2 have no split and are at the end of time
    let split = ScriptedSplit::of(&[("a", 1), ("a", 2), ("a", 25)]).bounded();
    let mut t = Topology::new();
    let keyed = keyed_lines(&mut t, vec![split], &tens());
    let grouped = t.group("group", keyed);
    out(&mut t, grouped);
    let mut driver = t.driver(config(3))?;
    driver.hold("by letter");
    driver.settle();
    driver.pass_epoch();
    driver.crash(3)?;
    driver.observer.strict = true;
    driver.release("by letter");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    let counts: Vec<_> = driver.disk("out").lines().iter().map(|l| (l.time.0, l.value[3], l.pane)).collect();
    assert_eq!(counts, [(9, 2, 0), (29, 1, 0)]);
    Ok(())
}

#[test]
fn the_number_of_partitions_is_stored_with_the_first_epoch() -> Result<()> {
    let store = FakeStore::default();
    assert_eq!(stored_partitions(store.reader().as_ref())?, None);
    let mut t = Topology::new();
    let keyed = keyed_lines(&mut t, vec![ScriptedSplit::of(&[("a", 1)])], &Windowing::global());
    out(&mut t, keyed);
    let mut driver = Driver::on(t, Config { partitions: 7, ..config(2) }, store.clone())?;
    driver.run_to_end();
    assert_eq!(stored_partitions(store.reader().as_ref())?, Some(7));
    Ok(())
}

#[test]
fn a_cancelled_job_stops_as_it_is_and_keeps_what_is_committed() -> Result<()> {
    let endless = rows().into_iter().map(ScriptedSplit::endless).collect();
    let mut driver = numbering(endless).driver(config(2))?;
    driver.pass_epoch();
    let committed = texts(&driver);
    driver.cancel();
    assert_eq!(driver.run_to_end(), Outcome::Cancelled);
    assert_eq!(texts(&driver), committed);
    assert!(!driver.disk("out").is_finished());
    Ok(())
}
