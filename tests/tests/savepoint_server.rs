//! Savepoints of a server's jobs, made while they run: what begins with one comes to the same results.

use acceptance::child::{Ended, Run};
use acceptance::flights::{Flights, repeated};
use acceptance::server::Server;
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

const PIPELINE: &str = "guest-examples/flights/pipeline.yaml";

/// Rows that a run has read, as it says.
fn read(ended: &Ended) -> Result<u64> {
    let line = ended.out.lines().find_map(|line| line.trim().strip_prefix("read "));
    let number =
        line.and_then(|line| line.split_whitespace().next()).with_context(|| format!("what was read: {ended}"))?;
    Ok(number.replace(',', "").parse()?)
}

#[test]
fn a_job_of_a_server_has_a_savepoint_from_which_a_run_comes_to_the_same_results() -> Result<()> {
    let input = repeated(44)?;
    let (run, straight) = (Flights::over(&input)?, Flights::over(&input)?);
    let whole = read(&straight.ok()?)?;
    let folder = watchdog::folder("saved")?;
    let (state, saved) = (folder.join("states"), folder.join("savepoint"));
    let server = Server::start(&["serve", "--epoch-ms", "20", "--state-dir", state.to_str().context("a path")?])?;
    let job = |args: &[&str]| Run::thalweg()?.arg("job").args(args).arg("--server").arg(server.endpoint()).end();
    let with_values = |command: Run| -> Result<Run> {
        let command = command.set("component", place::component("flights_parse")?).set("input", &input);
        Ok(command.set("output", &run.output))
    };
    let submit = Run::thalweg()?.args(["job", "submit", PIPELINE, "--name", "flights", "--server"]);
    let submitted = with_values(submit.arg(server.endpoint()))?.ok()?;
    let id = submitted.out.trim();
    let (dead, begun) = (run.path("dead_letters.jsonl"), Instant::now());
    while fs::metadata(&dead).map(|m| m.len()).unwrap_or_default() == 0 {
        ensure!(begun.elapsed() < Duration::from_secs(60), "it writes nothing\n{}", server.log());
        sleep(Duration::from_millis(2));
    }
    ensure!(job(&["pause", id])?.code == Some(0), "it was over before it could be paused");
    let url = format!("file://{}", saved.display());
    let strange = job(&["savepoint", id, "--to", "ftp://there/it"])?;
    ensure!(strange.code == Some(3) && strange.err.contains("SAVEPOINT_PLACE"), "{strange}");
    // topics of the embedded log are in a directory that jobs share
    let shares = folder.join("shares.yaml");
    let ends = "bootstrap_servers: embedded, format: STRING";
    let text = format!(
        "pipeline:\n  type: chain\n  transforms:\n  - {{type: ReadFromKafka, config: {{topic: in, {ends}}}}}\n  - {{type: WriteToKafka, config: {{topic: out, {ends}}}}}\n"
    );
    fs::write(&shares, text)?;
    let without_name = job(&["savepoint", id, "--to", &url, "--stop"])?;
    ensure!(without_name.err.contains("SAVEPOINT_NEVER"), "its state would go with it\n{without_name}");
    let made = job(&["savepoint", id, "--to", &url])?;
    ensure!(made.code == Some(0) && saved.join("SAVEPOINT.json").exists(), "{made}\n{}", server.log());
    let shares = shares.to_str().context("a path")?;
    let shared = job(&["submit", shares, "--from-savepoint", &url, "--option", "state_name=shared"])?;
    ensure!(shared.code == Some(3) && shared.err.contains("SAVEPOINT_NEVER"), "{shared}");
    ensure!(!state.join("named-shared").exists(), "a job that was refused has left something");
    job(&["resume", id])?;
    ensure!(job(&["wait", id])?.out.trim() == "DONE", "{}", server.log());
    run.same_as(&straight.results()?)?;
    // files are cut back to what they were, and written again
    let command = with_values(Run::thalweg()?.args(["run", PIPELINE, "--shards", "3", "--from-savepoint", &url]))?;
    let again = command.arg("--state-dir").arg(folder.join("new")).ok()?;
    let rest = read(&again)?;
    ensure!(
        rest > 0 && rest < whole,
        "it has read {rest} rows of {whole}: that is not what stands behind the savepoint\n{again}"
    );
    run.same_as(&straight.results()?)
}
