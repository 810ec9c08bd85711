//! Options read as the SDKs send them.

use super::*;

fn options(fields: &[(&str, Kind)]) -> JobOptions {
    let fields = fields.iter().map(|(name, kind)| ((*name).to_owned(), Value { kind: Some(kind.clone()) })).collect();
    JobOptions::new(Struct { fields })
}

fn text(text: &str) -> Kind {
    Kind::StringValue(text.to_owned())
}

fn map(fields: &[(&str, Kind)]) -> Kind {
    let fields = fields.iter().map(|(name, kind)| ((*name).to_owned(), Value { kind: Some(kind.clone()) })).collect();
    Kind::StructValue(Struct { fields })
}

/// The options of a Go program that was given `flags`.
fn go(flags: &[(&str, Kind)]) -> JobOptions {
    let experiments = prost_types::ListValue { values: vec![Value { kind: Some(text("beam_fn_api")) }] };
    options(&[
        ("beam:option:go_options:v1", map(&[("options", map(flags))])),
        ("beam:option:runner:v1", text("")),
        ("beam:option:app_name:v1", text("go-job")),
        ("beam:option:experiments:v1", Kind::ListValue(experiments)),
        ("beam:option:retain_docker_containers:v1", Kind::BoolValue(false)),
        ("beam:option:parallelism:v1", Kind::NumberValue(-1.0)),
    ])
}

#[test]
fn integers_arrive_as_numbers_or_as_strings() {
    let read = options(&[
        ("beam:option:sdk_worker_parallelism:v1", text("4")),
        ("beam:option:parallelism:v1", Kind::NumberValue(-1.0)),
        ("half", Kind::NumberValue(0.5)),
    ]);
    assert_eq!(read.integer("sdk_worker_parallelism"), Ok(Some(4)));
    assert_eq!(read.integer("parallelism"), Ok(Some(-1)));
    assert_eq!(read.integer("absent"), Ok(None));
    assert!(read.integer("half").is_err());
    assert_eq!(read.number("half"), Ok(Some(0.5)));
}

#[test]
fn an_understood_option_of_another_kind_is_refused_by_name() {
    let read = options(&[("beam:option:parallelism:v1", text("many"))]);
    let error = read.check(&OptionDescriptor::standard()).expect_err("not a number");
    assert_eq!(error.code, "OPTION_INVALID");
    assert!(error.message.contains("parallelism") && error.message.contains("many"), "{error}");
}

#[test]
fn only_what_nobody_knows_is_mentioned() {
    let read = options(&[
        ("beam:option:paralelism:v1", text("4")),
        ("beam:option:prism_log_kind:v1", text("json")),
        ("beam:option:streaming:v1", Kind::BoolValue(false)),
        ("beam:option:retain_docker_containers:v1", Kind::BoolValue(false)),
        ("beam:option:nothing:v1", Kind::NullValue(0)),
    ]);
    let warning = read.unknown(&OptionDescriptor::standard());
    assert_eq!(warning.as_deref(), Some("options this runner does not use: paralelism"));
    assert_eq!(read.boolean("streaming"), Ok(Some(false)));
}

#[test]
fn lists_and_single_values_are_lists() {
    let list =
        prost_types::ListValue { values: vec![Value { kind: Some(text("a")) }, Value { kind: Some(text("b=1")) }] };
    let read = options(&[("beam:option:experiments:v1", Kind::ListValue(list)), ("one", text("x"))]);
    assert_eq!(read.list("experiments"), ["a", "b=1"]);
    assert_eq!(read.list("one"), ["x"]);
    assert!(read.list("none").is_empty());
}

#[test]
fn secrets_are_masked_where_options_are_shown() {
    let read =
        options(&[("beam:option:s3_secret_access_key:v1", text("hush")), ("beam:option:job_name:v1", text("j"))]);
    let shown = format!("{:?}", read.masked());
    assert!(!shown.contains("hush") && shown.contains("\"j\""), "{shown}");
}

#[test]
fn what_a_go_program_was_given_is_read_and_its_own_flags_are_not_mentioned() {
    let read = go(&[
        ("state_name", text("orders")),
        ("update", text("true")),
        ("sdk_worker_parallelism", text("4")),
        ("parallelism", text("16")),
        ("output", text("/tmp/words")),
    ]);
    assert_eq!(read.text("state_name").as_deref(), Some("orders"));
    assert_eq!(read.boolean("update"), Ok(Some(true)));
    assert_eq!(read.integer("sdk_worker_parallelism"), Ok(Some(4)));
    assert_eq!(read.integer("parallelism"), Ok(Some(-1)), "what stands beside it counts");
    assert_eq!(read.text("output").as_deref(), Some("/tmp/words"));
    assert_eq!(read.unknown(&OptionDescriptor::standard()), None);
    assert!(!read.wire().fields.contains_key("state_name"), "workers are told what was sent");
    let error = go(&[("sdk_worker_parallelism", text("many"))]).check(&OptionDescriptor::standard());
    assert_eq!(error.expect_err("not a number").code, "OPTION_INVALID");
}

#[test]
fn secrets_inside_of_options_are_masked() {
    let list = prost_types::ListValue { values: vec![Value { kind: Some(map(&[("api_token", text("quiet"))])) }] };
    let flags = [("db_password", text("hush")), ("topic", text("orders")), ("brokers", Kind::ListValue(list))];
    let shown = format!("{:?}", go(&flags).masked());
    assert!(!shown.contains("hush") && !shown.contains("quiet") && shown.contains("\"orders\""), "{shown}");
}
