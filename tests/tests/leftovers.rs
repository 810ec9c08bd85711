//! What a job on Kafka leaves behind when it is over: nothing, unless it has named its state for the next one.

use acceptance::broker::Broker;
use acceptance::cluster::{Counting, Member};
use anyhow::{Context as _, Result, ensure};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SETTLED_WITHIN: Duration = Duration::from_secs(120);
/// Sessions of processes that took part, which the broker knows of for a while, and some time to delete.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// Topics of a job.
fn topics(broker: &Broker, state: &str) -> Result<Vec<String>> {
    let begin = format!("torture-{state}-");
    Ok(broker.topics()?.into_iter().filter(|name| name.starts_with(&begin)).collect())
}

fn gone(broker: &Broker, state: &str, members: &[&Member]) -> Result<()> {
    let begun = Instant::now();
    loop {
        let left = topics(broker, state)?;
        if left.is_empty() && members.iter().all(|member| !member.copies(state).exists()) {
            return Ok(());
        }
        ensure!(begun.elapsed() < GONE_WITHIN, "after {GONE_WITHIN:?} there are {left:?}, or copies");
        sleep(Duration::from_millis(500));
    }
}

#[test]
fn what_nobody_can_go_on_with_is_deleted_and_a_named_state_stays() -> Result<()> {
    let broker = Broker::own()?;
    let (mut one, mut two) = (Member::new(&broker, "one", &[])?, Member::new(&broker, "two", &[])?);
    one.start()?;
    two.start()?;
    let mut named = Counting::new(&broker, "named", 20)?;
    let keeps = ["--option", "state_name=kept"];
    let first = named.submit_with(&one, &keeps)?;
    named.give(200)?;
    named.settle(SETTLED_WITHIN)?;
    one.job(&["cancel", &first])?;
    ensure!(one.job(&["wait", &first])? == "CANCELLED");
    // one of two jobs without a name is cancelled, the other drained, and all processes die before anybody can delete anything
    let mut passing = Counting::new(&broker, "passing", 20)?;
    let cancelled = passing.submit(&one)?;
    passing.give(200)?;
    passing.settle(SETTLED_WITHIN)?;
    ensure!(topics(&broker, &cancelled)?.len() >= 4, "{:?}", topics(&broker, &cancelled));
    ensure!(one.copies(&cancelled).exists() || two.copies(&cancelled).exists(), "it has copies");
    one.job(&["cancel", &cancelled])?;
    ensure!(two.job(&["wait", &cancelled])? == "CANCELLED", "{}", two.log());
    gone(&broker, &cancelled, &[&one, &two]).context("of a job that was cancelled")?;
    let mut drained = Counting::new(&broker, "drained", 20)?;
    let id = drained.submit(&one)?;
    drained.give(200)?;
    drained.settle(SETTLED_WITHIN)?;
    one.job(&["drain", &id])?;
    ensure!(one.job(&["wait", &id])? == "DRAINED", "{}", one.log());
    one.kill()?;
    two.kill()?;
    ensure!(!topics(&broker, &id)?.is_empty(), "who took part was still known, and it was deleted");
    one.start()?;
    two.start()?;
    gone(&broker, &id, &[&one, &two]).context("of a job whose processes died with it")?;
    drained.check_minutes()?;
    // the job of that name goes on where it was
    ensure!(!topics(&broker, "kept")?.is_empty(), "a named state was deleted");
    let second = named.submit_with(&two, &keeps)?;
    named.give(200)?;
    named.settle(SETTLED_WITHIN).context("the second job of the name")?;
    two.job(&["drain", &second])?;
    ensure!(two.job(&["wait", &second])? == "DRAINED", "{}", two.log());
    named.check_minutes()
}
