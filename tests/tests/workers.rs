//! Python programs whose workers are processes of the server's machine, and the Job API as its stubs see it.

use acceptance::child::{Run, Running};
use acceptance::python::{answer, program};
use acceptance::server::Server;
use acceptance::watchdog;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::fs;
use std::path::Path;

const ALLOWED: [&str; 2] = ["serve", "--allow-process-workers"];

fn in_processes(server: &Server, folder: &Path, more: &[&str]) -> Result<Run> {
    Ok(program("process_worker.py")?.arg(server.endpoint()).arg(folder).args(more))
}

#[test]
fn a_worker_process_has_the_packages_of_the_requirements_file() -> Result<()> {
    let (server, folder) = (Server::start(&ALLOWED)?, watchdog::folder("process")?);
    let ended = in_processes(&server, &folder, &[])?.ok()?;
    ensure!(answer(&ended.out)? == json!(["DONE", 200, ["W0!", "W1!"]]), "{ended}\n{}", server.log());
    server.stop().map(drop)
}

#[test]
fn a_worker_process_that_is_killed_is_replaced_and_nothing_is_lost() -> Result<()> {
    let (server, folder) = (Server::start(&ALLOWED)?, watchdog::folder("process")?);
    let mut client = in_processes(&server, &folder, &["--slow", "--max_bundle_size=10"])?.start()?;
    let pid = folder.join("worker.pid");
    let worker = |_: &Running| Ok(fs::read_to_string(&pid).is_ok_and(|text| !text.is_empty()));
    client.until("a worker works", worker)?;
    let first = fs::read_to_string(&pid)?;
    Run::new("kill").args(["-9", first.trim()]).ok()?;
    let ended = client.wait()?;
    ensure!(answer(&ended.out)? == json!(["DONE", 200, ["W0!", "W1!"]]), "{ended}\n{}", server.log());
    ensure!(fs::read_to_string(&pid)? != first, "the killed worker has finished the job");
    server.stop().map(drop)
}

#[test]
fn a_server_that_does_not_allow_worker_processes_says_so_when_the_job_is_prepared() -> Result<()> {
    let folder = watchdog::folder("process")?;
    let ended = in_processes(Server::shared()?, &folder, &[])?.end()?;
    ensure!(ended.code == Some(1), "{ended}");
    for word in ["ENVIRONMENT_NOT_ALLOWED", "--allow-process-workers", "LOOPBACK"] {
        ensure!(ended.err.contains(word), "it does not mention {word}\n{ended}");
    }
    Ok(())
}

#[test]
fn the_job_service_answers_beams_stubs_and_drains_an_endless_job() -> Result<()> {
    let server = Server::shared()?;
    let ended = program("job_service.py")?.arg(server.endpoint()).ok()?;
    let told = answer(&ended.out)?;
    let text = |key: &str| told.get(key).cloned().with_context(|| format!("no {key}: {told}"));
    ensure!(text("state")? == json!("RUNNING") && text("masked")? == json!(true), "{told}");
    ensure!(text("pipeline")? == json!(true), "{told}");
    let options = ["bundle_retries", "job_name", "max_bundle_size", "sdk_worker_parallelism", "state_name"];
    ensure!(text("options")? == json!(options), "{told}");
    let states = ["STOPPED", "STARTING", "RUNNING", "DRAINING", "DRAINED"];
    ensure!(text("drain")? == json!("DRAINING") && text("states")? == json!(states), "{told}\n{}", server.log());
    Ok(())
}
