//! Schemas to and from Beam's `schema.proto`.

use super::{Field, FieldType, Schema, Show, required};
use sha2::{Digest, Sha256};
use thalweg_core::error::{Error, Result};
use thalweg_proto::pipeline as pb;
use thalweg_proto::pipeline::field_type::TypeInfo;

/// URN of timestamps inside rows: what the Python SDK calls `Timestamp`.
const MICROS_INSTANT: &str = "beam:logical_type:micros_instant:v1";
/// URN of the Java SDK's `DateTime` and of Kafka's record times.
const MILLIS_INSTANT: &str = "beam:logical_type:millis_instant:v1";

/// The proto of a schema. Its id is a hash of the fields, so that equal schemas have equal ids.
#[must_use]
pub fn to_proto(schema: &Schema) -> pb::Schema {
    let digest = Sha256::digest(Show(schema).to_string().as_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    let id = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-");
    pb::Schema { id, ..fields_to_proto(schema) }
}

fn fields_to_proto(schema: &Schema) -> pb::Schema {
    let fields = schema.fields.iter().enumerate().map(|(i, field)| pb::Field {
        name: field.name.clone(),
        r#type: Some(type_to_proto(field)),
        id: i as i32,
        encoding_position: i as i32,
        ..pb::Field::default()
    });
    pb::Schema { fields: fields.collect(), ..pb::Schema::default() }
}

fn type_to_proto(of: &Field) -> pb::FieldType {
    let atomic = |atomic: pb::AtomicType| TypeInfo::AtomicType(atomic as i32);
    let boxed = |of: &Field| Some(Box::new(type_to_proto(of)));
    let info = match &of.kind {
        FieldType::Byte => atomic(pb::AtomicType::Byte),
        FieldType::Int16 => atomic(pb::AtomicType::Int16),
        FieldType::Int32 => atomic(pb::AtomicType::Int32),
        FieldType::Int64 => atomic(pb::AtomicType::Int64),
        FieldType::Float => atomic(pb::AtomicType::Float),
        FieldType::Double => atomic(pb::AtomicType::Double),
        FieldType::String => atomic(pb::AtomicType::String),
        FieldType::Boolean => atomic(pb::AtomicType::Boolean),
        FieldType::Bytes => atomic(pb::AtomicType::Bytes),
        FieldType::MicrosInstant => {
            let parts = Schema::of([("seconds", FieldType::Int64), ("micros", FieldType::Int64)]);
            logical(MICROS_INSTANT, FieldType::Row(parts))
        }
        FieldType::MillisInstant => logical(MILLIS_INSTANT, FieldType::Int64),
        FieldType::Array(element) => TypeInfo::ArrayType(Box::new(pb::ArrayType { element_type: boxed(element) })),
        FieldType::Map(key, value) => {
            TypeInfo::MapType(Box::new(pb::MapType { key_type: boxed(key), value_type: boxed(value) }))
        }
        FieldType::Row(schema) => TypeInfo::RowType(pb::RowType { schema: Some(fields_to_proto(schema)) }),
    };
    pb::FieldType { nullable: of.nullable, type_info: Some(info) }
}

fn logical(urn: &str, representation: FieldType) -> TypeInfo {
    TypeInfo::LogicalType(Box::new(pb::LogicalType {
        urn: urn.to_owned(),
        representation: Some(Box::new(type_to_proto(&required("", representation)))),
        ..pb::LogicalType::default()
    }))
}

/// The schema of a proto, its fields in the order of their encoding.
///
/// # Errors
/// `SCHEMA_UNSUPPORTED` for a type that native functions do not know (an SDK's own logical type).
pub fn from_proto(schema: &pb::Schema) -> Result<Schema> {
    let mut fields = Vec::new();
    let mut encoded: Vec<_> = schema.fields.iter().collect();
    if schema.encoding_positions_set {
        encoded.sort_by_key(|field| field.encoding_position);
    }
    for field in encoded {
        let read = field.r#type.as_ref().and_then(|kind| type_from_proto(&field.name, kind)).ok_or_else(|| {
            Error::user(
                "SCHEMA_UNSUPPORTED",
                format!("field `{}` has a type that native functions do not know", field.name),
            )
            .help("drop the field before, or handle it in a worker")
        })?;
        fields.push(read);
    }
    Ok(Schema { fields })
}

fn type_from_proto(name: &str, of: &pb::FieldType) -> Option<Field> {
    let boxed = |of: &Option<Box<pb::FieldType>>| Some(Box::new(type_from_proto("", of.as_deref()?)?));
    let kind = match of.type_info.as_ref()? {
        TypeInfo::AtomicType(atomic) => match pb::AtomicType::try_from(*atomic).ok()? {
            pb::AtomicType::Byte => FieldType::Byte,
            pb::AtomicType::Int16 => FieldType::Int16,
            pb::AtomicType::Int32 => FieldType::Int32,
            pb::AtomicType::Int64 => FieldType::Int64,
            pb::AtomicType::Float => FieldType::Float,
            pb::AtomicType::Double => FieldType::Double,
            pb::AtomicType::String => FieldType::String,
            pb::AtomicType::Boolean => FieldType::Boolean,
            pb::AtomicType::Bytes => FieldType::Bytes,
            pb::AtomicType::Unspecified => return None,
        },
        TypeInfo::LogicalType(logical) if logical.urn == MICROS_INSTANT => FieldType::MicrosInstant,
        TypeInfo::LogicalType(logical) if logical.urn == MILLIS_INSTANT => FieldType::MillisInstant,
        TypeInfo::LogicalType(_) => return None,
        TypeInfo::ArrayType(array) => FieldType::Array(boxed(&array.element_type)?),
        TypeInfo::IterableType(list) => FieldType::Array(boxed(&list.element_type)?),
        TypeInfo::MapType(map) => FieldType::Map(boxed(&map.key_type)?, boxed(&map.value_type)?),
        TypeInfo::RowType(row) => FieldType::Row(from_proto(row.schema.as_ref()?).ok()?),
    };
    Some(Field { name: name.to_owned(), kind, nullable: of.nullable })
}

#[cfg(test)]
mod tests {
    use super::super::nullable;
    use super::*;

    #[test]
    fn schemas_survive_the_proto() -> Result<()> {
        let inner = Schema { fields: vec![nullable("x", FieldType::Int32)] };
        let text = Box::new(required("", FieldType::String));
        let schema = Schema {
            fields: vec![
                required("s", FieldType::String),
                nullable("at", FieldType::MicrosInstant),
                required("then", FieldType::MillisInstant),
                required("list", FieldType::Array(Box::new(nullable("", FieldType::Double)))),
                required("map", FieldType::Map(text.clone(), text)),
                required("in", FieldType::Row(inner)),
            ],
        };
        assert_eq!(from_proto(&to_proto(&schema))?, schema);
        assert_eq!(to_proto(&schema).id.len(), 36);
        Ok(())
    }

    #[test]
    fn fields_stand_in_the_order_of_their_encoding() -> Result<()> {
        let mut proto = to_proto(&Schema::of([("a", FieldType::Int64), ("b", FieldType::Double)]));
        for (field, position) in proto.fields.iter_mut().zip([1, 0]) {
            field.encoding_position = position;
        }
        let names = |schema: Schema| schema.fields.into_iter().map(|f| f.name).collect::<Vec<_>>();
        assert_eq!(names(from_proto(&proto)?), ["a", "b"], "positions count only where the schema says so");
        proto.encoding_positions_set = true;
        assert_eq!(names(from_proto(&proto)?), ["b", "a"]);
        Ok(())
    }
}
