//! Rules about words that must not stand in a source: unfinished work, silenced lints, channels without a bound, paths.

use crate::source::{Finding, Source};

/// The offsets at which `word` stands on its own.
pub fn places(code: &str, word: &str) -> Vec<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let ends_open = word.ends_with(part);
    let alone = |offset: &usize| {
        let before = code[..*offset].chars().next_back();
        let after = code[offset + word.len()..].chars().next();
        let goes_on_before = word.starts_with(part) && before.is_some_and(part);
        let goes_on_after = ends_open && after.is_some_and(part);
        !goes_on_before && !goes_on_after
    };
    code.match_indices(word).map(|(offset, _)| offset).filter(alone).collect()
}

/// One finding for each place of each word. The subject of an exception is the path.
fn found(source: &Source, code: &str, words: &[&str], advice: &str) -> Vec<Finding> {
    let all = words.iter().flat_map(|word| places(code, word).into_iter().map(move |offset| (offset, word)));
    all.map(|(offset, word)| {
        let message = format!("{}:{}: `{word}`: {advice}", source.path, source.line(offset));
        Finding::new(&source.path, message)
    })
    .collect()
}

/// A test runs or does not exist.
pub fn ignored_tests(sources: &[Source]) -> Vec<Finding> {
    let advice = "a test is never ignored: fix it, or delete it and say why in the commit";
    sources.iter().flat_map(|s| found(s, &s.masked.code, &["#[ignore"], advice)).collect()
}

/// What is not written is not there.
pub fn unfinished(sources: &[Source]) -> Vec<Finding> {
    let advice = "finish it, or return an error that names what is missing";
    sources.iter().flat_map(|s| found(s, &s.masked.code, &["todo!", "unimplemented!"], advice)).collect()
}

/// A lint is answered with a reason: best `#[expect(.., reason = "..")]`, which fails when it is no longer needed.
pub fn bare_allows(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let code = &source.masked.code;
        let mut offsets = Vec::new();
        for word in ["allow(", "expect("] {
            offsets.extend(places(code, word).into_iter().filter(|at| is_attribute(code, *at)));
        }
        for offset in offsets {
            let attribute = &code[offset..code[offset..].find(']').map_or(code.len(), |end| offset + end)];
            if places(attribute, "reason").is_empty() {
                let line = source.line(offset);
                let message = format!("{}:{line}: give the reason: `#[expect(.., reason = \"..\")]`", source.path);
                findings.push(Finding::new(&source.path, message));
            }
        }
    }
    findings
}

/// Whether a word stands in an attribute, also behind a `cfg_attr`.
fn is_attribute(code: &str, offset: usize) -> bool {
    let before = &code[..offset];
    before.rfind("#[").max(before.rfind("#![")).is_some_and(|open| !before[open..].contains(']'))
}

/// Macros hide what happens; functions and traits do not.
pub fn macros(sources: &[Source]) -> Vec<Finding> {
    let advice = "write a function, a trait or a generic type instead";
    let ours = sources.iter().filter(|s| !s.is_test());
    ours.flat_map(|s| found(s, &s.masked.without_tests(), &["macro_rules!"], advice)).collect()
}

/// Full means back-pressure, never a queue that grows.
pub fn unbounded(sources: &[Source]) -> Vec<Finding> {
    let advice = "give the channel a bound and say what happens when it is full";
    let words = ["unbounded_channel", "UnboundedSender", "unbounded()", "mpsc::channel()"];
    sources.iter().flat_map(|s| found(s, &s.masked.code, &words, advice)).collect()
}

/// Paths of a machine, in pieces so that this file passes.
const MACHINE_PATHS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// Nothing depends on where somebody keeps his files.
pub fn machine_paths(texts: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in texts {
        for path in MACHINE_PATHS {
            let starts =
                |at: &usize| !source.text[..*at].ends_with(|c: char| c.is_alphanumeric() || ".-_}$".contains(c));
            let offsets = source.text.match_indices(path).map(|(offset, _)| offset).filter(starts);
            findings.extend(offsets.map(|offset| {
                let line = source.line(offset);
                let message = format!("{}:{line}: `{path}` is a path of one machine: make it relative", source.path);
                Finding::new(&source.path, message)
            }));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::subjects;

    /// The lines on which a rule finds something in a source.
    fn lines(rule: fn(&[Source]) -> Vec<Finding>, text: &str) -> Vec<usize> {
        let findings = rule(&[Source::rust("host/src/a.rs", text)]);
        findings.iter().filter_map(|f| f.message.split(':').nth(1)?.parse().ok()).collect()
    }

    #[test]
    fn ignored_and_unfinished_things_are_found() {
        assert_eq!(lines(ignored_tests, "#[test]\n#[ignore = \"slow\"]\nfn f() {}\n// #[ignore]"), [2]);
        assert_eq!(lines(unfinished, "fn f() {\n todo!()\n}\nfn g() { unimplemented!(\"x\") }\nfn todo() {}"), [2, 4]);
    }

    #[test]
    fn silenced_lints_are_found() {
        let text = "#[allow(dead_code)]\nfn f() {}\n#![allow(x, reason = \"y\")]\n#[expect(x)]\n\
                    #[expect(x, reason = \"y\")]\n#[cfg_attr(test, expect(x))]\nfn g() { a.expect(\"b\") }";
        let mut found = lines(bare_allows, text);
        found.sort_unstable();
        assert_eq!(found, [1, 4, 6]);
    }

    #[test]
    fn macros_are_found_outside_tests() {
        assert_eq!(
            lines(macros, "macro_rules! a { () => {} }\n#[cfg(test)]\nmod t { macro_rules! b { () => {} } }"),
            [1]
        );
        assert!(macros(&[Source::rust("tests/tests/a.rs", "macro_rules! a { () => {} }")]).is_empty());
    }

    #[test]
    fn channels_without_a_bound_are_found() {
        let text = "let a = tokio::sync::mpsc::unbounded_channel();\nlet b = std::sync::mpsc::channel();\n\
                    let c = tokio::sync::mpsc::channel(5);\nlet d = crossbeam_channel::unbounded();\nlet e = bounded(1);";
        assert_eq!(lines(unbounded, text).len(), 3);
    }

    #[test]
    fn machine_paths_are_found_in_every_text() {
        let text = |path: &str| Source::text("a.md", path);
        let [work, root, home] = MACHINE_PATHS;
        let sources = [text(&format!("see {work}x")), text(&format!("\"{root}x\"")), text(&format!("cd {home}me/x"))];
        assert_eq!(subjects(&machine_paths(&sources)), ["a.md"; 3]);
        assert!(machine_paths(&[text(&format!("proto{work}x ${{HOME}}{root}y"))]).is_empty());
    }
}
