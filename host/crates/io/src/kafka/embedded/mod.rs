//! Topics of the embedded log: the same elements as with a cluster, without one.
//!
//! In: a [`Log`](thalweg_core::port::log::Log) of the job's own commit authority. Out: batches whose positions are offsets
//! ([`LogSource`]), and records that are part of the commit ([`LogSink`]): exactly once needs no transaction and no outbox here.

mod limited;
mod partitioner;
mod sink;
mod source;
#[cfg(test)]
mod tests;

pub use limited::LimitedLogSource;
pub use partitioner::of_key as partition_of_key;
pub use sink::{LogSink, LogSinkConfig};
pub use source::{LogSource, LogSourceConfig, LogSplits};
