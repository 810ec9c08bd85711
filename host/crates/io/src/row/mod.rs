//! Beam's rows: the schema of one, and its encoding to and from JSON without a value in between.
//!
//! `field count (varint) | null bits (length, bytes; empty if nothing is null) | fields that are not null, in order`.
//!
//! Source: `beam:coder:row:v1` and `apache_beam/coders/row_coder.py`.

#[cfg(feature = "formats")]
mod cells;
mod cursor;
mod from_json;
mod from_json_value;
mod instant;
mod schema;
mod to_json;

#[cfg(feature = "formats")]
pub(crate) use cells::{Cell, read_row, write_row};
#[cfg(feature = "kafka")]
pub(crate) use cursor::{Cursor, null_at};
pub use from_json::JsonToRow;
pub use instant::{write_micros, write_millis};
pub use schema::{Field, FieldType, Schema};
pub use to_json::RowToJson;
#[cfg(feature = "formats")]
pub(crate) use to_json::base64;

use thalweg_core::error::{Domain, Error};

/// What is wrong with bytes that should be a row.
fn malformed(what: &str) -> Error {
    Error::new("ROW_MALFORMED", Domain::Guest, format!("malformed row: {what}"))
        .help("the worker's encoding does not match the schema declared in the pipeline")
}
