//! Rows of a compacted topic: read from its beginning to the end that it has now.

use super::spec::Topic;
use super::{Columns, Filling, TableSpec};
use crate::row::{FieldType, RowReader, RowWriter, Schema};
use std::collections::BTreeMap;
use std::time::Duration;
use thalweg_core::coder::take_prefixed;
use thalweg_core::error::{Error, Result};
use thalweg_core::port::source::Source as _;
use thalweg_io::kafka::{
    KafkaClientConfig, KafkaSource, KafkaSourceConfig, KafkaSplits, SourceElement, metadata_schema,
};
use thalweg_io::row::JsonToRow;

/// Records taken at once.
const ROWS: usize = 4096;
/// How long it waits for the broker before it looks again.
const PAUSE: Duration = Duration::from_millis(5);

/// Fills a table from a topic.
pub fn fill(from: &Topic, spec: &TableSpec, own: &BTreeMap<String, String>, table: &mut Filling) -> Result<()> {
    let mut rows = Rows::new(from, spec)?;
    let mut properties = from.properties.clone();
    properties.extend(own.clone());
    let client = KafkaClientConfig {
        properties,
        properties_allowed: own.keys().cloned().collect(),
        ..KafkaClientConfig::new(&from.bootstrap_servers)
    };
    let config = KafkaSourceConfig {
        element: SourceElement::Metadata,
        bounded: true,
        ..KafkaSourceConfig::new(client, vec![from.topic.clone()])
    };
    let found = KafkaSplits::discover(&config)?;
    let mut source = KafkaSource::new(config, found.clone())?;
    let mut splits = found.splits();
    splits.iter().try_for_each(|split| source.open(*split, None))?;
    while !splits.is_empty() {
        let mut idle = true;
        let mut ended = Vec::new();
        for split in &splits {
            let Some(read) = source.poll(*split, ROWS)? else { continue };
            idle = false;
            read.batch.rows().iter().try_for_each(|row| rows.add(read.batch.value(row), table))?;
            if read.finished {
                ended.push(*split);
            }
        }
        splits.retain(|split| !ended.contains(split));
        if idle {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Makes rows of records.
struct Rows<'a> {
    spec: &'a TableSpec,
    topic: &'a str,
    record: Schema,
    /// Place of the key column.
    key: usize,
    /// The other columns.
    others: Schema,
    json: JsonToRow,
    value: Vec<u8>,
    row: Vec<u8>,
}

impl<'a> Rows<'a> {
    fn new(from: &'a Topic, spec: &'a TableSpec) -> Result<Self> {
        let key = match &spec.key {
            Columns::One(name) => spec.schema.position(name),
            Columns::Row(_) => None,
        };
        let text = |i: &usize| {
            spec.schema.fields.get(*i).is_some_and(|f| matches!(f.kind, FieldType::String | FieldType::Bytes))
        };
        let key = key.filter(text).ok_or_else(|| {
            Error::user("TABLE_SPEC", format!("the table of topic {} has not one text as its key", from.topic))
                .help("name one column of type string or bytes under `key`: it is the record's key")
        })?;
        let others = spec.schema.fields.iter().enumerate().filter(|(i, _)| *i != key).map(|(_, field)| field.clone());
        let others = Schema { fields: others.collect() };
        let json = JsonToRow::new(&others)?;
        let (value, row) = (Vec::new(), Vec::new());
        Ok(Self { spec, topic: &from.topic, record: metadata_schema(), key, others, json, value, row })
    }

    fn add(&mut self, record: &[u8], table: &mut Filling) -> Result<()> {
        let mut reader = RowReader::new(&self.record, record)?;
        for _ in 0..4 {
            reader.next_field()?; // topic, partition, offset, timestamp
        }
        let (Some(key), value) = (reader.next_field()?, reader.next_field()?) else {
            return Err(self.bad("it has no key"));
        };
        let Some(value) = value else {
            table.remove(take_prefixed(key)?.0);
            return Ok(());
        };
        self.value.clear();
        self.json.write(take_prefixed(value)?.0, &mut self.value).map_err(|why| self.bad(&why))?;
        let mut others = RowReader::new(&self.others, &self.value)?;
        self.row.clear();
        let fields = self.spec.schema.fields.len();
        let mut writer = RowWriter::new(&mut self.row, fields);
        for i in 0..fields {
            let field = if i == self.key { Some(key) } else { others.next_field()? };
            writer.field(field);
        }
        writer.finish();
        table.add(&self.row)
    }

    fn bad(&self, why: &str) -> Error {
        Error::user("TABLE_ROW", format!("a record of topic {} is not such a row: {why}", self.topic))
            .help("correct the `schema` of the table, or the records of the topic")
    }
}
