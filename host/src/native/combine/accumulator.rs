//! What is known of a group of rows so far, one cell per combined field, and its encoding as a row.

use crate::native::payload::{CombineRows, Function};
use crate::row::{FieldType, RowReader, RowWriter, read_f64, read_i64};
use thalweg_core::error::{Error, Result};

/// One combined field of one group.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Cell {
    /// Rows seen: all of them for a count, those without null else.
    count: i64,
    /// Sum, least or greatest; without meaning before the first. A sum of whole numbers may be beyond 64 bits while
    /// accumulators are merged: what comes after may bring it back, and a mean is within them anyway.
    number: Number,
}

/// A value in the type that its field is calculated with.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Number {
    Int(i128),
    Double(f64),
}

impl Default for Number {
    fn default() -> Self {
        Self::Int(0)
    }
}

/// How the cells of a group are updated, merged, written and read.
#[derive(Debug)]
pub struct Plan {
    columns: Vec<Column>,
    fields: usize,
}

#[derive(Debug)]
struct Column {
    function: Function,
    whole: bool,
    name: String,
}

impl Plan {
    /// Of a payload.
    pub fn new(rows: &CombineRows) -> Self {
        let columns = rows.aggregates.iter().map(|a| Column {
            function: a.function,
            whole: rows.number(a) == FieldType::Int64,
            name: rows.input.fields.get(a.field).map(|f| f.name.clone()).unwrap_or_default(),
        });
        Self { columns: columns.collect(), fields: rows.accumulator().fields.len() }
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Adds one value, `None` for null, to cell `i`. `false`, and the cell is as it was, when the sum would no longer fit into
    /// an encoded accumulator, which has 64 bits for it: then the value is the first of another accumulator.
    ///
    /// # Errors
    /// `CODER_MALFORMED` when the field is not a number.
    #[inline]
    pub fn add(&self, i: usize, cell: &mut Cell, kind: &FieldType, field: Option<&[u8]>) -> Result<bool> {
        let Some(column) = self.columns.get(i) else { return Ok(true) };
        if column.function == Function::Count {
            cell.count += 1;
            return Ok(true);
        }
        let Some(field) = field else { return Ok(true) };
        let number = if column.whole {
            Number::Int(read_i64(kind, field)?.into())
        } else {
            Number::Double(read_f64(kind, field)?)
        };
        let before = *cell;
        column.merge(cell, Cell { count: 1, number });
        let fits = cell.number.fits();
        if !fits {
            *cell = before;
        }
        Ok(fits)
    }

    /// Merges one encoded accumulator into the cells; returns what follows it.
    ///
    /// # Errors
    /// As for [`Plan::add`].
    pub fn merge<'a>(&self, cells: &mut [Cell], schema: &crate::row::Schema, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let mut row = RowReader::new(schema, bytes)?;
        for (column, cell) in self.columns.iter().zip(cells) {
            let mut other = Cell { count: 1, number: Number::default() };
            if matches!(column.function, Function::Count | Function::Mean) {
                other.count = row.next_field()?.map_or(Ok(0), |f| read_i64(&FieldType::Int64, f))?;
            }
            if column.function != Function::Count {
                match row.next_field()? {
                    None => continue,
                    Some(field) if column.whole => {
                        other.number = Number::Int(read_i64(&FieldType::Int64, field)?.into());
                    }
                    Some(field) => other.number = Number::Double(read_f64(&FieldType::Double, field)?),
                }
            }
            column.merge(cell, other);
        }
        Ok(row.rest())
    }

    /// Appends the accumulator of cells that were added to.
    pub fn write(&self, cells: &[Cell], out: &mut Vec<u8>) {
        let mut row = RowWriter::new(out, self.fields);
        for (column, cell) in self.columns.iter().zip(cells) {
            if matches!(column.function, Function::Count | Function::Mean) {
                row.int64(cell.count);
            }
            if column.function != Function::Count {
                write_number(&mut row, cell);
            }
        }
        row.finish();
    }

    /// Writes the results as fields of a row.
    ///
    /// # Errors
    /// `COMBINE_OVERFLOW` for a sum beyond 64 bits.
    pub fn results(&self, cells: &[Cell], row: &mut RowWriter<'_>) -> Result<()> {
        for (column, cell) in self.columns.iter().zip(cells) {
            match (column.function, cell.number) {
                (Function::Count, _) => row.int64(cell.count),
                (Function::Mean, _) if cell.count == 0 => row.null(),
                (Function::Mean, Number::Int(sum)) => row.double(sum as f64 / cell.count as f64),
                (Function::Mean, Number::Double(sum)) => row.double(sum / cell.count as f64),
                (_, number) if number.fits() => write_number(row, cell),
                _ => return Err(column.overflow()),
            }
        }
        Ok(())
    }
}

fn write_number(row: &mut RowWriter<'_>, cell: &Cell) {
    match cell.number {
        _ if cell.count == 0 => row.null(),
        Number::Int(n) => row.int64(n as i64), // it fits
        Number::Double(x) => row.double(x),
    }
}

impl Column {
    #[inline]
    fn merge(&self, cell: &mut Cell, other: Cell) {
        if other.count == 0 {
            return;
        }
        let first = cell.count == 0;
        cell.count += other.count;
        if first {
            cell.number = other.number;
            return;
        }
        cell.number = match (self.function, cell.number, other.number) {
            (Function::Count, number, _) => number,
            (Function::Min, Number::Int(a), Number::Int(b)) => Number::Int(a.min(b)),
            (Function::Max, Number::Int(a), Number::Int(b)) => Number::Int(a.max(b)),
            // 2^64 numbers of 64 bits would be needed to leave 128 bits
            (Function::Sum | Function::Mean, Number::Int(a), Number::Int(b)) => Number::Int(a.saturating_add(b)),
            (function, a, b) => Number::Double(doubles(function, a.double(), b.double())),
        };
    }

    fn overflow(&self) -> Error {
        Error::user("COMBINE_OVERFLOW", format!("the sum of `{}` exceeds 64 bits", self.name))
            .help("make the field a double before it is combined")
    }
}

/// NaN is neither least nor greatest: where there is one, the result is NaN, in whatever order values come.
fn doubles(function: Function, a: f64, b: f64) -> f64 {
    match function {
        Function::Min if a.is_nan() || b.is_nan() => f64::NAN,
        Function::Max if a.is_nan() || b.is_nan() => f64::NAN,
        Function::Min => a.min(b),
        Function::Max => a.max(b),
        _ => a + b,
    }
}

impl Number {
    /// Whether it is one of 64 bits.
    #[inline]
    fn fits(self) -> bool {
        match self {
            Self::Int(n) => i64::try_from(n).is_ok(),
            Self::Double(_) => true,
        }
    }

    fn double(self) -> f64 {
        match self {
            Self::Int(n) => n as f64,
            Self::Double(x) => x,
        }
    }
}
