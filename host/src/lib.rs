//! Thalweg runs Apache Beam pipelines.

pub mod bench;
pub mod cli;
pub mod compose;
pub mod jobs;
pub mod native;
pub mod pipeline;
pub mod row;
pub mod runtime;
pub mod yaml;
