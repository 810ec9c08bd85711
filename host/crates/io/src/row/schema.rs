//! The schema of a row, as far as connectors must know it. The host makes it from Beam's schema proto.

use serde::{Deserialize, Serialize};

/// A row's fields, in the order of their encoding.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schema {
    /// The fields.
    pub fields: Vec<Field>,
}

/// A field of a row, or an element of an array or map (whose name is empty).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Field {
    /// Name; unique in its row.
    #[serde(default)]
    pub name: String,
    /// Type.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// Whether it may be null.
    #[serde(default)]
    pub nullable: bool,
}

/// Type of a field, with its encoding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// One signed byte.
    Byte,
    /// Two bytes, big end first.
    Int16,
    /// Varint of the 32 bits.
    Int32,
    /// Varint of the 64 bits.
    Int64,
    /// Four bytes, big end first.
    Float,
    /// Eight bytes, big end first.
    Double,
    /// One byte, 0 or 1.
    Boolean,
    /// Length, UTF-8.
    String,
    /// Length, bytes.
    Bytes,
    /// Count (4 bytes, or -1 and counted blocks), elements. Arrays and iterables; a nullable element has a flag byte.
    Array(Box<Field>),
    /// Count (4 bytes), keys and values in turn.
    Map(Box<Field>, Box<Field>),
    /// A row in a row.
    Row(Schema),
    /// `beam:logical_type:millis_instant:v1`: milliseconds, eight bytes, big end first, sign flipped.
    MillisInstant,
    /// `beam:logical_type:micros_instant:v1`: a row of seconds and microseconds, both int64.
    MicrosInstant,
}

impl Schema {
    /// A schema of fields that may not be null.
    ///
    /// ```
    /// use thalweg_io::row::{FieldType, Schema};
    /// let schema = Schema::of([("line", FieldType::String), ("row", FieldType::Int64)]);
    /// assert_eq!(schema.fields[1].name, "row");
    /// ```
    #[must_use]
    pub fn of<'a>(fields: impl IntoIterator<Item = (&'a str, FieldType)>) -> Self {
        let fields = fields.into_iter().map(|(name, kind)| Field { name: name.to_owned(), kind, nullable: false });
        Self { fields: fields.collect() }
    }

    /// Position of a field.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }
}
