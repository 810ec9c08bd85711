//! Child processes with a time limit: what they print goes to files, and a failure shows all of it.

use crate::watchdog;
use anyhow::{Context as _, Result, bail, ensure};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a child may take unless a test says otherwise: far beyond what any of them needs on two loaded cores.
const LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);
/// Characters of output that a failure shows, from the end.
const SHOWN_MAX: usize = 6000;

/// A signal, by its name for `kill`.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// A polite request to stop.
    Terminate,
    /// The end, at once.
    Kill,
    /// Stand still.
    Stop,
    /// Go on.
    Continue,
}

/// A command that is yet to run.
#[derive(Debug)]
pub struct Run {
    command: Command,
    what: String,
    limit: Duration,
}

impl Run {
    /// A command in the repository's top folder.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let name = Path::new(program.as_ref()).file_name().unwrap_or(program.as_ref());
        let what = name.to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.current_dir(crate::place::top()).process_group(0).stdin(Stdio::null());
        // the fault points, and what a developer may have set for himself
        command.env_remove("THALWEG_FAULT").env("PYTHONDONTWRITEBYTECODE", "1");
        Self { command, what, limit: LIMIT }
    }

    /// The `thalweg` binary.
    ///
    /// # Errors
    /// When it was not built.
    pub fn thalweg() -> Result<Self> {
        Ok(Self::new(crate::place::binary()?))
    }

    /// Python with Beam.
    ///
    /// # Errors
    /// When it was not set up.
    pub fn python() -> Result<Self> {
        Ok(Self::new(crate::place::python()?))
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.what.push(' ');
        self.what.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Adds `--set name=value`.
    #[must_use]
    pub fn set(self, name: &str, value: impl AsRef<Path>) -> Self {
        self.arg("--set").arg(format!("{name}={}", value.as_ref().display()))
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.what.insert_str(0, &format!("{name}={} ", value.as_ref().to_string_lossy()));
        self.command.env(name, value);
        self
    }

    /// Sets the folder it runs in.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Sets how long it may take.
    #[must_use]
    pub fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut self) -> Result<Running> {
        let folder = watchdog::folder("output")?;
        let (out, err) = (folder.join("stdout"), folder.join("stderr"));
        self.command.stdout(File::create(&out)?).stderr(File::create(&err)?);
        let child = self.command.spawn().with_context(|| format!("cannot start `{}`", self.what))?;
        watchdog::started(child.id())?;
        Ok(Running { child, what: self.what, limit: self.limit, begun: Instant::now(), out, err, over: false })
    }

    /// Runs it to its end, whatever that is.
    ///
    /// # Errors
    /// When it cannot be started, or takes longer than it may.
    pub fn end(self) -> Result<Ended> {
        self.start()?.wait()
    }

    /// Runs it to its good end.
    ///
    /// # Errors
    /// When it ends with another exit code than 0.
    pub fn ok(self) -> Result<Ended> {
        let ended = self.end()?;
        ensure!(ended.code == Some(0), "exit code 0 was expected\n{ended}");
        Ok(ended)
    }
}

/// A child that runs. It is killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    what: String,
    limit: Duration,
    begun: Instant,
    out: PathBuf,
    err: PathBuf,
    over: bool,
}

impl Running {
    /// Its process id, which is also that of its group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Time since its start.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What it has printed.
    #[must_use]
    pub fn output(&self) -> String {
        text(&self.out)
    }

    /// What it has printed to the error output.
    #[must_use]
    pub fn errors(&self) -> String {
        text(&self.err)
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the system does not know it.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Sends a signal to it alone.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if !self.runs()? {
            return Ok(());
        }
        send(signal, &self.pid().to_string())
    }

    /// Waits until a condition holds.
    ///
    /// # Errors
    /// When the child ends before, or `what` takes longer than the child may.
    pub fn until(&mut self, what: &str, holds: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        if self.reaches(what, holds)? {
            return Ok(());
        }
        let status = self.child.wait()?;
        bail!("it ended before {what}\n{}", self.ended(status))
    }

    /// Waits until a condition holds; `false` if the child ends before.
    ///
    /// # Errors
    /// When `what` takes longer than the child may.
    pub fn reaches(&mut self, what: &str, mut holds: impl FnMut(&Self) -> Result<bool>) -> Result<bool> {
        while !holds(self)? {
            if !self.runs()? {
                return Ok(false);
            }
            self.in_time(what)?;
            sleep(POLL);
        }
        Ok(true)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it takes longer than it may; it is killed then.
    pub fn wait(mut self) -> Result<Ended> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.over = true;
                watchdog::ended(self.pid())?;
                return Ok(self.ended(status));
            }
            self.in_time("its end")?;
            sleep(POLL);
        }
    }

    fn in_time(&mut self, what: &str) -> Result<()> {
        if self.begun.elapsed() < self.limit {
            return Ok(());
        }
        self.kill_group();
        let status = self.child.wait()?;
        bail!("after {} s still waiting for {what}\n{}", self.limit.as_secs(), self.ended(status))
    }

    /// Kills it at once, with `kill -9`, and waits for its end.
    ///
    /// # Errors
    /// When the system does not know it.
    pub fn kill(mut self) -> Result<Ended> {
        self.child.kill()?;
        self.wait()
    }

    fn ended(&self, status: ExitStatus) -> Ended {
        Ended {
            what: self.what.clone(),
            code: status.code(),
            signal: status.signal(),
            out: self.output(),
            err: self.errors(),
            took: self.begun.elapsed(),
        }
    }

    fn kill_group(&mut self) {
        self.over = true;
        send(Signal::Kill, &format!("-{}", self.pid())).unwrap_or_default();
        watchdog::ended(self.pid()).unwrap_or_default();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            self.kill_group();
            self.child.wait().map(drop).unwrap_or_default();
        }
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn send(signal: Signal, to: &str) -> Result<()> {
    let name = match signal {
        Signal::Interrupt => "INT",
        Signal::Terminate => "TERM",
        Signal::Kill => "KILL",
        Signal::Stop => "STOP",
        Signal::Continue => "CONT",
    };
    let script = "kill -s \"$1\" -- \"$2\" 2> /dev/null";
    let status = Command::new("sh").args(["-c", script, "kill", name, to]).status()?;
    ensure!(status.success(), "no signal {name} could be sent to {to}");
    Ok(())
}

/// A child that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The command.
    pub what: String,
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it printed to the error output.
    pub err: String,
    /// How long it ran.
    pub took: Duration,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match (self.code, self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        writeln!(f, "--- `{}`: {end} after {:.1} s", self.what, self.took.as_secs_f64())?;
        for (name, text) in [("printed", &self.out), ("printed as errors", &self.err)] {
            let skipped = text.chars().count().saturating_sub(SHOWN_MAX);
            let shown: String = text.chars().skip(skipped).collect();
            let dots = if skipped > 0 { "[...]" } else { "" };
            writeln!(f, "--- {name}:\n{dots}{}", shown.trim_end())?;
        }
        write!(f, "---")
    }
}
