//! Thalweg runs Apache Beam pipelines: native and WebAssembly functions in this process, functions of the Beam SDKs in their
//! own workers, with windows, state and exactly-once commits, embedded or on Kafka.
//!
//! The crate is what stands behind the `thalweg` binary, and what an embedder puts into a service or an edge node: no port is
//! opened and no thread started unless asked for.
//!
//! # From a pipeline to results
//! 1. A front door gives a Beam `Pipeline` proto: [`yaml`] reads a file in the format of Beam YAML, [`pipeline`] builds one in
//!    Rust, [`jobs`] takes one from an SDK.
//! 2. [`compose`] gives its native parts their meaning: sources, sinks, functions of the host ([`native`]), components.
//! 3. [`runtime`] runs it on threads: one per shard, one for the job, one that commits.
//!
//! ```
//! use thalweg::compose::{Composer, Settings};
//! use thalweg::native::Registry;
//! use thalweg::{runtime, yaml};
//! use thalweg_beam::translate::translate;
//! use thalweg_core::engine::Outcome;
//!
//! # let dir = tempfile::tempdir()?;
//! # let out = dir.path().join("words.jsonl").display().to_string();
//! let text = "
//! pipeline:
//!   type: chain
//!   transforms:
//!     - type: Create
//!       config: {elements: [{word: b}, {word: a}, {word: b}]}
//!     - type: Combine
//!       config: {group_by: word, combine: {n: {fn: count, value: word}}}
//!     - type: WriteToJson
//!       config: {path: '{{ out }}'}
//! ";
//! // no state directory: the job lives in memory
//! let composer = Composer::new(Settings { shards: 1, ..Settings::default() }, Registry::standard())?;
//! let values = [("out".to_owned(), out.clone())].into();
//! let pipeline = yaml::load("words.yaml", text, &values, composer.components().as_ref())?;
//! let composed = composer.compose(&mut translate(pipeline)?, "words")?;
//! let running = runtime::start(composer.job("words", composed))?;
//! assert_eq!(running.join().outcome, Outcome::Done);
//! let written = std::fs::read_to_string(&out)?;
//! let mut lines: Vec<&str> = written.lines().collect();
//! lines.sort_unstable();
//! assert_eq!(lines, [r#"{"word":"a","n":1}"#, r#"{"word":"b","n":2}"#]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Functions of the embedder's own go into a [`native::Registry`], sources and sinks into [`compose::Connectors`]. Errors are
//! [`thalweg_core::error::Error`]s with stable codes, each with a section in `docs/errors.md`.

pub mod bench;
pub mod cli;
pub mod cluster;
pub mod compose;
pub mod expansion;
mod files;
pub mod jobs;
pub mod native;
pub mod pipeline;
pub mod query;
pub mod row;
pub mod runtime;
pub mod savepoint;
pub mod table;
pub mod topics;
pub mod udf;
pub mod yaml;
