//! What a job writes to Kafka that begins with a savepoint: what comes behind the savepoint, all of it and once, whatever the job has done since that it was
//! made of.

use acceptance::broker::Broker;
use acceptance::child::{Run, Signal};
use acceptance::watchdog;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::collections::BTreeMap;
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

    /// Runs until these values came out, each so many times, and no others.
    fn until(&self, run: Run, wanted: &Counts) -> Result<()> {
        let mut running = run.limit(120).start()?;
        running.until("all that was given", |_| {
            let found = counts(self.broker, self.to)?;
            let more = found.iter().find(|(value, n)| wanted.get(*value).is_none_or(|wanted| *n > wanted));
            ensure!(more.is_none(), "{}: {more:?} came, {} were wanted", self.to, wanted.len());
            Ok(found == *wanted)
        })?;
        running.signal(Signal::Terminate)?;
        running.wait()?;
        ensure!(counts(self.broker, self.to)? == *wanted, "{}: more came when it stopped", self.to);
        Ok(())
    }
}

/// Values, and how often they are there.
type Counts = BTreeMap<String, usize>;

fn counts(broker: &Broker, topic: &str) -> Result<Counts> {
    let mut found = Counts::new();
    for record in broker.dump(topic)? {
        *found.entry(record["value"].as_str().context("a value")?.to_owned()).or_default() += 1;
    }
    Ok(found)
}

/// Values of these numbers, each once.
fn range(range: Range<usize>) -> Counts {
    range.map(|n| (format!("value {n}"), 1)).collect()
}

fn give(broker: &Broker, topic: &str, what: Range<usize>) -> Result<()> {
    let records: Vec<_> = range(what).into_keys().map(|value| json!({"key": value, "value": value})).collect();
    broker.produce(topic, &records)
}

/// Runs a job until it dies at this point, and makes a savepoint of what it has left.
fn die_and_save(job: &Copying<'_>, state: &Path, point: &str, to: &Path) -> Result<()> {
    let crashed = job.run(state)?.env("THALWEG_FAULT", point).limit(60).end()?;
    ensure!(crashed.signal == Some(SIGABRT), "the fault point was not reached\n{crashed}");
    Run::thalweg()?.arg("savepoint").arg("--state-dir").arg(state).arg("--to").arg(to).ok().map(drop)
}

#[test]
fn a_job_beside_the_one_of_its_savepoint_and_one_in_its_place_write_all_behind_it_once() -> Result<()> {
    let broker = Broker::shared()?;
    broker.create(&["beside-in:2", "beside-out:2", "beside-other:2"])?;
    let folder = watchdog::folder("beside")?;
    let (state, saved) = (folder.join("state"), folder.join("saved"));
    let first = Copying { broker, app: "beside", from: "beside-in", to: "beside-out", epoch_ms: "5" };
    give(broker, first.from, 0..200)?;
    // what it brought out last stands in its state still
    die_and_save(&first, &state, "after_deliver:1", &saved)?;
    let before = counts(broker, first.to)?;
    // it goes on for many epochs: they are not those of another job that begins where it was
    for end in [300, 400, 500, 600] {
        give(broker, first.from, end - 100..end)?;
        first.until(first.run(&state)?, &range(0..end))?;
    }
    let behind =
        |end: usize| -> Counts { range(0..end).into_iter().filter(|(value, _)| !before.contains_key(value)).collect() };
    let beside = Copying { app: "beside-other", to: "beside-other", epoch_ms: "1000", ..first };
    let other = folder.join("other");
    beside.until(beside.run(&other)?.arg("--from-savepoint").arg(&saved), &behind(600))?;
    let place = Copying { epoch_ms: "1000", ..first };
    let again = folder.join("again");
    let mut twice = range(0..600);
    behind(600).into_keys().for_each(|value| *twice.entry(value).or_default() += 1);
    place.until(place.run(&again)?.arg("--from-savepoint").arg(&saved), &twice)?;
    // and from what they have stored themselves
    give(broker, first.from, 600..650)?;
    twice.extend(range(600..650));
    place.until(place.run(&again)?, &twice)?;
    beside.until(beside.run(&other)?, &behind(650))
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
    die_and_save(&job, &state, "before_deliver:1", &saved)?;
    let anew = folder.join("anew");
    job.until(job.run(&anew)?.arg("--from-savepoint").arg(&saved), &range(0..400))
}
