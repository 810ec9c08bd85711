//! Files that workers need: staged by the client of a job, kept by digest, given to the job's workers.
//!
//! In: the dependencies of a pipeline's environments, and their bytes from the client, who is asked for them
//! (`ArtifactStagingService`). Out: the same dependencies as `file` artifacts of the staging directory, and their bytes
//! for workers (`ArtifactRetrievalService`). A client never makes the host open a file of the client's choice: the only
//! paths opened are those made from a digest. Unknown here: what an artifact is for (its role is handed through).
//!
//! What becomes of each type: `file`, `url`, `deferred` and types we do not know are fetched from the client;
//! `embedded` is stored; `pypi` and `maven` are references that the worker itself installs, unless the client resolves
//! them to something else.

mod dependencies;
mod digest;
mod retrieval;
mod staging;
mod store;

pub(super) use dependencies::StagedLists;
pub use dependencies::embedded;
pub use digest::Digest;
pub(super) use retrieval::RetrievalService;
pub(super) use staging::StagingService;
pub use store::{ArtifactStore, ArtifactWriter};

/// URNs of artifact types. Source: `StandardArtifacts.Types`.
pub(crate) mod urn {
    pub(crate) const FILE: &str = "beam:artifact:type:file:v1";
    pub(crate) const URL: &str = "beam:artifact:type:url:v1";
    pub(crate) const EMBEDDED: &str = "beam:artifact:type:embedded:v1";
    pub(crate) const PYPI: &str = "beam:artifact:type:pypi:v1";
    pub(crate) const MAVEN: &str = "beam:artifact:type:maven:v1";
}

/// Bytes of one chunk on the wire: below the 4 MiB that gRPC clients accept without being told otherwise.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
