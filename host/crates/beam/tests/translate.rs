//! Pipelines of Beam's Python SDK become the graphs and plans that the snapshots show.
//!
//! The protos are made by `tests/data/make.py`. A snapshot that differs is written beside the expected one as `*.new`:
//! look at it, and move it over if it is right.

mod render;

use prost::Message;
use std::path::PathBuf;
use thalweg_beam::descriptor::{Endpoints, StageWire, describe};
use thalweg_beam::translate::{Role, Translation, translate};
use thalweg_beam::urn::coder::STRING_UTF8;
use thalweg_core::coder::Coder;
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{Plan, StageKind, fuse};
use thalweg_proto::pipeline::{self as proto, FunctionSpec, Pipeline};

fn read(name: &str) -> Result<Pipeline> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format!("{name}.pb"));
    let bytes = std::fs::read(&path).map_err(|e| Error::internal("TEST", format!("{}: {e}", path.display())))?;
    Pipeline::decode(bytes.as_slice()).map_err(|e| Error::internal("TEST", e.to_string()))
}

fn stages(translation: &Translation, plan: &Plan) -> Result<Vec<StageWire>> {
    let mut wires = Vec::new();
    for stage in &plan.stages {
        if let StageKind::Worker(worker) = &stage.kind
            && worker.environment.is_some()
        {
            wires.push(describe(translation, plan, stage.id, &Endpoints::at("localhost:2"))?);
        }
    }
    Ok(wires)
}

/// Compares what a pipeline becomes with its snapshot.
fn golden(name: &str) -> Result<()> {
    let translation = translate(read(name)?)?;
    let plan = fuse(&translation.graph)?;
    let text = render::all(&translation, &plan, &stages(&translation, &plan)?);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.txt"));
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if text != expected {
        let new = path.with_extension("new");
        std::fs::write(&new, &text).map_err(|e| Error::internal("TEST", e.to_string()))?;
        assert_eq!(text, expected, "see {}", new.display());
    }
    Ok(())
}

#[test]
fn wordcount_combines_around_its_grouping() -> Result<()> {
    golden("wordcount")
}

#[test]
fn a_combine_lifted_by_the_sdk_becomes_the_same_plan() -> Result<()> {
    golden("wordcount_lifted")
}

#[test]
fn fixed_windows_before_a_combine_are_the_engines_and_it_is_not_lifted() -> Result<()> {
    golden("minutes")
}

#[test]
fn a_lift_by_the_sdk_that_does_not_pay_is_taken_back() -> Result<()> {
    golden("minutes_lifted")
}

#[test]
fn a_stateful_function_begins_a_keyed_stage() -> Result<()> {
    golden("stateful")
}

#[test]
fn side_inputs_become_views() -> Result<()> {
    golden("sides")
}

#[test]
fn inputs_of_a_flatten_are_recoded_where_coders_differ() -> Result<()> {
    golden("flatten")
}

#[test]
fn a_splittable_function_is_taken_apart() -> Result<()> {
    golden("splittable")
}

#[test]
fn windows_of_every_kind_are_understood() -> Result<()> {
    golden("windows")
}

#[test]
fn keys_and_windows_that_only_the_sdk_knows_are_prefixed_everywhere() -> Result<()> {
    golden("opaque")
}

#[test]
fn a_test_stream_becomes_a_script() -> Result<()> {
    golden("test_stream")
}

#[test]
fn a_grouping_keeps_the_tree_of_its_trigger() -> Result<()> {
    golden("triggers")
}

#[test]
fn user_names_stay_with_the_parts_of_a_transform() -> Result<()> {
    let translation = translate(read("splittable")?)?;
    let parts: Vec<_> = translation.transforms.iter().filter(|t| t.origin == "Count").collect();
    assert_eq!(parts.len(), 3);
    assert!(parts.iter().all(|t| matches!(t.role, Role::Sdk(_))));
    Ok(())
}

#[test]
fn a_splittable_stage_has_a_twin_that_truncates_what_it_would_process() -> Result<()> {
    let translation = translate(read("splittable")?)?;
    let plan = fuse(&translation.graph)?;
    let splits = |s: &&thalweg_core::graph::Stage| matches!(&s.kind, StageKind::Worker(w) if w.splittable);
    let stage = plan.stages.iter().find(splits).ok_or_else(|| Error::internal("TEST", "no such stage"))?;
    let wire = describe(&translation, &plan, stage.id, &Endpoints::at("localhost:1"))?;
    let twin = wire.truncate.ok_or_else(|| Error::internal("TEST", "no twin"))?;
    assert_eq!(twin.descriptor.id, format!("{}-truncate", wire.descriptor.id));
    let truncate = twin.descriptor.transforms.get("Count").and_then(|t| t.spec.as_ref()).map(|s| s.urn.as_str());
    assert_eq!(truncate, Some("beam:transform:sdf_truncate_sized_restrictions:v1"));
    assert_eq!(twin.descriptor.transforms.len(), 3);
    assert_eq!(twin.outputs.len(), 1);
    assert_eq!(twin.outputs.first().map(|o| &o.coder), wire.inputs.first().map(|i| &i.coder));
    Ok(())
}

/// The wiring of the state `seen` of the pipeline `stateful`, made a multimap whose values have this coder.
fn multimap_of(values: &str) -> Result<Option<Coder>> {
    let mut pipeline = read("stateful")?;
    let broken = || Error::internal("TEST", "no such state");
    let components = pipeline.components.as_mut().ok_or_else(broken)?;
    let own = FunctionSpec { urn: "beam:coder:pickled_python:v1".to_owned(), ..Default::default() };
    components.coders.insert("own".to_owned(), proto::Coder { spec: Some(own), ..Default::default() });
    let text = components.coders.iter().find(|(_, c)| c.spec.as_ref().is_some_and(|s| s.urn == STRING_UTF8));
    let text = text.map(|(id, _)| id.clone()).ok_or_else(broken)?;
    let pardo = components.transforms.values_mut().filter_map(|t| t.spec.as_mut());
    let mut payloads = pardo.filter_map(|spec| Some((proto::ParDoPayload::decode(spec.payload.clone()).ok()?, spec)));
    let (mut payload, spec) =
        payloads.find(|(payload, _)| payload.state_specs.contains_key("seen")).ok_or_else(broken)?;
    let value_coder_id = if values == "text" { text.clone() } else { values.to_owned() };
    let map = proto::MultimapStateSpec { key_coder_id: text, value_coder_id };
    let protocol = FunctionSpec { urn: "beam:user_state:multimap:v1".to_owned(), ..Default::default() };
    let state = proto::StateSpec { spec: Some(proto::state_spec::Spec::MultimapSpec(map)), protocol: Some(protocol) };
    payload.state_specs.insert("seen".to_owned(), state);
    spec.payload = payload.encode_to_vec().into();

    let translation = translate(pipeline)?;
    let wires = stages(&translation, &fuse(&translation.graph)?)?;
    let mut states = wires.iter().flat_map(|wire| &wire.states);
    let seen = states.find(|state| state.name == "seen").ok_or_else(broken)?;
    Ok(seen.value.as_deref().cloned())
}

#[test]
fn values_of_a_multimap_are_known_where_their_sdk_writes_them_by_a_standard_coder() -> Result<()> {
    assert_eq!(multimap_of("text")?, Some(Coder::StringUtf8));
    assert_eq!(multimap_of("own")?, None, "they are not written with their length in front");
    Ok(())
}
