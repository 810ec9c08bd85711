//! The files the rules look at, what they find, and the exceptions somebody had a reason for.

use crate::lexer::{Masked, mask};
use std::fs;
use std::path::{Path, PathBuf};

/// Directories whose Rust sources follow the house rules. The benchmarks keep the programs of others as they are.
const RUST_ROOTS: [&str; 5] = ["host", "proto", "guest-sdk", "guest-examples", "tests"];
/// Directories that are made, not written.
const MADE: [&str; 6] = ["target", "out", "__pycache__", "node_modules", "build", "dist"];
/// Hidden directories that belong to the house all the same.
const HIDDEN: [&str; 2] = [".ci", ".github"];
/// A text file is looked at up to this size; data files are larger.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// A file by its path from the top of the repository.
pub struct Source {
    pub path: String,
    pub text: String,
    /// The same text without comments, and with string contents blanked; empty for files that are not Rust.
    pub masked: Masked,
}

impl Source {
    pub fn rust(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), masked: mask(text) }
    }

    pub fn text(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), masked: Masked::default() }
    }

    /// Whether the whole file is test code.
    pub fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.starts_with("tests/") || self.path.contains("/tests/") || name == "tests.rs"
    }

    /// The line, counted from 1, of an offset into the text.
    pub fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
    }
}

/// Everything the rules look at.
pub struct Tree {
    /// Rust sources, without generated ones.
    pub rust: Vec<Source>,
    /// All `Cargo.toml`.
    pub manifests: Vec<Source>,
    /// Every text file that is not a data file.
    pub texts: Vec<Source>,
    /// `docs/errors.md`.
    pub error_pages: String,
}

impl Tree {
    pub fn read() -> Self {
        let top = top();
        let mut paths = Vec::new();
        walk(&top, &mut paths);
        paths.sort();
        let (mut rust, mut manifests, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for path in paths {
            let Ok(text) = fs::read_to_string(top.join(&path)) else { continue }; // not a text
            if path.ends_with(".rs") && is_ours(&path) && !text.starts_with("// This file is @generated") {
                rust.push(Source::rust(&path, &text));
            }
            if path.ends_with("Cargo.toml") {
                manifests.push(Source::text(&path, &text));
            }
            texts.push(Source::text(&path, &text));
        }
        let error_pages = fs::read_to_string(top.join("docs/errors.md")).unwrap_or_default();
        Self { rust, manifests, texts, error_pages }
    }
}

/// The top of the repository.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

fn is_ours(path: &str) -> bool {
    RUST_ROOTS.iter().any(|root| path.starts_with(&format!("{root}/")))
}

fn walk(dir: &Path, paths: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        if kind.is_dir() {
            let made = MADE.contains(&name.as_str()) || name.ends_with(".egg-info");
            if !made && (!name.starts_with('.') || HIDDEN.contains(&name.as_str())) {
                walk(&path, paths);
            }
        } else if kind.is_file()
            && entry.metadata().is_ok_and(|m| m.len() <= TEXT_BYTES_MAX)
            && let Ok(path) = path.strip_prefix(top())
        {
            paths.push(path.to_string_lossy().into_owned());
        }
    }
}

/// Something a rule does not like.
#[derive(PartialEq, Debug)]
pub struct Finding {
    /// What an exception names: a path, or a path and a name.
    pub subject: String,
    /// What is wrong where, and what to do.
    pub message: String,
}

impl Finding {
    pub fn new(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { subject: subject.into(), message: message.into() }
    }
}

/// The list of exceptions: lines of `rule subject reason`.
pub struct Exceptions(Vec<Exception>);

struct Exception {
    line: usize,
    rule: String,
    subject: String,
    reason: String,
}

impl Exceptions {
    pub fn read() -> Self {
        Self::parse(&fs::read_to_string(top().join("tests/tidy-exceptions.txt")).unwrap_or_default())
    }

    pub fn parse(text: &str) -> Self {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let exception = |(i, line): (usize, &str)| {
            let mut words = line.split_whitespace();
            let mut word = || words.next().unwrap_or_default().to_owned();
            let (rule, subject) = (word(), word());
            Exception { line: i + 1, rule, subject, reason: words.collect::<Vec<_>>().join(" ") }
        };
        Self(lines.map(exception).collect())
    }

    /// Findings without an exception, and exceptions without a finding.
    pub fn problems(&self, rule: &str, findings: &[Finding]) -> Vec<String> {
        let ours: Vec<&Exception> = self.0.iter().filter(|e| e.rule == rule).collect();
        let unexcused = findings.iter().filter(|f| !ours.iter().any(|e| e.subject == f.subject)).map(|f| {
            format!("- {}\n  (if it must be, in tests/tidy-exceptions.txt: `{rule} {} <why>`)", f.message, f.subject)
        });
        let needless = ours.iter().filter(|e| !findings.iter().any(|f| f.subject == e.subject)).map(|e| {
            format!(
                "- tests/tidy-exceptions.txt:{}: `{rule} {}` is no longer needed: delete the line",
                e.line, e.subject
            )
        });
        unexcused.chain(needless).collect()
    }

    /// Lines that are no exceptions.
    pub fn faults(&self, rules: &[&str]) -> Vec<String> {
        let fault = |e: &Exception| match () {
            () if !rules.contains(&e.rule.as_str()) => Some(format!("line {}: there is no rule `{}`", e.line, e.rule)),
            () if e.reason.split(' ').count() < 3 => Some(format!("line {}: say in a few words why", e.line)),
            () => None,
        };
        self.0.iter().filter_map(fault).collect()
    }
}

/// The findings' subjects, for the rules' own tests.
#[cfg(test)]
pub fn subjects(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|f| f.subject.as_str()).collect()
}

#[test]
fn an_exception_excuses_its_finding_and_fails_without_one() {
    let list = Exceptions::parse("# comment\n\nheader a.rs because of history\nheader b.rs because of history\n");
    let problems = list.problems("header", &[Finding::new("a.rs", "a"), Finding::new("c.rs", "c")]);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems.iter().any(|p| p.starts_with("- c\n")) && problems.iter().any(|p| p.contains("txt:4: `header b.rs`"))
    );
    assert!(list.problems("macro", &[]).is_empty());
}

#[test]
fn an_exception_without_rule_or_reason_is_a_fault() {
    let faults = Exceptions::parse("hedaer a.rs because of history\nheader b.rs\n").faults(&["header"]);
    assert_eq!(faults, ["line 1: there is no rule `hedaer`", "line 2: say in a few words why"]);
}
