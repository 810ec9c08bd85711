//! Parts of Beam's model, as stock Beam programs in Python ask for them. Each asserts its own result.

use acceptance::python::{answer, as_prism, program};
use anyhow::{Result, ensure};

fn part(name: &str) -> Result<()> {
    let ended = program("model.py")?.arg(name).args(as_prism()?).ok()?;
    ensure!(answer(&ended.out)? == serde_json::json!([name, "DONE"]), "{ended}");
    Ok(())
}

#[test]
fn sorted_input_comes_in_the_order_of_event_time() -> Result<()> {
    part("sorted_input")
}

#[test]
fn stable_input_arrives() -> Result<()> {
    part("stable_input")
}

#[test]
fn a_loop_of_timers_ends_with_its_window() -> Result<()> {
    part("looping_timers")
}

#[test]
fn every_kind_of_state_that_python_has_keeps_its_word() -> Result<()> {
    part("state_kinds")
}

#[test]
fn a_bag_of_many_pages_is_read_whole() -> Result<()> {
    part("large_bag")
}

#[test]
fn side_inputs_are_read_in_all_their_forms() -> Result<()> {
    part("side_inputs")
}

#[test]
fn a_model_is_replaced_while_the_pipeline_runs() -> Result<()> {
    part("replaced_model")
}

#[test]
fn panes_of_python_are_early_timely_and_late_and_windows_close_in_silence() -> Result<()> {
    part("quiet_panes")
}

#[test]
fn reshuffles_keep_times_and_windows() -> Result<()> {
    part("redistributed")
}

#[test]
fn thousands_of_sessions_of_a_key_take_seconds() -> Result<()> {
    part("many_sessions")
}

#[test]
fn batches_are_as_large_as_they_may_be() -> Result<()> {
    part("batches")
}

#[test]
fn timers_by_the_clock_do_not_wait_where_the_input_has_an_end() -> Result<()> {
    part("patient_timers")
}

#[test]
fn collections_of_different_coders_are_flattened() -> Result<()> {
    part("flattened")
}

#[test]
fn a_script_of_pairs_that_only_the_sdk_can_read_is_played() -> Result<()> {
    part("opaque_script")
}
