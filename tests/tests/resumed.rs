//! Python jobs whose server is killed, and which are run again on another server with the same state directory.

use acceptance::child::Running;
use acceptance::python::{answer, program};
use acceptance::server::Server;
use acceptance::watchdog;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::fs;
use std::path::Path;

/// How far the counting had come, each time that it said so.
fn counted(folder: &Path) -> Vec<u64> {
    let text = fs::read_to_string(folder.join("at")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Kills the server of a job in its midst, as often as there are shards named, and has it run to its end at last.
fn killed_and_run_again(name: &str, shards: &[&str]) -> Result<()> {
    let folder = watchdog::folder(name)?;
    let state = folder.join("state");
    let state = state.to_str().context("a path of text")?;
    let (last, killed) = shards.split_last().context("no server")?;
    for (i, shards) in killed.iter().enumerate() {
        let server = Server::start(&["serve", "--shards", shards, "--state-dir", state])?;
        let mut client = program("resumed_job.py")?.arg(server.endpoint()).arg(&folder).start()?;
        client.until("it counts", |_: &Running| Ok(counted(&folder).len() >= 8 * (i + 1)))?;
        server.kill()?;
        client.kill()?;
    }
    let before = counted(&folder).len();
    let server = Server::start(&["serve", "--shards", last, "--state-dir", state])?;
    let ended = program("resumed_job.py")?.arg(server.endpoint()).arg(&folder).ok()?;
    ensure!(answer(&ended.out)? == json!(["DONE", []]), "{ended}\n{}", server.log());
    let first = counted(&folder).get(before).copied().context("it counted nothing")?;
    ensure!(first > 10, "it began anew");
    server.stop().map(drop)
}

#[test]
fn state_timers_windows_and_restrictions_of_python_go_on_where_they_were() -> Result<()> {
    killed_and_run_again("resumed", &["1", "1"])
}

#[test]
fn so_they_do_on_another_number_of_shards_and_after_several_deaths() -> Result<()> {
    killed_and_run_again("resumed-shards", &["4", "2", "3"])
}
