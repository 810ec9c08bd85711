//! The client in Java, as processes that stay: starting one takes more of the processor than most of what it is asked. A request is a
//! line to it, what it prints goes to a file, and its answer is one line (`serve` in `scripts/kafka/Topics.java`). What is asked of it,
//! and what comes out, it does not know.

use crate::child::Run;
use crate::{place, watchdog};
use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::json;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// How long an answer may take: as long as any child of a test.
const LIMIT: Duration = Duration::from_secs(120);
/// A reader holds what it fetches ahead, 50 MB at most, whatever a topic holds; only records to be written are held whole.
const OPTIONS: [&str; 5] = [
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xmx256m",
    // else a thread that runs out of memory would leave the others to wait for it
    "-XX:+ExitOnOutOfMemoryError",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
];

/// The clients of one broker: as many as were needed at the same time.
#[derive(Debug)]
pub(super) struct Clients {
    bootstrap: String,
    idle: Mutex<Vec<Client>>,
}

impl Clients {
    /// None so far.
    pub(super) fn new(bootstrap: String) -> Self {
        Self { bootstrap, idle: Mutex::new(Vec::new()) }
    }

    /// What is printed for a request. Callers do not wait for each other.
    ///
    /// # Errors
    /// When the client says that it failed, does not answer in time, or ends; in the last two cases it is not asked again.
    pub(super) fn ask(&self, verb: &str, args: &[&str]) -> Result<String> {
        let mut client = self.take()?;
        let answer = client.ask(verb, args)?;
        self.idle().push(client);
        answer
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that has nothing to do; it is started outside of the lock.
    fn take(&self) -> Result<Client> {
        let idle = self.idle().pop();
        idle.map_or_else(|| Client::start(&self.bootstrap), Ok)
    }
}

/// A client that waits for requests. It is killed when dropped.
#[derive(Debug)]
struct Client {
    child: Child,
    bootstrap: String,
    requests: ChildStdin,
    answers: Receiver<String>,
    out: PathBuf,
    err: PathBuf,
}

impl Client {
    fn start(bootstrap: &str) -> Result<Self> {
        let folder = watchdog::folder("client")?;
        let (out, err) = (folder.join("stdout"), folder.join("stderr"));
        let mut child = Command::new("java")
            .args(OPTIONS)
            .args(["-cp", class_path()?, "Topics", "serve", bootstrap])
            .current_dir(place::top())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&err)?)
            .spawn()
            .context("cannot start java")?;
        let pipes = (child.stdin.take(), child.stdout.take());
        watchdog::started(child.id())?;
        let (Some(requests), Some(answers)) = pipes else { bail!("java has no input or output") };
        Ok(Self { child, bootstrap: bootstrap.to_owned(), requests, answers: lines(answers), out, err })
    }

    /// What it printed. An error within is its answer, and it may be asked again.
    fn ask(&mut self, verb: &str, args: &[&str]) -> Result<Result<String>> {
        let what = format!("Topics {verb} {} {}", self.bootstrap, args.join(" "));
        let before = text(&self.err)?.len();
        let out = self.out.to_str().context("a path")?;
        let request = json!([&[out, verb], args].concat());
        // one that has ended does not take it, and its missing answer is told below
        writeln!(self.requests, "{request}").unwrap_or_default();
        let problem = match self.answers.recv_timeout(LIMIT) {
            Ok(line) if line == "ok" => return Ok(Ok(text(&self.out)?)),
            Ok(line) => match line.strip_prefix("error ").map(serde_json::from_str::<String>) {
                Some(Ok(error)) => return Ok(Err(anyhow!("`{what}`: {error}\n{}", self.errors(before)?))),
                _ => format!("answered `{line}`"),
            },
            Err(RecvTimeoutError::Timeout) => format!("gave no answer in {} s", LIMIT.as_secs()),
            Err(RecvTimeoutError::Disconnected) => {
                // its output is closed, so its end has begun: the signal changes nothing but for one that hangs there
                self.child.kill()?;
                format!("ended with {}", self.child.wait()?)
            }
        };
        bail!("`{what}`: the client {problem}\n{}", self.errors(before)?)
    }

    /// What it has printed as errors behind so many bytes.
    fn errors(&self, before: usize) -> Result<String> {
        let all = text(&self.err)?;
        Ok(format!("--- printed as errors:\n{}\n---", all.get(before..).unwrap_or(&all).trim_end()))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
        watchdog::ended(self.child.id()).unwrap_or_default();
    }
}

/// Lines as they come, so that one may wait for them for a limited time; the end of the output ends them.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, lines) = sync_channel(1);
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The class path, with what was compiled once for all brokers of this process.
fn class_path() -> Result<&'static str> {
    static ONE: OnceLock<Result<String, String>> = OnceLock::new();
    let compiled = || -> Result<String> {
        let (classes, jars) = (watchdog::folder("classes")?, format!("{}/*", place::kafka_jars()?.display()));
        let source = place::file("scripts/kafka/Topics.java");
        Run::new("javac").args(["-cp", &jars, "-d"]).arg(&classes).arg(source).ok()?;
        Ok(format!("{}:{jars}", classes.display()))
    };
    let one = ONE.get_or_init(|| compiled().map_err(|e| format!("{e:#}")));
    one.as_deref().map_err(|e| anyhow!("no client in Java: {e}"))
}
