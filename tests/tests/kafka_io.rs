//! Beam's stock Kafka transforms in Python on a real broker, expanded by us: no JVM takes part but the broker and the client
//! that fills and reads its topics.

use acceptance::broker::{Broker, json_lines};
use acceptance::child::Run;
use acceptance::python::program;
use acceptance::server::Server;
use acceptance::watchdog;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// The programs' transforms by their gradle target, as Beam's option `beam_services` wants it.
const IO_SERVICE: &str = "sdks:java:io:expansion-service:shadowJar";

/// A broker, a server, and a topic of this name.
struct Stage {
    broker: &'static Broker,
    server: &'static Server,
    topic: String,
    out: PathBuf,
}

impl Stage {
    fn set(topic: &str, partitions: u32) -> Result<Self> {
        let broker = Broker::shared()?;
        broker.create(&[&format!("{topic}:{partitions}")])?;
        let out = watchdog::folder("kafka-io")?.join("out.jsonl");
        Ok(Self { broker, server: Server::shared()?, topic: topic.to_owned(), out })
    }

    /// A program that knows nothing of an expansion service.
    fn plain(&self, what: &str) -> Result<Run> {
        Ok(program("kafka_io.py")?
            .args([what, "--bootstrap", self.broker.bootstrap(), "--topic", &self.topic, "--out"])
            .arg(&self.out)
            .args(["--runner=PortableRunner", "--environment_type=LOOPBACK"])
            .arg(format!("--job_endpoint={}", self.server.endpoint())))
    }

    fn program(&self, what: &str) -> Result<Run> {
        Ok(self.plain(what)?.arg(format!("--expansion={}", self.server.endpoint())))
    }

    /// What a program wrote, in order.
    fn written(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(&self.out).with_context(|| format!("{} is not there", self.out.display()))?;
        let mut lines = json_lines(&text)?;
        lines.sort_by_key(Value::to_string);
        Ok(lines)
    }
}

#[track_caller]
fn same(found: &[Value], wanted: Value) -> Result<()> {
    ensure!(Value::from(found.to_vec()) == wanted, "found {found:?}, not {wanted}");
    Ok(())
}

#[test]
fn a_read_gives_pairs_and_ends_after_so_many_records_with_its_group_committed() -> Result<()> {
    let stage = Stage::set("io-pairs", 2)?;
    let record = |key: Value, value: Value, partition: u32| json!({"key": key, "value": value, "partition": partition});
    let (a, b) = (record(json!("a"), json!("1"), 0), record(json!("b"), Value::Null, 1));
    stage.broker.produce(&stage.topic, &[a, b, record(Value::Null, json!("3"), 0)])?;
    stage.program("pairs")?.args(["--records=3", "--group=io-pairs"]).ok()?;
    same(&stage.written()?, json!([["a", "1"], ["b", null], [null, "3"]]))?;
    let mut offsets = stage.broker.offsets("io-pairs")?;
    offsets.sort_by_key(|o| o["partition"].as_i64());
    let at = |partition: u32, offset: u32| json!({"topic": "io-pairs", "partition": partition, "offset": offset});
    same(&offsets, json!([at(0, 2), at(1, 1)]))?;
    // another job of the group goes on from there
    stage.broker.produce(&stage.topic, &[record(json!("c"), json!("4"), 1)])?;
    stage.program("pairs")?.args(["--records=1", "--group=io-pairs"]).ok()?;
    same(&stage.written()?, json!([["c", "4"]]))
}

#[test]
fn a_read_with_metadata_gives_all_that_kafka_knows() -> Result<()> {
    let stage = Stage::set("io-metadata", 1)?;
    let headers = json!([{"key": "h", "value": "x"}, {"key": "h", "value": null}]);
    stage
        .broker
        .produce(&stage.topic, &[json!({"value": "v", "timestamp": 1_700_000_000_123_i64, "headers": headers})])?;
    stage.program("metadata")?.arg("--records=1").ok()?;
    let wanted = json!({"topic": "io-metadata", "partition": 0, "offset": 0, "timestamp": 1_700_000_000_123_i64, "key": null,
        "value": "v", "headers": [["h", "x"], ["h", null]], "timestampTypeId": 0, "timestampTypeName": "CreateTime"});
    same(&stage.written()?, json!([wanted]))
}

/// Key, value and headers of what is in a topic.
fn contents(stage: &Stage, topic: &str) -> Result<Vec<Value>> {
    Ok(stage.broker.dump(topic)?.iter().map(|r| json!([r["key"], r["value"], r["headers"]])).collect())
}

#[test]
fn a_write_makes_records_tombstones_and_empty_keys() -> Result<()> {
    let stage = Stage::set("io-write", 2)?;
    stage.program("write")?.ok()?;
    same(&contents(&stage, "io-write")?, json!([["", "3", []], ["a", "1", []], ["b", null, []]]))
}

#[test]
fn a_write_of_rows_makes_headers_and_times() -> Result<()> {
    let stage = Stage::set("io-headers", 1)?;
    stage.program("headers")?.ok()?;
    let header = |n: &str| json!([{"key": "n", "value": n}]);
    same(&contents(&stage, "io-headers")?, json!([["k", "v0", header("0")], ["k", "v1", header("1")]]))?;
    let times: Vec<Value> = stage.broker.dump("io-headers")?.iter().map(|r| r["timestamp"].clone()).collect();
    same(&times, json!([1000, 1001]))
}

#[test]
fn numbers_go_through_kafkas_own_serializers() -> Result<()> {
    let stage = Stage::set("io-numbers", 1)?;
    stage.broker.create(&["io-numbers-doubled:1"])?;
    // eight bytes that are a number, and letters
    stage.broker.produce(&stage.topic, &[json!({"key": "\0\0\0\0\0\0\0\u{7}", "value": "seven"})])?;
    stage.program("numbers")?.arg("--records=1").ok()?;
    same(&contents(&stage, "io-numbers-doubled")?, json!([["\0\0\0\0\0\0\0\u{e}", "seven", []]]))
}

#[test]
fn managed_transforms_read_and_write_json() -> Result<()> {
    let stage = Stage::set("io-managed", 2)?;
    stage.broker.create(&["io-managed-copy:1"])?;
    let (one, two) = (r#"{"name":"x","n":1,"tags":["a","b"]}"#, r#"{"name":"y","n":2,"tags":null}"#);
    stage.broker.produce(&stage.topic, &[json!({"value": one}), json!({"value": two})])?;
    stage.program("managed_kafka")?.ok()?;
    same(&stage.written()?, json!([["x", 1, ["a", "b"]], ["y", 2, null]]))?;
    same(&contents(&stage, "io-managed-copy")?, json!([[null, one, []], [null, two, []]]))
}

#[test]
fn a_program_that_knows_no_service_finds_ours_by_a_stock_option_or_a_variable() -> Result<()> {
    let stage = Stage::set("io-stock", 1)?;
    stage.broker.produce(&stage.topic, &[json!({"key": "a", "value": "1"})])?;
    let services = json!({IO_SERVICE: stage.server.endpoint()}).to_string();
    // no Java is to be found: whoever would start it fails
    let path = "/usr/bin-without-java";
    stage.plain("pairs")?.arg("--records=1").arg(format!("--beam_services={services}")).env("PATH", path).ok()?;
    same(&stage.written()?, json!([["a", "1"]]))?;
    fs::remove_file(&stage.out)?;
    stage.plain("pairs")?.arg("--records=1").env("BEAM_SERVICE_OVERRIDES", services).env("PATH", path).ok()?;
    same(&stage.written()?, json!([["a", "1"]]))
}

#[test]
fn what_is_offered_is_discovered_and_runs() -> Result<()> {
    let stage = Stage::set("io-discover", 1)?;
    let file = watchdog::folder("lines")?.join("lines.txt");
    fs::write(&file, "one\ntwo\n")?;
    stage.program("discover")?.arg("--topic").arg(&file).ok()?;
    let found = stage.written()?;
    let offers = found.iter().find(|line| line.is_object()).context("no offers")?;
    let managed = json!(["config", "config_url", "transform_identifier"]);
    ensure!(offers["beam:transform:managed:v1"] == managed, "{offers}");
    ensure!(offers["beam:schematransform:org.apache.beam:kafka_read:v1"].is_array(), "{offers}");
    let lines: Vec<Value> = found.iter().filter(|line| line.is_string()).cloned().collect();
    same(&lines, json!(["one", "two"]))
}

#[test]
fn an_unknown_deserializer_is_named_before_anything_runs() -> Result<()> {
    let stage = Stage::set("io-unknown", 1)?;
    let ended = stage.program("unknown")?.end()?;
    ensure!(ended.code != Some(0), "it ran\n{ended}");
    for part in ["EXPANSION_OPTION", "`value_deserializer`", "com.example.Other", "ByteArrayDeserializer"] {
        ensure!(ended.err.contains(part), "{part} is not named\n{ended}");
    }
    Ok(())
}

#[test]
fn windows_of_records_fire_although_a_partition_is_idle() -> Result<()> {
    let stage = Stage::set("io-windows", 2)?;
    stage.broker.create(&["io-windows-counts:1"])?;
    let record = |value: &str, second: i64| json!({"value": value, "partition": 0, "timestamp": 1_700_000_000_000 + second * 1000});
    stage.broker.produce(&stage.topic, &[record("x", 0), record("x", 1), record("y", 2), record("x", 15)])?;
    let mut running = stage.program("windows")?.start()?;
    // the other partition never has a record, and the last window has none behind it
    running.until("all windows have fired", |_| Ok(contents(&stage, "io-windows-counts")?.len() >= 3))?;
    running.kill()?;
    same(&contents(&stage, "io-windows-counts")?, json!([["x", "1", []], ["x", "2", []], ["y", "1", []]]))
}

#[test]
fn beam_yaml_reads_and_writes_kafka_through_us() -> Result<()> {
    let stage = Stage::set("io-yaml", 1)?;
    stage.broker.create(&["io-yaml-copy:1"])?;
    stage.broker.produce(&stage.topic, &[json!({"value": r#"{"n":1}"#}), json!({"value": r#"{"n":2}"#})])?;
    let file = watchdog::folder("yaml")?.join("pipeline.yaml");
    let bootstrap = stage.broker.bootstrap();
    let schema = r#"{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}"#;
    let text = format!(
        "pipeline:
  type: chain
  transforms:
    - type: ReadFromKafka
      config:
        topic: io-yaml
        bootstrap_servers: '{bootstrap}'
        format: JSON
        schema: '{schema}'
        auto_offset_reset_config: earliest
        max_read_time_seconds: 4
    - type: MapToFields
      config: {{language: python, fields: {{n: {{expression: n * 10, output_type: integer}}}}}}
    - type: WriteToKafka
      config:
        topic: io-yaml-copy
        bootstrap_servers: '{bootstrap}'
        format: JSON
"
    );
    fs::write(&file, text)?;
    let services = json!({IO_SERVICE: stage.server.endpoint()}).to_string();
    Run::python()?
        .args(["-m", "apache_beam.yaml.main", "--runner=PortableRunner", "--environment_type=LOOPBACK"])
        .arg(format!("--yaml_pipeline_file={}", file.display()))
        .arg(format!("--job_endpoint={}", stage.server.endpoint()))
        .arg(format!("--beam_services={services}"))
        .env("BEAM_SERVICE_OVERRIDES", &services)
        .ok()?;
    same(&contents(&stage, "io-yaml-copy")?, json!([[null, r#"{"n":10}"#, []], [null, r#"{"n":20}"#, []]]))
}
