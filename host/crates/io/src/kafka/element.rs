//! From a record to an element.

use super::datum::Datum;
use super::metadata;
use crate::row::{JsonToRow, Schema};
use rdkafka::message::Message;
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
    /// `KV` of what Kafka's own deserializers read.
    Pair {
        /// The key.
        key: Datum,
        /// The value.
        value: Datum,
    },
    /// A row of all Kafka knows: [`metadata_schema`](super::metadata_schema).
    Metadata,
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
    Pair { key: Datum, value: Datum },
    Metadata,
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
            SourceElement::Pair { key, value } => Kind::Pair { key: *key, value: *value },
            SourceElement::Metadata => Kind::Metadata,
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
    pub(super) fn push(&mut self, record: &impl Message, time: EventTime) -> Result<(), String> {
        let start = self.arena.len();
        let mut end_of_key = start;
        let written = self.write(record, &mut end_of_key);
        if let Err(why) = written {
            self.arena.truncate(start);
            return Err(why);
        }
        let hash = self.arena.get(start..end_of_key).filter(|_| self.has_key()).map_or(0, key_hash);
        let at = |n: usize| n as u32;
        self.rows.push(Row {
            key: Span { start: at(start), end: at(end_of_key) },
            value: Span { start: at(end_of_key), end: at(self.arena.len()) },
            time,
            hash,
            windows: 0,
            pane: 0,
        });
        Ok(())
    }

    fn has_key(&self) -> bool {
        matches!(self.kind, Kind::KeyValue | Kind::Pair { .. })
    }

    fn write(&mut self, record: &impl Message, end_of_key: &mut usize) -> Result<(), String> {
        let value = record.payload().unwrap_or_default();
        match &self.kind {
            Kind::KeyValue => {
                self.arena.extend_from_slice(record.key().unwrap_or_default());
                *end_of_key = self.arena.len();
                self.arena.extend_from_slice(value);
            }
            Kind::Pair { key, value } => {
                key.decode(record.key(), &mut self.arena).map_err(|why| format!("its key: {why}"))?;
                *end_of_key = self.arena.len();
                value.decode(record.payload(), &mut self.arena).map_err(|why| format!("its value: {why}"))?;
            }
            Kind::Metadata => metadata::write(record, &mut self.arena),
            Kind::Value => self.arena.extend_from_slice(value),
            Kind::Payload => {
                self.arena.extend_from_slice(&[1, 0]);
                write_varint(&mut self.arena, value.len() as u64);
                self.arena.extend_from_slice(value);
            }
            Kind::Json(json) => json.write(value, &mut self.arena)?,
        }
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
    use super::super::datum::DatumType;
    use super::*;
    use crate::row::FieldType;
    use rdkafka::message::{OwnedMessage, Timestamp};

    fn record(key: Option<&[u8]>, value: Option<&[u8]>) -> OwnedMessage {
        let owned = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
        OwnedMessage::new(owned(value), owned(key), "t".to_owned(), Timestamp::NotAvailable, 0, 0, None)
    }

    fn one(element: SourceElement, key: Option<&[u8]>, value: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
        let mut elements = Elements::new(&element).expect("a kind");
        elements.push(&record(Some(b"before"), Some(br#"{"n":1}"#)), EventTime(1)).expect("a record");
        elements.push(&record(key, value), EventTime(7)).expect("a record");
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
        let some = SourceElement::Pair { key: Datum::NULLABLE_BYTES, value: Datum::NULLABLE_BYTES };
        assert_eq!(one(some, None, Some(b"v")), pair(b"\x00", b"\x01\x01v"));
        let json = SourceElement::Json(Schema::of([("n", FieldType::Int64)]));
        assert_eq!(one(json, None, Some(br#"{"n":7}"#)), pair(b"", b"\x01\x00\x07"));
    }

    #[test]
    fn a_bad_record_leaves_nothing_behind() {
        let json = SourceElement::Json(Schema::of([("n", FieldType::Int64)]));
        let mut elements = Elements::new(&json).expect("a kind");
        assert!(elements.push(&record(None, Some(b"{")), EventTime(1)).is_err());
        assert!(elements.push(&record(None, None), EventTime(1)).is_err());
        assert_eq!((elements.len(), elements.bytes()), (0, 0));
        let long = Datum { kind: DatumType::Long, nullable: false };
        let pair = SourceElement::Pair { key: Datum::NULLABLE_BYTES, value: long };
        let mut elements = Elements::new(&pair).expect("a kind");
        let why = elements.push(&record(Some(b"k"), None), EventTime(1)).expect_err("null");
        assert!(why.starts_with("its value: it is null"), "{why}");
        assert_eq!((elements.len(), elements.bytes()), (0, 0));
    }
}
