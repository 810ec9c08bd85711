//! The `StateService`: what a job keeps, for those who ask from outside.

use super::runner::StateQuestion;
use super::service::Service;
use super::status::status;
use thalweg_core::error::Result;
use thalweg_proto::life::state_service_server::StateService;
use thalweg_proto::life::{GetStateRequest, ListStatesRequest, ScanStateRequest, StateResponse};
use tonic::{Request, Response, Status};

type Answer = Result<Response<StateResponse>, Status>;

#[tonic::async_trait]
impl StateService for Service {
    async fn list(&self, request: Request<ListStatesRequest>) -> Answer {
        self.answer(request.into_inner().job_id, StateQuestion::List).await
    }

    async fn get(&self, request: Request<GetStateRequest>) -> Answer {
        let request = request.into_inner();
        self.answer(request.job_id.clone(), StateQuestion::Get(request)).await
    }

    async fn scan(&self, request: Request<ScanStateRequest>) -> Answer {
        let request = request.into_inner();
        self.answer(request.job_id.clone(), StateQuestion::Scan(request)).await
    }
}

impl Service {
    /// Unlike orders, questions about one job may overlap.
    async fn answer(&self, id: String, question: StateQuestion) -> Answer {
        self.find(&id)?;
        let json = self.ask_runner(move |runner| runner.state(&id, question)).await.map_err(|e| status(&e))?;
        Ok(Response::new(StateResponse { json }))
    }
}
