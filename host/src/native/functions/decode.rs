//! Records of Kafka to rows.
//!
//! In: rows of all Kafka knows of a record. Out: the rows that their values hold, and those that hold none as dead letters, with
//! where they came from.

use crate::compose::Schemas;
use crate::native::payload::{DecodeRecords, dead_record_schema};
use crate::native::{NativeFn, Outputs, Setup};
use crate::row::{FieldType, RowReader, RowWriter, Schema, read_i64};
use thalweg_core::batch::{Batch, Row};
use thalweg_core::coder::take_prefixed;
use thalweg_core::error::{Error, Result};
use thalweg_io::format::{RowDecoder, Undecodable};
use thalweg_io::kafka::metadata_schema;

/// Places of the fields of a record's row.
const TOPIC: usize = 0;
const PARTITION: usize = 1;
const OFFSET: usize = 2;
const TIMESTAMP: usize = 3;
const KEY: usize = 4;
const VALUE: usize = 5;
const HEADERS: usize = 6;

/// Decodes records.
#[derive(Debug)]
pub struct Decode {
    decoder: RowDecoder,
    record: Schema,
    dead: usize,
    main: usize,
    errors: Option<usize>,
    row: Vec<u8>,
}

impl Decode {
    pub fn new(setup: &Setup<'_>, schemas: &Schemas) -> Result<Self> {
        let DecodeRecords { format, registry, errors } = setup.json()?;
        let registry = schemas.of(registry.as_deref())?;
        let decoder = RowDecoder::new(&format, registry)?;
        let main = setup.main_output(errors.as_deref());
        // an error output that nobody reads may be left out of the graph
        let errors = errors.map(|tag| setup.output(&tag).unwrap_or(usize::MAX));
        let dead = dead_record_schema().fields.len();
        Ok(Self { decoder, record: metadata_schema(), dead, main, errors, row: Vec::new() })
    }

    fn failed(
        &self,
        fields: &[Option<&[u8]>],
        problem: &str,
        batch: &Batch,
        row: &Row,
        out: &mut Outputs,
    ) -> Result<()> {
        let field = |place: usize| fields.get(place).copied().flatten();
        let Some(output) = self.errors else {
            let number = |place, kind| field(place).map_or(Ok(-1), |bytes| read_i64(&kind, bytes));
            let topic = field(TOPIC).map_or(Ok(&[][..]), |bytes| take_prefixed(bytes).map(|(text, _)| text))?;
            let what = format!(
                "record {} of {:?} {} is not readable: {problem}",
                number(OFFSET, FieldType::Int64)?,
                String::from_utf8_lossy(topic),
                number(PARTITION, FieldType::Int32)?
            );
            return Err(Error::user("KAFKA_RECORD_MALFORMED", what)
                .help("correct the schema, or send bad records elsewhere with `error_handling: {output: NAME}`"));
        };
        out.like(output, batch, row, |bytes| {
            let mut writer = RowWriter::new(bytes, self.dead);
            writer.field(Some(field(VALUE).unwrap_or(&[0]))); // a null value has no bytes
            writer.string(problem);
            [TOPIC, PARTITION, OFFSET, TIMESTAMP, KEY, HEADERS]
                .into_iter()
                .for_each(|place| writer.field(field(place)));
            writer.finish();
        });
        Ok(())
    }
}

impl NativeFn for Decode {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            let mut reader = RowReader::new(&self.record, batch.value(row))?;
            let mut fields = [None; HEADERS + 1];
            for field in &mut fields {
                *field = reader.next_field()?;
            }
            let value = fields.get(VALUE).copied().flatten();
            let value = value.map(|bytes| take_prefixed(bytes).map(|(value, _)| value)).transpose()?;
            self.row.clear();
            match self.decoder.decode(value, &mut self.row) {
                Ok(()) => out.like(self.main, batch, row, |bytes| bytes.extend_from_slice(&self.row)),
                Err(Undecodable::Record(problem)) => self.failed(&fields, &problem, batch, row, out)?,
                Err(Undecodable::Job(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::Port;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use thalweg_core::batch::BatchBuilder;
    use thalweg_core::time::EventTime;
    use thalweg_core::window::{Window, Windowing};
    use thalweg_io::format::Format;
    use thalweg_io::row::RowToJson;

    /// The row of a record of topic `t`.
    fn record(offset: u8, value: Option<&[u8]>) -> Vec<u8> {
        let mut row = Vec::new();
        let mut writer = RowWriter::new(&mut row, 9);
        writer.string("t");
        writer.field(Some(&[3]));
        writer.field(Some(&[offset]));
        writer.int64(1000);
        writer.bytes(b"k");
        match value {
            Some(value) => writer.bytes(value),
            None => writer.null(),
        }
        writer.field(Some(b"\0\0\0\x01\x02\0\x01h\x01x"));
        writer.field(Some(&[0]));
        writer.string("CreateTime");
        writer.finish();
        row
    }

    fn run(format: Format, errors: Option<&str>) -> Result<Vec<String>> {
        let output = format.row()?;
        let payload = DecodeRecords { format, registry: None, errors: errors.map(str::to_owned) };
        let payload = serde_json::to_vec(&payload).unwrap_or_default();
        let port = |tag: &str| Port { tag: tag.to_owned(), windowing: Arc::new(Windowing::global()) };
        let ports: Vec<Port> = ["output"].into_iter().chain(errors).map(port).collect();
        let setup = Setup { name: "Decode", payload: &payload, outputs: &ports };
        let mut decode = Decode::new(&setup, &Schemas::new(&BTreeMap::new())?)?;
        let mut batch = BatchBuilder::new();
        for (offset, value) in [(7, Some(&b"{\"n\":7}"[..])), (8, Some(b"{")), (9, None)] {
            batch.push(&[], &record(offset, value), EventTime(1), &[Window::Global]);
        }
        let mut out = Outputs::new(&vec![true; ports.len()]);
        decode.process(&batch.finish(), &mut out)?;
        let mut found = Vec::new();
        let shapes = [RowToJson::new(&output), RowToJson::new(&dead_record_schema())];
        out.drain(|i, batch| {
            for row in batch.rows() {
                let mut json = Vec::new();
                shapes[i].write(batch.value(row), &mut json).expect("a row");
                found.push(String::from_utf8_lossy(&json).into_owned());
            }
        });
        Ok(found)
    }

    #[test]
    fn dead_letters_say_which_record_they_were() -> Result<()> {
        let format = || Format::Json(Schema::of([("n", FieldType::Int64)]));
        let found = run(format(), Some("bad"))?;
        assert_eq!(found.first().map(String::as_str), Some(r#"{"n":7}"#));
        let place = |offset| {
            format!(
                r#""topic":"t","partition":3,"offset":{offset},"timestamp":1000,"key":"aw==","headers":[{{"key":"h","value":"eA=="}}]}}"#
            )
        };
        assert!(
            found[1].starts_with(r#"{"failed_row":"ew==","error_message":"it is no such JSON object"#),
            "{}",
            found[1]
        );
        assert!(found[1].ends_with(&place(8)), "{}", found[1]);
        assert!(
            found[2].starts_with(r#"{"failed_row":"","error_message":"its value is null (a tombstone)""#),
            "{}",
            found[2]
        );
        assert!(found[2].ends_with(&place(9)), "{}", found[2]);
        let error = run(format(), None).expect_err("no output for dead letters");
        assert_eq!(error.code, "KAFKA_RECORD_MALFORMED");
        assert!(error.message.starts_with("record 8 of \"t\" 3 is not readable: it is no such JSON"), "{error}");
        Ok(())
    }
}
