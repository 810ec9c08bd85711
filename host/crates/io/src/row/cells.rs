//! Rows as trees of values, for formats whose libraries give and take such trees.
//!
//! In: an encoded row and its schema, or a tree. Out: the other one. JSON has a way of its own that needs no tree.

use super::cursor::{Cursor, DEPTH_MAX, null_at};
use super::malformed;
use super::schema::{Field, FieldType, Schema};
use thalweg_core::coder::write_varint;
use thalweg_core::error::Result;

/// The value of a field.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Cell {
    Null,
    Boolean(bool),
    /// Whole numbers of any width, milliseconds and microseconds of instants.
    Integer(i64),
    /// Of both widths.
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Cell>),
    Map(Vec<(Cell, Cell)>),
    /// In the order of the schema's fields.
    Row(Vec<Cell>),
}

/// Appends the encoding of a row.
///
/// # Errors
/// A sentence that names the field whose value is not of its type; `out` then ends in the middle.
pub(crate) fn write_row(schema: &Schema, cells: &[Cell], out: &mut Vec<u8>) -> std::result::Result<(), String> {
    write_varint(out, schema.fields.len() as u64);
    let null = |i: usize| cells.get(i).is_none_or(|cell| *cell == Cell::Null);
    if let Some(field) = schema.fields.iter().enumerate().find(|(i, field)| null(*i) && !field.nullable) {
        return Err(format!("field {:?} is null", field.1.name));
    }
    let mut nulls = vec![0u8; schema.fields.len().div_ceil(8)];
    let all: Vec<usize> = (0..schema.fields.len()).filter(|i| null(*i)).collect();
    for i in &all {
        if let Some(byte) = nulls.get_mut(i / 8) {
            *byte |= 1 << (i % 8);
        }
    }
    write_bytes(if all.is_empty() { &[] } else { &nulls }, out);
    let there = schema.fields.iter().zip(cells).filter(|(_, cell)| **cell != Cell::Null);
    there.into_iter().try_for_each(|(field, cell)| write(&field.name, &field.kind, cell, out))
}

fn write(name: &str, kind: &FieldType, cell: &Cell, out: &mut Vec<u8>) -> std::result::Result<(), String> {
    let range = || format!("the number of field {name:?} is out of its range");
    match (kind, cell) {
        (FieldType::Byte, Cell::Integer(n)) => out.push(i8::try_from(*n).map_err(|_| range())? as u8),
        (FieldType::Int16, Cell::Integer(n)) => {
            out.extend_from_slice(&i16::try_from(*n).map_err(|_| range())?.to_be_bytes());
        }
        (FieldType::Int32, Cell::Integer(n)) => {
            write_varint(out, u64::from(i32::try_from(*n).map_err(|_| range())? as u32));
        }
        (FieldType::Int64, Cell::Integer(n)) => write_varint(out, *n as u64),
        (FieldType::Float, Cell::Float(x)) => out.extend_from_slice(&(*x as f32).to_be_bytes()),
        (FieldType::Double, Cell::Float(x)) => out.extend_from_slice(&x.to_be_bytes()),
        (FieldType::Boolean, Cell::Boolean(b)) => out.push(u8::from(*b)),
        (FieldType::String, Cell::Text(text)) => write_bytes(text.as_bytes(), out),
        (FieldType::Bytes, Cell::Bytes(bytes)) => write_bytes(bytes, out),
        (FieldType::MillisInstant, Cell::Integer(n)) => out.extend_from_slice(&(*n as u64 ^ 1 << 63).to_be_bytes()),
        (FieldType::MicrosInstant, Cell::Integer(n)) => {
            out.extend_from_slice(&[2, 0]);
            write_varint(out, n.div_euclid(1_000_000) as u64);
            write_varint(out, n.rem_euclid(1_000_000) as u64);
        }
        (FieldType::Row(schema), Cell::Row(cells)) => write_row(schema, cells, out)?,
        (FieldType::Array(element), Cell::List(cells)) => {
            write_count(name, cells.len(), out)?;
            cells.iter().try_for_each(|cell| write_element(name, element, cell, out))?;
        }
        (FieldType::Map(key, value), Cell::Map(entries)) => {
            write_count(name, entries.len(), out)?;
            for (k, v) in entries {
                write_element(name, key, k, out)?;
                write_element(name, value, v, out)?;
            }
        }
        _ => return Err(format!("the value of field {name:?} is no {kind:?}")),
    }
    Ok(())
}

fn write_element(name: &str, element: &Field, cell: &Cell, out: &mut Vec<u8>) -> std::result::Result<(), String> {
    match (cell, element.nullable) {
        (Cell::Null, true) => out.push(0),
        (Cell::Null, false) => return Err(format!("an element of field {name:?} is null")),
        (_, nullable) => {
            if nullable {
                out.push(1);
            }
            write(name, &element.kind, cell, out)?;
        }
    }
    Ok(())
}

fn write_count(name: &str, count: usize, out: &mut Vec<u8>) -> std::result::Result<(), String> {
    let count = i32::try_from(count).map_err(|_| format!("field {name:?} has too many elements"))?;
    out.extend_from_slice(&count.to_be_bytes());
    Ok(())
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The values of an encoded row; fields beyond those it was encoded with are null.
///
/// # Errors
/// `ROW_MALFORMED`.
pub(crate) fn read_row(schema: &Schema, row: &[u8]) -> Result<Vec<Cell>> {
    read_nested(schema, &mut Cursor(row), 0)
}

fn read_nested(schema: &Schema, cursor: &mut Cursor<'_>, depth: u32) -> Result<Vec<Cell>> {
    let (count, nulls) = cursor.header()?;
    let fields = schema.fields.iter().enumerate();
    let read = |(i, field): (usize, &Field)| {
        if i as u64 >= count || null_at(nulls, i) { Ok(Cell::Null) } else { read(&field.kind, cursor, depth) }
    };
    fields.map(read).collect()
}

fn read(kind: &FieldType, cursor: &mut Cursor<'_>, depth: u32) -> Result<Cell> {
    if depth > DEPTH_MAX {
        return Err(malformed("it is nested too deeply"));
    }
    Ok(match kind {
        FieldType::Byte => Cell::Integer(i8::from_be_bytes(cursor.array()?).into()),
        FieldType::Int16 => Cell::Integer(i16::from_be_bytes(cursor.array()?).into()),
        FieldType::Int32 => Cell::Integer((cursor.varint()? as i32).into()),
        FieldType::Int64 => Cell::Integer(cursor.varint()? as i64),
        FieldType::Float => Cell::Float(f32::from_be_bytes(cursor.array()?).into()),
        FieldType::Double => Cell::Float(f64::from_be_bytes(cursor.array()?)),
        FieldType::Boolean => Cell::Boolean(cursor.array::<1>()? != [0]),
        FieldType::String => {
            let text = String::from_utf8(cursor.prefixed()?.to_vec());
            Cell::Text(text.map_err(|_| malformed("a string is not UTF-8"))?)
        }
        FieldType::Bytes => Cell::Bytes(cursor.prefixed()?.to_vec()),
        FieldType::MillisInstant => Cell::Integer(cursor.millis()?),
        FieldType::MicrosInstant => Cell::Integer(cursor.micros()?),
        FieldType::Row(schema) => Cell::Row(read_nested(schema, cursor, depth + 1)?),
        FieldType::Array(element) => {
            let mut cells = Vec::new();
            cursor.each(|c| {
                cells.push(read_element(element, c, depth + 1)?);
                Ok(())
            })?;
            Cell::List(cells)
        }
        FieldType::Map(key, value) => {
            let mut entries = Vec::new();
            cursor.each(|c| {
                let key = read_element(key, c, depth + 1)?;
                entries.push((key, read_element(value, c, depth + 1)?));
                Ok(())
            })?;
            Cell::Map(entries)
        }
    })
}

fn read_element(element: &Field, cursor: &mut Cursor<'_>, depth: u32) -> Result<Cell> {
    if element.nullable && cursor.is_null()? { Ok(Cell::Null) } else { read(&element.kind, cursor, depth) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::RowToJson;

    fn field(name: &str, kind: FieldType, nullable: bool) -> Field {
        Field { name: name.to_owned(), kind, nullable }
    }

    #[test]
    fn every_type_is_written_as_others_read_it_and_read_again() {
        let text = field("", FieldType::String, false);
        let schema = Schema {
            fields: vec![
                field("b", FieldType::Byte, false),
                field("s", FieldType::Int16, false),
                field("i", FieldType::Int32, false),
                field("l", FieldType::Int64, true),
                field("f", FieldType::Float, false),
                field("d", FieldType::Double, false),
                field("t", FieldType::Boolean, false),
                field("u", FieldType::Bytes, true),
                field("at", FieldType::MillisInstant, false),
                field("exactly", FieldType::MicrosInstant, false),
                field("list", FieldType::Array(Box::new(field("", FieldType::Int32, true))), false),
                field("map", FieldType::Map(Box::new(text.clone()), Box::new(text)), false),
                field("in", FieldType::Row(Schema::of([("x", FieldType::String)])), false),
            ],
        };
        let text = |t: &str| Cell::Text(t.to_owned());
        let cells = vec![
            Cell::Integer(-1),
            Cell::Integer(-300),
            Cell::Integer(-70_000),
            Cell::Integer(i64::MIN),
            Cell::Float(1.5),
            Cell::Float(-2.25),
            Cell::Boolean(true),
            Cell::Null,
            Cell::Integer(-1500),
            Cell::Integer(-1_500_000),
            Cell::List(vec![Cell::Integer(1), Cell::Null]),
            Cell::Map(vec![(text("k"), text("v"))]),
            Cell::Row(vec![text("y")]),
        ];
        let (mut row, mut json) = (Vec::new(), Vec::new());
        write_row(&schema, &cells, &mut row).expect("a row");
        RowToJson::new(&schema).write(&row, &mut json).expect("JSON");
        assert_eq!(
            String::from_utf8_lossy(&json),
            r#"{"b":-1,"s":-300,"i":-70000,"l":-9223372036854775808,"f":1.5,"d":-2.25,"t":true,"u":null,"at":"1969-12-31T23:59:58.5Z","exactly":"1969-12-31T23:59:58.5Z","list":[1,null],"map":{"k":"v"},"in":{"x":"y"}}"#
        );
        assert_eq!(read_row(&schema, &row), Ok(cells));
        assert!((0..row.len()).all(|cut| read_row(&schema, &row[..cut]).is_err()), "cut off anywhere");
    }

    #[test]
    fn beams_first_instant_is_read_as_it_was_written() {
        let schema = Schema::of([("at", FieldType::MicrosInstant)]);
        for micros in [-9_223_372_036_854_775_000, i64::MIN, i64::MAX] {
            let (mut row, cells) = (Vec::new(), vec![Cell::Integer(micros)]);
            write_row(&schema, &cells, &mut row).expect("a row");
            assert_eq!(read_row(&schema, &row), Ok(cells));
        }
    }

    #[test]
    fn what_does_not_fit_names_the_field() {
        let one = |kind, nullable, cell| {
            let schema = Schema { fields: vec![field("x", kind, nullable)] };
            write_row(&schema, &[cell], &mut Vec::new()).expect_err("refused")
        };
        assert_eq!(one(FieldType::Int64, false, Cell::Null), "field \"x\" is null");
        assert!(one(FieldType::Int32, false, Cell::Integer(1 << 40)).contains("\"x\" is out of its range"));
        assert!(one(FieldType::String, true, Cell::Integer(1)).contains("\"x\" is no String"));
        let list = FieldType::Array(Box::new(field("", FieldType::Int32, false)));
        assert!(one(list, false, Cell::List(vec![Cell::Null])).contains("an element of field \"x\""));
    }
}
