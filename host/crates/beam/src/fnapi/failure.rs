//! What an SDK says when user code failed, as an error of ours: the traceback is kept whole, its last line is the message.
//!
//! In: the `error` of an instruction's response. Out: `UDF_FAILED` with domain Guest. Knows Python's and Java's ways of
//! writing only as far as one line can be chosen; a text it does not understand is still shown whole.

use thalweg_core::error::{Domain, Error};

/// Longest message in characters; the whole text is in the trace.
const MESSAGE_CHARS: usize = 500;

/// Makes an error of a failed instruction. `transforms` are the unique names of the stage's transforms.
pub(super) fn udf_failed<'a>(text: &str, transforms: impl Iterator<Item = &'a str>) -> Error {
    let message = summary(text);
    let transform = named_in(text).or_else(|| mentioned(text, transforms)).unwrap_or_default();
    Error::new("UDF_FAILED", Domain::Guest, message)
        .help("the worker's own stack trace is in the job's messages")
        .trace(text)
        .in_transform(&transform)
}

/// The line that says what went wrong: the last one of a Python traceback, the first one of a Java stack trace.
fn summary(text: &str) -> String {
    let java = |line: &&str| line.trim_start().starts_with("at ") || line.trim_start().starts_with("... ");
    let is_java = text.lines().any(|line| java(&line) && line.contains('('));
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = if is_java && !text.contains("Traceback (most recent call last)") {
        // the innermost cause is what the user wrote
        let mut causes = text.lines().filter(|line| line.starts_with("Caused by: "));
        causes.next_back().map(|line| line.trim_start_matches("Caused by: ")).or_else(|| lines.next())
    } else {
        lines.next_back()
    };
    let line = line.unwrap_or("the worker reported a failure without a word");
    let line = without_step(line);
    let mut message: String = line.chars().take(MESSAGE_CHARS).collect();
    if message.len() < line.len() {
        message.push('…');
    }
    message
}

/// The line without the step that Python puts into the message: it has a place of its own.
fn without_step(line: &str) -> String {
    let cut =
        line.rsplit_once(" [while running '").and_then(|(before, after)| Some((before, after.split_once("']")?.1)));
    cut.map_or_else(|| line.to_owned(), |(before, after)| format!("{before}{after}"))
}

/// The transform that Python names at the end of a message.
fn named_in(text: &str) -> Option<String> {
    let (_, after) = text.rsplit_once("[while running '")?;
    let (name, _) = after.split_once("']")?;
    Some(name.to_owned())
}

/// The longest of the stage's names that the text mentions.
fn mentioned<'a>(text: &str, transforms: impl Iterator<Item = &'a str>) -> Option<String> {
    transforms.filter(|name| !name.is_empty() && text.contains(name)).max_by_key(|name| name.len()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_java_stack_trace_gives_its_innermost_cause() {
        let text = "java.util.concurrent.ExecutionException: wrapped\n\tat a.B.c(B.java:3)\n\
                    Caused by: java.lang.IllegalStateException: no such flight\n\tat user.Fn.process(Fn.java:9)\n\t... 12 more\n";
        let error = udf_failed(text, ["Parse", "Parse/Flights"].into_iter());
        assert_eq!(error.message, "java.lang.IllegalStateException: no such flight");
        assert_eq!(error.transform, "");
    }

    #[test]
    fn an_empty_text_is_still_an_error() {
        assert!(!udf_failed("", std::iter::empty()).message.is_empty());
    }
}
