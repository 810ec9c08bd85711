//! Rows as native functions see them: reading and writing single fields, and schemas to and from Beam's proto.
//!
//! In: encoded rows and their [`Schema`], which the connectors define. Out: fields as bytes, new rows, the proto's
//! `Schema`. Nothing is decoded that is not asked for. Source: `beam:coder:row:v1`.

mod proto;
mod read;
mod text;
mod write;

pub use proto::{from_proto, to_proto};
pub use read::{RowReader, read_f64, read_i64, take_field};
pub use text::{Show, TypeName, is_integer, is_number, nullable, required};
pub use thalweg_io::row::{Field, FieldType, Schema};
pub use write::RowWriter;
