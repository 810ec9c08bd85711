//! The flights example as a command: `thalweg run guest-examples/flights/pipeline.yaml` and what comes of it.

use crate::child::{Ended, Run};
use crate::lines::Lines;
use crate::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// The files that part 1 writes.
pub const FILES: [&str; 2] = ["hourly.jsonl", "dead_letters.jsonl"];

/// A run of part 1.
#[derive(Clone, Debug)]
pub struct Flights {
    /// The rows.
    pub input: PathBuf,
    /// Folder of the results.
    pub output: PathBuf,
    /// The state directory, if it has one.
    pub state: Option<PathBuf>,
    /// What else stands on the command line.
    pub args: Vec<String>,
}

impl Flights {
    /// A run over rows, in a new folder, in memory.
    ///
    /// # Errors
    /// When no folder can be made.
    pub fn over(input: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self { input: input.into(), output: watchdog::folder("flights")?, state: None, args: Vec::new() })
    }

    /// The same with a state directory beside the results.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.state = Some(self.output.join("state"));
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn with(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// The command.
    ///
    /// # Errors
    /// When the binary or the component was not built.
    pub fn command(&self) -> Result<Run> {
        let run = Run::thalweg()?
            .args(["run", "guest-examples/flights/pipeline.yaml"])
            .set("component", place::component("flights_parse")?)
            .set("input", &self.input)
            .set("output", &self.output);
        let run = match &self.state {
            Some(state) => run.arg("--state-dir").arg(state),
            None => run,
        };
        Ok(run.args(&self.args))
    }

    /// Runs it to its good end.
    ///
    /// # Errors
    /// When it fails.
    pub fn ok(&self) -> Result<Ended> {
        self.command()?.ok()
    }

    /// Compares what it wrote with the oracle.
    ///
    /// # Errors
    /// With the first differences.
    pub fn equals_the_oracle(&self) -> Result<()> {
        check(&self.input, &self.output, &FILES)
    }

    /// The path of a result.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        self.output.join(file)
    }

    /// What it wrote: the lines of both files.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn results(&self) -> Result<[Lines; 2]> {
        let [hourly, dead] = FILES;
        Ok([Lines::read(&self.path(hourly))?, Lines::read(&self.path(dead))?])
    }

    /// Fails unless it wrote the same lines as another run.
    ///
    /// # Errors
    /// With the first differences.
    pub fn same_as(&self, wanted: &[Lines; 2]) -> Result<()> {
        let found = self.results()?;
        FILES.iter().zip(&found).zip(wanted).try_for_each(|((file, found), wanted)| found.same_as(wanted, file))
    }

    /// The last committed epoch of its state directory; 0 if nothing was committed yet.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.state.as_deref().map_or(0, acknowledged)
    }
}

/// Compares results of the flights example with the oracle.
///
/// # Errors
/// With the first differences.
pub fn check(input: &Path, output: &Path, files: &[&str]) -> Result<()> {
    let checker = Run::python()?.arg("scripts/check_flights.py").arg(input).arg(output).args(files);
    checker.ok().map(drop).context("the results are not those of the oracle")
}

/// The epoch that a state directory's file ACKNOWLEDGED tells, wherever in the directory it lies; 0 if there is none.
///
/// The file is written after each commit, so it is never ahead of the truth: bytes 2 to 9 hold the number, big end.
#[must_use]
pub fn acknowledged(state: &Path) -> u64 {
    let mut found = 0;
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name() == "ACKNOWLEDGED" {
            let bytes = fs::read(&path).unwrap_or_default();
            let number = bytes.get(2..10).and_then(|b| b.try_into().ok());
            found = found.max(number.map_or(0, u64::from_be_bytes));
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.file_name() != "db" {
            found = found.max(acknowledged(&path));
        }
    }
    found
}

/// Data rows of January.
///
/// # Errors
/// When the file cannot be read.
pub fn january_rows() -> Result<Vec<String>> {
    let text = fs::read_to_string(place::january()).context("the flights of January cannot be read")?;
    Ok(text.lines().skip(1).map(str::to_owned).collect())
}

/// A file with January's rows, `times` over.
///
/// # Errors
/// When it cannot be written.
pub fn repeated(times: usize) -> Result<PathBuf> {
    let text = fs::read_to_string(place::january()).context("the flights of January cannot be read")?;
    let (header, rows) = text.split_once('\n').context("January has no header")?;
    ensure!(rows.ends_with('\n'), "January's last line has no end");
    let path = watchdog::folder("input")?.join(format!("{times}-times.csv"));
    fs::write(&path, format!("{header}\n{}", rows.repeat(times)))?;
    Ok(path)
}
