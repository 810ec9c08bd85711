//! Committed state, asked for from outside: while a job runs, after its death, of a server, and of what is not there.

use acceptance::child::{Run, Running};
use acceptance::embedded::log;
use acceptance::ledger::{TRANSFORM as LEDGER, asked, give, pipeline};
use acceptance::server::Server;
use acceptance::watchdog;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What came out, counted by key: as many as the sum of the key, in the same commits.
fn counted(state: &Path) -> Result<BTreeMap<String, i64>> {
    let ended = log(state, &["tail", "out", "--from", "earliest", "--output", "json"])?.ok()?;
    let mut counts = BTreeMap::new();
    for line in ended.out.lines() {
        let record: Value = serde_json::from_str(line)?;
        let row: Value = serde_json::from_str(record["value"].as_str().context("a value")?)?;
        *counts.entry(row["who"].as_str().context("who")?.to_owned()).or_default() += 1;
    }
    Ok(counts)
}

/// Asks, and gives the objects of the answer: entries or states, and what was read.
fn ask(what: &[&str], of: &[&str]) -> Result<(Vec<Value>, Value)> {
    let ended = asked(what, of)?;
    ensure!(ended.code == Some(0), "{ended}");
    let mut lines = ended.out.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let last = lines.pop().context("a last line")?;
    Ok((lines, last))
}

/// Asks for the value of one key.
fn get(state: &str, key: &str, of: &[&str]) -> Result<Value> {
    let (entries, _) = ask(&["get", LEDGER, state, key], of)?;
    let [entry] = entries.as_slice() else { anyhow::bail!("{} entries", entries.len()) };
    ensure!(entry["key"] == json!(key) && entry["window"] == json!("global"), "{entry}");
    Ok(entry["value"].clone())
}

/// All sums, a page of a few at a time.
fn sums(of: &[&str]) -> Result<BTreeMap<String, i64>> {
    let (mut sums, mut page) = (BTreeMap::new(), None::<String>);
    loop {
        let mut what = vec!["scan", LEDGER, "sum", "--limit", "7"];
        what.extend(page.iter().flat_map(|page| ["--page", page.as_str()]));
        let (entries, last) = ask(&what, of)?;
        ensure!(entries.len() <= 7, "{} entries", entries.len());
        for entry in entries {
            let key = entry["key"].as_str().context("a key")?.to_owned();
            let sum = entry["value"].as_i64().with_context(|| format!("the sum of {entry}"))?;
            ensure!(sums.insert(key, sum).is_none(), "twice: {entry}");
        }
        match last["next"].as_str() {
            Some(next) => page = Some(next.to_owned()),
            None => return Ok(sums),
        }
    }
}

fn ones(keys: usize, records: usize) -> Vec<(String, String)> {
    (0..records).map(|n| (format!("key {}", n % keys), "sum.add 1; bag.add x; sum.get".to_owned())).collect()
}

fn refused(what: &[&str], of: &[&str], code: &str) -> Result<()> {
    let ended = asked(what, of)?;
    ensure!(ended.code == Some(3) && ended.err.contains(&format!("error[{code}]")), "{code} was expected\n{ended}");
    ensure!(ended.err.matches("error[").count() == 1, "one error\n{ended}");
    Ok(())
}

fn run(file: &Path, state: &Path) -> Result<Running> {
    let mut running = Run::thalweg()?
        .arg("run")
        .arg(file)
        .arg("--state-dir")
        .arg(state)
        .args(["--epoch-ms", "20", "--shards", "2"])
        .start()?;
    running.until("its door", |_| Ok(state.join("log.sock").exists()))?;
    Ok(running)
}

#[test]
fn what_is_committed_is_answered_while_the_job_runs_and_after_it_is_killed() -> Result<()> {
    let dir = watchdog::folder("state")?;
    let state = dir.join("state");
    let of = ["--state-dir", state.to_str().context("a path")?];
    log(&state, &["create", "in", "--partitions", "3"])?.ok()?;
    let file = pipeline(&dir)?;
    let mut running = run(&file, &state)?;
    give(&state, &ones(30, 3000))?;
    // nothing that is not committed, nothing that goes back
    let (mut last, mut epoch, mut seen) = (0, 0, 0);
    running.until("its sums", |_| {
        let ended = asked(&["get", LEDGER, "sum", "key 3"], &of)?;
        if ended.code != Some(0) {
            ensure!(ended.err.contains("QUERY_KEY_UNKNOWN") || ended.err.contains("STATE_NO_JOB"), "{ended}");
            return Ok(false);
        }
        let lines = ended.out.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let (sum, at) = (lines[0]["value"].as_i64().context("a sum")?, lines[1]["read"][0]["epoch"].as_u64());
        ensure!(sum >= last && sum <= 100 && at >= Some(epoch), "{sum} in {at:?} after {last} in {epoch}");
        (last, epoch, seen) = (sum, at.unwrap_or_default(), seen + 1);
        Ok(sum == 100)
    })?;
    let all: BTreeMap<String, i64> = (0..30).map(|n| (format!("key {n}"), 100)).collect();
    running.until("all sums", |_| Ok(counted(&state)? == all))?;
    ensure!(sums(&of)? == all, "while it runs");
    // killed in the middle: of one commit, behind what came out, and not ahead of what went in
    let (mut given, mut missing) = (all, Vec::new());
    for round in 1..4 {
        give(&state, &ones(30, 20_000))?;
        (0..20_000).for_each(|n| *given.entry(format!("key {}", n % 30)).or_default() += 1);
        sleep(Duration::from_millis(30 * round));
        running.kill()?;
        let (told, there) = (counted(&state)?, sums(&of)?);
        for (key, sum) in &there {
            ensure!(
                told[key] <= *sum && *sum <= given[key],
                "{key}: {sum}, {} came out, {} went in",
                told[key],
                given[key]
            );
        }
        let (bags, _) = ask(&["scan", LEDGER, "bag", "--limit", "1000"], &of)?;
        let sizes =
            bags.iter().map(|bag| Some((bag["key"].as_str()?.to_owned(), bag["value"].as_array()?.len() as i64)));
        ensure!(sizes.collect::<Option<BTreeMap<_, _>>>().as_ref() == Some(&there), "two states of one commit");
        ensure!(get("sum", "key 7", &of)? == json!(there["key 7"]));
        missing.push(given.values().sum::<i64>() - there.values().sum::<i64>());
        fs::remove_file(state.join("log.sock")).ok();
        running = run(&file, &state)?;
    }
    running.until("all that was given", |_| Ok(counted(&state)? == given))?;
    ensure!(sums(&of)? == given, "at the end");
    running.kill()?;
    ensure!(sums(&of)? == given, "at rest");
    println!("asked {seen} times before all was there; records still to come when it was killed: {missing:?}");
    Ok(())
}

#[test]
fn every_kind_of_state_is_shown_by_its_coder() -> Result<()> {
    let dir = watchdog::folder("state")?;
    let state = dir.join("state");
    let of = ["--state-dir", state.to_str().context("a path")?];
    log(&state, &["create", "in"])?.ok()?;
    let mut running = run(&pipeline(&dir)?, &state)?;
    let all = "value.set one; sum.add 7; bag.add a; bag.add b; map.put x 1; map.put y -2; set.add p; set.add q; \
        multi.add k 1st; multi.add k 2nd; list.add 5 five; list.add -5 minus; value.get";
    give(&state, &[("me".to_owned(), all.to_owned())])?;
    running.until("its answer", |_| Ok(counted(&state).is_ok_and(|counts| !counts.is_empty())))?;
    let wanted = [
        ("value", json!("one")),
        ("sum", json!(7)),
        ("bag", json!(["a", "b"])),
        ("map", json!([{"key": "x", "value": 1}, {"key": "y", "value": -2}])),
        ("set", json!(["p", "q"])),
        ("multi", json!([{"key": "k", "values": ["1st", "2nd"]}])),
        ("list", json!([{"order": -5, "value": "minus"}, {"order": 5, "value": "five"}])),
    ];
    for at_rest in [false, true] {
        for (name, value) in &wanted {
            ensure!(get(name, "me", &of)? == *value, "{name}, at rest: {at_rest}");
        }
        ensure!(get("sum", "me", &[&of[..], &["--window", "global"]].concat())? == json!(7));
        let (states, _) = ask(&["list"], &of)?;
        let named: Vec<_> = states.iter().map(|s| s["state"].as_str().unwrap_or_default()).collect();
        ensure!(named == ["value", "sum", "bag", "map", "set", "multi", "list"], "{states:?}");
        ensure!(states[3]["coder"] == json!("string_utf8 -> varint") && states[3]["transform"] == json!(LEDGER));
        refused(&["get", "Ledge", "sum", "me"], &of, "QUERY_TRANSFORM_UNKNOWN")?;
        refused(&["get", LEDGER, "su", "me"], &of, "QUERY_STATE_UNKNOWN")?;
        refused(&["get", LEDGER, "sum", "you"], &of, "QUERY_KEY_UNKNOWN")?;
        refused(&["get", LEDGER, "sum", "me", "--window", "0..5"], &of, "QUERY_KEY_UNKNOWN")?;
        refused(&["get", LEDGER, "sum", "me", "--window", "5"], &of, "QUERY_WINDOW_INVALID")?;
        refused(&["get", LEDGER, "sum", "hex:0"], &of, "QUERY_KEY_INVALID")?;
        refused(&["scan", LEDGER, "sum", "--page", "00ff"], &of, "QUERY_PAGE_INVALID")?;
        let (some, _) = ask(&["scan", LEDGER, "sum", "--prefix", "m"], &of)?;
        let (none, _) = ask(&["scan", LEDGER, "sum", "--prefix", "x"], &of)?;
        ensure!((some.len(), none.len()) == (1, 0), "{some:?} {none:?}");
        if !at_rest {
            running.kill()?;
            running = Run::new("true").start()?;
        }
    }
    let text = Run::thalweg()?.args(["state", "get", LEDGER, "map", "me"]).args(of).ok()?;
    ensure!(text.out.contains("as of epoch") && text.out.contains(r#""key":"x""#), "{text}");
    Ok(())
}

#[test]
fn what_is_no_state_or_is_damaged_is_one_error() -> Result<()> {
    let dir = watchdog::folder("state")?;
    let state = dir.join("state");
    let of = ["--state-dir", state.to_str().context("a path")?];
    refused(&["list"], &of, "STATE_NOT_OURS")?;
    ensure!(!state.exists(), "to look makes nothing");
    log(&state, &["create", "in"])?.ok()?;
    refused(&["list"], &of, "STATE_NO_JOB")?;
    refused(&["list"], &[&of[..], &["--job", "x"]].concat(), "STATE_NO_JOB")?;
    let mut running = run(&pipeline(&dir)?, &state)?;
    give(&state, &ones(3, 30))?;
    running.until("its answers", |_| Ok(counted(&state).is_ok_and(|counts| counts.len() == 3)))?;
    running.kill()?;
    let before = files(&state)?;
    ensure!(sums(&of)?.len() == 3);
    ensure!(files(&state)? == before, "to look changes nothing");
    for name in ["VERSION", "ACKNOWLEDGED", "db/CURRENT"] {
        let file = state.join(name);
        let good = fs::read(&file)?;
        fs::write(&file, &good[..good.len() / 2])?;
        let ended = asked(&["get", LEDGER, "sum", "key 1"], &of)?;
        ensure!(ended.code != Some(0) && ended.err.contains("error[STATE_CORRUPT]"), "{name}\n{ended}");
        fs::write(&file, good)?;
    }
    ensure!(sums(&of)?.len() == 3);
    Ok(())
}

/// What is in a directory, but for RocksDB's own messages.
fn files(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            all.extend(files(&path)?);
        } else if !name.starts_with("LOG") && !name.ends_with(".sock") {
            all.insert(path.clone(), fs::read(&path)?);
        }
    }
    Ok(all)
}

#[test]
fn a_server_answers_for_its_jobs() -> Result<()> {
    let dir = watchdog::folder("state")?;
    let state = dir.join("state");
    let file = pipeline(&dir)?;
    let submit = |server: &Server| -> Result<String> {
        let submit = Run::thalweg()?.args(["job", "submit"]).arg(&file).args(["--option", "state_name=ledger"]);
        Ok(submit.arg("--server").arg(server.endpoint()).ok()?.out.trim().to_owned())
    };
    let server = Server::start(&["serve", "--epoch-ms", "50", "--state-dir", state.to_str().context("a path")?])?;
    let shared = state.join("log");
    log(&shared, &["create", "in"])?.ok()?;
    let id = submit(&server)?;
    let endpoint = server.endpoint();
    let of = ["--server", endpoint.as_str(), "--job", id.as_str()];
    give(&shared, &ones(3, 30))?;
    let begun = Instant::now();
    while !asked(&["get", LEDGER, "sum", "key 2"], &of)?.out.contains(r#""value":10"#) {
        ensure!(begun.elapsed() < Duration::from_secs(60), "no sum\n{}", server.log());
    }
    let all: BTreeMap<String, i64> = (0..3).map(|n| (format!("key {n}"), 10)).collect();
    ensure!(sums(&of)? == all);
    refused(&["get", LEDGER, "sum", "nobody"], &of, "QUERY_KEY_UNKNOWN")?;
    refused(&["get", "Ledge", "sum", "key 1"], &of, "QUERY_TRANSFORM_UNKNOWN")?;
    refused(&["list"], &["--server", &endpoint, "--job", "nobody"], "JOB_REFUSED")?;
    // through the door of the log, and at rest
    let there = ["--state-dir", shared.to_str().context("a path")?, "--job", "named-ledger"];
    ensure!(sums(&there)? == all, "through the door");
    server.kill()?;
    ensure!(sums(&there)? == all, "at rest");
    Ok(())
}
