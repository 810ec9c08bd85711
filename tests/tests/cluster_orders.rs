//! Orders to processes of a cluster that exclude each other: one of them holds, in all processes, and who gave the other is told.

use acceptance::broker::Broker;
use acceptance::cluster::{Counting, Member, members};
use acceptance::watchdog;
use anyhow::{Context as _, Result, ensure};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SETTLED_WITHIN: Duration = Duration::from_secs(120);
const DECIDED_WITHIN: Duration = Duration::from_secs(60);
/// So often two updates are given at once: now and then one has heard of the other, and takes its place.
const ROUNDS: usize = 3;

/// The state of a job as a process has it.
fn state(id: &str, by: &Member) -> Result<String> {
    let list = by.job(&["list"])?;
    let line = list.lines().find(|line| line.contains(id)).with_context(|| format!("{id} in\n{list}"))?;
    Ok(line.split_whitespace().next_back().context("a state")?.to_owned())
}

/// Submits a job to all processes at once. Gives the one that runs then, and what is said of those that were refused.
fn race(job: &Counting<'_>, to: &[Member], options: &[&str]) -> Result<(String, Vec<String>)> {
    let ids = std::thread::scope(|scope| {
        let submit = |to| scope.spawn(move || job.submit_with(to, options));
        let all: Vec<_> = to.iter().map(submit).collect();
        all.into_iter().map(|one| one.join().expect("it is submitted")).collect::<Result<Vec<_>>>()
    })?;
    let begun = Instant::now();
    loop {
        let states: Vec<String> = ids.iter().zip(to).map(|(id, at)| state(id, at)).collect::<Result<_>>()?;
        let decided = |state: &String| ["RUNNING", "FAILED", "UPDATED"].contains(&state.as_str());
        if states.iter().all(decided) && states.iter().filter(|state| *state == "RUNNING").count() == 1 {
            let all = ids.iter().zip(to).zip(&states);
            let ((id, _), _) = all.clone().find(|(_, state)| *state == "RUNNING").context("one runs")?;
            let failed = all.filter(|(_, state)| *state == "FAILED");
            let said = failed.map(|((id, at), _)| at.failure(id)).collect::<Result<_>>()?;
            return Ok((id.clone(), said));
        }
        ensure!(begun.elapsed() < DECIDED_WITHIN, "{ids:?} are {states:?}\n{}", to[0].log());
        sleep(Duration::from_millis(200));
    }
}

/// The state that is raced for.
const NAMED: [&str; 2] = ["--option", "state_name=kept"];

#[test]
fn of_jobs_and_updates_that_are_ordered_at_once_one_holds_and_who_gave_the_other_is_told() -> Result<()> {
    let broker = Broker::own()?;
    let up = members(&broker, "torture", &["one", "two"])?;
    let mut job = Counting::new(&broker, "raced", 20)?;
    let (mut id, said) = race(&job, &up, &NAMED)?;
    ensure!(said.len() == 1 && said[0].contains("CLUSTER_STATE_IN_USE"), "{said:?}");
    job.give(500)?;
    job.settle(SETTLED_WITHIN).with_context(|| up[0].log())?;
    let mut refused = 0;
    for round in 0..ROUNDS {
        let said;
        (id, said) = race(&job, &up, &[&NAMED[..], &["--update"]].concat())?;
        ensure!(said.iter().all(|said| said.contains("CLUSTER_ORDER_STALE")), "{said:?}");
        refused += said.len();
        job.give(500)?;
        job.settle(SETTLED_WITHIN).with_context(|| format!("update {round}\n{}", up[0].log()))?;
    }
    println!("{refused} of {ROUNDS} updates were refused");
    up[0].job(&["drain", &id])?;
    ensure!(up[1].job(&["wait", &id])? == "DRAINED", "{}", up[1].log());
    job.check_minutes()
}

#[test]
fn of_jobs_that_begin_with_a_savepoint_under_one_name_at_once_one_holds_and_has_all_of_it_once() -> Result<()> {
    let broker = Broker::own()?;
    let up = members(&broker, "torture", &["one", "two"])?;
    let mut job = Counting::new(&broker, "seeded", 20)?;
    let first = job.submit(&up[0])?;
    job.give(500)?;
    job.settle(SETTLED_WITHIN).with_context(|| up[0].log())?;
    let saved = watchdog::folder("saved")?.join("savepoint");
    let saved = saved.to_str().context("a path")?;
    up[0].job(&["savepoint", &first, "--to", saved, "--stop"])?;
    job.give(300)?;
    for round in 0..ROUNDS {
        let fork = job.fork(&format!("seeded-{round}"))?;
        let named = format!("state_name=seeds-{round}");
        let (id, said) = race(&fork, &up, &["--from-savepoint", saved, "--option", &named])?;
        ensure!(said.len() == 1, "{said:?}");
        println!("the other was refused: {}", said[0].lines().next().unwrap_or_default());
        fork.settle(SETTLED_WITHIN).with_context(|| format!("round {round}\n{}", up[0].log()))?;
        up[0].job(&["cancel", &id])?;
    }
    Ok(())
}

#[test]
fn who_begins_with_a_named_state_goes_on_where_its_last_update_was() -> Result<()> {
    let broker = Broker::own()?;
    let mut one = Member::new(&broker, "one", &[])?;
    one.start()?;
    let mut job = Counting::new(&broker, "named", 20)?;
    job.submit_with(&one, &NAMED)?;
    job.give(500)?;
    job.settle(SETTLED_WITHIN).with_context(|| one.log())?;
    let id = job.submit_with(&one, &[&NAMED[..], &["--update"]].concat())?;
    job.give(500)?;
    job.settle(SETTLED_WITHIN).with_context(|| one.log())?;
    one.job(&["cancel", &id])?;
    ensure!(one.job(&["wait", &id])? == "CANCELLED", "{}", one.log());
    // it has nothing but the journal and the changelogs
    one.kill()?;
    one.forget()?;
    one.start()?;
    let next = job.submit_with(&one, &NAMED)?;
    job.give(500)?;
    job.settle(SETTLED_WITHIN).with_context(|| format!("{:?}\n{}", one.job(&["list"]), one.log()))?;
    one.job(&["drain", &next])?;
    ensure!(one.job(&["wait", &next])? == "DRAINED", "{}", one.log());
    job.check_minutes()
}
