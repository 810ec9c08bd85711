//! The server: Job, artifact and Fn API services on one gRPC port, until it is told to stop.

use super::{Jobs, worker_logs};
use crate::compose::{Composer, Settings};
use crate::native::Registry;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thalweg_beam::fnapi::{FnApiConfig, FnApiServer};
use thalweg_beam::job::{JobLimits, JobServer, JobServerConfig, serve as serve_routes};
use thalweg_core::error::{Error, Result};

/// How long running jobs may take to stop when the server is told to.
const GRACE: Duration = Duration::from_secs(10);

/// How a server is run.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where staged artifacts are kept.
    pub staging_dir: PathBuf,
    /// How jobs are run.
    pub settings: Settings,
}

/// Serves until `shutdown` is ready, then cancels the jobs that run and waits for them within the grace period. `ready` is
/// called with the address once clients can connect.
///
/// # Errors
/// `LISTEN_FAILED` when the address cannot be had, and what the component engine or the staging directory says.
pub async fn serve(
    options: ServeOptions,
    ready: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()> + Send,
) -> Result<()> {
    let failed = |e: std::io::Error| {
        Error::external("LISTEN_FAILED", format!("cannot listen on {}: {e}", options.listen))
            .help("choose another port, or end the process that has it")
    };
    let listener = tokio::net::TcpListener::bind(options.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let endpoint = format!("localhost:{}", address.port());
    let runtime = tokio::runtime::Handle::current();
    let config = FnApiConfig { advertise: endpoint.clone(), ..FnApiConfig::default() };
    let workers = FnApiServer::unbound(&runtime, config, worker_logs());
    let composer = Composer::new(options.settings, Registry::standard())?;
    let jobs = Arc::new(Jobs::new(composer, Arc::clone(&workers), runtime));
    let table = jobs.table().clone();
    let limits = JobLimits::default();
    let server = JobServer::new(JobServerConfig { endpoint, staging_dir: options.staging_dir, limits }, jobs)?;
    let routes = server.add_to(workers.routes());
    ready(address);
    let stop = async {
        shutdown.await;
        // jobs first, while their workers can still be reached
        table.cancel_all();
        let until = tokio::time::Instant::now() + GRACE;
        while !table.is_empty() && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    serve_routes(listener, routes, &server, stop).await
}
