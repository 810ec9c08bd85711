//! Coders in a description: by Beam URN, and what the engine makes of them.

use super::DEPTH_MAX;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thalweg_core::coder::{Coder as CoreCoder, Field as CoreField};

/// A coder by its Beam URN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coder {
    /// `beam:coder:..:v1`.
    pub urn: String,
    /// Inner coders: of a KV the key's and the value's, of an iterable or nullable its element's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Coder>,
    /// Of a row: its fields in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
}

/// A field of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Unique in the row.
    pub name: String,
    /// Atomic type by its name in Beam's `schema.proto`, in lower case: `int64`, `string`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it may be null.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nullable: bool,
}

impl Coder {
    /// Whether it is a KV coder: key and value then stand in columns of their own.
    #[must_use]
    pub fn is_kv(&self) -> bool {
        self.urn == "beam:coder:kv:v1"
    }

    pub(super) fn check(&self, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err("a coder is nested too deeply".into());
        }
        let wanted = match self.urn.as_str() {
            "beam:coder:kv:v1" => 2,
            "beam:coder:iterable:v1" | "beam:coder:nullable:v1" => 1,
            _ => self.components.len(),
        };
        if self.components.len() != wanted {
            return Err(format!("the coder {} needs {wanted} components", self.urn));
        }
        if self.to_core().is_none() {
            return Err(format!("the coder {} is not known here", self.urn));
        }
        self.components.iter().try_for_each(|inner| inner.check(depth + 1))
    }

    /// The engine's form of it; `None` for a coder or field type that a component cannot have yet.
    #[must_use]
    pub fn to_core(&self) -> Option<CoreCoder> {
        let inner = |i: usize| self.components.get(i).and_then(Self::to_core).map(Arc::new);
        Some(match self.urn.as_str() {
            "beam:coder:bytes:v1" => CoreCoder::Bytes,
            "beam:coder:string_utf8:v1" => CoreCoder::StringUtf8,
            "beam:coder:bool:v1" => CoreCoder::Bool,
            "beam:coder:varint:v1" => CoreCoder::VarInt,
            "beam:coder:double:v1" => CoreCoder::Double,
            "beam:coder:kv:v1" => CoreCoder::Kv(inner(0)?, inner(1)?),
            "beam:coder:iterable:v1" => CoreCoder::Iterable(inner(0)?),
            "beam:coder:nullable:v1" => CoreCoder::Nullable(inner(0)?),
            "beam:coder:interval_window:v1" => CoreCoder::IntervalWindow,
            "beam:coder:row:v1" => CoreCoder::Row(self.fields.iter().map(Field::to_core).collect::<Option<_>>()?),
            _ => return None,
        })
    }
}

impl Field {
    fn to_core(&self) -> Option<CoreField> {
        Some(match self.kind.as_str() {
            "byte" | "boolean" => CoreField::One,
            "int16" => CoreField::Two,
            "int32" | "int64" => CoreField::VarInt,
            "float" => CoreField::Four,
            "double" => CoreField::Eight,
            "string" | "bytes" => CoreField::Bytes,
            _ => return None,
        })
    }
}
