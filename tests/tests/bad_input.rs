//! What is wrong with input, pipeline or component is said once, clearly, with a stable code and what to do, and the exit code
//! tells whose turn it is: 3 mend the configuration, 1 the job failed.

use acceptance::child::{Ended, Run};
use acceptance::diagnosis::{sole, sole_with};
use acceptance::flights::{Flights, repeated};
use acceptance::lines::Lines;
use acceptance::server::free_port;
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// Runs a pipeline file.
fn run(yaml: &str) -> Result<Ended> {
    let path = write("pipeline.yaml", yaml)?;
    Run::thalweg()?.arg("run").arg(path).end()
}

fn write(name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
    let path = watchdog::folder("bad")?.join(name);
    fs::write(&path, content)?;
    Ok(path)
}

/// Runs part 1 of the flights with another component.
fn with_component(component: &Path) -> Result<Ended> {
    let flights = Flights::over(place::january())?;
    flights.command()?.set("component", component).end()
}

#[test]
fn input_that_cannot_be_read_is_named() -> Result<()> {
    let ended = Flights::over("no/such/rows.csv")?.command()?.end()?;
    sole_with(&ended, 3, "FILE_UNREADABLE", &["no/such/rows.csv"])?;
    let folder = watchdog::folder("not-a-file")?;
    let ended = Flights::over(&folder)?.command()?.end()?;
    sole_with(&ended, 3, "FILE_UNREADABLE", &["not-a-file", "regular file"]).map(drop)
}

#[test]
fn output_that_cannot_be_written_is_named() -> Result<()> {
    let mut flights = Flights::over(place::january())?;
    flights.output = write("a-file", "in the way")?;
    let diagnosis = sole(&flights.command()?.end()?, 3, "FILE_UNWRITABLE")?;
    ensure!(diagnosis.message.contains("a-file"), "{}", diagnosis.message);
    Ok(())
}

#[test]
fn yaml_that_is_none_has_its_line_and_column() -> Result<()> {
    let ended = run("pipeline:\n  transforms:\n    - type: Create\n   - type: [\n")?;
    let diagnosis = sole(&ended, 3, "YAML_SYNTAX")?;
    let place = diagnosis.message.split("pipeline.yaml:").nth(1).context("the file is not named")?;
    let mut numbers = place.split(':').map(|n| n.trim().parse::<u32>());
    let line = numbers.next().context("no line")??;
    numbers.next().context("no column")??;
    ensure!((3..=5).contains(&line), "the line is {line}\n{ended}");
    Ok(())
}

#[test]
fn a_transform_that_does_not_exist_is_placed_and_the_nearest_name_is_offered() -> Result<()> {
    let ended = run("pipeline:\n  type: chain\n  transforms:\n    - type: ReadFromTxt\n      config: {path: a}\n")?;
    sole_with(&ended, 3, "YAML_UNKNOWN_TRANSFORM", &["pipeline.yaml:4:", "`ReadFromTxt`", "`ReadFromText`"])?;
    let ended = run("pipeline:\n  transforms:\n    - type: ReadFromText\n      config: {pth: a}\n")?;
    sole_with(&ended, 3, "YAML_UNKNOWN_KEY", &["pipeline.yaml:4:", "`pth`", "`path`"]).map(drop)
}

#[test]
fn a_file_that_is_no_component_of_ours_is_refused_before_anything_runs() -> Result<()> {
    let other = r#"(component
        (core module $m (func (export "run")))
        (core instance $i (instantiate $m))
        (func (export "run") (canon lift (core func $i "run"))))"#;
    let greedy = r#"(component
        (import "wasi:cli/environment@0.3.0" (instance (export "get-arguments" (func (result (list string)))))))"#;
    for (name, content, code, exit) in [
        ("another-world.wasm", wat::parse_str(other)?, "WASM_WRONG_WORLD", 3),
        ("wants-more.wasm", wat::parse_str(greedy)?, "WASM_FORBIDDEN_IMPORT", 3),
        ("core-module.wasm", wat::parse_str("(module)")?, "WASM_CORE_MODULE", 3),
        ("no-wasm.wasm", b"#!/bin/sh\n".to_vec(), "WASM_NOT_WASM", 3),
        ("torn.wasm", torn()?, "WASM_INVALID", 3),
    ] {
        let ended = with_component(&write(name, content)?)?;
        sole_with(&ended, exit, code, &[name])?;
    }
    let ended = with_component(Path::new("no/such/component.wasm"))?;
    sole_with(&ended, 3, "WASM_UNREADABLE", &["no/such/component.wasm"]).map(drop)
}

/// A component of which the second half is missing.
fn torn() -> Result<Vec<u8>> {
    let mut bytes = fs::read(place::component("flights_parse")?)?;
    bytes.truncate(bytes.len() / 2);
    Ok(bytes)
}

#[test]
fn a_function_that_the_component_lacks_is_named_with_those_it_has() -> Result<()> {
    let text = fs::read_to_string(place::file("guest-examples/flights/pipeline.yaml"))?;
    let path = write("pipeline.yaml", text.replace("function: parse", "function: prase"))?;
    let ended = Run::thalweg()?.arg("run").arg(path).set("component", place::component("flights_parse")?).end()?;
    sole_with(&ended, 3, "YAML_COMPONENT_FUNCTION", &["`prase`", "`parse`"]).map(drop)
}

/// Lines through a function of the hostile component, into a file.
struct Evil {
    yaml: PathBuf,
    folder: PathBuf,
}

impl Evil {
    fn new(function: &str, lines: &str) -> Result<Self> {
        let folder = watchdog::folder("evil")?;
        let (input, output) = (folder.join("input.txt"), folder.join("output.jsonl"));
        fs::write(&input, lines)?;
        let component = place::component("evil")?;
        let yaml = format!(
            "pipeline:\n  type: chain\n  transforms:\n    - type: ReadFromText\n      name: Lines\n      \
             config: {{path: '{}'}}\n    - type: Wasm\n      name: Attack\n      \
             config: {{component: '{}', function: {function}}}\n    - type: WriteToJson\n      config: {{path: '{}'}}\n",
            input.display(),
            component.display(),
            output.display(),
        );
        fs::write(folder.join("pipeline.yaml"), yaml)?;
        Ok(Self { yaml: folder.join("pipeline.yaml"), folder })
    }

    fn output(&self) -> PathBuf {
        self.folder.join("output.jsonl")
    }

    fn run(&self) -> Result<Ended> {
        let state = self.folder.join("state");
        Run::thalweg()?.arg("run").arg(&self.yaml).arg("--state-dir").arg(state).args(["--epoch-ms", "20"]).end()
    }
}

#[test]
fn a_trap_fails_the_job_with_the_guests_stack_and_keeps_what_was_committed() -> Result<()> {
    let rows = 200_000;
    let mut lines: String = (0..rows).map(|n| format!("line {n}\n")).collect();
    lines.push_str("trap\n");
    let evil = Evil::new("trap", &lines)?;
    let ended = evil.run()?;
    sole_with(&ended, 1, "WASM_TRAP", &["Attack", "fall"])?;
    let committed = Lines::read(&evil.output())?;
    ensure!(committed.count() > 0, "nothing was committed before the trap\n{ended}");
    // a good function in its place goes on where the bad one stopped; it splits what is left into words
    let yaml = fs::read_to_string(&evil.yaml)?;
    let good = yaml.replace("function: trap", "function: split");
    let components = [place::component("evil")?, place::component("bench_udfs")?].map(|c| c.display().to_string());
    let [bad, better] = &components;
    fs::write(&evil.yaml, good.replace(bad, better))?;
    let ended = evil.run()?;
    ensure!(ended.code == Some(0), "it should go on after {} lines\n{ended}", committed.count());
    let all = Lines::read(&evil.output())?;
    committed.part_of(&all, "the committed lines")?;
    let wanted = committed.count() + 2 * (rows - committed.count()) + 1;
    ensure!(all.count() == wanted, "{} lines instead of {wanted}, {} before", all.count(), committed.count());
    Ok(())
}

#[test]
fn an_endless_loop_in_a_guest_ends_within_its_deadline() -> Result<()> {
    let ended = Evil::new("endless_loop", "one\ntwo\n")?.run()?;
    sole_with(&ended, 1, "WASM_CPU_LIMIT", &["Attack"])?;
    // 5 s of CPU time a call; the call is retried
    ensure!(ended.took.as_secs() < 60, "it took {:?}", ended.took);
    Ok(())
}

#[test]
fn a_guest_that_takes_memory_without_end_is_stopped() -> Result<()> {
    let ended = Evil::new("memory_growth", "one\n")?.run()?;
    sole_with(&ended, 1, "WASM_MEMORY_LIMIT", &["Attack"]).map(drop)
}

#[test]
fn a_python_exception_reaches_the_program_with_traceback_and_transform() -> Result<()> {
    let ended = acceptance::python::program("failing_job.py")?.args(acceptance::python::as_prism()?).end()?;
    ensure!(ended.code == Some(1), "the program should fail\n{ended}");
    for words in
        ["ValueError: the number 3 is not for me", "Explode", "in explode", "failed in state FAILED", "UDF_FAILED"]
    {
        ensure!(ended.err.contains(words), "the program's error does not mention {words:?}\n{ended}");
    }
    Ok(())
}

#[test]
fn a_broker_that_is_not_there_is_named_in_time() -> Result<()> {
    let bootstrap = format!("127.0.0.1:{}", free_port()?);
    let ended = Run::thalweg()?
        .args(["run", "guest-examples/flights/pipeline-kafka.yaml"])
        .set("component", place::component("flights_parse")?)
        .set("bootstrap", &bootstrap)
        .end()?;
    sole_with(&ended, 1, "KAFKA_UNREACHABLE", &[&bootstrap])?;
    ensure!(ended.took.as_secs() < 60, "it took {:?}", ended.took);
    Ok(())
}

#[test]
fn a_state_directory_in_use_is_refused_and_the_first_run_is_not_disturbed() -> Result<()> {
    let first = Flights::over(repeated(11)?)?.lasting().with(&["--epoch-ms", "20"]);
    let mut running = first.command()?.start()?;
    running.until("the first commit", |_| Ok(first.epoch() > 0))?;
    let mut second = Flights::over(&first.input)?;
    second.state.clone_from(&first.state);
    sole(&second.command()?.end()?, 3, "STATE_LOCKED")?;
    let ended = running.wait()?;
    ensure!(ended.code == Some(0), "{ended}");
    Ok(())
}

#[test]
fn a_result_that_lost_committed_lines_is_not_passed_over() -> Result<()> {
    let run = Flights::over(place::january())?.lasting();
    run.ok()?;
    fs::write(run.path("hourly.jsonl"), "{}\n")?;
    sole_with(&run.command()?.end()?, 3, "FILE_CHANGED", &["hourly.jsonl", "committed"]).map(drop)
}

#[test]
fn a_state_directory_that_is_something_else_is_refused_and_not_touched() -> Result<()> {
    let mine = write("mine.txt", "my file\n")?;
    let folder = mine.parent().context("it has a folder")?;
    let to = watchdog::folder("copy")?.join("out.txt");
    for (dir, why) in [(mine.as_path(), "not a directory"), (folder, "mine.txt")] {
        let ended = copy(&place::january(), &to)?.arg("--state-dir").arg(dir).end()?;
        sole_with(&ended, 3, "STATE_NOT_OURS", &[why])?;
        let ended = Run::thalweg()?.args(["serve", "--port=0", "--state-dir"]).arg(dir).end()?;
        sole_with(&ended, 3, "STATE_NOT_OURS", &[why])?;
    }
    ensure!(fs::read_to_string(&mine)? == "my file\n" && fs::read_dir(folder)?.count() == 1, "something was touched");
    Ok(())
}

#[test]
fn a_source_that_changed_since_the_last_run_is_named_with_its_file_before_anything_runs() -> Result<()> {
    let rows = write("rows.csv", fs::read(repeated(22)?)?)?;
    let run = Flights::over(&rows)?.lasting().with(&["--epoch-ms", "20"]);
    let mut running = run.command()?.start()?;
    running.until("the first commit", |_| Ok(run.epoch() > 0))?;
    running.kill()?;
    fs::write(&rows, "short\n")?;
    let ended = run.command()?.end()?;
    sole_with(&ended, 3, "FILE_CHANGED", &["rows.csv", "in: ReadLines"]).map(drop)
}

#[test]
fn a_file_in_the_place_of_one_that_was_read_to_its_end_is_not_passed_over() -> Result<()> {
    let mut run = Flights::over(place::january())?.lasting();
    run.ok()?;
    run.input = write("rows.csv", fs::read(place::january())?)?;
    sole_with(&run.command()?.end()?, 3, "FILE_CHANGED", &["rows.csv", "in: ReadLines"]).map(drop)
}

#[test]
fn a_source_that_breaks_while_it_is_read_names_its_transform_and_file() -> Result<()> {
    let mut text = "line\n".repeat(50_000).into_bytes();
    text.extend(b"\xff\xfe\n");
    let ended = copy(&write("not-utf8.txt", text)?, &watchdog::folder("copy")?.join("out.txt"))?.end()?;
    sole_with(&ended, 1, "FILE_NOT_UTF8", &["not-utf8.txt", "in: ReadFromText"]).map(drop)
}

#[test]
fn kafka_properties_without_kafka_are_not_passed_over_in_silence() -> Result<()> {
    let ended = copy(&place::january(), &watchdog::folder("copy")?.join("out.txt"))?.args(["-X", "acks=all"]).ok()?;
    ensure!(ended.err.contains("-X") && ended.err.contains("no effect"), "nothing was said\n{ended}");
    Ok(())
}

#[test]
fn aliases_without_end_are_one_clear_error() -> Result<()> {
    let mut yaml = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        yaml.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 10].join(", ")));
    }
    yaml.push_str("pipeline: {type: chain, transforms: [{type: Create, config: {elements: *j}}]}\n");
    sole_with(&run(&yaml)?, 3, "YAML_TOO_LARGE", &["pipeline.yaml:"]).map(drop)
}

/// A pipeline that copies lines from one file to another.
fn copy(from: &Path, to: &Path) -> Result<Run> {
    let yaml = format!(
        "pipeline:\n  type: chain\n  transforms:\n    - {{type: ReadFromText, config: {{path: '{}'}}}}\n    \
         - {{type: WriteToText, config: {{path: '{}'}}}}\n",
        from.display(),
        to.display()
    );
    Ok(Run::thalweg()?.arg("run").arg(write("copy.yaml", yaml)?))
}

#[test]
fn a_state_directory_of_another_pipeline_is_refused_before_any_file_is_touched() -> Result<()> {
    let run = Flights::over(place::january())?.lasting();
    run.ok()?;
    let before = run.results()?;
    let kept = write("kept.txt", "what was there\n")?;
    let state = run.state.clone().unwrap_or_default();
    let ended = copy(&place::january(), &kept)?.arg("--state-dir").arg(state).end()?;
    sole(&ended, 3, "STATE_OTHER_JOB")?;
    ensure!(fs::read_to_string(kept)? == "what was there\n", "the refused job emptied a file\n{ended}");
    run.same_as(&before)?;
    run.ok().map(drop)
}

#[test]
fn a_pipeline_that_would_write_over_its_input_is_refused_and_the_input_is_whole() -> Result<()> {
    let lines = write("lines.txt", "one\ntwo\n")?;
    let ended = copy(&lines, &lines)?.end()?;
    sole_with(&ended, 3, "FILE_READ_AND_WRITTEN", &["lines.txt"])?;
    ensure!(fs::read_to_string(lines)? == "one\ntwo\n", "the input was changed\n{ended}");
    Ok(())
}
