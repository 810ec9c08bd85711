//! The bounds of the job services: one typed value each, with its unit.

use std::time::Duration;

/// Bounds of what the job services remember and accept.
///
/// A full table refuses new preparations by name; it never forgets a job that is still running.
#[derive(Clone, Debug)]
pub struct JobLimits {
    /// Jobs remembered, of any state. Finished ones are forgotten first, oldest first.
    pub jobs_max: usize,
    /// Encoded bytes of the pipelines, options and lists of staged artifacts of all remembered jobs; finished jobs are forgotten to stay below.
    pub pipelines_bytes_max: usize,
    /// Encoded bytes of one job's options.
    pub options_bytes_max: usize,
    /// How long a prepared job waits for its `Run`; staging prolongs it.
    pub prepared_for: Duration,
    /// Messages kept from the beginning of a job: what it said while starting.
    pub messages_first: usize,
    /// Messages kept from the end of a job: why it ended. At least 1.
    pub messages_last: usize,
    /// Bytes of one message's text; the middle of a longer one is left out.
    pub message_bytes_max: usize,
    /// Bytes of one gRPC request: above all the pipeline of `Prepare`.
    pub request_bytes_max: usize,
    /// Bytes of all staged artifacts in the staging directory.
    pub artifacts_bytes_max: u64,
    /// HTTP/2 streams open on one connection.
    pub streams_per_connection_max: u32,
    /// How long open requests may take to end once the server is told to stop.
    pub shutdown_grace: Duration,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self {
            jobs_max: 200,
            pipelines_bytes_max: 1 << 30,
            options_bytes_max: 4 << 20, // a program's whole command line has some KiB; workers are handed them, too
            prepared_for: Duration::from_secs(15 * 60),
            messages_first: 200,
            messages_last: 800,
            message_bytes_max: 64 << 10,
            request_bytes_max: 256 << 20, // pipelines with embedded data and models reach tens of MiB
            artifacts_bytes_max: 8 << 30, // a few Python environments with ML wheels
            streams_per_connection_max: 4096,
            shutdown_grace: Duration::from_secs(5),
        }
    }
}
