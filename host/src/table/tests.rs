//! Tables of files, and joins with them.

use super::*;
use crate::native::payload::Part;
use crate::native::{NativeFn as _, Outputs, Setup};
use crate::row::{FieldType, Schema, nullable, required};
use std::io::Write as _;
use thalweg_core::batch::BatchBuilder;
use thalweg_core::time::EventTime;
use thalweg_core::window::Window;

fn written(text: &str) -> Result<tempfile::NamedTempFile> {
    let wrong = |e: std::io::Error| Error::internal("TEST", e.to_string());
    let mut file = tempfile::NamedTempFile::new().map_err(wrong)?;
    file.write_all(text.as_bytes()).map_err(wrong)?;
    Ok(file)
}

fn spec(path: &std::path::Path, format: Format) -> TableSpec {
    let schema = Schema {
        fields: vec![
            required("code", FieldType::String),
            required("name", FieldType::String),
            nullable("height", FieldType::Int64),
        ],
    };
    let source = TableSource::File { path: path.display().to_string(), format };
    TableSpec { source, schema, key: Columns::One("code".to_owned()), value: None }
}

#[test]
fn csv_and_json_lines_give_the_same_table() -> Result<()> {
    let csv = written("height,code,name\n7,A,\"Alpha, first\"\n,B,Beta\n9,A,Again\n")?;
    let json = written(
        "{\"code\":\"A\",\"name\":\"x\"}\n\n{\"code\":\"B\",\"name\":\"Beta\",\"height\":null}\n{\"code\":\"A\",\"name\":\"Again\",\"height\":9}\n",
    )?;
    for (file, format) in [(&csv, Format::Csv), (&json, Format::Jsonl)] {
        let table = Tables::default().get(&spec(file.path(), format))?;
        assert_eq!(table.len(), 2);
        assert_eq!(table.get(b"A").map(|b| b.as_ref()), Some(&b"\x02\x00\x05Again\x09"[..]), "the later row counts");
        assert_eq!(table.get(b"B").map(|b| b.as_ref()), Some(&b"\x02\x01\x02\x04Beta"[..]));
        assert_eq!(table.get(b"C"), None);
    }
    Ok(())
}

#[test]
fn what_is_wrong_with_a_table_is_named() -> Result<()> {
    let code = |spec: &TableSpec| Tables::default().get(spec).err().map(|e| e.code);
    let missing = spec(std::path::Path::new("no/such/file.csv"), Format::Csv);
    assert_eq!(code(&missing), Some("TABLE_UNREADABLE"));
    let file = written("code,name\nA,a\n")?;
    assert_eq!(code(&spec(file.path(), Format::Csv)), Some("TABLE_SPEC"), "a column is missing");
    let file = written("code,name,height\nA,a,tall\n")?;
    assert_eq!(code(&spec(file.path(), Format::Csv)), Some("TABLE_ROW"));
    let wrong = TableSpec { key: Columns::One("height".to_owned()), ..spec(file.path(), Format::Csv) };
    assert_eq!(code(&wrong), Some("TABLE_SPEC"), "a key may not be null");
    let wrong = TableSpec { value: Some(Columns::One("size".to_owned())), ..spec(file.path(), Format::Csv) };
    assert_eq!(code(&wrong), Some("TABLE_SPEC"));
    Ok(())
}

#[test]
fn a_row_without_end_and_what_is_no_file_are_refused() -> Result<()> {
    let wrong = |e: std::io::Error| Error::internal("TEST", e.to_string());
    for format in [Format::Csv, Format::Jsonl] {
        let error = Tables::default().get(&spec(std::path::Path::new("/dev/zero"), format)).err();
        assert!(error.is_some_and(|e| e.code == "TABLE_UNREADABLE" && e.message.contains("no regular file")));
        // a hole in a file costs nothing: the second line of this one has 32 MiB
        let mut file = written("code,name,height\n\"")?;
        if format == Format::Jsonl {
            file = written("\n")?;
        }
        file.as_file().set_len(32 << 20).map_err(wrong)?;
        let error = Tables::default().get(&spec(file.path(), format)).err();
        let error = error.ok_or_else(|| Error::internal("TEST", "it was read"))?;
        assert_eq!(error.code, "TABLE_ROW");
        assert!(
            error.message.contains("line 2") && error.message.contains("longer than 16777216"),
            "{}",
            error.message
        );
    }
    // many rows are no long one
    let many = written(&format!("code,name,height\n{}", format!("A,{},7\n", "x".repeat(1 << 20)).repeat(20)))?;
    assert_eq!(Tables::default().get(&spec(many.path(), Format::Csv))?.len(), 1);
    Ok(())
}

#[test]
fn a_join_keeps_rows_without_a_key_or_an_entry_unless_it_is_an_inner_one() -> Result<()> {
    let file = written("code,name,height\nA,Alpha,7\n")?;
    let input = Schema { fields: vec![required("n", FieldType::Int64), nullable("at", FieldType::String)] };
    for (inner, found) in [(false, 3), (true, 1)] {
        let join = TableJoin {
            input: input.clone(),
            key: Part::Field(1),
            table: TableSpec { value: Some(Columns::One("name".to_owned())), ..spec(file.path(), Format::Csv) },
            inner,
        };
        assert_eq!(
            join.output()?.fields.last(),
            Some(&crate::row::Field { nullable: !inner, ..required("name", FieldType::String) })
        );
        let payload = serde_json::to_vec(&join).unwrap_or_default();
        let mut join = Join::new(&Setup { name: "J", payload: &payload, outputs: &[] }, &Tables::default())?;
        let mut batch = BatchBuilder::new();
        batch.push(b"", b"\x02\x00\x01\x01A", EventTime(0), &[Window::Global]);
        batch.push(b"", b"\x02\x00\x02\x01Z", EventTime(0), &[Window::Global]);
        batch.push(b"", b"\x02\x01\x02\x03", EventTime(0), &[Window::Global]);
        let mut out = Outputs::new(&[true]);
        join.process(&batch.finish(), &mut out)?;
        let mut rows = Vec::new();
        out.drain(|_, batch| rows.extend(batch.rows().iter().map(|row| batch.value(row).to_vec())));
        let all: [&[u8]; 3] = [b"\x03\x00\x01\x01A\x05Alpha", b"\x03\x01\x04\x02\x01Z", b"\x03\x01\x06\x03"];
        assert_eq!(rows, all[..found]);
    }
    Ok(())
}
