//! Logs of SDK workers, brought into the process's own log.

use std::sync::Arc;
use thalweg_beam::fnapi::{LogRecord, LogSink, Severity};

/// Writes workers' records to the process's log, with worker and transform.
#[must_use]
pub fn worker_logs() -> LogSink {
    Arc::new(|record: LogRecord| {
        let LogRecord { worker, severity, message, trace, transform, location, .. } = record;
        let text = if trace.is_empty() { message } else { format!("{message}\n{trace}") };
        match severity {
            Severity::Trace => tracing::trace!(target: "worker", worker, transform, location, "{text}"),
            Severity::Debug => tracing::debug!(target: "worker", worker, transform, location, "{text}"),
            Severity::Info | Severity::Notice => {
                tracing::info!(target: "worker", worker, transform, location, "{text}")
            }
            Severity::Warn => tracing::warn!(target: "worker", worker, transform, location, "{text}"),
            _ => tracing::error!(target: "worker", worker, transform, location, "{text}"),
        }
    })
}
