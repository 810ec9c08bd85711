//! JSON payloads of the host's own functions, as front doors write them and the functions read them.

use crate::row::{Field, FieldType, Schema, is_integer, nullable, required};
use serde::{Deserialize, Serialize};
use thalweg_io::format::Format;
use thalweg_io::kafka::metadata_schema;

/// Rows that stand in the pipeline itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreateRows {
    /// Fields of the rows: int64, double, boolean and string.
    pub schema: Schema,
    /// Values of each row in the order of the fields.
    pub rows: Vec<Vec<serde_json::Value>>,
}

/// Groups rows by some fields and combines others. Payload of both halves, before and after the grouping.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CombineRows {
    /// Fields of the rows that come in.
    pub input: Schema,
    /// Places of the fields of the key.
    pub group_by: Vec<usize>,
    /// What is combined, in the order of the output's fields behind those of the key.
    pub aggregates: Vec<Aggregate>,
}

/// One combined field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Aggregate {
    /// How.
    #[serde(rename = "fn")]
    pub function: Function,
    /// Place of the field.
    pub field: usize,
}

/// A combining function. All but `count` pass over nulls, and give null where there was nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Function {
    /// Number of rows, those with null included.
    Count,
    /// Sum; of whole numbers a whole number, an error beyond 64 bits.
    Sum,
    /// Mean as a double; of whole numbers from their exact sum.
    Mean,
    /// The least.
    Min,
    /// The greatest.
    Max,
}

impl CombineRows {
    /// Fields of the accumulators between the two halves.
    #[must_use]
    pub fn accumulator(&self) -> Schema {
        let mut fields: Vec<Field> = Vec::new();
        for (i, aggregate) in self.aggregates.iter().enumerate() {
            let number = self.number(aggregate);
            match aggregate.function {
                Function::Count => fields.push(required(&format!("count_{i}"), FieldType::Int64)),
                Function::Mean => {
                    fields.push(required(&format!("count_{i}"), FieldType::Int64));
                    fields.push(nullable(&format!("sum_{i}"), number));
                }
                Function::Sum => fields.push(nullable(&format!("sum_{i}"), number)),
                Function::Min => fields.push(nullable(&format!("min_{i}"), number)),
                Function::Max => fields.push(nullable(&format!("max_{i}"), number)),
            }
        }
        Schema { fields }
    }

    /// Fields of the key.
    #[must_use]
    pub fn key(&self) -> Schema {
        Schema { fields: self.group_by.iter().filter_map(|i| self.input.fields.get(*i).cloned()).collect() }
    }

    /// The type in which a field is calculated with: int64 for whole numbers, double for others.
    #[must_use]
    pub fn number(&self, aggregate: &Aggregate) -> FieldType {
        let whole = self.input.fields.get(aggregate.field).is_some_and(|f| is_integer(&f.kind));
        if whole { FieldType::Int64 } else { FieldType::Double }
    }
}

/// Adds what the runner knows of a row to its fields.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WindowingInfo {
    /// Fields of the rows that come in.
    pub input: Schema,
    /// What is added, one field each, in this order.
    pub infos: Vec<Info>,
}

/// What the runner knows of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Info {
    /// Its event time.
    Timestamp,
    /// First instant of its window; null in the global window.
    WindowStart,
    /// First instant behind its window.
    WindowEnd,
    /// Its window as text.
    WindowString,
    /// `IntervalWindow` or `GlobalWindow`.
    WindowType,
}

/// Copies fields.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MapFields {
    /// Fields of the rows that come in.
    pub input: Schema,
    /// For each field of the output the place of the field it copies.
    pub fields: Vec<usize>,
}

/// Logs rows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogRows {
    /// Their fields.
    pub input: Schema,
    /// At this level.
    pub level: LogLevel,
    /// In front of each row.
    pub prefix: String,
}

/// A log level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For those who look for something.
    Debug,
    /// Normal.
    Info,
    /// Unusual.
    Warn,
    /// Wrong.
    Error,
}

/// Reads the values of Kafka's records as rows. The input are rows of [`metadata_schema`](thalweg_io::kafka::metadata_schema).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DecodeRecords {
    /// What values hold.
    pub format: Format,
    /// Address of the schema registry in whose frame they stand; without it they are not framed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// Tag of the output for records that hold no such row, of [`dead_record_schema`]; without it they fail the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<String>,
}

/// Fields of records that could not be read: those of Java's error handling, then where each record came from.
#[must_use]
pub fn dead_record_schema() -> Schema {
    let headers = metadata_schema().fields.into_iter().find(|field| field.name == "headers");
    let fields = [
        required("failed_row", FieldType::Bytes),
        required("error_message", FieldType::String),
        required("topic", FieldType::String),
        required("partition", FieldType::Int32),
        required("offset", FieldType::Int64),
        required("timestamp", FieldType::Int64),
        nullable("key", FieldType::Bytes),
    ];
    Schema { fields: fields.into_iter().chain(headers).collect() }
}

/// JSON objects to rows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ParseJson {
    /// Fields of the rows.
    pub output: Schema,
    /// Where the objects come from, for messages.
    pub from: String,
    /// Tag of the output for what cannot be parsed, as rows `{failed_row: bytes, error_message: string}`; without it, it fails
    /// the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<String>,
}

/// Plain values to rows of one field that holds them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WrapValue {
    /// Type of the values and the field: string, bytes, int64, double, boolean or a list.
    pub kind: FieldType,
}

/// Rows of one field that is never null to the values it holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnwrapValue {
    /// Fields of the rows: one.
    pub input: Schema,
}

/// Rows to pairs of key and value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RowsToPairs {
    /// Fields of the rows.
    pub input: Schema,
    /// What becomes the key.
    pub key: Part,
    /// What becomes the value.
    pub value: Part,
}

/// A part of a row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The value of the field in this place, which is never null.
    Field(usize),
    /// A row of the fields in these places.
    Fields(Vec<usize>),
}

/// Pairs to rows: the fields of the key, then those of the value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PairsToRows {
    /// What the key is.
    pub key: Half,
    /// What the value is.
    pub value: Half,
    /// Whether the elements are rows `{element, msg: string, stack: string}` of pairs that could not be processed, of which the
    /// pair becomes a row.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// One side of a pair.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Half {
    /// A plain value or a list of values, which becomes one field.
    Value(FieldType),
    /// A row, whose fields stay.
    Row(Schema),
}
