//! New versions of functions for jobs that run: requests of the deployment service, carried to the job's deployments.

use super::running::JobTable;
use crate::compose::deploy::{Deploy, Deployments, Status};
use std::sync::Arc;
use thalweg_beam::deploy::{DeployRequest, Deployed, Deployer, RollBackRequest, StatusRequest, Trial};
use thalweg_beam::job::not_running;
use thalweg_core::error::{Error, Result};
use thalweg_wasm::{Terms, Verdict};

/// Deploys to the jobs of a table.
pub struct Deploys(pub JobTable);

impl Deploys {
    fn job(&self, id: &str) -> Result<Arc<Deployments>> {
        let help = "the SDK prints the id of a job when it submits it";
        self.0.deployments(id).ok_or_else(|| not_running(id, help))
    }
}

/// What a version is opened with, if its request says it.
///
/// # Errors
/// `DEPLOY_CONFIG`.
pub fn config(text: &str) -> Result<Option<serde_json::Value>> {
    let read = || {
        serde_json::from_str(text).map_err(|e| {
            Error::user("DEPLOY_CONFIG", format!("the configuration is no JSON: {e}"))
                .help("give a JSON value, as in the pipeline")
        })
    };
    (!text.is_empty()).then(read).transpose()
}

impl Deployer for Deploys {
    fn deploy(&self, request: DeployRequest) -> Result<u64> {
        let config = config(&request.config)?;
        let DeployRequest { share, failures_max, bundles, .. } = request;
        let deploy = Deploy {
            transform: request.transform,
            component: request.component.into(),
            name: request.name,
            function: (!request.function.is_empty()).then_some(request.function),
            config,
            terms: Terms { share, failures_max, bundles },
        };
        self.job(&request.job_id)?.deploy(&deploy).map(|epoch| epoch.0)
    }

    fn roll_back(&self, request: RollBackRequest) -> Result<u64> {
        self.job(&request.job_id)?.roll_back(&request.transform).map(|epoch| epoch.0)
    }

    fn status(&self, request: StatusRequest) -> Result<Vec<Deployed>> {
        Ok(self.job(&request.job_id)?.status().into_iter().map(shown).collect())
    }
}

fn shown(status: Status) -> Deployed {
    let why = status.why.map(|e| e.to_string()).unwrap_or_default();
    let trial = status.trial.map(|(digest, share, verdict, bundles, failed)| {
        let verdict = match verdict {
            Verdict::Running => "running",
            Verdict::Passed => "passed",
            Verdict::RolledBack => "rolled back",
        };
        Trial { digest, share, verdict: verdict.to_owned(), bundles, failed, why }
    });
    Deployed { transform: status.transform, running: status.running, trial }
}
