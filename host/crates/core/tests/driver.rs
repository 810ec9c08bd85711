//! One plain pipeline through every room, before anything is made difficult.

use thalweg_core::engine::{Config, Outcome};
use thalweg_core::error::Result;
use thalweg_core::testing::{Driver, ScriptedSplit, SinkKind, Topology, User};
use thalweg_core::window::{WindowFn, Windowing};

/// Words of a source, by their first letter and by windows of ten milliseconds, as iterables.
fn words(shards: u16) -> Result<Driver> {
    let mut t = Topology::new();
    let windowing = Windowing::of(WindowFn::Fixed { size: 10, offset: 0 });
    let lines = t.source(
        "lines",
        vec![
            ScriptedSplit::of(&[("apple", 1), ("bean", 2), ("avocado", 9), ("ant", 10), ("!", 11)]),
            ScriptedSplit::of(&[("bear", 3), ("almond", 19)]).bounded(),
        ],
    );
    let (good, bad) = (t.keyed("good", &windowing), t.plain("bad", &Windowing::global()));
    let window_fn = windowing.window_fn.clone();
    let parse = User::new("parse", move |work| {
        for e in work.elements() {
            if e.value == b"!" {
                work.emit(1, b"", &e.value, e.time, &e.windows);
            } else {
                work.emit(0, &e.value[..1], &e.value, e.time, &window_fn.assign(e.time));
            }
        }
        Ok(())
    });
    t.user(parse, &[lines], &[good, bad]);
    let grouped = t.group("group", good);
    t.sink("grouped", SinkKind::Length, grouped);
    t.sink("bad", SinkKind::Outbox, bad);
    let mut driver = t.driver(Config { shards, ..Config::default() })?;
    driver.observer.strict = true;
    Ok(driver)
}

#[test]
fn elements_go_through_every_room() -> Result<()> {
    for shards in [1, 2, 3] {
        let mut driver = words(shards)?;
        assert_eq!(driver.run_to_end(), Outcome::Done);
        let mut groups: Vec<(i64, String, u8)> = driver
            .disk("grouped")
            .lines()
            .iter()
            .map(|l| (l.time.0, String::from_utf8_lossy(&l.key).into_owned(), l.value[3]))
            .collect();
        groups.sort();
        let expected = [(9, "a", 2), (9, "b", 2), (19, "a", 2)].map(|(t, k, n)| (t, k.to_owned(), n));
        assert_eq!(groups, expected);
        assert_eq!(driver.disk("bad").texts(), ["!"]);
        assert!(driver.disk("bad").is_finished());
    }
    Ok(())
}
