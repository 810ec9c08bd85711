//! Elements that a worker has seen, shown to people: what a failing function was given, and what passed before.
//!
//! In: the worker's answer to `SampleDataRequest`. Out: log records. Elements stay encoded; what is readable of them is
//! shown. Source: `SampleDataResponse`, the experiment `enable_data_sampling`.

use super::service::{LogRecord, LogSink, Severity};
use std::time::{SystemTime, UNIX_EPOCH};
use thalweg_proto::fn_execution::{SampleDataResponse, SampledElement};

/// Elements shown of a collection.
const SHOWN: usize = 5;
/// Characters shown of an element.
const CHARS: usize = 200;

/// A record of ours about a worker.
pub(super) fn record(worker: &str, severity: Severity, transform: &str, message: String) -> LogRecord {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    LogRecord {
        worker: worker.to_owned(),
        severity,
        at,
        message,
        trace: String::new(),
        instruction: String::new(),
        transform: transform.to_owned(),
        location: "thalweg".to_owned(),
        thread: String::new(),
    }
}

/// Logs samples: the elements that made a function fail as errors, the others as information.
pub(super) fn tell(logs: &LogSink, worker: &str, samples: SampleDataResponse) {
    for (collection, list) in samples.element_samples {
        let (failed, passed): (Vec<_>, Vec<_>) = list.elements.iter().partition(|e| e.exception.is_some());
        for element in failed.into_iter().take(SHOWN) {
            let transform = element.exception.as_ref().map_or("", |e| e.transform_id.as_str());
            let message = format!("an element of {collection} made it fail: {}", shown(element));
            logs(record(worker, Severity::Error, transform, message));
        }
        if !passed.is_empty() {
            let elements: Vec<String> = passed.into_iter().rev().take(SHOWN).map(shown).collect();
            let message = format!("elements of {collection}: {}", elements.join(", "));
            logs(record(worker, Severity::Info, "", message));
        }
    }
}

/// What is readable of an element.
fn shown(element: &SampledElement) -> String {
    let text = element.element.escape_ascii().to_string();
    let mut shown: String = text.chars().take(CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use thalweg_proto::fn_execution::sample_data_response::ElementList;
    use thalweg_proto::fn_execution::sampled_element::Exception;

    #[test]
    fn what_failed_is_an_error_with_its_transform_and_the_rest_is_information() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        let logs: LogSink = Arc::new(move |record| sink.lock().expect("no panic").push(record));
        let element = |bytes: &'static [u8], exception| SampledElement {
            element: bytes.into(),
            sample_timestamp: None,
            exception,
        };
        let exception = Exception { transform_id: "Parse".to_owned(), ..Exception::default() };
        let list = ElementList { elements: vec![element(b"\x01ok", None), element(b"b\xffd", Some(exception))] };
        tell(&logs, "w", SampleDataResponse { element_samples: [("lines".to_owned(), list)].into() });
        let heard = heard.lock().expect("no panic");
        let said: Vec<_> = heard.iter().map(|r| (r.severity, r.transform.as_str(), r.message.as_str())).collect();
        let failed = "an element of lines made it fail: \"b\\xffd\"";
        assert_eq!(said, [(Severity::Error, "Parse", failed), (Severity::Info, "", "elements of lines: \"\\x01ok\"")]);
    }
}
