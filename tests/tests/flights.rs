//! Part 1 of the flights example: what `thalweg run` writes equals the oracle's results, however it is run.

use acceptance::flights::Flights;
use acceptance::place;
use anyhow::{Result, ensure};
use std::fs;

#[test]
fn january_equals_the_oracle_on_one_shard_and_on_four() -> Result<()> {
    for shards in ["1", "4"] {
        let run = Flights::over(place::january())?.with(&["--shards", shards]);
        run.ok()?;
        run.equals_the_oracle()?;
    }
    Ok(())
}

#[test]
fn january_equals_the_oracle_in_every_language_on_one_shard_and_on_four() -> Result<()> {
    // in Rust the function is a component of its own
    for language in place::LANGUAGES.into_iter().filter(|language| !language.is_empty()) {
        let component = place::component(&format!("examples{language}"))?;
        for shards in ["1", "4"] {
            let set = format!("component={}", component.display());
            let run = Flights::over(place::january())?.with(&["--shards", shards, "--set", &set]);
            run.ok()?;
            run.equals_the_oracle()?;
        }
    }
    Ok(())
}

#[test]
fn january_equals_the_oracle_with_a_state_directory() -> Result<()> {
    let run = Flights::over(place::january())?.lasting();
    run.ok()?;
    ensure!(run.epoch() > 0, "no epoch was committed");
    run.equals_the_oracle()
}

#[test]
fn a_finished_job_that_is_run_again_writes_nothing_twice() -> Result<()> {
    let run = Flights::over(place::january())?.lasting();
    run.ok()?;
    let first = run.results()?;
    let again = run.ok()?;
    run.same_as(&first)?;
    run.equals_the_oracle()?;
    ensure!(again.err.contains("finished") || again.out.contains("finished"), "it does not say so\n{again}");
    Ok(())
}

#[test]
fn a_run_without_state_directory_begins_anew() -> Result<()> {
    let run = Flights::over(place::january())?;
    fs::write(run.path("hourly.jsonl"), "what an older run left\n")?;
    run.ok()?;
    run.equals_the_oracle()?;
    run.ok()?;
    run.equals_the_oracle()
}

#[test]
fn dirty_rows_become_dead_letters_and_the_job_succeeds() -> Result<()> {
    let run = Flights::over(place::file("guest-examples/flights/dirty.csv"))?;
    run.ok()?;
    let [_, dead] = run.results()?;
    ensure!(dead.count() > 50, "only {} dead letters", dead.count());
    run.equals_the_oracle()
}
