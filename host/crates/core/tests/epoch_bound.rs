//! What an epoch changes of state has a bound: it ends early, and while the one before it is not committed, nothing goes on.

mod topologies;

use thalweg_core::engine::{Config, Outcome};
use thalweg_core::error::Result;
use thalweg_core::graph::CollectionId;
use thalweg_core::testing::{Choice, Driver, FakeStore, ScriptedSplit, Topology, User, Work};
use thalweg_core::window::Windowing;
use topologies::{config, keyed_lines, out, texts};

const ROWS: usize = 200;

/// A source without end of these lines under their first letter, in epochs of an hour.
fn lines(names: &[String]) -> (Topology, CollectionId) {
    let mut t = Topology::new();
    t.epoch_ms = 3_600_000;
    let rows: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    let keyed = keyed_lines(&mut t, vec![ScriptedSplit::of(&rows).endless()], &Windowing::global());
    (t, keyed)
}

/// Two shards whose epochs may change about 2 kB each.
fn sizes() -> Config {
    Config { epoch_bytes_max: 2000, bundle_rows_max: 10, queue_bytes_max: 1000, read_rows: 10, ..config(2) }
}

/// Keeps each element under its key.
fn keeping(store: FakeStore) -> Result<Driver> {
    let names: Vec<String> = (0..ROWS).map(|i| format!("{}{i}", (b'a' + (i % 26) as u8) as char)).collect();
    let (mut t, keyed) = lines(&names);
    let kept = t.plain("kept", &Windowing::global());
    let keep = User::new("keep", |work: &mut Work| {
        for e in work.elements() {
            work.set_value(e.group, "last", Some(&e.value))?;
            work.emit(0, b"", &e.value, e.time, &e.windows);
        }
        Ok(())
    });
    t.user(keep.state("last"), &[keyed], &[kept]);
    out(&mut t, kept);
    Driver::on(t, sizes(), store)
}

/// Everything happens but commits, and no time passes.
fn without_commits(driver: &mut Driver) {
    while let Some(choice) = driver.choices().into_iter().find(|c| !matches!(c, Choice::Write | Choice::Time)) {
        driver.take(choice);
    }
}

#[test]
fn an_epoch_that_has_changed_much_ends_early() -> Result<()> {
    let mut driver = keeping(FakeStore::new())?;
    driver.settle();
    assert!(texts(&driver).len() > ROWS / 2, "{} rows lasting, and no time has passed", texts(&driver).len());
    driver.drain();
    assert_eq!(driver.run_to_end(), Outcome::Drained);
    assert_eq!(texts(&driver).len(), ROWS);
    Ok(())
}

#[test]
fn nothing_goes_on_while_two_epochs_full_of_changes_wait_for_the_disk() -> Result<()> {
    let mut driver = keeping(FakeStore::new())?;
    without_commits(&mut driver);
    let read = driver.rows_read();
    assert!(read < ROWS as u64 / 2, "{read} rows were read");
    driver.settle();
    driver.drain();
    assert_eq!(driver.run_to_end(), Outcome::Drained);
    assert_eq!(texts(&driver).len(), ROWS);
    Ok(())
}

#[test]
fn what_other_shards_send_to_a_grouping_counts_as_well() -> Result<()> {
    // one shard reads, and the key is its own or the other's
    for key in ["a", "b", "c", "d", "e", "f"] {
        let names: Vec<String> = (0..4 * ROWS).map(|i| format!("{key}{i}")).collect();
        let (mut t, keyed) = lines(&names);
        let grouped = t.group("group", keyed);
        out(&mut t, grouped);
        let mut driver = t.driver(sizes())?;
        without_commits(&mut driver);
        assert!(driver.rows_read() < ROWS as u64, "{} rows of {key} were read", driver.rows_read());
        driver.settle();
        assert_eq!(driver.rows_read(), 4 * ROWS as u64, "with commits all of {key}");
    }
    Ok(())
}

#[test]
fn state_that_lives_in_memory_alone_may_change_as_it_likes() -> Result<()> {
    let mut driver = keeping(FakeStore::forgetting())?;
    without_commits(&mut driver);
    assert_eq!(driver.rows_read(), ROWS as u64);
    Ok(())
}
