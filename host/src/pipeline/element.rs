//! What a collection holds, as far as a front door must know to choose its coder.

use crate::row::{Field, FieldType, Schema, Show, required};
use std::fmt;
use thalweg_wasm::describe::Coder;

/// Type of the elements of a collection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Element {
    /// `beam:coder:row:v1`.
    Row(Schema),
    /// `beam:coder:bytes:v1`.
    Bytes,
    /// `beam:coder:string_utf8:v1`.
    String,
    /// `beam:coder:varint:v1`.
    Int64,
    /// `beam:coder:double:v1`.
    Double,
    /// `beam:coder:bool:v1`.
    Boolean,
    /// `beam:coder:kv:v1`.
    Kv(Box<Element>, Box<Element>),
    /// `beam:coder:iterable:v1`.
    Iterable(Box<Element>),
}

impl Element {
    /// A pair.
    #[must_use]
    pub fn kv(key: Self, value: Self) -> Self {
        Self::Kv(Box::new(key), Box::new(value))
    }

    /// A list.
    #[must_use]
    pub fn iterable(of: Self) -> Self {
        Self::Iterable(Box::new(of))
    }

    /// Elements that are the plain values of a field; `None` for a field of another type.
    #[must_use]
    pub fn plain(kind: &FieldType) -> Option<Self> {
        Some(match kind {
            FieldType::Bytes => Self::Bytes,
            FieldType::String => Self::String,
            FieldType::Int64 => Self::Int64,
            FieldType::Double => Self::Double,
            FieldType::Boolean => Self::Boolean,
            _ => return None,
        })
    }

    /// The type of a field that holds such an element; `None` for pairs.
    #[must_use]
    pub fn field_type(&self) -> Option<FieldType> {
        Some(match self {
            Self::Row(schema) => FieldType::Row(schema.clone()),
            Self::Bytes => FieldType::Bytes,
            Self::String => FieldType::String,
            Self::Int64 => FieldType::Int64,
            Self::Double => FieldType::Double,
            Self::Boolean => FieldType::Boolean,
            Self::Kv(..) => return None,
            Self::Iterable(of) => FieldType::Array(Box::new(required("", of.field_type()?))),
        })
    }

    /// URN of the coder.
    #[must_use]
    pub fn coder_urn(&self) -> &'static str {
        match self {
            Self::Row(_) => "beam:coder:row:v1",
            Self::Bytes => "beam:coder:bytes:v1",
            Self::String => "beam:coder:string_utf8:v1",
            Self::Int64 => "beam:coder:varint:v1",
            Self::Double => "beam:coder:double:v1",
            Self::Boolean => "beam:coder:bool:v1",
            Self::Kv(..) => "beam:coder:kv:v1",
            Self::Iterable(_) => "beam:coder:iterable:v1",
        }
    }

    /// The type of a coder in a component's description; `None` for a coder that is not known here.
    #[must_use]
    pub fn of_coder(coder: &Coder) -> Option<Self> {
        let inner = |i: usize| coder.components.get(i).and_then(Self::of_coder);
        Some(match coder.urn.as_str() {
            "beam:coder:bytes:v1" => Self::Bytes,
            "beam:coder:string_utf8:v1" => Self::String,
            "beam:coder:varint:v1" => Self::Int64,
            "beam:coder:double:v1" => Self::Double,
            "beam:coder:bool:v1" => Self::Boolean,
            "beam:coder:kv:v1" => Self::kv(inner(0)?, inner(1)?),
            "beam:coder:iterable:v1" => Self::iterable(inner(0)?),
            "beam:coder:row:v1" => {
                let field = |f: &thalweg_wasm::describe::Field| {
                    // both forms name types as Beam's schemas do
                    let kind = serde_json::from_value(serde_json::Value::from(f.kind.as_str())).ok()?;
                    Some(Field { name: f.name.clone(), kind, nullable: f.nullable })
                };
                Self::Row(Schema { fields: coder.fields.iter().map(field).collect::<Option<_>>()? })
            }
            _ => return None,
        })
    }

    /// Types inside this one.
    pub(super) fn components(&self) -> Vec<&Self> {
        match self {
            Self::Kv(key, value) => vec![key, value],
            Self::Iterable(of) => vec![of],
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(schema) => write!(f, "rows {}", Show(schema)),
            Self::Bytes => f.write_str("bytes"),
            Self::String => f.write_str("texts"),
            Self::Int64 => f.write_str("whole numbers"),
            Self::Double => f.write_str("doubles"),
            Self::Boolean => f.write_str("booleans"),
            Self::Kv(key, value) => write!(f, "pairs of {key} and {value}"),
            Self::Iterable(of) => write!(f, "lists of {of}"),
        }
    }
}
