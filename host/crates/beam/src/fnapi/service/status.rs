//! The status service: a worker that offers reports may connect; one is asked for when the host wants to show it.

use super::{Outgoing, Services};
use thalweg_proto::fn_execution::beam_fn_worker_status_server::BeamFnWorkerStatus;
use thalweg_proto::fn_execution::{WorkerStatusRequest, WorkerStatusResponse};
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming};

#[tonic::async_trait]
impl BeamFnWorkerStatus for Services {
    type WorkerStatusStream = Outgoing<WorkerStatusRequest>;

    async fn worker_status(
        &self,
        request: Request<Streaming<WorkerStatusResponse>>,
    ) -> Result<Response<Self::WorkerStatusStream>, Status> {
        let session = self.registry.of(request.metadata())?;
        let questions = session.open_status()?;
        let mut reports = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(report)) = reports.message().await {
                session.report(report);
            }
        });
        Ok(Response::new(Box::pin(questions.map(Ok))))
    }
}
