//! Kafka's serializers by the names of their Java classes.
//!
//! In: a class name of a pipeline. Out: the type of datum that it reads or writes, and Beam's coder for it.

use thalweg_beam::expansion::{Expansion, Request};
use thalweg_beam::urn::coder;
use thalweg_core::error::{Error, Result};
use thalweg_io::kafka::{Datum, DatumType};

/// Where Kafka's own classes are.
const PACKAGE: &str = "org.apache.kafka.common.serialization.";

/// Types by the first part of their classes' names.
const TYPES: [(&str, DatumType); 10] = [
    ("ByteArray", DatumType::Bytes),
    ("ByteBuffer", DatumType::Bytes),
    ("Bytes", DatumType::Bytes),
    ("String", DatumType::String),
    ("Short", DatumType::Short),
    ("Integer", DatumType::Integer),
    ("Long", DatumType::Long),
    ("Float", DatumType::Float),
    ("Double", DatumType::Double),
    ("Boolean", DatumType::Boolean),
];

/// Types of datum by class; `suffix` is `Serializer` or `Deserializer`.
///
/// # Errors
/// `EXPANSION_OPTION` naming the option and the classes that are known.
pub fn of_class(option: &str, class: &str, suffix: &str) -> Result<DatumType> {
    let name = class.strip_prefix(PACKAGE).and_then(|name| name.strip_suffix(suffix));
    let found = TYPES.iter().find(|(known, _)| Some(*known) == name).map(|(_, kind)| *kind);
    found.ok_or_else(|| {
        let known: Vec<String> = TYPES.iter().map(|(name, _)| format!("{name}{suffix}")).collect();
        Error::user("EXPANSION_OPTION", format!("`{option}`: there is no {class} without a JVM")).help(format!(
            "known are {} of {PACKAGE}*; read or write bytes and convert them in a function",
            known.join(", ")
        ))
    })
}

/// What is read: bytes and strings may be null, numbers may not, as in KafkaIO.
pub fn to_read(kind: DatumType) -> Datum {
    Datum { kind, nullable: matches!(kind, DatumType::Bytes | DatumType::String) }
}

/// URN of the coder of a type.
fn urn(kind: DatumType) -> &'static str {
    match kind {
        DatumType::Bytes => coder::BYTES,
        DatumType::String => coder::STRING_UTF8,
        DatumType::Short | DatumType::Integer | DatumType::Long => coder::VARINT,
        DatumType::Float | DatumType::Double => coder::DOUBLE,
        DatumType::Boolean => coder::BOOL,
    }
}

/// The coder of what is read.
pub fn coder_of(datum: Datum, out: &mut Expansion) -> String {
    let inner = out.coder(urn(datum.kind), &[]);
    if datum.nullable { out.coder(coder::NULLABLE, &[&inner]) } else { inner }
}

/// What is written: an input's part has the type of the serializer, and may be null if its coder says so.
///
/// # Errors
/// `EXPANSION_INPUT` when the coder is of another type.
pub fn to_write(request: &Request, part: &str, id: &str, kind: DatumType) -> Result<Datum> {
    let (outer, inner) = request.coder(id);
    let nullable = outer == coder::NULLABLE;
    let found = match inner {
        [inner] if nullable => request.coder(inner).0,
        _ => outer,
    };
    if found == urn(kind) {
        return Ok(Datum { kind, nullable });
    }
    let wanted = urn(kind);
    Err(request.wrong_input(&format!(
        "needs {part}s encoded as {wanted}, which its {part} serializer takes; the input's are {found:?}. Declare their types, in \
         Python with .with_output_types(tuple[bytes, bytes])"
    )))
}
