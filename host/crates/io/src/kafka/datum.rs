//! Keys and values as Kafka's own serializers write them, to and from Beam's encoding.
//!
//! In: the bytes of a record's key or value, or an element in Beam's outer coder context. Out: the other one. Source:
//! `org.apache.kafka.common.serialization`, `beam:coder:*:v1`.

use serde::{Deserialize, Serialize};
use thalweg_core::coder::{read_varint, take_prefixed, write_varint};

/// Type of a key or value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatumType {
    /// `bytes` on both sides.
    Bytes,
    /// UTF-8 on both sides; `string_utf8`.
    String,
    /// Two bytes, big end first; `varint`.
    Short,
    /// Four bytes, big end first; `varint`.
    Integer,
    /// Eight bytes, big end first; `varint`.
    Long,
    /// Four bytes, big end first; `double`.
    Float,
    /// Eight bytes, big end first; `double`.
    Double,
    /// One byte; `bool`.
    Boolean,
}

/// A key or value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Datum {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: DatumType,
    /// Whether it may be null; its coder is then `nullable`.
    #[serde(default)]
    pub nullable: bool,
}

impl DatumType {
    fn is_prefixed(self) -> bool {
        matches!(self, Self::Bytes | Self::String)
    }

    /// Appends a datum in Beam's encoding without a length.
    fn decode(self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Bytes => out.extend_from_slice(raw),
            Self::String => {
                std::str::from_utf8(raw).map_err(|_| "it is no UTF-8".to_owned())?;
                out.extend_from_slice(raw);
            }
            Self::Short => write_varint(out, i64::from(i16::from_be_bytes(exactly(raw)?)) as u64),
            // as Beam's VarIntCoder: the 64 bits of the number
            Self::Integer => write_varint(out, i64::from(i32::from_be_bytes(exactly(raw)?)) as u64),
            Self::Long => write_varint(out, i64::from_be_bytes(exactly(raw)?) as u64),
            Self::Float => out.extend_from_slice(&f64::from(f32::from_be_bytes(exactly(raw)?)).to_be_bytes()),
            Self::Double => out.extend_from_slice(&exactly::<8>(raw)?),
            Self::Boolean => out.push(u8::from(exactly::<1>(raw)? != [0])),
        }
        Ok(())
    }

    /// Appends the bytes of a record for an element without its length.
    fn encode(self, element: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let whole = || read_varint(element).map(|(n, _)| n as i64).map_err(|e| e.message.clone());
        match self {
            Self::Bytes | Self::String => out.extend_from_slice(element),
            Self::Short => {
                let n = i16::try_from(whole()?).map_err(|_| "the number does not fit into 16 bits".to_owned())?;
                out.extend_from_slice(&n.to_be_bytes());
            }
            Self::Integer => {
                let n = whole()?;
                // Java's VarIntCoder writes a negative number in its 32 bits, Python's in 64
                let n = i32::try_from(n).or_else(|_| u32::try_from(n).map(|n| n as i32));
                out.extend_from_slice(&n.map_err(|_| "the number does not fit into 32 bits".to_owned())?.to_be_bytes());
            }
            Self::Long => out.extend_from_slice(&whole()?.to_be_bytes()),
            Self::Float => out.extend_from_slice(&(f64::from_be_bytes(exactly(element)?) as f32).to_be_bytes()),
            Self::Double => out.extend_from_slice(&exactly::<8>(element)?),
            Self::Boolean => out.extend_from_slice(&exactly::<1>(element)?),
        }
        Ok(())
    }
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], String> {
    bytes.try_into().map_err(|_| format!("it has {} bytes and not {N}", bytes.len()))
}

impl Datum {
    /// Bytes, or null: what KafkaIO's `ByteArrayDeserializer` gives.
    pub const NULLABLE_BYTES: Self = Self { kind: DatumType::Bytes, nullable: true };

    /// Appends the element in outer coder context; `None` is null.
    ///
    /// # Errors
    /// What is wrong with the bytes; `out` may then hold a part.
    pub(super) fn decode(self, raw: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), String> {
        let Some(raw) = raw else {
            if !self.nullable {
                return Err("it is null, and the deserializer has no word for that".to_owned());
            }
            out.push(0);
            return Ok(());
        };
        if self.nullable {
            out.push(1);
            if self.kind.is_prefixed() {
                write_varint(out, raw.len() as u64);
            }
        }
        self.kind.decode(raw, out)
    }

    /// Appends the bytes of a record for an element in outer coder context; `false` for null.
    ///
    /// # Errors
    /// What is wrong with the element.
    pub(super) fn encode(self, element: &[u8], out: &mut Vec<u8>) -> Result<bool, String> {
        let element = match (self.nullable, element) {
            (false, element) => element,
            (true, [0]) => return Ok(false),
            (true, [1, element @ ..]) if self.kind.is_prefixed() => {
                take_prefixed(element).map_err(|e| e.message.clone())?.0
            }
            (true, [1, element @ ..]) => element,
            (true, _) => return Err("it is no nullable element".to_owned()),
        };
        self.kind.encode(element, out)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(kind: DatumType, raw: &[u8], element: &[u8]) {
        for nullable in [false, true] {
            let datum = Datum { kind, nullable };
            let (mut out, mut back) = (Vec::new(), Vec::new());
            datum.decode(Some(raw), &mut out).expect("a datum");
            if !nullable {
                assert_eq!(out, element, "{kind:?}");
            }
            assert_eq!(datum.encode(&out, &mut back), Ok(true));
            assert_eq!(back, raw, "{kind:?}");
        }
    }

    #[test]
    fn every_type_is_read_and_written_as_kafkas_serializers_do() {
        there_and_back(DatumType::Bytes, b"\xff\x00", b"\xff\x00");
        there_and_back(DatumType::String, "ü".as_bytes(), "ü".as_bytes());
        there_and_back(DatumType::Short, b"\x01\x00", b"\x80\x02");
        there_and_back(DatumType::Integer, b"\0\0\0\x80", b"\x80\x01");
        there_and_back(DatumType::Integer, b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
        there_and_back(DatumType::Long, b"\0\0\0\0\0\0\0\x07", b"\x07");
        there_and_back(DatumType::Float, &1.5f32.to_be_bytes(), &1.5f64.to_be_bytes());
        there_and_back(DatumType::Double, &1.5f64.to_be_bytes(), &1.5f64.to_be_bytes());
        there_and_back(DatumType::Boolean, b"\x01", b"\x01");
        let mut out = Vec::new();
        let java = Datum { kind: DatumType::Integer, nullable: false }.encode(b"\xff\xff\xff\xff\x0f", &mut out);
        assert_eq!((java, out.as_slice()), (Ok(true), &b"\xff\xff\xff\xff"[..]));
    }

    #[test]
    fn null_is_an_element_of_its_own_or_an_error() {
        let (mut out, mut back) = (Vec::new(), Vec::new());
        Datum::NULLABLE_BYTES.decode(None, &mut out).expect("null");
        assert_eq!(out, b"\x00");
        assert_eq!(Datum::NULLABLE_BYTES.encode(&out, &mut back), Ok(false));
        out.clear();
        Datum::NULLABLE_BYTES.decode(Some(b"ab"), &mut out).expect("bytes");
        assert_eq!(out, b"\x01\x02ab", "inside of nullable the context is nested");
        assert!(Datum { kind: DatumType::Long, nullable: false }.decode(None, &mut out).is_err());
    }

    #[test]
    fn bytes_of_another_length_and_numbers_out_of_range_are_errors() {
        let datum = |kind| Datum { kind, nullable: false };
        let mut out = Vec::new();
        assert!(datum(DatumType::Long).decode(Some(b"1234"), &mut out).is_err());
        assert!(datum(DatumType::String).decode(Some(b"\xff"), &mut out).is_err());
        assert!(datum(DatumType::Integer).encode(b"\xff\xff\xff\xff\xff\x01", &mut out).is_err());
        assert!(datum(DatumType::Short).encode(b"\x80\x80\x04", &mut out).is_err());
        assert!(datum(DatumType::Double).encode(b"1", &mut out).is_err());
        assert!(Datum::NULLABLE_BYTES.encode(b"", &mut out).is_err());
        assert!(Datum::NULLABLE_BYTES.encode(b"\x01\x09a", &mut out).is_err());
    }
}
