//! Building Beam pipelines in Rust: what the YAML front door, the benchmarks and embedders make their `Pipeline` protos with.
//!
//! In: transforms by URN and payload, collections by element type and windowing. Out: a
//! [`Pipeline`](thalweg_proto::pipeline::Pipeline) whose native transforms carry our URNs ([`urn`]) and JSON payloads. It
//! knows nothing of what the transforms do.

mod builder;
mod element;
mod show;
pub mod urn;
mod windows;

pub use builder::{Collection, PipelineBuilder};
pub use element::Element;
pub use show::show;
pub use windows::Windows;
