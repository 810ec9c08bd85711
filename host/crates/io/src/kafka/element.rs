//! From a record to an element.

use crate::row::{JsonToRow, Schema};
use serde::{Deserialize, Serialize};
use thalweg_core::batch::{Batch, Pane, Row, Span};
use thalweg_core::coder::write_varint;
use thalweg_core::error::Result;
use thalweg_core::id::key_hash;
use thalweg_core::time::EventTime;
use thalweg_core::window::{Window, WindowSet};

/// What a record becomes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceElement {
    /// `KV<bytes, bytes>`: key and value. A null key or value is empty, which Beam's ByteArrayDeserializer cannot say either.
    #[default]
    KeyValue,
    /// `bytes`: the value; a null value is empty.
    Value,
    /// A row `{payload: bytes}` of the value, as Beam YAML's format RAW; a null value is empty.
    Payload,
    /// A row of this schema, read from the value, which is a JSON object. A record that is none fails the job.
    Json(Schema),
}

/// Puts records into batches.
pub(super) struct Elements {
    kind: Kind,
    arena: Vec<u8>,
    rows: Vec<Row>,
}

enum Kind {
    KeyValue,
    Value,
    Payload,
    Json(JsonToRow),
}

impl Elements {
    /// # Errors
    /// `ROW_NOT_FROM_JSON`.
    pub(super) fn new(element: &SourceElement) -> Result<Self> {
        let kind = match element {
            SourceElement::KeyValue => Kind::KeyValue,
            SourceElement::Value => Kind::Value,
            SourceElement::Payload => Kind::Payload,
            SourceElement::Json(schema) => Kind::Json(JsonToRow::new(schema)?),
        };
        Ok(Self { kind, arena: Vec::new(), rows: Vec::new() })
    }

    /// Appends a record.
    ///
    /// # Errors
    /// What is wrong with its value; nothing is appended.
    pub(super) fn push(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, time: EventTime) -> Result<(), String> {
        let start = self.arena.len() as u32;
        let value = value.unwrap_or_default();
        let mut end_of_key = start;
        let mut hash = 0;
        match &self.kind {
            Kind::KeyValue => {
                let key = key.unwrap_or_default();
                hash = key_hash(key);
                self.arena.extend_from_slice(key);
                end_of_key = self.arena.len() as u32;
                self.arena.extend_from_slice(value);
            }
            Kind::Value => self.arena.extend_from_slice(value),
            Kind::Payload => {
                self.arena.extend_from_slice(&[1, 0]);
                write_varint(&mut self.arena, value.len() as u64);
                self.arena.extend_from_slice(value);
            }
            Kind::Json(json) => json.write(value, &mut self.arena)?,
        }
        self.rows.push(Row {
            key: Span { start, end: end_of_key },
            value: Span { start: end_of_key, end: self.arena.len() as u32 },
            time,
            hash,
            windows: 0,
            pane: 0,
        });
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes gathered so far.
    pub(super) fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// The batch; a new one begins.
    ///
    /// # Errors
    /// Never, unless the batch is over 4 GiB.
    pub(super) fn finish(&mut self) -> Result<Batch> {
        let (arena, rows) = (std::mem::take(&mut self.arena), std::mem::take(&mut self.rows));
        Batch::from_parts(arena.into(), rows, vec![WindowSet::from_iter([Window::Global])], vec![Pane::NO_FIRING])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::FieldType;

    fn one(element: SourceElement, key: Option<&[u8]>, value: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
        let mut elements = Elements::new(&element).expect("a kind");
        elements.push(Some(b"before"), Some(br#"{"n":1}"#), EventTime(1)).expect("a record");
        elements.push(key, value, EventTime(7)).expect("a record");
        let batch = elements.finish().expect("a batch");
        let row = batch.rows()[1];
        assert_eq!(row.time, EventTime(7));
        (batch.key(&row).to_vec(), batch.value(&row).to_vec())
    }

    #[test]
    fn records_become_what_is_asked_for() {
        let pair = |k: &[u8], v: &[u8]| (k.to_vec(), v.to_vec());
        assert_eq!(one(SourceElement::KeyValue, Some(b"k"), Some(b"v")), pair(b"k", b"v"));
        assert_eq!(one(SourceElement::KeyValue, None, None), pair(b"", b""));
        assert_eq!(one(SourceElement::Value, Some(b"k"), Some(b"v")), pair(b"", b"v"));
        assert_eq!(one(SourceElement::Payload, None, Some(b"v")), pair(b"", b"\x01\x00\x01v"));
        let json = SourceElement::Json(Schema::of([("n", FieldType::Int64)]));
        assert_eq!(one(json, None, Some(br#"{"n":7}"#)), pair(b"", b"\x01\x00\x07"));
    }

    #[test]
    fn a_bad_record_leaves_nothing_behind() {
        let json = SourceElement::Json(Schema::of([("n", FieldType::Int64)]));
        let mut elements = Elements::new(&json).expect("a kind");
        assert!(elements.push(None, Some(b"{"), EventTime(1)).is_err());
        assert!(elements.push(None, None, EventTime(1)).is_err());
        assert_eq!((elements.len(), elements.bytes()), (0, 0));
    }
}
