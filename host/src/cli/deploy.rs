//! `thalweg udf deploy`: asks a server to run another version of a function in a job that runs.

use super::exit::{Failed, print};
use super::table::{table, thousands};
use super::udf_args::DeployArgs;
use std::process::ExitCode;
use thalweg_beam::deploy::{DeployClient, DeployRequest, Deployed, RollBackRequest, StatusRequest};
use thalweg_core::error::{Error, Result};

/// Deploys, rolls back, or shows what runs.
pub fn deploy(args: &DeployArgs) -> Result<ExitCode, Failed> {
    let text = super::asked(ask(args))?;
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(args: &DeployArgs) -> Result<String> {
    let transform = args.transform.clone().unwrap_or_default();
    let (job_id, shown) = (args.job.clone(), transform.clone());
    if args.status {
        let deployed = DeployClient::connect(&args.server).await?.status(StatusRequest { job_id }).await?;
        return Ok(table(&deployed.iter().flat_map(status).collect::<Vec<_>>(), &[]));
    }
    if args.roll_back {
        let mut client = DeployClient::connect(&args.server).await?;
        let epoch = client.roll_back(RollBackRequest { job_id, transform }).await?;
        return Ok(format!("{shown} runs the version before {}\n", from(epoch)));
    }
    let path = args.component.clone().unwrap_or_default();
    let component = std::fs::read(&path).map_err(|e| {
        Error::user("UDF_MODULE", format!("cannot read {}: {e}", path.display())).help("check the path")
    })?;
    let request = DeployRequest {
        job_id,
        transform,
        component: component.into(),
        name: path.display().to_string(),
        function: args.function.clone().unwrap_or_default(),
        config: args.config.as_ref().map(ToString::to_string).unwrap_or_default(),
        share: args.canary.unwrap_or(1.0),
        failures_max: args.failures_max,
        bundles: args.bundles,
    };
    let epoch = DeployClient::connect(&args.server).await?.deploy(request).await?;
    let of = args.canary.map_or_else(String::new, |share| format!(" for {}% of its keys", share * 100.0));
    Ok(format!("{shown} runs {}{of} {}\n", path.display(), from(epoch)))
}

/// From when on: partitions of a job in a cluster have epochs of their own.
fn from(epoch: u64) -> String {
    match epoch {
        0 => "in each partition behind its next commit".to_owned(),
        epoch => format!("from epoch {} on", epoch + 1),
    }
}

fn status(deployed: &Deployed) -> Vec<Vec<String>> {
    let mut rows = vec![vec![deployed.transform.clone(), "runs".to_owned(), deployed.running.clone()]];
    if let Some(trial) = &deployed.trial {
        let (bundles, failed) = (thousands(trial.bundles), thousands(trial.failed));
        let counts =
            format!("{} for {}% of keys, {bundles} bundles, {failed} failed", trial.verdict, trial.share * 100.0);
        rows.push(vec![String::new(), counts, trial.digest.clone()]);
        if !trial.why.is_empty() {
            rows.push(vec![String::new(), "failed with".to_owned(), trial.why.clone()]);
        }
    }
    rows
}
