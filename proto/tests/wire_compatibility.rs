//! What we declare is on the wire what Beam declares.
//!
//! In: our `.proto` files, and the descriptors of the apache-beam package that `make setup` installs. Both are turned
//! into facts: one per message, field, enum value and method. Out: a failure that lists each fact in which the two
//! differ, in either direction, so that a field Beam adds is noticed as well as a number we got wrong. File names and
//! Beam's custom options are not compared: they are not on the wire.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
    field_descriptor_proto::Type,
};

#[path = "../examples/generate.rs"]
#[expect(dead_code, reason = "only the descriptors are needed here")]
mod generate;

/// What is declared, by full name: for a field, say, its number, type and label.
type Facts = BTreeMap<String, String>;

#[test]
fn our_declarations_equal_beams() -> Result<()> {
    let mut ours = generate::descriptors()?;
    ours.file.retain(|file| !file.package().starts_with("thalweg.")); // nobody else declares those
    let (ours, beams) = (facts(&ours), facts(&beam_descriptors()?));
    // Fewer facts than this mean that a side was not read, not that Beam became so small.
    ensure!(beams.len() > 1000, "only {} facts in Beam's descriptors", beams.len());
    let differences = differences(&ours, &beams);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    Ok(())
}

#[test]
fn one_altered_field_number_is_noticed() -> Result<()> {
    let beams = generate::descriptors()?;
    let mut ours = beams.clone();
    let field = ours
        .file
        .iter_mut()
        .flat_map(|file| &mut file.message_type)
        .find(|message| message.name() == "FunctionSpec")
        .and_then(|message| message.field.iter_mut().find(|field| field.name() == "payload"))
        .context("FunctionSpec.payload is not declared")?;
    field.number = Some(2);
    assert_eq!(
        differences(&facts(&ours), &facts(&beams)),
        ["field org.apache.beam.model.pipeline.v1.FunctionSpec.payload: \
             ours `2 Optional Bytes`, Beam's `3 Optional Bytes`"]
    );
    Ok(())
}

/// Asks the Python of the environment `make setup` made; `THALWEG_PYTHON` names another one.
fn beam_descriptors() -> Result<FileDescriptorSet> {
    let here = generate::crate_dir();
    let python = env::var_os("THALWEG_PYTHON").map_or_else(|| here.join("../.venv/bin/python"), PathBuf::from);
    let output = Command::new(&python)
        .arg(here.join("tests/beam_descriptors.py"))
        .output()
        .with_context(|| format!("no Python at {}: run `make setup`, or set THALWEG_PYTHON", python.display()))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{} cannot read apache-beam's descriptors: run `make setup`\n{stderr}", python.display());
    }
    FileDescriptorSet::decode(output.stdout.as_slice()).context("decoding Beam's descriptors")
}

fn differences(ours: &Facts, beams: &Facts) -> Vec<String> {
    let names: BTreeSet<&String> = ours.keys().chain(beams.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| match (ours.get(name), beams.get(name)) {
            (Some(our), Some(beam)) if our == beam => None,
            (Some(our), Some(beam)) => Some(format!("{name}: ours `{our}`, Beam's `{beam}`")),
            (Some(_), None) => Some(format!("{name}: Beam does not declare it")),
            (None, _) => Some(format!("{name}: we do not declare it")),
        })
        .collect()
}

fn facts(descriptors: &FileDescriptorSet) -> Facts {
    let mut facts = Facts::new();
    for file in descriptors.file.iter().filter(|file| file.package() != "google.protobuf") {
        let package = file.package();
        for message in &file.message_type {
            // Field presence and packing follow from the syntax of the file.
            message_facts(&format!("{package}.{}", message.name()), file.syntax(), message, &mut facts);
        }
        for declared in &file.enum_type {
            enum_facts(&format!("{package}.{}", declared.name()), declared, &mut facts);
        }
        for service in &file.service {
            service_facts(&format!("{package}.{}", service.name()), service, &mut facts);
        }
    }
    facts
}

fn message_facts(name: &str, syntax: &str, message: &DescriptorProto, facts: &mut Facts) {
    let map_entry = message.options.as_ref().is_some_and(|options| options.map_entry());
    let reserved: Vec<_> = message.reserved_range.iter().map(|range| (range.start(), range.end())).collect();
    facts.insert(
        format!("message {name}"),
        format!("{syntax} map_entry={map_entry} reserved={reserved:?} {:?}", message.reserved_name),
    );
    for field in &message.field {
        facts.insert(format!("field {name}.{}", field.name()), field_fact(message, field));
    }
    for nested in &message.nested_type {
        message_facts(&format!("{name}.{}", nested.name()), syntax, nested, facts);
    }
    for declared in &message.enum_type {
        enum_facts(&format!("{name}.{}", declared.name()), declared, facts);
    }
}

fn field_fact(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let mut fact = format!("{} {:?} {:?}", field.number(), field.label(), field.r#type());
    if matches!(field.r#type(), Type::Message | Type::Enum | Type::Group) {
        fact += &format!(" {}", field.type_name());
    }
    if let Some(oneof) = field.oneof_index.and_then(|i| message.oneof_decl.get(usize::try_from(i).ok()?)) {
        fact += &format!(" oneof={}", oneof.name());
    }
    if field.proto3_optional() {
        fact += " optional";
    }
    // Unset is not the same as false: a repeated number is packed unless the option says otherwise.
    if let Some(packed) = field.options.as_ref().and_then(|options| options.packed) {
        fact += &format!(" packed={packed}");
    }
    fact
}

fn enum_facts(name: &str, declared: &EnumDescriptorProto, facts: &mut Facts) {
    let alias = declared.options.as_ref().is_some_and(|options| options.allow_alias());
    let reserved: Vec<_> = declared.reserved_range.iter().map(|range| (range.start(), range.end())).collect();
    facts.insert(
        format!("enum {name}"),
        format!("allow_alias={alias} reserved={reserved:?} {:?}", declared.reserved_name),
    );
    for value in &declared.value {
        facts.insert(format!("enum value {name}.{}", value.name()), value.number().to_string());
    }
}

fn service_facts(name: &str, service: &ServiceDescriptorProto, facts: &mut Facts) {
    for method in &service.method {
        let side = |streams: bool, message: &str| format!("{}{message}", if streams { "stream " } else { "" });
        let input = side(method.client_streaming(), method.input_type());
        let output = side(method.server_streaming(), method.output_type());
        facts.insert(format!("method {name}/{}", method.name()), format!("({input}) -> ({output})"));
    }
}
