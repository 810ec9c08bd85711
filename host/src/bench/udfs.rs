//! The user's functions in the host: what a component does behind a sandbox, done without one.

use super::pipelines::functions;
use crate::native::{Keyed, NativeFn, Outputs, Registry, Shape, Turn};
use crate::table::{LocalTable, TableSpec, Tables};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;
use thalweg_core::batch::Batch;
use thalweg_core::coder::{read_varint, write_varint};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::key_hash;
use thalweg_core::state::CellValue;
use thalweg_core::time::EventTime;

/// Adds the functions. `factors` is the table of W5.
pub fn register(registry: &mut Registry, factors: TableSpec) {
    registry.register(functions::SPLIT, Shape::default(), |_| Ok(Box::new(Split)));
    registry.register(functions::EVENT, Shape::default(), |_| Ok(Box::new(Event)));
    registry.register(functions::CHANGE, Shape::default(), |_| Ok(Box::new(Change)));
    registry.register(functions::KEY, Shape::default(), |_| Ok(Box::new(Key)));
    let shape = Shape { keyed: true, states: vec!["n".to_owned()], timers: Vec::new() };
    registry.register(functions::COUNT, shape, |_| Ok(Box::new(Count)));
    let tables = Tables::default(); // filled once, for all shards
    registry.register(functions::JOIN, Shape::default(), move |_| Ok(Box::new(Join(tables.get(&factors)?))));
}

/// W1: a line to its words.
struct Split;

impl NativeFn for Split {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            for word in text(batch.value(row))?.split(' ').filter(|word| !word.is_empty()) {
                out.like(0, batch, row, |bytes| bytes.extend_from_slice(word.as_bytes()));
            }
        }
        Ok(())
    }
}

/// W2: a line `key<TAB>milliseconds<TAB>value` to key and value at their event time.
struct Event;

impl NativeFn for Event {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            let (key, time, value) = columns(batch.value(row))?;
            let windows = batch.windows(row);
            out.push_with(0, (key, key_hash(key)), EventTime(time), windows, |bytes| write_varint(bytes, value as u64));
        }
        Ok(())
    }
}

/// A document of `events.jsonl`.
#[derive(Serialize, Deserialize)]
struct Document<'a> {
    id: u64,
    #[serde(borrow)]
    user: Cow<'a, str>,
    ts: i64,
    #[serde(borrow)]
    page: Cow<'a, str>,
    amount: f64,
    ok: bool,
    #[serde(borrow)]
    tags: Vec<Cow<'a, str>>,
}

/// W3: a JSON document to its text with twice the amount, and its id.
struct Change;

impl NativeFn for Change {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            let malformed =
                |_| Error::user("BENCH_INPUT", "a line is no document").help("make the input by bench/gen.py");
            let mut document: Document<'_> = serde_json::from_slice(batch.value(row)).map_err(malformed)?;
            if !document.ok {
                continue;
            }
            document.amount *= 2.0;
            let text = serde_json::to_vec(&document).map_err(malformed)?;
            let windows = batch.windows(row);
            out.push_with(0, (&text, key_hash(&text)), row.time, windows, |bytes| write_varint(bytes, document.id));
        }
        Ok(())
    }
}

/// W4: a line to key and value; what comes before the user's function.
struct Key;

impl NativeFn for Key {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            let (key, _, value) = columns(batch.value(row))?;
            let windows = batch.windows(row);
            out.push_with(0, (key, key_hash(key)), row.time, windows, |bytes| write_varint(bytes, value as u64));
        }
        Ok(())
    }
}

fn text(line: &[u8]) -> Result<&str> {
    std::str::from_utf8(line).map_err(|_| malformed())
}

/// Key, milliseconds and value of a line.
fn columns(line: &[u8]) -> Result<(&[u8], i64, i64)> {
    let mut columns = line.split(|byte| *byte == b'\t');
    match (columns.next(), columns.next().and_then(number), columns.next().and_then(number), columns.next()) {
        (Some(key), Some(time), Some(value), None) => Ok((text(key)?.as_bytes(), time, value)),
        _ => Err(malformed()),
    }
}

fn malformed() -> Error {
    Error::user("BENCH_INPUT", "a line is not `key<TAB>milliseconds<TAB>value`").help("make the input by bench/gen.py")
}

fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || digits.len() > 18 {
        return None; // 18 digits cannot overflow
    }
    digits.iter().try_fold(0i64, |sum, digit| match digit.wrapping_sub(b'0') {
        digit @ 0..=9 => Some(sum.wrapping_mul(10).wrapping_add(i64::from(digit))),
        _ => None,
    })
}

/// W5: a pair to its key and the product of its value and what the table has.
struct Join(Arc<LocalTable>);

impl NativeFn for Join {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            let key = batch.key(row);
            let Some(factor) = self.0.get(key) else { continue };
            let product = read_varint(batch.value(row))?.0.wrapping_mul(read_varint(factor)?.0);
            let windows = batch.windows(row);
            out.push_with(0, (key, row.hash), row.time, windows, |bytes| write_varint(bytes, product));
        }
        Ok(())
    }
}

/// W4: each element gives its key with the count so far.
struct Count;

impl NativeFn for Count {
    fn process(&mut self, _: &Batch, _: &mut Outputs) -> Result<()> {
        Err(Error::internal("NATIVE_NOT_KEYED", "a function with state was given input without keys"))
    }

    fn process_keyed(&mut self, input: &mut Keyed<'_>, out: &mut Outputs) -> Result<()> {
        let mut open: Option<(u32, u64)> = None;
        for i in 0..input.len() {
            let Some((group, Turn::Element(_, row))) = input.turn(i) else { continue };
            let count = match open {
                Some((same, count)) if same == group => count + 1,
                _ => {
                    close(input, open)?;
                    let stored = input.get(group, 0)?;
                    stored.map_or(Ok(0), |cell| read_varint(cell.as_slice()).map(|(n, _)| n))? + 1
                }
            };
            open = Some((group, count));
            let Some(owner) = input.group(group) else { continue };
            let windows = std::slice::from_ref(&owner.window);
            out.push_with(0, (&owner.key, owner.hash), row.time, windows, |bytes| write_varint(bytes, count));
        }
        close(input, open)
    }
}

/// Keeps the count of a group whose elements are through.
fn close(input: &mut Keyed<'_>, open: Option<(u32, u64)>) -> Result<()> {
    let Some((group, count)) = open else { return Ok(()) };
    let mut bytes = Vec::with_capacity(10);
    write_varint(&mut bytes, count);
    input.put(group, 0, Some(CellValue::copy(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(
            ["0", "1700000000000", "", "1x", "1234567890123456789"].map(|digits| number(digits.as_bytes())),
            [Some(0), Some(1_700_000_000_000), None, None, None]
        );
    }
}
