//! Errors as the clients of the job services see them: a gRPC status, or the text of a job's last message.

use thalweg_core::error::{Domain, Error};
use tonic::{Code, Status};

/// Bytes of a status message after the encoding of HTTP headers. gRPC's C core, and so Python, refuses headers of more
/// than 8 KiB altogether.
const STATUS_BYTES_MAX: usize = 6000;

/// An error as text for a person: code and sentence, transform, what to do, and the worker's own stack trace last.
///
/// ```
/// use thalweg_beam::job::failure_text;
/// use thalweg_core::error::{Domain, Error};
///
/// let error = Error::new("BUNDLE_FAILED", Domain::Guest, "division by zero").help("look at row 7").in_transform("Parse");
/// assert_eq!(failure_text(&error), "BUNDLE_FAILED: division by zero\n  transform: Parse\n  what to do: look at row 7");
/// ```
#[must_use]
pub fn failure_text(error: &Error) -> String {
    let mut text = format!("{}: {}", error.code, error.message);
    for (label, value) in [("transform", &error.transform), ("what to do", &error.help)] {
        if !value.is_empty() {
            text.push_str(&format!("\n  {label}: {value}"));
        }
    }
    if !error.trace.is_empty() {
        text.push_str("\n\n");
        text.push_str(error.trace.trim_end());
    }
    text
}

/// The status of an error by whose fault it is. `Unavailable` is never used: clients would retry.
pub(super) fn status(error: &Error) -> Status {
    let code = match error.domain {
        Domain::User => Code::InvalidArgument,
        Domain::Guest | Domain::External => Code::FailedPrecondition,
        Domain::Internal => Code::Internal,
    };
    refuse(code, error)
}

/// A status with a code of our choice.
pub(super) fn refuse(code: Code, error: &Error) -> Status {
    let text = failure_text(error);
    let mut bytes = 0;
    let fits = text.char_indices().find(|(_, c)| {
        bytes += if c.is_ascii_alphanumeric() { 1 } else { 3 * c.len_utf8() };
        bytes > STATUS_BYTES_MAX
    });
    match fits {
        None => Status::new(code, text),
        Some((end, _)) => Status::new(code, format!("{} ...", text.get(..end).unwrap_or_default())),
    }
}

/// Shortens a text to about `max` bytes by leaving out its middle: stack traces say most at their end.
pub(super) fn shorten(text: String, max: usize) -> String {
    if text.len() <= max {
        return text;
    }
    let head = text.floor_char_boundary(max / 4);
    let tail = text.ceil_char_boundary(text.len() - max * 3 / 4);
    let (start, end) = (text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default());
    format!("{start}\n... {} bytes left out ...\n{end}", tail - head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        let text = format!("start{}end", "é".repeat(1000));
        let short = shorten(text, 100);
        assert!(short.starts_with("start") && short.ends_with("end") && short.len() < 140, "{short}");
        assert_eq!(shorten("short".to_owned(), 100), "short");
    }

    #[test]
    fn a_status_fits_into_a_header() {
        let error = Error::user("SOME_CODE", "ü".repeat(10_000));
        assert!(status(&error).message().len() < STATUS_BYTES_MAX);
    }
}
