//! What functions see of the machine, in the languages whose runtimes look for it: what they describe and are granted, and nothing else.

use crate::stage::Stage;
use crate::support::component;
use std::time::Duration;
use thalweg_core::batch::BatchBuilder;
use thalweg_core::port::worker::Input;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_wasm::{Grants, Limits};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const GUESTS: [&str; 3] = ["machine_go", "machine_js", "machine_python"];
const EVERYTHING: &str = r#"{"clock": true, "random": true, "env": {"REGION": "eu", "OTHER": "x"}}"#;

/// What a function of a new instance answers, to whom everything is granted.
fn said(guest: &str, function: &str, questions: &[&str]) -> Fallible<Vec<String>> {
    let grants: Grants = serde_json::from_str(EVERYTHING)?;
    let limits = Limits::default().cpu_soft(Duration::from_secs(20));
    let mut builder = BatchBuilder::new();
    for (i, question) in questions.iter().enumerate() {
        builder.push(&[], question.as_bytes(), EventTime(i as i64), &[Window::Global]);
    }
    let input = Input::Elements { batches: vec![(0, builder.finish())] };
    let ran = Stage::granted(guest, function, limits, &grants)?.run(input)?;
    Ok(ran.rows(0).into_iter().map(|(_, text, _)| text).collect())
}

/// What two instances answer to the same questions.
fn twice(guest: &str, function: &str) -> Fallible<[Vec<String>; 2]> {
    println!("{guest}");
    let questions = ["garbage", "year", "clock", "env", "random"];
    Ok([said(guest, function, &questions)?, said(guest, function, &questions)?])
}

#[test]
fn a_function_that_is_granted_what_it_describes_finds_it_where_its_language_looks() -> Fallible<()> {
    for guest in GUESTS {
        let [first, second] = twice(guest, "seen")?;
        assert_eq!((first[0].as_str(), first[2].as_str(), first[3].as_str()), ("collected", "passes", "eu1"));
        assert!(first[1].parse::<i32>()? >= 2025, "{first:?}");
        // another instance, and the same seed
        assert_ne!(first[4], second[4]);
    }
    Ok(())
}

#[test]
fn a_function_beside_it_that_describes_nothing_sees_nothing() -> Fallible<()> {
    for guest in GUESTS {
        let [first, second] = twice(guest, "blind")?;
        assert_eq!(first[..4], ["collected", "1970", "stands", "0"]);
        assert_eq!(first, second);
    }
    Ok(())
}

#[test]
fn a_component_of_go_or_javascript_imports_of_the_machine_what_its_functions_ask_for() {
    for (guest, foreign) in [("machine_go", 4), ("runtime_go", 0), ("conformance_js", 0)] {
        let component = component(guest);
        let imports = component.imports();
        let found = imports.iter().filter(|import| import.starts_with("wasi:")).count();
        assert_eq!(found, foreign, "{guest}: {imports:?}");
    }
}
