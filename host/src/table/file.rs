//! Rows of a file, all at once: CSV with a header, or a JSON object a line.

use super::{Filling, Format};
use crate::files;
use crate::row::{Field, FieldType, RowWriter, Schema};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;
use thalweg_core::error::{Error, Result};
use thalweg_io::row::JsonToRow;

/// Longest row of a file, as it stands there: it is held in memory before anything of it counts to the table.
const ROW_BYTES_MAX: usize = 16 << 20;

/// Fills a table from a file.
pub fn fill(path: &str, format: Format, schema: &Schema, table: &mut Filling) -> Result<()> {
    let file = files::open(Path::new(path)).map_err(|e| unreadable(path, &e))?;
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

fn too_long(path: &str, line: u64) -> Error {
    bad_row(path, line, &format!("it is longer than {ROW_BYTES_MAX} bytes"))
}

/// A file that ends with an error when one row of it is too long.
struct Bounded {
    file: File,
    /// What the row may still have.
    left: usize,
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.left = self.left.checked_sub(read).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(read)
    }
}

/// What went wrong with a file of CSV.
fn unread(path: &str, why: &csv::Error, line: u64) -> Error {
    match why.kind() {
        csv::ErrorKind::Io(e) if e.kind() == io::ErrorKind::FileTooLarge => too_long(path, line),
        _ => unreadable(path, why),
    }
}

fn csv(path: &str, file: File, schema: &Schema, table: &mut Filling) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new().from_reader(Bounded { file, left: ROW_BYTES_MAX });
    let header = reader.headers().map_err(|e| unread(path, &e, 1))?.clone();
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
    loop {
        reader.get_mut().left = ROW_BYTES_MAX;
        let begins = reader.position().line();
        if !reader.read_record(&mut record).map_err(|e| unread(path, &e, begins))? {
            return Ok(());
        }
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
    let mut reader = BufReader::new(file);
    let (mut line, mut row) = (Vec::new(), Vec::new());
    for number in 1_u64.. {
        line.clear();
        let mut one = reader.by_ref().take(ROW_BYTES_MAX as u64 + 1);
        if one.read_until(b'\n', &mut line).map_err(|e| unreadable(path, &e))? == 0 {
            break;
        }
        if line.len() > ROW_BYTES_MAX {
            return Err(too_long(path, number));
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        row.clear();
        json.write(text, &mut row).map_err(|why| bad_row(path, number, &why))?;
        table.add(&row)?;
    }
    Ok(())
}
