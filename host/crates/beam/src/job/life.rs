//! The `LifeService`: what can be asked of a job that runs and Beam's Job API has no words for.

use super::runner::{JobRunner, SAVEPOINT_HELP, not_running};
use super::service::Service;
use super::state::JobState;
use super::status::{refuse, status};
use thalweg_core::error::Result;
use thalweg_proto::life::life_service_server::LifeService;
use thalweg_proto::life::{JobRequest, JobResponse, SavepointRequest, SavepointResponse};
use tonic::{Code, Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl LifeService for Service {
    async fn pause(&self, request: Request<JobRequest>) -> Answer<JobResponse> {
        self.hold(&request.into_inner().job_id, true).await
    }

    async fn resume(&self, request: Request<JobRequest>) -> Answer<JobResponse> {
        self.hold(&request.into_inner().job_id, false).await
    }

    /// Whatever else is asked of the job meanwhile is done: a savepoint may take long.
    async fn savepoint(&self, request: Request<SavepointRequest>) -> Answer<SavepointResponse> {
        let asked = request.into_inner();
        let (record, job_id) = (self.find(&asked.job_id)?, &asked.job_id);
        if !record.is_started() || record.state().is_terminal() {
            return Err(refuse(Code::FailedPrecondition, &not_running(job_id, SAVEPOINT_HELP)));
        }
        let place = self.ask_runner(move |runner| runner.savepoint(&asked)).await.map_err(|e| status(&e))?;
        Ok(Response::new(SavepointResponse { state: record.state().to_wire().into(), place }))
    }
}

impl Service {
    async fn hold(&self, id: &str, paused: bool) -> Answer<JobResponse> {
        let record = self.find(id)?;
        let _one_at_a_time = record.control.lock().await;
        if !record.is_started() || !matches!(record.state(), JobState::Starting | JobState::Running | JobState::Stopped)
        {
            let error = not_running(id, "only a job that runs can be paused, and only one that is paused goes on");
            return Err(refuse(Code::FailedPrecondition, &error));
        }
        let asked = id.to_owned();
        let ask = move |runner: &dyn JobRunner| if paused { runner.pause(&asked) } else { runner.resume(&asked) };
        self.ask_runner(ask).await.map_err(|e| status(&e))?;
        record.enter(if paused { JobState::Stopped } else { JobState::Running });
        Ok(Response::new(JobResponse { state: record.state().to_wire().into() }))
    }
}
