//! Part 3 of the flights example, on a real broker: the committed records equal the oracle's, also after crashes.

use acceptance::broker::Broker;
use acceptance::child::Run;
use acceptance::flights::{acknowledged, check};
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use std::path::Path;

const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

/// A run with output topics and a name of its own.
struct Job {
    broker: &'static Broker,
    app_id: String,
    hourly: String,
    dead: String,
}

impl Job {
    fn named(name: &str) -> Result<Self> {
        let broker = Broker::shared()?;
        let (hourly, dead) = (format!("{name}-hourly"), format!("{name}-dead"));
        broker.create(&[&format!("{hourly}:2"), &format!("{dead}:1")])?;
        Ok(Self { broker, app_id: format!("flights-{name}"), hourly, dead })
    }

    fn command(&self, state: Option<&Path>) -> Result<Run> {
        let run = Run::thalweg()?
            .args(["run", "guest-examples/flights/pipeline-kafka.yaml", "--epoch-ms", "20", "--app-id", &self.app_id])
            .set("bootstrap", self.broker.bootstrap())
            .set("component", place::component("flights_parse")?)
            .set("hourly_topic", &self.hourly)
            .set("dead_letters_topic", &self.dead);
        Ok(match state {
            Some(state) => run.arg("--state-dir").arg(state),
            None => run,
        })
    }

    /// Every record once, and none that was not committed.
    fn equals_the_oracle(&self) -> Result<()> {
        let folder = watchdog::folder("topics")?;
        self.broker.copy(&self.hourly, &folder.join("hourly.jsonl"))?;
        self.broker.copy(&self.dead, &folder.join("dead_letters.jsonl"))?;
        check(&place::january(), &folder, &["hourly.jsonl", "dead_letters.jsonl"])
    }
}

#[test]
fn january_through_topics_equals_the_oracle() -> Result<()> {
    let job = Job::named("straight")?;
    job.command(None)?.ok()?;
    job.equals_the_oracle()?;
    // a job in memory begins anew each time: what an earlier one delivered is no reason to leave anything out
    let first = job.broker.read(&job.hourly)?.count();
    job.command(None)?.ok()?;
    let both = job.broker.read(&job.hourly)?.count();
    ensure!(both == 2 * first, "{first} records of the first run, {both} after the second");
    Ok(())
}

#[test]
fn killed_in_the_middle_every_record_is_committed_once() -> Result<()> {
    let job = Job::named("killed")?;
    let state = watchdog::folder("state")?;
    // between the commit and the delivery of the outbox, where only the outbox knows what is missing
    crash(&job, &state, "after_commit:1")?;
    kill(&job, &state, 2)?;
    crash(&job, &state, "before_commit:2")?;
    crash(&job, &state, "after_commit:2")?;
    job.command(Some(&state))?.ok().context("the last run")?;
    job.equals_the_oracle()
}

fn crash(job: &Job, state: &Path, fault: &str) -> Result<()> {
    let ended = job.command(Some(state))?.env("THALWEG_FAULT", fault).end()?;
    ensure!(ended.signal == Some(SIGABRT), "the fault point was not reached\n{ended}");
    println!("{fault}: epoch {}", acknowledged(state));
    Ok(())
}

/// Kills it with `kill -9` when it has committed so many epochs more.
fn kill(job: &Job, state: &Path, epochs: u64) -> Result<()> {
    let before = acknowledged(state);
    let mut running = job.command(Some(state))?.start()?;
    running.until("more commits", |_| Ok(acknowledged(state) >= before + epochs))?;
    let ended = running.kill()?;
    ensure!(ended.signal == Some(SIGKILL), "it was over before it could be killed\n{ended}");
    println!("kill -9: epoch {}", acknowledged(state));
    Ok(())
}
