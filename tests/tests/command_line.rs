//! The command line as people and Beam's SDKs use it: exit codes, help, Prism's flags, logs.

use acceptance::child::{Run, Running, Signal};
use acceptance::flights::{Flights, repeated};
use acceptance::python::program;
use acceptance::server::{Server, free_port, listens};
use acceptance::{diagnosis, embedded, place};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn help_names_the_commands_and_their_options() -> Result<()> {
    for (args, words) in [
        (&["--help"][..], &["run", "serve", "plan", "udf", "bench"][..]),
        (&["run", "--help"], &["--set", "--state-dir", "--shards", "--epoch-ms"]),
        (&["serve", "--help"], &["port"]),
        (&["plan", "--help"], &["--set"]),
        (&["udf", "--help"], &["build", "inspect"]),
    ] {
        let ended = Run::thalweg()?.args(args).ok()?;
        for word in words {
            ensure!(ended.out.contains(word), "it does not mention {word}\n{ended}");
        }
    }
    let version = Run::thalweg()?.arg("--version").ok()?;
    ensure!(version.out.starts_with("thalweg 0."), "{version}");
    Ok(())
}

#[test]
fn wrong_usage_is_exit_code_2_and_is_explained() -> Result<()> {
    for args in
        [&["flow"][..], &["run"], &["run", "a.yaml", "--no-such-option"], &["run", "a.yaml", "--shards", "many"]]
    {
        let ended = Run::thalweg()?.args(args).end()?;
        ensure!(ended.code == Some(2), "exit code 2 was expected\n{ended}");
        ensure!(ended.err.contains("help") || ended.err.contains("Usage"), "it does not say what to do\n{ended}");
    }
    Ok(())
}

#[test]
fn a_log_level_that_is_none_is_exit_code_2_with_those_there_are() -> Result<()> {
    for args in [
        &["run", "a.yaml", "--log-level", "banana"][..],
        &["serve", "--log-level=banana"],
        &["--job_port=0", "--log_level=banana", "--serve_http=false"],
    ] {
        let ended = Run::thalweg()?.args(args).end()?;
        ensure!(ended.code == Some(2), "exit code 2 was expected\n{ended}");
        for word in ["banana", "trace", "debug", "info", "warn", "error"] {
            ensure!(ended.err.contains(word), "it does not mention {word}\n{ended}");
        }
    }
    Ok(())
}

#[test]
fn a_second_signal_ends_a_server_that_waits_for_its_jobs() -> Result<()> {
    let server = Server::start(&["serve"])?;
    let mut client = program("endless_job.py")?.args([&server.endpoint(), "wait"]).start()?;
    client.until("its job runs", |client| Ok(client.output().contains("RUNNING")))?;
    // a program that stands still does not answer when its worker is to stop
    client.signal(Signal::Stop)?;
    let begun = Instant::now();
    let ended = server.stop_twice()?;
    ensure!(ended.code == Some(130), "exit code 130 was expected\n{ended}");
    ensure!(begun.elapsed() < Duration::from_secs(5), "it took {:?}\n{ended}", begun.elapsed());
    Ok(())
}

#[test]
fn a_directory_that_is_no_crate_is_named() -> Result<()> {
    let ended = Run::thalweg()?.args(["udf", "build", "/no/such/crate"]).end()?;
    diagnosis::sole_with(&ended, 3, "UDF_BUILD", &["/no/such/crate", "there is no such directory"]).map(drop)
}

#[test]
fn one_shard_ends_its_epochs_however_busy_it_is() -> Result<()> {
    let run = Flights::over(repeated(22)?)?.lasting().with(&["--epoch-ms", "20", "--shards", "1"]);
    let ended = run.ok()?;
    // a commit takes a few milliseconds, so most of the run's time is epochs of about 20 ms
    let least = ended.took.as_millis() as u64 / 150;
    ensure!(run.epoch() >= least.max(4), "{} epochs\n{ended}", run.epoch());
    Ok(())
}

#[test]
fn a_pipeline_file_that_is_not_there_is_exit_code_3() -> Result<()> {
    for command in ["run", "plan"] {
        let ended = Run::thalweg()?.args([command, "no/such/pipeline.yaml"]).end()?;
        diagnosis::sole_with(&ended, 3, "CONFIG_UNREADABLE", &["no/such/pipeline.yaml"])?;
    }
    Ok(())
}

#[test]
fn a_plan_names_the_transforms_and_runs_nothing() -> Result<()> {
    let run = Flights::over("no/such/rows.csv")?;
    let plan = Run::thalweg()?
        .args(["plan", "guest-examples/flights/pipeline.yaml"])
        .set("component", place::component("flights_parse")?)
        .set("output", &run.output)
        .ok()?;
    for name in ["ReadLines", "Parse", "Hourly", "Delays", "WriteHourly", "WriteDeadLetters"] {
        ensure!(plan.out.contains(name), "the plan does not show {name}\n{plan}");
    }
    ensure!(!run.path("hourly.jsonl").exists(), "a plan wrote results");
    Ok(())
}

#[test]
fn inspect_shows_what_a_component_has_and_needs() -> Result<()> {
    let ended = Run::thalweg()?.args(["udf", "inspect"]).arg(place::component("flights_parse")?).ok()?;
    for words in ["sha256:", "function parse", "dead_letters", "dep_delay", "thalweg:udf/", "rust"] {
        ensure!(ended.out.contains(words), "it does not show {words}\n{ended}");
    }
    let ended = Run::thalweg()?.args(["udf", "inspect", "README.md"]).end()?;
    diagnosis::sole(&ended, 3, "WASM_NOT_WASM").map(drop)
}

/// A line of the shell, in which `$T` is the binary.
fn shell(line: &str) -> Result<Run> {
    Ok(Run::new("sh").env("T", place::binary()?).args(["-c", line]).limit(30))
}

#[test]
fn what_cannot_be_printed_is_told_and_exit_code_1() -> Result<()> {
    let component = place::component("flights_parse")?;
    for command in ["--json > /dev/full", "> /dev/full"] {
        let ended = shell(&format!("\"$T\" udf inspect {} {command}", component.display()))?.end()?;
        diagnosis::sole_with(&ended, 1, "OUTPUT_UNWRITABLE", &["standard output"])?;
    }
    // that nobody wants to read all of it is no error
    let ended = shell(&format!("\"$T\" udf inspect {} --json | head -1", component.display()))?.ok()?;
    ensure!(ended.err.is_empty(), "{ended}");
    Ok(())
}

#[test]
fn a_topic_that_is_followed_is_followed_no_longer_than_somebody_reads() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state");
    embedded::log(&state, &["create", "in"])?.ok()?;
    embedded::append(&state, "in", &["one".to_owned()])?;
    // nothing comes after the first record, so nothing is written to a pipe that is closed
    let tail = format!("\"$T\" log tail in --from earliest --follow --state-dir {} | head -1", state.display());
    let ended = shell(&tail)?.ok()?;
    ensure!(ended.out == "0:0  one\n" && ended.err.is_empty(), "{ended}");
    let tail = format!("\"$T\" log tail in --from earliest --follow --state-dir {} > /dev/full", state.display());
    let ended = shell(&tail)?.end()?;
    diagnosis::sole(&ended, 1, "OUTPUT_UNWRITABLE").map(drop)
}

#[test]
fn arguments_need_not_be_text() -> Result<()> {
    let odd = OsStr::from_bytes(b"no\xffsuch.yaml");
    let ended = Run::thalweg()?.arg("run").arg(odd).end()?;
    diagnosis::sole(&ended, 3, "CONFIG_UNREADABLE")?;
    for command in [&[][..], &["--job_port=0"], &["run", "a.yaml", "--set"]] {
        let ended = Run::thalweg()?.args(command).arg(odd).end()?;
        ensure!(ended.code == Some(2) && !ended.err.contains("panicked"), "exit code 2 was expected\n{ended}");
    }
    Ok(())
}

#[test]
fn what_is_no_file_is_not_waited_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let pipe = folder.path().join("pipe");
    Run::new("mkfifo").arg(&pipe).ok()?;
    for path in [Path::new("/dev/zero"), &pipe] {
        let ended = Run::thalweg()?.args(["udf", "inspect"]).arg(path).limit(30).end()?;
        diagnosis::sole_with(&ended, 3, "WASM_UNREADABLE", &["no regular file"])?;
    }
    Ok(())
}

#[test]
fn an_interrupted_run_is_exit_code_130_and_can_go_on() -> Result<()> {
    let run = Flights::over(repeated(22)?)?.lasting().with(&["--epoch-ms", "20"]);
    let mut running = run.command()?.start()?;
    running.until("the first commit", |_| Ok(run.epoch() > 0))?;
    running.signal(Signal::Interrupt)?;
    let ended = running.wait()?;
    ensure!(ended.code == Some(130), "exit code 130 was expected\n{ended}");
    run.ok()?;
    let straight = Flights::over(&run.input)?;
    straight.ok()?;
    run.same_as(&straight.results()?)
}

/// Starts a server with arguments that hold its port, and waits until it listens.
fn listening(args: &[String], port: u16) -> Result<Running> {
    let mut running = Run::thalweg()?.args(args).start()?;
    running.until("it listens", |_| Ok(listens(port)))?;
    Ok(running)
}

#[test]
fn prisms_flags_stand_joined_or_apart_and_unknown_ones_are_passed_over() -> Result<()> {
    let port = free_port()?.to_string();
    let lines = [
        format!("--job_port={port} --log_level=warn --log_kind=json --serve_http=false"),
        format!("--job_port {port} --log_level info --log_kind text --serve_http=false"),
        format!(
            "--serve_http=false --no_such_flag=secret --job_port {port} --log_level debug --other secret -X a.b=secret"
        ),
    ];
    for line in lines {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut running = listening(&args, port.parse()?).with_context(|| line.clone())?;
        running.signal(Signal::Terminate)?;
        let ended = running.wait()?;
        ensure!(ended.code == Some(0), "exit code 0 was expected\n{ended}");
        let log = format!("{}{}", ended.out, ended.err);
        ensure!(
            log.contains("--no_such_flag, --other") == line.contains("secret") && !log.contains("secret"),
            "{ended}"
        );
    }
    Ok(())
}

#[test]
fn json_logs_have_the_keys_that_beam_reads() -> Result<()> {
    let port = free_port()?;
    let line = format!("--job_port={port} --log_level=debug --log_kind=json --serve_http=false");
    let mut running = listening(&line.split(' ').map(str::to_owned).collect::<Vec<_>>(), port)?;
    running.signal(Signal::Terminate)?;
    let ended = running.wait()?;
    let log = format!("{}{}", ended.out, ended.err);
    ensure!(!log.is_empty(), "nothing was logged\n{ended}");
    for line in log.lines() {
        let record: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        let text = |key: &str| record.get(key).and_then(Value::as_str).with_context(|| format!("no {key}: {line}"));
        ensure!(["DEBUG", "INFO", "WARN", "ERROR"].contains(&text("level")?), "the level of {line}");
        ensure!(!text("msg")?.is_empty(), "no message: {line}");
        ensure!(text("time")?.contains('T'), "the time of {line}");
        let source = record.get("source").with_context(|| format!("no source: {line}"))?;
        for key in ["function", "file", "line"] {
            ensure!(source.get(key).is_some(), "no source.{key}: {line}");
        }
    }
    Ok(())
}
