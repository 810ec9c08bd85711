//! The side of the process that holds the directory.

use super::wire::{Answer, Ask, LINE_MAX, WireRecord, WireTopic};
use super::{NAME, socket};
use crate::query;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use thalweg_core::error::{Error, Result};
use thalweg_core::port::log::Log;
use thalweg_state::{Database, RocksLog};

/// Callers at once; more are sent away.
const CALLERS_MAX: usize = 32;
/// Bytes of records in one answer, about.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Serves a log to other processes of this machine until it is dropped. Callers that are being served then are served to their end.
#[derive(Debug)]
pub struct Door {
    path: PathBuf,
    closed: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Door {
    /// As [`Door::open`]; a job can do without a door, so that one that cannot be had is a warning.
    #[must_use]
    pub fn try_open(database: Database) -> Option<Self> {
        Self::open(database)
            .inspect_err(|e| tracing::warn!(target: "state", "{e}: nobody can come in while the job runs"))
            .ok()
    }

    /// Opens the door of a database of this process. The socket is its owner's alone.
    ///
    /// # Errors
    /// `LOG_DOOR` when the system does not give a socket.
    pub fn open(database: Database) -> Result<Self> {
        let dir = database.dir().to_owned();
        let failed = |e: std::io::Error| {
            Error::external("LOG_DOOR", format!("cannot serve the log of {}: {e}", dir.display()))
                .help("use a state directory on a file system that has sockets")
        };
        let path = dir.join(NAME);
        // whoever made it is dead: the lock is ours
        let _ = std::fs::remove_file(&path);
        let (folder, short) = socket(&dir).map_err(failed)?;
        let listener = UnixListener::bind(short).map_err(failed)?;
        drop(folder);
        let owners_alone = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, owners_alone).map_err(failed)?;
        let closed = Arc::new(AtomicBool::new(false));
        let (over, callers) = (Arc::clone(&closed), Arc::new(AtomicUsize::new(0)));
        let listen = move || {
            for caller in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(caller) = caller else { continue };
                if callers.fetch_add(1, Ordering::SeqCst) >= CALLERS_MAX {
                    callers.fetch_sub(1, Ordering::SeqCst);
                    continue;
                }
                let (database, left) = (database.clone(), Arc::clone(&callers));
                let serve = move || {
                    serve(&caller, &database);
                    left.fetch_sub(1, Ordering::SeqCst);
                };
                if std::thread::Builder::new().name("log-caller".to_owned()).spawn(serve).is_err() {
                    callers.fetch_sub(1, Ordering::SeqCst);
                }
            }
        };
        let listener = std::thread::Builder::new().name("log-door".to_owned()).spawn(listen).map_err(failed)?;
        Ok(Self { path, closed, listener: Some(listener) })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // its own call ends the wait for callers, so that the directory is let go of
        let called = self
            .path
            .parent()
            .map(socket)
            .is_some_and(|found| found.is_ok_and(|(_folder, short)| UnixStream::connect(short).is_ok()));
        if let Some(listener) = self.listener.take().filter(|_| called) {
            listener.join().unwrap_or_default();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Answers one caller until it goes.
fn serve(caller: &UnixStream, database: &Database) {
    let log = RocksLog::new(database.clone());
    let mut lines = BufReader::new(caller);
    loop {
        let mut line = Vec::new();
        match lines.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(n) if n > 0 && line.ends_with(b"\n") => {}
            _ => return,
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(Ask::Savepoint { to }) => {
                crate::savepoint::of_database(database, &to, "").map_or_else(|e| Answer::error(&e), |()| Answer::Done)
            }
            Ok(Ask::State { job, question }) => {
                let found = database.committed(job.as_deref(), |cells, epoch| query::answer(cells, epoch, &question));
                found.map_or_else(|e| Answer::error(&e), |found| Answer::State(Box::new(found)))
            }
            Ok(ask) => answer(&log, ask).unwrap_or_else(|e| Answer::error(&e)),
            Err(_) => Answer::error(&Error::user("LOG_DOOR", "the question is not one of this version")),
        };
        let Ok(mut text) = serde_json::to_vec(&answer) else { return };
        text.push(b'\n');
        let mut back = caller;
        if back.write_all(&text).is_err() {
            return;
        }
    }
}

fn answer(log: &dyn Log, ask: Ask) -> Result<Answer> {
    Ok(match ask {
        Ask::Savepoint { .. } | Ask::State { .. } => Answer::Done,
        Ask::Topics => Answer::Topics(log.topics().iter().map(|(name, config)| WireTopic::new(name, config)).collect()),
        Ask::Create(topic) => log.create(&topic.name, &topic.config()).map(|()| Answer::Done)?,
        Ask::Bounds { topic, partition } => Answer::bounds(&log.bounds(&topic, partition)?),
        Ask::Append(records) => {
            let records = records.iter().map(WireRecord::record).collect::<Option<Vec<_>>>();
            let records = records.ok_or_else(|| Error::user("LOG_DOOR", "a record is not made of bytes"))?;
            Answer::Offsets(log.append(&records)?)
        }
        Ask::Read { topic, partition, from, bytes } => {
            let (mut records, mut left) = (Vec::new(), bytes.min(ANSWER_BYTES_MAX));
            log.read(&topic, partition, from, &mut |view| {
                records.push(WireRecord::of_view(&topic, partition, view));
                let size = view.key.map_or(0, <[u8]>::len) + view.value.map_or(0, <[u8]>::len) + 64;
                left = left.saturating_sub(size);
                left > 0
            })?;
            Answer::Records(records)
        }
    })
}
