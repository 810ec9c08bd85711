//! Rows of a file, all at once: CSV with a header, or a JSON object a line.

use super::{Filling, Format};
use crate::row::{Field, FieldType, RowWriter, Schema};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use thalweg_core::error::{Error, Result};
use thalweg_io::row::JsonToRow;

/// Fills a table from a file.
pub fn fill(path: &str, format: Format, schema: &Schema, table: &mut Filling) -> Result<()> {
    let file = File::open(path).map_err(|e| unreadable(path, &e))?;
    match format {
        Format::Csv => csv(path, file, schema, table),
        Format::Jsonl => jsonl(path, file, schema, table),
    }
}

fn unreadable(path: &str, why: &dyn std::fmt::Display) -> Error {
    Error::user("TABLE_UNREADABLE", format!("cannot read the table {path}: {why}"))
        .help("check the path and that whoever runs the job may read the file")
}

fn bad_row(path: &str, line: u64, why: &str) -> Error {
    Error::user("TABLE_ROW", format!("line {line} of the table {path} is not such a row: {why}"))
        .help("correct the line, or the `schema` of the table")
}

fn csv(path: &str, file: File, schema: &Schema, table: &mut Filling) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new().from_reader(file);
    let header = reader.headers().map_err(|e| unreadable(path, &e))?.clone();
    let place = |field: &Field| {
        let found = header.iter().position(|name| name.trim() == field.name);
        found.ok_or_else(|| {
            let names: Vec<&str> = header.iter().collect();
            let message = format!("the table {path} has no column `{}`; it has {}", field.name, names.join(", "));
            Error::user("TABLE_SPEC", message)
                .help("correct the `schema` of the table; its names are those of the first line")
        })
    };
    let places = schema.fields.iter().map(place).collect::<Result<Vec<_>>>()?;
    let (mut record, mut row) = (csv::StringRecord::new(), Vec::new());
    let mut line = 1;
    while reader.read_record(&mut record).map_err(|e| unreadable(path, &e))? {
        line = record.position().map_or(line + 1, csv::Position::line);
        row.clear();
        let mut writer = RowWriter::new(&mut row, schema.fields.len());
        for (field, place) in schema.fields.iter().zip(&places) {
            let text = record.get(*place).unwrap_or_default();
            cell(field, text, &mut writer).map_err(|why| bad_row(path, line, &why))?;
        }
        writer.finish();
        table.add(&row)?;
    }
    Ok(())
}

/// Writes the field that a text of a CSV file means.
fn cell(field: &Field, text: &str, writer: &mut RowWriter<'_>) -> std::result::Result<(), String> {
    let wrong = |what: &str| format!("`{}` is {text:?} and not {what}", field.name);
    if text.is_empty() && field.nullable {
        writer.null();
        return Ok(());
    }
    match field.kind {
        FieldType::String => writer.string(text),
        FieldType::Bytes => writer.bytes(text.as_bytes()),
        FieldType::Int64 => writer.int64(text.trim().parse().map_err(|_| wrong("a whole number of 64 bits"))?),
        FieldType::Double => writer.double(text.trim().parse().map_err(|_| wrong("a number"))?),
        FieldType::Boolean => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => writer.boolean(true),
            "false" | "0" => writer.boolean(false),
            _ => return Err(wrong("true or false")),
        },
        _ => return Err(format!("`{}` is of a type that CSV does not have", field.name)),
    }
    Ok(())
}

fn jsonl(path: &str, file: File, schema: &Schema, table: &mut Filling) -> Result<()> {
    let json = JsonToRow::new(schema)?;
    let mut row = Vec::new();
    for (i, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = line.map_err(|e| unreadable(path, &e))?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        row.clear();
        json.write(&line, &mut row).map_err(|why| bad_row(path, i as u64 + 1, &why))?;
        table.add(&row)?;
    }
    Ok(())
}
