//! A job with a state directory that is killed at any moment and started again writes what an undisturbed run writes.
//!
//! The moments of `kill -9` are drawn; the seed is printed, and `THALWEG_KILL_SEED=<seed>` draws the same ones again.

use acceptance::child::Ended;
use acceptance::flights::{Flights, january_rows, repeated};
use acceptance::lines::Lines;
use acceptance::place;
use acceptance::random::Random;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

/// Many commits, so that there is much to tear.
const SMALL_EPOCHS: [&str; 2] = ["--epoch-ms", "20"];
/// An undisturbed run that is to be hit in the middle takes at least this long.
const SECONDS_MIN: f64 = 1.2;
/// How often January is repeated at first and at most.
const TIMES: (usize, usize) = (11, 88);
const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;
/// Moments that were missed because the run was over; then the next try is earlier.
const MISSES_MAX: u32 = 6;

/// An undisturbed run that takes a while.
struct Undisturbed {
    input: PathBuf,
    rows: usize,
    results: [Lines; 2],
    seconds: f64,
    /// When its first epoch was committed.
    first_commit: f64,
}

fn undisturbed() -> Result<&'static Undisturbed> {
    static ONE: OnceLock<Result<Undisturbed, String>> = OnceLock::new();
    let one = ONE.get_or_init(|| measure().map_err(|e| format!("{e:#}")));
    one.as_ref().map_err(|e| anyhow::anyhow!("the undisturbed run: {e}"))
}

fn measure() -> Result<Undisturbed> {
    // compiles the component, which later runs find compiled
    Flights::over(place::file("guest-examples/flights/dirty.csv"))?.ok()?;
    let mut times = TIMES.0;
    loop {
        let run = Flights::over(repeated(times)?)?.lasting().with(&SMALL_EPOCHS);
        let mut running = run.command()?.start()?;
        running.until("the first commit", |_| Ok(run.epoch() > 0))?;
        let first_commit = running.age().as_secs_f64();
        let ended = running.wait()?;
        ensure!(ended.code == Some(0), "{ended}");
        let seconds = ended.took.as_secs_f64();
        if seconds >= SECONDS_MIN || times >= TIMES.1 {
            let results = run.results()?;
            let rows = january_rows()?.len() * times;
            no_row_is_missing(&run, rows)?;
            println!("undisturbed: {times} times January in {seconds:.2} s, first commit after {first_commit:.2} s");
            return Ok(Undisturbed { input: run.input.clone(), rows, results, seconds, first_commit });
        }
        fs::remove_file(&run.input)?;
        times *= 2;
    }
}

/// Every row is in a window's count or in a dead letter.
fn no_row_is_missing(run: &Flights, wanted: usize) -> Result<()> {
    let mut rows = Lines::read(&run.path("dead_letters.jsonl"))?.count();
    for line in fs::read_to_string(run.path("hourly.jsonl"))?.lines() {
        let value: Value = serde_json::from_str(line)?;
        rows += value.get("count").and_then(Value::as_i64).context("a line without count")?;
    }
    ensure!(rows == wanted as i64, "{rows} rows of {wanted} are in the results");
    Ok(())
}

/// When to kill a run.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Seconds after its start.
    Start(f64),
    /// Seconds after its first commit.
    Commit(f64),
}

impl Moment {
    fn earlier(self) -> Self {
        match self {
            Self::Start(s) => Self::Start(s * 0.6),
            Self::Commit(s) => Self::Commit(s * 0.6),
        }
    }
}

/// Kills a run at a moment; `None` if it was over before.
fn kill(run: &Flights, moment: Moment) -> Result<Option<Ended>> {
    let mut running = run.command()?.start()?;
    let wait = match moment {
        Moment::Start(seconds) => seconds,
        Moment::Commit(seconds) => {
            running.until("the first commit", |_| Ok(run.epoch() > 0))?;
            seconds
        }
    };
    sleep(Duration::from_secs_f64(wait));
    let ended = running.kill()?;
    ensure!(ended.signal == Some(SIGKILL) || ended.code == Some(0), "it failed before it was killed\n{ended}");
    Ok((ended.signal == Some(SIGKILL)).then_some(ended))
}

/// How many rows a run says that it read; it says nothing if there were none.
fn rows_read(ended: &Ended) -> Result<usize> {
    ensure!(ended.out.contains("done in "), "there is no summary\n{ended}");
    let Some(line) = ended.out.lines().find_map(|line| line.trim().strip_prefix("read ")) else { return Ok(0) };
    let number = line.split_whitespace().next().unwrap_or_default().replace(',', "");
    number.parse().with_context(|| format!("not a number of rows: {line}"))
}

#[test]
fn killed_at_five_moments_and_run_again_it_writes_what_an_undisturbed_run_writes() -> Result<()> {
    let whole = undisturbed()?;
    let mut random = Random::from_variable("THALWEG_KILL_SEED")?;
    let rest = (whole.seconds - whole.first_commit).max(0.1);
    let moments = [
        Moment::Start(random.between(0.05, 0.95) * whole.seconds),
        Moment::Start(random.between(0.05, 0.95) * whole.seconds),
        Moment::Commit(random.between(0.0, 0.9) * rest),
        Moment::Commit(random.between(0.0, 0.9) * rest),
        Moment::Commit(random.between(0.0, 0.9) * rest),
    ];
    let mut after_commit = 0;
    for (i, moment) in moments.into_iter().enumerate() {
        let (mut moment, mut misses) = (moment, 0);
        let run = loop {
            let run = Flights::over(&whole.input)?.lasting().with(&SMALL_EPOCHS);
            if let Some(killed) = kill(&run, moment)? {
                println!("kill {i}: {moment:?}, after {:.3} s, epoch {}", killed.took.as_secs_f64(), run.epoch());
                break run;
            }
            misses += 1;
            ensure!(misses < MISSES_MAX, "the run is always over before {moment:?}");
            moment = moment.earlier();
        };
        let epoch = run.epoch();
        after_commit += u32::from(epoch > 0);
        let again = run.ok().with_context(|| format!("run again after kill {i}, {moment:?}"))?;
        let (read, rows) = (rows_read(&again)?, whole.rows);
        println!("  run again: {read} of {rows} rows read");
        // the first epoch may hold little; later ones hold what need not be read again
        ensure!(epoch < 3 || read < rows, "it began anew instead of going on from epoch {epoch}\n{again}");
        run.same_as(&whole.results).with_context(|| format!("after kill {i}, {moment:?}"))?;
        fs::remove_dir_all(&run.output)?;
    }
    ensure!(after_commit >= 3, "only {after_commit} of the five moments were after the first commit");
    Ok(())
}

#[test]
fn killed_again_and_again_it_goes_on_where_it_was_and_ends_right() -> Result<()> {
    let whole = undisturbed()?;
    let run = Flights::over(&whole.input)?.lasting().with(&SMALL_EPOCHS);
    let mut kills = 0;
    for leg in 0..8 {
        let before = run.epoch();
        // who owns a partition may change from leg to leg, what is in it may not
        let shards = ["4", "2", "3"][leg % 3];
        let mut running = run.command()?.args(["--shards", shards]).start()?;
        // each leg commits something before it is killed, or the job would never end
        let goes_on = running.reaches("another commit", |_| Ok(run.epoch() > before + 1))?;
        let ended = if goes_on { running.kill()? } else { running.wait()? };
        if ended.code == Some(0) {
            break;
        }
        ensure!(ended.signal == Some(SIGKILL), "it failed before it was killed\n{ended}");
        kills += 1;
        ensure!(run.epoch() > before, "an epoch was lost: {before}, then {}\n{ended}", run.epoch());
    }
    ensure!(kills >= 3, "it could be killed {kills} times only");
    run.command()?.args(["--shards", "1"]).ok()?;
    run.same_as(&whole.results)
}

/// One epoch for the whole run: its only commit holds everything.
const ONE_EPOCH: [&str; 2] = ["--epoch-ms", "3600000"];

#[test]
fn a_crash_right_before_or_after_a_commit_loses_and_doubles_nothing() -> Result<()> {
    let input = repeated(4)?;
    let straight = Flights::over(&input)?;
    straight.ok()?;
    let wanted = straight.results()?;
    let many = (1..=3).map(|n| (SMALL_EPOCHS, n));
    for (epochs, n) in many.chain([(ONE_EPOCH, 1)]) {
        for (point, committed) in [("before_commit", n - 1), ("after_commit", n)] {
            let run = Flights::over(&input)?.lasting().with(&epochs);
            let fault = format!("{point}:{n}");
            let ended = run.command()?.env("THALWEG_FAULT", &fault).end()?;
            ensure!(ended.signal == Some(SIGABRT), "the fault point was not reached\n{ended}");
            ensure!(run.epoch() == committed, "{fault}: epoch {} is committed, not {committed}", run.epoch());
            run.ok().with_context(|| format!("run again after {fault}, {epochs:?}"))?;
            run.same_as(&wanted).with_context(|| format!("after {fault}, {epochs:?}"))?;
        }
    }
    Ok(())
}
