//! Ground floor: the engine's one error type: a stable code, whose fault it is, what to do.

use std::fmt;

/// Whose fault an error is; decides the tone of the message and whether a retry can help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Domain {
    /// The pipeline, its configuration or its data.
    User,
    /// A sandboxed guest or an SDK worker's user code.
    Guest,
    /// A service, a disk, a network.
    External,
    /// A fault of Thalweg itself.
    Internal,
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Guest => "guest",
            Self::External => "external",
            Self::Internal => "internal",
        })
    }
}

/// An error as it travels through the engine to the job's messages and the command line.
///
/// `code` is stable and has a page in `docs/errors.md`; `message` is one sentence; `help` says what to do; `trace` is the
/// worker's own stack trace, if there is one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Error {
    /// Stable, e.g. `BUNDLE_FAILED`.
    pub code: &'static str,
    /// Whose fault it is.
    pub domain: Domain,
    /// One sentence.
    pub message: String,
    /// What to do about it; empty when the message says it all.
    pub help: String,
    /// The worker's stack trace; empty if there is none.
    pub trace: String,
    /// The transform it happened in; empty if unknown.
    pub transform: String,
    /// The same work would fail in the same way: it is not tried again.
    pub permanent: bool,
}

/// Result of the engine's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given domain.
    pub fn new(code: &'static str, domain: Domain, message: impl Into<String>) -> Self {
        Self {
            code,
            domain,
            message: message.into(),
            help: String::new(),
            trace: String::new(),
            transform: String::new(),
            permanent: false,
        }
    }

    /// An error in the pipeline or its data.
    pub fn user(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Domain::User, message)
    }

    /// An error of a service, disk or network.
    pub fn external(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Domain::External, message)
    }

    /// A broken invariant of ours.
    pub fn internal(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Domain::Internal, message)
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// Adds the worker's stack trace.
    #[must_use]
    pub fn trace(mut self, trace: impl Into<String>) -> Self {
        self.trace = trace.into();
        self
    }

    /// Says that the same work would fail in the same way.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.permanent = true;
        self
    }

    /// Adds the transform's name unless one is known already.
    #[must_use]
    pub fn in_transform(mut self, name: &str) -> Self {
        if self.transform.is_empty() {
            self.transform = name.to_owned();
        }
        self
    }
}
