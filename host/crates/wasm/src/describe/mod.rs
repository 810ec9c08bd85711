//! What a component says of itself: its functions with their coders, outputs, state slots, timers, side inputs and tables. The
//! JSON document of `guest.describe`, read strictly enough that a mismatch shows at deploy and not in the middle of a job.

mod coder;

pub use coder::{Coder, Field};

use crate::error::{Error, Result};
use crate::grant::Capability;
use serde::{Deserialize, Serialize};

/// Coders inside coders, at most so deep: a description is hostile until read.
const DEPTH_MAX: usize = 32;
/// Timer families of one function: a row's kind is one byte, and the last values of it mean other things.
const TIMERS_MAX: usize = 249;

/// Among its pages: the grouped values of an input whose elements are pairs of key and list, or lists.
const VALUES: &str = "values";

/// A component's description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The SDK it was built with, e.g. `rust 1.0.0`.
    #[serde(default)]
    pub sdk: String,
    /// Its functions.
    pub functions: Vec<Function>,
}

/// A function of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Unique in the component.
    pub name: String,
    /// What sort of function it is.
    pub kind: Kind,
    /// Coder of the input's elements.
    pub input: Coder,
    /// Outputs; the first is the main one.
    pub outputs: Vec<Output>,
    /// Coder of the accumulators. CombineFns only.
    #[serde(default)]
    pub accumulator: Option<Coder>,
    /// State slots; a function with slots needs a keyed input.
    #[serde(default)]
    pub slots: Vec<Slot>,
    /// Timer families; a function with timers needs a keyed input.
    #[serde(default)]
    pub timers: Vec<Timer>,
    /// Whether it wants to know when the window of a key is over.
    #[serde(default)]
    pub on_window_expiration: bool,
    /// Whether it wants to know where bundles begin and end.
    #[serde(default)]
    pub bundles: bool,
    /// Side inputs.
    #[serde(default)]
    pub side_inputs: Vec<SideInput>,
    /// Tables it looks up.
    #[serde(default)]
    pub tables: Vec<Table>,
    /// Whether its windows merge. WindowFns only.
    #[serde(default)]
    pub merges: bool,
    /// Whether it looks at the elements whose windows it assigns. WindowFns only.
    #[serde(default)]
    pub element: bool,
    /// Which large things it reads by page where it would else get them whole: `values` (the lists of its input) is all that this host knows.
    #[serde(default)]
    pub pages: Vec<String>,
    /// What of the machine it wants to be granted: the names of [`Capability`].
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// The sort of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// One element in, any number out.
    DoFn,
    /// Makes, merges and reads accumulators.
    CombineFn,
    /// Gives elements their windows.
    WindowFn,
    /// Gives elements their key.
    KeySelector,
    /// Of a later version.
    #[serde(untagged)]
    Other(String),
}

/// An output of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Unique in the function.
    pub name: String,
    /// Coder of its elements.
    pub coder: Coder,
}

/// A state slot of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Unique in the function; where the state is stored depends on it.
    pub name: String,
    /// How it is used.
    pub kind: SlotKind,
    /// Coder of its values; of a set that of its elements.
    pub coder: Coder,
    /// Coder of the keys of a map or multimap.
    #[serde(default)]
    pub key: Option<Coder>,
    /// Whether the cells arrive with the batch. Value slots only.
    #[serde(default)]
    pub eager: bool,
}

/// How a slot is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SlotKind {
    /// One value or none.
    Value,
    /// Any number of values.
    Bag,
    /// A value per key.
    Map,
    /// Elements, each once.
    Set,
    /// Any number of values per key.
    Multimap,
    /// Any number of values per timestamp, in the order of time.
    OrderedList,
    /// Of a later version.
    #[serde(untagged)]
    Other(String),
}

impl SlotKind {
    /// Whether it is a value or a bag: one cell per group, without subkeys.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Value | Self::Bag)
    }

    /// Whether values can be added without the others being given.
    #[must_use]
    pub fn appends(&self) -> bool {
        matches!(self, Self::Bag | Self::Multimap | Self::OrderedList)
    }
}

/// A timer family of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// Unique in the function; where its timers are stored depends on it.
    pub name: String,
    /// Its clock.
    pub domain: Domain,
}

/// The clock of a timer family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// The watermark.
    Event,
    /// The time of day.
    Processing,
}

/// A side input of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideInput {
    /// Unique in the function.
    pub name: String,
    /// How it is read.
    pub access: Access,
    /// Coder of its elements; a KV coder for a multimap.
    pub coder: Coder,
}

/// How a side input is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// As one list.
    Iterable,
    /// By key.
    Multimap,
}

/// A table that a function looks up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Unique in the function; the pipeline says which table it is.
    pub name: String,
    /// Coder of its keys.
    pub key: Coder,
    /// Coder of its values.
    pub value: Coder,
    /// What is looked up for each row before the call.
    #[serde(default)]
    pub lookup: Lookup,
}

/// What is looked up in a table for each row before the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lookup {
    /// Nothing: the function asks.
    #[default]
    None,
    /// The key of the element.
    Key,
}

impl Description {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// [`Error::Description`] with the place in the document.
    pub fn parse(component: &str, json: &str) -> Result<Self> {
        let wrong = |why: String| Error::Description { name: component.to_owned(), why };
        let this: Self = serde_json::from_str(json).map_err(|e| wrong(e.to_string()))?;
        for function in &this.functions {
            function.check().map_err(|why| wrong(format!("function {:?}: {why}", function.name)))?;
        }
        let names = this.functions.iter().map(|f| f.name.as_str());
        match repeated(names) {
            Some(name) => Err(wrong(format!("two functions are called {name:?}"))),
            None => Ok(this),
        }
    }

    /// The function of a name.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|f| f.name == name)
    }
}

impl Function {
    fn check(&self) -> Result<(), String> {
        self.check_names()?;
        self.check_kind()?;
        if self.is_keyed() && !self.input.is_kv() {
            return Err("it has state slots or timers, but its input is not a KV".into());
        }
        if self.timers.len() > TIMERS_MAX {
            return Err(format!("it has more than {TIMERS_MAX} timer families"));
        }
        if let Some(slot) = self.slots.iter().find(|s| s.eager && s.kind != SlotKind::Value) {
            return Err(format!("slot {:?} is eager, but no value slot", slot.name));
        }
        let keyed = |kind: &SlotKind| matches!(kind, SlotKind::Map | SlotKind::Multimap);
        if let Some(slot) = self.slots.iter().find(|s| keyed(&s.kind) != s.key.is_some()) {
            return Err(format!("slot {:?}: maps and multimaps have a key coder, others have none", slot.name));
        }
        let multimaps = || self.side_inputs.iter().filter(|s| s.access == Access::Multimap);
        if let Some(side) = multimaps().find(|s| !s.coder.is_kv()) {
            return Err(format!("side input {:?} is a multimap, but its coder is no KV coder", side.name));
        }
        if let Some(table) = self.tables.iter().find(|t| t.lookup == Lookup::Key && !self.input.is_kv()) {
            return Err(format!("table {:?} is looked up by the element's key, but the input is not a KV", table.name));
        }
        self.coders().try_for_each(|coder| coder.check(0))
    }

    fn check_names(&self) -> Result<(), String> {
        let lists: [(&str, Vec<&str>); 5] = [
            ("outputs", self.outputs.iter().map(|o| o.name.as_str()).collect()),
            ("slots", self.slots.iter().map(|s| s.name.as_str()).collect()),
            ("timers", self.timers.iter().map(|t| t.name.as_str()).collect()),
            ("side inputs", self.side_inputs.iter().map(|s| s.name.as_str()).collect()),
            ("tables", self.tables.iter().map(|t| t.name.as_str()).collect()),
        ];
        let twice = lists.iter().find_map(|(what, names)| Some((what, repeated(names.iter().copied())?)));
        twice.map_or(Ok(()), |(what, name)| Err(format!("two {what} are called {name:?}")))
    }

    /// What belongs to one kind of function alone.
    fn check_kind(&self) -> Result<(), String> {
        let is = |kind: Kind| self.kind == kind;
        if self.outputs.is_empty() && !is(Kind::WindowFn) {
            return Err("it has no output".into());
        }
        if (is(Kind::CombineFn) || is(Kind::KeySelector)) && self.outputs.len() != 1 {
            return Err("a function of its kind has one output".into());
        }
        if is(Kind::CombineFn) != self.accumulator.is_some() {
            return Err("CombineFns have an accumulator coder, others have none".into());
        }
        if (self.merges || self.element) && !is(Kind::WindowFn) {
            return Err("only WindowFns merge windows and look at elements for them".into());
        }
        let stateful = !self.slots.is_empty() || !self.timers.is_empty() || self.on_window_expiration || self.bundles;
        let reads = !self.side_inputs.is_empty() || !self.tables.is_empty();
        let plain = !matches!(self.kind, Kind::DoFn | Kind::Other(_));
        if plain && (stateful || reads) {
            return Err("only DoFns have state, timers, bundles, side inputs and tables".into());
        }
        Ok(())
    }

    fn coders(&self) -> impl Iterator<Item = &Coder> {
        let outputs = self.outputs.iter().map(|o| &o.coder);
        let slots = self.slots.iter().flat_map(|s| s.key.iter().chain([&s.coder]));
        let tables = self.tables.iter().flat_map(|t| [&t.key, &t.value]);
        let sides = self.side_inputs.iter().map(|s| &s.coder);
        outputs.chain(slots).chain(tables).chain(sides).chain(&self.accumulator).chain([&self.input])
    }

    /// Whether it reads grouped values by page.
    #[must_use]
    pub fn reads_pages(&self) -> bool {
        self.pages.iter().any(|what| what == VALUES)
    }

    /// Whether elements of a key have to meet: it keeps state or sets timers.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        !self.slots.is_empty() || !self.timers.is_empty() || self.on_window_expiration
    }

    /// What it needs that this host does not offer.
    #[must_use]
    pub fn unsupported(&self) -> Option<String> {
        if let Kind::Other(kind) = &self.kind {
            return Some(format!("functions of the kind {kind:?}"));
        }
        let slot = self.slots.iter().find_map(|slot| match &slot.kind {
            SlotKind::Other(kind) => Some(format!("state of the kind {kind:?}")),
            _ => None,
        });
        let unknown = self.capabilities.iter().find(|c| Capability::parse(c).is_none());
        slot.or_else(|| unknown.map(|c| format!("the capability {c:?}")))
    }
}

fn repeated<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if seen.contains(&name) {
            return Some(name);
        }
        seen.push(name);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(json: &str) -> String {
        Description::parse("c", json).err().map_or_else(String::new, |e| e.to_string())
    }

    #[test]
    fn a_whole_description_is_read() -> Result<()> {
        let json = r#"{"sdk":"rust 1.0.0","functions":[{"name":"f","kind":"dofn",
            "input":{"urn":"beam:coder:kv:v1","components":[{"urn":"beam:coder:bytes:v1"},{"urn":"beam:coder:varint:v1"}]},
            "outputs":[{"name":"main","coder":{"urn":"beam:coder:row:v1","fields":[{"name":"a","type":"int64"}]}}],
            "slots":[{"name":"n","kind":"value","coder":{"urn":"beam:coder:varint:v1"},"eager":true}],
            "a field of a later version":1}]}"#;
        let description = Description::parse("c", json)?;
        let function = description.function("f");
        assert!(function.is_some_and(|f| f.input.is_kv() && f.slots[0].eager && f.unsupported().is_none()));
        Ok(())
    }

    #[test]
    fn nonsense_is_named() {
        let bytes = r#"{"urn":"beam:coder:bytes:v1"}"#;
        assert!(why("{").contains("EOF"));
        assert!(
            why(&format!(r#"{{"functions":[{{"name":"f","kind":"dofn","input":{bytes},"outputs":[]}}]}}"#))
                .contains("no output")
        );
        let output = format!(r#"[{{"name":"main","coder":{bytes}}}]"#);
        let slots = format!(r#"[{{"name":"n","kind":"value","coder":{bytes}}}]"#);
        let json = format!(
            r#"{{"functions":[{{"name":"f","kind":"dofn","input":{bytes},"outputs":{output},"slots":{slots}}}]}}"#
        );
        assert!(why(&json).contains("not a KV"));
        let json = r#"{"functions":[{"name":"f","kind":"dofn","input":{"urn":"beam:coder:x:v1"},"outputs":[]}]}"#;
        assert!(!why(json).is_empty());
    }

    #[test]
    fn what_belongs_to_another_kind_is_named() {
        let function = |rest: &str| {
            let bytes = r#"{"urn":"beam:coder:bytes:v1"}"#;
            let outputs = format!(r#"[{{"name":"main","coder":{bytes}}}]"#);
            why(&format!(r#"{{"functions":[{{"name":"f","input":{bytes},"outputs":{outputs},{rest}}}]}}"#))
        };
        assert_eq!(function(r#""kind":"keyselector""#), "");
        assert!(function(r#""kind":"combinefn""#).contains("accumulator"));
        assert!(function(r#""kind":"dofn","merges":true"#).contains("only WindowFns"));
        assert!(function(r#""kind":"keyselector","bundles":true"#).contains("only DoFns"));
        assert!(function(r#""kind":"dofn","timers":[{"name":"t","domain":"event"}]"#).contains("not a KV"));
        let map = r#""kind":"dofn","slots":[{"name":"m","kind":"map","coder":{"urn":"beam:coder:bytes:v1"}}]"#;
        assert!(!function(map).is_empty());
    }

    #[test]
    fn what_a_later_version_knows_is_unsupported_not_malformed() -> Result<()> {
        let json = r#"{"functions":[{"name":"f","kind":"oracle","input":{"urn":"beam:coder:bytes:v1"},
            "outputs":[{"name":"main","coder":{"urn":"beam:coder:bytes:v1"}}]}]}"#;
        let description = Description::parse("c", json)?;
        assert!(description.functions[0].unsupported().is_some_and(|what| what.contains("oracle")));
        Ok(())
    }
}
