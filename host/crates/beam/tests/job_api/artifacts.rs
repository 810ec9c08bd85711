//! Staging and retrieval of artifacts, with a client that is asked for its files.

use crate::client::{Stage, states};
use prost::Message;
use std::collections::BTreeMap;
use std::time::Duration;
use thalweg_beam::job::{JobLimits, JobReporter, JobState, PreparedJob};
use thalweg_proto::job::artifact_request_wrapper::Request as Question;
use thalweg_proto::job::artifact_response_wrapper::Response as Answer;
use thalweg_proto::job::*;
use thalweg_proto::pipeline::{
    ArtifactFilePayload, ArtifactInformation, ArtifactUrlPayload, Components, EmbeddedFilePayload, Environment,
    Pipeline, PyPiPayload,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

const FILE: &str = "beam:artifact:type:file:v1";
const EMBEDDED: &str = "beam:artifact:type:embedded:v1";
const PYPI: &str = "beam:artifact:type:pypi:v1";

fn done(_: &PreparedJob, reporter: &JobReporter) {
    reporter.state(JobState::Done);
}

fn artifact(kind: &str, payload: Vec<u8>) -> ArtifactInformation {
    ArtifactInformation {
        type_urn: kind.to_owned(),
        type_payload: payload.into(),
        role_urn: "beam:artifact:role:staging_to:v1".to_owned(),
        role_payload: b"role".as_slice().into(),
    }
}

fn file(path: &str, sha256: &str) -> ArtifactInformation {
    artifact(FILE, ArtifactFilePayload { path: path.to_owned(), sha256: sha256.to_owned() }.encode_to_vec())
}

fn embedded(data: &'static [u8]) -> ArtifactInformation {
    artifact(EMBEDDED, EmbeddedFilePayload { data: data.into() }.encode_to_vec())
}

/// A pipeline with one environment per list.
fn pipeline(lists: Vec<Vec<ArtifactInformation>>) -> Pipeline {
    let environment = |dependencies| Environment { dependencies, ..Default::default() };
    let environments = lists.into_iter().enumerate().map(|(i, list)| (i.to_string(), environment(list))).collect();
    Pipeline { components: Some(Components { environments, ..Default::default() }), ..Default::default() }
}

/// The files a client can deliver, by path.
type Files = BTreeMap<&'static str, Vec<u8>>;

/// Begins to stage for a job: where a client's answers go, and the server's questions.
async fn begin(
    stage: &Stage,
    token: &str,
) -> Result<(mpsc::Sender<ArtifactResponseWrapper>, Streaming<ArtifactRequestWrapper>), Status> {
    let (answers, stream) = mpsc::channel(4);
    let hello = ArtifactResponseWrapper { staging_token: token.to_owned(), ..Default::default() };
    answers.send(hello).await.map_err(|_| Status::aborted("the server hung up"))?;
    let stream = ReceiverStream::new(stream);
    Ok((answers, stage.staging.clone().reverse_artifact_retrieval_service(stream).await?.into_inner()))
}

/// Answers the questions of a staging session as SDKs do; the paths it was asked for.
async fn offer(stage: &Stage, token: &str, files: &Files) -> Result<Vec<String>, Status> {
    let (answers, mut questions) = begin(stage, token).await?;
    let send = |answer| async { answers.send(answer).await.map_err(|_| Status::aborted("the server hung up")) };
    let mut asked = Vec::new();
    while let Some(question) = questions.message().await? {
        match question.request {
            Some(Question::ResolveArtifact(question)) => {
                let resolved = ResolveArtifactsResponse { replacements: question.artifacts };
                send(answer(Some(Answer::ResolveArtifactResponse(resolved)), false)).await?;
            }
            Some(Question::GetArtifact(question)) => {
                let payload = question.artifact.unwrap_or_default().type_payload;
                let path = ArtifactFilePayload::decode(payload).unwrap_or_default().path;
                let Some(bytes) = files.get(path.as_str()) else {
                    drop(answers); // as an SDK does whose file is gone
                    return Err(questions.message().await.expect_err("the server says why it stops"));
                };
                asked.push(path);
                for chunk in bytes.chunks(2 << 20) {
                    let chunk = GetArtifactResponse { data: chunk.to_vec().into() };
                    send(answer(Some(Answer::GetArtifactResponse(chunk)), false)).await?;
                }
                let nothing = GetArtifactResponse::default();
                send(answer(Some(Answer::GetArtifactResponse(nothing)), true)).await?;
            }
            None => return Err(Status::internal("an empty question")),
        }
    }
    Ok(asked)
}

fn answer(response: Option<Answer>, is_last: bool) -> ArtifactResponseWrapper {
    ArtifactResponseWrapper { staging_token: String::new(), is_last, response }
}

/// Fetches an artifact as a worker does: its bytes and the largest chunk.
async fn fetch(stage: &Stage, artifact: ArtifactInformation) -> Result<(Vec<u8>, usize), Status> {
    let request = GetArtifactRequest { artifact: Some(artifact) };
    let mut chunks = stage.retrieval.clone().get_artifact(request).await?.into_inner();
    let (mut bytes, mut largest) = (Vec::new(), 0);
    while let Some(chunk) = chunks.message().await? {
        largest = largest.max(chunk.data.len());
        bytes.extend_from_slice(&chunk.data);
    }
    Ok((bytes, largest))
}

/// Prepares, stages and runs; the dependencies of each environment as the runner saw them.
async fn staged(stage: &Stage, pipeline: Pipeline, files: &Files) -> anyhow::Result<Vec<Vec<ArtifactInformation>>> {
    let prepared = stage.prepare("job", pipeline).await?;
    offer(stage, &prepared.staging_session_token, files).await?;
    stage.run(&prepared.preparation_id).await?;
    states(stage.state_stream(&prepared.preparation_id).await?).await?;
    let jobs = stage.runner.jobs.lock().expect("jobs").clone();
    let components = jobs.last().and_then(|job| job.pipeline.components.clone()).unwrap_or_default();
    Ok(components.environments.into_values().map(|environment| environment.dependencies).collect())
}

fn staging_files(stage: &Stage) -> usize {
    std::fs::read_dir(stage.dir.path().join("staging")).map(Iterator::count).unwrap_or_default()
}

#[tokio::test]
async fn an_artifact_goes_from_the_client_to_the_worker() -> anyhow::Result<()> {
    let stage = Stage::new(done).await?;
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251) as u8).collect();
    let files = Files::from([("/data/model.bin", bytes.clone())]);
    let lists = staged(&stage, pipeline(vec![vec![file("/data/model.bin", "")]]), &files).await?;

    let artifact = lists.concat().pop().expect("one artifact");
    assert_eq!((artifact.type_urn.as_str(), artifact.role_payload.as_ref()), (FILE, b"role".as_slice()));
    let payload = ArtifactFilePayload::decode(artifact.type_payload.clone())?;
    assert_eq!(std::fs::read(&payload.path)?, bytes, "local workers may read the file itself");
    assert_eq!(payload.sha256.len(), 64);
    let (fetched, largest) = fetch(&stage, artifact).await?;
    assert!(fetched == bytes && largest <= 2 << 20, "largest chunk: {largest}");
    Ok(())
}

#[tokio::test]
async fn shared_dependencies_are_asked_for_once_and_references_are_kept() -> anyhow::Result<()> {
    let stage = Stage::new(done).await?;
    let files = Files::from([("a.whl", b"wheel".to_vec())]);
    let reference =
        artifact(PYPI, PyPiPayload { artifact_id: "numpy".to_owned(), version: "2".to_owned() }.encode_to_vec());
    let lists = vec![vec![file("a.whl", ""), embedded(b"inline")], vec![file("a.whl", ""), reference.clone()]];
    let prepared = stage.prepare("job", pipeline(lists)).await?;
    assert_eq!(offer(&stage, &prepared.staging_session_token, &files).await?, ["a.whl"]);
    assert_eq!(staging_files(&stage), 2);
    stage.run(&prepared.preparation_id).await?;
    let job = stage.runner.jobs.lock().expect("jobs").last().cloned().expect("a job");
    let components = job.pipeline.components.clone().unwrap_or_default();
    let second = components.environments.get("1").map(|e| e.dependencies.clone()).unwrap_or_default();
    assert_eq!(second.last(), Some(&reference));
    let first = components.environments.get("0").map(|e| e.dependencies.clone()).unwrap_or_default();
    assert_eq!(fetch(&stage, first.last().cloned().unwrap_or_default()).await?.0, b"inline");
    Ok(())
}

#[tokio::test]
async fn no_file_outside_the_staging_directory_is_served() -> anyhow::Result<()> {
    let stage = Stage::new(done).await?;
    let files = Files::from([("a", b"public".to_vec())]);
    let lists = staged(&stage, pipeline(vec![vec![file("a", "")]]), &files).await?;
    let payload = ArtifactFilePayload::decode(lists.concat().pop().expect("one").type_payload)?;
    let dir = stage.dir.path().join("staging");
    let (digest, other) = (payload.sha256.as_str(), "0".repeat(64));
    std::fs::write(dir.join(&other), "planted, never staged")?;
    std::fs::write(dir.join("notes.txt"), "not ours")?;
    let inside = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let refused = [
        file("/etc/passwd", ""),
        file("/etc/passwd", digest),
        file(&inside("../../../../../etc/passwd"), ""),
        file(&inside(&format!("../{digest}")), ""),
        file(&inside("notes.txt"), ""),
        file(&inside(&other), ""),
        file("", &other),
        file("", "../notes.txt"),
        file(&payload.path, &other),
        file(digest, ""),
        file("", ""),
        artifact(
            "beam:artifact:type:url:v1",
            ArtifactUrlPayload { url: "file:///etc/passwd".to_owned(), ..Default::default() }.encode_to_vec(),
        ),
    ];
    for artifact in refused {
        let refusal = fetch(&stage, artifact.clone()).await.expect_err("refused");
        assert!(
            refusal.code() == Code::NotFound && refusal.message().starts_with("ARTIFACT_NOT_STAGED"),
            "{artifact:?}"
        );
    }
    for artifact in [file(&payload.path, ""), file("", digest), file(&payload.path, digest)] {
        assert_eq!(fetch(&stage, artifact).await?.0, b"public");
    }
    Ok(())
}

#[tokio::test]
async fn staging_fails_with_a_reason_and_leaves_nothing_behind() -> anyhow::Result<()> {
    let limits = JobLimits { artifacts_bytes_max: 1000, ..Default::default() };
    let stage = Stage::with_limits(done, limits).await?;
    let files = Files::from([("small", vec![1; 600]), ("large", vec![2; 600])]);
    for (list, code, part) in [
        (vec![file("small", ""), file("large", "")], "ARTIFACTS_TOO_LARGE", "1000 bytes"),
        (vec![file("small", ""), file("gone", "")], "ARTIFACT_STAGING_BROKEN", "the file gone"),
        (vec![file("small", &"0".repeat(64))], "ARTIFACT_DIGEST_MISMATCH", "digest"),
    ] {
        let prepared = stage.prepare("job", pipeline(vec![list])).await?;
        let refusal = offer(&stage, &prepared.staging_session_token, &files).await.expect_err("refused");
        assert!(refusal.message().starts_with(code) && refusal.message().contains(part), "{code}: {refusal}");
    }
    assert!(staging_files(&stage) <= 1, "at most the small file, which nobody holds");
    staged(&stage, pipeline(vec![vec![file("large", "")]]), &files).await?;
    Ok(())
}

#[tokio::test]
async fn a_job_is_not_forgotten_while_one_large_file_of_it_arrives() -> anyhow::Result<()> {
    let limits = JobLimits { prepared_for: Duration::from_millis(1500), ..Default::default() };
    let stage = Stage::with_limits(done, limits).await?;
    let prepared = stage.prepare("job", pipeline(vec![vec![file("large", "")]])).await?;
    let (answers, mut questions) = begin(&stage, &prepared.staging_session_token).await?;
    assert!(questions.message().await?.is_some(), "what it has");
    let resolved = ResolveArtifactsResponse { replacements: vec![file("large", "")] };
    answers.send(answer(Some(Answer::ResolveArtifactResponse(resolved)), false)).await?;
    assert!(questions.message().await?.is_some(), "the file");
    for _ in 0..8 {
        let chunk = GetArtifactResponse { data: vec![7; 100].into() };
        answers.send(answer(Some(Answer::GetArtifactResponse(chunk)), false)).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        // whoever looks makes the server forget what has expired
        stage.state(&prepared.preparation_id).await?;
    }
    answers.send(answer(None, true)).await?;
    assert!(questions.message().await?.is_none(), "it was all");
    stage.run(&prepared.preparation_id).await?;
    states(stage.state_stream(&prepared.preparation_id).await?).await?;
    assert_eq!(staging_files(&stage), 1);
    Ok(())
}

#[tokio::test]
async fn what_a_client_resolves_its_artifacts_to_counts_with_the_pipelines() -> anyhow::Result<()> {
    let limits = JobLimits { pipelines_bytes_max: 10_000, ..Default::default() };
    let stage = Stage::with_limits(done, limits).await?;
    for (version, room) in [(2000, true), (20_000, false), (2000, true)] {
        let prepared = stage.prepare("job", pipeline(vec![vec![file("requirements", "")]])).await?;
        let (answers, mut questions) = begin(&stage, &prepared.staging_session_token).await?;
        assert!(questions.message().await?.is_some(), "what it has");
        let payload = PyPiPayload { artifact_id: "numpy".to_owned(), version: "2".repeat(version) };
        let replacements = vec![artifact(PYPI, payload.encode_to_vec())];
        let resolved = ResolveArtifactsResponse { replacements };
        answers.send(answer(Some(Answer::ResolveArtifactResponse(resolved)), false)).await?;
        match questions.message().await {
            Ok(None) => assert!(room),
            Err(refusal) => assert!(!room && refusal.message().starts_with("JOBS_TOO_MANY"), "{refusal}"),
            Ok(Some(more)) => unreachable!("{more:?}"),
        }
        // the job ends, and what is counted for it makes room
        stage.run(&prepared.preparation_id).await?;
        states(stage.state_stream(&prepared.preparation_id).await?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_token_is_refused() -> anyhow::Result<()> {
    let stage = Stage::new(done).await?;
    let refusal = offer(&stage, "guessed", &Files::new()).await.expect_err("refused");
    assert!(refusal.message().starts_with("ARTIFACT_TOKEN_UNKNOWN"), "{refusal}");
    Ok(())
}

#[tokio::test]
async fn ended_jobs_make_room_for_the_artifacts_of_others() -> anyhow::Result<()> {
    let limits = JobLimits { artifacts_bytes_max: 1000, ..Default::default() };
    let stage = Stage::with_limits(done, limits).await?;
    let files = Files::from([("a", vec![1; 600]), ("b", vec![2; 600])]);
    staged(&stage, pipeline(vec![vec![file("a", "")]]), &files).await?;
    // the first job is done, so its file makes room for the second's
    staged(&stage, pipeline(vec![vec![file("b", "")]]), &files).await?;
    assert_eq!(staging_files(&stage), 1);
    Ok(())
}
