//! `thalweg serve` and Prism's command line: takes jobs until it is told to stop.

use super::args::ServeArgs;
use super::exit::{Failed, INTERRUPTED};
use super::staging::StagingDir;
use super::{logs, signals};
use crate::cluster::ClusterConfig;
use crate::compose::{ComponentStore, Settings, StateTtl};
use crate::jobs::{ServeOptions, WorkerOptions, serve as serve_jobs};
use crate::savepoint::Places;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use thalweg_core::error::{Error, Result};
use thalweg_io::kafka::KafkaClientConfig;
use thalweg_wasm::Allowed;

/// Threads for connections; bundles run on threads of their own.
const CONNECTION_THREADS: usize = 2;

/// Serves until SIGINT or SIGTERM. `ignored` are names of flags of Prism's that mean nothing here.
pub fn serve(args: &ServeArgs, ignored: &[String]) -> Result<ExitCode, Failed> {
    logs::init(&args.logs.log_level, args.logs.log_kind);
    if !ignored.is_empty() {
        tracing::info!("passed over flags that mean nothing here: {}", ignored.join(", "));
    }
    let staging = StagingDir::create(&std::env::temp_dir())?;
    let options = options(args, &staging)?;
    let failed = |e: std::io::Error| {
        Error::external("THREAD_START", format!("cannot start the server's threads: {e}"))
            .help("raise the process's limit of threads")
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(CONNECTION_THREADS).enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let ready = |address: SocketAddr| tracing::info!("thalweg {} takes jobs at {address}", env!("CARGO_PKG_VERSION"));
    let path = staging.path().to_owned();
    let grace = options.grace;
    let served = runtime.block_on(async {
        let mut signals = signals::Signals::listen()?;
        let stopped = async move {
            signals.next().await;
            tracing::info!("stopping: jobs come to a commit; a second signal ends the server at once");
            tokio::spawn(async move {
                signals.next_within(grace).await;
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

/// How the process takes part in a cluster. Copies of state are kept below the state directory, or go with the process.
fn cluster(args: &ServeArgs, staging: &StagingDir) -> Result<Option<ClusterConfig>> {
    let Some(bootstrap) = &args.bootstrap else { return Ok(None) };
    let mut client = KafkaClientConfig::new(bootstrap);
    client.properties = args.kafka.iter().cloned().collect();
    client.properties_allowed = client.properties.keys().cloned().collect();
    let state_dir = args.state_dir.clone().unwrap_or_else(|| staging.path().join("state")).join("cluster");
    Ok(Some(ClusterConfig {
        client,
        name: args.cluster.clone(),
        process: args.process_id.clone().map_or_else(|| process_id(&state_dir), Ok)?,
        partitions: args.partitions,
        standby_replicas: args.standby_replicas,
        session_timeout: Duration::from_millis(u64::from(args.session_timeout_ms)),
        max_poll_interval: Duration::from_millis(u64::from(args.max_poll_interval_ms)),
        state_dir,
        advertise: args.advertise.clone(),
    }))
}

/// The name of this process, which stays with its state directory.
fn process_id(dir: &Path) -> Result<String> {
    let failed = |e: std::io::Error| {
        Error::external("STATE_IO", format!("cannot use the state directory {}: {e}", dir.display()))
            .help("check that the directory is writable and its disk is healthy, or give a --process-id")
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    let file = dir.join("PROCESS");
    match std::fs::read_to_string(&file) {
        Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        Ok(_) => Err(failed(std::io::ErrorKind::InvalidData.into())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let id = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
            std::fs::write(&file, &id).map_err(failed).map(|()| id)
        }
        Err(e) => Err(failed(e)),
    }
}

fn options(args: &ServeArgs, staging: &StagingDir) -> Result<ServeOptions> {
    let default = Settings::default();
    Ok(ServeOptions {
        cluster: cluster(args, staging)?,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)),
        savepoints: args.savepoint_dir.as_deref().map(Places::below).transpose()?,
        staging_dir: staging.path().to_owned(),
        settings: Settings {
            cache_dir: ComponentStore::default_cache_dir(),
            store: args.store.options(args.state_dir.as_deref()),
            shards: args.shards.unwrap_or(default.shards),
            epoch_ms: args.epoch_ms.unwrap_or(default.epoch_ms),
            outputs_bytes: args.outputs_mib.map_or(default.outputs_bytes, |mib| (mib as usize) << 20),
            compiler: super::compiler(),
            kafka: args.kafka.iter().cloned().collect(),
            state_ttl: StateTtl::of(&args.state_ttl.state_ttl)?.for_any(),
            commits_on: args.bootstrap.clone(),
            allowed: Allowed::Only(args.allow_capability.iter().cloned().collect()),
            ..default
        },
        // a cluster keeps its copies in a way of its own
        state_dir: args.state_dir.clone().filter(|_| args.bootstrap.is_none()),
        grace: Duration::from_secs(u64::from(args.grace_seconds)),
        jobs_max: usize::from(args.jobs_max),
        bundle_retries: args.bundle_retries,
        workers: WorkerOptions {
            message_bytes_max: usize::from(args.message_mib_max) << 20,
            start_timeout: Duration::from_secs(u64::from(args.worker_start_seconds)),
            process: args.allow_process_workers,
            docker: args.allow_docker_workers,
            hide_elements: args.hide_elements,
        },
    })
}
