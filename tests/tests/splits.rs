//! Splittable functions in Python: split while they run, endless ones with live metrics, truncated by a drain.

use acceptance::python::{answer, program};
use acceptance::server::Server;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

fn splits(args: &[&str], what: &str) -> Result<Value> {
    let server = Server::start(args)?;
    let ended = program("splits_job.py")?.arg(server.endpoint()).args([what, "--streaming"]).ok()?;
    server.stop()?;
    answer(&ended.out)
}

#[test]
fn a_slow_restriction_is_split_while_it_runs_and_nothing_is_lost_or_doubled() -> Result<()> {
    let told = splits(&["serve", "--shards", "2"], "slow")?;
    let parts = told.get("parts").and_then(Value::as_u64).context("no parts")?;
    ensure!(told.get("right") == Some(&json!(1)), "{told}");
    ensure!(parts > 1, "it was never split: {told}");
    let seconds = told.get("seconds").and_then(Value::as_f64).context("no time")?;
    ensure!(seconds < 40.0 * 0.25 + 5.0, "{told}");
    Ok(())
}

#[test]
fn an_endless_restriction_has_live_and_committed_metrics_and_is_truncated_by_a_drain() -> Result<()> {
    for shards in ["1", "4"] {
        let told = splits(&["serve", "--shards", shards], "endless")?;
        ensure!(told == json!({"live": true, "lasting": true, "all": true, "state": "DRAINED"}), "{told}");
    }
    Ok(())
}
