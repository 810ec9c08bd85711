//! What a failed command says: exactly one error, with a code that has a page, and a line that says what to do.

use crate::child::Ended;
use crate::place;
use anyhow::{Context as _, Result, ensure};
use std::fs;

/// One error as printed: `error[CODE]: message`, and a line that begins with `help: `.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnosis {
    /// Stable.
    pub code: String,
    /// The sentence.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// The errors in a text.
fn all(text: &str) -> Vec<Diagnosis> {
    let mut found: Vec<Diagnosis> = Vec::new();
    for line in text.lines() {
        let error = line.strip_prefix("error[").and_then(|rest| rest.split_once("]: "));
        if let Some((code, message)) = error {
            found.push(Diagnosis { code: code.to_owned(), message: message.to_owned(), help: String::new() });
        } else if let Some(last) = found.last_mut()
            && let Some(help) = line.trim_start().strip_prefix("help: ").filter(|_| last.help.is_empty())
        {
            help.clone_into(&mut last.help);
        }
    }
    found
}

/// The one error of a command that failed with this exit code and this error code.
///
/// # Errors
/// When it ended otherwise, gave none or several errors, no help, a code without page, or shows a panic of ours.
pub fn sole(ended: &Ended, exit: i32, code: &str) -> Result<Diagnosis> {
    ensure!(ended.code == Some(exit), "exit code {exit} was expected\n{ended}");
    let found = all(&ended.err);
    let [only] = found.as_slice() else {
        let codes: Vec<&str> = found.iter().map(|d| d.code.as_str()).collect();
        return Err(anyhow::anyhow!("exactly one error was expected, found {codes:?}\n{ended}"));
    };
    ensure!(only.code == code, "the error {code} was expected, not {}\n{ended}", only.code);
    ensure!(!only.help.is_empty(), "the error does not say what to do\n{ended}");
    ensure!(!ended.err.contains("panicked at"), "a panic of ours was printed\n{ended}");
    let pages = fs::read_to_string(place::file("docs/errors.md")).context("docs/errors.md cannot be read")?;
    ensure!(pages.lines().any(|line| line == format!("## {code}")), "docs/errors.md has no section `## {code}`");
    Ok(only.clone())
}

/// As [`sole`], and its text has all of these words.
///
/// # Errors
/// As [`sole`], and when a word is missing.
pub fn sole_with(ended: &Ended, exit: i32, code: &str, words: &[&str]) -> Result<Diagnosis> {
    let diagnosis = sole(ended, exit, code)?;
    for word in words {
        ensure!(ended.err.contains(word), "the error does not mention {word:?}\n{ended}");
    }
    Ok(diagnosis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ended(err: &str, code: i32) -> Ended {
        let (what, out, err) = ("x".to_owned(), String::new(), err.to_owned());
        Ended { what, code: Some(code), signal: None, out, err, took: Duration::ZERO }
    }

    #[test]
    fn one_error_with_help_is_understood() {
        let text = "note\nerror[A_CODE]: what: it is\n  more\n  help: do it\nhelp: not this\n";
        let wanted =
            Diagnosis { code: "A_CODE".to_owned(), message: "what: it is".to_owned(), help: "do it".to_owned() };
        assert_eq!(all(text), [wanted]);
    }

    #[test]
    fn what_is_not_one_clear_error_is_refused() {
        let good = "error[A_CODE]: x\nhelp: y\n";
        for (text, code) in [
            ("", 1),
            ("error[A_CODE]: x\n", 1),
            ("error[B_CODE]: x\nhelp: y\n", 1),
            (good, 2),
            (&format!("{good}{good}"), 1),
        ] {
            assert!(sole(&ended(text, code), 1, "A_CODE").is_err(), "{text:?}");
        }
    }
}
