//! What a component says of itself: its functions with their coders, outputs and state slots. The JSON document of
//! `guest.describe`, read strictly enough that a mismatch shows at deploy and not in the middle of a job.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thalweg_core::coder::{Coder as CoreCoder, Field as CoreField};

/// Coders inside coders, at most so deep: a description is hostile until read.
const DEPTH_MAX: usize = 32;

/// A component's description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The SDK it was built with, e.g. `rust 0.9.0`.
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
    /// State slots; a function with slots needs a keyed input.
    #[serde(default)]
    pub slots: Vec<Slot>,
    /// What it wants to be granted. This host grants nothing.
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
    /// Coder of its values.
    pub coder: Coder,
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
    /// Of a later version.
    #[serde(untagged)]
    Other(String),
}

/// A coder by its Beam URN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coder {
    /// `beam:coder:..:v1`.
    pub urn: String,
    /// Inner coders: of a KV the key's and the value's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Coder>,
    /// Of a row: its fields in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
}

/// A field of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Unique in the row.
    pub name: String,
    /// Atomic type by its name in Beam's `schema.proto`, in lower case: `int64`, `string`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it may be null.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nullable: bool,
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
        if self.outputs.is_empty() {
            return Err("it has no output".into());
        }
        if let Some(name) = repeated(self.outputs.iter().map(|o| o.name.as_str())) {
            return Err(format!("two outputs are called {name:?}"));
        }
        if let Some(name) = repeated(self.slots.iter().map(|s| s.name.as_str())) {
            return Err(format!("two slots are called {name:?}"));
        }
        if !self.slots.is_empty() && !self.input.is_kv() {
            return Err("it has state slots, but its input is not a KV".into());
        }
        if let Some(slot) = self.slots.iter().find(|s| s.eager && s.kind != SlotKind::Value) {
            return Err(format!("slot {:?} is eager, but no value slot", slot.name));
        }
        let coders = self.outputs.iter().map(|o| &o.coder).chain(self.slots.iter().map(|s| &s.coder));
        coders.chain([&self.input]).try_for_each(|coder| coder.check(0))
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
        slot.or_else(|| self.capabilities.first().map(|c| format!("the capability {c:?}")))
    }
}

impl Coder {
    /// Whether it is a KV coder: key and value then stand in columns of their own.
    #[must_use]
    pub fn is_kv(&self) -> bool {
        self.urn == "beam:coder:kv:v1"
    }

    fn check(&self, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err("a coder is nested too deeply".into());
        }
        if self.is_kv() && self.components.len() != 2 {
            return Err("a KV coder needs two components".into());
        }
        if self.to_core().is_none() {
            return Err(format!("the coder {} is not known here", self.urn));
        }
        self.components.iter().try_for_each(|inner| inner.check(depth + 1))
    }

    /// The engine's form of it; `None` for a coder or field type that a component cannot have yet.
    #[must_use]
    pub fn to_core(&self) -> Option<CoreCoder> {
        let inner = |i: usize| self.components.get(i).and_then(Self::to_core).map(Arc::new);
        Some(match self.urn.as_str() {
            "beam:coder:bytes:v1" => CoreCoder::Bytes,
            "beam:coder:string_utf8:v1" => CoreCoder::StringUtf8,
            "beam:coder:bool:v1" => CoreCoder::Bool,
            "beam:coder:varint:v1" => CoreCoder::VarInt,
            "beam:coder:double:v1" => CoreCoder::Double,
            "beam:coder:kv:v1" => CoreCoder::Kv(inner(0)?, inner(1)?),
            "beam:coder:row:v1" => CoreCoder::Row(self.fields.iter().map(Field::to_core).collect::<Option<_>>()?),
            _ => return None,
        })
    }
}

impl Field {
    fn to_core(&self) -> Option<CoreField> {
        Some(match self.kind.as_str() {
            "byte" | "boolean" => CoreField::One,
            "int16" => CoreField::Two,
            "int32" | "int64" => CoreField::VarInt,
            "float" => CoreField::Four,
            "double" => CoreField::Eight,
            "string" | "bytes" => CoreField::Bytes,
            _ => return None,
        })
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
        let json = r#"{"sdk":"rust 0.9.0","functions":[{"name":"f","kind":"dofn",
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
    fn what_a_later_version_knows_is_unsupported_not_malformed() -> Result<()> {
        let json = r#"{"functions":[{"name":"f","kind":"combinefn","input":{"urn":"beam:coder:bytes:v1"},
            "outputs":[{"name":"main","coder":{"urn":"beam:coder:bytes:v1"}}]}]}"#;
        let description = Description::parse("c", json)?;
        assert!(description.functions[0].unsupported().is_some_and(|what| what.contains("combinefn")));
        Ok(())
    }
}
