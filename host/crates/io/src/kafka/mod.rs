//! Kafka: topics in ([`KafkaSource`], or [`MergedKafkaSource`] with an end), topics out, exactly once or at least once ([`KafkaSink`]).
//!
//! In: connection settings with Kafka's property names verbatim. Out: batches whose positions are offsets, and one transaction per
//! committed epoch. Consumers assign their partitions by hand; no group of ours is ever joined, groups only keep marks and offsets
//! ([`GroupOffsets`]). [`embedded`] has the same topics in the job's own store, without a broker.

mod ask;
mod backlog;
mod client;
pub mod cluster;
mod datum;
mod dead;
mod discovery;
mod element;
pub mod embedded;
mod error;
mod found;
mod group;
mod hanging;
mod jaas;
mod mark;
mod merged;
mod metadata;
mod native;
mod oauth;
mod outbox;
mod placing;
mod plain;
mod position;
mod properties;
mod record;
mod security;
mod send;
mod sink;
mod source;
mod splits;
mod thread;
mod transaction;
mod watermark;

pub use client::KafkaClientConfig;
pub use datum::{Datum, DatumType};
pub use dead::DeadLetterFrom;
pub use element::SourceElement;
pub use error::passes;
pub use group::GroupOffsets;
pub use merged::{Limit, MergedKafkaSource};
pub use metadata::metadata_schema;
pub use placing::Partitioner;
pub use record::SinkElement;
pub use security::is_secret;
pub use sink::{Guarantee, KafkaSink, KafkaSinkConfig};
pub use source::{KafkaSource, KafkaSourceConfig, Start};
pub use splits::KafkaSplits;
pub use watermark::RecordTime;
