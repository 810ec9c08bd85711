//! `thalweg serve` and Prism's command line: takes jobs until it is told to stop.

use super::args::ServeArgs;
use super::exit::{Failed, INTERRUPTED};
use super::staging::StagingDir;
use super::{logs, signals};
use crate::compose::{ComponentStore, Settings};
use crate::jobs::{ServeOptions, WorkerOptions, serve as serve_jobs};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;
use thalweg_core::error::{Error, Result};
use thalweg_wasm::Allowed;

/// Threads for connections; bundles run on threads of their own.
const CONNECTION_THREADS: usize = 2;

/// Serves until SIGINT or SIGTERM. `ignored` are flags of Prism's that mean nothing here.
pub fn serve(args: &ServeArgs, ignored: &[String]) -> Result<ExitCode, Failed> {
    logs::init(&args.logs.log_level, args.logs.log_kind);
    if !ignored.is_empty() {
        tracing::info!("passed over flags that mean nothing here: {}", ignored.join(" "));
    }
    let staging = StagingDir::create(&std::env::temp_dir())?;
    let options = options(args, &staging);
    let failed = |e: std::io::Error| {
        Error::external("THREAD_START", format!("cannot start the server's threads: {e}"))
            .help("raise the process's limit of threads")
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(CONNECTION_THREADS).enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let ready = |address: SocketAddr| tracing::info!("thalweg {} takes jobs at {address}", env!("CARGO_PKG_VERSION"));
    let path = staging.path().to_owned();
    let served = runtime.block_on(async {
        let mut signals = signals::Signals::listen()?;
        let stopped = async move {
            signals.next().await;
            tracing::info!("stopping: running jobs are cancelled; a second signal ends the server at once");
            tokio::spawn(async move {
                signals.next().await;
                let _ = std::fs::remove_dir_all(path);
                std::process::exit(i32::from(INTERRUPTED));
            });
        };
        serve_jobs(options, ready, stopped).await
    });
    // tasks of workers that do not answer any more must not keep the process
    runtime.shutdown_timeout(Duration::from_secs(1));
    served?;
    Ok(ExitCode::SUCCESS)
}

fn options(args: &ServeArgs, staging: &StagingDir) -> ServeOptions {
    let default = Settings::default();
    ServeOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)),
        staging_dir: staging.path().to_owned(),
        settings: Settings {
            cache_dir: ComponentStore::default_cache_dir(),
            shards: args.shards.unwrap_or(default.shards),
            epoch_ms: args.epoch_ms.unwrap_or(default.epoch_ms),
            compiler: super::compiler(),
            allowed: Allowed::Only(args.allow_capability.iter().cloned().collect()),
            ..default
        },
        state_dir: args.state_dir.clone(),
        jobs_max: usize::from(args.jobs_max),
        bundle_retries: args.bundle_retries,
        workers: WorkerOptions {
            message_bytes_max: usize::from(args.message_mib_max) << 20,
            start_timeout: Duration::from_secs(u64::from(args.worker_start_seconds)),
            process: args.allow_process_workers,
            docker: args.allow_docker_workers,
            hide_elements: args.hide_elements,
        },
    }
}
