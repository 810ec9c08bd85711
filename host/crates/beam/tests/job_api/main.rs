//! The job services over a real port: submission, streams, staging and retrieval, against a scripted runner.
#![cfg(feature = "fn-api")]

mod artifacts;
mod client;
mod service;
