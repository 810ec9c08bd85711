//! The server: Job, artifact, expansion, deployment and Fn API services on one gRPC port, until it is told to stop.

use super::deploys::Deploys;
use super::running::JobTable;
use super::{JobStates, Jobs, JobsLimits, worker_logs};
use crate::cluster::{Cluster, ClusterConfig};
use crate::compose::{Composer, Settings};
use crate::expansion::Offers;
use crate::native::Registry;
use crate::savepoint::Places;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use thalweg_beam::deploy::{self, Deployer};
use thalweg_beam::expansion;
use thalweg_beam::fnapi::{Allowed, FnApiConfig, FnApiServer};
use thalweg_beam::job::{JobLimits, JobServer, JobServerConfig, serve as serve_routes};
use thalweg_core::error::{Error, Result};

/// Parts of the grace period: jobs have two of three to stop in, and calls that are open one of six.
const JOBS: (u32, u32) = (2, 3);
const CALLS: u32 = 6;

/// How long the partitions of a process that cannot go on may take to come to a commit, and again to stop without one: together less
/// than the shortest session that brokers take, so that others do not wait longer than for a process that died.
const STUCK_WITHIN: Duration = Duration::from_secs(2);

/// Largest request to deploy: the largest component that is compiled, and what stands around it.
const DEPLOY_BYTES_MAX: usize = (128 << 20) + (1 << 20);

/// How a server is run.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where staged artifacts are kept.
    pub staging_dir: PathBuf,
    /// How jobs are run. Its own state directory means nothing here: jobs get theirs below [`ServeOptions::state_dir`].
    pub settings: Settings,
    /// Where the state of jobs is kept; in memory without it.
    pub state_dir: Option<PathBuf>,
    /// Where clients may have savepoints. Without it anywhere if only this machine can connect, and else nowhere.
    pub savepoints: Option<Places>,
    /// Jobs that may run at once.
    pub jobs_max: usize,
    /// How often a bundle is tried again where a job does not say it; the engine's own number without it.
    pub bundle_retries: Option<u32>,
    /// How long the server may take to stop when it is told to.
    pub grace: Duration,
    /// SDK workers.
    pub workers: WorkerOptions,
    /// The cluster whose jobs it runs; its own alone without one.
    pub cluster: Option<ClusterConfig>,
}

/// How SDK workers are run.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Largest message taken from a worker, in bytes.
    pub message_bytes_max: usize,
    /// How long a worker may take to start.
    pub start_timeout: Duration,
    /// Whether submitters may name commands that are run here.
    pub process: bool,
    /// Whether submitters may name images that are run here.
    pub docker: bool,
    /// Whether messages about failed bundles hold no data.
    pub hide_elements: bool,
}

impl WorkerOptions {
    fn config(&self, advertise: String) -> FnApiConfig {
        FnApiConfig {
            advertise,
            message_bytes_max: self.message_bytes_max,
            start_timeout: self.start_timeout,
            allowed: Allowed { process: self.process, docker: self.docker },
            show_elements: !self.hide_elements,
            ..FnApiConfig::default()
        }
    }
}

/// Serves until `shutdown` is ready, then has jobs come to a commit within the grace period; what keeps no state is cancelled. `ready` is
/// called with the address once clients can connect.
///
/// # Errors
/// `CLUSTER_STUCK` when a partition of the cluster's jobs is stuck here: the cluster is left then, and the process must end. `LISTEN_FAILED` when the address cannot be had, `STATE_NOT_OURS` when the state directory is something else, and what the component engine or the staging directory says.
pub async fn serve(
    options: ServeOptions,
    ready: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()> + Send,
) -> Result<()> {
    let failed = |e: std::io::Error| {
        Error::external("LISTEN_FAILED", format!("cannot listen on {}: {e}", options.listen))
            .help("choose another port, or end the process that has it")
    };
    let mut shutdown = pin!(shutdown);
    let mut states = options.state_dir.as_deref().map(JobStates::open).transpose()?;
    let listener = tokio::net::TcpListener::bind(options.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let endpoint = format!("localhost:{}", address.port());
    let runtime = tokio::runtime::Handle::current();
    let workers = FnApiServer::unbound(&runtime, options.workers.config(endpoint.clone()), worker_logs());
    let shared = states.as_mut().map(|states| states.share_log(&options.settings.store));
    let composer = Composer::new(options.settings, Registry::standard())?.with_shared_log(shared);
    let offers = Offers::new(Arc::clone(composer.components()));
    let alone = if address.ip().is_loopback() { Places::Anywhere } else { Places::Nowhere };
    let places = options.savepoints.unwrap_or(alone);
    let (running_max, bundle_retries) = (Some(options.jobs_max), options.bundle_retries);
    let running = JobsLimits { states, running_max, bundle_retries, places };
    let jobs = Jobs::new(composer.clone(), running, Arc::clone(&workers), runtime.clone());
    let table = jobs.table().clone();
    let grace = options.grace;
    let defaults = JobLimits::default();
    let limits = JobLimits { shutdown_grace: defaults.shutdown_grace.min(grace / CALLS), ..defaults };
    let config = JobServerConfig { endpoint, staging_dir: options.staging_dir, limits };
    let (server, cluster) = match options.cluster {
        None => (JobServer::new(config, Arc::new(jobs))?, None),
        Some(cluster) => {
            let cluster = Cluster::new(cluster, composer, jobs, runtime);
            let server = JobServer::new(config, Arc::new(cluster.clone()))?;
            let (beginning, theirs) = (cluster.clone(), server.clone());
            tokio::select! {
                begun = blocking(move || beginning.begin(theirs)) => begun?,
                () = &mut shutdown => {
                    cluster.leave(Duration::ZERO);
                    return Ok(());
                }
            }
            (server, Some(cluster))
        }
    };
    let stuck = cluster.clone();
    let routes = expansion::add_to(server.add_to(workers.routes()), Arc::new(offers));
    let deployer: Arc<dyn Deployer> = match &cluster {
        None => Arc::new(Deploys(table.clone())),
        Some(cluster) => Arc::new(cluster.clone()),
    };
    let routes = deploy::add_to(routes, deployer, DEPLOY_BYTES_MAX);
    ready(address);
    let stop = async {
        shutdown.await;
        leave_jobs(&table, cluster, grace * JOBS.0 / JOBS.1).await;
    };
    tokio::select! {
        served = serve_routes(listener, routes, &server, stop) => served,
        error = left_stuck(stuck) => Err(error),
    }
}

/// Has all jobs come to a commit within so long, while their workers can still be reached.
async fn leave_jobs(table: &JobTable, cluster: Option<Cluster>, within: Duration) {
    let until = tokio::time::Instant::now() + within;
    table.leave_all(within / 2);
    if let Some(cluster) = cluster {
        blocking(move || {
            cluster.leave(within);
            Ok(())
        })
        .await
        .unwrap_or_else(|error| tracing::warn!(%error, "the cluster was left without a word"));
    }
    while !table.is_empty() && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if !table.is_empty() {
        tracing::warn!(jobs = table.len(), "jobs have not stopped in time: they go on from their last commits");
    }
}

/// Waits until a partition of the cluster's jobs is stuck here, and leaves the cluster then. What does not come to its end is left alone.
async fn left_stuck(cluster: Option<Cluster>) -> Error {
    let Some(cluster) = cluster else { return std::future::pending().await };
    let error = cluster.stuck().await;
    tracing::error!(%error, "leaving the cluster");
    let left = blocking(move || {
        cluster.leave(STUCK_WITHIN);
        Ok(())
    });
    if tokio::time::timeout(STUCK_WITHIN * 10, left).await.is_err() {
        tracing::warn!("the cluster was left without a word: others take over when the session is over");
    }
    error
}

/// Runs what may block where it may.
async fn blocking(call: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    tokio::task::spawn_blocking(call).await.unwrap_or_else(|e| {
        Err(Error::internal("INTERNAL_PANIC", format!("a call of the cluster panicked: {e}"))
            .help("this is a fault of Thalweg: please report it"))
    })
}
