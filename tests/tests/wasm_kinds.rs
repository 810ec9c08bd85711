//! Functions of components that are more than a stateless DoFn, in stock Beam programs: state, timers, CombineFns, key selectors. In
//! every language they give the same.

use acceptance::place;
use acceptance::python::{answer, as_prism, program};
use acceptance::server::Server;
use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// Runs a part of the program over the component of each language and compares what came out.
fn gives(kind: &str, wanted: &Value) -> Result<()> {
    for component in place::components("conformance")? {
        // an engine of a language is compiled when it is first used
        let ended = program("wasm_kinds.py")?.arg(&component).arg(kind).args(as_prism()?).limit(300).ok()?;
        let found = answer(&ended.out)?;
        ensure!(found == *wanted, "{kind} of {} gave {found}\nand not {wanted}", component.display());
    }
    Ok(())
}

#[test]
fn timers_of_a_component_fire_in_their_window_and_its_end_is_told() -> Result<()> {
    gives(
        "timers",
        &json!([
            ["a", "event \"\" at 3000 time 3000 seen 4"],
            ["a", "event \"x\" at 2000 time 2000 seen 4"],
            ["a", "over seen 4"],
            ["b", "event \"again\" at 4500 time 4500 seen 1"],
            ["b", "over seen 1"],
        ]),
    )
}

#[test]
fn every_kind_of_state_works_from_a_program() -> Result<()> {
    gives(
        "ledger",
        &json!([
            ["a", "3:l"],
            ["a", "4"],
            ["a", "Some(\"one\")"],
            ["a", "[(\"m\", 1)]"],
            ["a", "b"],
            ["a", "k:v"],
            ["a", "s"],
        ]),
    )
}

#[test]
fn a_combine_fn_of_a_component_combines_per_key() -> Result<()> {
    gives("top", &json!([["a", [999, 998, 997]], ["b", [999, 998, 997]]]))
}

#[test]
fn a_combine_fn_of_a_component_combines_in_merging_windows() -> Result<()> {
    gives("windows", &json!([["a", [1]], ["a", [7, 6, 5]], ["b", [2]]]))
}

#[test]
fn a_key_selector_of_a_component_makes_pairs_that_can_be_grouped() -> Result<()> {
    gives("keys", &json!([["or", ["or"]], ["to", ["to be", "to do"]]]))
}

/// Runs an example of the component of each language over its script in `guest-examples/expected`.
fn example(name: &str) -> Result<()> {
    let script = place::file(&format!("guest-examples/expected/{name}.json"));
    for component in place::components("examples")? {
        let ended = program("wasm_examples.py")?.arg(&component).arg(&script).args(as_prism()?).ok()?;
        let found = answer(&ended.out)?;
        ensure!(found["gives"] == found["wanted"], "{name} of {} gave\n{found:#}", component.display());
        ensure!(found["gives"].as_array().is_some_and(|gives| !gives.is_empty()), "{found}");
    }
    Ok(())
}

#[test]
fn sessions_of_every_language_follow_the_watermark_of_a_script() -> Result<()> {
    example("sessionize")
}

#[test]
fn alerts_of_every_language_follow_the_watermark_of_a_script() -> Result<()> {
    example("alerts")
}

#[test]
fn a_list_larger_than_the_memory_of_function_and_server_is_walked_over() -> Result<()> {
    let (megabytes, most) = (400_u64, 250_u64);
    let server = Server::start(&["serve"])?;
    let run = program("large_list.py")?.arg(place::component("conformance")?).arg(megabytes.to_string());
    let endpoint = format!("--job_endpoint={}", server.endpoint());
    let ended = run.args(["--runner=PortableRunner", &endpoint, "--environment_type=LOOPBACK"]).limit(300).ok()?;
    let (count, bytes) = (megabytes * 16, megabytes << 20);
    let said = format!("{count} of {bytes} bytes, the first of 65536, {count} again, {count} seen");
    ensure!(answer(&ended.out)? == json!([["k", said]]), "{ended}");
    let peak = server.peak_mib()?;
    ensure!(peak < most, "it took {peak} MiB to hand on a list of {megabytes} MiB");
    Ok(())
}
