//! Errors as people see them, and the exit codes that programs see.

use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use thalweg_core::error::{Domain, Error, Result};

/// The job failed.
const JOB: u8 = 1;
/// The configuration, the pipeline or a component must be mended.
const CONFIGURATION: u8 = 3;
/// Stopped by a signal.
pub const INTERRUPTED: u8 = 130;

/// A command that failed, and whose turn it is.
#[derive(Debug)]
pub struct Failed {
    error: Box<Error>,
    code: u8,
}

impl Failed {
    /// Before anything ran: what the user has to mend is configuration, what others have to is a failed job.
    pub fn before(error: Error) -> Self {
        let mend = matches!(error.domain, Domain::User | Domain::Guest);
        Self { error: Box::new(error), code: if mend { CONFIGURATION } else { JOB } }
    }

    /// While the job ran.
    pub fn running(error: Error) -> Self {
        Self { error: Box::new(error), code: JOB }
    }

    /// Prints the error; gives the exit code.
    pub fn report(self) -> ExitCode {
        print_error(&self.error);
        ExitCode::from(self.code)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::before(error)
    }
}

/// Prints to standard output. That nobody reads it any more (`| head -1`) is no error.
///
/// # Errors
/// `OUTPUT_UNWRITABLE` when it cannot be written for another reason.
pub fn print(text: &str) -> Result<()> {
    heard(text).map(drop)
}

/// The same; gives whether somebody reads it.
///
/// # Errors
/// As for [`print`].
pub fn heard(text: &str) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    // what stays in a buffer would be lost without a word
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Error::external("OUTPUT_UNWRITABLE", format!("cannot write to the standard output: {e}"))
            .help("check where the output goes: its disk may be full")),
    }
}

/// Prints an error to standard error: the sentence with its code, the transform, what to do, the worker's own trace.
pub fn print_error(error: &Error) {
    let stderr = std::io::stderr();
    let colour = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (red, plain) = if colour { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    let mut text = format!("{red}error[{}]{plain}: {}\n", error.code, error.message);
    if !error.transform.is_empty() {
        text.push_str(&format!("  in: {}\n", error.transform));
    }
    let help = if error.help.is_empty() { "see docs/errors.md" } else { error.help.as_str() };
    text.push_str(&format!("  help: {help}\n"));
    for line in error.trace.trim_end().lines() {
        text.push_str(&format!("    {line}\n"));
    }
    // nobody is left to tell if standard error is closed
    let _ = stderr.lock().write_all(text.as_bytes());
}
