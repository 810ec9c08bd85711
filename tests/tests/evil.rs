//! Hostile components as jobs of a server: each ends in its own error, and neither the server nor an honest job beside them is any the
//! worse for it.

use acceptance::place;
use acceptance::python::{answer, program};
use acceptance::server::Server;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// One attack of each kind in `guest-examples/evil/wat` and the code that its job ends in; nothing for those that harm themselves alone.
/// The tests of the crate `thalweg-wasm` have all of them.
const ATTACKS: &[(&str, &str)] = &[
    ("description_deep", "WASM_DESCRIPTION"),
    ("entries_flood", "WASM_STATE_LIMIT"),
    ("entropy_flood", "WASM_DENIED"),
    ("frame_count_lies", "WASM_FRAME"),
    ("group_foreign", "WASM_STATE_DENIED"),
    ("handles_leaked", "WASM_TRAP"),
    ("log_flood", ""),
    ("loop_in_bulk_memory", "WASM_CPU_LIMIT"),
    ("loop_in_host_calls", "WASM_CPU_LIMIT"),
    ("loop_plain", "WASM_CPU_LIMIT"),
    ("memory_bomb", "WASM_MEMORY_LIMIT"),
    ("output_amplified", "WASM_OUTPUT_LIMIT"),
    ("outputs_flood", "WASM_OUTPUT_LIMIT"),
    ("realloc_calls_the_host", "WASM_TRAP"),
    ("recursion_mutual", "WASM_STACK_LIMIT"),
    ("result_over_the_end", "WASM_TRAP"),
    ("secrets_probe", ""),
    ("sleeps_for_ever", ""),
    ("timers_flood", "WASM_STATE_LIMIT"),
    ("trap_at_start", "WASM_TRAP"),
    ("trap_in_open", "WASM_TRAP"),
    ("wants_the_clock", "WASM_NOT_GRANTED"),
];

/// Seconds that an attack may take, on a machine that does other things as well: its limits are 0.2 s of CPU time and 30 s of wall time.
const DEADLINE_SECONDS: f64 = 60.0;
/// What the server may have kept of them, in MiB: compiled code, and memory of instances that are kept for the next.
const KEPT_MIB: u64 = 400;

#[test]
fn attacks_end_in_their_errors_and_a_neighbouring_job_gives_the_same() -> Result<()> {
    let server = Server::start(&["serve"])?;
    let components = ATTACKS.iter().map(|(name, _)| place::component(&format!("evil_{name}")));
    let components = components.collect::<Result<Vec<_>>>()?;
    let honest = place::component("conformance")?;
    let ended = program("evil_jobs.py")?.arg(server.endpoint()).arg(honest).args(components).limit(280).ok()?;
    let told = answer(&ended.out)?;
    let mut wrong = Vec::new();
    for (name, code) in ATTACKS {
        let found =
            told.get("codes").and_then(|codes| codes.get(name)).with_context(|| format!("no {name}: {told}"))?;
        let seconds = found.get(1).and_then(Value::as_f64).unwrap_or(f64::MAX);
        if found.get(0).and_then(Value::as_str) != Some(code) || seconds > DEADLINE_SECONDS {
            wrong.push(format!("{name}: {found}, not {code}"));
        }
    }
    ensure!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), server.log());
    let (alone, beside) = (told.get("alone"), told.get("beside").and_then(Value::as_array).context("no neighbour")?);
    ensure!(!beside.is_empty() && beside.iter().all(|rows| Some(rows) == alone), "the neighbour gave {told}");
    ensure!(server.resident_mib()? < KEPT_MIB, "the server has kept {} MiB", server.resident_mib()?);
    server.stop().map(drop)
}

/// How jobs of a server end whose pipeline grants these to a component that describes the clock and the variable REGION.
fn ended(server: &Server, grants: &[Value]) -> Result<Vec<String>> {
    let grants = grants.iter().map(Value::to_string);
    let wants = place::component("evil_wants_the_clock")?;
    let told = answer(&program("granted_job.py")?.arg(server.endpoint()).arg(wants).args(grants).ok()?.out)?;
    Ok(serde_json::from_value(told)?)
}

#[test]
fn what_a_pipeline_grants_is_given_only_where_the_server_allows_it() -> Result<()> {
    let both = json!({"clock": true, "env": {"REGION": "eu"}});
    let refused = |said: &str, what: &str| said.contains("WASM_NOT_ALLOWED") && said.contains(what);
    let server = Server::start(&["serve"])?;
    let found = ended(&server, std::slice::from_ref(&both))?;
    ensure!(refused(&found[0], "grants clock to f"), "{found:?}");
    server.stop()?;
    let server = Server::start(&["serve", "--allow-capability=clock", "--allow-capability=env:REGION"])?;
    let more = json!({"clock": true, "env": {"REGION": "eu", "OTHER": "x"}});
    let found = ended(&server, &[both, more, json!({"clock": true})])?;
    ensure!(found[0].is_empty() && refused(&found[1], "env:OTHER"), "{found:?}");
    ensure!(found[2].contains("WASM_NOT_GRANTED") && found[2].contains("env:REGION"), "{found:?}");
    server.stop().map(drop)
}
