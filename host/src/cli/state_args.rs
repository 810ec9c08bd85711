//! The arguments of `thalweg state`.

use super::log_args::OutputKind;
use crate::query::{LIMIT_MAX, LIMIT_USUAL};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What to ask.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Show which transforms keep which states
    List(WhoArgs),
    /// Show what a state holds for a key
    Get(GetArgs),
    /// Show what a state holds for all keys, a page at a time
    Scan(ScanArgs),
}

/// Whose state is asked for, and how to show it.
#[derive(Debug, Args)]
pub struct WhoArgs {
    /// The state directory; a job that runs may have it open
    #[arg(long, value_name = "DIR", required_unless_present = "server", conflicts_with = "server")]
    pub state_dir: Option<PathBuf>,
    /// The server that runs the job; in a cluster any of its processes
    #[arg(long, value_name = "HOST:PORT", requires = "job")]
    pub server: Option<String>,
    /// The job's id on the server; with --state-dir one of the jobs that share the directory
    #[arg(long, value_name = "ID")]
    pub job: Option<String>,
    /// How to print
    #[arg(long, value_name = "KIND", value_enum, default_value_t = OutputKind::Text)]
    pub output: OutputKind,
}

/// `thalweg state get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The transform, as `thalweg state list` names it
    pub transform: String,
    /// The state
    pub state: String,
    /// The key: a text as it is, or json:VALUE, or hex:DIGITS of its bytes
    #[arg(allow_hyphen_values = true)]
    pub key: String,
    /// One window alone: global, START..END in milliseconds, or hex:DIGITS of a window of an SDK's own
    #[arg(long, value_name = "WINDOW", allow_hyphen_values = true)]
    pub window: Option<String>,
    /// Where.
    #[command(flatten)]
    pub who: WhoArgs,
}

/// `thalweg state scan`.
#[derive(Debug, Args)]
pub struct ScanArgs {
    /// The transform, as `thalweg state list` names it
    pub transform: String,
    /// The state
    pub state: String,
    /// Entries of a page
    #[arg(long, value_name = "N", default_value_t = LIMIT_USUAL,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(LIMIT_MAX)))]
    pub limit: u32,
    /// Keys that begin so alone: a text, or hex:DIGITS
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Go on where the page before ended: what it said is next
    #[arg(long, value_name = "TOKEN")]
    pub page: Option<String>,
    /// Where.
    #[command(flatten)]
    pub who: WhoArgs,
}
