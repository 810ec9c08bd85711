//! A process of which a partition does not go on: it leaves the cluster and ends, and another one goes on with all it had.

use acceptance::broker::Broker;
use acceptance::child::Ended;
use acceptance::cluster::{Counting, Member};
use acceptance::python::{answer, program};
use acceptance::watchdog;
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::time::{Duration, Instant};

const SETTLED_WITHIN: Duration = Duration::from_secs(120);
/// How long a partition may stand still here, in milliseconds.
const LIMIT: &str = "--max-poll-interval-ms=6000";

/// Checks that a process has ended because a partition was stuck, and that its message names job and transform.
fn was_stuck(ended: &Ended, names: &[&str]) -> Result<()> {
    ensure!(ended.code == Some(1), "{ended}");
    let told = ended.err.split("error[CLUSTER_STUCK]").nth(1).with_context(|| format!("no message\n{ended}"))?;
    for name in names {
        ensure!(told.contains(name), "{name} is not named\n{ended}");
    }
    ensure!(told.matches("help:").count() == 1, "one message\n{ended}");
    Ok(())
}

#[test]
fn a_thread_that_never_goes_on_ends_its_process_and_another_one_takes_over() -> Result<()> {
    let broker = Broker::own()?;
    let mut one = Member::new(&broker, "one", &[LIMIT])?.dying_at("shard_command:200:stop");
    let mut two = Member::new(&broker, "two", &[LIMIT])?;
    one.start()?;
    let mut job = Counting::new(&broker, "stuck", 20)?;
    let id = job.submit(&one)?;
    two.start()?;
    while !one.log().contains("CLUSTER_STUCK") {
        job.give(200)?;
        ensure!(job.topics().0 == "stuck-in" && one.is_up());
    }
    let begun = Instant::now();
    let ended = one.ends()?;
    was_stuck(&ended, &["partition ", "of the job stuck (", "has made no step for 6 s", "in: "])?;
    job.settle(SETTLED_WITHIN).with_context(|| format!("without it\n{}", two.log()))?;
    println!("it ended and the other had gone on {:?} after it was found", begun.elapsed());
    // nobody is stuck who has nothing to do, however long
    std::thread::sleep(Duration::from_secs(8));
    one.start()?;
    job.give(500)?;
    job.settle(SETTLED_WITHIN).context("in two processes again")?;
    two.job(&["drain", &id])?;
    ensure!(one.job(&["wait", &id])? == "DRAINED", "{}", two.log());
    job.check_minutes()
}

#[test]
fn a_worker_that_never_answers_ends_its_process_and_another_one_takes_over() -> Result<()> {
    let broker = Broker::own()?;
    let hang = watchdog::folder("hang")?.join("hang");
    let args = [LIMIT, "--allow-process-workers"];
    let mut up = [Member::new(&broker, "one", &args)?, Member::new(&broker, "two", &args)?];
    up.iter_mut().try_for_each(Member::start)?;
    let mut job = Counting::new(&broker, "workers", 20)?;
    let (source, ledger) = job.topics();
    let ended = program("cluster_worker.py")?
        .args([&up[0].endpoint(), broker.bootstrap(), &source, &ledger, &hang.display().to_string()])
        .ok()
        .context("the job was not submitted")?;
    let id = answer(&ended.out)?.as_str().context("an id")?.to_owned();
    job.give(300)?;
    job.settle(SETTLED_WITHIN).context("undisturbed")?;
    fs::write(&hang, "")?;
    job.give(300)?;
    let begun = Instant::now();
    let stuck = loop {
        if let Some(stuck) = up.iter().position(|member| member.log().contains("CLUSTER_STUCK")) {
            break stuck;
        }
        ensure!(begun.elapsed() < SETTLED_WITHIN, "nobody is stuck\n{}\n{}", up[0].log(), up[1].log());
        std::thread::sleep(Duration::from_millis(100));
    };
    let ended = up[stuck].ends()?;
    was_stuck(&ended, &["the worker of partition ", "of the job workers (", "has made no step for 6 s", "Count"])?;
    job.settle(SETTLED_WITHIN).with_context(|| format!("without it\n{}", up[1 - stuck].log()))?;
    up[1 - stuck].job(&["cancel", &id])?;
    Ok(())
}
