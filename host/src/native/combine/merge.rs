//! The half after the grouping: the accumulators of a key and window become one row.

use super::accumulator::{Cell, Plan};
use crate::native::payload::CombineRows;
use crate::native::{NativeFn, Outputs};
use crate::row::{RowReader, RowWriter, Schema};
use thalweg_core::batch::Batch;
use thalweg_core::coder::{read_varint, take};
use thalweg_core::error::{Error, Result};

/// Merges accumulators and gives rows: the fields of the key, then the results.
#[derive(Debug)]
pub struct Merge {
    key: Schema,
    accumulator: Schema,
    plan: Plan,
    cells: Vec<Cell>,
}

impl Merge {
    pub fn new(rows: &CombineRows) -> Self {
        let plan = Plan::new(rows);
        let cells = vec![Cell::default(); plan.len()];
        Self { key: rows.key(), accumulator: rows.accumulator(), plan, cells }
    }

    /// Merges a grouped value: an iterable of accumulators.
    fn merge(&mut self, value: &[u8]) -> Result<()> {
        self.cells.fill(Cell::default());
        let cut = |_| Error::internal("CODER_MALFORMED", "a grouped value without its count");
        let (count, mut rest) = take(value, 4)?;
        let count = i32::from_be_bytes(count.try_into().map_err(cut)?);
        if let Ok(count) = u64::try_from(count) {
            self.some(count, rest)?;
            return Ok(());
        }
        // unknown length: blocks, each behind its count, up to an empty one
        loop {
            let (count, block) = read_varint(rest)?;
            if count == 0 {
                return Ok(());
            }
            rest = self.some(count, block)?;
        }
    }

    fn some<'a>(&mut self, count: u64, mut rest: &'a [u8]) -> Result<&'a [u8]> {
        for _ in 0..count {
            rest = self.plan.merge(&mut self.cells, &self.accumulator, rest)?;
        }
        Ok(rest)
    }
}

impl NativeFn for Merge {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        let fields = self.key.fields.len() + self.plan.len();
        for row in batch.rows() {
            self.merge(batch.value(row))?;
            let key = RowReader::new(&self.key, batch.key(row))?;
            let mut copied = Ok(());
            out.like(0, batch, row, |bytes| {
                let mut writer = RowWriter::new(bytes, fields);
                copied = writer.copy(key).and_then(|()| self.plan.results(&self.cells, &mut writer));
                writer.finish();
            });
            copied?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::precombine::Precombine;
    use super::*;
    use crate::native::payload::{Aggregate, Function};
    use crate::row::{FieldType, nullable, required};
    use std::collections::BTreeMap;
    use thalweg_core::batch::BatchBuilder;
    use thalweg_core::time::EventTime;
    use thalweg_core::window::Window;
    use thalweg_io::row::RowToJson;

    const ALL: [Function; 5] = [Function::Count, Function::Sum, Function::Mean, Function::Min, Function::Max];

    fn combine(functions: &[Function]) -> CombineRows {
        let input = Schema {
            fields: vec![
                nullable("k", FieldType::String),
                nullable("n", FieldType::Int64),
                required("x", FieldType::Double),
            ],
        };
        let aggregates =
            [1, 2].iter().flat_map(|field| functions.iter().map(|f| Aggregate { function: *f, field: *field }));
        CombineRows { input, group_by: vec![0], aggregates: aggregates.collect() }
    }

    fn window(i: i64) -> Window {
        Window::Interval { start: EventTime(i), end: EventTime(i + 1) }
    }

    /// Key, whole number, double and window of a row.
    type Input<'a> = (Option<&'a str>, Option<i64>, f64, i64);

    /// Rows through both halves with a grouping in between; results by window.
    fn run(bundles: &[&[Input<'_>]]) -> Result<BTreeMap<String, String>> {
        run_of(&ALL, bundles)
    }

    fn run_of(functions: &[Function], bundles: &[&[Input<'_>]]) -> Result<BTreeMap<String, String>> {
        let rows = combine(functions);
        let mut pre = Precombine::new(rows.clone());
        let mut groups: BTreeMap<(Vec<u8>, Window), (u32, Vec<u8>)> = BTreeMap::new();
        for bundle in bundles {
            let mut batch = BatchBuilder::new();
            for (k, n, x, w) in *bundle {
                let mut value = Vec::new();
                let mut row = RowWriter::new(&mut value, 3);
                match k {
                    Some(k) => row.string(k),
                    None => row.null(),
                }
                match n {
                    Some(n) => row.int64(*n),
                    None => row.null(),
                }
                row.double(*x);
                row.finish();
                batch.push(&[], &value, EventTime(*w), &[window(*w), window(100)]);
            }
            let mut out = Outputs::new(&[true]);
            pre.begin();
            pre.process(&batch.finish(), &mut out)?;
            pre.finish(&mut out)?;
            out.drain(|_, batch| {
                for row in batch.rows() {
                    assert_eq!(row.hash, thalweg_core::id::key_hash(batch.key(row)));
                    let [window] = batch.windows(row) else { continue };
                    let (count, list) = groups.entry((batch.key(row).to_vec(), window.clone())).or_default();
                    *count += 1;
                    list.extend_from_slice(batch.value(row));
                }
            });
        }
        let mut grouped = BatchBuilder::new();
        for ((key, window), (count, list)) in groups {
            let value = [&count.to_be_bytes(), list.as_slice()].concat();
            grouped.push(&key, &value, window.max_timestamp(), &[window]);
        }
        let mut out = Outputs::new(&[true]);
        Merge::new(&rows).process(&grouped.finish(), &mut out)?;
        let results = rows.aggregates.iter().map(|a| {
            let (name, kind) = match a.function {
                Function::Count => ("c", FieldType::Int64),
                Function::Sum => ("s", rows.number(a)),
                Function::Mean => ("m", FieldType::Double),
                Function::Min => ("lo", rows.number(a)),
                Function::Max => ("hi", rows.number(a)),
            };
            nullable(&format!("{}{name}", if a.field == 2 { "x" } else { "" }), kind)
        });
        let json = RowToJson::new(&Schema { fields: rows.key().fields.into_iter().chain(results).collect() });
        let mut lines = BTreeMap::new();
        let mut failed = Ok(());
        out.drain(|_, batch| {
            for row in batch.rows() {
                let mut text = Vec::new();
                failed = json.write(batch.value(row), &mut text);
                let text = String::from_utf8_lossy(&text).into_owned();
                let key = text.split(',').next().unwrap_or_default().to_owned();
                lines.insert(format!("{key} {:?}", row.time), text);
            }
        });
        failed.map(|()| lines)
    }

    #[test]
    fn keys_and_windows_are_combined_over_bundles_with_nulls_passed_over() -> Result<()> {
        let lines = run(&[
            &[(Some("a"), Some(5), 0.5, 0), (Some("a"), None, 2.0, 0), (None, None, 1.0, 0)],
            &[(Some("a"), Some(-8), -1.0, 0), (Some("a"), Some(1), 4.0, 7)],
        ])?;
        let expected = [
            (
                r#"{"k":"a" 0ms"#,
                r#"{"k":"a","c":3,"s":-3,"m":-1.5,"lo":-8,"hi":5,"xc":3,"xs":1.5,"xm":0.5,"xlo":-1.0,"xhi":2.0}"#,
            ),
            (
                r#"{"k":"a" 100ms"#,
                r#"{"k":"a","c":4,"s":-2,"m":-0.6666666666666666,"lo":-8,"hi":5,"xc":4,"xs":5.5,"xm":1.375,"xlo":-1.0,"xhi":4.0}"#,
            ),
            (
                r#"{"k":"a" 7ms"#,
                r#"{"k":"a","c":1,"s":1,"m":1.0,"lo":1,"hi":1,"xc":1,"xs":4.0,"xm":4.0,"xlo":4.0,"xhi":4.0}"#,
            ),
            (
                r#"{"k":null 0ms"#,
                r#"{"k":null,"c":1,"s":null,"m":null,"lo":null,"hi":null,"xc":1,"xs":1.0,"xm":1.0,"xlo":1.0,"xhi":1.0}"#,
            ),
            (
                r#"{"k":null 100ms"#,
                r#"{"k":null,"c":1,"s":null,"m":null,"lo":null,"hi":null,"xc":1,"xs":1.0,"xm":1.0,"xlo":1.0,"xhi":1.0}"#,
            ),
        ];
        let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(lines.into_iter().collect::<Vec<_>>(), expected);
        Ok(())
    }

    #[test]
    fn a_sum_beyond_64_bits_is_an_error_and_not_a_wrong_number() {
        let error = run(&[&[(None, Some(i64::MAX), 0.0, 0), (None, Some(1), 0.0, 0)]]).err();
        assert_eq!(error.map(|e| e.code), Some("COMBINE_OVERFLOW"));
        let error = run(&[&[(None, Some(i64::MAX), 0.0, 0)], &[(None, Some(1), 0.0, 0)]]).err();
        assert_eq!(error.map(|e| e.code), Some("COMBINE_OVERFLOW"));
    }

    #[test]
    fn a_mean_and_a_sum_that_comes_back_have_results_whatever_lies_between() -> Result<()> {
        let row = |n: i64| (None, Some(n), 1.0, 0);
        let (most, least) = (i64::MAX, i64::MIN);
        for bundles in [&[&[row(most), row(most), row(most)][..]][..], &[&[row(most)], &[row(most), row(most)]]] {
            let lines = run_of(&[Function::Count, Function::Mean, Function::Max], bundles)?;
            let expected =
                r#"{"k":null,"c":3,"m":9.223372036854776e+18,"hi":9223372036854775807,"xc":3,"xm":1.0,"xhi":1.0}"#;
            assert!(lines.values().all(|line| line == expected), "{lines:?}");
        }
        for bundles in [
            &[&[row(most), row(5), row(least), row(-1), row(-4)][..]][..],
            &[&[row(most), row(5)], &[row(least), row(-1)], &[row(-4)]],
        ] {
            let lines = run(bundles)?;
            let expected = r#"{"k":null,"c":5,"s":-1,"m":-0.2,"lo":-9223372036854775808,"hi":9223372036854775807,"#;
            assert!(lines.values().all(|line| line.starts_with(expected)), "{lines:?}");
        }
        Ok(())
    }

    #[test]
    fn an_accumulator_is_the_row_that_it_always_was() -> Result<()> {
        // state of earlier versions holds such rows: count and sum of a mean, and a sum of nothing but nulls
        let rows = CombineRows {
            aggregates: [Function::Mean, Function::Sum].map(|function| Aggregate { function, field: 1 }).to_vec(),
            ..combine(&[])
        };
        let (plan, mut cells) = (Plan::new(&rows), vec![Cell::default(); 2]);
        for accumulator in [&b"\x03\x00\x02\x07\x07"[..], b"\x03\x01\x06\x00"] {
            assert_eq!(plan.merge(&mut cells, &rows.accumulator(), accumulator)?, b"");
        }
        let mut written = Vec::new();
        plan.write(&cells, &mut written);
        assert_eq!(written, b"\x03\x00\x02\x07\x07");
        Ok(())
    }

    #[test]
    fn not_a_number_stays_so_in_any_order() -> Result<()> {
        for values in [[f64::NAN, 1.0], [1.0, f64::NAN]] {
            let lines = run(&[&[(None, None, values[0], 0)], &[(None, None, values[1], 0)]])?;
            assert!(lines.values().all(|l| l.contains(r#""xlo":null,"xhi":null"#)), "{lines:?}");
        }
        Ok(())
    }
}
