//! What an SDK says of failed user code, in its own way: the words that a message takes, and the transform that failed.
//!
//! In: the `error` of an instruction's response. Out: one line, and a name if there is one. Knows how Python, Java and Go write; of a text
//! in no such form it takes the last line. Nothing is lost by a wrong choice: the whole text is kept with the error.

/// Transforms that are named where any of them may have failed.
const NAMES_MAX: usize = 6;
/// What a Python traceback begins with.
const TRACEBACK: &str = "Traceback (most recent call last):";
/// The same of a group of exceptions; all its lines stand behind a bar.
const GROUP: &str = "  + Exception Group Traceback (most recent call last):";
const BAR: &str = "  | ";
/// What all errors of bundles begin with in Go.
const GO: &str = "process bundle failed for instruction ";
/// What Go puts between an error and the one inside it.
const INSIDE: &str = "\n\tcaused by:\n";

/// The words that say what went wrong, in one line. An exception's message may have many lines, of which none alone need
/// tell: they are put behind each other. Cost: O(the text).
pub(super) fn words(text: &str) -> String {
    let words = in_go(text).map(one_line).or_else(|| in_python(text)).or_else(|| in_java(text));
    let words = words.or_else(|| lines(text).next_back().map(str::to_owned));
    let words = words.filter(|words| !words.is_empty());
    without_step(&words.unwrap_or_else(|| "the worker reported a failure without a word".to_owned()))
}

/// The transform that failed, if the text tells. `names` are those of the pipeline's transforms in the stage.
pub(super) fn transform<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    if text.starts_with(GO) {
        return go_transform(text, names);
    }
    python_step(text)
        .or_else(|| names.filter(|name| mentions(text, name)).max_by_key(|name| name.len()).map(str::to_owned))
}

/// Whether a name stands in a text by itself: `Map` is no part of `java.util.HashMap`.
fn mentions(text: &str, name: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_whitespace() || "'\"`[](){}<>:;,".contains(c));
    let alone = |at: usize| {
        let (before, after) = (text.get(..at), text.get(at + name.len()..));
        edge(before.and_then(|before| before.chars().next_back())) && edge(after.and_then(|after| after.chars().next()))
    };
    !name.is_empty() && text.match_indices(name).any(|(at, _)| alone(at))
}

/// What stands for the transform where the text does not tell it.
pub(super) fn any_of(names: &[&str]) -> String {
    let told = names.get(..NAMES_MAX).unwrap_or(names).join(", ");
    match (names.len(), names.len().saturating_sub(NAMES_MAX)) {
        (0 | 1, _) => told,
        (_, 0) => format!("one of {told}"),
        (_, more) => format!("one of {told} and {more} more"),
    }
}

/// Lines with a word: one of brackets alone, as gRPC ends its errors with, says nothing.
fn lines(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| line.contains(char::is_alphanumeric))
}

fn one_line(text: &str) -> String {
    lines(text).collect::<Vec<_>>().join(" ")
}

/// What stands behind the frames of the last traceback: frames are indented, the exception is not.
fn in_python(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let begins = lines.iter().rposition(|line| *line == TRACEBACK || *line == GROUP)?;
    let (head, behind) = lines.get(begins..)?.split_first()?;
    let bar = if *head == GROUP { BAR } else { "" };
    // the members of a group have tracebacks of their own, which begin with another sign
    let own = behind.iter().map_while(|line| line.strip_prefix(bar));
    let told: Vec<&str> = own.skip_while(|line| line.is_empty() || line.starts_with(' ')).collect();
    (!told.is_empty()).then(|| one_line(&told.join("\n")))
}

/// The innermost cause, which is what the user wrote, up to its frames.
fn in_java(text: &str) -> Option<String> {
    let frame = |line: &str| {
        let line = line.trim_start();
        line.starts_with("at ") && line.contains('(') || line.starts_with("... ")
    };
    if !text.lines().any(frame) {
        return None;
    }
    let cause = text.lines().enumerate().filter(|(_, line)| line.starts_with("Caused by: ")).last();
    let told: Vec<&str> = text.lines().skip(cause.map_or(0, |(at, _)| at)).take_while(|line| !frame(line)).collect();
    Some(one_line(told.join("\n").trim_start_matches("Caused by: ")))
}

/// The innermost error, without the line that names the function; of a panic what it was called with, without the stack.
fn in_go(text: &str) -> Option<&str> {
    let (_, what) = text.strip_prefix(GO)?.split_once(" : ")?;
    if let Some((told, _)) = what.split_once("\nFull error:\n") {
        return Some(told);
    }
    let inner = what.rsplit_once(INSIDE).map_or(what, |(_, inner)| inner);
    Some(go_function(inner).map_or(inner, |(_, told)| told))
}

/// The unique name that stands in the line before an error of a function, and the error.
fn go_function(inner: &str) -> Option<(&str, &str)> {
    let (head, told) = inner.split_once(" failed:\n")?;
    let (_, name) = head.strip_prefix("DoFn[UID:")?.split_once(", PID:")?;
    let (name, _) = name.split_once(", Name: ")?;
    Some((name, told))
}

/// Named by the error, or the one of which the stack of a panic has a frame first: `a/main.parse` is `main.parse(` or
/// `main.(*parse).` there.
fn go_transform<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let (_, inner) = text.rsplit_once(INSIDE)?;
    if let Some((name, _)) = go_function(inner) {
        return Some(name.to_owned());
    }
    let frame = |name: &str| {
        let (package, function) = name.rsplit('/').next()?.split_once('.')?;
        let calls = [format!("{package}.{function}("), format!("{package}.(*{function}).")];
        calls.iter().filter_map(|call| inner.find(call)).min()
    };
    names.filter_map(|name| Some((frame(name)?, name))).min().map(|(_, name)| name.to_owned())
}

/// The line without the step that Python puts into the message: it has a place of its own.
fn without_step(line: &str) -> String {
    let cut =
        line.rsplit_once(" [while running '").and_then(|(before, after)| Some((before, after.split_once("']")?.1)));
    cut.map_or_else(|| line.to_owned(), |(before, after)| format!("{before}{after}"))
}

/// The transform that Python names at the end of a message.
fn python_step(text: &str) -> Option<String> {
    let (_, after) = text.rsplit_once("[while running '")?;
    let (name, _) = after.split_once("']")?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{transform, words};

    fn both(text: &str, names: &[&str]) -> (String, String) {
        (words(text), transform(text, names.iter().copied()).unwrap_or_default())
    }

    #[test]
    fn a_message_of_many_lines_is_told_whole() {
        let text = "Traceback (most recent call last):\n  File \"a.py\", line 3, in process\n    M(a='no')\n\
                    ValidationError: 1 validation error for M\na\n  not an integer [type=int_parsing]\n    \
                    For further information visit errors [while running 'Parse']\n";
        let told = "ValidationError: 1 validation error for M a not an integer [type=int_parsing] \
                    For further information visit errors";
        assert_eq!(both(text, &[]), (told.to_owned(), "Parse".to_owned()));
    }

    #[test]
    fn a_name_is_mentioned_where_it_stands_by_itself() {
        let names = ["Map", "Parse", "Parse/Flights"];
        assert_eq!(both("error at java.util.HashMap.get, Parser", &names).1, "");
        assert_eq!(both("error in 'Parse/Flights'", &names).1, "Parse/Flights");
        assert_eq!(both("Parse: no", &names).1, "Parse");
    }

    #[test]
    fn of_chained_tracebacks_the_last_is_told() {
        let text = "Traceback (most recent call last):\n  File \"a.py\", line 3\nKeyError: 'k'\n\nDuring handling of \
                    the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  \
                    File \"b.py\", line 4\nValueError: outer\n";
        assert_eq!(words(text), "ValueError: outer");
    }

    #[test]
    fn a_group_of_exceptions_is_told_by_its_own_message() {
        let text = "  + Exception Group Traceback (most recent call last):\n  |   File \"a.py\", line 3\n  | \
                    ExceptionGroup: several (2 sub-exceptions)\n  +-+---------------- 1 ----------------\n    | \
                    Traceback (most recent call last):\n    |   File \"c.py\"\n    | KeyError: 'two'\n    \
                    +------------------------------------\n";
        assert_eq!(words(text), "ExceptionGroup: several (2 sub-exceptions)");
    }

    #[test]
    fn an_assertion_in_java_is_told_with_what_it_expected() {
        let text = "org.x.UserCodeException: java.lang.AssertionError: Sum: \nExpected: <7>\n\tat a.B.c(B.java:3)\n\
                    Caused by: java.lang.AssertionError: Sum: \nExpected: iterable with items [<7>]\n     \
                    but: no item matches: <7> in []\n\tat org.hamcrest.That(That.java:8)\n\t... 12 more\n";
        let told = "java.lang.AssertionError: Sum: Expected: iterable with items [<7>] but: no item matches: <7> in []";
        assert_eq!(words(text), told);
    }

    /// As the Go SDK writes: the plan of the stage first, which names every transform of it.
    fn go(error: &str) -> String {
        format!(
            "process bundle failed for instruction 4 using plan stage-1 : {}while executing Process for Plan[stage-1]:\n\
             1: DataSource[S[thalweg/source@localhost:1], data] Out:4\n4: ParDo[main.parse] Out:[3]\n\
             3: ParDo[main.longerName] Out:[]\n\tcaused by:\n{error}",
            if error.starts_with("panic") { "panic: no such thing\nFull error:\n" } else { "" }
        )
    }

    #[test]
    fn an_error_in_go_is_told_whole_with_the_function_it_names() {
        let text = go("source failed\n\tcaused by:\nDoFn[UID:4, PID:In/main.parse, Name: main.parse] failed:\n\
                       bad number 2\n=========\nin line 7");
        let names = ["In/main.parse", "main.longerName"];
        assert_eq!(both(&text, &names), ("bad number 2 in line 7".to_owned(), "In/main.parse".to_owned()));
    }

    #[test]
    fn a_panic_in_go_is_told_without_its_stack_and_of_the_function_it_began_in() {
        let stack = "panic: no such thing goroutine 329 [running]:\npanic({0x1, 0x2})\n\t/go/panic.go:860 +0x13a\n\
                     main.(*parse).ProcessElement(0x1)\n\t/main.go:394 +0x39\nmain.longerName(0x2)\n\t/main.go:1 +0x1\n\
                     created by harness.Main in goroutine 264\n\t/harness.go:226 +0x1025\n";
        let told = ("panic: no such thing".to_owned(), "In/main.parse".to_owned());
        assert_eq!(both(&go(stack), &["main.longerName", "In/main.parse"]), told);
        // of a function that has no frame nothing is said
        assert_eq!(both(&go(stack), &["main.other"]).1, "");
    }
}
