//! The arguments of `thalweg log`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// What to do with the topics of a state directory.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Show the topics of a state directory
    List(PlaceArgs),
    /// Make a topic
    Create(CreateArgs),
    /// Append lines of the standard input, a record each; they are on the disk when the command ends
    Append(AppendArgs),
    /// Show records
    Tail(TailArgs),
}

/// Where the topics are, and how to show them.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The state directory; a job that runs may have it open
    #[arg(long, value_name = "DIR")]
    pub state_dir: PathBuf,
    /// How to print
    #[arg(long, value_name = "KIND", value_enum, default_value_t = OutputKind::Text)]
    pub output: OutputKind,
}

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum OutputKind {
    /// For people
    Text,
    /// A JSON object a line
    Json,
}

/// `thalweg log create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Name of the topic
    pub topic: String,
    /// Partitions; their number never changes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub partitions: u32,
    /// Keep the last record of each key, and no other
    #[arg(long)]
    pub compact: bool,
    /// Hours that records are kept after they were appended; 0 for ever [default: 168]
    #[arg(long, value_name = "N", conflicts_with = "compact")]
    pub retention_hours: Option<u32>,
    /// Mebibytes that a partition keeps, the oldest go first; 0 for all there is [default: 8192]
    #[arg(long, value_name = "N", conflicts_with = "compact")]
    pub retention_mib: Option<u32>,
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// `thalweg log append`.
#[derive(Debug, Args)]
pub struct AppendArgs {
    /// The topic
    pub topic: String,
    /// What stands between key and value in a line; without it records have no key
    #[arg(long, value_name = "TEXT")]
    pub key_separator: Option<String>,
    /// The partition of all records; without it the key chooses
    #[arg(long, value_name = "N")]
    pub partition: Option<u32>,
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// `thalweg log tail`.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// The topic
    pub topic: String,
    /// One partition alone
    #[arg(long, value_name = "N")]
    pub partition: Option<u32>,
    /// Begin at this offset of each partition; `earliest` for all records
    #[arg(long, value_name = "OFFSET", value_parser = offset, conflicts_with = "last")]
    pub from: Option<u64>,
    /// Begin so many records before the end of each partition
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub last: u64,
    /// Go on with what is appended, until interrupted
    #[arg(long, short)]
    pub follow: bool,
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// An offset, or `earliest`.
fn offset(text: &str) -> Result<u64, String> {
    if text == "earliest" {
        Ok(0)
    } else {
        text.parse().map_err(|_| format!("{text:?} is no offset and not `earliest`"))
    }
}
