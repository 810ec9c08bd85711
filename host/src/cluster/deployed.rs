//! Other versions of functions for a job of the cluster.
//!
//! In: requests of the deployment service, at any process. Out: the same job in the journal again, with the version beside its pipeline. All processes read
//! of it at the same place: each has its partitions come to a last commit, keeps them, and goes on with the version, as for an update of the
//! pipeline. State belongs to the transform and stays. A canary would need two versions in one partition: those are for jobs of one process.

use super::carried::{Aside, Sharing};
use super::holders::{Verdict, stale};
use super::known::prepared;
use super::order::{Run, Version};
use super::{Cluster, Inner};
use crate::compose::deploy::Saved;
use crate::compose::{deploy, pinned};
use crate::jobs::deploy_config as config;
use std::collections::BTreeMap;
use thalweg_beam::deploy::{DeployRequest, Deployed, Deployer, RollBackRequest, StatusRequest};
use thalweg_beam::job::not_running;
use thalweg_beam::translate::Translation;
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{Plan, Shape, distribute};
use thalweg_core::port::store::CellWrite;
use thalweg_wasm::Digest;

const HELP: &str = "`thalweg job list` shows the jobs that run";
/// Versions that a job remembers, to go back to, beside those that run.
const VERSIONS_MAX: usize = 32;

impl Inner {
    /// The pipeline of a job, with the versions that were deployed.
    ///
    /// # Errors
    /// What is wrong with the pipeline.
    pub(super) fn translated(&self, id: &str, run: &Run) -> Result<Translation> {
        let mut translation = self.jobs.translate(&prepared(id, run))?;
        for version in &run.deployed {
            let config = config(&version.config)?;
            let path = version.component.as_ref().map(|component| component.path.clone()).unwrap_or_default();
            deploy::replace(&mut translation, &version.transform, &path, &version.function, config.as_ref())?;
        }
        Ok(translation)
    }

    /// The plan of a job as it is ordered, before it is divided.
    ///
    /// # Errors
    /// As for [`Inner::composer_of`], and what is wrong with the pipeline.
    pub(super) fn planned(&self, id: &str, run: &Run) -> Result<Plan> {
        self.composer_of(run)?.plan(&mut self.translated(id, run)?)
    }

    /// What a savepoint of a job has of the versions that were deployed: the last one of each transform.
    ///
    /// # Errors
    /// As for [`Inner::composer_of`].
    pub(super) fn stored_versions(&self, id: &str, run: &Run) -> Result<Vec<CellWrite>> {
        if run.deployed.is_empty() {
            return Ok(Vec::new());
        }
        let (translation, composer) = (self.jobs.translate(&prepared(id, run))?, self.composer_of(run)?);
        let last: BTreeMap<&str, &Version> = run.deployed.iter().map(|v| (v.transform.as_str(), v)).collect();
        let mut writes = Vec::new();
        for version in last.into_values() {
            let Some(carried) = &version.component else { continue };
            let saved = Saved {
                transform: version.transform.clone(),
                function: version.function.clone(),
                config: config(&version.config)?,
                digest: carried.digest.clone(),
                bytes: self.fetched(carried)?,
            };
            writes.extend(deploy::writes(&translation, composer.components(), &saved)?);
        }
        Ok(writes)
    }

    /// Has the job go on with other versions, if they can take over what it keeps: `old`, before it is divided. `run` is what these were added to, so
    /// of two that are given at once one does not undo the other.
    fn go_on_with(&self, id: &str, run: &Run, old: &Plan, deployed: Vec<Version>) -> Result<()> {
        let (revision, replaces, after) = (run.revision + 1, id.to_owned(), Some(id.to_owned()));
        let next = Run { deployed, revision, replaces, after, ..run.clone() };
        let shape = |plan: &Plan| Ok::<_, Error>(Shape::of(&distribute(plan)?));
        shape(&self.planned(id, &next)?)?.takes_over(&shape(old)?)?;
        match self.order_to_run(id, next.clone())? {
            Verdict::Holds => Ok(()),
            Verdict::Stale => Err(stale(&next)),
            // what it has used so far was given up
            Verdict::Lacks => Err(not_running(id, HELP)),
        }
    }
}

/// Keeps versions bounded: the oldest goes that another one of its transform has taken the place of. What runs always stays.
fn forget_oldest(deployed: &mut Vec<Version>) {
    let runs = |at: usize| {
        let mut later = deployed.iter().skip(at + 1);
        deployed.get(at).is_some_and(|version| later.all(|other| other.transform != version.transform))
    };
    if deployed.len() > VERSIONS_MAX
        && let Some(at) = (0..deployed.len()).find(|at| !runs(*at))
    {
        deployed.remove(at);
    }
}

/// Why a version stays that keeps what the one before does not know, in the words of who wanted to go back.
fn keeps_more(error: Error, transform: &str) -> Error {
    if error.code != "UPDATE_INCOMPATIBLE" {
        return error;
    }
    let lost = error.message.split_once(": ").map_or(error.message.as_str(), |(_, lost)| lost);
    let message = format!("the version before cannot take over what the running one keeps: {lost}");
    Error::user("DEPLOY_INCOMPATIBLE", message)
        .help("deploy a version that has this state or these timers and else does what the one before did")
        .in_transform(transform)
}

impl Deployer for Cluster {
    fn deploy(&self, request: DeployRequest) -> Result<u64> {
        let (inner, id) = (&self.0, request.job_id.as_str());
        if request.share < 1.0 {
            return Err(Error::user("DEPLOY_CANARY", "a job of a cluster has one version of a function for all keys")
                .help("leave --canary out; go back with --roll-back"));
        }
        let run = inner.going(id, HELP)?;
        let composer = inner.composer_of(&run)?;
        let mut translation = inner.translated(id, &run)?;
        let component = composer.components().from_bytes(&request.name, &request.component)?;
        let components = composer.components();
        let place = deploy::check(&translation, components, &request.transform, &component, &request.function)?;
        let opened_with = if request.config.is_empty() { place.config.clone() } else { request.config };
        // behind the order every process gives up what runs: what can be refused is refused before it
        deploy::opens(&translation, components, &place, &component, config(&opened_with)?.as_ref())?;
        let digest = pinned(&Digest::of(&request.component));
        let aside = (deploy::path_of(&digest), digest);
        let carried = Aside::new(inner, id, Sharing::Own).put(aside, &request.component)?;
        let version = Version {
            transform: place.transform,
            component: Some(carried),
            function: place.function,
            config: opened_with,
        };
        let mut deployed = run.deployed.clone();
        deployed.push(version);
        forget_oldest(&mut deployed);
        let old = composer.plan(&mut translation)?;
        inner.go_on_with(id, &run, &old, deployed).map(|()| 0)
    }

    fn roll_back(&self, request: RollBackRequest) -> Result<u64> {
        let (inner, id) = (&self.0, request.job_id.as_str());
        let run = inner.going(id, HELP)?;
        let transform = deploy::whole_name(&inner.translated(id, &run)?, &request.transform)?;
        let mut deployed = run.deployed.clone();
        let Some(last) = deployed.iter().rposition(|version| version.transform == transform) else {
            let message = format!("{transform:?} has no version that was deployed");
            return Err(Error::user("DEPLOY_UNKNOWN", message).help("deploy the version that is wanted"));
        };
        deployed.remove(last);
        let old = inner.planned(id, &run)?;
        inner.go_on_with(id, &run, &old, deployed).map(|()| 0).map_err(|error| keeps_more(error, &transform))
    }

    fn status(&self, request: StatusRequest) -> Result<Vec<Deployed>> {
        let run = self.0.going(&request.job_id, HELP)?;
        let composer = self.0.composer_of(&run)?;
        let running = deploy::running(&self.0.translated(&request.job_id, &run)?, composer.components())?;
        Ok(running.into_iter().map(|(transform, running)| Deployed { transform, running, trial: None }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_for_a_transform_is_not_forgotten_however_many_versions_others_get() {
        let version = |transform: &str, n: usize| Version {
            transform: transform.to_owned(),
            function: n.to_string(),
            ..Version::default()
        };
        let mut deployed = vec![version("once", 0)];
        for n in 0..2 * VERSIONS_MAX {
            deployed.push(version("often", n));
            forget_oldest(&mut deployed);
        }
        assert_eq!((deployed.len(), deployed[0].transform.as_str()), (VERSIONS_MAX, "once"));
        assert_eq!(deployed.last().map(|v| v.function.clone()), Some((2 * VERSIONS_MAX - 1).to_string()));
        let mut alone: Vec<Version> = (0..=VERSIONS_MAX).map(|n| version(&n.to_string(), n)).collect();
        forget_oldest(&mut alone);
        assert_eq!(alone.len(), VERSIONS_MAX + 1, "each of them runs");
    }
}
