//! Our own files as schema transforms: text and JSON, a row a line.
//!
//! Paths are of the machine on which the job runs, as they are for every native source.

use super::{error_handling, error_schema, json, offer, rows, sole_text_field, take_error_output};
use crate::compose::payload::{FileSink, Line, TextSource};
use crate::native::payload::ParseJson;
use crate::native::urn as function;
use crate::pipeline::urn;
use crate::row::{FieldType, Schema, to_proto};
use thalweg_beam::expansion::{Expansion, Offer, Options, Request};
use thalweg_beam::urn::coder;
use thalweg_core::error::Result;

/// Reads text files.
pub const READ_TEXT: &str = "thalweg:schematransform:text_read:v1";
/// Writes a text file.
pub const WRITE_TEXT: &str = "thalweg:schematransform:text_write:v1";
/// Reads files of JSON objects, one a line.
pub const READ_JSON: &str = "thalweg:schematransform:json_read:v1";
/// Writes a file of JSON objects, one a line.
pub const WRITE_JSON: &str = "thalweg:schematransform:json_write:v1";

/// What is discovered.
pub fn offers() -> Vec<Offer> {
    use FieldType::{Int64, String};
    let path = ("path", String, true);
    let text = [path.clone(), ("skip_header_lines", Int64, false)];
    let objects = [("error_handling", error_handling(), false), path.clone(), ("schema", String, true)];
    vec![
        offer(READ_TEXT, "Reads text files as rows {line}, one a line.", &text, &[], &["output"]),
        offer(
            WRITE_TEXT,
            "Writes rows of one field to a file, one a line.",
            std::slice::from_ref(&path),
            &["input"],
            &[],
        ),
        offer(
            READ_JSON,
            "Reads files of JSON objects, one a line, by a JSON schema.",
            &objects,
            &[],
            &["output", "errors"],
        ),
        offer(WRITE_JSON, "Writes rows to a file as JSON objects, one a line.", &[path], &["input"], &[]),
    ]
}

/// Reads lines.
pub fn read_text(request: &Request, mut options: Options, out: &mut Expansion) -> Result<()> {
    request.no_input()?;
    let payload = TextSource {
        path: options.need_text("path")?,
        skip_header_lines: options.count("skip_header_lines")?.unwrap_or(0),
        row_number: None,
        plain: false,
    };
    options.finish()?;
    let coder = out.row_coder(&to_proto(&Schema::of([("line", FieldType::String)])));
    let lines = out.collection("Read.output", &coder, true);
    out.step("Read", urn::SOURCE_TEXT, json(&payload), &[], &[("output", &lines)]);
    out.output("output", &lines);
    Ok(())
}

/// Reads objects.
pub fn read_json(request: &Request, mut options: Options, out: &mut Expansion) -> Result<()> {
    request.no_input()?;
    let path = options.need_text("path")?;
    let schema = options.need_text("schema")?;
    let schema = super::json_schema(&schema).map_err(|why| options.wrong("schema", &why))?;
    let errors = take_error_output(&mut options)?;
    options.finish()?;
    let source = TextSource { path: path.clone(), skip_header_lines: 0, row_number: None, plain: true };
    let text = out.coder(coder::STRING_UTF8, &[]);
    let lines = out.collection("Read.output", &text, true);
    out.step("Read", urn::SOURCE_TEXT, json(&source), &[], &[("output", &lines)]);
    let coder = out.row_coder(&to_proto(&schema));
    let mut outputs = vec![("output".to_owned(), out.collection("Parse.output", &coder, true))];
    if let Some(tag) = &errors {
        let coder = out.row_coder(&to_proto(&error_schema()));
        outputs.push((tag.clone(), out.collection("Parse.errors", &coder, true)));
    }
    let ends: Vec<(&str, &str)> = outputs.iter().map(|(tag, id)| (tag.as_str(), id.as_str())).collect();
    let parse = ParseJson { output: schema, from: path, errors };
    out.step("Parse", function::PARSE_JSON, json(&parse), &[("input", &lines)], &ends);
    outputs.iter().for_each(|(tag, id)| out.output(tag, id));
    Ok(())
}

/// Writes lines.
pub fn write_text(request: &Request, options: Options, out: &mut Expansion) -> Result<()> {
    let (_, schema) = rows(request)?;
    let line = Line::Field(sole_text_field(request, &schema)?.name.clone());
    write(request, options, schema, line, out)
}

/// Writes objects.
pub fn write_json(request: &Request, options: Options, out: &mut Expansion) -> Result<()> {
    let (_, schema) = rows(request)?;
    write(request, options, schema, Line::Json, out)
}

fn write(request: &Request, mut options: Options, schema: Schema, line: Line, out: &mut Expansion) -> Result<()> {
    let payload = FileSink { path: options.need_text("path")?, schema, line };
    options.finish()?;
    super::sink(request, urn::SINK_FILE, &payload, out)
}
