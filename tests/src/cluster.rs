//! Processes of a cluster on a broker of their own, and what is done to them.

mod counting;

use crate::broker::Broker;
use crate::child::{Ended, Run, Running, Signal};
use crate::network::Network;
use crate::objects::with;
use crate::server::free_port;
use crate::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

pub use counting::Counting;

/// Seconds a process may live.
const LIMIT_SECONDS: u64 = 1800;
/// Milliseconds of silence after which a process has lost its partitions: the least that a broker takes.
const SESSION_MS: &str = "6000";

/// One process.
#[derive(Debug)]
pub struct Member {
    name: String,
    state: PathBuf,
    port: u16,
    running: Option<Running>,
    /// A point at which it dies.
    fault: Option<String>,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    bootstrap: String,
    cluster: String,
    session_ms: String,
    advertised: bool,
}

impl Member {
    /// A process of this name that is yet to be started.
    ///
    /// # Errors
    /// When it has nowhere to keep its state.
    pub fn new(broker: &Broker, name: &str, args: &[&str]) -> Result<Self> {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let state = watchdog::folder(name)?;
        Ok(Self {
            name: name.to_owned(),
            state,
            port: 0,
            running: None,
            fault: None,
            args,
            variables: Vec::new(),
            bootstrap: broker.bootstrap().to_owned(),
            cluster: "torture".to_owned(),
            session_ms: SESSION_MS.to_owned(),
            advertised: false,
        })
    }

    /// The same, taken for dead only when it is silent for so long.
    #[must_use]
    pub fn session(mut self, seconds: u64) -> Self {
        self.session_ms = (seconds * 1000).to_string();
        self
    }

    /// The same, and it says to the others where they reach it.
    #[must_use]
    pub fn advertised(mut self) -> Self {
        self.advertised = true;
        self
    }

    /// The same, in another cluster on the same brokers.
    #[must_use]
    pub fn of(mut self, cluster: &str) -> Self {
        cluster.clone_into(&mut self.cluster);
        self
    }

    /// The same with variables.
    #[must_use]
    pub fn with(mut self, variables: &[(String, String)]) -> Self {
        self.variables.extend_from_slice(variables);
        self
    }

    /// The same, but it dies at this point, once; behind the point `:stop`, and a thread of it never goes on.
    #[must_use]
    pub fn dying_at(mut self, point: &str) -> Self {
        self.fault = Some(point.to_owned());
        self
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&mut self) -> Result<()> {
        let command = Run::thalweg()?;
        self.start_by(command)
    }

    /// Starts it in a network of its own, where no client can reach it.
    ///
    /// # Errors
    /// As [`Member::start`].
    pub fn start_in(&mut self, network: &Network) -> Result<()> {
        let command = network.run(&place::binary()?)?;
        self.start_by(command)
    }

    fn start_by(&mut self, command: Run) -> Result<()> {
        self.port = free_port()?;
        let command = match self.fault.take() {
            Some(point) => command.env("THALWEG_FAULT", point),
            None => command,
        };
        let mut running = with(command, &self.variables)
            .args(["serve", "--epoch-ms", "100", "--partitions", "4", "--session-timeout-ms", &self.session_ms])
            .args(["--bootstrap", &self.bootstrap, "--cluster", &self.cluster, "--process-id", &self.name])
            .arg(format!("--port={}", self.port))
            .arg("--state-dir")
            .arg(&self.state)
            .args(self.advertised.then(|| format!("--advertise={}", self.endpoint())))
            .args(&self.args)
            .limit(LIMIT_SECONDS)
            .start()?;
        running.until("it takes jobs", |running| Ok(running.errors().contains(" takes jobs at ")))?;
        self.running = Some(running);
        Ok(())
    }

    /// Whether it was started and not ended since.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// Where clients find it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Kills it, with what it has in hand.
    ///
    /// # Errors
    /// When it had ended of itself.
    pub fn kill(&mut self) -> Result<()> {
        let running = self.running.take().context("it does not run")?;
        let ended = running.kill()?;
        ensure!(ended.signal == Some(9), "{} ended before it was killed\n{ended}", self.name);
        Ok(())
    }

    /// Waits until it has died at its point.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub fn died(&mut self) -> Result<()> {
        let ended = self.running.take().context("it does not run")?.wait()?;
        ensure!(ended.signal == Some(6), "{} did not reach the point at which it dies\n{ended}", self.name);
        Ok(())
    }

    /// Waits until it ends of itself.
    ///
    /// # Errors
    /// When it does not.
    pub fn ends(&mut self) -> Result<Ended> {
        self.running.take().context("it does not run")?.wait()
    }

    /// Asks it to stop, and waits for its end.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn stop(&mut self) -> Result<()> {
        let mut running = self.running.take().context("it does not run")?;
        running.signal(Signal::Terminate)?;
        let ended = running.wait()?;
        ensure!(ended.code == Some(0), "{} did not stop in order\n{ended}", self.name);
        Ok(())
    }

    /// Stops its clock for so long.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&mut self, how_long: Duration) -> Result<()> {
        let running = self.running.as_mut().context("it does not run")?;
        running.signal(Signal::Stop)?;
        sleep(how_long);
        running.signal(Signal::Continue)
    }

    /// Takes its state away: what it had must come back from the changelog.
    ///
    /// # Errors
    /// When it runs, or the state cannot be removed.
    pub fn forget(&self) -> Result<()> {
        ensure!(!self.is_up(), "{} runs", self.name);
        fs::remove_dir_all(self.state.join("cluster")).context("its state")
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.running.as_ref().context("it does not run")?.pid())
    }

    /// What it has logged since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        self.running.as_ref().map_or_else(String::new, |r| format!("{}{}", r.output(), r.errors()))
    }

    /// The directory of its copies of a job's state.
    #[must_use]
    pub fn copies(&self, job: &str) -> PathBuf {
        self.state.join("cluster").join(job)
    }

    /// Waits until a job has failed; gives what was said of it.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub fn failure(&self, job: &str) -> Result<String> {
        let ended = Run::thalweg()?.args(["job", "wait", job, "--server"]).arg(self.endpoint()).limit(120).end()?;
        ensure!(ended.code == Some(1) && ended.out.contains("FAILED"), "it did not fail\n{ended}\n{}", self.log());
        Ok(ended.err)
    }

    /// Asks it about jobs: `thalweg job ARGS --server`.
    ///
    /// # Errors
    /// When it refuses.
    pub fn job(&self, args: &[&str]) -> Result<String> {
        let ended = Run::thalweg()?.arg("job").args(args).arg("--server").arg(self.endpoint()).limit(300).ok()?;
        Ok(ended.out.trim().to_owned())
    }
}

/// Processes of these names that take part in a cluster; the others here are in `torture`.
///
/// # Errors
/// When one does not start.
pub fn members(broker: &Broker, cluster: &str, names: &[&str]) -> Result<Vec<Member>> {
    let member = |name: &&str| Ok(Member::new(broker, name, &[])?.of(cluster));
    let mut up = names.iter().map(member).collect::<Result<Vec<_>>>()?;
    up.iter_mut().try_for_each(Member::start)?;
    Ok(up)
}
