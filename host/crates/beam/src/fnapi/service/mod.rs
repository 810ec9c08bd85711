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

use super::lock;
use super::session::Session;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
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
