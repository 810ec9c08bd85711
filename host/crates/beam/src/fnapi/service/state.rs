//! The state service: each request is answered in place, in the task of its stream, from the view of its bundle.

use super::{Outgoing, Services};
use thalweg_proto::fn_execution::beam_fn_state_server::BeamFnState;
use thalweg_proto::fn_execution::{StateRequest, StateResponse};
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming};

#[tonic::async_trait]
impl BeamFnState for Services {
    type StateStream = Outgoing<StateResponse>;

    async fn state(&self, request: Request<Streaming<StateRequest>>) -> Result<Response<Self::StateStream>, Status> {
        let session = self.registry.of(request.metadata())?;
        let answers = request.into_inner().map(move |request| request.map(|request| session.state(request)));
        Ok(Response::new(Box::pin(answers)))
    }
}
