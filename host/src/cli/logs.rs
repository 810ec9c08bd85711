//! Logs to standard error: as text, or as the JSON lines that Beam's SDKs read from Prism.
//!
//! A JSON line has the keys `time`, `level`, `source` (`function`, `file`, `line`), `msg`, and one per field of the event.

use clap::ValueEnum;
use serde_json::{Map, Value, json};
use std::fmt;
use std::io::IsTerminal;
use std::time::{SystemTime, UNIX_EPOCH};
use thalweg_io::row::write_millis;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How logs look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum LogKind {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Starts logging. `level` is one of those the command line takes; a filter as `tracing` writes them, given by `THALWEG_LOG` in
/// the environment, wins over it. Does nothing if logging was started before.
pub fn init(level: &str, kind: LogKind) {
    let fallback = || EnvFilter::try_new(quiet(level)).unwrap_or_else(|_| EnvFilter::new(quiet("info")));
    let filter = EnvFilter::try_from_env("THALWEG_LOG").unwrap_or_else(|_| fallback());
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // an error means that somebody else logs already: theirs stays
    let _ = match kind {
        LogKind::Json => base.event_format(Json).try_init(),
        LogKind::Text => base.with_ansi(std::io::stderr().is_terminal()).with_target(false).compact().try_init(),
    };
}

/// The connection libraries tell every frame below warnings, which drowns what is ours.
fn quiet(level: &str) -> String {
    format!(
        "{level},h2=warn,hyper=warn,tonic=warn,tower=warn,rdkafka=warn,librdkafka=warn,wasmtime=warn,cranelift=warn"
    )
}

/// Writes an event as one JSON object.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let message = fields.0.remove("message").unwrap_or_else(|| Value::from(event.metadata().name()));
        let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
        let meta = event.metadata();
        let mut line = Map::new();
        line.insert("time".to_owned(), Value::from(now()));
        line.insert("level".to_owned(), Value::from(level(*meta.level())));
        let source = json!({
            "function": meta.target(),
            "file": meta.file().unwrap_or("unknown"),
            "line": meta.line().unwrap_or(0),
        });
        line.insert("source".to_owned(), source);
        line.insert("msg".to_owned(), Value::from(if message.is_empty() { meta.name().to_owned() } else { message }));
        line.append(&mut fields.0);
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// Level names of Go's `slog`, which is what SDKs expect.
fn level(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "ERROR",
        tracing::Level::WARN => "WARN",
        tracing::Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut text = Vec::new();
    write_millis(&mut text, since.as_millis() as i64);
    String::from_utf8_lossy(&text).into_owned()
}

/// Collects the fields of an event. Names that the line itself uses get an underscore.
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = match field.name() {
            taken @ ("time" | "level" | "source" | "msg") => format!("{taken}_"),
            name => name.to_owned(),
        };
        self.0.insert(name, value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn json_lines_have_the_keys_that_sdks_read() -> serde_json::Result<()> {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().event_format(Json).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || tracing::warn!(rows = 7, level = "x", "a \"word\""));
        let text = lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let value: Value = serde_json::from_slice(&text)?;
        assert_eq!(value.get("msg"), Some(&Value::from("a \"word\"")));
        assert_eq!((value.get("level"), value.get("level_")), (Some(&Value::from("WARN")), Some(&Value::from("x"))));
        assert_eq!(value.get("rows"), Some(&Value::from(7)));
        assert!(value.pointer("/source/file").and_then(Value::as_str).is_some_and(|f| f.ends_with("logs.rs")));
        assert!(value.pointer("/source/line").is_some() && value.pointer("/source/function").is_some());
        assert!(value.get("time").and_then(Value::as_str).is_some_and(|t| t.ends_with('Z') && t.contains('T')));
        Ok(())
    }
}
