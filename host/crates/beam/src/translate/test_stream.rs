//! TestStream: its events, with elements brought from the outer encoding of the script into batches.

use super::Role;
use super::build::{Builder, New};
use super::flatten::{Recoder, same};
use crate::coder::table::{add, proto};
use crate::error::{Result, invalid, payload, refuse};
use crate::urn::{capability, coder as urn};
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_core::batch::BatchBuilder;
use thalweg_core::coder::{Coder, take, write_varint};
use thalweg_core::graph::{CollectionId, Op, ScriptEvent};
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_proto::pipeline::{
    Environment, PTransform, TestStreamPayload,
    test_stream_payload::{TimestampedElement, event::Event},
};

impl Builder {
    pub(super) fn test_stream(&mut self, id: &str, transform: &PTransform) -> Result<()> {
        let name = &transform.unique_name;
        let spec = transform.spec.clone().unwrap_or_default();
        let script: TestStreamPayload = payload(&spec.payload, name)?;
        if script.endpoint.as_ref().is_some_and(|e| !e.url.is_empty()) {
            return Err(refuse(
                "PIPELINE_TEST_STREAM",
                format!("{name} takes its events from a service, which is not supported yet"),
            )
            .help("give the TestStream its events in the pipeline"));
        }
        let nested = self.writes_nested(&transform.environment_id);
        let (mut environment, mut coder_id) = (transform.environment_id.clone(), script.coder_id.clone());
        if !nested && let Some(whole) = self.whole_coder(&coder_id)? {
            (environment, coder_id) = (self.of_script(transform), whole);
        }
        let scripted = self.scripted(id, transform, &coder_id, &environment)?;
        let outputs = self.tagged(&scripted)?;
        let output_of = |tag: &str| {
            let found = outputs.iter().position(|(t, _)| t == tag);
            let only = (outputs.len() == 1).then_some(0); // SDKs name a single output as they like
            found
                .or(only)
                .map(|i| i as u32)
                .ok_or_else(|| invalid(format!("{name} has an event for {tag:?}, but no such output")))
        };
        let mut events = Vec::new();
        for event in script.events {
            events.push(match event.event {
                Some(Event::WatermarkEvent(e)) => {
                    ScriptEvent::Watermark { output: output_of(&e.tag)?, to: EventTime(e.new_watermark).clamped() }
                }
                Some(Event::ProcessingTimeEvent(e)) => ScriptEvent::ProcessingTime(e.advance_duration),
                Some(Event::ElementEvent(e)) => {
                    let output = output_of(&e.tag)?;
                    let collection = outputs.get(output as usize).map(|(_, c)| *c);
                    ScriptEvent::Elements { output, batch: self.script_batch(collection, &e.elements, nested)? }
                }
                None => return Err(invalid(format!("{name} has an event of an unknown kind"))),
            });
        }
        let op = Op::TestStream(Arc::new(events));
        let inputs = Vec::new();
        let states = Vec::new();
        self.push(New { id, proto: transform, origin: name, op, role: Role::Runner, inputs, outputs, states });
        for (tag, output) in transform.outputs.iter().filter(|(tag, id)| scripted.get(*tag) != Some(*id)) {
            let from = scripted.get(tag).cloned().unwrap_or_default();
            let recoder = Recoder { of: id, name, origin: name, environment: &environment };
            self.recoder(&recoder, tag, &from, output)?;
        }
        Ok(())
    }

    /// The environment whose SDK encoded the elements of a script: the only one, where none is named.
    fn of_script(&self, transform: &PTransform) -> String {
        let mut all = self.components.environments.keys();
        match (all.next(), all.next()) {
            (Some(one), None) if transform.environment_id.is_empty() => one.clone(),
            _ => transform.environment_id.clone(),
        }
    }

    /// The coder of a script's elements where only parts of it are unknown here: nobody can tell where they end, so an SDK has to
    /// take the elements as a whole.
    fn whole_coder(&mut self, coder_id: &str) -> Result<Option<String>> {
        if coder_id.is_empty() {
            return Ok(None);
        }
        let coders = &mut self.components.coders;
        let wire = self.coders.wire(coders, coder_id)?;
        let known = wire.id == coder_id || wire.coder.is_prefixed();
        Ok((!known).then(|| add(coders, proto(urn::LENGTH_PREFIX, &[coder_id]), &format!("{coder_id}_script"))))
    }

    /// The collections that the script writes. Its elements are encoded already: where the coder inferred for an output
    /// is another one, they go into a collection of their own, which an SDK has to recode.
    fn scripted(
        &mut self,
        id: &str,
        transform: &PTransform,
        coder_id: &str,
        environment: &str,
    ) -> Result<BTreeMap<String, String>> {
        let mut scripted = transform.outputs.clone();
        for (tag, output) in &mut scripted {
            let proto = self.components.pcollections.get(output.as_str());
            let proto = proto.ok_or_else(|| invalid(format!("there is no collection {output:?}")))?.clone();
            if coder_id.is_empty() || same(&self.components.coders, &proto.coder_id, coder_id) {
                continue;
            }
            if environment.is_empty() {
                self.set_coder(output, coder_id);
            } else {
                let name = format!("{}/script/{tag}", transform.unique_name);
                *output = self.derived(&proto, &name, &format!("{id}_script_{tag}"), coder_id.to_owned());
            }
        }
        Ok(scripted)
    }

    /// Whether an SDK writes the elements of a script in nested context: the Go SDK knows no other.
    fn writes_nested(&self, environment: &str) -> bool {
        let used = self.components.environments.get(environment);
        let mut all = used.map_or_else(|| self.components.environments.values().collect(), |one| vec![one]).into_iter();
        let is_go = |e: &Environment| e.capabilities.iter().any(|c| c.starts_with(capability::GO_SDK));
        all.len() > 0 && all.all(is_go)
    }

    fn script_batch(
        &self,
        collection: Option<CollectionId>,
        elements: &[TimestampedElement],
        nested: bool,
    ) -> Result<thalweg_core::batch::Batch> {
        let coder = collection.and_then(|c| self.graph.collection(c)).map(|c| Arc::clone(&c.coder));
        let coder = coder.unwrap_or_else(|| Arc::new(Coder::Bytes));
        let mut batch = BatchBuilder::new();
        for element in elements {
            let (bytes, time) = (element.encoded_element.as_ref(), EventTime(element.timestamp).clamped());
            match coder.kv() {
                Some((key_coder, value_coder)) => {
                    let rest = key_coder.skip(bytes)?;
                    let (key, rest) = take(bytes, bytes.len() - rest.len())?;
                    let value = engine_form(value_coder, rest, nested)?;
                    batch.push(key_coder.content(key)?, &value, time, &[Window::Global]);
                }
                None => batch.push(b"", &engine_form(&coder, bytes, nested)?, time, &[Window::Global]),
            }
        }
        Ok(batch.finish())
    }
}

/// The engine's form of an element of a script.
fn engine_form(coder: &Coder, bytes: &[u8], nested: bool) -> Result<Vec<u8>> {
    if nested { Ok(coder.content(bytes)?.to_vec()) } else { from_outer(coder, bytes) }
}

/// The engine's form of an element in Beam's outer context. They differ where the last part of a pair lacks its length.
fn from_outer(coder: &Coder, outer: &[u8]) -> Result<Vec<u8>> {
    if coder.is_prefixed() {
        return Ok(outer.to_vec());
    }
    let mut nested = Vec::with_capacity(outer.len() + 2);
    nest(coder, outer, &mut nested)?;
    Ok(nested)
}

fn nest(coder: &Coder, outer: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match coder {
        Coder::Kv(key, value) => {
            let rest = key.skip(outer)?;
            let (head, rest) = take(outer, outer.len() - rest.len())?;
            out.extend_from_slice(head);
            nest(value, rest, out)
        }
        Coder::Nullable(inner) => {
            let (flag, rest) = take(outer, 1)?;
            out.extend_from_slice(flag);
            if flag == [0] { Ok(()) } else { nest(inner, rest, out) }
        }
        _ if coder.is_prefixed() => {
            write_varint(out, outer.len() as u64);
            out.extend_from_slice(outer);
            Ok(())
        }
        _ => {
            out.extend_from_slice(outer);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_an_outer_pair_gets_its_length() -> Result<()> {
        let text = || Arc::new(Coder::StringUtf8);
        let pair = Coder::Kv(text(), Arc::new(Coder::Kv(text(), text())));
        assert_eq!(from_outer(&pair, b"\x01a\x01bcd")?, b"\x01a\x01b\x02cd");
        assert_eq!(from_outer(&Coder::StringUtf8, b"abc")?, b"abc");
        assert_eq!(from_outer(&Coder::Nullable(text()), b"\x01abc")?, b"\x01\x03abc");
        Ok(())
    }
}
