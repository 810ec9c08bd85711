//! Native connectors: files and Kafka, as adapters of core's source and sink ports; and object stores.
//!
//! In: polls of the shards, and the batches of an epoch. Out: batches in Beam's encoding, and marks that are committed with the
//! epoch. Knows nothing of pipelines, protos or stages: the host says what a connector of a pipeline means.
//!
//! - [`row`]: Beam's row encoding, to and from JSON.
//! - [`file`]: lines of text files in, JSON lines out.
//! - [`format`] (feature `formats`): Avro, Protobuf and JSON to and from rows, schema registries.
//! - [`http`] (feature `http`): questions to HTTP servers, with TLS.
//! - [`kafka`] (feature `kafka`): topics in and out, exactly once.
//! - [`object`] (feature `objects`): files to object stores and back.

pub mod file;
#[cfg(feature = "formats")]
pub mod format;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "objects")]
pub mod object;
pub mod row;
