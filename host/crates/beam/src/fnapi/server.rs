//! The Fn API server: all services on one port, shared by the harnesses of all jobs of a process.

use super::config::FnApiConfig;
use super::environment::Allowed;
use super::harness::{Harness, HarnessSpec};
use super::service::{LogSink, Registry, routes};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thalweg_core::error::{Error, Result};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// How much a worker may send on one stream, and on all of a connection, before it is read: outputs come in messages of
/// up to 10 MiB, and small windows make each of them wait for the reader many times.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;

/// The services that harnesses connect to. Dropping the last handle does not stop it: call [`FnApiServer::stop`].
///
/// # Example
/// ```no_run
/// use std::sync::Arc;
/// use thalweg_beam::fnapi::{FnApiConfig, FnApiServer};
///
/// let runtime = tokio::runtime::Runtime::new()?;
/// let server = FnApiServer::start(runtime.handle(), FnApiConfig::default(), Arc::new(|record| {
///     eprintln!("{:?} {}", record.severity, record.message);
/// }))?;
/// println!("workers reach us at {}", server.endpoint());
/// server.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FnApiServer {
    runtime: Handle,
    config: Arc<FnApiConfig>,
    registry: Arc<Registry>,
    logs: LogSink,
    endpoint: String,
    address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    started: AtomicU64,
}

impl FnApiServer {
    /// Listens and serves on tasks of `runtime`. Records of workers' logs go to `logs`.
    ///
    /// # Errors
    /// `LISTEN_FAILED` when the address cannot be had.
    pub fn start(runtime: &Handle, config: FnApiConfig, logs: LogSink) -> Result<Arc<Self>> {
        let failed = |e: std::io::Error| {
            Error::external("LISTEN_FAILED", format!("cannot listen on {} for workers: {e}", config.listen))
                .help("choose another address, or port 0 for any free one")
        };
        let listener = TcpListener::bind(config.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let incoming = {
            let _inside = runtime.enter(); // registering a socket needs the runtime's reactor
            // keep-alive is left to TCP: a worker that holds its interpreter's lock for minutes answers no ping of HTTP/2
            TcpIncoming::from(tokio::net::TcpListener::from_std(listener).map_err(failed)?)
                .with_nodelay(Some(true))
                .with_keepalive(Some(Duration::from_secs(60)))
        };
        let server = Self::make(runtime, config, logs, Some(address));
        let routes = server.routes();
        let mut stop = server.stop.subscribe();
        runtime.spawn(async move {
            let serving = Server::builder()
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_frame_size(1 << 20)
                .add_routes(routes)
                .serve_with_incoming_shutdown(incoming, async move {
                    let _ = stop.wait_for(|stop| *stop).await;
                });
            if let Err(error) = serving.await {
                tracing::error!(%error, "the Fn API server ended");
            }
        });
        Ok(server)
    }

    /// A server that does not listen: the host adds [`FnApiServer::routes`] to a gRPC server of its own, which workers
    /// reach at `config.advertise`.
    #[must_use]
    pub fn unbound(runtime: &Handle, config: FnApiConfig, logs: LogSink) -> Arc<Self> {
        Self::make(runtime, config, logs, None)
    }

    fn make(runtime: &Handle, config: FnApiConfig, logs: LogSink, address: Option<SocketAddr>) -> Arc<Self> {
        let endpoint = match address {
            Some(address) if config.advertise.is_empty() => address.to_string(),
            _ => config.advertise.clone(),
        };
        Arc::new(Self {
            runtime: runtime.clone(),
            config: Arc::new(config),
            registry: Arc::default(),
            logs,
            endpoint,
            address,
            stop: watch::Sender::new(false),
            started: AtomicU64::new(0),
        })
    }

    /// The services, to be added to a gRPC server.
    #[must_use]
    pub fn routes(&self) -> Routes {
        routes(Arc::clone(&self.registry), Arc::clone(&self.logs), self.config.message_bytes_max)
    }

    /// What workers are told to connect to, `host:port`; descriptors carry it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What of this machine may be used for workers.
    #[must_use]
    pub fn allowed(&self) -> Allowed {
        self.config.allowed
    }

    /// Where it listens, if it does so itself.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Starts a harness and supervises it. Returns at once: its workers give credit when it is up.
    #[must_use]
    pub fn harness(self: &Arc<Self>, spec: HarnessSpec) -> Harness {
        Harness::start(self, spec)
    }

    /// Ends the server. Harnesses are to be stopped before.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn config(&self) -> &Arc<FnApiConfig> {
        &self.config
    }

    pub(super) fn logs(&self) -> &LogSink {
        &self.logs
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// A worker id that no other worker of this process has or had.
    pub(super) fn worker_id(&self, name: &str) -> String {
        format!("{name}-{}", self.started.fetch_add(1, Ordering::Relaxed))
    }
}
