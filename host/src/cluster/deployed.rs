//! Other versions of functions for a job of the cluster.
//!
//! In: requests of the deployment service, at any process. Out: the same job in the journal again, with the version beside its pipeline. All processes read
//! of it at the same place: each has its partitions come to a last commit, keeps them, and goes on with the version, as for an update of the
//! pipeline. State belongs to the transform and stays. A canary would need two versions in one partition: those are for jobs of one process.

use super::carried::shown;
use super::known::prepared;
use super::order::{Run, Version, What};
use super::{Cluster, Inner};
use crate::compose::deploy;
use thalweg_beam::deploy::{DeployRequest, Deployed, Deployer, RollBackRequest, StatusRequest};
use thalweg_beam::translate::Translation;
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{Shape, distribute};
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
            let config = (!version.config.is_empty()).then(|| config(&version.config)).transpose()?;
            let path = version.component.as_ref().map(|component| component.path.clone()).unwrap_or_default();
            deploy::replace(&mut translation, &version.transform, &path, &version.function, config.as_ref())?;
        }
        Ok(translation)
    }

    fn shape(&self, id: &str, run: &Run) -> Result<Shape> {
        let plan = self.composer_of(run)?.plan(&mut self.translated(id, run)?)?;
        Ok(Shape::of(&distribute(&plan)?))
    }

    /// Has the job go on with other versions, if they can take over what it keeps.
    fn go_on_with(&self, id: &str, run: &Run, deployed: Vec<Version>) -> Result<()> {
        let next = Run { deployed, revision: run.revision + 1, replaces: id.to_owned(), ..run.clone() };
        self.shape(id, &next)?.takes_over(&self.shape(id, run)?)?;
        self.order(id, What::Run(Box::new(next)))
    }
}

fn config(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|e| {
        Error::user("DEPLOY_CONFIG", format!("the configuration is no JSON: {e}"))
            .help("give a JSON value, as in the pipeline")
    })
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
        let translation = inner.translated(id, &run)?;
        let component = composer.components().from_bytes(&request.name, &request.component)?;
        let components = composer.components();
        let place = deploy::check(&translation, components, &request.transform, &component, &request.function)?;
        if !request.config.is_empty() {
            config(&request.config)?;
        }
        let digest = shown(&Digest::of(&request.component));
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
        inner.go_on_with(id, &run, deployed).map(|()| 0)
    }

    fn roll_back(&self, request: RollBackRequest) -> Result<u64> {
        let run = self.0.going(&request.job_id, HELP)?;
        let mut deployed = run.deployed.clone();
        let is = |name: &str| {
            name.strip_prefix(&request.transform).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let last = deployed.iter().rposition(|version| is(&version.transform));
        let Some(last) = last else {
            let message = format!("{:?} has no version that was deployed", request.transform);
            return Err(Error::user("DEPLOY_UNKNOWN", message).help("deploy the version that is wanted"));
        };
        deployed.remove(last);
        self.0.go_on_with(&request.job_id, &run, deployed).map(|()| 0)
    }

    fn status(&self, request: StatusRequest) -> Result<Vec<Deployed>> {
        let run = self.0.going(&request.job_id, HELP)?;
        let composer = self.0.composer_of(&run)?;
        let running = deploy::running(&self.0.translated(&request.job_id, &run)?, composer.components())?;
        Ok(running.into_iter().map(|(transform, running)| Deployed { transform, running, trial: None }).collect())
    }
}
