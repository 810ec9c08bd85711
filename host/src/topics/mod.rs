//! A state directory from outside of its job: whoever holds it serves its log at a door, others come through it.
//!
//! In: a state directory. Out: a [`Log`], or a savepoint: of the directory's own if nobody has it open, or else that of the process that has,
//! through the Unix socket `log.sock` in the directory. Who may enter the directory may use the door, and nobody else.

mod client;
mod door;
mod wire;

pub use door::Door;

use crate::query::{self, Answer, Question};
use crate::savepoint::{of_database, whole};
use client::DoorLog;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thalweg_core::error::{Error, Result};
use thalweg_core::port::log::Log;
use thalweg_state::{Database, Look, Options, RocksLog};

/// The socket's name.
const NAME: &str = "log.sock";

/// Topics of a state directory, wherever they are served.
pub struct Topics {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Whether it is that of another process.
    pub served: bool,
}

impl Topics {
    /// The topics in `dir`. With `make`, a directory that is not there yet is made.
    ///
    /// # Errors
    /// `STATE_NOT_OURS` when there is no state directory, `STATE_LOCKED` when a process has it that does not serve its log, and what
    /// opening it says.
    pub fn open(dir: &Path, make: bool, options: &Options) -> Result<Self> {
        if !make {
            no_directory(dir)?;
        }
        match Database::open(dir, options) {
            Ok(database) => Ok(Self { log: Arc::new(RocksLog::new(database)), served: false }),
            Err(e) if e.code == "STATE_LOCKED" => match DoorLog::connect(dir) {
                Ok(log) => Ok(Self { log: Arc::new(log), served: true }),
                Err(_) => {
                    Err(e.help("the process that has it does not answer at its door: see what it is, or stop it first"))
                }
            },
            Err(e) => Err(e),
        }
    }
}

/// Makes a savepoint of a state directory at a path or URL, whether a job runs in it or not.
///
/// # Errors
/// As for [`Topics::open`] and [`of_database`].
pub fn savepoint(dir: &Path, to: &str, options: &Options) -> Result<()> {
    let to = whole(to)?;
    no_directory(dir)?;
    match Database::open(dir, options) {
        Ok(database) => of_database(&database, &to, ""),
        Err(e) if e.code == "STATE_LOCKED" => match DoorLog::connect(dir) {
            Ok(door) => door.savepoint(&to),
            Err(_) => Err(e),
        },
        Err(e) => Err(e),
    }
}

/// Asks for the state of the directory's own job, or of one that shares it, whether a process has it open or not. Nothing is written.
///
/// # Errors
/// `STATE_NOT_OURS` when there is no state directory, `STATE_LOCKED` when a process has it that does not serve it, what looking at it says, and
/// `QUERY_*`; `LOG_REFUSED` with what the process says that has it.
pub fn state(dir: &Path, job: Option<&str>, question: &Question, options: &Options) -> Result<Answer> {
    if !dir.is_dir() {
        return Err(Error::user("STATE_NOT_OURS", format!("there is no state directory {}", dir.display()))
            .help("check the path: it is what a job was started with as --state-dir"));
    }
    match Look::open(dir, options) {
        Ok(look) => look.committed(job, |cells, epoch| query::answer(cells, epoch, question)),
        Err(e) if e.code == "STATE_LOCKED" => match DoorLog::connect(dir) {
            Ok(door) => door.state(job, question),
            Err(_) => Err(e.help("ask the server that has it, by --server HOST:PORT and --job ID")),
        },
        Err(e) => Err(e),
    }
}

fn no_directory(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    Err(Error::user("STATE_NOT_OURS", format!("there is no state directory {}", dir.display()))
        .help("check the path; `thalweg log create` makes a directory with its first topic"))
}

/// A path of the socket that is short enough for the system, as long as the folder is held open.
fn socket(dir: &Path) -> std::io::Result<(std::fs::File, PathBuf)> {
    let folder = std::fs::File::open(dir)?;
    // a socket's path has 107 bytes, that of a state directory any length
    let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(NAME);
    Ok((folder, path))
}
