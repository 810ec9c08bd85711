//! Staging: the client of a prepared job opens a stream, and is asked there for the artifacts of its pipeline.
//!
//! Source: `ArtifactStagingService.ReverseArtifactRetrievalService`. The first message of the client names its staging
//! token; after that we ask and it answers, one question at a time.

use super::super::record::JobRecord;
use super::super::status::status;
use super::super::stream::Closing;
use super::super::table::JobTable;
use super::dependencies::{StagedLists, lists};
use super::digest::Digest;
use super::store::ArtifactStore;
use super::urn;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::error::{Error, Result};
use thalweg_proto::job::artifact_request_wrapper::Request as Question;
use thalweg_proto::job::artifact_response_wrapper::Response as Answer;
use thalweg_proto::job::artifact_staging_service_server::ArtifactStagingService;
use thalweg_proto::job::{
    ArtifactRequestWrapper, ArtifactResponseWrapper, GetArtifactRequest, ResolveArtifactsRequest,
};
use thalweg_proto::pipeline::{ArtifactFilePayload, ArtifactInformation, ArtifactUrlPayload, EmbeddedFilePayload};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

type Questions = mpsc::Sender<Result<ArtifactRequestWrapper, Status>>;

/// The staging service.
pub(in crate::job) struct StagingService {
    pub(in crate::job) table: Arc<JobTable>,
    pub(in crate::job) store: Arc<ArtifactStore>,
    pub(in crate::job) closing: Closing,
}

#[tonic::async_trait]
impl ArtifactStagingService for StagingService {
    type ReverseArtifactRetrievalServiceStream = ReceiverStream<Result<ArtifactRequestWrapper, Status>>;

    async fn reverse_artifact_retrieval_service(
        &self,
        request: Request<Streaming<ArtifactResponseWrapper>>,
    ) -> Result<Response<Self::ReverseArtifactRetrievalServiceStream>, Status> {
        let (questions, stream) = mpsc::channel(1);
        let (table, store) = (self.table.clone(), self.store.clone());
        let mut closing = self.closing.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = closing.closed() => {}
                () = questions.closed() => {}
                end = stage(&table, store, request.into_inner(), &questions) => {
                    if let Err(error) = end {
                        tracing::warn!(code = error.code, error = error.message, "staging failed");
                        let _ = questions.send(Err(status(&error))).await;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// One staging session from its first message to its end.
async fn stage(
    table: &JobTable,
    store: Arc<ArtifactStore>,
    mut answers: Streaming<ArtifactResponseWrapper>,
    questions: &Questions,
) -> Result<()> {
    let hello = answers.message().await.map_err(|e| broken("its staging token", e.message()))?;
    let Some(hello) = hello else { return Ok(()) }; // opened and closed: nothing was wanted
    let record = table.by_token(&hello.staging_token)?;
    let (fetched, digests) = (BTreeMap::new(), Vec::new());
    let mut session = Session { store, answers, questions, record: &record, fetched, digests };
    let (mut staged, mut bytes) = (Vec::new(), 0);
    for list in lists(&record.job().pipeline) {
        let files = session.stage_list(&list).await?;
        // a client may resolve one artifact to very many
        bytes += list.iter().chain(&files).map(Message::encoded_len).sum::<usize>();
        table.count_staged(&record, bytes)?;
        staged.push((list, files));
    }
    tracing::debug!(job = record.id(), files = session.digests.len(), "staged");
    let before = record.set_staged(StagedLists::new(staged), std::mem::take(&mut session.digests));
    session.store.release(&before);
    if record.state().is_terminal() {
        session.store.release(&record.take_digests()); // it was cancelled or forgotten meanwhile
    }
    Ok(())
}

/// A conversation with a client; what it has stored is released again unless the digests are taken.
struct Session<'a> {
    store: Arc<ArtifactStore>,
    answers: Streaming<ArtifactResponseWrapper>,
    questions: &'a Questions,
    /// The job, which is not forgotten while its client answers.
    record: &'a JobRecord,
    /// What was stored already, by the encoding of the artifact: environments share dependencies.
    fetched: BTreeMap<Vec<u8>, Digest>,
    digests: Vec<Digest>,
}

impl Session<'_> {
    /// Stages one list of dependencies and returns what takes its place.
    async fn stage_list(&mut self, list: &[ArtifactInformation]) -> Result<Vec<ArtifactInformation>> {
        let mut staged = Vec::with_capacity(list.len());
        for artifact in self.resolve(list).await? {
            if matches!(artifact.type_urn.as_str(), urn::PYPI | urn::MAVEN) {
                staged.push(artifact); // a reference the worker itself installs
                continue;
            }
            let name = artifact.encode_to_vec();
            let digest = match self.fetched.get(&name) {
                Some(digest) => *digest,
                None => {
                    let digest = self.fetch(&artifact).await?;
                    self.digests.push(digest);
                    self.fetched.insert(name, digest);
                    digest
                }
            };
            staged.push(self.file(artifact, &digest));
        }
        Ok(staged)
    }

    /// Asks the client for the artifacts in the form it can deliver.
    async fn resolve(&mut self, list: &[ArtifactInformation]) -> Result<Vec<ArtifactInformation>> {
        let question = ResolveArtifactsRequest { artifacts: list.to_vec(), preferred_urns: vec![urn::FILE.to_owned()] };
        self.ask(Question::ResolveArtifact(question)).await?;
        match self.answer("the resolution of its dependencies").await?.response {
            Some(Answer::ResolveArtifactResponse(resolved)) => Ok(resolved.replacements),
            _ => Err(broken("the resolution of its dependencies", "something else came")),
        }
    }

    /// Stores the bytes of an artifact.
    async fn fetch(&mut self, artifact: &ArtifactInformation) -> Result<Digest> {
        if artifact.type_urn == urn::EMBEDDED {
            let embedded = EmbeddedFilePayload::decode(artifact.type_payload.clone())
                .map_err(|e| broken("an embedded artifact", &e.to_string()))?;
            let mut writer = self.store.writer().await?;
            writer.write(&embedded.data).await?;
            return writer.finish(None).await;
        }
        let what = describe(artifact);
        self.ask(Question::GetArtifact(GetArtifactRequest { artifact: Some(artifact.clone()) })).await?;
        let mut writer = self.store.writer().await?;
        loop {
            let answer = self.answer(&what).await?;
            match answer.response {
                Some(Answer::GetArtifactResponse(chunk)) => writer.write(&chunk.data).await?,
                None if answer.is_last => {}
                _ => return Err(broken(&what, "something else came")),
            }
            if answer.is_last {
                return writer.finish(expected_digest(artifact)).await;
            }
        }
    }

    async fn ask(&self, question: Question) -> Result<()> {
        let question = ArtifactRequestWrapper { request: Some(question) };
        self.questions.send(Ok(question)).await.map_err(|_| broken("an answer", "the client has gone"))
    }

    /// The next message of the client, be it a piece of a large file: each says that the client is still there.
    async fn answer(&mut self, what: &str) -> Result<ArtifactResponseWrapper> {
        match self.answers.message().await {
            Ok(Some(answer)) => {
                self.record.touch();
                Ok(answer)
            }
            Ok(None) => Err(broken(what, "the client ended the stream")),
            Err(error) => Err(broken(what, error.message())),
        }
    }

    /// The stored file in the role of the artifact.
    fn file(&self, artifact: ArtifactInformation, digest: &Digest) -> ArtifactInformation {
        let path = self.store.path(digest).to_string_lossy().into_owned();
        let payload = ArtifactFilePayload { path, sha256: digest.to_string() };
        ArtifactInformation { type_urn: urn::FILE.to_owned(), type_payload: payload.encode_to_vec().into(), ..artifact }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.store.release(&self.digests);
    }
}

/// The digest the client promised, if it did.
fn expected_digest(artifact: &ArtifactInformation) -> Option<Digest> {
    let digest = match artifact.type_urn.as_str() {
        urn::FILE => ArtifactFilePayload::decode(artifact.type_payload.clone()).ok()?.sha256,
        urn::URL => ArtifactUrlPayload::decode(artifact.type_payload.clone()).ok()?.sha256,
        _ => return None,
    };
    Digest::parse(&digest)
}

/// The artifact in the words of its user.
fn describe(artifact: &ArtifactInformation) -> String {
    match artifact.type_urn.as_str() {
        urn::FILE => ArtifactFilePayload::decode(artifact.type_payload.clone()).map(|p| format!("the file {}", p.path)),
        urn::URL => ArtifactUrlPayload::decode(artifact.type_payload.clone()).map(|p| format!("the file {}", p.url)),
        other => Ok(format!("an artifact of type {other}")),
    }
    .unwrap_or_else(|_| "an artifact".to_owned())
}

fn broken(what: &str, why: &str) -> Error {
    Error::external("ARTIFACT_STAGING_BROKEN", format!("while the client was asked for {what}: {why}"))
        .help("the client's own log says more; a file that it stages may be missing or unreadable")
}
