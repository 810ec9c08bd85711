//! A client of the job services for tests, and a runner that does what a test scripted.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use thalweg_beam::job::{JobLimits, JobReporter, JobRunner, JobServer, JobServerConfig, JobState, PreparedJob, serve};
use thalweg_core::error::{Error, Result};
use thalweg_proto::job::artifact_retrieval_service_client::ArtifactRetrievalServiceClient;
use thalweg_proto::job::artifact_staging_service_client::ArtifactStagingServiceClient;
use thalweg_proto::job::job_messages_response::Response as MessageOrState;
use thalweg_proto::job::job_service_client::JobServiceClient;
use thalweg_proto::job::*;
use thalweg_proto::pipeline::Pipeline;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

/// What a scripted job does, on a thread of its own.
pub type Script = fn(&PreparedJob, &JobReporter);

/// Runs every job by the same script and remembers what it was asked.
pub struct Scripted {
    script: Script,
    pub calls: Mutex<Vec<String>>,
    pub jobs: Mutex<Vec<PreparedJob>>,
    reporters: Mutex<Vec<JobReporter>>,
}

impl Scripted {
    fn note(&self, call: &str, id: &str) {
        self.calls.lock().expect("calls").push(format!("{call} {}", id.split('-').next().unwrap_or_default()));
    }

    fn report(&self, id: &str, state: JobState) {
        for reporter in self.reporters.lock().expect("reporters").iter().filter(|r| r.id() == id) {
            reporter.state(state);
        }
    }
}

impl JobRunner for Scripted {
    /// Refuses pipelines that require anything.
    fn prepare(&self, job: &PreparedJob) -> Result<()> {
        self.note("prepare", &job.id);
        match job.pipeline.requirements.first() {
            Some(urn) => Err(Error::user("PIPELINE_REQUIREMENT", format!("cannot honour {urn}")).help("leave it out")),
            None => Ok(()),
        }
    }

    /// Keeps the reporter of jobs whose name begins with `kept`, so that the job does not end with its script.
    fn run(&self, job: PreparedJob, reporter: JobReporter) -> Result<()> {
        self.note("run", &job.id);
        self.jobs.lock().expect("jobs").push(job.clone());
        if job.name.starts_with("kept") {
            self.reporters.lock().expect("reporters").push(reporter.clone());
        }
        if job.name == "unstartable" {
            return Err(Error::external("WORKER_UNREACHABLE", "nobody listens there"));
        }
        assert!(job.name != "panicking", "as scripted");
        let script = self.script;
        std::thread::spawn(move || script(&job, &reporter));
        Ok(())
    }

    fn cancel(&self, id: &str) -> Result<()> {
        self.note("cancel", id);
        self.report(id, JobState::Cancelling);
        self.report(id, JobState::Running); // a late report, which must not undo the request
        self.report(id, JobState::Cancelled);
        Ok(())
    }

    fn drain(&self, id: &str) -> Result<()> {
        self.note("drain", id);
        Ok(())
    }
}

/// A server with its client, in a directory of its own.
pub struct Stage {
    pub jobs: JobServiceClient<Channel>,
    pub staging: ArtifactStagingServiceClient<Channel>,
    pub retrieval: ArtifactRetrievalServiceClient<Channel>,
    pub runner: Arc<Scripted>,
    pub dir: tempfile::TempDir,
    pub endpoint: String,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<()>>,
}

impl Stage {
    /// A server with the usual limits.
    pub async fn new(script: Script) -> anyhow::Result<Self> {
        Self::with_limits(script, JobLimits::default()).await
    }

    pub async fn with_limits(script: Script, limits: JobLimits) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = listener.local_addr()?.to_string();
        let staging_dir = dir.path().join("staging");
        let config = JobServerConfig { endpoint: endpoint.clone(), staging_dir, limits };
        let runner =
            Arc::new(Scripted { script, calls: Mutex::default(), jobs: Mutex::default(), reporters: Mutex::default() });
        let server = JobServer::new(config, runner.clone())?;
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let routes = server.add_to(tonic::service::Routes::default());
            serve(listener, routes, &server, async { drop(stopped.await) }).await
        });
        let channel = Channel::from_shared(format!("http://{endpoint}"))?.connect().await?;
        Ok(Self {
            jobs: JobServiceClient::new(channel.clone()),
            staging: ArtifactStagingServiceClient::new(channel.clone()),
            retrieval: ArtifactRetrievalServiceClient::new(channel),
            runner,
            dir,
            endpoint,
            stop: Some(stop),
            serving,
        })
    }

    /// Tells the server to stop and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.stop.take());
        tokio::time::timeout(Duration::from_secs(20), self.serving).await???;
        Ok(())
    }

    pub async fn prepare(&self, name: &str, pipeline: Pipeline) -> Result<PrepareJobResponse, Status> {
        let request = PrepareJobRequest { pipeline: Some(pipeline), pipeline_options: None, job_name: name.to_owned() };
        self.jobs.clone().prepare(request).await.map(Response::into_inner)
    }

    pub async fn run(&self, id: &str) -> Result<String, Status> {
        let request = RunJobRequest { preparation_id: id.to_owned(), retrieval_token: String::new() };
        self.jobs.clone().run(request).await.map(|answer| answer.into_inner().job_id)
    }

    /// Prepares and runs an empty pipeline and waits for its end; the id.
    pub async fn run_to_end(&self, name: &str) -> anyhow::Result<String> {
        let id = self.prepare(name, Pipeline::default()).await?.preparation_id;
        self.run(&id).await?;
        states(self.state_stream(&id).await?).await?;
        Ok(id)
    }

    pub async fn state(&self, id: &str) -> Result<job_state::Enum, Status> {
        let answer = self.jobs.clone().get_state(GetJobStateRequest { job_id: id.to_owned() }).await?;
        Ok(answer.into_inner().state())
    }

    pub async fn state_stream(&self, id: &str) -> Result<Streaming<JobStateEvent>, Status> {
        let request = GetJobStateRequest { job_id: id.to_owned() };
        self.jobs.clone().get_state_stream(request).await.map(Response::into_inner)
    }

    pub async fn message_stream(&self, id: &str) -> Result<Streaming<JobMessagesResponse>, Status> {
        let request = JobMessagesRequest { job_id: id.to_owned() };
        self.jobs.clone().get_message_stream(request).await.map(Response::into_inner)
    }
}

/// All states of a stream, to its end.
pub async fn states(mut stream: Streaming<JobStateEvent>) -> Result<Vec<job_state::Enum>, Status> {
    let mut states = Vec::new();
    while let Some(event) = stream.message().await? {
        states.push(event.state());
    }
    Ok(states)
}

/// All messages and states of a stream as `IMPORTANCE text` and `STATE`, to its end.
pub async fn messages(mut stream: Streaming<JobMessagesResponse>) -> Result<Vec<String>, Status> {
    let mut lines = Vec::new();
    while let Some(response) = stream.message().await? {
        match response.response {
            Some(MessageOrState::MessageResponse(message)) => {
                let importance = message.importance().as_str_name().trim_start_matches("JOB_MESSAGE_");
                lines.push(format!("{importance} {}", message.message_text));
            }
            Some(MessageOrState::StateResponse(event)) => lines.push(event.state().as_str_name().to_owned()),
            None => lines.push("nothing".to_owned()),
        }
    }
    Ok(lines)
}
