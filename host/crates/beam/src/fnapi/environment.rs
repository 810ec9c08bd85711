//! Environments: how a worker of a pipeline is started and stopped.
//!
//! In: a Beam `Environment`. Out: a running harness that connects to the given endpoints, or an error that names what is
//! not supported and what to do instead. Knows nothing of bundles.
//!
//! Source: `beam:env:{external,process,docker,default,anyof}:v1`, `BeamFnExternalWorkerPool`.

use super::config::FnApiConfig;
use prost::Message;
use std::collections::BTreeMap;
use std::time::Duration;
use thalweg_core::error::{Domain, Error, Result};
use thalweg_proto::fn_execution::beam_fn_external_worker_pool_client::BeamFnExternalWorkerPoolClient;
use thalweg_proto::fn_execution::{StartWorkerRequest, StopWorkerRequest};
use thalweg_proto::pipeline::{
    AnyOfEnvironmentPayload, ApiServiceDescriptor, DockerPayload, Environment as EnvironmentProto, ExternalPayload,
    ProcessPayload,
};
use tonic::transport::{Channel, Endpoint};

/// How to start a worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Environment {
    /// A worker pool is asked to start it. LOOPBACK is this, with the pool in the submitting program.
    External {
        /// Where the pool listens, `host:port`.
        pool: String,
        /// Handed through to the pool.
        params: BTreeMap<String, String>,
    },
    /// A command of this machine.
    Process {
        /// The program.
        command: String,
        /// Its environment variables.
        env: BTreeMap<String, String>,
    },
    /// A container.
    Docker {
        /// Its image.
        image: String,
    },
}

/// What a worker must be told when it is started.
#[derive(Clone, Debug, Default)]
pub(super) struct Endpoints {
    /// Control, data, state, logging, provision and status.
    pub services: String,
    /// Artifact retrieval, served by somebody else.
    pub artifacts: String,
}

impl Environment {
    /// Reads an environment; of an ANYOF the first that this build can start.
    ///
    /// # Errors
    /// `ENVIRONMENT_UNSUPPORTED` for a kind we do not know, `ENVIRONMENT_INVALID` for a payload that cannot be read.
    pub fn from_proto(proto: &EnvironmentProto) -> Result<Self> {
        let invalid = |e: prost::DecodeError| {
            Error::user("ENVIRONMENT_INVALID", format!("the payload of environment {} cannot be read: {e}", proto.urn))
        };
        match proto.urn.as_str() {
            "beam:env:external:v1" => {
                let payload = ExternalPayload::decode(proto.payload.clone()).map_err(invalid)?;
                let pool = payload.endpoint.map(|e| e.url).unwrap_or_default();
                Ok(Self::External { pool, params: payload.params })
            }
            "beam:env:process:v1" => {
                let payload = ProcessPayload::decode(proto.payload.clone()).map_err(invalid)?;
                Ok(Self::Process { command: payload.command, env: payload.env })
            }
            "beam:env:docker:v1" => {
                let payload = DockerPayload::decode(proto.payload.clone()).map_err(invalid)?;
                Ok(Self::Docker { image: payload.container_image })
            }
            "beam:env:anyof:v1" => {
                let payload = AnyOfEnvironmentPayload::decode(proto.payload.clone()).map_err(invalid)?;
                let known: Vec<_> = payload.environments.iter().filter_map(|e| Self::from_proto(e).ok()).collect();
                let first = known.iter().position(|e| e.supported().is_ok()).unwrap_or(0);
                known.into_iter().nth(first).ok_or_else(|| unsupported("none of the alternatives of the environment"))
            }
            other => Err(unsupported(&format!("environment {other}"))),
        }
    }

    /// Whether this build can start it; asked when a job is prepared, so that nobody waits to be refused.
    ///
    /// # Errors
    /// `ENVIRONMENT_UNSUPPORTED`, with the way out.
    pub fn supported(&self) -> Result<()> {
        match self {
            Self::External { pool, .. } if pool.is_empty() => {
                Err(Error::user("ENVIRONMENT_INVALID", "an external environment has no endpoint of a worker pool")
                    .help("set --environment_config=localhost:50000, or use --environment_type=LOOPBACK"))
            }
            Self::External { .. } => Ok(()),
            Self::Process { command, .. } => Err(unsupported(&format!("a worker process ({command})"))),
            Self::Docker { image } => Err(unsupported(&format!("a Docker worker ({image})"))),
        }
    }

    /// Asks for a worker. Returns when it is ordered, which is before it is connected.
    pub(super) async fn start(&self, worker: &str, endpoints: &Endpoints, config: &FnApiConfig) -> Result<()> {
        self.supported()?;
        let Self::External { pool, params } = self else { return Err(unsupported("this environment")) };
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
            Ok(Ok(reply)) => {
                Err(refused(pool, &last_line(&reply.get_ref().error)).trace(reply.get_ref().error.clone()))
            }
            Ok(Err(status)) => Err(refused(pool, status.message())),
            Err(_) => Err(refused(pool, "it did not answer in time")),
        }
    }

    /// Asks the pool to stop a worker. Failing is no harm: the worker ends when its control stream does.
    pub(super) async fn stop(&self, worker: &str, config: &FnApiConfig) {
        let Self::External { pool, .. } = self else { return };
        let stop = async {
            let channel = connect(pool).await.ok()?;
            let request = StopWorkerRequest { worker_id: worker.to_owned() };
            BeamFnExternalWorkerPoolClient::new(channel).stop_worker(request).await.ok()
        };
        if !matches!(tokio::time::timeout(config.stop_timeout, stop).await, Ok(Some(_))) {
            tracing::debug!(pool, worker, "the worker pool did not acknowledge the stop");
        }
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

fn unsupported(what: &str) -> Error {
    Error::user("ENVIRONMENT_UNSUPPORTED", format!("{what} cannot be started by this build"))
        .help("use --environment_type=LOOPBACK, or EXTERNAL with a running worker pool")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn external(url: &str) -> EnvironmentProto {
        let endpoint = Some(ApiServiceDescriptor { url: url.to_owned(), ..Default::default() });
        let payload = ExternalPayload { endpoint, ..Default::default() }.encode_to_vec();
        EnvironmentProto { urn: "beam:env:external:v1".to_owned(), payload: payload.into(), ..Default::default() }
    }

    fn docker() -> EnvironmentProto {
        let payload = DockerPayload { container_image: "beam_python".to_owned() }.encode_to_vec();
        EnvironmentProto { urn: "beam:env:docker:v1".to_owned(), payload: payload.into(), ..Default::default() }
    }

    #[test]
    fn a_docker_environment_is_refused_with_the_way_out() {
        let refused = Environment::from_proto(&docker()).and_then(|e| e.supported()).expect_err("no docker");
        assert_eq!(refused.code, "ENVIRONMENT_UNSUPPORTED");
        assert!(refused.help.contains("LOOPBACK"), "{}", refused.help);
    }

    #[test]
    fn of_any_environment_the_first_startable_is_taken() {
        let payload = AnyOfEnvironmentPayload { environments: vec![docker(), external("localhost:5")] };
        let any = EnvironmentProto {
            urn: "beam:env:anyof:v1".to_owned(),
            payload: payload.encode_to_vec().into(),
            ..Default::default()
        };
        let chosen = Environment::from_proto(&any).expect("external");
        assert_eq!(chosen, Environment::External { pool: "localhost:5".to_owned(), params: BTreeMap::new() });
    }
}
