//! JSON objects to rows.

use crate::native::payload::ParseJson;
use crate::native::{NativeFn, Outputs, Setup};
use crate::row::RowWriter;
use thalweg_core::batch::{Batch, Row};
use thalweg_core::error::{Error, Result};
use thalweg_io::row::JsonToRow;

/// How much of a bad record is shown.
const PREVIEW: usize = 80;

/// Parses JSON objects.
#[derive(Debug)]
pub struct Parse {
    json: JsonToRow,
    from: String,
    main: usize,
    errors: Option<usize>,
    row: Vec<u8>,
}

impl Parse {
    pub fn new(setup: &Setup<'_>) -> Result<Self> {
        let ParseJson { output, from, errors } = setup.json()?;
        let json = JsonToRow::new(&output)?;
        let main = setup.main_output(errors.as_deref());
        // an error output that nobody reads may be left out of the graph
        let errors = errors.map(|tag| setup.output(&tag).unwrap_or(usize::MAX));
        Ok(Self { json, from, main, errors, row: Vec::new() })
    }

    fn failed(&self, batch: &Batch, row: &Row, problem: &str, out: &mut Outputs) -> Result<()> {
        let value = batch.value(row);
        let Some(output) = self.errors else {
            let shown = value.get(..PREVIEW).map_or(value, |start| start);
            let shown = String::from_utf8_lossy(shown);
            let dots = if value.len() > PREVIEW { "..." } else { "" };
            return Err(Error::user(
                "JSON_MALFORMED",
                format!("a record of {} is not such a JSON object: {problem}; it is {shown:?}{dots}", self.from),
            )
            .help("correct the `schema`, or send bad records elsewhere with `error_handling: {output: NAME}`"));
        };
        out.like(output, batch, row, |bytes| {
            let mut writer = RowWriter::new(bytes, 2);
            writer.bytes(value);
            writer.string(problem);
            writer.finish();
        });
        Ok(())
    }
}

impl NativeFn for Parse {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            self.row.clear();
            match self.json.write(batch.value(row), &mut self.row) {
                Ok(()) => out.like(self.main, batch, row, |bytes| bytes.extend_from_slice(&self.row)),
                Err(problem) => self.failed(batch, row, &problem, out)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::{Port, Registry, urn};
    use crate::row::{FieldType, Schema};
    use std::sync::Arc;
    use thalweg_core::batch::BatchBuilder;
    use thalweg_core::time::EventTime;
    use thalweg_core::window::{Window, Windowing};

    fn run(errors: Option<&str>) -> Result<Vec<(usize, Vec<u8>)>> {
        let output = Schema::of([("row", FieldType::Int64)]);
        let payload = ParseJson { output, from: "flights".to_owned(), errors: errors.map(str::to_owned) };
        let payload = serde_json::to_vec(&payload).unwrap_or_default();
        let port = |tag: &str| Port { tag: tag.to_owned(), windowing: Arc::new(Windowing::global()) };
        let ports: Vec<Port> = errors.into_iter().chain(["output"]).map(port).collect();
        let setup = Setup { name: "Parse", payload: &payload, outputs: &ports };
        let mut parse = Registry::standard().make(urn::PARSE_JSON, &setup)?;
        let mut batch = BatchBuilder::new();
        for value in [br#"{"row": 7}"#.as_slice(), b"{", br#"{"row": 8}"#] {
            batch.push(&[], value, EventTime(1), &[Window::Global]);
        }
        let mut out = Outputs::new(&vec![true; ports.len()]);
        parse.process(&batch.finish(), &mut out)?;
        let mut found = Vec::new();
        out.drain(|i, batch| found.extend(batch.rows().iter().map(|row| (i, batch.value(row).to_vec()))));
        Ok(found)
    }

    #[test]
    fn bad_records_go_to_the_error_output_or_fail_the_bundle() -> Result<()> {
        let found = run(Some("bad"))?;
        assert_eq!(found.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [0, 1, 1]);
        assert_eq!(found.get(1).map(|(_, v)| v.as_slice()), Some(&b"\x01\x00\x07"[..]));
        let error = run(None).err();
        assert_eq!(error.as_ref().map(|e| e.code), Some("JSON_MALFORMED"));
        assert!(error.is_some_and(|e| e.message.contains("record of flights") && e.message.contains("\"{\"")));
        Ok(())
    }
}
