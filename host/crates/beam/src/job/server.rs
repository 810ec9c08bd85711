//! The job services on a gRPC port, alone or beside other services.

use super::artifact::{ArtifactStore, RetrievalService, StagingService};
use super::limits::JobLimits;
use super::runner::{JobReporter, JobRunner, PreparedJob};
use super::service::Service;
use super::state::JobState;
use super::stream::Closing;
use super::table::JobTable;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use thalweg_core::error::{Error, Result};
use thalweg_proto::job::artifact_retrieval_service_server::ArtifactRetrievalServiceServer;
use thalweg_proto::job::artifact_staging_service_server::ArtifactStagingServiceServer;
use thalweg_proto::job::job_service_server::JobServiceServer;
use thalweg_proto::life::life_service_server::LifeServiceServer;
use thalweg_proto::life::state_service_server::StateServiceServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// Bytes in flight of one HTTP/2 stream and of one connection before the receiver has read them. The protocol's own
/// 64 KiB would make every chunk of data wait for the other side.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// What the job services need to know.
#[derive(Clone, Debug)]
pub struct JobServerConfig {
    /// `host:port` at which clients reach the server, as told to them for staging.
    pub endpoint: String,
    /// Where staged artifacts are kept. Created if need be; one process per directory.
    pub staging_dir: PathBuf,
    /// The bounds.
    pub limits: JobLimits,
}

/// The job services of one process: jobs and their life, staging, retrieval. Cheap to clone.
///
/// ```no_run
/// use std::sync::Arc;
/// use thalweg_beam::job::{JobLimits, JobRunner, JobServer, JobServerConfig, serve};
/// # async fn run(runner: Arc<dyn JobRunner>) -> Result<(), thalweg_core::error::Error> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8099").await.expect("a free port");
/// let config = JobServerConfig {
///     endpoint: "localhost:8099".to_owned(),
///     staging_dir: "staging".into(),
///     limits: JobLimits::default(),
/// };
/// let server = JobServer::new(config, runner)?;
/// let routes = server.add_to(tonic::service::Routes::default()); // and the services of the Fn API
/// let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
/// serve(listener, routes, &server, ctrl_c).await
/// # }
/// ```
#[derive(Clone)]
pub struct JobServer(Arc<Shared>);

struct Shared {
    runner: Arc<dyn JobRunner>,
    table: Arc<JobTable>,
    store: Arc<ArtifactStore>,
    config: JobServerConfig,
    closing: watch::Sender<bool>,
}

impl JobServer {
    /// Opens the staging directory and starts with an empty table of jobs.
    ///
    /// # Errors
    /// `ARTIFACT_STORE_FAILED` if the staging directory cannot be used.
    pub fn new(config: JobServerConfig, runner: Arc<dyn JobRunner>) -> Result<Self> {
        let store = ArtifactStore::open(&config.staging_dir, config.limits.artifacts_bytes_max)?;
        let table = Arc::new(JobTable::new(config.limits.clone(), store.clone()));
        Ok(Self(Arc::new(Shared { runner, table, store, config, closing: watch::Sender::new(false) })))
    }

    /// Adds the services to those the caller serves on the same port.
    #[must_use]
    pub fn add_to(&self, routes: Routes) -> Routes {
        let shared = &self.0;
        let bytes_max = shared.config.limits.request_bytes_max;
        let closing = Closing(shared.closing.subscribe());
        let jobs = Service {
            runner: shared.runner.clone(),
            table: shared.table.clone(),
            closing: closing.clone(),
            endpoint: shared.config.endpoint.clone(),
        };
        let life = LifeServiceServer::new(jobs.clone());
        let state = StateServiceServer::new(jobs.clone());
        let staging = StagingService { table: shared.table.clone(), store: shared.store.clone(), closing };
        let retrieval = RetrievalService { store: shared.store.clone() };
        routes
            .add_service(JobServiceServer::new(jobs).max_decoding_message_size(bytes_max))
            .add_service(ArtifactStagingServiceServer::new(staging).max_decoding_message_size(bytes_max))
            .add_service(ArtifactRetrievalServiceServer::new(retrieval).max_decoding_message_size(bytes_max))
            .add_service(life)
            .add_service(state)
    }

    /// Takes a job that was submitted elsewhere: whoever asks for it here is answered. It counts as started.
    ///
    /// # Errors
    /// `JOBS_TOO_MANY` when all remembered jobs still run and there is no room for another.
    pub fn adopt(&self, job: PreparedJob) -> Result<JobReporter> {
        let record = self.0.table.insert(job)?;
        record.start();
        record.enter(JobState::Starting);
        Ok(JobReporter::new(record))
    }

    /// Where staged artifacts are kept.
    #[must_use]
    pub fn artifacts(&self) -> &Arc<ArtifactStore> {
        &self.0.store
    }

    /// Ends all open state, message and staging streams. Jobs are not touched: stopping them is the host's decision.
    pub fn close(&self) {
        self.0.closing.send_replace(true);
    }
}

impl fmt::Debug for JobServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobServer").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// Serves `routes` on `listener` until `shutdown` is ready and open calls have ended, or the grace period is over.
///
/// # Errors
/// `GRPC_SERVE_FAILED` if the listener breaks.
pub async fn serve<F>(listener: TcpListener, routes: Routes, server: &JobServer, shutdown: F) -> Result<()>
where
    F: Future<Output = ()>,
{
    let limits = &server.0.config.limits;
    let stopping = async {
        shutdown.await;
        server.close();
    };
    let serving = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(limits.streams_per_connection_max)
        .add_routes(routes.prepare())
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stopping);
    let mut closing = Closing(server.0.closing.subscribe());
    let grace_is_over = async {
        closing.closed().await;
        tokio::time::sleep(limits.shutdown_grace).await;
    };
    tokio::select! {
        ended = serving => ended.map_err(|e| {
            Error::external("GRPC_SERVE_FAILED", format!("the gRPC server stopped: {e}"))
                .help("look for what happened to the network interface, and start the server again")
        }),
        () = grace_is_over => {
            tracing::warn!("open calls were cut off after the grace period");
            Ok(())
        }
    }
}
