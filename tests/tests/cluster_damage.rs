//! Damage to what a job on Kafka lives on: topics of its own that are deleted or written by others end it with an error that has a name, and what it
//! wrote so far is right; copies of its state are built again from the changelog.

use acceptance::broker::Broker;
use acceptance::cluster::{Counting, Member};
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// The job's own topic whose name ends or goes on so.
fn topic(broker: &Broker, job: &str, part: &str) -> Result<String> {
    let begin = format!("torture-{job}-{part}");
    broker.topics()?.into_iter().find(|name| name.starts_with(&begin)).with_context(|| format!("no topic {begin}"))
}

#[test]
fn a_job_that_loses_a_topic_of_its_own_fails_by_name_and_wrote_nothing_wrong() -> Result<()> {
    let broker = Broker::own()?;
    let mut member = Member::new(&broker, "one", &[])?;
    member.start()?;
    for part in ["members", "changelog", "exchange"] {
        let mut job = Counting::new(&broker, part, 20)?;
        let id = job.submit(&member)?;
        job.give(500)?;
        job.settle(SETTLED_WITHIN).with_context(|| format!("before {part} is deleted"))?;
        broker.delete(&[&topic(&broker, &id, part)?])?;
        let deleted = Instant::now();
        job.give(500)?;
        let said = member.failure(&id).with_context(|| format!("{part} is deleted"))?;
        println!("{part}: after {:.1} s: {said}", deleted.elapsed().as_secs_f64());
        let named = ["CLUSTER_TOPIC", "KAFKA_UNKNOWN_TOPIC", "KAFKA_OFFSET_LOST"];
        ensure!(named.iter().any(|code| said.contains(code)), "{part}: {said}");
        job.check().with_context(|| format!("after {part} was deleted"))?;
    }
    // nor does a stranger's record become an element
    let mut job = Counting::new(&broker, "foreign", 20)?;
    let id = job.submit(&member)?;
    job.give(500)?;
    job.settle(SETTLED_WITHIN)?;
    broker.produce(
        &topic(&broker, &id, "exchange")?,
        &[json!({"key": "k", "value": "not of this job", "partition": 2})],
    )?;
    let said = member.failure(&id)?;
    ensure!(said.contains("CLUSTER_RECORD"), "{said}");
    job.check().map(drop)
}

#[test]
fn a_strangers_record_in_the_changelog_is_no_state() -> Result<()> {
    let broker = Broker::own()?;
    let mut member = Member::new(&broker, "one", &[])?;
    member.start()?;
    let mut job = Counting::new(&broker, "stranger", 20)?;
    let id = job.submit(&member)?;
    job.give(500)?;
    job.settle(SETTLED_WITHIN)?;
    member.kill()?;
    broker.produce(
        &topic(&broker, &id, "changelog")?,
        &[json!({"key": "k", "value": "not of this job", "partition": 1})],
    )?;
    member.start()?;
    job.give(500)?;
    let said = member.failure(&id)?;
    ensure!(said.contains("CLUSTER_RECORD"), "{said}");
    job.check().map(drop)
}

/// All files below a folder.
fn files(below: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}

fn flip(file: &Path, at: impl Fn(usize) -> usize) -> Result<()> {
    let mut bytes = fs::read(file)?;
    let at = at(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 4;
    }
    Ok(fs::write(file, bytes)?)
}

#[test]
fn a_damaged_copy_of_the_state_is_built_again_from_the_changelog() -> Result<()> {
    let broker = Broker::own()?;
    let mut member = Member::new(&broker, "one", &[])?;
    member.start()?;
    let mut job = Counting::new(&broker, "copies", 200)?;
    let id = job.submit(&member)?;
    job.give(2000)?;
    job.settle(SETTLED_WITHIN)?;
    type Hurt = fn(&Path) -> Result<()>;
    let damages: [(&str, &str, Hurt); 7] = [
        ("the log's middle", ".log", |file| flip(file, |len| len / 2)),
        ("tables' beginnings", ".sst", |file| flip(file, |_| 20)),
        ("tables' ends", ".sst", |file| flip(file, |len| len.saturating_sub(10))),
        ("no tables", ".sst", |file| Ok(fs::remove_file(file)?)),
        ("no CURRENT", "CURRENT", |file| Ok(fs::remove_file(file)?)),
        ("a manifest that is cut", "MANIFEST", |file| Ok(fs::write(file, &fs::read(file)?[..40])?)),
        ("no version that can be read", "VERSION", |file| Ok(fs::write(file, "thalweg state\nlayout 99\n")?)),
    ];
    for (what, part, hurt) in damages {
        // the log of what it did so far becomes tables
        member.kill()?;
        member.start()?;
        job.give(50)?;
        job.settle(SETTLED_WITHIN)?;
        member.kill()?;
        let begun = Instant::now();
        let mut hit = 0;
        for file in files(&member.copies(&id))? {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(part) || name.starts_with(part) {
                hurt(&file).with_context(|| file.display().to_string())?;
                hit += 1;
            }
        }
        member.start()?;
        job.give(500)?;
        job.settle(SETTLED_WITHIN).with_context(|| format!("{what}: {hit} files\n{}", member.log()))?;
        let (anew, given_up) =
            (member.log().matches("is built anew").count(), member.log().matches("is given up").count());
        println!("{what}: {hit} files, {anew} built anew, {given_up} of them while in use, {:?}", begun.elapsed());
        ensure!(hit > 0, "{what}: nothing was hit");
    }
    member.job(&["drain", &id])?;
    ensure!(member.job(&["wait", &id])? == "DRAINED", "{}", member.log());
    job.check_minutes()
}
