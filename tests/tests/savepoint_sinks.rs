//! What a job writes to Kafka that begins with a savepoint: what comes behind the savepoint, all of it and once, whatever the job has done since that it was
//! made of.

use acceptance::broker::Broker;
use acceptance::child::{Run, Signal};
use acceptance::watchdog;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

const SIGABRT: i32 = 6;

/// A job that copies a topic, for ever, in epochs of so many milliseconds.
struct Copying<'a> {
    broker: &'a Broker,
    app: &'a str,
    from: &'a str,
    to: &'a str,
    epoch_ms: &'a str,
}

impl Copying<'_> {
    fn run(&self, state: &Path) -> Result<Run> {
        let (file, bootstrap) = (watchdog::folder("copying")?.join("copying.yaml"), self.broker.bootstrap());
        let text = format!(
            "pipeline:
  type: chain
  transforms:
  - type: ReadFromKafka
    config: {{topic: {}, bootstrap_servers: '{bootstrap}', format: STRING, auto_offset_reset_config: earliest}}
  - type: WriteToKafka
    config: {{topic: {}, bootstrap_servers: '{bootstrap}', format: STRING}}
options: {{streaming: true}}
",
            self.from, self.to
        );
        fs::write(&file, text)?;
        let run = Run::thalweg()?.args(["run", "--epoch-ms", self.epoch_ms, "--app-id", self.app, "--state-dir"]);
        Ok(run.arg(state).arg(file))
    }

    /// Runs until these values came out, and no others.
    fn until(&self, run: Run, wanted: &BTreeSet<String>) -> Result<()> {
        let mut running = run.limit(120).start()?;
        running.until("all that was given", |_| {
            let found = values(self.broker, self.to)?;
            ensure!(found.is_subset(wanted), "{}: {} values, {} were wanted", self.to, found.len(), wanted.len());
            Ok(found == *wanted)
        })?;
        running.signal(Signal::Terminate)?;
        running.wait()?;
        ensure!(values(self.broker, self.to)? == *wanted, "{}: more came when it stopped", self.to);
        Ok(())
    }
}

/// What is in a topic, each value once.
fn values(broker: &Broker, topic: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for record in broker.dump(topic)? {
        let value = record["value"].as_str().context("a value")?.to_owned();
        ensure!(!found.contains(&value), "{topic}: {value} is there twice");
        found.insert(value);
    }
    Ok(found)
}

fn range(range: Range<usize>) -> BTreeSet<String> {
    range.map(|n| format!("value {n}")).collect()
}

fn give(broker: &Broker, topic: &str, what: Range<usize>) -> Result<()> {
    let records: Vec<_> = range(what).into_iter().map(|value| json!({"key": value, "value": value})).collect();
    broker.produce(topic, &records)
}

fn save(state: &Path, to: &Path) -> Result<()> {
    Run::thalweg()?.arg("savepoint").arg("--state-dir").arg(state).arg("--to").arg(to).ok().map(drop)
}

#[test]
fn a_job_beside_the_one_of_its_savepoint_and_one_in_its_place_write_all_behind_it_once() -> Result<()> {
    let broker = Broker::shared()?;
    broker.create(&["beside-in:2", "beside-out:2", "beside-again:2", "beside-other:2"])?;
    let folder = watchdog::folder("beside")?;
    let (state, saved) = (folder.join("state"), folder.join("saved"));
    let first = Copying { broker, app: "beside", from: "beside-in", to: "beside-out", epoch_ms: "5" };
    give(broker, first.from, 0..200)?;
    first.until(first.run(&state)?, &range(0..200))?;
    save(&state, &saved)?;
    // it goes on for many epochs: they are not those of another job that begins where it was
    for end in [300, 400, 500, 600] {
        give(broker, first.from, end - 100..end)?;
        first.until(first.run(&state)?, &range(0..end))?;
    }
    for (app, to, end) in [("beside", "beside-again", 600), ("beside-other", "beside-other", 650)] {
        let (job, state) = (Copying { app, to, epoch_ms: "1000", ..first }, folder.join(to));
        let run = job.run(&state)?.arg("--from-savepoint").arg(&saved);
        job.until(run, &range(200..end))?;
        // and again from what it has stored itself
        give(broker, first.from, end..end + 50)?;
        job.until(job.run(&state)?, &range(200..end + 50))?;
    }
    Ok(())
}

#[test]
fn what_was_committed_and_not_brought_out_before_a_savepoint_is_brought_out_by_the_job_in_its_place() -> Result<()> {
    let broker = Broker::shared()?;
    broker.create(&["place-in:2", "place-out:2"])?;
    let folder = watchdog::folder("place")?;
    let (state, saved) = (folder.join("state"), folder.join("saved"));
    let job = Copying { broker, app: "place", from: "place-in", to: "place-out", epoch_ms: "20" };
    give(broker, job.from, 0..200)?;
    job.until(job.run(&state)?, &range(0..200))?;
    give(broker, job.from, 200..400)?;
    let crashed = job.run(&state)?.env("THALWEG_FAULT", "before_deliver:1").limit(60).end()?;
    ensure!(crashed.signal == Some(SIGABRT), "the fault point was not reached\n{crashed}");
    save(&state, &saved)?;
    let anew = folder.join("anew");
    job.until(job.run(&anew)?.arg("--from-savepoint").arg(&saved), &range(0..400))
}
