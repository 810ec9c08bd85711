//! Committed state of a cluster's job, asked for from its processes: each answers for what it has a copy of, and names who has the rest.

use acceptance::broker::Broker;
use acceptance::child::{Ended, Run};
use acceptance::cluster::{Counting, Member};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SETTLED_WITHIN: Duration = Duration::from_secs(120);
const KEYS: u64 = 24;
/// The transform, as the pipeline file makes it.
const LEDGER: &str = "Ledger/Call";

fn ask(member: &Member, job: &str, what: &[&str]) -> Result<Ended> {
    let asked = Run::thalweg()?.arg("state").args(what).args(["--output", "json", "--job", job, "--server"]);
    asked.arg(member.endpoint()).end()
}

fn objects(ended: &Ended) -> Result<Vec<Value>> {
    Ok(ended.out.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?)
}

/// The sum of a key, by the process that has it, with the commit that was read; `None` where another process is named.
fn sum(member: &Member, job: &str, key: &str, others: &[&str]) -> Result<Option<(i64, Value)>> {
    let ended = ask(member, job, &["get", LEDGER, "sum", key])?;
    if ended.code != Some(0) {
        ensure!(ended.code == Some(3), "{ended}");
        if ended.err.contains("error[QUERY_ELSEWHERE]") {
            ensure!(others.iter().any(|other| ended.err.contains(&format!("{other:?}"))), "nobody is named\n{ended}");
            return Ok(None);
        }
        // its partition has committed nothing of it yet
        ensure!(ended.err.contains("error[QUERY_KEY_UNKNOWN]"), "{ended}");
        return Ok(Some((0, Value::Null)));
    }
    let found = objects(&ended)?;
    let at = found.get(1).context("what was read")?["read"][0].clone();
    ensure!(at["epoch"].as_u64() > Some(0) && at["age_ms"].is_i64() && at["partition"].is_u64(), "{ended}");
    Ok(Some((found[0]["value"].as_i64().context("a sum")?, at)))
}

/// A page of all sums, and what was read for it.
fn page(member: &Member, job: &str, limit: &str, page: Option<&str>) -> Result<(Vec<Value>, Value)> {
    let mut what = vec!["scan", LEDGER, "sum", "--limit", limit];
    what.extend(page.iter().flat_map(|page| ["--page", *page]));
    let ended = ask(member, job, &what)?;
    ensure!(ended.code == Some(0), "{ended}");
    let mut found = objects(&ended)?;
    let last = found.pop().context("what was read")?;
    Ok((found, last))
}

/// All sums by one process, page after page, none of them twice, and how often a partition was elsewhere.
fn scanned(member: &Member, job: &str, limit: &str) -> Result<(BTreeMap<String, Option<i64>>, usize)> {
    let (mut all, mut elsewhere, mut next) = (BTreeMap::new(), 0, None::<String>);
    loop {
        let (found, last) = page(member, job, limit, next.as_deref())?;
        for entry in found {
            let key = entry["key"].as_str().context("a key")?.to_owned();
            ensure!(all.insert(key, entry["value"].as_i64()).is_none(), "twice: {entry}");
        }
        elsewhere += last["elsewhere"].as_array().map_or(0, Vec::len);
        next = last["next"].as_str().map(str::to_owned);
        if next.is_none() {
            return Ok((all, elsewhere));
        }
    }
}

fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|n| format!("key-{n}"))
}

#[test]
fn every_key_is_answered_by_a_process_with_the_value_of_a_commit() -> Result<()> {
    let broker = Broker::own()?;
    let (mut one, mut two) = (Member::new(&broker, "one", &[])?, Member::new(&broker, "two", &[])?);
    one.start()?;
    two.start()?;
    let mut job = Counting::new(&broker, "asked", KEYS)?;
    let id = job.submit(&one)?;
    job.give(KEYS * 20)?;
    // while it counts: never more than was given, never back
    let (mut last, begun) = (BTreeMap::<String, i64>::new(), Instant::now());
    while last.len() < KEYS as usize || last.values().any(|sum| *sum < 20) {
        ensure!(begun.elapsed() < SETTLED_WITHIN, "{last:?}\n{}\n{}", one.log(), two.log());
        for key in keys() {
            for member in [&one, &two] {
                // a member that is still to start its part, or loses it, names the other or nobody
                let Ok(Some((sum, _))) = sum(member, &id, &key, &["one", "two"]) else { continue };
                let before = last.insert(key.clone(), sum).unwrap_or_default();
                ensure!(before <= sum && sum <= 20, "{key} has {sum} after {before}");
            }
        }
    }
    job.settle(SETTLED_WITHIN)?;
    let (mut by_one, mut by_two) = (0, 0);
    for key in keys() {
        let (at_one, at_two) = (sum(&one, &id, &key, &["two"])?, sum(&two, &id, &key, &["one"])?);
        ensure!(at_one.is_some() != at_two.is_some(), "{key}: {at_one:?} and {at_two:?}");
        (by_one, by_two) = (by_one + u32::from(at_one.is_some()), by_two + u32::from(at_two.is_some()));
        let (sum, at) = at_one.or(at_two).context("an answer")?;
        ensure!(sum == 20 && at["standby"].is_null(), "{key} has {sum} at {at}");
    }
    ensure!(by_one > 0 && by_two > 0, "{by_one} keys by one, {by_two} by two");
    // a scan has the keys of its process, and says which partitions it lacks
    let mut all = BTreeMap::new();
    for member in [&one, &two] {
        let (found, elsewhere) = scanned(member, &id, "5")?;
        ensure!((1..4).contains(&elsewhere), "{elsewhere} of four partitions are elsewhere");
        for (key, value) in found {
            ensure!(all.insert(key.clone(), value).is_none(), "both have {key}");
        }
    }
    ensure!(all == keys().map(|key| (key, Some(20))).collect(), "{all:?}");
    let unknown = ask(&one, &id, &["get", LEDGER, "total", "key-1"])?;
    ensure!(unknown.err.contains("error[QUERY_STATE_UNKNOWN]"), "{unknown}");
    // who is left answers for all
    one.kill()?;
    job.give(KEYS)?;
    job.settle(SETTLED_WITHIN).context("after one died")?;
    for key in keys() {
        let begun = Instant::now();
        while sum(&two, &id, &key, &["one", "two"])?.is_none_or(|(sum, _)| sum != 21) {
            ensure!(begun.elapsed() < SETTLED_WITHIN, "{key} is nowhere\n{}", two.log());
            sleep(Duration::from_millis(100));
        }
    }
    println!("{by_one} keys were answered by one, {by_two} by two");
    Ok(())
}

#[test]
fn a_standby_copy_answers_and_says_that_it_is_one() -> Result<()> {
    let broker = Broker::own()?;
    let wanted = ["--standby-replicas", "1"];
    let (mut one, mut two) = (Member::new(&broker, "one", &wanted)?, Member::new(&broker, "two", &wanted)?);
    one.start()?;
    two.start()?;
    let mut job = Counting::new(&broker, "copied", KEYS)?;
    let id = job.submit(&one)?;
    job.give(KEYS * 5)?;
    job.settle(SETTLED_WITHIN)?;
    for member in [&one, &two] {
        let mut standby = 0;
        for key in keys() {
            let begun = Instant::now();
            let at = loop {
                match sum(member, &id, &key, &["one", "two"])? {
                    Some((5, at)) => break at,
                    other => ensure!(begun.elapsed() < SETTLED_WITHIN, "{key}: {other:?}\n{}", member.log()),
                }
                sleep(Duration::from_millis(100));
            };
            standby += u32::from(at["standby"] == true);
        }
        ensure!(standby > 0 && u64::from(standby) < KEYS, "{standby} keys by standby copies");
    }
    Ok(())
}

#[test]
fn a_process_asks_the_one_that_has_a_key_once_and_names_it_when_there_is_no_answer() -> Result<()> {
    let broker = Broker::own()?;
    // the first one is asked by nobody
    let start = |name| Member::new(&broker, name, &[]).map(|member| member.session(20));
    let (mut one, mut two) = (start("one")?, start("two")?.advertised());
    one.start()?;
    two.start()?;
    let mut job = Counting::new(&broker, "passed", KEYS)?;
    let id = job.submit(&one)?;
    job.give(KEYS * 5)?;
    job.settle(SETTLED_WITHIN)?;
    let mut others = Vec::new();
    for key in keys() {
        let (at_one, at_two) = (sum(&one, &id, &key, &[])?, sum(&two, &id, &key, &["one"])?);
        let (found, at) = at_one.context("no answer by the other one")?;
        ensure!(found == 5, "{key} has {found} at {at}");
        match at_two {
            Some((again, same)) => {
                ensure!(again == 5 && same["partition"] == at["partition"], "{key}: {again} at {same}, not {at}");
                others.push(key);
            }
            None => println!("{key} is of one"),
        }
    }
    ensure!(!others.is_empty() && others.len() < KEYS as usize, "of two: {others:?}");
    let unknown = ask(&one, &id, &["get", LEDGER, "sum", "key-none"])?;
    ensure!(unknown.err.contains("error[QUERY_KEY_UNKNOWN]") || unknown.err.contains("ELSEWHERE"), "{unknown}");
    // a scan goes through all of them, in pages of any size, where others say how they are reached
    let all: BTreeMap<String, Option<i64>> = keys().map(|key| (key, Some(5))).collect();
    for limit in ["1", "7", "1000"] {
        let (found, elsewhere) = scanned(&one, &id, limit)?;
        ensure!(found == all && elsewhere == 0, "{elsewhere} partitions are elsewhere, and there is {found:?}");
    }
    let (found, elsewhere) = scanned(&two, &id, "1000")?;
    ensure!(
        found.len() == others.len() && elsewhere > 0,
        "{elsewhere} partitions are elsewhere, and there is {found:?}"
    );
    // one that is silent holds up nobody for long
    std::thread::scope(|scope| -> Result<()> {
        let paused = scope.spawn(|| two.pause(Duration::from_secs(10)));
        sleep(Duration::from_millis(300));
        let (begun, asked) = (Instant::now(), sum(&one, &id, &others[0], &["two"])?);
        ensure!(asked.is_none() && begun.elapsed() < Duration::from_secs(5), "{asked:?} after {:?}", begun.elapsed());
        let (found, last) = page(&one, &id, "1000", None)?;
        let silent = last["elsewhere"].as_array().map_or(0, Vec::len);
        ensure!(silent > 0 && found.len() + others.len() == KEYS as usize, "{last} and {found:?}");
        paused.join().map_err(|_| anyhow::anyhow!("a panic"))?
    })?;
    ensure!(sum(&one, &id, &others[0], &["two"])?.is_some_and(|(sum, _)| sum == 5), "{}", one.log());
    one.stop()?;
    two.stop()
}
