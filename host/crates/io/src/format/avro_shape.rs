//! What an Avro schema asks of values beyond their types: symbols of enums, lengths, and other names of fields.
//!
//! In: a schema that has rows, and values. Out: values whose fields have the schema's names, or a sentence on what does not fit. The
//! library does neither: it writes an enum's default for a symbol that is none, any text into a fixed, and knows no aliases of fields.

use super::avro_said::cut;
use super::avro_schema::{Names, gather, known};
use apache_avro::Schema as Avro;
use apache_avro::types::Value;

/// A schema, of which only that is kept.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// Nothing is asked.
    Plain,
    /// One of these texts.
    Symbols(Vec<String>),
    /// So many bytes.
    Length(usize),
    /// A list or map, of elements of which something is asked.
    Many(Box<Shape>),
    /// A record, with all its fields.
    Record(Vec<Member>),
}

/// A field of a record.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Member {
    name: String,
    /// Other names under which writers may have it; without those that are another field's name.
    aliases: Vec<String>,
    shape: Shape,
}

impl Shape {
    /// What a schema asks. It has a row, so it is nested to a depth and not in itself.
    pub(super) fn new(schema: &Avro) -> Self {
        let mut names = Names::new();
        gather(schema, &mut names);
        Self::of(schema, &names)
    }

    fn of(schema: &Avro, names: &Names<'_>) -> Self {
        match known(schema, names) {
            Some(Avro::Enum(kind)) => Self::Symbols(kind.symbols.clone()),
            Some(Avro::Fixed(kind)) => Self::Length(kind.size),
            Some(Avro::Array(list)) => Self::of(&list.items, names).many(),
            Some(Avro::Map(map)) => Self::of(&map.types, names).many(),
            // besides null there is one
            Some(Avro::Union(union)) => {
                union.variants().iter().find(|v| **v != Avro::Null).map_or(Self::Plain, |v| Self::of(v, names))
            }
            Some(Avro::Record(record)) => {
                let taken = |alias: &String| record.fields.iter().any(|field| field.name == *alias);
                let members = record.fields.iter().map(|field| Member {
                    name: field.name.clone(),
                    aliases: field.aliases.iter().filter(|alias| !taken(alias)).cloned().collect(),
                    shape: Self::of(&field.schema, names),
                });
                let members: Vec<Member> = members.collect();
                let asks = members.iter().any(|m| m.shape != Self::Plain || !m.aliases.is_empty());
                if asks { Self::Record(members) } else { Self::Plain }
            }
            _ => Self::Plain,
        }
    }

    fn many(self) -> Self {
        if self == Self::Plain { Self::Plain } else { Self::Many(Box::new(self)) }
    }

    /// Whether a field has other names.
    pub(super) fn renames(&self) -> bool {
        match self {
            Self::Many(element) => element.renames(),
            Self::Record(members) => members.iter().any(|m| !m.aliases.is_empty() || m.shape.renames()),
            _ => false,
        }
    }

    /// Gives fields that a writer has under another name the one that they have here.
    pub(super) fn rename(&self, value: &mut Value) {
        match (self, value) {
            (Self::Plain, _) => {}
            (shape, Value::Union(_, inner)) => shape.rename(inner),
            (Self::Many(element), Value::Array(list)) => list.iter_mut().for_each(|value| element.rename(value)),
            (Self::Many(element), Value::Map(map)) => map.values_mut().for_each(|value| element.rename(value)),
            (Self::Record(members), Value::Record(fields)) => {
                for member in members.iter().filter(|m| !m.aliases.is_empty()) {
                    if fields.iter().any(|(name, _)| *name == member.name) {
                        continue;
                    }
                    let mut found = member.aliases.iter().filter_map(|a| fields.iter().position(|(name, _)| name == a));
                    if let Some((name, _)) = found.next().and_then(|at| fields.get_mut(at)) {
                        name.clone_from(&member.name);
                    }
                }
                for (name, value) in fields {
                    let member = members.iter().filter(|m| m.shape.renames()).find(|m| m.name == *name);
                    if let Some(member) = member {
                        member.shape.rename(value);
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether a value may be written. `place` is the field for messages.
    ///
    /// # Errors
    /// A sentence on what does not fit.
    pub(super) fn fits(&self, place: &str, value: &Value) -> Result<(), String> {
        match (self, value) {
            (Self::Symbols(symbols), Value::String(text)) if !symbols.contains(text) => {
                Err(format!("field {place:?} is {:?}, which is no symbol of its enum", cut(text)))
            }
            (Self::Length(wanted), Value::String(text)) => length(place, *wanted, text.len()),
            (Self::Length(wanted), Value::Bytes(bytes)) => length(place, *wanted, bytes.len()),
            (Self::Many(element), Value::Array(list)) => list.iter().try_for_each(|value| element.fits(place, value)),
            (Self::Many(element), Value::Map(map)) => map.values().try_for_each(|value| element.fits(place, value)),
            (Self::Record(members), Value::Record(fields)) => {
                members.iter().filter(|member| member.shape != Self::Plain).try_for_each(|member| {
                    let value = fields.iter().find(|(name, _)| *name == member.name);
                    value.map_or(Ok(()), |(_, value)| member.shape.fits(&member.name, value))
                })
            }
            _ => Ok(()),
        }
    }
}

fn length(place: &str, wanted: usize, found: usize) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("field {place:?} has {found} bytes instead of {wanted}")) }
}
