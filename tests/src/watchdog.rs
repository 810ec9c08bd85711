//! A process that outlives the tests by a moment: when the test process ends, in whatever way, it kills the children that are left
//! and deletes all folders. Without it a test that is stopped would leave brokers and servers behind.

use anyhow::{Context as _, Result};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Reads `start PID` and `end PID`. At the end of its input it kills what was started and has not ended, with all of its process
/// group, and deletes the folder given as `$1`.
const SCRIPT: &str = r#"
alive=''
while read -r word pid; do
  case $word in
    start) alive="$alive $pid" ;;
    end) rest=''; for p in $alive; do [ "$p" = "$pid" ] || rest="$rest $p"; done; alive=$rest ;;
  esac
done
for p in $alive; do kill -KILL "-$p" || kill -KILL "$p"; done
[ -n "$THALWEG_KEEP" ] || rm -rf -- "$1"
"#;

struct Watchdog {
    words: Mutex<ChildStdin>,
    folder: PathBuf,
}

fn watchdog() -> Result<&'static Watchdog> {
    static ONE: OnceLock<Result<Watchdog, String>> = OnceLock::new();
    ONE.get_or_init(|| start().map_err(|e| format!("{e:#}"))).as_ref().map_err(|e| anyhow::anyhow!("no watchdog: {e}"))
}

fn start() -> Result<Watchdog> {
    let folder = tempfile::Builder::new().prefix("thalweg-acceptance-").tempdir()?.keep();
    let mut process = Command::new("sh")
        .args(["-c", SCRIPT, "watchdog"])
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start sh")?;
    let words = process.stdin.take().context("sh has no input")?;
    Ok(Watchdog { words: Mutex::new(words), folder })
}

fn tell(word: &str, pid: u32) -> Result<()> {
    let mut words = watchdog()?.words.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(words, "{word} {pid}").context("the watchdog is gone")
}

/// A process that leads its group has started.
///
/// # Errors
/// When there is no watchdog.
pub fn started(pid: u32) -> Result<()> {
    tell("start", pid)
}

/// It has ended.
///
/// # Errors
/// When there is no watchdog.
pub fn ended(pid: u32) -> Result<()> {
    tell("end", pid)
}

/// A new empty folder. It is deleted when the test process ends, unless the variable `THALWEG_KEEP` is set.
///
/// # Errors
/// When it cannot be made.
pub fn folder(name: &str) -> Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = watchdog()?.folder.join(format!("{number}-{name}"));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
