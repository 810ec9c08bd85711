//! Schemas in messages, and small questions about types.

use super::{Field, FieldType, Schema};
use std::fmt;

/// A field that always has a value.
#[must_use]
pub fn required(name: &str, kind: FieldType) -> Field {
    Field { name: name.to_owned(), kind, nullable: false }
}

/// A field that may be null.
#[must_use]
pub fn nullable(name: &str, kind: FieldType) -> Field {
    Field { name: name.to_owned(), kind, nullable: true }
}

/// Whether it is a whole number.
#[must_use]
pub fn is_integer(kind: &FieldType) -> bool {
    matches!(kind, FieldType::Byte | FieldType::Int16 | FieldType::Int32 | FieldType::Int64)
}

/// Whether it can be calculated with.
#[must_use]
pub fn is_number(kind: &FieldType) -> bool {
    is_integer(kind) || matches!(kind, FieldType::Float | FieldType::Double)
}

/// A schema for people: `{origin: string, delay: int64?}`; `?` marks what may be null.
///
/// ```
/// use thalweg::row::{FieldType, Schema, Show};
/// assert_eq!(Show(&Schema::of([("n", FieldType::Int64)])).to_string(), "{n: int64}");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Show<'a>(pub &'a Schema);

impl fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, field) in self.0.fields.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{}: {}{}", field.name, TypeName(&field.kind), optional(field))?;
        }
        f.write_str("}")
    }
}

/// A type for people.
#[derive(Clone, Copy, Debug)]
pub struct TypeName<'a>(pub &'a FieldType);

impl fmt::Display for TypeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            FieldType::Byte => "byte",
            FieldType::Int16 => "int16",
            FieldType::Int32 => "int32",
            FieldType::Int64 => "int64",
            FieldType::Float => "float",
            FieldType::Double => "double",
            FieldType::Boolean => "boolean",
            FieldType::String => "string",
            FieldType::Bytes => "bytes",
            FieldType::MillisInstant | FieldType::MicrosInstant => "timestamp",
            FieldType::Array(of) => return write!(f, "list of {}{}", TypeName(&of.kind), optional(of)),
            FieldType::Map(key, value) => {
                return write!(f, "map of {} to {}{}", TypeName(&key.kind), TypeName(&value.kind), optional(value));
            }
            FieldType::Row(schema) => return Show(schema).fmt(f),
        })
    }
}

fn optional(field: &Field) -> &'static str {
    if field.nullable { "?" } else { "" }
}
