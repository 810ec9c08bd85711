//! The life of a job in one process: stopped by a signal and run again, paused and resumed.

use acceptance::child::{Run, Running, Signal};
use acceptance::flights::{Flights, repeated};
use acceptance::python::{answer, program};
use acceptance::random::Random;
use acceptance::server::Server;
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What a server or a run is given to stop in.
const GRACE: &str = "--grace-seconds=20";
const GRACE_TIME: Duration = Duration::from_secs(20);

#[test]
fn a_run_that_is_told_to_stop_again_and_again_goes_on_where_it_was_and_ends_right() -> Result<()> {
    let run = Flights::over(repeated(22)?)?.lasting().with(&["--epoch-ms", "50", GRACE]);
    let mut random = Random::from_variable("THALWEG_KILL_SEED")?;
    let mut stops = 0;
    for _ in 0..6 {
        let before = run.epoch();
        let mut running = run.command()?.start()?;
        if !running.reaches("another commit", |_| Ok(run.epoch() > before))? {
            break;
        }
        sleep(Duration::from_secs_f64(random.between(0.0, 0.1)));
        if !running.runs()? {
            break;
        }
        let begun = Instant::now();
        running.signal(Signal::Terminate)?;
        let ended = running.wait()?;
        ensure!(begun.elapsed() < GRACE_TIME, "it took {:?} to stop\n{ended}", begun.elapsed());
        if ended.code == Some(0) {
            break; // it was over before
        }
        ensure!(ended.code == Some(130), "exit code 130 was expected\n{ended}");
        stops += 1;
    }
    ensure!(stops >= 2, "it was stopped {stops} times only");
    run.ok()?;
    let straight = Flights::over(&run.input)?;
    straight.ok()?;
    run.same_as(&straight.results()?)
}

/// Lines of a file; none if it is not there.
fn lines(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn a_server_that_is_told_to_stop_lets_bundles_end_and_nothing_is_processed_twice() -> Result<()> {
    let folder = watchdog::folder("once")?;
    let state = folder.join("state");
    let args = ["serve", "--shards", "2", "--epoch-ms", "100", GRACE, "--state-dir", state.to_str().context("a path")?];
    let (first, second) = (folder.join("first"), folder.join("second"));
    for _ in 0..2 {
        let before = (lines(&first).len(), lines(&second).len());
        let server = Server::start(&args)?;
        let mut client = program("once_job.py")?.arg(server.endpoint()).arg(&folder).start()?;
        let runs = |_: &Running| Ok(lines(&first).len() > before.0 + 50 || lines(&second).len() > before.1 + 50);
        client.until("it runs", runs)?;
        let begun = Instant::now();
        let ended = server.stop()?;
        ensure!(ended.code == Some(0) && begun.elapsed() < GRACE_TIME, "{:?} to stop\n{ended}", begun.elapsed());
        println!(
            "stopped in {:.1} s after {} and {} calls",
            begun.elapsed().as_secs_f64(),
            lines(&first).len(),
            lines(&second).len()
        );
        client.kill().map(drop).or_else(|_| anyhow::Ok(()))?;
    }
    ensure!(lines(&second).len() < 600, "nothing was left to do");
    let server = Server::start(&args)?;
    let ended = program("once_job.py")?.arg(server.endpoint()).arg(&folder).ok()?;
    ensure!(answer(&ended.out)? == json!("DONE"), "{ended}\n{}", server.log());
    for file in [first, second] {
        let mut seen = lines(&file);
        seen.sort_unstable();
        ensure!(seen == (0..600).collect::<Vec<_>>(), "{} calls in {}", seen.len(), file.display());
    }
    let sums: Vec<(u64, u64)> = serde_json::from_str(fs::read_to_string(folder.join("result"))?.trim())?;
    let wanted: Vec<(u64, u64)> = (0..4).map(|key| (key, (0..600).filter(|n| n % 4 == key).sum())).collect();
    ensure!(sums == wanted, "{sums:?}");
    Ok(())
}

#[test]
fn a_job_that_is_paused_writes_nothing_until_it_is_resumed() -> Result<()> {
    let input = repeated(44)?;
    let run = Flights::over(&input)?;
    let straight = Flights::over(&input)?;
    straight.ok()?;
    let server = Server::start(&["serve", "--epoch-ms", "20", "--shards", "2"])?;
    let job = |args: &[&str]| -> Result<String> {
        let command = Run::thalweg()?.arg("job").args(args);
        Ok(command.arg("--server").arg(server.endpoint()).ok()?.out.trim().to_owned())
    };
    let submit = Run::thalweg()?
        .args(["job", "submit", "guest-examples/flights/pipeline.yaml"])
        .set("component", place::component("flights_parse")?)
        .set("input", &run.input)
        .set("output", &run.output);
    let id = submit.arg("--server").arg(server.endpoint()).ok()?.out.trim().to_owned();
    let dead = run.path("dead_letters.jsonl");
    let size = || fs::metadata(&dead).map(|m| m.len()).unwrap_or_default();
    let begun = Instant::now();
    while size() == 0 {
        ensure!(begun.elapsed() < Duration::from_secs(60), "it writes nothing\n{}", server.log());
        sleep(Duration::from_millis(2));
    }
    ensure!(job(&["pause", &id])? == "STOPPED");
    ensure!(job(&["list"])?.contains("STOPPED"));
    sleep(Duration::from_millis(500));
    let there = size();
    sleep(Duration::from_secs(2));
    ensure!(size() == there, "it wrote {} bytes while it was paused", size() - there);
    ensure!(there < fs::metadata(straight.path("dead_letters.jsonl"))?.len(), "the job was over before it was paused");
    ensure!(job(&["resume", &id])? == "RUNNING");
    ensure!(job(&["wait", &id])? == "DONE", "{}", server.log());
    run.same_as(&straight.results()?)?;
    let late = Run::thalweg()?.args(["job", "pause", &id, "--server"]).arg(server.endpoint()).end()?;
    ensure!(late.code != Some(0) && late.err.contains("JOB_NOT_RUNNING"), "{late}");
    Ok(())
}
