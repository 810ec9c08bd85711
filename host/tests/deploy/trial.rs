//! A version on trial never fails its job: what it fails on is done by the old one at once, and nothing is left of what it did. And what is replaced is
//! the same version on every shard.

use super::job::{self, Job, Outputs};
use super::{TERMS, version};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::time::{Duration, Instant};
use thalweg::compose::deploy::{self, Deploy, Place};
use thalweg::compose::{ComponentStore, Settings};
use thalweg_wasm::{Limits, Terms, Verdict};

/// Longer than an output may be together with another such one.
const LONG: usize = 3000;

/// A version with a name that is so long that it gives no more than two outputs in a call.
fn long(function: &str) -> Result<Deploy> {
    Ok(Deploy { config: Some("x".repeat(LONG).into()), ..version(function)? })
}

/// Small calls, and epochs of this length.
fn settings(epoch_ms: i64) -> Settings {
    let wasm = Limits::default().output_bytes(2 * LONG + LONG / 2);
    Settings { shards: 1, epoch_ms, wasm, ..Settings::default() }
}

#[test]
fn a_version_on_trial_costs_a_bundle_no_attempt() -> Result<()> {
    let terms = Terms { failures_max: 0.5, ..TERMS };
    for (function, traps) in
        [("one", version("traps")?), ("plain", Deploy { config: Some("traps".into()), ..version("plain")? })]
    {
        // the first failure that counts is the end of the job
        let job = Job::run(function, settings(20), Some(1))?;
        job.deployments.deploy(&Deploy { terms, ..traps })?;
        let by_old = |text: &String| text.ends_with(function);
        for n in 0..20 {
            job.feed([format!("k{n}").as_str(), format!("l{n}").as_str()]);
            let texts = job.texts(2)?;
            ensure!(texts.iter().all(by_old), "{texts:?}");
        }
        let trial = job.deployments.status().remove(0).trial.context("no trial")?;
        ensure!(trial.2 == Verdict::Running && trial.4 > 0, "{trial:?}");
        job.end()?;
    }
    Ok(())
}

#[test]
fn nothing_is_left_of_what_a_version_did_in_a_bundle_that_it_failed() -> Result<()> {
    // each element is a call of its own
    let wasm = settings(20).wasm.frame_rows(1);
    let job = Job::run("one", Settings { wasm, ..settings(20) }, Some(1))?;
    job.deployments.deploy(&Deploy { terms: Terms { failures_max: 0.5, ..TERMS }, ..long("one")? })?;
    let key = "k".repeat(2 * LONG);
    let keys: Vec<String> = (0..20).map(|n| format!("a{n}")).collect();
    job.feed(keys.iter().chain(&keys).map(String::as_str).chain([key.as_str()]));
    let once_and_twice = keys.iter().flat_map(|key| [1, 2].map(|n| (key.clone(), n, "one".to_owned())));
    let wanted: Outputs = once_and_twice.chain([(key, 1, "one".to_owned())]).collect();
    job.is_at(&wanted)?;
    job.end()
}

#[test]
fn what_a_version_takes_the_place_of_is_not_rolled_back_under_it() -> Result<()> {
    let job = Job::run("plain", settings(1500), None)?;
    let named = |text: &str| text.rsplit(' ').next().unwrap_or_default().len();
    let (first, second) = ("plain".len(), "plain".len() + LONG);
    job.deployments.deploy(&Deploy { terms: Terms { failures_max: 0.0, ..TERMS }, ..long("plain")? })?;
    job.feed(["a"]);
    ensure!(named(&job.texts(1)?.remove(0)) == second, "the second version runs");
    let third = Deploy { config: Some("3".into()), ..version("plain")? };
    let deployments = job.deployments.clone();
    let deploying = std::thread::spawn(move || deployments.deploy(&third));
    let begun = Instant::now();
    let replaced = || job.deployments.status().iter().all(|s| s.trial.as_ref().is_some_and(|trial| trial.3 == 0));
    while !replaced() {
        ensure!(begun.elapsed() < Duration::from_secs(60), "{:?}", job.deployments.status());
        std::thread::sleep(Duration::from_millis(1));
    }
    // before the epoch ends, the second version fails, and the first does it
    job.feed(["a"; 10]);
    let texts = job.texts(10)?;
    ensure!(texts.iter().all(|text| named(text) == first), "{:?}", texts.iter().map(|t| named(t)).collect::<Vec<_>>());
    deploying.join().ok().context("a panic")??;
    job.feed(["a"]);
    ensure!(job.texts(1)?.remove(0).ends_with("plain3"), "the third version runs");
    job.deployments.roll_back("Count")?;
    job.feed(["a"]);
    ensure!(named(&job.texts(1)?.remove(0)) == second, "it was replaced, and is what stands behind the third");
    job.end()
}

#[test]
fn a_version_is_opened_with_its_configuration_before_it_is_ordered_to_run() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("versions.wasm");
    fs::write(&path, job::component()?)?;
    let (translation, components) = (job::pipeline(&path, "one")?, ComponentStore::new(None, Limits::default()));
    let component = components.open(&path)?;
    let place: Place = deploy::check(&translation, &components, "Count", &component, "")?;
    let opens = |config: &str| {
        let opened = deploy::opens(&translation, &components, &place, &component, Some(&config.into()));
        opened.err().map(|e| (e.code, e.transform))
    };
    assert_eq!(opens("good"), None);
    assert_eq!(opens("bad"), Some(("WASM_REFUSED", "Count".to_owned())));
    assert_eq!(deploy::whole_name(&translation, "Cou").err().map(|e| e.code), Some("DEPLOY_UNKNOWN"));
    assert_eq!(deploy::whole_name(&translation, "Count")?, "Count");
    Ok(())
}
