//! Programs in Go: Beam's own examples and integration tests, and ours.

use crate::{endpoint, oracle};
use acceptance::child::Run;
use acceptance::lines::Lines;
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;
use std::fs;

/// The options with which the Go SDK runs on any portable runner.
fn options() -> Result<[String; 3]> {
    let endpoint = format!("--endpoint={}", endpoint()?);
    Ok(["--runner=universal".to_owned(), endpoint, "--environment_type=LOOPBACK".to_owned()])
}

#[test]
fn wordcount_of_beams_examples_counts_right() -> Result<()> {
    let folder = watchdog::folder("go-wordcount")?;
    let (text, counts) = (folder.join("text"), folder.join("counts"));
    // the example takes letters for words, and apostrophes between them
    fs::write(&text, "to be, or not to be\n\nthat's the question: 'tis it\nto\n")?;
    Run::new(place::program("go/wordcount")?)
        .args(options()?)
        .arg(format!("--input={}", text.display()))
        .arg(format!("--output={}", counts.display()))
        .ok()?;
    let wanted = "to: 3\nbe: 2\nor: 1\nnot: 1\nthat's: 1\nthe: 1\nquestion: 1\ntis: 1\nit: 1\n";
    Lines::read(&counts)?.same_as(&Lines::of(wanted), "the counts of the words")
}

/// Lines are strewn over two hours at random, each with its words in one window of a minute.
#[test]
fn windowed_wordcount_of_beams_examples_counts_each_word_in_the_window_of_its_line() -> Result<()> {
    let folder = watchdog::folder("go-windowed")?;
    let (text, counts) = (folder.join("text"), folder.join("counts"));
    let lines: String = (0..60).map(|_| "alpha beta alpha\n").collect();
    fs::write(&text, lines)?;
    Run::new(place::program("go/windowed_wordcount")?)
        .args(options()?)
        .arg(format!("--input={}", text.display()))
        .arg(format!("--output={}", counts.display()))
        .ok()?;
    // by window: what is counted of each word
    let mut windows: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for line in fs::read_to_string(&counts)?.lines() {
        let (window, word) = line.rsplit_once("] ").or_else(|| line.rsplit_once(") ")).context("no window")?;
        let (word, count) = word.split_once(": ").context("no count")?;
        let window = windows.entry(window.to_owned()).or_default();
        ensure!(window.insert(word.to_owned(), count.parse()?).is_none(), "{word} has two counts: {line}");
    }
    let total = |word: &str| windows.values().filter_map(|window| window.get(word)).sum::<u64>();
    ensure!((total("alpha"), total("beta")) == (120, 60), "{windows:?}");
    ensure!(windows.values().all(|w| w.get("alpha") == w.get("beta").map(|n| 2 * n).as_ref()), "{windows:?}");
    ensure!(windows.len() > 10, "60 lines in {} windows of 120", windows.len());
    Ok(())
}

#[test]
fn our_programs_in_go_give_what_they_should() -> Result<()> {
    let folder = watchdog::folder("go-programs")?;
    let text = place::file("LICENSE");
    let mut wanted: BTreeMap<&str, Lines> = BTreeMap::new();
    wanted.insert("test_stream", oracle::panes());
    wanted.insert("wordcount", oracle::counted(&oracle::words(&fs::read_to_string(&text)?)));
    for program in oracle::COUNTING.into_iter().chain(["processing", "sdf", "checkpoint", "wasm", "windows"]) {
        wanted.insert(program, oracle::lines(program).context("no such program")?);
    }
    for (program, wanted) in wanted {
        let output = folder.join(program);
        let ended = Run::new(place::program("go/languages")?)
            .args(options()?)
            .arg(format!("--program={program}"))
            .arg(format!("--input={}", text.display()))
            .arg(format!("--output={}", output.display()))
            .arg(format!("--component={}", place::component("conformance")?.display()))
            .arg(format!("--expansion={}", endpoint()?))
            .ok()?;
        Lines::read(&output)?.same_as(&wanted, program)?;
        if oracle::COUNTING.contains(&program) {
            ensure!(ended.out == format!("{program} seen 100\n"), "the counter of {program}:\n{ended}");
        }
    }
    Ok(())
}

/// Tests of Beam that no pipeline on this machine can pass: one waits to be drained by hand, one has its worker killed by the system.
const NOT_RUN: [&str; 2] = ["TestDrain", "TestOomParDo"];

#[test]
fn the_primitives_of_beams_integration_tests_pass() -> Result<()> {
    let tests = place::program("go/primitives")?;
    let listed = Run::new(&tests).arg("-test.list=.").ok()?;
    let names: Vec<&str> = listed.out.lines().filter(|n| n.starts_with("Test") && !NOT_RUN.contains(n)).collect();
    ensure!(names.len() >= 60, "{} tests are listed\n{listed}", names.len());
    let ended = Run::new(&tests)
        .args(["-test.v", "-test.run", &format!("^({})$", names.join("|"))])
        .args(options()?)
        .limit(240)
        .end()?;
    let lines = |mark: &str| -> Vec<&str> { ended.out.lines().filter_map(|l| l.strip_prefix(mark)).collect() };
    let (failed, skipped) = (lines("--- FAIL: "), lines("--- SKIP: "));
    ensure!(failed.is_empty() && skipped.is_empty(), "failed: {failed:?}, skipped: {skipped:?}\n{ended}");
    ensure!(lines("--- PASS: ").len() == names.len() && ended.code == Some(0), "not all have passed\n{ended}");
    Ok(())
}
