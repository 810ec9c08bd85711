//! The client's side of the Job API, for the command line: what SDKs do of their own, without them.

use super::runner::StateQuestion;
use prost_types::{Struct, Value, value::Kind};
use std::collections::BTreeMap;
use thalweg_core::error::{Error, Result};
use thalweg_proto::job::job_messages_response::Response;
use thalweg_proto::job::job_service_client::JobServiceClient;
use thalweg_proto::job::job_state::Enum as Wire;
use thalweg_proto::job::{
    CancelJobRequest, DrainJobRequest, GetJobStateRequest, GetJobsRequest, JobMessagesRequest, PrepareJobRequest,
    RunJobRequest,
};
use thalweg_proto::life::life_service_client::LifeServiceClient;
use thalweg_proto::life::state_service_client::StateServiceClient;
use thalweg_proto::life::{GetStateRequest, JobRequest, ListStatesRequest, SavepointRequest, ScanStateRequest};
use thalweg_proto::pipeline::Pipeline;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// Largest message to a server: a pipeline.
const REQUEST_BYTES_MAX: usize = 256 << 20;
/// Largest answer about state, some times what a server reads for it: bytes that are shown by their digits take more.
const STATE_BYTES_MAX: usize = 64 << 20;

/// A job as a server knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownJob {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its state, in Beam's words.
    pub state: &'static str,
}

/// Asks a server about jobs.
#[derive(Clone, Debug)]
pub struct JobClient(JobServiceClient<Channel>, LifeServiceClient<Channel>, StateServiceClient<Channel>);

impl JobClient {
    /// Connects to a server, `host:port`.
    ///
    /// # Errors
    /// `JOB_SERVER` when nobody answers there.
    pub async fn connect(server: &str) -> Result<Self> {
        let failed = |why: String| {
            Error::external("JOB_SERVER", format!("cannot reach a server at {server}: {why}"))
                .help("start one by `thalweg serve`, or say where it is by --server HOST:PORT")
        };
        let endpoint = Endpoint::from_shared(format!("http://{server}")).map_err(|e| failed(e.to_string()))?;
        let channel = endpoint.connect().await.map_err(|e| failed(e.to_string()))?;
        let life = LifeServiceClient::new(channel.clone());
        let state = StateServiceClient::new(channel.clone()).max_decoding_message_size(STATE_BYTES_MAX);
        Ok(Self(JobServiceClient::new(channel).max_encoding_message_size(REQUEST_BYTES_MAX), life, state))
    }

    /// Submits a pipeline that needs no artifacts; gives the job's id.
    ///
    /// # Errors
    /// `JOB_REFUSED` with what the server says.
    pub async fn submit(
        &mut self,
        name: &str,
        pipeline: Pipeline,
        options: &BTreeMap<String, String>,
    ) -> Result<String> {
        let value = |text: &String| Value { kind: Some(Kind::StringValue(text.clone())) };
        let fields = options.iter().map(|(name, text)| (format!("beam:option:{name}:v1"), value(text))).collect();
        let request = PrepareJobRequest {
            pipeline: Some(pipeline),
            pipeline_options: Some(Struct { fields }),
            job_name: name.to_owned(),
        };
        let prepared = self.0.prepare(request).await.map_err(|s| refused(&s))?.into_inner();
        let run = RunJobRequest { preparation_id: prepared.preparation_id, retrieval_token: String::new() };
        Ok(self.0.run(run).await.map_err(|s| refused(&s))?.into_inner().job_id)
    }

    /// All jobs, oldest first.
    ///
    /// # Errors
    /// As for [`JobClient::submit`].
    pub async fn jobs(&mut self) -> Result<Vec<KnownJob>> {
        let jobs = self.0.get_jobs(GetJobsRequest {}).await.map_err(|s| refused(&s))?.into_inner().job_info;
        let known =
            |job: thalweg_proto::job::JobInfo| KnownJob { state: word(job.state), id: job.job_id, name: job.job_name };
        Ok(jobs.into_iter().map(known).collect())
    }

    /// The state of a job, in Beam's words.
    ///
    /// # Errors
    /// As for [`JobClient::submit`].
    pub async fn state(&mut self, job: &str) -> Result<&'static str> {
        let request = GetJobStateRequest { job_id: job.to_owned() };
        Ok(word(self.0.get_state(request).await.map_err(|s| refused(&s))?.into_inner().state))
    }

    /// Follows a job to its end; `said` gets its messages. Gives its last state.
    ///
    /// # Errors
    /// As for [`JobClient::submit`].
    pub async fn follow(&mut self, job: &str, mut said: impl FnMut(&str)) -> Result<&'static str> {
        let request = JobMessagesRequest { job_id: job.to_owned() };
        let mut stream = self.0.get_message_stream(request).await.map_err(|s| refused(&s))?.into_inner();
        while let Some(message) = stream.message().await.map_err(|s| refused(&s))? {
            if let Some(Response::MessageResponse(message)) = message.response {
                said(&message.message_text);
            }
        }
        self.state(job).await
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// As for [`JobClient::submit`].
    pub async fn cancel(&mut self, job: &str) -> Result<&'static str> {
        let request = CancelJobRequest { job_id: job.to_owned() };
        Ok(word(self.0.cancel(request).await.map_err(|s| refused(&s))?.into_inner().state))
    }

    /// Has a job read nothing more, and wait.
    ///
    /// # Errors
    /// As for [`JobClient::submit`].
    pub async fn pause(&mut self, job: &str) -> Result<&'static str> {
        let request = JobRequest { job_id: job.to_owned() };
        Ok(word(self.1.pause(request).await.map_err(|s| refused(&s))?.into_inner().state))
    }

    /// Has a job that was paused go on.
    ///
    /// # Errors
    /// As for [`JobClient::submit`].
    pub async fn resume(&mut self, job: &str) -> Result<&'static str> {
        let request = JobRequest { job_id: job.to_owned() };
        Ok(word(self.1.resume(request).await.map_err(|s| refused(&s))?.into_inner().state))
    }

    /// Has the server copy what a job keeps; waits until the copy is whole. With `stop` the job ends then. Gives where the copy is.
    ///
    /// # Errors
    /// As for [`JobClient::submit`].
    pub async fn savepoint(&mut self, asked: SavepointRequest) -> Result<String> {
        Ok(self.1.savepoint(asked).await.map_err(|s| refused(&s))?.into_inner().place)
    }

    /// Asks for what a job keeps; gives the JSON of the answer.
    ///
    /// # Errors
    /// As for [`JobClient::submit`]; the server's own code stands first in the sentence.
    pub async fn state_of(&mut self, job: &str, question: StateQuestion) -> Result<String> {
        let job_id = job.to_owned();
        let asked = match question {
            StateQuestion::List => self.2.list(ListStatesRequest { job_id }).await,
            StateQuestion::Get(of) => self.2.get(GetStateRequest { job_id, ..of }).await,
            StateQuestion::Scan(of) => self.2.scan(ScanStateRequest { job_id, ..of }).await,
        };
        Ok(asked.map_err(|s| refused(&s))?.into_inner().json)
    }

    /// Drains a job.
    ///
    /// # Errors
    /// As for [`JobClient::submit`].
    pub async fn drain(&mut self, job: &str) -> Result<&'static str> {
        let request = DrainJobRequest { job_id: job.to_owned() };
        Ok(word(self.0.drain(request).await.map_err(|s| refused(&s))?.into_inner().state))
    }
}

fn word(state: i32) -> &'static str {
    Wire::try_from(state).unwrap_or(Wire::Unspecified).as_str_name()
}

/// The server's words: its code and what to do stand in them.
fn refused(status: &Status) -> Error {
    Error::user("JOB_REFUSED", status.message().to_owned()).help("see what the server says above, and its log")
}
