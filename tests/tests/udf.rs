//! `thalweg udf` and `thalweg doctor`: new projects build and pass their tests at once, in every language whose tools are here; a function runs
//! over a file of elements; what is missing is said.

use acceptance::child::Run;
use acceptance::{diagnosis, place};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder for projects, with caches in which what has to be fetched is there: from what scripts/setup.sh has fetched.
struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    fn new() -> Result<Self> {
        let this = Self { folder: tempfile::tempdir()? };
        let tools = this.path("cache/thalweg/tools");
        let python = tools.join("componentize-py-0.25.1/bin");
        fs::create_dir_all(&python)?;
        symlink(place::file(".venv/bin/componentize-py"), python.join("componentize-py"))?;
        let lock = Command::new("sha256sum").arg(place::file("guest-sdk/js/package-lock.json")).output()?;
        let digest = String::from_utf8(lock.stdout)?;
        let digest = digest.get(..12).context("no digest")?;
        let js = tools.join(format!("componentize-js-{digest}"));
        fs::create_dir_all(&js)?;
        fs::write(js.join("whole"), "")?;
        symlink(place::file(".cache/js/node_modules"), js.join("node_modules"))?;
        Ok(this)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The binary, in a project.
    fn thalweg(&self, project: &str) -> Result<Run> {
        // what is compiled is kept from run to run
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
        let run = Run::thalweg()?.dir(&self.path(project)).limit(600).env("XDG_CACHE_HOME", self.path("cache"));
        Ok(run.env("CARGO_TARGET_DIR", target).env("CARGO_NET_OFFLINE", "true"))
    }

    /// Makes a project, and has it tested, built and run as its README says.
    fn lives(&self, language: &str) -> Result<PathBuf> {
        let name = format!("my-{language}");
        Run::thalweg()?.args(["udf", "new", language]).arg(self.path(&name)).ok()?;
        if language == "rust" {
            // the versions that are fetched already
            fs::copy(place::file("guest-examples/Cargo.lock"), self.path(&name).join("Cargo.lock"))?;
        }
        self.thalweg(&name)?.args(["udf", "test"]).ok()?;
        let built = self.thalweg(&name)?.args(["udf", "build"]).ok()?;
        let component = self.path(&name).join(built.out.trim());
        ensure!(component.is_file(), "no component at {}", component.display());
        let lines = ["udf", "test", "examples/lines.jsonl", "--function", "split"];
        let tried = self.thalweg(&name)?.args(lines).arg("--component").arg(&component);
        let tried = tried.args(["--expect", "examples/lines.expected.jsonl"]).ok()?;
        ensure!(tried.out.contains("ok: 8 rows"), "{tried}");
        Ok(component)
    }
}

/// Whether the tools of a language are here.
fn is_here(language: &str) -> Result<bool> {
    Ok(Run::thalweg()?.args(["doctor", language]).end()?.code == Some(0))
}

#[test]
fn a_new_project_in_rust_builds_and_tests_at_once_and_imports_no_more_than_it_needs() -> Result<()> {
    let workshop = Workshop::new()?;
    let component = workshop.lives("rust")?;
    let shown = Run::thalweg()?.args(["udf", "inspect", "--json"]).arg(&component).ok()?;
    let shown: Value = serde_json::from_str(&shown.out)?;
    assert_eq!((&shown["world"], shown["functions"].as_array().map(Vec::len)), (&Value::from("stateful"), Some(2)));
    let imports = shown["imports"].to_string();
    ensure!(imports.contains("state@") && !imports.contains("tables@"), "{imports}");
    keyed_elements_and_failures(&workshop, &component)
}

/// `count` over pairs with a window each, and a text that `split` does not take.
fn keyed_elements_and_failures(workshop: &Workshop, component: &Path) -> Result<()> {
    let elements = workshop.path("pairs.jsonl");
    fs::write(
        &elements,
        "[\"a\", \"\"]\n{\"element\": [\"a\", \"\"], \"time\": 61000}\n{\"element\": [\"a\", \"\"], \"time\": 62000}\n",
    )?;
    let run = |function: &str, elements: &Path| -> Result<Run> {
        let run = Run::thalweg()?.args(["udf", "test"]).arg(elements).arg("--component").arg(component);
        Ok(run.args(["--function", function]))
    };
    let counted = run("count", &elements)?.args(["--windows", "fixed:60s"]).ok()?;
    let counts = |line: &str| serde_json::from_str::<Value>(line).map(|row| row["element"].to_string());
    let mut found = counted.out.lines().map(counts).collect::<Result<Vec<_>, _>>()?;
    found.sort();
    assert_eq!(found, ["[\"a\",1]", "[\"a\",1]", "[\"a\",2]"], "a window has its own count");
    let texts = workshop.path("texts.jsonl");
    fs::write(&texts, "\"to be\"\n\"\"\n")?;
    let failed = run("split", &texts)?.end()?;
    ensure!(
        failed.code == Some(1) && failed.out.contains("\"failed\":\"\"") && failed.err.contains("EMPTY"),
        "{failed}"
    );
    fs::write(&texts, "7\n")?;
    let refused = run("split", &texts)?.end()?;
    diagnosis::sole_with(&refused, 3, "UDF_TEST", &["line 1", "expected a text"])?;
    let refused = Run::thalweg()?.args(["udf", "test"]).arg(&texts).arg("--component").arg(component).end()?;
    diagnosis::sole_with(&refused, 3, "UDF_TEST", &["several functions", "count"]).map(drop)
}

#[test]
fn side_inputs_and_tables_are_given_as_files_and_windows_are_shown() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, text: &str| -> Result<PathBuf> {
        let path = folder.path().join(name);
        fs::write(&path, text)?;
        Ok(path)
    };
    let pairs = write("pairs.jsonl", "[\"a\", \"z\"]\n[\"c\", \"y\"]\n")?;
    let numbers = write("numbers.jsonl", "1\n2\n\n300\n")?;
    let names = write("names.jsonl", "[\"a\", \"Ann\"]\n[\"a\", \"Ada\"]\n[\"b\", \"Bea\"]\n")?;
    let own = write("own.csv", "k,v\na,A\n")?;
    let other = write("other.csv", "k,v\nz,26\n")?;
    let table = |path: &Path, value: &str| {
        let fields = serde_json::json!([{"name": "k", "type": "string"}, {"name": "v", "type": value}]);
        serde_json::json!({"source": {"file": {"path": path, "format": "csv"}}, "schema": fields, "key": "k", "value": "v"})
    };
    let tables = serde_json::json!({"own": table(&own, "string"), "other": table(&other, "int64")}).to_string();
    let run = |function: &str, elements: &Path| -> Result<Run> {
        let run = Run::thalweg()?
            .args(["udf", "test"])
            .arg(elements)
            .arg("--component")
            .arg(place::component("conformance")?);
        Ok(run.args(["--function", function]))
    };
    let side = |name: &str, path: &Path| format!("{name}={}", path.display());
    let found =
        run("lookups", &pairs)?.arg("--side").arg(side("numbers", &numbers)).arg("--side").arg(side("names", &names));
    let found = found.arg("--tables").arg(&tables).ok()?;
    for text in
        ["a: sum 303, names Ann+Ada of 2, own A, other Some(26)", "c: sum 303, names  of 2, own none, other None"]
    {
        ensure!(found.out.contains(text), "{found}");
    }
    let refused = run("lookups", &pairs)?.arg("--side").arg(side("numbers", &numbers)).end()?;
    diagnosis::sole_with(&refused, 3, "UDF_TEST", &["names", "--side names=FILE"])?;
    let refused = run("lookups", &pairs)?
        .arg("--side")
        .arg(side("numbers", &names))
        .arg("--side")
        .arg(side("names", &names))
        .end()?;
    diagnosis::sole_with(&refused, 3, "UDF_TEST", &["line 1", "`numbers`", "a whole number"])?;
    let spans = write("spans.jsonl", "{\"element\": [\"k\", 4], \"time\": 1000}\n")?;
    let shown: Value = serde_json::from_str(run("spans", &spans)?.ok()?.out.trim())?;
    ensure!(
        shown["element"] == serde_json::json!(["k", 4]) && shown["windows"].as_array().map(Vec::len) == Some(2),
        "{shown}"
    );
    let sessions = write("sessions.jsonl", "{\"element\": \"x\", \"time\": 1000}\n")?;
    let shown: Value = serde_json::from_str(run("sessions", &sessions)?.ok()?.out.trim())?;
    ensure!(shown["window"] == serde_json::json!(["1970-01-01T00:00:01Z", "1970-01-01T00:00:01.01Z"]), "{shown}");
    Ok(())
}

/// Whether a process has a child that compiles components.
fn compiles(parent: u32) -> Result<bool> {
    let children = Run::new("ps").args(["-o", "args=", "--ppid", &parent.to_string()]).end()?;
    Ok(children.out.contains(" compile-component "))
}

#[test]
fn components_are_compiled_in_a_child_whichever_command_asks() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let component = place::component("conformance_python")?; // it takes half a minute
    let lines = folder.path().join("lines.jsonl");
    fs::write(&lines, "")?;
    let test = Run::thalweg()?.args(["udf", "test"]).arg(&lines).arg("--component").arg(&component);
    for run in [Run::thalweg()?.args(["udf", "inspect"]).arg(&component), test] {
        let mut running = run.env("XDG_CACHE_HOME", folder.path()).start()?;
        running.until("its compiler", |running| compiles(running.pid()))?;
    }
    Ok(())
}

#[test]
fn what_is_granted_is_read_with_the_arguments() -> Result<()> {
    let component = place::component("conformance")?;
    for (option, given, word) in [
        ("--grant", "{\"clok\": true}", "clok"),
        ("--grant", "{\"clock\": 1}", "boolean"),
        ("--tables", "{\"t\": {\"source\": 1}}", "no such JSON"),
    ] {
        let run = Run::thalweg()?.args(["udf", "test", "README.md", "--function", "first_word", option, given]);
        let ended = run.arg("--component").arg(&component).end()?;
        ensure!(ended.code == Some(2) && ended.err.contains(option) && ended.err.contains(word), "{ended}");
    }
    Ok(())
}

#[test]
fn new_projects_in_the_other_languages_build_and_test_at_once() -> Result<()> {
    let workshop = Workshop::new()?;
    for language in ["go", "python", "js"] {
        if is_here(language)? {
            let component = workshop.lives(language)?;
            let shown = Run::thalweg()?.args(["udf", "inspect"]).arg(&component).ok()?;
            ensure!(shown.out.contains("function count") && shown.out.contains("keeps"), "{shown}");
        } else {
            println!("{language} is left out: its tools are not here");
        }
    }
    Ok(())
}

#[test]
fn a_missing_tool_is_named_with_the_line_that_installs_it() -> Result<()> {
    let empty = tempfile::tempdir()?;
    let ended = Run::thalweg()?.args(["doctor"]).env("PATH", empty.path()).end()?;
    ensure!(ended.code == Some(1), "{ended}");
    for words in ["MISSING", "rustup target add wasm32-unknown-unknown", "go.dev/dl", "nodejs", "python3-venv"] {
        ensure!(ended.out.contains(words), "it does not say {words}\n{ended}");
    }
    let ended = Run::thalweg()?.args(["doctor", "cobol"]).end()?;
    diagnosis::sole_with(&ended, 3, "UDF_LANGUAGE", &["cobol", "rust, go, python, js"])?;
    let ended = Run::thalweg()?.args(["udf", "new", "rust", "guest-examples"]).end()?;
    diagnosis::sole_with(&ended, 3, "UDF_NEW", &["not empty"])?;
    let ended = Run::thalweg()?
        .args(["udf", "deploy", "README.md", "--job", "j", "--transform", "t", "--server", "localhost:1"])
        .end()?;
    diagnosis::sole(&ended, 1, "DEPLOY_SERVER").map(drop)
}
