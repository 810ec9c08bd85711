//! The worlds of the contract, and which of them a component needs. In: descriptions. Out: the smallest world, and which imports it
//! lacks.

use crate::describe::{Coder, Description, Function};

/// A world of the contract: what a component may import.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum World {
    /// Log and early outputs.
    Stateless,
    /// State and timers besides.
    Stateful,
    /// Large iterables, side inputs and tables besides.
    Full,
}

impl World {
    /// The smallest world that has what the functions of a component describe.
    #[must_use]
    pub fn covering(description: &Description) -> Self {
        description.functions.iter().map(Self::of).max().unwrap_or(Self::Stateless)
    }

    fn of(function: &Function) -> Self {
        fn has_list(coder: &Coder) -> bool {
            coder.urn == "beam:coder:iterable:v1" || coder.components.iter().any(has_list)
        }
        if !function.side_inputs.is_empty() || !function.tables.is_empty() || has_list(&function.input) {
            Self::Full
        } else if function.is_keyed() {
            Self::Stateful
        } else {
            Self::Stateless
        }
    }

    /// Its name in `wit/world.wit`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stateless => "stateless",
            Self::Stateful => "stateful",
            Self::Full => "full",
        }
    }

    /// Whether an import of a component, by its full name, is none of this world's, but of a larger one's.
    #[must_use]
    pub fn lacks(self, import: &str) -> bool {
        let interface = import.strip_prefix("thalweg:udf/").and_then(|rest| rest.split('@').next());
        match interface {
            Some("state") => self < Self::Stateful,
            Some("iterables" | "side-inputs" | "tables") => self < Self::Full,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(function: &str) -> World {
        let bytes = r#"{"urn":"beam:coder:bytes:v1"}"#;
        let kv = format!(r#"{{"urn":"beam:coder:kv:v1","components":[{bytes},{bytes}]}}"#);
        let function = function.replace("KV", &kv).replace("BYTES", bytes);
        let json = format!(
            r#"{{"functions":[{{"name":"f","kind":"dofn","outputs":[{{"name":"o","coder":{bytes}}}],{function}}}]}}"#
        );
        World::covering(&Description::parse("c", &json).unwrap())
    }

    #[test]
    fn the_smallest_world_has_what_is_described() {
        assert_eq!(world(r#""input":BYTES"#), World::Stateless);
        let slot = r#""slots":[{"name":"n","kind":"value","coder":BYTES}]"#;
        assert_eq!(world(&format!(r#""input":KV,{slot}"#)), World::Stateful);
        assert_eq!(world(r#""input":KV,"on_window_expiration":true"#), World::Stateful);
        let side = r#""side_inputs":[{"name":"s","access":"iterable","coder":BYTES}]"#;
        assert_eq!(world(&format!(r#""input":BYTES,{side}"#)), World::Full);
        let list = r#""input":{"urn":"beam:coder:iterable:v1","components":[BYTES]}"#;
        assert_eq!(world(list), World::Full);
        assert!(World::Stateless.lacks("thalweg:udf/state@1.0.0") && !World::Stateful.lacks("thalweg:udf/state@1.0.0"));
        assert!(!World::Stateless.lacks("thalweg:udf/log@1.0.0") && !World::Stateless.lacks("wasi:io/poll@0.2.0"));
    }
}
