//! Outputs as multisets of lines: order does not matter, number does.

use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::path::Path;

/// Differences that a failure shows.
const SHOWN_MAX: usize = 5;

/// How often each line stands in an output.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lines(BTreeMap<String, i64>);

impl Lines {
    /// Lines of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut lines = BTreeMap::new();
        for line in text.lines() {
            *lines.entry(line.to_owned()).or_insert(0) += 1;
        }
        Self(lines)
    }

    /// Lines of a file. Its last line must end, or it was cut off.
    ///
    /// # Errors
    /// When it cannot be read, or its last line has no end.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        if !text.is_empty() && !text.ends_with('\n') {
            let last = text.lines().last().unwrap_or_default();
            bail!("{}: the last line is cut off: {last}", path.display());
        }
        Ok(Self::of(&text))
    }

    /// The number of lines.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.0.values().sum()
    }

    /// Fails with the first differences unless both are equal.
    ///
    /// # Errors
    /// When a line is missing, or is there too often.
    pub fn same_as(&self, wanted: &Self, what: &str) -> Result<()> {
        self.compare(wanted, what, false)
    }

    /// Fails with the first differences unless every line here is one of `all`.
    ///
    /// # Errors
    /// When a line is there that should not be, or too often.
    pub fn part_of(&self, all: &Self, what: &str) -> Result<()> {
        self.compare(all, what, true)
    }

    fn compare(&self, wanted: &Self, what: &str, may_lack: bool) -> Result<()> {
        let mut differences = Vec::new();
        let both = self.0.keys().chain(wanted.0.keys().filter(|line| !self.0.contains_key(*line)));
        for line in both {
            let (found, right) = (self.times(line), wanted.times(line));
            if found > right || (found < right && !may_lack) {
                differences.push(format!("  {found} times instead of {right}: {line}"));
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        let (found, right, all) = (self.count(), wanted.count(), differences.len());
        differences.truncate(SHOWN_MAX);
        bail!("{what}: {found} lines for {right}, {all} of them wrong:\n{}", differences.join("\n"))
    }

    fn times(&self, line: &str) -> i64 {
        self.0.get(line).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_number_does() {
        let wanted = Lines::of("a\nb\nb\n");
        assert!(Lines::of("b\na\nb\n").same_as(&wanted, "x").is_ok());
        for wrong in ["a\nb\n", "a\nb\nb\nb\n", "a\nb\nb\nc\n", ""] {
            assert!(Lines::of(wrong).same_as(&wanted, "x").is_err(), "{wrong:?}");
        }
        assert!(Lines::of("b\na\n").part_of(&wanted, "x").is_ok());
        assert!(Lines::of("a\na\n").part_of(&wanted, "x").is_err());
        assert!(Lines::of("c\n").part_of(&wanted, "x").is_err());
    }

    #[test]
    fn a_line_that_is_cut_off_is_found() -> Result<()> {
        let path = tempfile::NamedTempFile::new()?;
        std::fs::write(path.path(), "{\"a\":1}\n{\"b\"")?;
        assert!(Lines::read(path.path()).is_err());
        Ok(())
    }
}
