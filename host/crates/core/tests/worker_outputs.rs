//! Outputs of bundles that are not done are in memory: what bounds them.

mod topologies;

use thalweg_core::engine::{Config, Outcome};
use thalweg_core::error::Result;
use thalweg_core::id::ShardId;
use thalweg_core::testing::{Driver, ScriptedSplit, Topology, User, Work};
use thalweg_core::window::Windowing;
use topologies::{batch, by_letter, config, out, texts};

const S: ShardId = ShardId(0);
/// Bytes a queue may hold.
const QUEUE: usize = 1000;

/// Passes letters on in bundles of up to eight that stay open, under their key if so said.
fn passing(keyed: bool, outputs_bytes_max: usize) -> Result<Driver> {
    let mut t = Topology::new();
    let rows = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| (name, 0));
    let lines = t.source("lines", vec![ScriptedSplit::of(&rows)]);
    let input = if keyed { t.keyed("keyed", &Windowing::global()) } else { lines };
    if keyed {
        t.user(by_letter("by letter", &Windowing::global()), &[lines], &[input]);
    }
    let passed = t.plain("passed", &Windowing::global());
    let pass = User::new("pass", |work: &mut Work| {
        work.elements().iter().for_each(|e| work.emit(0, b"", &e.value, e.time, &e.windows));
        Ok(())
    });
    let pass = if keyed { pass.state("seen") } else { pass };
    t.user(pass, &[input], &[passed]);
    out(&mut t, passed);
    let mut driver = t.driver(Config { queue_bytes_max: QUEUE, outputs_bytes_max, ..config(1) })?;
    driver.hold("pass");
    driver.settle();
    assert_eq!(driver.open("pass").len(), 1);
    Ok(driver)
}

/// The only open bundle puts out so many bytes more. Returns how many elements it has left.
fn put_out(driver: &mut Driver, bytes: usize) -> usize {
    let (_, bundle) = driver.open("pass")[0];
    let worker = driver.worker(S, "pass");
    worker.put_out(bundle, 0, batch(&[(&"x".repeat(bytes), 0)]));
    driver.listen(S);
    driver.settle();
    driver.worker(S, "pass").bundle(bundle).map_or(0, |start| start.input.len())
}

#[test]
fn a_bundle_whose_outputs_are_more_than_a_queue_holds_gives_back_what_it_has_not_begun() -> Result<()> {
    let mut driver = passing(false, usize::MAX)?;
    assert_eq!(put_out(&mut driver, QUEUE / 2), 8, "there is room");
    assert_eq!(put_out(&mut driver, QUEUE / 2), 1, "it ends with what it has begun");
    driver.release("pass");
    assert_eq!(driver.run_to_end(), Outcome::Done);
    let mut texts = texts(&driver);
    texts.retain(|text| text.len() == 1);
    assert_eq!(texts, ["a", "b", "c", "d", "e", "f", "g", "h"]);
    Ok(())
}

#[test]
fn outputs_of_what_has_no_parts_end_in_an_error_with_the_name_of_the_transform() -> Result<()> {
    let mut driver = passing(true, 4 * QUEUE)?;
    for _ in 0..3 {
        assert_eq!(put_out(&mut driver, QUEUE), 8, "its keys stay with it");
    }
    put_out(&mut driver, QUEUE);
    let Some(Outcome::Failed(error)) = driver.outcome() else { panic!("{:?}", driver.outcome()) };
    assert_eq!((error.code, error.transform.as_str()), ("BUNDLE_OUTPUTS_TOO_LARGE", "pass"));
    Ok(())
}

#[test]
fn bundles_that_wait_for_an_earlier_one_of_their_lane_hold_back_later_ones() -> Result<()> {
    for (outputs, most) in [(QUEUE, 5), (1, 25)] {
        let mut t = Topology::new();
        let names: Vec<String> = (0..30).map(|i| format!("{i:02}")).collect();
        let rows: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 0)).collect();
        let lines = t.source("lines", vec![ScriptedSplit::of(&rows)]);
        let passed = t.plain("passed", &Windowing::global());
        let pass = User::new("pass", move |work: &mut Work| {
            for e in work.elements() {
                let long = [e.value.as_slice(), "x".repeat(outputs).as_bytes()].concat();
                work.emit(0, b"", &long, e.time, &e.windows);
            }
            Ok(())
        });
        t.user(pass.bundles(2), &[lines], &[passed]);
        out(&mut t, passed);
        let mut driver = t.driver(Config { queue_bytes_max: 3 * QUEUE, bundle_rows_max: 1, ..config(1) })?;
        driver.hold("pass");
        driver.settle();
        let first = driver.open("pass")[0].1;
        let mut done = 0;
        // every bundle ends but the first
        while let Some((shard, bundle)) = driver.open("pass").into_iter().find(|(_, bundle)| *bundle != first) {
            driver.work(shard, None, bundle);
            driver.settle();
            done += 1;
        }
        assert!((most - 4..=most + 4).contains(&done), "{done} bundles of {outputs} bytes went before");
        driver.release("pass");
        assert_eq!(driver.run_to_end(), Outcome::Done);
        let texts: Vec<String> = topologies::written(&driver).iter().map(|text| text[..2].to_owned()).collect();
        assert_eq!(texts, names);
    }
    Ok(())
}
