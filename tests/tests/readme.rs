//! What README.md shows works as it stands there: the first function and the first Python pipeline.

use acceptance::child::Run;
use acceptance::lines::Lines;
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The first block of README.md in a language.
fn block(language: &str) -> Result<String> {
    let readme = fs::read_to_string(place::file("README.md"))?;
    let block = readme.split(&format!("```{language}\n")).nth(1).and_then(|rest| rest.split("```").next());
    Ok(block.with_context(|| format!("README.md has no {language}"))?.to_owned())
}

#[test]
fn the_first_python_pipeline_counts_words() -> Result<()> {
    let text = block("python")?;
    ensure!(text.contains("target/debug/thalweg"), "the program does not name the binary\n{text}");
    let path = watchdog::folder("readme")?.join("program.py");
    fs::write(&path, text.replace("target/debug/thalweg", &place::binary()?.display().to_string()))?;
    let ended = Run::python()?.arg(path).ok()?;
    // Python's print writes a line and its end apart: with several workers two lines may come before two ends
    let printed = ended.out.replace('\n', "").replace(')', ")\n");
    Lines::of(&printed).same_as(&Lines::of("('to', 2)\n('be', 2)\n('or', 1)\n('not', 1)\n"), "what it printed")
}

#[test]
fn the_first_function_builds_and_runs_in_a_pipeline() -> Result<()> {
    let folder = watchdog::folder("first-function")?;
    let component = build(&folder)?;
    let inspected = Run::thalweg()?.args(["udf", "inspect"]).arg(&component).ok()?;
    ensure!(inspected.out.contains("function split"), "{inspected}");
    let (input, output) = (folder.join("lines.txt"), folder.join("words.txt"));
    fs::write(&input, "to be\nor not  to be\n\n")?;
    let yaml = format!(
        "pipeline:\n  type: chain\n  transforms:\n    - {{type: ReadFromText, config: {{path: '{}'}}}}\n    \
         - {{type: Wasm, config: {{component: '{component}', function: split}}}}\n    \
         - {{type: WriteToText, config: {{path: '{}'}}}}\n",
        input.display(),
        output.display(),
    );
    let pipeline = folder.join("words.yaml");
    fs::write(&pipeline, yaml)?;
    Run::thalweg()?.arg("run").arg(pipeline).ok()?;
    Lines::read(&output)?.same_as(&Lines::of("to\nbe\nor\nnot\nto\nbe\n"), "the words")
}

/// Makes the crate that README.md describes, and builds it as it says; the path that the command prints.
fn build(folder: &Path) -> Result<String> {
    place::component("evil")?; // whoever built the guests has fetched what the SDK needs
    let krate = folder.join("my-udf");
    fs::create_dir_all(krate.join("src"))?;
    fs::write(krate.join("src/lib.rs"), block("rust")?)?;
    let manifest = format!(
        "[package]\nname = \"my-udf\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\n\
         [dependencies]\nthalweg-udf = {{ path = '{}' }}\n",
        place::file("guest-sdk/rust").display()
    );
    fs::write(krate.join("Cargo.toml"), manifest)?;
    // the versions that are fetched already
    fs::copy(place::file("guest-examples/Cargo.lock"), krate.join("Cargo.lock"))?;
    // what is compiled is kept from run to run
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("first-function");
    let run = Run::thalweg()?.args(["udf", "build"]).arg(&krate).limit(300);
    let run = run.env("CARGO_TARGET_DIR", target).env("CARGO_NET_OFFLINE", "true");
    // a machine without the target compiles the standard library itself, as scripts/build-guests.sh does
    let run = if has_target()? {
        run
    } else {
        run.env("RUSTC_BOOTSTRAP", "1").env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort")
    };
    let built = run.ok()?;
    Ok(built.out.trim().to_owned())
}

/// Whether the compiler has the standard library of the guests' target.
fn has_target() -> Result<bool> {
    let printed = Command::new("rustc").args(["--print", "sysroot"]).output().context("rustc cannot be run")?;
    let sysroot = String::from_utf8(printed.stdout)?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib/wasm32-unknown-unknown").exists())
}
