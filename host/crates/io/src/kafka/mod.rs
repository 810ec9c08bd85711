//! Kafka: topics in ([`KafkaSource`]), topics out exactly once ([`KafkaSink`]).
//!
//! In: connection settings with Kafka's property names verbatim. Out: batches whose positions are offsets, and one transaction per
//! committed epoch. Consumers assign their partitions by hand; no group of ours is ever joined, groups only keep marks.

mod client;
mod element;
mod error;
mod mark;
mod outbox;
mod position;
mod record;
mod sink;
mod source;
mod splits;
mod transaction;
mod watermark;

pub use client::KafkaClientConfig;
pub use element::SourceElement;
pub use record::SinkElement;
pub use sink::{KafkaSink, KafkaSinkConfig};
pub use source::{KafkaSource, KafkaSourceConfig, Start};
pub use splits::KafkaSplits;
pub use watermark::RecordTime;
