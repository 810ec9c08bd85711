//! Other versions of functions for a job of the cluster.
//!
//! In: requests of the deployment service, at any process. Out: the same job in the journal again, with the version beside its pipeline. All processes read
//! of it at the same place: each has its partitions come to a last commit, keeps them, and goes on with the version, as for an update of the
//! pipeline. State belongs to the transform and stays. A canary would need two versions in one partition: those are for jobs of one process.

use super::known::prepared;
use super::order::{Run, Version, What};
use super::{Cluster, Inner};
use crate::compose::{deploy, pinned, ttl};
use crate::jobs::deploy_config as config;
use thalweg_beam::deploy::{DeployRequest, Deployed, Deployer, RollBackRequest, StatusRequest};
use thalweg_beam::translate::Translation;
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{Plan, Shape, distribute};
use thalweg_wasm::Digest;

const HELP: &str = "`thalweg job list` shows the jobs that run";
/// Versions that a job remembers, to go back to.
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

    /// Has the job go on with other versions, if they can take over what it keeps: `old`, before it is divided.
    fn go_on_with(&self, id: &str, run: &Run, old: &Plan, deployed: Vec<Version>) -> Result<()> {
        let next = Run { deployed, revision: run.revision + 1, replaces: id.to_owned(), ..run.clone() };
        let shape = |plan: &Plan| Ok::<_, Error>(Shape::of(&distribute(plan)?));
        shape(&self.planned(id, &next)?)?.takes_over(&shape(old)?)?;
        self.order(id, What::Run(Box::new(next)))
    }
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
        config(&request.config)?;
        let digest = pinned(&Digest::of(&request.component));
        let carried = inner.put_aside(format!("deployed/{digest}"), digest, &request.component)?;
        let version = Version {
            transform: place.transform,
            component: Some(carried),
            function: place.function,
            config: if request.config.is_empty() { place.config } else { request.config },
        };
        let mut deployed = run.deployed.clone();
        if deployed.len() >= VERSIONS_MAX {
            deployed.remove(0);
        }
        deployed.push(version);
        let old = composer.plan(&mut translation)?;
        inner.go_on_with(id, &run, &old, deployed).map(|()| 0)
    }

    fn roll_back(&self, request: RollBackRequest) -> Result<u64> {
        let run = self.0.going(&request.job_id, HELP)?;
        let mut deployed = run.deployed.clone();
        let last = deployed.iter().rposition(|version| ttl::is_in(&version.transform, &request.transform));
        let Some(last) = last else {
            let message = format!("{:?} has no version that was deployed", request.transform);
            return Err(Error::user("DEPLOY_UNKNOWN", message).help("deploy the version that is wanted"));
        };
        deployed.remove(last);
        let old = self.0.planned(&request.job_id, &run)?;
        self.0.go_on_with(&request.job_id, &run, &old, deployed).map(|()| 0)
    }

    fn status(&self, request: StatusRequest) -> Result<Vec<Deployed>> {
        let run = self.0.going(&request.job_id, HELP)?;
        let composer = self.0.composer_of(&run)?;
        let running = deploy::running(&self.0.translated(&request.job_id, &run)?, composer.components())?;
        Ok(running.into_iter().map(|(transform, running)| Deployed { transform, running, trial: None }).collect())
    }
}
