//! What the runtimes of Python and JavaScript do in a component: the clock and randomness are those of the call, output goes to the log,
//! and whatever goes wrong with an element is told with the guest's stack, or is a typed error.

use crate::lines::logged;
use crate::stage::{Ran, Stage};
use crate::support::{component, guest, in_the_languages_of_today, root};
use std::time::Duration;
use thalweg_core::batch::BatchBuilder;
use thalweg_core::error::Error as CoreError;
use thalweg_core::port::worker::Input;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_wasm::{Binding, Cache, Component, Engine, EngineLimits, Error, Failures, Limits, Pool, Target};

type Fallible = Result<(), Box<dyn std::error::Error>>;

fn run(guest: &str, commands: &[&str], failures: Failures) -> Result<Ran, CoreError> {
    let limits = Limits::default().cpu_soft(Duration::from_secs(2)).wall_hard(Duration::from_secs(30));
    let stage = Stage::limited(guest, "run", limits, Binding::default(), failures);
    let mut builder = BatchBuilder::new();
    for (i, command) in commands.iter().enumerate() {
        builder.push(&[], command.as_bytes(), EventTime(i as i64), &[Window::Global]);
    }
    let input = Input::Elements { batches: vec![(0, builder.finish())] };
    stage.map_err(|e| CoreError::internal("TEST", e.to_string()))?.run(input)
}

fn said(guest: &str, commands: &[&str]) -> Result<Vec<String>, CoreError> {
    let ran = run(guest, commands, Failures::FailBundle)?;
    Ok(ran.rows(0).into_iter().map(|(_, text, _)| text).collect())
}

/// The dead letters of commands, after as many elements that are good.
fn letters(guest: &str, commands: &[&str]) -> Result<Vec<String>, CoreError> {
    let all: Vec<&str> = commands.iter().flat_map(|command| ["clock", command]).collect();
    let ran = run(guest, &all, Failures::DeadLetter(vec![Target::Output(1)]))?;
    assert_eq!(ran.rows(0).len(), commands.len());
    Ok(ran.rows(1).into_iter().map(|(_, letter, _)| letter).collect())
}

#[test]
fn a_component_of_javascript_imports_nothing_of_wasi_and_one_of_python_does() {
    let ours = |guest| component(guest).imports().iter().all(|name| name.starts_with("thalweg:udf/"));
    assert!(ours("conformance_js") && !ours("conformance_python"));
}

#[test]
fn time_stands_still_and_is_that_of_the_call() -> Fallible {
    // the processing time of the tests is 7
    assert_eq!(said("conformance_python", &["clock", "clock"])?, ["7 7 True", "7 7 True"]);
    assert_eq!(said("conformance_js", &["clock"])?, ["7 1970-01-01T00:00:00.007Z 5"]);
    Ok(())
}

#[test]
fn randomness_comes_from_the_seed_of_the_call() -> Fallible {
    for guest in ["conformance_python", "conformance_js"] {
        let first = said(guest, &["numbers", "numbers"])?;
        assert_ne!(first[0], first[1]);
        assert_eq!(first, said(guest, &["numbers", "numbers"])?, "another instance");
    }
    Ok(())
}

#[test]
fn there_are_no_files_variables_or_foreign_globals() -> Fallible {
    assert_eq!(said("conformance_python", &["files"])?, ["FileNotFoundError 0"]);
    assert_eq!(said("conformance_js", &["globals"])?, [""]);
    Ok(())
}

#[test]
fn what_is_printed_and_logged_is_in_the_log() -> Fallible {
    for (guest, wanted) in [
        ("conformance_python", ["one line \u{fc}", "to the other", "warned 5"].as_slice()),
        ("conformance_js", &["one line \u{fc} {\"deep\":[\"1n\"]}", "warned 5"]),
    ] {
        let (said, lines) = logged(|| said(guest, &["lines"]));
        said?;
        for text in wanted {
            assert!(lines.contains(text), "{text:?} is not in\n{lines}");
        }
        assert!(lines.contains("WARN") && !lines.contains("not told"), "{lines}");
    }
    Ok(())
}

#[test]
fn an_error_of_an_element_is_told_with_its_class_and_stack_and_the_others_stand() -> Fallible {
    let found = letters("conformance_python", &["broken", "told", "leave", "recursion"])?;
    assert!(found[0].contains("KEY_ERROR") && found[0].contains("in broken"), "{}", found[0]);
    assert!(found[0].contains("return {}['nothing']"), "with the line of the source: {}", found[0]);
    assert!(found[1].contains("TOLD"), "{}", found[1]);
    assert!(found[2].contains("SYSTEM_EXIT"), "{}", found[2]);
    assert!(found[3].contains("RECURSION_ERROR"), "{}", found[3]);
    let found = letters("conformance_js", &["broken", "told", "promise", "recursion"])?;
    assert!(found[0].contains("TYPE_ERROR") && found[0].contains("broken"), "{}", found[0]);
    assert!(found[1].contains("TOLD"), "{}", found[1]);
    assert!(found[2].contains("async does not cross the boundary"), "{}", found[2]);
    assert!(found[3].contains("recursion"), "{}", found[3]);
    Ok(())
}

#[test]
fn what_does_not_end_or_takes_too_much_is_an_error_of_the_guest() {
    for guest in ["conformance_python", "conformance_js"] {
        let error = run(guest, &["loop"], Failures::FailBundle).expect_err(guest);
        assert_eq!(error.code, "WASM_CPU_LIMIT", "{guest}: {error:?}");
        let error = run(guest, &["memory"], Failures::FailBundle).expect_err(guest);
        let codes = ["WASM_MEMORY_LIMIT", "WASM_ROW_FAILED", "WASM_TRAP"];
        assert!(codes.contains(&error.code), "{guest}: {error:?}");
    }
}

#[test]
fn as_many_instances_as_an_engine_may_have_fit_in_any_language() -> Result<(), Error> {
    const INSTANCES: u32 = 6;
    let cache = Cache::open(&root().join("target/guests/compiled"))?;
    in_the_languages_of_today("conformance", |name| {
        let engine = Engine::new(EngineLimits::default().instances(INSTANCES))?;
        let component = Component::load(&engine, &guest(name), Some(&cache))?;
        let open = |_| {
            let mut pool = Pool::new(&component, "first_word", "T", "", Limits::default())?;
            pool.warm().map(|()| pool)
        };
        let open_ones = (0..INSTANCES).map(open).collect::<Result<Vec<_>, _>>()?;
        let refused = open(INSTANCES).err();
        assert!(matches!(refused, Some(Error::Instances { .. })), "{refused:?}");
        drop(open_ones);
        open(0).map(drop)
    })
}
