//! Records in Avro and Protobuf, with a schema registry, through a real broker; bad ones become dead letters that say where they
//! came from.

use acceptance::broker::{Broker, json_lines};
use acceptance::child::Run;
use acceptance::objects::Front;
use acceptance::registry::Registry;
use acceptance::watchdog;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const WORDS: &str = r#"{"type": "record", "name": "Word", "fields": [{"name": "word", "type": "string"}, {"name": "n", "type": ["null", "long"], "default": null}]}"#;

/// Two rows into a topic.
fn writing(topic: &str, broker: &Broker, options: &str) -> String {
    format!(
        "pipeline:
  type: chain
  transforms:
  - {{type: Create, config: {{elements: [{{word: a, n: 1}}, {{word: b}}]}}}}
  - type: WriteToKafka
    topic: {topic}
    bootstrap_servers: '{}'
    key: word
{options}",
        broker.bootstrap()
    )
}

/// A topic up to its end, into files for rows and for dead letters.
fn reading(topic: &str, broker: &Broker, folder: &Path, options: &str) -> String {
    let file = |name: &str| folder.join(name).display().to_string();
    format!(
        "pipeline:
  transforms:
  - type: ReadFromKafka
    name: Read
    config:
      topic: {topic}
      bootstrap_servers: '{}'
      auto_offset_reset_config: earliest
      stop_at: end_offsets
      error_handling: {{output: bad}}
{options}
  - {{type: WriteToJson, name: Good, input: Read, config: {{path: '{}'}}}}
  - {{type: WriteToJson, name: Bad, input: Read.bad, config: {{path: '{}'}}}}
",
        broker.bootstrap(),
        file("good.jsonl"),
        file("bad.jsonl")
    )
}

fn run(folder: &Path, pipeline: &str, properties: &[&str]) -> Result<Run> {
    let file = folder.join("pipeline.yaml");
    fs::write(&file, pipeline)?;
    let run = Run::thalweg()?.arg("run").arg(&file).args(["--epoch-ms", "20"]);
    Ok(properties.iter().fold(run, |run, property| run.args(["-X", property])))
}

fn lines(folder: &Path, name: &str) -> Result<Vec<Value>> {
    let path: PathBuf = folder.join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("{} is not there", path.display()))?;
    let mut lines = json_lines(&text)?;
    lines.sort_by_key(Value::to_string);
    Ok(lines)
}

#[test]
fn avro_goes_through_a_registry_and_what_cannot_be_read_becomes_dead_letters() -> Result<()> {
    let (broker, registry, folder) = (Broker::shared()?, Registry::start()?, watchdog::folder("avro")?);
    broker.create(&["avro-words:1"])?;
    let url = format!("schema.registry.url={}", registry.url());
    let format = |indent: &str| {
        format!("{indent}format: AVRO\n{indent}schema: '{WORDS}'\n{indent}schema_registry_url: '{}'\n", registry.url())
    };
    let write = writing("avro-words", broker, &format("    "));
    let refused = run(&folder, &write, &[])?.end()?;
    ensure!(refused.err.contains("KAFKA_REGISTRY_REFUSED"), "not refused without leave\n{refused}");
    run(&folder, &write, &[&url, "processing.guarantee=at_least_once"])?.ok()?;
    ensure!(registry.asked() == ["POST /subjects/avro-words-value/versions"], "{:?}", registry.asked());
    // an older writer, which knew no numbers; something else; the number of no schema
    let old = r#"{"type": "record", "name": "Word", "fields": [{"name": "word", "type": "string"}, {"name": "gone", "type": "string"}]}"#;
    ensure!(registry.add("AVRO", old) == 2, "the second schema");
    broker.produce(
        "avro-words",
        &[
            json!({"value": "\u{0}\u{0}\u{0}\u{0}\u{2}\u{2}c\u{2}x"}),
            json!({"value": "plain", "key": "k", "timestamp": 1000, "headers": [{"key": "h", "value": "x"}]}),
            json!({"value": "\u{0}\u{0}\u{0}\u{0}\u{63}\u{2}c"}),
        ],
    )?;
    run(&folder, &reading("avro-words", broker, &folder, &format("      ")), &[&url])?.ok()?;
    let wanted = [json!({"word": "a", "n": 1}), json!({"word": "b", "n": null}), json!({"word": "c", "n": null})];
    let mut good = lines(&folder, "good.jsonl")?;
    good.sort_by_key(|row| row["word"].to_string());
    ensure!(good == wanted, "{good:?}");
    let mut bad = lines(&folder, "bad.jsonl")?;
    bad.sort_by_key(|row| row["offset"].as_i64());
    let said: Vec<_> =
        bad.iter().map(|row| (row["topic"].as_str(), row["partition"].as_i64(), row["offset"].as_i64())).collect();
    ensure!(
        said == [(Some("avro-words"), Some(0), Some(3)), (Some("avro-words"), Some(0), Some(4))],
        "no marker of a transaction took an offset, and each dead letter names its own: {bad:?}"
    );
    let why = |row: &Value| row["error_message"].as_str().unwrap_or_default().to_owned();
    ensure!(why(&bad[0]).contains("does not begin with the frame"), "{bad:?}");
    ensure!(bad[0]["failed_row"] == "cGxhaW4=" && bad[0]["key"] == "aw==" && bad[0]["timestamp"] == 1000, "{bad:?}");
    ensure!(bad[0]["headers"] == json!([{"key": "h", "value": "eA=="}]), "{bad:?}");
    ensure!(why(&bad[1]).contains("does not know its schema 99"), "{bad:?}");
    Ok(())
}

#[test]
fn protobuf_is_read_as_it_was_written_with_and_without_a_registry() -> Result<()> {
    let (broker, registry, folder) = (Broker::shared()?, Registry::start()?, watchdog::folder("proto")?);
    broker.create(&["proto-plain:2", "proto-framed:2"])?;
    let url = format!("schema.registry.url={}", registry.url());
    let schema = r#"'syntax = "proto3"; message Other { int32 x = 1; } message Word { string word = 1; optional int64 n = 2; }'"#;
    for (topic, framed) in [("proto-plain", false), ("proto-framed", true)] {
        let format = |indent: &str| {
            let registry = format!("{indent}schema_registry_url: '{}'\n", registry.url());
            let registry = if framed { registry.as_str() } else { "" };
            format!("{indent}format: PROTO\n{indent}schema: {schema}\n{indent}message_name: Word\n{registry}")
        };
        run(&folder, &writing(topic, broker, &format("    ")), &[&url])?.ok()?;
        run(&folder, &reading(topic, broker, &folder, &format("      ")), &[&url])?.ok()?;
        let good = lines(&folder, "good.jsonl")?;
        ensure!(good.len() == 2 && good.contains(&json!({"word": "a", "n": 1})), "{topic}: {good:?}");
        ensure!(good.contains(&json!({"word": "b", "n": null})) && lines(&folder, "bad.jsonl")?.is_empty(), "{good:?}");
    }
    // what is read is told by its name in the file of its writer
    let asked = ["POST /subjects/proto-framed-value/versions", "GET /schemas/ids/1"];
    ensure!(registry.asked() == asked, "{:?}", registry.asked());
    Ok(())
}

#[test]
fn a_registry_behind_tls_and_a_login_is_asked_by_whom_it_knows() -> Result<()> {
    let (broker, registry, folder) =
        (Broker::shared()?, Registry::start_for("me:secret of me")?, watchdog::folder("tls")?);
    let front = Front::start(registry.port())?;
    broker.create(&["tls-words:1"])?;
    // the first of its addresses is dead
    let urls = format!("http://127.0.0.1:1,{}", front.url());
    let format = |indent: &str| {
        format!("{indent}format: AVRO\n{indent}schema: '{WORDS}'\n{indent}schema_registry_url: '{urls}'\n")
    };
    let write = writing("tls-words", broker, &format("    "));
    let allowed = format!("schema.registry.url={urls}");
    let authority = |file: &str| format!("schema.registry.ssl.ca.location={}", front.file(file));
    let (ca, other) = (authority("ca.pem"), authority("other.pem"));
    let source = "basic.auth.credentials.source=USER_INFO";
    let told = |properties: &[&str], code: &str, word: &str| -> Result<()> {
        let ended = run(&folder, &write, &[&[allowed.as_str()], properties].concat())?.end()?;
        ensure!(ended.code != Some(0) && ended.err.contains(&format!("error[{code}]")), "{code}: {ended}");
        ensure!(ended.err.contains(word) && !ended.err.contains("secret of"), "{word}: {ended}");
        Ok(())
    };
    told(&[], "KAFKA_REGISTRY_TLS", "schema.registry.ssl.ca.location")?;
    told(&[&other], "KAFKA_REGISTRY_TLS", "certificate")?;
    told(&["schema.registry.ssl.ca.location=/no/ca.pem"], "KAFKA_REGISTRY_CONFIG", "/no/ca.pem")?;
    ensure!(registry.asked().is_empty(), "it was asked by who did not trust it: {:?}", registry.asked());
    told(&[&ca], "KAFKA_REGISTRY", "401")?;
    told(&[&ca, source, "basic.auth.user.info=me:secret of another"], "KAFKA_REGISTRY", "401")?;
    told(&[&ca, source], "KAFKA_REGISTRY_CONFIG", "basic.auth.user.info")?;
    let known = [allowed.as_str(), &ca, source, "basic.auth.user.info=me:secret of me"];
    run(&folder, &write, &known)?.ok()?;
    // the login may stand in the address
    let with_login = allowed.replace("https://", "https://me:secret%20of%20me@");
    let read = reading("tls-words", broker, &folder, &format("      "));
    run(&folder, &read, &[&with_login, &ca])?.ok()?;
    let good = lines(&folder, "good.jsonl")?;
    ensure!(good.len() == 2 && lines(&folder, "bad.jsonl")?.is_empty(), "{good:?}");
    Ok(())
}

#[test]
fn a_registry_that_does_not_answer_fails_the_job_by_name() -> Result<()> {
    let (broker, folder) = (Broker::shared()?, watchdog::folder("nobody")?);
    broker.create(&["nobody-answers:1"])?;
    let format = format!("    format: AVRO\n    schema: '{WORDS}'\n    schema_registry_url: 'http://127.0.0.1:1'\n");
    let write = writing("nobody-answers", broker, &format);
    let ended = run(&folder, &write, &["schema.registry.url=http://127.0.0.1:1"])?.end()?;
    ensure!(ended.err.contains("KAFKA_REGISTRY") && ended.err.contains("127.0.0.1:1"), "{ended}");
    Ok(())
}
