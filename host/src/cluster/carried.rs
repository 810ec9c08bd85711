//! The components of a job, which go with it to every process: a file need only be where the job is submitted.
//!
//! In: the components that a pipeline names by path, as they are when it is submitted, and versions of them that a savepoint has. Out: the same ones in every process
//! that takes part, also in one that starts when the files have long changed. They stand among the cluster's artifacts, once for all jobs that
//! run at the same time, as long as one of these does.

use super::Inner;
use super::artifacts::key;
use super::holders::{Verdict, stale};
use super::order::{Carried, Run, Version};
use crate::compose::deploy::Saved;
use crate::compose::{Composer, pinned};
use std::collections::BTreeMap;
use std::path::PathBuf;
use thalweg_beam::job::{JobOptions, JobReporter};
use thalweg_core::error::{Error, Result};
use thalweg_wasm::Digest;

/// Whose artifacts a job may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// Those of every job that runs.
    All,
    /// Those that it uses already.
    Own,
}

impl Inner {
    /// The composer for a job, with the components it was submitted with, and its options.
    ///
    /// # Errors
    /// `CLUSTER_TOPIC` when one is not there any more, `KAFKA_UNREACHABLE`, and what is wrong with a component.
    pub(super) fn composer_of(&self, run: &Run) -> Result<Composer> {
        let brought = run.carried().map(|carried| Ok((PathBuf::from(&carried.path), self.fetched(carried)?)));
        let brought = brought.collect::<Result<_>>()?;
        self.composer.with_components(brought)?.with_options(&JobOptions::new(run.options.clone().unwrap_or_default()))
    }

    /// A component that goes with a job.
    ///
    /// # Errors
    /// `CLUSTER_TOPIC`, `CLUSTER_RECORD`, `KAFKA_UNREACHABLE`.
    pub(super) fn fetched(&self, carried: &Carried) -> Result<Vec<u8>> {
        let is = |bytes: &[u8]| pinned(&Digest::of(bytes)) == carried.digest;
        // as usual the file is still here, too
        if let Some(bytes) = std::fs::read(&carried.path).ok().filter(|bytes| is(bytes)) {
            return Ok(bytes);
        }
        let under = if carried.key.is_empty() { &carried.digest } else { &carried.key };
        let bytes = self.journal.wait().get(under, carried.at)?.to_vec();
        if !is(&bytes) {
            let what = format!("what stands for the component {} among the artifacts is another", carried.path);
            return Err(Error::external("CLUSTER_RECORD", what)
                .help("see who wrote the cluster's topics; submit the job again where its files are, as an update"));
        }
        Ok(bytes)
    }

    /// Orders a job to run, with the components that its composer has loaded and these versions in place of some. What other jobs have put among the artifacts is
    /// used again; should these end just now, the job has its own.
    ///
    /// # Errors
    /// `WASM_DIGEST` for a file that changed meanwhile, `CLUSTER_JOB_TOO_LARGE`, `KAFKA_RECORD_TOO_LARGE`, `KAFKA_UNREACHABLE`; `CLUSTER_STATE_IN_USE` and
    /// `CLUSTER_ORDER_STALE` when another order came first.
    pub(super) fn submit(
        &self,
        job: &str,
        run: &Run,
        (composer, versions): (&Composer, &[Saved]),
        reporter: JobReporter,
    ) -> Result<()> {
        self.state().submitted.insert(job.to_owned(), reporter);
        let order = |sharing| {
            let mut aside = Aside::new(self, job, sharing);
            let (components, deployed) = (aside.components(composer)?, aside.versions(versions)?);
            let run = Run { components, deployed, ..run.clone() };
            let verdict = self.order_to_run(job, run)?;
            if verdict == Verdict::Stale {
                aside.take_back();
            }
            Ok(verdict)
        };
        let ordered = order(Sharing::All)
            .and_then(|verdict| if verdict == Verdict::Lacks { order(Sharing::Own) } else { Ok(verdict) })
            .and_then(|verdict| if verdict == Verdict::Stale { Err(stale(run)) } else { Ok(()) });
        if ordered.is_err() {
            self.state().submitted.remove(job);
        }
        ordered
    }
}

/// Puts what goes with a job among the artifacts, unless it stands there already.
pub struct Aside<'a> {
    inner: &'a Inner,
    job: &'a str,
    sharing: Sharing,
    /// What was put there just now: under which key, and where, by digest.
    put: BTreeMap<String, (String, i64)>,
}

impl<'a> Aside<'a> {
    /// For a job that may use these artifacts.
    pub(super) fn new(inner: &'a Inner, job: &'a str, sharing: Sharing) -> Self {
        Self { inner, job, sharing, put: BTreeMap::new() }
    }

    /// A component of this path and digest.
    ///
    /// # Errors
    /// `KAFKA_RECORD_TOO_LARGE`, `KAFKA_UNREACHABLE`.
    pub fn put(&mut self, (path, digest): (String, String), bytes: &[u8]) -> Result<Carried> {
        if let Some((key, at)) = self.put.get(&digest).cloned().or_else(|| self.found(&digest)) {
            return Ok(Carried { path, digest, at, key });
        }
        let key = key(&digest, self.job);
        let at = self.inner.journal.wait().put(&key, bytes)?;
        self.put.insert(digest.clone(), (key.clone(), at));
        Ok(Carried { path, digest, at, key })
    }

    /// Takes away what was put there for a job that nobody takes up, so that nobody ever gives it up.
    fn take_back(&self) {
        for (key, _) in self.put.values() {
            if let Err(error) = self.inner.journal.wait().take_away(key) {
                tracing::warn!(artifact = key, %error, "an artifact of a job that did not begin stays");
            }
        }
    }

    fn found(&self, digest: &str) -> Option<(String, i64)> {
        let (state, all) = (self.inner.state(), self.sharing == Sharing::All);
        let may = |job: &str| job == self.job || all && state.jobs.get(job).is_some_and(|known| !known.over);
        state.artifacts.find(digest, may)
    }

    /// The components that a composer has loaded.
    fn components(&mut self, composer: &Composer) -> Result<Vec<Carried>> {
        let put = |(path, digest): (PathBuf, Digest)| {
            let digest = pinned(&digest);
            let bytes = std::fs::read(&path).unwrap_or_default();
            if pinned(&Digest::of(&bytes)) != digest {
                let what = format!("{} was changed while the job was submitted", path.display());
                return Err(Error::user("WASM_DIGEST", what).help("submit the job again"));
            }
            self.put((path.display().to_string(), digest), &bytes)
        };
        composer.components().opened().into_iter().map(put).collect()
    }

    fn versions(&mut self, versions: &[Saved]) -> Result<Vec<Version>> {
        let put = |saved: &Saved| {
            let component = Some(self.put((saved.path(), saved.digest.clone()), &saved.bytes)?);
            let (transform, function) = (saved.transform.clone(), saved.function.clone());
            let config = saved.config.as_ref().map(ToString::to_string).unwrap_or_default();
            Ok(Version { transform, component, function, config })
        };
        versions.iter().map(put).collect()
    }
}
