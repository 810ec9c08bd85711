//! Which artifacts of the cluster are in use, and by which jobs.
//!
//! In: orders, in the order of the journal and nothing else, so that all processes come to the same whatever results they have read. Out: what another job may use as
//! well, and what may be deleted. When jobs have ended, some process orders that an artifact is *unused*, and names the jobs that are over. That holds unless an
//! order before it has yet another job use the artifact; and an order to run that uses what was given up before it does not hold: whoever submitted the job puts
//! its own there. An artifact stands under its digest and the job that put it there, so what is deleted is never what came in its place. Savepoints have
//! components of their own, and name none of these.

use super::holders::{HEARD_WITHIN, LOOK};
use super::order::{Carried, Run, Unused, What};
use super::{Inner, State};
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_core::error::Result;

/// All processes hear of the end of a job. Each waits this long and up to as long again before it gives up what the job used, so that one does it.
const FIRST_WAITS: Duration = Duration::from_secs(2);

/// Artifacts that are in use, by what they stand under.
#[derive(Debug, Default)]
pub struct Artifacts(BTreeMap<String, Artifact>);

#[derive(Debug)]
struct Artifact {
    digest: String,
    at: i64,
    jobs: BTreeSet<String>,
    /// This process is about to say that nobody uses it.
    given_up: bool,
}

/// What an artifact stands under that a job puts there.
pub fn key(digest: &str, job: &str) -> String {
    format!("{digest}/{job}")
}

/// Whether a job put an artifact there itself.
fn is_own(carried: &Carried, job: &str) -> bool {
    carried.key.split_once('/').is_some_and(|(_, owner)| owner == job)
}

/// The artifacts of a job that are looked after: those of early versions stand under their digests, for ever.
fn named(run: &Run) -> impl Iterator<Item = &Carried> {
    run.carried().filter(|carried| !carried.key.is_empty())
}

impl Artifacts {
    /// A job is ordered to run. Tells whether all that it uses is there; if not, nobody takes the order up.
    pub fn used(&mut self, job: &str, run: &Run) -> bool {
        if named(run).any(|carried| !is_own(carried, job) && !self.0.contains_key(&carried.key)) {
            return false;
        }
        for Carried { key, digest, at, .. } in named(run) {
            let new = || Artifact { digest: digest.clone(), at: *at, jobs: BTreeSet::new(), given_up: false };
            let artifact = self.0.entry(key.clone()).or_insert_with(new);
            artifact.given_up &= !artifact.jobs.insert(job.to_owned());
        }
        true
    }

    /// Where an artifact stands that one of such jobs uses.
    pub fn find(&self, digest: &str, is_such: impl Fn(&str) -> bool) -> Option<(String, i64)> {
        let mut all = self.0.iter();
        let found = all.find(|(_, known)| known.digest == digest && known.jobs.iter().any(|job| is_such(job)));
        found.map(|(key, known)| (key.clone(), known.at))
    }

    /// Artifacts that are used by jobs alone that are over, each told once.
    pub fn unused(&mut self, is_over: impl Fn(&str) -> bool) -> Vec<Unused> {
        let all = self.0.iter_mut().filter(|(_, known)| !known.given_up && known.jobs.iter().all(|job| is_over(job)));
        let tell = |(key, known): (&String, &mut Artifact)| {
            known.given_up = true;
            Unused { key: key.clone(), jobs: known.jobs.iter().cloned().collect() }
        };
        all.map(tell).collect()
    }

    /// It is ordered that an artifact is unused.
    pub fn give_up(&mut self, unused: &Unused) {
        if self.0.get(&unused.key).is_some_and(|known| known.jobs.iter().all(|job| unused.jobs.contains(job))) {
            self.0.remove(&unused.key);
        }
    }

    /// Whether an artifact is there.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
}

impl State {
    /// What can be given up by now. Nobody knows before all has been told.
    pub(super) fn unused(&mut self) -> Vec<Unused> {
        if !self.caught_up {
            return Vec::new();
        }
        let jobs = &self.jobs;
        self.artifacts.unused(|job| jobs.get(job).is_none_or(|known| known.ended))
    }
}

impl Inner {
    /// Gives up artifacts, on a thread of its own: the journal goes on. What is not given up is left to the next process that starts.
    pub(super) fn give_up_soon(self: &Arc<Self>, unused: Vec<Unused>) {
        if unused.is_empty() {
            return;
        }
        let this = Arc::clone(self);
        let give_up = move || {
            let odd = RandomState::new().hash_one(&this.config.process) % FIRST_WAITS.as_millis() as u64;
            std::thread::sleep(FIRST_WAITS + Duration::from_millis(odd));
            for unused in unused {
                if let Err(error) = this.give_up(&unused) {
                    tracing::warn!(artifact = unused.key, %error, "an artifact that no job uses stays for now");
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("job-artifacts".to_owned()).spawn(give_up) {
            tracing::error!(%error, "cannot start a thread for what jobs no longer use");
        }
    }

    fn give_up(&self, unused: &Unused) -> Result<()> {
        let is_there = || self.state().artifacts.has(&unused.key);
        if !is_there() {
            return Ok(()); // another process came first
        }
        self.order("", What::Unused(unused.clone()))?;
        let end = Instant::now() + HEARD_WITHIN;
        while is_there() {
            if Instant::now() > end {
                return Ok(()); // another job uses it
            }
            std::thread::sleep(LOOK);
        }
        self.journal.wait().take_away(&unused.key)?;
        tracing::info!(artifact = unused.key, "an artifact that no job uses is deleted");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(keys: &[String]) -> Run {
        let carried = |(at, key): (usize, &String)| Carried {
            digest: "d".to_owned(),
            key: key.clone(),
            at: at as i64,
            ..Carried::default()
        };
        Run { components: keys.iter().enumerate().map(carried).collect(), ..Run::default() }
    }

    fn unused(key: &str, jobs: &[&str]) -> Unused {
        Unused { key: key.to_owned(), jobs: jobs.iter().map(|job| (*job).to_owned()).collect() }
    }

    #[test]
    fn an_artifact_stays_as_long_as_one_of_its_jobs_lives() {
        let (mut artifacts, own) = (Artifacts::default(), key("d", "a"));
        assert!(artifacts.used("a", &run(std::slice::from_ref(&own))));
        assert_eq!(artifacts.find("d", |job| job == "a"), Some((own.clone(), 0)));
        assert_eq!(artifacts.find("d", |job| job == "b"), None, "of no job that runs");
        assert!(artifacts.used("b", &run(std::slice::from_ref(&own))));
        assert!(artifacts.unused(|job| job == "a").is_empty());
        let told = artifacts.unused(|_| true);
        assert_eq!(told, [unused(&own, &["a", "b"])]);
        assert!(artifacts.unused(|_| true).is_empty(), "it is told once");
        artifacts.give_up(&told[0]);
        assert!(!artifacts.has(&own) && artifacts.find("d", |_| true).is_none());
        artifacts.give_up(&told[0]); // by another process
    }

    #[test]
    fn of_a_job_and_who_gives_up_what_it_would_use_the_first_order_holds() {
        let (own, other) = (key("d", "a"), key("d", "b"));
        let after = |first: bool| {
            let mut artifacts = Artifacts::default();
            assert!(artifacts.used("a", &run(std::slice::from_ref(&own))));
            let told = artifacts.unused(|job| job == "a");
            if first {
                artifacts.give_up(&told[0]);
            }
            let held = artifacts.used("b", &run(std::slice::from_ref(&own)));
            if !first {
                artifacts.give_up(&told[0]);
            }
            (held, artifacts)
        };
        let (held, artifacts) = after(false);
        assert!(held && artifacts.has(&own), "it was ordered to use it before");
        let (held, mut artifacts) = after(true);
        assert!(!held && !artifacts.has(&own));
        assert!(artifacts.unused(|_| true).is_empty(), "what does not hold uses nothing");
        assert!(artifacts.used("b", &run(std::slice::from_ref(&other))), "its own is always there");
    }

    #[test]
    fn what_another_job_came_to_use_is_told_anew_and_early_versions_are_left_alone() {
        let (mut artifacts, own) = (Artifacts::default(), key("d", "a"));
        assert!(artifacts.used("a", &run(std::slice::from_ref(&own))));
        assert_eq!(artifacts.unused(|_| true).len(), 1);
        assert!(artifacts.used("b", &run(std::slice::from_ref(&own))));
        assert_eq!(artifacts.unused(|_| true), [unused(&own, &["a", "b"])]);
        assert!(artifacts.used("c", &run(&[String::new()])));
        assert!(!artifacts.has(""));
    }
}
