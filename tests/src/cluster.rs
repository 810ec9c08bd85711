//! Processes of a cluster on a broker of their own, and what is done to them.

use crate::broker::Broker;
use crate::child::{Ended, Run, Running, Signal};
use crate::network::Network;
use crate::objects::with;
use crate::server::free_port;
use crate::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// A job that counts, and what it is given: for each key the numbers from 1, and how many fell into each minute.
#[derive(Clone, Debug)]
pub struct Counting<'a> {
    broker: &'a Broker,
    name: String,
    /// What is read.
    input: String,
    /// It began with what another one had counted.
    goes_on: bool,
    keys: u64,
    /// Letters of a key at least.
    width: usize,
    given: u64,
    /// Of the last record.
    time: i64,
    minutes: BTreeMap<(i64, String), i64>,
}

/// How far ahead of the clock records are at least: a partition without records says that time is what the clock says, and what comes
/// behind that is late.
const AHEAD_MS: i64 = 60_000;
/// Time between two records.
const STEP_MS: i64 = 50;

impl<'a> Counting<'a> {
    /// Topics for a job of this name.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn new(broker: &'a Broker, name: &str, keys: u64) -> Result<Self> {
        let this = Self {
            broker,
            name: name.to_owned(),
            input: format!("{name}-in"),
            goes_on: false,
            keys,
            width: 0,
            given: 0,
            time: 0,
            minutes: BTreeMap::new(),
        };
        broker.create(&[&format!("{name}-in:4")])?;
        this.outputs()?;
        Ok(this)
    }

    /// Topics that it writes; its timers write one, where it has some.
    fn outputs(&self) -> Result<()> {
        let name = &self.name;
        // one partition: what comes out of it is in the order in which it was committed
        self.broker.create(&[&format!("{name}-ledger:1"), &format!("{name}-minutes:2"), &format!("{name}-timers:2")])
    }

    /// Another job that reads the same, has been given what this one was, and begins somewhere on the way.
    ///
    /// # Errors
    /// When its topics cannot be made.
    pub fn fork(&self, name: &str) -> Result<Self> {
        let this = Self { name: name.to_owned(), goes_on: true, ..self.clone() };
        this.outputs()?;
        Ok(this)
    }

    /// Keys have so many letters and more: they are stored with what is counted, so this is how large the state becomes.
    #[must_use]
    pub fn wide(mut self, letters: usize) -> Self {
        self.width = letters;
        self
    }

    /// What it reads, and where it counts.
    #[must_use]
    pub fn topics(&self) -> (String, String) {
        (self.input.clone(), format!("{}-ledger", self.name))
    }

    /// Submits it; gives its id.
    ///
    /// # Errors
    /// When it is refused.
    pub fn submit(&self, to: &Member) -> Result<String> {
        self.submit_with(to, &[])
    }

    /// Submits it with options, as `thalweg job submit` takes them; gives its id.
    ///
    /// # Errors
    /// When it is refused.
    pub fn submit_with(&self, to: &Member, options: &[&str]) -> Result<String> {
        let args = self.submission("tests/programs/cluster.yaml", options)?;
        to.job(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Submits a file like it; gives its id.
    ///
    /// # Errors
    /// When it is refused.
    pub fn submit_file(&self, to: &Member, file: &Path, options: &[&str]) -> Result<String> {
        let args = self.submission(file.to_str().context("a path")?, options)?;
        to.job(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The arguments that submit a file like it, with these beside; one that is called a savepoint's has timers.
    ///
    /// # Errors
    /// When the component was not built.
    pub fn submission(&self, file: &str, beside: &[&str]) -> Result<Vec<String>> {
        let set = |name: &str, value: String| ["--set".to_owned(), format!("{name}={value}")];
        let mut args = vec!["submit".to_owned(), file.to_owned(), "--name".to_owned(), self.name.clone()];
        args.extend(beside.iter().map(|arg| (*arg).to_owned()));
        args.extend(set("bootstrap", self.broker.bootstrap().to_owned()));
        args.extend(set("component", place::component("conformance")?.display().to_string()));
        args.extend(set("input", self.input.clone()));
        let topics =
            if file.contains("savepoint") { &["ledger", "minutes", "timers"][..] } else { &["ledger", "minutes"] };
        for topic in topics {
            args.extend(set(topic, format!("{}-{topic}", self.name)));
        }
        Ok(args)
    }

    /// Gives it so many records more.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn give(&mut self, count: u64) -> Result<()> {
        let mut records = Vec::new();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
        self.time = self.time.max(now + AHEAD_MS);
        for n in self.given..self.given + count {
            self.time += STEP_MS;
            let (who, time) = (format!("key-{:0>1$}", n % self.keys, self.width), self.time);
            *self.minutes.entry((time.div_euclid(60_000) * 60_000, who.clone())).or_default() += 1;
            // what timers are told changes nothing: they fire when a minute is over
            let value = json!({"who": who, "command": "sum.add 1; sum.get", "timer": "clear none"}).to_string();
            records.push(json!({"key": who, "value": value, "timestamp": time}));
        }
        self.given += count;
        self.broker.produce(&self.input, &records)
    }

    /// Records of the ledger so far.
    ///
    /// # Errors
    /// When they cannot be read.
    fn ledger(&self) -> Result<Vec<(String, u64)>> {
        let file = watchdog::folder("ledger")?.join("ledger.jsonl");
        self.broker.copy(&format!("{}-ledger", self.name), &file)?;
        let read = |line: &str| -> Result<(String, u64)> {
            let row: Value = serde_json::from_str(line)?;
            let text = |name: &str| row.get(name).and_then(Value::as_str).with_context(|| format!("{name} of {line}"));
            Ok((text("who")?.to_owned(), text("value")?.parse()?))
        };
        fs::read_to_string(file)?.lines().map(read).collect()
    }

    /// Checks what is there so far: of every key the numbers from 1 on, each once and in order. Gives how many there are.
    ///
    /// # Errors
    /// When one is missing, doubled or out of order.
    pub fn check(&self) -> Result<u64> {
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        let ledger = self.ledger()?;
        for (who, n) in &ledger {
            let last = seen.entry(who.clone()).or_insert(if self.goes_on { n.saturating_sub(1) } else { 0 });
            ensure!(*n == *last + 1, "{who} has {n} after {last}");
            *last = *n;
        }
        // what was counted before it began is among the numbers it went on with
        Ok(if self.goes_on { seen.values().sum() } else { ledger.len() as u64 })
    }

    /// Waits until all that was given came out.
    ///
    /// # Errors
    /// When it does not in time, or is not right.
    pub fn settle(&self, within: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let there = self.check()?;
            if there == self.given {
                return Ok(());
            }
            ensure!(there < self.given, "{there} records of {} that were given", self.given);
            ensure!(begun.elapsed() < within, "{there} of {} records after {within:?}", self.given);
            sleep(Duration::from_millis(300));
        }
    }

    /// Checks the counts of all minutes, once the job has ended.
    ///
    /// # Errors
    /// When one is missing, doubled or wrong.
    pub fn check_minutes(&self) -> Result<()> {
        let found = self.found("minutes", |row| row["n"].as_i64())?;
        ensure!(found == self.minutes, "{} counts of minutes, wanted {}", found.len(), self.minutes.len());
        Ok(())
    }

    /// Counts of minutes by what counted them: `minutes`, or `timers`, which say it when a minute is over.
    ///
    /// # Errors
    /// When one is there twice or cannot be read.
    pub fn minutes(&self, part: &str) -> Result<BTreeMap<(i64, String), i64>> {
        match part {
            "timers" => self.found(part, |row| row["value"].as_str()?.strip_prefix("over seen ")?.parse().ok()),
            part => self.found(part, |row| row["n"].as_i64()),
        }
    }

    /// What all minutes should count.
    #[must_use]
    pub fn wanted(&self) -> &BTreeMap<(i64, String), i64> {
        &self.minutes
    }

    fn found(&self, part: &str, count: impl Fn(&Value) -> Option<i64>) -> Result<BTreeMap<(i64, String), i64>> {
        let mut found: BTreeMap<(i64, String), i64> = BTreeMap::new();
        for record in self.broker.dump(&format!("{}-{part}", self.name))? {
            let text = record["value"].as_str().context("a value")?;
            let row: Value = serde_json::from_str(text)?;
            let start = millis(&row["window_start"]).with_context(|| format!("the window of {text}"))?;
            let who = row["who"].as_str().context("who")?.to_owned();
            let n = count(&row).with_context(|| format!("the count of {text}"))?;
            ensure!(found.insert((start, who), n).is_none(), "twice: {text}");
        }
        Ok(found)
    }
}

/// A time as milliseconds: `2023-11-14T22:14:00Z`, or a number.
fn millis(value: &Value) -> Option<i64> {
    if let Some(n) = value.as_i64() {
        return Some(n);
    }
    let text = value.as_str()?.trim_end_matches('Z');
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut time = time.splitn(3, ':').map(|part| part.split('.').next().unwrap_or("0").parse::<i64>());
    let (hour, minute, second) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
    // days since 1970: Howard Hinnant, chrono-compatible low-level date algorithms
    let y = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (y.div_euclid(400), y.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}
