//! What a store may use and how careful it is, on the command line.

use clap::{Args, ValueEnum};
use std::path::Path;
use std::time::Duration;
use thalweg_state::{FsyncPolicy, Options};

/// When a commit reaches the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Fsync {
    /// Before it counts: it survives the loss of power
    Epoch,
    /// When the system likes: the loss of power may take back the last seconds, the death of the process nothing
    Relaxed,
}

/// Options of stores in state directories.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// When a commit reaches the disk
    #[arg(long, value_enum, default_value_t = Fsync::Epoch)]
    pub fsync: Fsync,
    /// Mebibytes of memory for the state that is read from disk
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub state_cache_mib: u32,
    /// Mebibytes of memory for the state that is about to be written in order
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=1 << 16))]
    pub state_buffer_mib: u32,
    /// Mebibytes of the disk that are left free: a commit that would leave fewer waits, and nothing is read meanwhile
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub disk_reserve_mib: u32,
    /// Seconds that a commit waits for room on the disk before the job fails
    #[arg(long, value_name = "N", default_value_t = 600)]
    pub disk_wait_seconds: u32,
}

impl StoreArgs {
    /// The options, said once where there is a directory that they are for.
    pub fn options(&self, dir: Option<&Path>) -> Options {
        let mib = |n: u32| (n as usize) << 20;
        let options = Options {
            block_cache_bytes: mib(self.state_cache_mib),
            write_buffer_bytes: mib(self.state_buffer_mib),
            fsync: match self.fsync {
                Fsync::Epoch => FsyncPolicy::EachEpoch,
                Fsync::Relaxed => FsyncPolicy::Relaxed,
            },
            disk_reserve_bytes: u64::from(self.disk_reserve_mib) << 20,
            disk_wait: Duration::from_secs(u64::from(self.disk_wait_seconds)),
            ..Options::default()
        };
        if let Some(dir) = dir {
            let dir = dir.display();
            match self.fsync {
                Fsync::Epoch => tracing::info!("state in {dir}: fsync epoch, every commit survives the loss of power"),
                Fsync::Relaxed => {
                    tracing::warn!("state in {dir}: fsync relaxed, the loss of power may take back the last seconds");
                }
            }
        }
        options
    }
}

/// How long state lives.
#[derive(Debug, Args)]
pub struct TtlArgs {
    /// Drop state of a key that was not written for so long: 7d, or TRANSFORM=7d for one transform, or TRANSFORM=off; may be given more than once [default: off]
    #[arg(long, value_name = "[TRANSFORM=]TIME")]
    pub state_ttl: Vec<String>,
}
