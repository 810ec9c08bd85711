//! What the READMEs of the SDKs of Go, Python and JavaScript show works as it stands there: the first function passes its test without Wasm,
//! becomes a component by the command, and runs in a pipeline.

use acceptance::child::Run;
use acceptance::lines::Lines;
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The blocks of an SDK's README in a language, in their order.
fn blocks(sdk: &str, language: &str) -> Result<Vec<String>> {
    let readme = fs::read_to_string(place::file(&format!("guest-sdk/{sdk}/README.md")))?;
    let opens = format!("```{language}\n");
    let after = readme.split(&opens).skip(1);
    Ok(after.filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect())
}

/// Writes the first two blocks: the function and its test.
fn write(folder: &Path, sdk: &str, language: &str, names: [&str; 2]) -> Result<()> {
    let blocks = blocks(sdk, language)?;
    ensure!(blocks.len() >= 2, "the README of {sdk} has no function with a test");
    for (name, text) in names.into_iter().zip(blocks) {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// Runs the README's pipeline with the component.
fn runs(folder: &Path, sdk: &str) -> Result<()> {
    let yaml = blocks(sdk, "yaml")?.into_iter().next().context("no pipeline")?;
    fs::write(folder.join("input.txt"), "to be\nor not\n")?;
    let in_folder = |yaml: String, file: &str| yaml.replace(file, &folder.join(file).display().to_string());
    let yaml = ["input.txt", "words.wasm", "words.txt"].into_iter().fold(yaml, in_folder);
    let pipeline = folder.join("pipeline.yaml");
    fs::write(&pipeline, yaml)?;
    Run::thalweg()?.arg("run").arg(pipeline).limit(300).ok()?;
    Lines::read(&folder.join("words.txt"))?.same_as(&Lines::of("to\nbe\nor\nnot\n"), "the words")
}

#[test]
fn the_first_function_in_go_is_tested_built_and_run() -> Result<()> {
    let folder = watchdog::folder("first-go")?;
    write(&folder, "go", "go", ["main.go", "main_test.go"])?;
    let go = || Run::new("go").dir(&folder);
    go().args(["mod", "init", "words"]).ok()?;
    let sdk = format!("thalweg={}", place::file("guest-sdk/go").display());
    go().args(["mod", "edit", "-require", "thalweg@v1.0.0", "-replace", &sdk]).ok()?;
    go().args(["test", "./..."]).ok()?;
    let build = go().env("GOOS", "wasip1").env("GOARCH", "wasm").limit(300);
    build.args(["build", "-trimpath", "-buildmode=c-shared", "-o", "words.module.wasm", "."]).ok()?;
    let componentize = Run::thalweg()?.args(["udf", "componentize"]).arg(folder.join("words.module.wasm"));
    componentize.arg("-o").arg(folder.join("words.wasm")).ok()?;
    runs(&folder, "go")
}

#[test]
fn the_first_function_in_python_is_tested_built_and_run() -> Result<()> {
    let folder = watchdog::folder("first-python")?;
    write(&folder, "python", "python", ["words.py", "test_words.py"])?;
    let sdk = place::file("guest-sdk/python");
    let tested = Run::python()?.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]).arg(&folder);
    tested.env("PYTHONPATH", format!("{}:{}", folder.display(), sdk.display())).ok()?;
    let python = place::python()?;
    let componentize = python.with_file_name("componentize-py");
    let build =
        Run::new(componentize).args(["-q", "-d", "wit", "-w", "full", "componentize", "words", "-p"]).arg(&folder);
    build.arg("-p").arg(&sdk).arg("-o").arg(folder.join("words.wasm")).limit(300).ok()?;
    runs(&folder, "python")
}

#[test]
fn the_first_function_in_javascript_is_tested_built_and_run() -> Result<()> {
    let folder = watchdog::folder("first-javascript")?;
    write(&folder, "js", "js", ["words.js", "words.test.js"])?;
    fs::write(folder.join("package.json"), r#"{"type": "module"}"#)?;
    // what `npm install` makes of a folder
    fs::create_dir_all(folder.join("node_modules"))?;
    symlink(place::file("guest-sdk/js"), folder.join("node_modules/thalweg-udf"))?;
    Run::new(place::node()?).arg("--test").arg(folder.join("words.test.js")).ok()?;
    let build = Run::new(place::node()?).arg(place::file("guest-sdk/js/build.js")).arg(folder.join("words.js"));
    build.arg("-o").arg(folder.join("words.wasm")).limit(300).ok()?;
    runs(&folder, "js")
}
