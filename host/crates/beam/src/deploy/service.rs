//! The server's side.

use std::sync::Arc;
use thalweg_core::error::{Domain, Error};
use thalweg_proto::deploy::deploy_service_server::{DeployService, DeployServiceServer};
use thalweg_proto::deploy::{DeployRequest, DeployResponse, Deployed, RollBackRequest, StatusRequest, StatusResponse};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

/// Names of what the status of an error carries besides its message.
pub(super) const CODE: &str = "thalweg-code";
pub(super) const HELP: &str = "thalweg-help-bin";
pub(super) const TRACE: &str = "thalweg-trace-bin";

/// What deploys.
pub trait Deployer: Send + Sync + 'static {
    /// Has a transform of a job run another component; gives the epoch behind which it does. May block.
    ///
    /// # Errors
    /// Why not; the job goes on as it was.
    fn deploy(&self, request: DeployRequest) -> Result<u64, Error>;

    /// Goes back to the version before the last one. May block.
    ///
    /// # Errors
    /// As for [`Deployer::deploy`].
    fn roll_back(&self, request: RollBackRequest) -> Result<u64, Error>;

    /// What runs.
    ///
    /// # Errors
    /// When there is no such job.
    fn status(&self, request: StatusRequest) -> Result<Vec<Deployed>, Error>;
}

struct Service(Arc<dyn Deployer>);

/// Adds the service to those the caller serves on the same port. A request is at most `bytes_max` long, component included.
#[must_use]
pub fn add_to(routes: Routes, deployer: Arc<dyn Deployer>, bytes_max: usize) -> Routes {
    routes.add_service(DeployServiceServer::new(Service(deployer)).max_decoding_message_size(bytes_max))
}

impl Service {
    /// Runs what may block on a thread that may.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Deployer) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Status> {
        let deployer = Arc::clone(&self.0);
        let answered = tokio::task::spawn_blocking(move || ask(deployer.as_ref())).await;
        answered.map_err(|e| Status::internal(format!("the deployment ended early: {e}")))?.map_err(|e| status(&e))
    }
}

/// An error with its code, help and trace.
fn status(error: &Error) -> Status {
    let code =
        if matches!(error.domain, Domain::User | Domain::Guest) { Code::FailedPrecondition } else { Code::Internal };
    let mut status = Status::new(code, error.message.clone());
    let metadata = status.metadata_mut();
    metadata.insert(CODE, tonic::metadata::MetadataValue::from_static(error.code));
    for (name, text) in [(HELP, &error.help), (TRACE, &error.trace)] {
        let cut = text.get(..text.floor_char_boundary(2000)).unwrap_or_default();
        metadata.insert_bin(name, tonic::metadata::MetadataValue::from_bytes(cut.as_bytes()));
    }
    status
}

#[tonic::async_trait]
impl DeployService for Service {
    async fn deploy(&self, request: Request<DeployRequest>) -> Result<Response<DeployResponse>, Status> {
        let request = request.into_inner();
        let epoch = self.ask(move |deployer| deployer.deploy(request)).await?;
        Ok(Response::new(DeployResponse { epoch }))
    }

    async fn roll_back(&self, request: Request<RollBackRequest>) -> Result<Response<DeployResponse>, Status> {
        let request = request.into_inner();
        let epoch = self.ask(move |deployer| deployer.roll_back(request)).await?;
        Ok(Response::new(DeployResponse { epoch }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let request = request.into_inner();
        let deployed = self.ask(move |deployer| deployer.status(request)).await?;
        Ok(Response::new(StatusResponse { deployed }))
    }
}
