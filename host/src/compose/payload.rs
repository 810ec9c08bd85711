//! JSON payloads of native sources, sinks and components, as front doors write them and the composition reads them.

use crate::row::Schema;
use crate::table::TableSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thalweg_io::kafka::{Limit, Partitioner, RecordTime, SinkElement, SourceElement, Start};
use thalweg_wasm::describe::{Access, Kind};
use thalweg_wasm::{AskedLimits, Grants};

/// Reads text files, a row a line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TextSource {
    /// A path, or a pattern with `*` and `?` in the file's name.
    pub path: String,
    /// Lines to pass over at the beginning of each file.
    #[serde(default)]
    pub skip_header_lines: u64,
    /// Name of a second field with the number of the row in its file, from 1 for the first row that is not skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_number: Option<String>,
    /// Whether elements are the lines themselves, as texts, and not rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain: bool,
}

/// Reads Kafka topics.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KafkaSource {
    /// `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// The topics.
    pub topics: Vec<String>,
    /// Properties of the consumer, verbatim.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// Where a job without committed positions begins.
    #[serde(default = "latest")]
    pub start: Start,
    /// Whether it begins where the group of the property `group.id` stands, if it stands anywhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_group: bool,
    /// Whether the group's offsets follow what the job commits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub commit_group: bool,
    /// Where it ends.
    #[serde(default)]
    pub stop: StopAt,
    /// Where it ends besides, and whether it looks for new partitions.
    #[serde(default, skip_serializing_if = "Limit::is_none")]
    pub limit: Limit,
    /// Where event times come from; by default from the records of an endless topic, and from nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<RecordTime>,
    /// How long a partition must have given nothing before its watermark follows the clock, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub idle_after_ms: u32,
    /// What a record becomes.
    #[serde(default)]
    pub element: SourceElement,
    /// Address of the schema registry whose schemas the values name: records wait until theirs is at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_registry: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Kafka's own default.
fn latest() -> Start {
    Start::Latest
}

impl KafkaSource {
    /// Reads one topic from its end for ever, as key and value.
    #[must_use]
    pub fn new(bootstrap_servers: &str, topic: &str) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            topics: vec![topic.to_owned()],
            properties: BTreeMap::new(),
            start: latest(),
            from_group: false,
            commit_group: false,
            stop: StopAt::Never,
            limit: Limit::default(),
            time: None,
            idle_after_ms: 0,
            element: SourceElement::default(),
            schema_registry: None,
        }
    }

    /// Whether it ends by itself.
    #[must_use]
    pub fn bounded(&self) -> bool {
        self.stop != StopAt::Never || self.limit.ends()
    }
}

/// Where reading ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopAt {
    /// Never.
    #[default]
    Never,
    /// At the end offsets seen at the start; the source is bounded then.
    EndOffsets,
    /// Before the first record with this timestamp or a later one, in milliseconds; it must have passed. The source is bounded
    /// then.
    Timestamp(i64),
}

/// Writes rows to a file, a line each.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileSink {
    /// The file; its folders are made.
    pub path: String,
    /// Fields of the rows.
    pub schema: Schema,
    /// What a line holds.
    #[serde(default)]
    pub line: Line,
}

/// What becomes of a row that is written.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A JSON object.
    #[default]
    Json,
    /// One field, by name: text and bytes as they are, other types as in JSON.
    Field(String),
}

/// Writes elements to a Kafka topic, a record each.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KafkaSink {
    /// `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// The topic.
    pub topic: String,
    /// Properties of the producer, verbatim.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// What a record holds.
    #[serde(default)]
    pub element: SinkElement,
    /// Which partition a record goes to; without it the property `partitioner.class` of Java's producer counts, or the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitioner: Option<Partitioner>,
    /// Address of the schema registry in whose frame values stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_registry: Option<String>,
}

impl KafkaSink {
    /// Writes one topic, its records to partitions by their keys.
    #[must_use]
    pub fn new(bootstrap_servers: &str, topic: &str, element: SinkElement) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            topic: topic.to_owned(),
            properties: BTreeMap::new(),
            element,
            partitioner: None,
            schema_registry: None,
        }
    }
}

/// Calls a function of a component. The Python package writes the same. Inputs of the transform that are called like a side
/// input of the function are its side inputs; the one other input is the main one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct WasmCall {
    /// Path of the component.
    pub component: String,
    /// `sha256:` and 64 hex digits that the file must have.
    #[serde(default)]
    pub digest: Option<String>,
    /// Name of the function.
    pub function: String,
    /// What the function gets when it is opened.
    #[serde(default)]
    pub config: Option<serde_json::Value>,
    /// What of the machine the function may see; it must describe it, too.
    #[serde(default, skip_serializing_if = "Grants::is_empty")]
    pub grant: Grants,
    /// Limits of the function that are not the usual ones.
    #[serde(default, skip_serializing_if = "AskedLimits::is_empty")]
    pub limits: AskedLimits,
    /// Tag of the output for elements that the function cannot process; without it they fail the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<String>,
    /// What the function has to be, where the pipeline has a place for that alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// How the pipeline gives each side input, by its name; a check for those who say it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sides: BTreeMap<String, Access>,
    /// The tables that the function looks up, by the names in its description.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, TableSpec>,
}
