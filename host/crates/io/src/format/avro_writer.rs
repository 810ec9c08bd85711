//! Schemas that Avro data were written with: what is safe to decode by, and fits what is read.
//!
//! In: the text of a schema as whoever wrote it registered it, and the reader's schema. Out: the schema to decode with, or a sentence on
//! why there is none. A writer's schema says how deep and how large values are, so it is trusted no more than data. Knows no data.

use super::avro::{DATUM_BYTES_MAX, parse};
use super::avro_schema::{DEPTH_MAX, FIELDS_MAX, Names, gather, known};
use apache_avro::Schema as Avro;
use apache_avro::schema::RecordField;
use serde_json::Value;
use std::collections::BTreeMap;

/// A schema to decode by, without logical types: those are the reader's, and change no bytes. Source: Avro's specification 1.12, "Logical
/// Types".
///
/// # Errors
/// A sentence on what is wrong with it.
pub(super) fn plain(text: &str) -> Result<Avro, String> {
    let mut json: Value = serde_json::from_str(text).map_err(|e| format!("it is no Avro schema: {e}"))?;
    strip(&mut json);
    parse(&json.to_string())
}

/// Takes logical types out. What is nested deeper than the parser of JSON allows does not come here.
fn strip(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(strip),
        Value::Object(members) => {
            for name in ["logicalType", "precision", "scale"] {
                members.remove(name);
            }
            for name in ["type", "items", "values", "fields"] {
                members.get_mut(name).into_iter().for_each(strip);
            }
        }
        _ => {}
    }
}

/// Whether data of this schema take no more room and stack than their bytes account for: it is nested to a depth, not in itself, and in
/// lists and maps everything takes a byte, so that a small number cannot stand for many values.
///
/// # Errors
/// A sentence that names the field.
pub(super) fn bounded(schema: &Avro) -> Result<(), String> {
    let mut names = Names::new();
    gather(schema, &mut names);
    // one more for the record itself
    Bounds { names, left: FIELDS_MAX }.take("", schema, DEPTH_MAX + 1, false)
}

struct Bounds<'a> {
    names: Names<'a>,
    /// Types that may still come: one that is named often is there as often.
    left: u32,
}

impl<'a> Bounds<'a> {
    /// `place` is the record's field for messages, whatever is in it; `many` is true inside of lists and maps.
    fn take(&mut self, place: &str, schema: &'a Avro, depth: u32, many: bool) -> Result<(), String> {
        let depth =
            depth.checked_sub(1).ok_or_else(|| format!("field {place:?} is nested too deeply, or in itself"))?;
        self.left = self.left.checked_sub(1).ok_or_else(|| format!("it has more than {FIELDS_MAX} fields"))?;
        match known(schema, &self.names) {
            None => Err(format!("field {place:?} is of a type that is not known")),
            Some(Avro::Array(list)) => {
                self.takes_bytes(place, &list.items)?;
                self.take(place, &list.items, depth, true)
            }
            // a key, or the number of a variant, takes a byte for a value that takes none
            Some(Avro::Map(map)) => self.take(place, &map.types, depth, true),
            Some(Avro::Union(union)) => {
                union.variants().iter().try_for_each(|variant| self.take(place, variant, depth, many))
            }
            Some(Avro::Record(record)) => record.fields.iter().try_for_each(|field| {
                let place = if place.is_empty() { &field.name } else { place };
                if many {
                    self.takes_bytes(place, &field.schema)?;
                }
                self.take(place, &field.schema, depth, many)
            }),
            Some(Avro::Fixed(fixed)) if fixed.size > DATUM_BYTES_MAX => {
                Err(format!("field {place:?} has {} bytes, and {DATUM_BYTES_MAX} are allowed", fixed.size))
            }
            Some(_) => Ok(()),
        }
    }

    fn takes_bytes(&self, place: &str, schema: &'a Avro) -> Result<(), String> {
        let none = match known(schema, &self.names) {
            Some(Avro::Null) => true,
            Some(Avro::Fixed(fixed)) => fixed.size == 0,
            Some(Avro::Record(record)) => record.fields.is_empty(),
            _ => false,
        };
        if none { Err(format!("field {place:?}, in a list or map, has values that take no bytes")) } else { Ok(()) }
    }
}

/// Whether times are written in the unit in which they are read: without logical types that would not be seen. Both schemas are
/// [`bounded`].
///
/// # Errors
/// A sentence that names the field.
pub(super) fn in_its_units(writer: &Avro, reader: &Avro) -> Result<(), String> {
    let mut names = (Names::new(), Names::new());
    gather(writer, &mut names.0);
    gather(reader, &mut names.1);
    agree("", writer, reader, (&names.0, &names.1))
}

fn agree(place: &str, writer: &Avro, reader: &Avro, names: (&Names<'_>, &Names<'_>)) -> Result<(), String> {
    let Some((writer, reader)) = known(writer, names.0).zip(known(reader, names.1)) else { return Ok(()) };
    match (writer, reader) {
        (Avro::Union(all), _) => all.variants().iter().try_for_each(|writer| agree(place, writer, reader, names)),
        (_, Avro::Union(all)) => all.variants().iter().try_for_each(|reader| agree(place, writer, reader, names)),
        (Avro::Array(writer), Avro::Array(reader)) => agree(place, &writer.items, &reader.items, names),
        (Avro::Map(writer), Avro::Map(reader)) => agree(place, &writer.types, &reader.types, names),
        (Avro::Record(writer), Avro::Record(reader)) => {
            let written: BTreeMap<&str, &RecordField> = writer.fields.iter().map(|f| (f.name.as_str(), f)).collect();
            reader.fields.iter().try_for_each(|field| {
                let mut names_of_it = std::iter::once(&field.name).chain(&field.aliases);
                let written = names_of_it.find_map(|name| written.get(name.as_str()));
                written.map_or(Ok(()), |written| agree(&field.name, &written.schema, &field.schema, names))
            })
        }
        _ => match unit(writer).zip(unit(reader)) {
            Some((written, read)) if written != read => {
                Err(format!("field {place:?} is written in {written} and would be read in {read}"))
            }
            _ => Ok(()),
        },
    }
}

/// What a number counts.
fn unit(schema: &Avro) -> Option<&'static str> {
    match schema {
        Avro::Date => Some("days"),
        Avro::TimeMillis | Avro::TimestampMillis | Avro::LocalTimestampMillis => Some("milliseconds"),
        Avro::TimeMicros | Avro::TimestampMicros | Avro::LocalTimestampMicros => Some("microseconds"),
        Avro::TimestampNanos | Avro::LocalTimestampNanos => Some("nanoseconds"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str) -> String {
        format!(r#"{{"type": "record", "name": "R", "fields": [{{"name": "x", "type": {kind}}}]}}"#)
    }

    fn why(kind: &str) -> String {
        plain(&of(kind)).and_then(|schema| bounded(&schema)).err().unwrap_or_default()
    }

    #[test]
    fn a_schema_that_decides_over_the_stack_is_refused() {
        assert!(why(r#"["null", "R"]"#).contains("\"x\" is nested too deeply, or in itself"));
        assert!(why(r#"{"type": "array", "items": "R"}"#).contains("in itself"));
        let deep = (0..40).fold("\"int\"".to_owned(), |kind, _| format!(r#"{{"type": "array", "items": {kind}}}"#));
        assert!(why(&deep).contains("nested too deeply"));
        // each type is the one before, by name
        let mut chain = r#"{"name": "f0", "type": {"type": "record", "name": "T0", "fields": []}}"#.to_owned();
        for n in 1..40 {
            let before = n - 1;
            chain += &format!(
                r#", {{"name": "f{n}", "type": {{"type": "record", "name": "T{n}", "fields": [{{"name": "y", "type": "T{before}"}}]}}}}"#
            );
        }
        assert!(
            why(&format!(r#"{{"type": "record", "name": "C", "fields": [{chain}]}}"#)).contains("nested too deeply")
        );
    }

    #[test]
    fn a_schema_whose_values_take_no_bytes_is_refused_where_there_may_be_many() {
        assert!(why(r#"{"type": "array", "items": {"type": "array", "items": "null"}}"#).contains("take no bytes"));
        assert!(
            why(r#"{"type": "array", "items": {"type": "record", "name": "E", "fields": []}}"#).contains("no bytes")
        );
        assert!(why(r#"{"type": "array", "items": {"type": "fixed", "name": "E", "size": 0}}"#).contains("no bytes"));
        let record = r#"{"type": "record", "name": "E", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "null"}]}"#;
        assert!(why(&format!(r#"{{"type": "map", "values": {record}}}"#)).contains("field \"x\", in a list or map"));
        assert!(why(r#"{"type": "fixed", "name": "F", "size": 4611686018427387904}"#).contains("4611686018427387904"));
        let twice = (1..20).fold(r#"{"name": "f0", "type": {"type": "record", "name": "T0", "fields": []}}"#.to_owned(), |all, n| {
            let b = n - 1;
            format!(r#"{all}, {{"name": "f{n}", "type": {{"type": "record", "name": "T{n}", "fields": [{{"name": "y", "type": "T{b}"}}, {{"name": "z", "type": "T{b}"}}]}}}}"#)
        });
        assert!(why(&format!(r#"{{"type": "record", "name": "C", "fields": [{twice}]}}"#)).contains("more than 10000"));
        for kind in [
            r#""null""#,
            r#"{"type": "map", "values": "null"}"#,
            r#"{"type": "array", "items": ["null", "int", {"type": "record", "name": "Marker", "fields": []}]}"#,
            r#"{"type": "array", "items": {"type": "array", "items": "boolean"}}"#,
        ] {
            assert_eq!(why(kind), "", "{kind}");
        }
    }
}
