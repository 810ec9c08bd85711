//! What a pipeline says of a table. In: JSON. Out: which columns are key and value, and their types.

use crate::native::payload::{Part, RowsToPairs};
use crate::pipeline::Element;
use crate::row::{FieldType, Schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use thalweg_core::error::{Error, Result};

/// A table of a pipeline. The Python package writes the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableSpec {
    /// Where its rows come from.
    pub source: TableSource,
    /// The columns.
    pub schema: Schema,
    /// The column that is the key, as a plain value; of a list of columns the key is a row.
    pub key: Columns,
    /// The column that is the value, as a plain value; of a list of columns, and without it of all others, it is a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Columns>,
}

/// Where the rows of a table come from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableSource {
    /// A file.
    File {
        /// Its path.
        path: String,
        /// What a line is.
        format: Format,
    },
    /// A compacted topic, from its beginning to its end when the job starts: of each key the last record counts, and none if
    /// that has no value. The record's key is the key column, its value a JSON object of the others.
    Topic(Topic),
}

/// A compacted topic.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Topic {
    /// `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// The topic.
    pub topic: String,
    /// Properties of the consumer, verbatim.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

/// What a line of a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Texts between commas; the first line has the names of the columns. Source: RFC 4180.
    Csv,
    /// A JSON object.
    Jsonl,
}

/// One column, or a list of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Columns {
    /// The column's plain value.
    One(String),
    /// A row.
    Row(Vec<String>),
}

impl fmt::Display for TableSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "the table {path}"),
            Self::Topic(from) => write!(f, "the table of topic {}", from.topic),
        }
    }
}

fn wrong(spec: &TableSpec, what: &str) -> Error {
    Error::user("TABLE_SPEC", format!("{}: {what}", spec.source))
        .help("correct `schema`, `key` and `value` of the table")
}

impl TableSpec {
    /// How a row becomes key and value.
    ///
    /// # Errors
    /// `TABLE_SPEC` for columns that the schema does not have, and for a plain key or value that may be null or is no plain one.
    pub fn pairs(&self) -> Result<RowsToPairs> {
        let key = self.part("key", &self.key)?;
        let value = match &self.value {
            Some(columns) => self.part("value", columns)?,
            None => {
                let in_key = |i: &usize| match &key {
                    Part::Field(at) => at == i,
                    Part::Fields(fields) => fields.contains(i),
                };
                Part::Fields((0..self.schema.fields.len()).filter(|i| !in_key(i)).collect())
            }
        };
        Ok(RowsToPairs { input: self.schema.clone(), key, value })
    }

    /// Types of key and value.
    ///
    /// # Errors
    /// As for [`TableSpec::pairs`].
    pub fn elements(&self) -> Result<(Element, Element)> {
        let RowsToPairs { key, value, .. } = self.pairs()?;
        Ok((self.element(&key)?, self.element(&value)?))
    }

    /// The columns that a join adds to a row: those of the value.
    ///
    /// # Errors
    /// As for [`TableSpec::pairs`].
    pub fn added(&self) -> Result<Schema> {
        let places = match self.pairs()?.value {
            Part::Field(i) => vec![i],
            Part::Fields(fields) => fields,
        };
        Ok(Schema { fields: places.into_iter().filter_map(|i| self.schema.fields.get(i).cloned()).collect() })
    }

    fn part(&self, role: &str, columns: &Columns) -> Result<Part> {
        let place = |name: &String| {
            let place = self.schema.position(name);
            place.ok_or_else(|| wrong(self, &format!("its {role} is the column `{name}`, which it does not have")))
        };
        match columns {
            Columns::One(name) => {
                let i = place(name)?;
                let field = self.schema.fields.get(i);
                if field.is_none_or(|f| f.nullable || Element::plain(&f.kind).is_none()) {
                    return Err(wrong(self, &format!("its {role} `{name}` is not a plain value that is never null")));
                }
                Ok(Part::Field(i))
            }
            Columns::Row(names) => Ok(Part::Fields(names.iter().map(place).collect::<Result<_>>()?)),
        }
    }

    fn element(&self, part: &Part) -> Result<Element> {
        let field = |i: &usize| self.schema.fields.get(*i).cloned();
        Ok(match part {
            Part::Field(i) => {
                let kind = field(i).map_or(FieldType::Bytes, |f| f.kind);
                Element::plain(&kind).ok_or_else(|| wrong(self, "a column is no plain value"))?
            }
            Part::Fields(fields) => Element::Row(Schema { fields: fields.iter().filter_map(field).collect() }),
        })
    }
}
