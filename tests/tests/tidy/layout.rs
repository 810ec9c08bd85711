//! Rules about the shape of files: how they begin, how long they and their functions are, what modules are called.

use crate::lexer::item_end;
use crate::source::{Finding, Source};

/// Lines of a file that make the test fail, and that make it mention the file.
const FILE_LINES_MAX: usize = 800;
const FILE_LINES_GOOD: usize = 400;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Names that say nothing about what a module holds.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "common", "types", "misc", "helper", "helpers"];

/// Every file opens with `//!`: which room, what comes in, what goes out, what it deliberately does not know.
pub fn headers(sources: &[Source]) -> Vec<Finding> {
    let without = sources.iter().filter(|s| !s.text.starts_with("//! "));
    without
        .map(|s| {
            let message = format!("{}:1: open the file with `//! ` and say what comes in, what goes out", s.path);
            Finding::new(&s.path, message)
        })
        .collect()
}

/// Files end before they are too long.
pub fn file_lengths(sources: &[Source]) -> Vec<Finding> {
    let long = sources.iter().filter(|s| s.text.lines().count() > FILE_LINES_MAX);
    long.map(|s| {
        let lines = s.text.lines().count();
        Finding::new(
            &s.path,
            format!("{}: {lines} lines; split the file below {FILE_LINES_MAX}, best {FILE_LINES_GOOD}", s.path),
        )
    })
    .collect()
}

/// Files that are longer than they should be.
pub fn long_ones(sources: &[Source]) -> Vec<String> {
    let lengths = sources.iter().map(|s| (s.text.lines().count(), &s.path));
    lengths
        .filter(|(lines, _)| *lines > FILE_LINES_GOOD)
        .map(|(lines, path)| format!("{lines} lines: {path}"))
        .collect()
}

/// Functions fit on a page. The subject of an exception is `path:function`.
pub fn function_lengths(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for (name, offset, lines) in functions(&source.masked.code) {
            if lines > FUNCTION_LINES_MAX {
                let line = source.line(offset);
                let message =
                    format!("{}:{line}: `{name}` has {lines} lines; split it below {FUNCTION_LINES_MAX}", source.path);
                findings.push(Finding::new(format!("{}:{name}", source.path), message));
            }
        }
    }
    findings
}

/// Names, offsets and lengths in lines of all functions with a body.
fn functions(code: &str) -> Vec<(&str, usize, usize)> {
    let mut found = Vec::new();
    for (offset, _) in code.match_indices("fn ") {
        let word_before = code[..offset].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        let name_at = offset + 3;
        let length = code[name_at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(0);
        if word_before || length == 0 {
            continue; // the end of another word, or the type of a function
        }
        let end = item_end(code, offset);
        let lines = code[offset..end].lines().count();
        found.push((&code[name_at..name_at + length], offset, lines));
    }
    found
}

/// Modules are called by what they hold, and a second version replaces the first.
pub fn module_names(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let parts = source.path.trim_end_matches(".rs").split('/');
        if let Some(name) = parts.into_iter().find(|part| EMPTY_NAMES.contains(part) || part.ends_with("_v2")) {
            let message = format!("{}: `{name}` says nothing; name the module for what it holds", source.path);
            findings.push(Finding::new(&source.path, message));
        }
        for keyword in ["struct ", "enum ", "trait ", "mod ", "type "] {
            for (offset, _) in source.masked.code.match_indices(keyword) {
                let name: String = source.masked.code[offset + keyword.len()..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                if name.ends_with("V2") || name.ends_with("_v2") || (keyword == "mod " && EMPTY_NAMES.contains(&&*name))
                {
                    let message = format!("{}:{}: find a better name than `{name}`", source.path, source.line(offset));
                    findings.push(Finding::new(format!("{}:{name}", source.path), message));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::subjects;

    #[test]
    fn a_file_without_header_is_found() {
        let sources = [Source::rust("a.rs", "//! What it is.\n"), Source::rust("b.rs", "use std::fs;\n//! late\n")];
        assert_eq!(subjects(&headers(&sources)), ["b.rs"]);
    }

    #[test]
    fn long_files_are_found_and_mentioned() {
        let file = |path: &str, lines: usize| Source::rust(path, &"\n".repeat(lines));
        let sources = [file("a.rs", 400), file("b.rs", 401), file("c.rs", 801)];
        assert_eq!(subjects(&file_lengths(&sources)), ["c.rs"]);
        assert_eq!(long_ones(&sources), ["401 lines: b.rs", "801 lines: c.rs"]);
    }

    #[test]
    fn long_functions_are_found_by_name() {
        let body = |lines: usize| "// one\n".repeat(lines);
        let text = format!("fn short(a: fn (u8)) {{\n{}}}\nimpl X {{ fn long<T>() {{\n{}}}\n}}", body(68), body(70));
        let found = function_lengths(&[Source::rust("a.rs", &text)]);
        assert_eq!(subjects(&found), ["a.rs:long"]);
        assert!(found[0].message.starts_with("a.rs:71: `long` has 72 lines"), "{}", found[0].message);
    }

    #[test]
    fn empty_names_are_found() {
        let sources = [
            Source::rust("host/src/util.rs", ""),
            Source::rust("host/src/common/a.rs", ""),
            Source::rust("host/src/b.rs", "mod misc { struct PlanV2; }"),
            Source::rust("host/src/utility.rs", "enum Utilities {}"),
        ];
        let expected = ["host/src/util.rs", "host/src/common/a.rs", "host/src/b.rs:PlanV2", "host/src/b.rs:misc"];
        assert_eq!(subjects(&module_names(&sources)), expected);
    }
}
