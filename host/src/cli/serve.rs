//! `thalweg serve` and Prism's command line: takes jobs until it is told to stop.

use super::exit::Failed;
use super::prism::Flags;
use super::{logs, signals};
use crate::compose::{ComponentStore, Settings};
use crate::jobs::{ServeOptions, serve as serve_jobs};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use thalweg_core::error::{Error, Result};

/// Threads for connections; bundles run on threads of their own.
const CONNECTION_THREADS: usize = 2;
/// Removed again when the server ends.
struct StagingDir(PathBuf);

impl Drop for StagingDir {
    fn drop(&mut self) {
        // what is left behind is a temporary directory: the system's to clear
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Serves until SIGINT or SIGTERM.
pub fn serve(flags: &Flags) -> Result<ExitCode, Failed> {
    logs::init(&flags.level, flags.kind);
    if !flags.ignored.is_empty() {
        tracing::info!("passed over flags that mean nothing here: {}", flags.ignored.join(" "));
    }
    let staging = StagingDir(std::env::temp_dir().join(format!("thalweg-{}", std::process::id())));
    let options = ServeOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, flags.port)),
        staging_dir: staging.0.clone(),
        settings: Settings { cache_dir: ComponentStore::default_cache_dir(), ..Settings::default() },
    };
    let failed = |e: std::io::Error| {
        Error::external("THREAD_START", format!("cannot start the server's threads: {e}"))
            .help("raise the process's limit of threads")
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(CONNECTION_THREADS).enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let ready = |address: SocketAddr| tracing::info!("thalweg {} takes jobs at {address}", env!("CARGO_PKG_VERSION"));
    let stopped = async {
        match signals::interrupted().await {
            Ok(()) => tracing::info!("stopping: running jobs are cancelled"),
            Err(error) => {
                tracing::warn!("{error}");
                std::future::pending::<()>().await;
            }
        }
    };
    let served = runtime.block_on(serve_jobs(options, ready, stopped));
    // tasks of workers that do not answer any more must not keep the process
    runtime.shutdown_timeout(Duration::from_secs(1));
    served?;
    Ok(ExitCode::SUCCESS)
}
