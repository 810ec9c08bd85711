//! The gRPC services that a harness connects to, each a thin adapter between a stream and the session it belongs to.
//!
//! Every stream names its harness in the metadata `worker_id`; a stream of nobody we started is refused.

mod control;
mod data;
mod logging;
mod provision;
mod state;
mod status;

pub use logging::{LogRecord, LogSink, Severity};

use super::failure::broken;
use super::lock;
use super::session::Session;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use thalweg_core::error::Error;
use thalweg_proto::fn_execution::{
    beam_fn_control_server::BeamFnControlServer, beam_fn_data_server::BeamFnDataServer,
    beam_fn_logging_server::BeamFnLoggingServer, beam_fn_state_server::BeamFnStateServer,
    beam_fn_worker_status_server::BeamFnWorkerStatusServer, provision_service_server::ProvisionServiceServer,
};
use tokio_stream::Stream;
use tonic::Status;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;

/// A stream of responses.
type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The sessions that streams may belong to, by worker id.
#[derive(Default)]
pub(super) struct Registry {
    sessions: Mutex<BTreeMap<String, Weak<Session>>>,
}

impl Registry {
    /// Lets a worker connect.
    pub fn add(&self, session: &Arc<Session>) {
        lock(&self.sessions).insert(session.worker().to_owned(), Arc::downgrade(session));
    }

    /// Refuses a worker from now on.
    pub fn remove(&self, worker: &str) {
        lock(&self.sessions).remove(worker);
    }

    /// The session of a stream.
    fn of(&self, metadata: &MetadataMap) -> Result<Arc<Session>, Status> {
        let worker = metadata.get("worker_id").and_then(|value| value.to_str().ok());
        let worker = worker.ok_or_else(|| Status::invalid_argument("the metadata worker_id is missing"))?;
        let session = lock(&self.sessions).get(worker).and_then(Weak::upgrade);
        session.ok_or_else(|| Status::failed_precondition(format!("no worker {worker} is expected here")))
    }

    /// All sessions.
    fn all(&self) -> Vec<Arc<Session>> {
        lock(&self.sessions).values().filter_map(Weak::upgrade).collect()
    }
}

/// Reads a stream of a session for as long as it lives. Whatever waits for what the stream would say would wait for ever, so the session ends with its
/// listener, also where that panics.
struct Listener {
    session: Arc<Session>,
    stream: &'static str,
    /// Whether the session can go on without it.
    spare: bool,
}

impl Listener {
    fn new(session: Arc<Session>, stream: &'static str) -> Self {
        Self { session, stream, spare: false }
    }

    /// The worker has closed the stream.
    fn closed(self) {
        let why = format!("worker {} is gone: it closed its {} stream", self.session.worker(), self.stream);
        self.session.close(Error::external("WORKER_LOST", why));
    }

    /// The stream broke.
    fn broken(self, status: &Status) {
        self.session.close(broken(self.session.worker(), self.stream, status));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if !self.spare {
            // after `closed` or `broken` this says nothing: the first reason stands
            let (worker, stream) = (self.session.worker(), self.stream);
            let why = format!("worker {worker} is given up: what read its {stream} stream has panicked");
            self.session.close(Error::external("WORKER_LOST", why).help("the server's log has the panic: report it"));
        }
    }
}

/// All services over one registry.
#[derive(Clone)]
struct Services {
    registry: Arc<Registry>,
    logs: LogSink,
}

/// The services as routes of a gRPC server that takes messages of up to `message_bytes_max` bytes.
pub(super) fn routes(registry: Arc<Registry>, logs: LogSink, message_bytes_max: usize) -> Routes {
    let services = Arc::new(Services { registry, logs });
    let mut routes = Routes::builder();
    let max = message_bytes_max;
    routes
        .add_service(BeamFnControlServer::from_arc(Arc::clone(&services)).max_decoding_message_size(max))
        .add_service(BeamFnDataServer::from_arc(Arc::clone(&services)).max_decoding_message_size(max))
        .add_service(BeamFnStateServer::from_arc(Arc::clone(&services)).max_decoding_message_size(max))
        .add_service(BeamFnLoggingServer::from_arc(Arc::clone(&services)).max_decoding_message_size(max))
        .add_service(BeamFnWorkerStatusServer::from_arc(Arc::clone(&services)).max_decoding_message_size(max))
        .add_service(ProvisionServiceServer::from_arc(services));
    routes.routes()
}
