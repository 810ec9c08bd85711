//! A stock Python harness runs a pipeline of everything a bundle can do, stage by stage; the test is the runner.
//!
//! Python is `THALWEG_PYTHON`, else the repository's `.venv`; the test needs one of them with apache-beam.
#![cfg(feature = "fn-api")]

mod fnapi_support;

use bytes::Bytes;
use fnapi_support::python::{Python, Run};
use std::collections::BTreeSet;
use thalweg_core::batch::Batch;
use thalweg_core::metric::MetricValue;
use thalweg_core::port::worker::{Command, DueTimer, Event, Input, Worker};
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;

fn texts(batch: &[Batch]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    batch.iter().flat_map(|b| b.rows().iter().map(|r| text(b.value(r))).collect::<Vec<_>>()).collect()
}

#[test]
fn a_python_worker_runs_elements_side_inputs_and_outputs() -> anyhow::Result<()> {
    let mut python = Python::start()?;
    let ran = python.run_until("Split/ParDo(Split)")?;
    let Run::Done { outputs, result } = ran else { unreachable!("{ran:?}") };
    let mut lengths: Vec<usize> = outputs.iter().map(|o| o.iter().map(Batch::len).sum()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [3, 5, 5, 5], "long words, words, pairs, pairs in windows");
    let pairs: Vec<_> =
        outputs.concat().into_iter().filter(|b| b.rows().iter().any(|r| b.key(r) == b"three")).collect();
    let three = pairs[0].rows().iter().find(|r| pairs[0].key(r) == b"three").expect("three");
    assert_eq!(pairs[0].value(three), [0xbb, 0x17], "3 of the map and 3000 of the list, as a varint");
    let words = result.metrics.0.iter().find(|(key, _)| key.labels.get("NAME").is_some_and(|name| name == "words"));
    let (key, value) = words.expect("the counter");
    assert_eq!(value, &MetricValue::Sum(5));
    assert_eq!(key.labels["PTRANSFORM"], "Split/ParDo(Split)");
    python.stop();
    Ok(())
}

#[test]
fn a_python_worker_keeps_state_and_fires_timers() -> anyhow::Result<()> {
    let mut python = Python::start()?;
    let groups: BTreeSet<String> = ["one", "three"].map(str::to_owned).into();
    let numbers = |n: u8| vec![("one", n), ("three", n + 1), ("three", n + 2)];
    let Run::Done { result, .. } = python.keyed("Sum", &numbers(1), &[])? else { unreachable!("the first bundle") };
    assert_eq!(result.timers.len(), 3);
    python.keep(&result);
    // the second bundle of these keys may use what the worker cached; the engine's cells stay the truth
    let Run::Done { result, .. } = python.keyed("Sum", &numbers(10), &[])? else { unreachable!("the second bundle") };
    python.keep(&result);
    let timer = result.timers[0].clone();
    let set = timer.set.expect("set");
    assert_eq!(set.fire, 3_600_000);
    let due = DueTimer { family: timer.family, tag: Bytes::new(), fire: set.fire, hold: set.hold, pane: set.pane };
    let keys: Vec<&str> = groups.iter().map(String::as_str).collect();
    let Run::Done { outputs, result } = python.keyed("Sum", &[], &keys.map_due(&due))? else { unreachable!("timers") };
    let mut said = texts(&outputs.concat());
    said.sort();
    assert_eq!(said, ["one=11 of 2", "three=28 of 4"]);
    assert!(result.state.groups.iter().all(|g| !g.changes.is_empty()), "the total is cleared");
    python.stop();
    Ok(())
}

/// Pairs keys with a timer.
trait MapDue {
    fn map_due(&self, due: &DueTimer) -> Vec<(&str, DueTimer)>;
}

impl MapDue for Vec<&str> {
    fn map_due(&self, due: &DueTimer) -> Vec<(&str, DueTimer)> {
        self.iter().map(|key| (*key, due.clone())).collect()
    }
}

#[test]
fn a_python_exception_names_its_step_and_keeps_its_traceback() -> anyhow::Result<()> {
    let mut python = Python::start()?;
    let ran = python.run_until("Boom")?;
    let Run::Failed(error) = ran else { unreachable!("{ran:?}") };
    assert_eq!((error.code, error.transform.as_str()), ("UDF_FAILED", "Boom"));
    assert_eq!(error.message, "KeyError: \"missing\"");
    assert!(error.trace.contains("raise KeyError('missing')"), "{}", error.trace);
    let Run::Failed(error) = python.keyed("Sum", &[("boom", 1)], &[])? else { unreachable!("boom") };
    assert_eq!((error.message.as_str(), error.transform.as_str()), ("ValueError: no boom today", "Sum"));
    python.stop();
    Ok(())
}

#[test]
fn a_python_splittable_function_gives_work_back_and_is_finalized() -> anyhow::Result<()> {
    let mut python = Python::start()?;
    let mut ran = python.run_until("Steps")?;
    let mut steps = Vec::new();
    for round in 0.. {
        let Run::Done { outputs, result } = ran else { unreachable!("{ran:?}") };
        assert!(result.finalize);
        steps.extend(outputs.concat().iter().flat_map(|b| b.rows().iter().map(|r| b.value(r)[0]).collect::<Vec<_>>()));
        let Some(residual) = result.residuals.first() else {
            assert_eq!(round, 2);
            break;
        };
        assert_eq!((residual.entry, residual.delay_ms), (0, 5000));
        python.worker.submit(Command::Finalize(python.last()))?;
        ran = python.bundle("Steps", Input::Elements { batches: vec![(0, residual.batch.clone())] }, Vec::new())?;
    }
    assert_eq!(steps, (0..10).collect::<Vec<_>>());
    python.stop();
    Ok(())
}

#[test]
fn a_python_window_function_merges_windows() -> anyhow::Result<()> {
    let mut python = Python::start()?;
    let window = |start: i64, end: i64| Window::Interval { start: EventTime(start * 1000), end: EventTime(end * 1000) };
    let keys = vec![vec![window(1, 11), window(30, 40), window(70, 80)], vec![window(1, 11)]];
    let stage = python.grouping();
    python.worker.submit(Command::MergeWindows { request: 7, stage, keys })?;
    let Event::WindowsMerged { request: 7, keys } = python.event()? else { unreachable!("merged") };
    let [first, second] = <[_; 2]>::try_from(keys).expect("one answer per key");
    assert_eq!(first.len(), 1);
    let (merged, mut members) = first[0].clone();
    members.sort();
    assert_eq!((merged, members), (window(1, 40), vec![window(1, 11), window(30, 40)]));
    assert!(second.is_empty());
    python.stop();
    Ok(())
}

#[test]
fn a_killed_python_process_is_lost_and_then_missed() -> anyhow::Result<()> {
    let mut python = Python::start()?;
    python.kill()?;
    let Event::Lost { error } = python.event()? else { unreachable!("lost") };
    assert_eq!(error.code, "WORKER_LOST");
    let Event::Lost { error } = python.event()? else { unreachable!("missed") };
    assert_eq!(error.code, "WORKER_START_FAILED");
    let refused = python.worker.submit(Command::Progress(python.last())).expect_err("it will stay so");
    assert_eq!(refused.code, "WORKER_START_FAILED");
    python.stop();
    Ok(())
}
