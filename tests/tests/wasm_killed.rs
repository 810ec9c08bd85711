//! A component with map state and timers, in a job that is killed and started again: what it writes is what plain Python works out.

use acceptance::child::Run;
use acceptance::flights::{acknowledged, repeated};
use acceptance::lines::Lines;
use acceptance::python::program;
use acceptance::random::Random;
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

const FILES: [&str; 2] = ["told.jsonl", "late.jsonl"];
const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

fn command(input: &Path, output: &Path) -> Result<Run> {
    Ok(Run::thalweg()?
        .args(["run", "tests/programs/destinations.yaml", "--epoch-ms", "20"])
        .set("flights", place::component("flights_parse")?)
        .set("journeys", place::component("journeys")?)
        .set("input", input)
        .set("output", output))
}

/// What the oracle gives for rows.
fn wanted(input: &Path) -> Result<[Lines; 2]> {
    let folder = watchdog::folder("destinations-oracle")?;
    program("destinations.py")?.arg(input).arg(&folder).ok()?;
    let [told, late] = FILES;
    Ok([Lines::read(&folder.join(told))?, Lines::read(&folder.join(late))?])
}

fn same(output: &Path, wanted: &[Lines; 2]) -> Result<()> {
    FILES.iter().zip(wanted).try_for_each(|(file, wanted)| Lines::read(&output.join(file))?.same_as(wanted, file))
}

#[test]
fn destinations_equal_the_oracle_on_one_shard_and_on_four() -> Result<()> {
    let input = place::january();
    let wanted = wanted(&input)?;
    for shards in ["1", "4"] {
        let output = watchdog::folder("destinations")?;
        command(&input, &output)?.args(["--shards", shards]).ok()?;
        same(&output, &wanted).with_context(|| format!("on {shards} shards"))?;
    }
    Ok(())
}

/// A run with a state directory, which goes on where it was.
struct Lasting {
    input: PathBuf,
    output: PathBuf,
    state: PathBuf,
}

impl Lasting {
    fn over(input: &Path) -> Result<Self> {
        let output = watchdog::folder("destinations")?;
        Ok(Self { input: input.to_owned(), state: output.join("state"), output })
    }

    fn command(&self) -> Result<Run> {
        Ok(command(&self.input, &self.output)?.arg("--state-dir").arg(&self.state))
    }
}

#[test]
fn killed_again_and_again_state_and_timers_of_a_component_are_as_if_nothing_had_happened() -> Result<()> {
    // so many that a fast machine is not through before the third kill
    let input = repeated(12)?;
    let wanted = wanted(&input)?;
    let run = Lasting::over(&input)?;
    let mut random = Random::from_variable("THALWEG_KILL_SEED")?;
    let mut kills = 0;
    for leg in 0..10 {
        let before = acknowledged(&run.state);
        // who owns a key changes from leg to leg; what is kept of it may not
        let shards = ["4", "1", "2"][leg % 3];
        let mut running = run.command()?.args(["--shards", shards]).start()?;
        let goes_on = running.reaches("another commit", |_| Ok(acknowledged(&run.state) > before + 1))?;
        if goes_on {
            sleep(Duration::from_secs_f64(random.between(0.0, 0.1)));
        }
        let ended = if goes_on { running.kill()? } else { running.wait()? };
        if ended.code == Some(0) {
            break;
        }
        ensure!(ended.signal == Some(SIGKILL), "it failed before it was killed\n{ended}");
        kills += 1;
        println!("kill {kills}: epoch {}", acknowledged(&run.state));
    }
    ensure!(kills >= 3, "it could be killed {kills} times only");
    run.command()?.args(["--shards", "3"]).ok()?;
    same(&run.output, &wanted)
}

#[test]
fn a_crash_right_before_or_after_a_commit_fires_no_timer_twice() -> Result<()> {
    let input = place::january();
    let wanted = wanted(&input)?;
    // the last commits are those in which the timers fire: all flights are read before time moves
    for (point, n) in [("before_commit", 2), ("after_commit", 2), ("after_commit", 4)] {
        let run = Lasting::over(&input)?;
        let fault = format!("{point}:{n}");
        let ended = run.command()?.env("THALWEG_FAULT", &fault).end()?;
        ensure!(ended.signal == Some(SIGABRT), "the fault point was not reached\n{ended}");
        run.command()?.ok().with_context(|| format!("run again after {fault}"))?;
        same(&run.output, &wanted).with_context(|| format!("after {fault}"))?;
    }
    Ok(())
}
