//! Brokers that stand still for longer than a session: when they are back they do not know whom they had taken in, and may take a process in twice. Nobody
//! loses his part for that.

use acceptance::broker::Broker;
use acceptance::cluster::{Counting, members};
use anyhow::{Context as _, Result, ensure};
use std::time::Duration;

const SETTLED_WITHIN: Duration = Duration::from_secs(120);
/// Longer than a member's session, and not as long as the one that the broker has with its controller, which would take all leaders away.
const STILL: Duration = Duration::from_millis(7500);
/// Not each time the same process is taken in twice.
const ROUNDS: usize = 3;

#[test]
fn processes_take_part_again_when_brokers_stood_still_for_longer_than_a_session() -> Result<()> {
    let broker = Broker::own()?;
    let mut up = members(&broker, "torture", &["one", "two"])?;
    let mut job = Counting::new(&broker, "frozen", 20)?;
    let id = job.submit(&up[0])?;
    job.give(500)?;
    job.settle(SETTLED_WITHIN).context("at first")?;
    for round in 0..ROUNDS {
        job.give(500)?; // under way
        broker.stand_still(STILL)?;
        job.give(500)?;
        let logs = || format!("round {round}\n{}\n{}", up[0].log(), up[1].log());
        job.settle(SETTLED_WITHIN).with_context(logs)?;
    }
    let said = |what: &str| up.iter().map(|member| member.log().matches(what).count()).sum::<usize>();
    ensure!(said("takes no part any more") == 0, "{}\n{}", up[0].log(), up[1].log());
    println!(
        "parts were lost {} times, and processes fenced by themselves {} times",
        said("lost"),
        said("takes part anew")
    );
    // each of them can do it alone
    for (goes, stays) in [(1, 0), (0, 1)] {
        up[goes].kill()?;
        job.give(300)?;
        job.settle(SETTLED_WITHIN).with_context(|| format!("{stays} alone\n{}", up[stays].log()))?;
        up[goes].start()?;
    }
    up[0].job(&["drain", &id])?;
    ensure!(up[1].job(&["wait", &id])? == "DRAINED", "{}", up[1].log());
    job.check_minutes()
}
