//! A pipeline as text, for people and for tests: transforms in order, what they are made of, what they give.

use crate::row::{Show, from_proto};
use prost::Message;
use serde_json::Value;
use std::fmt::Write;
use thalweg_io::kafka::is_secret;
use thalweg_proto::pipeline::{Components, PTransform, Pipeline, Schema, is_bounded};

/// Renders a pipeline. Transforms inside others are indented; payloads that are JSON stand as they are, but for secrets.
#[must_use]
pub fn show(pipeline: &Pipeline) -> String {
    let mut out = String::new();
    let components = pipeline.components.clone().unwrap_or_default();
    for root in &pipeline.root_transform_ids {
        show_transform(&mut out, &components, root, 0);
    }
    out
}

fn show_transform(out: &mut String, components: &Components, id: &str, depth: usize) {
    let Some(transform) = components.transforms.get(id) else { return };
    let indent = "  ".repeat(depth);
    let urn = transform.spec.as_ref().map_or("", |s| s.urn.as_str());
    // writing to a String cannot fail
    let _ = writeln!(out, "{}", format!("{indent}{} {urn}", transform.unique_name).trim_end());
    let parts = &transform.subtransforms;
    if parts.is_empty() {
        show_ends(out, components, transform, &indent);
    }
    for part in parts.iter().filter(|_| depth < 32) {
        show_transform(out, components, part, depth + 1);
    }
}

fn show_ends(out: &mut String, components: &Components, transform: &PTransform, indent: &str) {
    let payload = transform.spec.as_ref().map(|s| s.payload.as_ref()).unwrap_or_default();
    if payload.first() == Some(&b'{') {
        let _ = writeln!(out, "{indent}  with {}", without_secrets(payload));
    }
    for input in transform.inputs.values() {
        let _ = writeln!(out, "{indent}  from {input}");
    }
    for id in transform.outputs.values() {
        let Some(collection) = components.pcollections.get(id) else { continue };
        let coder = show_coder(components, &collection.coder_id, 0);
        let endless = if collection.is_bounded == is_bounded::Enum::Unbounded as i32 { ", endless" } else { "" };
        let _ = writeln!(out, "{indent}  to {id}: {coder}, {}{endless}", collection.windowing_strategy_id);
    }
}

/// A payload in JSON, as it is if nothing in it is named like a secret.
fn without_secrets(payload: &[u8]) -> String {
    let mut hidden = false;
    let read = serde_json::from_slice(payload).map(|mut value| {
        hide(&mut value, &mut hidden);
        value
    });
    match read {
        Ok(value) if hidden => Value::to_string(&value),
        _ => String::from_utf8_lossy(payload).into_owned(),
    }
}

fn hide(value: &mut Value, hidden: &mut bool) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if field.is_string() && is_secret(name) {
                    (*field, *hidden) = (Value::from("***"), true);
                } else {
                    hide(field, hidden);
                }
            }
        }
        Value::String(text) => {
            if let Some(shown) = without_login(text) {
                (*text, *hidden) = (shown, true);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, hidden)),
        _ => {}
    }
}

/// Addresses without the logins in them; nothing where there are none.
fn without_login(text: &str) -> Option<String> {
    let (mut shown, mut rest, mut hidden) = (String::new(), text, false);
    while let Some((before, behind)) = rest.split_once("://") {
        let host = behind.find(|c: char| "/,? ".contains(c)).unwrap_or(behind.len());
        let login = behind.get(..host).and_then(|host| host.rfind('@')).unwrap_or(0);
        shown.push_str(before);
        shown.push_str(if login > 0 { "://***" } else { "://" });
        hidden |= login > 0;
        rest = behind.get(login..).unwrap_or_default();
    }
    hidden.then(|| shown + rest)
}

fn show_coder(components: &Components, id: &str, depth: usize) -> String {
    let Some(coder) = components.coders.get(id).filter(|_| depth < 16) else { return "?".to_owned() };
    let spec = coder.spec.clone().unwrap_or_default();
    if spec.urn == "beam:coder:row:v1" {
        let schema = Schema::decode(spec.payload.as_ref()).ok().and_then(|s| from_proto(&s).ok());
        return schema.map_or_else(|| "row".to_owned(), |s| Show(&s).to_string());
    }
    let name = spec.urn.strip_prefix("beam:coder:").and_then(|u| u.strip_suffix(":v1")).unwrap_or(&spec.urn);
    let parts: Vec<String> =
        coder.component_coder_ids.iter().map(|part| show_coder(components, part, depth + 1)).collect();
    if parts.is_empty() { name.to_owned() } else { format!("{name}({})", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_payloads_are_not_shown() {
        for (payload, shown) in [
            (r#"{"sasl.password":"x","topic":"t"}"#, r#"{"sasl.password":"***","topic":"t"}"#),
            (r#"{"registry":"https://a,https://me:p@ss@b:1/x"}"#, r#"{"registry":"https://a,https://***@b:1/x"}"#),
            (r#"{"url": "https://a/x@y", "other": "a@b"}"#, r#"{"url": "https://a/x@y", "other": "a@b"}"#),
        ] {
            assert_eq!(without_secrets(payload.as_bytes()), shown);
        }
    }
}
