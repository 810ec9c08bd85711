//! Error codes and their pages in `docs/errors.md` are in step.
//!
//! A code is a literal like `"BUNDLE_FAILED"` that is given to a constructor of the engine's error, to a function of ours
//! whose first parameter is `code: &'static str`, to a field `code`, or that a function called `code` returns.

use crate::lexer::item_end;
use crate::source::{Finding, Source};
use std::collections::{BTreeMap, BTreeSet};

/// The constructors every crate knows.
const CONSTRUCTORS: [&str; 4] = ["Error::new", "Error::user", "Error::external", "Error::internal"];
/// The core's scripted sources and sinks fail on purpose, and only in tests.
const SCRIPTED: &str = "host/crates/core/src/testing/";
/// The lines every page has.
const LINES: [&str; 3] = ["- Whose fault: ", "- Meaning: ", "- What to do: "];

/// Every code has a page and every page a code. The subject of an exception is the code.
pub fn pages(sources: &[Source], pages: &str) -> Vec<Finding> {
    let used = used(sources);
    let written: BTreeSet<&str> = titles(pages).into_iter().map(|(_, title)| title).collect();
    let missing = used.iter().filter(|(code, _)| !written.contains(code.as_str())).map(|(code, place)| {
        let lines = LINES.join("...\n    ");
        let message =
            format!("{place}: add to docs/errors.md, in alphabetical order:\n    ## {code}\n\n    {lines}...");
        Finding::new(code, message)
    });
    let needless = written.iter().filter(|title| !used.contains_key(**title)).map(|title| {
        Finding::new(
            *title,
            format!("docs/errors.md: no source gives the code `{title}`: delete the section `## {title}`"),
        )
    });
    missing.chain(needless).collect()
}

/// Every page has the form all pages have, and they are in order. The subject of an exception is the code.
pub fn forms(pages: &str) -> Vec<Finding> {
    let titles = titles(pages);
    let mut findings = Vec::new();
    for (i, (offset, title)) in titles.iter().enumerate() {
        let end = titles.get(i + 1).map_or(pages.len(), |(next, _)| *next);
        let section = &pages[*offset..end];
        for line in LINES {
            if !section.lines().any(|l| l.starts_with(line) && l.len() > line.len()) {
                findings.push(Finding::new(*title, format!("docs/errors.md: `## {title}` lacks its line `{line}...`")));
            }
        }
        let before = i.checked_sub(1).and_then(|before| titles.get(before)).map_or("", |(_, title)| *title);
        if before >= *title {
            findings.push(Finding::new(*title, format!("docs/errors.md: move `## {title}` before `## {before}`")));
        }
    }
    findings
}

/// The sections of the pages, with their offsets.
fn titles(pages: &str) -> Vec<(usize, &str)> {
    let mut offset = 0;
    let mut titles = Vec::new();
    for line in pages.split_inclusive('\n') {
        if let Some(title) = line.strip_prefix("## ").map(str::trim).filter(|title| is_code(title)) {
            titles.push((offset, title));
        }
        offset += line.len();
    }
    titles
}

/// All codes with a place each is given at.
fn used(sources: &[Source]) -> BTreeMap<String, String> {
    let ours = |s: &&Source| s.path.starts_with("host/") && !s.path.starts_with(SCRIPTED) && !s.is_test();
    let host: Vec<&Source> = sources.iter().filter(ours).collect();
    let codes: Vec<String> = host.iter().map(|s| s.masked.without_tests()).collect();
    let takers: BTreeSet<String> = codes.iter().flat_map(|code| takers(code)).collect();
    let mut used = BTreeMap::new();
    for (source, code) in host.iter().zip(&codes) {
        let givers = givers(code);
        for range in &source.masked.strings {
            let text = &source.text[range.clone()];
            let in_test = code[range.start - 1..range.start] != source.text[range.start - 1..range.start];
            if in_test || !is_code(text) {
                continue;
            }
            let given = givers.iter().any(|(start, end)| (*start..*end).contains(&range.start));
            if given || is_argument(code, range.start - 1, &takers) {
                used.entry(text.to_owned()).or_insert_with(|| format!("{}:{}", source.path, source.line(range.start)));
            }
        }
    }
    used
}

fn is_code(text: &str) -> bool {
    let part = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    text.contains('_') && text.starts_with(|c: char| c.is_ascii_uppercase()) && text.split('_').all(part)
}

/// Functions whose first parameter after `self` is a code.
fn takers(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (offset, _) in code.match_indices("fn ") {
        let rest = &code[offset + 3..];
        let Some((name, parameters)) = rest.split_once('(') else { continue };
        let name = name.split('<').next().unwrap_or_default().trim();
        let first = parameters.trim_start();
        let first = first.strip_prefix('&').unwrap_or(first).trim_start();
        let first = first.strip_prefix("mut ").unwrap_or(first).trim_start();
        let first = first.strip_prefix("self").map_or(first, |rest| rest.trim_start_matches([',', ' ', '\n']));
        if first.starts_with("code: &'static str") {
            names.push(name.to_owned());
        }
    }
    names
}

/// The extents of functions that return a code: those called `code`.
fn givers(code: &str) -> Vec<(usize, usize)> {
    code.match_indices("fn code(").map(|(offset, _)| (offset, item_end(code, offset))).collect()
}

/// Whether the literal at an offset is the first argument of something that takes a code, or a field `code`.
fn is_argument(code: &str, offset: usize, takers: &BTreeSet<String>) -> bool {
    let before = code[..offset].trim_end();
    if before.ends_with("code:") {
        return true;
    }
    let Some(callee) = before.strip_suffix('(') else { return false };
    if CONSTRUCTORS.iter().any(|constructor| callee.ends_with(constructor)) {
        return true;
    }
    let name = callee.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    name != "new" && takers.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::subjects;

    const PAGE: &str = "- Whose fault: the user's\n- Meaning: x\n- What to do: y\n";

    #[test]
    fn codes_without_page_and_pages_without_code_are_found() {
        let text = "fn refuse(code: &'static str, message: &str) {}\nfn place(&self, code: &'static str) {}\n\
                    fn a() { Error::user(\n \"A_CODE\", \"NOT_THIS\"); refuse(\"B_CODE\"); x.place(\"C_CODE\"); }\n\
                    fn b() { E { code: \"D_CODE\", v: env(\"SOME_VARIABLE\") } }\n\
                    fn code(&self) -> &'static str { match self { A => \"E_CODE\" } }\n\
                    #[cfg(test)]\nmod tests { fn c() { Error::user(\"TEST_ONLY\", \"\") } }";
        let sources =
            [Source::rust("host/src/a.rs", text), Source::rust("host/tests/b.rs", "Error::new(\"TEST_TOO\")")];
        let docs = format!("# Errors\n## About\n## A_CODE\n{PAGE}## OLD_CODE\n{PAGE}");
        let found = pages(&sources, &docs);
        assert_eq!(subjects(&found), ["B_CODE", "C_CODE", "D_CODE", "E_CODE", "OLD_CODE"]);
        assert!(found[0].message.starts_with("host/src/a.rs:4: add to docs/errors.md"), "{}", found[0].message);
    }

    #[test]
    fn pages_out_of_form_or_order_are_found() {
        let docs = format!("## B_CODE\n{PAGE}## A_CODE\n{PAGE}## C_CODE\n- Meaning: x\n- What to do: \n");
        assert_eq!(subjects(&forms(&docs)), ["A_CODE", "C_CODE", "C_CODE"]);
    }
}
