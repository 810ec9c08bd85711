//! The data service: feeds out, outputs and timers in.
//!
//! One unnamed stream per harness carries all its bundles. A named one, which some SDKs open beside it, is listened to
//! and never written.

use super::{Listener, Outgoing, Services};
use thalweg_proto::fn_execution::Elements;
use thalweg_proto::fn_execution::beam_fn_data_server::BeamFnData;
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming};

#[tonic::async_trait]
impl BeamFnData for Services {
    type DataStream = Outgoing<Elements>;

    async fn data(&self, request: Request<Streaming<Elements>>) -> Result<Response<Self::DataStream>, Status> {
        let session = self.registry.of(request.metadata())?;
        let named = request.metadata().get("data_stream_id").is_some_and(|id| !id.is_empty());
        let feeds: Outgoing<Elements> =
            if named { Box::pin(tokio_stream::pending()) } else { Box::pin(session.open_data()?.map(Ok)) };
        let mut elements = request.into_inner();
        tokio::spawn(async move {
            let mut listener = Listener::new(session, "data");
            loop {
                match elements.message().await {
                    Ok(Some(elements)) => listener.session.receive(elements).await,
                    Ok(None) if named => {
                        listener.spare = true;
                        return;
                    }
                    Ok(None) => return listener.closed(),
                    Err(status) => return listener.broken(&status),
                }
            }
        });
        Ok(Response::new(feeds))
    }
}
