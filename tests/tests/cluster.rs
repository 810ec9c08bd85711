//! A job in several processes on a real broker: nothing is lost, doubled or out of order, whatever is done to them.
//!
//! `THALWEG_TORTURE` says how often: kills of processes, of which every fourth is followed by a loss of the state; 2 by default.

use acceptance::broker::Broker;
use acceptance::child::Run;
use acceptance::cluster::{Counting, Member};
use acceptance::network::Network;
use acceptance::python::{answer, program};
use acceptance::random::Random;
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SETTLED_WITHIN: Duration = Duration::from_secs(120);
/// What is promised of a network that was cut.
const HEALED_WITHIN: Duration = Duration::from_secs(30);

fn rounds() -> Result<usize> {
    std::env::var("THALWEG_TORTURE").map_or(Ok(2), |text| text.parse().context("THALWEG_TORTURE is not a number"))
}

#[test]
fn whatever_is_done_to_processes_and_broker_every_key_counts_on() -> Result<()> {
    let broker = Broker::own()?;
    let rounds = rounds()?;
    let mut random = Random::from_variable("THALWEG_KILL_SEED")?;
    let mut up =
        ["one", "two", "three"].into_iter().map(|name| Member::new(&broker, name, &[])).collect::<Result<Vec<_>>>()?;
    up[0].start()?;
    let mut bounces = 0;
    let mut job = Counting::new(&broker, "count", 40)?;
    let id = job.submit(&up[0])?;
    job.give(2000)?;
    job.settle(SETTLED_WITHIN).context("on one process")?;
    // two more: partitions move to them
    up[1].start()?;
    up[2].start()?;
    job.give(2000)?;
    job.settle(SETTLED_WITHIN).context("on three processes")?;
    for round in 0..rounds {
        job.give(1000)?;
        sleep(Duration::from_secs_f64(random.between(0.0, 1.5)));
        let victim = random.between(0.0, 3.0) as usize % 3;
        println!("round {round}: kill {victim}");
        up[victim].kill()?;
        if round % 4 == 3 {
            up[victim].forget()?;
        }
        job.give(500)?;
        up[victim].start()?;
        if round % 4 == 1 {
            println!("round {round}: the broker is killed");
            broker.bounce()?;
            bounces += 1;
        }
        job.settle(SETTLED_WITHIN).with_context(|| format!("after round {round}"))?;
    }
    // past its session: its partitions are others' before it wakes, and it must not commit any more
    job.give(1000)?;
    let (paused, others) = up.split_at_mut(1);
    std::thread::scope(|scope| -> Result<()> {
        let sleeping = scope.spawn(|| paused[0].pause(Duration::from_secs(12)));
        sleep(Duration::from_secs(2));
        job.give(1000)?;
        let slept = sleeping.join();
        ensure!(slept.is_ok_and(|slept| slept.is_ok()), "the process could not be stopped");
        Ok(())
    })?;
    job.settle(SETTLED_WITHIN).context("after a process slept past its session")?;
    others[1].stop()?;
    job.give(1000)?;
    job.settle(SETTLED_WITHIN).context("on two processes again")?;
    up[0].job(&["drain", &id])?;
    let ended = up[1].job(&["wait", &id])?;
    ensure!(ended == "DRAINED", "{ended}\n{}", up[1].log());
    job.check_minutes()?;
    println!(
        "torture: 3 processes, {rounds} kills, {bounces} bounces of the broker, 1 pause past the session, 1 -> 3 -> 2, 0 violations"
    );
    Ok(())
}

#[test]
fn python_workers_that_are_killed_in_the_middle_of_a_bundle_lose_and_double_nothing() -> Result<()> {
    let broker = Broker::own()?;
    let allowed = ["--allow-process-workers"];
    let mut members =
        ["one", "two"].into_iter().map(|name| Member::new(&broker, name, &allowed)).collect::<Result<Vec<_>>>()?;
    members.iter_mut().try_for_each(Member::start)?;
    let mut job = Counting::new(&broker, "workers", 20)?;
    let (source, ledger) = job.topics();
    let ended = program("cluster_worker.py")?
        .args([&members[0].endpoint(), broker.bootstrap(), &source, &ledger])
        .ok()
        .context("the job was not submitted")?;
    let id = answer(&ended.out)?.as_str().context("an id")?.to_owned();
    job.give(300)?;
    job.settle(SETTLED_WITHIN).context("undisturbed")?;
    for round in 0..rounds()? {
        job.give(500)?;
        let killed = kill_workers(members[round % 2].pid()?)?;
        ensure!(killed > 0, "no worker of that process was found");
        job.settle(SETTLED_WITHIN)
            .with_context(|| format!("after round {round}\n{}\n{}", members[0].log(), members[1].log()))?;
    }
    members[1].job(&["cancel", &id])?;
    ensure!(members[0].job(&["wait", &id])? == "CANCELLED", "{}", members[0].log());
    println!("torture: 2 processes, {} kills of Python workers, 0 violations", rounds()?);
    Ok(())
}

#[test]
fn a_process_that_is_cut_off_is_replaced_and_comes_back_when_the_network_does() -> Result<()> {
    let broker = Broker::own()?;
    let Some(network) = Network::new(&broker)? else {
        println!("skipped: this system does not let a test make a network namespace");
        return Ok(());
    };
    let (mut here, mut there) = (Member::new(&broker, "here", &[])?, Member::new(&broker, "there", &[])?);
    here.start()?;
    there.start_in(&network)?;
    let mut job = Counting::new(&broker, "cut", 20)?;
    let id = job.submit(&here)?;
    job.give(500)?;
    job.settle(SETTLED_WITHIN).context("before the cut")?;
    ensure!(there.log().contains("gained"), "the process behind the cable has no part\n{}", there.log());
    network.cut()?;
    job.give(500)?;
    // the other side takes over once the session is over; what the process behind the cable had begun is aborted
    job.settle(SETTLED_WITHIN).context("while one is cut off")?;
    let before = there.log().matches("gained").count();
    network.heal()?;
    let healed = Instant::now();
    while there.log().matches("gained").count() == before {
        ensure!(healed.elapsed() < HEALED_WITHIN, "it has no part again\n{}", there.log());
        sleep(Duration::from_millis(100));
    }
    let healed = healed.elapsed().as_secs_f64();
    job.give(500)?;
    job.settle(SETTLED_WITHIN).context("after the cut")?;
    here.job(&["drain", &id])?;
    ensure!(here.job(&["wait", &id])? == "DRAINED", "{}", here.log());
    job.check_minutes()?;
    println!("torture: 2 processes, 1 cut of the network, a part again {healed:.1} s after its end, 0 violations");
    Ok(())
}

/// Kills all Python programs below a process; how many there were.
fn kill_workers(of: u32) -> Result<usize> {
    let mut killed = 0;
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else { continue };
        if is_below(pid, of) && comm(&path).is_some_and(|name| name.starts_with("python")) {
            Run::new("kill").args(["-KILL", &pid.to_string()]).end()?;
            killed += 1;
        }
    }
    Ok(killed)
}

fn comm(process: &Path) -> Option<String> {
    std::fs::read_to_string(process.join("comm")).ok()
}

/// Whether a process is another's child, or a child of one.
fn is_below(pid: u32, above: u32) -> bool {
    let parent = |pid: u32| -> Option<u32> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
    };
    let mut at = parent(pid);
    while let Some(pid) = at.filter(|pid| *pid > 1) {
        if pid == above {
            return true;
        }
        at = parent(pid);
    }
    false
}
