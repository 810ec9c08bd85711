//! Rows, as far as Beam's file has them: every atomic type, arrays, maps, rows in rows, and the standard logical types.

use super::codec::{integer, text, utf8};
use super::spec::{Coder, bytes};
use anyhow::{Context as _, Result, bail, ensure};
use prost::Message as _;
use serde_json::{Map, Value};
use thalweg_core::coder::{read_varint, take, take_prefixed, write_varint};
use thalweg_proto::pipeline::field_type::TypeInfo;
use thalweg_proto::pipeline::{AtomicType, Field, FieldType, Schema};

const DECIMAL: &str = "beam:logical_type:decimal:v1";
const MILLIS: &str = "beam:logical_type:millis_instant:v1";

pub fn schema(coder: &Coder) -> Result<Schema> {
    Ok(Schema::decode(bytes(&coder.payload)?.as_slice())?)
}

/// A number as the file writes it, whose NaN is the canonical one.
pub fn float(text: &str) -> Result<f64> {
    let number: f64 = text.replace("Infinity", "inf").parse()?;
    Ok(if number.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { number })
}

fn ordered(schema: &Schema) -> Vec<&Field> {
    let mut fields: Vec<_> = schema.fields.iter().collect();
    if schema.encoding_positions_set {
        fields.sort_by_key(|f| f.encoding_position);
    }
    fields
}

fn typed(field: &Field) -> Result<&FieldType> {
    field.r#type.as_ref().context("a field without a type")
}

pub fn decode<'b>(schema: &Schema, input: &'b [u8]) -> Result<(Value, &'b [u8])> {
    let (count, rest) = read_varint(input)?;
    let (nulls, mut rest) = take_prefixed(rest)?;
    let fields = ordered(schema);
    ensure!(count as usize == fields.len(), "a row of {count} fields");
    let mut row = Map::new();
    for (i, field) in fields.into_iter().enumerate() {
        let null = nulls.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
        let value;
        (value, rest) = if null { (Value::Null, rest) } else { decode_type(typed(field)?, rest)? };
        row.insert(field.name.clone(), value);
    }
    Ok((Value::from(row), rest))
}

/// An element of an array or map: a nullable one has a flag.
fn decode_element<'b>(of: &FieldType, input: &'b [u8]) -> Result<(Value, &'b [u8])> {
    if !of.nullable {
        return decode_type(of, input);
    }
    match take(input, 1)? {
        ([0], rest) => Ok((Value::Null, rest)),
        (_, rest) => decode_type(of, rest),
    }
}

fn decode_type<'b>(of: &FieldType, input: &'b [u8]) -> Result<(Value, &'b [u8])> {
    match of.type_info.as_ref().context("no type")? {
        TypeInfo::AtomicType(atomic) => decode_atomic(AtomicType::try_from(*atomic)?, input),
        TypeInfo::ArrayType(list) => {
            let element = list.element_type.as_deref().context("no element type")?;
            let (count, mut rest) = take(input, 4)?;
            let mut values = Vec::new();
            for _ in 0..u32::from_be_bytes(count.try_into()?) {
                let value;
                (value, rest) = decode_element(element, rest)?;
                values.push(value);
            }
            Ok((Value::from(values), rest))
        }
        TypeInfo::MapType(map) => {
            let key_type = map.key_type.as_deref().context("no key type")?;
            let value_type = map.value_type.as_deref().context("no value type")?;
            let (count, mut rest) = take(input, 4)?;
            let mut values = Map::new();
            for _ in 0..u32::from_be_bytes(count.try_into()?) {
                let (key, after) = decode_element(key_type, rest)?;
                let (value, after) = decode_element(value_type, after)?;
                values.insert(text(&key)?.to_owned(), value);
                rest = after;
            }
            Ok((Value::from(values), rest))
        }
        TypeInfo::RowType(row) => decode(row.schema.as_ref().context("no schema")?, input),
        TypeInfo::LogicalType(logical) if logical.urn == DECIMAL => {
            let (scale, rest) = read_varint(input)?;
            let (unscaled, rest) = take_prefixed(rest)?;
            Ok((Value::from(decimal_text(unscaled, u32::try_from(scale)?)), rest))
        }
        TypeInfo::LogicalType(logical) if logical.urn == MILLIS => {
            let (raw, rest) = take(input, 8)?;
            // the file gives the shifted number, as a signed one
            Ok((Value::from(i64::from_be_bytes(raw.try_into()?)), rest))
        }
        TypeInfo::LogicalType(logical) => {
            decode_type(logical.representation.as_deref().context("no representation")?, input)
        }
        other => bail!("the file has no {other:?}"),
    }
}

fn decode_atomic(of: AtomicType, input: &[u8]) -> Result<(Value, &[u8])> {
    Ok(match of {
        AtomicType::Boolean => {
            let (byte, rest) = take(input, 1)?;
            (Value::from(byte == [1]), rest)
        }
        AtomicType::Int16 => {
            let (raw, rest) = take(input, 2)?;
            (Value::from(i16::from_be_bytes(raw.try_into()?)), rest)
        }
        AtomicType::Int32 | AtomicType::Int64 => {
            let (n, rest) = read_varint(input)?;
            (Value::from(n.cast_signed()), rest)
        }
        AtomicType::Float => {
            let (raw, rest) = take(input, 4)?;
            (Value::from(f32::from_be_bytes(raw.try_into()?).to_string()), rest)
        }
        AtomicType::Double => {
            let (raw, rest) = take(input, 8)?;
            (Value::from(f64::from_be_bytes(raw.try_into()?).to_string()), rest)
        }
        AtomicType::String | AtomicType::Bytes => {
            let (content, rest) = take_prefixed(input)?;
            (utf8(content)?, rest)
        }
        AtomicType::Byte | AtomicType::Unspecified => bail!("the file has no {of:?}"),
    })
}

pub fn encode(schema: &Schema, row: &Value, out: &mut Vec<u8>) -> Result<()> {
    let fields = ordered(schema);
    write_varint(out, fields.len() as u64);
    let mut nulls = vec![0u8; fields.len().div_ceil(8)];
    for (i, _) in fields.iter().enumerate().filter(|(_, f)| row[&f.name].is_null()) {
        nulls[i / 8] |= 1 << (i % 8);
    }
    let used = nulls.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    write_varint(out, used as u64);
    out.extend_from_slice(&nulls[..used]);
    let present = fields.iter().filter(|f| !row[&f.name].is_null());
    present.into_iter().try_for_each(|field| encode_type(typed(field)?, &row[&field.name], out))
}

fn encode_element(of: &FieldType, value: &Value, out: &mut Vec<u8>) -> Result<()> {
    if of.nullable {
        out.push(u8::from(!value.is_null()));
    }
    if value.is_null() { Ok(()) } else { encode_type(of, value, out) }
}

fn encode_type(of: &FieldType, value: &Value, out: &mut Vec<u8>) -> Result<()> {
    match of.type_info.as_ref().context("no type")? {
        TypeInfo::AtomicType(atomic) => encode_atomic(AtomicType::try_from(*atomic)?, value, out),
        TypeInfo::ArrayType(list) => {
            let values = value.as_array().context("no list")?;
            out.extend(u32::try_from(values.len())?.to_be_bytes());
            let element = list.element_type.as_deref().context("no element type")?;
            values.iter().try_for_each(|v| encode_element(element, v, out))
        }
        TypeInfo::MapType(map) => {
            let values = value.as_object().context("no map")?;
            out.extend(u32::try_from(values.len())?.to_be_bytes());
            values.iter().try_for_each(|(key, value)| {
                encode_element(map.key_type.as_deref().context("no key type")?, &Value::from(key.as_str()), out)?;
                encode_element(map.value_type.as_deref().context("no value type")?, value, out)
            })
        }
        TypeInfo::RowType(row) => encode(row.schema.as_ref().context("no schema")?, value, out),
        TypeInfo::LogicalType(logical) if logical.urn == DECIMAL => {
            let (unscaled, scale) = decimal(text(value)?)?;
            write_varint(out, u64::from(scale));
            write_varint(out, unscaled.len() as u64);
            out.extend(unscaled);
            Ok(())
        }
        TypeInfo::LogicalType(logical) if logical.urn == MILLIS => {
            out.extend(integer(value)?.to_be_bytes());
            Ok(())
        }
        TypeInfo::LogicalType(logical) => {
            encode_type(logical.representation.as_deref().context("no representation")?, value, out)
        }
        other => bail!("the file has no {other:?}"),
    }
}

fn encode_atomic(of: AtomicType, value: &Value, out: &mut Vec<u8>) -> Result<()> {
    match of {
        AtomicType::Boolean => out.push(u8::from(value == true)),
        AtomicType::Int16 => out.extend(i16::try_from(integer(value)?)?.to_be_bytes()),
        // a negative one is written in ten bytes, or in five where it has 32 bits: the file has none of the latter
        AtomicType::Int32 | AtomicType::Int64 => write_varint(out, integer(value)?.cast_unsigned()),
        AtomicType::Float => out.extend(text(value)?.parse::<f32>()?.to_be_bytes()),
        AtomicType::Double => out.extend(float(text(value)?)?.to_be_bytes()),
        AtomicType::String | AtomicType::Bytes => {
            let content = text(value)?.as_bytes();
            write_varint(out, content.len() as u64);
            out.extend_from_slice(content);
        }
        AtomicType::Byte | AtomicType::Unspecified => bail!("the file has no {of:?}"),
    }
    Ok(())
}

/// Scale and shortest two's complement of a decimal.
fn decimal(text: &str) -> Result<(Vec<u8>, u32)> {
    let scale = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let unscaled: i64 = text.replace('.', "").parse()?;
    let raw = unscaled.to_be_bytes();
    let spare = |n: usize| raw[n] == if unscaled < 0 { 0xff } else { 0 } && (raw[n + 1] ^ raw[n]) & 0x80 == 0;
    let first = (0..7).find(|n| !spare(*n)).unwrap_or(7);
    Ok((raw[first..].to_vec(), u32::try_from(scale)?))
}

fn decimal_text(unscaled: &[u8], scale: u32) -> String {
    let negative = unscaled.first().is_some_and(|byte| byte & 0x80 != 0);
    let unscaled = unscaled.iter().fold(if negative { -1i64 } else { 0 }, |all, byte| all << 8 | i64::from(*byte));
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    format!("{}{whole}.{fraction}", if negative { "-" } else { "" })
}
