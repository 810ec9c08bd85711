//! A job that counts, and what should come out of it.

use super::Member;
use crate::broker::Broker;
use crate::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
