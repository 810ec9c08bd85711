//! Topics that are given partitions while a job in several processes reads them: every record is read once, whoever dies, from the earliest on.

use acceptance::broker::Broker;
use acceptance::cluster::{Counting, Member, members};
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SETTLED_WITHIN: Duration = Duration::from_secs(120);
/// How long a process may take to come upon partitions that it looks for every second.
const FOUND_WITHIN: Duration = Duration::from_secs(20);

/// The counting job, which begins at the ends of its topics and looks for new partitions so often.
fn pipeline(seconds: u32) -> Result<PathBuf> {
    let file = watchdog::folder("grown")?.join("grown.yaml");
    let text = fs::read_to_string(place::file("tests/programs/cluster.yaml"))?;
    let begins = "auto_offset_reset_config: earliest\n";
    ensure!(text.contains(begins), "{text}");
    let grows = format!("auto_offset_reset_config: latest\n        dynamic_read_poll_interval_seconds: {seconds}\n");
    fs::write(&file, text.replace(begins, &grows))?;
    Ok(file)
}

/// Waits until every partition of the job, of which there are four, runs somewhere.
fn all_run(up: &[Member], times: usize) -> Result<()> {
    told(up, "state is there", times)
}

/// Waits until processes have said something so often.
fn told(up: &[Member], words: &str, times: usize) -> Result<()> {
    let begun = Instant::now();
    let count = || up.iter().map(|member| member.log().matches(words).count()).sum::<usize>();
    while count() < times {
        let logs = || up.iter().map(Member::log).collect::<Vec<_>>().join("\n---\n");
        ensure!(begun.elapsed() < FOUND_WITHIN, "{words:?} {} times of {times}\n{}", count(), logs());
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn partitions_that_a_topic_is_given_are_read_by_one_partition_each_and_move_with_it() -> Result<()> {
    let broker = Broker::own()?;
    let mut up = members(&broker, "torture", &["one", "two"])?;
    let mut job = Counting::new(&broker, "grown", 40)?;
    let id = job.submit_file(&up[0], &pipeline(1)?, &[])?;
    all_run(&up, 4)?;
    job.give(1000)?;
    job.settle(SETTLED_WITHIN).context("at first")?;
    broker.grow("grown-in:7")?;
    told(&up, "new partitions of grown-in", 4)?; // each of the four partitions looks for itself
    job.give(1500)?;
    job.settle(SETTLED_WITHIN).context("with three more partitions")?;
    // the process that goes on with them started when there were four
    job.give(500)?;
    up[0].kill()?;
    job.give(500)?;
    job.settle(SETTLED_WITHIN).context("after the death of a process that read some of them")?;
    up[0].start()?; // and this one begins with seven
    job.give(500)?;
    job.settle(SETTLED_WITHIN).context("in two processes again")?;
    up[0].job(&["drain", &id])?;
    ensure!(up[1].job(&["wait", &id])? == "DRAINED", "{}", up[1].log());
    job.check_minutes()
}

#[test]
fn what_is_written_before_anybody_has_found_the_partition_is_read_from_the_earliest_after_any_death() -> Result<()> {
    let broker = Broker::own()?;
    let mut up = members(&broker, "torture", &["one", "two"])?;
    let mut job = Counting::new(&broker, "grown", 40)?;
    job.submit_file(&up[0], &pipeline(1)?, &[])?;
    all_run(&up, 4)?;
    job.give(500)?;
    job.settle(SETTLED_WITHIN).context("at first")?;
    for (round, partitions) in [5, 7, 8].into_iter().enumerate() {
        broker.grow(&format!("grown-in:{partitions}"))?;
        job.give(500)?;
        sleep(Duration::from_millis(400 * round as u64)); // before, about when, and after they are found
        up.iter_mut().try_for_each(Member::kill)?;
        job.give(500)?;
        up.iter_mut().try_for_each(Member::start)?;
        job.settle(SETTLED_WITHIN).with_context(|| format!("round {round}\n{}", up[0].log()))?;
    }
    Ok(())
}

#[test]
fn a_savepoint_knows_which_partitions_there_were_and_what_comes_later_is_read_from_the_earliest() -> Result<()> {
    let broker = Broker::own()?;
    let up = members(&broker, "torture", &["one"])?;
    let mut job = Counting::new(&broker, "grown", 40)?;
    let first = job.submit_file(&up[0], &pipeline(1)?, &[])?;
    all_run(&up, 4)?;
    job.give(500)?;
    broker.grow("grown-in:6")?;
    told(&up, "new partitions of grown-in", 4)?;
    job.give(500)?;
    job.settle(SETTLED_WITHIN).context("at first")?;
    let saved = watchdog::folder("saved")?.join("savepoint");
    up[0].job(&["savepoint", &first, "--to", saved.to_str().context("a path")?, "--stop"])?;
    broker.grow("grown-in:9")?;
    job.give(1000)?;
    let fork = job.fork("grown-fork")?;
    let options = ["--from-savepoint", saved.to_str().context("a path")?, "--option", "partitions=3"];
    let id = fork.submit_file(&up[0], &pipeline(1)?, &options)?;
    fork.settle(SETTLED_WITHIN).with_context(|| format!("on three partitions\n{}", up[0].log()))?;
    up[0].job(&["drain", &id])?;
    ensure!(up[0].job(&["wait", &id])? == "DRAINED", "{}", up[0].log());
    Ok(())
}
