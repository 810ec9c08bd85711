//! Pipeline options as SDKs send them: names without their URN dress, values read leniently.
//!
//! In: the `Struct` of `Prepare`, with keys like `beam:option:sdk_worker_parallelism:v1` (Python, Go) or plain names; what
//! a Go program was given stands one level deeper. Integers may be numbers or strings, lists may be JSON in a string. Out:
//! [`JobOptions`] by name, and the descriptors with which SDKs learn what the runner understands. What an option does is
//! the runner's business.

use prost_types::value::Kind;
use prost_types::{Struct, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use thalweg_core::error::{Error, Result};
use thalweg_proto::job::PipelineOptionDescriptor;
use thalweg_proto::job::pipeline_option_type::Enum as WireKind;

mod sent_by_sdks;

/// The value of an option.
#[derive(Clone, PartialEq, Debug)]
pub enum OptionValue {
    /// Nothing: the option counts as not given.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number; JSON knows no integers.
    Number(f64),
    /// Text, and in Python every integer.
    Text(String),
    /// Several values.
    List(Vec<OptionValue>),
    /// Values by name.
    Map(BTreeMap<String, OptionValue>),
}

/// What kind of value an option takes. Source: `PipelineOptionType.Enum`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A list of texts.
    List,
}

/// An option the runner understands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OptionDescriptor {
    /// As on a command line, without dashes in front: `sdk_worker_parallelism`.
    pub name: &'static str,
    /// What it takes.
    pub kind: OptionKind,
    /// One or two sentences for a help page.
    pub description: &'static str,
    /// What holds when it is not given; empty if nothing does.
    pub default: &'static str,
}

impl OptionDescriptor {
    /// The options of Beam every runner of ours understands.
    #[must_use]
    pub fn standard() -> Vec<Self> {
        let option = |name, kind, default, description| Self { name, kind, description, default };
        vec![
            option("job_name", OptionKind::Text, "job", "Name of the job in lists and messages."),
            option("streaming", OptionKind::Bool, "false", "Whether the job is meant to run without an end."),
            option("experiments", OptionKind::List, "", "Experiments, each a name or name=value."),
            option(
                "sdk_worker_parallelism",
                OptionKind::Integer,
                "1",
                "SDK worker processes per environment, which the shards share: a job has at least as many shards. 0 means one per core.",
            ),
            option(
                "parallelism",
                OptionKind::Integer,
                "-1",
                "Shards that run the job in this process; -1 means as many as the server is told (--shards).",
            ),
        ]
    }

    /// The descriptor on the wire.
    #[must_use]
    pub fn to_wire(&self) -> PipelineOptionDescriptor {
        let kind = match self.kind {
            OptionKind::Text => WireKind::String,
            OptionKind::Bool => WireKind::Boolean,
            OptionKind::Integer => WireKind::Integer,
            OptionKind::Number => WireKind::Number,
            OptionKind::List => WireKind::Array,
        };
        PipelineOptionDescriptor {
            name: self.name.to_owned(),
            r#type: kind.into(),
            description: self.description.to_owned(),
            default_value: self.default.to_owned(),
            group: "thalweg".to_owned(),
        }
    }
}

/// The options of one job.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct JobOptions {
    values: BTreeMap<String, OptionValue>,
    wire: Struct,
}

impl JobOptions {
    /// Reads the options of a request.
    #[must_use]
    pub fn new(wire: Struct) -> Self {
        let mut values: BTreeMap<String, OptionValue> =
            wire.fields.iter().map(|(name, v)| (plain_name(name).to_owned(), value(v))).collect();
        for (name, given) in of_go(&wire) {
            let place = values.entry(name.to_owned()).or_insert(OptionValue::Null);
            if *place == OptionValue::Null {
                *place = given;
            }
        }
        Self { values, wire }
    }

    /// The options as they were sent, e.g. for the provision service of workers.
    #[must_use]
    pub fn wire(&self) -> &Struct {
        &self.wire
    }

    /// The options as they were sent, with what looks like a secret masked, however deep it stands.
    #[must_use]
    pub fn masked(&self) -> Struct {
        let mut wire = self.wire.clone();
        mask(&mut wire);
        wire
    }

    /// A value, unless it was not given.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OptionValue> {
        self.values.get(name).filter(|value| **value != OptionValue::Null)
    }

    /// A text; numbers and booleans are written out.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            OptionValue::Text(text) => Some(text.clone()),
            OptionValue::Bool(yes) => Some(yes.to_string()),
            OptionValue::Number(number) => Some(number.to_string()),
            OptionValue::Null | OptionValue::List(_) | OptionValue::Map(_) => None,
        }
    }

    /// A whole number, also in a string.
    ///
    /// # Errors
    /// `OPTION_INVALID` if it is none.
    pub fn integer(&self, name: &str) -> Result<Option<i64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = match value {
            // beyond 2^53 a double no longer tells whole numbers apart
            OptionValue::Number(n) if n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0 => Some(*n as i64),
            OptionValue::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| invalid(name, value, "a whole number"))
    }

    /// A number, also in a string.
    ///
    /// # Errors
    /// `OPTION_INVALID` if it is none.
    pub fn number(&self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = match value {
            OptionValue::Number(n) => Some(*n),
            OptionValue::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| invalid(name, value, "a number"))
    }

    /// A yes or no, also in a string.
    ///
    /// # Errors
    /// `OPTION_INVALID` if it is none.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let yes = match value {
            OptionValue::Bool(yes) => Some(*yes),
            OptionValue::Text(text) => text.trim().to_ascii_lowercase().parse().ok(),
            _ => None,
        };
        yes.map(Some).ok_or_else(|| invalid(name, value, "true or false"))
    }

    /// A list of texts; a single text is a list of one. Empty if not given.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Some(OptionValue::Text(text)) if !text.is_empty() => vec![text.clone()],
            Some(OptionValue::List(items)) => items
                .iter()
                .filter_map(|item| match item {
                    OptionValue::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Checks the kinds of the options that are understood.
    ///
    /// # Errors
    /// `OPTION_INVALID` for the first one that has another kind.
    pub fn check(&self, understood: &[OptionDescriptor]) -> Result<()> {
        for option in understood {
            match option.kind {
                OptionKind::Integer => self.integer(option.name).map(drop)?,
                OptionKind::Number => self.number(option.name).map(drop)?,
                OptionKind::Bool => self.boolean(option.name).map(drop)?,
                OptionKind::Text | OptionKind::List => {}
            }
        }
        Ok(())
    }

    /// A sentence about the options that somebody gave and nobody understands: those which neither the runner knows
    /// nor SDKs send of themselves. Not those of a Go program, among which stand all flags it has for itself.
    #[must_use]
    pub fn unknown(&self, understood: &[OptionDescriptor]) -> Option<String> {
        const NAMED_MAX: usize = 20;
        let sent: BTreeSet<&str> = self.wire.fields.keys().map(|name| plain_name(name)).collect();
        let unknown: Vec<&str> = sent
            .into_iter()
            // what is off, as Go's programs say of `retain_docker_containers`, asks for nothing
            .filter(|name| self.get(name).is_some_and(|value| *value != OptionValue::Bool(false)))
            .filter(|name| !sent_by_sdks::contains(name) && !understood.iter().any(|o| o.name == *name))
            .collect();
        if unknown.is_empty() {
            return None;
        }
        let mut text = "options this runner does not use: ".to_owned();
        text.push_str(&unknown.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", "));
        if unknown.len() > NAMED_MAX {
            let _ = write!(text, " and {} more", unknown.len() - NAMED_MAX);
        }
        Some(text)
    }
}

/// `beam:option:NAME:v1` without its dress.
fn plain_name(name: &str) -> &str {
    let Some(inner) = name.strip_prefix("beam:option:") else { return name };
    match inner.rsplit_once(":v") {
        Some((plain, version)) if version.bytes().all(|b| b.is_ascii_digit()) => plain,
        _ => inner,
    }
}

/// What a Go program was given: its SDK sends all flags that were set, and what the program itself has set, as strings in
/// one option, and beside it only what it has a field for. Source: `RawOptionsWrapper` of the Go SDK's `core/runtime`.
fn of_go(wire: &Struct) -> impl Iterator<Item = (&str, OptionValue)> {
    let options = wire.fields.iter().filter(|(name, _)| plain_name(name) == "go_options").map(|(_, value)| value);
    let given = options.filter_map(fields).filter_map(|raw| raw.get("options")).filter_map(fields);
    given.flat_map(|given| given.iter().map(|(name, v)| (plain_name(name), value(v))))
}

fn fields(value: &Value) -> Option<&BTreeMap<String, Value>> {
    match &value.kind {
        Some(Kind::StructValue(map)) => Some(&map.fields),
        _ => None,
    }
}

fn mask(options: &mut Struct) {
    for (name, value) in &mut options.fields {
        if is_secret(name) {
            value.kind = Some(Kind::StringValue("***".to_owned()));
        } else {
            mask_inside(value);
        }
    }
}

fn mask_inside(value: &mut Value) {
    match &mut value.kind {
        Some(Kind::StructValue(map)) => mask(map),
        Some(Kind::ListValue(list)) => list.values.iter_mut().for_each(mask_inside),
        _ => {}
    }
}

fn value(value: &Value) -> OptionValue {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => OptionValue::Null,
        Some(Kind::BoolValue(yes)) => OptionValue::Bool(*yes),
        Some(Kind::NumberValue(number)) => OptionValue::Number(*number),
        Some(Kind::StringValue(text)) => OptionValue::Text(text.clone()),
        Some(Kind::ListValue(list)) => OptionValue::List(list.values.iter().map(self::value).collect()),
        Some(Kind::StructValue(map)) => {
            OptionValue::Map(map.fields.iter().map(|(name, v)| (name.clone(), self::value(v))).collect())
        }
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "token", "credential", "access_key", "api_key"].iter().any(|word| name.contains(word))
}

fn invalid(name: &str, value: &OptionValue, wanted: &str) -> Error {
    let given = match value {
        _ if is_secret(name) => "***".to_owned(),
        OptionValue::Text(text) => format!("`{text}`"),
        other => format!("{other:?}"),
    };
    Error::user("OPTION_INVALID", format!("the pipeline option {name} is {given}, not {wanted}"))
        .help(format!("give --{name} {wanted}, or leave it away"))
}

#[cfg(test)]
mod tests;
