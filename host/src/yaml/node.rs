//! YAML as a tree in which everything knows its place: file, line, column and the path of keys that leads to it.

use super::scalar::settled;
use super::suggest::{did_you_mean, nearest};
use super::template::Filled;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use std::fmt;
use std::sync::Arc;
use thalweg_core::error::{Error, Result};

/// Where something stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// Keys from the top, `pipeline.transforms[2].config`; empty at the top.
    pub path: String,
}

impl Place {
    /// An error about this place.
    pub fn error(&self, code: &'static str, message: impl fmt::Display) -> Error {
        let path = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        Error::user(code, format!("{}:{}:{}: {path}{message}", self.file, self.line, self.column))
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it stands.
    pub place: Place,
}

/// A YAML value.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key and its place.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key.
    pub name: String,
    /// Where it stands; its path is that of its value.
    pub place: Place,
}

impl Node {
    /// What it is, for messages.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(b) => format!("`{b}`"),
            Value::Int(n) => format!("the number {n}"),
            Value::Float(x) => format!("the number {x}"),
            Value::Text(text) if text.chars().count() <= 40 => format!("the text {text:?}"),
            Value::Text(_) => "a long text".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    fn expected(&self, what: &str) -> Error {
        let quotes = matches!(self.value, Value::Int(_) | Value::Float(_) | Value::Bool(_)) && what == "a text";
        let error = self.place.error("YAML_WRONG_TYPE", format!("expected {what}, found {}", self.describe()));
        if quotes { error.help("put it in quotes") } else { error.help(format!("write {what} here")) }
    }

    /// The text.
    pub fn text(&self) -> Result<&str> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.expected("a text")),
        }
    }

    /// The truth value.
    pub fn bool(&self) -> Result<bool> {
        match self.value {
            Value::Bool(b) => Ok(b),
            _ => Err(self.expected("true or false")),
        }
    }

    /// The whole number, 0 or more.
    pub fn count(&self) -> Result<u64> {
        match self.value {
            Value::Int(n) if n >= 0 => Ok(n as u64),
            _ => Err(self.expected("a whole number, 0 or more")),
        }
    }

    /// The list.
    pub fn list(&self) -> Result<&[Node]> {
        match &self.value {
            Value::List(list) => Ok(list),
            _ => Err(self.expected("a list")),
        }
    }

    /// The mapping.
    pub fn map(&self) -> Result<&[(Key, Node)]> {
        match &self.value {
            Value::Map(map) => Ok(map),
            _ => Err(self.expected("a mapping")),
        }
    }

    /// A text, or a list of texts.
    pub fn texts(&self) -> Result<Vec<(&str, &Place)>> {
        match &self.value {
            Value::List(list) => list.iter().map(|n| Ok((n.text()?, &n.place))).collect(),
            Value::Text(text) => Ok(vec![(text, &self.place)]),
            _ => Err(self.expected("a text or a list of texts")),
        }
    }
}

/// Reads a mapping key by key, and refuses keys that nobody asked for.
#[derive(Debug)]
pub struct Fields<'n> {
    place: &'n Place,
    entries: &'n [(Key, Node)],
    asked: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The fields of a mapping; of nothing, none.
    pub fn of(node: &'n Node) -> Result<Self> {
        let entries = if matches!(node.value, Value::Null) { &[] } else { node.map()? };
        Ok(Self { place: &node.place, entries, asked: Vec::new() })
    }

    /// Where the mapping stands.
    pub fn place(&self) -> &'n Place {
        self.place
    }

    /// The value of a key; `None` if it is missing or null.
    pub fn get(&mut self, key: &'static str) -> Option<&'n Node> {
        self.asked.push(key);
        let found = self.entries.iter().find(|(k, _)| k.name == key).map(|(_, node)| node);
        found.filter(|node| !matches!(node.value, Value::Null))
    }

    /// The value of a key that must be there. If it is not, a key that may be meant for it is the error.
    pub fn need(&mut self, key: &'static str) -> Result<&'n Node> {
        if let Some(node) = self.get(key) {
            return Ok(node);
        }
        let others = self.entries.iter().map(|(k, _)| k).filter(|k| !self.asked.contains(&k.name.as_str()));
        match others.into_iter().find(|other| nearest(&other.name, [key]).is_some()) {
            Some(other) => Err(unknown(other).help(format!("did you mean `{key}`?"))),
            None => Err(self
                .place
                .error("YAML_MISSING_KEY", format!("`{key}` is missing"))
                .help(format!("add `{key}:` here"))),
        }
    }

    /// Refuses keys that were not asked for.
    pub fn finish(self) -> Result<()> {
        match self.entries.iter().find(|(key, _)| !self.asked.contains(&key.name.as_str())) {
            None => Ok(()),
            Some((key, _)) => Err(unknown(key).help(did_you_mean(&key.name, &self.asked))),
        }
    }
}

fn unknown(key: &Key) -> Error {
    key.place.error("YAML_UNKNOWN_KEY", format!("`{}` is not known here", key.name))
}

/// Parses a filled text.
///
/// # Errors
/// `YAML_SYNTAX` with line and column, `YAML_NUMBER` for a number that others read otherwise.
pub fn parse(file: &Arc<str>, filled: &Filled) -> Result<Node> {
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    let raw = serde_saphyr::from_str_with_options::<Spanned<Raw>>(&filled.text, options).map_err(|e| {
        let (line, column) = e.location().map_or((1, 1), position);
        let column = filled.original(line, column);
        let message = e.without_snippet().to_string();
        let place = Place { file: Arc::clone(file), line, column, path: String::new() };
        if message.contains("budget breached") || message.contains("alias replay") {
            let why = "with every alias written out, the file is larger than a pipeline may be";
            return place
                .error("YAML_TOO_LARGE", why)
                .help("repeat less by aliases (`*name`), or read data from a file");
        }
        place
            .error("YAML_SYNTAX", message)
            .help("correct the YAML at this line; indentation is by spaces, and lists begin with `- `")
    })?;
    Placing { file, filled }.node(raw, String::new())
}

fn position(at: Location) -> (usize, usize) {
    (usize::try_from(at.line()).unwrap_or(1), usize::try_from(at.column()).unwrap_or(1))
}

/// Gives raw nodes their places.
struct Placing<'a> {
    file: &'a Arc<str>,
    filled: &'a Filled,
}

impl Placing<'_> {
    fn place(&self, at: Location, path: String) -> Place {
        let (line, column) = position(at);
        Place { file: Arc::clone(self.file), line, column: self.filled.original(line, column), path }
    }

    /// A scalar as it stands in the text; where it comes from an alias, there. Empty if its type is said by a tag before it.
    fn source(&self, at: Location) -> &str {
        let place = |n: u64| usize::try_from(n).ok();
        let (from, len) = (at.span().byte_offset().and_then(place), at.span().byte_len().and_then(place));
        let parts = from.zip(len).and_then(|(from, len)| {
            let (before, rest) = self.filled.text.split_at_checked(from)?;
            Some((before, rest.get(..len)?.trim()))
        });
        let (before, scalar) = parts.unwrap_or_default();
        let word = before.trim_end().rsplit(|c: char| c.is_whitespace() || matches!(c, '[' | '{' | ',')).next();
        let tagged = word.is_some_and(|word| word.starts_with('!'));
        if tagged { "" } else { scalar }
    }

    fn node(&self, raw: Spanned<Raw>, path: String) -> Result<Node> {
        let source = self.source(raw.defined);
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Bool(b) => Value::Bool(b),
            Raw::Int(n) => Value::Int(n),
            Raw::Float(x) => Value::Float(x),
            Raw::Text(text) => Value::Text(text),
            Raw::List(list) => {
                let nodes = list.into_iter().enumerate();
                Value::List(nodes.map(|(i, item)| self.node(item, format!("{path}[{i}]"))).collect::<Result<_>>()?)
            }
            Raw::Map(map) => {
                let entries = map.into_iter().map(|(key, value)| self.entry(key, value, &path));
                Value::Map(entries.collect::<Result<_>>()?)
            }
        };
        let place = self.place(raw.referenced, path);
        let value = settled(value, source).map_err(|why| {
            place
                .error("YAML_NUMBER", why)
                .help("put it in quotes if it is a text, else write the number in another way")
        })?;
        Ok(Node { value, place })
    }

    fn entry(&self, key: Spanned<String>, value: Spanned<Raw>, path: &str) -> Result<(Key, Node)> {
        let path = if path.is_empty() { key.value.clone() } else { format!("{path}.{}", key.value) };
        let place = self.place(key.referenced, path.clone());
        Ok((Key { name: key.value, place }, self.node(value, path)?))
    }
}

/// A value as the parser gives it.
enum Raw {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Raw, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Raw, E> {
        Ok(Raw::Int(n))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Raw, E> {
        Ok(i64::try_from(n).map_or(Raw::Float(n as f64), Raw::Int)) // what is beyond 64 bits is refused by its text
    }

    fn visit_f64<E>(self, x: f64) -> Result<Raw, E> {
        Ok(Raw::Float(x))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::super::template::fill;
    use super::*;

    fn node(text: &str) -> Result<Node> {
        let file = Arc::from("p.yaml");
        parse(&file, &fill(&file, text, &[("x".to_owned(), "some value".to_owned())].into())?)
    }

    #[test]
    fn everything_knows_its_place() -> Result<()> {
        let top = node("# {{ x }}\na:\n  - b: {{ x }}\n    c: {fn: count, n: 7}\n")?;
        let (_, list) = &top.map()?[0];
        let (key, c) = &list.list()?[0].map()?[1];
        assert_eq!((key.place.line, key.place.column, key.place.path.as_str()), (4, 5, "a[0].c"));
        let n = &c.map()?[1].1;
        assert_eq!(
            n.text().err().map(|e| e.to_string()).unwrap_or_default(),
            "YAML_WRONG_TYPE: p.yaml:4:23: a[0].c.n: expected a text, found the number 7"
        );
        assert_eq!(n.count()?, 7);
        Ok(())
    }

    #[test]
    fn wrong_yaml_is_told_with_line_and_column() {
        let error = node("a: {{ x }}\nb: [1, 2\nc: 3\n").err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.starts_with("YAML_SYNTAX: p.yaml:3:"), "{error}");
        let error = node("a: {{ x }}\na: 2\n").err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("p.yaml:2:1") && error.contains("duplicate"), "{error}");
    }

    #[test]
    fn what_others_read_otherwise_is_refused_or_read_as_they_do() -> Result<()> {
        let says =
            |value: &str| node(&format!("# {{{{ x }}}}\nä: [{{{{ x }}}}, {value}]\n")).err().map(|e| e.to_string());
        for value in ["010", "08540", "1e3", "0o17", "9223372036854775808", "-9223372036854775809", "&a 010"] {
            let error = says(value).unwrap_or_default();
            assert!(error.starts_with("YAML_NUMBER: p.yaml:2:"), "{value}: {error}");
        }
        for value in ["'010'", "\"1e3\"", "!!str 010", "[!!str 010]", "7 # 010\n ", "2024-01-01"] {
            assert_eq!(says(value), None, "{value}");
        }
        let top = node("a: {{ x }}\nb: [yes, 'yes', &o off, *o, {c: on}]\nd: |\n  no\n")?;
        let list = top.map()?[1].1.list()?;
        let bools: Vec<Option<bool>> = list.iter().map(|n| n.bool().ok()).collect();
        assert_eq!(bools, [Some(true), None, Some(false), Some(false), None]);
        assert!(list[4].map()?[0].1.bool()?);
        assert_eq!(top.map()?[2].1.text()?, "no\n");
        Ok(())
    }

    #[test]
    fn aliases_of_aliases_without_end_are_one_clear_error() {
        let mut text = "a: &a [{{ x }}, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (name, before) in "bcdefghi".chars().zip("abcdefgh".chars()) {
            let list = vec![format!("*{before}"); 10].join(", ");
            text.push_str(&format!("{name}: &{name} [{list}]\n"));
        }
        let error = node(&text).err();
        assert_eq!(error.as_ref().map(|e| e.code), Some("YAML_TOO_LARGE"));
        let message = error.map(|e| e.message).unwrap_or_default();
        assert!(message.starts_with("p.yaml:") && !message.contains('{'), "{message}");
    }

    #[test]
    fn keys_nobody_asked_for_are_refused_with_the_nearest() -> Result<()> {
        let top = node("siez: {{ x }}\n")?;
        let mut fields = Fields::of(&top)?;
        assert!(fields.get("size").is_none());
        let error = fields.finish().err();
        assert_eq!(error.map(|e| e.help).unwrap_or_default(), "did you mean `size`?");
        Ok(())
    }
}
