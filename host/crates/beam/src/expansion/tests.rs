//! Requests as clients send them, and as nobody should.

use super::value::{Value, row};
use super::*;
use thalweg_proto::pipeline::{
    ArrayType, AtomicType, ExternalConfigurationPayload, Field, FieldType, FunctionSpec, MapType, PTransform, RowType,
    SchemaTransformPayload, field_type::TypeInfo,
};

fn of(info: TypeInfo) -> FieldType {
    FieldType { nullable: false, type_info: Some(info) }
}

fn atomic(atomic: AtomicType) -> FieldType {
    of(TypeInfo::AtomicType(atomic as i32))
}

fn nullable(kind: FieldType) -> FieldType {
    FieldType { nullable: true, ..kind }
}

fn list(element: FieldType) -> FieldType {
    of(TypeInfo::ArrayType(Box::new(ArrayType { element_type: Some(Box::new(element)) })))
}

fn schema(fields: Vec<(&str, FieldType)>) -> Schema {
    let field = |(i, (name, kind)): (usize, (&str, FieldType))| Field {
        name: name.to_owned(),
        r#type: Some(kind),
        encoding_position: i as i32,
        ..Default::default()
    };
    Schema { fields: fields.into_iter().enumerate().map(field).collect(), ..Default::default() }
}

/// What `RowCoder` of Python makes of `(map={'a': 'b'}, list=['x', None], n=-1, flag=True, none=None, d=1.5, in=(raw=b'\xff'))`.
const ROW: &[u8] =
    b"\x07\x01\x10\0\0\0\x01\x01a\x01b\0\0\0\x02\x01\x01x\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\
    \x3f\xf8\0\0\0\0\0\0\x01\x00\x01\xff";

fn everything() -> Schema {
    let text = || Some(Box::new(atomic(AtomicType::String)));
    let map = of(TypeInfo::MapType(Box::new(MapType { key_type: text(), value_type: text() })));
    let inner = of(TypeInfo::RowType(RowType { schema: Some(schema(vec![("raw", atomic(AtomicType::Bytes))])) }));
    schema(vec![
        ("consumer_config", map),
        ("topics", list(nullable(atomic(AtomicType::String)))),
        ("n", atomic(AtomicType::Int32)),
        ("flag", atomic(AtomicType::Boolean)),
        ("none", nullable(atomic(AtomicType::Int64))),
        ("d", atomic(AtomicType::Double)),
        ("in", inner),
    ])
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn a_row_of_every_type_is_read_as_python_writes_it() -> Result<()> {
    let names = |fields: &[(String, Value)]| fields.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(" ");
    let read = row(&everything(), ROW)?;
    assert_eq!(names(&read), "consumer_config topics n flag none d in");
    let values: Vec<Value> = read.into_iter().map(|(_, value)| value).collect();
    assert_eq!(
        values,
        [
            Value::Map(vec![(text("a"), text("b"))]),
            Value::List(vec![text("x"), Value::Null]),
            Value::Integer(-1),
            Value::Boolean(true),
            Value::Null,
            Value::Double(1.5),
            Value::Row(vec![("raw".to_owned(), Value::Bytes(vec![0xff]))]),
        ]
    );
    Ok(())
}

#[test]
fn a_truncated_row_and_a_longer_one_are_errors() {
    for cut in 0..ROW.len() {
        let error = row(&everything(), ROW.get(..cut).unwrap_or_default()).err();
        assert_eq!(error.map(|e| e.code), Some("EXPANSION_PAYLOAD"), "cut at {cut}");
    }
    let error = row(&everything(), &[ROW, b"x"].concat()).err();
    assert!(error.is_some_and(|e| e.message.contains("1 bytes are left")));
}

#[test]
fn fields_stand_in_the_order_of_their_encoding_and_missing_ones_are_null() -> Result<()> {
    let mut swapped = schema(vec![("b", atomic(AtomicType::Int64)), ("a", atomic(AtomicType::String))]);
    swapped.encoding_positions_set = true;
    for (field, position) in swapped.fields.iter_mut().zip([1, 0]) {
        field.encoding_position = position;
    }
    assert_eq!(
        row(&swapped, b"\x02\x00\x01x\x07")?,
        [("a".to_owned(), text("x")), ("b".to_owned(), Value::Integer(7))]
    );
    let one = row(&swapped, b"\x01\x00\x01x")?;
    assert_eq!(one.last(), Some(&("b".to_owned(), Value::Null)));
    Ok(())
}

#[test]
fn schemas_that_lie_are_errors_and_cost_nothing() {
    let refused = |schema: &Schema, bytes: &[u8], why: &str| {
        let error = row(schema, bytes).err().map(|e| e.message).unwrap_or_default();
        assert!(error.contains(why), "{why}: {error}");
    };
    let one = |kind| schema(vec![("x", kind)]);
    refused(&one(atomic(AtomicType::String)), b"\x01\x00\x02\xff\xfe", "not UTF-8");
    refused(&one(atomic(AtomicType::Bytes)), b"\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "does not fit");
    refused(&one(atomic(AtomicType::Unspecified)), b"\x01\x00\x00", "not known");
    refused(&one(atomic(AtomicType::Int64)), b"\x09\x00\x01", "9 fields");
    refused(&one(FieldType::default()), b"\x01\x00\x00", "no type");
    refused(&schema(vec![]), b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "does not fit");
    // two billion elements that need no bytes
    let nothing = of(TypeInfo::RowType(RowType { schema: Some(Schema::default()) }));
    refused(&one(list(nothing)), b"\x01\x00\x7f\xff\xff\xff", "more than 65536");
    refused(&one(list(atomic(AtomicType::Byte))), b"\x01\x00\x00\x00\xff\xff", "does not fit");
    refused(&one(of(TypeInfo::ArrayType(Box::default()))), b"\x01\x00\0\0\0\x01", "no type of its elements");
    let mut deep = atomic(AtomicType::Byte);
    for _ in 0..1000 {
        deep = list(deep);
    }
    let bytes = [b"\x01\x00".as_slice(), &b"\0\0\0\x01".repeat(1000), b"\x01"].concat();
    refused(&one(deep), &bytes, "too deeply");
}

fn options(values: Vec<(&str, Value)>) -> Options {
    Options::new("read", values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

#[test]
fn options_have_the_names_of_every_sdk() -> Result<()> {
    let map = || Value::Map(vec![(text("a"), text("b")), (text("n"), Value::Integer(7)), (text("no"), Value::Null)]);
    for name in ["consumer_config", "ConsumerConfig", "consumerConfig"] {
        let mut options = options(vec![(name, map()), ("topic", Value::Null)]);
        assert_eq!(options.map("consumer_config")?, [("a", "b"), ("n", "7")].map(|(a, b)| (a.into(), b.into())).into());
        assert_eq!(options.text("topic")?, None);
        options.finish()?;
    }
    Ok(())
}

#[test]
fn a_wrong_option_is_named_with_what_is_supported() {
    let message = |result: Result<()>| result.err().map(|e| format!("{e} {}", e.help)).unwrap_or_default();
    let mut given = options(vec![("topci", text("t")), ("n", text("7"))]);
    let missing = message(given.need_text("topic").map(drop));
    assert!(missing.contains("`topic` is needed"), "{missing}");
    let wrong = message(given.count("n").map(drop));
    assert!(wrong.contains("`n` is not a whole number"), "{wrong}");
    let left = message(given.finish());
    assert!(left.contains("`topci` is no option") && left.contains("topic, n"), "{left}");
    let mut given = options(vec![("factory", text("x"))]);
    let refused = message(given.refuse(&["factory"], "needs a JVM", "leave it out"));
    assert!(refused.contains("`factory` needs a JVM") && refused.contains("leave it out"), "{refused}");
}

/// Takes one text, and reads.
struct One;

impl Expander for One {
    fn expand(&self, request: &Request, out: &mut Expansion) -> Result<()> {
        request.no_input()?;
        let mut options = request.options();
        let path = options.need_text("path")?;
        options.finish()?;
        let coder = out.coder(crate::urn::coder::BYTES, &[]);
        let lines = out.collection("Read.output", &coder, true);
        out.step("Read", "thalweg:source:test:v1", path.into_bytes(), &[], &[("output", &lines)]);
        out.output("output", &lines);
        Ok(())
    }

    fn offers(&self) -> Vec<Offer> {
        Vec::new()
    }
}

fn asked(urn: &str, payload: Vec<u8>) -> ExpansionRequest {
    let spec = Some(FunctionSpec { urn: urn.to_owned(), payload: payload.into() });
    let transform = Some(PTransform { unique_name: "A/Read".to_owned(), spec, ..Default::default() });
    ExpansionRequest { transform, namespace: "external_7".to_owned(), ..Default::default() }
}

fn with_path() -> (Schema, Vec<u8>) {
    (schema(vec![("path", atomic(AtomicType::String))]), b"\x01\x00\x02/x".to_vec())
}

#[test]
fn every_new_id_is_in_the_callers_namespace() -> Result<()> {
    let (schema, payload) = with_path();
    let payload = ExternalConfigurationPayload { schema: Some(schema), payload: payload.into() };
    let answer = super::expand(&One, asked("some:urn", payload.encode_to_vec()))?;
    let components = answer.components.unwrap_or_default();
    let ids = components.transforms.keys().chain(components.coders.keys()).chain(components.pcollections.keys());
    let ids: Vec<&String> = ids.chain(components.windowing_strategies.keys()).collect();
    assert!(ids.len() == 5 && ids.iter().all(|id| id.starts_with("external_7_")), "{ids:?}");
    let transform = answer.transform.unwrap_or_default();
    assert_eq!(transform.unique_name, "A/Read");
    let part =
        transform.subtransforms.first().and_then(|id| components.transforms.get(id)).cloned().unwrap_or_default();
    assert_eq!((part.unique_name.as_str(), part.environment_id.as_str()), ("A/Read/Read", ""));
    assert_eq!(part.spec.map(|s| s.payload), Some("/x".into()));
    assert_eq!(transform.outputs, part.outputs);
    assert!(answer.requirements.is_empty() && answer.error.is_empty());
    Ok(())
}

#[test]
fn schema_transforms_go_by_their_identifier() -> Result<()> {
    let (schema, row) = with_path();
    let payload = SchemaTransformPayload {
        identifier: "id".to_owned(),
        configuration_schema: Some(schema),
        configuration_row: row.into(),
    };
    let request = Request::new(asked("beam:expansion:payload:schematransform:v1", payload.encode_to_vec()))?;
    assert_eq!((request.urn.as_str(), request.name.as_str()), ("id", "A/Read"));
    assert_eq!(request.configuration, [("path".to_owned(), text("/x"))]);
    Ok(())
}

#[test]
fn malformed_requests_are_answered_with_an_error() {
    let code = |request| super::expand(&One, request).err().map(|e| e.code);
    assert_eq!(code(ExpansionRequest::default()), Some("EXPANSION_PAYLOAD"));
    assert_eq!(code(asked("u", b"\xff\xff".to_vec())), Some("EXPANSION_PAYLOAD"));
    let without_schema = ExternalConfigurationPayload { schema: None, payload: b"\x01".to_vec().into() };
    assert_eq!(code(asked("u", without_schema.encode_to_vec())), Some("EXPANSION_PAYLOAD"));
    assert_eq!(code(asked("beam:expansion:payload:java_class_lookup:v1", Vec::new())), Some("EXPANSION_UNKNOWN"));
    let mut dangling = asked("u", Vec::new());
    dangling.transform.get_or_insert_default().inputs.insert("in".to_owned(), "nowhere".to_owned());
    assert_eq!(code(dangling), Some("EXPANSION_PAYLOAD"));
    assert_eq!(code(asked("u", Vec::new())), Some("EXPANSION_OPTION"), "no configuration is an empty one");
}
