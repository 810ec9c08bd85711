//! The options of a transform: values by name.
//!
//! Names are compared without case and underscores, because the SDKs disagree: Python says `consumer_config`, Go `ConsumerConfig`,
//! Java `consumerConfig`. What is asked for is taken out; what is left at the end is an option nobody knows.

use super::Value;
use crate::error::Result;
use std::collections::BTreeMap;
use thalweg_core::error::Error;

/// Options that have not been asked for yet.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    what: String,
    /// As the client calls them.
    given: Vec<(String, Value)>,
    /// What has been asked for, for messages.
    known: Vec<&'static str>,
}

fn same(a: &str, b: &str) -> bool {
    let plain = |text: &str| text.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect::<String>();
    plain(a) == plain(b)
}

impl Options {
    /// The options of `what`, the transform's name in messages. Null is as good as not given.
    #[must_use]
    pub fn new(what: &str, given: Vec<(String, Value)>) -> Self {
        let given = given.into_iter().filter(|(_, value)| *value != Value::Null).collect();
        Self { what: what.to_owned(), given, known: Vec::new() }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        let at = self.given.iter().position(|(given, _)| same(given, name))?;
        Some(self.given.swap_remove(at).1)
    }

    /// An error about an option.
    #[must_use]
    pub fn wrong(&self, name: &str, why: &str) -> Error {
        Error::user("EXPANSION_OPTION", format!("{}: `{name}` {why}", self.what))
    }

    fn missing(&self, name: &str) -> Error {
        self.wrong(name, "is needed").help("add it to the configuration of the transform")
    }

    fn kind<T>(&self, name: &str, kind: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| {
            self.wrong(name, &format!("is not {kind}")).help("correct the type of the value in the configuration")
        })
    }

    /// A string.
    ///
    /// # Errors
    /// `EXPANSION_OPTION` when it is something else.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let text = if let Value::Text(text) = value { Some(text) } else { None };
        self.kind(name, "a string", text).map(Some)
    }

    /// A string that must be given.
    ///
    /// # Errors
    /// `EXPANSION_OPTION` when it is not, or empty.
    pub fn need_text(&mut self, name: &'static str) -> Result<String> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| self.missing(name))
    }

    /// A whole number from 0.
    ///
    /// # Errors
    /// `EXPANSION_OPTION` when it is something else.
    pub fn count(&mut self, name: &'static str) -> Result<Option<u64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let count = if let Value::Integer(n) = value { u64::try_from(n).ok() } else { None };
        self.kind(name, "a whole number from 0", count).map(Some)
    }

    /// A truth value; false if it is not given.
    ///
    /// # Errors
    /// `EXPANSION_OPTION` when it is something else.
    pub fn boolean(&mut self, name: &'static str) -> Result<bool> {
        let Some(value) = self.take(name) else { return Ok(false) };
        let boolean = if let Value::Boolean(b) = value { Some(b) } else { None };
        self.kind(name, "true or false", boolean)
    }

    /// A list of strings; empty if it is not given.
    ///
    /// # Errors
    /// `EXPANSION_OPTION` when it is something else.
    pub fn texts(&mut self, name: &'static str) -> Result<Vec<String>> {
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        let text = |value| if let Value::Text(text) = value { Some(text) } else { None };
        let list = if let Value::List(list) = value { list.into_iter().map(text).collect() } else { None };
        self.kind(name, "a list of strings", list)
    }

    /// A map of strings; empty if it is not given. Numbers and truth values become strings; null is left out.
    ///
    /// # Errors
    /// `EXPANSION_OPTION` when it is something else.
    pub fn map(&mut self, name: &'static str) -> Result<BTreeMap<String, String>> {
        let Some(value) = self.take(name) else { return Ok(BTreeMap::new()) };
        let text = |value| match value {
            Value::Text(text) => Some(text),
            Value::Integer(n) => Some(n.to_string()),
            Value::Boolean(b) => Some(b.to_string()),
            _ => None,
        };
        let entries: Option<Vec<(Value, Value)>> = match value {
            Value::Map(entries) => Some(entries),
            Value::Row(fields) => Some(fields.into_iter().map(|(name, value)| (Value::Text(name), value)).collect()),
            _ => None,
        };
        let map = entries.and_then(|entries| {
            let given = entries.into_iter().filter(|(_, value)| *value != Value::Null);
            given.map(|(key, value)| Some((text(key)?, text(value)?))).collect()
        });
        self.kind(name, "a map of strings", map)
    }

    /// Options inside of an option.
    ///
    /// # Errors
    /// `EXPANSION_OPTION` when it is no row or map.
    pub fn row(&mut self, name: &'static str) -> Result<Option<Self>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let text = |value| if let Value::Text(text) = value { Some(text) } else { None };
        let fields = match value {
            Value::Row(fields) => Some(fields),
            Value::Map(entries) => entries.into_iter().map(|(key, value)| Some((text(key)?, value))).collect(),
            _ => None,
        };
        let fields = self.kind(name, "a map of options", fields)?;
        Ok(Some(Self::new(&format!("{}: {name}", self.what), fields)))
    }

    /// Refuses options that are known, but mean something that this process does not do.
    ///
    /// # Errors
    /// `EXPANSION_OPTION` for the first of them that is given.
    pub fn refuse(&mut self, names: &[&'static str], why: &str, help: &str) -> Result<()> {
        let given = names.iter().find(|name| self.take(name).is_some());
        self.known.retain(|known| !names.contains(known));
        given.map_or(Ok(()), |name| Err(self.wrong(name, why).help(help)))
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// `EXPANSION_OPTION` for an option that nobody asked for.
    pub fn finish(self) -> Result<()> {
        let Some((name, _)) = self.given.first() else { return Ok(()) };
        Err(self.wrong(name, "is no option of it").help(format!("its options are {}", self.known.join(", "))))
    }
}
