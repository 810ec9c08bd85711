//! State that nobody writes goes after a while: of components and of SDKs, through kills and restarts, by option and by update.

use acceptance::child::{Ended, Run, Running};
use acceptance::embedded::log;
use acceptance::ledger::{TRANSFORM as LEDGER, asked, give, pipeline};
use acceptance::python::{answer, as_prism, program};
use acceptance::server::Server;
use acceptance::watchdog;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const KINDS: [&str; 7] = ["value", "sum", "bag", "map", "set", "multi", "list"];
/// Something of every kind.
const ALL: &str =
    "value.set one; sum.add 7; bag.add a; map.put x 1; set.add p; multi.add k 1st; list.add 5 five; sum.get";

/// What a key was answered, in order.
fn answers(state: &Path, who: &str) -> Result<Vec<String>> {
    let ended = log(state, &["tail", "out", "--from", "earliest", "--output", "json"])?.ok()?;
    let mut all = Vec::new();
    for line in ended.out.lines() {
        let record: Value = serde_json::from_str(line)?;
        let row: Value = serde_json::from_str(record["value"].as_str().context("a value")?)?;
        let row = row.as_object().context("a row")?;
        if row["who"] == who {
            let (_, said) = row.iter().find(|(name, _)| *name != "who").context("an answer")?;
            all.push(said.as_str().context("a text")?.to_owned());
        }
    }
    Ok(all)
}

fn objects(ended: &Ended) -> Result<Vec<Value>> {
    ensure!(ended.code == Some(0), "{ended}");
    Ok(ended.out.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?)
}

/// Keys that have something of a kind, sorted.
fn keys(kind: &str, of: &[&str]) -> Result<Vec<String>> {
    let mut all = objects(&asked(&["scan", LEDGER, kind, "--limit", "10000"], of)?)?;
    ensure!(all.pop().is_some_and(|last| last["next"].is_null()), "one page");
    let key = |entry: &Value| entry["key"].as_str().map(str::to_owned);
    let mut keys = all.iter().map(key).collect::<Option<Vec<_>>>().context("texts")?;
    keys.sort();
    Ok(keys)
}

fn run(file: &Path, state: &Path, options: &[&str]) -> Result<Running> {
    fs::remove_file(state.join("log.sock")).ok();
    let command = Run::thalweg()?.arg("run").arg(file).arg("--state-dir").arg(state).args(options);
    let mut running = command.args(["--epoch-ms", "20", "--shards", "2"]).start()?;
    running.until("its door", |_| Ok(state.join("log.sock").exists()))?;
    Ok(running)
}

#[test]
fn every_kind_of_state_goes_when_it_is_not_written_and_a_key_begins_anew() -> Result<()> {
    let dir = watchdog::folder("ttl")?;
    let (state, file) = (dir.join("state"), pipeline(&dir)?);
    let of = ["--state-dir", state.to_str().context("a path")?];
    log(&state, &["create", "in", "--partitions", "2"])?.ok()?;
    let mut running = run(&file, &state, &["--state-ttl", "3s"])?;
    give(&state, &[("old", ALL), ("hot", ALL)])?;
    running.until("its state", |_| Ok(answers(&state, "old").is_ok_and(|told| told == ["7"])))?;
    running.until("a commit", |_| Ok(keys("list", &of).is_ok_and(|keys| keys == ["hot", "old"])))?;
    let listed = objects(&asked(&["list"], &of)?)?;
    ensure!(listed.iter().filter(|state| state["ttl_ms"] == json!(3000)).count() == KINDS.len(), "{listed:?}");
    // a key whose one state is written keeps all of them
    let mut sum = 7;
    running.until("the end of what is not written", |_| {
        give(&state, &[("hot", "sum.add 1; sum.get")])?;
        sum += 1;
        sleep(Duration::from_millis(200));
        Ok(keys("sum", &of)? == ["hot"])
    })?;
    for kind in KINDS {
        ensure!(keys(kind, &of)? == ["hot"], "{kind}");
    }
    give(&state, &[("old", "sum.add 1; sum.get; value.get; bag.all; map.all; set.all; multi.all; list.all")])?;
    running.until("its answers", |_| Ok(answers(&state, "old")?.len() > 7))?;
    let told = answers(&state, "old")?;
    ensure!(told[1..] == ["1", "None", "", "[]", "", "", ""], "{told:?}");
    running.until("the last of them", |_| Ok(answers(&state, "hot")?.last() == Some(&sum.to_string())))?;
    running.kill()?;
    Ok(())
}

#[test]
fn a_job_that_is_killed_drops_what_was_not_written_meanwhile_and_nothing_else() -> Result<()> {
    let dir = watchdog::folder("ttl")?;
    let (state, file) = (dir.join("state"), pipeline(&dir)?);
    let of = ["--state-dir", state.to_str().context("a path")?];
    log(&state, &["create", "in", "--partitions", "2"])?.ok()?;
    let names: Vec<String> = (0..3000).map(|n| format!("key {n}")).collect();
    let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "sum.add 1; bag.add x")).collect();
    let mut running = run(&file, &state, &["--state-ttl", "Ledger=4s"])?;
    // killed while state is written, and while it is dropped
    for round in 0..3 {
        give(&state, &all)?;
        running.until("some of it", |_| Ok(keys("sum", &of).is_ok_and(|keys| !keys.is_empty())))?;
        sleep(Duration::from_millis(60 * round));
        running.kill()?;
        let (sums, bags) = (keys("sum", &of)?, keys("bag", &of)?);
        ensure!(sums == bags, "two states of one commit: {} and {}", sums.len(), bags.len());
        sleep(Duration::from_millis(5500));
        running = run(&file, &state, &["--state-ttl", "Ledger=4s"])?;
        sleep(Duration::from_millis(20 * round));
        running.kill()?;
        ensure!(keys("sum", &of)? == keys("bag", &of)?, "two states of one commit");
        running = run(&file, &state, &["--state-ttl", "Ledger=4s"])?;
        sleep(Duration::from_millis(1500)); // it reads on where it was killed
        running.until("the end of all", |_| Ok(keys("sum", &of)?.is_empty() && keys("bag", &of)?.is_empty()))?;
    }
    give(&state, &[("key 7", "sum.add 1; sum.get"), ("timeless", "sum.add 5")])?;
    running.until("its answer", |_| Ok(answers(&state, "key 7")?.len() == 1))?;
    ensure!(answers(&state, "key 7")? == ["1"], "{:?}", answers(&state, "key 7")?);
    running.until("its commit", |_| Ok(keys("sum", &of)? == ["key 7", "timeless"]))?;
    running.kill()?;
    // without it nothing goes; with it again, what is there counts as written when the run began
    let running = run(&file, &state, &[])?;
    sleep(Duration::from_secs(6));
    ensure!(keys("sum", &of)? == ["key 7", "timeless"], "without a time to live");
    running.kill()?;
    let mut running = run(&file, &state, &["--state-ttl", "2s", "--state-ttl", "Ledger=8s"])?;
    sleep(Duration::from_secs(2));
    ensure!(keys("sum", &of)? == ["key 7", "timeless"], "from now on");
    running.until("the end of all", |_| Ok(keys("sum", &of)?.is_empty()))?;
    running.kill()?;
    Ok(())
}

#[test]
fn what_lives_how_long_is_shown_and_what_is_meant_by_nobody_is_refused() -> Result<()> {
    let dir = watchdog::folder("ttl")?;
    let (state, file) = (dir.join("state"), pipeline(&dir)?);
    log(&state, &["create", "in"])?.ok()?;
    let shown = Run::thalweg()?.arg("plan").arg(&file).args(["--state-ttl", "36h"]).ok()?;
    ensure!(shown.out.contains(&format!("state of {LEDGER} is dropped when it was not written for 36h")), "{shown}");
    for (said, code) in [("soon", "STATE_TTL_INVALID"), ("Ledge=1h", "STATE_TTL_UNKNOWN")] {
        let command = Run::thalweg()?.arg("run").arg(&file).arg("--state-dir").arg(&state);
        let ended = command.args(["--state-ttl", said]).end()?;
        ensure!(ended.code == Some(3) && ended.err.contains(&format!("error[{code}]")), "{ended}");
    }
    Ok(())
}

#[test]
fn a_submitted_job_says_how_long_its_state_lives_and_an_update_says_it_anew() -> Result<()> {
    let dir = watchdog::folder("ttl")?;
    let (state, file) = (dir.join("state"), pipeline(&dir)?);
    let place = state.to_str().context("a path")?;
    // names of other pipelines are no mistake of this one
    let wanted = ["--state-ttl", "1h", "--state-ttl", "Other=1s"];
    let server = Server::start(&[&["serve", "--epoch-ms", "50", "--state-dir", place], &wanted[..]].concat())?;
    let shared = state.join("log");
    log(&shared, &["create", "in"])?.ok()?;
    let endpoint = server.endpoint();
    let submit = |options: &[&str]| -> Result<Ended> {
        let submit = Run::thalweg()?.args(["job", "submit"]).arg(&file).args(["--option", "state_name=ledger"]);
        submit.args(options).arg("--server").arg(&endpoint).end()
    };
    // a job tells with its first commit
    let lives = |id: &str, wanted: Option<i64>| -> Result<()> {
        let begun = Instant::now();
        loop {
            let ended = asked(&["list"], &["--server", &endpoint, "--job", id])?;
            if ended.code == Some(0) && objects(&ended)?[0]["ttl_ms"].as_i64() == wanted {
                return Ok(());
            }
            ensure!(begun.elapsed() < Duration::from_secs(60), "not {wanted:?}: {ended}\n{}", server.log());
            sleep(Duration::from_millis(50));
        }
    };
    for (said, code) in [("soon", "STATE_TTL_INVALID"), ("Ledge=1h", "STATE_TTL_UNKNOWN")] {
        let refused = submit(&["--option", &format!("state_ttl={said}")])?;
        ensure!(refused.code != Some(0) && refused.err.contains(code), "{refused}");
    }
    let first = submit(&[])?.out.trim().to_owned();
    give(&shared, &[("old", ALL)])?;
    let waits = |what: &str, id: &str, there: bool| -> Result<()> {
        let begun = Instant::now();
        let of = ["--server", endpoint.as_str(), "--job", id];
        while asked(&["get", LEDGER, "sum", "old"], &of)?.out.contains(r#""value":7"#) != there {
            ensure!(begun.elapsed() < Duration::from_secs(60), "{what}\n{}", server.log());
            sleep(Duration::from_millis(50));
        }
        Ok(())
    };
    waits("no state", &first, true)?;
    lives(&first, Some(3_600_000)).context("what the server says")?;
    let second = submit(&["--update", "--state-ttl", "Ledger=off"])?;
    ensure!(second.code == Some(0), "{second}\n{}", server.log());
    let second = second.out.trim().to_owned();
    waits("no state after an update", &second, true)?;
    lives(&second, None).context("what the job says")?;
    let third = submit(&["--update", "--option", "state_ttl=Other=5h,Ledger/Call=2s"])?;
    ensure!(third.code != Some(0) && third.err.contains("STATE_TTL_UNKNOWN"), "{third}");
    let third = submit(&["--update", "--option", "state_ttl=1h,Ledger/Call=2s"])?;
    ensure!(third.code == Some(0), "{third}\n{}", server.log());
    let third = third.out.trim().to_owned();
    waits("the state is still there", &third, false)?;
    lives(&third, Some(2000))?;
    server.kill()?;
    Ok(())
}

#[test]
fn an_sdk_that_remembers_state_does_not_remember_what_is_gone() -> Result<()> {
    let ended = program("state_ttl.py")?
        .arg(watchdog::folder("ttl")?.join("found"))
        .args(as_prism()?)
        .arg("--state_ttl=8s")
        .ok()?;
    let found = answer(&ended.out)?;
    let found: Vec<&Vec<Value>> = found.as_array().context("a list")?.iter().filter_map(Value::as_array).collect();
    let of = |key: &str| -> Vec<Value> {
        found.iter().filter(|row| row[0] == json!(key)).map(|row| json!(row[1..])).collect()
    };
    let fresh = |word: &str| json!([word, null, [], if word == "ask" { Value::Null } else { json!(0) }, []]);
    let asked = |n: i64, words: &[&str]| json!(["ask", n, words, null, words]);
    let old = [fresh("one"), asked(1, &["one"]), fresh("three"), asked(1, &["three"]), fresh("ask")];
    ensure!(of("old") == old, "{ended}");
    let hot = [
        fresh("one"),
        json!(["two", 1, ["one"], 1, ["one"]]),
        json!(["three", 2, ["one", "two"], 2, ["one", "two"]]),
        asked(3, &["one", "three", "two"]),
        fresh("four"),
    ];
    ensure!(of("hot") == hot, "{ended}");
    // its timer at 40 s keeps the state until then
    let kept = asked(1, &["wait"]);
    ensure!(of("timed") == [fresh("wait"), kept.clone(), json!(["timer", 1]), kept, fresh("ask")], "{ended}");
    Ok(())
}
