//! The control service: instructions out, responses in.

use super::{Listener, Outgoing, Services};
use thalweg_proto::fn_execution::beam_fn_control_server::BeamFnControl;
use thalweg_proto::fn_execution::{
    GetProcessBundleDescriptorRequest, InstructionRequest, InstructionResponse, ProcessBundleDescriptor,
};
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming};

#[tonic::async_trait]
impl BeamFnControl for Services {
    type ControlStream = Outgoing<InstructionRequest>;

    async fn control(
        &self,
        request: Request<Streaming<InstructionResponse>>,
    ) -> Result<Response<Self::ControlStream>, Status> {
        let session = self.registry.of(request.metadata())?;
        let instructions = session.open_control()?;
        let mut responses = request.into_inner();
        tokio::spawn(async move {
            let listener = Listener::new(session, "control");
            loop {
                match responses.message().await {
                    Ok(Some(response)) => listener.session.answer(response).await,
                    Ok(None) => return listener.closed(),
                    Err(status) => return listener.broken(&status),
                }
            }
        });
        Ok(Response::new(Box::pin(instructions.map(Ok))))
    }

    async fn get_process_bundle_descriptor(
        &self,
        request: Request<GetProcessBundleDescriptorRequest>,
    ) -> Result<Response<ProcessBundleDescriptor>, Status> {
        let named = self.registry.of(request.metadata()).ok();
        let id = &request.get_ref().process_bundle_descriptor_id;
        // an SDK may ask outside its worker's channel; that can be answered while only one worker has such a stage
        let sessions = named.map_or_else(|| self.registry.all(), |session| vec![session]);
        let mut found = sessions.iter().filter_map(|session| session.descriptor(id));
        let found = found.next().filter(|_| found.next().is_none());
        found.map(Response::new).ok_or_else(|| Status::not_found(format!("no process bundle descriptor {id}")))
    }
}
