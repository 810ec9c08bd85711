//! Where submitted jobs keep their state: below one directory of the server, each job in a directory of its own.
//!
//! In: the directory a server was given, and jobs. Out: a directory per job. A job whose options name its state (`state_name`)
//! gets that one again when it is submitted again, and goes on where it was; nobody could find the directory of any
//! other job again, so it goes with the job, or with the next server if this one is killed. Jobs that use the embedded log share it and keep their
//! state beside it.

use crate::compose::SharedLog;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thalweg_beam::job::PreparedJob;
use thalweg_core::error::{Error, Result};

/// The file that says what the directory is.
const MARK: &str = "JOBS";
const MARK_TEXT: &str = "thalweg jobs 1\n";
/// How the directories of jobs begin: those that go with their job, and those that stay.
const PASSING: &str = "job-";
const NAMED: &str = "named-";
/// The directory of the log that jobs share.
const LOG: &str = "log";
/// The lock of the store in a directory; a directory without one may be about to get it, for so long.
const LOCK: &str = "LOCK";
const YOUNG: Duration = Duration::from_secs(60);
/// Characters of a name.
const NAME_MAX: usize = 100;

/// A server's directory. Several servers may share one.
#[derive(Clone, Debug)]
pub struct JobStates {
    dir: PathBuf,
    /// The log that jobs share.
    log: Option<Arc<SharedLog>>,
}

/// The directory of one job.
#[derive(Debug)]
pub struct JobDir {
    /// Where it is.
    pub path: PathBuf,
    /// What names the job among others: the name of its state, or its id.
    pub name: String,
    stays: bool,
    log: Option<Arc<SharedLog>>,
}

impl JobDir {
    /// Whether it is there for the next job of this name.
    pub fn stays(&self) -> bool {
        self.stays
    }
}

impl Drop for JobDir {
    fn drop(&mut self) {
        if !self.stays {
            // what cannot be removed now is removed by the next server
            let _ = fs::remove_dir_all(&self.path);
            if let (Some(log), Some(name)) = (&self.log, self.path.file_name()) {
                let _ = log.forget(&name.to_string_lossy());
            }
        }
    }
}

impl JobStates {
    /// Takes a directory, which is made if need be, and removes what jobs of servers that were killed left behind.
    ///
    /// # Errors
    /// `STATE_NOT_OURS` when it is a file or holds something else, and nothing was touched; `STATE_IO` for the disk.
    pub fn open(dir: &Path) -> Result<Self> {
        let mut known = false;
        match fs::read_dir(dir) {
            Ok(mut entries) => {
                // looked at before the mark: what another server puts here now, it puts here after its mark
                let other = entries.find_map(|entry| entry.ok().map(|e| e.file_name()).filter(|name| !is_mark(name)));
                known = fs::read_to_string(dir.join(MARK)).is_ok_and(|text| text == MARK_TEXT);
                if !known && let Some(other) = other {
                    return Err(not_ours(dir, format!("it holds {}", other.display())));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => fs::create_dir_all(dir).map_err(|e| broken(dir, &e))?,
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Err(not_ours(dir, "it is not a directory")),
            Err(e) => return Err(broken(dir, &e)),
        }
        if !known {
            mark(dir).map_err(|e| broken(dir, &e))?;
        }
        sweep(dir);
        Ok(Self { dir: dir.to_owned(), log: None })
    }

    /// Has jobs share a log, with the state of those that use it.
    pub fn share_log(&mut self, options: &thalweg_state::Options) -> Arc<SharedLog> {
        let log = Arc::new(SharedLog::new(self.dir.join(LOG), options.clone(), NAMED));
        self.log = Some(Arc::clone(&log));
        log
    }

    /// The directory of a job.
    ///
    /// # Errors
    /// `OPTION_INVALID` when the job names its state by something that is no name.
    pub fn of(&self, job: &PreparedJob) -> Result<JobDir> {
        Ok(match state_name(job)? {
            Some(name) => self.named(name),
            None => self.dir_of(job.id.clone(), false),
        })
    }

    /// The directory of this name.
    pub(super) fn named(&self, name: String) -> JobDir {
        self.dir_of(name, true)
    }

    /// Whether there is state of this name.
    ///
    /// # Errors
    /// As for [`SharedLog::has`].
    pub(super) fn has(&self, name: &str) -> Result<bool> {
        Ok(self.dir.join(format!("{NAMED}{name}")).is_dir() || self.has_in_log(name)?)
    }

    /// The same, beside the log that jobs share.
    ///
    /// # Errors
    /// As for [`SharedLog::has`].
    pub(super) fn has_in_log(&self, name: &str) -> Result<bool> {
        self.log.as_ref().map_or(Ok(false), |log| log.has(&format!("{NAMED}{name}")))
    }

    fn dir_of(&self, name: String, stays: bool) -> JobDir {
        let path = self.dir.join(format!("{}{name}", if stays { NAMED } else { PASSING }));
        JobDir { path, name, stays, log: self.log.clone() }
    }
}

/// Says what the directory is: whole or not at all, for another server may look at the same time, and lasting before the first state is in it.
fn mark(dir: &Path) -> io::Result<()> {
    let new = dir.join(format!("{MARK}.{}", std::process::id()));
    fs::write(&new, MARK_TEXT)?;
    File::open(&new)?.sync_all()?;
    fs::rename(&new, dir.join(MARK))?;
    File::open(dir)?.sync_all()
}

/// Whether a file is the mark, or is about to become it.
fn is_mark(name: &OsStr) -> bool {
    name.to_str().and_then(|name| name.strip_prefix(MARK)).is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('.').is_some_and(|process| process.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// The name of a job's state, if it has one.
///
/// # Errors
/// `OPTION_INVALID` when it cannot be part of a file's name.
pub fn state_name(job: &PreparedJob) -> Result<Option<String>> {
    let Some(name) = job.options.text("state_name").filter(|name| !name.is_empty()) else { return Ok(None) };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.len() <= NAME_MAX && name.chars().all(plain) {
        return Ok(Some(name));
    }
    Err(Error::user("OPTION_INVALID", format!("the pipeline option state_name is {name:?}, which is no name"))
        .help(format!("use letters, digits, `-` and `_`, at most {NAME_MAX} of them")))
}

/// Removes the directories of jobs that nobody runs any more and nobody can find again.
fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let passing = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(PASSING));
    for path in passing.map(|e| e.path()) {
        // the lock is held until the directory is gone: nobody begins to use it meanwhile
        let lock = File::open(path.join(LOCK)).ok();
        let free = lock.as_ref().is_none_or(|lock| lock.try_lock().is_ok());
        if free && is_old(&path) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn is_old(path: &Path) -> bool {
    let made = fs::metadata(path).and_then(|m| m.modified());
    made.ok().and_then(|at| at.elapsed().ok()).is_some_and(|age| age > YOUNG)
}

fn not_ours(dir: &Path, why: impl std::fmt::Display) -> Error {
    Error::user("STATE_NOT_OURS", format!("{} is not a state directory of a server: {why}", dir.display()))
        .help("give a directory that is empty or does not exist yet; nothing was changed in this one")
}

fn broken(dir: &Path, error: &io::Error) -> Error {
    Error::external("STATE_IO", format!("cannot use the state directory {}: {error}", dir.display()))
        .help("check that the directory exists, is writable and its disk is healthy, then start the server again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_beam::job::JobOptions;

    fn job(id: &str, state_name: Option<&str>) -> PreparedJob {
        let mut wire = prost_types::Struct::default();
        if let Some(name) = state_name {
            let kind = Some(prost_types::value::Kind::StringValue(name.to_owned()));
            wire.fields.insert("beam:option:state_name:v1".to_owned(), prost_types::Value { kind });
        }
        let options = Arc::new(JobOptions::new(wire));
        PreparedJob { id: id.to_owned(), name: "n".to_owned(), pipeline: Arc::default(), options }
    }

    #[test]
    fn jobs_have_directories_of_their_own_and_those_without_a_name_go_with_them() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let states = JobStates::open(root.path())?;
        let (one, two, named) =
            (states.of(&job("a-1", None))?, states.of(&job("a-2", None))?, states.of(&job("a-3", Some("daily")))?);
        let paths = [&one, &two, &named].map(|d| d.path.clone());
        for path in &paths {
            fs::create_dir(path)?;
        }
        drop((one, two, named));
        assert_eq!(paths.map(|p| p.exists()), [false, false, true]);
        assert_eq!(states.of(&job("b-9", Some("daily")))?.name, "daily");
        for bad in ["../x", "a b", "ä"] {
            assert_eq!(states.of(&job("c", Some(bad))).err().map(|e| e.code), Some("OPTION_INVALID"), "{bad}");
        }
        Ok(())
    }

    #[test]
    fn what_is_not_ours_is_refused_untouched() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let file = root.path().join("file");
        fs::write(&file, "mine")?;
        assert_eq!(JobStates::open(&file).err().map(|e| e.code), Some("STATE_NOT_OURS"));
        assert_eq!(JobStates::open(root.path()).err().map(|e| e.code), Some("STATE_NOT_OURS"));
        assert_eq!((fs::read_to_string(&file)?.as_str(), fs::read_dir(root.path())?.count()), ("mine", 1));
        let own = root.path().join("new/one");
        JobStates::open(&own)?;
        JobStates::open(&own)?;
        Ok(())
    }

    #[test]
    fn a_server_that_starts_at_the_same_moment_is_no_stranger() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        // what another server has just written and is about to rename
        fs::write(root.path().join("JOBS.4711"), "")?;
        JobStates::open(root.path())?;
        let strange = tempfile::tempdir()?;
        fs::write(strange.path().join("JOBS.txt"), "")?;
        assert_eq!(JobStates::open(strange.path()).err().map(|e| e.code), Some("STATE_NOT_OURS"));
        Ok(())
    }
}
