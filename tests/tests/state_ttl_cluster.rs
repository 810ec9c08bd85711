//! State that nobody writes goes after a while in a cluster: from changelogs and from every copy, whoever takes over.

use acceptance::broker::Broker;
use acceptance::child::Run;
use acceptance::cluster::{Counting, Member};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(120);
const KEYS: u64 = 24;
/// The transform, as the pipeline file makes it.
const LEDGER: &str = "Ledger/Call";

/// What a process has of the sums, and of how many partitions it has none. Nothing while it cannot answer.
fn sums(member: &Member, job: &str) -> Result<Option<(BTreeMap<String, i64>, usize)>> {
    let what = ["scan", LEDGER, "sum", "--limit", "1000", "--output", "json", "--job", job, "--server"];
    let ended = Run::thalweg()?.arg("state").args(what).arg(member.endpoint()).end()?;
    if ended.code != Some(0) {
        return Ok(None);
    }
    let mut found = ended.out.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let elsewhere = found.pop().context("what was read")?["elsewhere"].as_array().map_or(0, Vec::len);
    let one = |entry: &Value| Some((entry["key"].as_str()?.to_owned(), entry["value"].as_i64()?));
    Ok(Some((found.iter().map(one).collect::<Option<_>>().context("sums by key")?, elsewhere)))
}

fn until(what: &str, members: &[&Member], mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !holds()? {
        let logs: String = members.iter().map(|member| member.log()).collect();
        ensure!(begun.elapsed() < WITHIN, "never: {what}\n{logs}");
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

#[test]
fn what_is_dropped_is_gone_from_changelogs_and_copies_and_comes_back_to_nobody() -> Result<()> {
    let broker = Broker::own()?;
    let wanted = ["--standby-replicas", "1"];
    let (mut one, mut two) = (Member::new(&broker, "one", &wanted)?, Member::new(&broker, "two", &wanted)?);
    one.start()?;
    two.start()?;
    let mut job = Counting::new(&broker, "ttl", KEYS)?;
    let id = job.submit_with(&one, &["--option", "state_ttl=Ledger=8s"])?;
    job.give(KEYS * 3)?;
    let all = |n: i64| (0..KEYS).map(|key| (format!("key-{key}"), n)).collect::<BTreeMap<_, _>>();
    let has = |member: &Member, wanted: &BTreeMap<String, i64>| -> Result<bool> {
        Ok(sums(member, &id)?.is_some_and(|(sums, elsewhere)| elsewhere == 0 && sums == *wanted))
    };
    until("all sums in both copies", &[&one, &two], || Ok(has(&one, &all(3))? && has(&two, &all(3))?))?;
    until("no sums in either", &[&one, &two], || Ok(has(&one, &BTreeMap::new())? && has(&two, &BTreeMap::new())?))?;
    // one that has lost its copy reads the changelog, and finds nothing there either
    one.kill()?;
    one.forget()?;
    one.start()?;
    until("nothing in the changelog", &[&one, &two], || has(&one, &BTreeMap::new()))?;
    two.kill()?;
    job.give(KEYS)?;
    until("sums from the beginning", &[&one], || has(&one, &all(1)))?;
    Ok(())
}
