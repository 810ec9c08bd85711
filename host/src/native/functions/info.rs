//! Adds window and time of a row to its fields.

use crate::native::payload::{Info, WindowingInfo};
use crate::native::{NativeFn, Outputs};
use crate::row::{RowReader, RowWriter};
use thalweg_core::batch::Batch;
use thalweg_core::error::Result;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;
use thalweg_io::row::write_millis;

/// Gives rows with more fields. An element in several windows becomes one row in each.
#[derive(Debug)]
pub struct ExtractInfo {
    payload: WindowingInfo,
    text: Vec<u8>,
}

impl ExtractInfo {
    pub fn new(payload: WindowingInfo) -> Self {
        Self { payload, text: Vec::new() }
    }
}

impl NativeFn for ExtractInfo {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        let before = &self.payload.input;
        let fields = before.fields.len() + self.payload.infos.len();
        for row in batch.rows() {
            let value = batch.value(row);
            for window in batch.windows(row) {
                let mut failed = None;
                out.like_in(0, batch, row, std::slice::from_ref(window), |bytes| {
                    let mut writer = RowWriter::new(bytes, fields);
                    if let Err(e) = RowReader::new(before, value).and_then(|r| writer.copy(r)) {
                        failed = Some(e);
                        return;
                    }
                    for info in &self.payload.infos {
                        write(&mut writer, *info, row.time, window, &mut self.text);
                    }
                    writer.finish();
                });
                failed.map_or(Ok(()), Err)?;
            }
        }
        Ok(())
    }
}

fn write(row: &mut RowWriter<'_>, info: Info, time: EventTime, window: &Window, text: &mut Vec<u8>) {
    match (info, window) {
        (Info::Timestamp, _) => row.instant(time.0),
        (Info::WindowStart, Window::Interval { start, .. }) => row.instant(start.0),
        (Info::WindowStart, _) => row.null(),
        (Info::WindowEnd, Window::Interval { end, .. }) => row.instant(end.0),
        (Info::WindowEnd, other) => row.instant(other.max_timestamp().0),
        (Info::WindowString, Window::Interval { start, end }) => {
            text.clear();
            text.push(b'[');
            write_millis(text, start.0);
            text.extend_from_slice(b", ");
            write_millis(text, end.0);
            text.push(b')');
            row.bytes(text);
        }
        (Info::WindowString | Info::WindowType, Window::Global) => row.string("GlobalWindow"),
        (Info::WindowType, Window::Interval { .. }) => row.string("IntervalWindow"),
        (Info::WindowString | Info::WindowType, Window::Custom { .. }) => row.string("CustomWindow"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{FieldType, Schema, nullable, required};
    use thalweg_core::batch::BatchBuilder;
    use thalweg_io::row::RowToJson;

    #[test]
    fn rows_get_their_window_once_per_window() -> Result<()> {
        let input = Schema { fields: vec![nullable("a", FieldType::Int64), required("b", FieldType::String)] };
        let infos = vec![Info::WindowStart, Info::WindowEnd, Info::Timestamp, Info::WindowString, Info::WindowType];
        let mut extract = ExtractInfo::new(WindowingInfo { input: input.clone(), infos });
        let mut batch = BatchBuilder::new();
        let hour = |h: i64| Window::Interval { start: EventTime(h * 3_600_000), end: EventTime((h + 1) * 3_600_000) };
        batch.push(&[], b"\x02\x01\x01\x01x", EventTime(1500), &[hour(0), hour(1)]);
        batch.push(&[], b"\x02\x00\x07\x01y", EventTime(0), &[Window::Global]);
        let mut out = Outputs::new(&[true]);
        extract.process(&batch.finish(), &mut out)?;
        let instant = |name| required(name, FieldType::MicrosInstant);
        let text = |name| required(name, FieldType::String);
        let more =
            [nullable("start", FieldType::MicrosInstant), instant("end"), instant("at"), text("window"), text("type")];
        let json = RowToJson::new(&Schema { fields: [input.fields, more.to_vec()].concat() });
        let mut lines = Vec::new();
        out.drain(|_, batch| {
            for row in batch.rows() {
                assert_eq!(batch.windows(row).len(), 1);
                json.write(batch.value(row), &mut lines).unwrap_or_default();
                lines.push(b'\n');
            }
        });
        let expected = concat!(
            r#"{"a":null,"b":"x","start":"1970-01-01T00:00:00Z","end":"1970-01-01T01:00:00Z","at":"1970-01-01T00:00:01.5Z","#,
            r#""window":"[1970-01-01T00:00:00Z, 1970-01-01T01:00:00Z)","type":"IntervalWindow"}"#,
            "\n",
            r#"{"a":null,"b":"x","start":"1970-01-01T01:00:00Z","end":"1970-01-01T02:00:00Z","at":"1970-01-01T00:00:01.5Z","#,
            r#""window":"[1970-01-01T01:00:00Z, 1970-01-01T02:00:00Z)","type":"IntervalWindow"}"#,
            "\n",
            r#"{"a":7,"b":"y","start":null,"end":"294247-01-09T04:00:54.775Z","at":"1970-01-01T00:00:00Z","#,
            r#""window":"GlobalWindow","type":"GlobalWindow"}"#,
            "\n",
        );
        assert_eq!(String::from_utf8_lossy(&lines), expected);
        Ok(())
    }
}
