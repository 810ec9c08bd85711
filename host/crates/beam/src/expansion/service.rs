//! The `ExpansionService`, beside the other services on their port.

use super::{Expander, expand};
use crate::job::failure_text;
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::error::Error;
use thalweg_proto::expansion::expansion_service_server::{ExpansionService, ExpansionServiceServer};
use thalweg_proto::expansion::{
    DiscoverSchemaTransformRequest, DiscoverSchemaTransformResponse, ExpansionRequest, ExpansionResponse,
    SchemaTransformConfig,
};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// Bytes of a request: the components that a transform's inputs refer to.
const REQUEST_BYTES_MAX: usize = 64 << 20;

struct Service(Arc<dyn Expander>);

/// Adds the service to those the caller serves on the same port.
#[must_use]
pub fn add_to(routes: Routes, expander: Arc<dyn Expander>) -> Routes {
    let server = ExpansionServiceServer::new(Service(expander));
    routes.add_service(server.max_decoding_message_size(REQUEST_BYTES_MAX))
}

#[tonic::async_trait]
impl ExpansionService for Service {
    /// A transform that cannot be expanded is an answer with an error, as clients expect it.
    async fn expand(&self, request: Request<ExpansionRequest>) -> Result<Response<ExpansionResponse>, Status> {
        let (expander, request) = (self.0.clone(), request.into_inner());
        let answered = tokio::task::spawn_blocking(move || expand(expander.as_ref(), request)).await;
        let answered = answered.unwrap_or_else(|e| {
            Err(Error::internal("EXPANSION_FAILED", format!("the expansion ended early: {e}"))
                .help("this is a fault of Thalweg; the server's log holds the panic's message and place"))
        });
        let answer = answered.unwrap_or_else(|error| {
            tracing::info!(target: "expansion", "{}: {}", error.code, error.message);
            ExpansionResponse { error: failure_text(&error), ..ExpansionResponse::default() }
        });
        Ok(Response::new(answer))
    }

    async fn discover_schema_transform(
        &self,
        _: Request<DiscoverSchemaTransformRequest>,
    ) -> Result<Response<DiscoverSchemaTransformResponse>, Status> {
        let configs = self.0.offers().into_iter().map(|offer| {
            let config = SchemaTransformConfig {
                config_schema: Some(offer.configuration),
                input_pcollection_names: offer.inputs,
                output_pcollection_names: offer.outputs,
                description: offer.description,
            };
            (offer.identifier, config)
        });
        let schema_transform_configs: BTreeMap<_, _> = configs.collect();
        Ok(Response::new(DiscoverSchemaTransformResponse { schema_transform_configs, error: String::new() }))
    }
}
