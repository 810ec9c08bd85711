//! Bundles of Python that fail and are run again: stable input comes back as it was, and only what was committed is finalized.

use acceptance::python::{answer, program};
use acceptance::server::Server;
use acceptance::watchdog;
use anyhow::{Result, ensure};
use serde_json::{Value, json};

fn retried(name: &str, what: &str, server: &[&str]) -> Result<Value> {
    let folder = watchdog::folder(name)?;
    let server = Server::start(server)?;
    let ended = program("retried.py")?.arg(server.endpoint()).arg(&folder).arg(what).ok()?;
    server.stop()?;
    answer(&ended.out)
}

#[test]
fn stable_input_comes_back_as_it_was() -> Result<()> {
    for shards in ["1", "3"] {
        let told = retried("stable", "stable", &["serve", "--shards", shards])?;
        ensure!(told == json!({"state": "DONE", "retried": true, "same": true}), "{told}");
    }
    Ok(())
}

#[test]
fn a_bundle_is_finalized_once_and_only_if_it_was_committed() -> Result<()> {
    let told = retried("finalized", "finalized", &["serve"])?;
    ensure!(told == json!({"state": "DONE", "retried": true, "finalized": [0, 1, 2, 3, 4]}), "{told}");
    Ok(())
}
