//! Programs in Java, as a Maven project, with the portable runner of Beam's Java SDK.

use crate::{endpoint, oracle};
use acceptance::child::Run;
use acceptance::lines::Lines;
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;
use std::fs;

#[test]
fn our_programs_in_java_give_what_they_should() -> Result<()> {
    let folder = watchdog::folder("java-programs")?;
    let text = place::file("LICENSE");
    let mut wanted: BTreeMap<&str, Lines> = BTreeMap::new();
    wanted.insert("test_stream", oracle::panes());
    wanted.insert("wordcount", oracle::counted(&oracle::words(&fs::read_to_string(&text)?)));
    for program in
        oracle::COUNTING.into_iter().chain(["processing", "sdf", "checkpoint", "sequence", "wasm", "windows"])
    {
        wanted.insert(program, oracle::lines(program).context("no such program")?);
    }
    let names: Vec<&str> = wanted.keys().copied().collect();
    let ended = Run::new("java")
        .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
        .arg(format!("{}/*:{}", place::program("java/lib")?.display(), place::program("java/classes")?.display()))
        .args(["languages.Main", "--runner=PortableRunner", "--defaultEnvironmentType=LOOPBACK"])
        .arg(format!("--jobEndpoint={}", endpoint()?))
        .arg(format!("--program={}", names.join(",")))
        .arg(format!("--input={}", text.display()))
        .arg(format!("--output={}", folder.display()))
        .arg(format!("--component={}", place::component("conformance")?.display()))
        .arg(format!("--expansion={}", endpoint()?))
        .limit(240)
        .ok()?;
    for (program, wanted) in &wanted {
        Lines::read(&folder.join(program))?.same_as(wanted, program)?;
        if oracle::COUNTING.contains(program) {
            let line = format!("{program} seen 100");
            ensure!(ended.out.lines().any(|l| l == line), "the counter of {program}:\n{ended}");
        }
    }
    Ok(())
}
