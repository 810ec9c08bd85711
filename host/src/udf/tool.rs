//! Tools of others: whether they are there, in which version, what installs them, and running them.

use crate::files;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use thalweg_core::error::{Error, Result};

/// A program that a language needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tool {
    /// Its name for people.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// A command whose success says that it is there, and whose output holds its version.
    pub ask: Vec<&'static str>,
    /// What the output must hold besides, e.g. a target in a list; empty for nothing.
    pub holds: &'static str,
    /// The oldest version that does, as major and minor; `(0, 0)` for any.
    pub oldest: (u32, u32),
    /// The command that installs it.
    pub install: &'static str,
}

/// What asking for a tool gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// It is there; the version, if it says one.
    Version(String),
    /// It is there, but older than needed.
    Old(String),
    /// It is not there.
    Missing,
}

impl Tool {
    /// Looks for it.
    #[must_use]
    pub fn find(&self) -> Found {
        let Some((program, args)) = self.ask.split_first() else { return Found::Missing };
        let Ok(output) = Command::new(program).args(args).stdin(Stdio::null()).output() else { return Found::Missing };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() || !text.contains(self.holds) {
            return Found::Missing;
        }
        if !self.holds.is_empty() {
            return Found::Version(String::new());
        }
        let found = version(&text);
        let shown = found.map(|(_, shown)| shown.to_owned()).unwrap_or_default();
        match found {
            Some((number, _)) if number < self.oldest => Found::Old(shown),
            _ => Found::Version(shown),
        }
    }
}

/// The first thing in a text that looks like a version: its major and minor number, and all of it.
fn version(text: &str) -> Option<((u32, u32), &str)> {
    let words = text.split(|c: char| c.is_whitespace() || c == '(' || c == ',');
    words.map(|word| word.trim_start_matches(|c: char| c.is_ascii_alphabetic())).find_map(|word| {
        let mut parts = word.split('.');
        let number = |part: Option<&str>| part.and_then(|p| p.parse::<u32>().ok());
        let (major, minor) = (number(parts.next())?, parts.next()?);
        let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
        Some(((major, minor.get(..digits)?.parse().ok()?), word))
    })
}

/// Why a project cannot be built.
pub fn failed(message: impl Into<String>, help: impl Into<String>) -> Error {
    Error::user("UDF_BUILD", message).help(help)
}

/// Runs a compiler: what it says on standard error is for the user at once, its standard output is given back.
///
/// # Errors
/// `UDF_BUILD` when it is not there, or says no; `help` is what to do then.
pub fn run(command: &mut Command, help: &str) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let dir = command.get_current_dir().unwrap_or(Path::new(".")).display().to_string();
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(|e| {
        failed(format!("cannot run {program} in {dir}: {e}"), "`thalweg doctor` says how to install what is missing")
    })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(failed(format!("{program} could not compile {dir}"), help))
}

/// A folder for tools that are fetched once per user: `$XDG_CACHE_HOME/thalweg/tools`, else below `~/.cache`.
///
/// # Errors
/// `UDF_BUILD` when there is no home.
pub fn fetched_dir() -> Result<PathBuf> {
    let beside = crate::compose::ComponentStore::default_cache_dir();
    let dir = beside.and_then(|dir| Some(dir.parent()?.join("tools")));
    dir.ok_or_else(|| failed("there is no directory for tools that are fetched", "set HOME or XDG_CACHE_HOME"))
}

/// A folder for what a compiler makes, gone with this. Nobody else may enter it or guess its name, and one that a killed process left is in
/// nobody's way.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one.
    ///
    /// # Errors
    /// `UDF_BUILD` when it cannot be made.
    pub fn new() -> Result<Self> {
        let parent = std::env::temp_dir();
        let made = files::own_dir(&parent, "thalweg-udf-").map_err(|e| {
            let what = format!("cannot make a directory in {}: {e}", parent.display());
            failed(what, "check the directory for temporary files")
        });
        made.map(Self)
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // what is left is the system's to tidy up
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_say() {
        assert_eq!(version("cargo 1.95.0 (abc 2026-01-01)"), Some(((1, 95), "1.95.0")));
        assert_eq!(version("go version go1.26.8 linux/amd64"), Some(((1, 26), "1.26.8")));
        assert_eq!(version("v20.20.2\n"), Some(((20, 20), "20.20.2")));
        assert_eq!(version("Python 3.11.4rc1"), Some(((3, 11), "3.11.4rc1")));
        assert_eq!(version("no number"), None);
    }

    #[test]
    fn what_a_killed_process_of_the_same_id_left_is_in_nobodys_way() -> anyhow::Result<()> {
        let left = std::env::temp_dir();
        let left: Vec<PathBuf> = (0..9).map(|n| left.join(format!("thalweg-udf-{}-{n}", std::process::id()))).collect();
        left.iter().try_for_each(std::fs::create_dir)?;
        let made = (Scratch::new(), Scratch::new());
        left.iter().try_for_each(std::fs::remove_dir)?;
        let (one, two) = (made.0?, made.1?);
        assert_ne!(one.0, two.0);
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&one.0)?);
        assert_eq!(mode & 0o777, 0o700);
        let path = one.0.clone();
        drop(one);
        assert!(!path.exists());
        Ok(())
    }

    #[test]
    fn a_tool_that_is_missing_or_old_is_told_apart() {
        let tool = |program, oldest| Tool {
            name: "t",
            purpose: "",
            ask: vec![program, "t 1.2.3"],
            holds: "",
            oldest,
            install: "",
        };
        assert_eq!(tool("echo", (1, 2)).find(), Found::Version("1.2.3".to_owned()));
        assert_eq!(tool("echo", (1, 3)).find(), Found::Old("1.2.3".to_owned()));
        assert_eq!(tool("no-such-program-of-anyone", (1, 2)).find(), Found::Missing);
    }
}
