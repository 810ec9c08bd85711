//! The logging service: what workers log goes to the host, record by record.

use super::{Outgoing, Services};
use std::sync::Arc;
use thalweg_proto::fn_execution::beam_fn_logging_server::BeamFnLogging;
use thalweg_proto::fn_execution::{LogControl, LogEntry, log_entry};
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming};

/// Takes a worker's log records; called from the server's tasks, must not block.
pub type LogSink = Arc<dyn Fn(LogRecord) + Send + Sync>;

/// How grave a record is. Source: `LogEntry.Severity`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Finest.
    Trace,
    /// For finding faults.
    Debug,
    /// Normal course; also what says nothing of its gravity.
    Info,
    /// Noteworthy.
    Notice,
    /// Probably wrong.
    Warn,
    /// Failed.
    Error,
    /// The worker cannot go on.
    Critical,
}

/// One record of a worker's log.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// Which worker.
    pub worker: String,
    /// How grave.
    pub severity: Severity,
    /// When, in milliseconds since the Unix epoch, by the worker's clock.
    pub at: i64,
    /// The text.
    pub message: String,
    /// Stack trace; empty if there is none.
    pub trace: String,
    /// The instruction it belongs to; empty if none.
    pub instruction: String,
    /// The transform it belongs to; empty if none.
    pub transform: String,
    /// File and line, or the name of the logger.
    pub location: String,
    /// The worker's thread.
    pub thread: String,
}

impl LogRecord {
    fn from_entry(worker: &str, entry: LogEntry) -> Self {
        use log_entry::severity::Enum;
        let severity = match entry.severity() {
            Enum::Trace => Severity::Trace,
            Enum::Debug => Severity::Debug,
            Enum::Info | Enum::Unspecified => Severity::Info,
            Enum::Notice => Severity::Notice,
            Enum::Warn => Severity::Warn,
            Enum::Error => Severity::Error,
            Enum::Critical => Severity::Critical,
        };
        let at = entry.timestamp.map_or(0, |t| millis(t.seconds, t.nanos));
        Self {
            worker: worker.to_owned(),
            severity,
            at,
            message: entry.message,
            trace: entry.trace,
            instruction: entry.instruction_id,
            transform: entry.transform_id,
            location: entry.log_location,
            thread: entry.thread,
        }
    }
}

/// Milliseconds, whatever a worker takes for a time.
fn millis(seconds: i64, nanos: i32) -> i64 {
    seconds.saturating_mul(1000).saturating_add(i64::from(nanos) / 1_000_000)
}

#[tonic::async_trait]
impl BeamFnLogging for Services {
    type LoggingStream = Outgoing<LogControl>;

    async fn logging(
        &self,
        request: Request<Streaming<log_entry::List>>,
    ) -> Result<Response<Self::LoggingStream>, Status> {
        // a worker may log before and after it is one of ours, so an unknown name is no reason to refuse
        let worker = request.metadata().get("worker_id").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let logs = Arc::clone(&self.logs);
        let quiet = request.into_inner().filter_map(move |list| match list {
            Ok(list) => {
                list.log_entries.into_iter().for_each(|entry| logs(LogRecord::from_entry(&worker, entry)));
                None
            }
            Err(status) => Some(Err(status)),
        });
        Ok(Response::new(Box::pin(quiet)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_no_time_there_is_has_the_last_or_first_one() {
        let at = |seconds, nanos| {
            let timestamp = Some(prost_types::Timestamp { seconds, nanos });
            LogRecord::from_entry("w", LogEntry { timestamp, ..LogEntry::default() }).at
        };
        assert_eq!((at(7, 5_000_000), at(i64::MAX, i32::MAX), at(i64::MIN, i32::MIN)), (7005, i64::MAX, i64::MIN));
    }
}
