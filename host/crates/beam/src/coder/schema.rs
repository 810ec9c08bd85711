//! Rows: from a schema to what the engine needs to find where a row ends.
//!
//! In: the `Schema` in a row coder's payload. Out: the fields in the order in which they are encoded, or nothing where
//! a field's encoding is an SDK's own business; such a row is length-prefixed like any unknown coder. Source:
//! `beam:coder:row:v1`, `schema.proto`.

use thalweg_core::coder::Field;
use thalweg_proto::pipeline::{AtomicType, FieldType, LogicalType, Schema, field_type::TypeInfo};

/// Milliseconds since the epoch in eight bytes, whatever the representation says.
const MILLIS_INSTANT: &str = "beam:logical_type:millis_instant:v1";
/// A scale and an integer of any length, whatever the representation says.
const DECIMAL: &str = "beam:logical_type:decimal:v1";
/// How deep types may be nested.
const DEPTH_MAX: u32 = 64;

/// The fields of a schema in encoding order; `None` if one of them cannot be walked through.
#[must_use]
pub fn fields(schema: &Schema) -> Option<Vec<Field>> {
    row(schema, DEPTH_MAX)
}

fn row(schema: &Schema, depth: u32) -> Option<Vec<Field>> {
    let depth = depth.checked_sub(1)?;
    let mut ordered: Vec<_> = schema.fields.iter().collect();
    if schema.encoding_positions_set {
        ordered.sort_by_key(|f| f.encoding_position);
    }
    // a null field of a row is a bit in the row's header, so only the type itself counts here
    ordered.into_iter().map(|f| field(f.r#type.as_ref()?, depth)).collect()
}

/// An element of an array or map, where a null is a flag of its own.
fn element(of: &FieldType, depth: u32) -> Option<Field> {
    let inner = field(of, depth)?;
    Some(if of.nullable { Field::Nullable(Box::new(inner)) } else { inner })
}

fn field(of: &FieldType, depth: u32) -> Option<Field> {
    let depth = depth.checked_sub(1)?;
    Some(match of.type_info.as_ref()? {
        TypeInfo::AtomicType(atomic) => atomic_field(AtomicType::try_from(*atomic).ok()?)?,
        TypeInfo::ArrayType(array) => Field::Array(Box::new(element(array.element_type.as_deref()?, depth)?)),
        TypeInfo::IterableType(list) => Field::Array(Box::new(element(list.element_type.as_deref()?, depth)?)),
        TypeInfo::MapType(map) => {
            let (key, value) = (map.key_type.as_deref()?, map.value_type.as_deref()?);
            Field::Map(Box::new(element(key, depth)?), Box::new(element(value, depth)?))
        }
        TypeInfo::RowType(inner) => Field::Row(row(inner.schema.as_ref()?, depth)?.into()),
        TypeInfo::LogicalType(logical) => logical_field(logical, depth)?,
    })
}

fn atomic_field(atomic: AtomicType) -> Option<Field> {
    Some(match atomic {
        AtomicType::Unspecified => return None,
        AtomicType::Byte | AtomicType::Boolean => Field::One,
        AtomicType::Int16 => Field::Two,
        AtomicType::Int32 | AtomicType::Int64 => Field::VarInt,
        AtomicType::Float => Field::Four,
        AtomicType::Double => Field::Eight,
        AtomicType::String | AtomicType::Bytes => Field::Bytes,
    })
}

/// Standard logical types are encoded as their representation; an SDK's own one may be encoded in any way.
fn logical_field(logical: &LogicalType, depth: u32) -> Option<Field> {
    match logical.urn.as_str() {
        MILLIS_INSTANT => Some(Field::Eight),
        DECIMAL => Some(Field::Decimal),
        urn if urn.starts_with("beam:logical_type:") && !urn.contains("python") && !urn.contains("java") => {
            element(logical.representation.as_deref()?, depth)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::coder::Coder;
    use thalweg_core::error::Result;
    use thalweg_proto::pipeline;

    fn of(info: TypeInfo) -> Option<FieldType> {
        Some(FieldType { nullable: false, type_info: Some(info) })
    }

    fn named(name: &str, position: i32, info: TypeInfo) -> pipeline::Field {
        pipeline::Field { name: name.to_owned(), encoding_position: position, r#type: of(info), ..Default::default() }
    }

    fn logical(urn: &str) -> TypeInfo {
        let representation = of(TypeInfo::AtomicType(AtomicType::Int64 as i32)).map(Box::new);
        TypeInfo::LogicalType(Box::new(LogicalType { urn: urn.to_owned(), representation, ..Default::default() }))
    }

    #[test]
    fn a_row_ends_where_its_schema_says() -> Result<()> {
        let schema = Schema {
            fields: vec![
                named("b", 1, TypeInfo::AtomicType(AtomicType::String as i32)),
                named("a", 0, logical(MILLIS_INSTANT)),
            ],
            encoding_positions_set: true,
            ..Default::default()
        };
        let found = fields(&schema).unwrap_or_default();
        assert_eq!(found, [Field::Eight, Field::Bytes]);
        let row = Coder::Row(found.into());
        assert_eq!(row.skip(b"\x02\x00\x80\0\0\0\0\0\0\x01\x02hirest")?, b"rest");
        Ok(())
    }

    #[test]
    fn a_decimal_is_a_scale_and_a_number() -> Result<()> {
        let schema = Schema { fields: vec![named("d", 0, logical(DECIMAL))], ..Default::default() };
        let row = Coder::Row(fields(&schema).unwrap_or_default().into());
        assert_eq!(row.skip(b"\x01\x00\x04\x02z\xb7rest")?, b"rest");
        Ok(())
    }

    #[test]
    fn rows_with_types_of_an_sdk_are_not_walked_through() {
        for urn in ["pythonsdk_any", "beam:logical_type:javasdk_enum:v1"] {
            let schema = Schema { fields: vec![named("x", 0, logical(urn))], ..Default::default() };
            assert_eq!(fields(&schema), None, "{urn}");
        }
    }
}
