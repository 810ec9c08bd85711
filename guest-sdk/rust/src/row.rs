//! Rows with named fields, in the encoding of Beam's row coder: number of fields, bitmap of nulls, then the fields
//! that are not null in their nested encodings. A row type says its fields once and reads and writes them in that order.
//!
//! Source: `beam:coder:row:v1` and Beam's `schema.proto`.

use crate::element::{Element, View};
use crate::wire::{self, Malformed};

/// Most fields a row type may have; the bitmap of nulls is kept on the stack.
pub const FIELDS_MAX: usize = 256;

/// A type of field, with the name that Beam's schemas give it.
pub trait FieldType: Element {
    /// Name of the atomic type in `schema.proto`, in lower case.
    const NAME: &'static str;
}

impl FieldType for i64 {
    const NAME: &'static str = "int64";
}
impl FieldType for f64 {
    const NAME: &'static str = "double";
}
impl FieldType for bool {
    const NAME: &'static str = "boolean";
}
impl FieldType for String {
    const NAME: &'static str = "string";
}
impl FieldType for Vec<u8> {
    const NAME: &'static str = "bytes";
}

/// Name and type of one field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    name: &'static str,
    kind: &'static str,
    nullable: bool,
}

impl Field {
    /// A field that always has a value.
    #[must_use]
    pub const fn of<T: FieldType>(name: &'static str) -> Self {
        Self { name, kind: T::NAME, nullable: false }
    }

    /// A field that may be null.
    #[must_use]
    pub const fn nullable<T: FieldType>(name: &'static str) -> Self {
        Self { name, kind: T::NAME, nullable: true }
    }
}

/// A row type.
///
/// ```
/// use thalweg_udf::{Field, Malformed, Row, RowReader, RowWriter};
///
/// pub struct Line<'a> {
///     pub line: &'a str,
///     pub row: i64,
/// }
///
/// impl Row for Line<'static> {
///     type View<'a> = Line<'a>;
///     const FIELDS: &'static [Field] = &[Field::of::<String>("line"), Field::of::<i64>("row")];
///
///     fn read<'a>(from: &mut RowReader<'a>) -> Result<Line<'a>, Malformed> {
///         Ok(Line { line: from.get::<String>()?, row: from.get::<i64>()? })
///     }
///
///     fn write(row: &Line<'_>, to: &mut RowWriter<'_>) {
///         to.put::<String>(&row.line);
///         to.put::<i64>(&row.row);
///     }
/// }
/// ```
pub trait Row: 'static {
    /// The borrowed form.
    type View<'a>;
    /// The fields in their order.
    const FIELDS: &'static [Field];
    /// Reads the fields in their order.
    fn read<'a>(from: &mut RowReader<'a>) -> Result<Self::View<'a>, Malformed>;
    /// Writes the fields in their order, all of them.
    fn write(row: &Self::View<'_>, to: &mut RowWriter<'_>);
}

/// Hands out the fields of one encoded row.
pub struct RowReader<'a> {
    rest: &'a [u8],
    nulls: &'a [u8],
    fields: usize,
    next: usize,
}

impl<'a> RowReader<'a> {
    fn new(mut bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fields = usize::try_from(wire::get_varint(&mut bytes)?).map_err(|_| Malformed("a row"))?;
        let nulls = wire::get_prefixed(&mut bytes)?;
        Ok(Self { rest: bytes, nulls, fields, next: 0 })
    }

    /// The next field.
    #[inline]
    pub fn get<T: FieldType>(&mut self) -> Result<View<'a, T>, Malformed> {
        self.get_nullable::<T>()?.ok_or(Malformed("a row with a value in this field"))
    }

    /// The next field, which may be null. A row of an older schema has fewer fields; those missing are null.
    #[inline]
    pub fn get_nullable<T: FieldType>(&mut self) -> Result<Option<View<'a, T>>, Malformed> {
        let i = self.next;
        self.next += 1;
        let null = self.nulls.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
        if null || i >= self.fields {
            return Ok(None);
        }
        T::decode_nested(&mut self.rest).map(Some)
    }
}

/// Writes the fields of one row.
pub struct RowWriter<'a> {
    out: &'a mut Vec<u8>,
    fields: &'static [Field],
    bitmap_at: usize,
    nulls: [u8; FIELDS_MAX / 8],
    nulls_used: usize,
    next: usize,
}

impl RowWriter<'_> {
    /// Writes the next field.
    #[inline]
    pub fn put<T: FieldType>(&mut self, value: &View<'_, T>) {
        debug_assert_eq!(self.fields.get(self.next).map(|f| f.kind), Some(T::NAME), "field {} of the row", self.next);
        self.next += 1;
        T::encode_nested(value, self.out);
    }

    /// Writes the next field, or null.
    #[inline]
    pub fn put_nullable<T: FieldType>(&mut self, value: Option<&View<'_, T>>) {
        match value {
            Some(value) => self.put::<T>(value),
            None => {
                debug_assert!(
                    self.fields.get(self.next).is_some_and(|f| f.nullable),
                    "field {} is not nullable",
                    self.next
                );
                let byte = self.next / 8;
                if let Some(slot) = self.nulls.get_mut(byte) {
                    *slot |= 1 << (self.next % 8);
                    self.nulls_used = byte + 1;
                }
                self.next += 1;
            }
        }
    }

    fn finish(self) {
        debug_assert_eq!(self.next, self.fields.len(), "fields written of the row");
        if self.nulls_used > 0 {
            // rare, so the bytes after it are moved once instead of every row carrying an empty bitmap
            let mut bitmap = Vec::with_capacity(self.nulls_used + 1);
            wire::put_prefixed(&self.nulls[..self.nulls_used], &mut bitmap);
            self.out.splice(self.bitmap_at..=self.bitmap_at, bitmap);
        }
    }
}

impl<R: Row> Element for R {
    type View<'a> = <R as Row>::View<'a>;

    fn coder(json: &mut String) {
        json.push_str(r#"{"urn":"beam:coder:row:v1","fields":["#);
        for (i, field) in R::FIELDS.iter().enumerate() {
            json.push_str(if i == 0 { r#"{"name":"# } else { r#",{"name":"# });
            wire::put_json_string(field.name, json);
            json.push_str(r#","type":""#);
            json.push_str(field.kind);
            json.push_str(if field.nullable { r#"","nullable":true}"# } else { r#""}"# });
        }
        json.push_str("]}");
    }
    #[inline]
    fn decode(bytes: &[u8]) -> Result<<R as Row>::View<'_>, Malformed> {
        let mut reader = RowReader::new(bytes)?;
        let row = R::read(&mut reader)?;
        if reader.rest.is_empty() { Ok(row) } else { Err(Malformed("a row of these fields")) }
    }
    #[inline]
    fn decode_nested<'a>(input: &mut &'a [u8]) -> Result<<R as Row>::View<'a>, Malformed> {
        let mut reader = RowReader::new(input)?;
        let row = R::read(&mut reader)?;
        *input = reader.rest;
        Ok(row)
    }
    #[inline]
    fn encode(view: &<R as Row>::View<'_>, out: &mut Vec<u8>) {
        const { assert!(R::FIELDS.len() <= FIELDS_MAX, "a row type has at most 256 fields") };
        wire::put_varint(R::FIELDS.len() as u64, out);
        let bitmap_at = out.len();
        out.push(0); // no nulls, so far
        let mut writer =
            RowWriter { out, fields: R::FIELDS, bitmap_at, nulls: [0; FIELDS_MAX / 8], nulls_used: 0, next: 0 };
        R::write(view, &mut writer);
        writer.finish();
    }
    #[inline]
    fn encode_nested(view: &<R as Row>::View<'_>, out: &mut Vec<u8>) {
        Self::encode(view, out); // a row knows where it ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(PartialEq, Debug)]
    struct Trip<'a> {
        from: &'a str,
        minutes: Option<i64>,
        fare: f64,
    }

    impl Row for Trip<'static> {
        type View<'a> = Trip<'a>;
        const FIELDS: &'static [Field] =
            &[Field::of::<String>("from"), Field::nullable::<i64>("minutes"), Field::of::<f64>("fare")];
        fn read<'a>(from: &mut RowReader<'a>) -> Result<Trip<'a>, Malformed> {
            Ok(Trip { from: from.get::<String>()?, minutes: from.get_nullable::<i64>()?, fare: from.get::<f64>()? })
        }
        fn write(row: &Trip<'_>, to: &mut RowWriter<'_>) {
            to.put::<String>(&row.from);
            to.put_nullable::<i64>(row.minutes.as_ref());
            to.put::<f64>(&row.fare);
        }
    }

    #[test]
    fn rows_are_coded_as_beam_codes_them() {
        // taken from apache_beam 2.77: RowCoder of (from: str, minutes: Optional[int64], fare: float64)
        let mut out = vec![9];
        Trip::encode(&Trip { from: "ab", minutes: Some(5), fare: 1.0 }, &mut out);
        assert_eq!(out[1..], [3, 0, 2, b'a', b'b', 5, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]);
        let mut out = vec![9];
        Trip::encode(&Trip { from: "ab", minutes: None, fare: 1.0 }, &mut out);
        assert_eq!(out[1..], [3, 1, 2, 2, b'a', b'b', 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn rows_are_read_back_also_inside_others() {
        for minutes in [None, Some(-3)] {
            let mut out = Vec::new();
            Trip::encode_nested(&Trip { from: "JFK", minutes, fare: 2.5 }, &mut out);
            out.push(77);
            let mut rest = out.as_slice();
            let trip = Trip::decode_nested(&mut rest);
            assert_eq!(trip, Ok(Trip { from: "JFK", minutes, fare: 2.5 }));
            assert_eq!(rest, [77]);
        }
    }

    #[test]
    fn the_coder_names_the_fields() {
        let mut json = String::new();
        <Trip<'static> as Element>::coder(&mut json);
        assert_eq!(
            json,
            concat!(
                r#"{"urn":"beam:coder:row:v1","fields":[{"name":"from","type":"string"},"#,
                r#"{"name":"minutes","type":"int64","nullable":true},{"name":"fare","type":"double"}]}"#
            )
        );
    }
}
