//! Splits that come into being while a job runs.

mod topologies;

use thalweg_core::error::Result;
use thalweg_core::id::{ShardId, SourceId, SplitId};
use thalweg_core::testing::{Driver, ScriptedSplit, Topology};
use topologies::{config, keyed_lines, out, tens, texts};

const LINES: SourceId = SourceId(0);

/// Groups lines by their first letter in windows of ten milliseconds.
fn windowed(splits: Vec<ScriptedSplit>) -> Topology {
    let mut t = Topology::new();
    let keyed = keyed_lines(&mut t, splits, &tens());
    let grouped = t.group("group", keyed);
    out(&mut t, grouped);
    t
}

fn lines(driver: &Driver) -> usize {
    texts(driver).iter().map(|text| text.matches('!').count()).sum()
}

#[test]
fn a_split_that_comes_into_being_is_read_once_whatever_happens_then() -> Result<()> {
    let splits = || {
        let first = ScriptedSplit::of(&[("a!", 1), ("b!", 2)]).endless();
        vec![first, ScriptedSplit::of(&[("c!", 3), ("d!", 4), ("e!", 5)]).endless().later()]
    };
    for crash in [false, true] {
        let mut driver = windowed(splits()).driver(config(2))?;
        driver.settle();
        driver.find_split(ShardId(0), LINES, SplitId(1));
        driver.find_split(ShardId(0), LINES, SplitId(1)); // once is enough
        driver.settle();
        driver.pass_epoch();
        if crash {
            driver.crash(3)?; // from now on it is a split like any other, of another shard
        }
        driver.drain();
        driver.run_to_end();
        assert_eq!(lines(&driver), 5, "after a crash: {crash}");
    }
    Ok(())
}

#[test]
fn a_split_holds_the_watermark_where_it_was_found_until_it_is_read() -> Result<()> {
    let first = ScriptedSplit::of(&[("a!", 1), ("b!", 15), ("c!", 25), ("d!", 35)]).endless();
    let later = ScriptedSplit::of(&[("x!", 26), ("y!", 47)]).endless().later();
    let mut driver = windowed(vec![first, later]).driver(config(1))?;
    driver.read_rows = Some(1);
    while driver.rows_read() < 2 {
        let next = driver.choices()[0];
        driver.take(next);
    }
    // time is 25 now; the first split is read to its end before the other one is read at all
    driver.find_split(ShardId(0), LINES, SplitId(1));
    driver.settle();
    driver.pass_epoch();
    driver.drain();
    driver.run_to_end();
    // the first split alone would have ended the window of x before
    assert_eq!(lines(&driver), 6, "{:?}", texts(&driver));
    Ok(())
}
