//! The provision service.

use super::Services;
use thalweg_proto::fn_execution::provision_service_server::ProvisionService;
use thalweg_proto::fn_execution::{GetProvisionInfoRequest, GetProvisionInfoResponse};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl ProvisionService for Services {
    async fn get_provision_info(
        &self,
        request: Request<GetProvisionInfoRequest>,
    ) -> Result<Response<GetProvisionInfoResponse>, Status> {
        let info = self.registry.of(request.metadata())?.provision();
        Ok(Response::new(GetProvisionInfoResponse { info: Some(info) }))
    }
}
