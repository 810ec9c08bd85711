//! Functions of components with keys, windows, side inputs and tables, in pipeline files: on one shard and on four. What they must give
//! stands in each test.

use acceptance::child::{Ended, Run};
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The command that runs a pipeline file's text.
fn command(folder: &Path, text: &str) -> Result<Run> {
    let file = folder.join("pipeline.yaml");
    fs::write(&file, text)?;
    let mut run = Run::thalweg()?.arg("run").arg(file);
    // a value that the file does not use is refused
    for name in ["conformance", "journeys"] {
        if text.contains(&format!("{{{{ {name} }}}}")) {
            run = run.set(name, place::component(name)?);
        }
    }
    Ok(run.set("out", folder))
}

/// The objects of a file, sorted.
fn objects(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.into_iter().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Runs a text on one shard and on four, and compares what stands in its files.
fn gives(text: &str, files: &[(&str, Value)]) -> Result<()> {
    for shards in ["1", "4"] {
        let folder = watchdog::folder("wasm-yaml")?;
        command(&folder, text)?.args(["--shards", shards]).ok()?;
        for (file, wanted) in files {
            let found = Value::from(objects(&folder.join(file))?);
            ensure!(found == *wanted, "{file} on {shards} shards is {found}\nand not {wanted}");
        }
    }
    Ok(())
}

/// How a text is refused.
fn refused(text: &str) -> Result<Ended> {
    let ended = command(&watchdog::folder("wasm-yaml")?, text)?.end()?;
    ensure!(ended.code.is_some_and(|code| code != 0), "it is not refused\n{ended}");
    Ok(ended)
}

const NUMBERS: &str = "
pipeline:
  transforms:
    - type: Create
      name: Numbers
      config:
        elements:
          - {who: a, where: x, n: 5}
          - {who: a, where: x, n: 9}
          - {who: a, where: y, n: 7}
          - {who: b, where: x, n: 1}
          - {who: a, where: x, n: 6}
";

#[test]
fn a_combine_fn_combines_the_rows_of_a_key() -> Result<()> {
    let text = format!(
        "{NUMBERS}
    - type: Wasm
      name: Top
      input: Numbers
      config: {{component: '{{{{ conformance }}}}', function: top, key: who, value: n}}
    - type: WriteToJson
      name: WriteTop
      input: Top
      config: {{path: '{{{{ out }}}}/top.jsonl'}}
    - type: Wasm
      name: Best
      input: Numbers
      config: {{component: '{{{{ conformance }}}}', function: top, keys: [who, where], value: n, config: {{n: 1}}}}
    - type: WriteToJson
      name: WriteBest
      input: Best
      config: {{path: '{{{{ out }}}}/best.jsonl'}}
"
    );
    gives(
        &text,
        &[
            ("top.jsonl", json!([{"who": "a", "value": [9, 7, 6]}, {"who": "b", "value": [1]}])),
            (
                "best.jsonl",
                json!([
                    {"who": "a", "where": "x", "value": [9]},
                    {"who": "a", "where": "y", "value": [7]},
                    {"who": "b", "where": "x", "value": [1]},
                ]),
            ),
        ],
    )
}

#[test]
fn a_stateful_function_runs_per_key_and_what_fails_is_a_row_of_its_output() -> Result<()> {
    let text = "
pipeline:
  transforms:
    - type: Create
      config:
        elements:
          - {who: a, command: 'sum.add 4; map.put m 1; sum.get; map.all'}
          - {who: b, command: 'sum.get'}
          - {who: c, command: 'nonsense'}
    - type: Wasm
      name: Ledger
      input: Create
      config:
        component: '{{ conformance }}'
        function: ledger
        key: who
        error_handling: {output: bad}
    - type: WriteToJson
      name: WriteAnswers
      input: Ledger
      config: {path: '{{ out }}/answers.jsonl'}
    - type: MapToFields
      input: Ledger.bad
      config: {fields: {element: element, msg: msg}}
    - type: WriteToJson
      name: WriteBad
      input: MapToFields
      config: {path: '{{ out }}/bad.jsonl'}
";
    let answers = json!([
        {"who": "a", "value": "4"},
        {"who": "a", "value": "[(\"m\", 1)]"},
        {"who": "b", "value": "0"},
    ]);
    let bad = json!([{
        "element": {"who": "c", "command": "nonsense"},
        "msg": "COMMAND: \"nonsense\" is no command",
    }]);
    gives(text, &[("answers.jsonl", answers), ("bad.jsonl", bad)])
}

#[test]
fn a_key_selector_adds_the_key_as_a_field() -> Result<()> {
    let text = "
pipeline:
  type: chain
  transforms:
    - type: Create
      config: {elements: [{line: to be}, {line: or}, {line: to do}]}
    - type: Wasm
      config: {component: '{{ conformance }}', function: first_word, key: word}
    - type: Combine
      config: {group_by: word, combine: {lines: {fn: count, value: line}}}
    - type: WriteToJson
      config: {path: '{{ out }}/words.jsonl'}
";
    gives(text, &[("words.jsonl", json!([{"word": "or", "lines": 1}, {"word": "to", "lines": 2}]))])
}

#[test]
fn timers_fire_and_windows_end_in_the_windows_of_the_file() -> Result<()> {
    let text = "
pipeline:
  type: chain
  windowing: {type: fixed, size: 10s}
  transforms:
    - type: Create
      config:
        elements:
          - {who: a, command: 'event 1 x'}
          - {who: a, command: 'event 2 gone'}
          - {who: a, command: 'clear gone'}
    - type: Wasm
      config: {component: '{{ conformance }}', function: timers, key: who, value: command}
    - type: WriteToJson
      config: {path: '{{ out }}/fired.jsonl'}
";
    for shards in ["1", "4"] {
        let folder = watchdog::folder("wasm-yaml")?;
        command(&folder, text)?.args(["--shards", shards]).ok()?;
        let found = objects(&folder.join("fired.jsonl"))?;
        let values: Vec<&str> = found.iter().filter_map(|row| row.get("value")?.as_str()).collect();
        let fired = values.iter().filter(|v| v.starts_with("event \"x\" at 1 ") && v.ends_with("seen 3")).count();
        ensure!(fired == 1 && values.contains(&"over seen 3") && values.len() == 2, "{found:?}");
    }
    Ok(())
}

const EVENTS: &str = "
pipeline:
  transforms:
    - type: Create
      config:
        elements:
          - {who: a, at: 100, n: 1}
          - {who: a, at: 107, n: 2}
          - {who: a, at: 116, n: 3}
          - {who: a, at: 200, n: 4}
          - {who: b, at: 103, n: 5}
    - type: Wasm
      name: Stamp
      input: Create
      config: {component: '{{ journeys }}', function: stamp}
";

/// The windows are ten milliseconds per element, and merge.
#[test]
fn windows_of_a_component_are_assigned_and_merged() -> Result<()> {
    let window = "{type: wasm, component: '{{ conformance }}', function: sessions}";
    let text = format!(
        "{EVENTS}
    - type: WindowInto
      name: Sessions
      input: Stamp
      config: {{windowing: {window}}}
    - type: Combine
      name: Sums
      input: Sessions
      config: {{group_by: who, combine: {{sum: {{fn: sum, value: n}}}}}}
    - type: ExtractWindowingInfo
      name: Info
      input: Sums
      config: {{fields: {{start: window_start, end: window_end}}}}
    - type: WriteToJson
      name: WriteSums
      input: Info
      config: {{path: '{{{{ out }}}}/sums.jsonl'}}
    - type: Wasm
      name: Top
      input: Stamp
      windowing: {window}
      config: {{component: '{{{{ conformance }}}}', function: top, key: who, value: n}}
    - type: WriteToJson
      name: WriteTop
      input: Top
      config: {{path: '{{{{ out }}}}/top.jsonl'}}
"
    );
    let row = |who: &str, sum: i64, start: &str, end: &str| json!({"who": who, "sum": sum, "start": format!("1970-01-01T00:00:00.{start}Z"), "end": format!("1970-01-01T00:00:00.{end}Z")});
    gives(
        &text,
        &[
            ("sums.jsonl", json!([row("a", 4, "2", "21"), row("a", 6, "1", "126"), row("b", 5, "103", "113"),])),
            (
                "top.jsonl",
                json!([{"who": "a", "value": [3, 2, 1]}, {"who": "a", "value": [4]}, {"who": "b", "value": [5]}]),
            ),
        ],
    )
}

/// The pipeline of `lookups`, with tables in these files.
fn lookups(folder: &Path) -> Result<String> {
    let (own, other): (PathBuf, PathBuf) = (folder.join("own.csv"), folder.join("other.jsonl"));
    fs::write(&own, "name,code\n\"Alpha, first\",a\nZeta,z\n")?;
    fs::write(&other, "{\"code\": \"y\", \"n\": 25}\n{\"code\": \"z\", \"n\": 1}\n{\"code\": \"z\", \"n\": 26}\n")?;
    let (own, other) = (own.display(), other.display());
    Ok(format!(
        "
tables:
  own:
    path: {own}
    schema: {{type: object, properties: {{code: {{type: string}}, name: {{type: string}}}}}}
    key: code
    value: name
  numbers_of:
    path: {other}
    schema: {{type: object, properties: {{code: {{type: string}}, n: {{type: integer}}}}}}
    key: code
    value: n
pipeline:
  transforms:
    - type: Create
      name: Main
      config: {{elements: [{{who: a, other: z}}, {{who: c, other: x}}]}}
    - type: Create
      name: Numbers
      config: {{elements: [3, 4, 5]}}
    - type: Create
      name: Names
      config: {{elements: [{{who: a, name: Ann}}, {{who: b, name: Bea}}]}}
    - type: Wasm
      name: Lookups
      input: {{input: Main, numbers: Numbers, names: Names}}
      config:
        component: '{{{{ conformance }}}}'
        function: lookups
        key: who
        side_inputs: {{names: {{key: who, value: name}}}}
        tables: {{other: numbers_of}}
    - type: WriteToJson
      name: WriteLookups
      input: Lookups
      config: {{path: '{{{{ out }}}}/lookups.jsonl'}}
    - type: TableJoin
      name: Left
      input: Main
      config: {{table: own, key: who}}
    - type: WriteToJson
      name: WriteLeft
      input: Left
      config: {{path: '{{{{ out }}}}/left.jsonl'}}
    - type: TableJoin
      name: Inner
      input: Main
      config: {{table: numbers_of, key: other, how: inner}}
    - type: WriteToJson
      name: WriteInner
      input: Inner
      config: {{path: '{{{{ out }}}}/inner.jsonl'}}
"
    ))
}

#[test]
fn side_inputs_and_tables_of_a_file_are_read() -> Result<()> {
    let folder = watchdog::folder("wasm-yaml-tables")?;
    let found = |text: &str| json!({"element": text});
    gives(
        &lookups(&folder)?,
        &[
            (
                "lookups.jsonl",
                json!([
                    found("a: sum 12, names Ann of 2, own Alpha, first, other Some(26)"),
                    found("c: sum 12, names  of 2, own none, other None"),
                ]),
            ),
            (
                "left.jsonl",
                json!([
                    {"who": "a", "other": "z", "name": "Alpha, first"},
                    {"who": "c", "other": "x", "name": null},
                ]),
            ),
            ("inner.jsonl", json!([{"who": "a", "other": "z", "n": 26}])),
        ],
    )
}

#[test]
fn what_does_not_fit_is_refused_and_both_sides_are_named() -> Result<()> {
    let folder = watchdog::folder("wasm-yaml-refused")?;
    let good = lookups(&folder)?;
    let cases = [
        ("names: Names}", "names_: Names}", "YAML_INPUT", ["`names`", "lookups"]),
        ("key: who\n        side", "side", "YAML_MISSING_KEY", ["the key of `lookups`", "texts"]),
        ("tables: {other: numbers_of}", "tables: {other: own}", "WASM_MISMATCH", ["whole numbers", "texts"]),
        ("tables: {other: numbers_of}", "tables: {}", "YAML_TABLE", ["`other`", "numbers_of"]),
        ("elements: [3, 4, 5]", "elements: [x]", "SCHEMA_MISMATCH", ["whole numbers", "Numbers"]),
        ("tables: {other: numbers_of}", "tables: {rates: own}", "YAML_TABLE", ["`lookups`", "`rates`"]),
    ];
    for (from, to, code, named) in cases {
        ensure!(good.contains(from), "{from:?} is not in the text");
        let ended = refused(&good.replace(from, to))?;
        let said = format!("{}{}", ended.err, ended.out);
        ensure!(said.contains(code) && named.iter().all(|name| said.contains(name)), "{to}:\n{ended}");
    }
    let windows = format!(
        "{EVENTS}    - type: Wasm\n      input: Stamp\n      config: {{component: '{{{{ conformance }}}}', function: sessions}}
    - {{type: WriteToJson, input: Wasm, config: {{path: '{{{{ out }}}}/none.jsonl'}}}}\n"
    );
    let ended = refused(&windows)?;
    ensure!(ended.err.contains("YAML_COMPONENT_FUNCTION") && ended.err.contains("WindowInto"), "{ended}");
    Ok(())
}
