//! What is not run is refused by a stable code, in words that name it; and what is ours is handed through.

use std::collections::BTreeMap;
use thalweg_beam::translate::{EnvironmentKind, Role, translate};
use thalweg_beam::urn::{coder, transform as urn, window_fn};
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{Op, fuse};
use thalweg_core::time::EventTime;
use thalweg_core::window::WindowFn;
use thalweg_proto::pipeline::{
    Coder, Components, Environment, FunctionSpec, PCollection, PTransform, Pipeline, SessionWindowsPayload,
    WindowingStrategy, merge_status,
};

fn spec(urn: &str, payload: &'static [u8]) -> Option<FunctionSpec> {
    Some(FunctionSpec { urn: urn.to_owned(), payload: payload.into() })
}

fn ends(of: &[&str]) -> BTreeMap<String, String> {
    of.iter().map(|c| ((*c).to_owned(), (*c).to_owned())).collect()
}

fn transform(name: &str, urn: &str, payload: &'static [u8], inputs: &[&str], outputs: &[&str]) -> PTransform {
    PTransform {
        unique_name: name.to_owned(),
        spec: spec(urn, payload),
        inputs: ends(inputs),
        outputs: ends(outputs),
        ..Default::default()
    }
}

/// A pipeline of these transforms; their collections are text in the global window.
fn pipeline(transforms: Vec<PTransform>) -> Pipeline {
    let mut components = Components::default();
    let of = |urn: &str| Coder { spec: spec(urn, b""), component_coder_ids: Vec::new() };
    components.coders.insert("text".to_owned(), of(coder::STRING_UTF8));
    components.coders.insert("global".to_owned(), of(coder::GLOBAL_WINDOW));
    let strategy = WindowingStrategy {
        window_fn: spec(window_fn::GLOBAL, b""),
        window_coder_id: "global".to_owned(),
        ..Default::default()
    };
    components.windowing_strategies.insert("global".to_owned(), strategy);
    let mut made = Pipeline::default();
    for transform in transforms {
        for collection in transform.inputs.values().chain(transform.outputs.values()) {
            let proto = PCollection {
                unique_name: collection.clone(),
                coder_id: "text".to_owned(),
                windowing_strategy_id: "global".to_owned(),
                ..Default::default()
            };
            components.pcollections.insert(collection.clone(), proto);
        }
        made.root_transform_ids.push(transform.unique_name.clone());
        components.transforms.insert(transform.unique_name.clone(), transform);
    }
    made.components = Some(components);
    made
}

fn refusal(pipeline: Pipeline) -> Result<Error> {
    translate(pipeline).err().ok_or_else(|| Error::internal("TEST", "accepted"))
}

#[test]
fn an_unknown_transform_is_named_with_its_urn() -> Result<()> {
    let error = refusal(pipeline(vec![transform("Odd", "beam:transform:odd:v1", b"", &[], &["a"])]))?;
    assert_eq!((error.code, error.transform.as_str()), ("PIPELINE_TRANSFORM", "Odd"));
    assert!(error.message.contains("Odd") && error.message.contains("beam:transform:odd:v1"));
    assert!(!error.help.is_empty());
    Ok(())
}

#[test]
fn a_write_that_nobody_runs_is_not_passed_over() -> Result<()> {
    let mut write = transform("Write", "beam:transform:pubsub_write:v2", b"", &["a"], &[]);
    write.environment_id = "any".to_owned();
    let source = transform("In", "thalweg:source:x:v1", b"", &[], &["a"]);
    let mut made = pipeline(vec![source.clone(), write.clone()]);
    let any = Environment { urn: "beam:env:docker:v1".to_owned(), ..Default::default() };
    made.components.get_or_insert_default().environments.insert("any".to_owned(), any);
    assert_eq!(refusal(made)?.code, "PIPELINE_TRANSFORM");
    write.spec = spec("beam:transform:generic_composite:v1", b"");
    assert_eq!(translate(pipeline(vec![source, write]))?.transforms.len(), 1);
    Ok(())
}

#[test]
fn a_grouping_of_something_else_than_pairs_is_refused() -> Result<()> {
    let group = transform("Group", urn::GROUP_BY_KEY, b"", &["a"], &["b"]);
    let error = refusal(pipeline(vec![transform("In", "thalweg:source:x:v1", b"", &[], &["a"]), group]))?;
    assert_eq!(error.code, "PIPELINE_CODER");
    Ok(())
}

#[test]
fn two_transforms_of_one_name_are_refused() -> Result<()> {
    let mut twice = pipeline(vec![transform("In", urn::IMPULSE, b"", &[], &["a"])]);
    twice.root_transform_ids.push("In".to_owned());
    assert_eq!(refusal(twice)?.code, "PIPELINE_INVALID");
    Ok(())
}

#[test]
fn a_composite_inside_itself_is_refused() -> Result<()> {
    let mut own = pipeline(vec![transform("Loop", "any", b"", &[], &["a"])]);
    if let Some(found) = own.components.as_mut().and_then(|c| c.transforms.get_mut("Loop")) {
        found.subtransforms.push("Loop".to_owned());
    }
    assert_eq!(refusal(own)?.code, "PIPELINE_INVALID");
    Ok(())
}

/// A minute is far more than these take, and nothing to what they took when each way to a part was gone.
fn soon<T>(work: impl FnOnce() -> T) -> T {
    let begun = std::time::Instant::now();
    let done = work();
    assert!(begun.elapsed() < std::time::Duration::from_secs(60));
    done
}

#[test]
fn a_composite_with_two_parents_is_refused_before_it_is_gone_through_twice() -> Result<()> {
    let composite = |i: u32| {
        let mut made = transform(&format!("x{i}"), "any", b"", &[], &[]);
        made.subtransforms = vec![format!("x{}", i + 1); 2];
        made
    };
    let mut doubling = pipeline((0..200).map(composite).chain([transform("x200", "", b"", &[], &[])]).collect());
    doubling.root_transform_ids = vec!["x0".to_owned()];
    let error = soon(|| refusal(doubling))?;
    assert_eq!(error.code, "PIPELINE_INVALID");
    assert!(error.message.contains("two parents"), "{error}");
    Ok(())
}

#[test]
fn coders_whose_parts_are_shared_end_soon() -> Result<()> {
    let doubling = |levels: u32, last: &str| {
        let mut made = pipeline(vec![transform("In", "thalweg:source:x:v1", b"", &[], &["a"])]);
        let coders = &mut made.components.get_or_insert_default().coders;
        for i in 0..levels {
            let component_coder_ids = vec![format!("c{}", i + 1); 2];
            coders.insert(format!("c{i}"), Coder { spec: spec(coder::KV, b""), component_coder_ids });
        }
        coders.insert(format!("c{levels}"), Coder { spec: spec(last, b""), component_coder_ids: Vec::new() });
        for collection in made.components.get_or_insert_default().pcollections.values_mut() {
            "c0".clone_into(&mut collection.coder_id);
        }
        made
    };
    assert!(soon(|| translate(doubling(10, coder::BYTES))).is_ok());
    let error = soon(|| refusal(doubling(40, coder::GLOBAL_WINDOW)))?;
    assert_eq!(error.code, "PIPELINE_CODER");
    assert!(error.message.contains("parts"), "{error}");
    Ok(())
}

#[test]
fn a_coder_inside_itself_is_refused() -> Result<()> {
    let mut own = pipeline(vec![transform("In", "thalweg:source:x:v1", b"", &[], &["a"])]);
    let nested = Coder { spec: spec(coder::ITERABLE, b""), component_coder_ids: vec!["text".to_owned()] };
    own.components.get_or_insert_default().coders.insert("text".to_owned(), nested);
    assert_eq!(refusal(own)?.code, "PIPELINE_CODER");
    Ok(())
}

#[test]
fn an_environment_that_cannot_be_started_is_refused() -> Result<()> {
    let mut run = transform("Run", "beam:transform:to_string:v1", b"", &["a"], &["b"]);
    run.environment_id = "odd".to_owned();
    let mut made = pipeline(vec![transform("In", urn::IMPULSE, b"", &[], &["a"]), run]);
    let odd = Environment { urn: "beam:env:default:v1".to_owned(), ..Default::default() };
    made.components.get_or_insert_default().environments.insert("odd".to_owned(), odd);
    assert_eq!(refusal(made)?.code, "PIPELINE_ENVIRONMENT");
    Ok(())
}

#[test]
fn ours_is_handed_through_with_its_payload() -> Result<()> {
    let source = transform("Lines", "thalweg:source:file:v1", br#"{"path":"x"}"#, &[], &["lines"]);
    let mut wasm = transform("Parse", urn::WASM, br#"{"function":"parse"}"#, &["lines"], &["dead", "rows"]);
    wasm.subtransforms.push("for another runner".to_owned());
    let hours = transform("Hours", urn::WINDOW_INTO, b"", &["rows"], &["hours"]);
    let sinks = [("Write", "hours"), ("WriteDead", "dead")];
    let sinks = sinks.map(|(name, input)| transform(name, "thalweg:sink:file:v1", b"{}", &[input], &[]));
    let translation = translate(pipeline([vec![source, wasm, hours], sinks.to_vec()].concat()))?;

    let roles: Vec<_> = translation.transforms.iter().map(|t| (t.name.as_str(), t.role)).collect();
    assert!(matches!(
        roles.as_slice(),
        [
            ("Lines", Role::Source(_)),
            ("Parse", Role::Wasm(_)),
            ("Hours", Role::Native),
            ("Write", Role::Sink(_)),
            ("WriteDead", Role::Sink(_)),
        ]
    ));
    assert_eq!(translation.sources.iter().map(|s| s.payload.as_ref()).collect::<Vec<_>>(), [br#"{"path":"x"}"#]);
    assert_eq!(translation.environments.iter().map(|e| &e.choices[..]).collect::<Vec<_>>(), [[EnvironmentKind::Wasm]]);
    let tags: Vec<_> = translation.transforms.iter().flat_map(|t| &t.outputs).map(|(tag, _)| tag.as_str()).collect();
    assert_eq!(tags, ["lines", "dead", "rows", "hours"]);
    assert!(matches!(translation.graph.transforms.first().map(|t| &t.op), Some(Op::Source(_))));
    assert_eq!(fuse(&translation.graph)?.stages.len(), 5);
    Ok(())
}

/// A pipeline as the Go SDK makes it: behind the expanded transform it says the global window everywhere.
fn expanded_windows(rest: Vec<PTransform>) -> Pipeline {
    use prost::Message as _;
    let source = transform("Lines", "thalweg:source:file:v1", b"{}", &[], &["lines"]);
    let mut windows = transform("Windows", urn::WINDOW_INTO, b"", &["lines"], &["windowed"]);
    let call = thalweg_beam::expansion::component_windows(br#"{"function":"sessions"}"#);
    windows.spec.get_or_insert_default().payload = call.into();
    let mut made = pipeline([vec![source, windows], rest].concat());
    let components = made.components.get_or_insert_default();
    let coder = Coder { spec: spec(coder::INTERVAL_WINDOW, b"{}"), component_coder_ids: Vec::new() };
    components.coders.insert("component".to_owned(), coder);
    let gap = SessionWindowsPayload { gap_size: Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 }) };
    let strategy = WindowingStrategy {
        window_fn: Some(FunctionSpec { urn: window_fn::SESSION.to_owned(), payload: gap.encode_to_vec().into() }),
        window_coder_id: "component".to_owned(),
        merge_status: merge_status::Enum::NeedsMerge as i32,
        ..Default::default()
    };
    components.windowing_strategies.insert("component".to_owned(), strategy);
    if let Some(windowed) = components.pcollections.get_mut("windowed") {
        "component".clone_into(&mut windowed.windowing_strategy_id);
    }
    made
}

#[test]
fn what_comes_behind_windows_of_an_expanded_component_is_in_them_up_to_the_next() -> Result<()> {
    let translation = translate(expanded_windows(vec![
        transform("Spread", urn::RESHUFFLE, b"", &["windowed"], &["spread"]),
        transform("Both", urn::FLATTEN, b"", &["spread"], &["both"]),
        transform("Others", urn::WINDOW_INTO, b"", &["both"], &["others"]),
        transform("Behind", urn::RESHUFFLE, b"", &["others"], &["behind"]),
    ]))?;
    let found: Vec<_> =
        translation.graph.collections.iter().map(|c| (c.name.as_str(), &c.windowing.window_fn)).collect();
    let (global, merging) = (&WindowFn::Global, &WindowFn::Custom { merging: true });
    let wanted = [
        ("lines", global),
        ("windowed", merging),
        ("spread", merging),
        ("both", merging),
        ("others", global),
        ("behind", global),
    ];
    assert_eq!(found, wanted);
    Ok(())
}

#[test]
fn a_side_input_in_windows_of_an_expanded_component_is_refused() -> Result<()> {
    use prost::Message;
    use thalweg_proto::pipeline::{ParDoPayload, SideInput};
    let mut reads = transform("Reads", urn::PAR_DO, b"", &["lines", "windowed"], &["read"]);
    let side_inputs = [("windowed".to_owned(), SideInput::default())].into();
    let payload = ParDoPayload { side_inputs, ..Default::default() }.encode_to_vec();
    reads.spec.get_or_insert_default().payload = payload.into();
    let error = refusal(expanded_windows(vec![reads]))?;
    assert_eq!(error.code, "WINDOW_FN_UNSUPPORTED");
    assert!(error.message.contains("Reads"), "{}", error.message);
    Ok(())
}

#[test]
fn window_sizes_are_whole_milliseconds() -> Result<()> {
    use prost::Message;
    use thalweg_proto::pipeline::FixedWindowsPayload;
    let fixed = |seconds, nanos| {
        let size = Some(prost_types::Duration { seconds, nanos });
        let payload = FixedWindowsPayload { size, offset: None }.encode_to_vec().into();
        thalweg_beam::translate::window_fn(&FunctionSpec { urn: window_fn::FIXED.to_owned(), payload })
    };
    assert_eq!(fixed(1, 500_000_000)?, Some(WindowFn::Fixed { size: 1500, offset: 0 }));
    for (seconds, nanos) in [(0, 1), (0, 0), (-5, 0), (i64::MAX, 0)] {
        assert_eq!(fixed(seconds, nanos).err().map(|e| e.code), Some("PIPELINE_WINDOWING"));
    }
    Ok(())
}

#[test]
fn windows_without_bound_are_refused() -> Result<()> {
    use prost::Message;
    use prost_types::{Duration, Timestamp};
    use thalweg_proto::pipeline::SlidingWindowsPayload;
    let sliding = |size: i64, period: i64, offset: i64| {
        let span = |ms: i64| Duration { seconds: ms.div_euclid(1000), nanos: ms.rem_euclid(1000) as i32 * 1_000_000 };
        let Duration { seconds, nanos } = span(offset);
        let offset = Some(Timestamp { seconds, nanos });
        let payload = SlidingWindowsPayload { size: Some(span(size)), offset, period: Some(span(period)) };
        let payload = payload.encode_to_vec().into();
        thalweg_beam::translate::window_fn(&FunctionSpec { urn: window_fn::SLIDING.to_owned(), payload })
    };
    let (year, end) = (31_536_000_000, EventTime::MAX.0);
    for (size, period, offset) in
        [(100_000, 1, 0), (86_400_000, 1000, 500), (1, 1000, 0), (99_999_001, 1000, end), (7, 2, -end)]
    {
        assert_eq!(sliding(size, period, offset)?, Some(WindowFn::Sliding { size, period, offset }));
    }
    for (size, period, offset) in [
        (year, 1, 0),
        (100_001, 1, 0),
        (100_000_001, 1000, 0),
        (i64::MAX, i64::MAX, 0),
        (2 * end + 1, end, 0),
        (2, 1, i64::MIN),
        (2, 1, i64::MAX),
        (2, 1, end + 1),
    ] {
        let error = sliding(size, period, offset).err();
        assert_eq!(error.map(|e| e.code), Some("PIPELINE_WINDOWING"), "{size} {period} {offset}");
    }
    Ok(())
}
