//! Worker pools: workers that somebody else starts on request.
//!
//! In: the address of a pool and what the worker must be told. Out: the pool's word that it starts one.
//!
//! Source: `BeamFnExternalWorkerPool`.

use super::config::FnApiConfig;
use super::environment::Endpoints;
use std::collections::BTreeMap;
use std::time::Duration;
use thalweg_core::error::{Domain, Error, Result};
use thalweg_proto::fn_execution::beam_fn_external_worker_pool_client::BeamFnExternalWorkerPoolClient;
use thalweg_proto::fn_execution::{StartWorkerRequest, StopWorkerRequest};
use thalweg_proto::pipeline::ApiServiceDescriptor;
use tonic::transport::{Channel, Endpoint};

/// Orders a worker.
pub(super) async fn start(
    pool: &str,
    params: &BTreeMap<String, String>,
    worker: &str,
    endpoints: &Endpoints,
    config: &FnApiConfig,
) -> Result<()> {
    let services = ApiServiceDescriptor { url: endpoints.services.clone(), ..Default::default() };
    let request = StartWorkerRequest {
        worker_id: worker.to_owned(),
        control_endpoint: Some(services.clone()),
        logging_endpoint: Some(services.clone()),
        artifact_endpoint: Some(ApiServiceDescriptor { url: endpoints.artifacts.clone(), ..Default::default() }),
        provision_endpoint: Some(services),
        params: params.clone(),
    };
    let now = tokio::time::Instant::now();
    let (patience, deadline) = (now + config.pool_timeout, now + config.start_timeout);
    let mut client = loop {
        match connect(pool).await {
            Ok(channel) => break BeamFnExternalWorkerPoolClient::new(channel),
            Err(e) if tokio::time::Instant::now() > patience => return Err(unreachable_pool(pool, &e)),
            Err(e) => tracing::debug!(pool, error = %e, "worker pool is not reachable yet"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let reply = tokio::time::timeout_at(deadline, client.start_worker(request)).await;
    match reply {
        Ok(Ok(reply)) if reply.get_ref().error.is_empty() => Ok(()),
        Ok(Ok(reply)) => Err(refused(pool, &last_line(&reply.get_ref().error)).trace(reply.get_ref().error.clone())),
        Ok(Err(status)) => Err(refused(pool, status.message())),
        Err(_) => Err(refused(pool, "it did not answer in time")),
    }
}

/// Asks the pool to stop a worker.
pub(super) async fn stop(pool: &str, worker: &str, config: &FnApiConfig) {
    let stop = async {
        let channel = connect(pool).await.ok()?;
        let request = StopWorkerRequest { worker_id: worker.to_owned() };
        BeamFnExternalWorkerPoolClient::new(channel).stop_worker(request).await.ok()
    };
    if !matches!(tokio::time::timeout(config.stop_timeout, stop).await, Ok(Some(_))) {
        tracing::debug!(pool, worker, "the worker pool did not acknowledge the stop");
    }
}

async fn connect(pool: &str) -> Result<Channel, tonic::transport::Error> {
    let url = if pool.contains("://") { pool.to_owned() } else { format!("http://{pool}") };
    Endpoint::from_shared(url)?.connect_timeout(Duration::from_secs(5)).connect().await
}

fn last_line(text: &str) -> String {
    text.trim_end().lines().last().unwrap_or_default().to_owned()
}

fn refused(pool: &str, why: &str) -> Error {
    Error::new("WORKER_START_FAILED", Domain::External, format!("the worker pool at {pool} started no worker: {why}"))
        .help("look at the output of the program that runs the pool")
}

fn unreachable_pool(pool: &str, why: &tonic::transport::Error) -> Error {
    let mut cause: &dyn std::error::Error = why;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Error::external("WORKER_START_FAILED", format!("no worker pool answers at {pool}: {cause}"))
        .help("with LOOPBACK the submitting program must keep running; with EXTERNAL start the worker pool first")
}
