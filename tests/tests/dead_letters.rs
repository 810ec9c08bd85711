//! Records that cannot be read and elements that a function refuses become dead letters in the words of Kafka Connect, once each: in a
//! job that is killed around its commits, and in a cluster whose process is killed.

use acceptance::broker::{Broker, json_lines};
use acceptance::child::Run;
use acceptance::cluster::Member;
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SETTLED_WITHIN: Duration = Duration::from_secs(120);
/// Records per round; of ten one is no JSON, and one more is refused by the function.
const ROUND: usize = 120;
/// Partitions of the topic that is read, and of those that are written.
const PARTITIONS: usize = 3;

/// A pipeline and its topics.
struct Poisoned<'a> {
    broker: &'a Broker,
    name: &'static str,
    given: usize,
}

impl<'a> Poisoned<'a> {
    fn new(broker: &'a Broker, name: &'static str) -> Result<Self> {
        let topics = ["in", "good", "dead", "failed"].map(|topic| format!("{name}-{topic}:{PARTITIONS}"));
        broker.create(&topics.each_ref().map(String::as_str))?;
        Ok(Self { broker, name, given: 0 })
    }

    fn topic(&self, which: &str) -> String {
        format!("{}-{which}", self.name)
    }

    /// The file of the pipeline.
    fn pipeline(&self, folder: &Path, end: &str) -> Result<PathBuf> {
        let (name, servers) = (self.name, self.broker.bootstrap());
        let component = place::component("conformance")?;
        let text = format!(
            "pipeline:
  transforms:
  - type: ReadFromKafka
    name: Read
    config:
      topic: {name}-in
      bootstrap_servers: '{servers}'
      auto_offset_reset_config: earliest
      consumer_config: {{group.id: {name}-group}}
      {end}
      format: JSON
      schema: {{type: object, properties: {{who: {{type: string}}, command: {{type: string}}}}, required: [who, command]}}
      error_handling: {{output: bad}}
  - type: Wasm
    name: Ledger
    input: Read
    config:
      component: '{}'
      function: ledger
      key: who
      value: command
      error_handling: {{output: failed}}
  - type: WriteToKafka
    name: Good
    input: Ledger
    config: {{topic: {name}-good, bootstrap_servers: '{servers}', format: JSON, partitioner: round_robin}}
  - type: WriteToKafka
    name: Dead
    input: Read.bad
    config: {{topic: {name}-dead, bootstrap_servers: '{servers}', format: DEAD_LETTER, partitioner: 1}}
  - type: WriteToKafka
    name: Failed
    input: Ledger.failed
    config:
      topic: {name}-failed
      bootstrap_servers: '{servers}'
      format: DEAD_LETTER
      producer_config_updates: {{processing.guarantee: at_least_once}}
",
            component.display()
        );
        let file = folder.join("pipeline.yaml");
        fs::write(&file, text)?;
        Ok(file)
    }

    /// Gives it a round more. Record n stands in partition n % 3 at offset n / 3.
    fn give(&mut self) -> Result<()> {
        let record = |n: usize| {
            let value = match n % 10 {
                3 => format!("poison {n}"),
                7 => json!({"who": format!("w{n}"), "command": "fail sum.get"}).to_string(),
                _ => json!({"who": format!("w{n}"), "command": "sum.add 1; sum.get"}).to_string(),
            };
            json!({"key": format!("k{n}"), "value": value, "partition": n % PARTITIONS, "headers": [{"key": "own", "value": "x"}]})
        };
        let records: Vec<Value> = (self.given..self.given + ROUND).map(record).collect();
        self.given += ROUND;
        self.broker.produce(&self.topic("in"), &records)
    }

    fn of(&self, kind: usize) -> Vec<usize> {
        (0..self.given).filter(|n| n % 10 == kind).collect()
    }

    /// What each dead record must say, by its value: where it was read.
    fn poison(&self) -> BTreeMap<String, (usize, usize)> {
        self.of(3).into_iter().map(|n| (format!("poison {n}"), (n % PARTITIONS, n / PARTITIONS))).collect()
    }

    /// Checks the topics so far; gives whether all is there.
    fn check(&self, connector: &str, task: impl Fn(usize) -> usize) -> Result<bool> {
        let mut left = self.poison();
        for record in self.broker.dump(&self.topic("dead"))? {
            let value = record["value"].as_str().context("a value")?;
            let (partition, offset) = left.remove(value).with_context(|| format!("twice, or never given: {record}"))?;
            let said = headers(&record);
            let wanted = [
                ("own", "x".to_owned()),
                ("__connect.errors.topic", self.topic("in")),
                ("__connect.errors.partition", partition.to_string()),
                ("__connect.errors.offset", offset.to_string()),
                ("__connect.errors.connector.name", connector.to_owned()),
                ("__connect.errors.task.id", task(partition).to_string()),
                ("__connect.errors.stage", "VALUE_CONVERTER".to_owned()),
                ("__connect.errors.class.name", "Read".to_owned()),
                ("__connect.errors.exception.class.name", "KAFKA_RECORD_MALFORMED".to_owned()),
            ];
            for (name, wanted) in wanted {
                ensure!(said.get(name) == Some(&wanted), "{name} is not {wanted}: {record}");
            }
            let message = said.get("__connect.errors.exception.message").context("a message")?;
            ensure!(message.contains("no such JSON object"), "{record}");
            ensure!(record["partition"] == 1 && record["key"] == format!("k{}", &value["poison ".len()..]), "{record}");
        }
        // without transactions: some may be there twice after a kill
        let mut failed = BTreeMap::new();
        for record in self.broker.dump(&self.topic("failed"))? {
            let said = headers(&record);
            let stage = said.get("__connect.errors.stage").map(String::as_str);
            ensure!(
                stage == Some("TRANSFORMATION") && said.contains_key("__connect.errors.exception.message"),
                "{record}"
            );
            ensure!(said.get("__connect.errors.class.name").map(String::as_str) == Some("Ledger"), "{record}");
            *failed.entry(record["value"].to_string()).or_insert(0) += 1;
        }
        let good = self.broker.dump(&self.topic("good"))?;
        let wanted = self.given - self.of(3).len() - self.of(7).len();
        ensure!(good.len() <= wanted, "{} good records, {wanted} were given", good.len());
        Ok(left.is_empty() && failed.len() == self.of(7).len() && good.len() == wanted)
    }

    /// The good ones went to all partitions in turn, and the failed ones without a transaction.
    fn placed(&self) -> Result<()> {
        let mut places = BTreeMap::new();
        for record in self.broker.dump(&self.topic("good"))? {
            *places.entry(record["partition"].to_string()).or_insert(0_usize) += 1;
        }
        let least = places.values().min().copied().unwrap_or_default();
        ensure!(places.len() == PARTITIONS && least > self.given / PARTITIONS / 2, "not in turn: {places:?}");
        let folder = watchdog::folder("offsets")?;
        let text = format!(
            "pipeline:
  type: chain
  transforms:
  - {{type: ReadFromKafka, config: {{topic: {}, bootstrap_servers: '{}', format: RECORD, stop_at: end_offsets, auto_offset_reset_config: earliest}}}}
  - {{type: WriteToJson, config: {{path: '{}'}}}}
",
            self.topic("failed"),
            self.broker.bootstrap(),
            folder.join("failed.jsonl").display()
        );
        fs::write(folder.join("pipeline.yaml"), text)?;
        Run::thalweg()?.arg("run").arg(folder.join("pipeline.yaml")).ok()?;
        let records = json_lines(&fs::read_to_string(folder.join("failed.jsonl"))?)?;
        let mut ends = BTreeMap::new();
        for record in &records {
            let end = ends.entry(record["partition"].to_string()).or_insert(0);
            *end = record["offset"].as_u64().map_or(*end, |offset| (offset + 1).max(*end));
        }
        ensure!(ends.values().sum::<u64>() == records.len() as u64, "markers of transactions took offsets: {ends:?}");
        Ok(())
    }
}

fn headers(record: &Value) -> BTreeMap<String, String> {
    let all = record["headers"].as_array().cloned().unwrap_or_default();
    let text = |header: &Value, name: &str| header[name].as_str().unwrap_or_default().to_owned();
    all.iter().map(|header| (text(header, "key"), text(header, "value"))).collect()
}

#[test]
fn a_job_that_is_killed_around_its_commits_writes_each_dead_letter_once() -> Result<()> {
    let (broker, folder) = (Broker::shared()?, watchdog::folder("dead")?);
    let mut job = Poisoned::new(broker, "letters")?;
    job.give()?;
    let file = job.pipeline(&folder, "stop_at: end_offsets")?;
    let state = folder.join("state");
    let run = || -> Result<Run> {
        let run = Run::thalweg()?.arg("run").arg(&file).args(["--epoch-ms", "20", "--app-id", "letters"]);
        Ok(run.arg("--state-dir").arg(&state))
    };
    for fault in ["before_commit:1", "after_commit:1"] {
        let ended = run()?.env("THALWEG_FAULT", fault).end()?;
        ensure!(ended.signal == Some(6), "the fault point was not reached\n{ended}");
        ensure!(!job.check("letters", |_| 0)?, "all was there before the end");
    }
    run()?.ok()?;
    ensure!(job.check("letters", |_| 0)?, "not all is there");
    job.placed()?;
    let mut offsets = broker.offsets("letters-group")?;
    offsets.sort_by_key(|offset| offset["partition"].as_u64());
    let wanted: Vec<_> =
        (0..PARTITIONS).map(|p| json!({"topic": "letters-in", "partition": p, "offset": ROUND / PARTITIONS})).collect();
    ensure!(offsets == wanted, "the group does not stand behind the dead letters: {offsets:?}");
    Ok(())
}

#[test]
fn a_cluster_whose_process_is_killed_writes_each_dead_letter_once() -> Result<()> {
    let (broker, folder) = (Broker::own()?, watchdog::folder("dead")?);
    let mut job = Poisoned::new(&broker, "clustered")?;
    let file = job.pipeline(&folder, "max_out_of_order: 1s")?;
    let mut member = Member::new(&broker, "one", &[])?;
    member.start()?;
    let id = member.job(&["submit", &file.display().to_string(), "--name", "poisoned"])?;
    let connector = format!("torture-{id}");
    let settle = |job: &Poisoned<'_>, member: &Member| -> Result<()> {
        let begun = Instant::now();
        // partition p of the topic is read by partition p of the job
        while !job.check(&connector, |partition| partition).with_context(|| member.log())? {
            ensure!(begun.elapsed() < SETTLED_WITHIN, "not all is there\n{}", member.log());
            sleep(Duration::from_millis(300));
        }
        Ok(())
    };
    job.give()?;
    settle(&job, &member)?;
    job.placed()?;
    for round in 0..2 {
        job.give()?;
        sleep(Duration::from_millis(150 * round));
        member.kill()?;
        member.start()?;
        settle(&job, &member)?;
    }
    member.job(&["drain", &id])?;
    let ended = member.job(&["wait", &id])?;
    ensure!(ended == "DRAINED", "{ended}\n{}", member.log());
    ensure!(job.check(&connector, |partition| partition)?, "after the end");
    Ok(())
}
