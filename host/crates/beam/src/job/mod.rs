//! The Job API: how SDKs submit pipelines, watch them and hand over the files their workers need.
//!
//! In: gRPC requests of Beam's `JobService`, `ArtifactStagingService` and `ArtifactRetrievalService`. Out: calls of the
//! [`JobRunner`] port, which the host implements, and streams of states and messages. The rooms, in the order a
//! submission walks them:
//!
//! - [`server`]: puts the services on one gRPC port, beside whatever else the caller serves there.
//! - `service`: the `JobService` itself; `life`: a service of ours beside it, to pause and resume.
//! - [`options`]: pipeline options as SDKs send them, read leniently.
//! - [`artifact`]: staging and retrieval of files, kept by digest in one directory.
//! - [`runner`]: the port behind it all: [`JobRunner`], [`PreparedJob`], [`JobReporter`].
//! - `record`, `history`, `table`: what is remembered of a job and of all jobs, within [`JobLimits`].
//!
//! Deliberately unknown here: what a pipeline means (translation belongs to the host's `prepare`), workers, and the
//! engine. A preparation and its job share one id, so streams may be opened before the job is run.
//!
//! Source: messages and services of `org.apache.beam.model.job_management.v1`.

pub mod artifact;
mod client;
mod history;
mod life;
mod limits;
pub mod options;
mod query;
mod record;
pub mod runner;
pub mod server;
mod service;
mod state;
mod status;
mod stream;
mod table;

pub use artifact::ArtifactStore;
pub use client::{JobClient, KnownJob};
pub use limits::JobLimits;
pub use options::{JobOptions, OptionDescriptor, OptionKind, OptionValue};
pub use runner::{
    Importance, JobReporter, JobRunner, PreparedJob, SAVEPOINT_HELP, StateQuestion, in_memory, not_running,
};
pub use server::{JobServer, JobServerConfig, serve};
pub use state::JobState;
pub use status::failure_text;
