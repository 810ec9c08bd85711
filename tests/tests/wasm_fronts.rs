//! Functions of a component in Beam's own combines and windows, with side inputs and tables, in stock Beam programs in Python; and what is
//! refused when the job is submitted.

use acceptance::child::Run;
use acceptance::python::{answer, as_prism, program};
use acceptance::{place, watchdog};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::fs;

fn command(part: &str) -> Result<Run> {
    let folder = watchdog::folder("wasm-fronts")?;
    fs::write(folder.join("own.csv"), "name,code\n\"Alpha, first\",a\nZeta,z\n")?;
    fs::write(folder.join("other.jsonl"), "{\"code\": \"z\", \"n\": 1}\n{\"code\": \"z\", \"n\": 26}\n")?;
    Ok(program("wasm_fronts.py")?.arg(place::component("conformance")?).arg(folder).arg(part).args(as_prism()?))
}

/// Runs a part of the program and compares what came out.
fn gives(part: &str, wanted: &Value) -> Result<()> {
    let found = answer(&command(part)?.ok()?.out)?;
    ensure!(found == *wanted, "{part} gave {found}\nand not {wanted}");
    Ok(())
}

/// Runs a part that is refused, with this in the message.
fn refused(part: &str, said: &[&str]) -> Result<()> {
    let ended = command(part)?.end()?;
    let all = format!("{}{}", ended.out, ended.err);
    let missing: Vec<&&str> = said.iter().filter(|text| !all.contains(**text)).collect();
    ensure!(ended.code.is_some_and(|code| code != 0) && missing.is_empty(), "{part} lacks {missing:?}\n{ended}");
    Ok(())
}

#[test]
fn a_combine_fn_of_a_component_stands_in_beams_combines() -> Result<()> {
    let three = json!([999, 998, 997]);
    gives(
        "combine",
        &json!([
            [["a", three], ["b", three]],
            [["a", [999]], ["b", [999]]],
            [["all", [999, 999]]],
            [["w", [1]], ["w", [7, 5]]],
        ]),
    )
}

#[test]
fn windows_of_a_component_are_assigned_and_merged_between_python_and_components() -> Result<()> {
    gives(
        "windows",
        &json!([
            [["a", [3, 2, 1]], ["a", [4]], ["b", [5]]],
            [["a", [1, 2, 3], 100, 126], ["a", [4], 200, 210], ["b", [5], 103, 113]],
        ]),
    )
}

#[test]
fn windows_of_a_component_may_depend_on_the_element() -> Result<()> {
    gives(
        "spans",
        &json!([[
            ["a", [1000], 0, 1000],
            ["a", [1000], 0, 2000],
            ["a", [1000], 1000, 2000],
            ["a", [1000], 1000, 3000],
            ["b", [500], 2000, 2500],
            ["b", [500], 2000, 3000],
        ]]),
    )
}

#[test]
fn side_inputs_and_tables_of_a_program_are_read() -> Result<()> {
    gives(
        "lookups",
        &json!([[
            "a: sum 12, names Ann+Ada of 2, own Alpha, first, other Some(26)",
            "c: sum 12, names  of 2, own none, other None",
        ]]),
    )
}

#[test]
fn rows_are_joined_with_a_table_in_the_engine() -> Result<()> {
    gives("join", &json!([[["a", "z", "Alpha, first"], ["c", "x", null]]]))
}

#[test]
fn what_does_not_fit_is_refused_when_the_job_is_submitted() -> Result<()> {
    refused("wrong_access", &["WASM_MISMATCH", "`numbers`"])?;
    refused("wrong_type", &["WASM_MISMATCH", "integers", "strings"])?;
    refused("wrong_merging", &["WASM_MISMATCH", "windows that merge"])?;
    refused("wrong_kind", &["WASM_MISMATCH", "`ledger`"])
}
