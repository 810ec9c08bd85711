//! What an SDK says when user code failed, as an error of ours: the message is chosen from the text, which is kept whole.
//!
//! In: the `error` of an instruction's response, and what the bundle began with. Out: `UDF_FAILED` with domain Guest. How the SDKs write is
//! for `said` to know.

use super::said;
use thalweg_core::error::{Domain, Error};
use thalweg_core::port::worker::{Input, Item};
use tonic::{Code, Status};

/// Longest message in characters; the whole text is in the trace.
const MESSAGE_CHARS: usize = 500;

/// Bytes of an element that a message shows.
const PREVIEW_BYTES: usize = 120;

/// The first element of a bundle, cut short. Users look for the one that their function does not take; which of a
/// bundle's it is, only the function knows, so it is told of how many this is the first.
pub(super) struct Preview {
    elements: usize,
    first: Vec<u8>,
    whole: bool,
}

impl Preview {
    /// Of a bundle's input; nothing if it has no elements. Cost: a copy of at most [`PREVIEW_BYTES`].
    pub fn of(input: &Input) -> Option<Self> {
        let (batch, row) = match input {
            Input::Elements { batches } => {
                let (_, batch) = batches.iter().find(|(_, batch)| !batch.is_empty())?;
                (batch, batch.rows().first()?)
            }
            Input::Keyed { batches, items, .. } => items.iter().find_map(|item| match item {
                Item::Row { batch, row, .. } => {
                    let batch = batches.get(*batch as usize)?;
                    Some((batch, batch.rows().get(*row as usize)?))
                }
                Item::Timer { .. } => None,
            })?,
        };
        let bytes = batch.key(row).iter().chain(batch.value(row));
        let whole = batch.key(row).len() + batch.value(row).len() <= PREVIEW_BYTES;
        Some(Self { elements: input.len(), first: bytes.take(PREVIEW_BYTES).copied().collect(), whole })
    }

    /// Adds it to what the error says is to be done.
    pub fn add_to(&self, error: &mut Error) {
        let (bytes, dots) = (self.first.escape_ascii(), if self.whole { "" } else { "..." });
        let which = match self.elements {
            1 => "the bundle's one element, as it is encoded".to_owned(),
            n => format!("the first of the bundle's {n} elements, as it is encoded"),
        };
        let space = if error.help.is_empty() { "" } else { "; " };
        error.help.push_str(&format!("{space}{which}: \"{bytes}\"{dots}"));
    }
}

/// Why the streams of a worker broke: a message over the limit is nobody's loss but an element that will come again.
pub(super) fn broken(worker: &str, stream: &str, status: &Status) -> Error {
    if status.code() == Code::OutOfRange && status.message().contains("message length too large") {
        return Error::user(
            "ELEMENT_TOO_LARGE",
            format!("worker {worker} sent more in one message than is taken: {}", status.message()),
        )
        .help("an element is never cut: make smaller ones, or start the server with a larger --message-mib-max")
        .permanent();
    }
    Error::external("WORKER_LOST", format!("worker {worker} is gone: its {stream} stream broke: {}", status.message()))
}

/// Makes an error of a failed instruction. `transforms` are the unique names of the pipeline's transforms in the stage.
pub(super) fn udf_failed<'a>(text: &str, transforms: impl Iterator<Item = &'a str>) -> Error {
    let words = said::words(text);
    let mut message: String = words.chars().take(MESSAGE_CHARS).collect();
    if message.len() < words.len() {
        message.push('…');
    }
    let names: Vec<&str> = transforms.collect();
    let transform = said::transform(text, names.iter().copied()).unwrap_or_else(|| said::any_of(&names));
    Error::new("UDF_FAILED", Domain::Guest, message)
        .help("the worker's own stack trace is in the job's messages")
        .trace(text)
        .in_transform(&transform)
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::batch::BatchBuilder;
    use thalweg_core::time::EventTime;
    use thalweg_core::window::Window;

    #[test]
    fn where_the_text_tells_no_transform_none_is_picked_out() {
        let of = |names: &[&str]| udf_failed("IllegalStateException: no", names.iter().copied()).transform;
        assert_eq!(of(&["Parse"]), "Parse");
        assert_eq!(of(&["Read", "Parse"]), "one of Read, Parse");
        assert_eq!(of(&["a", "b", "c", "d", "e", "f", "g"]), "one of a, b, c, d, e, f and 1 more");
    }

    #[test]
    fn a_python_traceback_gives_its_last_line_and_its_step() {
        let text = "Traceback (most recent call last):\n  File \"a.py\", line 3, in process\n    1 / 0\n\
                    ZeroDivisionError: division by zero [while running 'Parse/Map(f)']\n\n";
        let error = udf_failed(text, std::iter::empty());
        assert_eq!(error.message, "ZeroDivisionError: division by zero");
        assert_eq!(error.transform, "Parse/Map(f)");
        assert_eq!(error.trace, text);
    }

    #[test]
    fn the_step_is_cut_out_of_a_quoted_message() {
        let error = udf_failed("KeyError: \"missing [while running 'Look up']\"\n", std::iter::empty());
        assert_eq!((error.message.as_str(), error.transform.as_str()), ("KeyError: \"missing\"", "Look up"));
    }

    #[test]
    fn a_line_without_a_word_is_not_the_message() {
        let error = udf_failed("grpc.RpcError: <\n\tdetails = \"no such thing\"\n>\n\n", std::iter::empty());
        assert_eq!(error.message, "details = \"no such thing\"");
    }

    #[test]
    fn a_java_stack_trace_gives_its_innermost_cause() {
        let text = "java.util.concurrent.ExecutionException: wrapped\n\tat a.B.c(B.java:3)\n\
                    Caused by: java.lang.IllegalStateException: no such flight\n\tat user.Fn.process(Fn.java:9)\n\t... 12 more\n";
        let error = udf_failed(text, ["Parse", "Parse/Flights"].into_iter());
        assert_eq!(error.message, "java.lang.IllegalStateException: no such flight");
        assert_eq!(error.transform, "one of Parse, Parse/Flights");
    }

    #[test]
    fn a_failure_shows_the_first_element_cut_short() {
        let mut builder = BatchBuilder::new();
        builder.push(b"k", b"\x03abc", EventTime(0), &[Window::Global]);
        let one = Input::Elements { batches: vec![(0, builder.finish())] };
        let mut error = udf_failed("ValueError: no", std::iter::empty());
        Preview::of(&one).expect("an element").add_to(&mut error);
        assert!(error.help.ends_with("; the bundle's one element, as it is encoded: \"k\\x03abc\""), "{}", error.help);
        builder.push(b"", &[b'x'; 500], EventTime(0), &[Window::Global]);
        builder.push(b"", b"y", EventTime(0), &[Window::Global]);
        let two = Input::Elements { batches: vec![(0, builder.finish())] };
        let mut error = Error::user("X_Y", "z");
        Preview::of(&two).expect("elements").add_to(&mut error);
        assert!(error.help.starts_with("the first of the bundle's 2 elements") && error.help.ends_with("xxx\"..."));
        assert!(error.help.len() < 300, "{}", error.help);
        assert!(Preview::of(&Input::Elements { batches: Vec::new() }).is_none());
    }

    #[test]
    fn a_message_over_the_limit_is_told_by_name_and_not_tried_again() {
        let large =
            Status::out_of_range("Error, decoded message length too large: found 9 bytes, the limit is: 4 bytes");
        let error = broken("w", "data", &large);
        assert_eq!((error.code, error.permanent), ("ELEMENT_TOO_LARGE", true));
        assert!(error.message.contains("9 bytes") && error.help.contains("--message-mib-max"));
        assert_eq!(broken("w", "data", &Status::unavailable("gone")).code, "WORKER_LOST");
    }

    #[test]
    fn an_empty_text_is_still_an_error() {
        assert!(!udf_failed("", std::iter::empty()).message.is_empty());
    }
}
