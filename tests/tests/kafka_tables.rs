//! A table that is filled from a topic on a real broker: of each key the last record counts, and none if it has no value.

use acceptance::broker::Broker;
use acceptance::child::Run;
use acceptance::lines::Lines;
use acceptance::watchdog;
use anyhow::{Result, ensure};
use serde_json::json;
use std::fs;

const PIPELINE: &str = "
tables:
  places:
    topic: '{{ topic }}'
    bootstrap_servers: '{{ bootstrap }}'
    schema: {type: object, properties: {code: {type: string}, name: {type: string}, height: {type: integer}}, required: [name]}
    key: code
pipeline:
  type: chain
  transforms:
    - type: Create
      config: {elements: [{n: 1, at: A}, {n: 2, at: B}, {n: 3, at: C}, {n: 4, at: D}]}
    - type: TableJoin
      config: {table: places, key: at}
    - type: WriteToJson
      config: {path: '{{ out }}/joined.jsonl'}
";

#[test]
fn a_table_of_a_topic_has_the_last_record_of_each_key() -> Result<()> {
    let broker = Broker::shared()?;
    broker.create(&["places:2"])?;
    let record =
        |key: &str, value: Option<&str>, partition: u32| json!({"key": key, "value": value, "partition": partition});
    broker.produce(
        "places",
        &[
            record("A", Some(r#"{"name": "old"}"#), 0),
            record("B", Some(r#"{"name": "Beta", "height": 2}"#), 1),
            record("A", Some(r#"{"name": "Alpha", "height": 1}"#), 0),
            record("B", None, 1),
            record("C", Some(r#"{"name": "Gamma"}"#), 1),
        ],
    )?;
    let folder = watchdog::folder("kafka-table")?;
    let file = folder.join("pipeline.yaml");
    fs::write(&file, PIPELINE)?;
    let command = || -> Result<Run> {
        let run = Run::thalweg()?.arg("run").arg(&file).set("out", &folder).set("bootstrap", broker.bootstrap());
        Ok(run.set("topic", "places").args(["--shards", "2"]))
    };
    command()?.ok()?;
    let row = |n: i64, at: &str, rest: &str| format!("{{\"n\":{n},\"at\":\"{at}\",{rest}}}\n");
    let wanted = [
        row(1, "A", "\"name\":\"Alpha\",\"height\":1"),
        row(2, "B", "\"name\":null,\"height\":null"),
        row(3, "C", "\"name\":\"Gamma\",\"height\":null"),
        row(4, "D", "\"name\":null,\"height\":null"),
    ];
    Lines::read(&folder.join("joined.jsonl"))?.same_as(&Lines::of(&wanted.concat()), "the joined rows")?;
    // a record that is no row fails the job before anything runs
    broker.produce("places", &[record("D", Some("{}"), 0)])?;
    let ended = command()?.end()?;
    ensure!(ended.code == Some(1) || ended.code == Some(3), "{ended}");
    ensure!(ended.err.contains("TABLE_ROW") && ended.err.contains("places"), "{ended}");
    Ok(())
}
