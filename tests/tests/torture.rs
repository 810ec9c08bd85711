//! A job on the embedded log, with windows, sessions, state and timers of a component, killed at random moments and at every named
//! fault point: what it writes is what an undisturbed run writes, and what plain Python works out.
//!
//! `THALWEG_TORTURE_KILLS=n` says how often it is killed at random, `THALWEG_KILL_SEED=n` draws the same moments again. The last line that
//! is printed is for the record of reliability.

use acceptance::child::Run;
use acceptance::flights::{acknowledged, check};
use acceptance::lines::Lines;
use acceptance::python::program;
use acceptance::random::Random;
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Topics with results.
const TOPICS: [&str; 4] = ["dead_letters", "sessions", "told", "late"];
/// Before and after each lasting write of an embedded job.
const FAULTS: [&str; 4] = ["before_prepare", "after_prepare", "before_commit", "after_commit"];
/// Random kills of the quick run.
const KILLS: u32 = 5;
/// A run is killed so often before it may end.
const KILLS_OF_A_RUN: u32 = 3;
const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

/// The state directory with the input that every run begins with, and what each must give.
struct Undisturbed {
    input: PathBuf,
    hourly: Lines,
    topics: Vec<Lines>,
    seconds: f64,
}

/// A run with a directory of its own.
struct Job {
    state: PathBuf,
    output: PathBuf,
}

impl Job {
    /// A copy of the input, by links.
    fn over(input: &Path) -> Result<Self> {
        let output = watchdog::folder("torture")?;
        let state = output.join("state");
        Run::thalweg()?.arg("savepoint").arg("--state-dir").arg(input).arg("--to").arg(&state).ok()?;
        Ok(Self { state, output })
    }

    fn command(&self, shards: &str) -> Result<Run> {
        Ok(Run::thalweg()?
            .args(["run", "tests/programs/torture.yaml", "--epoch-ms", "20", "--shards", shards])
            .set("flights", place::component("flights_parse")?)
            .set("journeys", place::component("journeys")?)
            .set("output", &self.output)
            .arg("--state-dir")
            .arg(&self.state))
    }

    /// The values of a topic; its offsets have no gap.
    fn topic(&self, name: &str) -> Result<Lines> {
        let tail = Run::thalweg()?.args(["log", "tail", name, "--from", "earliest", "--output", "json", "--state-dir"]);
        let ended = tail.arg(&self.state).ok()?;
        let mut text = String::new();
        for (i, line) in ended.out.lines().enumerate() {
            let record: Value = serde_json::from_str(line)?;
            ensure!(record["offset"].as_u64() == Some(i as u64), "{name}: no record {i}, but {line}");
            text.push_str(record["value"].as_str().context("a value")?);
            text.push('\n');
        }
        Ok(Lines::of(&text))
    }

    fn hourly(&self) -> Result<Lines> {
        Lines::read(&self.output.join("hourly.jsonl"))
    }

    fn same_as(&self, wanted: &Undisturbed) -> Result<()> {
        self.hourly()?.same_as(&wanted.hourly, "hourly")?;
        TOPICS.iter().zip(&wanted.topics).try_for_each(|(name, lines)| self.topic(name)?.same_as(lines, name))
    }
}

/// A topic with January's rows, and a run over it that nothing disturbs, compared with the oracle.
fn undisturbed() -> Result<Undisturbed> {
    let folder = watchdog::folder("torture-input")?;
    let (input, lines) = (folder.join("state"), folder.join("lines.jsonl"));
    let january = place::january();
    let text = fs::read_to_string(&january)?;
    let rows = text.lines().skip(1).enumerate();
    let rows: Vec<String> = rows.map(|(i, line)| json!({"line": line, "row": i + 1}).to_string()).collect();
    fs::write(&lines, rows.join("\n"))?;
    let make = ["log", "create", "flights", "--partitions", "3", "--state-dir"];
    Run::thalweg()?.args(make).arg(&input).ok()?;
    let append = format!(
        "{} log append flights --state-dir {} < {}",
        place::binary()?.display(),
        input.display(),
        lines.display()
    );
    Run::new("sh").arg("-c").arg(append).ok()?;
    let job = Job::over(&input)?;
    let began = Instant::now();
    job.command("2")?.ok()?;
    let seconds = began.elapsed().as_secs_f64();
    check(&january, &job.output, &["hourly.jsonl"])?;
    let expected = watchdog::folder("torture-oracle")?;
    program("torture.py")?.arg(&january).arg(&expected).ok()?;
    let mut topics = Vec::new();
    for name in TOPICS {
        let found = job.topic(name)?;
        found.same_as(&Lines::read(&expected.join(format!("{name}.jsonl")))?, name)?;
        ensure!(found.count() > 0, "nothing is in {name}");
        topics.push(found);
    }
    println!("undisturbed: {} rows in {seconds:.2} s", rows.len());
    Ok(Undisturbed { input, hourly: job.hourly()?, topics, seconds })
}

/// Kills runs at random moments, each a few times, on changing numbers of shards, and lets it end then. How often it was killed, and how
/// often after a commit.
fn kills(whole: &Undisturbed, wanted: u32, random: &mut Random) -> Result<(u32, u32)> {
    let (mut killed, mut after_commit) = (0, 0);
    while killed < wanted {
        let job = Job::over(&whole.input)?;
        for leg in 0..KILLS_OF_A_RUN.min(wanted - killed) {
            let shards = ["2", "4", "1"][leg as usize % 3];
            let before = acknowledged(&job.state);
            let running = job.command(shards)?.start()?;
            sleep(Duration::from_secs_f64(random.between(0.02, 0.9) * whole.seconds));
            let ended = running.kill()?;
            if ended.code == Some(0) {
                break;
            }
            ensure!(ended.signal == Some(SIGKILL), "it failed before it was killed\n{ended}");
            let epoch = acknowledged(&job.state);
            ensure!(epoch >= before, "epoch {before} was lost, {epoch} is there\n{ended}");
            killed += 1;
            after_commit += u32::from(epoch > before);
        }
        job.command("3")?.ok()?;
        job.same_as(whole).with_context(|| format!("after kill {killed}"))?;
        fs::remove_dir_all(&job.output)?;
    }
    Ok((killed, after_commit))
}

#[test]
fn killed_at_any_moment_it_writes_what_an_undisturbed_run_writes() -> Result<()> {
    let whole = undisturbed()?;
    let mut random = Random::from_variable("THALWEG_KILL_SEED")?;
    let mut faults = 0;
    for point in FAULTS {
        let job = Job::over(&whole.input)?;
        // a few epochs in, so that there is state to lose
        let fault = format!("{point}:{}", 3 + faults);
        let ended = job.command("2")?.env("THALWEG_FAULT", &fault).end()?;
        ensure!(ended.signal == Some(SIGABRT), "the fault point was not reached\n{ended}");
        job.command("1")?.ok().with_context(|| format!("run again after {fault}"))?;
        job.same_as(&whole).with_context(|| format!("after {fault}"))?;
        faults += 1;
    }
    let wanted = std::env::var("THALWEG_TORTURE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let (killed, after_commit) = kills(&whole, wanted, &mut random)?;
    ensure!(after_commit * 3 >= killed, "only {after_commit} of {killed} kills came after a commit of their run");
    println!(
        "torture: {faults} fault points, {killed} random kills, {after_commit} of them after a commit, 0 violations"
    );
    Ok(())
}
