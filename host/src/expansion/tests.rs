//! Every offer expanded, as Python asks for it, and every refusal.

use super::*;
use crate::compose::payload::{FileSink, KafkaSink, KafkaSource, TextSource};
use crate::native::payload::DecodeRecords;
use prost::Message;
use serde::de::DeserializeOwned;
use thalweg_beam::expansion::expand;
use thalweg_beam::translate::translate;
use thalweg_core::coder::Coder as Engine;
use thalweg_io::kafka::{Datum, DatumType, Limit, RecordTime, SinkElement, SourceElement, Start};
use thalweg_proto::expansion::{ExpansionRequest, ExpansionResponse};
use thalweg_proto::pipeline as pb;

/// A configuration as JSON: objects are rows, but those called `*config*` are maps of strings.
fn configured(value: &serde_json::Value) -> (Schema, Vec<u8>) {
    let object = value.as_object().cloned().unwrap_or_default();
    let field = |(name, value): (&String, &serde_json::Value)| {
        let kind = match value {
            serde_json::Value::Bool(_) => FieldType::Boolean,
            serde_json::Value::Number(_) => FieldType::Int64,
            serde_json::Value::Array(_) => FieldType::Array(Box::new(required("", FieldType::String))),
            serde_json::Value::Object(_) if name.contains("config") => text_map(),
            serde_json::Value::Object(_) => error_handling(),
            _ => FieldType::String,
        };
        nullable(name, kind)
    };
    let schema = Schema { fields: object.iter().map(field).collect() };
    let mut row = Vec::new();
    let reader = thalweg_io::row::JsonToRow::new(&schema).expect("JSON types");
    reader.write(value.to_string().as_bytes(), &mut row).expect("a row");
    (schema, row)
}

fn request(urn: &str, config: &serde_json::Value) -> ExpansionRequest {
    let (schema, row) = configured(config);
    let (schema, row) = (Some(to_proto(&schema)), row.into());
    let spec = if urn.contains("schematransform") || urn == managed::URN {
        let payload = pb::SchemaTransformPayload {
            identifier: urn.to_owned(),
            configuration_schema: schema,
            configuration_row: row,
        };
        ("beam:expansion:payload:schematransform:v1", payload.encode_to_vec())
    } else {
        (urn, pb::ExternalConfigurationPayload { schema, payload: row }.encode_to_vec())
    };
    let spec = pb::FunctionSpec { urn: spec.0.to_owned(), payload: spec.1.into() };
    let transform = pb::PTransform { unique_name: "T".to_owned(), spec: Some(spec), ..Default::default() };
    ExpansionRequest { transform: Some(transform), namespace: "ns_1".to_owned(), ..Default::default() }
}

/// The same on an input whose coder is made by `coder`.
fn on(mut request: ExpansionRequest, coder: impl FnOnce(&mut Expansion) -> String) -> ExpansionRequest {
    let mut build =
        Expansion::new(&ExpansionRequest { namespace: "given".to_owned(), ..request.clone() }).expect("one");
    let coder = coder(&mut build);
    let input = build.collection("In.output", &coder, true);
    build.step("In", "beam:transform:impulse:v1", Vec::new(), &[], &[("out", &input)]);
    request.components = build.finish().components;
    request.transform.get_or_insert_default().inputs.insert("input".to_owned(), input);
    request
}

fn bytes_pairs(out: &mut Expansion) -> String {
    let bytes = out.coder("beam:coder:bytes:v1", &[]);
    out.coder("beam:coder:kv:v1", &[&bytes, &bytes])
}

fn rows_of(schema: Schema) -> impl FnOnce(&mut Expansion) -> String {
    move |out| out.row_coder(&to_proto(&schema))
}

fn offered() -> Offers {
    Offers::new(Arc::new(ComponentStore::new(None, thalweg_wasm::Limits::default())))
}

fn expanded(request: ExpansionRequest) -> Result<ExpansionResponse> {
    expand(&offered(), request)
}

/// The payload of the part of this name.
fn payload<P: DeserializeOwned>(answer: &ExpansionResponse, name: &str) -> P {
    let components = answer.components.as_ref().expect("components");
    let part = components.transforms.values().find(|t| t.unique_name == format!("T/{name}")).expect(name);
    serde_json::from_slice(&part.spec.as_ref().expect("a spec").payload).expect("its payload")
}

/// The engine's coder of an output, and whether it ends. The whole answer is translated as a pipeline on the way.
fn output(answer: &ExpansionResponse, tag: &str) -> (Engine, bool) {
    let mut components = answer.components.clone().unwrap_or_default();
    let transform = answer.transform.clone().unwrap_or_default();
    let id = transform.outputs.get(tag).expect(tag).clone();
    components.transforms.insert("T".to_owned(), transform);
    let pipeline =
        pb::Pipeline { root_transform_ids: vec!["T".to_owned()], components: Some(components), ..Default::default() };
    let translation = translate(pipeline).expect("a pipeline");
    let found = translation.collections.iter().find(|c| c.id == id).expect("a collection");
    ((*found.wire.element).clone(), found.bounded)
}

fn refused(request: ExpansionRequest) -> String {
    expanded(request).map(drop).expect_err("refused").to_string()
}

fn minimal() -> serde_json::Value {
    serde_json::json!({"consumer_config": {"bootstrap.servers": "b:1"}, "topics": ["t", "u"]})
}

fn with(mut config: serde_json::Value, name: &str, value: serde_json::Value) -> serde_json::Value {
    if let Some(object) = config.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
    config
}

#[test]
fn a_read_gives_pairs_of_bytes_that_may_be_null_and_never_ends() -> Result<()> {
    let answer = expanded(request(kafka::READ, &minimal()))?;
    let bytes = || std::sync::Arc::new(Engine::Nullable(std::sync::Arc::new(Engine::Bytes)));
    assert_eq!(output(&answer, "output"), (Engine::Kv(bytes(), bytes()), false));
    let source: KafkaSource = payload(&answer, "Read");
    assert_eq!(source.topics, ["t", "u"]);
    assert_eq!((source.bootstrap_servers.as_str(), source.start), ("b:1", Start::Latest));
    assert_eq!(source.time, Some(RecordTime::Processing));
    assert!(!source.from_group && !source.commit_group && source.limit.is_none() && source.properties.is_empty());
    Ok(())
}

#[test]
fn the_options_of_kafkaio_have_their_meaning() -> Result<()> {
    let config = serde_json::json!({
        "consumer_config": {"bootstrap.servers": "b:1", "group.id": "g", "auto.offset.reset": "earliest", "fetch.min.bytes": "7"},
        "topics": ["t"], "max_num_records": 10, "max_read_time": 5, "commit_offset_in_finalize": true,
        "timestamp_policy": "CreateTime", "consumer_polling_timeout": 2, "redistribute": true, "redistribute_num_keys": 0,
        "allow_duplicates": false, "dynamic_read_poll_interval_seconds": 3,
        "key_deserializer": "org.apache.kafka.common.serialization.StringDeserializer",
        "value_deserializer": "org.apache.kafka.common.serialization.LongDeserializer",
    });
    let answer = expanded(request(kafka::READ, &config))?;
    let text = std::sync::Arc::new(Engine::Nullable(std::sync::Arc::new(Engine::StringUtf8)));
    let (coder, bounded) = output(&answer, "output");
    assert_eq!((coder, bounded), (Engine::Kv(text, std::sync::Arc::new(Engine::VarInt)), true));
    let source: KafkaSource = payload(&answer, "Read");
    assert_eq!(source.limit, Limit { records: Some(10), millis: Some(5000), discover_ms: Some(3000) });
    assert_eq!((source.start, source.from_group, source.commit_group), (Start::Earliest, true, true));
    assert_eq!(source.time, Some(RecordTime::Record { out_of_order_ms: 0 }));
    assert_eq!(source.properties.get("fetch.min.bytes").map(String::as_str), Some("7"));
    let long = Datum { kind: DatumType::Long, nullable: false };
    let text = Datum { kind: DatumType::String, nullable: true };
    assert_eq!(source.element, SourceElement::Pair { key: text, value: long });
    let at = with(with(minimal(), "start_read_time", 77.into()), "timestamp_policy", "LogAppendTime".into());
    let source: KafkaSource = payload(&expanded(request(kafka::READ, &at))?, "Read");
    assert_eq!((source.start, source.time), (Start::Timestamp(77), Some(RecordTime::Append)));
    Ok(())
}

#[test]
fn a_read_with_metadata_gives_rows_of_all_that_kafka_knows() -> Result<()> {
    let answer = expanded(request(kafka::READ_WITH_METADATA, &minimal()))?;
    assert!(matches!(output(&answer, "output"), (Engine::Row(fields), false) if fields.len() == 9));
    assert_eq!(payload::<KafkaSource>(&answer, "Read").element, SourceElement::Metadata);
    let long = "org.apache.kafka.common.serialization.LongDeserializer";
    let error = refused(request(kafka::READ_WITH_METADATA, &with(minimal(), "value_deserializer", long.into())));
    assert!(error.contains("`value_deserializer`"), "{error}");
    Ok(())
}

#[test]
fn an_option_that_means_nothing_here_is_an_error_that_names_it() {
    let bytes = "com.example.MyDeserializer";
    for (name, value) in [
        ("key_deserializer", serde_json::json!(bytes)),
        ("value_deserializer", serde_json::json!(bytes)),
        ("timestamp_policy", serde_json::json!("Noon")),
        ("consumer_factory_fn_class", serde_json::json!("com.example.Factory")),
        ("commit_offset_in_finalize", serde_json::json!(true)),
        ("max_num_records", serde_json::json!("many")),
        ("topics", serde_json::json!([])),
        ("consumer_config", serde_json::json!({"group.id": "g"})),
        ("topic_partition", serde_json::json!(1)),
    ] {
        let error = refused(request(kafka::READ, &with(minimal(), name, value)));
        assert!(error.contains(&format!("`{name}`")) && error.contains("EXPANSION_OPTION"), "{error}");
    }
    let unknown = refused(request("beam:transform:org.apache.beam:pubsub_read:v1", &serde_json::json!({})));
    assert!(unknown.contains("EXPANSION_UNKNOWN"), "{unknown}");
}

fn writing() -> serde_json::Value {
    serde_json::json!({"producer_config": {"bootstrap.servers": "b:1", "linger.ms": "9"}, "topic": "t"})
}

#[test]
fn a_write_takes_pairs_as_its_serializers_need_them() -> Result<()> {
    let answer = expanded(on(request(kafka::WRITE, &writing()), bytes_pairs))?;
    assert_eq!(answer.transform.as_ref().map(|t| t.outputs.len()), Some(0));
    let sink: KafkaSink = payload(&answer, "Write");
    let bytes = Datum { kind: DatumType::Bytes, nullable: false };
    assert_eq!(sink.element, SinkElement::Pair { key: bytes, value: bytes });
    assert_eq!((sink.topic.as_str(), sink.bootstrap_servers.as_str()), ("t", "b:1"));
    assert_eq!(sink.properties, [("linger.ms".to_owned(), "9".to_owned())].into());
    let nullable = |out: &mut Expansion| {
        let long = out.coder("beam:coder:varint:v1", &[]);
        let bytes = out.coder("beam:coder:bytes:v1", &[]);
        let value = out.coder("beam:coder:nullable:v1", &[&bytes]);
        out.coder("beam:coder:kv:v1", &[&long, &value])
    };
    let long = "org.apache.kafka.common.serialization.LongSerializer";
    let config = with(writing(), "key_serializer", long.into());
    let sink: KafkaSink = payload(&expanded(on(request(kafka::WRITE, &config), nullable))?, "Write");
    let key = Datum { kind: DatumType::Long, nullable: false };
    assert_eq!(sink.element, SinkElement::Pair { key, value: Datum::NULLABLE_BYTES });
    Ok(())
}

#[test]
fn elements_that_a_serializer_cannot_take_are_refused_with_their_coders() {
    let text = |out: &mut Expansion| {
        let text = out.coder("beam:coder:string_utf8:v1", &[]);
        out.coder("beam:coder:kv:v1", &[&text, &text])
    };
    let error = refused(on(request(kafka::WRITE, &writing()), text));
    assert!(error.contains("string_utf8") && error.contains("with_output_types"), "{error}");
    let pickled = |out: &mut Expansion| out.coder("beam:coder:pickled_python:v1", &[]);
    let error = refused(on(request(kafka::WRITE, &writing()), pickled));
    assert!(error.contains("EXPANSION_INPUT") && error.contains("pairs"), "{error}");
    assert!(refused(request(kafka::WRITE, &writing())).contains("0 inputs"));
    let error = refused(on(request(kafka::READ, &minimal()), bytes_pairs));
    assert!(error.contains("has no input"), "{error}");
}

#[test]
fn a_write_with_headers_takes_rows_of_records() -> Result<()> {
    let schema = Schema { fields: vec![required("key", FieldType::Bytes), required("value", FieldType::Bytes)] };
    let answer = expanded(on(request(kafka::WRITE_WITH_HEADERS, &writing()), rows_of(schema.clone())))?;
    assert_eq!(payload::<KafkaSink>(&answer, "Write").element, SinkElement::Row(schema));
    let other = Schema::of([("x", FieldType::Int64)]);
    let error = refused(on(request(kafka::WRITE_WITH_HEADERS, &writing()), rows_of(other)));
    assert!(error.contains("\"x\""), "{error}");
    Ok(())
}

const JSON: &str = r#"{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}"#;

#[test]
fn kafka_as_rows_reads_every_format_it_names() -> Result<()> {
    let config = |format: &str| serde_json::json!({"bootstrap_servers": "b:1", "topic": "t", "format": format});
    let read = |config: &serde_json::Value| expanded(request(kafka_rows::READ, config));
    let raw = read(&config("RAW"))?;
    assert!(matches!(output(&raw, "output"), (Engine::Row(_), false)));
    assert_eq!(payload::<KafkaSource>(&raw, "Read").element, SourceElement::Payload);
    let text = read(&with(config("STRING"), "max_read_time_seconds", 5.into()))?;
    assert!(output(&text, "output").1, "a read of so much time ends");
    let json = with(config("json"), "schema", JSON.into());
    let row = Schema::of([("a", FieldType::Int64)]);
    assert_eq!(payload::<KafkaSource>(&read(&json)?, "Read").element, SourceElement::Json(row));
    let errors = with(json.clone(), "error_handling", serde_json::json!({"output": "bad"}));
    let answer = read(&errors)?;
    let Engine::Row(bad) = output(&answer, "bad").0 else { return Err(Error::internal("TEST", "no rows")) };
    assert_eq!(bad.len(), 8, "with where each record came from");
    let raw = with(config("RAW"), "error_handling", serde_json::json!({"output": "bad"}));
    assert!(output(&read(&raw)?, "bad").1, "what cannot fail has an empty output, which ends");
    for (config, name) in [
        (config("THRIFT"), "`format`"),
        (config("JSON"), "`schema`"),
        (config("AVRO"), "`schema`"),
        (with(config("PROTO"), "file_descriptor_path", "/etc/passwd".into()), "`file_descriptor_path`"),
        (with(config("AVRO"), "confluent_schema_registry_subject", "s".into()), "`confluent_schema_registry_subject`"),
        (with(config("RAW"), "confluent_schema_registry_url", "http://x".into()), "`confluent_schema_registry_url`"),
        (with(config("RAW"), "auto_offset_reset_config", "noon".into()), "`auto_offset_reset_config`"),
    ] {
        let error = refused(request(kafka_rows::READ, &config));
        assert!(error.contains(name), "{name}: {error}");
    }
    Ok(())
}

const AVRO: &str = r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}"#;
const PROTO: &str = r#"syntax = "proto3"; message M { int64 a = 1; }"#;

#[test]
fn kafka_as_rows_knows_avro_protobuf_and_schema_registries() -> Result<()> {
    let config = |format: &str, schema: &str| {
        let config = serde_json::json!({"bootstrap_servers": "b:1", "topic": "t", "format": format});
        with(with(config, "schema", schema.into()), "confluent_schema_registry_url", "http://r:1".into())
    };
    let row = || Schema::of([("a", FieldType::Int64)]);
    for (name, schema, waits) in [("AVRO", AVRO, true), ("PROTO", PROTO, false), ("JSON", JSON, false)] {
        let answer = expanded(request(kafka_rows::READ, &config(name, schema)))?;
        let source: KafkaSource = payload(&answer, "Read");
        assert_eq!(source.element, SourceElement::Metadata);
        assert_eq!(source.schema_registry.is_some(), waits, "{name}");
        let decode: DecodeRecords = payload(&answer, "Parse");
        assert_eq!((decode.format.row()?, decode.registry.as_deref()), (row(), Some("http://r:1")));
        if name != "JSON" {
            let answer = expanded(on(request(kafka_rows::WRITE, &config(name, schema)), rows_of(row())))?;
            let sink: KafkaSink = payload(&answer, "Write");
            assert_eq!(sink.schema_registry.as_deref(), Some("http://r:1"));
            assert!(matches!(sink.element, SinkElement::Encoded { framed: true, .. }));
        }
    }
    let error =
        refused(on(request(kafka_rows::WRITE, &config("AVRO", AVRO)), rows_of(Schema::of([("x", FieldType::Int64)]))));
    assert!(error.contains("FORMAT_SCHEMA") && error.contains("\"x\""), "{error}");
    assert!(refused(request(kafka_rows::READ, &config("AVRO", "{"))).contains("FORMAT_SCHEMA"));
    Ok(())
}

#[test]
fn kafka_as_rows_writes_json_and_single_fields() -> Result<()> {
    let config = |format: &str| serde_json::json!({"bootstrap_servers": "b:1", "topic": "t", "format": format});
    let two = || Schema::of([("a", FieldType::Int64), ("b", FieldType::Double)]);
    let answer = expanded(on(request(kafka_rows::WRITE, &config("JSON")), rows_of(two())))?;
    assert_eq!(payload::<KafkaSink>(&answer, "Write").element, SinkElement::Json { schema: two(), key: None });
    let one = Schema::of([("payload", FieldType::Bytes)]);
    let answer = expanded(on(request(kafka_rows::WRITE, &config("RAW")), rows_of(one)))?;
    assert_eq!(payload::<KafkaSink>(&answer, "Write").element, SinkElement::Payload);
    let error = refused(on(request(kafka_rows::WRITE, &config("RAW")), rows_of(two())));
    assert!(error.contains("exactly one field"), "{error}");
    let error = refused(on(request(kafka_rows::WRITE, &config("JSON")), bytes_pairs));
    assert!(error.contains("takes rows"), "{error}");
    Ok(())
}

#[test]
fn a_managed_transform_is_the_one_behind_it() -> Result<()> {
    let config = "bootstrap_servers: b:1\ntopic: t\nformat: RAW\nconsumer_config_updates:\n  fetch.min.bytes: 7\n";
    let managed = |id: &str, config: &str| serde_json::json!({"transform_identifier": id, "config": config});
    let answer = expanded(request(managed::URN, &managed(kafka_rows::READ, config)))?;
    let source: KafkaSource = payload(&answer, "Read");
    assert_eq!((source.topics, source.element), (vec!["t".to_owned()], SourceElement::Payload));
    assert_eq!(source.properties, [("fetch.min.bytes".to_owned(), "7".to_owned())].into());
    let iceberg = "beam:schematransform:org.apache.beam:iceberg_read:v1";
    assert!(refused(request(managed::URN, &managed(iceberg, ""))).contains("iceberg"));
    assert!(refused(request(managed::URN, &managed(kafka_rows::READ, "- a"))).contains("`config`"));
    assert!(refused(request(managed::URN, &managed(kafka_rows::READ, "topci: t"))).contains("EXPANSION_OPTION"));
    let url = with(managed(kafka_rows::READ, ""), "config_url", "/etc/passwd".into());
    assert!(refused(request(managed::URN, &url)).contains("`config_url`"));
    Ok(())
}

#[test]
fn our_own_files_are_offered_too() -> Result<()> {
    let path = || serde_json::json!({"path": "/x"});
    let read = expanded(request(files::READ_TEXT, &with(path(), "skip_header_lines", 1.into())))?;
    assert!(matches!(output(&read, "output"), (Engine::Row(fields), true) if fields.len() == 1));
    assert_eq!(payload::<TextSource>(&read, "Read").skip_header_lines, 1);
    let json = with(with(path(), "schema", JSON.into()), "error_handling", serde_json::json!({"output": "bad"}));
    let read = expanded(request(files::READ_JSON, &json))?;
    assert!(matches!(
        (output(&read, "output"), output(&read, "bad")),
        ((Engine::Row(_), true), (Engine::Row(_), true))
    ));
    let row = Schema::of([("a", FieldType::String)]);
    for urn in [files::WRITE_TEXT, files::WRITE_JSON] {
        let write = expanded(on(request(urn, &path()), rows_of(row.clone())))?;
        assert_eq!(payload::<FileSink>(&write, "Write").path, "/x");
    }
    Ok(())
}

#[test]
fn what_is_discovered_can_be_expanded_with_the_options_it_names() {
    let offers = offered().offers();
    assert_eq!(offers.len(), 8);
    for offer in offers {
        assert!(offer.identifier == wasm::SCHEMA || find(&offer.identifier).is_ok(), "{}", offer.identifier);
        let schema = from_proto(&offer.configuration).expect("a schema");
        let names: Vec<&str> = schema.fields.iter().map(|f| f.name.as_str()).collect();
        assert!(names.is_sorted(), "{names:?}");
        // as Python does, which sends every option, null where it is not given: none may be unknown
        let mut row = Vec::new();
        let mut writer = crate::row::RowWriter::new(&mut row, schema.fields.len());
        schema.fields.iter().for_each(|_| writer.null());
        writer.finish();
        let options = thalweg_beam::expansion::value::row(&offer.configuration, &row).expect("a row");
        assert_eq!(options.len(), schema.fields.len());
    }
}
