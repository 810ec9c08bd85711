//! Avro's schemas as those of rows, and back.
//!
//! | Avro | row |
//! |---|---|
//! | int, date, time-millis | int32 |
//! | long, time-micros, local timestamps, timestamp-nanos | int64 |
//! | timestamp-millis, timestamp-micros | instants |
//! | bytes, fixed | bytes |
//! | string, enum, uuid of a string | string |
//! | union of null and one other type | that type, nullable |
//!
//! Other unions, decimals, durations and schemas that contain themselves have no row. Source: Avro's specification 1.12, `AvroUtils`.

use crate::row::{Field, FieldType, Schema};
use apache_avro::Schema as Avro;
use apache_avro::schema::{RecordSchema, UuidSchema};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Depth of types in one another.
pub(super) const DEPTH_MAX: u32 = 32;
/// Fields of a row and of all rows in it: a type that is named often is there as often.
pub(super) const FIELDS_MAX: u32 = 10_000;

/// Types that have names, by name; a schema may name them again.
pub(super) type Names<'a> = BTreeMap<String, &'a Avro>;

/// The schema of rows of an Avro record.
///
/// # Errors
/// A sentence that names the field which no row can have.
pub(super) fn to_row(schema: &Avro) -> Result<Schema, String> {
    let Avro::Record(record) = schema else { return Err("the Avro schema is of no record".to_owned()) };
    let mut names = Names::new();
    gather(schema, &mut names);
    row(record, &names, DEPTH_MAX, &mut { FIELDS_MAX })
}

/// Finds the types that have names.
pub(super) fn gather<'a>(schema: &'a Avro, names: &mut Names<'a>) {
    match schema {
        Avro::Record(record) => {
            names.insert(record.name.to_string(), schema);
            record.fields.iter().for_each(|field| gather(&field.schema, names));
        }
        Avro::Enum(known) => {
            names.insert(known.name.to_string(), schema);
        }
        Avro::Fixed(known) => {
            names.insert(known.name.to_string(), schema);
        }
        Avro::Array(list) => gather(&list.items, names),
        Avro::Map(map) => gather(&map.types, names),
        Avro::Union(union) => union.variants().iter().for_each(|variant| gather(variant, names)),
        _ => {}
    }
}

/// The type that is meant: itself, or the one that it names. None for a name that nothing has.
pub(super) fn known<'a>(schema: &'a Avro, names: &Names<'a>) -> Option<&'a Avro> {
    match schema {
        Avro::Ref { name } => names.get(&name.to_string()).copied(),
        other => Some(other),
    }
}

fn row(record: &RecordSchema, names: &Names<'_>, depth: u32, left: &mut u32) -> Result<Schema, String> {
    let mut schema = Schema::default();
    for f in &record.fields {
        schema.fields.push(field(&f.name, &f.name, &f.schema, names, depth, left)?);
    }
    Ok(schema)
}

/// `place` is the field for messages, `name` its own name, empty for elements.
fn field(
    place: &str,
    name: &str,
    schema: &Avro,
    names: &Names<'_>,
    depth: u32,
    left: &mut u32,
) -> Result<Field, String> {
    let depth = depth.checked_sub(1).ok_or_else(|| format!("field {place:?} is nested too deeply, or in itself"))?;
    *left = left.checked_sub(1).ok_or_else(|| format!("it has more than {FIELDS_MAX} fields"))?;
    let mut element = |schema: &Avro| field(place, "", schema, names, depth, left);
    let no = |what: &str| Err(format!("field {place:?} is {what}, which no row can have"));
    let mut nullable = false;
    let kind = match schema {
        Avro::Boolean => FieldType::Boolean,
        Avro::Int | Avro::Date | Avro::TimeMillis => FieldType::Int32,
        Avro::Long
        | Avro::TimeMicros
        | Avro::TimestampNanos
        | Avro::LocalTimestampMillis
        | Avro::LocalTimestampMicros
        | Avro::LocalTimestampNanos => FieldType::Int64,
        Avro::Float => FieldType::Float,
        Avro::Double => FieldType::Double,
        Avro::Bytes | Avro::Fixed(_) => FieldType::Bytes,
        Avro::String | Avro::Enum(_) | Avro::Uuid(UuidSchema::String) => FieldType::String,
        Avro::TimestampMillis => FieldType::MillisInstant,
        Avro::TimestampMicros => FieldType::MicrosInstant,
        Avro::Array(list) => FieldType::Array(Box::new(element(&list.items)?)),
        Avro::Map(map) => FieldType::Map(
            Box::new(Field { name: String::new(), kind: FieldType::String, nullable: false }),
            Box::new(element(&map.types)?),
        ),
        Avro::Record(record) => FieldType::Row(row(record, names, depth, left)?),
        Avro::Ref { name: known } => match names.get(&known.to_string()) {
            Some(known) => return field(place, name, known, names, depth, left),
            None => return no("of a type that is not known"),
        },
        Avro::Union(union) => {
            let others: Vec<&Avro> = union.variants().iter().filter(|v| **v != Avro::Null).collect();
            nullable = others.len() < union.variants().len();
            match others.as_slice() {
                [only] => element(only)?.kind,
                [] => return no("always null"),
                several => return no(&format!("a union of {} types", several.len())),
            }
        }
        Avro::Null => return no("always null"),
        Avro::Decimal(_) | Avro::BigDecimal => return no("a decimal"),
        Avro::Duration(_) => return no("a duration"),
        Avro::Uuid(_) => return no("a UUID in bytes"),
    };
    Ok(Field { name: name.to_owned(), kind, nullable })
}

/// An Avro schema for rows, as JSON. Fields that may be null are unions with null, whose default is null.
///
/// # Errors
/// A sentence that names the field which Avro cannot have: a map whose keys are no strings.
pub(super) fn of_row(schema: &Schema) -> Result<String, String> {
    Ok(record("Record", schema)?.to_string())
}

fn record(name: &str, schema: &Schema) -> Result<Value, String> {
    let mut fields = Vec::new();
    for field in &schema.fields {
        let kind = type_of(&format!("{name}_{}", field.name), field)?;
        let mut member = json!({"name": field.name, "type": kind});
        if let (true, Some(member)) = (field.nullable, member.as_object_mut()) {
            member.insert("default".to_owned(), Value::Null);
        }
        fields.push(member);
    }
    Ok(json!({"type": "record", "name": name, "fields": fields}))
}

/// `name` is the one of a record in it, which must be unique.
fn type_of(name: &str, field: &Field) -> Result<Value, String> {
    let logical = |base: &str, logical: &str| json!({"type": base, "logicalType": logical});
    let kind = match &field.kind {
        FieldType::Byte | FieldType::Int16 | FieldType::Int32 => json!("int"),
        FieldType::Int64 => json!("long"),
        FieldType::Float => json!("float"),
        FieldType::Double => json!("double"),
        FieldType::Boolean => json!("boolean"),
        FieldType::String => json!("string"),
        FieldType::Bytes => json!("bytes"),
        FieldType::MillisInstant => logical("long", "timestamp-millis"),
        FieldType::MicrosInstant => logical("long", "timestamp-micros"),
        FieldType::Array(element) => json!({"type": "array", "items": type_of(name, element)?}),
        FieldType::Map(key, value) if key.kind == FieldType::String => {
            json!({"type": "map", "values": type_of(name, value)?})
        }
        FieldType::Map(..) => return Err(format!("field {:?} is a map whose keys are no strings", field.name)),
        FieldType::Row(schema) => record(name, schema)?,
    };
    Ok(if field.nullable { json!(["null", kind]) } else { kind })
}
