//! `thalweg serve` on a free port.

use crate::child::{Ended, Run, Running, Signal};
use crate::objects::with;
use anyhow::{Context as _, Result, anyhow};
use std::net::{TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

/// Seconds a server of a test may live.
const LIMIT_SECONDS: u64 = 300;

/// A server that takes jobs.
#[derive(Debug)]
pub struct Server {
    running: Running,
    port: u16,
}

impl Server {
    /// Starts one and waits until it listens.
    ///
    /// # Errors
    /// When it ends, or does not listen in time.
    pub fn start(args: &[&str]) -> Result<Self> {
        Self::start_with(args, &[])
    }

    /// The same with variables.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(args: &[&str], variables: &[(String, String)]) -> Result<Self> {
        let port = free_port()?;
        let command =
            with(Run::thalweg()?, variables).args(args).arg(format!("--job_port={port}")).arg("--serve_http=false");
        let mut running = command.limit(LIMIT_SECONDS).start()?;
        running.until("it listens", |_| Ok(listens(port)))?;
        Ok(Self { running, port })
    }

    /// The server that tests of one process share.
    ///
    /// # Errors
    /// When it could not be started.
    pub fn shared() -> Result<&'static Self> {
        static ONE: OnceLock<Result<Server, String>> = OnceLock::new();
        let one = ONE.get_or_init(|| Self::start(&["serve"]).map_err(|e| format!("{e:#}")));
        one.as_ref().map_err(|e| anyhow!("no shared server: {e}"))
    }

    /// Where clients find it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        format!("{}{}", self.running.output(), self.running.errors())
    }

    /// The most memory it has had so far, in MiB, as the kernel counts it.
    ///
    /// # Errors
    /// When it does not run any more.
    pub fn peak_mib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.pid()))?;
        mib(&status, "VmHWM:")
    }

    /// The memory it has now, in MiB, as the kernel counts it.
    ///
    /// # Errors
    /// When it does not run any more.
    pub fn resident_mib(&self) -> Result<u64> {
        mib(&std::fs::read_to_string(format!("/proc/{}/status", self.running.pid()))?, "VmRSS:")
    }

    /// Asks it to stop, and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(mut self) -> Result<Ended> {
        self.running.signal(Signal::Terminate)?;
        self.running.wait()
    }
}

impl Server {
    /// Ends it as a power failure would.
    ///
    /// # Errors
    /// When it can not be killed.
    pub fn kill(self) -> Result<Ended> {
        self.running.kill()
    }

    /// Asks it to stop, and again at once when it says that it does.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop_twice(mut self) -> Result<Ended> {
        self.running.signal(Signal::Terminate)?;
        self.running.until("it stops", |running| Ok(running.errors().contains("stopping")))?;
        self.running.signal(Signal::Terminate)?;
        self.running.wait()
    }
}

/// A line of the kernel's status of a process.
fn mib(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("no memory is told")?;
    Ok(kib.parse::<u64>()? >> 10)
}

/// A port that nobody listens on at the moment.
///
/// # Errors
/// When the system has none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Whether somebody listens on a port.
#[must_use]
pub fn listens(port: u16) -> bool {
    TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_millis(200)).is_ok()
}
