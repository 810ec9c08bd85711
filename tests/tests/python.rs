//! Stock Beam programs in Python on the binary: as Prism, and as a server that takes jobs of many programs.

use acceptance::child::{Run, Running};
use acceptance::flights::check;
use acceptance::lines::Lines;
use acceptance::python::{answer, as_prism, program};
use acceptance::server::Server;
use acceptance::{place, watchdog};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a server may take to stop while a job runs.
const GRACE: Duration = Duration::from_secs(15);

#[test]
fn wordcount_of_beams_examples_counts_right() -> Result<()> {
    let folder = watchdog::folder("wordcount")?;
    let text = place::file("LICENSE");
    Run::python()?
        .args(["-m", "apache_beam.examples.wordcount"])
        .args(as_prism()?)
        .arg("--an_option_nobody_knows=7")
        .arg(format!("--input={}", text.display()))
        .arg(format!("--output={}", folder.join("counts").display()))
        .ok()?;
    let mut counts = String::new();
    for entry in fs::read_dir(&folder)? {
        counts.push_str(&fs::read_to_string(entry?.path())?);
    }
    let wanted = count(&fs::read_to_string(text)?);
    Lines::of(&counts).same_as(&Lines::of(&wanted), "the counts of the words")
}

/// Words as the example takes them, `[\w']+`, each with its count.
fn count(text: &str) -> String {
    let mut words: BTreeMap<&str, u32> = BTreeMap::new();
    for word in text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '\'')).filter(|w| !w.is_empty()) {
        *words.entry(word).or_default() += 1;
    }
    words.iter().map(|(word, count)| format!("{word}: {count}\n")).collect()
}

/// Runs part 2 of the flights and compares what it wrote with the oracle.
fn part_two(input: &Path, runner: &[String]) -> Result<()> {
    let folder = watchdog::folder("models")?;
    Run::python()?
        .arg("guest-examples/flights/pipeline.py")
        .args(runner)
        .arg(format!("--input={}", input.display()))
        .arg(format!("--output={}", folder.display()))
        .arg(format!("--component={}", place::component("flights_parse")?.display()))
        .ok()?;
    check(input, &folder, &["models.jsonl", "dead_letters.jsonl"])
}

#[test]
fn part_two_of_the_flights_equals_the_oracle() -> Result<()> {
    part_two(&place::january(), &as_prism()?)
}

#[test]
fn part_two_on_dirty_rows_and_our_own_runner_class_equals_the_oracle() -> Result<()> {
    let binary = format!("--thalweg_binary={}", place::binary()?.display());
    let runner = ["--runner=thalweg.ThalwegRunner".to_owned(), binary];
    part_two(&place::file("guest-examples/flights/dirty.csv"), &runner)
}

#[test]
fn a_large_grouped_value_comes_page_by_page_and_may_be_read_again() -> Result<()> {
    let ended = program("large_value.py")?.arg("20").args(as_prism()?).ok()?;
    let answer = answer(&ended.out)?;
    let number = |name: &str| answer.get(name).and_then(serde_json::Value::as_u64).unwrap_or_default();
    let count = (20 << 20) / (1 << 16);
    ensure!((number("first"), number("second")) == (count, count), "{answer}");
    let check = count * (count - 1) / 2;
    ensure!((number("first_check"), number("second_check")) == (check, check), "{answer}");
    ensure!((number("small"), number("lists")) == (5, 0), "{answer}");
    Ok(())
}

#[test]
fn a_grouped_value_larger_than_the_memory_passes_through_a_python_worker() -> Result<()> {
    // the server may have less memory than the value has bytes, and the job none: what it has in a file is not in its memory
    let (megabytes, most) = (768_u64, 400_u64);
    let server = Server::start(&["serve"])?;
    let endpoint = format!("--job_endpoint={}", server.endpoint());
    let runner = ["--runner=PortableRunner", &endpoint, "--environment_type=LOOPBACK"];
    let ended = program("large_value.py")?.arg(megabytes.to_string()).args(runner).ok()?;
    let answer = answer(&ended.out)?;
    let count = (megabytes << 20) / (1 << 16);
    ensure!((answer["first"].as_u64(), answer["second"].as_u64()) == (Some(count), Some(count)), "{answer}\n{ended}");
    ensure!(answer["lists"].is_null() && answer["small"] == 5, "{answer}\n{ended}");
    let peak = server.peak_mib()?;
    ensure!(peak < most, "it took {peak} MiB to hand on a value of {megabytes} MiB");
    Ok(())
}

#[test]
fn a_hot_key_does_not_slow_the_others() -> Result<()> {
    let server = Server::shared()?;
    let endpoint = format!("--job_endpoint={}", server.endpoint());
    for windowed in [&[][..], &["windowed"]] {
        let seconds = |keys: &str| -> Result<f64> {
            let run = Run::python()?.arg("bench/hot_key.py").args(["1000000", keys]).args(windowed);
            let ended = run.args(["--runner=PortableRunner", &endpoint, "--environment_type=LOOPBACK"]).ok()?;
            let found = ended.out.split_whitespace().find_map(|pair| pair.strip_prefix("seconds="));
            Ok(found.unwrap_or_default().parse()?)
        };
        let (even, hot) = (seconds("even")?, seconds("hot")?);
        // the program itself compares the sums; on a busy machine a run may take twice as long as the same one before
        ensure!(hot < 2.0 * even + 2.0, "{windowed:?}: with a hot key {hot} s, without {even} s");
    }
    Ok(())
}

#[test]
fn several_jobs_at_once_on_one_server_keep_their_data_apart() -> Result<()> {
    let folder = watchdog::folder("several")?;
    let jobs = 3;
    let endpoint = Server::shared()?.endpoint();
    let ended = program("several_jobs.py")?.args([&endpoint, &jobs.to_string()]).arg(&folder).ok()?;
    ensure!(answer(&ended.out)? == serde_json::json!(["DONE", "DONE", "DONE"]), "not all are done\n{ended}");
    for job in 0..jobs {
        // numbers 100 * job to 100 * job + 99, summed by their rest of 7
        let mut sums = [0i64; 7];
        (100 * job..100 * job + 100).for_each(|n: i64| {
            if let Some(sum) = sums.get_mut((n % 7) as usize) {
                *sum += n;
            }
        });
        let wanted: String = sums.iter().enumerate().map(|(rest, sum)| format!("{job} {rest} {sum}\n")).collect();
        let found = Lines::read(&folder.join(format!("job-{job}")))?;
        found.same_as(&Lines::of(&wanted), &format!("job {job}"))?;
    }
    Ok(())
}

#[test]
fn a_job_that_is_cancelled_ends_as_cancelled() -> Result<()> {
    let server = Server::shared()?;
    let ended = program("endless_job.py")?.args([&server.endpoint(), "cancel"]).end()?;
    ensure!(ended.code == Some(0), "{ended}\n--- the server:\n{}", server.log());
    let answer = answer(&ended.out)?;
    ensure!(answer == serde_json::json!(["RUNNING", "CANCELLED"]), "its states were {answer}\n{ended}");
    Ok(())
}

#[test]
fn a_server_that_is_asked_to_stop_ends_in_time_while_a_job_runs() -> Result<()> {
    let server = Server::start(&["serve"])?;
    let mut client = program("endless_job.py")?.args([&server.endpoint(), "wait"]).start()?;
    runs(&mut client)?;
    let begun = Instant::now();
    let ended = server.stop()?;
    ensure!(begun.elapsed() < GRACE, "it took {:?} to stop\n{ended}", begun.elapsed());
    ensure!(ended.code == Some(0), "exit code 0 was expected\n{ended}");
    let client = client.wait()?;
    let answer = answer(&client.out)?;
    let last = answer.get(1).and_then(|state| state.as_str()).unwrap_or_default();
    ensure!(last != "DONE" && last != "RUNNING", "the program thinks that its job is {last}\n{client}");
    Ok(())
}

#[test]
fn a_slow_splittable_function_is_split_while_it_runs_and_nothing_is_lost_or_doubled() -> Result<()> {
    let server = Server::start(&["serve", "--shards=4"])?;
    let ended = program("splits_job.py")?.args([&server.endpoint(), "slow"]).ok()?;
    let answer = answer(&ended.out)?;
    ensure!(answer["right"] == 1, "a number is lost or doubled: {answer}\n{ended}");
    ensure!(answer["parts"].as_i64().is_some_and(|parts| parts >= 2), "it ran in one piece: {answer}\n{ended}");
    Ok(())
}

#[test]
fn an_endless_function_commits_shows_live_metrics_and_is_truncated_by_a_drain() -> Result<()> {
    let server = Server::start(&["serve", "--shards=4"])?;
    let ended = program("splits_job.py")?.args([&server.endpoint(), "endless"]).ok()?;
    let answer = answer(&ended.out)?;
    let wanted = serde_json::json!({"live": true, "lasting": true, "all": true, "state": "DRAINED"});
    ensure!(answer == wanted, "it ended as {answer}\n{ended}\n--- the server:\n{}", server.log());
    Ok(())
}

fn runs(client: &mut Running) -> Result<()> {
    client.until("its job runs", |client| Ok(client.output().contains("RUNNING")))
}

#[test]
fn words_are_taken_as_the_example_takes_them() {
    assert_eq!(count("a_b isn't-a (a)"), "a: 2\na_b: 1\nisn't: 1\n");
}
