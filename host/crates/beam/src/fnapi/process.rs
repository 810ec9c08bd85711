//! Workers that are processes of this machine: started with what Beam's boot programs are told, watched, ended with all that
//! they started themselves.
//!
//! In: a command line. Out: a child with a process group of its own; how it ended, with the last of what it printed.
//! What the process does is not known here. Its standard input is a pipe that nobody writes to: when it ends, the
//! server is gone, however it went.

use super::lock;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use thalweg_core::error::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStdin, Command};

/// Bytes of a process's last words that an error shows.
const LAST_WORDS: usize = 4096;
/// How long the last words of a process that has ended may take to arrive.
const HEARD_OUT: Duration = Duration::from_millis(500);

/// A worker process.
pub(super) struct Process {
    child: Child,
    /// Open as long as this process lives: the child sees it end.
    _stdin: Option<ChildStdin>,
    group: Option<Pid>,
    said: Said,
    listeners: Vec<tokio::task::JoinHandle<()>>,
}

/// The end of what a process printed.
type Said = Arc<Mutex<VecDeque<u8>>>;

/// A command's program and arguments: the whole text if it is a program, else its words.
///
/// # Errors
/// `ENVIRONMENT_INVALID` when there is no such program.
pub(super) fn words(command: &str) -> Result<(PathBuf, Vec<String>)> {
    if let Some(program) = program(command) {
        return Ok((program, Vec::new()));
    }
    let mut words = command.split_whitespace();
    let first = words.next().unwrap_or_default();
    let found = program(first).ok_or_else(|| {
        Error::user("ENVIRONMENT_INVALID", format!("the worker's command `{command}` names no program of this machine"))
            .help("give --environment_config='{\"command\": \"...\"}' the path of an executable file, or a name on the PATH")
    })?;
    Ok((found, words.map(str::to_owned).collect()))
}

fn program(name: &str) -> Option<PathBuf> {
    if name.is_empty() {
        return None;
    }
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    super::environment::find(name)
}

impl Process {
    /// Starts a program in a group of its own.
    ///
    /// # Errors
    /// `WORKER_START_FAILED`.
    pub fn start(program: &Path, arguments: &[String], env: &BTreeMap<String, String>, worker: &str) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).envs(env).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| {
            Error::external(
                "WORKER_START_FAILED",
                format!("the worker's program {} cannot be run: {e}", program.display()),
            )
            .help("check that the file may be executed by the user of the server")
        })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let said = Said::default();
        let mut listeners = Vec::new();
        if let Some(out) = child.stdout.take() {
            listeners.push(tokio::spawn(listen(out, Arc::clone(&said), worker.to_owned())));
        }
        if let Some(err) = child.stderr.take() {
            listeners.push(tokio::spawn(listen(err, Arc::clone(&said), worker.to_owned())));
        }
        let stdin = child.stdin.take(); // waiting for the child would close it
        Ok(Self { child, _stdin: stdin, group, said, listeners })
    }

    /// Waits for its end, and says how it ended.
    pub async fn over(&mut self) -> Error {
        let how = match self.child.wait().await {
            Ok(status) => format!("the worker's process ended with {status}"),
            Err(error) => format!("the worker's process cannot be waited for: {error}"),
        };
        let heard = async {
            while let Some(listener) = self.listeners.pop() {
                let _ = listener.await;
            }
        };
        let _ = tokio::time::timeout(HEARD_OUT, heard).await;
        let said: Vec<u8> = lock(&self.said).iter().copied().collect();
        Error::external("WORKER_LOST", how)
            .help("the last of what it printed stands below; it was started by the pipeline's option --environment_config")
            .trace(String::from_utf8_lossy(&said).trim())
    }

    /// Ends it and what it started: asked first, then made to.
    pub async fn stop(mut self, patience: Duration) {
        self.signal(Signal::TERM);
        let _ = tokio::time::timeout(patience, self.child.wait()).await;
        // dropped here: whoever is left of the group is killed
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // an error means that none of them is left
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Keeps the end of what a process prints, and logs all of it.
async fn listen(mut pipe: impl AsyncRead + Unpin, said: Said, worker: String) {
    let mut buffer = vec![0; 4096];
    while let Ok(count) = pipe.read(&mut buffer).await {
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return;
        }
        tracing::debug!(target: "worker", worker, "{}", String::from_utf8_lossy(bytes).trim_end());
        let mut said = lock(&said);
        said.extend(bytes);
        let surplus = said.len().saturating_sub(LAST_WORDS);
        said.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let arguments = ["-c".to_owned(), script.to_owned()];
        Process::start(
            Path::new("/bin/sh"),
            &arguments,
            &BTreeMap::from([("WORD".to_owned(), "hello".to_owned())]),
            "w",
        )
        .expect("a shell")
    }

    #[tokio::test]
    async fn how_a_process_ended_is_told_with_its_last_words() {
        let error = shell("echo $WORD; echo no such model >&2; exit 7").over().await;
        assert!(error.message.contains("exit status: 7"), "{error}");
        assert!(error.trace.contains("hello") && error.trace.contains("no such model"), "{}", error.trace);
    }

    #[tokio::test]
    async fn what_a_process_started_ends_with_it() {
        let dir = tempfile::tempdir().expect("directory");
        let mark = dir.path().join("mark");
        let script =
            format!("trap '' TERM; (trap '' TERM; while :; do date > {0}; sleep 0.02; done) & wait", mark.display());
        let process = shell(&script);
        while !mark.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        process.stop(Duration::from_millis(50)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        std::fs::remove_file(&mark).expect("removed");
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(!mark.exists(), "its child still writes");
    }

    #[test]
    fn a_command_may_have_arguments() {
        let (program, arguments) = words("sh -c true").expect("there is a shell");
        assert!(program.ends_with("sh"), "{}", program.display());
        assert_eq!(arguments, ["-c", "true"]);
        assert_eq!(words("").expect_err("nothing").code, "ENVIRONMENT_INVALID");
    }
}
