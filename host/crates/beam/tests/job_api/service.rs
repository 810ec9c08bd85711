//! The job service as a client sees it: from `Prepare` over the streams to the end of a job.

use crate::client::{Stage, messages, states};
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use std::time::Duration;
use thalweg_beam::job::{Importance, JobLimits, JobReporter, JobState, PreparedJob};
use thalweg_core::error::{Domain, Error};
use thalweg_core::metric::{MetricKey, MetricValue, Metrics};
use thalweg_proto::job::job_state::Enum as State;
use thalweg_proto::job::*;
use thalweg_proto::pipeline::Pipeline;
use tonic::{Code, Request};

fn done(_: &PreparedJob, reporter: &JobReporter) {
    reporter.state(JobState::Running);
    reporter.message(Importance::Basic, "half way");
    reporter.state(JobState::Done);
}

fn nothing(_: &PreparedJob, _: &JobReporter) {}

fn fails(_: &PreparedJob, reporter: &JobReporter) {
    reporter.state(JobState::Running);
    let error = Error::new("BUNDLE_FAILED", Domain::Guest, "ValueError: boom")
        .help("look at the element")
        .trace("Traceback (most recent call last):\n  File \"wordcount.py\", line 7, in process\nValueError: boom\n")
        .in_transform("Split/Map");
    reporter.fail(&error);
    reporter.state(JobState::Done);
    reporter.message(Importance::Error, "too late");
    reporter.fail(&Error::internal("OTHER_FAULT", "a second failure"));
}

#[tokio::test]
async fn streams_opened_before_run_tell_everything_and_end() -> anyhow::Result<()> {
    let stage = Stage::new(done).await?;
    let prepared = stage.prepare("My Job", Pipeline::default()).await?;
    let id = prepared.preparation_id;
    assert_eq!(prepared.artifact_staging_endpoint.map(|e| e.url), Some(stage.endpoint.clone()));
    assert!(id.starts_with("my-job-1-"), "{id}");
    let (before, said_before) = (stage.state_stream(&id).await?, stage.message_stream(&id).await?);
    assert_eq!(stage.state(&id).await?, State::Stopped);

    assert_eq!(stage.run(&id).await?, id, "one id for preparation and job");
    let expected = [State::Stopped, State::Starting, State::Running, State::Done];
    assert_eq!(states(before).await?, expected);
    assert_eq!(messages(said_before).await?, ["STOPPED", "STARTING", "RUNNING", "BASIC half way", "DONE"]);
    assert_eq!(states(stage.state_stream(&id).await?).await?, expected, "the history is replayed after the end");
    stage.stop().await
}

#[tokio::test]
async fn failed_is_never_overridden_and_its_message_says_all() -> anyhow::Result<()> {
    let stage = Stage::new(fails).await?;
    let id = stage.run_to_end("bad").await?;
    let said = messages(stage.message_stream(&id).await?).await?;
    let [.., error, last] = said.as_slice() else { anyhow::bail!("too few messages: {said:?}") };
    assert_eq!(last, "FAILED");
    for part in ["BUNDLE_FAILED", "ValueError: boom", "Split/Map", "look at the element", "wordcount.py\", line 7"] {
        assert!(error.starts_with("ERROR") && error.contains(part), "{part} is missing: {error}");
    }
    assert_eq!(stage.state(&id).await?, State::Failed);
    Ok(())
}

#[tokio::test]
async fn a_pipeline_is_refused_by_name_and_leaves_no_job() -> anyhow::Result<()> {
    let stage = Stage::new(done).await?;
    let pipeline = Pipeline { requirements: vec!["beam:requirement:magic:v1".to_owned()], ..Default::default() };
    let refusal = stage.prepare("job", pipeline).await.expect_err("refused");
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(refusal.message().starts_with("PIPELINE_REQUIREMENT: cannot honour beam:requirement:magic:v1"));
    assert!(refusal.message().contains("leave it out"));
    let refusal = stage.jobs.clone().prepare(PrepareJobRequest::default()).await.expect_err("no pipeline");
    assert!(refusal.message().starts_with("JOB_WITHOUT_PIPELINE"));
    assert!(stage.jobs.clone().get_jobs(GetJobsRequest {}).await?.into_inner().job_info.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_job_that_cannot_start_or_is_abandoned_has_failed() -> anyhow::Result<()> {
    let stage = Stage::new(nothing).await?;
    for (name, code) in
        [("unstartable", "WORKER_UNREACHABLE"), ("panicking", "JOB_RUNNER_PANICKED"), ("forgotten", "JOB_ABANDONED")]
    {
        let id = stage.run_to_end(name).await?;
        let said = messages(stage.message_stream(&id).await?).await?.join("\n");
        assert!(said.contains(&format!("ERROR {code}")) && said.ends_with("FAILED"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_job_asked_to_run_again_is_started_once() -> anyhow::Result<()> {
    let stage = Stage::new(done).await?;
    let id = stage.run_to_end("job").await?;
    assert_eq!(stage.run(&id).await?, id);
    assert_eq!(*stage.runner.calls.lock().expect("calls"), ["prepare job", "run job"]);
    Ok(())
}

#[tokio::test]
async fn a_cancelled_job_stays_cancelled() -> anyhow::Result<()> {
    let stage = Stage::new(nothing).await?;
    let cancel = |id: String| {
        let mut jobs = stage.jobs.clone();
        async move { jobs.cancel(CancelJobRequest { job_id: id }).await.map(|answer| answer.into_inner().state()) }
    };
    let unrun = stage.prepare("unrun", Pipeline::default()).await?.preparation_id;
    assert_eq!(cancel(unrun.clone()).await?, State::Cancelled);
    stage.run(&unrun).await?;
    assert_eq!(states(stage.state_stream(&unrun).await?).await?, [State::Stopped, State::Cancelled]);

    let kept = stage.prepare("kept", Pipeline::default()).await?.preparation_id;
    stage.run(&kept).await?;
    assert_eq!(cancel(kept.clone()).await?, State::Cancelled);
    assert_eq!(
        states(stage.state_stream(&kept).await?).await?,
        [State::Stopped, State::Starting, State::Cancelling, State::Cancelled]
    );
    assert_eq!(cancel(kept).await?, State::Cancelled, "asking again is no error");
    assert_eq!(
        *stage.runner.calls.lock().expect("calls"),
        ["prepare unrun", "prepare kept", "run kept", "cancel kept"]
    );
    Ok(())
}

#[tokio::test]
async fn a_job_drains_once_it_runs() -> anyhow::Result<()> {
    let stage = Stage::new(nothing).await?;
    let id = stage.prepare("kept", Pipeline::default()).await?.preparation_id;
    let request = DrainJobRequest { job_id: id.clone() };
    let refusal = stage.jobs.clone().drain(request.clone()).await.expect_err("not running");
    assert!(refusal.code() == Code::FailedPrecondition && refusal.message().starts_with("JOB_NOT_RUNNING"));
    stage.run(&id).await?;
    assert_eq!(stage.jobs.clone().drain(request).await?.into_inner().state(), State::Draining);
    Ok(())
}

#[tokio::test]
async fn a_stream_with_the_sdk_deadline_is_put_off_until_run() -> anyhow::Result<()> {
    let stage = Stage::new(done).await?;
    let id = stage.prepare("job", Pipeline::default()).await?.preparation_id;
    let ask = |seconds| {
        let mut request = Request::new(GetJobStateRequest { job_id: id.clone() });
        request.set_timeout(Duration::from_secs(seconds));
        let mut jobs = stage.jobs.clone();
        async move { jobs.get_state_stream(request).await }
    };
    assert_eq!(ask(300).await.expect_err("put off").code(), Code::FailedPrecondition);
    assert!(ask(60).await.is_ok(), "whoever asks with another deadline means it");
    stage.run(&id).await?;
    assert_eq!(states(ask(300).await?.into_inner()).await?.last(), Some(&State::Done));
    Ok(())
}

#[tokio::test]
async fn an_unknown_job_is_named() -> anyhow::Result<()> {
    let stage = Stage::new(done).await?;
    let refusal = stage.state("nobody").await.expect_err("unknown");
    assert!(refusal.code() == Code::NotFound && refusal.message().starts_with("JOB_UNKNOWN: there is no job `nobody`"));
    assert_eq!(stage.run("nobody").await.expect_err("unknown").code(), Code::NotFound);
    assert_eq!(stage.message_stream("nobody").await.expect_err("unknown").code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn options_are_described_read_and_unknown_ones_mentioned() -> anyhow::Result<()> {
    let stage = Stage::new(done).await?;
    let described = stage.jobs.clone().describe_pipeline_options(DescribePipelineOptionsRequest {}).await?.into_inner();
    let parallelism = described.options.iter().find(|o| o.name == "sdk_worker_parallelism");
    let parallelism = parallelism.map(|o| (o.r#type(), o.default_value.as_str(), o.description.is_empty()));
    assert_eq!(parallelism, Some((pipeline_option_type::Enum::Integer, "1", false)));

    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let fields = [("sdk_worker_parallelism", "3"), ("paralelism", "4"), ("job_name", "Named"), ("runner", "Prism")];
    let fields = fields.map(|(name, value)| (format!("beam:option:{name}:v1"), text(value)));
    let request = PrepareJobRequest {
        pipeline: Some(Pipeline::default()),
        pipeline_options: Some(Struct { fields: fields.into() }),
        job_name: "job".to_owned(),
    };
    let id = stage.jobs.clone().prepare(request.clone()).await?.into_inner().preparation_id;
    stage.run(&id).await?;
    let said = messages(stage.message_stream(&id).await?).await?;
    assert_eq!(said.get(1).map(String::as_str), Some("WARNING options this runner does not use: paralelism"));
    let jobs = stage.runner.jobs.lock().expect("jobs").clone();
    let read = jobs.first().map(|job| (job.name.as_str(), job.options.integer("sdk_worker_parallelism")));
    assert_eq!(read, Some(("Named", Ok(Some(3)))));

    let mut wrong = request;
    wrong.pipeline_options = Some(Struct { fields: [("parallelism".to_owned(), text("many"))].into() });
    let refusal = stage.jobs.clone().prepare(wrong).await.expect_err("no number");
    assert!(refusal.message().starts_with("OPTION_INVALID"), "{refusal}");
    Ok(())
}

#[tokio::test]
async fn metrics_are_told_attempted_and_committed() -> anyhow::Result<()> {
    fn counts(_: &PreparedJob, reporter: &JobReporter) {
        let key = MetricKey {
            urn: "beam:metric:user:sum_int64:v1".to_owned(),
            kind: "beam:metrics:sum_int64:v1".to_owned(),
            labels: [("NAME".to_owned(), "rows".to_owned())].into(),
        };
        let sum = |n| Metrics([(key.clone(), MetricValue::Sum(n))].into());
        reporter.metrics(sum(5), sum(3));
        reporter.state(JobState::Done);
    }
    let stage = Stage::new(counts).await?;
    let id = stage.run_to_end("job").await?;
    let answer = stage.jobs.clone().get_job_metrics(GetJobMetricsRequest { job_id: id }).await?.into_inner();
    let metrics = answer.metrics.unwrap_or_default();
    let read = |infos: Vec<thalweg_proto::pipeline::MonitoringInfo>| -> Vec<(String, Vec<u8>)> {
        infos.into_iter().map(|i| (i.labels.get("NAME").cloned().unwrap_or_default(), i.payload.to_vec())).collect()
    };
    assert_eq!(read(metrics.attempted), [("rows".to_owned(), vec![5])]);
    assert_eq!(read(metrics.committed), [("rows".to_owned(), vec![3])]);
    Ok(())
}

#[tokio::test]
async fn the_table_of_jobs_is_bounded_and_forgets_the_finished_first() -> anyhow::Result<()> {
    let limits = JobLimits { jobs_max: 2, ..Default::default() };
    let stage = Stage::with_limits(done, limits).await?;
    let first = stage.run_to_end("a").await?;
    let second = stage.prepare("b", Pipeline::default()).await?.preparation_id;
    stage.prepare("c", Pipeline::default()).await?;
    assert_eq!(stage.state(&first).await.expect_err("forgotten").code(), Code::NotFound);
    let refusal = stage.prepare("d", Pipeline::default()).await.expect_err("both wait");
    assert!(refusal.code() == Code::ResourceExhausted && refusal.message().starts_with("JOBS_TOO_MANY"));
    assert_eq!(stage.state(&second).await?, State::Stopped);
    Ok(())
}

#[tokio::test]
async fn a_prepared_job_that_nobody_runs_expires() -> anyhow::Result<()> {
    let limits = JobLimits { prepared_for: Duration::from_millis(50), ..Default::default() };
    let stage = Stage::with_limits(nothing, limits).await?;
    let waiting = stage.prepare("waiting", Pipeline::default()).await?.preparation_id;
    let stream = stage.state_stream(&waiting).await?;
    let running = stage.prepare("kept", Pipeline::default()).await?.preparation_id;
    stage.run(&running).await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(stage.state(&waiting).await.expect_err("expired").code(), Code::NotFound);
    assert_eq!(stage.state(&running).await?, State::Starting);
    assert_eq!(states(stream).await?, [State::Stopped, State::Cancelled], "who still watches is told");
    Ok(())
}

#[tokio::test]
async fn a_large_pipeline_is_taken_and_a_too_large_one_refused() -> anyhow::Result<()> {
    let limits = JobLimits { request_bytes_max: 12 << 20, ..Default::default() };
    let stage = Stage::with_limits(done, limits).await?;
    let pipeline = |bytes| Pipeline { root_transform_ids: vec!["x".repeat(bytes)], ..Default::default() };
    let id = stage.prepare("large", pipeline(8 << 20)).await?.preparation_id;
    let mut jobs = stage.jobs.clone().max_decoding_message_size(usize::MAX);
    let back = jobs.get_pipeline(GetJobPipelineRequest { job_id: id }).await?.into_inner().pipeline;
    assert_eq!(back, Some(pipeline(8 << 20)));
    assert_eq!(stage.prepare("larger", pipeline(13 << 20)).await.expect_err("too large").code(), Code::OutOfRange);
    Ok(())
}

#[tokio::test]
async fn a_talkative_job_keeps_its_first_and_last_messages() -> anyhow::Result<()> {
    fn chatter(_: &PreparedJob, reporter: &JobReporter) {
        for i in 0..1000 {
            reporter.message(Importance::Detailed, i.to_string());
        }
        reporter.state(JobState::Done);
    }
    let stage =
        Stage::with_limits(chatter, JobLimits { messages_first: 3, messages_last: 3, ..Default::default() }).await?;
    let id = stage.run_to_end("job").await?;
    let said = messages(stage.message_stream(&id).await?).await?;
    let dropped = "WARNING 997 messages before this one were dropped";
    assert_eq!(said, ["STOPPED", "STARTING", "DETAILED 0", dropped, "DETAILED 998", "DETAILED 999", "DONE"]);
    Ok(())
}

#[tokio::test]
async fn stopping_the_server_ends_open_streams() -> anyhow::Result<()> {
    let limits = JobLimits { shutdown_grace: Duration::from_secs(10), ..Default::default() };
    let stage = Stage::with_limits(nothing, limits).await?;
    let id = stage.prepare("kept", Pipeline::default()).await?.preparation_id;
    let stream = stage.state_stream(&id).await?;
    let before = std::time::Instant::now();
    stage.stop().await?;
    assert!(before.elapsed() < Duration::from_secs(9), "no need to wait for the grace period");
    assert_eq!(states(stream).await.expect_err("cut").code(), Code::Unavailable);
    Ok(())
}

/// A request with options of about so many bytes.
fn with_options(bytes: usize) -> PrepareJobRequest {
    let text = Value { kind: Some(Kind::StringValue("a".repeat(bytes))) };
    let options = Struct { fields: [("note".to_owned(), text)].into() };
    PrepareJobRequest { pipeline: Some(Pipeline::default()), pipeline_options: Some(options), ..Default::default() }
}

#[tokio::test]
async fn options_count_as_the_pipeline_does_and_are_bounded() -> anyhow::Result<()> {
    let limits = JobLimits { options_bytes_max: 10_000, pipelines_bytes_max: 50_000, ..Default::default() };
    let stage = Stage::with_limits(done, limits).await?;
    let refusal = stage.jobs.clone().prepare(with_options(20_000)).await.expect_err("too large");
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(refusal.message().starts_with("OPTIONS_TOO_LARGE"), "{}", refusal.message());
    for _ in 0..2 {
        stage.jobs.clone().prepare(with_options(9000)).await?;
    }
    let refusal = stage.jobs.clone().prepare(with_options(9000)).await.expect_err("kept twice, the third has no room");
    assert!(refusal.code() == Code::ResourceExhausted && refusal.message().starts_with("JOBS_TOO_MANY"));
    stage.stop().await
}
