//! Another version of a component's function in a job that runs: counts go on, what does not fit is refused, canaries have their keys,
//! what fails is rolled back, and what was deployed is there when the job is started again.

mod job;
mod trial;

use anyhow::{Context as _, Result, ensure};
use job::{Job, Outputs};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use thalweg::compose::deploy::Deploy;
use thalweg_wasm::{Terms, Verdict};

/// As the command line has it.
const TERMS: Terms = Terms { share: 1.0, failures_max: 0.01, bundles: 10_000 };

fn version(function: &str) -> Result<Deploy> {
    Ok(Deploy {
        transform: "Count".to_owned(),
        component: job::component()?,
        name: "versions.wasm".to_owned(),
        function: Some(function.to_owned()),
        config: None,
        terms: TERMS,
    })
}

#[test]
fn counts_go_on_and_the_output_changes_behind_the_epoch() -> Result<()> {
    for shards in [1, 4] {
        let job = Job::start("one", shards, None)?;
        job.feed(["a", "b", "a"]);
        job.gives(["a 1 one", "a 2 one", "b 1 one"])?;
        let epoch = job.deployments.deploy(&version("two")?)?;
        ensure!(epoch.0 > 0, "it runs behind an epoch");
        job.feed(["b", "a", "c"]);
        job.gives(["a 3 two", "b 2 two", "c 1 two"])?;
        // and back, as another deployment
        job.deployments.deploy(&version("one")?)?;
        job.feed(["a"]);
        job.gives(["a 4 one"])?;
        job.end()?;
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_with_both_sides_and_the_job_goes_on() -> Result<()> {
    let job = Job::start("one", 2, None)?;
    job.feed(["a"]);
    job.gives(["a 1 one"])?;
    job.deployments.deploy(&version("two")?)?;
    job.feed(["a"]);
    job.gives(["a 2 two"])?;
    let refused = |deploy: &Deploy| job.deployments.deploy(deploy).err().map(|e| (e.code, e.message));
    let (code, message) = refused(&version("texts")?).unwrap_or_default();
    assert_eq!(code, "DEPLOY_INCOMPATIBLE");
    assert!(message.contains("whole numbers") && message.contains("texts") && message.contains("`n`"), "{message}");
    let code = |deploy: Deploy| refused(&deploy).unwrap_or_default().0;
    assert_eq!(code(version("plain")?), "DEPLOY_INCOMPATIBLE");
    assert_eq!(code(Deploy { transform: "Other".to_owned(), ..version("two")? }), "DEPLOY_UNKNOWN");
    assert_eq!(code(Deploy { function: Some("nobody".to_owned()), ..version("two")? }), "WASM_NO_FUNCTION");
    assert_eq!(code(Deploy { component: b"no component".to_vec(), ..version("two")? }), "WASM_NOT_WASM");
    assert_eq!(code(Deploy { config: Some("bad".into()), ..version("one")? }), "WASM_REFUSED");
    let canary = Terms { share: 0.5, ..TERMS };
    assert_eq!(code(Deploy { terms: canary, ..version("more")? }), "DEPLOY_CANARY");
    job.feed(["a"]);
    job.gives(["a 3 two"])?;
    job.end()
}

#[test]
fn a_canary_has_its_share_of_the_keys_and_keeps_them() -> Result<()> {
    let job = Job::start("one", 2, None)?;
    let keys: Vec<String> = (0..200).map(|n| format!("k{n}")).collect();
    let round = |n: usize| -> Result<BTreeMap<String, String>> {
        job.feed(keys.iter().map(String::as_str));
        let outputs = job.next(keys.len())?;
        ensure!(outputs.iter().all(|(_, count, _)| *count == n), "a key was not counted on: {outputs:?}");
        Ok(outputs.into_iter().map(|(key, _, version)| (key, version)).collect())
    };
    round(1)?;
    job.deployments.deploy(&Deploy { terms: Terms { share: 0.25, ..TERMS }, ..version("two")? })?;
    let second = round(2)?;
    let canaries = second.values().filter(|version| *version == "two").count();
    ensure!((25..75).contains(&canaries), "{canaries} of 200 keys");
    assert_eq!(round(3)?, second, "a key stays with its version");
    job.deployments.deploy(&version("two")?)?;
    assert!(round(4)?.values().all(|version| version == "two"));
    job.end()
}

#[test]
fn a_canary_is_rolled_back_on_request_and_state_stays() -> Result<()> {
    let job = Job::start("one", 1, None)?;
    assert_eq!(job.deployments.roll_back("Count").err().map(|e| e.code), Some("DEPLOY_UNKNOWN"));
    job.feed(["a", "b"]);
    job.next(2)?;
    job.deployments.deploy(&Deploy { terms: Terms { share: 0.999, ..TERMS }, ..version("two")? })?;
    job.feed(["a", "b"]);
    job.gives(["a 2 two", "b 2 two"])?;
    job.deployments.roll_back("Count")?;
    job.feed(["a", "b"]);
    job.gives(["a 3 one", "b 3 one"])?;
    job.end()
}

#[test]
fn a_version_that_traps_is_rolled_back_and_nothing_is_lost() -> Result<()> {
    let job = Job::start("one", 2, None)?;
    job.feed(["a"]);
    job.gives(["a 1 one"])?;
    job.deployments.deploy(&version("traps")?)?;
    let mut expected = Outputs::new();
    for n in 0..6 {
        let key = format!("k{n}");
        job.feed([key.as_str(), "a"]);
        expected.extend([(key, 1, "one".to_owned()), ("a".to_owned(), n + 2, "one".to_owned())]);
        job.is_at(&expected)?;
    }
    job.next(expected.len())?;
    let status = job.deployments.status();
    let trial = status[0].trial.as_ref().map(|(_, _, verdict, bundles, failed)| (*verdict, *bundles > 0, *failed > 1));
    assert_eq!(trial, Some((Verdict::RolledBack, true, true)));
    assert!(status[0].why.as_ref().is_some_and(|e| e.code() == "WASM_TRAP"), "{status:?}");
    job.deployments.deploy(&version("two")?)?;
    job.feed(["a"]);
    job.gives(["a 8 two"])?;
    job.end()
}

#[test]
fn a_version_may_keep_more_and_set_timers_also_after_a_restart() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let job = Job::start("one", 2, Some(dir.path()))?;
    job.feed(["a"]);
    job.gives(["a 1 one"])?;
    job.deployments.deploy(&version("more")?)?;
    job.feed(["a"]);
    job.gives(["a 2 more", "a @2 later"])?;
    job.stop()?;
    let job = Job::start("one", 4, Some(dir.path()))?;
    job.feed(["a"]);
    job.gives(["a 3 more", "a @3 later"])?;
    // what the first version does not know is nobody's
    assert_eq!(job.deployments.deploy(&version("two")?).err().map(|e| e.code), Some("DEPLOY_INCOMPATIBLE"));
    job.end()
}

#[test]
fn what_was_deployed_is_there_after_a_restart_and_what_was_rolled_back_is_not() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let job = Job::start("one", 2, Some(dir.path()))?;
    job.feed(["a"]);
    job.gives(["a 1 one"])?;
    job.deployments.deploy(&version("two")?)?;
    job.stop()?;
    let job = Job::start("one", 2, Some(dir.path()))?;
    job.feed(["a"]);
    job.gives(["a 2 two"])?;
    job.deployments.deploy(&Deploy { config: Some("three".into()), ..version("one")? })?;
    job.feed(["a"]);
    job.gives(["a 3 three"])?;
    job.deployments.roll_back("Count")?;
    job.stop()?;
    let job = Job::start("one", 2, Some(dir.path()))?;
    job.feed(["a"]);
    job.gives(["a 4 two"])?;
    job.stop()?;
    // whoever submits another version means that one
    let job = Job::start("one", 2, Some(dir.path()))?;
    job.deployments.deploy(&Deploy { terms: Terms { share: 0.9999, ..TERMS }, ..version("one")? })?;
    job.feed(["a"]);
    job.gives(["a 5 one"])?;
    job.stop()?;
    let job = Job::start("one", 2, Some(dir.path()))?;
    job.feed(["a"]);
    job.gives(["a 6 two"])?;
    job.end()
}

#[test]
fn a_function_without_keys_has_its_canary_by_bundles() -> Result<()> {
    let job = Job::start("plain", 1, None)?;
    job.feed(["a"]);
    job.texts(1)?;
    let two = Deploy { config: Some("2".into()), terms: Terms { share: 0.5, ..TERMS }, ..version("plain")? };
    job.deployments.deploy(&two)?;
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..60 {
        job.feed([format!("k{n}").as_str()]);
        for text in job.texts(1)? {
            *versions.entry(text.rsplit(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    ensure!(versions.len() == 2 && versions.values().all(|n| *n > 10), "{versions:?}");
    job.deployments.deploy(&Deploy { config: Some("traps".into()), ..version("plain")? })?;
    for n in 0..6 {
        job.feed([format!("t{n}").as_str()]);
        let texts = job.texts(1)?;
        ensure!(texts.iter().all(|text| text.ends_with("plain")), "{texts:?}");
    }
    job.end()
}

/// Where a killed job has its state; set for the process that is killed.
const KILLED_IN: &str = "THALWEG_TEST_KILLED_IN";

#[test]
fn a_job_that_is_killed_goes_on_with_the_version_that_was_deployed() -> Result<()> {
    if let Some(dir) = std::env::var_os(KILLED_IN) {
        return deploys_and_waits(dir.as_ref());
    }
    let dir = tempfile::tempdir()?;
    let name = "a_job_that_is_killed_goes_on_with_the_version_that_was_deployed";
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", name, "--nocapture"])
        .env(KILLED_IN, dir.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let deployed = lines.map_while(std::io::Result::ok).any(|line| line.contains("it runs"));
    child.kill()?; // SIGKILL: nothing is tidied up
    child.wait()?;
    ensure!(deployed, "the child deployed nothing");
    let job = Job::start("one", 2, Some(dir.path()))?;
    job.feed(["a"]);
    job.gives(["a 2 two"])?;
    job.end()
}

/// The process that is killed: deploys, says so, and stays.
fn deploys_and_waits(dir: &Path) -> Result<()> {
    let job = Job::start("one", 2, Some(dir))?;
    job.feed(["a"]);
    job.gives(["a 1 one"])?;
    job.deployments.deploy(&version("two")?)?;
    println!("\nit runs");
    std::thread::sleep(Duration::from_secs(120));
    job.end()
}
