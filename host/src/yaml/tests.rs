//! Files in, protos as text out; and what is said about files that are wrong.

mod wiring;

use super::{Components, load};
use crate::pipeline::show;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use thalweg_core::error::{Error, Result};
use thalweg_wasm::describe::Description;

/// The description of the flights example, and of a function with a key.
const DESCRIPTION: &str = r#"{"sdk":"rust 1.0.0","functions":[
    {"name":"parse","kind":"dofn",
     "input":{"urn":"beam:coder:row:v1","fields":[{"name":"line","type":"string"},{"name":"row","type":"int64"}]},
     "outputs":[
       {"name":"flights","coder":{"urn":"beam:coder:row:v1","fields":[{"name":"carrier","type":"string"},
         {"name":"origin","type":"string"},{"name":"dest","type":"string"},{"name":"dep_delay","type":"int64"},
         {"name":"distance","type":"int64"},{"name":"hour","type":"int64"}]}},
       {"name":"dead_letters","coder":{"urn":"beam:coder:row:v1","fields":[{"name":"row","type":"int64"},{"name":"reason","type":"string"}]}}]},
    {"name":"shout","kind":"dofn","input":{"urn":"beam:coder:string_utf8:v1"},
     "outputs":[{"name":"loud","coder":{"urn":"beam:coder:string_utf8:v1"}},{"name":"length","coder":{"urn":"beam:coder:varint:v1"}}]},
    {"name":"keyed","kind":"dofn",
     "input":{"urn":"beam:coder:kv:v1","components":[{"urn":"beam:coder:bytes:v1"},{"urn":"beam:coder:bytes:v1"}]},
     "outputs":[{"name":"main","coder":{"urn":"beam:coder:bytes:v1"}}]},
    {"name":"most","kind":"combinefn","input":{"urn":"beam:coder:varint:v1"},"accumulator":{"urn":"beam:coder:varint:v1"},
     "outputs":[{"name":"most","coder":{"urn":"beam:coder:iterable:v1","components":[{"urn":"beam:coder:varint:v1"}]}}]},
    {"name":"gaps","kind":"windowfn","merges":true,"input":{"urn":"beam:coder:bytes:v1"},"outputs":[]}]}"#;

#[derive(Debug)]
struct Known;

impl Components for Known {
    fn describe(&self, path: &Path) -> Result<Arc<Description>> {
        if path.to_string_lossy().ends_with("flights_parse.wasm") {
            return Description::parse("flights", DESCRIPTION)
                .map(Arc::new)
                .map_err(|e| Error::internal("TEST", e.to_string()));
        }
        Err(Error::user("WASM_UNREADABLE", format!("there is no {}", path.display())).help("build it"))
    }
}

fn loaded(text: &str) -> Result<String> {
    load("p.yaml", text, &BTreeMap::new(), &Known).map(|p| show(&p))
}

/// A chain that begins with two rows `{word: string, n: int64?}`.
fn chain(rest: &str) -> Result<String> {
    let create = "pipeline:\n  type: chain\n  transforms:\n  - type: Create\n    config: {elements: [{word: a, n: 1}, {word: b}]}\n";
    loaded(&format!("{create}{rest}"))
}

/// Compares with a file beside this one; with THALWEG_UPDATE_SNAPSHOTS in the environment it is written anew.
fn matches_snapshot(name: &str, text: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/yaml/snapshots").join(format!("{name}.txt"));
    let io = |e: std::io::Error| Error::internal("TEST", format!("{}: {e}", path.display()));
    if std::env::var_os("THALWEG_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).map_err(io)?;
    }
    assert_eq!(text, std::fs::read_to_string(&path).map_err(io)?, "{name}");
    Ok(())
}

fn problem(result: Result<String>) -> String {
    match result {
        Ok(shown) => format!("no error:\n{shown}"),
        Err(e) => format!("{e} / {}", e.help),
    }
}

#[test]
fn the_flights_pipeline_reads_as_it_should() -> Result<()> {
    let text = include_str!("../../../guest-examples/flights/pipeline.yaml");
    let values = [("output".to_owned(), "out".to_owned())].into();
    let pipeline = load("pipeline.yaml", text, &values, &Known)?;
    matches_snapshot("flights", &show(&pipeline))
}

#[test]
fn the_flights_pipeline_translates_into_a_graph() -> Result<()> {
    let text = include_str!("../../../guest-examples/flights/pipeline.yaml");
    let pipeline = load("pipeline.yaml", text, &BTreeMap::new(), &Known)?;
    let translation = thalweg_beam::translate::translate(pipeline)?;
    let plan = thalweg_core::graph::fuse(&translation.graph)?;
    let names: Vec<&str> = plan.stages.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        names,
        ["ReadLines", "Parse", "Hourly", "Delays/GroupByKey", "Delays/Merge", "WriteHourly", "WriteDeadLetters"]
    );
    Ok(())
}

#[test]
fn kafka_pipelines_read_as_they_should() -> Result<()> {
    let text = "
pipeline:
  transforms:
    - type: ReadFromKafka
      name: Read
      config:
        topic: words
        bootstrap_servers: localhost:9092
        format: JSON
        schema: '{type: object, properties: {word: {type: string}, n: {type: integer}}, required: [word]}'
        auto_offset_reset_config: earliest
        consumer_config: {isolation.level: read_committed, fetch.min.bytes: 1}
        error_handling: {output: bad}
    - type: Combine
      input: Read
      windowing: {type: sliding, size: 60s, period: 30}
      config:
        group_by: word
        combine: {n: sum}
    - type: WriteToKafka
      input: Combine
      config: {topic: sums, bootstrap_servers: 'localhost:9092', format: JSON}
    - type: WriteToText
      input: Drop
      config: {path: bad.txt}
    - type: MapToFields
      name: Drop
      input: Read.bad
      config: {fields: {what: error_message}}
";
    matches_snapshot("kafka", &loaded(text)?)
}

#[test]
fn kafka_in_other_formats_reads_as_it_should() -> Result<()> {
    let text = r#"
pipeline:
  transforms:
    - type: ReadFromKafka
      name: Read
      config:
        topic: words
        bootstrap_servers: localhost:9092
        format: AVRO
        schema: '{"type": "record", "name": "R", "fields": [{"name": "word", "type": "string"}, {"name": "n", "type": ["null", "int"]}]}'
        confluent_schema_registry_url: http://localhost:8081
        start_read_time: "2026-01-01T00:00:00Z"
        stop_read_time: 1767225600001
        timestamp_policy: {header: at}
        max_out_of_order: 5s
        idle_after: 1m
        dynamic_read_poll_interval_seconds: 10
        consumer_config: {group.id: g}
        error_handling: {output: bad}
    - type: WriteToKafka
      input: Read
      config:
        topic: messages
        bootstrap_servers: localhost:9092
        format: PROTO
        schema: 'syntax = "proto3"; message Other { int32 x = 1; } message M { string word = 1; int32 n = 2; }'
        message_name: M
        key: word
        partitioner: round_robin
    - type: WriteToKafka
      name: Bad
      input: Read.bad
      config: {topic: bad, bootstrap_servers: 'localhost:9092', format: AVRO, schema_registry_url: 'http://localhost:8081', partitioner: 3}
    - type: WriteToKafka
      name: Dead
      input: Read.bad
      config: {topic: dead, bootstrap_servers: 'localhost:9092', format: DEAD_LETTER}
    - type: ReadFromKafka
      name: Records
      config: {topic: records, bootstrap_servers: 'localhost:9092', format: RECORD, max_num_records: 7, timestamp_policy: LogAppendTime}
    - type: LogForTesting
      input: Records
"#;
    matches_snapshot("kafka_formats", &loaded(text)?)
}

#[test]
fn options_of_kafka_that_cannot_be_are_named_with_their_place() {
    let read = |options: &str| {
        let front = "pipeline:\n  type: chain\n  transforms:\n  - type: ReadFromKafka\n    topic: t\n    bootstrap_servers: b\n";
        problem(loaded(&format!("{front}    {options}\n  - {{type: LogForTesting}}\n")))
    };
    for (options, expected) in [
        ("format: THRIFT", "YAML_FORMAT: p.yaml:7:13"),
        ("format: DEAD_LETTER", "YAML_FORMAT"),
        ("format: AVRO", "`format: AVRO` needs a `schema`"),
        ("timestamp_policy: CreatTime", "did you mean `CreateTime`"),
        ("timestamp_policy: {heder: x}", "heder"),
        ("start_read_time: noon", "expected a point in time, found the text"),
        ("max_out_of_order: -1s", "YAML_DURATION"),
        ("error_handling: {output: bad}", "none can fail"),
        ("confluent_schema_registry_subject: s", "YAML_UNSUPPORTED"),
        ("message_name: M", "YAML_UNSUPPORTED"),
    ] {
        let problem = read(options);
        assert!(problem.contains(expected), "{options}: {problem}");
    }
    let avro = |schema: &str| read(&format!("format: AVRO\n    schema: '{schema}'"));
    assert!(avro("{").contains("FORMAT_SCHEMA: p.yaml:8:13"), "{}", avro("{"));
    let union = r#"{"type": "record", "name": "R", "fields": [{"name": "x", "type": ["int", "string"]}]}"#;
    assert!(avro(union).contains("\"x\" is a union of 2 types"), "{}", avro(union));
    let write = |options: &str| {
        problem(chain(&format!("  - type: WriteToKafka\n    topic: t\n    bootstrap_servers: b\n    {options}\n")))
    };
    assert!(
        write("format: JSON\n    key: wrod").contains("did you mean `word`"),
        "{}",
        write("format: JSON\n    key: wrod")
    );
    assert!(write("format: DEAD_LETTER").contains("the field \"word\" is no part of a dead letter"));
    assert!(write("format: JSON\n    partitioner: sideways").contains("expected a partitioner"));
    let other = r#"format: AVRO
    schema: '{"type": "record", "name": "R", "fields": [{"name": "word", "type": "string"}]}'"#;
    assert!(write(other).contains("it has no field \"n\""), "{}", write(other));
    assert!(write("format: JSON\n    schema_registry_url: http://r:1").contains("FORMAT_UNSUPPORTED"));
}

#[test]
fn composites_chains_and_flattens_read_as_they_should() -> Result<()> {
    let text = "
pipeline:
  windowing: {type: fixed, size: 1m}
  transforms:
    - type: Create
      name: A
      config: {elements: [1, 2.5]}
    - type: chain
      name: B
      source: {type: Create, elements: [{element: 3.0}]}
      transforms:
        - type: MapToFields
          append: true
          drop: []
          fields: {twin: element}
        - type: MapToFields
          fields: {element: twin}
    - type: composite
      name: Both
      input: {left: [A, B], right: A}
      transforms:
        - {type: LogForTesting, input: left, config: {level: warning, prefix: 'left '}}
        - {type: ExtractWindowingInfo, input: LogForTesting}
        - {type: WindowInto, name: Again, input: right, windowing: {type: global}}
      output: {info: ExtractWindowingInfo, other: Again}
    - {type: WriteToJson, input: Both.info, path: out.jsonl}
";
    matches_snapshot("composite", &loaded(text)?)
}

#[test]
fn unknown_names_are_refused_with_the_nearest() {
    assert_eq!(
        problem(chain("  - type: WindowsInto\n")),
        "YAML_UNKNOWN_TRANSFORM: p.yaml:6:11: pipeline.transforms[1].type: there is no transform of type `WindowsInto` / did you mean `WindowInto`?"
    );
    assert!(
        problem(chain("  - type: ReadFromBigQuery\n"))
            .contains("`ReadFromBigQuery` of Beam YAML does not run natively")
    );
    assert_eq!(
        problem(chain("  - type: WindowInto\n    config: {windowing: {type: fixed, siez: 1h}}\n")),
        "YAML_UNKNOWN_KEY: p.yaml:7:39: pipeline.transforms[1].config.windowing.siez: `siez` is not known here / did you mean `size`?"
    );
    assert_eq!(
        problem(chain("  - type: WriteToJson\n    config: {path: x, pth: y}\n")),
        "YAML_UNKNOWN_KEY: p.yaml:7:23: pipeline.transforms[1].config.pth: `pth` is not known here / did you mean `path`?"
    );
    assert_eq!(
        problem(chain("  - type: MapToFields\n    fields: {a: wrod}\n")),
        "SCHEMA_UNKNOWN_FIELD: p.yaml:7:17: pipeline.transforms[1].fields.a: there is no field `wrod` in {word: string, n: int64?} / did you mean `word`?"
    );
    let composite =
        "pipeline:\n  transforms:\n  - {type: Create, elements: [1]}\n  - {type: LogForTesting, input: Craete}\n";
    assert!(problem(loaded(composite)).ends_with("there is no transform `Craete` / did you mean `Create`?"));
}

#[test]
fn what_needs_a_language_is_refused_by_name() {
    assert!(problem(chain("  - type: MapToFields\n    fields: {a: n + 1}\n")).contains(
        "7:17: pipeline.transforms[1].fields.a: `n + 1` is an expression, and expressions do not run natively"
    ));
    assert!(
        problem(chain("  - type: MapToFields\n    fields: {a: {callable: 'lambda r: 1'}}\n"))
            .contains("`callable` does not run natively")
    );
    assert!(
        problem(chain("  - type: Combine\n    group_by: word\n    combine: {n: concat}\n"))
            .contains("`concat` does not run natively")
    );
    assert!(
        problem(chain("  - type: Combine\n    group_by: n\n    combine: {word: max}\n"))
            .contains("`max` needs numbers, but `word` is of type string")
    );
}

#[test]
fn pipelines_that_cannot_work_say_why() {
    let cases = [
        ("a: 1\n", "YAML_MISSING_KEY: p.yaml:1:1: `pipeline` is missing"),
        ("pipeline:\n  transforms: []\n", "there are no transforms"),
        ("pipeline:\n  transforms:\n  - name: x\n", "a transform has no `type`"),
        ("pipeline:\n  transforms:\n  - {type: LogForTesting}\n", "`LogForTesting` needs an input"),
        (
            "pipeline:\n  transforms:\n  - {type: LogForTesting, name: A, input: B}\n  - {type: LogForTesting, name: B, input: A}\n",
            "`A` reads its own output",
        ),
        (
            "pipeline:\n  transforms:\n  - {type: Create, elements: [1]}\n  - {type: Create, elements: [2]}\n  - {type: LogForTesting, input: Create}\n",
            "`Create` means more than one transform",
        ),
        (
            "pipeline:\n  type: chain\n  transforms:\n  - {type: Create, elements: [1]}\n  - {type: LogForTesting, input: Create}\n",
            "is part of a chain and has an `input`",
        ),
        ("pipeline:\n  transforms:\n  - {type: Create, elements: [1, x]}\n", "`element` has values of different types"),
        (
            "pipeline:\n  transforms:\n  - {type: Create, config: {elements: [1]}, elements: [2]}\n",
            "`elements` stands beside `config`",
        ),
        (
            "pipeline:\n  transforms:\n  - {type: ReadFromText, path: 7}\n",
            "expected a text, found the number 7 / put it in quotes",
        ),
        ("pipeline:\n  type: chian\n  transforms: []\n", "a pipeline cannot be of type `chian`"),
    ];
    for (text, expected) in cases {
        let problem = problem(loaded(text));
        assert!(problem.contains(expected), "{problem}");
    }
    let endless = "pipeline:\n  type: chain\n  transforms:\n  - {type: ReadFromKafka, topic: t, bootstrap_servers: b}\n  - {type: Combine, group_by: [], combine: {payload: count}}\n";
    assert!(problem(loaded(endless)).contains("combining an endless input needs windows"));
}

#[test]
fn components_are_checked_against_the_pipeline() {
    let wasm = |config: &str| {
        let read = "pipeline:\n  type: chain\n  transforms:\n  - type: ReadFromText\n    config: {path: x, row_number: row}\n  - type: Wasm\n";
        problem(loaded(&format!("{read}    config: {config}\n")))
    };
    assert!(wasm("{component: nowhere.wasm}").starts_with(
        "WASM_UNREADABLE: p.yaml:7:25: pipeline.transforms[1].config.component: there is no nowhere.wasm"
    ));
    assert!(
        wasm("{component: flights_parse.wasm}")
            .contains("has several functions / add `function:` with one of parse, shout, keyed")
    );
    assert!(
        wasm("{component: flights_parse.wasm, function: pars}")
            .ends_with("has no function `pars` / did you mean `parse`?")
    );
    assert!(wasm("{component: flights_parse.wasm, function: keyed}").contains("add `key: FIELD`"));
    assert!(
        wasm("{component: flights_parse.wasm, function: parse, error_handling: {output: bad}}")
            .contains("nothing reads the error output `Wasm.bad`")
    );
    let unnumbered = "pipeline:\n  type: chain\n  transforms:\n  - type: ReadFromText\n    config: {path: x}\n  - type: Wasm\n    config: {component: flights_parse.wasm, function: parse}\n";
    assert!(problem(loaded(unnumbered)).ends_with("`parse` takes rows {line: string, row: int64}, but `ReadFromText` gives rows {line: string} / add the field `row` of type int64"));
}

#[test]
fn functions_of_plain_values_take_rows_of_one_field() -> Result<()> {
    let text = "
pipeline:
  transforms:
    - {type: ReadFromText, path: x}
    - {type: Wasm, name: Shout, input: ReadFromText, component: flights_parse.wasm, function: shout, error_handling: {output: bad}}
    - {type: WriteToText, input: Shout, path: loud.txt}
    - {type: WriteToJson, input: [Shout.length], path: length.jsonl}
    - {type: WriteToJson, name: Bad, input: Shout.bad, path: bad.jsonl}
";
    matches_snapshot("plain_values", &loaded(text)?)
}

#[test]
fn errors_of_a_component_are_a_row_of_their_own() -> Result<()> {
    let text = "pipeline:\n  type: chain\n  transforms:\n  - type: ReadFromText\n    config: {path: x, row_number: row}\n  - type: Wasm\n    config: {component: flights_parse.wasm, function: parse, config: {a: [1]}, error_handling: {output: bad}}\n  extra_transforms:\n  - {type: WriteToJson, input: Wasm.bad, path: bad.jsonl}\n";
    let shown = loaded(text)?;
    assert!(shown.contains(
        r#"with {"component":"flights_parse.wasm","digest":null,"function":"parse","config":{"a":[1]},"errors":"bad"}"#
    ));
    assert!(
        shown.contains("to Wasm.bad: {element: {line: string, row: int64}, msg: string, stack: string}, global"),
        "{shown}"
    );
    Ok(())
}

/// Three numbers with a word each.
const NUMBERED: &str = "pipeline:\n  type: chain\n  transforms:\n  - type: Create\n    config: {elements: [{word: a, n: 1}, {word: b, n: 2}, {word: a, n: 3}]}\n";

#[test]
fn rows_become_pairs_for_functions_with_keys_and_rows_again() -> Result<()> {
    let most = "  - type: Wasm\n    config: {component: flights_parse.wasm, function: most, KEY, value: n}\n";
    let shown = loaded(&format!("{NUMBERED}{}", most.replace("KEY", "key: word")))?;
    for part in [
        "Wasm/Pairs thalweg:fn:rows_to_pairs:v1",
        "\"key\":{\"field\":0},\"value\":{\"field\":1}",
        "kv(string_utf8, iterable(varint))",
        "to Wasm.most: {word: string, value: list of int64}",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let shown = loaded(&format!("{NUMBERED}{}", most.replace("KEY", "keys: [word]")))?;
    assert!(shown.contains("kv({word: string}, varint)"), "{shown}");
    let wrong = problem(loaded(&format!("{NUMBERED}{}", most.replace("KEY", "key: words"))));
    assert!(wrong.contains("SCHEMA_UNKNOWN_FIELD") && wrong.contains("`word`"), "{wrong}");
    let wrong = problem(loaded(&format!("{NUMBERED}{}", most.replace("KEY, ", ""))));
    assert!(wrong.contains("YAML_MISSING_KEY"), "{wrong}");
    Ok(())
}

#[test]
fn windows_of_a_component_are_a_strategy_of_their_own() -> Result<()> {
    let window = "  - type: WindowInto\n    config: {windowing: {type: wasm, component: flights_parse.wasm, function: FUNCTION}}\n";
    let shown = loaded(&format!("{NUMBERED}{}", window.replace("FUNCTION", "gaps")))?;
    assert!(shown.contains("WindowInto beam:transform:window_into:v1") && shown.contains("component_0"), "{shown}");
    let wrong = problem(loaded(&format!("{NUMBERED}{}", window.replace("FUNCTION", "most"))));
    assert!(wrong.contains("YAML_WINDOWING") && wrong.contains("`most`"), "{wrong}");
    Ok(())
}
