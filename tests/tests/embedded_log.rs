//! Topics of the embedded log: written and read by pipelines and by hand, exactly once, without a broker.

use acceptance::child::{Run, Signal};
use acceptance::embedded::{self, append, log};
use acceptance::watchdog;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const SIGABRT: i32 = 6;

/// Reads one topic, adds a field, writes another; for ever, or to the end.
fn pipeline(dir: &Path, stop: &str) -> Result<PathBuf> {
    embedded::pipeline(&dir.join(format!("{stop}.yaml")), stop, [("word", "string"), ("n", "integer")], "")
}

/// The values of a topic, counted, with the offsets of each partition in a row without a gap.
fn values(state: &Path, topic: &str) -> Result<BTreeMap<String, u32>> {
    let ended = log(state, &["tail", topic, "--from", "earliest", "--output", "json"])?.ok()?;
    let (mut counts, mut next) = (BTreeMap::new(), BTreeMap::new());
    for line in ended.out.lines() {
        let record: Value = serde_json::from_str(line)?;
        let (partition, offset) = (record["partition"].as_u64(), record["offset"].as_u64().context("an offset")?);
        let expected = next.entry(partition).or_insert(0);
        ensure!(offset == *expected, "offset {offset} follows {expected}");
        *expected += 1;
        *counts.entry(record["value"].as_str().context("a value")?.to_owned()).or_default() += 1;
    }
    Ok(counts)
}

fn lines(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!(r#"{{"word":"w{}","n":{n}}}"#, n % 7)).collect()
}

fn once(lines: &[String]) -> BTreeMap<String, u32> {
    lines.iter().map(|line| (line.clone(), 1)).collect()
}

#[test]
fn a_pipeline_reads_a_topic_of_its_directory_and_writes_another_once() -> Result<()> {
    let dir = watchdog::folder("embedded")?;
    let state = dir.join("state");
    let made = log(&state, &["create", "in", "--partitions", "3"])?.ok()?;
    ensure!(made.out.contains("3 partitions"), "{made}");
    let all = lines(0..2000);
    let told = append(&state, "in", &all)?;
    ensure!(told.out.contains("2,000 records appended to in"), "{told}");
    let file = pipeline(&dir, "end_offsets")?;
    let run = || Ok::<_, anyhow::Error>(Run::thalweg()?.arg("run").arg(&file).arg("--state-dir").arg(&state));
    run()?.args(["--epoch-ms", "20"]).ok()?;
    ensure!(values(&state, "out")? == once(&all));
    let again = run()?.ok()?;
    ensure!(again.out.contains("finished already"), "{again}");
    ensure!(values(&state, "out")? == once(&all), "a job that is done writes nothing");
    let listed = log(&state, &["list"])?.ok()?;
    ensure!(listed.out.lines().count() == 3 && listed.out.contains("2,000"), "{listed}");
    Ok(())
}

#[test]
fn without_a_state_directory_or_a_topic_the_job_is_refused() -> Result<()> {
    let dir = watchdog::folder("embedded")?;
    let file = pipeline(&dir, "never")?;
    let nowhere = Run::thalweg()?.arg("run").arg(&file).end()?;
    ensure!(nowhere.code == Some(3) && nowhere.err.contains("error[LOG_MISSING]"), "{nowhere}");
    let state = dir.join("state");
    let unknown = Run::thalweg()?.arg("run").arg(&file).arg("--state-dir").arg(&state).end()?;
    ensure!(unknown.code == Some(3) && unknown.err.contains("error[LOG_TOPIC_UNKNOWN]"), "{unknown}");
    let nothing = log(&dir.join("nothing"), &["list"])?.end()?;
    ensure!(nothing.code == Some(3) && nothing.err.contains("error[STATE_NOT_OURS]"), "{nothing}");
    ensure!(!dir.join("nothing").exists(), "to look makes nothing");
    Ok(())
}

#[test]
fn a_crash_around_a_commit_loses_and_doubles_no_record() -> Result<()> {
    let dir = watchdog::folder("embedded")?;
    let first = lines(0..2000);
    let file = pipeline(&dir, "never")?;
    for point in ["before_commit:1", "after_commit:1", "before_commit:2", "after_commit:2", "before_commit:9"] {
        let state = dir.join(point);
        log(&state, &["create", "in", "--partitions", "2"])?.ok()?;
        append(&state, "in", &first)?;
        let run = || -> Result<Run> {
            let run = Run::thalweg()?.arg("run").arg(&file).arg("--state-dir").arg(&state);
            Ok(run.args(["--epoch-ms", "1"]))
        };
        let mut crashing = run()?.env("THALWEG_FAULT", point).start()?;
        crashing.reaches("its door", |_| Ok(state.join("log.sock").exists()))?;
        // each batch is a commit more; one of them meets a process that dies, and nobody knows whether it was taken
        let through =
            || Ok(values(&state, "out").is_ok_and(|out| values(&state, "in").is_ok_and(|given| out == given)));
        let mut next = 2000;
        while crashing.reaches("what it was fed", |_| through())? {
            let _ = append(&state, "in", &lines(next..next + 10));
            next += 10;
        }
        let ended = crashing.wait()?;
        ensure!(ended.signal == Some(SIGABRT), "the fault point was not reached\n{ended}");
        let mut given = values(&state, "in")?;
        ensure!(given.values().all(|&count| count == 1) && first.iter().all(|line| given.contains_key(line)));
        // the door of the dead is no door: who looks before the next one is open takes the directory
        fs::remove_file(state.join("log.sock")).ok();
        let mut running = run()?.start()?;
        running.until("its door", |_| Ok(state.join("log.sock").exists()))?;
        append(&state, "in", &lines(next..next + 1))?;
        given.extend(once(&lines(next..next + 1)));
        running.until("what was given", |_| Ok(values(&state, "out")?.len() >= given.len()))?;
        running.kill()?;
        ensure!(values(&state, "out")? == given, "after {point}");
    }
    Ok(())
}

#[test]
fn a_job_that_runs_is_fed_and_read_through_its_door() -> Result<()> {
    let dir = watchdog::folder("embedded")?;
    // longer than the path of a socket may be
    let state = dir.join("long".repeat(30)).join("state");
    log(&state, &["create", "in"])?.ok()?;
    let file = pipeline(&dir, "never")?;
    let run = Run::thalweg()?.arg("run").arg(&file).arg("--state-dir").arg(&state).args(["--epoch-ms", "20"]);
    let mut running = run.start()?;
    running.until("its door", |_| Ok(state.join("log.sock").exists()))?;
    for batch in [0..100, 100..250] {
        append(&state, "in", &lines(batch))?;
    }
    let all = once(&lines(0..250));
    running.until("all records", |_| Ok(values(&state, "out")? == all))?;
    let bad = log(&state, &["create", "in"])?.end()?;
    ensure!(bad.err.contains("LOG_TOPIC_EXISTS"), "the error of the process that has it\n{bad}");
    running.signal(Signal::Terminate)?;
    let ended = running.wait()?;
    ensure!(ended.code == Some(130), "{ended}");
    ensure!(!state.join("log.sock").exists(), "the door is closed");
    ensure!(values(&state, "out")? == all);
    Ok(())
}

#[test]
fn a_savepoint_of_a_running_job_goes_on_from_its_moment_on_other_shards() -> Result<()> {
    let dir = watchdog::folder("embedded")?;
    let (state, saved) = (dir.join("state"), dir.join("saved"));
    log(&state, &["create", "in", "--partitions", "3"])?.ok()?;
    let file = pipeline(&dir, "never")?;
    let run = |state: &Path, shards: &str| {
        let run = Run::thalweg()?.arg("run").arg(&file).arg("--state-dir").arg(state);
        run.args(["--epoch-ms", "20", "--shards", shards]).start()
    };
    let mut running = run(&state, "1")?;
    running.until("its door", |_| Ok(state.join("log.sock").exists()))?;
    append(&state, "in", &lines(0..300))?;
    running.until("all records", |_| Ok(values(&state, "out")?.len() == 300))?;
    let savepoint = || {
        Ok::<_, anyhow::Error>(Run::thalweg()?.arg("savepoint").arg("--state-dir").arg(&state).arg("--to").arg(&saved))
    };
    savepoint()?.ok()?;
    let twice = savepoint()?.end()?;
    ensure!(twice.code == Some(3) && twice.err.contains("STATE_NOT_OURS"), "{twice}");
    append(&state, "in", &lines(300..400))?;
    running.until("all records", |_| Ok(values(&state, "out")?.len() == 400))?;
    running.kill()?;
    ensure!(values(&saved, "out")? == once(&lines(0..300)), "the savepoint is of its moment");
    let mut running = run(&saved, "4")?;
    running.until("its door", |_| Ok(saved.join("log.sock").exists()))?;
    append(&saved, "in", &lines(300..350))?;
    let wanted = once(&lines(0..350));
    running.until("what is new", |_| Ok(values(&saved, "out")? == wanted))?;
    running.kill()?;
    ensure!(values(&state, "out")? == once(&lines(0..400)), "the first directory is as it was");
    Ok(())
}
