//! Values of rows whose schema comes with them.
//!
//! In: a schema and bytes, both from a client that may lie. Out: a tree of values no larger than the bytes are. Source:
//! `beam:coder:row:v1`, `apache_beam/coders/row_coder.py`.

use super::malformed;
use crate::error::Result;
use thalweg_core::coder::{read_varint, take, take_prefixed};
use thalweg_proto::pipeline::{self, AtomicType, FieldType, Schema, field_type::TypeInfo};

/// How deep values may be nested.
const DEPTH_MAX: u32 = 32;
/// Fields that the rows of a configuration may have, and values that a list may have.
const COUNT_MAX: u64 = 1 << 16;

/// A value of a configuration.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Null.
    Null,
    /// Any whole number.
    Integer(i64),
    /// Any other number.
    Double(f64),
    /// A truth value.
    Boolean(bool),
    /// A string.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An array or iterable.
    List(Vec<Value>),
    /// A map, in the order it came in.
    Map(Vec<(Value, Value)>),
    /// A row.
    Row(Vec<(String, Value)>),
}

/// The row of a schema, whole.
///
/// # Errors
/// `EXPANSION_PAYLOAD` when the bytes are not such a row.
pub fn row(schema: &Schema, bytes: &[u8]) -> Result<Vec<(String, Value)>> {
    let mut reader = Reader(bytes);
    let fields = reader.row(schema, DEPTH_MAX)?;
    match reader.0.len() {
        0 => Ok(fields),
        n => Err(malformed(&format!("{n} bytes are left behind a row of its schema"))),
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn cut(error: &thalweg_core::error::Error) -> thalweg_core::error::Error {
        malformed(&format!("a row does not fit its schema ({})", error.message))
    }

    fn varint(&mut self) -> Result<u64> {
        let (n, rest) = read_varint(self.0).map_err(|e| Self::cut(&e))?;
        self.0 = rest;
        Ok(n)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (bytes, rest) = take(self.0, N).map_err(|e| Self::cut(&e))?;
        self.0 = rest;
        bytes.try_into().map_err(|_| malformed("a number is cut off"))
    }

    fn prefixed(&mut self) -> Result<&'a [u8]> {
        let (bytes, rest) = take_prefixed(self.0).map_err(|e| Self::cut(&e))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn row(&mut self, schema: &Schema, depth: u32) -> Result<Vec<(String, Value)>> {
        let depth = deeper(depth)?;
        let mut fields: Vec<&pipeline::Field> = schema.fields.iter().collect();
        if schema.encoding_positions_set {
            fields.sort_by_key(|f| f.encoding_position);
        }
        let (count, nulls) = (self.varint()?, self.prefixed()?);
        if count > fields.len() as u64 {
            return Err(malformed(&format!("a row has {count} fields, its schema {}", fields.len())));
        }
        let mut found = Vec::new();
        for (i, field) in fields.into_iter().enumerate() {
            let null = nulls.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
            let value = match &field.r#type {
                _ if null || i as u64 >= count => Value::Null,
                Some(kind) => self.value(kind, depth)?,
                None => return Err(malformed(&format!("the field {:?} has no type", field.name))),
            };
            found.push((field.name.clone(), value));
        }
        Ok(found)
    }

    fn value(&mut self, of: &FieldType, depth: u32) -> Result<Value> {
        let depth = deeper(depth)?;
        let info = of.type_info.as_ref().ok_or_else(|| malformed("a value has no type"))?;
        Ok(match info {
            TypeInfo::AtomicType(atomic) => self.atomic(AtomicType::try_from(*atomic).unwrap_or_default())?,
            TypeInfo::ArrayType(array) => self.list(part(&array.element_type)?, depth)?,
            TypeInfo::IterableType(list) => self.list(part(&list.element_type)?, depth)?,
            TypeInfo::MapType(map) => {
                let (key, value) = (part(&map.key_type)?, part(&map.value_type)?);
                let mut entries = Vec::new();
                self.each(|r| {
                    entries.push((r.element(key, depth)?, r.element(value, depth)?));
                    Ok(())
                })?;
                Value::Map(entries)
            }
            TypeInfo::RowType(inner) => {
                let schema = inner.schema.as_ref().ok_or_else(|| malformed("a row has no schema"))?;
                Value::Row(self.row(schema, depth)?)
            }
            // a type of Java's whose encoding is not that of its representation
            TypeInfo::LogicalType(logical) if logical.urn == "beam:logical_type:millis_instant:v1" => {
                Value::Integer((u64::from_be_bytes(self.array()?) ^ (1 << 63)) as i64)
            }
            TypeInfo::LogicalType(logical) => self.value(part(&logical.representation)?, depth)?,
        })
    }

    fn atomic(&mut self, atomic: AtomicType) -> Result<Value> {
        Ok(match atomic {
            AtomicType::Unspecified => return Err(malformed("a field has a type that is not known")),
            AtomicType::Byte => Value::Integer(i64::from(i8::from_be_bytes(self.array()?))),
            AtomicType::Int16 => Value::Integer(i64::from(i16::from_be_bytes(self.array()?))),
            AtomicType::Int32 => Value::Integer(i64::from(self.varint()? as i32)),
            AtomicType::Int64 => Value::Integer(self.varint()? as i64),
            AtomicType::Float => Value::Double(f64::from(f32::from_be_bytes(self.array()?))),
            AtomicType::Double => Value::Double(f64::from_be_bytes(self.array()?)),
            AtomicType::Boolean => Value::Boolean(self.array::<1>()? != [0]),
            AtomicType::Bytes => Value::Bytes(self.prefixed()?.to_vec()),
            AtomicType::String => {
                let text = std::str::from_utf8(self.prefixed()?).map_err(|_| malformed("a string is not UTF-8"))?;
                Value::Text(text.to_owned())
            }
        })
    }

    fn list(&mut self, of: &FieldType, depth: u32) -> Result<Value> {
        let mut values = Vec::new();
        self.each(|r| {
            values.push(r.element(of, depth)?);
            Ok(())
        })?;
        Ok(Value::List(values))
    }

    /// An element of a list or map, which has a flag if it may be null.
    fn element(&mut self, of: &FieldType, depth: u32) -> Result<Value> {
        if of.nullable && self.array::<1>()? == [0] {
            return Ok(Value::Null);
        }
        self.value(of, depth)
    }

    /// Calls `one` for each element, however they are counted.
    fn each(&mut self, mut one: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let mut run = |reader: &mut Self, n: u64| -> Result<()> {
            // an element may have no bytes, so a count can be a lie that costs much
            if n > COUNT_MAX {
                return Err(malformed(&format!("a list has {n} elements, which is more than {COUNT_MAX}")));
            }
            (0..n).try_for_each(|_| one(reader))
        };
        match u64::try_from(i32::from_be_bytes(self.array()?)) {
            Ok(n) => run(self, n),
            Err(_) => loop {
                match self.varint()? {
                    0 => return Ok(()),
                    n => run(self, n)?,
                }
            },
        }
    }
}

fn deeper(depth: u32) -> Result<u32> {
    depth.checked_sub(1).ok_or_else(|| malformed("it is nested too deeply"))
}

fn part(of: &Option<Box<FieldType>>) -> Result<&FieldType> {
    of.as_deref().ok_or_else(|| malformed("a list or map has no type of its elements"))
}
