//! Beam's edge: from a Beam pipeline to the engine's graph, and from the engine's stages to what SDK workers
//! understand.
//!
//! - [`translate`]: a `Pipeline` proto becomes a [`Graph`](thalweg_core::graph::Graph), or is refused by name.
//! - [`descriptor`]: a stage of the plan becomes a `ProcessBundleDescriptor` and its wiring.
//! - [`coder`]: coders and the wire forms of elements and timers.
//! - [`metrics`]: `MonitoringInfo`s to and from the engine's metrics.
//! - [`expansion`]: transforms that a program names by URN become parts of ours.
//! - [`urn`], [`error`]: names and refusals.
//! - `fnapi` (feature `fn-api`): SDK harnesses as workers.
//! - `job` (feature `fn-api`): the Job and artifact services that SDKs submit to.
//!
//! This crate knows nothing of Kafka or WebAssembly: `thalweg:*` transforms are handed through with their payloads.

pub mod coder;
#[cfg(feature = "fn-api")]
pub mod deploy;
pub mod descriptor;
pub mod error;
pub mod expansion;
#[cfg(feature = "fn-api")]
pub mod fnapi;
#[cfg(feature = "fn-api")]
pub mod job;
pub mod metrics;
pub mod translate;
pub mod urn;
