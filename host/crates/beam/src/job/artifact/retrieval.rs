//! Retrieval: workers fetch what was staged for their job.
//!
//! Source: `ArtifactRetrievalService`. Only staged digests are served: a path in a request is compared, never opened.

use super::super::status::{refuse, status};
use super::store::ArtifactStore;
use super::{CHUNK_BYTES, Digest, urn};
use bytes::Bytes;
use prost::Message;
use std::path::Path;
use std::sync::Arc;
use thalweg_core::error::{Error, Result};
use thalweg_proto::job::artifact_retrieval_service_server::ArtifactRetrievalService;
use thalweg_proto::job::{GetArtifactRequest, GetArtifactResponse, ResolveArtifactsRequest, ResolveArtifactsResponse};
use thalweg_proto::pipeline::{ArtifactFilePayload, ArtifactInformation, EmbeddedFilePayload};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

/// Chunks read ahead of the network, per request.
const CHUNKS_AHEAD: usize = 2;

/// The retrieval service.
pub(in crate::job) struct RetrievalService {
    pub(in crate::job) store: Arc<ArtifactStore>,
}

/// Where the bytes of a request come from.
enum Content {
    Stored(Digest),
    InRequest(Bytes),
}

type Chunks = mpsc::Sender<Result<GetArtifactResponse, Status>>;

#[tonic::async_trait]
impl ArtifactRetrievalService for RetrievalService {
    /// What was staged is already in the form we serve.
    async fn resolve_artifacts(
        &self,
        request: Request<ResolveArtifactsRequest>,
    ) -> Result<Response<ResolveArtifactsResponse>, Status> {
        Ok(Response::new(ResolveArtifactsResponse { replacements: request.into_inner().artifacts }))
    }

    type GetArtifactStream = ReceiverStream<Result<GetArtifactResponse, Status>>;

    async fn get_artifact(
        &self,
        request: Request<GetArtifactRequest>,
    ) -> Result<Response<Self::GetArtifactStream>, Status> {
        let artifact = request.into_inner().artifact.unwrap_or_default();
        let content = self.content(&artifact).map_err(|e| refuse(Code::NotFound, &e))?;
        let (chunks, stream) = mpsc::channel(CHUNKS_AHEAD);
        match content {
            Content::InRequest(data) => {
                tokio::spawn(send_data(data, chunks));
            }
            Content::Stored(digest) => {
                let file = self.store.read(&digest).await.map_err(|e| refuse(Code::NotFound, &e))?;
                tokio::spawn(async move {
                    if let Err(error) = send_file(file, &chunks).await {
                        let error = Error::external("ARTIFACT_STORE_FAILED", format!("artifact {digest}: {error}"));
                        let _ = chunks.send(Err(status(&error))).await;
                    }
                });
            }
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl RetrievalService {
    /// Finds the content a request means, without opening anything.
    fn content(&self, artifact: &ArtifactInformation) -> Result<Content> {
        match artifact.type_urn.as_str() {
            urn::FILE => {
                let payload = ArtifactFilePayload::decode(artifact.type_payload.clone()).unwrap_or_default();
                self.digest(&payload).map(Content::Stored).ok_or_else(|| not_staged(&payload.path))
            }
            urn::EMBEDDED => {
                let payload = EmbeddedFilePayload::decode(artifact.type_payload.clone()).unwrap_or_default();
                Ok(Content::InRequest(payload.data))
            }
            other => Err(not_staged(other)),
        }
    }

    /// The digest of a file artifact as staging described it: path and digest must agree where both are given.
    fn digest(&self, payload: &ArtifactFilePayload) -> Option<Digest> {
        let by_path = self.store.digest_of(Path::new(&payload.path));
        match (payload.path.is_empty(), payload.sha256.is_empty()) {
            (false, true) => by_path,
            (true, false) => Digest::parse(&payload.sha256),
            (false, false) => by_path.filter(|digest| Digest::parse(&payload.sha256) == Some(*digest)),
            (true, true) => None,
        }
    }
}

fn not_staged(what: &str) -> Error {
    Error::user("ARTIFACT_NOT_STAGED", format!("`{what}` is not among the staged artifacts"))
        .help("workers fetch artifacts as the provision service lists them: files of the staging directory")
}

async fn send_data(data: Bytes, chunks: Chunks) {
    let mut rest = data;
    while !rest.is_empty() {
        let data = rest.split_to(rest.len().min(CHUNK_BYTES));
        if chunks.send(Ok(GetArtifactResponse { data })).await.is_err() {
            return; // the worker has gone
        }
    }
}

async fn send_file(file: tokio::fs::File, chunks: &Chunks) -> std::io::Result<()> {
    let mut file = file;
    loop {
        let mut buffer = Vec::with_capacity(CHUNK_BYTES);
        let read = (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut buffer).await?;
        if read == 0 || chunks.send(Ok(GetArtifactResponse { data: buffer.into() })).await.is_err() {
            return Ok(());
        }
    }
}
