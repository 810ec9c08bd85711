//! From one JSON value to the encoding of a field. Its tests stand with the rows', in `from_json`.

use super::from_json::RowSeed;
use super::schema::{Field, FieldType};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;
use thalweg_core::coder::write_varint;

/// Reads a value into its encoding; `false` for null.
pub(super) struct ValueSeed<'a> {
    pub kind: &'a FieldType,
    pub out: &'a mut Vec<u8>,
    /// The field it belongs to, for messages.
    pub name: &'a str,
}

impl ValueSeed<'_> {
    fn integer<E: de::Error>(self, value: Option<i64>) -> std::result::Result<bool, E> {
        let fits = |min: i64, max: i64| value.filter(|v| (min..=max).contains(v));
        let range = match self.kind {
            FieldType::Byte => fits(i8::MIN.into(), i8::MAX.into()),
            FieldType::Int16 => fits(i16::MIN.into(), i16::MAX.into()),
            FieldType::Int32 => fits(i32::MIN.into(), i32::MAX.into()),
            _ => value,
        };
        let Some(v) = range else {
            return Err(E::custom(format_args!("the number of field {:?} is out of its range", self.name)));
        };
        match self.kind {
            FieldType::Byte => self.out.push(v as u8),
            FieldType::Int16 => self.out.extend_from_slice(&(v as i16).to_be_bytes()),
            FieldType::Int32 => write_varint(self.out, u64::from(v as u32)),
            FieldType::Int64 => write_varint(self.out, v as u64),
            _ => return self.double(v as f64),
        }
        Ok(true)
    }

    fn double<E: de::Error>(self, value: f64) -> std::result::Result<bool, E> {
        match self.kind {
            FieldType::Double => self.out.extend_from_slice(&value.to_be_bytes()),
            FieldType::Float => self.out.extend_from_slice(&(value as f32).to_be_bytes()),
            _ => return Err(E::invalid_type(de::Unexpected::Float(value), &self)),
        }
        Ok(true)
    }

    fn is_number(&self) -> bool {
        use FieldType::{Byte, Double, Float, Int16, Int32, Int64};
        matches!(self.kind, Byte | Int16 | Int32 | Int64 | Float | Double)
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> std::result::Result<bool, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} for field {:?}", self.kind, self.name)
    }

    fn visit_unit<E: de::Error>(self) -> std::result::Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> std::result::Result<bool, E> {
        if *self.kind != FieldType::Boolean {
            return Err(E::invalid_type(de::Unexpected::Bool(value), &self));
        }
        self.out.push(u8::from(value));
        Ok(true)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> std::result::Result<bool, E> {
        if self.is_number() {
            self.integer(Some(value))
        } else {
            Err(E::invalid_type(de::Unexpected::Signed(value), &self))
        }
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> std::result::Result<bool, E> {
        match (self.kind, i64::try_from(value)) {
            (FieldType::Double | FieldType::Float, Err(_)) => self.double(value as f64),
            (_, signed) if self.is_number() => self.integer(signed.ok()),
            _ => Err(E::invalid_type(de::Unexpected::Unsigned(value), &self)),
        }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> std::result::Result<bool, E> {
        self.double(value)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> std::result::Result<bool, E> {
        if *self.kind != FieldType::String {
            return Err(E::invalid_type(de::Unexpected::Str(value), &self));
        }
        write_varint(self.out, value.len() as u64);
        self.out.extend_from_slice(value.as_bytes());
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<bool, A::Error> {
        let FieldType::Array(element) = self.kind else {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        };
        let at = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        let mut count = 0u32;
        while list.next_element_seed(ElementSeed { element, out: self.out, name: self.name })?.is_some() {
            count += 1;
        }
        write_count(self.out, at, count);
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> std::result::Result<bool, A::Error> {
        match self.kind {
            FieldType::Row(schema) => RowSeed { schema, out: self.out }.visit_map(object).map(|()| true),
            FieldType::Map(_, value) => {
                let at = self.out.len();
                self.out.extend_from_slice(&[0; 4]);
                let mut count = 0u32;
                while let Some(key) = object.next_key::<std::borrow::Cow<'de, str>>()? {
                    write_varint(self.out, key.len() as u64);
                    self.out.extend_from_slice(key.as_bytes());
                    object.next_value_seed(ElementSeed { element: value, out: self.out, name: self.name })?;
                    count += 1;
                }
                write_count(self.out, at, count);
                Ok(true)
            }
            _ => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
        }
    }
}

/// Reads an element of an array or map, with its flag where it may be null.
struct ElementSeed<'a> {
    element: &'a Field,
    out: &'a mut Vec<u8>,
    name: &'a str,
}

impl<'de> DeserializeSeed<'de> for ElementSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> std::result::Result<(), D::Error> {
        let at = self.out.len();
        if self.element.nullable {
            self.out.push(1);
        }
        let seed = ValueSeed { kind: &self.element.kind, out: self.out, name: self.name };
        match (seed.deserialize(d)?, self.element.nullable) {
            (true, _) => Ok(()),
            (false, true) => {
                self.out.truncate(at);
                self.out.push(0);
                Ok(())
            }
            (false, false) => Err(de::Error::custom(format_args!("an element of field {:?} is null", self.name))),
        }
    }
}

/// Fills in the count that stands in front of elements.
fn write_count(out: &mut [u8], at: usize, count: u32) {
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&count.to_be_bytes());
    }
}
