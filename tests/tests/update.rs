//! A pipeline that takes over the state of an earlier version of itself, in one process; what cannot be taken over is refused by name.

use acceptance::child::{Ended, Run, Signal};
use acceptance::flights::{Flights, repeated};
use acceptance::server::Server;
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Another sink, behind a function without state.
const MORE: &str = r#"
    - type: ExtractWindowingInfo
      name: AlsoWithWindow
      input: Delays
      config:
        fields: [window_end]

    - type: WriteToJson
      name: WriteAlso
      input: AlsoWithWindow
      config:
        path: "{{ output }}/also.jsonl"
"#;

/// The flights' pipeline, changed.
fn variant(name: &str, change: impl Fn(&str) -> String) -> Result<PathBuf> {
    let folder = watchdog::folder("variants")?.join(name);
    fs::create_dir_all(&folder)?;
    let file = folder.join("pipeline.yaml");
    let text = fs::read_to_string(place::file("guest-examples/flights/pipeline.yaml")).context("the pipeline")?;
    let changed = change(&text);
    ensure!(name == "same" || changed != text, "nothing is changed");
    fs::write(&file, changed)?;
    Ok(file)
}

/// What is refused, and the name that the refusal tells.
fn refused() -> Result<Vec<(PathBuf, &'static str)>> {
    Ok(vec![
        (variant("windows", |text| text.replace("size: 1h", "size: 2h"))?, "windows"),
        (
            variant("gone", |text| text.replace("name: Delays", "name: Late").replace("input: Delays", "input: Late"))?,
            "Delays",
        ),
        (variant("key", |text| text.replace("[carrier, origin]", "[carrier]"))?, "key"),
        (variant("source", |text| text.replace("ReadLines", "ReadRows"))?, "ReadLines"),
    ])
}

fn command(file: &Path, run: &Flights) -> Result<Run> {
    let command = Run::thalweg()?.arg("run").arg(file).set("component", place::component("flights_parse")?);
    let command = command.set("input", &run.input).set("output", &run.output).arg("--state-dir");
    Ok(command.arg(run.state.as_ref().context("a state directory")?).args(["--epoch-ms", "20"]))
}

/// Runs it until it has committed something more, and stops it.
fn for_a_while(command: Run, run: &Flights) -> Result<Ended> {
    let before = run.epoch();
    let mut running = command.start()?;
    if running.reaches("another commit", |_| Ok(run.epoch() > before + 1))? {
        running.signal(Signal::Terminate)?;
    }
    running.wait()
}

#[test]
fn a_file_that_changed_goes_on_with_the_state_and_one_that_lost_some_is_refused() -> Result<()> {
    let run = Flights::over(repeated(44)?)?.lasting();
    let (same, more) = (variant("same", str::to_owned)?, variant("more", |text| format!("{text}{MORE}"))?);
    let begun = for_a_while(command(&same, &run)?, &run)?;
    ensure!(begun.code == Some(130), "it was over before it could be stopped\n{begun}");
    let epoch = run.epoch();
    let other = command(&more, &run)?.end()?;
    ensure!(
        other.code == Some(3) && other.err.contains("STATE_OTHER_JOB") && other.err.contains("--update"),
        "{other}"
    );
    for (file, name) in refused()? {
        let ended = command(&file, &run)?.arg("--update").end()?;
        ensure!(
            ended.code == Some(3) && ended.err.contains("UPDATE_INCOMPATIBLE") && ended.err.contains(name),
            "{name}: {ended}"
        );
    }
    ensure!(run.epoch() == epoch, "a refusal has changed the state");
    let updated = for_a_while(command(&more, &run)?.arg("--update"), &run)?;
    ensure!(updated.code == Some(130), "it was over before it could be stopped\n{updated}");
    let old = command(&same, &run)?.end()?;
    ensure!(old.code == Some(3) && old.err.contains("STATE_OTHER_JOB"), "it is another pipeline now\n{old}");
    command(&same, &run)?.arg("--update").ok().context("updated back")?;
    let straight = Flights::over(&run.input)?;
    straight.ok()?;
    run.same_as(&straight.results()?)
}

#[test]
fn a_job_of_a_server_is_updated_while_it_runs_and_back() -> Result<()> {
    let input = repeated(44)?;
    let (run, straight) = (Flights::over(&input)?, Flights::over(&input)?);
    straight.ok()?;
    let state = watchdog::folder("updated")?.join("state");
    let server = Server::start(&["serve", "--epoch-ms", "20", "--state-dir", state.to_str().context("a path")?])?;
    let submit = |file: &Path, beside: &[&str]| -> Result<Ended> {
        let command = Run::thalweg()?.args(["job", "submit"]).arg(file).args(["--name", "flights"]).args(beside);
        let command = command.set("component", place::component("flights_parse")?).set("input", &input);
        command.set("output", &run.output).arg("--server").arg(server.endpoint()).end()
    };
    let job = |args: &[&str]| -> Result<String> {
        let ended = Run::thalweg()?.arg("job").args(args).arg("--server").arg(server.endpoint()).ok()?;
        Ok(ended.out.trim().to_owned())
    };
    let (same, more) = (variant("same", str::to_owned)?, variant("more", |text| format!("{text}{MORE}"))?);
    let nothing = submit(&more, &["--update"])?;
    ensure!(nothing.code != Some(0) && nothing.err.contains("UPDATE_NOTHING"), "{nothing}");
    let mut id = submit(&same, &["--option", "state_name=delays"])?.out.trim().to_owned();
    let dead = run.path("dead_letters.jsonl");
    let begun = Instant::now();
    while fs::metadata(&dead).map(|m| m.len()).unwrap_or_default() == 0 {
        ensure!(begun.elapsed() < Duration::from_secs(60), "it writes nothing\n{}", server.log());
        sleep(Duration::from_millis(2));
    }
    job(&["pause", &id])?; // so that it is not over before it is updated
    for (file, name) in refused()? {
        let ended = submit(&file, &["--update"])?;
        ensure!(
            ended.code != Some(0) && ended.err.contains("UPDATE_INCOMPATIBLE") && ended.err.contains(name),
            "{name}: {ended}"
        );
    }
    ensure!(job(&["list"])?.contains("STOPPED"), "a refusal has changed the job");
    for file in [&more, &same] {
        let updated = submit(file, &["--update"])?;
        ensure!(updated.code == Some(0), "{updated}\n{}", server.log());
        id = updated.out.trim().to_owned();
        if file == &more {
            job(&["pause", &id])?;
        }
    }
    ensure!(job(&["wait", &id])? == "DONE", "{}", server.log());
    ensure!(job(&["list"])?.matches("UPDATED").count() == 2);
    run.same_as(&straight.results()?)
}
