//! Components of jobs in a cluster: they go with the job, and other versions take their place in all processes.

use acceptance::broker::Broker;
use acceptance::child::{Ended, Run};
use acceptance::cluster::{Member, members};
use acceptance::server::Server;
use acceptance::{diagnosis, place, watchdog};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

const COUNTED_WITHIN: Duration = Duration::from_secs(60);
const KEYS: usize = 20;

/// What is counted, and how far.
struct Counted<'a> {
    broker: &'a Broker,
    rounds: usize,
    /// Who counted, from which count of every key on.
    by: Vec<(usize, &'static str)>,
}

impl Counted<'_> {
    /// Gives every key one more, and waits until all are counted: each once, in order, the new ones by this version.
    fn round(&mut self, version: &'static str) -> Result<()> {
        self.rounds += 1;
        if self.by.last().is_none_or(|(_, last)| *last != version) {
            self.by.push((self.rounds, version));
        }
        let record =
            |i| json!({"key": format!("{i}"), "value": json!({"who": format!("k{i}"), "what": ""}).to_string()});
        self.broker.produce("versions-in", &(0..KEYS).map(record).collect::<Vec<_>>())?;
        let begun = Instant::now();
        loop {
            let counts = self.counts()?;
            if counts.values().map(Vec::len).sum::<usize>() == KEYS * self.rounds {
                return self.check(&counts);
            }
            ensure!(begun.elapsed() < COUNTED_WITHIN, "not counted within {COUNTED_WITHIN:?}: {counts:?}");
            sleep(Duration::from_millis(200));
        }
    }

    fn counts(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let mut counts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for record in self.broker.dump("versions-out")? {
            let row: Value = serde_json::from_str(record["value"].as_str().context("a value")?)?;
            let (key, rest) = row["element"].as_str().and_then(|text| text.split_once(' ')).context("a count")?;
            counts.entry(key.to_owned()).or_default().push(rest.to_owned());
        }
        Ok(counts)
    }

    fn check(&self, counts: &BTreeMap<String, Vec<String>>) -> Result<()> {
        let by = |n: usize| self.by.iter().rfind(|(from, _)| *from <= n).map_or("", |(_, version)| version);
        let wanted: Vec<String> = (1..=self.rounds).map(|n| format!("{n} {}", by(n))).collect();
        for (key, found) in counts {
            ensure!(*found == wanted, "{key} was counted {found:?}, wanted {wanted:?}");
        }
        Ok(())
    }
}

/// Waits until processes run what a job became by so many changes: nobody is told when the last partition goes on with it.
fn until_revision(revision: usize, of: &str, in_all: &[&Member]) -> Result<()> {
    let revision = format!("revision={revision} ");
    let runs = |line: &str| line.contains("gained") && line.contains(of) && line.contains(&revision);
    let begun = Instant::now();
    for member in in_all {
        while !member.log().lines().any(runs) {
            ensure!(begun.elapsed() < COUNTED_WITHIN, "no {revision}\n{}", member.log());
            sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

fn deploy(to: &Member, id: &str, more: &[&str]) -> Result<Ended> {
    Run::thalweg()?.args(["udf", "deploy", "--job", id, "--server", &to.endpoint()]).args(more).end()
}

#[test]
fn a_component_goes_with_its_job_and_other_versions_take_its_place_in_all_processes() -> Result<()> {
    let broker = Broker::own()?;
    broker.create(&["versions-in:4", "versions-out:1"])?;
    let mut one = Member::new(&broker, "one", &[])?;
    let mut two = Member::new(&broker, "two", &[])?;
    one.start()?;
    // the file is there only until the job is submitted
    let file = watchdog::folder("components")?.join("counts.wasm");
    fs::copy(place::component("versions")?, &file)?;
    let component = format!("component={}", file.display());
    let bootstrap = format!("bootstrap={}", broker.bootstrap());
    let id = one.job(&["submit", "tests/programs/versions.yaml", "--set", &bootstrap, "--set", &component])?;
    fs::remove_file(&file)?;
    let mut counted = Counted { broker: &broker, rounds: 0, by: Vec::new() };
    counted.round("one")?;
    two.start()?;
    let begun = Instant::now();
    while !two.log().contains("gained") {
        ensure!(begun.elapsed() < COUNTED_WITHIN, "the second process takes no part\n{}", two.log());
        sleep(Duration::from_millis(50));
    }
    counted.round("one").with_context(|| two.log())?;

    let path = place::component("versions")?.display().to_string();
    let version = |function| [path.as_str(), "--transform", "Count", "--function", function];
    let ended = deploy(&two, &id, &version("two"))?;
    ensure!(ended.code == Some(0) && ended.out.contains("in each partition"), "{ended}");
    until_revision(1, &id, &[&one, &two])?;
    counted.round("two")?;
    let status = deploy(&one, &id, &["--status"])?;
    ensure!(status.code == Some(0) && status.out.contains("Count") && status.out.contains("sha256:"), "{status}");
    let refused = deploy(&one, &id, &version("texts"))?;
    diagnosis::sole_with(&refused, 3, "DEPLOY_REFUSED", &["DEPLOY_INCOMPATIBLE", "texts"])?;
    let refused = deploy(&one, &id, &[&version("one")[..], &["--canary", "10%"]].concat())?;
    diagnosis::sole_with(&refused, 3, "DEPLOY_REFUSED", &["DEPLOY_CANARY"])?;

    // who starts later runs what was deployed, without its state as well
    one.kill()?;
    one.forget()?;
    counted.round("two")?;
    one.start()?;
    counted.round("two")?;
    let ended = deploy(&one, &id, &["--roll-back", "--transform", "Count"])?;
    ensure!(ended.code == Some(0), "{ended}");
    until_revision(2, &id, &[&one, &two])?;
    counted.round("one")?;
    let refused = deploy(&one, &id, &["--roll-back", "--transform", "Count"])?;
    diagnosis::sole_with(&refused, 3, "DEPLOY_REFUSED", &["DEPLOY_UNKNOWN"])?;
    one.job(&["drain", &id])?;
    ensure!(two.job(&["wait", &id])? == "DRAINED", "{}", two.log());
    Ok(())
}

/// Longer than processes wait before they give up what no job uses.
const GIVEN_UP: Duration = Duration::from_secs(7);
const TOPIC: &str = "torture-artifacts";

/// What was put among the artifacts, by key, and how often it was taken away.
fn artifacts(broker: &Broker) -> Result<BTreeMap<String, usize>> {
    let mut found = BTreeMap::new();
    for record in broker.dump(TOPIC)? {
        let taken: &mut usize = found.entry(record["key"].as_str().context("a key")?.to_owned()).or_default();
        *taken += usize::from(record["value"].is_null());
    }
    Ok(found)
}

/// Waits until so many artifacts are left.
fn until_left(broker: &Broker, left: usize, log: impl Fn() -> String) -> Result<()> {
    let begun = Instant::now();
    loop {
        let found = artifacts(broker)?;
        if found.values().filter(|taken| **taken == 0).count() == left {
            return Ok(());
        }
        ensure!(begun.elapsed() < COUNTED_WITHIN, "{left} of {found:?} should be left\n{}", log());
        sleep(Duration::from_millis(500));
    }
}

/// Waits until a process has read that a job runs: what the job brought is used again from then on.
fn until_heard(of: &str, by: &Member) -> Result<()> {
    let begun = Instant::now();
    while !by.job(&["list"])?.contains(of) {
        ensure!(begun.elapsed() < COUNTED_WITHIN, "it has not heard of {of}\n{}", by.log());
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn what_jobs_share_is_deleted_when_the_last_of_them_ends_and_never_under_one_that_begins() -> Result<()> {
    let broker = Broker::own()?;
    broker.create(&["versions-in:4", "versions-out:1"])?;
    let mut up = members(&broker, "torture", &["one", "two"])?;
    let file = watchdog::folder("components")?.join("counts.wasm");
    fs::copy(place::component("versions")?, &file)?;
    let component = format!("component={}", file.display());
    let bootstrap = format!("bootstrap={}", broker.bootstrap());
    let submit =
        |to: &Member| to.job(&["submit", "tests/programs/versions.yaml", "--set", &bootstrap, "--set", &component]);
    let first = submit(&up[0])?;
    until_heard(&first, &up[1])?;
    let second = submit(&up[1])?;
    until_heard(&second, &up[0])?;
    let stands = |when: &str| -> Result<()> {
        let found = artifacts(&broker)?;
        ensure!(found.values().eq(&[0]), "{when}: {found:?}");
        Ok(())
    };
    stands("two jobs use it")?;
    up[0].job(&["cancel", &first])?;
    sleep(GIVEN_UP);
    stands("one job uses it")?;
    up[0].job(&["cancel", &second])?;
    until_left(&broker, 0, || up[0].log())?;

    // jobs that begin just when others give up what they would use
    let mut last = submit(&up[0])?;
    for wait in [0, 1900, 2300, 2700, 3300] {
        until_heard(&last, &up[0])?;
        up[0].job(&["cancel", &last])?;
        sleep(Duration::from_millis(wait));
        last = submit(&up[1])?;
    }
    until_left(&broker, 1, || up[0].log())?;
    sleep(GIVEN_UP);
    until_left(&broker, 1, || up[0].log()).context("that of the job that runs")?;
    fs::remove_file(&file)?;
    for member in &mut up {
        member.kill()?;
        member.forget()?;
    }
    up.iter_mut().try_for_each(Member::start)?;
    Counted { broker: &broker, rounds: 0, by: Vec::new() }.round("one").with_context(|| up[0].log())?;

    // nobody is left to give it up, but who starts next
    until_heard(&last, &up[0])?;
    up[0].job(&["cancel", &last])?;
    up.iter_mut().try_for_each(Member::kill)?;
    up[0].start()?;
    until_left(&broker, 0, || up[0].log())
}

#[test]
fn versions_that_were_deployed_go_with_savepoints_out_of_clusters_and_into_them() -> Result<()> {
    let broker = Broker::own()?;
    broker.create(&["versions-in:4", "versions-out:1"])?;
    let folder = watchdog::folder("saved")?;
    let at = |name: &str| folder.join(name).display().to_string();
    let component = format!("component={}", place::component("versions")?.display());
    let bootstrap = format!("bootstrap={}", broker.bootstrap());
    let submit = ["job", "submit", "tests/programs/versions.yaml", "--set", &bootstrap, "--set", &component];
    let begin = |endpoint: &str, more: &[&str]| -> Result<String> {
        let ended = Run::thalweg()?.args(submit).args(more).args(["--server", endpoint]).ok()?;
        Ok(ended.out.trim().to_owned())
    };
    let save = |endpoint: &str, id: &str, to: &str| {
        Run::thalweg()?.args(["job", "savepoint", id, "--to", to, "--stop", "--server", endpoint]).limit(120).ok()
    };
    let mut counted = Counted { broker: &broker, rounds: 0, by: Vec::new() };

    let mut one = Member::new(&broker, "one", &[])?;
    one.start()?;
    let first = begin(&one.endpoint(), &[])?;
    counted.round("one").with_context(|| one.log())?;
    let path = place::component("versions")?.display().to_string();
    let ended = deploy(&one, &first, &[path.as_str(), "--transform", "Count", "--function", "two"])?;
    ensure!(ended.code == Some(0), "{ended}");
    until_revision(1, &first, &[&one])?;
    counted.round("two")?;
    save(&one.endpoint(), &first, &at("first"))?;

    let server = Server::start(&["serve", "--epoch-ms", "50", "--state-dir", &at("states")])?;
    let named = ["--option", "state_name=versions", "--from-savepoint", &at("first")];
    let second = begin(&server.endpoint(), &named)?;
    counted.round("two").with_context(|| server.log())?;
    save(&server.endpoint(), &second, &at("second"))?;

    let third = begin(&one.endpoint(), &["--option", "partitions=6", "--from-savepoint", &at("second")])?;
    counted.round("two").with_context(|| one.log())?;
    one.kill()?;
    one.forget()?;
    one.start()?;
    counted.round("two").with_context(|| one.log())?;
    let ended = deploy(&one, &third, &["--roll-back", "--transform", "Count"])?;
    ensure!(ended.code == Some(0), "{ended}");
    until_revision(1, &third, &[&one])?;
    counted.round("one").with_context(|| one.log())
}
