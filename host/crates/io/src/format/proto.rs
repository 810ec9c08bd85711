//! Protobuf messages to and from rows.
//!
//! | Protobuf | row |
//! |---|---|
//! | int32, sint32, sfixed32 | int32 |
//! | int64 and all unsigned numbers | int64 |
//! | enum | string: the value's name, or its number where it has none |
//! | message, optional fields, members of a oneof | nullable |
//! | google.protobuf.Timestamp | micros_instant; nanoseconds are cut off |
//! | google.protobuf.StringValue and its kin | the value, nullable |
//!
//! Messages that contain themselves have no row. Source: the language guide of proto3, `ProtoSchemaTranslator` of Beam.

use crate::row::{Cell, Field, FieldType, Schema, read_row, write_row};
use prost_reflect::prost::Message;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage,
    Value,
};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

/// Depth of messages in one another.
const DEPTH_MAX: u32 = 32;
/// Fields of a row and of all rows in it: a message that is used often is there as often.
const FIELDS_MAX: u32 = 10_000;
/// Name under which the text of a schema is compiled.
const FILE: &str = "schema.proto";

/// Rows of one message type.
#[derive(Debug)]
pub(super) struct ProtoRows {
    message: MessageDescriptor,
    row: Schema,
}

/// The one text there is.
struct Text(String);

impl FileResolver for Text {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == FILE { File::from_source(name, &self.0) } else { Err(protox::Error::file_not_found(name)) }
    }
}

fn compile(text: &str) -> Result<DescriptorPool, String> {
    let mut files = ChainFileResolver::new();
    files.add(Text(text.to_owned()));
    files.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.include_imports(true);
    compiler.open_file(FILE).map_err(|e| format!("it is no .proto file: {e}"))?;
    Ok(compiler.descriptor_pool())
}

impl ProtoRows {
    /// `text` is a .proto file, which may import those of `google/protobuf`; `message` the type's name, with or without its package,
    /// and may be left out where the file has only one.
    ///
    /// # Errors
    /// A sentence on what is wrong with the file, or on the field that no row can have.
    pub(super) fn new(text: &str, message: Option<&str>) -> Result<Self, String> {
        let pool = compile(text)?;
        let file = pool.get_file_by_name(FILE).ok_or_else(|| "it is no .proto file".to_owned())?;
        let all: Vec<MessageDescriptor> = file.messages().collect();
        let named = |name: &str| {
            let full = format!("{}.{name}", file.package_name());
            pool.get_message_by_name(name).or_else(|| pool.get_message_by_name(&full))
        };
        let found = match (message, all.as_slice()) {
            (Some(name), _) => named(name).ok_or_else(|| format!("it has no message {name:?}"))?,
            (None, [only]) => only.clone(),
            (None, several) => return Err(format!("it has {} messages: name the one that is meant", several.len())),
        };
        let row = row(&found, DEPTH_MAX, &mut { FIELDS_MAX })?;
        Ok(Self { message: found, row })
    }

    /// The fields of the rows.
    pub(super) fn row(&self) -> &Schema {
        &self.row
    }

    /// Where the message stands in its file: its place among the file's messages, then among those in that one, and so on.
    pub(super) fn place(&self) -> Vec<i64> {
        let mut place = Vec::new();
        let mut message = Some(self.message.clone());
        while let Some(inner) = message {
            let outer = inner.parent_message();
            let siblings: Vec<MessageDescriptor> = match &outer {
                Some(outer) => outer.child_messages().collect(),
                None => inner.parent_file().messages().collect(),
            };
            place.push(siblings.iter().position(|m| *m == inner).map_or(0, |i| i as i64));
            message = outer;
        }
        place.reverse();
        place
    }

    /// Where the message of this name stands in a writer's file, as [`Self::place`] says it; none where there is none. What the file imports is not needed.
    ///
    /// # Errors
    /// A sentence on what is wrong with the file.
    pub(super) fn place_in(&self, text: &str) -> Result<Option<Vec<i64>>, String> {
        let file = File::from_source(FILE, text).map_err(|e| format!("it is no .proto file: {e}"))?;
        let file = file.file_descriptor_proto();
        let package = self.message.package_name();
        if file.package() != package {
            return Ok(None);
        }
        let mut siblings = &file.message_type;
        let mut place = Vec::new();
        let name = self.message.full_name();
        for part in name.strip_prefix(package).unwrap_or(name).trim_start_matches('.').split('.') {
            let Some((at, found)) = siblings.iter().enumerate().find(|(_, m)| m.name() == part) else {
                return Ok(None);
            };
            place.push(at as i64);
            siblings = &found.nested_type;
        }
        Ok(Some(place))
    }

    /// Appends the row of a message.
    ///
    /// # Errors
    /// A sentence on what is wrong with the message.
    pub(super) fn decode(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let message = DynamicMessage::decode(self.message.clone(), bytes);
        let message = message.map_err(|e| format!("it is no such Protobuf message: {e}"))?;
        write_row(&self.row, &cells(&message)?, out)
    }

    /// Appends the message of a row of `schema`, whose fields are found by their names; null leaves a field out.
    ///
    /// # Errors
    /// A sentence on what does not fit.
    pub(super) fn encode(&self, schema: &Schema, row: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let cells = read_row(schema, row).map_err(|e| e.message.clone())?;
        let message = message(&self.message, schema, cells)?;
        message.encode(out).map_err(|e| format!("it is too large: {e}"))
    }
}

fn row(message: &MessageDescriptor, depth: u32, left: &mut u32) -> Result<Schema, String> {
    let mut schema = Schema::default();
    for f in message.fields() {
        *left = left.checked_sub(1).ok_or_else(|| format!("it has more than {FIELDS_MAX} fields"))?;
        let kind = type_of(&f, depth, left)?;
        let nullable = !f.is_list() && !f.is_map() && f.supports_presence() && f.cardinality() != Cardinality::Required;
        schema.fields.push(Field { name: f.name().to_owned(), kind, nullable });
    }
    Ok(schema)
}

fn type_of(field: &FieldDescriptor, depth: u32, left: &mut u32) -> Result<FieldType, String> {
    let element = |kind| Box::new(Field { name: String::new(), kind, nullable: false });
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let key = single(&entry.map_entry_key_field(), depth, left)?;
        return Ok(FieldType::Map(element(key), element(single(&entry.map_entry_value_field(), depth, left)?)));
    }
    let kind = single(field, depth, left)?;
    Ok(if field.is_list() { FieldType::Array(element(kind)) } else { kind })
}

fn single(field: &FieldDescriptor, depth: u32, left: &mut u32) -> Result<FieldType, String> {
    let nested = || format!("field {:?} is nested too deeply, or in itself", field.name());
    let depth = depth.checked_sub(1).ok_or_else(nested)?;
    Ok(match field.kind() {
        Kind::Double => FieldType::Double,
        Kind::Float => FieldType::Float,
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => FieldType::Int32,
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint32 | Kind::Fixed32 | Kind::Uint64 | Kind::Fixed64 => {
            FieldType::Int64
        }
        Kind::Bool => FieldType::Boolean,
        Kind::String | Kind::Enum(_) => FieldType::String,
        Kind::Bytes => FieldType::Bytes,
        Kind::Message(message) if message.full_name() == TIMESTAMP => FieldType::MicrosInstant,
        Kind::Message(message) => match wrapped(&message) {
            Some(value) => single(&value, depth, left)?,
            None => FieldType::Row(row(&message, depth, left)?),
        },
    })
}

const TIMESTAMP: &str = "google.protobuf.Timestamp";

/// The field `value` of a message that only wraps one.
fn wrapped(message: &MessageDescriptor) -> Option<FieldDescriptor> {
    let name = message.full_name().strip_prefix("google.protobuf.")?;
    name.ends_with("Value")
        .then(|| message.get_field_by_name("value"))
        .flatten()
        .filter(|_| message.fields().len() == 1)
}

fn cells(message: &DynamicMessage) -> Result<Vec<Cell>, String> {
    let fields = message.descriptor();
    let one = |field: FieldDescriptor| {
        if field.supports_presence() && !message.has_field(&field) {
            return Ok(Cell::Null);
        }
        cell(&field, &message.get_field(&field))
    };
    fields.fields().map(one).collect()
}

fn cell(field: &FieldDescriptor, value: &Value) -> Result<Cell, String> {
    let too_large =
        |n: u64| format!("the number {n} of field {:?} does not fit into 64 bits with a sign", field.name());
    Ok(match value {
        Value::Bool(b) => Cell::Boolean(*b),
        Value::I32(n) => Cell::Integer((*n).into()),
        Value::I64(n) => Cell::Integer(*n),
        Value::U32(n) => Cell::Integer((*n).into()),
        Value::U64(n) => Cell::Integer(i64::try_from(*n).map_err(|_| too_large(*n))?),
        Value::F32(x) => Cell::Float((*x).into()),
        Value::F64(x) => Cell::Float(*x),
        Value::String(text) => Cell::Text(text.clone()),
        Value::Bytes(bytes) => Cell::Bytes(bytes.to_vec()),
        Value::EnumNumber(n) => match field.kind() {
            Kind::Enum(known) => Cell::Text(known.get_value(*n).map_or_else(|| n.to_string(), |v| v.name().to_owned())),
            _ => Cell::Integer((*n).into()),
        },
        Value::Message(message) if message.descriptor().full_name() == TIMESTAMP => {
            let part = |name| message.get_field_by_name(name).and_then(|v| v.as_i64().or(v.as_i32().map(i64::from)));
            let (seconds, nanos) = (part("seconds").unwrap_or_default(), part("nanos").unwrap_or_default());
            Cell::Integer(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000))
        }
        Value::Message(message) => match wrapped(&message.descriptor()) {
            Some(inner) => cell(&inner, &message.get_field(&inner))?,
            None => Cell::Row(cells(message)?),
        },
        Value::List(list) => Cell::List(list.iter().map(|v| cell(field, v)).collect::<Result<_, _>>()?),
        Value::Map(map) => {
            let Kind::Message(entry) = field.kind() else { return Err(format!("field {:?} is no map", field.name())) };
            let of = entry.map_entry_value_field();
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0)); // the library's order is none: the same message gives the same row
            let pair = |(k, v): (&MapKey, &Value)| Ok((cell(&of, &Value::from(k.clone()))?, cell(&of, v)?));
            Cell::Map(entries.into_iter().map(pair).collect::<Result<_, String>>()?)
        }
    })
}

fn message(of: &MessageDescriptor, schema: &Schema, cells: Vec<Cell>) -> Result<DynamicMessage, String> {
    let mut message = DynamicMessage::new(of.clone());
    for (field, cell) in schema.fields.iter().zip(cells).filter(|(_, cell)| *cell != Cell::Null) {
        let known = of.get_field_by_name(&field.name);
        let known = known.ok_or_else(|| format!("the message {} has no field {:?}", of.name(), field.name))?;
        let value = value(&known, &field.kind, cell)?;
        if let Some(other) = known.containing_oneof().and_then(|of| of.fields().find(|f| message.has_field(f))) {
            return Err(format!("{:?} and {:?} are of one oneof: one of them is to be null", other.name(), field.name));
        }
        message.try_set_field(&known, value).map_err(|e| format!("field {:?} does not fit: {e}", field.name))?;
    }
    Ok(message)
}

fn value(to: &FieldDescriptor, kind: &FieldType, cell: Cell) -> Result<Value, String> {
    let (Kind::Message(entry), true) = (to.kind(), to.is_map()) else {
        return match (kind, cell) {
            (FieldType::Array(element), Cell::List(list)) if to.is_list() => {
                let each = list.into_iter().map(|cell| single_value(to, &element.kind, cell));
                Ok(Value::List(each.collect::<Result<_, _>>()?))
            }
            (kind, cell) => single_value(to, kind, cell),
        };
    };
    let (FieldType::Map(key, element), Cell::Map(entries)) = (kind, cell) else {
        return Err(format!("field {:?} is a map there, and none here", to.name()));
    };
    let pair = |(k, v)| {
        let k = single_value(&entry.map_entry_key_field(), &key.kind, k)?.into_map_key();
        let k = k.ok_or_else(|| format!("a key of field {:?} is of no type of keys", to.name()))?;
        Ok((k, single_value(&entry.map_entry_value_field(), &element.kind, v)?))
    };
    Ok(Value::Map(entries.into_iter().map(pair).collect::<Result<_, String>>()?))
}

fn single_value(to: &FieldDescriptor, kind: &FieldType, cell: Cell) -> Result<Value, String> {
    let unfit = || format!("field {:?} is a {:?} there, and a {kind:?} here", to.name(), to.kind());
    let range = || format!("the number of field {:?} is out of its range", to.name());
    Ok(match (to.kind(), cell) {
        (Kind::Bool, Cell::Boolean(b)) => Value::Bool(b),
        (Kind::Int32 | Kind::Sint32 | Kind::Sfixed32, Cell::Integer(n)) => {
            Value::I32(i32::try_from(n).map_err(|_| range())?)
        }
        (Kind::Int64 | Kind::Sint64 | Kind::Sfixed64, Cell::Integer(n)) => Value::I64(n),
        (Kind::Uint32 | Kind::Fixed32, Cell::Integer(n)) => Value::U32(u32::try_from(n).map_err(|_| range())?),
        (Kind::Uint64 | Kind::Fixed64, Cell::Integer(n)) => Value::U64(u64::try_from(n).map_err(|_| range())?),
        (Kind::Float, Cell::Float(x)) if x.is_finite() && (x as f32).is_infinite() => return Err(range()),
        (Kind::Float, Cell::Float(x)) => Value::F32(x as f32),
        (Kind::Double, Cell::Float(x)) => Value::F64(x),
        (Kind::String, Cell::Text(text)) => Value::String(text),
        (Kind::Bytes, Cell::Bytes(bytes)) => Value::Bytes(bytes.into()),
        (Kind::Enum(known), Cell::Text(name)) => {
            let number = known.get_value_by_name(&name).map(|v| v.number()).or_else(|| name.parse().ok());
            Value::EnumNumber(number.ok_or_else(|| format!("the enum {} has no value {name:?}", known.name()))?)
        }
        (Kind::Message(time), Cell::Integer(n)) if time.full_name() == TIMESTAMP => {
            let micros = match kind {
                FieldType::MillisInstant => n.checked_mul(1000).ok_or_else(range)?,
                FieldType::MicrosInstant => n,
                _ => return Err(unfit()),
            };
            let mut message = DynamicMessage::new(time);
            message.set_field_by_name("seconds", Value::I64(micros.div_euclid(1_000_000)));
            message.set_field_by_name("nanos", Value::I32((micros.rem_euclid(1_000_000) * 1000) as i32));
            Value::Message(message)
        }
        (Kind::Message(inner), cell) => match (wrapped(&inner), kind, cell) {
            (Some(of), kind, cell) => {
                let mut message = DynamicMessage::new(inner);
                message.set_field(&of, single_value(&of, kind, cell)?);
                Value::Message(message)
            }
            (None, FieldType::Row(schema), Cell::Row(cells)) => Value::Message(message(&inner, schema, cells)?),
            _ => return Err(unfit()),
        },
        _ => return Err(unfit()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::RowToJson;

    const FLIGHT: &str = r#"
        syntax = "proto3";
        package air;
        import "google/protobuf/timestamp.proto";
        import "google/protobuf/wrappers.proto";
        enum Class { FIRST = 0; SECOND = 1; }
        message Other { string x = 1; }
        message Flight {
            string carrier = 1;
            optional sint32 delay = 2;
            repeated string stops = 3;
            map<string, int64> seats = 4;
            google.protobuf.Timestamp at = 5;
            Class class = 6;
            Plane plane = 7;
            uint64 number = 8;
            google.protobuf.StringValue note = 9;
            oneof seat { int32 row = 10; string name = 11; }
            bytes raw = 12;
            message Plane { string tail = 1; double weight = 2; }
        }"#;

    fn flights() -> ProtoRows {
        ProtoRows::new(FLIGHT, Some("Flight")).expect("a schema")
    }

    fn shown(rows: &ProtoRows, row: &[u8]) -> String {
        let mut out = Vec::new();
        RowToJson::new(rows.row()).write(row, &mut out).expect("a row");
        String::from_utf8(out).expect("UTF-8")
    }

    /// A flight as Protobuf's encoding guide writes it.
    const MESSAGE: &[u8] =
        b"\x0a\x02AA\x10\x1d\x1a\x03JFK\x1a\x03LAX\x22\x05\x0a\x01e\x10\x64\x2a\x06\x08\x01\x10\xc0\x84\x3d\
        \x30\x01\x3a\x04\x0a\x02N1\x40\x07\x4a\x04\x0a\x02hi\x50\x03\x62\x01z";

    #[test]
    fn a_message_becomes_a_row_and_a_row_the_message() {
        let rows = flights();
        let mut row = Vec::new();
        rows.decode(MESSAGE, &mut row).expect("a flight");
        assert_eq!(
            shown(&rows, &row),
            r#"{"carrier":"AA","delay":-15,"stops":["JFK","LAX"],"seats":{"e":100},"at":"1970-01-01T00:00:01.001Z","class":"SECOND","plane":{"tail":"N1","weight":0.0},"number":7,"note":"hi","row":3,"name":null,"raw":"eg=="}"#
        );
        let mut back = Vec::new();
        rows.encode(rows.row(), &row, &mut back).expect("a message");
        assert_eq!(back, MESSAGE);
    }

    #[test]
    fn what_is_left_out_is_null_or_the_default() {
        let rows = flights();
        let mut row = Vec::new();
        rows.decode(b"", &mut row).expect("an empty message");
        assert_eq!(
            shown(&rows, &row),
            r#"{"carrier":"","delay":null,"stops":[],"seats":{},"at":null,"class":"FIRST","plane":null,"number":0,"note":null,"row":null,"name":null,"raw":""}"#
        );
        row.clear();
        rows.decode(b"\x30\x09", &mut row).expect("an unknown value of the enum");
        assert!(shown(&rows, &row).contains(r#""class":"9""#));
    }

    #[test]
    fn damaged_messages_are_errors() {
        let rows = flights();
        for bad in [&b"\x0a\x09AA"[..], b"\x0a\x02\xff\xfe", b"\x08\x01", b"\xff"] {
            let error = rows.decode(bad, &mut Vec::new()).expect_err("damaged");
            assert!(error.contains("no such Protobuf message"), "{error}");
        }
        // 2^64 - 1
        let error =
            rows.decode(b"\x40\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", &mut Vec::new()).expect_err("too large");
        assert!(error.contains("\"number\" does not fit"), "{error}");
    }

    #[test]
    fn the_place_of_a_message_counts_from_its_file_inwards() {
        assert_eq!(flights().place(), [1]);
        assert_eq!(ProtoRows::new(FLIGHT, Some("air.Flight.Plane")).expect("a schema").place(), [1, 1]);
        assert_eq!(ProtoRows::new(FLIGHT, Some("Other")).expect("a schema").place(), [0]);
    }

    #[test]
    fn schemas_that_do_not_do_are_refused_with_the_reason() {
        let refused = |text: &str, message| ProtoRows::new(text, message).err().unwrap_or_default();
        assert!(refused(FLIGHT, None).contains("2 messages"));
        assert!(refused(FLIGHT, Some("Nobody")).contains("no message \"Nobody\""));
        assert!(refused("syntax = ", None).contains("no .proto file"));
        let tree = r#"syntax = "proto3"; message Tree { Tree left = 1; }"#;
        assert!(refused(tree, None).contains("\"left\" is nested too deeply, or in itself"));
        let import = r#"syntax = "proto3"; import "other.proto"; message M { int32 n = 1; }"#;
        assert!(refused(import, None).contains("other.proto"));
    }

    #[test]
    fn a_small_schema_with_a_vast_row_is_refused() {
        let mut text = r#"syntax = "proto3"; message M20 { int32 n = 1; }"#.to_owned();
        (0..20).for_each(|i| text.push_str(&format!("message M{i} {{ M{n} a = 1; M{n} b = 2; }}", n = i + 1)));
        let error = ProtoRows::new(&text, Some("M0")).expect_err("2^20 fields");
        assert!(error.contains("more than 10000 fields"), "{error}");
    }

    #[test]
    fn rows_that_do_not_fit_say_so() {
        let rows = ProtoRows::new(r#"syntax = "proto3"; enum E { A = 0; } message M { int32 n = 1; E e = 2; }"#, None);
        let rows = rows.expect("a schema");
        let encode = |schema: Schema, row: &[u8]| rows.encode(&schema, row, &mut Vec::new()).err().unwrap_or_default();
        assert!(encode(Schema::of([("m", FieldType::Int32)]), b"\x01\x00\x07").contains("no field \"m\""));
        assert!(encode(Schema::of([("n", FieldType::String)]), b"\x01\x00\x01x").contains("\"n\" is a"));
        assert!(encode(Schema::of([("e", FieldType::String)]), b"\x01\x00\x01B").contains("no value \"B\""));
        let large = [&b"\x01\x00"[..], b"\x80\x80\x80\x80\x80\x01"].concat();
        assert!(encode(Schema::of([("n", FieldType::Int64)]), &large).contains("out of its range"));
    }

    #[test]
    fn nothing_is_written_that_would_be_read_as_something_else() {
        let file = r#"syntax = "proto3"; import "google/protobuf/timestamp.proto";
            message M { oneof o { int32 a = 1; int32 b = 2; } float f = 3; google.protobuf.Timestamp t = 4; }"#;
        let rows = ProtoRows::new(file, None).expect("a schema");
        let encode = |schema: Schema, row: &[u8]| rows.encode(&schema, row, &mut Vec::new()).err().unwrap_or_default();
        let both = Schema::of([("a", FieldType::Int32), ("b", FieldType::Int32)]);
        assert!(encode(both, b"\x02\x00\x01\x01").contains("\"a\" and \"b\" are of one oneof"));
        let double = |x: f64| [b"\x01\x00".as_slice(), &x.to_be_bytes()].concat();
        let float = || Schema::of([("f", FieldType::Double)]);
        assert!(encode(float(), &double(1e300)).contains("\"f\" is out of its range"));
        assert_eq!(encode(float(), &double(f64::INFINITY)), "");
        // of what unit it is nobody has said
        assert!(encode(Schema::of([("t", FieldType::Int64)]), b"\x01\x00\x07").contains("\"t\" is a"));
    }
}
