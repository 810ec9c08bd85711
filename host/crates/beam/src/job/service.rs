//! The `JobService`: every call of it, in terms of the table of jobs and the runner behind.

use super::options::JobOptions;
use super::record::JobRecord;
use super::runner::{Importance, JobReporter, JobRunner, PreparedJob, not_running};
use super::state::JobState;
use super::status::{refuse, status};
use super::stream::{Closing, Events, messages, states};
use super::table::JobTable;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use thalweg_core::error::{Error, Result};
use thalweg_proto::job::job_service_server::JobService;
use thalweg_proto::job::*;
use thalweg_proto::pipeline::ApiServiceDescriptor;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

/// Deadlines from here on are taken for the SDK's `job_server_timeout` (300 s by default), which it also puts on streams
/// that it opens before `Run` and that would then end, with an exception, before a longer job does. Refused there, the
/// SDK opens them again after `Run` without a deadline, and misses nothing. Source: apache/beam issue 35867.
const CLIENT_TIMEOUT_MIN: Duration = Duration::from_secs(240);

/// The service. Its answers to one client never wait for another client's job.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) runner: Arc<dyn JobRunner>,
    pub(super) table: Arc<JobTable>,
    pub(super) closing: Closing,
    /// Where clients reach the staging service: this very server.
    pub(super) endpoint: String,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl JobService for Service {
    async fn prepare(&self, request: Request<PrepareJobRequest>) -> Answer<PrepareJobResponse> {
        let request = request.into_inner();
        let (job, warning) = self.read(request).map_err(|e| status(&e))?;
        let checked = job.clone();
        self.ask_runner(move |runner| runner.prepare(&checked)).await.map_err(|e| status(&e))?;
        let record = self.table.insert(job).map_err(|e| refuse(Code::ResourceExhausted, &e))?;
        if let Some(warning) = warning {
            record.say(Importance::Warning, warning);
        }
        Ok(Response::new(PrepareJobResponse {
            preparation_id: record.id().to_owned(),
            artifact_staging_endpoint: Some(ApiServiceDescriptor { url: self.endpoint.clone(), ..Default::default() }),
            staging_session_token: record.token().to_owned(),
        }))
    }

    /// Starts the job once, however often it is asked: a client that lost the answer may ask again. A job that cannot
    /// be started is a failed job, told by its streams.
    async fn run(&self, request: Request<RunJobRequest>) -> Answer<RunJobResponse> {
        let record = self.find(&request.into_inner().preparation_id)?;
        let job_id = record.id().to_owned();
        let (runner, started) = (self.runner.clone(), record.clone());
        // a task of its own: a client that hangs up does not leave a job half started
        let starting = tokio::spawn(async move { start(runner, started).await });
        starting.await.map_err(|e| Status::internal(e.to_string()))?;
        Ok(Response::new(RunJobResponse { job_id }))
    }

    async fn get_jobs(&self, _: Request<GetJobsRequest>) -> Answer<GetJobsResponse> {
        let info = |record: Arc<JobRecord>| JobInfo {
            job_id: record.id().to_owned(),
            job_name: record.job().name.clone(),
            pipeline_options: Some(record.job().options.masked()),
            state: record.state().to_wire().into(),
        };
        Ok(Response::new(GetJobsResponse { job_info: self.table.all().into_iter().map(info).collect() }))
    }

    async fn get_state(&self, request: Request<GetJobStateRequest>) -> Answer<JobStateEvent> {
        let (state, since) = self.find(&request.into_inner().job_id)?.state_since();
        Ok(Response::new(JobStateEvent { state: state.to_wire().into(), timestamp: Some(since) }))
    }

    async fn get_pipeline(&self, request: Request<GetJobPipelineRequest>) -> Answer<GetJobPipelineResponse> {
        let record = self.find(&request.into_inner().job_id)?;
        Ok(Response::new(GetJobPipelineResponse { pipeline: Some(record.job().pipeline.as_ref().clone()) }))
    }

    async fn cancel(&self, request: Request<CancelJobRequest>) -> Answer<CancelJobResponse> {
        let record = self.find(&request.into_inner().job_id)?;
        let _one_at_a_time = record.control.lock().await;
        if !record.is_started() {
            record.enter(JobState::Cancelled);
        } else if !record.state().is_terminal() {
            let id = record.id().to_owned();
            self.ask_runner(move |runner| runner.cancel(&id)).await.map_err(|e| status(&e))?;
            record.enter(JobState::Cancelling);
        }
        Ok(Response::new(CancelJobResponse { state: record.state().to_wire().into() }))
    }

    async fn drain(&self, request: Request<DrainJobRequest>) -> Answer<DrainJobResponse> {
        let record = self.find(&request.into_inner().job_id)?;
        let _one_at_a_time = record.control.lock().await;
        if !record.is_started() {
            let error = not_running(record.id(), "run the job first, or cancel it");
            return Err(refuse(Code::FailedPrecondition, &error));
        }
        if !record.state().is_terminal() {
            let id = record.id().to_owned();
            self.ask_runner(move |runner| runner.drain(&id)).await.map_err(|e| status(&e))?;
            record.enter(JobState::Draining);
        }
        Ok(Response::new(DrainJobResponse { state: record.state().to_wire().into() }))
    }

    type GetStateStreamStream = Events<JobStateEvent>;

    async fn get_state_stream(&self, request: Request<GetJobStateRequest>) -> Answer<Self::GetStateStreamStream> {
        let record = self.find_to_follow(&request)?;
        Ok(Response::new(states(record, self.closing.clone())))
    }

    type GetMessageStreamStream = Events<JobMessagesResponse>;

    async fn get_message_stream(&self, request: Request<JobMessagesRequest>) -> Answer<Self::GetMessageStreamStream> {
        let record = self.find_to_follow(&request)?;
        Ok(Response::new(messages(record, self.closing.clone())))
    }

    async fn get_job_metrics(&self, request: Request<GetJobMetricsRequest>) -> Answer<GetJobMetricsResponse> {
        let (attempted, committed) = self.find(&request.into_inner().job_id)?.metrics();
        let metrics = MetricResults {
            attempted: crate::metrics::to_infos(&attempted),
            committed: crate::metrics::to_infos(&committed),
        };
        Ok(Response::new(GetJobMetricsResponse { metrics: Some(metrics) }))
    }

    async fn describe_pipeline_options(
        &self,
        _: Request<DescribePipelineOptionsRequest>,
    ) -> Answer<DescribePipelineOptionsResponse> {
        let options = self.runner.options().iter().map(|option| option.to_wire()).collect();
        Ok(Response::new(DescribePipelineOptionsResponse { options }))
    }
}

impl Service {
    /// The job of a request, and a warning about its options.
    fn read(&self, request: PrepareJobRequest) -> Result<(PreparedJob, Option<String>)> {
        let pipeline = request.pipeline.ok_or_else(|| {
            Error::user("JOB_WITHOUT_PIPELINE", "the request to prepare a job holds no pipeline")
                .help("this is a fault of the client: `Prepare` needs the field `pipeline`")
        })?;
        let options = request.pipeline_options.unwrap_or_default();
        let (bytes, max) = (options.encoded_len(), self.table.limits().options_bytes_max);
        if bytes > max {
            let message = format!("the options of the job have {bytes} bytes, where {max} are allowed");
            let help = "give large values in a file that the program's workers read, or in the pipeline itself";
            return Err(Error::user("OPTIONS_TOO_LARGE", message).help(help));
        }
        let options = JobOptions::new(options);
        let understood = self.runner.options();
        options.check(&understood)?;
        let warning = options.unknown(&understood);
        // Python calls every job `job` and puts the name its user gave into the options
        let name = options.text("job_name").filter(|name| !name.is_empty()).unwrap_or(request.job_name);
        let id = self.table.new_id(&name);
        Ok((PreparedJob { id, name, pipeline: Arc::new(pipeline), options: Arc::new(options) }, warning))
    }

    pub(super) fn find(&self, id: &str) -> Result<Arc<JobRecord>, Status> {
        self.table.get(id).map_err(|e| refuse(Code::NotFound, &e))
    }

    /// The job a stream is asked for; refused for now if the stream would not live as long as the job.
    fn find_to_follow<T: JobRequest>(&self, request: &Request<T>) -> Result<Arc<JobRecord>, Status> {
        let record = self.find(request.get_ref().job())?;
        let timeout = timeout(request.metadata());
        if !record.is_started() && timeout.is_some_and(|t| t >= CLIENT_TIMEOUT_MIN) {
            let help = "open the stream after `Run`, or without a deadline: it tells everything from the beginning";
            return Err(refuse(Code::FailedPrecondition, &not_running(record.id(), help)));
        }
        Ok(record)
    }

    pub(super) async fn ask_runner<F, T>(&self, question: F) -> Result<T>
    where
        F: FnOnce(&dyn JobRunner) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let runner = self.runner.clone();
        on_blocking_thread(move || question(runner.as_ref())).await
    }
}

/// Requests that name a job.
trait JobRequest {
    fn job(&self) -> &str;
}

impl JobRequest for GetJobStateRequest {
    fn job(&self) -> &str {
        &self.job_id
    }
}

impl JobRequest for JobMessagesRequest {
    fn job(&self) -> &str {
        &self.job_id
    }
}

/// Starts a prepared job, unless that was done before.
async fn start(runner: Arc<dyn JobRunner>, record: Arc<JobRecord>) {
    let _one_at_a_time = record.control.lock().await;
    if !record.start() {
        return;
    }
    record.enter(JobState::Starting);
    let reporter = JobReporter::new(record.clone());
    let mut job = record.job().clone();
    job.pipeline = record.staged().applied_to(&job.pipeline);
    let theirs = reporter.clone();
    if let Err(error) = on_blocking_thread(move || runner.run(job, theirs)).await {
        reporter.fail(&error);
    }
}

/// Calls the runner where it may block; its panic is an error of ours.
async fn on_blocking_thread<F, T>(call: F) -> Result<T>
where
    F: FnOnce() -> Result<T> + Send + 'static,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(call).await.unwrap_or_else(|e| {
        Err(Error::internal("JOB_RUNNER_PANICKED", format!("the runner panicked: {e}"))
            .help("this is a fault of Thalweg; the server's log holds the panic's message and place"))
    })
}

/// The deadline a client put on a call. Source: `grpc-timeout` of gRPC over HTTP/2: up to 8 digits and a unit.
fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count.saturating_mul(3600))),
        "M" => Some(Duration::from_secs(count.saturating_mul(60))),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_in_every_unit() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().expect("ascii"));
            timeout(&metadata)
        };
        assert_eq!(read("5M"), Some(Duration::from_secs(300)));
        assert_eq!(read("299999m"), Some(Duration::from_millis(299_999)));
        assert_eq!(read("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(read(""), None);
        assert_eq!(read("soon"), None);
    }
}
