//! Standby copies: when the owner of partitions dies, another process has their state already and reads only what came last.

use acceptance::broker::Broker;
use acceptance::cluster::{Counting, Member};
use anyhow::{Context as _, Result, ensure};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// The sum of a field over the lines of a log that hold these words.
fn sum(log: &str, words: &str, field: &str) -> Result<u64> {
    let mut sum = 0;
    for line in log.lines().filter(|line| line.contains(words)) {
        let found = line.split_whitespace().find_map(|word| word.strip_prefix(field)?.strip_prefix('='));
        sum += found.with_context(|| format!("no {field} in {line}"))?.parse::<u64>()?;
    }
    Ok(sum)
}

#[test]
fn who_takes_over_from_a_dead_process_replays_only_what_its_copy_has_not() -> Result<()> {
    let broker = Broker::own()?;
    let wanted = ["--standby-replicas", "1"];
    let (mut one, mut two) = (Member::new(&broker, "one", &wanted)?, Member::new(&broker, "two", &wanted)?);
    one.start()?;
    two.start()?;
    let mut job = Counting::new(&broker, "standby", 1500)?.wide(1000);
    let id = job.submit(&one)?;
    job.give(1500)?;
    job.settle(SETTLED_WITHIN).context("undisturbed")?;
    let begun = Instant::now();
    while two.log().matches("a standby copy is there").count() < 2 {
        ensure!(begun.elapsed() < Duration::from_secs(60), "no copies\n{}", two.log());
        sleep(Duration::from_millis(100));
    }
    sleep(Duration::from_secs(5)); // a copy is a rest and a fetch behind
    let before = two.log().matches("state is there").count();
    one.kill()?;
    job.give(100)?;
    job.settle(SETTLED_WITHIN).context("after the owner of half the partitions died")?;
    let log = two.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("state is there")).skip(before).collect();
    ensure!(lines.len() >= 2, "it took over {} partitions\n{log}", lines.len());
    let tail = sum(&lines.join("\n"), "state is there", "records")?;
    // what a process without a copy has to read
    two.kill()?;
    two.forget()?;
    two.start()?;
    job.give(100)?;
    job.settle(SETTLED_WITHIN).context("without any copy")?;
    let whole = sum(&two.log(), "state is there", "records")?;
    let bytes = sum(&two.log(), "state is there", "bytes")?;
    println!("taken over: {tail} records replayed; of four partitions without a copy {whole}, {bytes} bytes");
    ensure!(bytes > 1 << 20, "{bytes} bytes are little");
    ensure!(tail * 50 < whole, "{tail} of {whole} records were read again");
    one.start()?;
    job.give(100)?;
    job.settle(SETTLED_WITHIN).context("on two processes again")?;
    two.job(&["drain", &id])?;
    ensure!(two.job(&["wait", &id])? == "DRAINED", "{}", two.log());
    job.check_minutes()
}
